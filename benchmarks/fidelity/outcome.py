"""Outcomes: what became of a case with a subject, found by saving and loading it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch.distributed.checkpoint import CheckpointException

from benchmarks.fidelity.blank import blank
from benchmarks.fidelity.case import Case
from benchmarks.fidelity.judge import change
from benchmarks.fidelity.subjects import Subject

__all__ = ["Mark", "Outcome", "outcome"]

Mark = Literal["same", "changed", "unsaved", "unloaded"]
LONGEST = 90


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case."""

    mark: Mark
    """Came back the same, came back changed without a word, refused when saving, or only when loading."""
    how: str = ""
    """How it was changed, or the error, in a few words."""
    stored: int = 0
    """Bytes that were stored."""
    path: str | None = None
    """Path of the leaf that the error carries, if it does."""


def outcome(subject: Subject, case: Case, folder: Path) -> Outcome:
    """Save and load a case in an empty folder, and judge what came back."""
    value = case.make()
    try:
        subject.save(folder / "x", case, value)
    except (Exception, CheckpointException) as error:
        return _refused("unsaved", error, folder)
    stored = max(map(_size, folder.iterdir()))
    fresh = case.fresh() if case.fresh else blank(value)
    try:
        after = subject.load(folder / "x", case, fresh)
    except (Exception, CheckpointException) as error:
        return _refused("unloaded", error, folder)
    how = change(case.view(value), case.view(after), ordered=case.ordered)
    return Outcome("changed" if how else "same", how or "", stored)


def _refused(mark: Mark, error: BaseException, folder: Path) -> Outcome:
    path = getattr(error, "path", None)
    stored = sum(map(_size, folder.iterdir()))
    return Outcome(mark, _words(error, folder), stored, None if path is None else str(path))


def _words(error: BaseException, folder: Path) -> str:
    """Return the class of an error and the line of its text that says most, without paths and addresses."""
    inner: BaseException = error
    if isinstance(error, CheckpointException):
        inner = next(iter(error.failures.values()))[0]
    lines = str(inner).strip().splitlines() or [""]
    line = next((line for line in lines if "WeightsUnpickler error:" in line), lines[0])
    text = line.rpartition("WeightsUnpickler error:")[2].strip()
    text = re.sub(r"0x[0-9a-f]{6,}", "0x…", text.replace(str(folder), ""))
    return f"{type(inner).__name__}: {text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'}".rstrip(": ")


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())
