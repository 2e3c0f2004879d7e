"""Invalid vectors: BSON files whose header document or texts are wrong as BSON. Source: spec 7.5, [B-2], [B-7]."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from statetree_conformance.making.base import BASE
from statetree_conformance.making.bson import (
    binary,
    bson_file,
    document,
    element,
    int32,
    int64,
    string,
)
from statetree_conformance.making.record import Made, Recipe, invalid

__all__ = ["ALGORITHM", "SOUND", "STATETREE", "file_fault", "made"]

SOUND = bson_file(BASE)
STATETREE, ALGORITHM, ARRAYS = string("statetree", "1.0"), string("algorithm", "xxh3-128"), int64("arrays", 2)


def file_fault(
    name: str, content: bytes, fault: str, codes: str, rows: str = "", rules: str = "B-7", **other: Any
) -> Made:
    """Return the vector of a file."""
    return invalid(name, "bson", content, fault, codes, rows=rows, rules=rules, **other)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _first()
    yield from _types()
    yield from _framing()
    yield from _strings()
    yield from _texts()


def _first_is(name: str, fault: str, codes: str, *elements: bytes, rows: str = "B13", rules: str = "B-2 B-7") -> Made:
    """Return the vector of a file with another header document."""
    return file_fault(f"first-{name}", bson_file(BASE, first=document(*elements)), fault, codes, rows, rules)


def _first() -> Iterator[Made]:
    yield _first_is("no-arrays", "no number of arrays", "BSON_CHUNKS", STATETREE, ALGORITHM)
    yield _first_is("order", "elements in another order", "BSON_CHUNKS", STATETREE, ARRAYS, ALGORITHM)
    yield _first_is("more", "one more element", "BSON_CHUNKS", STATETREE, ALGORITHM, ARRAYS, int32("x", 1))
    yield _first_is(
        "twice",
        "an element twice",
        "BSON_DUPLICATE_KEY BSON_CHUNKS",
        STATETREE,
        ALGORITHM,
        ALGORITHM,
        ARRAYS,
        rows="B01",
    )
    yield _first_is(
        "other-name", "an element of another name", "BSON_CHUNKS", STATETREE, string("digest", "xxh3-128"), ARRAYS
    )
    yield _first_is(
        "other-algorithm",
        "another algorithm than the header block's",
        "BSON_CHUNKS",
        STATETREE,
        string("algorithm", "sha-256"),
        ARRAYS,
    )
    yield _first_is(
        "other-count",
        "another number of arrays than the header block's",
        "BSON_CHUNKS",
        STATETREE,
        ALGORITHM,
        int64("arrays", 3),
    )
    yield _first_is(
        "negative-count", "a negative number of arrays", "BSON_CHUNKS", STATETREE, ALGORITHM, int64("arrays", -2)
    )
    for name, version in {
        "number": "1",
        "three": "1.0.0",
        "zero": "1.0\0",
        "space": " 1.0",
        "empty": "",
        "wide": "\uff11.0",
    }.items():
        yield _first_is(
            f"version-{name}",
            "a version of another form",
            "VERSION_FORM",
            string("statetree", version),
            ALGORITHM,
            ARRAYS,
            rows="V08",
            rules="B-2 M-2",
        )
    cut = element(0x02, "statetree", struct.pack("<i", 3) + b"1.0")
    yield _first_is(
        "version-unterminated",
        "a version without its zero byte",
        "VERSION_FORM",
        cut,
        ALGORITHM,
        ARRAYS,
        rows="B07",
        rules="B-2",
    )
    keys = element(0x04, "x", document(int32("1", 1), int32("0", 1)))
    yield _first_is(
        "array-keys",
        "keys of an array that are out of order",
        "BSON_ARRAY_KEYS BSON_CHUNKS",
        STATETREE,
        ALGORITHM,
        ARRAYS,
        keys,
        rows="B02",
    )
    deep = document()
    for _ in range(6):
        deep = document(element(0x03, "a", deep))
    yield _first_is(
        "deep",
        "documents nested 7 deep",
        "LIMIT_DEPTH BSON_CHUNKS",
        STATETREE,
        ALGORITHM,
        ARRAYS,
        element(0x03, "x", deep),
        rows="B15",
    )
    long = string("x", "y" * 4096)
    yield _first_is(
        "long",
        "a header document of more than 4,096 bytes",
        "BSON_FRAMING BSON_CHUNKS",
        STATETREE,
        ALGORITHM,
        ARRAYS,
        long,
        rows="B03",
    )


TYPES: dict[str, tuple[int, bytes]] = {
    "double": (0x01, bytes(8)),
    "undefined": (0x06, b""),
    "object-id": (0x07, bytes(12)),
    "bool": (0x08, b"\1"),
    "bool-2": (0x08, b"\2"),
    "datetime": (0x09, bytes(8)),
    "null": (0x0A, b""),
    "regex": (0x0B, b"a\0i\0"),
    "db-pointer": (0x0C, b"\2\0\0\0a\0" + bytes(12)),
    "symbol": (0x0E, b"\2\0\0\0a\0"),
    "int32": (0x10, bytes([2, 0, 0, 0])),
    "timestamp": (0x11, bytes(8)),
    "decimal128": (0x13, bytes(16)),
    "min-key": (0xFF, b""),
    "max-key": (0x7F, b""),
    **{f"binary-{subtype}": (0x05, bytes([1, 0, 0, 0, subtype, 7])) for subtype in (1, 3, 4, 5, 6, 7, 8, 9, 128)},
    "binary-2": (0x05, b"\5\0\0\0\2\1\0\0\0\7"),
    "unknown": (0x20, b""),
}


def _types() -> Iterator[Made]:
    for name, (kind, value) in TYPES.items():
        rows = {"bool-2": "B08", "unknown": "B09", "int32": "B16", "binary-2": "B10 B11"}.get(name, "B11")
        codes = "BSON_TYPE BSON_FRAMING" if name in ("unknown", "bool-2") else "BSON_TYPE"
        found = element(kind, "arrays", value)
        yield _first_is(
            f"type-{name}",
            f"the number of arrays as another type: {name}",
            codes,
            STATETREE,
            ALGORITHM,
            found,
            rows=rows,
        )
    code = element(0x0D, "algorithm", b"\7\0\0\0exit()\0")
    yield _first_is(
        "code",
        "JavaScript code in place of a string",
        "PICKLE_CODE",
        STATETREE,
        code,
        ARRAYS,
        rows="B11",
        rules="B-7 S-1",
    )
    scoped = b"\7\0\0\0exit()\0" + document()
    code = element(0x0F, "algorithm", struct.pack("<i", len(scoped) + 4) + scoped)
    yield _first_is(
        "code-with-scope",
        "JavaScript code with a scope",
        "PICKLE_CODE",
        STATETREE,
        code,
        ARRAYS,
        rows="B11",
        rules="B-7 S-1",
    )


def _framing() -> Iterator[Made]:
    first = len(document(STATETREE, ALGORITHM, ARRAYS))

    def sized(name: str, size: int, fault: str, codes: str = "BSON_FRAMING", rows: str = "B03") -> Made:
        return file_fault(f"framing-{name}", struct.pack("<i", size) + SOUND[4:], fault, codes, rows, "B-2 B-7")

    yield sized("short", first - 1, "a length that is one too small")
    yield sized("long", first + 1, "a length that is one too large")
    yield sized("zero", 0, "a length of 0")
    yield sized("negative", -1, "a negative length")
    yield sized("2-31", (1 << 31) - 1, "a length of 2^31−1", rows="B14")
    yield sized("beyond", len(SOUND) + 1, "a length beyond the file")
    ended = bytearray(SOUND)
    ended[first - 1] = 1
    yield file_fault(
        "framing-no-end", bytes(ended), "no zero byte at the end of the header document", "BSON_FRAMING", "B04", "B-7"
    )
    yield file_fault("behind", SOUND + b"\0", "a byte behind the trailer", "CONTAINER_TRUNCATED", "B05", "B-6")
    again = SOUND + document()
    yield file_fault("behind-document", again, "a document behind the trailer", "CONTAINER_TRUNCATED", "B05", "B-6")
    sizes = {"1": len(SOUND) - 1, "100": len(SOUND) - 100, "half": len(SOUND) // 2, "first": first, "20": 20}
    for name, size in sizes.items():
        codes = "CONTAINER_TRUNCATED" if size > first else "CONTAINER_TRUNCATED BSON_FRAMING VERSION_FORM"
        yield file_fault(f"truncated-{name}", SOUND[:size], f"only {size} bytes of {len(SOUND)}", codes, "B06", "B-6")


def _strings() -> Iterator[Made]:
    def text(size: int, value: bytes) -> bytes:
        return element(0x02, "algorithm", struct.pack("<i", size) + value)

    codes = "BSON_STRING"
    for name, found, fault in (
        ("0", text(0, b"xxh3-128\0"), "a string of length 0"),
        ("negative", text(-1, b"xxh3-128\0"), "a string of length -1"),
        ("long", text(1 << 30, b"xxh3-128\0"), "a string longer than its document"),
        ("unterminated", text(9, b"xxh3-128x"), "a string without its zero byte"),
        ("utf-8", text(9, b"xxh3-12\xff\0"), "a string that is not UTF-8"),
    ):
        yield _first_is(f"string-{name}", fault, codes, STATETREE, found, ARRAYS, rows="B07")
    named = element(0x02, b"algorithm\xff", struct.pack("<i", 9) + b"xxh3-128\0")
    yield _first_is(
        "name-utf-8", "a name that is not UTF-8", "BSON_STRING BSON_CHUNKS", STATETREE, named, ARRAYS, rows="B07"
    )
    bare = STATETREE + ALGORITHM + b"\x12arrays"
    yield _first_is("name-unterminated", "a name without its zero byte", "BSON_FRAMING", bare, rows="B07")
    sized = element(0x05, "arrays", struct.pack("<iB", -1, 0))
    yield _first_is(
        "binary-negative", "a binary of length -1", "BSON_FRAMING BSON_TYPE", STATETREE, ALGORITHM, sized, rows="B10"
    )
    sized = element(0x05, "arrays", struct.pack("<iB", 1 << 30, 0))
    yield _first_is(
        "binary-long",
        "a binary longer than its document",
        "BSON_FRAMING BSON_TYPE",
        STATETREE,
        ALGORITHM,
        sized,
        rows="B10",
    )


def _texts() -> Iterator[Made]:
    def manifest(
        name: str, elements: Callable[[list[bytes]], list[bytes]], fault: str, codes: str, rows: str = "B13"
    ) -> Made:
        content = bson_file(BASE, text=lambda part, found: elements(found) if part == "manifest" else found)
        return file_fault(f"text-{name}", content, fault, codes, rows, "B-4 B-7")

    yield manifest(
        "kind",
        lambda found: [string("kind", "info"), found[1]],
        "a document of the manifest that calls itself info",
        "BSON_CHUNKS",
    )
    yield manifest(
        "n", lambda found: [found[0], int32("n", 1)], "a first piece that calls itself the second", "BSON_CHUNKS"
    )
    yield manifest("no-n", lambda found: found[:1], "a piece without a number", "BSON_CHUNKS")
    yield manifest("more", lambda found: [*found, int32("x", 1)], "one more element", "BSON_CHUNKS")
    yield manifest(
        "twice", lambda found: [*found, found[1]], "an element twice", "BSON_DUPLICATE_KEY BSON_CHUNKS", "B01"
    )
    yield manifest("int64", lambda found: [found[0], int64("n", 0)], "a number of a piece as int64", "BSON_TYPE", "B16")
    yield manifest(
        "binary-kind",
        lambda found: [binary("kind", b"manifest"), found[1]],
        "a kind that is a binary",
        "BSON_TYPE",
        "B11",
    )
    code = element(0x0D, "x", b"\7\0\0\0exit()\0")
    yield manifest(
        "code",
        lambda found: [*found, code],
        "JavaScript code in a document of a text",
        "PICKLE_CODE BSON_CHUNKS",
        "B11",
    )
    broken: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
        "short": (lambda data: struct.pack("<i", len(data) - 1) + data[4:], "a length that is one too small", "B03"),
        "long": (lambda data: struct.pack("<i", 1 << 30) + data[4:], "a length beyond the file", "B03 B14"),
        "negative": (lambda data: struct.pack("<i", -len(data)) + data[4:], "a negative length", "B03"),
        "no-end": (lambda data: data[:-1] + b"\1", "no zero byte at the end", "B04"),
    }
    for name, (change, fault, rows) in broken.items():

        def written(part: str, data: bytes, change: Callable[[bytes], bytes] = change) -> bytes:
            return change(data) if part == "manifest" else data

        content, codes = bson_file(BASE, written=written), "BSON_FRAMING BSON_CHUNKS"
        yield file_fault(f"text-framing-{name}", content, f"a document of the manifest: {fault}", codes, rows, "B-7")
    nested = Recipe("bson-nested", {"times": 1_000_000})
    fault = "a document of the manifest with documents nested a million deep"
    yield invalid("nested", "bson", nested, fault, "LIMIT_DEPTH BSON_CHUNKS", rows="B15", rules="B-7 L-2")
