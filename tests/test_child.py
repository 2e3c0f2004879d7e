"""Processes of their own: whatever a library does there is an answer or an error, in bounded memory and time."""

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

import statetree as st
from statetree import child
from statetree.child import Budget, Child
from statetree.errors import StateTreeError
from statetree_backends._hdf5_stored import Stored

MiB = 1 << 20
MODULE = "odd_child"


def born(*, file: int | None = None, nbytes: int = 64 * MiB, seconds: float = 1) -> Child:
    return Child(MODULE, "the library", file, 0, Budget(nbytes, seconds))


@pytest.fixture
def odd() -> Iterator[Child]:
    process = born()
    yield process
    process.close()


def refusal(process: Child, *request: Any) -> tuple[str, str]:
    with pytest.raises(StateTreeError) as caught:
        process.ask(request, object)
    return caught.value.code, str(caught.value)


def test_an_answer_comes_back(odd: Child) -> None:
    answers = [odd.ask(("echo", value), object) for value in (None, 7, "σ", b"\0", [1, [2]], {"a": 1})]

    assert answers == [None, 7, "σ", b"\0", [1, [2]], {"a": 1}]


def test_what_is_refused_there_is_refused_here(odd: Child) -> None:
    refused = refusal(odd, "refuse", "H5_LINK")

    assert refused == ("H5_LINK", "expected a, got b (in /x): c")
    assert odd.ask(("echo", 1), int) == 1


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGKILL])
def test_a_crash_is_an_error_that_names_the_signal(odd: Child, number: signal.Signals) -> None:
    assert refusal(odd, "signal", int(number)) == (
        "CONTAINER_TRUNCATED",
        f"expected a file that the library can read, got a crash ({number.name}): "
        "the file is damaged: restore it from a copy",
    )


@pytest.mark.parametrize("status", [0, 1, 3])
def test_an_end_without_an_answer_is_an_error(odd: Child, status: int) -> None:
    assert refusal(odd, "end", status) == (
        "CONTAINER_TRUNCATED",
        "expected a file that the library can read, got an answer that is none: "
        "the file is damaged: restore it from a copy",
    )


def test_a_process_that_has_ended_gives_the_same_error_again(odd: Child) -> None:
    first = refusal(odd, "end", 1)

    assert refusal(odd, "echo", 1) == first


@pytest.mark.parametrize("request_", [("spin", None), ("sleep", 100)], ids=["busy", "idle"])
def test_more_time_than_allowed_is_an_error(request_: Any) -> None:
    process = born(seconds=0.25)

    assert refusal(process, *request_) == (
        "LIMIT_TIME",
        "expected the library to need no more than it may, got more than 0.25 seconds: "
        "raise limits=Limits(child_seconds=…) if you trust the file",
    )


@pytest.mark.parametrize("request_", [("take", 256 * MiB), ("take", 1 << 50)], ids=["some", "absurd"])
def test_more_memory_than_allowed_is_an_error_and_the_process_lives_on(odd: Child, request_: Any) -> None:
    assert refusal(odd, *request_) == (
        "LIMIT_BYTES",
        "expected the library to need no more than it may, got more than 64 MiB of memory: "
        "raise limits=Limits(child_bytes=…) if you trust the file",
    )
    assert odd.ask(("echo", 1), int) == 1


def test_an_answer_larger_than_the_memory_allowed_is_not_taken() -> None:
    process = born(nbytes=24 * MiB)

    assert refusal(process, "answer", 25 * MiB)[0] in ("CONTAINER_TRUNCATED", "LIMIT_BYTES")


def test_an_answer_of_another_kind_is_an_error(odd: Child) -> None:
    with pytest.raises(StateTreeError) as caught:
        odd.ask(("echo", "text"), int)

    assert caught.value.code == "CONTAINER_TRUNCATED"


def test_nothing_can_be_written_there(odd: Child, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="File too large"):
        odd.ask(("write", str(tmp_path / "x")), object)

    assert (tmp_path / "x").read_bytes() == b""


def test_a_defect_there_is_a_defect_here(odd: Child) -> None:
    with pytest.raises(RuntimeError, match=r"^the library in a process of its own: KeyError: 'a\\x1b'$"):
        odd.ask(("raise", "a\x1b"), object)


