"""Elements in another dtype, without a value that is lost by its size. Source: docs/restore.md."""

from typing import Any

import ml_dtypes
import numpy as np

from statetree.dtype import BY_NAME, dtype_name

__all__ = ["castable", "converted", "lost", "wide"]

Array = np.ndarray[Any, Any]
_BLOCK = 1 << 20
"""Elements that are compared at once."""


def castable(source: str, target: str) -> bool:
    """Whether a dtype may be cast to another at all, from the narrower to the wider family: no float to an integer."""
    return source in BY_NAME and _family(source) <= _family(target)


def _family(name: str) -> int:
    families = (("bool",), ("uint",), ("int",), ("float", "bfloat"), ("complex",))
    return next(rank for rank, family in enumerate(families) if name.startswith(family))


def converted(array: Array, target: str) -> Array:
    """Return an array in another dtype, with whatever that makes of its elements."""
    dtype = BY_NAME[target].numpy
    with np.errstate(all="ignore"):
        try:
            return array.astype(dtype)
        except TypeError:  # dtypes of ml_dtypes that know nothing of each other
            return array.astype(np.float64).astype(dtype)


def wide(array: Array) -> Array:
    """Return the elements as numbers that hold integers of 64 bits and all floats of the format exactly.

    Complex numbers become pairs of real ones, along a new last axis.
    """
    if array.dtype.kind == "c":
        return wide(np.stack([array.real, array.imag], axis=-1))
    # ml_dtypes knows no longdouble.
    return (array if _is_native(array.dtype) else array.astype(np.float64)).astype(np.longdouble)


def lost(array: Array, new: Array) -> str | None:
    """Return an element, as text, that `new` no longer has although it is the same array in another dtype; else None.

    Integers must be the same. Floats may be rounded, but must not become infinite, NaN, saturated, or zero no more.
    """
    flat, changed = array.reshape(-1), new.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK]
        differ = _differ(block, changed[start : start + _BLOCK])
        if differ.any():
            element = block[np.flatnonzero(differ)[0] // (differ.size // block.size)]
            return str(element.item() if _is_native(array.dtype) else element)
    return None


def _differ(array: Array, new: Array) -> Array:
    before, after = wide(array), wide(new if array.dtype.kind == "c" else new.real)
    if _is_integer(array):
        return np.asarray(before != after)
    differ = np.isnan(before) != np.isnan(after)
    differ |= np.isinf(before) != np.isinf(after)
    differ |= (before == 0) & (after != 0)
    # Some floats have no infinity: what is too large saturates.
    differ |= np.isfinite(before) & (np.abs(before) > wide(np.asarray(_largest(new.dtype))))
    return np.asarray(differ)


def _is_native(dtype: "np.dtype[Any]") -> bool:
    return dtype.type.__module__ == "numpy"


def _is_integer(array: Array) -> bool:
    return _family(dtype_name(array.dtype) or "") <= _family("int64")


def _largest(dtype: "np.dtype[Any]") -> Any:
    """Return the largest finite number of a float dtype, or of the parts of a complex one."""
    return np.finfo(dtype).max if _is_native(dtype) else ml_dtypes.finfo(dtype).max  # type: ignore[no-untyped-call]
