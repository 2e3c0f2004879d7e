"""The directory of a zip file, read strictly: what tools might read differently is refused. Source: spec section 7.4.

The layouts are those of PKWARE's APPNOTE 6.3, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.14 to 4.3.16 (its
end) and 4.5.3 (the ZIP64 field).
"""

import stat
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from statetree.errors import fail, shown
from statetree.files import MappedFile

__all__ = [
    "CENTRAL",
    "END",
    "END64",
    "LOCAL",
    "LOCATOR",
    "Entry",
    "find_end",
    "payload",
    "payloads",
    "read_directory",
]

LOCAL = struct.Struct("<4s5H3I2H")
CENTRAL = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")
LOCATOR = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")
MAX16, MAX32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED = 0x2041
_STREAMED = 0x8
_TAIL = END.size + MAX16
_DAMAGED = "the file is damaged: restore it from a copy"


_LOCAL_ROW = np.dtype(
    [
        *(("signature", "<u4"), ("version", "<u2"), ("flags", "<u2"), ("method", "<u2"), ("time", "<u4")),
        *(("crc", "<u4"), ("packed", "<u4"), ("size", "<u4"), ("named", "<u2"), ("extra", "<u2")),
    ]
)
"""LOCAL as a row of a table."""
_SIGNATURE = 0x04034B50


class Entry(NamedTuple):
    """One entry, stored as it is."""

    name: bytes
    """Its name."""
    header: int
    """File offset of its local header."""
    size: int
    """Its bytes."""
    end: int
    """File offset before which its bytes end: the next local header, or the directory."""
    crc: int
    """CRC-32 of its bytes, as the directory has it."""
    streamed: bool
    """Whether a data descriptor may follow its bytes."""


def _refuse(code: str, expected: str, found: str, place: str, remedy: str = _DAMAGED) -> NoReturn:
    fail(code, expected, found, place=place, remedy=remedy, rule="Z-8")


def _text(name: bytes) -> str:
    return shown(name.decode("utf-8", "backslashreplace"))


def find_end(file: MappedFile) -> int:
    """Return the file offset of the end record, -1 if there is none; bytes may follow it."""
    first = max(0, file.size - _TAIL)
    tail = file.read(first, _TAIL)
    at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - END.size + 4))
    return first + at if at >= 0 else -1


def _end(file: MappedFile) -> tuple[int, int, int]:
    """Return the number of entries, and where the directory begins and ends."""
    place = str(file.path)
    at = file.size - END.size
    tail = file.read(at, END.size) if at >= 0 else b""
    if tail[:4] != b"PK\5\6" or tail[-2:] != b"\0\0":
        if find_end(file) < 0:
            _refuse("CONTAINER_TRUNCATED", "the directory of a zip file at its end", "other bytes", place)
        _refuse("POLYGLOT", "a zip file that ends with its directory", "something behind it", place)
    _, *disks, count, total, size, start, _ = END.unpack(tail)
    if LOCATOR.size <= at and (locator := file.read(at - LOCATOR.size, LOCATOR.size))[:4] == b"PK\6\7":
        at -= LOCATOR.size + END64.size
        record = file.read(at, END64.size) if at >= 0 else b""
        if record[:4] != b"PK\6\6" or LOCATOR.unpack(locator)[2] != at:
            _refuse("ZIP_FORM", "a ZIP64 end record before its locator", "none", place)
        _, length, _, _, *disks, count, total, size, start = END64.unpack(record)
        if length != END64.size - 12:
            _refuse("ZIP_FORM", "a ZIP64 end record without extensions", f"{length} bytes", place)
    if any(disks) or count != total or start + size > at or count * CENTRAL.size > size:
        _refuse("ZIP_FORM", "a directory of one file that fits it", "another", place)
    if start + size < at:
        _refuse("POLYGLOT", "a zip file from its first byte on", f"{at - start - size} bytes before it", place)
    return count, start, at


def read_directory(file: MappedFile) -> dict[bytes, Entry]:
    """Return the entries of a zip file by name.

    Raises:
        StateTreeError: the directory is damaged, or has entries that no writer of ours writes.
    """
    count, start, end = _end(file)
    data = file.view(start, end - start)
    rows: list[tuple[int, int, bytes, int, bool]] = []
    at = 0
    for _ in range(count):
        if at + CENTRAL.size > len(data):
            _refuse("ZIP_FORM", f"{count} entries", str(len(rows)), str(file.path))
        row = CENTRAL.unpack_from(data, at)
        named, extra, comment = row[10:13]
        name = bytes(data[at + CENTRAL.size : at + CENTRAL.size + named])
        at += CENTRAL.size + named
        size, header = _judge(row, name, data[at : at + extra])
        rows.append((header, size, name, row[7], bool(row[3] & _STREAMED)))
        at += extra + comment
    if at != len(data):
        _refuse("ZIP_FORM", f"a directory of {at} bytes", str(len(data)), str(file.path))
    return _placed(rows, start)


