"""Errors: what is wrong, where, and what to do. Source: spec section 9; classes and codes are the registry's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from statetree.path import path_text
from statetree_spec import registry

WARNING = "warning"
"""What stands in place of a class for codes that are unwise only."""
_CODES: dict[str, str] = {
    **{code: row["class"] for code, row in registry("errors")["codes"].items()},
    **dict.fromkeys(registry("errors")["warnings"], WARNING),
}


def shown(text: str, limit: int = 80) -> str:
    r"""Return `text` fit for a terminal: control, bidi and other unprintable characters escaped, cut at `limit`.

    >>> shown("a\x1b[31m")
    'a\\x1b[31m'
    """
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: limit + 1])
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding, as data."""

    code: str
    """Stable code of the registry."""
    expected: str
    """What the rule asks for."""
    found: str
    """What is there instead."""
    path: tuple[Any, ...] | None = None
    """Path in the tree, None where the problem has none."""
    place: str | None = None
    """Part of the container, for instance `/arrays/0-w`."""
    remedy: str | None = None
    """What the user can do."""
    rule: str | None = None
    """Id of the rule in spec.md."""
    phase: str | None = None
    """Phase of a validator that found it, None if no validator did."""
    severity: str = "error"
    """`error` or `warning`."""

    @property
    def error_class(self) -> str:
        """Class of the code, one of the registry; `warning` for what is unwise only."""
        return _CODES[self.code]

    def __str__(self) -> str:
        text = f"expected {self.expected}, got {self.found}"
        if self.path is not None:
            text += f" (at {shown(path_text(self.path), 200) or 'the root'})"
        if self.place is not None:
            text += f" (in {shown(self.place, 200)})"
        return f"{text}: {self.remedy}" if self.remedy else text

    def error(self) -> "StateTreeError":
        """Return the exception of this problem's class."""
        return _BY_CODE.get(self.code, _EXCEPTIONS.get(self.error_class, StateTreeError))([self])


_TOLD = 20
"""Problems that the text of an error tells."""


class StateTreeError(Exception):
    """Base of every error of statetree."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        """All that was found, most telling first."""
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:_TOLD]]
        if len(self.problems) > _TOLD:
            lines.append(f"and {len(self.problems) - _TOLD} more, in the attribute problems")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)

    @property
    def code(self) -> str:
        """Stable code of the first problem."""
        return self.problems[0].code

    @property
    def error_class(self) -> str:
        """Class of the first problem."""
        return self.problems[0].error_class

    @property
    def path(self) -> tuple[Any, ...] | None:
        """Path of the first problem in the tree."""
        return self.problems[0].path


class MalformedError(StateTreeError, ValueError):
    """Bytes or text that cannot be parsed at all."""


class UnsupportedError(StateTreeError, ValueError):
    """A version, feature or file kind that this reader does not know."""


class InvalidError(StateTreeError, ValueError):
    """A rule of the specification is broken."""


class IntegrityError(StateTreeError, ValueError):
    """The stored bytes are not the ones that were written."""


class SecurityError(StateTreeError, ValueError):
    """A construct that reaches outside the file, runs code, or disguises it."""


class LimitError(StateTreeError, ValueError):
    """Legal, but above a limit of this reader or writer."""


class WriteError(StateTreeError, TypeError, ValueError):
    """A value outside the data model; nothing was written."""


class StoreIOError(StateTreeError, OSError):
    """The environment refused: missing, permission, space."""


class MissingFileError(StoreIOError, FileNotFoundError):
    """There is no file of that name."""


class UsageError(StateTreeError, ValueError):
    """The call asks for something that cannot be."""


class MissingLibraryError(UsageError, ImportError):  # type: ignore[misc] # .path means the tree here
    """A library that an optional part needs is not installed."""


class MissingPathError(UsageError, KeyError):
    """The tree holds nothing at that path."""


class RestoreError(UsageError):
    """A state that does not fit the object it was to go into; nothing was changed. `problems` has all that differs."""


_EXCEPTIONS: dict[str, type[StateTreeError]] = {
    "malformed": MalformedError,
    "unsupported": UnsupportedError,
    "invalid": InvalidError,
    "integrity": IntegrityError,
    "security": SecurityError,
    "limit": LimitError,
    "writer": WriteError,
    "io": StoreIOError,
    "usage": UsageError,
}
_BY_CODE: dict[str, type[StateTreeError]] = {
    "NOT_FOUND": MissingFileError,
    "BACKEND_LIBRARY": MissingLibraryError,
    "PATH_NOT_FOUND": MissingPathError,
    **{code: RestoreError for code, name in _CODES.items() if code.startswith("STATE_") and name == "usage"},
}


def fail(
    code: str,
    expected: str,
    found: str,
    *,
    path: tuple[Any, ...] | None = None,
    place: str | None = None,
    remedy: str | None = None,
    rule: str | None = None,
) -> NoReturn:
    """Raise the error of one problem."""
    raise_problem(Problem(code, expected, found, path, place, remedy, rule))


def raise_problem(problem: Problem) -> NoReturn:
    """Raise `problem` as the exception of its code or class."""
    raise problem.error()
