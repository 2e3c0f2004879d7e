"""Validating: every problem of a file, found without trusting it. Source: spec [R-3], spec/conformance.md [T-9]."""

import os
from typing import Any

from statetree.child import Budget
from statetree.errors import fail, shown
from statetree.limits import Limits
from statetree.loading import budget_of
from statetree.pause import no_collection
from statetree.registry import as_path
from statetree.validate._alone import validate_alone
from statetree.validate._phases import Validation
from statetree.validate.report import LEVELS, NotRun, Report, problem_json, unjudged

__all__ = ["LEVELS", "NotRun", "Report", "problem_json", "unjudged", "validate"]


_UNBOUND = 1 << 46, 1_000_000.0
"""Bytes and seconds that stand for no limit."""


def validate(
    path: "str | os.PathLike[str]",
    *,
    level: str = "digests",
    limits: Limits | None = None,
    max_memory: int | None = None,
    timeout: float | None = None,
) -> Report:
    """Return every problem of a file: its framing, its texts, its tree, its container, the digest of each array.

    The HDF5 library, where a file needs it, runs in a process of its own, which `limits.child_bytes` and
    `limits.child_seconds` bound. With `max_memory` or `timeout` all of the validation does: a file costs that at most,
    and that it wanted more is a problem of the report.

    Args:
        path: the file or folder.
        level: `structure` reads no array; `digests` reads all; `full` opens the container with its stock library
            (h5py, zarr-python, bson) too, and holds what that shows against the manifest.
        limits: what is refused as too large.
        max_memory: bytes that it may take, beside Python, the libraries and the file itself.
        timeout: seconds that it may take.

    Raises:
        StoreIOError: the file cannot be read at all.
        UsageError: `path`, `level` or a limit is none, or a library that the file needs is not installed.
    """
    place = as_path(path)
    if level not in LEVELS:
        fail("USAGE", f"a level of {', '.join(LEVELS)}", repr(level)[:80], remedy="choose one of these")
    chosen = limits or Limits()
    if max_memory is not None or timeout is not None:
        nbytes = _bound("max_memory", max_memory, _UNBOUND[0], (int,))
        seconds = _bound("timeout", timeout, _UNBOUND[1], (int, float))
        return validate_alone(place, level, chosen, Budget(nbytes, seconds, wall=1))
    with no_collection():
        return Validation(place, level, chosen, budget_of(chosen)).report()


def _bound(name: str, given: Any, most: Any, kinds: tuple[type, ...]) -> Any:
    """Return a limit, `most` where none is given."""
    if given is None:
        return most
    if type(given) not in kinds or not 0 < given <= most:
        fail("USAGE", f"{name} above 0 and at most {most}", shown(repr(given), 40), remedy="leave it out for no limit")
    return given
