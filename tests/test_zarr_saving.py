"""Saving into a Zarr folder: generations, the commit, locks, faults, and what is never touched."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree
from statetree import StateTreeError, files
from statetree.limits import Limits
from statetree.store import ArraySpec, WriteOptions
from statetree_backends.zarr import BACKEND

OLD = {"w": np.arange(6.0).reshape(2, 3), "n": 1}
NEW = {"w": np.arange(8.0), "v": np.ones((2, 0)), "n": 2}


def committed(store: Path) -> str:
    name: str = json.loads((store / "zarr.json").read_bytes())["attributes"]["statetree"]["generation"]
    return name


def listing(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    statetree.save(tmp_path / "x.zarr", OLD, durable=False)
    return tmp_path / "x.zarr"


@pytest.mark.parametrize("durable", [False, True])
def test_a_save_replaces_the_generation_before(store: Path, durable: bool) -> None:
    before = committed(store)

    statetree.save(store, NEW, durable=durable)

    assert statetree.difference(statetree.load(store), NEW) is None
    assert committed(store) != before
    assert listing(store) == sorted([committed(store), "zarr.json"])


def test_an_open_store_is_read_on_after_it_was_replaced_and_goes_with_the_next_save(store: Path) -> None:
    before = committed(store)
    with statetree.open(store) as file:
        statetree.save(store, NEW, durable=False)
        statetree.save(store, NEW, durable=False)

        assert statetree.difference(np.asarray(file["w"]), OLD["w"]) is None
        assert listing(store) == sorted([before, committed(store), "zarr.json"])

    statetree.save(store, NEW, durable=False)
    assert listing(store) == sorted([committed(store), "zarr.json"])


def test_a_generation_that_is_being_written_is_left_alone(store: Path) -> None:
    other = BACKEND.writer(store, WriteOptions(durable=False))
    other.create([])
    statetree.save(store, NEW, durable=False)
    assert len(listing(store)) == 3

    other.abort()

    assert listing(store) == sorted([committed(store), "zarr.json"])
    assert statetree.difference(statetree.load(store), NEW) is None


def test_an_aborted_save_leaves_nothing(store: Path, tmp_path: Path) -> None:
    before = committed(store)
    for path in (store, tmp_path / "new.zarr"):
        writer = BACKEND.writer(path, WriteOptions(durable=False))
        writer.create([ArraySpec.of("0-w", "uint8", (3,))])
        writer.write(0, 0, b"abc")

        writer.abort()
        writer.abort()

    assert listing(store) == sorted([before, "zarr.json"])
    assert listing(tmp_path) == ["x.zarr"]


KILLED = """
import os, sys
from pathlib import Path
from statetree.store import ArraySpec, WriteOptions
from statetree_backends.zarr import BACKEND

