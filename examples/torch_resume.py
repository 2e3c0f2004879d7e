"""PyTorch training that stops in the middle of an epoch and goes on in another process, from every container.

A small convolutional network with batch normalisation and dropout learns the handwritten digits that scikit-learn
ships: AdamW, MultiStepLR, batches from a shuffled StatefulDataLoader with two workers, and noise from the three global
generators (of Python, NumPy and torch). 20 steps at a stretch are held against 10 steps, a save, a load in a new
process, and 10 more, bit by bit. Then it shows what becomes of batch normalisation if only trainable parameters are
saved.

    python examples/torch_resume.py

Exit status 1 if anything differs that must not.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

import statetree as st

STEPS, SAVE_AFTER, BATCH = 20, 10, 96
CONTAINERS = (".h5", ".zarr", ".zarr.zip", ".bson")


# The run ------------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """All that goes on from step to step, but for the global generators of random numbers."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.MultiStepLR
    loader: Any
    step: int = 0


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images, shape (1797, 1, 8, 8), and their labels."""
    data = load_digits()
    return torch.tensor(data.images[:, None] / 16, dtype=torch.float32), torch.tensor(data.target)


def build(seed: int) -> Run:
    """Seed the global generators and return a run that has not begun."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10)),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [6, 12, 16], gamma=0.5)
    images, labels = (part[:1437] for part in digits())
    numbered = TensorDataset(torch.arange(len(labels)), images, labels)
    return Run(model, optimizer, scheduler, StatefulDataLoader(numbered, BATCH, shuffle=True, num_workers=2))


def train(run: Run, batches: Iterator[Any], until: int) -> list[int]:
    """Train up to a step, with what is left of an epoch first, and return the numbers of the images that were seen."""
    seen: list[int] = []
    run.model.train()
    while run.step < until:
        for numbers, images, labels in batches:
            seen += numbers.tolist()
            shift = random.randint(-1, 1)
            noise = torch.from_numpy(np.random.normal(0, 0.05, images.shape).astype(np.float32))
            run.optimizer.zero_grad()
            nn.functional.cross_entropy(run.model(images.roll(shift, 3) + noise), labels).backward()
            run.optimizer.step()
            run.scheduler.step()
            run.step += 1
            if run.step == until:
                return seen
        batches = iter(run.loader)
    return seen


def saved(run: Run, seen: list[int]) -> dict[str, Any]:
    """Return everything as one state tree."""
    return {"run": st.state(run), "rng": st.rng_state(), "seen": np.array(seen)}


def resume(file: Path, result: Path) -> None:
    """Go on from `file` and save what comes out. Runs in a process of its own, where nothing is left of the first."""
    run, tree = build(seed=12345), st.load(file)
    st.restore(run, tree["run"])
    batches = iter(run.loader)  # draws a seed for its workers, so the generators are set after it
    st.restore_rng(tree["rng"])
    seen = train(run, batches, STEPS)
    st.save(result, saved(run, tree["seen"].tolist() + seen))


def start(file: Path, result: Path) -> "subprocess.Popen[bytes]":
    """Start a new process that resumes."""
    return subprocess.Popen([sys.executable, __file__, "--resume", str(file), "--result", str(result)])


# What is shown ------------------------------------------------------------------------------------------------------


def parts(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a saved tree that are compared."""
    run = tree["run"]
    layers = {name: dict(layer) for name, layer in run["model"].items()}
    trained = {name: {k: v for k, v in layer.items() if k in ("weight", "bias")} for name, layer in layers.items()}
    buffers = {name: {k: v for k, v in layer.items() if k not in trained[name]} for name, layer in layers.items()}
    return {
        "weights": trained,
        "buffers": buffers,
        "optimiser": run["optimizer"],
        "scheduler": run["scheduler"],
        "three RNGs": tree["rng"],
        "loader": run["loader"],
        "order of images": tree["seen"],
        "everything": tree,
    }


def show_resumed(folder: Path, out: Console) -> bool:
    """Resume from every container in a new process, print what is identical, and return whether all of it is."""
    whole = build(seed=7)
    seen = train(whole, iter(whole.loader), STEPS)
    expected = {name: st.digest(part) for name, part in parts(saved(whole, seen)).items()}
    run = build(seed=7)
    tree = saved(run, train(run, iter(run.loader), SAVE_AFTER))
    processes = []
    for suffix in CONTAINERS:
        file, result = folder / f"middle{suffix}", folder / f"end{suffix}"
        st.save(file, tree)
        processes.append((suffix, result, start(file, result)))
    more = STEPS - SAVE_AFTER
    table = Table(title=f"{SAVE_AFTER} steps + save + load in a new process + {more}, against {STEPS} at a stretch")
    for name in ("container", *expected, "tree digest"):
        table.add_column(name)
    held = True
    for suffix, result, process in processes:
        if process.wait() != 0:
            raise RuntimeError(f"the process that resumed from {suffix} failed")
        found = {name: st.digest(part) for name, part in parts(st.load(result)).items()}
        same = [found[name] == digest for name, digest in expected.items()]
        table.add_row(suffix, *("identical" if one else "DIFFERS" for one in same), found["everything"][:20] + "…")
        held = held and all(same)
    out.print(table)
    return held


def logits(model: nn.Module) -> tuple[torch.Tensor, float]:
    """Return what a model says to 360 unseen digits, and the part of them that it tells right."""
    images, labels = (part[1437:] for part in digits())
    with torch.no_grad():
        said = model.eval()(images)
    return said, float((said.argmax(1) == labels).float().mean())


def show_batch_norm(folder: Path, out: Console) -> bool:
    """Print what a model says that was saved whole, and one of which only trainable parameters were saved."""
    run = build(seed=7)
    train(run, iter(run.loader), STEPS)
    expected, right = logits(run.model)
    only, whole = build(seed=1).model, build(seed=1).model
    st.save(folder / "only.h5", st.state(dict(run.model.named_parameters())))
    st.save(folder / "whole.h5", st.state(run.model))
    st.restore(dict(only.named_parameters()), st.load(folder / "only.h5"))
    st.restore(whole, st.load(folder / "whole.h5"))

    table = Table(title=f"the model after {STEPS} steps, in evaluation")
    for name in ("what was saved", "largest difference of a logit", "digits told right"):
        table.add_column(name)
    table.add_row("(the model itself)", "–", f"{right:.1%}")
    differences = []
    for name, model in (("trainable parameters only", only), ("statetree.state(model)", whole)):
        said, told = logits(model)
        differences.append(float((said - expected).abs().max()))
        table.add_row(name, f"{differences[-1]:.4g}", f"{told:.1%}")
    out.print(table)
    return differences[0] > 0 and st.difference(st.state(logits(whole)[0]), st.state(expected)) is None


def main() -> None:
    """Run the demonstration, or resume one file (which is what the demonstration starts)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resume", type=Path, metavar="FILE", help="go on from FILE and save the outcome")
    parser.add_argument("--result", type=Path, metavar="FILE", help="where --resume saves it")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*set_vital.*")  # torchdata 0.11 calls what torch 2.13 deprecates
    torch.set_num_threads(1)
    if options.resume:
        if options.result is None:
            parser.error("--resume needs --result")
        resume(options.resume, options.result)
        return
    out = Console(width=None if sys.stdout.isatty() else 150)
    with tempfile.TemporaryDirectory() as folder:
        held = [show_resumed(Path(folder), out), show_batch_norm(Path(folder), out)]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