def test_the_file_is_the_one_that_is_open_here(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    fd = os.open(tmp_path / "x", os.O_RDONLY)
    (tmp_path / "x").unlink()

    size = born(file=fd).ask(("size", None), int)

    os.close(fd)
    assert size == 5


def test_one_nursery_serves_many_files_and_nothing_stays_open() -> None:
    born().close()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    nursery = child._NURSERIES[MODULE]

    processes = [born() for _ in range(20)]
    numbers = {process._pid for process in processes}
    for process in processes[:10]:
        process.close()
    del processes, process
    gc.collect()

    assert child._NURSERIES[MODULE] is nursery
    assert len(numbers) == 20
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_nursery_that_has_ended_is_replaced() -> None:
    born().close()
    child._NURSERIES[MODULE]._process.kill()
    child._NURSERIES[MODULE]._process.wait()

    assert born().ask(("echo", 1), int) == 1


def test_a_module_that_cannot_be_imported_is_an_error() -> None:
    with pytest.raises(st.StoreIOError) as caught:
        Child("no_such_module", "the library", None, 0, Budget(MiB, 1))

    assert str(caught.value) == "expected to start a process for a library, got that no_such_module ends at once"


def test_threads_may_ask_at_once(odd: Child) -> None:
    found: list[int] = []

    threads = [threading.Thread(target=lambda i=i: found.append(odd.ask(("echo", i), int))) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(found) == list(range(8))


def test_a_copy_of_the_process_has_a_nursery_of_its_own() -> None:
    born().close()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if born().ask(("echo", 1), int) == 1 else 2
        finally:
            child._end_all()
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert born().ask(("echo", 1), int) == 1


def test_no_process_outlives_the_one_that_asked(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from statetree import child\n"
        "one = child.Child('odd_child', 'x', None, 0, child.Budget(1 << 26, 1))\n"
        "print(child._NURSERIES['odd_child']._process.pid, one._pid)"
    )

    ended = subprocess.run(
        [sys.executable, "-c", code, Path(__file__).parent], capture_output=True, check=True, text=True
    )

    nursery, process = map(int, ended.stdout.split())
    assert ended.stderr == ""
    assert not Path(f"/proc/{nursery}").exists()
    for _ in range(200):
        if not Path(f"/proc/{process}").exists():
            break
        threading.Event().wait(0.01)
    assert not Path(f"/proc/{process}").exists()


# The HDF5 library

A = np.arange(5000.0).reshape(50, 100)
TREE = {"a": A, "b": np.arange(3, dtype=np.int8), "e": np.zeros((0, 2)), "n": 7}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Return a file that h5py wrote anew, so that every part of it is found by its name."""
    st.save(tmp_path / "a.h5", TREE, compression="gzip", durable=False)
    with h5py.File(tmp_path / "a.h5") as source, h5py.File(tmp_path / "b.h5", "w") as target:
        for name in source:
            source.copy(name, target)
    return tmp_path / "b.h5"


def test_an_isolated_load_gives_the_same_tree(copied: Path) -> None:
    trees = [
        st.load(copied, isolate=True),
        st.load(copied, mmap=True, isolate=True),
        st.load(copied.with_name("a.h5"), isolate=True),
    ]
    with st.open(copied, isolate=True) as file:
        part = file["a"][3:5]

    assert [st.difference(tree, TREE) for tree in trees] == [None] * 3
    assert part.tobytes() == A[3:5].tobytes()


def test_an_isolated_load_never_has_the_library_in_this_process(copied: Path) -> None:
    code = f"import sys, statetree as st; st.load({str(copied)!r}, isolate=True); print('h5py' in sys.modules)"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert (ended.stdout, ended.stderr) == ("False\n", "")


@pytest.mark.parametrize("wanted", [100_000, 1])
def test_an_isolated_load_refuses_what_a_load_refuses(copied: Path, wanted: int) -> None:
    with h5py.File(copied, "r+") as file:
        del file["arrays/0-a"]
        if wanted == 1:
            file["arrays/0-a"] = h5py.ExternalLink("x.h5", "/a")

    refused = []
    for isolate in (False, True):
        with pytest.raises(StateTreeError) as caught:
            st.load(copied, isolate=isolate)
        refused.append((caught.value.code, str(caught.value)))

    assert refused[0] == refused[1]
    assert refused[0][0] == ("H5_LINK" if wanted == 1 else "ARRAY_MISSING")


def test_what_crashes_the_library_is_an_error(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statetree_backends._hdf5_isolated._MODULE", "crashing_child")

    with pytest.raises(st.MalformedError) as caught:
        st.load(copied.with_name("a.h5"), isolate=True)

    assert str(caught.value) == (
        "expected a file that the HDF5 library can read, got a crash (SIGSEGV) (in /arrays/0-a): "
        "the file is damaged: restore it from a copy"
    )


@pytest.mark.parametrize(
    "lie",
    [
        {"offset": 1 << 40},
        {"offset": -1},
        {"compact": b"123"},
        {"shape": (50, 101), "offset": 0},
        {"itemsize": 4, "offset": 0},
        {"chunks": {"extent": [0, 1], "filters": [], "table": {}}},
        {"chunks": {"extent": [50], "filters": [], "table": {}}},
        {"chunks": {"extent": [50, 100], "filters": [[3, 1]], "table": {}}},
        {"chunks": {"extent": [50, 100], "filters": [[2, 0]], "table": {}}},
        {"chunks": {"extent": [50, 100], "filters": [], "table": {(0, 0): (-1, 5, 0)}}},
        {},
        {"offset": 0, "compact": bytes(40000)},
    ],
    ids=str,
)
def test_a_library_that_lies_makes_nothing_be_read_that_is_not_there(
    copied: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]
) -> None:
    answer = {"shape": (50, 100), "itemsize": 8, "place": "x", "offset": None, "compact": None, "chunks": None} | lie
    honest = Child.ask

    def ask(self: Child, request: Any, kind: Any, place: str | None = None) -> Any:
        return msgspec.convert(answer, Stored) if request[0] == "array" else honest(self, request, kind, place)

    monkeypatch.setattr(Child, "ask", ask)

    with pytest.raises(st.MalformedError) as caught:
        st.load(copied.with_name("a.h5"), isolate=True)

    assert "got an answer that is none (in /arrays/0-a)" in str(caught.value)
