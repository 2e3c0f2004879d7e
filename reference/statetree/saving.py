"""Saving: a tree goes into a store, its arrays block by block. Source: spec sections 3, 6 and 7."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from statetree.digest import digest, hasher, hex_hasher
from statetree.dtype import dtype_name
from statetree.encode import Encoded, encode
from statetree.errors import fail
from statetree.info import encode_info
from statetree.limits import Limits
from statetree.manifest import ArrayEntry, encode_manifest
from statetree.naming import array_names
from statetree.pause import no_collection
from statetree.pieces import PLAIN, SMALL, pieces
from statetree.registry import as_path, check_library, choose_backend
from statetree.store import ArraySpec, Backend, WriteOptions, Writer

__all__ = ["Progress", "check_compression", "manifest_of", "save"]

Array = np.ndarray[Any, Any]
_BATCH = 1 << 20
_THREADED = 1 << 20
"""Bytes from which a digest is worth the way to another thread."""
Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


def save(
    path: "str | os.PathLike[str]",
    tree: Any,
    *,
    backend: str | None = None,
    algorithm: str = "xxh3-128",
    compression: str | None = None,
    durable: bool = True,
    pack: bool = True,
    info: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> str:
    """Save a state tree, all or nothing, and return its tree digest.

    Args:
        path: file (or folder, for Zarr) to make or to replace. Its suffix chooses the container: `.h5`, `.zarr`,
            `.zarr.zip`, `.bson`.
        tree: dicts, lists, tuples, records and namedtuples of arrays, scalars and plain values.
        backend: name of a container; beats the suffix.
        algorithm: digest algorithm: `xxh3-128` (against accidents), `sha-256` or `blake3` (against forgery).
        compression: None, `gzip`, or `zstd` where the backend has it.
        durable: wait until the file is on the disk; False leaves that to the system.
        pack: let a container join many small arrays (Zarr folders do).
        info: plain values to keep beside the tree, outside of its digest, such as {"step": 7}.
        progress: called with (bytes done, bytes in all) while arrays are written.
        limits: what is refused as too large.

    Raises:
        WriteError: a value that the format cannot hold, with its path; nothing was written.
        StoreIOError: the file system refused; what was at `path` before is unchanged.
    """
    limits = limits or Limits()
    place = as_path(path)
    chosen = choose_backend(place, backend)
    check_library(chosen, compression)
    check_compression(chosen, compression)
    function = hasher(algorithm)
    function(b"")
    info_text = encode_info(info, limits)
    with no_collection():
        encoded = encode(tree, limits)
    options = WriteOptions(algorithm=algorithm, compression=compression, durable=durable, pack=pack)
    writer = chosen.writer(place, options)
    try:
        with no_collection():
            text = _write(writer, encoded, algorithm, limits, info_text, progress)
    except BaseException:
        writer.abort()
        raise
    return f"{algorithm}:{digest(algorithm, text)}"


def check_compression(backend: Backend, compression: str | None) -> None:
    """Refuse a compression that `backend` cannot write."""
    if compression is None or compression in backend.compressions:
        return
    if backend.name == "hdf5" and compression == "zstd":
        fail(
            "WRITE_COMPRESSION",
            "a compression that every HDF5 library can read (gzip)",
            "'zstd', a plug-in filter that stock readers do not have",
            remedy="use compression='gzip', or a Zarr or BSON container for zstd",
        )
    fail(
        "WRITE_COMPRESSION",
        f"a compression of the backend {backend.name!r} ({', '.join(backend.compressions) or 'it has none'})",
        repr(compression),
        remedy="choose one of these, or compression=None",
    )


def _write(
    writer: Writer, encoded: Encoded, algorithm: str, limits: Limits, info: bytes, progress: Progress | None
) -> bytes:
    specs = specs_of(encoded)
    writer.create(specs)
    arrays = _Arrays(writer, specs, algorithm, progress)
    pool = ThreadPoolExecutor(max(1, len(os.sched_getaffinity(0)) - 1))
    try:
        arrays.digest_ahead(encoded.arrays, pool)
        for first, last in _batches([spec.nbytes for spec in specs]):
            arrays.write(first, encoded.arrays[first:last])
    finally:
        pool.shutdown(cancel_futures=True)
    text = encode_manifest(encoded.node, arrays.entries, algorithm)
    _check_manifest(text, limits)
    writer.commit(text, info, arrays.blocks)
    return text


def _batches(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the (first, last) of arrays to write together: many small ones of 1 MiB in all, or one."""
    first = total = 0
    for index, size in enumerate(sizes):
        small = 0 < size <= SMALL
        if first < index and (not small or total + size > _BATCH):
            yield first, index
            first, total = index, 0
        if small:
            total += size
        else:
            yield index, index + 1
            first = index + 1
    if first < len(sizes):
        yield first, len(sizes)


