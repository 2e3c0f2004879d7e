"""Invalid vectors: BSON files whose trailer, header block, index or data documents are wrong. Source: spec 7.5."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from statetree_conformance.making.base import BASE, A, integers
from statetree_conformance.making.bson import Row, binary, bson_file, document, element, int32, int64, string
from statetree_conformance.making.frames import gzip_frame, zstd_frame
from statetree_conformance.making.header import AT, put
from statetree_conformance.making.invalid_bson import ALGORITHM, SOUND, STATETREE, file_fault
from statetree_conformance.making.record import Made, invalid
from statetree_conformance.making.texts import document as tree_document
from statetree_conformance.making.values import Array

__all__ = ["made"]


def unseen(
    name: str, content: bytes, fault: str, codes: str, rows: str = "B13", rules: str = "B-8", **other: Any
) -> Made:
    """Return a vector that a reader accepts that does not look at more than it must."""
    return invalid(
        name, "bson", content, fault, "accept?", codes, **{"doc": BASE, "rows": rows, "rules": rules, **other}
    )


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _trailers()
    yield from _headers()
    yield from _index()
    yield from _payloads()
    yield from _data()
    yield from _walk()


def _trailers() -> Iterator[Made]:
    def ended(name: str, trailer: Callable[[bytes], bytes], fault: str, codes: str, rows: str = "B13") -> Made:
        return file_fault(f"trailer-{name}", bson_file(BASE, trailer=trailer), fault, codes, rows, "B-6 B-7")

    yield ended("none", lambda _: b"", "no trailer", "CONTAINER_TRUNCATED")
    yield ended(
        "kind", lambda block: document(string("kind", "Trailer"), binary("data", block)), "another kind", "BSON_CHUNKS"
    )
    yield ended(
        "name", lambda block: document(string("kinD", "trailer"), binary("data", block)), "another name", "BSON_CHUNKS"
    )
    yield ended(
        "type",
        lambda block: document(binary("kind", b"xtrailer"[1:]), binary("data", block)),
        "a kind that is a binary",
        "BSON_TYPE BSON_CHUNKS",
    )
    yield ended(
        "subtype",
        lambda block: document(string("kind", "trailer"), binary("data", block, 5)),
        "a header block of another subtype",
        "BSON_TYPE",
    )
    yield ended(
        "short",
        lambda block: document(string("kind", "trailer"), binary("data", block[:-1])),
        "a header block of 511 bytes",
        "CONTAINER_TRUNCATED BSON_CHUNKS",
    )
    yield ended(
        "magic",
        lambda block: document(string("kind", "trailer"), binary("data", b"x" + block[1:])),
        "another magic",
        "BAD_MAGIC",
    )
    yield ended(
        "flipped",
        lambda block: document(string("kind", "trailer"), binary("data", block[:60] + b"\1" + block[61:])),
        "another byte of the header block",
        "DIGEST",
        "I01",
    )


def _headers() -> Iterator[Made]:
    def block(
        name: str, at: int, data: bytes, fault: str, codes: str, rows: str = "B13", rules: str = "B-6 C-5"
    ) -> Made:
        return file_fault(f"header-{name}", bson_file(BASE, edit=put(at, data)), fault, codes, rows, rules)

    yield block("magic", 0, b"x", "a header block with another magic", "BAD_MAGIC", "V01", "C-5")
    yield block("compression", 40, b"lz4", "a compression that there is not", "HEADER_FORM", "", "C-5 C-6")
    yield block("reserved", 20, b"\1", "a byte that is not zero at 20", "HEADER_FORM", "", "C-5")
    yield block("tail", 479, b"\1", "a byte that is not zero behind the parts", "HEADER_FORM", "", "C-5")
    yield block(
        "algorithm-padding", 39, b"x", "a letter behind the padding of the algorithm", "DIGEST_ALGORITHM", "I02", "C-5"
    )
    counted = bson_file(BASE, arrays=3)
    yield file_fault(
        "header-arrays", counted, "another number of arrays than the manifest's", "BACKEND_MISMATCH", "", "C-5 R-1"
    )
    for part in ("manifest", "info"):
        far = struct.pack("<Q", 1 << 62)
        yield block(f"{part}-outside", AT[part], far, f"an offset of the {part} behind the end", "BSON_CHUNKS")
        zero = struct.pack("<Q", 0)
        yield block(
            f"{part}-zero", AT[part], zero, f"an offset of the {part} that is the header document's", "BSON_CHUNKS"
        )
    wide = struct.pack("<Q", (1 << 64) - 8)
    yield block(
        "manifest-overflow", AT["manifest"], wide, "an offset whose sum with the size is beyond 64 bits", "BSON_CHUNKS"
    )
    near = struct.pack("<Q", len(SOUND) - 546 - 10)
    yield block(
        "manifest-inside", AT["manifest"], near, "an offset at which no document begins", "BSON_CHUNKS BSON_FRAMING"
    )
    for name, size in {"large": len(BASE.text) + 1, "small": len(BASE.text) - 1, "zero": 0}.items():
        fault = "another size of the manifest"
        yield block(
            f"manifest-size-{name}", AT["manifest"] + 8, struct.pack("<Q", size), fault, "BSON_CHUNKS MANIFEST_DIGEST"
        )
    huge = struct.pack("<Q", 1 << 30)
    yield block(
        "manifest-gib",
        AT["manifest"] + 8,
        huge,
        "a manifest of 1 GiB is declared",
        "LIMIT_MANIFEST BSON_CHUNKS",
        "R02",
        "L-2 R-1",
    )
    yield block("index-digest", AT["index"] + 16, bytes(16), "another digest of the index", "DIGEST", "I01", "C-5 B-7")
    yield block(
        "rows", 64, struct.pack("<Q", 3), "another number of rows than the index has", "BSON_CHUNKS", "B13", "B-5"
    )
    many = bson_file(
        BASE,
        edit=put(56, struct.pack("<QQ", 1 << 40, 1 << 40)),
        first=document(STATETREE, ALGORITHM, int64("arrays", 1 << 40)),
    )
    yield file_fault(
        "header-arrays-2-40",
        many,
        "a trillion arrays are declared",
        "LIMIT_ARRAYS BACKEND_MISMATCH BSON_CHUNKS",
        "R02",
        "L-2 R-1",
    )


BOTH = tree_document({"a": A, "e": Array("uint8", (0,), b""), "b": integers(1, 2, 3)})
"""Two arrays with one without elements between them."""


def _index() -> Iterator[Made]:
    def rows(name: str, change: Callable[[list[Row]], list[Row]], fault: str, codes: str = "BSON_CHUNKS") -> Made:
        return file_fault(
            f"index-{name}",
            bson_file(BOTH, rows=change),
            fault,
            codes,
            "B13 A15" if codes == "ARRAY_MISSING" else "B13",
            "B-5",
        )

    yield rows("missing", lambda found: found[1:], "no row of an array", "ARRAY_MISSING")
    yield rows("empty", lambda found: [], "no rows", "ARRAY_MISSING")
    yield rows("twice", lambda found: [found[0], found[0], found[1]], "a row twice")
    yield rows("order", lambda found: found[::-1], "rows that are not in order")
    yield rows("array-3", lambda found: [found[0], (3, *found[1][1:])], "a row of an array that is not in the table")
    yield rows(
        "array-empty",
        lambda found: [found[0], (1, *found[1][1:])],
        "a row of an array without elements",
        "BSON_CHUNKS ARRAY_MISSING",
    )
    yield rows("n", lambda found: [found[0], (2, 1, *found[1][2:])], "an array that begins with its second piece")
    yield rows("n-more", lambda found: [*found, (2, 1, found[1][2] + 64, 3)], "a piece too many", "BSON_CHUNKS")
    for name, offset, fault in (
        ("unaligned", lambda at: at + 1, "an offset that is no multiple of 64"),
        ("zero", lambda at: 0, "an offset in the header document"),
        ("outside", lambda at: 1 << 62, "an offset behind the end"),
        ("overflow", lambda at: (1 << 64) - 64, "an offset whose sum with the size is beyond 64 bits"),
        ("in-texts", lambda at: at + 512, "an offset in the documents of the texts"),
    ):
        yield rows(f"offset-{name}", lambda found, offset=offset: [found[0], (2, 0, offset(found[1][2]), 3)], fault)  # type: ignore[misc]
    yield rows("offset-same", lambda found: [found[0], (2, 0, found[0][2], 3)], "two rows of one place")
    yield rows(
        "swapped", lambda found: [(0, 0, found[1][2], 8), (2, 0, found[0][2], 3)], "rows that name each other's places"
    )
    for size in (0, 4, 7, 9, (8 << 20) + 1, (1 << 64) - 1):
        fault = f"a size of {size} in place of 8"
        yield rows(f"size-{size}", lambda found, size=size: [(0, 0, found[0][2], size), found[1]], fault)  # type: ignore[misc]
    for name, change in {
        "short": lambda data: data[:-24],
        "long": lambda data: data + bytes(24),
        "odd": lambda data: data + b"\0",
    }.items():
        content = bson_file(BASE, index=change)
        yield file_fault(f"index-bytes-{name}", content, "an index of another size", "BSON_CHUNKS", "B13", "B-5")


def _payloads() -> Iterator[Made]:
    for name, compression, pack, fault in (
        (
            "gzip-flipped",
            "gzip",
            lambda data: gzip_frame(data)[:-9] + bytes([gzip_frame(data)[-9] ^ 1]) + gzip_frame(data)[-8:],
            "one bit of a gzip member is another",
        ),
        ("gzip-behind", "gzip", lambda data: gzip_frame(data) + b"\0", "a byte behind a gzip member"),
        ("gzip-two", "gzip", lambda data: gzip_frame(data[:1]) + gzip_frame(data[1:]), "two gzip members"),
        ("gzip-more", "gzip", lambda data: gzip_frame(data + b"\0"), "a gzip member that holds a byte too many"),
        ("gzip-less", "gzip", lambda data: gzip_frame(data[:-1]), "a gzip member that holds a byte too few"),
        ("gzip-plain", "gzip", bytes, "pieces that are not compressed"),
        ("zstd-behind", "zstd", lambda data: zstd_frame(data) + b"\0", "a byte behind a zstd frame"),
        (
            "zstd-skippable",
            "zstd",
            lambda data: struct.pack("<II", 0x184D2A50, 1) + b"x" + zstd_frame(data),
            "a skippable frame",
        ),
        (
            "zstd-checksum",
            "zstd",
            lambda data: zstd_frame(data, checked=True)[:-4] + bytes(4),
            "another checksum of a zstd frame",
        ),
    ):
        content = bson_file(BASE, compression=compression, pack=pack)
        yield file_fault(name, content, fault, "DIGEST", "I01", "B-3 C-6")
    plain = bson_file(BASE, pack=gzip_frame)
    yield file_fault(
        "gzip-unsaid",
        plain,
        "frames in a file that does not say that it is compressed",
        "BSON_CHUNKS",
        "B13",
        "B-5 C-6",
    )


def _data() -> Iterator[Made]:
    """Data documents, which only a validator looks at."""

    def described(
        name: str, change: Callable[[list[bytes]], list[bytes]], fault: str, codes: str, rows: str = "B13"
    ) -> Made:
        first: list[bool] = []

        def once(found: list[bytes]) -> list[bytes]:
            first.append(True)
            return change(found) if len(first) == 1 else found

        return unseen(f"data-{name}", bson_file(BASE, data=once), fault, codes, rows, "B-3 B-8")

    def put_in(at: int, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
        return lambda found: [*found[:at], new, *found[at + 1 :]]

    yield described(
        "array", put_in(0, int32("array", 1)), "a data document of another array than its row's", "BSON_CHUNKS"
    )
    yield described(
        "n", put_in(1, int32("n", 1)), "a data document with another number of a piece than its row's", "BSON_CHUNKS"
    )
    yield described("name", put_in(2, string("name", "0-b")), "a data document with another name", "BACKEND_MISMATCH")
    yield described(
        "dtype", put_in(3, string("dtype", "int32")), "a data document with another dtype", "BACKEND_MISMATCH", "A14"
    )
    shape = element(0x04, "shape", document(int64("0", 1)))
    yield described("shape", put_in(4, shape), "a data document with another shape", "BACKEND_MISMATCH", "A14")
    shape = element(0x04, "shape", document(int64("0", 2), int64("1", 1)))
    yield described(
        "rank", put_in(4, shape), "a data document with another number of dimensions", "BACKEND_MISMATCH", "A14"
    )
    yield described(
        "compression",
        lambda found: [*found, string("compression", "gzip")],
        "a data document that calls itself compressed",
        "BACKEND_MISMATCH BSON_CHUNKS",
    )
    yield described(
        "more", lambda found: [*found, int32("x", 1)], "a data document with one more element", "BSON_CHUNKS"
    )
    yield described("order", lambda found: [found[1], found[0], *found[2:]], "elements in another order", "BSON_CHUNKS")
    yield described("no-name", lambda found: [*found[:2], *found[3:]], "a data document without a name", "BSON_CHUNKS")
    yield described(
        "twice", lambda found: [*found, found[0]], "an element twice", "BSON_DUPLICATE_KEY BSON_CHUNKS", "B01"
    )
    yield described("int64", put_in(0, int64("array", 0)), "a number of an array as int64", "BSON_TYPE", "B16")
    for name, keys in {"order": ("1", "0"), "same": ("5", "5"), "letter": ("x", "y"), "zero": ("00", "01")}.items():
        grid = tree_document({"a": Array("uint8", (1, 1), b"\7")})
        found = element(0x04, "shape", document(*(int64(key, 1) for key in keys)))
        content = bson_file(grid, data=put_in(4, found))
        codes = "BSON_DUPLICATE_KEY BSON_ARRAY_KEYS" if name == "same" else "BSON_ARRAY_KEYS"
        yield unseen(f"data-keys-{name}", content, "a shape with other keys", codes, "B02", "B-7 B-8", doc=grid)
    found = element(0x04, "shape", document(int32("0", 2)))
    yield described("shape-int32", put_in(4, found), "an extent as int32", "BSON_TYPE", "B16")
    code = element(0x0D, "x", b"\7\0\0\0exit()\0")
    yield described(
        "code", lambda found: [*found, code], "JavaScript code in a data document", "PICKLE_CODE BSON_CHUNKS", "B11"
    )


def _walk() -> Iterator[Made]:
    """What stands between documents, which only a validator looks at."""
    hidden = document(string("kind", "hidden"), binary("data", b"cposix\nsystem\n(S'true'\ntR."))
    content = bson_file(BASE, between=lambda number: hidden if number == 1 else b"")
    yield unseen(
        "between-document",
        content,
        "a document that no rule names between the data documents, with a pickle in it",
        "BSON_CHUNKS",
        "B13 P05",
    )
    content = bson_file(BASE, between=lambda number: b"hidden" if number == 1 else b"")
    yield unseen(
        "between-bytes",
        content,
        "bytes that are no document between the data documents",
        "BSON_CHUNKS BSON_FRAMING",
        "B05",
    )
    content = bson_file(BASE, pad=lambda data: b"\1" * len(data))
    yield unseen("pad", content, "a `pad` that is not zero", "BSON_CHUNKS", "B13", "B-3 B-8")
    content = bson_file(BASE, pad=lambda data: data + bytes(64))
    yield unseen("pad-long", content, "a `pad` of more than 63 bytes", "BSON_CHUNKS", "B13", "B-3 B-8")
    content = bson_file(BASE, order=("index", "blocks", "info", "manifest"))
    yield unseen("order-of-texts", content, "texts in another order", "BSON_CHUNKS", "B13", "B-1 B-8")
