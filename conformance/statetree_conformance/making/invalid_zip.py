"""Invalid vectors: zip files with entries or a directory that writers do not make. Source: spec section 7.4, [Z-8]."""

import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from statetree_conformance.making.base import BASE
from statetree_conformance.making.record import Made, invalid
from statetree_conformance.making.zarr import GENERATION, but, folder, group_json, json_text, root
from statetree_conformance.making.zipped import Entry, entries, zip_file

__all__ = ["made"]

FOUND = entries(BASE)
SOUND = zip_file(FOUND)
CHUNK = f"{GENERATION}/arrays/0-a/c.0".encode()


def _with(name: bytes, change: Callable[[Entry], Entry]) -> list[Entry]:
    """Return the entries, one of which is changed."""
    return [change(entry) if entry.name == name else entry for entry in FOUND]


def _chunk(name: str, fault: str, codes: str, rows: str = "Z23", **changes: Any) -> Made:
    """Return the vector of a file whose entry of the array `a` is other."""
    content = zip_file(_with(CHUNK, lambda entry: entry.but(**changes)))
    return invalid(name, "zarr.zip", content, fault, codes, rows=rows, rules="Z-8")


def _more(name: str, entry: bytes, fault: str, codes: str, *, mode: int = 0o100644, rules: str = "Z-8") -> Made:
    """Return the vector of a file with one more entry."""
    content = zip_file([*FOUND[:-1], Entry(entry, b"x", mode), FOUND[-1]])
    return invalid(name, "zarr.zip", content, fault, codes, rows="Z23", rules=rules)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _names()
    yield from _entries()
    yield from _ends()
    yield from _commits()
    yield from _unread()


def _names() -> Iterator[Made]:
    twice = [*FOUND[:-1], Entry(CHUNK, b"\0" * 8), FOUND[-1]]
    fault = "two entries of one name with other bytes"
    yield invalid("duplicate", "zarr.zip", zip_file(twice), fault, "ZIP_DUPLICATE", rows="Z23", rules="Z-8")
    same = [FOUND[-1], *FOUND]
    fault = "the metadata of the root twice, the same"
    yield invalid("duplicate-root", "zarr.zip", zip_file(same), fault, "ZIP_DUPLICATE", rows="Z23", rules="Z-8")
    within = f"{GENERATION}/".encode()
    yield _more("absolute", b"/tmp/x", "an absolute name", "ZIP_PATH")
    yield _more("dots", within + b"../../x", "a name with `..`", "ZIP_PATH")
    yield _more("dots-only", b"..", "the name `..`", "ZIP_PATH")
    yield _more("dots-behind", within + b"arrays/..", "a name that ends with `..`", "ZIP_PATH")
    yield _more("backslash", within + b"arrays\\x", "a name with a backslash", "ZIP_PATH")
    yield _more("nul", within + b"a\0b", "a name with a zero byte", "ZIP_PATH")
    yield _more("no-name", b"", "an entry without a name", "ZIP_PATH ZIP_FORM")


