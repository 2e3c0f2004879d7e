"""A process of its own for one subject: it is asked for one case after another, and a crash costs only the last one."""

import json
import logging
import os
import sys
import tempfile
import threading
import warnings
from dataclasses import asdict
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import IO

from benchmarks.fidelity.cases import CASES
from benchmarks.fidelity.outcome import Outcome, outcome
from benchmarks.fidelity.subjects import SUBJECTS

__all__ = ["outcomes", "quiet"]

MODULE = "benchmarks.fidelity.child"
SECONDS = 120
"""How long a case may take."""


def outcomes(subject: str, folder: Path) -> dict[str, Outcome]:
    """Return what becomes of every case with one subject."""
    found: dict[str, Outcome] = {}
    while len(found) < len(CASES):
        child = Popen(
            [sys.executable, "-m", MODULE, subject, folder], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True
        )
        for name in CASES:
            if name not in found:
                answer = _ask(child, name)
                found[name] = Outcome(**json.loads(answer)) if answer else Outcome("unloaded", _end(child))
                if not answer:
                    break
        child.communicate()
    return found


def _ask(child: "Popen[str]", name: str) -> str:
    assert child.stdin is not None
    assert child.stdout is not None
    print(name, file=child.stdin, flush=True)
    late = threading.Timer(SECONDS, child.kill)
    late.start()
    answer = child.stdout.readline()
    late.cancel()
    return answer


def _end(child: "Popen[str]") -> str:
    return f"the process ended with status {child.wait()}"


def quiet() -> IO[str]:
    """Return where to print, and send what libraries print elsewhere."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return out


def _answer(subject: str, folder: Path) -> None:
    out = quiet()
    for line in sys.stdin:
        # Some levels down, so that a key such as ../../x stays in the folder; and what a thread that a failed save left
        # behind still writes is no error.
        with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as scratch:
            inner = Path(scratch) / "a" / "b" / "c"
            inner.mkdir(parents=True)
            found = outcome(SUBJECTS[subject], CASES[line.rstrip("\n")], inner)
        print(json.dumps(asdict(found)), file=out, flush=True)


if __name__ == "__main__":
    _answer(sys.argv[1], Path(sys.argv[2]))
