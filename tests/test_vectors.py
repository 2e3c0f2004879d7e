"""With the reference implementation each vector ends as its record says, and none changes: spec/conformance.md."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import pytest
from referencing import Registry, Resource

import statetree
import statetree_spec
from statetree.errors import StateTreeError
from statetree_conformance.making import HDF5
from statetree_conformance.making.__main__ import FOLDER, PINNED, differing
from statetree_conformance.tagged import tag
from statetree_conformance.vectors import KINDS, Vector, materialise, vectors
from statetree_spec import registry, schema

CODES = registry("errors")["codes"]
LONG = os.environ.get("STATETREE_PROFILE") == "long"
QUICK = [vector for vector in vectors() if LONG or not vector.slow]
NOT_YET = set((Path(__file__).parent / "validate_not_yet.txt").read_text().split())
"""Vectors whose fault only a validator sees that looks deeper than ours does today."""


def named(vector: object) -> str:
    assert isinstance(vector, Vector)
    return vector.id


def limits_of(vector: Vector) -> statetree.Limits:
    return statetree.Limits(**(vector.limits or {}))


def outcome(expected: Mapping[str, Any], found: str | None) -> str:
    """Return a code that was found, or the expected one where another of its class counts as well.

    Ours has all that a reader SHOULD have, and looks at no more than it must.
    """
    if expected["outcome"] == "refuse" and found != "NOT_STATETREE" and found in expected.get("also", ()):
        return str(expected["code"])
    return found or "accept"


def wanted(expected: Mapping[str, Any]) -> str:
    return "accept" if expected["outcome"] == "accept" else str(expected["code"])


def test_every_record_is_of_its_schema() -> None:
    known = Registry().with_resource("urn:statetree:schema:1.0:tagged", Resource.from_contents(schema("tagged")))
    validator = jsonschema.Draft202012Validator(schema("vector"), registry=known)

    for kind in KINDS:
        for entry in statetree_spec.vectors().joinpath(kind).iterdir():
            if entry.name.endswith(".json"):
                record = json.loads(entry.read_bytes())
                assert [f"{record['id']}: {error.message}" for error in validator.iter_errors(record)] == []
                assert entry.name == f"{record['id']}.json"


def test_ids_are_unique_and_codes_have_the_class_that_the_registry_gives_them() -> None:
    ids = [vector.id for vector in vectors()]

    assert len(set(ids)) == len(ids)
    for vector in vectors():
        for expected in vector.expect.values():
            assert set(expected.get("also", ())) <= CODES.keys(), vector.id
            if expected["outcome"] == "refuse":
                assert expected["class"] == CODES[expected["code"]]["class"], vector.id


def test_valid_vectors_are_accepted_and_invalid_ones_refused_by_every_validator() -> None:
    assert {v.expect["load"]["outcome"] for v in vectors("valid")} == {"accept"}
    assert {v.expect["validate"]["outcome"] for v in vectors("valid")} == {"accept"}
    assert {v.expect["validate"]["outcome"] for v in vectors("invalid")} == {"refuse"}
    assert all(vector.fault for vector in vectors("invalid"))
    assert all(v.digest for v in vectors() if v.expect["load"]["outcome"] == "accept")
    assert all(v.tree or "recipe" in v.bytes for v in vectors() if v.expect["load"]["outcome"] == "accept")


def test_there_are_at_least_a_hundred_valid_vectors_and_two_hundred_invalid_ones() -> None:
    assert len(vectors("valid")) >= 100
    assert len(vectors("invalid")) >= 200


@pytest.mark.parametrize("vector", QUICK, ids=named)
def test_loading_a_vector_ends_as_its_record_says(vector: Vector, tmp_path: Path) -> None:
    path = materialise(vector, tmp_path)
    found: str | None = None
    try:
        tree = statetree.load(path, limits=limits_of(vector))
    except StateTreeError as error:
        found = error.code

    expected = vector.expect["load"]
    assert outcome(expected, found) == wanted(expected)
    if found is None:
        assert statetree.digest(path) == vector.digest
        if vector.tree is not None:
            assert tag(tree) == vector.tree


@pytest.mark.parametrize(
    "vector",
    [pytest.param(v, marks=pytest.mark.xfail(strict=True) if v.id in NOT_YET else ()) for v in QUICK],
    ids=named,
)
def test_validating_a_vector_ends_as_its_record_says(vector: Vector, tmp_path: Path) -> None:
    path = materialise(vector, tmp_path)
    try:
        problems = statetree.validate(path, limits=limits_of(vector)).problems
    except StateTreeError as error:
        problems = error.problems

    expected = vector.expect["validate"]
    assert outcome(expected, problems[0].code if problems else None) == wanted(expected)
    # One fault a vector: nothing else is wrong with it.
    assert {problem.code for problem in problems} <= {expected.get("code"), *expected.get("also", ())}


def test_no_invalid_vector_runs_imports_or_opens_anything(tmp_path: Path) -> None:
    script = Path(__file__).parent / "audited_loads.py"

    ran = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, check=False, timeout=300
    )

    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["seen"] == []
    assert report["vectors"] == len([v for v in vectors("invalid") if not v.slow])
    assert report["armed"] == ["exec", "import", "open", "os.system", "pickle.find_class", "subprocess.Popen"]


def test_bytes_are_those_that_the_record_has_the_digest_of() -> None:
    for vector in vectors():
        if "file" in vector.bytes:
            found = statetree_spec.vectors().joinpath(vector.kind, vector.bytes["file"]).read_bytes()
        elif "files" in vector.bytes:
            text = json.dumps(vector.bytes["files"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
            found = text.encode()
        else:
            assert vector.sha256 is None
            continue
        assert hashlib.sha256(found).hexdigest() == vector.sha256, vector.id


def test_no_vector_changes() -> None:
    found = {
        f"{kind}/{entry.name}": hashlib.sha256(entry.read_bytes()).hexdigest()
        for kind in KINDS
        for entry in statetree_spec.vectors().joinpath(kind).iterdir()
    }

    pinned = dict(reversed(line.split("  ")) for line in PINNED.read_text().splitlines())
    assert found == pinned


def test_vectors_are_as_they_are_made() -> None:
    other = [line for line in differing(FOLDER) if h5py.version.hdf5_version == HDF5 or "/hdf5-" not in line]

    assert other == []
