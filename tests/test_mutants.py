"""The suite is tested: subjects that are broken in one way each are caught, and it is said by which vector or law."""

import sys
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from law_mutants import MUTANTS as LAW_MUTANTS
from mutants import LAWS as SUBJECT_MUTANTS
from mutants import MUTANTS
from statetree_conformance.containers import Bench, ours
from statetree_conformance.judging import judge
from statetree_conformance.laws import LAWS
from statetree_conformance.results import Result
from statetree_conformance.running import REFERENCE
from statetree_conformance.subject_laws import SUBJECT_LAWS, SubjectBench
from statetree_conformance.talk import Talk
from statetree_conformance.trial import Reach, quick
from statetree_conformance.vectors import Vector, materialise, vectors

FIRST_FOUND = settings(quick(200), phases=[Phase.generate])
"""Of an input that breaks a law no smaller one is looked for: here nobody reads it."""
MOST = 6
"""Vectors of one code that are tried."""


def chosen(words: tuple[str, ...]) -> list[Vector]:
    by_code = [v for v in vectors() if v.expect["load"].get("code") in words][:MOST]
    return [*(v for v in vectors() if v.id in words), *by_code]


def tried(command: str, some: list[Vector]) -> list[Result]:
    talk = Talk(command, timeout=20)
    results = []
    try:
        for vector in some:
            path = materialise(vector, talk.sandbox.vectors)
            talk.sandbox.protect(path)
            reply = talk.ask([{"verb": "load", "path": str(path)}])[0]
            results.append(judge("mutant", vector, "load", reply, talk.capabilities))
    finally:
        talk.close()
    return results


def command(name: str) -> str:
    return f"{sys.executable} {Path(__file__).parent / 'mutants.py'} '{name}'"


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_subject_is_caught(name: str) -> None:
    some = chosen(MUTANTS[name].vectors)
    assert some, f"no vector for {MUTANTS[name].vectors}"

    broken = tried(command(name), some)

    assert [result.name for result in broken if result.outcome == "failed"], "caught by no vector"


def test_the_same_vectors_pass_for_a_subject_that_is_not_broken() -> None:
    some = chosen(tuple({word for mutant in MUTANTS.values() for word in mutant.vectors}))

    results = tried(REFERENCE, some)

    assert [(result.name, result.why) for result in results if result.outcome != "passed"] == []


@pytest.mark.parametrize("name", LAW_MUTANTS)
def test_a_broken_backend_is_caught(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = LAW_MUTANTS[name]
    law = next(law for law in LAWS if law.name == mutant.law)
    mutant.break_it(monkeypatch)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever comes of it
        law.hold(Bench(mutant.container, tmp_path), reach=Reach(others=ours()), using=FIRST_FOUND)

    assert caught.value.trial.input()


@pytest.mark.parametrize("name", SUBJECT_MUTANTS)
def test_a_broken_subject_is_caught_by_a_law(name: str) -> None:
    law = next(law for _, law in SUBJECT_LAWS if law.name == SUBJECT_MUTANTS[name][1])
    talk = Talk(command(name), timeout=20)

    with pytest.raises(AssertionError) as caught:
        law.hold(SubjectBench("bson", talk), using=FIRST_FOUND)

    talk.close()
    assert caught.value.trial.input()  # type: ignore[attr-defined]
