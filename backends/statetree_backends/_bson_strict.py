"""A strict reader of small BSON documents: what pymongo would let pass is refused. Source: spec section 7.5."""

import struct
from collections.abc import Mapping
from typing import Any

from statetree.errors import fail, shown

__all__ = ["MAX_DOCUMENT", "check_fields", "read_document"]

MAX_DOCUMENT = 16 << 20
_REMEDY = "write the file with a conforming writer"
_CODE_TYPES = {0x0D: "JavaScript code", 0x0F: "JavaScript code with scope"}
_DEPTH = 4
_NAMES: dict[type, str] = {str: "string", bytes: "binary", list: "array", dict: "document"}


def read_document(data: bytes | memoryview, place: str) -> dict[str, Any]:
    """Return a document that fills `data`: strings, int32, int64, generic binary, arrays and documents of these.

    int32 and int64 come as ("int32", n) and ("int64", n), binary as bytes.

    Raises:
        MalformedError: framing, strings or names are wrong.
        InvalidError: a BSON type that the format does not use.
        SecurityError: BSON code.
    """
    walker = _Walker(bytes(data), place)
    return walker.document(0, len(data), 0)


def check_fields(document: Mapping[str, Any], kinds: Mapping[str, str], place: str) -> None:
    """Refuse a document of `read_document` whose elements are not those of `kinds`, name → BSON type, in order.

    Raises:
        InvalidError: other names or another order, or an element of another type.
    """
    if list(document) != list(kinds):
        found = shown(", ".join(document), 60) or "none"
        fail("BSON_CHUNKS", f"the elements {', '.join(kinds)}", found, place=place, remedy=_REMEDY)
    for name, kind in kinds.items():
        value = document[name]
        found = value[0] if type(value) is tuple else _NAMES[type(value)]
        if found != kind:
            fail("BSON_TYPE", f"{name} as {kind}", found, place=place, remedy=_REMEDY)


class _Walker:
    def __init__(self, data: bytes, place: str) -> None:
        self.data = data
        self.place = place

    def framing(self, expected: str, found: str) -> None:
        fail("BSON_FRAMING", expected, found, place=self.place, remedy=_REMEDY)

    def document(self, at: int, limit: int, depth: int, *, array: bool = False) -> dict[str, Any]:
        if depth > _DEPTH:
            fail("LIMIT_DEPTH", f"at most {_DEPTH} levels of BSON", "more", place=self.place, remedy=_REMEDY)
        if at + 5 > limit:
            self.framing("a BSON document", f"{limit - at} bytes")
        (length,) = struct.unpack_from("<i", self.data, at)
        end = at + length
        if length < 5 or end > limit or (depth == 0 and end != limit):
            self.framing(f"a document of {limit - at} bytes", f"a length of {length}")
        if self.data[end - 1]:
            self.framing("a zero byte at the end of a document", f"0x{self.data[end - 1]:02x}")
        out: dict[str, Any] = {}
        at += 4
        while at < end - 1:
            kind = self.data[at]
            name, at = self.cstring(at + 1, end - 1)
            if array and name != str(len(out)):
                fail("BSON_ARRAY_KEYS", f"array key {len(out)}", repr(shown(name)), place=self.place, remedy=_REMEDY)
            if name in out:
                fail("BSON_DUPLICATE_KEY", "unique names", f"{shown(name)!r} twice", place=self.place, remedy=_REMEDY)
            out[name], at = self.value(kind, at, end - 1, depth)
        return out

    def cstring(self, at: int, end: int) -> tuple[str, int]:
        stop = self.data.find(b"\0", at, end)
        if stop < 0:
            self.framing("a name that ends in a zero byte", "none")
        return self.text(self.data[at:stop]), stop + 1

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode()
        except UnicodeDecodeError:
            fail("BSON_STRING", "UTF-8", "other bytes", place=self.place, remedy=_REMEDY)

    def value(self, kind: int, at: int, end: int, depth: int) -> tuple[Any, int]:
        match kind:
            case 0x02:
                size = self.size(at, end, 1, code="BSON_STRING")
                if self.data[at + 3 + size]:
                    fail("BSON_STRING", "a zero byte behind a string", "another", place=self.place, remedy=_REMEDY)
                return self.text(self.data[at + 4 : at + 3 + size]), at + 4 + size
            case 0x03 | 0x04:
                size = self.size(at, end, 5, itself=True)
                document = self.document(at, at + size, depth + 1, array=kind == 0x04)
                return (list(document.values()) if kind == 0x04 else document), at + size
            case 0x05:
                size = self.size(at, end, 0, extra=1)
                if self.data[at + 4]:
                    self.type(f"binary subtype {self.data[at + 4]}")
                return self.data[at + 5 : at + 5 + size], at + 5 + size
            case 0x10 | 0x12:
                width = 4 if kind == 0x10 else 8
                if at + width > end:
                    self.framing(f"{width} bytes of an integer", str(end - at))
                number = int.from_bytes(self.data[at : at + width], "little", signed=True)
                return ("int32" if width == 4 else "int64", number), at + width
            case 0x0D | 0x0F:
                fail(
                    "PICKLE_CODE",
                    "data",
                    _CODE_TYPES[kind],
                    place=self.place,
                    remedy="code in files is refused; nothing was run",
                )
            case _:
                self.type(f"type 0x{kind:02x}")
        raise AssertionError("not reached")

    def type(self, found: str) -> None:
        expected = "BSON types string, document, array, generic binary, int32 and int64"
        fail("BSON_TYPE", expected, found, place=self.place, remedy=_REMEDY)

    def size(
        self, at: int, end: int, least: int, *, extra: int = 0, itself: bool = False, code: str = "BSON_FRAMING"
    ) -> int:
        """Return the length field at `at`, held against what is left of the document."""
        if at + 4 > end:
            self.framing("4 bytes of a length", str(end - at))
        (size,) = struct.unpack_from("<i", self.data, at)
        if size < least or at + (0 if itself else 4) + extra + size > end:
            fail(code, "a length within its document", str(size), place=self.place, remedy=_REMEDY)
        return int(size)
