"""Reading arrays by name through the HDF5 library, for files that other tools changed. Source: spec section 7.3.

Nothing is interpreted before it was looked at: links must be hard links, storage inside of the file, filters shuffle
and gzip, datatypes those that the format writes.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from statetree.dtype import BY_NAME
from statetree.errors import StateTreeError, fail, shown
from statetree.store import ArraySpec

from statetree_backends._hdf5_format import FLOATS

__all__ = ["Library"]

_DAMAGED = "the file is damaged: restore it from a copy"
_FOREIGN = "write the file with a conforming writer"
_FILTERS = {1, 2}
_LOSSY = {5: "n-bit", 6: "scale-offset"}
_LOCK = threading.RLock()


@contextmanager
def _errors(place: str) -> Iterator[None]:
    """Turn what h5py raises on damaged files into one error."""
    try:
        yield
    except StateTreeError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError, MemoryError) as error:
        text = shown(str(error), 160).lower()
        if "lock" in text:
            fail(
                "CONTAINER_LOCKED",
                "a file that nobody writes",
                "a locked file",
                place=place,
                remedy="close the other program",
            )
        fail("CONTAINER_TRUNCATED", "a readable HDF5 object", text, place=place, remedy=_DAMAGED)


class Library:
    """An HDF5 file open in h5py."""

    def __init__(self, path: Path) -> None:
        import h5py

        self._h5 = h5py
        with _errors(str(path)), _LOCK:
            access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
            access.set_file_locking(False, True)
            self._id = h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY, access)
        self._arrays: Any = None

    def close(self) -> None:
        """Close the file."""
        with _LOCK:
            self._arrays = None
            self._id.close()

    def text(self, name: str, limit: int | None) -> bytes | None:
        """Return the bytes of the uint8 dataset `/name`, None if there is none."""
        place = f"/{name}"
        with _errors(place), _LOCK:
            dataset = self._child(self._h5.h5g.open(self._id, b"/"), name, place)
            if dataset is None:
                return None
            kind = dataset.get_type() if isinstance(dataset, self._h5.h5d.DatasetID) else None
            if kind is None or dataset.rank != 1 or not _is_integer(self._h5, kind, 1, signed=False):
                fail(
                    "H5_MANIFEST_FORM",
                    "a uint8 dataset of one dimension",
                    "something else",
                    place=place,
                    remedy=_FOREIGN,
                )
            self._check_storage(dataset, place)
            size = int(dataset.shape[0])
            if limit is not None and size > limit:
                fail("LIMIT_MANIFEST", f"at most {limit} bytes", str(size), place=place, remedy="raise limits=")
            self._check_stored(dataset, size, place)
            out = np.empty(size, np.uint8)
            if size:
                dataset.read(self._h5.h5s.ALL, self._h5.h5s.ALL, out, kind)
            return out.tobytes()

    def dataset(self, spec: ArraySpec) -> Any:
        """Return the checked dataset of an array.

        Raises:
            IntegrityError: it is not there.
            InvalidError: its shape or datatype is not what the manifest says.
            SecurityError: it is a link out, lies outside of the file, or needs a filter of someone else.
        """
        place = f"/arrays/{spec.name}"
        with _errors(place), _LOCK:
            if self._arrays is None:
                group = self._child(self._h5.h5g.open(self._id, b"/"), "arrays", "/arrays")
                if not isinstance(group, self._h5.h5g.GroupID):
                    fail("ARRAY_MISSING", "a group", "none", place="/arrays", remedy=_DAMAGED)
                self._arrays = group
            dataset = self._child(self._arrays, spec.name, place)
            if not isinstance(dataset, self._h5.h5d.DatasetID):
                fail("ARRAY_MISSING", "a dataset", "none of that name", place=place, remedy=_DAMAGED)
            self._check_storage(dataset, place)
            kind = dataset.get_type()
            if not is_stored_as(self._h5, kind, spec.dtype):
                self._refuse_type(kind, spec.dtype, place)
            if tuple(dataset.shape) != spec.shape:
                fail("BACKEND_MISMATCH", f"shape {spec.shape}", str(tuple(dataset.shape)), place=place, remedy=_DAMAGED)
            self._check_stored(dataset, spec.nbytes, place)
            return dataset

    def _child(self, group: Any, name: str, place: str) -> Any:
        """Return the object that a hard link names, None if there is no such link."""
        raw = name.encode()
        if raw not in group:
            links = group.links
            if not links.exists(raw):
                return None
        link = group.links.get_info(raw)
        if link.type != self._h5.h5l.TYPE_HARD:
            kind = {1: "a soft link", 64: "an external link"}.get(link.type, "a user-defined link")
            fail(
                "H5_LINK",
                "an object in this file",
                kind,
                place=place,
                remedy="links are never followed; copy the data in",
            )
        return self._h5.h5o.open(group, raw)

    def _check_storage(self, dataset: Any, place: str) -> None:
        h5 = self._h5
        created = dataset.get_create_plist()
        if created.get_layout() not in (h5.h5d.COMPACT, h5.h5d.CONTIGUOUS, h5.h5d.CHUNKED):
            fail("H5_EXTERNAL_DATA", "data in this file", "a virtual dataset", place=place, remedy="copy the data in")
        if created.get_external_count():
            fail("H5_EXTERNAL_DATA", "data in this file", "external storage", place=place, remedy="copy the data in")
        for i in range(created.get_nfilters()):
            number = created.get_filter(i)[0]
            if number in _LOSSY:
                fail("H5_LOSSY_FILTER", "shuffle or gzip", f"the filter {_LOSSY[number]}", place=place, remedy=_FOREIGN)
            if number not in _FILTERS:
                fail(
                    "H5_FILTER", "shuffle or gzip", f"filter {number}", place=place, remedy="no plug-in filter is used"
                )
        kind = dataset.get_type()
        if kind.committed():
            fail("H5_DTYPE", "a plain datatype", "a committed datatype", place=place, remedy=_FOREIGN)

    def _check_stored(self, dataset: Any, nbytes: int, place: str) -> None:
        """Refuse a dataset that declares data which the file does not hold."""
        stored = int(dataset.get_storage_size())
        chunked = dataset.get_create_plist().get_layout() == self._h5.h5d.CHUNKED
        if nbytes and (stored == 0 or (not chunked and stored < nbytes)):
            fail("ARRAY_MISSING_CHUNK", f"{nbytes} bytes", f"{stored} stored", place=place, remedy=_DAMAGED)

    def _refuse_type(self, kind: Any, dtype: str, place: str) -> None:
        h5t = self._h5.h5t
        names = {h5t.REFERENCE: "a reference", h5t.VLEN: "a variable length type", h5t.OPAQUE: "an opaque type"}
        names |= {h5t.TIME: "a time", h5t.BITFIELD: "a bit field", h5t.STRING: "a string", h5t.ARRAY: "an array type"}
        found = names.get(kind.get_class())
        if found is not None:
            fail("H5_DTYPE", f"the datatype of {dtype}", found, place=place, remedy=_FOREIGN)
        fail("BACKEND_MISMATCH", f"the datatype of {dtype}", "another datatype", place=place, remedy=_DAMAGED)

    def offset(self, dataset: Any) -> int | None:
        """Return the file offset of a contiguous dataset, None for others."""
        with _LOCK:
            found: int | None = dataset.get_offset()
            return found

    def read(self, dataset: Any, spec: ArraySpec, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of a dataset."""
        with _errors(f"/arrays/{spec.name}"), _LOCK:
            kind = dataset.get_type()
            if not spec.shape:
                whole = np.empty(spec.nbytes, np.uint8)
                dataset.read(self._h5.h5s.ALL, self._h5.h5s.ALL, whole, kind)
                out[:] = whole.data[start:stop]
                return
            row = spec.nbytes // spec.shape[0]
            first, last = start // row, -(-stop // row)
            space = dataset.get_space()
            extent = (last - first, *spec.shape[1:])
            space.select_hyperslab((first, *(0,) * (len(spec.shape) - 1)), extent)
            rows = np.empty((last - first) * row, np.uint8)
            dataset.read(self._h5.h5s.create_simple(extent), space, rows, kind)
            out[:] = rows.data[start - first * row : stop - first * row]