def _entries() -> Iterator[Made]:
    yield _chunk("link", "a chunk that is a symbolic link", "FS_LINK", data=b"/etc/hostname", mode=stat.S_IFLNK | 0o777)
    yield _chunk("fifo", "a chunk that is a named pipe", "FS_SPECIAL", mode=stat.S_IFIFO | 0o644)
    yield _chunk("device", "a chunk that is a device", "FS_SPECIAL", mode=stat.S_IFBLK | 0o644)
    yield _chunk("socket", "a chunk that is a socket", "FS_SPECIAL", mode=stat.S_IFSOCK | 0o644)
    yield _more(
        "link-outside", b"secret", "a symbolic link beside the generation", "FS_LINK", mode=stat.S_IFLNK | 0o777
    )
    locked = {"flags": 1}
    yield _chunk("encrypted", "an encrypted entry", "ZIP_ENCRYPTED", local=locked, central=locked)
    packed = zlib.compress(BASE.arrays[0].raw, 0)[2:-4]
    deflated = {"method": 8, "size": 8, "crc": zlib.crc32(BASE.arrays[0].raw)}
    yield _chunk("deflated", "a deflated entry", "ZIP_FORM", data=packed, local=deflated, central=deflated)
    yield _chunk("method", "another method in the local header", "ZIP_FORM", local={"method": 8})
    yield _chunk("local-size", "another size in the local header", "ZIP_FORM", local={"size": 4, "packed": 4})
    yield _chunk("local-name", "another name in the local header", "ZIP_FORM", local={"name": CHUNK[:-1] + b"1"})
    yield _chunk("local-name-size", "another length of the name in the local header", "ZIP_FORM", local={"named": 200})
    yield _chunk(
        "local-signature", "no local header where the directory says", "ZIP_FORM", local={"signature": b"PK\3\5"}
    )
    yield _chunk("local-encrypted", "an entry that only its local header calls encrypted", "ZIP_FORM", local=locked)
    yield _chunk("sizes", "a stored entry of two sizes", "ZIP_FORM", central={"packed": 4})
    yield _chunk("zip64-missing", "a size for ZIP64 without its field", "ZIP_FORM", central={"size": 0xFFFFFFFF})
    yield _chunk("disk", "an entry of another disk", "ZIP_FORM", central={"disk": 1})
    yield _chunk(
        "beyond", "an entry whose bytes reach into the next one", "ZIP_FORM", central={"packed": 900, "size": 900}
    )
    first = _with(CHUNK, lambda entry: entry.but(central={"header": 0}))
    fault = "two entries of one place"
    yield invalid("overlap", "zarr.zip", zip_file(first), fault, "ZIP_FORM", rows="Z23", rules="Z-8")
    yield _chunk("short", "a chunk of 7 bytes in place of 8", "ARRAY_NBYTES", "Z03 A11", data=BASE.arrays[0].raw[:-1])
    gone = [entry for entry in FOUND if entry.name != CHUNK]
    fault = "no entry of a chunk"
    yield invalid(
        "chunk-missing", "zarr.zip", zip_file(gone), fault, "ARRAY_MISSING_CHUNK", rows="Z01", rules="Z-6 Z-8"
    )
    gone = [entry for entry in FOUND if b"/0-a/" not in entry.name]
    fault = "no entries of an array"
    yield invalid("array-missing", "zarr.zip", zip_file(gone), fault, "ARRAY_MISSING", rows="A15", rules="Z-4 Z-8")


def _end(name: str, content: bytes, fault: str, codes: str, rows: str = "Z23") -> Made:
    return invalid(name, "zarr.zip", content, fault, codes, rows=rows, rules="Z-8")