writer = BACKEND.writer(Path(sys.argv[1]), WriteOptions(durable=False))
writer.create([ArraySpec.of("0-w", "uint8", (3,))])
writer.write(0, 0, b"abc")
os._exit(1)
"""


def run_killed(path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)


def test_a_new_store_whose_writer_was_killed_is_uncommitted_and_can_be_saved_again(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    run_killed(path)

    with pytest.raises(statetree.IntegrityError) as caught:
        statetree.load(path)

    assert caught.value.code == "UNCOMMITTED"
    assert str(caught.value) == (
        f"expected a finished save, got one that never ended (in {path}): saving here again is safe"
    )
    statetree.save(path, NEW, durable=False)
    assert statetree.difference(statetree.load(path), NEW) is None
    assert listing(path) == sorted([committed(path), "zarr.json"])


def test_what_a_killed_writer_left_beside_a_store_is_ignored_and_removed_by_the_next_save(store: Path) -> None:
    run_killed(store)
    assert len(listing(store)) == 3
    assert statetree.difference(statetree.load(store), OLD) is None

    statetree.save(store, NEW, durable=False)

    assert listing(store) == sorted([committed(store), "zarr.json"])


def test_a_commit_file_that_a_killed_writer_left_is_removed(store: Path) -> None:
    (store / ".zarr.json.0123456789abcdef.statetree-tmp").write_bytes(b"{")

    statetree.save(store, NEW, durable=False)

    assert listing(store) == sorted([committed(store), "zarr.json"])


def foreign_group(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"mine": 1}}')


def cache_of_hashes(path: Path) -> None:
    (path / "0123456789abcdef").mkdir(parents=True)
    (path / "0123456789abcdef" / "thesis.tex").write_text("mine")


def hashes_with_a_known_name(path: Path) -> None:
    (path / "0123456789abcdef" / "info").mkdir(parents=True)


def notes_in_a_store(path: Path) -> None:
    statetree.save(path, OLD, durable=False)
    (path / "notes.txt").write_text("mine")


def file_named_like_a_generation(path: Path) -> None:
    path.mkdir()
    (path / "0123456789abcdef").write_text("mine")


def link_as_root(path: Path) -> None:
    statetree.save(path, OLD, durable=False)
    (path / "zarr.json").rename(path.parent / "root.json")
    (path / "zarr.json").symlink_to(path.parent / "root.json")


def link_as_generation(path: Path) -> None:
    path.mkdir()
    (path / "0123456789abcdef").symlink_to(path.parent)


FOREIGN = {
    kind.__name__: kind
    for kind in (
        foreign_group,
        cache_of_hashes,
        hashes_with_a_known_name,
        notes_in_a_store,
        file_named_like_a_generation,
        link_as_root,
        link_as_generation,
    )
}


def files_below(path: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_of_others_is_never_saved_into(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    FOREIGN[kind](path)
    before = files_below(tmp_path)

    with pytest.raises(statetree.UsageError) as caught:
        statetree.save(path, NEW, durable=False)

    assert caught.value.code == "USAGE"
    assert str(caught.value).startswith("expected an empty folder, or a state tree, got a folder that holds '")
    assert files_below(tmp_path) == before


def test_a_folder_that_is_not_ours_appearing_later_is_not_removed(store: Path) -> None:
    writer = BACKEND.writer(store, WriteOptions(durable=False))
    writer.create([])
    cache_of_hashes(store)

    writer.commit(b"{}", b"{}", {})

    assert (store / "0123456789abcdef" / "thesis.tex").read_text() == "mine"


def test_an_empty_folder_and_a_link_to_a_folder_are_saved_into(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "y.zarr").symlink_to(tmp_path / "x.zarr")

    statetree.save(tmp_path / "y.zarr", NEW, durable=False)

    assert (tmp_path / "y.zarr").is_symlink()
    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), NEW) is None


def test_a_folder_whose_parent_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        statetree.save(tmp_path / "no" / "x.zarr", NEW)

    assert listing(tmp_path) == []


class Faulty:
    """`os`, one call of which fails."""

    def __init__(self, at: int, error: BaseException | None, *, late: bool = False) -> None:
        self.at, self.error, self.late, self.calls = at, error, late, 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(os, name)
        if not callable(found) or isinstance(found, type) or name in ("fspath", "path"):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            # A close that fails has closed all the same.
            if self.calls == self.at and not self.late and name != "close":
                raise self.error or AssertionError
            out = found(*args, **options)
            if self.calls == self.at:
                # As Ctrl-C does: the call was made, and its result never arrived.
                if name == "open":
                    os.close(out)
                raise self.error or AssertionError
            return out

        return call


FAULTS = {
    "no space": (OSError(errno.ENOSPC, "No space left on device"), False),
    "no permission": (PermissionError(errno.EACCES, "Permission denied"), False),
    "broken disk": (OSError(errno.EIO, "Input/output error"), False),
    "Ctrl-C before": (KeyboardInterrupt(), False),
    "Ctrl-C after": (KeyboardInterrupt(), True),
}


def steps(path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    counter = Faulty(-1, None)
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", counter)
        statetree.save(path, NEW, durable=True)
    return counter.calls


@pytest.mark.parametrize("fault", FAULTS)
def test_a_save_over_a_store_that_fails_at_any_step_leaves_the_old_or_the_new_tree(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.zarr"
    statetree.save(path, OLD, durable=False)
    error, late = FAULTS[fault]
    outcomes: set[str] = set()
    for at in range(1, steps(path, monkeypatch) + 1):
        statetree.save(path, OLD, durable=False)
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", Faulty(at, error, late=late))
            try:
                statetree.save(path, NEW, durable=True)
                failed = False
            except (StateTreeError, KeyboardInterrupt):
                failed = True

        loaded = statetree.load(path)

        is_old, is_new = (statetree.difference(loaded, tree) is None for tree in (OLD, NEW))
        assert is_old or is_new, at
        assert failed or is_new, at
        outcomes.add(f"{failed} {is_new}")
    assert {"True False"} < outcomes
    statetree.save(path, NEW, durable=False)
    assert listing(path) == sorted([committed(path), "zarr.json"])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_first_save_that_fails_at_any_step_leaves_nothing_that_matters(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, late = FAULTS[fault]
    left = 0
    for at in range(1, steps(tmp_path / "count.zarr", monkeypatch) + 1):
        path = tmp_path / f"{at}.zarr"
        with monkeypatch.context() as patch:
            patch.setattr(files, "os", Faulty(at, error, late=late))
            try:
                statetree.save(path, NEW, durable=True)
            except (StateTreeError, KeyboardInterrupt):
                left += path.exists()

        if (path / "zarr.json").exists():
            assert statetree.difference(statetree.load(path), NEW) is None
        elif path.exists():
            with pytest.raises(StateTreeError, match=r"expected a finished save|got an empty folder"):
                statetree.load(path)

        statetree.save(path, NEW, durable=False)
        assert statetree.difference(statetree.load(path), NEW) is None
        assert listing(path) == sorted([committed(path), "zarr.json"])
    assert left <= 16


def test_a_failure_says_what_failed_and_that_nothing_changed(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files, "os", Faulty(20, OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(statetree.StoreIOError) as caught:
            statetree.save(store, NEW)

    assert str(caught.value) == (
        f"expected to save a folder, got no space left on device (in {store}): "
        "check space and permissions; what was there before is unchanged"
    )


def test_a_save_without_durability_waits_for_no_disk_and_a_durable_one_for_every_file(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    monkeypatch.setattr(files, "os", Faulty(-1, None))
    monkeypatch.setattr(os, "fsync", fsync)

    statetree.save(store, NEW, durable=False)
    assert synced == []

    statetree.save(store, NEW, durable=True)
    every = {str(path) for path in (store / committed(store)).rglob("*")} | {str(store / committed(store)), str(store)}
    assert every <= set(synced)
    commit = next(i for i, name in enumerate(synced) if name.endswith(".statetree-tmp"))
    assert every <= set(synced[:commit])
    assert synced[commit + 1 :] == [str(store)]


def test_a_reader_that_meets_a_save_opens_the_old_or_the_new_tree(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation goes between the root being read and its folder being locked."""
    locked = files.lock_folder

    def lock(path: Path, *, exclusive: bool) -> int | None:
        monkeypatch.setattr(files, "lock_folder", locked)
        statetree.save(store, NEW, durable=False)
        return locked(path, exclusive=exclusive)

    monkeypatch.setattr(files, "lock_folder", lock)

    assert statetree.difference(statetree.load(store), NEW) is None


