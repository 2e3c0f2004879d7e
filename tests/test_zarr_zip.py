"""Zarr in a zip file: ordinary to zip tools, strict in what is read."""

import io
import re
import stat
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree
from statetree import StateTreeError
from statetree.files import MappedFile
from statetree_backends import _zarr_zip, _zip_directory
from statetree_backends.zarr import BACKEND

TREE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "big": np.arange(5 << 17).astype(np.float64), "n": 1}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    statetree.save(tmp_path / "x.zarr.zip", TREE, durable=False)
    return tmp_path / "x.zarr.zip"


def refusal(path: Path) -> StateTreeError:
    with pytest.raises(StateTreeError) as caught:
        statetree.load(path)
    return caught.value


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


Change = Callable[[zipfile.ZipFile, zipfile.ZipInfo, bytes], None]


def rewrite(path: Path, change: Change | None = None, *, folders: bool = False) -> None:
    """Write the file again with zipfile, `change` writing each entry."""
    old = entries(path)
    with zipfile.ZipFile(path, "w") as archive:
        if folders:
            archive.mkdir(next(iter(old)).partition("/")[0])
        for name, data in old.items():
            info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            if change is None:
                archive.writestr(info, data)
            else:
                change(archive, info, data)


def test_zip_tools_find_every_entry_whole_stored_dated_1980_and_aligned(store: Path) -> None:
    data = store.read_bytes()

    with zipfile.ZipFile(store) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert (info.compress_type, info.date_time) == (zipfile.ZIP_STORED, (1980, 1, 1, 0, 0, 0))
            assert (info.external_attr >> 16, info.create_system) == (stat.S_IFREG | 0o644, 3)
            named, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
            assert (info.header_offset + 30 + named + extra) % 64 == 0


def test_the_entries_are_the_files_of_a_folder(store: Path, tmp_path: Path) -> None:
    statetree.save(tmp_path / "x.zarr", TREE, durable=False)
    generation = re.compile("^[0-9a-f]{16}/")

    in_zip = {generation.sub("", name): data for name, data in entries(store).items() if "info" not in name}
    in_folder = {
        generation.sub("", str(path.relative_to(tmp_path / "x.zarr"))): path.read_bytes()
        for path in (tmp_path / "x.zarr").rglob("*")
        if path.is_file() and "info" not in str(path)
    }

    assert in_zip.keys() == in_folder.keys()
    assert all(in_zip[name] == in_folder[name] for name in in_zip.keys() - {"zarr.json"})


def test_a_folder_that_was_zipped_by_others_is_read(tmp_path: Path) -> None:
    statetree.save(tmp_path / "x.zarr", TREE, durable=False)
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        for path in sorted((tmp_path / "x.zarr").rglob("*"), reverse=True):
            archive.write(path, path.relative_to(tmp_path / "x.zarr"))

    assert statetree.difference(statetree.load(tmp_path / "y.zip"), TREE) is None
    assert statetree.difference(statetree.load(tmp_path / "y.zip", mmap=True), TREE) is None


class Pipe(io.BytesIO):
    """A file that zipfile cannot seek in, so that sizes follow the bytes of each entry."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: Any) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def test_a_streamed_zip_file_is_read(store: Path) -> None:
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as archive:
        for name, data in entries(store).items():
            archive.writestr(name, data)
    store.write_bytes(pipe.getvalue())

    assert statetree.difference(statetree.load(store), TREE) is None


def test_a_zip_file_of_wide_entries_is_read(store: Path) -> None:
    def wide(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
        with archive.open(info, "w", force_zip64=True) as entry:
            entry.write(data)

    rewrite(store, wide, folders=True)

    assert statetree.difference(statetree.load(store), TREE) is None


def test_more_entries_than_a_plain_directory_counts_are_written_and_read(tmp_path: Path) -> None:
    tree = [np.array([i], np.int32) for i in range(32_768)]

    statetree.save(tmp_path / "x.zarr.zip", tree, durable=False)

    with zipfile.ZipFile(tmp_path / "x.zarr.zip") as archive:
        assert len(archive.infolist()) > 65_536
    assert statetree.difference(statetree.load(tmp_path / "x.zarr.zip"), tree) is None


def test_sizes_and_places_beyond_four_bytes_are_written_as_zip64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the border lowered, so that no file of 4 GiB is needed; zipfile is the judge."""
    monkeypatch.setattr(_zarr_zip, "MAX32", 70_000)
    path = tmp_path / "x.zarr.zip"
    written: list[tuple[Any, ...]] = []
    pack = struct.Struct.pack

    class Saturated:
        """A record whose fields are 0xffffffff where the lowered border stands."""

        def __init__(self, layout: struct.Struct) -> None:
            self.size, self.layout = layout.size, layout

        def pack(self, *values: Any) -> bytes:
            written.append(values)
            return pack(self.layout, *(0xFFFFFFFF if value == 70_000 else value for value in values))

    for name in ("LOCAL", "CENTRAL", "END"):
        monkeypatch.setattr(_zarr_zip, name, Saturated(getattr(_zarr_zip, name)))

    statetree.save(path, TREE, durable=False)

    assert any(70_000 in values for values in written)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert any(info.header_offset > 70_000 for info in archive.infolist())
        assert any(info.file_size > 70_000 for info in archive.infolist())
    monkeypatch.undo()
    assert statetree.difference(statetree.load(path), TREE) is None


