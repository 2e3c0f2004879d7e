"""What lies in a container beside the tree is found, costs no more than it may, and is followed nowhere."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import statetree as st
from bson_by_hand import bson_file

TREE = {"w": np.arange(6, dtype=np.float32), "b": np.ones(3, np.int8), "n": 1}
Found = list[tuple[str, str | None]]


def found(path: Path, **options: Any) -> Found:
    """Return code and place of every problem."""
    return [(problem.code, problem.place) for problem in st.validate(path, **options).problems]


def cycle(file: h5py.File) -> None:
    file["loop"] = file["/"]


def nested(file: h5py.File) -> None:
    file.create_group("a/b")["out"] = h5py.ExternalLink("/etc/passwd", "/")


def attribute(file: h5py.File) -> None:
    file["arrays/0-w"].attrs["unit"] = "m"


def moved(file: h5py.File) -> None:
    file.move("arrays/0-w", "arrays/2-w")


def relocated(file: h5py.File) -> None:
    file["arrays/new"] = file["arrays/0-w"][:]
    del file["arrays/0-w"]
    file.move("arrays/new", "arrays/0-w")


HDF5: dict[str, tuple[Callable[[h5py.File], Any], Found]] = {
    "an attribute of the root": (lambda f: f.attrs.create("x", 1), [("CONTAINER_EXTRA", "/")]),
    "an attribute of an array": (attribute, [("CONTAINER_EXTRA", "/arrays/0-w")]),
    "a dataset": (lambda f: f.create_dataset("x", data=1), [("CONTAINER_EXTRA", "/x")]),
    "a dataset among the arrays": (lambda f: f.create_dataset("arrays/x", data=1), [("ARRAY_STRAY", "/arrays/x")]),
    "a soft link": (lambda f: f.__setitem__("x", h5py.SoftLink("/header")), [("H5_LINK", "/x")]),
    "a link out of the file": (nested, [("CONTAINER_EXTRA", "/a"), ("H5_LINK", "/a/b/out")]),
    "a cycle": (cycle, [("H5_CYCLE", "/loop")]),
    "another name of an array": (moved, [("ARRAY_MISSING", "/arrays/0-w"), ("ARRAY_STRAY", "/arrays/2-w")]),
    "data that moved": (relocated, [("BACKEND_MISMATCH", "/arrays/0-w")]),
}


@pytest.mark.parametrize("change", HDF5)
@pytest.mark.parametrize("alone", [{}, {"max_memory": 1 << 30}], ids=["", "alone"])
def test_what_h5py_adds_to_a_file_is_found(change: str, alone: dict[str, int], tmp_path: Path) -> None:
    act, wanted = HDF5[change]
    st.save(tmp_path / "x.h5", TREE, durable=False)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        act(file)

    assert found(tmp_path / "x.h5", level="structure", **alone) == wanted


def test_a_file_that_h5py_wrote_anew_is_as_sound_as_before(tmp_path: Path) -> None:
    st.save(tmp_path / "x.h5", TREE, durable=False)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file.attrs["x"] = 1
        del file.attrs["x"]

    assert found(tmp_path / "x.h5", level="full") == []


def test_a_crash_of_the_hdf5_library_is_a_problem_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    st.save(tmp_path / "x.h5", TREE, durable=False)
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file.attrs["x"] = 1
    monkeypatch.setattr("statetree_backends._hdf5_isolated._MODULE", "crashing_child")

    report = st.validate(tmp_path / "x.h5")

    assert [(problem.code, problem.found, problem.phase) for problem in report.problems] == [
        ("CONTAINER_TRUNCATED", "a crash (SIGSEGV)", "container")
    ]
    assert report.digest == st.digest(TREE)


def zarr_folder(path: Path) -> Path:
    """Save a Zarr folder and return its generation."""
    st.save(path, TREE, durable=False)
    return next(part for part in path.iterdir() if len(part.name) == 16)


def test_strange_files_in_a_zarr_folder_are_errors_or_warnings(tmp_path: Path) -> None:
    generation = zarr_folder(tmp_path / "x.zarr")
    (tmp_path / "x.zarr/notes.txt").write_text("mine")
    (tmp_path / "x.zarr/.zgroup").write_text("{}")
    (tmp_path / "x.zarr/0123456789abcdef").mkdir()
    (generation / "arrays/extra").mkdir()
    (generation / "arrays/extra/zarr.json").write_bytes((generation / "arrays/0-w/zarr.json").read_bytes())
    (generation / "arrays/0-w/c.7").write_bytes(b"x")

    report = st.validate(tmp_path / "x.zarr")

    assert [(p.code, p.place) for p in report.problems] == [("Z_MIXED", ".zgroup"), ("ARRAY_STRAY", "arrays/extra")]
    assert [(p.code, p.place) for p in report.warnings] == [
        ("FS_STRAY", "0123456789abcdef"),
        ("CONTAINER_EXTRA", "notes.txt"),
        ("CONTAINER_EXTRA", "arrays/0-w/c.7"),
    ]


def test_links_and_pipes_are_neither_followed_nor_opened(tmp_path: Path) -> None:
    generation = zarr_folder(tmp_path / "x.zarr")
    (generation / "arrays/0-w/out").symlink_to("/etc/passwd")
    os.mkfifo(generation / "arrays/1-b/pipe")

    assert found(tmp_path / "x.zarr") == [("FS_LINK", "arrays/0-w/out"), ("FS_SPECIAL", "arrays/1-b/pipe")]


def test_consolidated_metadata_that_say_another_thing_are_found(tmp_path: Path) -> None:
    generation = zarr_folder(tmp_path / "x.zarr")
    root = json.loads((tmp_path / "x.zarr/zarr.json").read_text())
    name = f"{generation.name}/arrays/0-w"
    node = json.loads((generation / "arrays/0-w/zarr.json").read_text())
    root["consolidated_metadata"] = {
        "kind": "inline",
        "must_understand": False,
        "metadata": {name: {**node, "shape": [7]}},
    }
    (tmp_path / "x.zarr/zarr.json").write_text(json.dumps(root))

    codes = [code for code, place in found(tmp_path / "x.zarr") if place == f"zarr.json: {name}"]

    assert codes == ["Z_CONSOLIDATED"]


def test_entries_of_a_zip_file_are_held_against_their_checksums(tmp_path: Path) -> None:
    st.save(tmp_path / "x.zarr.zip", TREE, durable=False)
    with zipfile.ZipFile(tmp_path / "x.zarr.zip") as archive:
        entry = next(entry for entry in archive.infolist() if entry.filename.endswith("arrays/zarr.json"))
        data = archive.read(entry)
    raw = bytearray((tmp_path / "x.zarr.zip").read_bytes())
    raw[raw.index(data, entry.header_offset) + len(data) - 3] ^= 1
    (tmp_path / "x.zarr.zip").write_bytes(raw)

    assert found(tmp_path / "x.zarr.zip")[0] == ("ZIP_CRC", entry.filename)


def test_documents_of_bson_are_held_against_the_manifest(tmp_path: Path) -> None:
    def renamed(elements: list[bytes]) -> list[bytes]:
        return [element.replace(b"0-0", b"0-x") for element in elements]

    (tmp_path / "x.bson").write_bytes(bson_file([np.ones(3)], data=renamed))

    report = st.validate(tmp_path / "x.bson", level="structure")

    assert [(p.code, p.expected, p.found) for p in report.problems] == [("BACKEND_MISMATCH", "name '0-0'", "'0-x'")]


def test_a_hostile_file_costs_no_more_memory_than_it_may(tmp_path: Path) -> None:
    nodes = b'{"list":[' + b"0," * 3_000_000 + b"0]}"
    text = b'{"algorithm":"xxh3-128","arrays":[],"features":[],"statetree":"1.0","tree":' + nodes + b"}"
    (tmp_path / "x.bson").write_bytes(bson_file(texts={"manifest": text}))

    report = st.validate(tmp_path / "x.bson", max_memory=16 << 20)

    assert [(p.code, p.found, p.remedy) for p in report.problems] == [
        ("LIMIT_BYTES", "more than 16 MiB of memory", "raise max_memory= if you trust the file")
    ]
    assert st.validate(tmp_path / "x.bson", max_memory=1 << 30).ok
