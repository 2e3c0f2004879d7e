"""Results of a run: what became of every case with every subject, and of damaged checkpoints."""

import platform
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.fidelity.child import outcomes
from benchmarks.fidelity.damage import damage
from benchmarks.fidelity.outcome import Mark, Outcome
from benchmarks.fidelity.subjects import SUBJECTS

__all__ = ["MARKS", "Results", "measure"]

MARKS: dict[Mark, str] = {"same": "=", "changed": "≠", "unsaved": "×", "unloaded": "⊗"}
MORE = ("ml_dtypes", "optax", "equinox")
WORKERS = 2


@dataclass(frozen=True, slots=True)
class Results:
    """What was found."""

    outcomes: dict[str, dict[str, Outcome]]
    """Subject → case → outcome."""
    damage: dict[str, dict[str, dict[str, int]]]
    """`flip` or `kill` → subject → what happened → how often."""

    def counts(self, subject: str) -> Counter[Mark]:
        """Return how many cases have which mark."""
        return Counter(one.mark for one in self.outcomes[subject].values())

    def versions(self) -> str:
        """Return versions of what was measured."""
        names = dict.fromkeys([*(name for subject in SUBJECTS.values() for name in subject.libraries), *MORE])
        listed = ", ".join(f"{name} {version(name)}" for name in names)
        return f"Python {platform.python_version()}, {listed}; {platform.system()}, {platform.machine()}"

    def as_json(self) -> dict[str, Any]:
        """Return everything for a file."""
        return {"versions": self.versions(), **asdict(self)}


def measure(subjects: Sequence[str], facts: Sequence[str], folder: Path, say: Callable[[str], None]) -> Results:
    """Run all cases of some subjects, and damage their checkpoints, each in processes of their own.

    Args:
        subjects: names of subjects.
        facts: `flip`, `kill`, both or neither.
        folder: where files go for a while.
        say: called with what was finished.
    """

    def run(work: Callable[[Path], Any], what: str) -> Any:
        with tempfile.TemporaryDirectory(prefix="fidelity-", dir=folder, ignore_cleanup_errors=True) as scratch:
            found = work(Path(scratch))
        say(what)
        return found

    with ThreadPoolExecutor(WORKERS) as pool:
        cases = {name: pool.submit(run, partial(outcomes, name), f"{name}: cases") for name in subjects}
        damaged = {
            fact: {name: pool.submit(run, partial(damage, fact, name), f"{name}: {fact}") for name in subjects}
            for fact in facts
        }
    return Results(
        {name: job.result() for name, job in cases.items()},
        {fact: {name: job.result() for name, job in jobs.items()} for fact, jobs in damaged.items()},
    )
