"""Plain Python: containers, namedtuples, dataclasses, attrs classes, and what is no state. Source: docs/restore.md."""

import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import types
import warnings
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from functools import partial
from inspect import getattr_static
from typing import Any, Literal

from statetree.errors import shown
from statetree.frameworks.parts import NOTHING, PLAIN, Context, Found, Parts, refuse
from statetree.path import path_text
from statetree.tree import Record, Symbol, namedtuple_fields

__all__ = ["fields_parts", "find_made", "find_plain"]

_PLAIN = {type(None), bool, int, float, complex, str, bytes, Symbol}
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, types.CodeType)
_QUIET = (*_CODE, type(None), bool, str)
"""What an activation, a loss or a schedule may keep without anybody asking whether it is state."""
_LOST: tuple[tuple[type, str], ...] = (
    (set, "keep sorted(x), a list"),
    (frozenset, "keep sorted(x), a list"),
    (bytearray, "keep bytes(x)"),
    (memoryview, "keep bytes(x)"),
    (range, "keep list(x)"),
    (datetime.date, "keep x.isoformat(), a str"),
    (datetime.time, "keep x.isoformat(), a str"),
    (datetime.timedelta, "keep x.total_seconds(), a float"),
    (decimal.Decimal, "keep str(x)"),
    (fractions.Fraction, "keep (x.numerator, x.denominator)"),
    (types.MappingProxyType, "keep dict(x)"),
    *((kind, f"keep {kind.__name__}(x)") for kind in (int, float, complex, str, bytes)),
)
"""Values whose loss would be noticed late: what to keep in place of them."""


