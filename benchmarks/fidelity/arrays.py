"""Cases of arrays: dtypes, bits, shapes, memory layouts, and which arrays are one."""

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from benchmarks.fidelity.case import Case

__all__ = ["ARRAYS", "SHARING"]

INTS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float16", "float32", "float64", "complex64", "complex128")
FLOAT8 = ("float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu")
FLOAT6 = ("float6_e2m3fn", "float6_e3m2fn")
BASE = 1 << 20
"""Elements of the large array that a view is taken of."""

Array = np.ndarray[Any, Any]


def _ramps(*names: str) -> Callable[[], dict[str, Array]]:
    """Return a maker of one array of 0 to 3 for each dtype."""
    return lambda: {name: np.arange(4).astype(getattr(ml_dtypes, name, None) or name) for name in names}


def _x(make: Callable[[], Any]) -> Callable[[], dict[str, Any]]:
    return lambda: {"x": make()}


def _cube(start: int = 0) -> Array:
    return np.arange(start, start + 30, dtype=np.float32).reshape(2, 3, 5)


def _some(bits: int, dtype: Any = np.float32) -> Array:
    """Return an array that has one element of these bits among others."""
    array = np.arange(4).astype(dtype)
    array.view(f"u{array.itemsize}")[2] = bits
    return array


def _signalling() -> dict[str, Array]:
    halves = {"half": _some(0x7C01, np.float16), "bfloat16": _some(0x7F81, ml_dtypes.bfloat16)}
    return {"float": _some(0x7F80_0001), "double": _some(0x7FF0_0000_0000_0001, np.float64), **halves}


def _views() -> dict[str, Array]:
    return {"strided": _cube()[::-1, :, ::2], "broadcast": np.broadcast_to(np.float32(1.5), (2, 3))}


def _ints4() -> dict[str, Array]:
    signed = {"int4": np.arange(-8, 8).astype(ml_dtypes.int4), "int2": np.arange(-2, 2).astype(ml_dtypes.int2)}
    return {**signed, **_ramps("uint4", "uint2")()}


def _twice() -> dict[str, Any]:
    weight = _cube()
    return {"embed": {"w": weight}, "head": {"w": weight}}


def _whole_view() -> dict[str, Array]:
    weight = _cube()
    return {"w": weight, "v": weight[:]}


ARRAYS = (
    Case("bool, ints and uints", _ramps(*INTS)),
    Case("floats and complex numbers", _ramps(*FLOATS)),
    Case("bfloat16", _ramps("bfloat16"), tell=("npz", "h5py")),
    Case("float8_e4m3fn, float8_e5m2", _ramps("float8_e4m3fn", "float8_e5m2"), tell=("safetensors",)),
    Case("other float8, float6", _ramps(*FLOAT8, *FLOAT6), tell=("h5py",)),
    Case("float4_e2m1fn", _ramps("float4_e2m1fn"), tell=("h5py",)),
    Case("int4, uint4, int2, uint2", _ints4, tell=("npz",)),
    Case("int1, complex32 of ml_dtypes", _ramps("int1", "complex32")),
    Case("longdouble", _x(lambda: np.arange(3).astype(np.longdouble) / 3)),
    Case("datetime64", _x(lambda: np.array(["2024-02-29"], "datetime64[D]"))),
    Case("arrays of texts, structured", lambda: {"t": np.array(["a", "bc"]), "s": np.array([(1, 2.0)], "i4,f8")}),
    Case("an array of objects", _x(lambda: np.array([{"a": 1}, None], object)), tell=("npz",)),
    Case("a masked array", _x(lambda: np.ma.masked_array([1.0, 2.0], [False, True])), tell=("orbax",)),
    Case("0-d arrays", lambda: {"x": np.array(1.5, np.float32), "y": np.array(-3)}),
    Case("empty arrays", lambda: {"x": np.zeros(0, np.float32), "y": np.zeros((3, 0, 2), np.int8)}, tell=("orbax",)),
    Case("Fortran order", _x(lambda: np.asfortranarray(_cube())), tell=("safetensors",)),
    Case("views: strided, reversed, broadcast", _views, tell=("safetensors",)),
    Case("big-endian", _x(lambda: _cube().astype(">f4")), tell=("flax",)),
    Case("−0.0 − 0.0i throughout", _x(lambda: np.full(6, complex(-0.0, -0.0), np.complex64)), tell=("zarr",)),
    Case("one NaN with a payload, all NaN", lambda: {"x": _some(0xFFC0_BEEF), "y": np.full(6, np.nan, np.float32)}),
    Case("a signalling NaN of each width", _signalling),
)

SHARING = (
    Case("one array at two places", _twice, tell=("orbax",)),
    Case("`w[:]` beside `w`", _whole_view, tell=("torch.save",)),
    Case("equal arrays that are two", lambda: {"a": _cube(), "b": _cube()}),
    Case("16 elements of an array of 1 Mi", _x(lambda: np.arange(BASE, dtype=np.float32)[:16]), needed=64),
)
