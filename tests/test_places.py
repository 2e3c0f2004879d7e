"""Where a save may go, what it keeps of what was there, and what an open file leaves behind."""

import errno
import gc
import os
import socket
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree
from statetree import MissingFileError, StoreIOError, UsageError, difference

CONTAINERS = ["x.h5", "x.zarr.zip", "x.bson"]


@pytest.fixture(params=["device", "pipe", "socket", "circle"])
def special(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "special.h5"
    match request.param:
        case "device":
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
        case _:
            path.symlink_to(path)
    return path


def test_a_save_never_replaces_what_is_no_file(special: Path) -> None:
    before = os.lstat(special)

    with pytest.raises((UsageError, StoreIOError)):
        statetree.save(special, {"a": 1})

    assert os.lstat(special).st_mode == before.st_mode
    assert os.listdir(special.parent) == [special.name]


def test_a_device_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    os.mkfifo(path)

    with pytest.raises(UsageError) as refused:
        statetree.save(path, {"a": 1})

    assert str(refused.value) == (
        f"expected a file, or a new name, got a device, a pipe or a socket (in {path}): give another path"
    )


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_save_keeps_the_permissions_of_the_file_that_it_replaces(name: str, mode: int, tmp_path: Path) -> None:
    path = tmp_path / name
    statetree.save(path, {"a": 1})
    path.chmod(mode)

    statetree.save(path, {"a": 2})

    assert stat.S_IMODE(path.stat().st_mode) == mode
    assert statetree.load(path) == {"a": 2}


def test_a_new_file_has_the_permissions_that_the_process_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        statetree.save(tmp_path / "x.h5", {"a": 1})
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "x.h5").stat().st_mode) == 0o640


@pytest.mark.parametrize("name", [*CONTAINERS, "x.zarr"])
def test_a_folder_that_is_not_there_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingFileError) as refused:
        statetree.save(tmp_path / "none" / name, {"a": 1})

    assert str(refused.value) == (
        f"expected a folder to save into, got none (in {tmp_path / 'none'}): make the folder first"
    )
    assert refused.value.errno == errno.ENOENT


def test_a_home_folder_of_shells_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(MissingFileError) as refused:
        statetree.save("~/x.h5", {"a": 1})

    assert str(refused.value).endswith("~ stands for the home folder in shells only: pathlib.Path(…).expanduser()")


def test_errors_of_the_system_carry_its_number_and_the_name_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(StoreIOError) as refused:
        statetree.save(tmp_path / ("n" * 300 + ".h5"), {"a": 1})

    assert refused.value.errno == errno.ENAMETOOLONG
    assert refused.value.filename == str(tmp_path / ("n" * 300 + ".h5"))
    assert str(refused.value).endswith("give a shorter name")


@pytest.mark.parametrize("name", [*CONTAINERS, "x.zarr"])
def test_a_file_that_nobody_closed_is_closed_with_its_last_array(name: str, tmp_path: Path) -> None:
    w = np.arange(3.0)
    statetree.save(tmp_path / name, {"w": w})
    held: Any = statetree.open(tmp_path / name)["w"]
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(20):
        assert statetree.open(tmp_path / name)["w"].shape == (3,)
    gc.collect()

    assert len(os.listdir("/proc/self/fd")) <= before
    assert difference(held.read(), w) is None


def test_lazy_arrays_compare_and_convert_as_arrays_do(tmp_path: Path) -> None:
    tree = {"w": np.arange(3.0), "zero": np.array(2.5), "one": np.array([0])}
    statetree.save(tmp_path / "x.h5", tree)

    with statetree.open(tmp_path / "x.h5") as file, statetree.open(tmp_path / "x.h5") as other:
        assert difference(file.tree, tree) is None
        assert difference(file.tree, other.tree) is None
        assert (file["w"] == other["w"]).tolist() == [True] * 3
        assert (float(file["zero"]), int(file["zero"]), bool(file["one"])) == (2.5, 2, False)
        with pytest.raises(ValueError, match="ambiguous"):
            bool(file["w"])


def test_the_digest_of_a_file_is_of_its_own_algorithm(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    digest = statetree.save(path, {"a": 1})

    assert statetree.digest(path) == statetree.digest(path, algorithm="xxh3-128") == digest
    with pytest.raises(UsageError) as refused:
        statetree.digest(path, algorithm="sha-256")
    assert str(refused.value) == (
        f"expected the algorithm of the file, xxh3-128, got 'sha-256' (in {path}): "
        "load the tree and digest that, or save it with this algorithm"
    )
