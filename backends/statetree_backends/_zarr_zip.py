"""Zarr in a zip file: stored entries, one generation. Source: spec section 7.4."""

import io
import re
import secrets
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

from statetree.errors import StateTreeError, fail, shown
from statetree.files import MappedFile, NewFile

__all__ = ["ZipFiles", "ZipTarget", "begins_like_ours", "root_of"]

_DAMAGED = "the file is damaged: restore it from a copy"
_ALIGN = 64


class _Stream(io.RawIOBase):
    """The position that zipfile needs, over a new file."""

    def __init__(self, file: NewFile) -> None:
        self._file = file
        self._at = self.end = 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence == 1 else self.end if whence == 2 else 0)
        return self._at

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(self._at, view)
        self._at += len(view)
        self.end = max(self.end, self._at)
        return len(view)


class ZipTarget:
    """A zip file being written."""

    packs = False

    def __init__(self, path: Path, *, durable: bool) -> None:
        self.generation = secrets.token_hex(8)
        """Name of the generation."""
        self._durable = durable
        self._file = NewFile(path)
        self._stream = _Stream(self._file)
        self._zip = zipfile.ZipFile(self._stream, "w")
        self._entry: Any = None

    def folder(self, name: str) -> None:
        """Zip files need no folders."""

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write a whole entry of the generation."""
        self.begin(name, len(data))
        self.append(data)
        self.end()

    def begin(self, name: str, size: int) -> None:
        """Begin an entry of `size` bytes."""
        self._begin(f"{self.generation}/{name}", size)

    def _begin(self, name: str, size: int) -> None:
        entry = zipfile.ZipInfo(name)  # dated 1980, so that equal trees differ in the generation only
        entry.external_attr = 0o644 << 16
        large = size >= zipfile.ZIP64_LIMIT
        header = 30 + len(name.encode()) + (20 if large else 0) + 4
        pad = -(self._stream.end + header) % _ALIGN
        # An extra field of zeros puts the bytes of the entry where memory can map them aligned.
        entry.extra = struct.pack("<HH", 0xD935, pad) + bytes(pad)
        self._entry = self._zip.open(entry, "w", force_zip64=large)

    def append(self, data: bytes | memoryview) -> None:
        """Append to the entry begun last."""
        self._entry.write(data)

    def end(self) -> None:
        """Finish the entry begun last."""
        self._entry.close()

    def commit(self, root: bytes) -> None:
        """Write the root's metadata and the directory, and make the file visible."""
        self._begin("zarr.json", len(root))
        self.append(root)
        self.end()
        self._zip.close()
        self._file.truncate(self._stream.end)
        self._file.commit(durable=self._durable)

    def discard(self) -> None:
        """Remove the temporary file."""
        self._zip._didModify = False  # type: ignore[attr-defined] # else its destructor would write the directory
        self._zip.fp = None
        self._file.discard()


def _entries(file: MappedFile) -> dict[str, tuple[int, int]]:
    """Return name → (offset, size) of the entries of a zip file, each of which was looked at.

    Raises:
        StateTreeError: the zip is damaged, or holds what no writer of ours writes.
    """
    stream = io.BytesIO(file.read(0, file.size)) if file.size < 1 << 16 else _Reader(file)
    try:
        archive = zipfile.ZipFile(stream)
        infos = archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError, UnicodeDecodeError, OSError) as error:
        fail("ZIP_FORM", "a zip file", shown(str(error)).lower(), place=str(file.path), remedy=_DAMAGED)
    if archive.comment:
        fail("POLYGLOT", "a zip file without a comment", "one with a comment", place=str(file.path), remedy=_DAMAGED)
    if file.read(max(0, file.size - 22), 4) != b"PK\5\6":
        fail("POLYGLOT", "a zip file to its last byte", "bytes behind it", place=str(file.path), remedy=_DAMAGED)
    out: dict[str, tuple[int, int]] = {}
    end = 0
    for info in infos:
        _check(info, out)
        offset = _payload(file, info)
        out[info.filename] = offset, info.file_size
        end = max(end, offset + info.file_size)
    first = min((info.header_offset for info in infos), default=0)
    if first or end > archive.start_dir:
        fail(
            "POLYGLOT",
            "a zip file from its first byte on",
            f"bytes before {first}",
            place=str(file.path),
            remedy=_DAMAGED,
        )
    return out


