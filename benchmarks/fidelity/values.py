"""Cases of numbers and texts that are leaves."""

import struct
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks.fidelity.case import Case

__all__ = ["NUMBERS", "TEXTS"]


def _double(bits: int) -> float:
    value: float = struct.unpack("<d", struct.pack("<Q", bits))[0]
    return value


def _scalar(dtype: Any, bits: int) -> Any:
    """Return the NumPy scalar of these bits; made from bytes, since arithmetic would quiet a signalling NaN."""
    dtype = np.dtype(dtype)
    return np.frombuffer(bits.to_bytes(dtype.itemsize, "little"), dtype)[0]


def _leaves(*values: Any) -> Callable[[], dict[str, Any]]:
    return lambda: {f"v{number}": value for number, value in enumerate(values)}


def _alike() -> dict[str, Any]:
    scalars = (np.True_, np.int8(1), np.int64(1), np.float32(1), np.float64(1))
    return _leaves(True, 1, 1.0, *scalars, np.array(True), np.array(1, np.float32))()


PAYLOAD, SIGNALLING = 0xFFF8_0000_DEAD_BEEF, 0x7FF0_0000_0000_0001

NUMBERS = (
    Case("ints: 42, 2⁵³ + 1, −2⁶³, 2⁶⁴ − 1; True", _leaves(42, 2**53 + 1, -(2**63), 2**64 - 1, True), tell=("h5py",)),
    Case("ints 2⁶⁴, −2⁶³ − 1", _leaves(2**64, -(2**63) - 1), tell=("npz",)),
    Case("int 10¹⁰⁰⁰", _leaves(10**1000), tell=("torch.save",)),
    Case("floats 0.1, −0.0, inf, subnormal", _leaves(0.1, -0.0, float("inf"), 5e-324), tell=("h5py",)),
    Case("float NaN with a payload, signalling", _leaves(_double(PAYLOAD), _double(SIGNALLING)), tell=("zarr",)),
    Case("complex, with −0.0", _leaves(1 + 2j, complex(-0.0, -0.0), complex(float("nan"), float("inf")))),
    Case("True, 1, 1.0, NumPy scalars, 0-d arrays", _alike, tell=("npz",)),
    Case("scalars: bfloat16, signalling float32", _leaves(ml_dtypes.bfloat16(1.5), _scalar(np.float32, 0x7F80_0001))),
    Case("tuples (0.9, 0.999) and (1e-6, 50)", lambda: {"b": (0.9, 0.999), "s": (1e-6, 50)}, tell=("zarr",)),
)

TEXTS = (
    Case("texts: empty, CRLF, astral, NFD", _leaves("", "a\r\nb\r", "𝛔👩‍🔬", "e\u0301"), tell=("npz",)),
    Case("texts with NUL inside and at the end", _leaves("a\0b", "ab\0")),
    Case("a list of texts", lambda: {"names": ["a", "bcd"]}, tell=("h5py",)),
    Case("bytes: empty, with NUL, beside a text", _leaves(b"", b"\xff", b"ab\0", b"ab", "ab")),
    Case("a bytearray", _leaves(bytearray(b"ab")), fresh=_leaves(bytearray()), tell=("flax",)),
    Case("a lone surrogate in a text", _leaves("\ud800")),
)
