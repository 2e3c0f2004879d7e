"""Training that stops half-way and goes on in another process, bit for bit, from HDF5, Zarr and BSON.

A network of two hidden layers in plain NumPy (batch normalisation with running statistics, dropout, AdamW) learns
the handwritten digits that scikit-learn ships. Everything the rest of the run depends on is one state tree:
weights, batch statistics, optimiser, random state, epoch, losses.

    python examples/numpy_digits.py

Exit status 1 if any file is unsound or any resumed run ends in another bit than the uninterrupted one.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import statetree

Floats = NDArray[np.float32]
Layer = dict[str, Floats]
Tree = dict[str, Any]

SIZES = (64, 96, 48)
CLASSES = 10
BATCH = 64
KEPT = 0.9
"""Part of the hidden values that dropout keeps."""
MOMENTUM = 0.9
"""Weight of the past in the running statistics."""
CONTAINERS = (".h5", ".zarr", ".bson")


# The network -------------------------------------------------------------------------------------------------------


def new_state(seed: int) -> Tree:
    """Return the state of a run that has not begun."""
    random = np.random.default_rng(seed)
    hidden = [_hidden(random, m, n) for m, n in pairwise(SIZES)]
    layers = [*hidden, {"weight": _normal(random, SIZES[-1], CLASSES), "bias": np.zeros(CLASSES, np.float32)}]
    statistics = [{"mean": np.zeros(n, np.float32), "variance": np.ones(n, np.float32)} for n in SIZES[1:]]
    return {
        "layers": layers,
        "statistics": statistics,
        "optimiser": {
            "name": "AdamW",
            "rate": 2e-3,
            "decay": 1e-2,
            "betas": (0.9, 0.999),
            "step": 0,
            "first": [{name: np.zeros_like(value) for name, value in layer.items()} for layer in layers],
            "second": [{name: np.zeros_like(value) for name, value in layer.items()} for layer in layers],
        },
        "random": random.bit_generator.state,
        "epoch": 0,
        "losses": [],
    }


def _hidden(random: np.random.Generator, m: int, n: int) -> Layer:
    return {"weight": _normal(random, m, n), "scale": np.ones(n, np.float32), "shift": np.zeros(n, np.float32)}


def _normal(random: np.random.Generator, m: int, n: int) -> Floats:
    return random.standard_normal((m, n), np.float32) * np.float32(np.sqrt(2 / m))


def predict(state: Tree, x: Floats) -> Floats:
    """Return the logits, shape (n, 10), of images (n, 64), with the running statistics and without dropout."""
    for layer, seen in zip(state["layers"], state["statistics"], strict=False):
        z = x @ layer["weight"]
        z = (z - seen["mean"]) / np.sqrt(seen["variance"] + np.float32(1e-5))
        x = np.maximum(z * layer["scale"] + layer["shift"], 0)
    last = state["layers"][-1]
    logits: Floats = x @ last["weight"] + last["bias"]
    return logits


def gradients(state: Tree, x: Floats, y: NDArray[Any], random: np.random.Generator) -> tuple[float, list[Layer]]:
    """Return the mean cross-entropy of a batch and its gradients; the running statistics move on."""
    *hidden, last = state["layers"]
    steps = []
    for layer, seen in zip(hidden, state["statistics"], strict=True):
        z = x @ layer["weight"]
        mean, variance = z.mean(0), z.var(0)
        seen["mean"] = MOMENTUM * seen["mean"] + (1 - MOMENTUM) * mean
        seen["variance"] = MOMENTUM * seen["variance"] + (1 - MOMENTUM) * variance
        inverse = 1 / np.sqrt(variance + np.float32(1e-5))
        normal = (z - mean) * inverse
        active = normal * layer["scale"] + layer["shift"]
        mask = (active > 0) * (random.random(active.shape, np.float32) < KEPT) / np.float32(KEPT)
        steps.append((layer, x, normal, inverse, mask))
        x = active * mask
    loss, back = cross_entropy(x @ last["weight"] + last["bias"], y)
    found: list[Layer] = [{"weight": x.T @ back, "bias": back.sum(0)}]
    back = back @ last["weight"].T
    for layer, before, normal, inverse, mask in reversed(steps):
        back = back * mask
        scale, shift = (back * normal).sum(0), back.sum(0)
        back = (back - shift / len(y) - normal * (scale / len(y))) * layer["scale"] * inverse
        found.insert(0, {"weight": before.T @ back, "scale": scale, "shift": shift})
        back = back @ layer["weight"].T
    return loss, found


def cross_entropy(logits: Floats, y: NDArray[Any]) -> tuple[float, Floats]:
    """Return the mean cross-entropy and its gradient with respect to the logits."""
    shifted = logits - logits.max(1, keepdims=True)
    chances = np.exp(shifted)
    chances /= chances.sum(1, keepdims=True)
    rows = np.arange(len(y))
    loss = -float(np.log(chances[rows, y]).mean())
    chances[rows, y] -= 1
    return loss, chances / np.float32(len(y))


def adamw(state: Tree, found: list[Layer]) -> None:
    """Take one step of AdamW (Loshchilov and Hutter, 2019); only weights decay."""
    optimiser = state["optimiser"]
    optimiser["step"] += 1
    b1, b2 = optimiser["betas"]
    rate = optimiser["rate"] * np.sqrt(1 - b2 ** optimiser["step"]) / (1 - b1 ** optimiser["step"])
    for layer, slope, first, second in zip(
        state["layers"], found, optimiser["first"], optimiser["second"], strict=True
    ):
        for name, g in slope.items():
            first[name] = np.float32(b1) * first[name] + np.float32(1 - b1) * g
            second[name] = np.float32(b2) * second[name] + np.float32(1 - b2) * g * g
            if name == "weight":
                layer[name] = layer[name] * np.float32(1 - optimiser["rate"] * optimiser["decay"])
            layer[name] = layer[name] - np.float32(rate) * first[name] / (np.sqrt(second[name]) + np.float32(1e-8))


# Training ----------------------------------------------------------------------------------------------------------


def digits() -> tuple[Floats, NDArray[Any], Floats, NDArray[Any]]:
    """Return images and labels to learn from (1,437) and to test with (360), shuffled the same way each time."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = (data.data[order] / 16).astype(np.float32), data.target[order]
    return x[:1437], y[:1437], x[1437:], y[1437:]


