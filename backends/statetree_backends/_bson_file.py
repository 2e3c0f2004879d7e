"""BSON files: header, trailer and texts, judged as they are read. Source: spec section 7.5."""

from pathlib import Path
from typing import Any

from statetree.errors import fail, shown
from statetree.files import MappedFile
from statetree.version import check_version
from statetree_backends._block import SIZE, Block, checked_text, unpack_block
from statetree_backends._bson_strict import MAX_DOCUMENT, check_fields, read_document

__all__ = ["ALIGN", "COMPRESSIONS", "DAMAGED", "PIECE", "PREFIX", "TEXTS", "TRAILER", "BsonFile"]

COMPRESSIONS = ("gzip", "zstd")
PIECE = 8 << 20
"""Canonical bytes of a data document: two digest blocks; bytes of a text document."""
ALIGN = 64
"""Payloads begin at multiples of this in the file."""
PREFIX = b"\x02statetree\0"
"""Bytes 4 to 14 of every file."""
TRAILER = SIZE + 34
"""Bytes of the trailer document: its framing around the header block."""
TEXTS = ("blocks", "index", "info", "manifest")
"""In the order of the file."""
DAMAGED = "the file is damaged: restore it from a copy"
_LARGEST_HEADER = 4096
_LONGEST_VERSION = 20
"""Bytes that a version and its zero byte take at the most."""


class BsonFile:
    """An open file whose version, header and trailer are right.

    Args:
        path: the file.

    Raises:
        StateTreeError: another MAJOR version; framing, header or trailer is wrong.
    """

    def __init__(self, path: Path) -> None:
        self.file = MappedFile(path)
        try:
            self._check_version()
            header, self.first = self._header()
            self.trailer = self.file.size - TRAILER
            """File offset of the trailer document."""
            self.block = self._trailer()
            self._check_header(header)
        except BaseException:
            self.file.close()
            raise

    version: str
    """What the header document says."""
    first: int
    """File offset of the document behind the header."""

    def _check_version(self) -> None:
        at = 4 + len(PREFIX)
        size = int.from_bytes(self.file.read(at, 4), "little")
        text = self.file.read(at + 4, min(size, _LONGEST_VERSION)).decode("latin-1")
        if len(text) != size or text[-1:] != "\0":
            found = shown(repr(text), 40)
            fail("VERSION_FORM", "a version that ends with its string", found, place="header", remedy=DAMAGED)
        check_version(text[:-1], "header")
        self.version = text[:-1]

    def _header(self) -> tuple[dict[str, Any], int]:
        size = int.from_bytes(self.file.read(0, 4), "little", signed=True)
        if not 5 <= size <= min(_LARGEST_HEADER, self.file.size):
            expected = f"a header document of 5 to {_LARGEST_HEADER} bytes"
            fail("BSON_FRAMING", expected, f"a length of {size}", place="header", remedy=DAMAGED)
        return read_document(self.file.read(0, size), "header"), size

    def _trailer(self) -> Block:
        data = self.file.read(self.trailer, TRAILER) if self.trailer >= self.first else b""
        if data[:4] != TRAILER.to_bytes(4, "little"):
            fail(
                "CONTAINER_TRUNCATED",
                "a trailer document at the end of the file",
                "other bytes",
                place="trailer",
                remedy="the file is cut off or was added to: restore it from a copy",
            )
        trailer = read_document(data, "trailer")
        check_fields(trailer, {"kind": "string", "data": "binary"}, "trailer")
        if trailer["kind"] != "trailer" or len(trailer["data"]) != SIZE:
            fail("BSON_CHUNKS", "a trailer document", "another", place="trailer", remedy=DAMAGED)
        return unpack_block(trailer["data"], "trailer", COMPRESSIONS)

    def _check_header(self, header: dict[str, Any]) -> None:
        check_fields(header, {"statetree": "string", "algorithm": "string", "arrays": "int64"}, "header")
        found = header["algorithm"], header["arrays"][1]
        if found != (self.block.algorithm, self.block.arrays):
            expected = f"{self.block.algorithm} and {self.block.arrays} arrays, as the trailer says"
            text = f"{shown(found[0], 30)} and {found[1]}"
            fail("BSON_CHUNKS", expected, text, place="header", remedy=DAMAGED)

    def documents(self, name: str) -> list[tuple[int, bytes]]:
        """Return the file offset and the payload of each document of a text.

        Raises:
            StateTreeError: they are not where the header block says, or not what it says.
        """
        part = self.block.parts[name]
        if part.size > self.file.size:
            fail("BSON_CHUNKS", "a part within the file", f"{part.size} bytes", place=name, remedy=DAMAGED)
        found: list[tuple[int, bytes]] = []
        at, left = part.offset, part.size
        while left or not found:
            payload, behind = self._document(name, len(found), at)
            if len(payload) != min(left, PIECE):
                fail("BSON_CHUNKS", f"{min(left, PIECE)} bytes", str(len(payload)), place=name, remedy=DAMAGED)
            found.append((at, payload))
            at, left = behind, left - len(payload)
        return found

    def _document(self, name: str, n: int, at: int) -> tuple[bytes, int]:
        inside = self.first <= at < self.trailer
        size = int.from_bytes(self.file.read(at, 4), "little", signed=True) if inside else 0
        if not 5 <= size < MAX_DOCUMENT or at + size > self.trailer:
            fail("BSON_CHUNKS", f"a document at offset {at}", "none", place=name, remedy=DAMAGED)
        document = read_document(self.file.read(at, size), name)
        check_fields(document, {"kind": "string", "n": "int32", "pad": "binary", "data": "binary"}, name)
        if document["kind"] != name or document["n"][1] != n:
            fail("BSON_CHUNKS", f"document {n} of {name}", "another document", place=name, remedy=DAMAGED)
        payload: bytes = document["data"]
        return payload, at + size

    def text(self, name: str, limit: int | None = None) -> bytes:
        """Return a text, checked against its digest.

        Raises:
            LimitError: it is larger than `limit` bytes.
            StateTreeError: it is not the text that was written.
        """
        part = self.block.parts[name]
        if limit is not None and part.size > limit:
            fail("LIMIT_MANIFEST", f"at most {limit} bytes", str(part.size), place=name, remedy="raise limits=")
        data = b"".join(payload for _, payload in self.documents(name))
        return checked_text(name, data, self.block.algorithm, part.digest, name)