def _check(info: zipfile.ZipInfo, known: dict[str, Any]) -> None:
    name = info.orig_filename
    place = shown(name)
    if info.filename in known:
        fail("ZIP_DUPLICATE", "unique names", f"{place!r} twice", place=place, remedy=_DAMAGED)
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/") or name != info.filename:
        fail(
            "ZIP_PATH", "names inside of the zip", repr(place), place=place, remedy="names out of the file are refused"
        )
    if info.flag_bits & 0x1:
        fail("ZIP_ENCRYPTED", "plain entries", "an encrypted one", place=place, remedy="decrypt it first")
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        fail("ZIP_FORM", "stored entries", "a compressed one", place=place, remedy="write it with a conforming writer")
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        fail("FS_LINK", "files", "a link or special file", place=place, remedy="links are never followed")


def _payload(file: MappedFile, info: zipfile.ZipInfo) -> int:
    """Return the offset of an entry's bytes."""
    header = file.read(info.header_offset, 30)
    name = info.orig_filename.encode()
    if len(header) == 30 and header[:4] == b"PK\3\4":
        named, extra = struct.unpack("<HH", header[26:30])
        offset = info.header_offset + 30 + named + extra
        if file.read(info.header_offset + 30, named) == name and offset + info.file_size <= file.size:
            return int(offset)
    fail(
        "ZIP_FORM",
        "a local header that agrees with the directory",
        "another",
        place=shown(info.filename),
        remedy=_DAMAGED,
    )


class _Reader(io.RawIOBase):
    """What zipfile needs of a file to read its directory."""

    def __init__(self, file: MappedFile) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (self._at if whence == 1 else self._file.size if whence == 2 else 0)
        if self._at < 0:
            raise OSError("a position before the file")
        return self._at

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._at, self._file.size - self._at if size < 0 else size)
        self._at += len(data)
        return data


def begins_like_ours(head: bytes) -> bool:
    """Whether a zip file begins with an entry of a generation, as ours do, even if its directory is lost."""
    return re.fullmatch(rb"PK\x03\x04.{26}[0-9a-f]{16}/", head[:47], re.DOTALL) is not None


def root_of(path: Path) -> bytes | None:
    """Return `zarr.json` of the root of a zip file, None if it is no zip or has none. Never raises."""
    try:
        files = ZipFiles(path, "")
    except StateTreeError:
        return None
    try:
        return files.read("zarr.json", 1 << 20)
    except StateTreeError:
        return None
    finally:
        files.close()


class ZipFiles:
    """The entries of one generation, open for reading."""

    def __init__(self, path: Path, generation: str) -> None:
        self._prefix = f"{generation}/" if generation else ""
        self._file = MappedFile(path)
        try:
            self._entries = _entries(self._file)
        except BaseException:
            self._file.close()
            raise

    def _find(self, name: str) -> tuple[int, int]:
        found = self._entries.get(self._prefix + name)
        if found is None:
            fail("NOT_FOUND", "an entry", "none", place=name, remedy=_DAMAGED)
        return found

    def read(self, name: str, limit: int) -> bytes:
        """Return a whole entry of at most `limit` bytes."""
        offset, size = self._find(name)
        if size > limit:
            fail("LIMIT_MANIFEST", f"at most {limit} bytes", str(size), place=name, remedy="raise limits=")
        return self._file.read(offset, size)

    def view(self, name: str) -> memoryview:
        """Return a whole entry mapped."""
        offset, size = self._find(name)
        return self._file.view(offset, size) if size else memoryview(b"")

    def stored_bytes(self) -> int:
        """Return the size of the zip file."""
        return self._file.size

    def close(self) -> None:
        """Close the file."""
        self._file.close()
