"""A backend of somebody else, in a package of its own, runs the suite from its own folder and passes."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "third_party_npz"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, and beside it the folder into which it is installed, which is on no other path."""
    folder = tmp_path_factory.mktemp("npz")
    shutil.copytree(HERE, folder / "package", ignore=shutil.ignore_patterns(".*", "__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", folder / "installed", folder / "package"], check=True)
    return folder


def run(package: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    # CI: what Hypothesis draws is the same in every run.
    environment = os.environ | {"PYTHONPATH": str(package / "installed"), "CI": "1"}
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=package / "package",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_own_tests_hold_it_against_every_law(package: Path) -> None:
    done = run(package, "pytest", "-q", "-p", "no:cacheprovider")

    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    assert "skipped" not in done.stdout


def test_the_command_finds_it_by_its_name(package: Path) -> None:
    done = run(package, "statetree", "conformance", "run", "--backend", "npz", "--examples", "3")

    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[1].split()[:5] == ["npz", "24", "0", "0", "0"]


def test_the_suite_takes_five_lines() -> None:
    text = (HERE / "test_npz.py").read_text()
    lines = [line for line in text[text.index("@pytest.mark") :].split("\n\n\n")[0].splitlines() if line.strip()]

    assert len(lines) + len(["import pytest"]) <= 5
