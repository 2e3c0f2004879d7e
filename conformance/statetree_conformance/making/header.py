"""The header block of HDF5 and BSON files. Source: spec section 7.2.1."""

import struct
from collections.abc import Callable, Mapping

from statetree_conformance.making.texts import digest

__all__ = ["AT", "MAGIC", "Edit", "Part", "header_block", "put"]

MAGIC = bytes.fromhex("89737461746574726565") + b"\r\n\x1a\n\0\0"
AT = {"manifest": 72, "info": 120, "index": 168, "blocks": 216}
"""Where the offset of each part stands; its size and its digest follow."""
Edit = Callable[[bytearray], None]
Part = tuple[int, bytes]
"""The file offset of a part, and its bytes."""


def header_block(
    algorithm: str,
    parts: Mapping[str, Part],
    *,
    arrays: int,
    rows: int,
    version: str = "1.0",
    compression: str = "",
    edit: Edit | None = None,
) -> bytes:
    """[C-5]: return the 512 bytes; `edit` changes them before they are given their own digest."""
    major, minor = map(int, version.split("."))
    block = bytearray(512)
    names = algorithm.encode(), compression.encode()
    struct.pack_into("<16sHHI16s16sQQ", block, 0, MAGIC, major, minor, 0, *names, arrays, rows)
    for name, (offset, data) in parts.items():
        struct.pack_into("<QQ32s", block, AT[name], offset, len(data), digest(algorithm, data))
    if edit is not None:
        edit(block)
    block[480:] = digest(algorithm, bytes(block[:480])).ljust(32, b"\0")
    return bytes(block)


def put(at: int, data: bytes) -> Edit:
    """Return the edit that puts `data` at byte `at`."""

    def edit(block: bytearray) -> None:
        block[at : at + len(data)] = data

    return edit
