"""Flax: modules, variables and states of nnx; frozen dicts and modules of linen. Source: docs/restore.md."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.core
import flax.linen
from flax import nnx

from statetree.frameworks.parts import NOTHING, Context, Found, Parts, Slot

__all__ = ["find"]


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of Flax are taken apart, None for other classes."""
    mro = kind.__mro__
    if nnx.Variable in mro:
        return _variable
    if nnx.List in mro:
        return _list
    if nnx.Pytree in mro:
        return _object
    if nnx.State in mro:
        return _state
    if flax.core.FrozenDict in mro:
        return _frozen_dict
    if flax.linen.Module in mro:
        return lambda value, context: NOTHING  # its variables are its state, and live outside of it
    return None


def _variable(variable: Any, context: Context) -> Slot:
    def put(value: Any) -> Any:
        variable.set_value(value)
        return variable

    return Slot(variable.get_value, put, identity=id(variable))


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an nnx object that are data, by its own account; the others are settings."""
    attributes = vars(value)
    nodes: Mapping[str, bool] = attributes["_pytree__nodes"]
    return {name: part for name, part in attributes.items() if not name.startswith("_pytree__") and nodes.get(name)}


def _object(value: Any, context: Context) -> Parts:
    items = list(_attributes(value).items())

    def build(new: Any) -> Any:
        for (name, old), part in zip(items, new, strict=True):
            if part is not old:
                setattr(value, name, part)
        return value

    return Parts("dict", items, build)


def _list(value: Any, context: Context) -> Parts:
    items = list(enumerate(value))

    def build(new: Any) -> Any:
        for (position, old), part in zip(items, new, strict=True):
            if part is not old:
                value[position] = part
        return value

    return Parts("list", items, build)


def _state(state: Any, context: Context) -> Parts:
    """Take a State apart, whose parts are states or variables by name or position."""
    items = list(state.raw_mapping.items())

    def build(new: Any) -> Any:
        changed = any(part is not old for (_, old), part in zip(items, new, strict=True))
        return type(state)({key: part for (key, _), part in zip(items, new, strict=True)}) if changed else state

    return Parts("dict", items, build)


def _frozen_dict(value: Any, context: Context) -> Parts:
    items = list(value._dict.items())

    def build(new: Any) -> Any:
        changed = any(part is not old for (_, old), part in zip(items, new, strict=True))
        return type(value)({key: part for (key, _), part in zip(items, new, strict=True)}) if changed else value

    return Parts("dict", items, build)
