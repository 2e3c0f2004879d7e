"""Lazy reading: an open file whose structure is here and whose arrays come on demand. Source: spec section 6."""

from collections.abc import Iterator
from math import prod
from types import TracebackType
from typing import Any, NoReturn

import numpy as np

from statetree.digest import block_spans
from statetree.dtype import BY_NAME
from statetree.errors import Problem, StateTreeError, fail
from statetree.source import Source

__all__ = ["LazyArray", "StateFile"]

Array = np.ndarray[Any, Any]
_NUMPY = {name: row.numpy for name, row in BY_NAME.items()}


class LazyArray:
    """An array of an open file: shape and dtype at once, elements when it is sliced or converted.

    `a[2:5]` reads and verifies only the blocks that it needs; `numpy.asarray(a)` or `a[...]` reads all of it. The
    result is always an owned, writable array. Reads are thread-safe.
    """

    __slots__ = ("_index", "_source")

    def __init__(self, source: Source, index: int) -> None:
        self._source = source
        self._index = index

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, outermost first."""
        return self._source.manifest.arrays[self._index].shape

    @property
    def dtype(self) -> "np.dtype[Any]":
        """NumPy dtype, native byte order."""
        return _NUMPY[self._source.manifest.arrays[self._index].dtype]

    @property
    def nbytes(self) -> int:
        """Bytes in memory when read."""
        return self._source.manifest.nbytes[self._index]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def digest(self) -> str:
        """Digest of the array, `algorithm:hexadecimal`."""
        manifest = self._source.manifest
        return f"{manifest.algorithm}:{manifest.arrays[self._index].digest}"

    def read(self) -> Array:
        """Return the whole array, verified."""
        self._source.check_open()
        out = np.empty(self.shape, self.dtype)
        self._source.fill(self._index, raw_bytes(out))
        return native(out)

    def problems(self) -> tuple[Problem, ...]:
        """Read the whole array piece by piece, keep nothing, and return what is wrong with it."""
        self._source.check_open()
        try:
            for start, stop in block_spans(0, self.nbytes) if self.nbytes else [(0, 0)]:
                self._source.read(self._index, start, stop)
        except StateTreeError as error:
            return error.problems
        return ()

    def view(self) -> Array:
        """Return the whole array verified and read-only, mapped from the file where the container allows it."""
        self._source.check_open()
        view = self._source.view(self._index) if self.nbytes else None
        out = self.read() if view is None else native(np.ndarray(self.shape, self.dtype, view))
        out.flags.writeable = False
        return out

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a 0-d array has no length")
        return self.shape[0]

    def __getitem__(self, key: Any) -> Any:
        first, *rest = (key if isinstance(key, tuple) else (key,)) or (...,)
        if isinstance(first, np.integer):
            first = int(first)
        if not self.shape or type(first) not in (int, slice):
            return self.read()[key]
        if type(first) is int:
            if not -self.shape[0] <= first < self.shape[0]:
                raise IndexError(f"index {first} is out of bounds for axis 0 with size {self.shape[0]}")
            at = first % self.shape[0]
            return self._rows(at, at + 1)[(0, *rest)]
        span = range(*first.indices(self.shape[0]))
        if not span:
            return self._rows(0, 0)[(slice(None), *rest)]
        low, high = min(span[0], span[-1]), max(span[0], span[-1]) + 1
        rows = self._rows(low, high)
        step = slice(span[0] - low, None, span.step) if span.step > 0 else slice(None, None, span.step)
        return rows[(step, *rest)]

    def _rows(self, low: int, high: int) -> Array:
        self._source.check_open()
        row = self.nbytes // self.shape[0] if self.shape[0] else 0
        if low == 0 and high == self.shape[0]:
            return self.read()
        out = np.empty((high - low, *self.shape[1:]), self.dtype)
        if out.nbytes:
            offset, data = self._source.read(self._index, low * row, high * row)
            raw_bytes(out)[:] = data.data[low * row - offset : high * row - offset]
        return native(out)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("a lazy array cannot be converted without a copy; use .view()")
        out = self.read()
        return out if dtype is None else out.astype(dtype, copy=False)

    def __bool__(self) -> bool:
        return bool(self.read())

    def __float__(self) -> float:
        return float(self.read())

    def __int__(self) -> int:
        return int(self.read())

    def __eq__(self, other: object) -> Any:
        # As in NumPy, element by element.
        return self.read() == (other.read() if isinstance(other, LazyArray) else other)

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"LazyArray(shape={self.shape}, dtype={self.dtype})"

    def __reduce__(self) -> NoReturn:
        fail(
            "NOT_SERIALIZABLE",
            "an array in memory",
            "a lazy array of an open file",
            remedy="read it first with numpy.asarray(a), or load the file with statetree.load",
        )

    def __copy__(self) -> NoReturn:
        self.__reduce__()

    def __deepcopy__(self, memo: Any) -> NoReturn:
        self.__reduce__()


def raw_bytes(array: Array) -> memoryview:
    """Return the memory of a C-contiguous array as bytes."""
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def native(array: Array) -> Array:
    """Return an array of little-endian bytes in the byte order of this machine; free on little-endian ones."""
    if np.little_endian or array.dtype.kind not in "iufc":
        return array
    return array.byteswap()


class StateFile:
    """An open state tree: `f["model"]["w"][:10]`, `f.tree`, `f.digest`, `f.info`; a context manager."""

    def __init__(self, source: Source, tree: Any, digest: str, info: dict[str, Any], place: str, backend: str) -> None:
        self.source = source
        """The store's arrays; for tools that copy containers."""
        self.place = place
        """Its path, as it was given."""
        self.tree = tree
        """The whole tree with a `LazyArray` for every array."""
        self.digest = digest
        """Tree digest, `algorithm:hexadecimal`."""
        self.info = info
        """What was said at saving: `writer`, `time` (UTC) and `user`, the mapping that the caller gave."""
        self.backend = backend
        """Name of the container's backend."""

    @property
    def stored_bytes(self) -> int:
        """Bytes on disk."""
        return self.source.reader.stored_bytes()

    def __getitem__(self, key: Any) -> Any:
        return self.tree[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tree)

    def __len__(self) -> int:
        return len(self.tree)

    def __contains__(self, key: object) -> bool:
        return key in self.tree

    def close(self) -> None:
        """Close the file; lazy arrays of it cannot be read any more."""
        self.source.close()

    def __enter__(self) -> "StateFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        fail(
            "NOT_SERIALIZABLE",
            "a tree in memory",
            "an open file",
            remedy="load it with statetree.load, or open it anew where it is needed",
        )

    def __repr__(self) -> str:
        return f"StateFile({self.place!r}, backend={self.backend!r}, digest={self.digest!r})"
