"""The interface between trees and containers: what a backend is and what an open store does. Source: spec section 10.

A store holds a manifest text, an info text, numbered arrays and block digests, and knows neither trees nor JSON
of the manifest. Bytes of arrays are always *canonical*: C order, little-endian, as spec section 3 says; a
selection is a byte range [start, stop) of them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from statetree.child import Budget
from statetree.dtype import BY_NAME
from statetree.errors import Problem
from statetree.limits import Limits

__all__ = [
    "ArraySpec",
    "Backend",
    "Examinable",
    "Examination",
    "Finding",
    "Isolable",
    "Layout",
    "Reader",
    "Stock",
    "WriteOptions",
    "Writer",
]


class ArraySpec:
    """What a store knows of one array.

    Args:
        name: its name in the container, or a function that returns it when it is first asked for.
        dtype: name of a dtype of the registry.
        shape: extents, outermost first.
        nbytes: bytes of the canonical form.
    """

    __slots__ = ("_name", "dtype", "nbytes", "shape")

    def __init__(self, name: str | Callable[[], str], dtype: str, shape: tuple[int, ...], nbytes: int) -> None:
        self._name = name
        self.dtype = dtype
        self.shape = shape
        self.nbytes = nbytes

    @property
    def name(self) -> str:
        """Its name in the container, `<i>-<label>`."""
        return self._name if isinstance(self._name, str) else self._name()

    @staticmethod
    def of(name: str, dtype: str, shape: tuple[int, ...]) -> "ArraySpec":
        """Return the spec with its `nbytes` computed."""
        return ArraySpec(name, dtype, shape, prod(shape) * BY_NAME[dtype].itemsize)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How a store is to be written."""

    algorithm: str = "xxh3-128"
    """Digest algorithm of the manifest and info digests that the container records."""
    compression: str | None = None
    """One of the backend's `compressions`, or None."""
    durable: bool = True
    """Whether data has reached the disk before commit returns."""
    pack: bool = True
    """Whether many small arrays may share a stored object, where the backend does that."""


class Writer(Protocol):
    """A store being written. Nothing is visible at its location before `commit`; `abort` leaves nothing."""

    def create(self, specs: Sequence[ArraySpec]) -> None:
        """Make room for the arrays; called once, before any `write`."""

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Store `data` at byte `start` of array `index`.

        Pieces of an array come in order, without gaps, each beginning at a multiple of 4 MiB and all but the
        last a whole multiple of 4 MiB long; arrays come in order; empty arrays are never written.
        """

    def write_many(self, first: int, arrays: Sequence[bytes]) -> None:
        """Store whole arrays, `first` and those that follow it, none of them empty or above 64 KiB.

        The same as a `write` for each of them, but for the time it takes.
        """

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Store the texts and the raw block digests of arrays above 4 MiB, then make the store visible at once."""

    def abort(self) -> None:
        """Remove all that was written; what was there before stays. Allowed at any time, also twice."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the bytes of arrays lie in a row in larger segments of a container, so that many are read at once.

    Columns have one row for each array of the table.
    """

    segments: NDArray[np.int64]
    """Number of the segment that holds it, -1 if none does and it is to be read by itself."""
    offsets: NDArray[np.int64]
    """Byte of the segment at which it begins."""
    sizes: NDArray[np.int64]
    """Bytes that it takes there."""
    read: Callable[[int, int, memoryview], None]
    """Copy the bytes of a segment from an offset on, as many as the memory takes; unchecked, thread-safe."""


class Reader(Protocol):
    """An open store. `manifest()` and `info()` are checked against the digests that the container records."""

    def algorithm(self) -> str:
        """Return the digest algorithm that the container records; the manifest must name the same."""

    def manifest(self) -> bytes:
        """Return the manifest text.

        Raises:
            StateTreeError: the container is not readable, or the text does not have its recorded digest.
        """

    def info(self) -> bytes:
        """Return the info text, checked like the manifest."""

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Learn what the manifest says of the arrays; called once, before any array is asked for.

        Raises:
            StateTreeError: the container does not hold such arrays, as far as this is cheap to see.
        """

    def blocks(self) -> Mapping[int, bytes]:
        """Return the raw block digests of each array above 4 MiB by its index, held against no array yet.

        Raises:
            StateTreeError: they are not there, or are of another length than the arrays need.
        """

    def view(self, index: int) -> memoryview | None:
        """Return array `index` mapped read-only, unchecked; None where it cannot be mapped."""

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index` into `out`, unchecked; thread-safe."""

    def layout(self) -> Layout | None:
        """Return where arrays lie, as far as the container goes by places; None if they are to be read one by one."""

    def reread(self, index: int) -> bool:
        """Give up the short way to array `index` after a wrong digest.

        Returns:
            True if there is another, more reliable way that later calls for this array take; False if not.
        """

    def stored_bytes(self) -> int:
        """Return the bytes that the container takes on disk."""

    def place(self, index: int) -> str:
        """Return where array `index` lies in the container, for error texts: `/arrays/0-w`."""

    def close(self) -> None:
        """Release the files; allowed twice."""


class Backend(Protocol):
    """A kind of container."""

    @property
    def name(self) -> str:
        """`hdf5`, `zarr`, `bson`, …"""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """File name endings, with the dot, that choose this backend."""

    @property
    def compressions(self) -> tuple[str, ...]:
        """Values of `compression` that it can write."""

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        """Return (library, extra) of what is not installed and needed, None if nothing is missing."""

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether `path` is of this kind; `head` is its first 8,192 bytes, b"" for a folder. Never raises."""

    def writer(self, path: Path, options: WriteOptions) -> Writer:
        """Begin a save at `path`."""

    def reader(self, path: Path, limits: Limits) -> Reader:
        """Open the store at `path`; the container's own framing and version are checked here."""


@runtime_checkable
class Isolable(Protocol):
    """A backend whose library may crash on a hostile file, and can be put into a process of its own."""

    def isolated(self, budget: Budget) -> Backend:
        """Return this backend with its library in a process of its own, which may take so much."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that was found in a container."""

    problem: Problem
    """What is wrong; its path is the validator's to say."""
    index: int | None = None
    """The array that it is about, None if it is about none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """How far an open store is to be examined as a whole."""

    version: str | None
    """Version of the format that the manifest names, None if there is no manifest that can be believed."""
    bound: bool
    """Whether the store knows its arrays: `bind` was called and did not refuse."""
    data: bool
    """Whether bytes of arrays may be read; without, all else is looked at."""


@runtime_checkable
class Examinable(Protocol):
    """An open store that can be judged as a whole, beyond what reading all of it judges."""

    def examine(self, asked: Examination) -> Iterator[Finding]:
        """Yield what is wrong with the container: all that a reader need not look at, held against `bind`.

        What reading refuses anyway may be left out. Raised is only what the environment or the limits refuse.
        """


@runtime_checkable
class Stock(Protocol):
    """An open store that can be looked at with the library that people have for its kind of file."""

    def stock(self, digests: Sequence[str]) -> Iterator[Finding]:
        """Yield in what the stock library shows another tree than the manifest: names, shapes, dtypes, values.

        Args:
            digests: those of the arrays, as the manifest has them.

        Raises:
            MissingLibraryError: the library is not installed.
        """
