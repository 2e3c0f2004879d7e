"""BSON files by hand, document by document. Source: spec section 7.5 and bsonspec.org, version 1.1."""

import struct
from collections.abc import Callable, Sequence

from statetree_conformance.making.header import Edit, header_block
from statetree_conformance.making.texts import Document
from statetree_conformance.making.values import Array

__all__ = [
    "PIECE",
    "Row",
    "binary",
    "bson_file",
    "document",
    "element",
    "extents",
    "first_document",
    "int32",
    "int64",
    "string",
    "trailer_document",
]

PIECE = 8 << 20
ORDER = ("blocks", "index", "info", "manifest")
Row = tuple[int, int, int, int]
Elements = list[bytes]


def document(*elements: bytes) -> bytes:
    """Return a document."""
    body = b"".join(elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def element(kind: int, name: str | bytes, value: bytes) -> bytes:
    """Return an element of any type."""
    return bytes([kind]) + (name.encode() if isinstance(name, str) else name) + b"\0" + value


def string(name: str, value: str) -> bytes:
    """Return a string."""
    text = value.encode()
    return element(0x02, name, struct.pack("<i", len(text) + 1) + text + b"\0")


def int32(name: str, value: int) -> bytes:
    """Return an int32."""
    return element(0x10, name, struct.pack("<i", value))


def int64(name: str, value: int) -> bytes:
    """Return an int64."""
    return element(0x12, name, struct.pack("<q", value))


def binary(name: str, value: bytes, subtype: int = 0) -> bytes:
    """Return a binary."""
    return element(0x05, name, struct.pack("<iB", len(value), subtype) + value)


def extents(shape: Sequence[int]) -> bytes:
    """Return the element `shape`."""
    return element(0x04, "shape", document(*(int64(str(axis), extent) for axis, extent in enumerate(shape))))


def first_document(version: str, algorithm: str, arrays: int) -> bytes:
    """[B-2]: return the header document."""
    return document(string("statetree", version), string("algorithm", algorithm), int64("arrays", arrays))


def trailer_document(block: bytes) -> bytes:
    """[B-6]: return the trailer document."""
    return document(string("kind", "trailer"), binary("data", block))


def _padded(at: int, elements: Sequence[bytes], data: bytes, spoil: Callable[[bytes], bytes]) -> bytes:
    """Return a document that begins at `at` and whose last element `data` has its payload at a multiple of 64."""
    bare = 4 + sum(map(len, elements)) + len(binary("pad", b"")) + len(binary("data", b""))
    return document(*elements, binary("pad", spoil(bytes(-(at + bare) % 64))), binary("data", data))


def _described(number: int, n: int, name: str, array: Array, compression: str) -> Elements:
    packed = [string("compression", compression)] if compression else []
    found = [int32("array", number), int32("n", n), string("name", name), string("dtype", array.dtype)]
    return [*found, extents(array.shape), *packed]


def bson_file(
    doc: Document,
    *,
    first: bytes | None = None,
    data: Callable[[Elements], Elements] = list,
    pad: Callable[[bytes], bytes] = bytes,
    between: Callable[[int], bytes] = lambda _: b"",
    rows: Callable[[list[Row]], Sequence[Row]] = list,
    index: Callable[[bytes], bytes] = bytes,
    blocks: Callable[[bytes], bytes] = bytes,
    text: Callable[[str, Elements], Elements] = lambda _, elements: elements,
    written: Callable[[str, bytes], bytes] = lambda _, found: found,
    order: Sequence[str] = ORDER,
    pack: Callable[[bytes], bytes] = bytes,
    compression: str = "",
    arrays: int | None = None,
    edit: Edit | None = None,
    trailer: Callable[[bytes], bytes] = trailer_document,
) -> bytes:
    """Return a file; every argument but the first changes one thing of a sound one.

    Args:
        doc: what it holds.
        first: the header document.
        data: the elements of a data document before `pad`.
        pad: the `pad` of a data document.
        between: what stands before the data documents of an array.
        rows: the rows of the index.
        index: the bytes of the index.
        blocks: the joined block digests.
        text: the elements of a document of the text of that name before `pad`.
        written: a whole document of the text of that name.
        order: of the texts.
        pack: compresses a piece.
        compression: what header block and data documents call that.
        arrays: number of arrays in the header block.
        edit: changes the header block.
        trailer: makes the trailer document of the header block.
    """
    count = len(doc.arrays) if arrays is None else arrays
    out = bytearray(first_document(doc.version, doc.algorithm, count) if first is None else first)
    found: list[Row] = []
    for number, (name, array) in enumerate(zip(doc.names, doc.arrays, strict=True)):
        out += between(number)
        for n, start in enumerate(range(0, len(array.raw), PIECE)):
            piece = pack(array.raw[start : start + PIECE])
            out += _padded(len(out), data(_described(number, n, name, array, compression)), piece, pad)
            found.append((number, n, len(out) - 1 - len(piece), len(piece)))
    chosen = rows(found)
    table = index(b"".join(struct.pack("<IIQQ", *row) for row in chosen))
    texts = {"manifest": doc.text, "info": doc.info, "index": table, "blocks": blocks(doc.blocks)}
    parts: dict[str, tuple[int, bytes]] = {}
    for name in order:
        parts[name] = len(out), texts[name]
        for n, start in enumerate(range(0, len(texts[name]) or 1, PIECE)):
            elements = text(name, [string("kind", name), int32("n", n)])
            out += written(name, _padded(len(out), elements, texts[name][start : start + PIECE], bytes))
    block = header_block(
        doc.algorithm,
        parts,
        arrays=count,
        rows=len(chosen),
        version=doc.version,
        compression=compression,
        edit=edit,
    )
    return bytes(out) + trailer(block)
