"""Saving: a tree goes into a store, its arrays block by block. Source: spec sections 3, 6 and 7."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from statetree.digest import BLOCK, block_spans, digest, hasher
from statetree.dtype import BY_NAME, dtype_name
from statetree.encode import Encoded, encode
from statetree.errors import fail
from statetree.info import encode_info
from statetree.lazy import native, raw_bytes
from statetree.limits import Limits
from statetree.manifest import ArrayEntry, encode_manifest
from statetree.naming import array_names
from statetree.pause import no_collection
from statetree.registry import as_path, check_library, choose_backend
from statetree.store import ArraySpec, Backend, WriteOptions, Writer

__all__ = ["Progress", "check_compression", "manifest_of", "save"]

Array = np.ndarray[Any, Any]
SMALL = 1 << 16
"""Bytes up to which copying an array is quicker than looking at how it lies."""
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
    total = sum(spec.nbytes for spec in specs)
    writer.create(specs)
    function = hasher(algorithm)
    entries: list[ArrayEntry] = []
    blocks: dict[int, bytes] = {}
    done = 0
    for index, (spec, array) in enumerate(zip(specs, encoded.arrays, strict=True)):
        raw: list[bytes] = []
        at = 0
        for piece in pieces(array, spec):
            raw.append(function(piece))
            if spec.nbytes:
                writer.write(index, at, piece)
            at += len(piece)
            if progress is not None:
                progress(done + at, total)
        done += at
        if len(raw) > 1:
            blocks[index] = b"".join(raw)
            raw = [function(blocks[index])]
        entries.append(ArrayEntry(raw[0].hex(), spec.dtype, spec.shape))
    text = encode_manifest(encoded.node, entries, algorithm)
    _check_manifest(text, limits)
    writer.commit(text, info, blocks)
    return text


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


def pieces(array: Array, spec: ArraySpec) -> Iterable[memoryview | bytes]:
    """Return the canonical bytes of an array in pieces of 4 MiB, the last one shorter; one empty piece if empty."""
    top = _TOPS[spec.dtype]
    if spec.nbytes <= SMALL and array.dtype.isnative and np.little_endian:
        return (array.tobytes() if top is None else _canonical(memoryview(array.tobytes()), top),)
    plain = array.flags.c_contiguous and array.dtype.isnative and array.flags.aligned
    if spec.nbytes <= BLOCK:
        whole = array if plain else np.array(array, BY_NAME[spec.dtype].numpy, order="C", copy=True, subok=False)
        return (_canonical(raw_bytes(native(whole)), top),)
    if plain and np.little_endian:
        data = raw_bytes(array)
        return (_canonical(data[a:b], top) for a, b in block_spans(0, len(data)))
    return _gathered(array, spec, top)


_TOPS = {name: row.top for name, row in BY_NAME.items()}


def _gathered(array: Array, spec: ArraySpec, top: int | None) -> Iterator[memoryview]:
    """Yield the pieces of an array that lies in another order, without ever copying more than a piece of it."""
    itemsize = BY_NAME[spec.dtype].itemsize
    count = BLOCK // itemsize
    flat = array.flat
    for start in range(0, array.size, count):
        piece = np.ascontiguousarray(flat[start : start + count], BY_NAME[spec.dtype].numpy)
        yield _canonical(raw_bytes(native(piece)), top)


def _canonical(data: memoryview, top: int | None) -> memoryview:
    """Return bytes with bool made 0 or 1 and the unused bits of sub-byte elements made zero."""
    if top is None or not len(data):
        return data
    bytes_ = np.frombuffer(data, np.uint8)
    if int(bytes_.max()) <= top:
        return data
    return ((bytes_ != 0).view(np.uint8) if top == 1 else bytes_ & np.uint8(top)).data


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
