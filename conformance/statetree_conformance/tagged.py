"""Tagged trees: a state tree as plain JSON in which every value says its kind. Source: spec/conformance.md section 1.

This is the oracle of the suite, and so it shares nothing with the codec that it judges: it walks the values itself.
"""

import hashlib
import struct
from collections.abc import Callable
from math import prod
from typing import Any

import ml_dtypes
import numpy as np

from statetree.tree import Record, Symbol
from statetree_spec import registry

__all__ = ["SHOWN", "tag", "tagged_difference", "untag"]

Tagged = dict[str, Any]
Array = np.ndarray[Any, Any]

SHOWN = 4096
"""Most bytes of an array that are written out beside their digest."""

_ROWS: dict[str, dict[str, Any]] = {row["name"]: row for row in registry("dtypes")["dtypes"]}


def tag(tree: Any) -> Tagged:
    """Return a tree as tagged JSON.

    >>> tag([None, True, 255, "x"])["items"][2]
    {'k': 'int', 'hex': 'ff'}

    Raises:
        TypeError: it holds a value of no kind.
    """
    return _Tagger().node(tree)


def untag(value: Tagged) -> Any:
    """Return the tree of tagged JSON; array nodes of one `id` become one array.

    >>> untag({"k": "tuple", "items": [{"k": "int", "hex": "-ff"}]})
    (-255,)

    Raises:
        ValueError: an array is written without its bytes.
    """
    return _Untagger().node(value)


def _numpy(name: str) -> "np.dtype[Any]":
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name, None) or getattr(np, name))
    return found


def _row(dtype: "np.dtype[Any]") -> dict[str, Any]:
    name = dtype.newbyteorder("=").name
    if name not in _ROWS or _numpy(name) != dtype.newbyteorder("="):
        raise TypeError(f"expected a dtype of the format, got {dtype}")
    return _ROWS[name]


def _canonical(array: Any) -> bytes:
    """Return the elements of an array or NumPy scalar in C order, little-endian, bits that mean nothing being zero."""
    row = _row(array.dtype)
    raw = array.tobytes()
    big = array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and not np.little_endian)
    part = row["itemsize"] // (2 if row["group"] == "complex" else 1)
    if big and part > 1:
        raw = np.frombuffer(raw, np.uint8).reshape(-1, part)[:, ::-1].tobytes()
    if row["bits"] >= 8:
        return bytes(raw)
    elements = np.frombuffer(raw, np.uint8)
    return bytes((elements != 0) if row["name"] == "bool" else (elements & (1 << row["bits"]) - 1))


def _digits(raw: bytes, parts: int) -> Any:
    """Return little-endian bits as hexadecimal digits, most significant first; of a complex number two texts."""
    size = len(raw) // parts
    found = [raw[at : at + size][::-1].hex() for at in range(0, len(raw), size)]
    return found if parts == 2 else found[0]


class _Tagger:
    def __init__(self) -> None:
        self.ids: dict[Any, int] = {}
        self.alive: list[Any] = []

    def node(self, value: Any) -> Tagged:
        tagger = _TAGGERS.get(type(value))
        if tagger is not None:
            return tagger(self, value)
        if type(value) in (np.ndarray, np.memmap):
            return self.array(value)
        if isinstance(value, np.generic):
            row = _row(value.dtype)
            bits = _digits(_canonical(value), 2 if row["group"] == "complex" else 1)
            return {"k": "scalar", "dtype": row["name"], "bits": bits}
        raise TypeError(f"expected a value of a state tree, got {type(value).__name__}")

    def nodes(self, values: Any) -> list[Tagged]:
        return [self.node(value) for value in values]

    def array(self, value: Array) -> Tagged:
        # Views of the same elements are one array; address and strides of an empty one say nothing.
        place = (value.__array_interface__["data"][0], value.dtype, value.shape, value.strides)
        key = place if value.size else id(value)
        self.alive.append(value)
        raw = _canonical(value)
        out: Tagged = {
            "k": "array",
            "id": self.ids.setdefault(key, len(self.ids)),
            "dtype": _row(value.dtype)["name"],
            "shape": [str(extent) for extent in value.shape],
            "sha256": hashlib.sha256(raw).hexdigest(),
        }
        return out | {"hex": raw.hex()} if len(raw) <= SHOWN else out

    def dict(self, value: Any) -> Tagged:
        return {"k": "dict", "items": [[self.node(key), self.node(child)] for key, child in value.items()]}

    def record(self, value: Record) -> Tagged:
        fields = [[name, self.node(child)] for name, child in value.items()]
        return {"k": "record", "label": value.label, "fields": fields}


