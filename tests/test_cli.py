"""The command: what it prints and how it exits."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree as st
from statetree.cli import main


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    tree: dict[str, Any] = {"model": {"w": w, "tied": w}, "epoch": 42, "text\x1b[31m": "a\u202eb"}
    st.save("a.h5", tree, info={"step": 7})
    st.save("b.bson", tree)
    st.save("c.zarr", {**tree, "model": {"w": w + 1, "tied": w}, "epoch": True})
    return tmp_path


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_inspect_shows_the_tree_with_shapes_ties_totals_and_digest(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run("inspect", "a.h5")

    out = capsys.readouterr().out.splitlines()
    assert status == 0
    assert out[0].startswith("a.h5  hdf5, ")
    assert out[1:6] == [
        "├── model  dict of 2",
        "│   ├── w  float32 (2, 3)  24 B",
        "│   └── tied  float32 (2, 3)  tied to /model/w",
        "├── epoch  int 42",
        "└── text\\x1b[31m  str 'a\\u202eb'",
    ]
    assert out[6] == "1 arrays, 6 elements, 24 B"
    assert out[7] == st.open("a.h5").digest
    assert out[9] == "info step: 7"


def test_inspect_of_a_leaf_root_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    st.save(tmp_path / "leaf.h5", 1.5)

    run("inspect", str(tmp_path / "leaf.h5"))

    assert "(root)  float 1.5" in capsys.readouterr().out


def test_inspect_as_json_has_every_node(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("inspect", "--json", "a.h5")

    found = json.loads(capsys.readouterr().out)
    assert found["nodes"][2] == {"path": "/model/w", "node": "float32 (2, 3)", "nbytes": 24}
    assert found["nodes"][3]["tied"] == "/model/w"
    assert found["backend"] == "hdf5"


def test_equal_trees_in_different_containers_have_no_difference_and_one_digest(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run("diff", "a.h5", "b.bson")
    out = capsys.readouterr().out
    run("digest", "--json", "a.h5", "b.bson")
    digests = json.loads(capsys.readouterr().out)

    assert (status, out) == (0, "no difference\n")
    assert digests[0]["digest"] == digests[1]["digest"]


def test_diff_lists_every_change_with_its_size_and_exits_with_1(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = run("diff", "--json", "a.h5", "c.zarr")

    changes = json.loads(capsys.readouterr().out)["changes"]
    assert status == 1
    assert [(c["path"], c["what"]) for c in changes] == [
        ("/model/w", "value"),
        ("/epoch", "kind"),
        ("/model/w", "tie"),
    ]
    assert changes[0]["elements"] == 6
    assert (changes[0]["max_abs"], changes[0]["max_rel"]) == (1.0, 1.0)


def test_convert_keeps_the_digest(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("convert", "a.h5", "d.zarr.zip")

    assert status == 0
    assert capsys.readouterr().out == f"a.h5 → d.zarr.zip\n{st.open('a.h5').digest}\n"
    assert st.difference(st.load("a.h5"), st.load("d.zarr.zip")) is None


def test_validate_of_a_damaged_file_names_the_array_and_exits_with_1(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytearray((files / "b.bson").read_bytes())
    data[data.index(np.arange(6, dtype=np.float32).tobytes())] ^= 1
    (files / "b.bson").write_bytes(data)

    status = run("validate", "--json", "a.h5", "b.bson")

    reports = json.loads(capsys.readouterr().out)
    assert status == 1
    assert [report["ok"] for report in reports] == [True, False]
    assert reports[1]["problems"][0]["code"] == "DIGEST"
    assert reports[1]["problems"][0]["path"] == "/model/w"


def test_a_missing_file_exits_with_3_wrong_usage_with_2_and_a_foreign_file_with_1(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "x.h5").write_bytes(b"hello")

    statuses = [run("inspect", "none.h5"), run("diff", "a.h5"), run("inspect", "x.h5"), run("convert", "a.h5", "a.xyz")]

    errors = capsys.readouterr().err
    assert statuses == [3, 2, 1, 2]
    assert "error: expected a file or folder, got nothing (in none.h5): check the path\n" in errors


def test_errors_are_json_where_json_was_asked_for(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("inspect", "--json", "none.h5")

    assert status == 3
    assert json.loads(capsys.readouterr().out)["error"][0]["code"] == "NOT_FOUND"


def test_control_characters_of_files_never_reach_the_terminal(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["inspect", "a.h5"], ["diff", "a.h5", "c.zarr"], ["inspect", "--json", "a.h5"]):
        run(*command)

    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_backends_lists_the_containers(capsys: pytest.CaptureFixture[str]) -> None:
    run("backends", "--json")

    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) >= {"hdf5", "zarr", "bson", "memory"}
    assert rows["hdf5"]["compressions"] == ["gzip"]


def test_the_module_runs_as_the_command_does_and_a_closed_pipe_is_no_error(files: Path) -> None:
    command = [sys.executable, "-m", "statetree", "inspect", "a.h5"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}

    whole = subprocess.run(command, capture_output=True, check=True, env=environment)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as piped:
        assert piped.stdout is not None
        assert piped.stderr is not None
        piped.stdout.close()
        error = piped.stderr.read()

    assert b"float32 (2, 3)" in whole.stdout
    assert error == b""


def test_digest_goes_on_behind_a_file_that_is_wrong(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("digest", "a.h5", "none.h5", "b.bson")

    printed = capsys.readouterr()
    assert status == 3
    assert [line.split()[-1] for line in printed.out.splitlines()] == ["a.h5", "b.bson"]
    assert printed.err == "error: expected a file or folder, got nothing (in none.h5): check the path\n"


def test_converting_into_memory_is_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("convert", "a.h5", "x", "--backend", "memory")

    assert status == 2
    assert capsys.readouterr().err == (
        "error: expected a container that outlives the command, got 'memory': choose hdf5, zarr or bson\n"
    )


def test_paths_of_differences_are_never_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = ["encoder" * 5, "layers" * 6, "attention" * 5, "weight"]
    for name, value in (("a.h5", 1.0), ("b.h5", 2.0)):
        tree: Any = np.array([value])
        for key in reversed(deep):
            tree = {key: tree}
        st.save(tmp_path / name, tree)

    run("diff", str(tmp_path / "a.h5"), str(tmp_path / "b.h5"))

    assert capsys.readouterr().out == (
        f"/{'/'.join(deep)}\n    value  float64 (1,)  1 elements, max abs 1, max rel 0.5\n1 difference\n"
    )


@pytest.mark.parametrize(
    ("how", "status", "error"),
    [
        ("> /dev/full", 3, "error: expected to write the output, got no space left on device\n"),
        (">&-", 0, ""),
        ("> /dev/null", 0, ""),
    ],
)
def test_an_output_that_takes_nothing_is_no_traceback(files: Path, how: str, status: int, error: str) -> None:
    command = f"{sys.executable} -m statetree inspect a.h5 {how}"

    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, encoding="utf-8", check=False)

    assert (done.returncode, done.stderr) == (status, error)


def test_a_terminal_without_unicode_gets_escapes(files: Path) -> None:
    command = [sys.executable, "-m", "statetree", "inspect", "a.h5"]

    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "PYTHONIOENCODING": "latin-1"})

    assert done.returncode == 0
    assert rb"\u251c\u2500\u2500 model  dict of 2" in done.stdout


def test_warnings_are_a_line(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = run("convert", "a.h5", "y.bson", "--backend", "zarr")

    assert status == 0
    assert capsys.readouterr().err == (
        "warning: backend 'zarr' was asked for and is used, though 'y.bson' looks like 'bson'\n"
    )


def test_inspect_takes_a_moment_for_a_long_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    st.save(tmp_path / "x.h5", {"a": list(range(20_000)), "b": (1, [2])})

    run("inspect", str(tmp_path / "x.h5"))

    out = capsys.readouterr().out.splitlines()
    assert out[1:3] == ["├── a  list of 20000", "│   ├── #0  int 0"]
    assert out[20_001:20_006] == [
        "│   └── #19999  int 19999",
        "└── b  tuple of 2",
        "    ├── #0  int 1",
        "    └── #1  list of 1",
        "        └── #0  int 2",
    ]
