"""Equinox: modules, whose static fields are settings, and the state of stateful layers. Source: docs/restore.md."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox

from statetree.frameworks._jax import children, node
from statetree.frameworks.parts import NOTHING, Context, Found, Parts, refuse

__all__ = ["find"]


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of Equinox are taken apart, None for other classes."""
    mro = kind.__mro__
    if equinox.nn.StateIndex in mro:
        return lambda value, context: NOTHING  # it names a place in the State
    if equinox.Module in mro:
        return lambda value, context: node(value, context, frozen=True)
    if equinox.nn.State in mro:
        return _state
    if kind.__module__.partition(".")[0] == "equinox":
        return lambda value, context: NOTHING  # marks, such as those of shared layers
    return None


def _state(state: Any, context: Context) -> Parts:
    """Take a State apart: the states of layers by the names that make_with_state gives them, else numbered."""
    try:
        values, markers = state.tree_flatten()
    except ValueError:
        remedy = "keep what set() and update() return"
        return refuse(context, "the newest State", "one that another has replaced", remedy)
    _, structure = children(state)
    named = all(type(marker) is str for marker in markers)

    def build(new: Sequence[Any]) -> Any:
        same = all(part is old for part, old in zip(new, values, strict=True))
        return state if same else structure.unflatten(new)

    return Parts("dict", list(zip(markers if named else range(len(markers)), values, strict=True)), build)