_TAGGERS: dict[type, Callable[[_Tagger, Any], Tagged]] = {
    type(None): lambda _, __: {"k": "null"},
    bool: lambda _, value: {"k": "bool", "v": value},
    int: lambda _, value: {"k": "int", "hex": f"{value:x}"},
    float: lambda _, value: {"k": "float", "bits": struct.pack(">d", value).hex()},
    complex: lambda _, value: {"k": "complex", "bits": [struct.pack(">d", v).hex() for v in (value.real, value.imag)]},
    str: lambda _, value: {"k": "str", "v": value},
    Symbol: lambda _, value: {"k": "symbol", "v": value.name},
    bytes: lambda _, value: {"k": "bytes", "hex": value.hex()},
    dict: _Tagger.dict,
    list: lambda tagger, value: {"k": "list", "items": tagger.nodes(value)},
    tuple: lambda tagger, value: {"k": "tuple", "items": tagger.nodes(value)},
    Record: _Tagger.record,
}


class _Untagger:
    def __init__(self) -> None:
        self.arrays: dict[int, Array] = {}

    def node(self, value: Tagged) -> Any:
        return _UNTAGGERS[value["k"]](self, value)

    def nodes(self, value: Tagged) -> list[Any]:
        return [self.node(child) for child in value["items"]]

    def array(self, value: Tagged) -> Array:
        known = self.arrays.get(value["id"])
        if known is None:
            shape = tuple(map(int, value["shape"]))
            if "hex" not in value:
                raise ValueError(f"expected the bytes of an array of shape {shape}, got their digest only")
            known = self.arrays[value["id"]] = _array(value["dtype"], bytes.fromhex(value["hex"]), shape)
        return known

    def dict(self, value: Tagged) -> "dict[Any, Any]":
        return {self.node(key): self.node(child) for key, child in value["items"]}

    def record(self, value: Tagged) -> Record:
        return Record([(name, self.node(child)) for name, child in value["fields"]], label=value["label"])


def _array(name: str, raw: bytes, shape: tuple[int, ...]) -> Array:
    """Return an array of little-endian elements, owned and of native byte order; bits are copied, never converted."""
    kind = _numpy(name)
    out = np.empty(shape, kind)
    if prod(shape):
        stored = kind.newbyteorder("<") if kind.kind in "iufc" else kind
        swapped = np.frombuffer(raw, stored)
        out[...] = (swapped if np.little_endian else swapped.byteswap().view(kind)).reshape(shape)
    return out


def _float(bits: str) -> float:
    number: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return number


def _scalar(value: Tagged) -> Any:
    parts = [value["bits"]] if isinstance(value["bits"], str) else value["bits"]
    return _array(value["dtype"], b"".join(bytes.fromhex(part)[::-1] for part in parts), (1,))[0]


_UNTAGGERS: dict[str, Callable[[_Untagger, Tagged], Any]] = {
    "null": lambda _, __: None,
    "bool": lambda _, value: value["v"],
    "int": lambda _, value: int(value["hex"], 16),
    "float": lambda _, value: _float(value["bits"]),
    "complex": lambda _, value: complex(*map(_float, value["bits"])),
    "str": lambda _, value: value["v"],
    "symbol": lambda _, value: Symbol(value["v"]),
    "bytes": lambda _, value: bytes.fromhex(value["hex"]),
    "scalar": lambda _, value: _scalar(value),
    "array": _Untagger.array,
    "dict": _Untagger.dict,
    "list": _Untagger.nodes,
    "tuple": lambda untagger, value: tuple(untagger.nodes(value)),
    "record": _Untagger.record,
}


def tagged_difference(wanted: Any, found: Any, path: str = "") -> str | None:
    """Return the first place where two tagged trees differ and how, None if they are one tree.

    `found` may come from anywhere. Elements of arrays that are not written out are compared by `sha256`.

    >>> tagged_difference(tag([1, 0.0]), tag([1, -0.0]))
    "/items/1/bits: expected '0000000000000000', got '8000000000000000'"
    """
    if isinstance(wanted, dict) and isinstance(found, dict):
        names = wanted.keys() | found.keys()
        # Elements of large arrays may be written out or not; their digest must be there.
        names -= {"hex"} if wanted.get("k") == "array" and "hex" not in wanted else set()
        for name in sorted(names, key=lambda name: (name != "k", str(name))):
            if name not in wanted or name not in found:
                return f"{path or '/'}: {'no' if name in wanted else 'an unknown'} member {name!r}"[:300]
            differs = tagged_difference(wanted[name], found[name], f"{path}/{name}")
            if differs is not None:
                return differs
        return None
    if isinstance(wanted, list) and isinstance(found, list):
        for at, pair in enumerate(zip(wanted, found, strict=False)):
            differs = tagged_difference(*pair, f"{path}/{at}")
            if differs is not None:
                return differs
        if len(wanted) != len(found):
            return f"{path or '/'}: expected {len(wanted)} items, got {len(found)}"
        return None
    if type(wanted) is not type(found) or wanted != found:
        return f"{path or '/'}: expected {_brief(wanted)}, got {_brief(found)}"
    return None


def _brief(value: Any) -> str:
    if isinstance(value, dict) and "k" in value:
        return f"a node of kind {value['k']!r}"[:80]
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"
