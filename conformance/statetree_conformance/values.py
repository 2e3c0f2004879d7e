"""Awkward values that generators miss: bits of floats, texts that collide or look reserved. Source: spec section 2."""

from typing import Any

import numpy as np

from statetree import Record, Symbol
from statetree.dtype import BY_NAME

__all__ = ["AWKWARD_TEXTS", "COLLISIONS", "bits_array", "float_bits", "twins"]

AWKWARD_TEXTS = (
    *("", "/", "a/b", "a.b", ".", "..", "../../etc/passwd", "a\\b", "C:", "con", "nul.txt", "x.", "x ", "a\0b", "a"),
    *("\n", "\t", "\u202e", "\ufeff", "\U0001f469\u200d\U0001f680", "\u00e9", "e\u0301", "W", "w", "\u00df", "ss"),
    *("\u0131", "I", "__metadata__", "zarr.json", "__zarr", "_types", "tag", "category", "$ref", "$id", "type"),
    *("_backrefs", "__class__", "__reduce__", "count", "_fields", "\u03c3\u00b2", "class", "1a", "0", "1", "#0", ":a"),
    *("~0", "~", "~(", ",", ")", "NaN", "null", "true", "0x7fc00000", "os.system", "k" * 300),
)

COLLISIONS: dict[str, tuple[object, object]] = {
    "NFC and NFD": ("\u00e9", "e\u0301"),
    "case": ("W", "w"),
    "case folding": ("\u00df", "ss"),
    "number and text": (1, "1"),
    "symbol and text": (Symbol("a"), "a"),
    "bytes and text": (b"a", "a"),
    "cut at NUL": ("a", "a\0b"),
    "path": ("a/b", "a"),
    "dots": ("a.b", "a_b"),
    "tuple and its text": ((1, 2), "(1, 2)"),
    "null and text": (None, "null"),
}
"""Pairs of keys that are two, and one for tools that normalise, join, fold or print them."""

Twins = tuple[tuple[Any, Any], ...]


def twins() -> Twins:
    """Return pairs of trees that differ, and that `==` or a careless writer or reader holds for one."""
    x, y = np.arange(2, dtype=np.float32), np.arange(2, dtype=np.float32)
    quiet, signalling = (bits_array("float32", [bits]) for bits in (0x7FC00001, 0x7F800001))
    return (
        (0.0, -0.0),
        (1, True),
        (1, 1.0),
        (0, None),
        ([], ()),
        ([1], (1,)),
        ("a", Symbol("a")),
        ("a", b"a"),
        ("\u00e9", "e\u0301"),
        (complex(0.0, 0.0), complex(0.0, -0.0)),
        (2**53, 2**53 + 1),
        (1.0, np.float64(1)),
        (np.float32(1), np.float64(1)),
        (np.int64(1), np.int32(1)),
        (np.float32(1), np.array(1, np.float32)),
        (x, x.astype(np.float64)),
        (x, x.reshape(1, 2)),
        (np.zeros((0, 2)), np.zeros((2, 0))),
        (np.zeros(1), -np.zeros(1)),
        (quiet, signalling),
        (quiet[0], signalling[0]),
        ([x, x], [x, y]),
        ({1: 0}, {True: 0}),
        ({1: 0}, {"1": 0}),
        ({"a": 0}, {Symbol("a"): 0}),
        ({(1,): 0}, {(True,): 0}),
        ({"a": 0, "b": 1}, {"b": 1, "a": 0}),
        ({"a": 0}, Record({"a": 0})),
        (Record({"a": 0}), Record({"a": 0}, label="")),
        (Record({"a": 0, "b": 1}), Record({"b": 1, "a": 0})),
    )


_FLOATS = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}


def float_bits(dtype: str) -> tuple[int, ...]:
    """Return bits of `dtype`, as integers, that are lost easily: signs of zero, subnormals, NaNs of every sort.

    >>> hex(float_bits("float32")[-1])
    '0xff800001'
    """
    bits = 8 * BY_NAME[dtype].itemsize
    sign = 1 << (bits - 1)
    if dtype not in _FLOATS:
        return 0, sign, sign - 1, 2 * sign - 1, 1
    exponent, mantissa = _FLOATS[dtype]
    infinity = ((1 << exponent) - 1) << mantissa
    quiet = infinity | 1 << (mantissa - 1)
    return (
        *(0, sign, 1, sign | 1, infinity - 1, infinity, sign | infinity),
        *(quiet, sign | quiet, quiet | 5, infinity | 1, sign | infinity | 1),
    )


def bits_array(dtype: str, bits: "list[int]") -> "np.ndarray[tuple[int], np.dtype[np.generic]]":
    """Return a one-dimensional array of these bits; nothing is converted, so signalling NaNs stay what they are."""
    row = BY_NAME[dtype]
    raw = b"".join(value.to_bytes(row.itemsize, "little") for value in bits)
    return np.frombuffer(bytearray(raw), row.numpy)
