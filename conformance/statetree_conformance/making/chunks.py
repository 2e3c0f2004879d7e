"""Datasets of HDF5 that are not in one piece: in chunks, compact, filtered. Source: spec section 7.3, [H-5], [H-7]."""

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

from statetree_conformance.making.frames import zlib_stream
from statetree_conformance.making.hdf5 import Make, dataset, datatype, plist, space
from statetree_conformance.making.texts import itemsize
from statetree_conformance.making.values import Array

__all__ = ["DEFLATE", "SHUFFLE", "chunked", "compact", "cut", "shuffled"]

DEFLATE, SHUFFLE = 1, 2


def shuffled(data: bytes, size: int) -> bytes:
    """Return the first bytes of all elements, then the second bytes, and so on."""
    return b"".join(data[k::size] for k in range(size))


def cut(array: Array, extent: Sequence[int], beyond: int = 0) -> dict[tuple[int, ...], bytes]:
    """Return the chunks of an array by their first element; bytes beyond the array are `beyond`."""
    if tuple(extent) == array.shape:
        return {(0,) * len(extent): array.raw}
    size = itemsize(array.dtype)
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(len(array.shape))]
    out = {}
    for first in product(*(range(0, n, c) for n, c in zip(array.shape, extent, strict=True))):
        data = b""
        for place in product(*(range(a, a + c) for a, c in zip(first, extent, strict=True))):
            inside = all(p < n for p, n in zip(place, array.shape, strict=True))
            at = size * sum(p * stride for p, stride in zip(place, strides, strict=True))
            data += array.raw[at : at + size] if inside else bytes([beyond]) * size
        out[first] = data
    return out


def _filtered(data: bytes, filters: Sequence[int], mask: int, size: int) -> bytes:
    for number, code in enumerate(filters):
        if code == SHUFFLE and not mask >> number & 1:
            data = shuffled(data, size)
        if code == DEFLATE and not mask >> number & 1:
            data = zlib_stream(data)
    return data


def chunked(
    extent: Sequence[int],
    filters: Sequence[int] = (),
    *,
    stored: dict[tuple[int, ...], bytes | None] | None = None,
    mask: int = 0,
    most: Sequence[int] | None = None,
    beyond: int = 0,
    early: bool = False,
    values: Sequence[int] = (),
    shape: Sequence[int] | None = None,
    dtype: str | None = None,
    size: int | None = None,
) -> Make:
    """Return what makes a dataset in chunks.

    Args:
        extent: shape of a chunk.
        filters: ids of filters, in the order of writing.
        stored: what is stored of some chunks in place of the right bytes; None: nothing.
        mask: filters that every chunk says it skips.
        most: maximum extents.
        beyond: what a chunk holds beyond the array.
        early: whether chunks have their places before they are written.
        values: parameters of filters other than shuffle and deflate.
        shape: shape of the dataset, if another than the array's.
        dtype: dtype of the dataset, if another than the array's.
        size: bytes of an element as shuffle takes them, if others; the library writes its own parameter.
    """

    def make(group: Any, name: bytes, array: Array) -> None:
        from h5py import h5d, h5z

        created = plist()
        created.set_layout(h5d.CHUNKED)
        created.set_chunk(tuple(extent))
        created.set_alloc_time(h5d.ALLOC_TIME_EARLY if early else h5d.ALLOC_TIME_INCR)
        width = itemsize(array.dtype)
        for code in filters:
            parameters = {SHUFFLE: (size or width,), DEFLATE: (5,)}.get(code, tuple(values))
            created.set_filter(code, h5z.FLAG_OPTIONAL, parameters)
        where = space(array.shape if shape is None else shape, most)
        made = dataset(group, name, datatype(dtype or array.dtype), where, created)
        if shape is None:
            for first, data in cut(array, extent, beyond).items():
                found = stored[first] if stored and first in stored else _filtered(data, filters, mask, size or width)
                if found is not None:
                    made.write_direct_chunk(first, found, mask)

    return make


def compact(group: Any, name: bytes, array: Array) -> None:
    """Make a dataset whose data lies in its object header."""
    import numpy as np
    from h5py import h5d, h5s

    created = plist()
    created.set_layout(h5d.COMPACT)
    kind = datatype(array.dtype)
    made = dataset(group, name, kind, space(array.shape), created)
    made.write(h5s.ALL, h5s.ALL, np.frombuffer(array.raw, np.uint8), kind)
