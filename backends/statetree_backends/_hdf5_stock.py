"""HDF5 files as h5py shows them, held against the manifest. Source: spec section 7.3.

This runs where the HDF5 library does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from statetree.digest import digest as digest_text
from statetree.dtype import BY_NAME
from statetree.errors import shown
from statetree.store import ArraySpec, Finding
from statetree_backends._block import PARTS
from statetree_backends._hdf5_library import Library
from statetree_backends._stock import compare, differs, guarded, numpy_of, slabs

__all__ = ["Promise", "StockView"]

_OTHERS = {"bfloat16": "float32"}
"""What h5py shows of a floating-point type that NumPy does not have."""
_NAME = "h5py"


@dataclass(frozen=True, slots=True)
class Promise:
    """What the manifest and the index say of an array."""

    name: str
    """Its name."""
    dtype: str
    """Its dtype."""
    shape: tuple[int, ...]
    """Its shape."""
    digest: str
    """Its digest."""
    offset: int
    """File offset of its data; 0 if the index does not say."""


class StockView:
    """One open file as its users see it.

    Args:
        library: the open file.
    """

    def __init__(self, library: Library) -> None:
        self._file = library.h5.File(library.id)
        self._all = library.h5.h5s.ALL
        self._h5 = library.h5

    def stock_arrays(self, promises: Sequence[Promise], algorithm: str) -> list[Finding]:
        """Return in what some arrays are others; the index is the position among these."""
        return list(guarded(self._arrays(promises, algorithm), _NAME, "/arrays"))

    def _arrays(self, promises: Sequence[Promise], algorithm: str) -> Iterator[Finding]:
        group = self._file["arrays"]
        for position, promise in enumerate(promises):
            spec = ArraySpec.of(promise.name, promise.dtype, tuple(promise.shape))
            place = f"/arrays/{promise.name}"
            dataset = group.get(promise.name)
            if dataset is None:
                yield Finding(differs("a dataset of that name", "none", place), position)
                continue
            seen = dataset.shape, dataset.dtype, numpy_of(promise.dtype, _OTHERS)
            pieces = partial(self._pieces, dataset, spec)
            for problem in compare(spec, promise.digest, algorithm, seen, pieces, place):
                yield Finding(problem, position)
            if promise.offset and dataset.id.get_offset() != promise.offset:
                found = str(dataset.id.get_offset())
                yield Finding(differs(f"data at {promise.offset}, as the index says", found, place), position)

    def _pieces(self, dataset: Any, spec: ArraySpec) -> Iterator[bytes]:
        """Yield the bytes of a dataset as the library reads them, without a conversion."""
        size = BY_NAME[spec.dtype].itemsize
        if not spec.nbytes:
            return
        kind, space = dataset.id.get_type(), dataset.id.get_space()
        for selection in slabs(spec.shape, size):
            starts = tuple(part.start for part in selection) + (0,) * (len(spec.shape) - len(selection))
            counts = tuple(part.stop - part.start for part in selection) + spec.shape[len(selection) :]
            out = np.empty(counts, f"V{size}")
            if spec.shape:
                space.select_hyperslab(starts, counts)
                dataset.id.read(self._h5.h5s.create_simple(counts), space, out, kind)
            else:
                dataset.id.read(self._all, self._all, out, kind)
            yield out.tobytes()

    def stock_rest(self, digests: Mapping[str, bytes], algorithm: str, count: int) -> list[Finding]:
        """Return what is not as it should be beside the arrays.

        Args:
            digests: those of the texts, by their names.
            algorithm: the digest algorithm.
            count: number of arrays.
        """
        return list(guarded(self._rest(digests, algorithm, count), _NAME, "/"))

    def _rest(self, digests: Mapping[str, bytes], algorithm: str, count: int) -> Iterator[Finding]:
        if sorted(self._file) != sorted(("arrays", "header", *PARTS)) or len(self._file["arrays"]) != count:
            found = shown(", ".join(self._file), 160)
            yield Finding(differs("the objects of a state tree", found, "/"))
        for name, digest in digests.items():
            dataset = self._file[name]
            if dataset.dtype != np.uint8 or bytes.fromhex(digest_text(algorithm, dataset[...].tobytes())) != digest:
                yield Finding(differs("the bytes that the header block names", "others", f"/{name}"))
