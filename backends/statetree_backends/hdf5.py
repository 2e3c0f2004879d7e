"""The HDF5 backend: plain HDF5 and an index by which arrays are mapped. Source: spec section 7.3."""

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statetree.errors import StateTreeError, fail
from statetree.files import MappedFile
from statetree.limits import Limits
from statetree.store import ArraySpec, Layout, WriteOptions
from statetree.version import check_major
from statetree_backends._block import MAGIC, SIZE, Block, checked_text, split_blocks, unpack_block
from statetree_backends._hdf5_format import FRAME, SIGNATURE, read_frame
from statetree_backends._hdf5_library import Library
from statetree_backends._hdf5_stored import Stored, Unpacker
from statetree_backends._hdf5_writer import HEADER_AT, HEADER_SIZE, Hdf5Writer

__all__ = ["BACKEND"]

_ROW = 16
_DAMAGED = "the file is damaged: restore it from a copy"
_FOREIGN = "write the file with a conforming writer"
COMPRESSIONS = ("gzip",)
_LARGEST_HEADER = 1 << 20
"""Bytes of a /header that is looked at to recognise a file; one of more than 4,096 is then refused."""


class _Index:
    """The rows of an index; a place outside of the file is stale, and its array is sought by name."""

    def __init__(self, data: bytes, file_size: int) -> None:
        rows = np.frombuffer(data, "<u8")
        offsets, sizes = rows[0::2], rows[1::2]
        inside = (offsets <= file_size) & (sizes <= file_size - np.minimum(offsets, file_size))
        self.offsets: NDArray[np.int64] = np.where(inside, offsets, 0).astype(np.int64)
        """File offset of each array, 0 where there is none."""
        self.sizes: NDArray[np.int64] = np.where(inside, sizes, 0).astype(np.int64)
        """Bytes of each array."""


