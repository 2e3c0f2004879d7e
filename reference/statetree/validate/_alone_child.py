"""What a process does that validates one file by itself."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from statetree.errors import Problem
from statetree.path import path_text
from statetree.registry import backend_names
from statetree.validate._alone import Answer, Request, Told
from statetree.validate._phases import Validation

__all__ = ["attend"]

# Loaded once, before there are children: these have a limit of memory.
backend_names()
with suppress(ImportError):
    import h5py  # noqa: F401
with suppress(ImportError):
    import zstandard  # noqa: F401
with suppress(ImportError):
    import bson  # noqa: F401


def attend(descriptor: int | None) -> Callable[[Any], Any]:
    """Return the function that validates a file by its name; no descriptor is needed."""
    assert descriptor is None
    return _answer


def _answer(asked: Any) -> Answer:
    request = msgspec.convert(asked, Request)
    report = Validation(Path(request.path), request.level, request.limits, None).report()
    bare = replace(report, problems=(), warnings=())
    return Answer(bare, list(map(_told, report.problems)), list(map(_told, report.warnings)))


def _told(problem: Problem) -> Told:
    return Told(replace(problem, path=None), None if problem.path is None else path_text(problem.path))