def _ends() -> Iterator[Made]:
    yield _end("script", zip_file(FOUND, prefix=b"#!/bin/sh\nexit\n"), "a program before the first entry", "POLYGLOT")
    moved = bytes(64) + SOUND
    yield _end(
        "shifted", moved, "bytes before a zip file whose offsets do not count them", "POLYGLOT ZIP_FORM NOT_STATETREE"
    )
    yield _end("behind", SOUND + b"%PDF-1.7", "bytes behind the end record", "POLYGLOT")
    yield _end("comment", zip_file(FOUND, comment=b"hello"), "a comment of the file", "POLYGLOT")
    yield _end(
        "gap", zip_file(FOUND, gap=bytes(8)), "bytes between the directory and the end record", "POLYGLOT ZIP_FORM"
    )
    for name, size in {"1": len(SOUND) - 1, "100": len(SOUND) - 100, "half": len(SOUND) // 2}.items():
        fault = f"only {size} bytes of {len(SOUND)}"
        yield _end(f"truncated-{name}", SOUND[:size], fault, "CONTAINER_TRUNCATED")
    count = len(FOUND)
    yield _end(
        "count-more", zip_file(FOUND, count=count + 1, total=count + 1), "more entries than there are", "ZIP_FORM"
    )
    yield _end(
        "count-less", zip_file(FOUND, count=count - 1, total=count - 1), "fewer entries than there are", "ZIP_FORM"
    )
    yield _end("counts", zip_file(FOUND, total=count + 1), "two numbers of entries that are not one", "ZIP_FORM")
    yield _end("disks", zip_file(FOUND, disk=1), "a part of a file of two disks", "ZIP_FORM")
    yield _end("directory-beyond", zip_file(FOUND, size=1 << 30), "a directory beyond the end", "ZIP_FORM POLYGLOT")
    spoilt = zip_file(FOUND, directory=lambda rows: rows.replace(b"PK\1\2", b"PK\1\3", 1))
    yield _end("directory-signature", spoilt, "a row of the directory without its signature", "ZIP_FORM")
    wide = zip_file(FOUND, wide=True)
    at = wide.index(b"PK\6\7")
    lost = wide[: at + 8] + struct.pack("<Q", 1 << 62) + wide[at + 16 :]
    yield _end("zip64-place", lost, "a ZIP64 end record that is not where its locator says", "ZIP_FORM")


def _commits() -> Iterator[Made]:
    fault = "no metadata of the root"
    yield invalid("no-root", "zarr.zip", zip_file(FOUND[:-1]), fault, "UNCOMMITTED", rows="Z25", rules="Z-8 Z-2")
    said = json_text(group_json(statetree=root(BASE, generation="fedcba9876543210")))
    files = but(folder(BASE), {"/zarr.json": said})
    fault = "a root that names a generation that is not there"
    content = zip_file(entries(files))
    yield invalid("no-generation", "zarr.zip", content, fault, "UNCOMMITTED", rows="Z25", rules="Z-8 Z-2")


def _unseen(name: str, content: bytes, fault: str, codes: str, rows: str = "Z23") -> Made:
    """Return a vector that a reader accepts that does not look at more than it must; entries elsewhere it ignores."""
    load = "accept" if name in ("extra", "extra-generation") else "accept?"
    return invalid(name, "zarr.zip", content, fault, load, codes, doc=BASE, rows=rows, rules="Z-11 R-3")


def _unread() -> Iterator[Made]:
    """What only a validator looks at."""
    wrong = {"crc": 1}
    checked = zip_file(_with(CHUNK, lambda entry: entry.but(local=wrong, central=wrong)))
    yield _unseen("crc", checked, "another CRC-32 of an entry", "ZIP_CRC")
    grouped = zip_file(_with(f"{GENERATION}/arrays/zarr.json".encode(), lambda entry: entry.but(central={"crc": 1})))
    yield _unseen("crc-of-group", grouped, "another CRC-32 of an entry that readers do not look at", "ZIP_CRC ZIP_FORM")
    for name, path, fault, codes in (
        ("extra", "notes.txt", "an entry beside the generation", "CONTAINER_EXTRA"),
        ("extra-generation", "fedcba9876543210/zarr.json", "an entry of another generation", "CONTAINER_EXTRA"),
        ("extra-inside", f"{GENERATION}/notes.txt", "an entry that nothing names in the generation", "CONTAINER_EXTRA"),
        ("extra-chunk", f"{GENERATION}/arrays/0-a/c.1", "a chunk beyond the array", "CONTAINER_EXTRA"),
        ("empty-component", f"{GENERATION}//x", "an empty component in a name", "ZIP_PATH CONTAINER_EXTRA"),
        ("pickle", f"{GENERATION}/arrays/state.pkl", "a pickle beside the arrays", "CONTAINER_EXTRA ARRAY_STRAY"),
    ):
        content = zip_file([*FOUND[:-1], Entry(path.encode(), b"cposix\nsystem\n(S'true'\ntR."), FOUND[-1]])
        rows = "Z23 Z21 P05" if name == "pickle" else "Z23 Z21"
        yield _unseen(name, content, fault, codes, rows)
    loaded = [*FOUND[:-1], Entry(f"{GENERATION}/arrays/".encode(), b"x", stat.S_IFDIR | 0o755), FOUND[-1]]
    yield _unseen("folder-bytes", zip_file(loaded), "an entry of a folder that has bytes", "ZIP_FORM")
    spaced = _with(CHUNK, lambda entry: entry.but(tail=b"hidden"))
    yield _unseen("between", zip_file(spaced), "bytes between two entries", "ZIP_FORM")
