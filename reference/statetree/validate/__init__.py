"""Validating: what the reader finds wrong with a file, as a report. Source: spec section 9."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from statetree.errors import Problem, StateTreeError, StoreIOError, UsageError
from statetree.lazy import LazyArray
from statetree.limits import Limits
from statetree.loading import map_arrays, open
from statetree.path import path_text
from statetree.registry import as_path

__all__ = ["Report", "validate"]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a file; true if it is sound."""

    path: str
    """The file."""
    problems: tuple[Problem, ...]
    """All that was found, in the order of the tree."""
    backend: str | None
    """Name of the container's backend, None if it could not be opened."""
    digest: str | None
    """Tree digest, None if the file could not be opened."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        return {
            "path": self.path,
            "ok": self.ok,
            "backend": self.backend,
            "digest": self.digest,
            "problems": [problem_json(problem) for problem in self.problems],
        }


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as plain JSON."""
    return {
        "code": problem.code,
        "class": problem.error_class,
        "path": None if problem.path is None else path_text(problem.path),
        "place": problem.place,
        "expected": problem.expected,
        "found": problem.found,
        "remedy": problem.remedy,
        "rule": problem.rule,
        "message": str(problem),
    }


def validate(path: "str | os.PathLike[str]", *, limits: Limits | None = None) -> Report:
    """Return every problem that reading all of a file finds: its framing, its texts and each array's digest.

    Args:
        path: the file or folder.
        limits: what is refused as too large.

    Raises:
        StoreIOError: the file cannot be read at all.
        UsageError: `path` is none, or the library for its container is not installed.
    """
    name = str(as_path(path))
    problems: list[Problem] = []
    try:
        file = open(path, limits=limits)
    except (StoreIOError, UsageError):
        raise
    except StateTreeError as error:
        return Report(name, error.problems, None, None)
    with file:
        # Trees without large arrays, or without any, ask for neither of these.
        problems += _problems(file.source.reader.layout) + _problems(file.source.reader.blocks)
        seen: set[int] = set()

        def check(lazy: LazyArray) -> LazyArray:
            if id(lazy) not in seen:
                seen.add(id(lazy))
                problems.extend(lazy.problems())
            return lazy

        map_arrays(file.tree, check)
        # What is wrong with an index is wrong with each array.
        return Report(name, tuple(dict.fromkeys(problems)), file.backend, file.digest)


def _problems(read: Callable[[], Any]) -> tuple[Problem, ...]:
    try:
        read()
    except StateTreeError as error:
        return error.problems
    return ()
