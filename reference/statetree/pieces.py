"""The canonical bytes of arrays, a piece at a time. Source: spec section 3."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from statetree.digest import BLOCK, block_spans
from statetree.dtype import BY_NAME
from statetree.lazy import native, raw_bytes
from statetree.store import ArraySpec

__all__ = ["PLAIN", "SMALL", "pieces"]

Array = np.ndarray[Any, Any]
SMALL = 1 << 16
"""Bytes up to which copying an array is quicker than looking at how it lies."""
PLAIN = frozenset(row.numpy for row in BY_NAME.values() if row.top is None and np.little_endian)
"""Dtypes whose elements are stored as they are in memory."""
_TOPS = {name: row.top for name, row in BY_NAME.items()}


def pieces(array: Array, spec: ArraySpec) -> Iterable[memoryview | bytes]:
    """Return the canonical bytes of an array in pieces of 4 MiB, the last one shorter; one empty piece if empty."""
    top = _TOPS[spec.dtype]
    if spec.nbytes <= SMALL and array.dtype.isnative and np.little_endian:
        return (array.tobytes() if top is None else _canonical(memoryview(array.tobytes()), top),)
    plain = array.flags.c_contiguous and array.dtype.isnative and array.flags.aligned
    if spec.nbytes <= BLOCK:
        whole = array if plain else np.array(array, BY_NAME[spec.dtype].numpy, order="C", copy=True, subok=False)
        return (_canonical(raw_bytes(native(whole)), top),)
    if plain and np.little_endian:
        data = raw_bytes(array)
        return (_canonical(data[a:b], top) for a, b in block_spans(0, len(data)))
    return _gathered(array, spec, top)


def _gathered(array: Array, spec: ArraySpec, top: int | None) -> Iterator[memoryview]:
    """Yield the pieces of an array that lies in another order, without ever copying more than a piece of it."""
    itemsize = BY_NAME[spec.dtype].itemsize
    count = BLOCK // itemsize
    flat = array.flat
    for start in range(0, array.size, count):
        piece = np.ascontiguousarray(flat[start : start + count], BY_NAME[spec.dtype].numpy)
        yield _canonical(raw_bytes(native(piece)), top)


def _canonical(data: memoryview, top: int | None) -> memoryview:
    """Return bytes with bool made 0 or 1 and the unused bits of sub-byte elements made zero."""
    if top is None or not len(data):
        return data
    bytes_ = np.frombuffer(data, np.uint8)
    if int(bytes_.max()) <= top:
        return data
    return ((bytes_ != 0).view(np.uint8) if top == 1 else bytes_ & np.uint8(top)).data
