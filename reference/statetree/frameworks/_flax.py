"""Flax: modules, variables and states of nnx; frozen dicts and modules of linen. Source: docs/restore.md."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import flax.core
import flax.linen
import jax
from flax import nnx

from statetree.frameworks._jax import children, in_place_of_number
from statetree.frameworks.parts import NOTHING, Context, Found, Parts, Slot

__all__ = ["find"]


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of Flax are taken apart, None for other classes."""
    mro = kind.__mro__
    if nnx.Variable in mro or nnx.variablelib.HijaxVariable in mro:
        return _variable
    if nnx.Pytree in mro:
        return _object
    if nnx.State in mro:
        return _state
    if nnx.statelib.FlatState in mro:
        return _flat_state
    if flax.core.FrozenDict in mro:
        return _frozen_dict
    if flax.linen.Module in mro:
        return lambda value, context: NOTHING  # its variables are its state, and live outside of it
    return None


def _variable(variable: Any, context: Context) -> Slot:
    # The raw value: what hooks make of it when it is read and written is not what it is.
    def get() -> Any:
        value = variable.get_raw_value()
        before = jax.tree.leaves(value)
        context.versions.append(lambda: _same(before, jax.tree.leaves(variable.get_raw_value())))
        return value

    def put(value: Any) -> Any:
        variable.set_raw_value(value)
        return variable

    return Slot(get, put, identity=id(variable), numbers=in_place_of_number)


def _same(before: list[Any], now: list[Any]) -> bool:
    return len(before) == len(now) and all(map(operator.is_, before, now))


def _object(value: Any, context: Context) -> Parts:
    data = _data(value)
    if isinstance(value, nnx.List) and all(map(str.isdecimal, data)):
        return _list(value, frozenset(position for position in range(len(value)) if str(position) not in data))
    items = list(data.items())
    build = _setter(value, items, lambda name, part: setattr(value, name, part))
    return Parts("dict", items, build, in_place=True, numbers=in_place_of_number)


def _list(value: Any, static: frozenset[int]) -> Parts:
    items = list(enumerate(value))
    build = _setter(value, items, value.__setitem__)
    return Parts("list", items, build, in_place=True, static=static, numbers=in_place_of_number)


def _data(value: Any) -> dict[str, Any]:
    """Return the attributes of an nnx object that are data, by its own account; the others are settings."""
    attributes = {name: part for name, part in vars(value).items() if not name.startswith("_pytree__")}
    if jax.tree_util.all_leaves((value,)):
        # A class with pytree=False says nothing about its attributes.
        return {name: part for name, part in attributes.items() if any(map(nnx.is_data, _leaves(part)))}
    names = {str(getattr(key, "name", getattr(key, "idx", None))) for key, _ in children(value)[0]}
    return {name: part for name, part in attributes.items() if name in names}


def _leaves(value: Any) -> list[Any]:
    return list(jax.tree.leaves(value, is_leaf=nnx.is_data))


def _setter(
    value: Any, items: Sequence[tuple[Any, Any]], put: Callable[[Any, Any], None]
) -> Callable[[Sequence[Any]], Any]:
    """Return the function that puts new parts into `value` and returns it."""

    def build(new: Sequence[Any]) -> Any:
        for (key, old), part in zip(items, new, strict=True):
            if part is not old:
                put(key, part)
        return value

    return build


def _state(state: Any, context: Context) -> Parts:
    """Take a State apart, whose parts are dicts, variables or arrays by name or position."""
    items = list(state.raw_mapping.items())
    build = _setter(state, items, state.__setitem__)

    def anew(new: Sequence[Any]) -> Any:
        return type(state)(zip(state, new, strict=True))

    return Parts("dict", items, build, in_place=True, anew=anew, numbers=in_place_of_number)


def _flat_state(state: Any, context: Context) -> Parts:
    items = list(zip(state.paths, state.leaves, strict=True))
    build = _anew(state, items, lambda new: type(state)(zip(state.paths, new, strict=True), sort=False))
    return Parts("dict", items, build, numbers=in_place_of_number)


def _frozen_dict(value: Any, context: Context) -> Parts:
    # items() gives frozen dicts for the dicts inside, which would be changed in place otherwise.
    items = list(value.items())
    build = _anew(value, items, lambda new: type(value)(zip(value, new, strict=True)))
    return Parts("dict", items, build, numbers=in_place_of_number)


def _anew(
    value: Any, items: Sequence[tuple[Any, Any]], make: Callable[[Sequence[Any]], Any]
) -> Callable[[Sequence[Any]], Any]:
    """Return the function that makes a new object of new parts; `value` is returned if they are its own."""

    def build(new: Sequence[Any]) -> Any:
        return value if all(part is old for (_, old), part in zip(items, new, strict=True)) else make(new)

    return build