class Hdf5Reader:
    """An open file.

    The short way takes offsets from the header and the index and believes them only for bytes whose digest is right;
    where one is wrong, or the header is not at 4096 any more, the same part is read by its name through the library.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._specs: Sequence[ArraySpec] = ()
        self._library: Library | None = None
        self._stored: dict[int, Stored] = {}
        self._slow: set[int] = set()
        self._lock = threading.RLock()
        self._file = MappedFile(path)
        self._unpacker = Unpacker(self._file)
        try:
            raw = self._file.read(HEADER_AT, SIZE)
            self._short = len(raw) == SIZE and raw[: len(MAGIC)] == MAGIC
            if self._short:
                check_major(int.from_bytes(raw[16:18], "little"), "header")
            self._check_frame()
            self._block = self._header(raw)
        except BaseException:
            self.close()
            raise

    def _check_frame(self) -> None:
        """Refuse a file with something before or behind its HDF5, cut off, or still being written."""
        frame = read_frame(self._file.read(0, FRAME))
        if frame is None:
            fail("POLYGLOT", "HDF5 at the start of the file", "other bytes", remedy=_DAMAGED)
        place, size = "superblock", self._file.size
        if frame.base:
            fail("POLYGLOT", "HDF5 at the start of the file", f"a user block of {frame.base} bytes", place=place)
        if frame.written or (frame.end != size and self._file.is_locked()):
            mark = "; if there is none, h5clear -s removes the mark that a crash left" if frame.written else ""
            wait = f"close the other program{mark}"
            fail("CONTAINER_LOCKED", "a file that nobody writes", "one open for writing", place=place, remedy=wait)
        if frame.end > size:
            fail("CONTAINER_TRUNCATED", f"{frame.end} bytes", str(size), place=place, remedy=_DAMAGED)
        if frame.end < size:
            added = "something was added to the file: restore it from a copy"
            end = f"a file that ends with its HDF5 at {frame.end}"
            fail("POLYGLOT", end, f"{size} bytes", place=place, remedy=added)

    def _header(self, raw: bytes) -> Block:
        block = self._any_header(raw)
        if block.rows != block.arrays:
            found = f"{block.rows} rows for {block.arrays}"
            fail("HEADER_FORM", "an index of a row for each array", found, place="/header", remedy=_FOREIGN)
        return block

    def _any_header(self, raw: bytes) -> Block:
        if self._short:
            try:
                return unpack_block(raw, "header", COMPRESSIONS)
            except StateTreeError as error:
                if error.error_class != "integrity":
                    raise
                self._short = False
        data = self._by_library(lambda library: library.text("header", HEADER_SIZE))
        if data is None or len(data) < SIZE or data[: len(MAGIC)] != MAGIC:
            expected, found = f"a header block of {SIZE} bytes", "none" if data is None else f"{len(data)} bytes"
            fail("H5_MANIFEST_FORM", expected, found, place="/header", remedy=_DAMAGED)
        return unpack_block(data[:SIZE], "/header", COMPRESSIONS)

    def _by_library(self, ask: Callable[[Library], Any]) -> Any:
        with self._lock:
            if self._library is None:
                self._library = Library(self._file)
            return ask(self._library)

    def _part(self, name: str, limit: int | None) -> bytes:
        part = self._block.parts[name]
        if limit is not None and part.size > limit:
            fail("LIMIT_MANIFEST", f"at most {limit} bytes", str(part.size), place=f"/{name}", remedy="raise limits=")
        if self._short and part.offset + part.size <= self._file.size:
            try:
                data = self._file.read(part.offset, part.size)
                return checked_text(name, data, self._block.algorithm, part.digest, f"/{name}")
            except StateTreeError:
                pass  # moved or changed by another tool: the library knows where it is now
        found = self._by_library(lambda library: library.text(name, part.size))
        if found is None:
            fail("ARRAY_MISSING", f"the dataset /{name}", "none", place=f"/{name}", remedy=_DAMAGED)
        return checked_text(name, found, self._block.algorithm, part.digest, f"/{name}")

    def algorithm(self) -> str:
        """Return the digest algorithm that the container records."""
        return self._block.algorithm

    def manifest(self) -> bytes:
        """Return the manifest text, checked."""
        return self._part("manifest", self._limits.manifest_bytes)

    def info(self) -> bytes:
        """Return the info text, checked."""
        return self._part("info", self._limits.info_bytes)

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Learn what the arrays are; the index is read when it is first needed."""
        self._specs = specs
        if self._block.arrays != len(specs):
            found = str(self._block.arrays)
            fail("BACKEND_MISMATCH", f"{len(specs)} arrays", found, place="/header", remedy=_DAMAGED)

    @cached_property
    def _index(self) -> "_Index | None":
        """The index, None if this file is read by names."""
        if not self._short:
            return None
        data = self._part("index", None)
        if len(data) != _ROW * len(self._specs):
            expected = f"an index of {_ROW * len(self._specs)} bytes"
            fail("ARRAY_MISSING", expected, str(len(data)), place="/index", remedy=_DAMAGED)
        return _Index(data, self._file.size)

    def layout(self) -> Layout | None:
        """Return the places of the index; the file is one segment."""
        index = self._index
        if index is None:
            return None
        segments = np.where(index.offsets > 0, 0, -1)
        return Layout(segments, index.offsets, index.sizes, lambda _, offset, out: self._file.read_into(offset, out))

    def _offset(self, index: int) -> int | None:
        """Return where the index says that array `index` lies, None if it does not say or was found to be wrong."""
        places = self._index
        if places is None or index in self._slow or places.sizes[index] != self._specs[index].nbytes:
            return None
        return int(places.offsets[index]) or None

    def blocks(self) -> Mapping[int, bytes]:
        """Return the block digests."""
        return self._blocks

    @cached_property
    def _blocks(self) -> Mapping[int, bytes]:
        return split_blocks(
            self._part("blocks", None), (spec.nbytes for spec in self._specs), self.algorithm(), "/blocks"
        )

    def view(self, index: int) -> memoryview | None:
        """Return array `index` mapped, None if it does not lie in one piece."""
        offset = self._offset(index) or self._found(index).offset
        return None if offset is None else self._file.view(offset, self._specs[index].nbytes)

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index`."""
        offset = self._offset(index)
        if offset is not None:
            self._file.read_into(offset + start, out)
        else:
            self._unpacker.read(self._found(index), start, stop, out)

    def _found(self, index: int) -> Stored:
        """Return where array `index` lies by its name."""
        with self._lock:
            if index not in self._stored:
                self._stored[index] = self._by_library(lambda library: library.array(self._specs[index]))
            return self._stored[index]

    def reread(self, index: int) -> bool:
        """Read array `index` by its name from now on."""
        with self._lock:
            known = self._offset(index) is not None
            self._slow.add(index)
            return known

    def stored_bytes(self) -> int:
        """Return the size of the file."""
        return self._file.size

    def place(self, index: int) -> str:
        """Return the dataset of array `index`."""
        return f"/arrays/{self._specs[index].name}"

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._library is not None:
                self._library.close()
                self._library = None
        self._file.close()


class Hdf5Backend:
    """HDF5 files."""

    name = "hdf5"
    suffixes: tuple[str, ...] = (".h5", ".hdf5")
    compressions: tuple[str, ...] = COMPRESSIONS

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        """H5py is part of the base install."""
        return None

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the magic is at 4096, or the file is HDF5 whose dataset /header begins with it."""
        if head[HEADER_AT : HEADER_AT + len(MAGIC)] == MAGIC:
            return True
        if head[:8] != SIGNATURE:
            return False
        try:
            file = MappedFile(path)
        except StateTreeError:
            return False
        try:
            library = Library(file)
            try:
                return (library.text("header", _LARGEST_HEADER) or b"").startswith(MAGIC)
            finally:
                library.close()
        except StateTreeError:
            return False
        finally:
            file.close()

    def writer(self, path: Path, options: WriteOptions) -> Hdf5Writer:
        """Begin a save.

        Raises:
            WriteError: a compression that stock HDF5 libraries cannot read.
        """
        if options.compression not in (None, *self.compressions):
            fail(
                "WRITE_COMPRESSION",
                "a compression that every HDF5 library can read (gzip)",
                f"{options.compression!r}, a plug-in filter that stock readers do not have",
                remedy="use compression='gzip', or a Zarr or BSON container for zstd",
            )
        return Hdf5Writer(path, options)

    def reader(self, path: Path, limits: Limits) -> Hdf5Reader:
        """Open a file."""
        return Hdf5Reader(path, limits)


BACKEND = Hdf5Backend()
