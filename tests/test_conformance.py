"""The command `statetree conformance run`: what it tries, what it writes, how it exits."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import jsonschema
import pytest

from statetree_conformance.judging import judge, known_failures, unlisted
from statetree_conformance.page import write_html
from statetree_conformance.protocol import Capabilities
from statetree_conformance.reports import summary, write_jsonl, write_junit
from statetree_conformance.results import Result, Run
from statetree_conformance.talk import Reply
from statetree_conformance.vectors import Vector
from statetree_spec import schema

FAKE = f"{sys.executable} {Path(__file__).parent / 'fake_subjects.py'}"
HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e\x00&"


def result(**more: Any) -> Result:
    return Result(**{"column": "c", "kind": "law", "name": "a_law", "rules": ("D-1",), "outcome": "passed", **more})


def a_run(*results: Result) -> Run:
    columns = {r.column: {"kind": "backend", "about": HOSTILE, "seconds": 1.0} for r in results}
    about = {"suite": "1", "time": "2026-01-02T03:04:05Z", "examples": 9, "seed": None, "seconds": 1.0}
    return Run(tuple(results), about | {"columns": columns})


FAILED = result(name="another_law", outcome="failed", why=f"expected {HOSTILE}", input=f"tree = {HOSTILE}")
RUN = a_run(result(), FAILED, result(column="d", outcome="skipped", why="no files"), result(column="d"))


def conformance(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "statetree", "conformance", "run", *arguments]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


def test_a_run_that_holds_exits_with_0_and_writes_every_report(tmp_path: Path) -> None:
    reports = ("--html", "r.html", "--jsonl", "r.jsonl", "--junit", "out/r.xml")

    chosen = ("--backend", "memory", "--backend", "hdf5", "--examples", "5", "--only", "_same_")
    done = conformance(*chosen, *reports, folder=tmp_path)

    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert (done.returncode, done.stderr) == (0, "tried memory\ntried hdf5\n")
    assert done.stdout.splitlines()[-1].startswith("everything holds (5 examples a law, ")
    assert list(lines[0]["run"]["columns"]) == ["memory", "hdf5"]
    assert {line["result"]["kind"] for line in lines[1:]} == {"law"}
    assert (tmp_path / "r.html").is_file()
    assert Xml.parse(tmp_path / "out/r.xml").getroot().tag == "testsuites"


def test_a_run_in_which_something_fails_exits_with_1_and_says_what(tmp_path: Path) -> None:
    done = conformance("--subject", f"{FAKE} error", "--only", "bson-root-int", folder=tmp_path)

    assert done.returncode == 1
    assert "FAILED fake: bson-root-int, load (" in done.stdout
    assert "    expected an answer, got errored: KeyError: 'tree'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 failed (200 examples a law, ")


def test_an_unknown_backend_is_a_fault_of_usage(tmp_path: Path) -> None:
    done = conformance("--backend", "tar", folder=tmp_path)

    assert done.returncode == 2
    assert done.stderr == (
        "error: expected a backend of bson, hdf5, memory, zarr, got 'tar': "
        "choose one of these, or install the package that brings it\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vectors = [", "error: expected TOML, got "),
        (
            '[vectors.a]\nverb = "load"',
            "error: expected verb, result, class and reason, got other members of vectors.a",
        ),
    ],
)
def test_a_list_that_cannot_be_read_is_a_fault_of_usage(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "expected").mkdir()
    (tmp_path / "expected/fake.toml").write_text(text)

    done = conformance("--subject", f"{FAKE} error", "--only", "bson-root-int", folder=tmp_path)

    assert done.returncode == 2
    assert said in done.stderr


def test_a_seed_is_a_number_or_random(tmp_path: Path) -> None:
    done = conformance("--seed", "many", folder=tmp_path)

    assert done.returncode == 2
    assert "Invalid value for --seed: 'many' is neither a number nor 'random'" in done.stderr


def test_without_hypothesis_it_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['hypothesis'] = None; from statetree.cli import main; main(['conformance', 'run'])"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr == (
        "error: expected the library 'hypothesis' for the command 'conformance', got no such library: "
        "pip install 'statetree[conformance]'\n"
    )


# Reports


def test_each_line_of_json_is_as_the_schema_says(tmp_path: Path) -> None:
    write_jsonl(RUN, tmp_path / "r.jsonl")

    for line in (tmp_path / "r.jsonl").read_text("utf-8").splitlines():
        jsonschema.validate(json.loads(line), schema("run"))


def test_junit_counts_what_failed_and_shows_its_input(tmp_path: Path) -> None:
    write_junit(RUN, tmp_path / "r.xml")

    suites = Xml.parse(tmp_path / "r.xml").getroot().findall("testsuite")
    assert [(s.get("tests"), s.get("failures"), s.get("skipped")) for s in suites] == [("2", "1", "0"), ("2", "0", "1")]
    assert "tree = <script>" in (suites[0].findall("testcase")[1].findtext("failure") or "")


def test_the_page_stands_alone_and_escapes_what_it_shows(tmp_path: Path) -> None:
    write_html(RUN, tmp_path / "r.html")

    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u001b[31m\\u202e\\u0000&amp;" in page
    assert "1 failed." in page


def test_the_summary_names_what_failed_with_its_input() -> None:
    lines = summary(RUN)

    assert lines[0].split() == ["column", "passed", "known", "skipped", "failed", "codes", "seconds"]
    assert "FAILED c: another law (D-1)" in lines
    assert not any("\x1b" in line or "\u202e" in line for line in lines)
    assert lines[-1] == "1 failed (9 examples a law, 1.0 s)"


def test_a_run_is_good_only_if_something_passed_in_every_column() -> None:
    assert a_run(result()).ok
    assert not a_run(result(), result(column="d", outcome="skipped")).ok


# Judging


CAN = Capabilities("s", "L", "1", ("1.0",), {"bson": ("read",)}, ("load", "validate"))
REFUSE = {"outcome": "refuse", "class": "invalid", "code": "NODE_KIND", "also": ["KEY_FORM", "DIGEST"]}
TREE = {"k": "bool", "v": True}


def vector(**more: Any) -> Vector:
    expect = {"load": {"outcome": "accept"}, "validate": REFUSE}
    record = {"kind": "valid", "id": "v", "title": "", "container": "bson", "bytes": {}, "rows": (), "rules": ("D-1",)}
    return Vector(**{**record, "made": "", "expect": expect, "tree": TREE, "digest": "d", **more})


def judged(verb: str, kind: str, known: str = "", folder: Path | None = None, **answer: Any) -> Result:
    listed = ()
    if folder is not None:
        (folder / "s.toml").write_text(known)
        listed = known_failures(folder / "s.toml")
    return judge("s", vector(), verb, Reply(kind, answer, answer.get("reason", "")), CAN, listed)


def test_an_accepted_vector_must_be_the_right_tree_with_the_right_digest() -> None:
    right = {"digest": "d", "tree": TREE}

    assert judged("load", "accepted", **right).outcome == "passed"
    assert judged("load", "accepted", **right | {"digest": "e"}).why == "expected the digest d, got e"
    assert judged("load", "accepted", digest="d").why == "expected a tree, got accepted without one"
    assert judged("load", "accepted", **right | {"tree": {"k": "int", "hex": "1"}}).why == (
        "expected the tree of the vector, got another: /k: expected 'bool', got 'int'"
    )


def test_what_a_reader_may_lack_is_no_failure_where_the_vector_says_so() -> None:
    lacking = vector(expect={"load": {"outcome": "accept", "also": ["DIGEST_ALGORITHM"]}})

    def outcome(error_class: str, code: str) -> str:
        answer = {"class": error_class, "code": code}
        return judge("s", lacking, "load", Reply("rejected", answer, ""), CAN, ()).outcome

    assert outcome("unsupported", "DIGEST_ALGORITHM") == "passed"
    assert outcome("integrity", "DIGEST_ALGORITHM") == "failed"
    assert outcome("integrity", "DIGEST") == "failed"


def test_of_a_refused_vector_the_class_must_be_right_and_the_code_is_scored() -> None:
    right = judged("validate", "rejected", **{"class": "invalid", "code": "NODE_KIND"})
    other = judged("validate", "rejected", **{"class": "invalid", "code": "INT_FORM"})
    also = judged("validate", "rejected", **{"class": "integrity", "code": "DIGEST"})
    wrong = judged("validate", "rejected", **{"class": "integrity", "code": "NODE_KIND"})

    assert (right.outcome, right.code, right.why) == ("passed", True, None)
    assert (other.outcome, other.code, other.why) == ("passed", False, "expected the code NODE_KIND, got INT_FORM")
    assert (also.outcome, also.code) == ("passed", True)
    assert wrong.why == "expected rejected (invalid, NODE_KIND), got rejected (integrity, NODE_KIND)"
    assert judged("validate", "crashed").outcome == "failed"


KNOWN = '[vectors.v]\nverb = "load"\nresult = "rejected"\nclass = "limit"\nreason = "it has little memory"\n'


def test_a_known_failure_is_known_only_as_long_as_it_fails_as_listed(tmp_path: Path) -> None:
    def listed(kind: str, **answer: Any) -> Result:
        return judged("load", kind, KNOWN, tmp_path, **answer)

    as_listed = listed("rejected", **{"class": "limit", "code": "LIMIT_NODES"})
    assert as_listed.outcome == "known"
    assert as_listed.why == "it has little memory (expected accepted, got rejected (limit, LIMIT_NODES))"
    assert listed("accepted", digest="d", tree=TREE).why == (
        "listed as a known failure (rejected (limit)), and it passes: take it off the list"
    )
    assert listed("rejected", **{"class": "invalid", "code": "NODE_KIND"}).outcome == "failed"
    assert listed("crashed").outcome == "failed"
    assert listed("skipped", reason="no").outcome == "failed"


def test_a_known_failure_of_no_vector_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(KNOWN)

    found = unlisted("s", known_failures(tmp_path / "s.toml"), [])

    assert [(one.name, one.outcome) for one in found] == [("v", "failed")]
