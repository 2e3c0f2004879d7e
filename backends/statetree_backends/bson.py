"""The BSON backend: a stream of documents below 16 MiB. Source: spec section 7.5."""

import struct
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from statetree.digest import block_count, hasher
from statetree.errors import fail
from statetree.files import MappedFile, NewFile
from statetree.limits import Limits
from statetree.store import ArraySpec, WriteOptions
from statetree_backends._block import PARTS, SIZE, Block, Part, checked_text, pack_block, unpack_block
from statetree_backends._bson_strict import read_document
from statetree_backends._codecs import compress, decompress, missing_codec

__all__ = ["BACKEND"]

PIECE = 8 << 20
"""Canonical bytes of a data document: two digest blocks."""
PREFIX = b"\x02statetree\0\x04\0\0\0"
"""Bytes 4 to 19 of every file."""
TRAILER = SIZE + 34
"""Bytes of the trailer document: its framing around the header block."""
_ALIGN = 64
_SMALL = 1 << 16
_ROW = np.dtype([("array", "<u4"), ("n", "<u4"), ("offset", "<u8"), ("size", "<u8")])
_DAMAGED = "the file is damaged: restore it from a copy"


_INT32 = struct.Struct("<i").pack
_BINARY = struct.Struct("<iB").pack


def _document(fields: Mapping[str, Any]) -> bytes:
    import bson

    encoded: bytes = bson.encode(fields)
    return encoded


def _with_data(body: bytes, at: int, size: int) -> bytes:
    """Return a document up to its payload: `body`, padding, and `data` of `size` bytes, aligned in the file.

    Args:
        body: the elements that come first, encoded.
        at: file offset of the document.
        size: bytes of the payload, which a zero byte follows.
    """
    # 4: length; 10 and 11: the element headers of `pad` and `data`.
    pad = -(at + 4 + len(body) + 10 + 11) % _ALIGN
    length = 4 + len(body) + 10 + pad + 11 + size + 1
    return b"%b%b\x05pad\0%b%b\x05data\0%b" % (
        _INT32(length),
        body,
        _BINARY(pad, 0),
        bytes(pad),
        _BINARY(size, 0),
    )