def twice(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
    archive.writestr(info, data)
    if info.filename.endswith("/c.0.0"):
        archive.writestr(info.filename, data)


def renamed(name: str) -> Change:
    def change(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
        archive.writestr(info, data)
        if info.filename == "zarr.json":
            archive.writestr(zipfile.ZipInfo("placeholder"[: len(name)].ljust(len(name), "x")), b"x")

    return change


def moded(mode: int) -> Change:
    def change(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
        info.create_system = 3
        info.external_attr = (mode if info.filename.endswith("/c.0.0") else stat.S_IFREG) << 16
        archive.writestr(info, data)

    return change


def deflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo, data: bytes) -> None:
    archive.writestr(info, data, zipfile.ZIP_DEFLATED)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "error_class", "code"),
    [
        (twice, "security", "ZIP_DUPLICATE"),
        (moded(stat.S_IFLNK), "security", "FS_LINK"),
        (moded(stat.S_IFIFO), "security", "FS_SPECIAL"),
        (deflated, "malformed", "ZIP_FORM"),
    ],
)
def test_entries_that_no_writer_writes_are_refused(change: Change, error_class: str, code: str, store: Path) -> None:
    rewrite(store, change)

    error = refusal(store)

    assert (error.error_class, error.code) == (error_class, code)


@pytest.mark.parametrize(
    "name", [b"/etc/passwd", b"../outside", b"a/../../x", b"windows\\x", b"nul\0byte", b"folder/.."]
)
def test_names_that_lead_out_of_the_file_are_refused(name: bytes, store: Path) -> None:
    rewrite(store, renamed(name.decode()))
    placeholder = b"placeholder"[: len(name)].ljust(len(name), b"x")
    data = store.read_bytes()
    assert data.count(placeholder) == 2
    store.write_bytes(data.replace(placeholder, name))

    error = refusal(store)

    assert (error.error_class, error.code) == ("security", "ZIP_PATH")


def test_an_encrypted_zip_file_is_refused(store: Path) -> None:
    data = bytearray(store.read_bytes())
    at = data.index(b"PK\1\2")
    data[at + 8] |= 1
    store.write_bytes(data)

    error = refusal(store)

    assert (error.error_class, error.code) == ("security", "ZIP_ENCRYPTED")
    assert str(error).endswith(": decrypt it first")


def prefixed(data: bytes) -> bytes:
    return b"#!/bin/sh\nexit\n" + data


def prefixed_and_adjusted(data: bytes) -> bytes:
    stream = io.BytesIO()
    stream.write(b"#!/bin/sh\nexit\n")
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "a") as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return stream.getvalue()


def commented(data: bytes) -> bytes:
    return data[:-2] + b"\5\0hello"


def two_ends(data: bytes) -> bytes:
    return data + data[-22:]


POLYGLOTS = [prefixed, prefixed_and_adjusted, commented, two_ends, lambda data: data + b"\0", lambda data: data + data]


@pytest.mark.parametrize("spoil", POLYGLOTS)
def test_anything_before_or_behind_the_zip_file_is_refused(spoil: Callable[[bytes], bytes], store: Path) -> None:
    store.write_bytes(spoil(store.read_bytes()))

    error = refusal(store)

    assert (error.error_class, error.code) == ("security", "POLYGLOT")


def field(record: bytes, at: int, layout: str, value: int) -> Callable[[bytes], bytes]:
    """Return what sets a field of the last record that begins with `record`."""

    def change(data: bytes) -> bytes:
        out = bytearray(data)
        struct.pack_into(layout, out, data.rindex(record) + at, value)
        return bytes(out)

    return change


