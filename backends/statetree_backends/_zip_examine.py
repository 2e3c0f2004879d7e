"""Zip files as a whole: every entry, and nothing between them. Source: spec [Z-11]."""

import struct
import zlib
from collections.abc import Iterator, Sequence

from statetree.errors import Problem, StateTreeError, shown
from statetree.files import MappedFile
from statetree.store import Finding
from statetree_backends._zip_directory import Entry, payload

__all__ = ["examine_zip"]

_FORMS = tuple(struct.Struct(form) for form in ("<III", "<4sIII", "<IQQ", "<4sIQQ"))
"""Data descriptors: with and without a signature, of 32 and 64 bits (APPNOTE 4.3.9)."""
_DAMAGED = "the file is damaged: restore it from a copy"
_FOREIGN = "make it anew with a conforming writer"


def examine_zip(file: MappedFile, entries: Sequence[Entry], places: Sequence[int], *, data: bool) -> Iterator[Finding]:
    """Yield what is wrong with entries that a reader would pass over.

    Args:
        file: the zip file.
        entries: all of its entries.
        places: what `payloads` says of them.
        data: hold the bytes of entries against their checksums.
    """
    for entry, at in zip(entries, places, strict=True):
        if at < 0:
            try:
                payload(file, entry)
            except StateTreeError as error:
                yield Finding(error.problems[0])
            continue
        end = at + entry.size
        if end != entry.end and not _is_descriptor(bytes(file.view(end, min(entry.end - end, 32))), entry, end):
            yield _finding("ZIP_FORM", "entries without anything between them", f"{entry.end - end} bytes", entry)
        if b"//" in entry.name:
            yield _finding("ZIP_PATH", "names without empty components", "an empty one", entry)
        if entry.size and entry.name[-1:] == b"/":
            yield _finding("ZIP_FORM", "a folder without bytes", f"{entry.size} bytes", entry)
        if data and (found := zlib.crc32(file.view(at, entry.size))) != entry.crc:
            yield _finding("ZIP_CRC", f"bytes whose CRC-32 is {entry.crc:08x}", f"{found:08x}", entry)


def _is_descriptor(data: bytes, entry: Entry, end: int) -> bool:
    """Whether bytes behind an entry are its data descriptor, as its directory entry says that there is one."""
    form = next((form for form in _FORMS if form.size == entry.end - end == len(data)), None)
    if not entry.streamed or form is None:
        return False
    *signature, crc, packed, size = form.unpack(data)
    return signature in ([], [b"PK\7\x08"]) and (crc, packed, size) == (entry.crc, entry.size, entry.size)


def _finding(code: str, expected: str, found: str, entry: Entry) -> Finding:
    name = shown(entry.name.decode("utf-8", "backslashreplace"))
    remedy = _DAMAGED if code == "ZIP_CRC" else _FOREIGN
    return Finding(Problem(code, expected, found, place=name, remedy=remedy, rule="Z-11"))
