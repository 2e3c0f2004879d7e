"""The values that trees of vectors are made of, and their tagged form. Source: spec/conformance.md section 1.

Plain Python stands for null, bool, int, str, bytes, dict, list and tuple; for the rest there are the classes below.
Floats are given as bits, so that nothing passes through arithmetic.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["Array", "Complex", "Float", "Record", "Scalar", "Symbol", "arrays_of", "tagged"]

SHOWN = 4096
"""Most bytes of an array that are written out in a record."""


@dataclass(frozen=True, slots=True)
class Float:
    """A float: 16 hexadecimal digits, most significant first."""

    bits: str


@dataclass(frozen=True, slots=True)
class Complex:
    """A complex: the bits of two floats."""

    real: str
    imaginary: str


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol."""

    name: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar: its dtype and its bits, most significant first; complex ones have two texts."""

    dtype: str
    bits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """A record."""

    label: str | None
    fields: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array: its canonical bytes; the same object at two places is one array."""

    dtype: str
    shape: tuple[int, ...]
    raw: bytes


def arrays_of(value: Any) -> list[Array]:
    """Return the distinct arrays of a tree in the order in which a walk first meets them."""
    found: dict[int, Array] = {}
    for array in _walk(value):
        found.setdefault(id(array), array)
    return list(found.values())


def _walk(value: Any) -> Iterator[Array]:
    match value:
        case Array():
            yield value
        case list() | tuple():
            for child in value:
                yield from _walk(child)
        case dict():
            yield from _walk(list(value.values()))
        case Record():
            yield from _walk([child for _, child in value.fields])


def tagged(value: Any) -> dict[str, Any]:
    """Return the tagged form of a tree.

    >>> tagged([True, 16, b"a"])["items"]
    [{'k': 'bool', 'v': True}, {'k': 'int', 'hex': '10'}, {'k': 'bytes', 'hex': '61'}]
    """
    return _tagged(value, {id(array): number for number, array in enumerate(arrays_of(value))})


def _tagged(value: Any, ids: dict[int, int]) -> dict[str, Any]:
    match value:
        case None:
            return {"k": "null"}
        case bool():
            return {"k": "bool", "v": value}
        case int():
            return {"k": "int", "hex": f"{value:x}"}
        case Float():
            return {"k": "float", "bits": value.bits}
        case Complex():
            return {"k": "complex", "bits": [value.real, value.imaginary]}
        case str():
            return {"k": "str", "v": value}
        case bytes():
            return {"k": "bytes", "hex": value.hex()}
        case Symbol():
            return {"k": "symbol", "v": value.name}
        case Scalar():
            bits = value.bits[0] if len(value.bits) == 1 else list(value.bits)
            return {"k": "scalar", "dtype": value.dtype, "bits": bits}
        case Array():
            return _tagged_array(value, ids[id(value)])
    return _tagged_container(value, ids)


def _tagged_container(value: Any, ids: dict[int, int]) -> dict[str, Any]:
    match value:
        case dict():
            return {"k": "dict", "items": [[_tagged(key, ids), _tagged(child, ids)] for key, child in value.items()]}
        case list() | tuple():
            return {"k": type(value).__name__, "items": [_tagged(child, ids) for child in value]}
        case Record():
            fields = [[name, _tagged(child, ids)] for name, child in value.fields]
            return {"k": "record", "label": value.label, "fields": fields}
    raise TypeError(f"expected a value of a tree, got {value!r}")


def _tagged_array(value: Array, number: int) -> dict[str, Any]:
    out = {
        "k": "array",
        "id": number,
        "dtype": value.dtype,
        "shape": [str(extent) for extent in value.shape],
        "sha256": hashlib.sha256(value.raw).hexdigest(),
    }
    return out | {"hex": value.raw.hex()} if len(value.raw) <= SHOWN else out
