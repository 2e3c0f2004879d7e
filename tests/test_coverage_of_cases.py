"""Every case of the suite's list, every error code and every rule of spec.md has a vector or a test that shows it."""

import ast
import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from statetree_conformance.vectors import vectors
from statetree_spec import registry

ROOT = Path(__file__).parents[1]
CASES: dict[str, dict[str, dict[str, Any]]] = json.loads(
    files("statetree_conformance").joinpath("cases.json").read_text("utf-8")
)
RULES = re.findall(r"^\[([A-Z]-[0-9]+)\]", (ROOT / "spec" / "spec.md").read_text("utf-8"), re.MULTILINE)
LIST = ROOT.parent / "shared" / "conformance.md"
"""The list that the ids of cases come from, where it is there."""


@cache
def names_of(name: str) -> frozenset[str]:
    """Return the names of the tests of a module of this folder, or of the laws of the suite."""
    folder = "conformance/statetree_conformance" if name == "laws.py" else "tests"
    tree = ast.parse((ROOT / folder / name).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def uncovered(wanted: list[str], shown: set[str], table: dict[str, dict[str, Any]]) -> list[str]:
    """Return what neither a vector nor a test shows, nor a reason says to be untestable."""
    return [name for name in wanted if name not in shown and not table.get(name, {}).keys() & {"tests", "untestable"}]


def test_every_case_has_a_vector_or_a_test() -> None:
    shown = {row for vector in vectors() for row in vector.rows}

    assert uncovered(list(CASES["rows"]), shown, CASES["rows"]) == []
    assert shown <= CASES["rows"].keys()


def test_every_error_code_has_a_vector_or_a_test() -> None:
    shown = {expected["code"] for v in vectors() for expected in v.expect.values() if expected["outcome"] == "refuse"}

    codes = registry("errors")["codes"]
    assert uncovered(list(codes), shown, CASES["codes"]) == []
    assert CASES["codes"].keys() <= codes.keys()


def test_every_rule_has_a_vector_or_a_test_or_is_untestable_for_a_reason() -> None:
    shown = {rule for vector in vectors() for rule in vector.rules}

    assert uncovered(RULES, shown, CASES["rules"]) == []
    assert shown | CASES["rules"].keys() <= set(RULES)


def test_no_case_code_or_rule_is_called_untestable_that_has_a_vector() -> None:
    shown = {rule for vector in vectors() for rule in vector.rules}

    assert [rule for rule, about in CASES["rules"].items() if "untestable" in about and rule in shown] == []
    assert all(about.get("untestable", "x") for table in CASES.values() for about in table.values())


@pytest.mark.parametrize("table", list(CASES))
def test_every_test_that_is_named_exists(table: str) -> None:
    named = {test for about in CASES[table].values() for test in about.get("tests", ())}

    assert sorted(test for test in named if test.partition("::")[2] not in names_of(test.partition("::")[0])) == []


def test_every_limit_has_a_vector_at_it_and_one_above_it() -> None:
    codes = {row["code"] for row in registry("limits")["limits"]}
    names = {row["name"] for row in registry("limits")["limits"] if row["raisable"]}
    given = {kind: {name for vector in vectors(kind) for name in vector.limits or ()} for kind in ("valid", "invalid")}

    refused = {vector.expect["load"].get("code") for vector in vectors("invalid")}
    assert codes <= refused
    assert names - {"ratio"} <= given["valid"]
    assert names - {"ratio"} <= given["invalid"]


@pytest.mark.skipif(not LIST.exists(), reason="the list of cases is not part of the repository")
def test_the_ids_are_those_of_the_list_of_cases() -> None:
    lines = LIST.read_text("utf-8").partition("## 1. ")[2].splitlines()
    rows = "\n".join(line for line in lines if re.match(r"\| [A-Z][0-9]|[TP][0-9]{2} ", line))

    found = re.findall(r"(?<![A-Za-z0-9_#-])([MVNKSATHZBPIR][0-9]{2}b?)(?![A-Za-z0-9_])", rows)
    assert list(CASES["rows"]) == list(dict.fromkeys(found))