class BsonWriter:
    """A file being written."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._path = path
        self._options = options
        self._file: NewFile | None = None
        self._at = 0
        self._rows: list[tuple[int, int, int, int]] = []
        self._specs: Sequence[ArraySpec] = ()
        self._kinds: dict[tuple[str, tuple[int, ...]], bytes] = {}
        self._held: list[memoryview | bytes] = []
        self._left = 0

    @property
    def file(self) -> NewFile:
        """The file; made by `create`."""
        assert self._file is not None
        return self._file

    def create(self, specs: Sequence[ArraySpec]) -> None:
        """Begin the file with its header document."""
        from bson.int64 import Int64

        self._specs = specs
        size = 0 if self._options.compression else sum(s.nbytes + 400 * (1 + s.nbytes // PIECE) for s in specs)
        self._file = NewFile(self._path, size)
        header = {"statetree": "1.0", "algorithm": self._options.algorithm, "arrays": Int64(len(specs))}
        self._append(_document(header))

    def _append(self, data: memoryview | bytes) -> None:
        self.file.write(self._at, data)
        self._at += len(data)

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Append a piece of array `index`; every 8 MiB begin a document."""
        if self._options.compression is not None:
            self._held.append(bytes(data))
            end = start + len(data)
            if end % PIECE == 0 or end == self._specs[index].nbytes:
                packed = compress(self._options.compression, b"".join(self._held))
                self._held = []
                self._append(self._head(index, (end - 1) // PIECE, len(packed)))
                self._append(packed)
                self._append(b"\0")
            return
        if start == 0 and len(data) <= _SMALL and len(data) == self._specs[index].nbytes:
            self._append(self._head(index, 0, len(data)) + data + b"\0")
            return
        if start % PIECE == 0:
            self._left = min(PIECE, self._specs[index].nbytes - start)
            self._append(self._head(index, start // PIECE, self._left))
        self._append(data)
        self._left -= len(data)
        if not self._left:
            self._append(b"\0")

    def _head(self, index: int, n: int, size: int) -> bytes:
        """Return the part of a data document that comes before its payload, which is to be appended next."""
        spec = self._specs[index]
        kind = self._kinds.get((spec.dtype, spec.shape))
        if kind is None:
            kind = self._kinds[spec.dtype, spec.shape] = self._kind(spec)
        name = spec.name.encode()
        body = b"%b\x02name\0%b%b\0%b" % (
            b"\x10array\0" + _INT32(index) + b"\x10n\0" + _INT32(n),
            _INT32(len(name) + 1),
            name,
            kind,
        )
        head = _with_data(body, self._at, size)
        self._rows.append((index, n, self._at + len(head), size))
        return head

    def _kind(self, spec: ArraySpec) -> bytes:
        """Return the elements `dtype`, `shape` and `compression`, which arrays of one kind share."""
        from bson.int64 import Int64

        fields: dict[str, Any] = {"dtype": spec.dtype, "shape": [Int64(extent) for extent in spec.shape]}
        if self._options.compression is not None:
            fields["compression"] = self._options.compression
        return _document(fields)[4:-1]

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Append the texts and the trailer, and make the file visible."""
        index = np.array(self._rows, _ROW).tobytes()
        texts = {
            "manifest": manifest,
            "info": info,
            "index": index,
            "blocks": b"".join(blocks[i] for i in sorted(blocks)),
        }
        function = hasher(self._options.algorithm)
        parts = {name: self._text(name, texts[name], function(texts[name])) for name in reversed(PARTS)}
        block = Block(self._options.algorithm, self._options.compression, len(self._specs), len(self._rows), parts)
        self._append(_document({"kind": "trailer", "data": pack_block(block)}))
        self.file.truncate(self._at)
        self.file.commit(durable=self._options.durable)

    def _text(self, name: str, text: bytes, digest: bytes) -> Part:
        first = self._at
        for n, start in enumerate(range(0, len(text) or 1, PIECE)):
            piece = text[start : start + PIECE]
            self._append(_with_data(_document({"kind": name, "n": n})[4:-1], self._at, len(piece)))
            self._append(piece)
            self._append(b"\0")
        return Part(first, len(text), digest)

    def abort(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.discard()


class BsonReader:
    """An open file: trailer, index and digests; the data documents around the payloads are not walked."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._specs: Sequence[ArraySpec] = ()
        self._blocks: dict[int, bytes] | None = None
        self._lock = threading.Lock()
        self._last: tuple[int, bytes] = (-1, b"")
        self._file = MappedFile(path)
        try:
            self._header()
            self._block = self._trailer()
        except BaseException:
            self._file.close()
            raise

    def _header(self) -> None:
        size = int.from_bytes(self._file.read(0, 4), "little", signed=True)
        if not 5 <= size <= 4096 or size > self._file.size:
            fail("BSON_FRAMING", "a header document of 5 to 4096 bytes", str(size), place="header", remedy=_DAMAGED)
        header = read_document(self._file.read(0, size), "header")
        version = header.get("statetree")
        if type(version) is not str or version.partition(".")[0] != "1":
            fail(
                "VERSION_MAJOR",
                "format version 1",
                f"version {version!r}"[:60],
                place="header",
                remedy="read it with a newer statetree: pip install -U statetree",
            )

    def _trailer(self) -> Block:
        at = self._file.size - TRAILER
        data = self._file.read(max(at, 0), TRAILER)
        if at < 0 or data[:4] != struct.pack("<i", TRAILER):
            fail(
                "CONTAINER_TRUNCATED",
                "a trailer document at the end of the file",
                "other bytes",
                place="trailer",
                remedy="the file is cut off or was added to: restore it from a copy",
            )
        trailer = read_document(data, "trailer")
        if trailer.get("kind") != "trailer" or type(trailer.get("data")) is not bytes or len(trailer) != 2:
            fail("BSON_CHUNKS", "a trailer document", "another", place="trailer", remedy=_DAMAGED)
        return unpack_block(trailer["data"], "trailer")

    def _part(self, name: str, limit: int | None) -> bytes:
        part = self._block.parts[name]
        if limit is not None and part.size > limit:
            fail("LIMIT_MANIFEST", f"at most {limit} bytes", str(part.size), place=name, remedy="raise limits=")
        if part.size > self._file.size:
            fail("BSON_CHUNKS", "a part within the file", f"{part.size} bytes", place=name, remedy=_DAMAGED)
        pieces: list[bytes] = []
        at, left, n = part.offset, part.size, 0
        while left or not pieces:
            piece, at = self._text_document(name, n, at)
            if len(piece) != min(left, PIECE):
                fail("BSON_CHUNKS", f"{min(left, PIECE)} bytes", str(len(piece)), place=name, remedy=_DAMAGED)
            pieces.append(piece)
            left -= len(piece)
            n += 1
        return checked_text(name, b"".join(pieces), self._block.algorithm, part.digest, name)

    def _text_document(self, name: str, n: int, at: int) -> tuple[bytes, int]:
        size = int.from_bytes(self._file.read(at, 4), "little", signed=True)
        if at >= self._file.size or not 5 <= size <= PIECE + 4096 or at + size > self._file.size:
            fail("BSON_CHUNKS", f"a document of {name}", f"a length of {size}", place=name, remedy=_DAMAGED)
        document = read_document(self._file.read(at, size), name)
        if list(document) != ["kind", "n", "pad", "data"] or document["kind"] != name or document["n"] != ("int32", n):
            fail("BSON_CHUNKS", f"document {n} of {name}", "another document", place=name, remedy=_DAMAGED)
        if type(document["data"]) is not bytes:
            fail("BSON_TYPE", "data as binary", "another type", place=name, remedy=_DAMAGED)
        return document["data"], at + size

    def algorithm(self) -> str:
        """Return the digest algorithm that the container records."""
        return self._block.algorithm

    def manifest(self) -> bytes:
        """Return the manifest text, checked."""
        return self._part("manifest", self._limits.manifest_bytes)

    def info(self) -> bytes:
        """Return the info text, checked."""
        return self._part("info", self._limits.info_bytes)

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Read the index and hold it against the file and the number of arrays."""
        self._specs = specs
        rows = np.frombuffer(self._part("index", None), _ROW) if self._block.parts["index"].size % 24 == 0 else None
        if rows is None or len(rows) != self._block.documents or self._block.arrays != len(specs):
            self._wrong_index(f"{len(specs)} arrays", f"{self._block.arrays}")
            return
        array, n = rows["array"].astype(np.int64), rows["n"]
        step = np.diff(array, prepend=-1)
        follows = np.where(step > 0, n == 0, (n == np.roll(n, 1) + 1) & (step == 0)) if len(rows) else np.array(True)
        outside = rows["offset"].astype(np.float64) + rows["size"] > self._file.size
        if not follows.all() or outside.any() or (len(rows) and int(array[-1]) >= len(specs)):
            self._wrong_index("rows in order, within the file", "others")
        self._first = np.full(len(specs) + 1, -1, np.int64)
        self._first[array[n == 0]] = np.flatnonzero(n == 0)
        self._starts: list[int] = self._first.tolist()
        self._counts: list[int] = np.bincount(array, minlength=len(specs)).tolist()
        self._offsets: list[int] = rows["offset"].tolist()
        self._sizes: list[int] = rows["size"].tolist()

    def _wrong_index(self, expected: str, found: str) -> None:
        fail("BSON_CHUNKS", f"an index of {expected}", found, place="index", remedy=_DAMAGED)

    def blocks(self, index: int) -> bytes:
        """Return the block digests of array `index`."""
        if self._blocks is None:
            data = self._part("blocks", None)
            size = len(self._block.parts["manifest"].digest)
            self._blocks, at = {}, 0
            for i, spec in enumerate(self._specs):
                count = block_count(spec.nbytes) * size
                if count:
                    self._blocks[i] = data[at : at + count]
                    at += count
        return self._blocks.get(index, b"")

    def view(self, index: int) -> memoryview | None:
        """Return array `index` mapped, if it is stored as it is in one document."""
        if self._block.compression is not None or self._counts[index] != 1:
            return None
        row = self._starts[index]
        return self._file.view(self._offsets[row], self._sizes[row])

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index` out of its documents."""
        nbytes = self._specs[index].nbytes
        if self._counts[index] != -(-nbytes // PIECE):
            fail(
                "ARRAY_MISSING",
                f"{-(-nbytes // PIECE)} documents",
                str(self._counts[index]),
                place=self.place(index),
                remedy=_DAMAGED,
            )
        at = start
        while at < stop:
            n = at // PIECE
            end = min(stop, (n + 1) * PIECE)
            piece = self._piece(index, n, min(PIECE, nbytes - n * PIECE))
            out[at - start : end - start] = piece[at - n * PIECE : end - n * PIECE]
            at = end

    def _piece(self, index: int, n: int, size: int) -> memoryview:
        row = self._starts[index] + n
        offset, stored = self._offsets[row], self._sizes[row]
        if self._block.compression is None:
            if stored != size:
                fail("BSON_CHUNKS", f"{size} bytes", str(stored), place=self.place(index), remedy=_DAMAGED)
            return self._file.view(offset, stored)
        with self._lock:
            if self._last[0] != row:
                data = decompress(self._block.compression, self._file.read(offset, stored), size, self.place(index))
                self._last = (row, data)
            return memoryview(self._last[1])

    def reread(self, index: int) -> bool:
        """There is no other way."""
        return False

    def stored_bytes(self) -> int:
        """Return the size of the file."""
        return self._file.size

    def place(self, index: int) -> str:
        """Return the name of array `index`."""
        return f"array {self._specs[index].name}"

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BsonBackend:
    """BSON files."""

    name = "bson"
    suffixes: tuple[str, ...] = (".bson",)
    compressions: tuple[str, ...] = ("gzip", "zstd")

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        """Pymongo's bson writes the documents; zstd needs zstandard."""
        if find_spec("bson") is None or find_spec("pymongo") is None:
            return "pymongo", "bson"
        return missing_codec(compression, "bson")

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the file begins with the header document."""
        return head[4:19] == PREFIX[:15]

    def writer(self, path: Path, options: WriteOptions) -> BsonWriter:
        """Begin a save."""
        return BsonWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> BsonReader:
        """Open a file."""
        return BsonReader(path, limits)


BACKEND = BsonBackend()
