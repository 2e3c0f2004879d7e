"""Data of one dataset as it lies in the file: in one piece, compact, or in chunks. Source: spec section 7.3.

Chunks are unpacked here and not by the HDF5 library, whose deflate filter unpacks without a bound.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from statetree.errors import fail
from statetree.files import MappedFile

__all__ = ["DEFLATE", "SHUFFLE", "Chunks", "Stored", "Unpacker", "check_chunks"]

DEFLATE, SHUFFLE = 1, 2
_DAMAGED = "the file is damaged: restore it from a copy"
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Chunks:
    """A dataset in chunks."""

    extent: tuple[int, ...]
    """Shape of a chunk."""
    filters: tuple[tuple[int, int], ...]
    """(filter id, its first parameter) in the order of writing: shuffle, deflate, both or neither."""
    table: Mapping[tuple[int, ...], tuple[int, int, int]]
    """Index of a chunk's first element → file offset, stored bytes, mask of the filters that it skips."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the data of a dataset lies; one of the three is not None."""

    shape: tuple[int, ...]
    """Shape of the dataset."""
    itemsize: int
    """Bytes of an element."""
    place: str
    """Its name in the file."""
    offset: int | None = None
    """File offset of contiguous data, checked to lie in the file."""
    compact: bytes | None = None
    """Data that lay in the object header."""
    chunks: Chunks | None = None
    """Data in chunks."""

    @property
    def nbytes(self) -> int:
        """Bytes of the data."""
        return prod(self.shape) * self.itemsize


class Unpacker:
    """Reads datasets of one file; it keeps the chunk that was unpacked last, for reads that end inside of one."""

    def __init__(self, file: MappedFile) -> None:
        self._file = file
        self._last: tuple[int, Bytes] | None = None

    def whole(self, stored: Stored) -> bytes:
        """Return all bytes of a dataset, whose size was held against the file.

        Raises:
            StateTreeError: as `read` does.
        """
        out = bytearray(stored.nbytes)
        self.read(stored, 0, len(out), memoryview(out))
        return bytes(out)

    def read(self, stored: Stored, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of a dataset's canonical bytes into `out`.

        Raises:
            IntegrityError: a chunk is not there, cannot be unpacked, or has another size than it should.
        """
        if stored.offset is not None:
            self._file.read_into(stored.offset + start, out)
        elif stored.compact is not None:
            out[:] = stored.compact[start:stop]
        elif stored.chunks is not None and stop > start:
            row = stored.itemsize * int(np.prod(stored.shape[1:], dtype=object))
            first, last = start // row, -(-stop // row)
            rows = self._rows(stored, stored.chunks, first, last).reshape(-1)
            out[:] = rows.data[start - first * row : stop - first * row]

    def _rows(self, stored: Stored, chunks: Chunks, first: int, last: int) -> Bytes:
        """Return rows [first, last) of a dataset as bytes, with one axis more: the bytes of an element."""
        out = np.empty((last - first, *stored.shape[1:], stored.itemsize), np.uint8)
        bounds = [(first, last), *((0, extent) for extent in stored.shape[1:])]
        grid = [range(a // c * c, b, c) for (a, b), c in zip(bounds, chunks.extent, strict=True)]
        for at in product(*grid):
            chunk = self._chunk(stored, chunks, at)
            source, target = [], []
            for origin, size, (a, b) in zip(at, chunks.extent, bounds, strict=True):
                low, high = max(origin, a), min(origin + size, b)
                source.append(slice(low - origin, high - origin))
                target.append(slice(low - a, high - a))
            out[tuple(target)] = chunk[tuple(source)]
        return out

    def _chunk(self, stored: Stored, chunks: Chunks, at: tuple[int, ...]) -> Bytes:
        offset, size, mask = _find(stored, chunks, at, self._file.size)
        last = self._last
        if last is not None and last[0] == offset and last[1].shape == (*chunks.extent, stored.itemsize):
            return last[1]
        wanted = int(np.prod(chunks.extent, dtype=object)) * stored.itemsize
        data: Bytes | None = np.frombuffer(self._file.view(offset, size), np.uint8)
        for number, (code, parameter) in reversed(list(enumerate(chunks.filters))):
            if data is not None and not mask >> number & 1:
                data = _inflate(data, wanted) if code == DEFLATE else _unshuffle(data, parameter)
        if data is None or len(data) != wanted:
            fail("DIGEST", f"a chunk of {wanted} bytes at {at}", "other bytes", place=stored.place, remedy=_DAMAGED)
        chunk = data.reshape(*chunks.extent, stored.itemsize)
        self._last = offset, chunk
        return chunk


def check_chunks(stored: Stored, chunks: Chunks, file_size: int) -> None:
    """Refuse a dataset of which a chunk is not stored, or ends behind the end of the file; no chunk is read.

    Raises:
        StateTreeError: for the first such chunk.
    """
    # One that is missing is met after at most as many as are there.
    for at in product(*(range(0, n, c) for n, c in zip(stored.shape, chunks.extent, strict=True))):
        _find(stored, chunks, at, file_size)


def _find(stored: Stored, chunks: Chunks, at: tuple[int, ...], file_size: int) -> tuple[int, int, int]:
    """Return file offset, stored bytes and filter mask of a chunk."""
    found = chunks.table.get(at)
    if found is None:
        fail("ARRAY_MISSING_CHUNK", f"a chunk at {at}", "none", place=stored.place, remedy=_DAMAGED)
    if found[0] + found[1] > file_size:
        expected, behind = "a chunk in the file", "one behind its end"
        fail("CONTAINER_TRUNCATED", expected, behind, place=stored.place, remedy=_DAMAGED)
    return found


def _inflate(data: Bytes, size: int) -> Bytes | None:
    """Return the `size` bytes that a zlib stream holds, None if it is no such stream."""
    inflater = zlib.decompressobj()
    try:
        out = inflater.decompress(data.data, size + 1)
    except zlib.error:
        return None
    return np.frombuffer(out, np.uint8) if inflater.eof and not inflater.unused_data else None


def _unshuffle(data: Bytes, size: int) -> Bytes:
    """Undo HDF5's shuffle: first bytes of all elements, second bytes of all elements, …, bytes left over."""
    count = len(data) // size
    whole = np.ascontiguousarray(data[: count * size].reshape(size, count).T).reshape(-1)
    return whole if len(whole) == len(data) else np.concatenate([whole, data[count * size :]])
