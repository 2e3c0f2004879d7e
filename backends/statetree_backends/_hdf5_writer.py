"""Writing HDF5 without its library: arrays, then texts, then the metadata. Source: spec section 7.3."""

import zlib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from statetree.digest import hasher
from statetree.dtype import BY_NAME
from statetree.files import NewFile
from statetree.store import ArraySpec, WriteOptions
from statetree_backends._block import PARTS, Block, Part, pack_block
from statetree_backends._chunks import Cutter, chunk_rows
from statetree_backends._hdf5_format import superblock
from statetree_backends._hdf5_metadata import ALIGN, HEADER_AT, HEADER_SIZE, Chunked, aligned, metadata

__all__ = ["Hdf5Writer"]

ARRAYS_AT = HEADER_AT + HEADER_SIZE
_PADS = [bytes(size) for size in range(ALIGN)]


class Hdf5Writer:
    """A file being written."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._path = path
        self._options = options
        self._file: NewFile | None = None
        self._specs: Sequence[ArraySpec] = ()
        self._offsets: list[int] = []
        self._rows: list[int] = []
        self._chunks: dict[int, list[tuple[int, int]]] = {}
        self._cutters: dict[int, Cutter] = {}
        self._at = ARRAYS_AT

    @property
    def file(self) -> NewFile:
        """The file; made by `create`."""
        assert self._file is not None
        return self._file

    def create(self, specs: Sequence[ArraySpec]) -> None:
        """Give every array that is stored as it is its place."""
        self._specs = specs
        packed = self._options.compression is not None
        self._rows = [chunk_rows(spec) if packed else 0 for spec in specs]
        at = ARRAYS_AT
        for spec, rows in zip(specs, self._rows, strict=True):
            contiguous = not rows and spec.nbytes
            self._offsets.append(at if contiguous else 0)
            if contiguous:
                at = aligned(at + spec.nbytes)
        self._at = at
        self._file = NewFile(self._path, at)

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Put `data` at byte `start` of array `index`, or into its chunks."""
        rows = self._rows[index]
        if not rows:
            self.file.write(self._offsets[index] + start, data)
            return
        if start == 0:
            self._cutters = {index: Cutter(self._specs[index], rows)}
        for chunk in self._cutters[index].add(data):
            self._chunk(index, chunk)

    def write_many(self, first: int, arrays: Sequence[bytes]) -> None:
        """Put arrays that are stored as they are behind each other in one go."""
        if any(self._rows[first : first + len(arrays)]):
            for index, data in enumerate(arrays, first):
                self.write(index, 0, data)
            return
        padded = list(chain.from_iterable((data, _PADS[-len(data) % ALIGN]) for data in arrays))
        self.file.write_all(self._offsets[first], padded)

    def _chunk(self, index: int, chunk: bytes) -> None:
        itemsize = BY_NAME[self._specs[index].dtype].itemsize
        if itemsize > 1:
            chunk = np.frombuffer(chunk, np.uint8).reshape(-1, itemsize).T.tobytes()
        packed = zlib.compress(chunk, 5)
        self.file.write(self._at, packed)
        self._chunks.setdefault(index, []).append((self._at, len(packed)))
        self._at = aligned(self._at + len(packed))

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Write the texts and the metadata, and make the file visible."""
        sizes = [spec.nbytes if at else 0 for spec, at in zip(self._specs, self._offsets, strict=True)]
        index = np.array([self._offsets, sizes], "<u8").T.tobytes()
        texts = {
            "manifest": manifest,
            "info": info,
            "index": index,
            "blocks": b"".join(blocks[i] for i in sorted(blocks)),
        }
        function = hasher(self._options.algorithm)
        parts: dict[str, Part] = {}
        for name in PARTS:
            parts[name] = Part(self._at, len(texts[name]), function(texts[name]))
            self.file.write(self._at, texts[name])
            self._at = aligned(self._at + len(texts[name]))
        block = Block(self._options.algorithm, self._options.compression, len(self._specs), len(self._specs), parts)
        self.file.write(HEADER_AT, pack_block(block).ljust(HEADER_SIZE, b"\0"))
        chunked = {i: Chunked(self._rows[i], chunks) for i, chunks in self._chunks.items()}
        headers, root = metadata(self._specs, self._offsets, parts, self._at, chunked)
        self.file.write(self._at, headers)
        end = self._at + len(headers)
        self.file.write(0, superblock(root, end))
        self.file.truncate(end)
        self.file.commit(durable=self._options.durable)

    def abort(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.discard()
