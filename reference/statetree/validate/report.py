"""Reports: what was found in a file, as values and as JSON. Source: spec/conformance.md section 5."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from statetree.errors import Problem, shown
from statetree.path import Path, path_text
from statetree.tree import Symbol
from statetree_spec import registry

__all__ = ["LEVELS", "LISTED", "PHASES", "Findings", "NotRun", "Report", "is_asked", "problem_json", "unjudged"]

LEVELS = ("structure", "digests", "full")
"""How far a validator looks."""
PHASES = ("recognition", "framing", "manifest", "limits", "tree", "info", "container", "digests", "stock")
"""What a validator does, in this order."""
LISTED = 100
"""Problems, and warnings, that a report lists; of more it says how many."""
_TEXT, _KEYS = 200, 4096


@dataclass(frozen=True, slots=True)
class NotRun:
    """A phase that was asked for and could not run."""

    phase: str
    """Its name."""
    reason: str
    """Why not."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was found in a file; true if it is sound."""

    path: str
    """The file."""
    problems: tuple[Problem, ...] = ()
    """What is wrong, in the order of the phases; at most 100."""
    warnings: tuple[Problem, ...] = ()
    """What is unwise and breaks no rule; at most 100."""
    backend: str | None = None
    """Name of the container's backend, None if it was not recognised."""
    digest: str | None = None
    """Tree digest, None if there is no manifest that can be believed."""
    level: str = "digests"
    """How far the validator looked."""
    not_run: tuple[NotRun, ...] = ()
    """Phases that could not run."""
    more: int = 0
    """Problems beyond those listed."""
    more_warnings: int = 0
    """Warnings beyond those listed."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def __bool__(self) -> bool:
        return self.ok

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain JSON, as the schema `report` has it."""
        return {
            "path": self.path,
            "ok": self.ok,
            "backend": self.backend,
            "digest": self.digest,
            "level": self.level,
            "problems": [problem_json(problem) for problem in self.problems],
            "warnings": [problem_json(problem) for problem in self.warnings],
            "not_run": [{"phase": each.phase, "reason": each.reason} for each in self.not_run],
            "more": self.more,
            "more_warnings": self.more_warnings,
        }


def problem_json(problem: Problem) -> dict[str, Any]:
    """Return a problem as plain JSON."""
    return {
        "code": problem.code,
        "class": problem.error_class,
        "severity": problem.severity,
        "phase": problem.phase,
        "rule": problem.rule,
        "path": None if problem.path is None else shown(path_text(problem.path), _TEXT),
        "keys": None if problem.path is None else _tagged(problem.path),
        "place": None if problem.place is None else shown(problem.place, _TEXT),
        "expected": problem.expected,
        "found": problem.found,
        "remedy": problem.remedy,
        "message": str(problem),
    }


def _tagged(path: Path) -> list[Any] | None:
    """Return a path as tagged keys, None if it is too long to be told."""
    return [_tagged_key(key) for key in path] if len(path_text(path)) <= _KEYS else None


def _tagged_key(key: Any) -> dict[str, Any]:
    match key:
        case None:
            return {"k": "null"}
        case bool():
            return {"k": "bool", "v": key}
        case int():
            return {"k": "int", "hex": f"{key:x}"}
        case str():
            return {"k": "str", "v": key}
        case bytes():
            return {"k": "bytes", "hex": key.hex()}
        case Symbol():
            return {"k": "symbol", "v": key.name}
        case _:
            return {"k": "tuple", "items": [_tagged_key(item) for item in key]}


_ROWS: dict[str, dict[str, Any]] = {**registry("errors")["codes"], **registry("errors")["warnings"]}
_CONTAINERS = {"hdf5": "H", "zarr": "Z", "bson": "B"}


def _rule(code: str, backend: str | None) -> str | None:
    """Return the rule of a code that is the most telling for a container: its own before the general ones."""
    rules: Sequence[str] = _ROWS[code]["rules"]
    own = _CONTAINERS.get(backend or "", "-")
    others = set(_CONTAINERS.values()) - {own}
    fitting = [rule for rule in rules if rule[0] not in others] or list(rules)
    return next((rule for rule in fitting if rule[0] == own), fitting[0] if fitting else None)


class Findings:
    """Problems and warnings as they are found: each once, the first hundred kept, all counted."""

    def __init__(self) -> None:
        self.backend: str | None = None
        """Name of the backend, once it is known."""
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []
        self.more = 0
        self.more_warnings = 0
        self._known: set[tuple[Any, ...]] = set()

    def add(self, problem: Problem, phase: str) -> None:
        """Keep a problem that was found in a phase, complete with its rule and remedy."""
        place = problem.place
        known = problem.code, repr(problem.path), place, problem.expected, problem.found
        if known in self._known:
            return
        is_warning = problem.severity == "warning"
        listed = self.warnings if is_warning else self.problems
        if len(listed) >= LISTED:
            self.more += not is_warning
            self.more_warnings += is_warning
            return
        self._known.add(known)
        rule = problem.rule or _rule(problem.code, self.backend)
        remedy = problem.remedy or _ROWS[problem.code]["fix"]
        listed.append(replace(problem, phase=phase, rule=rule, remedy=remedy))


def unjudged(path: str, level: str, problems: Iterable[Problem], reason: str) -> Report:
    """Return the report of a file that could not be judged: nothing ran behind its recognition, for a reason."""
    found = Findings()
    for problem in problems:
        found.add(problem, PHASES[0])
    skipped = [phase for phase in PHASES[1:] if is_asked(phase, level)]
    not_run = tuple(NotRun(phase, reason) for phase in skipped)
    return Report(path, tuple(found.problems), level=level, not_run=not_run)


def is_asked(phase: str, level: str) -> bool:
    """Whether a phase belongs to a level."""
    return level != "structure" if phase == "digests" else level == "full" or phase != "stock"
