"""The HDF5 library in a process of its own, asked as the one in this process is. Source: spec section 7.3."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from statetree.child import Budget, Child
from statetree.dtype import BY_NAME
from statetree.errors import fail
from statetree.files import MappedFile
from statetree.store import ArraySpec, Finding
from statetree_backends._hdf5_library import Library
from statetree_backends._hdf5_stock import Promise, StockView
from statetree_backends._hdf5_stored import DEFLATE, SHUFFLE, Stored
from statetree_backends._hdf5_survey import Survey, Surveyed

__all__ = ["Finder", "IsolatedLibrary", "Stock", "Surveyor", "open_library", "stock_of", "survey_of"]

_MODULE = "statetree_backends._hdf5_child"
_NAME = "the HDF5 library"


class Finder(Protocol):
    """Finds datasets by their names."""

    def text(self, name: str, most: int) -> Stored | None:
        """Return where the uint8 dataset `/name` lies, which may have `most` bytes; None if there is none."""

    def array(self, spec: ArraySpec) -> Stored:
        """Return where an array lies, its dataset having been checked."""

    def close(self) -> object:
        """Close the file; allowed twice."""


class Surveyor(Protocol):
    """Walks over all that lies in a file."""

    def arrays(self, specs: Sequence[ArraySpec]) -> Surveyed:
        """Judge some arrays of the table."""

    def rest(self, *, known: bool) -> list[Finding]:
        """Return what no rule names; `known`: all arrays of the table were asked for."""


def open_library(file: MappedFile, budget: Budget | None) -> Finder:
    """Open a file in the HDF5 library: in this process, or, with a budget, in one of its own."""
    return Library(file) if budget is None else IsolatedLibrary(file, budget)


class Stock(Protocol):
    """Looks at a file as the users of h5py do."""

    def stock_arrays(self, promises: Sequence[Promise], algorithm: str) -> list[Finding]:
        """Return in what h5py shows other arrays than promised; the index is the position among these."""

    def stock_rest(self, digests: Mapping[str, bytes], algorithm: str, count: int) -> list[Finding]:
        """Return what h5py shows beside the arrays that is not as it should be."""


def stock_of(finder: Finder) -> Stock:
    """Look at an open file as the users of h5py do."""
    if isinstance(finder, Library):
        return StockView(finder)
    assert isinstance(finder, IsolatedLibrary)
    return finder


def survey_of(finder: Finder) -> Surveyor:
    """Begin a walk over all that lies in an open file."""
    if isinstance(finder, Library):
        return Survey(finder)
    assert isinstance(finder, IsolatedLibrary)
    return finder


class IsolatedLibrary:
    """A file open in h5py in another process, whose answers are held against the file before they are used."""

    def __init__(self, file: MappedFile, budget: Budget) -> None:
        self._file = file
        self._child = Child(_MODULE, _NAME, file.descriptor, file.size, budget)
        self.close = self._child.close
        """End the process; allowed twice."""
        try:
            self._child.ask(["open", str(file.path)], type(None), str(file.path))
        except BaseException:
            self.close()
            raise

    def text(self, name: str, most: int) -> Stored | None:
        """Return where the uint8 dataset `/name` lies, which may have `most` bytes; None if there is none."""
        place = f"/{name}"
        stored = self._child.ask(["text", name, most], Stored | None, place)  # type: ignore[arg-type]
        if stored is None:
            return None
        if stored.nbytes > min(most, 1032 * self._file.size):
            _nonsense(place)
        return self._checked(stored, stored.shape, 1, place)

    def array(self, spec: ArraySpec) -> Stored:
        """Return where an array lies, its dataset having been checked."""
        place = f"/arrays/{spec.name}"
        stored = self._child.ask(["array", spec.name, spec.dtype, spec.shape], Stored, place)
        return self._checked(stored, spec.shape, BY_NAME[spec.dtype].itemsize, place)

    def arrays(self, specs: Sequence[ArraySpec]) -> Surveyed:
        """Judge some arrays of the table."""
        rows = [(spec.name, spec.dtype, spec.shape) for spec in specs]
        found = self._child.ask(["arrays", rows], Surveyed, "/arrays")
        if len(found.offsets) != len(specs) or any(not 0 <= (each.index or 0) < len(specs) for each in found.findings):
            _nonsense("/arrays")
        return found

    def rest(self, *, known: bool) -> list[Finding]:
        """Return what no rule names; `known`: all arrays of the table were asked for."""
        return self._child.ask(["rest", known], list[Finding], "/")

    def stock_arrays(self, promises: Sequence[Promise], algorithm: str) -> list[Finding]:
        """Return in what h5py shows other arrays than promised; the index is the position among these."""
        found = self._child.ask(["stock_arrays", promises, algorithm], list[Finding], "/arrays")
        if any(not 0 <= (each.index or 0) < len(promises) for each in found):
            _nonsense("/arrays")
        return found

    def stock_rest(self, digests: Mapping[str, bytes], algorithm: str, count: int) -> list[Finding]:
        """Return what h5py shows beside the arrays that is not as it should be."""
        return self._child.ask(["stock_rest", digests, algorithm, count], list[Finding], "/")

    def _checked(self, stored: Stored, shape: Sequence[int], itemsize: int, place: str) -> Stored:
        """Return an answer that cannot make this process read what is not there."""
        size, ways = self._file.size, (stored.offset, stored.compact, stored.chunks)
        good = (
            stored.shape == tuple(shape) and stored.itemsize == itemsize and sum(way is not None for way in ways) == 1
        )
        if good and stored.offset is not None:
            good = 0 <= stored.offset <= size - stored.nbytes
        elif good and stored.compact is not None:
            good = len(stored.compact) == stored.nbytes
        elif good and stored.chunks is not None:
            extent = stored.chunks.extent
            good = len(extent) == len(shape) and all(0 < c <= n for c, n in zip(extent, shape, strict=True))
            good = good and all(code in (SHUFFLE, DEFLATE) and value > 0 for code, value in stored.chunks.filters)
            good = good and all(at >= 0 and used >= 0 for at, used, _ in stored.chunks.table.values())
        if not good:
            _nonsense(place)
        return stored


def _nonsense(place: str) -> None:
    remedy = "the file is damaged: restore it from a copy"
    fail("CONTAINER_TRUNCATED", f"a file that {_NAME} can read", "an answer that is none", place=place, remedy=remedy)