def _is_integer(h5: Any, kind: Any, size: int, *, signed: bool) -> bool:
    if kind.get_class() != h5.h5t.INTEGER or kind.get_size() != size:
        return False
    sign = h5.h5t.SGN_2 if signed else h5.h5t.SGN_NONE
    return bool(kind.get_sign() == sign and (size == 1 or kind.get_order() == h5.h5t.ORDER_LE))


def _is_float(h5: Any, kind: Any, size: int, exponent: int, mantissa: int) -> bool:
    if kind.get_class() != h5.h5t.FLOAT or kind.get_size() != size or kind.get_order() != h5.h5t.ORDER_LE:
        return False
    fields = (8 * size - 1, mantissa, exponent, 0, mantissa)
    return tuple(kind.get_fields()) == fields and kind.get_ebias() == (1 << (exponent - 1)) - 1


def is_stored_as(h5: Any, kind: Any, dtype: str) -> bool:
    """Whether an HDF5 datatype is the one that stores `dtype`."""
    row = BY_NAME[dtype]
    if dtype == "bool":
        if kind.get_class() != h5.h5t.ENUM or kind.get_nmembers() != 2:
            return False
        names = {kind.get_member_name(i): kind.get_member_value(i) for i in range(2)}
        return names == {b"FALSE": 0, b"TRUE": 1} and _is_integer(h5, kind.get_super(), 1, signed=True)
    if dtype in FLOATS:
        return _is_float(h5, kind, *FLOATS[dtype])
    if row.complex:
        # Newer HDF5 libraries may show the compound as their own complex class; only the compound is written.
        if kind.get_class() != h5.h5t.COMPOUND or kind.get_nmembers() != 2 or kind.get_size() != row.itemsize:
            return False
        half = FLOATS["float32" if row.itemsize == 8 else "float64"]
        return all(
            kind.get_member_name(i) == name
            and kind.get_member_offset(i) == i * half[0]
            and _is_float(h5, kind.get_member_type(i), *half)
            for i, name in enumerate((b"r", b"i"))
        )
    return _is_integer(h5, kind, row.itemsize, signed=row.carrier is None and dtype.startswith("int"))
