"""The example and the benchmarks run from beginning to end, and say so when something is wrong."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from statetree import difference, load, save

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("demo")
    done = run("examples/numpy_digits.py", "--epochs", "3", "--save-after", "1", "--folder", str(folder))
    return folder, done


def test_training_resumed_from_each_container_ends_in_the_same_bits(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = demo

    first, *others = [load(folder / f"resumed{suffix}") for suffix in (".h5", ".zarr", ".bson")]

    assert (done.returncode, done.stderr) == (0, "")
    assert first["epoch"] == len(first["losses"]) == 3
    assert [difference(first, other) for other in others] == [None, None]
    assert done.stdout.count("identical") == 12
    assert "the 3 tree digests are one" in done.stdout


def test_the_saved_state_is_of_the_middle_and_not_of_the_end(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = demo

    middle, end = load(folder / "epoch-01.h5"), load(folder / "resumed.h5")

    for part in ("layers", "statistics", "optimiser", "random", "epoch", "losses"):
        assert difference(middle[part], end[part]) is not None


def test_the_example_shows_the_tree_and_an_accuracy_far_above_chance(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = demo

    accuracy = re.search(r"accuracy on 360 unseen digits: ([0-9.]+)%", done.stdout)

    assert accuracy is not None
    assert float(accuracy[1]) > 80
    assert "weight  float32 (64, 96)" in done.stdout


def test_the_example_fails_where_a_resumed_run_ends_in_other_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import numpy_digits  # type: ignore[import-not-found]
    from rich.console import Console

    def resume_and_turn_a_sign(*arguments: str) -> str:
        if "--resume" in arguments:
            file, epochs, result = (arguments[i] for i in (2, 4, 6))
            state = numpy_digits.statetree.load(file)
            for _ in numpy_digits.train(state, int(epochs)):
                pass
            state["optimiser"]["first"][0]["scale"][0] *= np.float32(-1)
            numpy_digits.statetree.save(result, state)
        return ""

    monkeypatch.setattr(numpy_digits, "run", resume_and_turn_a_sign)
    held = numpy_digits.demonstrate(tmp_path, 2, 1, Console(width=200))

    printed = capsys.readouterr().out
    assert held is False
    assert printed.count("DIFFERS") == 6
    assert re.search(r"resumed\.h5: .*first", printed.replace("\n", ""))


def test_training_with_torch_resumed_in_new_processes_ends_in_the_same_bits() -> None:
    done = run("examples/torch_resume.py")

    differences = re.findall(r"│ (trainable parameters only|statetree\.state\(model\)) +│ ([0-9.]+) ", done.stdout)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("identical") == 4 * 8
    assert len(set(re.findall(r"xxh3-128:[0-9a-f]+", done.stdout))) == 1
    assert [name for name, _ in differences] == ["trainable parameters only", "statetree.state(model)"]
    assert float(differences[0][1]) > 0.1
    assert differences[1][1] == "0"


def test_the_example_of_torch_fails_where_a_resumed_run_ends_in_other_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import torch_resume  # type: ignore[import-not-found]
    from rich.console import Console

    def stop_where_it_was(file: Path, result: Path) -> SimpleNamespace:
        if file.suffix == ".bson":
            torch_resume.st.save(result, torch_resume.st.load(file))
        else:
            torch_resume.resume(file, result)
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(torch_resume, "start", stop_where_it_was)
    monkeypatch.setattr(torch_resume, "CONTAINERS", (".h5", ".bson"))
    held = torch_resume.show_resumed(tmp_path, Console(width=200))

    printed = capsys.readouterr().out
    assert held is False
    assert (printed.count("identical"), printed.count("DIFFERS")) == (8, 8)


def test_rank_0_of_data_parallel_training_saves_for_a_single_process() -> None:
    done = run("examples/torch_ddp.py")

    text = "saved by rank 0 of 2 after 5 steps, restored in one process: identical True\n"
    assert (done.returncode, done.stdout) == (0, text)


def test_the_benchmarks_print_every_cell_and_write_their_samples(tmp_path: Path) -> None:
    file = tmp_path / "samples.json"

    done = run(
        "-m", "benchmarks", "--quick", "--only", "W3", "--pairs", "1", "--json", str(file), "--folder", str(tmp_path)
    )

    assert (done.returncode, done.stderr) == (0, "")
    for container in ("hdf5", "zarr", "bson"):
        rows = re.findall(rf"W3 +│ (save|load|lazy|save memory|load memory) +│ {container} ", done.stdout)
        assert rows == ["save", "load", "lazy", "save memory", "load memory"]
    assert os.listdir(tmp_path) == [file.name]
    assert '"unit": "MiB"' in file.read_text()


def test_an_unknown_workload_is_refused_with_the_known_ones() -> None:
    done = run("-m", "benchmarks", "--only", "W9")

    assert done.returncode == 2
    assert done.stderr.endswith("error: expected workloads of W2, W3, got W9\n")


@pytest.mark.parametrize("file", ["model.h5", "model.zarr", "model.zarr.zip", "model.bson"])
def test_a_model_in_the_style_of_flux_comes_back_without_its_functions(file: str) -> None:
    done = run("examples/flux_style.py", "--file", file)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("same output True") == 2
    assert "the layer that is used twice is one layer: True" in done.stdout
    assert "not in the file: /layers/#0/act" in done.stdout


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("jax")
    return folder, run("examples/jax_resume.py", "--folder", str(folder))


def test_training_with_jax_goes_on_in_a_new_process_bit_for_bit(
    resumed: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = resumed

    assert (done.returncode, done.stderr) == (0, "")
    assert re.findall(r"^(nnx|linen) +(\.\S+) +10\+10  identical$", done.stdout, re.MULTILINE) == [
        (library, suffix) for library in ("nnx", "linen") for suffix in (".h5", ".zarr", ".zarr.zip", ".bson")
    ]
    for library in ("nnx", "linen"):
        middle, end = load(folder / f"{library}-middle.h5"), load(folder / f"{library}-straight.h5")
        assert difference(middle, end) is not None


def test_training_with_jax_that_ends_in_other_bits_is_told(
    resumed: tuple[Path, subprocess.CompletedProcess[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import jax_resume  # type: ignore[import-not-found]

    folder, _ = resumed
    path = folder / "linen-resumed.bson"
    tree = load(path)
    tree["train"].statistics["BatchNorm_0"]["mean"][0] += np.float32(1e-3)
    save(path, tree)

    held = jax_resume.compare(folder)

    assert held is False
    assert re.findall(r"^(\S+) +(\S+) .* DIFFERS: .*/mean", capsys.readouterr().out, re.MULTILINE) == [
        ("linen", ".bson")
    ]