class _Arrays:
    """Writes the arrays of a tree and keeps what the manifest says of them."""

    def __init__(self, writer: Writer, specs: Sequence[ArraySpec], algorithm: str, progress: Progress | None) -> None:
        self.entries: list[ArrayEntry] = []
        """Rows of the table of arrays."""
        self.blocks: dict[int, bytes] = {}
        """Raw block digests of arrays above 4 MiB."""
        self._writer = writer
        self._specs = specs
        self._algorithm = algorithm
        self._hash = hasher(algorithm)
        self._progress = progress
        self._ahead: dict[int, Future[list[bytes]]] = {}
        self._done = 0
        self._total = sum(spec.nbytes for spec in specs)

    def digest_ahead(self, arrays: Sequence[Array], pool: ThreadPoolExecutor) -> None:
        """Begin to digest the large arrays that lie in memory as they are stored, while others are written."""
        for index, (spec, array) in enumerate(zip(self._specs, arrays, strict=True)):
            if spec.nbytes >= _THREADED and array.dtype in PLAIN and array.flags.c_contiguous and array.flags.aligned:
                self._ahead[index] = pool.submit(
                    lambda a, s: [self._hash(piece) for piece in pieces(a, s)], array, spec
                )

    def write(self, first: int, arrays: Sequence[Array]) -> None:
        """Write array `first` and those that follow it."""
        if len(arrays) > 1 and PLAIN.issuperset({array.dtype for array in arrays}):
            self._write_many(first, arrays)
        else:
            for index, array in enumerate(arrays, first):
                self._write_one(index, array)

    def _write_many(self, first: int, arrays: Sequence[Array]) -> None:
        data = [array.tobytes() for array in arrays]
        digests = map(hex_hasher(self._algorithm), data)
        specs = self._specs[first : first + len(data)]
        self.entries += [ArrayEntry(digest, s.dtype, s.shape) for digest, s in zip(digests, specs, strict=True)]
        self._writer.write_many(first, data)
        self._report(sum(map(len, data)))

    def _write_one(self, index: int, array: Array) -> None:
        spec, ahead = self._specs[index], self._ahead.pop(index, None)
        digests: list[bytes] = []
        at = 0
        for piece in pieces(array, spec):
            if ahead is None:
                digests.append(self._hash(piece))
            if spec.nbytes:
                self._writer.write(index, at, piece)
            at += len(piece)
            self._report(len(piece))
        if ahead is not None:
            digests = ahead.result()
        raw = b"".join(digests)
        if len(digests) > 1:
            self.blocks[index] = raw
            raw = self._hash(raw)
        self.entries.append(ArrayEntry(raw.hex(), spec.dtype, spec.shape))

    def _report(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._total)


def _check_manifest(text: bytes, limits: Limits) -> None:
    if len(text) > limits.manifest_bytes:
        fail(
            "LIMIT_MANIFEST",
            f"a manifest of at most {limits.manifest_bytes} bytes",
            f"{len(text)} bytes",
            remedy="save long lists and texts as arrays, or raise limits=Limits(manifest_bytes=…)",
        )


def specs_of(encoded: Encoded) -> list[ArraySpec]:
    """Return what a store is to know of the arrays of an encoded tree."""
    names = array_names(encoded.labels)
    return [
        ArraySpec(name, dtype_name(array.dtype) or "", array.shape, array.nbytes)
        for name, array in zip(names, encoded.arrays, strict=True)
    ]


def manifest_of(tree: Any, algorithm: str, limits: Limits) -> bytes:
    """Return the manifest text that `tree` has in every container, without writing anything."""
    encoded = encode(tree, limits)
    function = hasher(algorithm)
    entries = []
    for spec, array in zip(specs_of(encoded), encoded.arrays, strict=True):
        raw = [function(piece) for piece in pieces(array, spec)]
        top = raw[0] if len(raw) == 1 else function(b"".join(raw))
        entries.append(ArrayEntry(top.hex(), spec.dtype, spec.shape))
    text = encode_manifest(encoded.node, entries, algorithm)
    _check_manifest(text, limits)
    return text
