"""Measuring: time on settled memory, and the peak of memory in a process of its own."""

import ctypes
import gc
import json
import mmap
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.subjects import CONTAINERS, RIVAL, Subject, remove
from benchmarks.workloads import WORKLOADS, tree_bytes

__all__ = ["fix_allocator", "peak_above_tree", "rounds", "settle"]

Times = dict[tuple[str, str], list[tuple[float, float]]]
"""(operation, subject) → (seconds, seconds of CPU) of each round."""
M_MMAP_THRESHOLD = -3
QUICK = 0.15 / 2**30
"""Seconds a byte below which touching memory counts as quick."""
TRIES = 6


def _libc() -> ctypes.CDLL | None:
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None


def fix_allocator() -> None:
    """Stop the C library from raising the size above which freed memory goes back to the system."""
    if libc := _libc():
        libc.mallopt(M_MMAP_THRESHOLD, 128 << 10)


def settle(nbytes: int) -> None:
    """Collect garbage, return free memory, then touch and free `nbytes` until that is quick.

    In a virtual machine the first use of a page that the host has taken back costs ten times the usual, and which
    subject pays for it is chance.
    """
    gc.collect()
    if libc := _libc():
        libc.malloc_trim(0)
    for _ in range(TRIES):
        begin = time.perf_counter()
        with mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
            memory.madvise(mmap.MADV_HUGEPAGE)
            np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1
        if time.perf_counter() - begin < QUICK * nbytes:
            break


def _timed(work: Callable[[], Any], nbytes: int) -> tuple[float, float]:
    settle(nbytes)
    cpu, wall = time.process_time(), time.perf_counter()
    result = work()
    times = time.perf_counter() - wall, time.process_time() - cpu
    del result
    return times


def rounds(tree: Any, pairs: int, folder: Path) -> Times:
    """Time every operation of every subject once a round, the order turning by one each round.

    Files are in the page cache, saves make a new file, and removing it is not timed.
    """
    subjects = (RIVAL, *CONTAINERS)
    inputs = {subject.name: subject.prepare(tree) for subject in subjects}
    nbytes = tree_bytes(tree) * 5 // 4 + (64 << 20)
    times: Times = {}

    def record(operation: str, subject: Subject, work: Callable[[], Any]) -> None:
        times.setdefault((operation, subject.name), []).append(_timed(work, nbytes))

    for turn in range(pairs):
        at = turn % len(subjects)
        for subject in subjects[at:] + subjects[:at]:
            path = folder / f"new{subject.suffix}"
            record("save", subject, lambda s=subject, p=path: s.save(p, inputs[s.name]))  # type: ignore[misc]
            if turn == 0:
                path.rename(folder / f"kept{subject.suffix}")
            remove(path)
    for turn in range(pairs):
        at = turn % len(subjects)
        for subject in subjects[at:] + subjects[:at]:
            path = folder / f"kept{subject.suffix}"
            record("load", subject, lambda s=subject, p=path: s.load(p))  # type: ignore[misc]
            record("lazy", subject, lambda s=subject, p=path: s.lazy(p))  # type: ignore[misc]
    return times


def peak_above_tree(operation: str, workload: str, subject: Subject, folder: Path, *, quick: bool) -> int | None:
    """Return by how many bytes the resident set at its peak exceeds interpreter and tree, None if unknown here."""
    command = [sys.executable, "-m", "benchmarks.measure", operation, workload, subject.name, str(folder), str(quick)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout
    return None if (peak := json.loads(found)) is None else int(peak)


def _resident(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def _measure_peak(operation: str, workload: str, name: str, folder: Path, *, quick: bool) -> int | None:
    subject = next(one for one in (RIVAL, *CONTAINERS) if one.name == name)
    path = folder / f"peak{subject.suffix}"
    subject.save(path, subject.prepare({"first": {"use": np.ones(3, np.float32)}}))
    subject.load(path)
    tree = subject.prepare(WORKLOADS[workload](quick=quick))
    size = tree_bytes(tree)
    work: Callable[[], Any] = lambda: subject.save(path, tree)  # noqa: E731
    if operation == "load":
        work()
        del tree
        work = lambda: subject.load(path)  # noqa: E731
    fix_allocator()
    settle(mmap.PAGESIZE)
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    reset.write_text("5")  # makes the peak start from the present size: proc_pid_clear_refs(5)
    before = _resident("VmRSS")
    result = work()
    peak = _resident("VmHWM") - before - (size if operation == "load" else 0)
    del result
    remove(path)
    return peak


if __name__ == "__main__":
    _operation, _workload, _name, _folder, _quick = sys.argv[1:]
    print(json.dumps(_measure_peak(_operation, _workload, _name, Path(_folder), quick=_quick == "True")))
