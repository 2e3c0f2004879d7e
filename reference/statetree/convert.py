"""Converting: the same manifest, byte for byte, in another container. Source: spec section 7."""

import os
from collections.abc import Mapping

from statetree.digest import block_count, block_spans, hasher
from statetree.limits import Limits
from statetree.loading import open
from statetree.registry import as_path, check_library, choose_backend
from statetree.saving import Progress, check_compression
from statetree.source import Source
from statetree.store import ArraySpec, WriteOptions, Writer

__all__ = ["convert"]


def convert(
    source: "str | os.PathLike[str]",
    destination: "str | os.PathLike[str]",
    *,
    backend: str | None = None,
    compression: str | None = None,
    durable: bool = True,
    pack: bool = True,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> str:
    """Write the tree of one file into another container and return the tree digest, which stays the same.

    The manifest and the info text are carried over byte for byte; arrays pass through memory 4 MiB at a time, and
    each is verified.

    Args:
        source: the file to read.
        destination: the file to make; its suffix chooses the container.
        backend: name of the container; beats the suffix.
        compression: None, `gzip`, or `zstd` where the backend has it.
        durable: wait until the file is on the disk.
        pack: let a container join many small arrays.
        progress: called with (bytes done, bytes in all).
        limits: what is refused as too large.

    Raises:
        StateTreeError: the source is not sound, or the destination cannot be written; what was there is unchanged.
    """
    place = as_path(destination)
    chosen = choose_backend(place, backend)
    check_library(chosen, compression)
    check_compression(chosen, compression)
    with open(source, limits=limits) as file:
        arrays = file.source
        text = arrays.reader.manifest()
        info = arrays.reader.info()
        options = WriteOptions(algorithm=arrays.manifest.algorithm, compression=compression, durable=durable, pack=pack)
        writer = chosen.writer(place, options)
        try:
            blocks = _copy(arrays, writer, progress)
            writer.commit(text, info, blocks)
        except BaseException:
            writer.abort()
            raise
        return file.digest


def _copy(source: Source, writer: Writer, progress: Progress | None) -> Mapping[int, bytes]:
    entries = source.manifest.arrays
    writer.create([ArraySpec(source.name(i), a.dtype, a.shape, a.nbytes) for i, a in enumerate(entries)])
    total = sum(entry.nbytes for entry in entries)
    done = 0
    function = hasher(source.manifest.algorithm)
    blocks: dict[int, bytes] = {}
    for index, entry in enumerate(entries):
        for a, b in block_spans(0, entry.nbytes):
            _, data = source.read(index, a, b)
            writer.write(index, a, data.data)
            if block_count(entry.nbytes):
                blocks[index] = blocks.get(index, b"") + function(data)
            done += b - a
            if progress is not None:
                progress(done, total)
        if not entry.nbytes:
            source.fill(index, memoryview(b""))
    return blocks
