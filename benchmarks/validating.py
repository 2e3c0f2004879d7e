"""`python -m benchmarks.validating`: how long it takes to validate a sound file of 10,000 arrays, by container."""

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

import statetree
from benchmarks.__main__ import conditions
from benchmarks.workloads import many

LEVELS = ("structure", "digests")
COLUMNS = ("structure", "structure, processor", "digests")
TARGET = 200.0
"""Milliseconds that level structure may take in this process."""
FILES: dict[str, dict[str, object]] = {
    "HDF5": {"name": "a.h5"},
    "Zarr folder": {"name": "a.zarr"},
    "Zarr zip": {"name": "a.zarr.zip"},
    "BSON": {"name": "a.bson"},
    "Zarr folder, no packs": {"name": "b.zarr", "pack": False},
    "HDF5, gzip": {"name": "b.h5", "compression": "gzip"},
}
"""What is validated → how it is saved; the last two are beyond the target."""
AIMED = 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validating", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds in which the files take turns (default 9)")
    rounds = parser.parse_args().rounds
    times: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for label, options in FILES.items():
            paths[label] = Path(folder) / str(options["name"])
            rest = {key: value for key, value in options.items() if key != "name"}
            statetree.save(paths[label], many(quick=False), durable=False, **rest)  # type: ignore[arg-type]
        for level in LEVELS:
            for _ in range(rounds):
                for label, path in paths.items():
                    gc.collect()
                    begin, busy = time.perf_counter(), time.process_time()
                    report = statetree.validate(path, level=level)
                    times.setdefault((label, level), []).append((time.perf_counter() - begin) * 1e3)
                    times.setdefault((label, f"{level}, processor"), []).append((time.process_time() - busy) * 1e3)
                    if not report:
                        sys.exit(f"{label} is not sound: {report.problems[0]}")
    out = Console(width=None if sys.stdout.isatty() else 110)
    out.print(conditions(), highlight=False)
    table = Table(title=f"validate, 10,000 arrays, medians of {rounds} interleaved rounds, warm cache")
    for name in ("container", *COLUMNS, "target of structure", "verdict"):
        table.add_column(name, justify="left" if name in ("container", "verdict") else "right")
    for number, label in enumerate(FILES):
        middle = {column: median(times[label, column]) for column in COLUMNS}
        over = middle["structure"] / TARGET - 1
        verdict = ("ok" if over <= 0 else f"missed by {over:.0%}") if number < AIMED else ""
        cells = [f"{value:.0f} ms" for value in middle.values()]
        table.add_row(label, *cells, f"{TARGET:.0f} ms" if number < AIMED else "", verdict)
    out.print(table)


if __name__ == "__main__":
    main()
