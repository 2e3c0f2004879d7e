"""`python -m benchmarks`: the table of ratios, its targets and the conditions it was measured under."""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

import statetree
from benchmarks.measure import Times, fix_allocator, peak_above_tree, rounds
from benchmarks.subjects import CONTAINERS, OPERATIONS, RIVAL
from benchmarks.workloads import WORKLOADS, tree_bytes

TARGETS = {
    ("W2", "save"): {"hdf5": 1.2, "zarr": 1.8, "bson": 1.2},
    ("W2", "load"): {"hdf5": 0.6, "zarr": 0.6, "bson": 0.6},
    ("W2", "lazy"): {"hdf5": 2.0, "zarr": 2.0, "bson": 2.0},
    ("W3", "save"): {"hdf5": 6.0, "zarr": 2.5, "bson": 1.5},
    ("W3", "load"): {"hdf5": 0.8, "zarr": 0.8, "bson": 0.8},
    ("W3", "lazy"): {"hdf5": 1.2, "zarr": 1.2, "bson": 1.2},
}
"""Time as a multiple of what safetensors takes."""
MEMORY_TARGET = 64.0
"""MiB above the tree."""
LIBRARIES = ("statetree", "numpy", "safetensors", "h5py", "zarr", "pymongo", "xxhash", "msgspec")


@dataclass(frozen=True, slots=True)
class Cell:
    """One line of the table."""

    workload: str
    operation: str
    container: str
    unit: str
    value: float
    rival: float | None
    """What safetensors takes, in the same unit; None for memory."""
    target: float

    @property
    def measure(self) -> float:
        """What is held against the target: a ratio, or the value itself."""
        return self.value if self.rival is None else self.value / self.rival

    @property
    def verdict(self) -> str:
        """`ok`, or by how much the target was missed."""
        over = self.measure / self.target - 1
        return "ok" if over <= 0 else f"missed by {over:.0%}"


def time_cells(workload: str, times: Times) -> list[Cell]:
    """Return the cells of one workload: medians in milliseconds."""
    middle = {key: median(wall for wall, _ in samples) * 1e3 for key, samples in times.items()}
    return [
        Cell(
            workload,
            operation,
            one.name,
            "ms",
            middle[operation, one.name],
            middle[operation, RIVAL.name],
            TARGETS[workload, operation][one.name],
        )
        for operation in OPERATIONS
        for one in CONTAINERS
    ]


def memory_cells(workload: str, folder: Path, *, quick: bool) -> list[Cell]:
    """Return the peaks of memory above the tree, in MiB."""
    cells = []
    for operation in ("save", "load"):
        for one in CONTAINERS:
            peak = peak_above_tree(operation, workload, one, folder, quick=quick)
            if peak is not None:
                cells.append(Cell(workload, f"{operation} memory", one.name, "MiB", peak / 2**20, None, MEMORY_TARGET))
    return cells


def conditions() -> str:
    """Return versions and machine in a few words."""
    model = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"Python {platform.python_version()}, {libraries}\n{platform.system()} {platform.release()}, "
        f"{model or platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def show(cells: list[Cell], pairs: int, out: Console, *, quick: bool) -> None:
    """Print the table and how many cells are missed; of small trees, which have no targets, the table only."""
    size = "SMALL TREES, " if quick else ""
    table = Table(title=f"{size}medians of {pairs} interleaved rounds, warm cache, digests on, durable=False")
    for name in ("workload", "operation", "container", "median", "safetensors", "ratio", "target", "verdict"):
        left = name in {"workload", "operation", "container", "verdict"}
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for cell in cells:
        memory = cell.rival is None
        table.add_row(
            cell.workload,
            cell.operation,
            cell.container,
            f"{cell.value:.1f} {cell.unit}",
            "" if memory else f"{cell.rival:.1f} {cell.unit}",
            "" if memory else f"{cell.measure:.2f}",
            f"{cell.target:.0f} MiB" if memory else f"{cell.target:.1f}",
            "" if quick else cell.verdict,
        )
    out.print(table)
    if quick:
        return
    missed = [cell.measure / cell.target - 1 for cell in cells if cell.verdict != "ok"]
    out.print(f"{len(missed)} of {len(cells)} missed{f', by {max(missed):.0%} at most' if missed else ''}")


def main() -> None:
    """Measure, print, and write the samples where `--json` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small trees, 3 rounds: it runs, no more")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="workloads, with commas: W2,W3")
    parser.add_argument("--pairs", type=int, help="rounds (default 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to FILE")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="where files go for a while (default build)")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in WORKLOADS]:
        parser.error(f"expected workloads of {', '.join(WORKLOADS)}, got {', '.join(unknown)}")
    pairs = options.pairs or (3 if options.quick else 7)
    out = Console(width=None if sys.stdout.isatty() else 110)
    options.folder.mkdir(parents=True, exist_ok=True)
    fix_allocator()
    out.print(conditions(), highlight=False)
    cells: list[Cell] = []
    samples: dict[str, object] = {}
    for name in names:
        tree = WORKLOADS[name](quick=options.quick)
        size = tree_bytes(tree)
        if shutil.disk_usage(options.folder).free < 8 * size:
            sys.exit(f"expected {8 * size >> 20} MiB free in {options.folder}: free some, or name a --folder elsewhere")
        with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as scratch:
            times = rounds(tree, pairs, Path(scratch))
            for one in CONTAINERS:
                if difference := statetree.difference(tree, statetree.load(Path(scratch) / f"kept{one.suffix}")):
                    sys.exit(f"{one.name} returned another tree: {difference}")
            del tree
            cells += time_cells(name, times) + memory_cells(name, Path(scratch), quick=options.quick)
        samples[name] = [{"operation": o, "subject": s, "samples": t} for (o, s), t in times.items()]
    show(cells, pairs, out, quick=options.quick)
    if options.json:
        found = {"conditions": conditions(), "pairs": pairs, "quick": options.quick, "samples": samples}
        options.json.write_text(json.dumps({**found, "cells": [asdict(cell) for cell in cells]}, indent=1))


if __name__ == "__main__":
    main()