def _judge(row: tuple[Any, ...], name: bytes, extra: memoryview) -> tuple[int, int]:
    """Return the size and the place of an entry of the directory."""
    signature, _, _, flags, method, _, _, _, packed, size, named, _, _, disk, _, attributes, header = row
    if signature != b"PK\1\2" or len(name) != named:
        _refuse("ZIP_FORM", "an entry of the directory", "other bytes", "zip directory")
    if not name or name[:1] == b"/" or b"\\" in name or b"\0" in name or b".." in name.split(b"/"):
        _refuse("ZIP_PATH", "names inside of the zip", _text(name), _text(name), "names out of the file are refused")
    if flags & _ENCRYPTED:
        _refuse("ZIP_ENCRYPTED", "plain entries", "an encrypted one", _text(name), "decrypt it first")
    if method != 0:
        _refuse("ZIP_FORM", "stored entries", f"method {method}", _text(name), "write it with a conforming writer")
    kind = stat.S_IFMT(attributes >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        code = "FS_LINK" if kind == stat.S_IFLNK else "FS_SPECIAL"
        _refuse(code, "files and folders", "a link or a special file", _text(name), "links are never followed")
    if MAX32 in (packed, size, header):
        size, packed, header = _wide(extra, size, packed, header)
    if packed != size or disk:
        _refuse("ZIP_FORM", f"{size} stored bytes", str(packed), _text(name))
    return int(size), int(header)


def _wide(extra: memoryview, *values: int) -> list[int]:
    """Return size, stored size and place, those that do not fit into 4 bytes taken from the ZIP64 field."""
    at, wide = 0, b""
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = bytes(extra[at + 4 : at + 4 + size])
            break
        at += 4 + size
    need = sum(value == MAX32 for value in values)
    if len(wide) < 8 * need:
        _refuse("ZIP_FORM", f"{8 * need} bytes of a ZIP64 field", str(len(wide)), "zip directory")
    numbers = iter(struct.unpack_from(f"<{need}Q", wide))
    return [next(numbers) if value == MAX32 else value for value in values]


def _placed(rows: list[tuple[int, int, bytes, int, bool]], end: int) -> dict[bytes, Entry]:
    """Return the entries, none of which may overlap another, and the first of which begins the file."""
    rows.sort()
    out: dict[bytes, Entry] = {}
    for i, (header, size, name, crc, streamed) in enumerate(rows):
        limit = rows[i + 1][0] if i + 1 < len(rows) else end
        if header + LOCAL.size + len(name) + size > limit:
            _refuse("ZIP_FORM", "entries one behind the other", "two that overlap", _text(name))
        if name in out:
            _refuse("ZIP_DUPLICATE", "unique names", f"{_text(name)} twice", _text(name))
        out[name] = Entry(name, header, size, limit, crc, streamed)
    if rows and rows[0][0]:
        found = f"{rows[0][0]} bytes before its first entry"
        _refuse("POLYGLOT", "a zip file from its first byte on", found, "zip directory")
    return out


def payload(file: MappedFile, entry: Entry) -> int:
    """Return the file offset of an entry's bytes.

    Raises:
        MalformedError: its local header does not agree with the directory.
    """
    # That the header lies in the file was seen when the directory was read.
    head = bytes(file.view(entry.header, LOCAL.size + len(entry.name)))
    signature, _, flags, method, _, _, _, packed, size, named, extra = LOCAL.unpack_from(head)
    at = entry.header + len(head) + extra
    plain = signature == b"PK\3\4" and method == 0 and not flags & _ENCRYPTED
    sizes = (entry.size, MAX32, 0) if flags & _STREAMED else (entry.size, MAX32)
    fits = packed in sizes and size in sizes and at + entry.size <= entry.end
    if plain and fits and named == len(entry.name) and head[LOCAL.size :] == entry.name:
        return int(at)
    _refuse("ZIP_FORM", "a local header that agrees with the directory", "another", _text(entry.name))


def payloads(file: MappedFile, entries: Sequence[Entry]) -> list[int]:
    """Return what `payload` does of each entry, -1 where that would refuse; all at once, in a fraction of the time."""
    if not entries:
        return []
    whole = file.view(0, file.size)
    heads = np.array([entry.header for entry in entries], np.int64)
    sizes = np.array([entry.size for entry in entries], np.int64)
    table = np.frombuffer(whole, np.uint8)[heads[:, None] + np.arange(LOCAL.size)]
    rows = np.ascontiguousarray(table).view(_LOCAL_ROW)[:, 0]
    named = np.array([len(entry.name) for entry in entries], np.int64)
    at = heads + LOCAL.size + named + rows["extra"]
    good = (rows["signature"] == _SIGNATURE) & (rows["method"] == 0) & ((rows["flags"] & _ENCRYPTED) == 0)
    good &= (rows["named"] == named) & (at + sizes <= np.array([entry.end for entry in entries], np.int64))
    streamed = (rows["flags"] & _STREAMED) != 0
    for said in (rows["packed"], rows["size"]):
        good &= (said == sizes) | (said == MAX32) | (streamed & (said == 0))
    first = (heads + LOCAL.size).tolist()
    return [
        place if fits and whole[begin : begin + len(entry.name)] == entry.name else -1
        for entry, begin, place, fits in zip(entries, first, at.tolist(), good.tolist(), strict=True)
    ]
