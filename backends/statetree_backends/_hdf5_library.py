"""Finding arrays by name through the HDF5 library, for files that other tools changed. Source: spec section 7.3.

Nothing is interpreted before it was looked at: links must be hard links, storage inside of the file, filters shuffle
and gzip, datatypes those that the format writes. The library sees the file through the mapping of the open file, so
that it takes no lock, opens nothing by name, and reads the same file even if another has taken its place.
"""

import io
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from statetree.dtype import BY_NAME
from statetree.errors import StateTreeError, fail, shown
from statetree.files import MappedFile
from statetree.store import ArraySpec
from statetree_backends._hdf5_datatypes import check_datatype, is_integer
from statetree_backends._hdf5_stored import DEFLATE, SHUFFLE, Chunks, Stored

__all__ = ["Library", "errors"]

_DAMAGED = "the file is damaged: restore it from a copy"
_FOREIGN = "write the file with a conforming writer"
_COPY_IN = "links and other files are never followed; copy the data in"
_PIPELINES = ((), (DEFLATE,), (SHUFFLE,), (SHUFFLE, DEFLATE))
_LOSSY = {5: "n-bit", 6: "scale-offset"}
_LINKS = {1: "a soft link", 64: "an external link"}
_CHUNK_RECORD = 8
"""Bytes that an index of chunks spends on one, at the least; an index without records takes the bytes of the chunk."""
_LOCK = threading.RLock()


@contextmanager
def errors(place: str) -> Iterator[None]:
    """Turn what h5py raises on damaged files into one error."""
    try:
        with _LOCK:
            yield
    except StateTreeError:
        raise
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        text = shown(str(error), 160).lower()
        fail("CONTAINER_TRUNCATED", "a readable HDF5 object", text, place=place, remedy=_DAMAGED)


