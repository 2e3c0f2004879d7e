"""Zarr in a zip file: stored entries, one generation. Source: spec section 7.4."""

import re
import secrets
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from statetree.errors import Problem, StateTreeError, fail, shown
from statetree.files import MappedFile, NewFile
from statetree.store import Finding
from statetree_backends._zarr_metadata import Root, parse_root
from statetree_backends._zip_directory import (
    CENTRAL,
    END,
    END64,
    LOCAL,
    LOCATOR,
    MAX16,
    MAX32,
    Entry,
    find_end,
    payload,
    payloads,
    read_directory,
)
from statetree_backends._zip_examine import examine_zip

__all__ = ["ZipFiles", "ZipTarget", "is_our_zip"]

ROOT = "zarr.json"
ROOT_LIMIT = 1 << 20
_DAMAGED = "the file is damaged: restore it from a copy"
_ALIGN = 64
_DATE = 0x21
"""1980-01-01, so that the same tree and generation give the same bytes."""
_MODE = 0o100644 << 16
_PAD = struct.Struct("<3H")
_PAD_ID = 0xD935
"""The extra field by which zipalign and its like align payloads: the alignment, then zeros."""
_JOINED = 16 << 10
_SEARCHED = 64 << 20


class ZipTarget:
    """A zip file being written.

    Args:
        path: its final place.
        size: bytes to reserve, 0 if unknown.
        durable: whether it reaches the disk before the commit.
    """

    def __init__(self, path: Path, size: int, *, durable: bool) -> None:
        self.generation = secrets.token_hex(8)
        """Name of the generation."""
        self._durable = durable
        self._file = NewFile(path, size)
        self._at = 0
        self._directory: list[bytes] = []
        self._name = b""
        self._header = self._size = self._crc = 0

    def folder(self, name: str) -> None:
        """Zip files need no folders."""

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write a whole entry of the generation."""
        self._put(f"{self.generation}/{name}", data)

    def _put(self, name: str, data: bytes | memoryview) -> None:
        head = self._enter(name, len(data), zlib.crc32(data))
        if len(data) <= _JOINED:
            self._file.write(self._at, head + data)
        else:
            self._file.write(self._at, head)
            self._file.write(self._at + len(head), data)
        self._at += len(head) + len(data)

    def begin(self, name: str, size: int) -> None:
        """Begin an entry of `size` bytes."""
        self._name, self._header, self._size, self._crc = f"{self.generation}/{name}".encode(), self._at, size, 0
        self._at += len(_local(self._name, self._at, size, 0))

    def append(self, data: bytes | memoryview) -> None:
        """Append to the entry begun last."""
        self._crc = zlib.crc32(data, self._crc)
        self._file.write(self._at, data)
        self._at += len(data)

    def end(self) -> None:
        """Finish the entry begun last: its header, which holds its checksum, is written now."""
        at, self._at = self._at, self._header
        self._file.write(self._at, self._enter(self._name.decode(), self._size, self._crc))
        self._at = at

    def _enter(self, name: str, size: int, crc: int) -> bytes:
        """Enter an entry into the directory and return its local header."""
        raw = name.encode()
        wide = [value for value in (size, size, self._at) if value >= MAX32]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        small, at = min(size, MAX32), min(self._at, MAX32)
        need = 45 if wide else 10
        lengths = len(raw), len(extra), 0
        row = CENTRAL.pack(b"PK\1\2", 3 << 8 | need, need, 0, 0, 0, _DATE, crc, small, small, *lengths, 0, 0, _MODE, at)
        self._directory.append(row + raw + extra)
        return _local(raw, self._at, size, crc)

    def commit(self, root: bytes) -> None:
        """Write the root's metadata and the directory, and make the file visible."""
        self._put(ROOT, root)
        directory = b"".join(self._directory)
        count, size, start = len(self._directory), len(directory), self._at
        end = b""
        if count >= MAX16 or start >= MAX32 or size >= MAX32:
            end = END64.pack(b"PK\6\6", END64.size - 12, 3 << 8 | 45, 45, 0, 0, count, count, size, start)
            end += LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        few = min(count, MAX16)
        end += END.pack(b"PK\5\6", 0, 0, few, few, min(size, MAX32), min(start, MAX32), 0)
        self._file.write(start, directory + end)
        self._file.truncate(start + size + len(end))
        self._file.commit(durable=self._durable)

    def discard(self) -> None:
        """Remove the temporary file."""
        self._file.discard()


def _local(name: bytes, at: int, size: int, crc: int) -> bytes:
    """Return the local header of an entry at file offset `at`, whose bytes then begin at a multiple of 64."""
    wide = size >= MAX32
    extra = struct.pack("<HHQQ", 1, 16, size, size) if wide else b""
    pad = -(at + LOCAL.size + len(name) + len(extra) + _PAD.size) % _ALIGN
    extra += _PAD.pack(_PAD_ID, 2 + pad, _ALIGN) + bytes(pad)
    small = MAX32 if wide else size
    head = LOCAL.pack(b"PK\3\4", 45 if wide else 10, 0, 0, 0, _DATE, crc, small, small, len(name), len(extra))
    return head + name + extra


