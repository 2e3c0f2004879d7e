"""Zip files by hand, field by field. Source: spec section 7.4 and PKWARE's APPNOTE 6.3."""

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from statetree_conformance.making.texts import Document
from statetree_conformance.making.zarr import Files, folder, raw

__all__ = ["Entry", "entries", "zip_file"]

FILE = 0o100644
DATE = 0x21
ALIGN = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is to be written; every field but the first two changes one thing of a sound one."""

    name: bytes
    """Its name."""
    data: bytes
    """Its stored bytes."""
    mode: int = FILE
    """Unix mode."""
    local: dict[str, Any] = field(default_factory=dict)
    """Fields of the local header that are other: `signature`, `flags`, `method`, `crc`, `packed`, `size`, `name`."""
    central: dict[str, Any] = field(default_factory=dict)
    """Fields of its row in the directory that are other; `header` and `disk`, too."""
    tail: bytes = b""
    """What follows its bytes: a data descriptor, or what does not belong there."""
    extra: bytes = b""
    """Extra field of its row in the directory."""
    aligned: bool = True
    """Whether its bytes begin at a multiple of 64."""

    def but(self, **changes: Any) -> "Entry":
        """Return it with other fields."""
        return replace(self, **changes)


def entries(found: Document | Files) -> list[Entry]:
    """[Z-8]: return the entries of a document or a folder; the root's metadata is the last."""
    files = folder(found) if isinstance(found, Document) else found
    made = [Entry(name.encode(), raw(about)) for name, about in files.items()]
    return [*made[1:], made[0]]


def _fields(entry: Entry, other: dict[str, Any]) -> dict[str, Any]:
    size = len(entry.data)
    sound = {"flags": 0, "method": 0, "crc": zlib.crc32(entry.data), "packed": size, "size": size, "name": entry.name}
    return {**sound, **other}


def _local(entry: Entry, at: int) -> bytes:
    found = _fields(entry, entry.local)
    name, extra = found["name"], found.get("extra", b"")
    if entry.aligned and not extra:
        # The extra field by which zipalign aligns: the alignment, then zeros.
        pad = -(at + 30 + len(name) + 6) % ALIGN
        extra = struct.pack("<3H", 0xD935, 2 + pad, ALIGN) + bytes(pad)
    numbers = (found["crc"], found["packed"], found["size"], found.get("named", len(name)), len(extra))
    head = struct.pack("<5H3I2H", 10, found["flags"], found["method"], 0, DATE, *numbers)
    return bytes(found.get("signature", b"PK\3\4") + head + name + extra)


def _central(entry: Entry, at: int) -> bytes:
    found = _fields(entry, entry.central)
    name, extra = found["name"], entry.extra
    head = struct.pack("<6H", 3 << 8 | 10, 10, found["flags"], found["method"], 0, DATE)
    sizes = struct.pack("<3I", found["crc"], found["packed"], found["size"])
    lengths = struct.pack("<5H", len(name), len(extra), 0, found.get("disk", 0), 0)
    place = struct.pack("<II", entry.mode << 16, found.get("header", at))
    return bytes(b"PK\1\2" + head + sizes + lengths + place + name + extra)


def zip_file(
    found: Sequence[Entry],
    *,
    prefix: bytes = b"",
    comment: bytes = b"",
    wide: bool = False,
    directory: Callable[[bytes], bytes] = bytes,
    gap: bytes = b"",
    **end: int,
) -> bytes:
    """Return a zip file.

    Args:
        found: its entries, in the order of the file.
        prefix: bytes before the first entry.
        comment: behind the end record.
        wide: whether a ZIP64 end record and its locator come before the end record.
        directory: the bytes of the directory.
        gap: bytes between the directory and the end records.
        end: fields of the end record that are other: `count`, `total`, `size`, `start`, `disk`.
    """
    out, rows = bytearray(prefix), b""
    for entry in found:
        rows += _central(entry, len(out))
        out += _local(entry, len(out)) + entry.data + entry.tail
    rows = directory(rows)
    start, count = len(out), len(found)
    out += rows + gap
    if wide:
        place = len(out)
        out += struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 3 << 8 | 45, 45, 0, 0, count, count, len(rows), start)
        out += struct.pack("<4sIQI", b"PK\6\7", 0, place, 1)
    said = {"disk": 0, "count": count, "total": count, "size": len(rows), "start": start, **end}
    numbers = (said["disk"], 0, said["count"], said["total"], said["size"], said["start"], len(comment))
    return bytes(out) + b"PK\5\6" + struct.pack("<4H2IH", *numbers) + comment