def find_plain(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how the kinds of the format itself are taken apart."""
    if kind in _PLAIN:
        return lambda value, context: PLAIN
    return _CONTAINERS.get(kind)


def find_made(kind: type) -> Callable[[Any, Context], Found]:
    """Return how a class that no framework knows is taken apart."""
    for base in (dict, list, deque):
        if base in kind.__mro__:
            return _CONTAINERS[base]
    if tuple in kind.__mro__:
        return _tuple if namedtuple_fields(kind) is None else _namedtuple
    if dataclasses.is_dataclass(kind):
        return _dataclass
    if isinstance(vars(kind).get("__attrs_attrs__"), tuple):
        return _attrs
    if types.SimpleNamespace in kind.__mro__:
        return lambda value, context: fields_parts(value, list(_field(value, "__dict__")), frozen=False)
    if enum.Enum in kind.__mro__:
        return lambda value, context: NOTHING  # the name of a setting
    if kind.__module__.startswith("jax."):
        return _unknown  # its own numbers, which nobody can replace
    lost = next((remedy for base, remedy in _LOST if base in kind.__mro__), None)
    if lost is not None:
        return lambda value, context: refuse(context, "a value of a state tree", f"a {shown(kind.__name__)}", lost)
    return lambda value, context: NOTHING if kind in _CODE else _unknown(value, context)


def _unknown(value: Any, context: Context) -> Found:
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not context.path:
        refuse(
            context,
            "a model, an optimiser, a tree, or another object whose state is known",
            f"an object of type {shown(name)}",
            "give its class __statetree__ and __load_statetree__, or write an adapter (docs/restore.md)",
        )
    if not _is_called(kind) or _keeps_values(value):
        warnings.warn(
            f"an object of type {shown(name)} is taken for no state and left out "
            f"(at {shown(path_text(tuple(context.path)), 200)}): if it has any, give its class __statetree__ and "
            "__load_statetree__",
            stacklevel=2,
        )
    return NOTHING


def _keeps_values(value: Any) -> bool:
    """Whether an object that is called has attributes that may be state; one that stands for a function has none."""
    attributes = _field(value, "__dict__")
    if type(attributes) is not dict or "__wrapped__" in attributes:
        return False
    return any(type(part) not in _QUIET for part in attributes.values())


def _is_called(kind: type) -> bool:
    """Whether objects of a class are called: an activation, a loss, a schedule."""
    return any("__call__" in vars(base) for base in kind.__mro__)


def _dict(value: dict[Any, Any], context: Context) -> Parts:
    return _changed("dict", value, list(dict.items(value)), None if value else value.update)


def _list(value: list[Any], context: Context) -> Parts:
    return _changed("list", value, list(enumerate(list.__iter__(value))), partial(value.__setitem__, slice(None)))


def _deque(value: deque[Any], context: Context) -> Parts:
    def refill(new: Any) -> None:
        value.clear()
        value.extend(new)

    return _changed("list", value, list(enumerate(value)), refill)


def _changed(
    kind: Literal["dict", "list"],
    value: Any,
    items: Sequence[tuple[Any, Any]],
    refill: Callable[[Any], None] | None,
) -> Parts:
    """Return a container whose items are set in place."""

    def build(new: Sequence[Any], target: Any = value) -> Any:
        for (key, old), part in zip(items, new, strict=True):
            if part is not old or target is not value:
                target[key] = part
        return target

    def back() -> None:
        if len(value) != len(items):
            value.clear()
            value.extend(old for _, old in items) if kind == "list" else value.update(items)
        for key, old in items:
            value[key] = old

    def refilled(new: Any) -> Any:
        if refill is not None:
            refill(new)
        return value

    parts = Parts(kind, items, build, in_place=True, anew=lambda new: build(new, copy.copy(value)), back=back)
    return parts if refill is None else dataclasses.replace(parts, refill=refilled)


def _tuple(value: tuple[Any, ...], context: Context) -> Parts:
    items = list(enumerate(tuple.__iter__(value)))
    kind = type(value)
    return Parts("tuple", items, lambda new: value if _same(items, new) else tuple.__new__(kind, new))


def _namedtuple(value: tuple[Any, ...], context: Context) -> Parts:
    kind = type(value)
    items = list(zip(namedtuple_fields(kind) or (), tuple.__iter__(value), strict=True))

    def build(new: Sequence[Any]) -> Any:
        return value if _same(items, new) else tuple.__new__(kind, new)

    return Parts("record", items, build, label=kind.__name__)


def _record(value: Record, context: Context) -> Parts:
    items = value.items()
    names = value.names
    return Parts(
        "record",
        items,
        lambda new: value if _same(items, new) else Record(zip(names, new, strict=True), label=value.label),
        label=value.label,
    )


_CONTAINERS: dict[type, Callable[[Any, Context], Found]] = {
    dict: _dict,
    OrderedDict: _dict,
    list: _list,
    deque: _deque,
    tuple: _tuple,
    Record: _record,
}


def _same(items: Sequence[tuple[Any, Any]], new: Sequence[Any]) -> bool:
    """Whether none of the parts is another object now."""
    return all(part is old for (_, old), part in zip(items, new, strict=True))


def _dataclass(value: Any, context: Context) -> Parts:
    fields = dataclasses.fields(value)
    static = {f.name for f in fields if f.metadata.get("static") is True or f.metadata.get("pytree_node") is False}
    frozen = type(value).__dataclass_params__.frozen
    return fields_parts(value, [f.name for f in fields], frozen=frozen, static=frozenset(static))


def _attrs(value: Any, context: Context) -> Parts:
    kind = type(value)
    frozen = "frozen" in getattr(kind.__setattr__, "__name__", "")
    return fields_parts(value, [a.name for a in vars(kind)["__attrs_attrs__"]], frozen=frozen)


_UNSET = object()


def fields_parts(
    value: Any, names: Sequence[str], *, frozen: bool, static: frozenset[str] = frozenset(), splits: bool = False
) -> Parts:
    """Return an object as a record of its fields; those that are not set are left out.

    Args:
        value: the object.
        names: its fields in order.
        frozen: whether it is replaced by a new one, not changed.
        static: fields that are settings.
        splits: whether a new object may stand where it is met again.
    """
    found = [(name, _field(value, name)) for name in names]
    items = [(name, part) for name, part in found if part is not _UNSET]

    def filled(target: Any, new: Sequence[Any]) -> Any:
        for (name, old), part in zip(items, new, strict=True):
            if name not in static and (part is not old or target is not value):
                object.__setattr__(target, name, part)
        return target

    def anew(new: Sequence[Any]) -> Any:
        return filled(_copied(value, names), new)

    def build(new: Sequence[Any]) -> Any:
        return anew(new) if frozen and not _same(items, new) else filled(value, new)

    def back() -> None:
        for name, old in items:
            object.__setattr__(value, name, old)

    parts = Parts("record", items, build, label=type(value).__name__, in_place=not frozen, static=static)
    return dataclasses.replace(parts, anew=anew if splits else None, back=None if frozen else back)


def _field(value: Any, name: str) -> Any:
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return _UNSET


def _copied(value: Any, names: Sequence[str]) -> Any:
    """Return a new object of the same class with the same attributes; no method of it is called."""
    new = object.__new__(type(value))
    attributes = _field(value, "__dict__")
    if attributes is not _UNSET:
        object.__getattribute__(new, "__dict__").update(copy.copy(attributes))
    for name in names:
        part = _field(value, name)
        # A default of the class is no attribute of the object.
        if part is not _UNSET and type(getattr_static(new, name, None)) is types.MemberDescriptorType:
            object.__setattr__(new, name, part)
    return new
