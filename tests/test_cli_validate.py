"""The command `validate`: its formats, its exit status, its explanations."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

import statetree as st
from statetree.cli import main

W = np.arange(6, dtype=np.float32)
DAMAGED = (
    "expected the bytes that were saved (xxh3-128:2d0408b485dd77b108c27fcd95d1fea5), got bytes 0 to 24 of 24 with "
    "another digest (at /w) (in array 0-w): the file is damaged: restore it from a copy, or read the rest of it with "
    "select="
)
ONE = (
    "expected keys that differ in more than form or case, got two (at /W): rename one; file systems, databases and "
    "people take them for the same"
)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make sound.bson, bad.bson, and a missing file; return the digest of the first."""
    monkeypatch.chdir(tmp_path)
    digest = st.save("sound.bson", {"w": W, "W": 1}, durable=False)
    st.save("bad.bson", {"w": W}, durable=False)
    data = bytearray(Path("bad.bson").read_bytes())
    data[data.index(W.tobytes())] ^= 1
    Path("bad.bson").write_bytes(data)
    return digest


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["validate", *arguments])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.mark.parametrize(
    ("paths", "status"),
    [
        (("sound.bson",), 0),
        (("sound.bson", "bad.bson"), 1),
        (("none.h5", "bad.bson"), 3),
        ((), 2),
        (("sound.bson", "--level", "deep"), 2),
        (("sound.bson", "--timeout", "0"), 2),
        (("http://example.org/x.h5",), 2),
    ],
)
def test_the_exit_status_is_that_of_the_worst_file(files: str, paths: tuple[str, ...], status: int) -> None:
    assert run(*paths) == status


def test_the_text_has_a_line_for_each_file_and_each_finding(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("sound.bson", "bad.bson", "none.h5")

    assert capsys.readouterr().out.splitlines() == [
        f"sound sound.bson  bson  {files}",
        f"  warning: KEY_CONFUSABLE  {ONE}",
        "wrong bad.bson  1 problem",
        f"  DIGEST (integrity, G-3)  {DAMAGED}",
        "unread none.h5  1 problem",
        "  NOT_FOUND (io)  expected a file or folder, got nothing (in none.h5): check the path",
        "  not run: framing, manifest, limits, tree, info, container, digests: the file could not be judged",
    ]


def test_json_is_one_list_and_jsonl_a_line_for_each_file(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("--format", "json", "sound.bson", "bad.bson")
    whole = capsys.readouterr().out
    run("--json", "sound.bson", "bad.bson")
    same = capsys.readouterr().out
    run("--format", "jsonl", "sound.bson", "bad.bson")
    lines = capsys.readouterr().out.splitlines()

    assert json.loads(whole) == json.loads(same) == [json.loads(line) for line in lines]
    assert [report["ok"] for report in json.loads(whole)] == [True, False]


def test_junit_is_xml_with_a_case_for_each_file(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("--format", "junit", "sound.bson", "bad.bson", "none.h5")

    suite = ElementTree.fromstring(capsys.readouterr().out)[0]
    assert suite.attrib == {"name": "statetree validate", "tests": "3", "failures": "1", "errors": "1"}
    assert [[part.tag for part in case] for case in suite] == [["system-out"], ["failure"], ["error", "system-out"]]
    assert suite[1][0].text == f"DIGEST: {DAMAGED}"


def test_github_is_a_workflow_command_for_each_finding(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    run("--format", "github", "sound.bson", "bad.bson")

    assert capsys.readouterr().out.splitlines() == [
        f"::warning file=sound.bson,title=KEY_CONFUSABLE::{ONE}",
        f"::error file=bad.bson,title=DIGEST::{DAMAGED}",
    ]


@pytest.mark.parametrize("form", ["text", "json", "jsonl", "junit", "github"])
def test_hostile_names_do_no_harm_in_any_format(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = "x\x1b[31m\n::error::,a=b%0A]]>&\"'\u202e"
    Path(name).write_bytes(b"\x80\x04]\x94.")

    status = run("--format", form, name)

    out = capsys.readouterr().out
    assert status == 1
    assert all(line.isprintable() for line in out.splitlines())
    assert not any(line.startswith("::error::") for line in out.splitlines())
    if form == "junit":
        ElementTree.fromstring(out)


def test_a_file_may_be_given_only_so_much_time(files: str, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("--timeout", "0.000001", "--max-memory", "64", "sound.bson")

    assert status == 1
    assert capsys.readouterr().out.splitlines() == [
        "wrong sound.bson  1 problem",
        "  LIMIT_TIME (limit, L-1)  expected a file that takes no more than the caller allows, got more than 1e-06 "
        "seconds (in sound.bson): raise timeout= if you trust the file",
        "  not run: framing, manifest, limits, tree, info, container, digests: the validation did not come to an end",
    ]


def test_a_code_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    status = run("--explain", "KEY_COLLISION")

    assert status == 0
    assert capsys.readouterr().out.splitlines() == [
        "KEY_COLLISION  invalid: parsed, of a known version, and breaks a rule",
        "  means   a dict has two keys that many languages take for one, such as 1 and true",
        "  rules   spec.md [D-3]",
        '  example {"dict":[1,"x",true,"y"]}',
        "  remedy  rename one of the keys before saving",
    ]


def test_a_code_that_there_is_not_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    status = run("--explain", "digst")

    assert status == 2
    expected = "error: expected a code of the error registry, got 'digst': did you mean DIGEST"
    assert capsys.readouterr().err.startswith(expected)


def test_the_hook_for_pre_commit_is_the_command() -> None:
    hooks = (Path(__file__).parent.parent / ".pre-commit-hooks.yaml").read_text()

    assert "- id: statetree-validate\n" in hooks
    assert "  entry: statetree validate\n" in hooks
