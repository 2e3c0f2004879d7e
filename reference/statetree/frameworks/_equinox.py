"""Equinox: modules, whose static fields are settings, and the state of stateful layers. Source: docs/restore.md."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox

from statetree.frameworks._python import fields_parts
from statetree.frameworks.parts import NOTHING, Context, Found, Parts

__all__ = ["find"]


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of Equinox are taken apart, None for other classes."""
    mro = kind.__mro__
    if equinox.Module in mro:
        return _module
    if equinox.nn.State in mro:
        return _state
    if equinox.nn.StateIndex in mro:
        return lambda value, context: NOTHING  # it names a place in the State
    return None


def _module(module: Any, context: Context) -> Parts:
    fields = dataclasses.fields(module)
    static = frozenset(field.name for field in fields if field.metadata.get("static"))
    return fields_parts(module, [field.name for field in fields], frozen=True, static=static)


def _state(state: Any, context: Context) -> Found:
    from statetree.frameworks._jax import node

    return node(state, context)