def train(state: Tree, epochs: int) -> Iterator[tuple[int, float]]:
    """Train `state` in place up to epoch `epochs`, and yield (epoch, loss) after each."""
    x, y, _, _ = digits()
    random = np.random.default_rng()
    random.bit_generator.state = state["random"]
    while state["epoch"] < epochs:
        order = random.permutation(len(y))
        losses = []
        for start in range(0, len(y), BATCH):
            batch = order[start : start + BATCH]
            loss, found = gradients(state, x[batch], y[batch], random)
            adamw(state, found)
            losses.append(loss)
        state["epoch"] += 1
        state["losses"].append(float(np.mean(losses)))
        state["random"] = random.bit_generator.state
        yield state["epoch"], state["losses"][-1]


def accuracy(state: Tree) -> float:
    """Return the part of the test images that is told right."""
    _, _, x, y = digits()
    return float((predict(state, x).argmax(1) == y).mean())


# The demonstration -------------------------------------------------------------------------------------------------


def resume(file: Path, epochs: int, result: Path) -> None:
    """Go on from `file` to epoch `epochs` and save what comes out. Runs in a process of its own."""
    state = statetree.load(file)
    for _ in train(state, epochs):
        pass
    statetree.save(result, state)


def run(*arguments: str) -> str:
    """Run Python in a new process and return what it printed."""
    return subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of one save."""

    file: Path
    milliseconds: float
    report: statetree.Report


def save_everywhere(state: Tree, folder: Path) -> list[Saved]:
    """Save `state` in each container and validate the files."""
    saved = []
    for suffix in CONTAINERS:
        file = folder / f"epoch-{state['epoch']:02}{suffix}"
        begin = time.perf_counter()
        statetree.save(file, state, info={"example": "numpy_digits"})
        took = (time.perf_counter() - begin) * 1e3
        saved.append(Saved(file, took, statetree.validate(file)))
    return saved


def demonstrate(folder: Path, epochs: int, save_after: int, out: Console) -> bool:
    """Train, save on the way, validate, inspect, resume and compare; return whether all of it held."""
    folder.mkdir(parents=True, exist_ok=True)
    state, saved = new_state(seed=7), []
    out.print(f"training {epochs} epochs on digits, saving after epoch {save_after}")
    for epoch, loss in train(state, epochs):
        out.print(f"  epoch {epoch:2}  loss {loss:.4f}{'  saved' if epoch == save_after else ''}")
        if epoch == save_after:
            saved = save_everywhere(state, folder)
    out.print(f"accuracy on 360 unseen digits: {accuracy(state):.1%}\n")

    out.print(f"$ statetree inspect {saved[0].file}", markup=False, highlight=False)
    out.print(run("-m", "statetree", "inspect", str(saved[0].file)), markup=False, highlight=False)
    return compare(state, saved, out)


def compare(state: Tree, saved: list[Saved], out: Console) -> bool:
    """Resume from each file in a new process, hold the outcome against `state`, and print the table."""
    parts = {"weights": ("layers", "statistics"), "optimiser": ("optimiser",), "random state": ("random",)}
    table = Table(title=f"resumed in new processes, compared bit by bit after epoch {state['epoch']}")
    for name in ("container", "file", "KiB", "save ms", "tree digest of the file", *parts, "whole tree"):
        table.add_column(name, justify="right" if name in {"KiB", "save ms"} else "left")
    differences = []
    for one in saved:
        result = one.file.with_name(f"resumed{one.file.suffix}")
        run(__file__, "--resume", str(one.file), "--epochs", str(state["epoch"]), "--result", str(result))
        resumed = statetree.load(result)
        found = [statetree.difference([state[k] for k in keys], [resumed[k] for k in keys]) for keys in parts.values()]
        found.append(statetree.difference(state, resumed))
        differences += [f"{result}: {difference}" for difference in found if difference]
        differences += [f"{one.file}: {problem}" for problem in one.report.problems]
        table.add_row(
            one.file.suffix,
            "sound" if one.report else "UNSOUND",
            f"{statetree.inspect(one.file).stored_bytes / 1024:.0f}",
            f"{one.milliseconds:.1f}",
            f"{(one.report.digest or '')[:20]}…",
            *("DIFFERS" if difference else "identical" for difference in found),
        )
    out.print(table)
    for text in differences:
        out.print(text, markup=False)
    one_digest = len({one.report.digest for one in saved}) == 1
    out.print(f"the {len(saved)} tree digests are {'one' if one_digest else 'NOT one'}")
    return one_digest and not differences


def main() -> None:
    """Run the demonstration, or resume one file (which is what the demonstration starts)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--save-after", type=int, default=5, help="epochs before the states are saved")
    parser.add_argument("--folder", type=Path, default=Path("demo-output"))
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on from FILE and save the outcome")
    parser.add_argument("--result", type=Path, metavar="FILE", help="where --resume saves it")
    options = parser.parse_args()
    if options.resume:
        if options.result is None:
            parser.error("--resume needs --result")
        resume(options.resume, options.epochs, options.result)
        return
    if not 0 < options.save_after <= options.epochs:
        parser.error("--save-after must lie within the epochs")
    out = Console(width=None if sys.stdout.isatty() else 130)
    sys.exit(0 if demonstrate(options.folder, options.epochs, options.save_after, out) else 1)


if __name__ == "__main__":
    main()
