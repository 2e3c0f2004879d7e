"""The index of a BSON file: where the payloads of the data documents lie. Source: spec section 7.5."""

from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from statetree.errors import fail
from statetree_backends._bson_file import ALIGN, DAMAGED, PIECE
from statetree_backends._bson_strict import MAX_DOCUMENT

__all__ = ["Index"]

_ROW = np.dtype([("array", "<u4"), ("n", "<u4"), ("offset", "<u8"), ("size", "<u8")])


class Index:
    """The rows of an index, found to be in order and within the file.

    Args:
        data: bytes of the index.
        rows: number of data documents that the header block states.
        nbytes: canonical bytes of each array that the manifest lists.
        span: file offsets behind which the documents of data begin and before which they end.
        packed: whether payloads are compressed.

    Raises:
        InvalidError: the rows are out of order, name an array that has no bytes, or point elsewhere.
    """

    def __init__(
        self, data: bytes, rows: int, nbytes: NDArray[np.int64], span: tuple[int, int], *, packed: bool
    ) -> None:
        if len(data) != rows * _ROW.itemsize:
            _wrong(f"{rows} rows of {_ROW.itemsize} bytes", f"{len(data)} bytes")
        table = np.frombuffer(data, _ROW)
        _check_order(table, nbytes)
        _check_places(table, *span, MAX_DOCUMENT - 1 if packed else PIECE)
        arrays = len(nbytes)
        first = np.flatnonzero(table["n"] == 0)
        starts = np.full(arrays, -1, np.int64)
        starts[table["array"][first]] = first
        self.starts: NDArray[np.int64] = starts
        """Row of the first document of each array, -1 if it has none."""
        counts = np.bincount(table["array"].astype(np.int64), minlength=arrays)
        self.counts: NDArray[np.int64] = counts
        """Number of documents of each array."""
        self.whole: NDArray[np.int64] = np.where((counts == 1) & (not packed), starts, -1)
        """Row of each array that lies in one document as it is, -1 for others."""
        self.offsets: NDArray[np.int64] = table["offset"].astype(np.int64)
        """File offset of the payload of each row."""
        self.sizes: NDArray[np.int64] = table["size"].astype(np.int64)
        """Stored bytes of the payload of each row."""


def _wrong(expected: str, found: str) -> NoReturn:
    fail("BSON_CHUNKS", f"an index of {expected}", found, place="index", remedy=DAMAGED)


def _check_order(table: "np.ndarray[Any, np.dtype[np.void]]", nbytes: NDArray[np.int64]) -> None:
    array, n = table["array"].astype(np.int64), table["n"].astype(np.int64)
    step = np.diff(array, prepend=-1)
    before = np.concatenate(([-1], n[:-1]))
    if not np.where(step > 0, n == 0, (step == 0) & (n == before + 1)).all():
        _wrong("rows in the order of arrays and their pieces", "another order")
    if len(array) and array[-1] >= len(nbytes):
        _wrong(f"{len(nbytes)} arrays", f"array {array[-1]}")
    empty = array[nbytes[array] == 0]
    if len(empty):
        _wrong("arrays that have bytes", f"array {empty[0]}, which has none")


def _check_places(table: "np.ndarray[Any, np.dtype[np.void]]", start: int, end: int, largest: int) -> None:
    offsets, sizes = table["offset"], table["size"]
    if ((offsets < start) | (offsets >= end) | (sizes == 0) | (sizes > largest)).any():
        _wrong(f"payloads of 1 to {largest} bytes between header and texts", "others")
    # No sum overflows now. A zero byte follows each payload.
    offset = offsets.astype(np.int64)
    behind = offset + sizes.astype(np.int64) + 1
    if (behind > np.append(offset[1:], end)).any() or (offset % ALIGN != 0).any():
        _wrong(f"payloads behind each other at multiples of {ALIGN}", "others")
