"""The BSON backend: a stream of documents below 16 MiB. Source: spec section 7.5."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from statetree.errors import StateTreeError, fail
from statetree.limits import Limits
from statetree.store import ArraySpec, Examination, Finding, Layout, WriteOptions
from statetree_backends._block import split_blocks
from statetree_backends._bson_examine import examine
from statetree_backends._bson_file import COMPRESSIONS, DAMAGED, PIECE, PREFIX, BsonFile
from statetree_backends._bson_index import Index
from statetree_backends._bson_stock import stock_bson
from statetree_backends._bson_writer import BsonWriter
from statetree_backends._codecs import decompress, missing_codec
from statetree_backends._stock import guarded

__all__ = ["BACKEND"]


class BsonReader:
    """An open file: trailer, index and digests; the data documents around the payloads are not walked."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._specs: Sequence[ArraySpec] = ()
        self._lock = threading.Lock()
        self._last: tuple[int, bytes] = (-1, b"")
        self._container = BsonFile(path)
        self._file = self._container.file
        self._compression = self._container.block.compression

    def algorithm(self) -> str:
        """Return the digest algorithm that the container records."""
        return self._container.block.algorithm

    def manifest(self) -> bytes:
        """Return the manifest text, checked."""
        return self._container.text("manifest", self._limits.manifest_bytes)

    def info(self) -> bytes:
        """Return the info text, checked."""
        return self._container.text("info", self._limits.info_bytes)

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Learn what the arrays are; the index is read when it is first needed."""
        self._specs = specs
        arrays = self._container.block.arrays
        if arrays != len(specs):
            fail("BACKEND_MISMATCH", f"{len(specs)} arrays", str(arrays), place="trailer", remedy=DAMAGED)

    @cached_property
    def _index(self) -> Index:
        """The index, held against the file and the number of arrays."""
        block, container = self._container.block, self._container
        end = min(container.trailer, *(part.offset for part in block.parts.values()))
        nbytes = np.fromiter((spec.nbytes for spec in self._specs), np.int64, len(self._specs))
        packed = self._compression is not None
        return Index(container.text("index"), block.rows, nbytes, (container.first, end), packed=packed)

    def layout(self) -> Layout | None:
        """Return where arrays lie that are stored as they are in one document; the file is one segment."""
        index = self._index
        if not len(index.offsets):
            return None
        rows = np.maximum(index.whole, 0)
        segments = np.where(index.whole >= 0, 0, -1)
        read = self._file.read_into
        return Layout(segments, index.offsets[rows], index.sizes[rows], lambda _, offset, out: read(offset, out))

    def blocks(self) -> Mapping[int, bytes]:
        """Return the block digests."""
        return self._blocks

    @cached_property
    def _blocks(self) -> Mapping[int, bytes]:
        data = self._container.text("blocks")
        return split_blocks(data, (spec.nbytes for spec in self._specs), self.algorithm(), "blocks")

    def view(self, index: int) -> memoryview | None:
        """Return array `index` mapped, if it is stored as it is in one document."""
        nbytes = self._checked(index)
        row = int(self._index.whole[index])
        return None if row < 0 else self._file.view(self._place_of(index, row, nbytes), nbytes)

    def _checked(self, index: int) -> int:
        """Return the bytes of array `index`, which must have as many documents as it needs."""
        nbytes = self._specs[index].nbytes
        wanted, found = -(-nbytes // PIECE), int(self._index.counts[index])
        if found != wanted:
            code = "ARRAY_MISSING" if found < wanted else "BSON_CHUNKS"
            fail(code, f"{wanted} data documents", str(found), place=self.place(index), remedy=DAMAGED)
        return nbytes

    def _place_of(self, index: int, row: int, size: int) -> int:
        """Return the file offset of a piece that is stored as it is and must have `size` bytes."""
        stored = int(self._index.sizes[row])
        if stored != size:
            fail("BSON_CHUNKS", f"{size} bytes", str(stored), place=self.place(index), remedy=DAMAGED)
        return int(self._index.offsets[row])

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index` out of its documents."""
        nbytes = self._checked(index)
        at = start
        while at < stop:
            n = at // PIECE
            end = min(stop, (n + 1) * PIECE)
            self._piece(index, n, min(PIECE, nbytes - n * PIECE), at % PIECE, out[at - start : end - start])
            at = end

    def _piece(self, index: int, n: int, size: int, start: int, out: memoryview) -> None:
        """Copy from byte `start` of the n-th piece of an array, which has `size` bytes."""
        row = int(self._index.starts[index]) + n
        if self._compression is not None:
            out[:] = memoryview(self._unpacked(index, row, size))[start : start + len(out)]
        else:
            self._file.read_into(self._place_of(index, row, size) + start, out)

    def _unpacked(self, index: int, row: int, size: int) -> bytes:
        """Return a piece unpacked; the last one is kept, since digest blocks are half as long."""
        with self._lock:
            if self._last[0] != row:
                stored = self._file.read(int(self._index.offsets[row]), int(self._index.sizes[row]))
                self._last = (row, decompress(self._compression or "", stored, size, self.place(index)))
            return self._last[1]

    def reread(self, index: int) -> bool:
        """There is no other way."""
        return False

    def examine(self, asked: Examination) -> Iterator[Finding]:
        """Yield what is wrong with the documents of the file."""
        index: Index | None = None
        if asked.bound:
            try:
                index = self._index
            except StateTreeError as error:
                yield Finding(error.problems[0])
            else:
                yield from self._short_of_rows(index)
        yield from examine(self._container, self._specs, index, asked)

    def _short_of_rows(self, index: Index) -> Iterator[Finding]:
        """Yield which arrays have other rows than they need."""
        nbytes = np.fromiter((spec.nbytes for spec in self._specs), np.int64, len(self._specs))
        wrong = index.counts != -(-nbytes // PIECE)
        if self._compression is None:
            held = np.concatenate(([0], np.cumsum(index.sizes)))
            ends = np.minimum(index.starts + index.counts, len(index.sizes))
            wrong |= held[ends] - held[np.minimum(index.starts, ends)] != nbytes
        for i in np.flatnonzero(wrong).tolist():
            try:
                row = int(index.starts[i])
                for n in range(-(-self._checked(i) // PIECE)):
                    self._place_of(i, row + n, min(PIECE, int(nbytes[i]) - n * PIECE))
            except StateTreeError as error:
                yield Finding(error.problems[0], i)

    def stock(self, digests: Sequence[str]) -> Iterator[Finding]:
        """Yield in what pymongo's bson shows another tree than the manifest."""
        return guarded(stock_bson(self._container, self._specs, digests), "bson", str(self._file.path))

    def stored_bytes(self) -> int:
        """Return the size of the file."""
        return self._file.size

    def place(self, index: int) -> str:
        """Return the name of array `index`."""
        return f"array {self._specs[index].name}"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BsonBackend:
    """BSON files."""

    name = "bson"
    suffixes: tuple[str, ...] = (".bson",)
    compressions: tuple[str, ...] = COMPRESSIONS

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        """Pymongo's bson writes the documents; zstd needs zstandard."""
        if find_spec("bson") is None or find_spec("pymongo") is None:
            return "pymongo", "bson"
        return missing_codec(compression, "bson")

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the file begins with the header document."""
        return head[4 : 4 + len(PREFIX)] == PREFIX

    def writer(self, path: Path, options: WriteOptions) -> BsonWriter:
        """Begin a save."""
        return BsonWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> BsonReader:
        """Open a file."""
        return BsonReader(path, limits)


BACKEND = BsonBackend()
