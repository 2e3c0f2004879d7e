"""Arrays inside of joblib's pickles: raw bytes between two instructions. Source: joblib's numpy_pickle.py.

joblib pickles a wrapper in place of each array, and writes the array's bytes right behind the instruction that fills
the wrapper. To follow the pickle on, one must know how many bytes these are.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

__all__ = ["Gap", "dtype_of", "gap_behind"]

_MEMBERS = ("shape", "order", "dtype", "allow_mmap")
_ALIGNMENT = "numpy_array_alignment_bytes"
_DTYPE = re.compile(r"[<>=|]?([?a-zA-Z])(\d*)")


@dataclass(frozen=True, slots=True)
class Gap:
    """What lies behind a wrapper."""

    nbytes: int | None
    """Bytes of the array; None if it is a pickle of objects."""
    padded: bool
    """Whether a byte that counts others, and these, come before."""


def dtype_of(pushed: Sequence[Any]) -> str | None:
    """Return the text of a dtype that is made now, of its text, two flags and a tuple of these; None if none is."""
    text = pushed[-4] if len(pushed) > 3 else None
    return text if isinstance(text, str) and _DTYPE.fullmatch(text) else None


def gap_behind(pushed: Sequence[Any]) -> Gap | None:
    """Return what lies behind a wrapper that is filled now, None if none is.

    Args:
        pushed: the texts, numbers and other things (None) that a pickle put on its stack since the last wrapper.
    """
    if any(member not in pushed for member in _MEMBERS):
        return None
    shape, order, dtype, end = (pushed.index(member) for member in _MEMBERS)
    if not shape < order < dtype < end:
        return None
    names = (_DTYPE.fullmatch(text) for text in pushed[dtype + 1 : end] if isinstance(text, str))
    name = next((found for found in names if found is not None), None)
    if name is None:
        return None
    rest = list(pushed[end:])
    padded = _ALIGNMENT in rest[:-1] and type(rest[rest.index(_ALIGNMENT) + 1]) is int
    if name[1] == "O":
        return Gap(None, False)
    size = int(name[2] or 1) * (4 if name[1] == "U" else 1)
    return Gap(prod(n for n in pushed[shape + 1 : order] if type(n) is int) * size, padded)