def test_a_reader_that_locks_a_generation_too_late_takes_the_next(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation is replaced between its folder being opened and locked, so that the lock holds nothing."""
    locked = files.lock_folder

    def lock(path: Path, *, exclusive: bool) -> int | None:
        monkeypatch.setattr(files, "lock_folder", locked)
        fd = locked(path, exclusive=exclusive)
        (store / "zarr.json").rename(store.parent / "root.json")
        other = store.parent / "other.zarr"
        statetree.save(other, NEW, durable=False)
        shutil.rmtree(path)
        for name in listing(other):
            (other / name).rename(store / name)
        return fd

    monkeypatch.setattr(files, "lock_folder", lock)

    assert statetree.difference(statetree.load(store), NEW) is None


def test_a_store_that_stays_locked_is_an_error_and_no_endless_wait(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statetree_backends._zarr_folder._PAUSE", 0.0)
    fd = files.lock_folder(store / committed(store), exclusive=True)
    assert fd is not None

    with pytest.raises(statetree.StoreIOError) as caught:
        statetree.load(store)

    files.close(fd)
    assert str(caught.value) == (
        f"expected a folder that is not being replaced, got one that is (in {store}): try again"
    )


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_saves_and_loads_at_the_same_time_never_lose_or_mix_trees(store: Path, stop: threading.Event) -> None:
    wrong: list[object] = []
    trees = [{"n": k, "w": np.full(2000, k, np.float64)} for k in range(4)]
    statetree.save(store, trees[0], durable=False)

    def save(k: int) -> None:
        try:
            for _ in range(25):
                statetree.save(store, trees[k], durable=False)
        except BaseException as error:
            wrong.append(error)

    def load() -> None:
        try:
            while not stop.is_set():
                tree = statetree.load(store)
                if statetree.difference(tree, trees[tree["n"]]) is not None:
                    wrong.append(tree)
        except BaseException as error:
            wrong.append(error)

    writers = [threading.Thread(target=save, args=(k,)) for k in range(1, 4)]
    readers = [threading.Thread(target=load) for _ in range(2)]
    for thread in (*writers, *readers):
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    for thread in readers:
        thread.join()

    assert wrong == []
    statetree.save(store, trees[0], durable=False)
    assert listing(store) == sorted([committed(store), "zarr.json"])


def test_one_open_store_is_read_by_many_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tree = {f"k{i}": rng.random((700, 300)) for i in range(8)} | {f"s{i}": rng.random(20) for i in range(1_001)}
    for compression in (None, "zstd"):
        statetree.save(tmp_path / "x.zarr", tree, compression=compression, durable=False)
        wrong: list[object] = []
        with statetree.open(tmp_path / "x.zarr") as file:

            def read(seed: int, file: Any = file, wrong: list[object] = wrong) -> None:
                for key in np.random.default_rng(seed).permutation(list(tree))[:300]:
                    problem = statetree.difference(np.asarray(file[str(key)]), tree[str(key)])
                    if problem is not None:
                        wrong.append(problem)

            threads = [threading.Thread(target=read, args=(k,)) for k in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        assert wrong == []


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip"])
def test_views_outlive_the_store(name: str, tmp_path: Path) -> None:
    tree = {f"k{i}": np.full(40_000, i, np.float32) for i in range(30)}
    statetree.save(tmp_path / name, tree, durable=False)

    mapped = statetree.load(tmp_path / name, mmap=True)
    statetree.save(tmp_path / name, NEW, durable=False)

    assert statetree.difference(mapped, tree) is None
    assert not any(array.flags.writeable for array in mapped.values())


def test_more_large_arrays_than_descriptors_are_loaded_and_mapped(tmp_path: Path) -> None:
    tree = [np.full(40_000, i, np.float32) for i in range(150)]
    statetree.save(tmp_path / "x.zarr", tree, durable=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100, hard))
    try:
        mapped = statetree.load(tmp_path / "x.zarr", mmap=True)
        loaded = statetree.load(tmp_path / "x.zarr")
        with statetree.open(tmp_path / "x.zarr") as file:
            slices = [lazy[5:7] for lazy in file.tree]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert statetree.difference(mapped, tree) is None
    assert statetree.difference(loaded, tree) is None
    assert statetree.difference(slices, [array[5:7].copy() for array in tree]) is None


def test_small_arrays_that_are_not_packed_take_no_mapping_each(tmp_path: Path) -> None:
    tree = [np.full(20, i, np.float32) for i in range(500)]
    statetree.save(tmp_path / "x.zarr", tree, pack=False, durable=False)
    before = len(Path("/proc/self/maps").read_text().splitlines())

    mapped = statetree.load(tmp_path / "x.zarr", mmap=True)

    assert len(Path("/proc/self/maps").read_text().splitlines()) < before + 100
    assert statetree.difference(mapped, tree) is None


def test_a_reader_knows_the_bytes_on_disk(store: Path) -> None:
    reader = BACKEND.reader(store, Limits())

    assert reader.stored_bytes() == sum(
        path.stat().st_size for path in (store / committed(store)).rglob("*") if path.is_file()
    )
    reader.close()
    reader.close()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: statetree.save(path, OLD, durable=False), True),
        (run_killed, True),
        (foreign_group, False),
        (cache_of_hashes, True),
        (notes_in_a_store, True),
        (lambda path: path.mkdir(), False),
        (lambda path: path.write_bytes(b"PK\3\4"), False),
        (lambda path: path.write_bytes(b""), False),
        (lambda _: None, False),
        (os.mkfifo, False),
    ],
)
def test_stores_are_recognised_by_what_they_hold(make: Any, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    make(path)
    head = path.read_bytes()[:8192] if path.is_file() else b""

    assert BACKEND.recognises(path, head) is expected


def test_a_library_is_asked_for_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statetree_backends._codecs.find_spec", lambda _: None)

    assert [BACKEND.missing_library(c) for c in (None, "gzip", "zstd")] == [None, None, ("zstandard", "zarr")]
