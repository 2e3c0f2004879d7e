"""A validation in a process of its own, of which the whole may take no more than the caller says.

In that process the HDF5 library needs no other one. What comes back is trusted as little as the file.
"""

from dataclasses import replace
from pathlib import Path

import msgspec

from statetree.child import Budget, Child
from statetree.errors import LimitError, Problem, StateTreeError, StoreIOError, UsageError
from statetree.files import MappedFile, is_folder
from statetree.limits import Limits
from statetree.path import parse_path
from statetree.validate.report import Report, unjudged

__all__ = ["Answer", "Request", "Told", "validate_alone"]

_NAME = "the validator"
_RAISE = {"LIMIT_BYTES": "raise max_memory=", "LIMIT_TIME": "raise timeout="}


class Request(msgspec.Struct, array_like=True, frozen=True):
    """What to validate."""

    path: str
    level: str
    limits: Limits


class Told(msgspec.Struct, array_like=True, frozen=True):
    """A problem with the text of its path: keys are more than MessagePack can hold."""

    problem: Problem
    path: str | None


class Answer(msgspec.Struct, array_like=True, frozen=True):
    """A report without its problems, and these."""

    report: Report
    problems: list[Told]
    warnings: list[Told]


def validate_alone(path: Path, level: str, limits: Limits, budget: Budget) -> Report:
    """Return the report of a validation that may take so much; that it wanted more, or crashed, is a problem in it.

    Raises:
        StoreIOError: the file cannot be read, or no process be started.
        UsageError: a library that the file needs is not installed.
    """
    child = Child("statetree.validate._alone_child", _NAME, None, _size(path), budget)
    try:
        answer = child.ask(Request(str(path.absolute()), level, limits), Answer, str(path))
    except (StoreIOError, UsageError):
        raise
    except StateTreeError as error:
        problem = error.problems[0]
        if isinstance(error, LimitError):
            expected = "a file that takes no more than the caller allows"
            problem = replace(problem, expected=expected, remedy=f"{_RAISE[problem.code]} if you trust the file")
        return unjudged(str(path), level, [problem], "the validation did not come to an end")
    finally:
        child.close()
    problems, warnings = (tuple(map(_problem, told)) for told in (answer.problems, answer.warnings))
    return replace(answer.report, path=str(path), problems=problems, warnings=warnings)


def _problem(told: Told) -> Problem:
    return replace(told.problem, path=None if told.path is None else parse_path(told.path))


def _size(path: Path) -> int:
    """Return the bytes of a file, which may be mapped beside what memory is given; 0 for a folder."""
    if is_folder(path):
        return 0
    file = MappedFile(path)
    file.close()
    return file.size
