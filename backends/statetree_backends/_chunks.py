"""Cutting arrays into chunks along their first axis. Source: spec sections 7.3 and 7.4."""

from statetree.digest import BLOCK
from statetree.store import ArraySpec

__all__ = ["Cutter", "chunk_rows"]

_LEAST = 4096
_MOST = 1 << 31


def chunk_rows(spec: ArraySpec) -> int:
    """Return the rows of a chunk of an array that is to be compressed, 0 if it is stored as it is.

    Chunks are of about 4 MiB; arrays below 4 KiB, and those whose rows are larger than 2 GiB, are left alone.
    """
    if not spec.shape or spec.nbytes < _LEAST:
        return 0
    row = spec.nbytes // spec.shape[0]
    return 0 if row > _MOST else min(spec.shape[0], max(1, BLOCK // row))


class Cutter:
    """Gathers the pieces of one array and gives back its chunks, the last one filled up with zeros."""

    def __init__(self, spec: ArraySpec, rows: int) -> None:
        self._size = rows * (spec.nbytes // spec.shape[0])
        self._left = spec.nbytes
        self._held = bytearray()

    def add(self, data: memoryview | bytes) -> list[bytes]:
        """Take the next piece and return the chunks that are complete."""
        self._held += data
        self._left -= len(data)
        chunks = []
        while len(self._held) >= self._size or (not self._left and self._held):
            chunks.append(bytes(self._held[: self._size]).ljust(self._size, b"\0"))
            del self._held[: self._size]
        return chunks
