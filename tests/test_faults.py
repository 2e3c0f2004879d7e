"""Saves that fail half-way: the old tree or the new one, never half of one, and nothing left that matters."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree as st
from statetree import files
from statetree_conformance.faults import FaultyOs

SUFFIXES = (".h5", ".zarr", ".zarr.zip", ".bson")
OLD = {"w": np.arange(3.0), "epoch": 1}
NEW = {
    "w": np.arange(300_000.0),
    "v": np.ones((2, 2), np.float32),
    "many": [np.full(3, i) for i in range(5)],
    "epoch": 2,
}
each_container = pytest.mark.parametrize("suffix", SUFFIXES)


def faults() -> list[Callable[[], BaseException]]:
    return [
        lambda: PermissionError(errno.EACCES, "Permission denied"),
        lambda: OSError(errno.ENOSPC, "No space left on device"),
        lambda: OSError(errno.EIO, "Input/output error"),
        KeyboardInterrupt,
    ]


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def steps_of_a_save(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    proxy = FaultyOs(0, None)
    monkeypatch.setattr(files, "os", proxy)
    st.save(path, NEW)
    monkeypatch.setattr(files, "os", os)
    return len(proxy.calls)


@each_container
@pytest.mark.parametrize("make", faults(), ids=["EACCES", "ENOSPC", "EIO", "interrupt"])
def test_a_save_that_fails_at_any_step_leaves_the_old_tree_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, make: Callable[[], BaseException]
) -> None:
    path = tmp_path / f"t{suffix}"
    st.save(path, OLD)
    count = steps_of_a_save(tmp_path / f"count{suffix}", monkeypatch) + 6
    kept, replaced = 0, 0
    for step in range(1, count):
        st.save(path, OLD)
        before = names(tmp_path)
        monkeypatch.setattr(files, "os", FaultyOs(step, make()))
        try:
            st.save(path, NEW)
        except (st.StoreIOError, KeyboardInterrupt):
            pass
        finally:
            monkeypatch.setattr(files, "os", os)

        found = st.load(path)
        if st.difference(found, OLD) is None:
            kept += 1
            assert [n for n in names(tmp_path) if "statetree-tmp" in n] == []
            assert suffix == ".zarr" or names(tmp_path) == before
        else:
            assert st.difference(found, NEW) is None
            replaced += 1
    assert kept > 5
    assert replaced > 0


@each_container
def test_a_first_save_that_fails_leaves_nothing_and_the_next_one_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    path = tmp_path / f"t{suffix}"
    for step in range(1, 12):
        monkeypatch.setattr(files, "os", FaultyOs(step, OSError(errno.ENOSPC, "No space left on device")))
        with contextlib.suppress(st.StoreIOError):
            st.save(path, NEW)
        monkeypatch.setattr(files, "os", os)

        # The only steps that may fail behind the commit are those that make it durable.
        assert names(tmp_path) == [] or st.difference(st.load(path), NEW) is None, step
        st.save(path, NEW)
        assert st.difference(st.load(path), NEW) is None
        files.remove_folder(path) if path.is_dir() else path.unlink()


@each_container
def test_a_full_disk_is_said_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    proxy = FaultyOs(0, None)

    def full(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(proxy, "pwritev", full, raising=False)
    monkeypatch.setattr(files, "os", proxy)
    with pytest.raises(st.StoreIOError) as refused:
        st.save(path, NEW)

    what = "folder" if suffix == ".zarr" else "file"
    assert str(refused.value) == (
        f"expected to save a {what}, got no space left on device (in {path}): "
        "check space and permissions; what was there before is unchanged"
    )
    assert isinstance(refused.value, OSError)
    assert refused.value.__cause__ is not None


@each_container
def test_short_writes_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    monkeypatch.setattr(files, "os", FaultyOs(0, None, short=True))

    st.save(tmp_path / f"t{suffix}", NEW)

    monkeypatch.setattr(files, "os", os)
    assert st.difference(st.load(tmp_path / f"t{suffix}"), NEW) is None


CHILD = """
import sys, numpy as np, statetree as st
tree = {"w": np.ones(2_000_000), "many": [np.full(30, i) for i in range(2000)]}
print("ready", flush=True)
while True:
    st.save(sys.argv[1], tree)
"""


@each_container
def test_a_killed_save_leaves_a_tree_that_loads_and_the_next_save_cleans_up(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    st.save(path, OLD)
    for delay in (0.01, 0.05, 0.13):
        with subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)

        assert "w" in st.load(path)
        st.save(path, OLD)
        assert st.difference(st.load(path), OLD) is None
        assert [n for n in names(tmp_path) if "statetree-tmp" in n] == []
        if suffix == ".zarr":
            assert len(list(path.iterdir())) == 2


@each_container
def test_a_reader_is_not_disturbed_by_a_later_save(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    st.save(path, NEW)

    mapped = st.load(path, mmap=True)
    with st.open(path) as file:
        st.save(path, OLD)
        st.save(path, OLD)
        lazy = file["w"][...]

    assert st.difference(mapped, NEW) is None
    assert st.difference(lazy, NEW["w"]) is None
    assert st.difference(st.load(path), OLD) is None
