"""What comes back: statetree in all rows of the fidelity table, some others, and the page as a script wrote it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("orbax.checkpoint")
pytest.importorskip("equinox")

from benchmarks.fidelity.blank import blank
from benchmarks.fidelity.cases import CASES
from benchmarks.fidelity.judge import change
from benchmarks.fidelity.outcome import Outcome, outcome
from benchmarks.fidelity.page import TITLES
from benchmarks.fidelity.results import MARKS
from benchmarks.fidelity.subjects import SUBJECTS

from statetree import Symbol, difference

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "fidelity.md").read_text(encoding="utf-8")
KNOWN = {"torch.dtype"}
"""Rows in which another value comes back, of which `report=` tells. A row that is cured has to be taken out of here."""
QUICK = ("safetensors", "npz", "h5py", "flax")


def run(name: str, folder: Path) -> dict[str, Outcome]:
    found = {}
    for number, case in enumerate(CASES.values()):
        inner = folder / str(number) / "a" / "b" / "c"
        inner.mkdir(parents=True)
        found[case.name] = outcome(SUBJECTS[name], case, inner)
    return found


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    return run("statetree", tmp_path_factory.mktemp("statetree"))


def page_rows() -> Iterator[tuple[str, list[str]]]:
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == len(SUBJECTS) + 2 and set(cells[1:-1]) <= set(MARKS.values()):
            yield cells[0], cells[1:-1]


def page_marks(name: str) -> dict[str, str]:
    place = list(SUBJECTS).index(name)
    return {row: marks[place] for row, marks in page_rows()}


def test_what_statetree_saves_comes_back_the_same_from_every_container(ours: dict[str, Outcome]) -> None:
    differs = {name: one for name, one in ours.items() if one.mark not in ("same", "unsaved") and name not in KNOWN}

    assert differs == {}


def test_what_statetree_refuses_it_refuses_before_a_byte_is_written_and_with_the_path(ours: dict[str, Outcome]) -> None:
    refused = [one for one in ours.values() if one.mark == "unsaved"]

    assert len(refused) > 10
    assert [one for one in refused if one.stored or one.path is None or not one.how.startswith("WriteError: ")] == []


def test_no_known_fault_is_cured_already(ours: dict[str, Outcome]) -> None:
    assert {name for name, one in ours.items() if one.mark == "changed"} == KNOWN


def test_the_page_has_the_rows_of_the_script() -> None:
    rows = [name for name, _ in page_rows()]

    assert rows == [case.name.strip() for case in CASES.values()]


def test_the_page_says_of_statetree_what_is_so(ours: dict[str, Outcome]) -> None:
    assert page_marks("statetree") == {name.strip(): MARKS[one.mark] for name, one in ours.items()}


@pytest.mark.parametrize("name", QUICK)
def test_the_page_says_of_others_what_is_so_in_the_versions_that_it_names(name: str, tmp_path: Path) -> None:
    libraries = (*SUBJECTS[name].libraries, "numpy", "ml_dtypes", "torch", "jax")
    if absent := [one for one in libraries if f"{one} {version(one)}" not in PAGE]:
        pytest.skip(f"other versions than on the page: {', '.join(absent)}")

    found = run(name, tmp_path)

    assert page_marks(name) == {row.strip(): MARKS[one.mark] for row, one in found.items()}


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_counts_on_the_page_are_those_of_its_tables(name: str) -> None:
    counts = re.search(rf"^\| {re.escape(TITLES[name])} \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", PAGE, re.MULTILINE)
    marks = list(page_marks(name).values())

    assert counts is not None
    assert [int(count) for count in counts.groups()] == [marks.count(mark) for mark in MARKS.values()]


def test_the_judge_notices_whatever_difference_notices(ours: dict[str, Outcome]) -> None:
    plain = [case for case in CASES.values() if not case.framework and ours[case.name].mark == "same"]
    values = [value for case in plain for value in (case.make(), case.fresh() if case.fresh else blank(case.make()))]

    unnoticed = [(a, b) for a, b in product(values, values) if difference(a, b) and not change(a, b)]

    assert len(values) > 100
    assert unnoticed == []


def test_the_judge_finds_nothing_in_a_value_made_twice() -> None:
    for case in CASES.values():
        assert change(case.view(case.make()), case.view(case.make())) is None


@pytest.mark.parametrize(
    ("before", "after", "how"),
    [
        ((1, 2), [1, 2], "tuple → list"),
        (1, True, "int → bool"),
        (1.0, np.float64(1), "float → NumPy float64"),
        (-0.0, 0.0, "-0.0 → 0.0"),
        (float("nan"), -float("nan"), "bits 7ff8000000000000 → fff8000000000000"),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}, "order of keys"),
        ({1: 0}, {"1": 0}, "key 1 → '1'"),
        ({"a": 1}, {"a": 1, "b": 2}, "keys: 1 → 2"),
        ("a", Symbol("a"), "str → Symbol"),
        (np.zeros(2), np.zeros(3), "shape (2,) → (3,)"),
        (np.zeros(2), np.zeros(2, np.float32), "float64 → float32"),
        (np.zeros(2, np.float32), np.array([0, -0.0], np.float32), "bits 00000000 → 80000000"),
        ([np.zeros(1)] * 2, [np.zeros(1), np.zeros(1)], "one array → two"),
    ],
)
def test_the_judge_says_in_a_few_words_what_is_different(before: object, after: object, how: str) -> None:
    assert change(before, after) == how


def test_a_subject_that_is_broken_on_purpose_is_caught(tmp_path: Path) -> None:
    honest = SUBJECTS["statetree"]
    broken = replace(honest, load=lambda path, case, fresh: _without_signs(honest.load(path, case, fresh)))
    case = CASES["floats 0.1, −0.0, inf, subnormal"]

    assert outcome(honest, case, _folder(tmp_path / "honest")).mark == "same"
    assert outcome(broken, case, _folder(tmp_path / "broken")) == replace(
        outcome(honest, case, _folder(tmp_path / "again")), mark="changed", how="-0.0 → 0.0"
    )


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _without_signs(tree: dict[str, float]) -> dict[str, float]:
    return {key: abs(value) for key, value in tree.items()}
