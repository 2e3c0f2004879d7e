"""Running the suite: laws and vectors, a column of results for each backend and subject. Source: spec/conformance.md.

A column does not know the others, so that they can run side by side in processes of their own.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from statetree.registry import check_library, find_backend
from statetree_conformance import strategies
from statetree_conformance.containers import OURS, Bench, container, container_names, ours
from statetree_conformance.judging import judge, known_failures, unlisted
from statetree_conformance.laws import LAWS
from statetree_conformance.program import Broken
from statetree_conformance.results import Result, Run
from statetree_conformance.subject_laws import SUBJECT_LAWS, SubjectBench
from statetree_conformance.talk import Talk
from statetree_conformance.trial import Law, Reach, Trial, quick
from statetree_conformance.vectors import Vector, materialise, vectors

__all__ = ["REFERENCE", "Column", "Plan", "run", "tried"]

REFERENCE = f"{sys.executable} -m statetree_conformance.subject"
"""The reference implementation as a subject."""
_VERBS = ("load", "validate")
_TOGETHER = 8
"""Vectors that are asked for in one breath."""
_ENOUGH = 200
"""Examples from which on everything that is hard must have been drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be tried, and how long."""

    examples: int = 200
    """Inputs for each law."""
    seed: int | None = None
    """What is drawn follows from it; None: the same inputs in every run."""
    timeout: float = 90.0
    """Seconds that a subject may be silent."""
    expected: Path | None = None
    """Folder of lists of known failures."""
    only: str = ""
    """Cases whose name holds this text."""


@dataclass(frozen=True, slots=True)
class Column:
    """A backend or a subject that is to be tried."""

    kind: str
    """`backend` or `subject`."""
    word: str
    """Name of the backend, or the command of the subject."""


@dataclass(slots=True)
class _Sheet:
    """The results of one column while they come."""

    column: str
    plan: Plan
    results: list[Result]

    def add(self, kind: str, name: str, rules: Sequence[str], outcome: str, **more: Any) -> None:
        found = Result(column=self.column, kind=kind, name=name, rules=tuple(rules), outcome=outcome, **more)
        self.results.append(found)

    def wants(self, name: str) -> bool:
        return self.plan.only in name

    def known(self) -> Path:
        return (self.plan.expected or Path("expected")) / f"{self.column}.toml"


def tried(column: Column, plan: Plan) -> tuple[str, dict[str, Any], list[Result]]:
    """Try one column and return its name, what it is, and its results.

    Raises:
        UsageError: there is no such backend, its library is not installed, or its list of known failures is none.
    """
    begun = time.monotonic()
    sheet = _Sheet(column.word, plan, [])
    about = (_try_backend if column.kind == "backend" else _try_subject)(sheet)
    return sheet.column, about | {"kind": column.kind, "seconds": round(time.monotonic() - begun, 1)}, sheet.results


def run(columns: Sequence[Column], plan: Plan, *, jobs: int = 1, done: Callable[[str], None] = lambda _: None) -> Run:
    """Try all columns and return what came of it.

    Args:
        columns: what is tried.
        plan: with how much effort.
        jobs: how many columns at a time.
        done: told the name of each column that is finished.
    """
    begun, now = time.monotonic(), datetime.now(UTC)
    found: list[tuple[str, dict[str, Any], list[Result]]] = []
    for name, about, results in _all(columns, plan, jobs):
        taken = {name for name, _, _ in found}
        found.append((name if name not in taken else f"{name} ({len(found)})", about, results))
        done(name)
    return Run(
        tuple(result for _, _, results in found for result in results),
        {
            "suite": version("statetree"),
            "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "examples": plan.examples,
            "seed": plan.seed,
            "seconds": round(time.monotonic() - begun, 1),
            "columns": {name: about for name, about, _ in found},
        },
    )


def _all(columns: Sequence[Column], plan: Plan, jobs: int) -> Iterator[tuple[str, dict[str, Any], list[Result]]]:
    if jobs <= 1:
        yield from (tried(column, plan) for column in columns)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for future in [pool.submit(tried, column, plan) for column in columns]:
            yield future.result()


# Backends


def _try_backend(sheet: _Sheet) -> dict[str, Any]:
    chosen = container(sheet.column)
    check_library(find_backend(chosen.backend))
    strategies.drawn.clear()
    reach = Reach(others=ours())
    with tempfile.TemporaryDirectory(prefix="statetree-conformance-") as folder:
        for number, found in enumerate(law for law in LAWS if sheet.wants(law.name)):
            place = Path(folder) / str(number)
            place.mkdir()
            _try_law(sheet, found, Bench(chosen, place), reach, chosen.name)
    if sheet.plan.examples >= _ENOUGH and not sheet.plan.only:
        _check_reach(sheet)
    asked = [vector for vector in _chosen(sheet) if vector.container == chosen.name]
    if asked:
        talk = Talk(REFERENCE, timeout=sheet.plan.timeout)
        try:
            _try_vectors(sheet, talk, asked)
        finally:
            talk.close()
        _complain(sheet, talk)
    return {"about": f"backend {chosen.backend}" + (f", {chosen.suffix}" if chosen.suffix else "")}


def _check_reach(sheet: _Sheet) -> None:
    missing = strategies.undrawn()
    why = f"never drawn: {', '.join(missing)}" if missing else None
    sheet.add("run", "everything that is hard was drawn", (), "failed" if missing else "passed", why=why)


def _try_law(sheet: _Sheet, found: Law, bench: Any, reach: Reach, container: str) -> None:
    begun = time.monotonic()
    outcome, why = "passed", None
    plan = sheet.plan
    using = quick(plan.examples, fresh=plan.seed is not None)
    try:
        trial = found.hold(bench, reach=reach, using=using, seed=plan.seed)
    except Exception as error:
        trial = getattr(error, "trial", Trial())
        outcome, why = "failed", _text_of(error)
    if trial.skipped is not None:
        outcome, why = "skipped", trial.skipped
    more = {"input": trial.input() if outcome == "failed" else None, "examples": trial.examples}
    taken = time.monotonic() - begun
    sheet.add("law", found.name, found.rules, outcome, container=container, why=why, seconds=taken, **more)


def _text_of(error: Exception) -> str:
    return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"


# Subjects


def _try_subject(sheet: _Sheet) -> dict[str, Any]:
    command = sheet.column
    try:
        talk = Talk(command, timeout=sheet.plan.timeout)
    except Broken as broken:
        sheet.add(
            "run", "it starts", ("T-5",), "failed", why=f"expected an answer to start, got {broken.kind}: {broken.why}"
        )
        return {"about": command}
    can = talk.capabilities
    sheet.column = can.name
    try:
        _try_vectors(sheet, talk, _chosen(sheet))
        _try_subject_laws(sheet, talk)
    finally:
        talk.close()
    _complain(sheet, talk)
    return {"about": f"{can.version}, {can.language}: {command}"}


def _try_subject_laws(sheet: _Sheet, talk: Talk) -> None:
    can, here = talk.capabilities, container_names()
    names = dict.fromkeys([*(name for name in OURS if container(name).suffix), *can.containers])
    for name in names:
        if name not in here:
            sheet.add("run", f"trees in {name}", (), "skipped", why=f"the reference has no container {name!r} here")
            continue
        for verb, found in SUBJECT_LAWS:
            if not sheet.wants(found.name):
                continue
            if can.has(verb, name):
                _try_law(sheet, found, SubjectBench(name, talk), Reach(), name)
            else:
                why = f"it does not say that it can {verb} {name}"
                sheet.add("law", found.name, found.rules, "skipped", container=name, why=why)


def _complain(sheet: _Sheet, talk: Talk) -> None:
    for complaint in talk.complaints:
        sheet.add("run", "the talk goes well", ("T-5",), "failed", why=complaint)


# Vectors


def _chosen(sheet: _Sheet) -> list[Vector]:
    slow = sheet.plan.examples > _ENOUGH
    return [vector for vector in vectors() if sheet.wants(vector.id) and (slow or not vector.slow)]


def _try_vectors(sheet: _Sheet, talk: Talk, chosen: Sequence[Vector]) -> None:
    can, known = talk.capabilities, known_failures(sheet.known())
    for some in _batches(chosen, _TOGETHER):
        asked = [(vector, verb) for vector in some for verb in _VERBS if can.has(verb, vector.container)]
        paths = {
            vector.id: materialise(vector, talk.sandbox.vectors) for vector in {v.id: v for v, _ in asked}.values()
        }
        for path in paths.values():
            talk.sandbox.protect(path)
        requests = [_request(vector, verb, paths[vector.id]) for vector, verb in asked]
        for (vector, verb), reply in zip(asked, talk.ask(requests), strict=True):
            sheet.results.append(judge(sheet.column, vector, verb, reply, can, known))
        for vector in some:
            for verb in _VERBS:
                if not can.has(verb, vector.container):
                    _skip(sheet, vector, verb)
        talk.sandbox.clear()
    if not sheet.plan.only:
        sheet.results += unlisted(sheet.column, known, sheet.results)


def _skip(sheet: _Sheet, vector: Vector, verb: str) -> None:
    why = f"it does not say that it can {verb} {vector.container}"
    sheet.add("vector", vector.id, vector.rules, "skipped", verb=verb, container=vector.container, why=why)


def _request(vector: Vector, verb: str, path: Path) -> dict[str, Any]:
    request: dict[str, Any] = {"verb": verb, "path": str(path)}
    return request | {"limits": dict(vector.limits)} if vector.limits else request


def _batches(items: Iterable[Vector], size: int) -> Iterator[list[Vector]]:
    batch: list[Vector] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
