"""BSON files made by hand from spec section 7.5, so that any part of one can be wrong."""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from statetree.digest import digest, hasher
from statetree.limits import Limits
from statetree.saving import manifest_of

Array = np.ndarray[Any, Any]
Row = tuple[int, int, int, int]
PIECE = 8 << 20
ALGORITHM = "xxh3-128"
MAGIC = b"\x89statetree\r\n\x1a\n\0\0"
ORDER = ("blocks", "index", "info", "manifest")
INFO = b'{"time":"2026-01-02T03:04:05Z","user":{"dict":[]},"writer":"by hand"}'
PARTS = {"manifest": 72, "info": 120, "index": 168, "blocks": 216}
"""Offsets in the header block at which the offset of each text stands; its size and its digest follow."""


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def element(kind: int, name: bytes | str, value: bytes) -> bytes:
    return bytes([kind]) + (name.encode() if isinstance(name, str) else name) + b"\0" + value


def string(name: str, value: str) -> bytes:
    return element(2, name, struct.pack("<i", len(value.encode()) + 1) + value.encode() + b"\0")


def int32(name: str, value: int) -> bytes:
    return element(0x10, name, struct.pack("<i", value))


def int64(name: str, value: int) -> bytes:
    return element(0x12, name, struct.pack("<q", value))


def binary(name: str, value: bytes, subtype: int = 0) -> bytes:
    return element(5, name, struct.pack("<iB", len(value), subtype) + value)


def extents(shape: Sequence[int]) -> bytes:
    return element(4, "shape", document(*(int64(str(axis), extent) for axis, extent in enumerate(shape))))


def header(*, version: str = "1.0", algorithm: str = ALGORITHM, arrays: int = 0) -> bytes:
    return document(string("statetree", version), string("algorithm", algorithm), int64("arrays", arrays))


def padded(at: int, elements: Sequence[bytes], data: bytes, align: int) -> bytes:
    """Return a document whose last element `data` has its payload at a multiple of `align`; it begins at `at`."""
    bare = 4 + sum(map(len, elements)) + len(binary("pad", b"")) + len(binary("data", b""))
    return document(*elements, binary("pad", bytes(-(at + bare) % align)), binary("data", data))


def bson_file(
    arrays: Sequence[Array] = (),
    *,
    first: bytes | None = None,
    data: Callable[[list[bytes]], list[bytes]] = list,
    rows: Callable[[list[Row]], Sequence[Row]] = list,
    texts: Mapping[str, bytes] | None = None,
    text: Callable[[list[bytes]], list[bytes]] = list,
    order: Sequence[str] = ORDER,
    align: int = 64,
    pack: Callable[[bytes], bytes] = bytes,
    compression: str = "",
    block: Callable[[bytearray], None] = lambda block: None,
    trailer: Callable[[bytes], bytes] = lambda block: document(string("kind", "trailer"), binary("data", block)),
) -> bytes:
    """Return a file that holds a list of arrays.

    Args:
        arrays: the arrays; they are stored as they lie.
        first: the header document.
        data: changes the elements of a data document before `pad`.
        rows: changes the rows of the index.
        texts: texts in place of the right ones, by name.
        text: changes the elements of a text document before `pad`.
        order: of the texts.
        align: of payloads.
        pack: compresses a piece.
        compression: what the header block and the data documents call that.
        block: changes the header block before its digest is made.
        trailer: makes the last document of the header block.
    """
    out = bytearray(header(arrays=len(arrays)) if first is None else first)
    index: list[Row] = []
    for i, array in enumerate(arrays):
        raw = array.tobytes()
        for n, start in enumerate(range(0, len(raw), PIECE)):
            elements = [int32("array", i), int32("n", n), string("name", f"{i}-{i}"), string("dtype", str(array.dtype))]
            elements += [extents(array.shape), *([string("compression", compression)] if compression else [])]
            piece = pack(raw[start : start + PIECE])
            out += padded(len(out), data(elements), piece, align)
            index.append((i, n, len(out) - 1 - len(piece), len(piece)))
    chosen = rows(index)
    stored = {
        "manifest": manifest_of(list(arrays), ALGORITHM, Limits()),
        "info": INFO,
        "index": b"".join(struct.pack("<IIQQ", *row) for row in chosen),
        "blocks": b"",
        **(texts or {}),
    }
    head = bytearray(512)
    struct.pack_into(
        "<16sHHI16s16sQQ", head, 0, MAGIC, 1, 0, 0, b"xxh3-128", compression.encode(), len(arrays), len(chosen)
    )
    for name in order:
        raw = stored[name]
        struct.pack_into("<QQ32s", head, PARTS[name], len(out), len(raw), bytes.fromhex(digest(ALGORITHM, raw)))
        for n, start in enumerate(range(0, len(raw) or 1, PIECE)):
            elements = text([string("kind", name), int32("n", n)])
            out += padded(len(out), elements, raw[start : start + PIECE], align)
    block(head)
    return bytes(out) + trailer(signed(head))


def signed(block: bytes | bytearray) -> bytes:
    """Return a header block with its own digest."""
    name = bytes(block[24:40]).rstrip(b"\0").decode()
    function = hasher(name if name in ("xxh3-128", "sha-256", "blake3") else ALGORITHM)
    return bytes(block[:480]) + function(bytes(block[:480])).ljust(32, b"\0")
