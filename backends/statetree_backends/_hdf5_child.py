"""What a process does that has the HDF5 library to itself: it answers where datasets lie. Source: spec section 7.3."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # noqa: F401 - loaded once, before there are children
import msgspec

from statetree.files import MappedFile
from statetree.store import ArraySpec
from statetree_backends._hdf5_library import Library
from statetree_backends._hdf5_stock import Promise, StockView
from statetree_backends._hdf5_survey import Survey

__all__ = ["attend"]


class _Session:
    """A file open in the library."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._library: Library | None = None
        self._survey: Survey | None = None

    def open(self, name: str) -> None:
        self._library = Library(MappedFile(Path(name), fd=self._descriptor))
        self._survey = Survey(self._library)

    @property
    def library(self) -> Library:
        assert self._library is not None
        return self._library

    def text(self, name: str, most: int) -> Any:
        return self.library.text(name, most)

    def array(self, name: str, dtype: str, shape: list[int]) -> Any:
        return self.library.array(ArraySpec.of(name, dtype, tuple(shape)))

    @property
    def survey(self) -> Survey:
        assert self._survey is not None
        return self._survey

    def arrays(self, rows: list[tuple[str, str, list[int]]]) -> Any:
        return self.survey.arrays([ArraySpec.of(name, dtype, tuple(shape)) for name, dtype, shape in rows])

    def rest(self, known: bool) -> Any:
        return self.survey.rest(known=known)

    def stock_arrays(self, rows: list[Any], algorithm: str) -> Any:
        return StockView(self.library).stock_arrays(msgspec.convert(rows, list[Promise]), algorithm)

    def stock_rest(self, digests: dict[str, bytes], algorithm: str, count: int) -> Any:
        return StockView(self.library).stock_rest(digests, algorithm, count)


def attend(descriptor: int | None) -> Callable[[Any], Any]:
    """Return the function that answers requests, lists of a name and arguments, about the file of a descriptor."""
    assert descriptor is not None
    session = _Session(descriptor)
    operations: dict[str, Callable[..., Any]] = {
        "open": session.open,
        "text": session.text,
        "array": session.array,
        "arrays": session.arrays,
        "rest": session.rest,
        "stock_arrays": session.stock_arrays,
        "stock_rest": session.stock_rest,
    }

    def answer(request: Any) -> Any:
        name, *arguments = request
        return operations[name](*arguments)

    return answer