LOCAL, CENTRAL, END = b"PK\3\4", b"PK\1\2", b"PK\5\6"
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "a directory that begins too late": field(END, 16, "<I", 1 << 30),
    "a directory that is too long": field(END, 12, "<I", 1 << 30),
    "more entries than there are": field(END, 10, "<H", 60_000),
    "another number on this disk": field(END, 8, "<H", 1),
    "a second disk": field(END, 4, "<H", 1),
    "one entry less": lambda data: field(END, 8, "<H", 3)(field(END, 10, "<H", 3)(data)),
    "an entry behind the file": field(CENTRAL, 42, "<I", 0x7FFFFFFF),
    "an entry that is too long": field(CENTRAL, 24, "<I", 0x7FFFFFFF),
    "an entry whose sizes differ": field(CENTRAL, 20, "<I", 5),
    "a ZIP64 field that is missing": field(CENTRAL, 24, "<I", 0xFFFFFFFF),
    "an entry on another disk": field(CENTRAL, 34, "<H", 1),
    "a name that is too long": field(CENTRAL, 28, "<H", 0xFFFF),
    "an extra field that is too long": field(CENTRAL, 30, "<H", 0xFFFF),
    "a local header of another name": lambda data: data.replace(b"zarr.json", b"zarr.jsom").replace(
        b"zarr.jsom", b"zarr.json", data.count(b"zarr.json") - 1
    ),
    "a local name of another length": field(LOCAL, 26, "<H", 5),
    "a local header of another size": field(LOCAL, 22, "<I", 5),
    "a local header of another method": field(LOCAL, 8, "<H", 8),
    "a local header that is encrypted": field(LOCAL, 6, "<H", 1),
    "a local extra field that is too long": field(LOCAL, 28, "<H", 0xFFFF),
    "another signature": lambda data: data[: data.rindex(LOCAL)] + b"PK\3\5" + data[data.rindex(LOCAL) + 4 :],
}


@pytest.mark.parametrize("fault", FORMS)
def test_headers_that_tools_might_read_differently_are_refused(fault: str, store: Path) -> None:
    store.write_bytes(FORMS[fault](store.read_bytes()))

    error = refusal(store)

    assert (error.error_class, error.code) in {
        ("malformed", "ZIP_FORM"),
        *([("integrity", "UNCOMMITTED")] if "another name" in fault else []),
    }


def test_two_entries_of_the_same_bytes_are_refused(store: Path) -> None:
    """The bomb that is made of one entry read many times."""
    data = store.read_bytes()
    with zipfile.ZipFile(store) as archive:
        first, second = archive.infolist()[:2]
    row = data.index(CENTRAL, data.index(CENTRAL) + 4)
    assert struct.unpack_from("<I", data, row + 42) == (second.header_offset,)
    out = bytearray(data)
    struct.pack_into("<I", out, row + 42, first.header_offset)
    store.write_bytes(out)

    assert refusal(store).code == "ZIP_FORM"


def test_a_zip_file_cut_anywhere_near_its_end_is_refused(store: Path) -> None:
    data = store.read_bytes()

    for cut in (*range(len(data) - 400, len(data)), len(data) // 2, 100, 30, 5):
        store.write_bytes(data[:cut])
        assert refusal(store).error_class in ("malformed", "unsupported"), cut


def test_a_zip_file_without_the_root_or_the_generation_is_uncommitted(store: Path) -> None:
    whole = entries(store)
    for wanted in (lambda name: name != "zarr.json", lambda name: not name.endswith("/zarr.json")):
        with zipfile.ZipFile(store, "w") as archive:
            for name, data in whole.items():
                if wanted(name):
                    archive.writestr(name, data)

        assert refusal(store).code in ("UNCOMMITTED", "ARRAY_MISSING")


@pytest.mark.parametrize("part", ["/manifest/c/0", "/c.0.0", "/blocks/c/0", "/arrays/0-w/zarr.json"])
def test_a_missing_entry_is_damage(part: str, store: Path) -> None:
    whole = entries(store)
    with zipfile.ZipFile(store, "w") as archive:
        for name, data in whole.items():
            if not name.endswith(part):
                archive.writestr(name, data)

    assert refusal(store).error_class == "integrity"


def test_foreign_zip_files_are_not_recognised(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with zipfile.ZipFile(tmp_path / "y.zip", "w") as archive:
        archive.writestr("zarr.json", '{"zarr_format":3,"node_type":"group","attributes":{}}')
    (tmp_path / "z.zip").write_bytes(b"PK\5\6" + bytes(18))

    for name in ("x.npz", "y.zip", "z.zip"):
        path = tmp_path / name
        assert BACKEND.recognises(path, path.read_bytes()[:8192]) is False


def test_an_interrupted_save_leaves_the_file_before(store: Path) -> None:
    before = store.read_bytes()

    def interrupt(_: int, __: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        statetree.save(store, {"w": np.zeros(3 << 20)}, progress=interrupt)

    assert store.read_bytes() == before
    assert [path.name for path in store.parent.iterdir()] == [store.name]


def test_the_directory_is_what_zipfile_finds(store: Path) -> None:
    with closing(MappedFile(store)) as file:
        found = _zip_directory.read_directory(file)

    with zipfile.ZipFile(store) as archive:
        assert [(e.name.decode(), e.header, e.size) for e in found.values()] == [
            (info.filename, info.header_offset, info.file_size) for info in archive.infolist()
        ]
