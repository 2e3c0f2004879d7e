"""Nodes of a state tree as restoring compares them with an object. Source: docs/restore.md."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from statetree.compare import kind_of
from statetree.dtype import dtype_name
from statetree.errors import shown
from statetree.frameworks.parts import Parts
from statetree.lazy import LazyArray
from statetree.tree import Record, namedtuple_fields
from statetree_spec import registry

__all__ = [
    "as_record",
    "children",
    "dtype_of",
    "expected",
    "has",
    "is_array",
    "is_empty_tuple",
    "is_value",
    "read",
    "typed",
    "what",
]

_KINDS = frozenset(row["name"] for row in registry("kinds")["kinds"])


def is_array(src: Any) -> bool:
    """Whether a node of a tree is an array, read already or not."""
    return isinstance(src, np.ndarray | LazyArray)


def read(src: Any) -> Any:
    """Return an array, read if it is lazy; other nodes as they are."""
    return src.read() if isinstance(src, LazyArray) else src


def dtype_of(src: Any) -> str:
    """Return the name of the dtype of an array."""
    return dtype_name(src.dtype) or str(src.dtype)


def is_empty_tuple(src: Any) -> bool:
    """Whether a node is `()`, which stands for what is no state."""
    return type(src) is tuple and not src


def is_value(src: Any) -> bool:
    """Whether a node is a number or a text."""
    return type(src) in (bool, int, float, complex, str, bytes)


def as_record(src: Any) -> Any:
    """Return a namedtuple as the record that it stands for, other nodes as they are."""
    names = namedtuple_fields(type(src))
    return src if names is None else Record(zip(names, tuple.__iter__(src), strict=True), label=type(src).__name__)


def typed(key: Any) -> Any:
    """Return a key that differs from those of other types which Python holds equal to it."""
    return tuple(map(typed, key)) if type(key) is tuple else (type(key), key)


def children(src: Any) -> dict[Any, tuple[Any, Any]] | None:
    """Return typed key → (key, node) of a container, None for a leaf."""
    if isinstance(src, dict | Record):
        return {typed(key): (key, part) for key, part in src.items()}
    if type(src) in (list, tuple):
        return {typed(position): (position, part) for position, part in enumerate(src)}
    return None


def has(found: Mapping[Any, Any], key: Any) -> bool:
    """Whether there is a child of this key."""
    return typed(key) in found


def what(value: Any) -> str:
    """Return what a node of a tree is, in a few words."""
    if is_array(value):
        return f"an array of {dtype_of(value)} {tuple(value.shape)}"
    value = as_record(value)
    if isinstance(value, Record):
        return f"a record {shown(value.label)}" if value.label else "a record"
    if isinstance(value, dict | list | tuple):
        return f"{'an empty' if not len(value) else 'a'} {kind_of(value)}"
    kind = kind_of(value)
    return f"{kind} {shown(repr(value), 40)}" if kind in _KINDS else f"an object of type {shown(kind)}"


def expected(parts: Parts) -> str:
    """Return what an object wants in its place, in a few words."""
    if parts.kind == "record":
        return f"a record {shown(parts.label)}" if parts.label else "a record"
    return f"a {parts.kind} of {len(parts.items)}"