class _Mapped(io.RawIOBase):
    """A mapped file as the file object that h5py's driver wants."""

    def __init__(self, file: MappedFile) -> None:
        self._file = file
        self._at = 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`."""
        self._at = offset + (0, self._at, self._file.size)[whence]
        return self._at

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, with zeros behind the end."""
        out = memoryview(buffer).cast("B")
        data = self._file.view(self._at, len(out))
        out[: len(data)] = data
        out[len(data) :] = bytes(len(out) - len(data))
        self._at += len(out)
        return len(out)


class Library:
    """A file open in h5py."""

    def __init__(self, file: MappedFile) -> None:
        import h5py

        self.h5 = h5py
        """The library."""
        self._file = file
        self.file_size = file.size
        """Bytes of the file."""
        with errors(str(file.path)):
            access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
            access.set_fileobj_driver(h5py.h5fd.fileobj_driver, _Mapped(file))
            access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
            self.id = h5py.h5f.open(b"statetree", h5py.h5f.ACC_RDONLY, access)
            """The open file."""
        # A file that is still open when Python ends would call back into it and crash; finalizers run before.
        self.close = weakref.finalize(self, _close, self.id)
        """Close the file; allowed twice."""
        self._arrays: Any = None

    def text(self, name: str, most: int) -> Stored | None:
        """Return where the uint8 dataset `/name` lies, which may have `most` bytes; None if there is none."""
        place = f"/{name}"
        with errors(place):
            dataset = self.child(self.h5.h5g.open(self.id, b"/"), name, place)
            if dataset is None:
                return None
            if isinstance(dataset, self.h5.h5d.DatasetID):
                self._check_storage(dataset, place)
                if dataset.rank == 1 and is_integer(self.h5, dataset.get_type(), 1, signed=False):
                    return self._stored_text(dataset, most, place)
        fail("H5_MANIFEST_FORM", "a uint8 dataset of one dimension", "something else", place=place, remedy=_FOREIGN)

    def _stored_text(self, dataset: Any, most: int, place: str) -> Stored:
        size = int(dataset.shape[0])
        if size > most:
            fail("H5_MANIFEST_FORM", f"at most {most} bytes", str(size), place=place, remedy=_DAMAGED)
        stored = self._stored(dataset, (size,), 1, place)
        # Deflate makes 1,032 bytes of one at the most.
        if size > 1032 * self._file.size:
            fail("ARRAY_MISSING_CHUNK", f"{size} bytes", f"a file of {self._file.size}", place=place, remedy=_DAMAGED)
        return stored

    def array(self, spec: ArraySpec) -> Stored:
        """Return where an array lies, its dataset having been checked.

        Raises:
            IntegrityError: it is not there.
            InvalidError: its shape or datatype is not what the manifest says.
            SecurityError: it is a link out, lies outside of the file, or needs a filter of someone else.
        """
        place = f"/arrays/{spec.name}"
        with errors(place):
            dataset = self.child(self.arrays_group(), spec.name, place)
            if not isinstance(dataset, self.h5.h5d.DatasetID):
                fail("ARRAY_MISSING", "a dataset", "none of that name", place=place, remedy=_DAMAGED)
            self._check_storage(dataset, place)
            check_datatype(self.h5, dataset, spec.dtype, place)
            if tuple(dataset.shape) != spec.shape:
                fail("BACKEND_MISMATCH", f"shape {spec.shape}", str(tuple(dataset.shape)), place=place, remedy=_DAMAGED)
            return self._stored(dataset, spec.shape, BY_NAME[spec.dtype].itemsize, place)

    def arrays_group(self) -> Any:
        """Return the group `/arrays`.

        Raises:
            IntegrityError: it is not there.
            SecurityError: it is a link.
        """
        if self._arrays is None:
            group = self.child(self.h5.h5g.open(self.id, b"/"), "arrays", "/arrays")
            if not isinstance(group, self.h5.h5g.GroupID):
                fail("ARRAY_MISSING", "a group", "none", place="/arrays", remedy=_DAMAGED)
            self._arrays = group
        return self._arrays

    def child(self, group: Any, name: str, place: str) -> Any:
        """Return the object that a hard link names, None if there is no such link."""
        raw = name.encode()
        # Not `raw in group`, which looks behind the link and so may open another file.
        if not group.links.exists(raw):
            return None
        kind = group.links.get_info(raw).type
        if kind != self.h5.h5l.TYPE_HARD:
            found = _LINKS.get(kind, "a user-defined link")
            fail("H5_LINK", "an object in this file", found, place=place, remedy=_COPY_IN)
        if self.h5.h5o.get_info(group, raw).rc > 1:
            fail("H5_HARDLINK", "an object with one name", "one with more", place=place, remedy=_FOREIGN)
        return self.h5.h5o.open(group, raw)

    def _check_storage(self, dataset: Any, place: str) -> None:
        """Refuse data outside of the file, and filters, before anything looks behind the dataset's header."""
        h5d = self.h5.h5d
        created = dataset.get_create_plist()
        if created.get_layout() not in (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED):
            fail("H5_EXTERNAL_DATA", "data in this file", "a virtual dataset", place=place, remedy=_COPY_IN)
        if created.get_external_count():
            fail("H5_EXTERNAL_DATA", "data in this file", "external storage", place=place, remedy=_COPY_IN)
        codes = tuple(created.get_filter(i)[0] for i in range(created.get_nfilters()))
        for code in codes:
            if code in _LOSSY:
                fail("H5_LOSSY_FILTER", "shuffle and gzip", f"the filter {_LOSSY[code]}", place=place, remedy=_FOREIGN)
        if codes not in _PIPELINES:
            found = "the filters " + ", ".join(map(str, codes))
            fail("H5_FILTER", "shuffle (2) and gzip (1)", found, place=place, remedy="no plug-in filter is ever used")
        if dataset.get_type().committed():
            fail("H5_DTYPE", "a plain datatype", "a committed datatype", place=place, remedy=_FOREIGN)

    def _stored(self, dataset: Any, shape: tuple[int, ...], itemsize: int, place: str) -> Stored:
        """Return where data lies; refuse a dataset that declares data which the file does not hold."""
        nbytes = prod(shape) * itemsize
        layout = dataset.get_create_plist().get_layout()
        if not nbytes:
            return Stored(shape, itemsize, place, compact=b"")
        if layout == self.h5.h5d.CHUNKED:
            return Stored(shape, itemsize, place, chunks=self._chunks(dataset, shape, itemsize, place))
        size = int(dataset.get_storage_size())
        if size != nbytes:
            fail("ARRAY_MISSING_CHUNK", f"{nbytes} bytes", f"{size} stored", place=place, remedy=_DAMAGED)
        if layout == self.h5.h5d.COMPACT:
            data = np.empty(nbytes, np.uint8)
            dataset.read(self.h5.h5s.ALL, self.h5.h5s.ALL, data, dataset.get_type())
            return Stored(shape, itemsize, place, compact=data.tobytes())
        offset = dataset.get_offset()
        if offset is None or offset + nbytes > self._file.size:
            fail("CONTAINER_TRUNCATED", "data in the file", "data behind its end", place=place, remedy=_DAMAGED)
        return Stored(shape, itemsize, place, offset=int(offset))

    def _chunks(self, dataset: Any, shape: tuple[int, ...], itemsize: int, place: str) -> Chunks:
        created = dataset.get_create_plist()
        extent = tuple(map(int, created.get_chunk()))
        if any(c > n for c, n in zip(extent, shape, strict=True)):
            fail("BACKEND_MISMATCH", f"chunks within {shape}", f"chunks of {extent}", place=place, remedy=_FOREIGN)
        filters = [created.get_filter(i) for i in range(created.get_nfilters())]
        table: dict[tuple[int, ...], tuple[int, int, int]] = {}
        # An index whose nodes are each named many times is small and would still be walked for ever.
        left = iter(range(self._file.size // min(_CHUNK_RECORD, prod(extent) * itemsize)))

        def keep(chunk: Any) -> bool | None:
            table[tuple(map(int, chunk.chunk_offset))] = (int(chunk.byte_offset), int(chunk.size), chunk.filter_mask)
            return True if next(left, None) is None else None

        stopped = dataset.chunk_iter(keep)
        if not table or stopped:
            found = "an index without an end" if stopped else "none"
            fail("ARRAY_MISSING_CHUNK", "the chunks of an array", found, place=place, remedy=_DAMAGED)
        most = dataset.get_space().get_simple_extent_dims(maxdims=True)
        table = _in_place(table, extent, shape, [self._most(extents) for extents in most])
        return Chunks(extent, tuple((code, _parameter(code, values)) for code, _, values, _ in filters), table)

    def _most(self, extent: int) -> int | None:
        """Return the largest extent that an axis may get, None if any."""
        return None if extent in (None, self.h5.h5s.UNLIMITED) or extent >= 1 << 63 else int(extent)


def _in_place(
    table: dict[tuple[int, ...], Any], extent: tuple[int, ...], shape: tuple[int, ...], most: list[int | None]
) -> dict[tuple[int, ...], Any]:
    """Return a table of chunks with the places that they have.

    An array that may grow without end along one axis has an index in which that axis comes first. For an axis that is
    not the first, the library reads these numbers of chunks as if the axes were in their order, and so gives chunks
    places out of the array.
    """
    growing = [axis for axis, extents in enumerate(most) if extents is None]
    if len(growing) != 1 or not growing[0] or all(p < n for at in table for p, n in zip(at, shape, strict=True)):
        return table
    (axis,) = growing
    counts = [0 if n is None else -(-n // c) for n, c in zip(most, extent, strict=True)]
    behind = prod(counts[axis + 1 :])
    fixed = [other for other in range(len(shape)) if other != axis]

    def place(at: tuple[int, ...]) -> tuple[int, ...]:
        number = at[axis] // extent[axis] * behind
        for other in range(axis + 1, len(shape)):
            number += at[other] // extent[other] * prod(counts[other + 1 :])
        out = [0] * len(shape)
        for other in reversed(fixed):
            number, out[other] = divmod(number, counts[other])
        out[axis] = number
        return tuple(k * c for k, c in zip(out, extent, strict=True))

    return {place(at): chunk for at, chunk in table.items()}


def _close(file: Any) -> None:
    with _LOCK:
        file.close()


def _parameter(code: int, values: tuple[int, ...]) -> int:
    """Return the bytes of an element as shuffle has them; 1 does nothing."""
    return max(1, int(values[0])) if code == SHUFFLE and values else 1
