"""Writing BSON files: computed headers around payloads that no encoder copies. Source: spec section 7.5."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from statetree.digest import hasher
from statetree.files import NewFile
from statetree.store import ArraySpec, WriteOptions
from statetree.version import VERSION
from statetree_backends._block import Block, Part, pack_block
from statetree_backends._bson_file import PIECE, TEXTS
from statetree_backends._bson_head import Heads, with_data
from statetree_backends._codecs import compress

__all__ = ["BsonWriter"]

_SMALL, _GATHERED = 1 << 16, 1 << 18
_ROW = struct.Struct("<IIQQ").pack


def _document(fields: Mapping[str, Any]) -> bytes:
    import bson

    encoded: bytes = bson.encode(fields)
    return encoded


class BsonWriter:
    """A file being written."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._path = path
        self._options = options
        self._file: NewFile | None = None
        self._at = 0
        self._small: list[bytes] = []
        self._small_size = 0
        self._rows: list[bytes] = []
        self._specs: Sequence[ArraySpec] = ()
        self._heads = Heads(options.compression)
        self._held: list[bytes] = []
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
        header = {"statetree": VERSION, "algorithm": self._options.algorithm, "arrays": Int64(len(specs))}
        self._append(_document(header))

    def _append(self, data: memoryview | bytes) -> None:
        """Put `data` at the end; small pieces are gathered first, as each call of the system takes its time."""
        size = len(data)
        self._at += size
        if size <= _SMALL:
            self._small.append(data if type(data) is bytes else bytes(data))
            self._small_size += size
            if self._small_size > _GATHERED:
                self._flush(self._at)
        else:
            self._flush(self._at - size)
            self.file.write(self._at - size, data)

    def _flush(self, end: int) -> None:
        """Write what is gathered, which ends at file offset `end`."""
        if self._small:
            self.file.write(end - self._small_size, b"".join(self._small))
            self._small, self._small_size = [], 0

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Append a piece of array `index`; every 8 MiB begin a document."""
        spec = self._specs[index]
        if self._options.compression is not None:
            self._write_packed(spec, index, start, data, self._options.compression)
            return
        size = len(data)
        if start % PIECE == 0:
            self._left = min(PIECE, spec.nbytes - start)
            self._append(self._head(spec, index, start // PIECE, self._left))
        self._append(data)
        self._left -= size
        if not self._left:
            self._append(b"\0")

    def write_many(self, first: int, arrays: Sequence[bytes]) -> None:
        """Append whole arrays, a document each."""
        if self._options.compression is not None:
            for index, data in enumerate(arrays, first):
                self.write(index, 0, data)
            return
        out: list[bytes] = []
        begin = self._at
        for index, data in enumerate(arrays, first):
            head = self._head(self._specs[index], index, 0, len(data))
            out += (head, data, b"\0")
            self._at += len(head) + len(data) + 1
        self._flush(begin)
        self.file.write_all(begin, out)

    def _write_packed(self, spec: ArraySpec, index: int, start: int, data: memoryview | bytes, name: str) -> None:
        self._held.append(bytes(data))
        end = start + len(data)
        if end % PIECE == 0 or end == spec.nbytes:
            packed = compress(name, b"".join(self._held))
            self._held = []
            self._append(self._head(spec, index, (end - 1) // PIECE, len(packed)))
            self._append(packed)
            self._append(b"\0")

    def _head(self, spec: ArraySpec, index: int, n: int, size: int) -> bytes:
        """Return the part of a data document that comes before its payload, which is to be appended next."""
        head = self._heads.of(spec, index, n, size, self._at)
        self._rows.append(_ROW(index, n, self._at + len(head), size))
        return head

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Append the texts and the trailer, and make the file visible."""
        texts = {
            "manifest": manifest,
            "info": info,
            "index": b"".join(self._rows),
            "blocks": b"".join(blocks[i] for i in sorted(blocks)),
        }
        function = hasher(self._options.algorithm)
        parts = {name: self._text(name, texts[name], function(texts[name])) for name in TEXTS}
        block = Block(self._options.algorithm, self._options.compression, len(self._specs), len(self._rows), parts)
        self._append(_document({"kind": "trailer", "data": pack_block(block)}))
        self._flush(self._at)
        self.file.truncate(self._at)
        self.file.commit(durable=self._options.durable)

    def _text(self, name: str, text: bytes, digest: bytes) -> Part:
        first = self._at
        for n, start in enumerate(range(0, len(text) or 1, PIECE)):
            piece = text[start : start + PIECE]
            self._append(with_data(_document({"kind": name, "n": n})[4:-1], self._at, len(piece)))
            self._append(piece)
            self._append(b"\0")
        return Part(first, len(text), digest)

    def abort(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.discard()
