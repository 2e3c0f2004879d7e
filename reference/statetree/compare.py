"""Comparing trees: bitwise and kind-exact, with the sharing of arrays. Source: spec section 2."""

import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from statetree.dtype import BY_NAME, dtype_name
from statetree.encode import tie_key
from statetree.errors import shown
from statetree.lazy import LazyArray
from statetree.path import Path, path_text
from statetree.tree import Record, Symbol, namedtuple_fields

__all__ = ["Difference", "canonical_bytes", "difference", "kind_of"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first place where two trees differ."""

    path: Path
    """Where."""
    reason: str
    """What differs."""

    def __str__(self) -> str:
        return f"{self.reason} (at {shown(path_text(self.path), 200) or 'the root'})"


def difference(a: Any, b: Any) -> Difference | None:
    """Return the first difference of two trees in memory, None if they are the same state tree.

    Kinds, order of keys, dtypes, shapes, every bit (signs of zero, payloads of NaN) and which arrays are one array
    must agree. What saving normalises does not count: byte order, memory order, OrderedDict against dict,
    namedtuple against Record. Lazy arrays are read.

    >>> difference({"a": 1}, {"a": True})
    Difference(path=('a',), reason='int against bool')
    """
    return _Comparison().nodes(a, b, ())


def kind_of(value: Any) -> str:
    """Return the kind of a value by the names of the registry, or its type's name if it has none."""
    kind = type(value)
    if kind in _KINDS:
        return _KINDS[kind]
    if kind is np.ndarray or kind is np.memmap or kind is LazyArray:
        return "array"
    if isinstance(value, np.generic) and dtype_name(value.dtype):
        return "scalar"
    return "record" if namedtuple_fields(kind) is not None else kind.__name__


_KINDS: dict[type, str] = {
    dict: "dict",
    OrderedDict: "dict",
    list: "list",
    tuple: "tuple",
    Record: "record",
    type(None): "null",
    bool: "bool",
    int: "int",
    float: "float",
    complex: "complex",
    str: "str",
    bytes: "bytes",
    Symbol: "symbol",
}


class _Comparison:
    def __init__(self) -> None:
        self.left: dict[Any, tuple[Any, Path]] = {}
        self.right: dict[Any, tuple[Any, Path]] = {}

    def nodes(self, a: Any, b: Any, path: Path) -> Difference | None:
        kind, other = kind_of(a), kind_of(b)
        if kind != other:
            return Difference(path, f"{kind} against {other}")
        match kind:
            case "dict":
                return self.items(list(a.items()), list(b.items()), path, "keys")
            case "record":
                (label, fields), (other_label, other_fields) = _record(a), _record(b)
                if label != other_label:
                    return Difference(path, f"label {_text(label)} against {_text(other_label)}")
                return self.items(fields, other_fields, path, "fields")
            case "list" | "tuple":
                if len(a) != len(b):
                    return Difference(path, f"length {len(a)} against {len(b)}")
                pairs = enumerate(zip(a, b, strict=True))
                return next((d for i, (x, y) in pairs if (d := self.nodes(x, y, (*path, i)))), None)
            case "array":
                return self.arrays(a, b, path)
            case _:
                return _leaves(kind, a, b, path)

    def items(self, a: list[Any], b: list[Any], path: Path, what: str) -> Difference | None:
        if len(a) != len(b) or any(not _same_key(x, y) for (x, _), (y, _) in zip(a, b, strict=True)):
            return Difference(path, f"{what} {_keys(a)} against {_keys(b)}")
        return next((d for (key, x), (_, y) in zip(a, b, strict=True) if (d := self.nodes(x, y, (*path, key)))), None)

    def arrays(self, a: Any, b: Any, path: Path) -> Difference | None:
        if dtype_name(a.dtype) != dtype_name(b.dtype):
            return Difference(path, f"dtype {a.dtype} against {b.dtype}")
        if a.shape != b.shape:
            return Difference(path, f"shape {a.shape} against {b.shape}")
        key, other = _identity(a), _identity(b)
        known = self.left.setdefault(key, (other, path))
        known_other = self.right.setdefault(other, (key, path))
        if known[0] != other or known_other[0] != key:
            tied = known if known[0] != other else known_other
            side = "left" if known[0] != other else "right"
            return Difference(path, f"tied to {shown(path_text(tied[1])) or 'the root'} only in the {side} tree")
        if known[1] != path:
            return None
        x, y = canonical_bytes(a), canonical_bytes(b)
        if x == y:
            return None
        size = BY_NAME[dtype_name(a.dtype) or "uint8"].itemsize
        at = int(np.flatnonzero(np.frombuffer(x, np.uint8) != np.frombuffer(y, np.uint8))[0]) // size
        bits = x[at * size : (at + 1) * size][::-1].hex(), y[at * size : (at + 1) * size][::-1].hex()
        return Difference(path, f"element {at}: bits {bits[0]} against {bits[1]}")


def _identity(array: Any) -> Any:
    return id(array) if type(array) is LazyArray else tie_key(array)


def _record(value: Any) -> tuple[str | None, list[tuple[str, Any]]]:
    if type(value) is Record:
        return value.label, value.items()
    fields = namedtuple_fields(type(value))
    assert fields is not None
    return type(value).__name__, list(zip(fields, tuple.__iter__(value), strict=True))


def canonical_bytes(value: Any) -> bytes:
    """Return the canonical bytes of an array or a NumPy scalar: C order, little-endian, unused bits zero."""
    array = np.asarray(value)
    name = dtype_name(array.dtype)
    assert name is not None
    row = BY_NAME[name]
    if not array.dtype.isnative:
        array = array.byteswap().view(array.dtype.newbyteorder())
    raw = array.tobytes() if np.little_endian else array.byteswap().tobytes()
    if row.top == 1:
        return bytes(np.frombuffer(raw, np.uint8) != 0)
    return raw if row.top is None else (np.frombuffer(raw, np.uint8) & np.uint8(row.top)).tobytes()


def _leaves(kind: str, a: Any, b: Any, path: Path) -> Difference | None:
    x, y = _bits(kind, a), _bits(kind, b)
    return None if x == y else Difference(path, f"{_value(kind, a)} against {_value(kind, b)}")


def _bits(kind: str, value: Any) -> Any:
    match kind:
        case "float":
            return struct.pack(">d", value)
        case "complex":
            return struct.pack(">dd", value.real, value.imag)
        case "scalar":
            return dtype_name(value.dtype), value.tobytes() if value.dtype.itemsize > 1 else canonical_bytes(value)
        case _:
            return value


def _value(kind: str, value: Any) -> str:
    match kind:
        case "float":
            return f"{value!r} (bits {struct.pack('>d', value).hex()})"
        case "scalar":
            return f"{value.dtype}({value!s}) (bits {value.tobytes()[::-1].hex()})"
        case _:
            return _text(value)


def _text(value: Any) -> str:
    if type(value) is int and value.bit_length() > 200:
        return f"an int of {value.bit_length()} bits"
    return shown(repr(value[:100] if type(value) in (str, bytes) else value))


def _same_key(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all(map(_same_key, a, b))
    return bool(a == b)


def _keys(items: list[Any]) -> str:
    return shown("(" + ", ".join(_text(key) for key, _ in items[:8]) + (", …)" if len(items) > 8 else ")"), 200)
