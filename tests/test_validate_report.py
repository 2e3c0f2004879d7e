"""What a report of `validate` holds: every problem once, complete, and in the form that the specification gives it."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from referencing import Registry, Resource

import statetree as st
from bson_by_hand import bson_file
from statetree.canonical import encode_json
from statetree_spec import registry, schema

CONTAINERS = ("x.h5", "x.zarr", "x.zarr.zip", "x.bson")
each_container = pytest.mark.parametrize("name", CONTAINERS)
TREE = {"model": {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.float32(2)}, "epoch": 3, "n": [1, (2,)]}
SCHEMA = jsonschema.Draft202012Validator(
    schema("report"),
    registry=Registry().with_resource("urn:statetree:schema:1.0:tagged", Resource.from_contents(schema("tagged"))),
)


def manifest_file(path: Path, node: Any, **members: Any) -> Path:
    """Write a BSON file whose manifest has a node as its tree, whether that is sound or not."""
    root = {"algorithm": "xxh3-128", "arrays": [], "features": [], "statetree": "1.0", "tree": node, **members}
    path.write_bytes(bson_file([], texts={"manifest": encode_json(root)}))
    return path


def flipped(path: Path, data: bytes) -> None:
    """Flip one bit of a file, or of a file in a folder, where some bytes first stand."""
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        raw = bytearray(file.read_bytes() if file.is_file() else b"")
        if data in raw:
            raw[raw.index(data)] ^= 1
            file.write_bytes(raw)
            return
    raise AssertionError("no such bytes")


@each_container
@pytest.mark.parametrize("level", ["structure", "digests"])
def test_a_sound_file_is_sound_at_every_level(level: str, name: str, tmp_path: Path) -> None:
    digest = st.save(tmp_path / name, TREE, durable=False)

    report = st.validate(tmp_path / name, level=level)

    assert report
    assert (report.problems, report.warnings, report.not_run, report.level) == ((), (), (), level)
    assert report.digest == digest
    SCHEMA.validate(report.as_json())


@each_container
def test_damage_of_an_array_is_found_where_arrays_are_read(name: str, tmp_path: Path) -> None:
    st.save(tmp_path / name, TREE, durable=False)
    flipped(tmp_path / name, TREE["model"]["w"].tobytes())  # type: ignore[call-overload,index]

    codes = [problem.code for problem in st.validate(tmp_path / name).problems]

    assert codes[-1] == "DIGEST"
    assert st.validate(tmp_path / name, level="structure").ok


def test_a_problem_says_all_there_is_to_say(tmp_path: Path) -> None:
    st.save(tmp_path / "x.bson", TREE, durable=False)
    flipped(tmp_path / "x.bson", TREE["model"]["w"].tobytes())  # type: ignore[call-overload,index]

    report = st.validate(tmp_path / "x.bson").as_json()

    SCHEMA.validate(report)
    assert report["problems"] == [
        {
            "code": "DIGEST",
            "class": "integrity",
            "severity": "error",
            "phase": "digests",
            "rule": "G-3",
            "path": "/model/w",
            "keys": [{"k": "str", "v": "model"}, {"k": "str", "v": "w"}],
            "place": "array 0-model.w",
            "expected": "the bytes that were saved (xxh3-128:2d0408b485dd77b108c27fcd95d1fea5)",
            "found": "bytes 0 to 24 of 24 with another digest",
            "remedy": "the file is damaged: restore it from a copy, or read the rest of it with select=",
            "message": "expected the bytes that were saved (xxh3-128:2d0408b485dd77b108c27fcd95d1fea5), got bytes 0 to "
            "24 of 24 with another digest (at /model/w) (in array 0-model.w): the file is damaged: restore it from a "
            "copy, or read the rest of it with select=",
        }
    ]


def test_all_faults_of_a_tree_are_found(tmp_path: Path) -> None:
    node = {"dict": ["a", {"float": "1.5"}, "b", {"int": "5"}, "a", {"list": [{"set": []}, {"bytes": "YQ"}]}, True, 1]}

    report = st.validate(manifest_file(tmp_path / "x.bson", node))

    assert [(problem.code, st.path_text(problem.path or ())) for problem in report.problems] == [
        ("FLOAT_FORM", "/a"),
        ("INT_FORM", "/b"),
        ("KEY_DUPLICATE", "/a"),
        ("NODE_KIND", "/a/#0"),
        ("BYTES_FORM", "/a/#1"),
    ]
    assert [(each.phase, each.reason) for each in report.not_run] == [("digests", "the tree is wrong")]
    assert {problem.phase for problem in report.problems} == {"tree"}
    SCHEMA.validate(report.as_json())


def test_faults_of_the_members_and_of_the_tree_are_found_together(tmp_path: Path) -> None:
    path = manifest_file(tmp_path / "x.bson", {"set": []}, time="now", features=["b", "a"], algorithm="md5")

    report = st.validate(path)

    found = [(problem.phase, problem.code) for problem in report.problems]
    assert found == [
        ("manifest", "SCHEMA_UNKNOWN_KEY"),
        ("manifest", "FEATURE_FORM"),
        ("manifest", "FEATURE_UNKNOWN"),
        ("manifest", "DIGEST_ALGORITHM"),
        ("tree", "NODE_KIND"),
    ]
    assert {each.phase for each in report.not_run} == {"limits", "digests"}


def test_a_hundred_problems_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    path = manifest_file(tmp_path / "x.bson", {"list": [{"float": "x"}] * 1000})

    report = st.validate(path)

    assert (len(report.problems), report.more) == (100, 900)
    SCHEMA.validate(report.as_json())


def test_another_major_version_ends_the_validation(tmp_path: Path) -> None:
    path = manifest_file(tmp_path / "x.bson", {"set": []}, statetree="2.0")

    report = st.validate(path)

    assert [problem.code for problem in report.problems] == ["VERSION_MAJOR"]
    phases = [each.phase for each in report.not_run]
    assert phases == ["limits", "tree", "info", "container", "digests"]


def test_keys_that_people_take_for_one_are_a_warning(tmp_path: Path) -> None:
    tree = {
        "Weight": 1,
        "weight": 2,
        "\u00e9": 3,
        "e\u0301": 4,
        "r": st.Record({"A": 1, "a": 2}),
        st.Symbol("weight"): 0,
    }
    st.save(tmp_path / "x.bson", tree, durable=False)

    report = st.validate(tmp_path / "x.bson")

    assert report.ok
    assert [(w.code, w.error_class, w.severity, st.path_text(w.path or ())) for w in report.warnings] == [
        ("KEY_CONFUSABLE", "warning", "warning", "/weight"),
        ("KEY_CONFUSABLE", "warning", "warning", "/e\u0301"),
        ("KEY_CONFUSABLE", "warning", "warning", "/r/a"),
    ]
    SCHEMA.validate(report.as_json())


def test_a_large_array_that_is_stored_twice_is_a_warning(tmp_path: Path) -> None:
    big = np.zeros(1 << 20, np.uint8)
    st.save(tmp_path / "x.h5", {"a": big, "b": big.copy(), "tied": big, "small": np.zeros(9), "t": np.zeros(9)})

    report = st.validate(tmp_path / "x.h5")

    assert [(w.code, w.path) for w in report.warnings] == [("ARRAY_DUPLICATE_BYTES", ("b",))]


def test_a_later_minor_version_is_a_warning(tmp_path: Path) -> None:
    path = manifest_file(tmp_path / "x.bson", 1, statetree="1.1")

    report = st.validate(path)

    assert [warning.code for warning in report.warnings] == ["MINOR_NEWER"]
    assert {problem.code for problem in report.problems} == {"BACKEND_MISMATCH"}


@pytest.mark.parametrize("key", [None, True, -255, 1 << 80, "a/b", b"\xff", st.Symbol("s"), ("x", 1, (None,))])
def test_every_kind_of_key_is_told_as_a_tagged_key(key: Any, tmp_path: Path) -> None:
    st.save(tmp_path / "x.bson", {key: np.ones(4)}, durable=False)
    flipped(tmp_path / "x.bson", np.ones(4).tobytes()[6:14])

    report = st.validate(tmp_path / "x.bson").as_json()

    SCHEMA.validate(report)
    assert st.parse_path(report["problems"][0]["path"]) == (key,)


def test_what_a_file_says_cannot_reach_the_terminal(tmp_path: Path) -> None:
    key = "\x1b[31m\u202e" + "k" * 5000
    st.save(tmp_path / "x.bson", {key: np.ones(4)}, durable=False)
    flipped(tmp_path / "x.bson", np.ones(4).tobytes()[6:14])

    report = st.validate(tmp_path / "x.bson").as_json()

    (problem,) = report["problems"]
    assert problem["keys"] is None
    assert len(json.dumps(problem)) < 2000
    assert all(text is None or text.isprintable() for name, text in problem.items() if name != "keys")


def test_a_level_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(st.UsageError) as refused:
        st.validate(tmp_path, level="deep")

    assert str(refused.value) == "expected a level of structure, digests, full, got 'deep': choose one of these"


def test_every_code_is_explained_with_an_example() -> None:
    rows = {**registry("errors")["codes"], **registry("errors")["warnings"]}

    assert [code for code, row in rows.items() if not (row["meaning"] and row["fix"] and row["example"])] == []
