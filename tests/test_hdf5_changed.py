"""HDF5 files that other tools changed: the right values by name, or an error; never another array's values."""

import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import statetree as st
from bson_by_hand import signed
from statetree.digest import digest
from statetree.dtype import BY_NAME
from statetree_backends.hdf5 import BACKEND

H5REPACK, H5COPY = shutil.which("h5repack"), shutil.which("h5copy")
A, B = np.arange(1000, dtype=np.float32), np.arange(1000, dtype=np.float32) * -3
BIG = np.arange(600_000, dtype=np.float64).reshape(600, 1000)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a file of {"a": A, "b": B, "n": 3}."""
    path = tmp_path / "a.h5"
    st.save(path, {"a": A, "b": B, "n": 3}, durable=False)
    return path


def same(path: Path, tree: Any) -> bool:
    """Whether a file holds a tree, loaded, opened and mapped."""
    with st.open(path) as file:
        lazy = {key: value[...] if isinstance(value, st.LazyArray) else value for key, value in file.tree.items()}
    found = [st.load(path), st.load(path, mmap=True), lazy]
    return [st.difference(tree, value) for value in found] == [None] * 3


def test_arrays_made_anew_in_swapped_places_have_their_own_values(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        places = [file[f"arrays/{name}"].id.get_offset() for name in ("0-a", "1-b")]
        del file["arrays/0-a"], file["arrays/1-b"]
        file["arrays/1-b"] = B
        file["arrays/0-a"] = A
    data = bytearray(saved.read_bytes())
    data[places[0] : places[0] + 4000], data[places[1] : places[1] + 4000] = B.tobytes(), A.tobytes()
    saved.write_bytes(data)
    with h5py.File(saved, "r+") as file:
        file["arrays/0-a"][:] = A
        file["arrays/1-b"][:] = B

    assert same(saved, {"a": A, "b": B, "n": 3})


def test_arrays_whose_names_were_swapped_are_refused(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file["arrays/0-a"][:] = B
        file["arrays/1-b"][:] = A

    with pytest.raises(st.IntegrityError) as caught:
        st.load(saved)

    assert str(caught.value) == (
        f"expected the bytes that were saved (xxh3-128:{digest('xxh3-128', A.data)}), "
        "got bytes 0 to 4000 of 4000 with another digest (at /a) (in /arrays/0-a): the file is damaged: restore it "
        "from a copy, or read the rest of it with select="
    )


def test_one_changed_value_is_refused_and_the_rest_can_be_loaded(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file["arrays/0-a"][7] = 0

    with pytest.raises(st.IntegrityError, match="at /a"):
        st.load(saved)
    assert st.difference(st.load(saved, select="/b"), B) is None


REPACKED = [
    [],
    ["-L"],
    ["-S", "PAGE", "-G", "4096"],
    ["-l", "{}:COMPA"],
    ["-l", "{}:CONTI"],
    ["-l", "{}:CHUNK=7x11"],
    ["-f", "{}:GZIP=6"],
    ["-f", "{}:SHUF"],
    ["-L", "-f", "{}:SHUF", "-f", "{}:GZIP=1"],
    ["-l", "{}:CHUNK=7x11", "-f", "{}:SHUF", "-f", "{}:GZIP=1"],
    ["-L", "-l", "{}:CHUNK=7x11"],
    ["-f", "/manifest,/header,/info,/index:GZIP=9"],
]
"""Options; {} stands for the names of arrays (the tool fails on filters for empty ones)."""


@pytest.mark.skipif(H5REPACK is None, reason="h5repack is not installed")
@pytest.mark.parametrize("options", REPACKED, ids=" ".join)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_files_that_h5repack_wrote_are_read_by_name(
    tmp_path: Path, options: list[str], compression: str | None
) -> None:
    tree = {name: np.ones((50, 60), row.numpy) for name, row in BY_NAME.items()}
    tree |= {"empty": np.zeros((3, 0)), "none": np.zeros(()), "big": BIG}
    st.save(tmp_path / "a.h5", tree, compression=compression, durable=False)
    names = ",".join(f"/arrays/{i:02}-{name}" for i, name in enumerate(BY_NAME))
    command = [H5REPACK, *(option.format(names) for option in options), tmp_path / "a.h5", tmp_path / "b.h5"]

    subprocess.run([str(part) for part in command], check=True)

    assert BACKEND.recognises(tmp_path / "b.h5", (tmp_path / "b.h5").read_bytes()[:8192])
    assert same(tmp_path / "b.h5", tree)


@pytest.mark.skipif(H5COPY is None, reason="h5copy is not installed")
def test_files_that_h5copy_wrote_are_read_by_name(saved: Path, tmp_path: Path) -> None:
    assert H5COPY is not None
    for name in ("/arrays", "/manifest", "/blocks", "/header", "/info", "/index"):
        subprocess.run([H5COPY, "-i", saved, "-o", tmp_path / "b.h5", "-s", name, "-d", name], check=True)

    assert same(tmp_path / "b.h5", {"a": A, "b": B, "n": 3})


@pytest.mark.parametrize("libver", ["earliest", "v110", "latest"])
def test_files_that_h5py_copied_are_read_by_name(saved: Path, tmp_path: Path, libver: str) -> None:
    with h5py.File(saved) as source, h5py.File(tmp_path / "b.h5", "w", libver=libver) as target:
        for name in source:
            source.copy(name, target)

    assert same(tmp_path / "b.h5", {"a": A, "b": B, "n": 3})


def test_texts_that_moved_are_found_by_name(saved: Path) -> None:
    data = saved.read_bytes()
    with h5py.File(saved, "r+") as file:
        for name in ("manifest", "info", "index", "blocks"):
            value, place = file[name][()], file[name].id.get_offset()
            del file[name]
            file[f"fill-{name}"] = np.zeros(len(value), np.uint8)
            file[name] = value
            assert not len(value) or file[name].id.get_offset() != place
            del file[f"fill-{name}"]
    assert data != saved.read_bytes()

    assert same(saved, {"a": A, "b": B, "n": 3})


def test_a_file_that_was_replaced_while_open_gives_its_own_values(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    st.save(path, {"w": BIG}, compression="gzip", durable=False)

    with st.open(path) as file:
        st.save(path, {"w": BIG * 2}, compression="gzip", durable=False)

        assert file["w"][300:310].tobytes() == BIG[300:310].tobytes()
    assert st.difference(st.load(path)["w"], BIG * 2) is None


def test_threads_may_read_chunks_at_once(tmp_path: Path) -> None:
    st.save(tmp_path / "a.h5", {"w": BIG, "v": -BIG}, compression="gzip", durable=False)
    wrong: list[int] = []

    with st.open(tmp_path / "a.h5") as file:

        def read(first: int) -> None:
            for row in range(first, 600, 97):
                if file["w"][row].tobytes() != BIG[row].tobytes() or file["v"][row].tobytes() != (-BIG[row]).tobytes():
                    wrong.append(row)

        threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert wrong == []


def test_a_file_that_nobody_ever_closes_does_not_disturb_the_end_of_python(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    st.save(path, {"w": np.arange(2000.0)}, compression="gzip", durable=False)
    leak = "import ctypes; ctypes.pythonapi.Py_IncRef(ctypes.py_object(f))"
    code = f"import statetree as st; f = st.open({str(path)!r}); f['w'][:]; {leak}"

    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_a_file_that_h5py_is_changing_is_locked(saved: Path) -> None:
    with h5py.File(saved, "r+") as file:
        file["arrays/more"] = np.zeros(100_000)
        file.flush()
        saved_end = saved.stat().st_size
        with saved.open("r+b") as raw:
            raw.truncate(saved_end + 512)

        with pytest.raises(st.StoreIOError) as caught:
            st.load(saved)

    assert str(caught.value) == (
        "expected a file that nobody writes, got one open for writing (in superblock): close the other program"
    )
    assert caught.value.code == "CONTAINER_LOCKED"


def test_a_file_in_single_writer_mode_is_locked(saved: Path, tmp_path: Path) -> None:
    with h5py.File(saved) as source, h5py.File(tmp_path / "b.h5", "w", libver="latest") as target:
        for name in source:
            source.copy(name, target)
        target.swmr_mode = True
        shutil.copy(tmp_path / "b.h5", tmp_path / "c.h5")

    with pytest.raises(st.StoreIOError) as caught:
        st.load(tmp_path / "c.h5")
    assert str(caught.value) == (
        "expected a file that nobody writes, got one open for writing (in superblock): close the other program; "
        "if there is none, h5clear -s removes the mark that a crash left"
    )


def change(path: Path, edit: Callable[[Any], None]) -> None:
    """Let h5py edit a file, then spoil the data at the place where array 0 was."""
    with h5py.File(path, "r+") as file:
        edit(file)
    data = bytearray(path.read_bytes())
    data[8192:12192] = bytes(4000)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "again",
    [
        {"chunks": (100,)},
        {"chunks": (300,), "compression": "gzip"},
        {"chunks": (300,), "compression": "gzip", "shuffle": True},
        {"chunks": (7,), "maxshape": (None,)},
        {"chunks": (300,), "maxshape": (2000,), "compression": "gzip"},
        {},
    ],
    ids=str,
)
def test_an_array_that_h5py_stored_anew_is_read(saved: Path, again: dict[str, Any]) -> None:
    def store_anew(file: Any) -> None:
        file["arrays/fill"] = np.zeros(1000, np.float32)
        del file["arrays/0-a"]
        file["arrays"].create_dataset("fill2", data=np.zeros(1000, np.float32))
        file["arrays"].create_dataset("0-a", data=A, **again)

    change(saved, store_anew)

    assert same(saved, {"a": A, "b": B, "n": 3})


def copied(path: Path, change: Callable[[Any], None] = lambda file: None, **options: Any) -> Path:
    """Return a copy of a file whose objects h5py wrote anew, elsewhere, and `change` changed."""
    with h5py.File(path) as source, h5py.File(path.with_name("copy.h5"), "w", **options) as file:
        for name in source:
            source.copy(name, file)
        change(file)
    return path.with_name("copy.h5")


def headed(size: int) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        data = file["header"][:size]
        del file["header"]
        file["header"] = data

    return change


@pytest.mark.parametrize("size", [512, 4096])
def test_a_header_found_by_its_name_has_512_to_4096_bytes(saved: Path, size: int) -> None:
    assert same(copied(saved, headed(size)), {"a": A, "b": B, "n": 3})


@pytest.mark.parametrize("size", [16, 511])
def test_a_header_of_fewer_bytes_than_its_block_is_refused(saved: Path, size: int) -> None:
    with pytest.raises(st.InvalidError) as caught:
        st.load(copied(saved, headed(size)))

    assert (caught.value.code, str(caught.value)) == (
        "H5_MANIFEST_FORM",
        f"expected a header block of 512 bytes, got {size} bytes (in /header): "
        "the file is damaged: restore it from a copy",
    )


def test_a_file_that_must_be_opened_to_be_recognised_and_cannot_be_is_foreign(saved: Path) -> None:
    path = copied(saved, libver="latest")
    raw = bytearray(path.read_bytes())
    raw[11] |= 1
    path.write_bytes(raw)

    with pytest.raises(st.UnsupportedError) as caught:
        st.load(path)

    assert (raw[8], caught.value.code) == (3, "NOT_STATETREE")


def test_attributes_that_no_rule_names_mean_nothing(saved: Path) -> None:
    def change(file: Any) -> None:
        file["arrays/0-a"].attrs["dtype"] = np.bytes_("int4")
        file["arrays/1-b"].attrs["unit"] = "m"

    assert same(copied(saved, change), {"a": A, "b": B, "n": 3})


def test_who_asks_for_values_without_digests_gets_what_the_index_says(saved: Path) -> None:
    raw = bytearray(saved.read_bytes())
    at = int.from_bytes(raw[4096 + 168 : 4096 + 176], "little")
    raw[at : at + 32] = raw[at + 16 : at + 32] + raw[at : at + 16]
    place = 4096 + 168 + 16
    raw[place : place + 16] = bytes.fromhex(digest("xxh3-128", raw[at : at + 32]))
    raw[4096:4608] = signed(raw[4096:4608])
    saved.write_bytes(raw)

    assert same(saved, {"a": A, "b": B, "n": 3})
    assert st.difference(st.load(saved, verify=False), {"a": B, "b": A, "n": 3}) is None


@pytest.mark.parametrize(("shape", "chunks"), [((7, 6), (1, 2)), ((5, 4, 3), (2, 1, 2)), ((12_000,), (1,))])
def test_arrays_whose_axes_may_grow_are_read_whichever_these_are(
    tmp_path: Path, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> None:
    path = tmp_path / "a.h5"
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    st.save(path, {"a": array, "n": 3}, durable=False)
    ways = product(*((extent, extent + 3, None) for extent in shape))

    for number, most in enumerate(ways):
        new = tmp_path / f"{number}.h5"
        with h5py.File(path) as old, h5py.File(new, "w", libver="latest") as file:
            for name in old:
                old.copy(name, file)
            del file["arrays/0-a"]
            file.create_dataset("arrays/0-a", data=array, chunks=chunks, maxshape=most)

        assert same(new, {"a": array, "n": 3}), most
        assert st.validate(new).problems == (), most
