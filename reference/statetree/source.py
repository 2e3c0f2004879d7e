"""Verified reading: the arrays of an open store, each byte held against its digest. Source: spec section 6."""

import threading
from collections.abc import Sequence
from typing import Any, NoReturn, overload

import numpy as np

from statetree.decode import first_paths
from statetree.digest import BLOCK, block_count, block_spans, hasher, hex_hasher
from statetree.dtype import BY_NAME
from statetree.errors import fail
from statetree.manifest import ArrayEntry, Manifest
from statetree.naming import array_names, path_label
from statetree.path import Path
from statetree.store import ArraySpec, Reader

__all__ = ["Source"]

_CHECKED = frozenset(name for name, row in BY_NAME.items() if row.top is not None)
_DAMAGED = "the file is damaged: restore it from a copy, or read the rest of it with select="


class Source:
    """The arrays of one open store.

    Args:
        reader: the open store; closed by `close`.
        manifest: its decoded manifest.
        backend: name of its backend.
        verify: whether values are held against their digests before they are handed out.
    """

    def __init__(self, reader: Reader, manifest: Manifest, backend: str, *, verify: bool) -> None:
        self.reader = reader
        self.manifest = manifest
        self.backend = backend
        self._hash = hasher(manifest.algorithm)
        self._digest_bytes = len(self._hash(b""))
        self._verify = verify
        self._blocks: dict[int, bytes] = {}
        self._paths: list[Path] | None = None
        self._names: list[str] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def bind(self, *, whole: bool = False) -> None:
        """Tell the store what the manifest says of its arrays; `whole`: all of that will be asked for."""
        specs = _Specs(self)
        if whole:
            names = map(self.name, range(len(specs)))
            self.reader.bind([ArraySpec(n, s.dtype, s.shape, s.nbytes) for n, s in zip(names, specs, strict=True)])
        else:
            self.reader.bind(specs)

    def name(self, index: int) -> str:
        """Return the name of array `index` in the container."""
        if self._names is None:
            self._names = array_names([path_label(path) for path in self.paths()])
        return self._names[index]

    def check_open(self) -> None:
        """Refuse to read after `close`."""
        if self._closed:
            fail(
                "CLOSED",
                "an open file",
                "a closed one",
                remedy="read inside of the with block, or use statetree.load",
            )

    def close(self) -> None:
        """Close the store."""
        self._closed = True
        self.reader.close()

    def fill(self, index: int, out: memoryview) -> None:
        """Copy the canonical bytes of array `index` into `out`, verified.

        Raises:
            IntegrityError: they do not have the digest that the manifest promises.
        """
        self._read(index, 0, self.manifest.nbytes[index], out)

    def copy(self, index: int, start: int, stop: int, out: memoryview) -> bool:
        """Copy one block of array `index`, or all of a small one, and return whether its digest is right.

        Raises:
            StateTreeError: the store does not have it.
        """
        entry = self.manifest.arrays[index]
        if stop > start:
            self.reader.read(index, start, stop, out)
        if not self._verify:
            return True
        if self.manifest.nbytes[index] <= BLOCK:
            return self._hash(out).hex() == entry.digest
        size, block = self._digest_bytes, start // BLOCK
        return self._hash(out) == self._block_digests(index)[block * size : (block + 1) * size]

    def wrong(self, indices: Sequence[int], parts: Sequence[memoryview]) -> list[int]:
        """Return those of some small arrays, next to each other in the table, that are not what was saved."""
        entries = self.manifest.arrays[indices[0] : indices[-1] + 1]
        found: list[int] = []
        if self._verify:
            digests = map(hex_hasher(self.manifest.algorithm), parts)
            found += [i for i, e, digest in zip(indices, entries, digests, strict=True) if digest != e.digest]
        if not _CHECKED.isdisjoint(entry.dtype for entry in entries):
            found += [i for i, part in zip(indices, parts, strict=True) if self._largest(i, part) is not None]
        return found

    def read(self, index: int, start: int, stop: int) -> "tuple[int, np.ndarray[Any, np.dtype[np.uint8]]]":
        """Return (offset, bytes): verified bytes of whole blocks of array `index` that cover [start, stop)."""
        nbytes = self.manifest.nbytes[index]
        if nbytes <= BLOCK:
            start, stop = 0, nbytes
        else:
            start, stop = start // BLOCK * BLOCK, min(nbytes, -(-stop // BLOCK) * BLOCK)
        out = np.empty(stop - start, np.uint8)
        self._read(index, start, stop, out.data)
        return start, out

    def view(self, index: int) -> memoryview | None:
        """Return the canonical bytes of array `index` mapped read-only and verified, None where that cannot be."""
        view = self._sized_view(index)
        while view is not None and self._verify and not self._sound(index, view):
            if not self.reader.reread(index):
                self._damaged(index, 0, len(view))
            view = self._sized_view(index)
        if view is not None:
            self.check_values(index, view)
        return view

    def _sized_view(self, index: int) -> memoryview | None:
        """Return the store's view of an array, which must have the size that the manifest says."""
        view = self.reader.view(index)
        nbytes = self.manifest.nbytes[index]
        if view is not None and len(view) != nbytes:
            if self.reader.reread(index):
                return self._sized_view(index)
            fail(
                "BACKEND_MISMATCH",
                f"{nbytes} bytes",
                f"{len(view)}",
                path=self._path(index),
                place=self.reader.place(index),
                remedy=_DAMAGED,
            )
        return view

    def _sound(self, index: int, view: memoryview) -> bool:
        if len(view) <= BLOCK:
            return self._hash(view).hex() == self.manifest.arrays[index].digest
        wanted = self._block_digests(index)
        size = self._digest_bytes
        return all(
            self._hash(view[a:b]) == wanted[k * size : (k + 1) * size]
            for k, (a, b) in enumerate(block_spans(0, len(view)))
        )

    def _read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        while (bad := self._try(index, start, stop, out)) is not None:
            with self._lock:
                self._blocks.pop(index, None)
                if not self.reader.reread(index):
                    self._damaged(index, *bad)
        self.check_values(index, out)

    def _try(self, index: int, start: int, stop: int, out: memoryview) -> tuple[int, int] | None:
        """Fill `out`; return the byte range of the first piece whose digest is wrong, None if all are right."""
        spans = block_spans(start, stop) if stop > start else [(start, stop)]
        return next(
            (span for span in spans if not self.copy(index, *span, out[span[0] - start : span[1] - start])), None
        )

    def _block_digests(self, index: int) -> bytes:
        """Return the block digests of array `index`, held against the manifest."""
        known = self._blocks.get(index)
        if known is None:
            entry: ArrayEntry = self.manifest.arrays[index]
            known = self.reader.blocks().get(index, b"")
            if len(known) != block_count(entry.nbytes) * self._digest_bytes or self._hash(known).hex() != entry.digest:
                if self.reader.reread(index):
                    return self._block_digests(index)
                fail(
                    "BLOCK_DIGEST",
                    f"block digests whose digest is {entry.digest}",
                    "others",
                    path=self._path(index),
                    place=self.reader.place(index),
                    remedy=_DAMAGED,
                )
            self._blocks[index] = known
        return known

    def paths(self) -> list[Path]:
        """Return the first path of each array; the tree was decoded before, so it is sound."""
        if self._paths is None:
            self._paths = first_paths(self.manifest.node)
        return self._paths

    def _path(self, index: int) -> Path:
        return self.paths()[index]

    def _damaged(self, index: int, start: int, stop: int) -> NoReturn:
        self.check_open()
        entry = self.manifest.arrays[index]
        where = f"bytes {start} to {stop} of {entry.nbytes} with another digest"
        fail(
            "DIGEST",
            f"the bytes that were saved ({self.manifest.algorithm}:{entry.digest})",
            where,
            path=self._path(index),
            place=self.reader.place(index),
            remedy=_DAMAGED,
            rule="G-3",
        )

    def check_values(self, index: int, data: memoryview) -> None:
        """Refuse bytes that no writer may write: bool above 1, unused bits of sub-byte elements."""
        largest = self._largest(index, data)
        if largest is not None:
            row = BY_NAME[self.manifest.arrays[index].dtype]
            fail(
                "BOOL_VALUE" if row.name == "bool" else "SUBBYTE_RANGE",
                f"{row.name} elements stored as bytes up to {row.top}",
                f"byte {largest}",
                path=self._path(index),
                place=self.reader.place(index),
                remedy="write the file with a conforming writer",
            )

    def _largest(self, index: int, data: memoryview) -> int | None:
        """Return the largest byte of an array if that is one too large for its dtype, else None."""
        top = BY_NAME[self.manifest.arrays[index].dtype].top
        if top is None or not len(data):
            return None
        largest = int(np.frombuffer(data, np.uint8).max())
        return largest if largest > top else None


class _Specs(Sequence[ArraySpec]):
    """The specs of a source's arrays, each made when it is asked for: most loads never ask."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source.manifest.arrays)

    @overload
    def __getitem__(self, index: int) -> ArraySpec: ...
    @overload
    def __getitem__(self, index: slice) -> list[ArraySpec]: ...
    def __getitem__(self, index: int | slice) -> ArraySpec | list[ArraySpec]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        entry = self._source.manifest.arrays[index]
        return ArraySpec(
            lambda: self._source.name(index), entry.dtype, entry.shape, self._source.manifest.nbytes[index]
        )
