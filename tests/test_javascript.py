"""The second implementation, in JavaScript: its own tests, and trees that it and the reference give each other.

Where Node is not installed there is nothing to run. Where it is, an installation that fails is a failure.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings

import statetree
from statetree_conformance.strategies import menageries, trees
from statetree_conformance.tagged import tag
from statetree_spec import schema

ROOT = Path(__file__).resolve().parent.parent
SUBJECT = ROOT / "implementations" / "javascript" / "subject.mjs"
NODE = shutil.which("node")
FEW = settings(max_examples=settings().max_examples // 10)
PROTOCOL = jsonschema.Draft202012Validator(schema("protocol"))

pytestmark = pytest.mark.skipif(
    NODE is None, reason="Node is not installed, which the implementation in JavaScript runs on"
)

SAVED_BY_PYTHON: dict[str, dict[str, Any]] = {
    "tree.h5": {},
    "gzip.h5": {"compression": "gzip", "algorithm": "sha-256"},
    "tree.zarr": {},
    "zstd.zarr": {"compression": "zstd", "algorithm": "blake3"},
    "tree.zarr.zip": {},
    "gzip.zarr.zip": {"compression": "gzip"},
    "tree.bson": {},
    "gzip.bson": {"compression": "gzip", "algorithm": "blake3"},
    "zstd.bson": {"compression": "zstd", "algorithm": "sha-256"},
}


class Subject:
    """A process that answers requests one by one (conformance, section 3)."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [str(NODE), str(SUBJECT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self.seq = 0

    def ask(self, **request: Any) -> dict[str, Any]:
        """The answer to a request."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(request), file=self.process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def run(self, verb: str, path: Path, **more: Any) -> dict[str, Any]:
        """The answer to a verb, without its number."""
        self.seq += 1
        answer = self.ask(cmd="run", seq=self.seq, verb=verb, path=str(path), limits={}, timeout=60, **more)
        assert answer.pop("seq") == self.seq
        return answer

    def stop(self) -> int:
        """The status with which it ends when told to."""
        self.process.communicate('{"cmd":"stop"}\n', timeout=60)
        return self.process.returncode


@pytest.fixture(scope="module")
def made() -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "javascript"], cwd=ROOT, capture_output=True, encoding="utf-8", env=environment, check=False
    )


@pytest.fixture(scope="module")
def subject(made: subprocess.CompletedProcess[str]) -> Iterator[Subject]:
    assert made.returncode == 0, made.stdout + made.stderr
    process = Subject()
    yield process
    assert process.stop() == 0


def assert_loaded(subject: Subject, path: Path, tree: Any, digest: str) -> None:
    assert subject.run("load", path) == {"result": "accepted", "tree": tag(tree), "digest": digest}
    assert subject.run("validate", path) == {"result": "accepted"}


def assert_saved(subject: Subject, path: Path, container: str, tree: Any) -> None:
    answer = subject.run("save", path, container=container, tree=tag(tree))

    assert answer == {"result": "accepted", "digest": statetree.digest(tree)}
    assert statetree.difference(statetree.load(path), tree) is None
    assert statetree.digest(path) == answer["digest"]
    assert statetree.validate(path).problems == ()


def test_its_own_tests_and_all_vectors_pass(made: subprocess.CompletedProcess[str]) -> None:
    assert made.returncode == 0, made.stdout + made.stderr
    assert "\n# fail 0\n" in made.stdout


def test_it_declares_everything_but_writing_hdf5(subject: Subject) -> None:
    answer = subject.ask(cmd="start", protocol=1)

    assert answer["containers"] == {
        "hdf5": ["read"],
        "zarr": ["read", "write"],
        "zarr.zip": ["read", "write"],
        "bson": ["read", "write"],
    }
    assert answer["verbs"] == ["load", "validate", "save"]
    PROTOCOL.validate(answer)


def test_a_refusal_is_an_answer_of_the_protocol(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "a.bson").write_bytes(b"\x80\x04N.")

    load = subject.run("load", tmp_path / "a.bson")
    validate = subject.run("validate", tmp_path / "a.bson")
    save = subject.run("save", tmp_path / "a.h5", container="hdf5", tree=tag(1))

    assert load == {"result": "rejected", "class": "unsupported", "code": "NOT_STATETREE"}
    assert [problem["code"] for problem in validate["problems"]] == ["NOT_STATETREE"]
    assert save == {"result": "skipped", "reason": "hdf5 is not written"}
    for answer in (load, validate, save):
        PROTOCOL.validate({"seq": 1, **answer})


@pytest.mark.parametrize("name", SAVED_BY_PYTHON)
@FEW
@given(tree=trees())
def test_it_reads_what_the_reference_saves(subject: Subject, tmp_path: Path, name: str, tree: Any) -> None:
    digest = statetree.save(tmp_path / name, tree, durable=False, **SAVED_BY_PYTHON[name])

    assert_loaded(subject, tmp_path / name, tree, digest)


@pytest.mark.parametrize("name", ["tree.h5", "tree.zarr", "tree.bson"])
@FEW
@given(tree=menageries())
def test_it_reads_every_dtype(subject: Subject, tmp_path: Path, name: str, tree: Any) -> None:
    digest = statetree.save(tmp_path / name, tree, durable=False)

    assert_loaded(subject, tmp_path / name, tree, digest)


@pytest.mark.filterwarnings("ignore:a str is digested as a tree")
@pytest.mark.parametrize("container", ["zarr", "zarr.zip", "bson"])
@FEW
@given(tree=trees())
def test_the_reference_reads_what_it_saves(subject: Subject, tmp_path: Path, container: str, tree: Any) -> None:
    assert_saved(subject, tmp_path / f"tree.{container}", container, tree)


@pytest.mark.parametrize("container", ["zarr", "zarr.zip", "bson"])
@FEW
@given(tree=menageries())
def test_the_reference_reads_every_dtype_that_it_saves(
    subject: Subject, tmp_path: Path, container: str, tree: Any
) -> None:
    assert_saved(subject, tmp_path / f"tree.{container}", container, tree)


@pytest.mark.parametrize("name", SAVED_BY_PYTHON)
def test_it_reads_packs_and_arrays_of_many_blocks(subject: Subject, tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(0)
    small = [random.standard_normal(1 + number % 40, np.float32) for number in range(1100)]
    tree = {"small": small, "large": random.integers(0, 50, (1100, 1000), np.int64), "empty": np.zeros((3, 0))}
    digest = statetree.save(tmp_path / name, tree, durable=False, **SAVED_BY_PYTHON[name])

    assert_loaded(subject, tmp_path / name, tree, digest)


CHUNKS: dict[str, dict[str, Any]] = {
    "one piece": {},
    "single chunk": {"chunks": (7, 6)},
    "chunks along both axes": {"chunks": (2, 4), "compression": "gzip", "shuffle": True},
    "one axis without a bound": {"chunks": (2, 1), "maxshape": (None, 6)},
    "the other axis without a bound": {"chunks": (1, 2), "maxshape": (9, None), "compression": "gzip"},
    "no bounds": {"chunks": (1, 1), "maxshape": (None, None)},
}


@pytest.mark.parametrize("versions", ["earliest", "latest"])
@pytest.mark.parametrize("layout", CHUNKS)
def test_it_reads_hdf5_files_that_another_program_wrote_anew(
    subject: Subject, tmp_path: Path, layout: str, versions: str
) -> None:
    tree = {f"key {number}": np.arange(42, dtype=">f4").reshape(7, 6) + number for number in range(40)}
    digest = statetree.save(tmp_path / "a.h5", tree, durable=False)

    with h5py.File(tmp_path / "a.h5") as source, h5py.File(tmp_path / "b.h5", "w", libver=versions) as copy:
        for name in ("header", "manifest", "info", "index", "blocks"):
            source.copy(name, copy)
        for name, dataset in source["arrays"].items():
            copy.create_dataset(f"arrays/{name}", data=dataset[()], **CHUNKS[layout])

    assert_loaded(subject, tmp_path / "b.h5", tree, digest)