def is_our_zip(path: Path, head: bytes) -> bool:
    """Whether a zip file begins with a generation, or has the root's metadata with our attribute. Never raises."""
    if re.match(rb"PK\x03\x04.{26}[0-9a-f]{16}/", head, re.DOTALL):
        return True
    try:
        file = MappedFile(path)
    except StateTreeError:
        return False
    try:
        return _has_our_root(file)
    except (StateTreeError, struct.error, ValueError, OverflowError):
        return False
    finally:
        file.close()


def _has_our_root(file: MappedFile) -> bool:
    """Look for the root's metadata without judging the rest, which is the reader's task."""
    at = find_end(file)
    if at < 0:
        return False
    _, _, _, _, _, size, start, _ = END.unpack(file.read(at, END.size))
    record = file.read(max(0, at - LOCATOR.size - END64.size), END64.size)
    if record[:4] == b"PK\6\6":
        at -= LOCATOR.size + END64.size
        size, start = END64.unpack(record)[8:]
    shift = at - size - start
    data = file.read(max(0, at - size), min(size, _SEARCHED))
    found = re.search(rb"PK\x01\x02.{24}\x09\x00.{16}zarr\.json", data, re.DOTALL)
    if found is None:
        return False
    header = CENTRAL.unpack_from(data, found.start())[16] + shift
    return b'"statetree"' in file.read(max(0, header), ROOT_LIMIT)


class ZipFiles:
    """The entries of a zip file, open for reading; `root` says which generation counts."""

    def __init__(self, path: Path) -> None:
        self._file = MappedFile(path)
        self._places: dict[int, int] = {}
        """File offset of the bytes of an entry by that of its header, once all were looked at."""
        try:
            self._entries = read_directory(self._file)
            self.root = self._root()
            """What the root's metadata says."""
        except BaseException:
            self._file.close()
            raise
        self._prefix = f"{self.root.generation}/"

    def _root(self) -> Root:
        self._prefix = ""
        if ROOT.encode() not in self._entries:
            found = "one that never ended" if self._entries else "an empty zip file"
            fail("UNCOMMITTED", "a finished save", found, place=ROOT, remedy=_DAMAGED)
        self.root_text = self.read(ROOT, ROOT_LIMIT)
        """The root's metadata."""
        root = parse_root(self.root_text, ROOT)
        if f"{root.generation}/{ROOT}".encode() not in self._entries:
            fail("UNCOMMITTED", "the generation that the root names", "none", place=root.generation, remedy=_DAMAGED)
        return root

    def _find(self, name: str) -> Entry:
        found = self._entries.get((self._prefix + name).encode())
        if found is None:
            fail("NOT_FOUND", "an entry", "none", place=name, remedy=_DAMAGED)
        return found

    def _place(self, entry: Entry) -> int:
        """Return where the bytes of an entry begin."""
        known = self._places.get(entry.header, -1)
        return known if known >= 0 else payload(self._file, entry)

    def read(self, name: str, limit: int, code: str = "Z_METADATA") -> bytes:
        """Return a whole entry; one of more than `limit` bytes is refused with `code`.

        Raises:
            MissingFileError: there is none.
        """
        entry = self._find(name)
        if entry.size > limit:
            fail(code, f"at most {limit} bytes", str(entry.size), place=name, remedy=_DAMAGED)
        return bytes(self._file.view(self._place(entry), entry.size))

    def view(self, name: str) -> memoryview | None:
        """Return a whole entry mapped."""
        entry = self._find(name)
        return self._file.view(self._place(entry), entry.size) if entry.size else memoryview(b"")

    def size(self, name: str) -> int:
        """Return the bytes of an entry.

        Raises:
            MissingFileError: there is none.
        """
        return self._find(name).size

    def read_into(self, name: str, offset: int, out: memoryview) -> int:
        """Copy the bytes at `offset` of an entry into `out`, unless it ends before, and return its size."""
        entry = self._find(name)
        if offset + len(out) <= entry.size:
            self._file.read_into(self._place(entry) + offset, out)
        return entry.size

    def entries(self) -> Iterator[tuple[str, str, int]]:
        """Yield (name, kind, bytes) of all entries of the generation."""
        start = len(self._prefix)
        for raw, entry in self._entries.items():
            name = raw.decode("ascii", "backslashreplace")
            if name.startswith(self._prefix) and len(name) > start:
                if name[-1] == "/":
                    yield name[start:].rstrip("/"), "folder", entry.size
                else:
                    yield name[start:], "file", entry.size

    def strays(self, *, data: bool) -> Iterator[Finding]:
        """Yield what is wrong with the zip file itself, with `data` its checksums too, and entries outside."""
        entries = list(self._entries.values())
        places = payloads(self._file, entries)
        self._places = {entry.header: place for entry, place in zip(entries, places, strict=True)}
        yield from examine_zip(self._file, entries, places, data=data)
        for raw in self._entries:
            name = raw.decode("ascii", "backslashreplace")
            if name != ROOT and not name.startswith(self._prefix):
                place = shown(name, 200)
                expected, found = "nothing but a state tree", "an entry outside of its generation"
                problem = Problem("CONTAINER_EXTRA", expected, found, place=place, remedy="remove it", rule="Z-11")
                yield Finding(problem)

    def stored_bytes(self) -> int:
        """Return the size of the zip file."""
        return self._file.size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
