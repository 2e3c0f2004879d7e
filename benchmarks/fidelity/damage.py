"""Damage: a bit of a stored checkpoint that flips, and a save over an older checkpoint that is killed half-way."""

import contextlib
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE, run
from typing import Any

import jax
import numpy as np
import torch
from torch.distributed.checkpoint import CheckpointException

from benchmarks.fidelity.blank import blank
from benchmarks.fidelity.case import Case
from benchmarks.fidelity.child import quiet
from benchmarks.fidelity.judge import change
from benchmarks.fidelity.subjects import SUBJECTS, Subject, statetree_in

__all__ = ["TRIES", "damage"]

MODULE = "benchmarks.fidelity.damage"
TRIES = 12
OLD, NEW = 1, 2
"""Seeds of the checkpoint that is there, and of the one that is saved over it."""
SMALL, LARGE = 1 << 18, 1 << 22
"""Elements of each of two arrays."""
FORK = multiprocessing.get_context("fork")
DAMAGED: dict[str, dict[str, Subject]] = {
    "statetree": {suffix: statetree_in(suffix) for suffix in (".h5", ".zarr", ".zarr.zip", ".bson")},
    **{name: {"": subject} for name, subject in SUBJECTS.items() if name != "statetree"},
}
"""Name → what is damaged, each in its own files."""
_TENSORS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("torch.save", "dcp"), torch.from_numpy),
    **dict.fromkeys(("orbax", "flax"), jax.numpy.asarray),
}
_FRAMEWORKS = {"torch.save": "torch", "dcp": "torch", "orbax": "jax", "flax": "jax"}


def damage(fact: str, name: str, folder: Path) -> dict[str, int]:
    """Return how often what happened to a subject, measured in a process of its own.

    Args:
        fact: `flip` or `kill`.
        name: the subject.
        folder: an empty folder for its files.
    """
    command = [sys.executable, "-m", MODULE, fact, name, str(folder)]
    done = run(command, stdout=PIPE, stderr=DEVNULL, check=True, encoding="utf-8")
    return dict(json.loads(done.stdout))


def _case(name: str, seed: int, elements: int) -> Case:
    """Return two arrays of random numbers as the subject likes them."""
    random = np.random.default_rng(seed)
    values = {key: random.standard_normal(elements, np.float32) for key in ("w", "b")}
    convert = _TENSORS.get(name, np.asarray)
    return Case("weights", lambda: {key: convert(value) for key, value in values.items()}, _FRAMEWORKS.get(name, ""))


def _loaded(subject: Subject, path: Path, case: Case) -> Any:
    """Return what comes back, or the error."""
    try:
        return subject.load(path, case, blank(case.make()))
    except (Exception, CheckpointException) as error:
        return error


def _same(case: Case, after: Any) -> bool:
    return change(case.make(), after, ordered=False) is None


def _check(after: Any, case: Case) -> None:
    """Make sure that what is undamaged comes back."""
    if isinstance(after, BaseException) or not _same(case, after):
        raise RuntimeError("expected the weights of an undamaged checkpoint") from (
            after if isinstance(after, BaseException) else None
        )


# A flipped bit


def flips(name: str, folder: Path) -> Counter[str]:
    """Flip one bit at a time, evenly over the stored bytes, and load as always."""
    found: Counter[str] = Counter()
    case = _case(name, OLD, SMALL)
    for kind, subject in DAMAGED[name].items():
        inner = folder / f"flip{kind}"
        inner.mkdir()
        subject.save(inner / "x", case, case.make())
        _check(_loaded(subject, inner / "x", case), case)
        files = sorted(file for file in inner.rglob("*") if file.is_file())
        total = sum(file.stat().st_size for file in files)
        for number in range(TRIES):
            file, offset = _place(files, total * (2 * number + 1) // (2 * TRIES))
            _flip(file, offset)
            after = _loaded(subject, inner / "x", case)
            wrong = "the same numbers" if _same(case, after) else "wrong numbers"
            found["noticed" if isinstance(after, BaseException) else wrong] += 1
            _flip(file, offset)
    return found


def _place(files: list[Path], offset: int) -> tuple[Path, int]:
    """Return the file and the offset in it of a byte of all files together."""
    for file in files:
        if offset < file.stat().st_size:
            return file, offset
        offset -= file.stat().st_size
    raise IndexError(offset)


def _flip(file: Path, offset: int) -> None:
    with file.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)[0]
        stream.seek(offset)
        stream.write(bytes([byte ^ 4]))


# A killed save


def kills(name: str, folder: Path) -> Counter[str]:
    """Kill a process while it saves, soon and later after its folder begins to change, and load what is there then.

    All processes that save are forked before this one uses a library, since most of them start threads.
    """
    left: list[tuple[Subject, Path]] = []
    for kind, subject in DAMAGED[name].items():
        kept = folder / f"kept{kind}"
        kept.mkdir()
        _saved(name, kind, kept / "x", OLD)
        for number in range(TRIES):
            inner = folder / f"killed{kind}-{number}"
            shutil.copytree(kept, inner)
            _kill_while_saving(name, kind, inner / "x", 0.5**number)
            left.append((subject, inner / "x"))
    old, new = (_case(name, seed, LARGE) for seed in (OLD, NEW))
    for kind, subject in DAMAGED[name].items():
        _check(_loaded(subject, folder / f"kept{kind}" / "x", old), old)
    return Counter(_what(_loaded(subject, path, old), old, new) for subject, path in left)


def _what(after: Any, old: Case, new: Case) -> str:
    if isinstance(after, BaseException):
        return "lost"
    if _same(old, after):
        return "the old one"
    return "the new one" if _same(new, after) else "wrong numbers"


def _saved(name: str, kind: str, path: Path, seed: int) -> None:
    process = FORK.Process(target=_save, args=(name, kind, path, seed))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{name} {kind} did not save")


def _save(name: str, kind: str, path: Path, seed: int) -> None:
    case = _case(name, seed, LARGE)
    DAMAGED[name][kind].save(path, case, case.make())


def _kill_while_saving(name: str, kind: str, path: Path, fraction: float) -> None:
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=_save_when_told, args=(theirs, name, kind, path))
    process.start()
    theirs.close()
    seconds = ours.recv()
    before = _seen(path.parent)
    ours.send("go")
    while process.is_alive() and _seen(path.parent) == before:
        pass
    time.sleep(seconds * fraction)
    process.kill()
    process.join()


def _seen(folder: Path) -> list[tuple[str, int, int, int]]:
    """Return what can be seen of the files in a folder without opening them."""
    found = []
    for inner, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(f"{inner}/{name}")
                found.append((f"{inner}/{name}", status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def _save_when_told(pipe: Any, name: str, kind: str, path: Path) -> None:
    """Tell how long a save takes, then wait to be told and save over what is there."""
    subject, case = DAMAGED[name][kind], _case(name, NEW, LARGE)
    value, scratch = case.make(), path.parent / "scratch"
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        subject.save(scratch, case, value)
        seconds.append(time.perf_counter() - begin)
    pipe.send(min(seconds))
    pipe.recv()
    subject.save(path, case, value)


FACTS = {"flip": flips, "kill": kills}

if __name__ == "__main__":
    _out = quiet()
    print(json.dumps(FACTS[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))), file=_out, flush=True)
