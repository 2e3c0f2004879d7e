"""Subjects: what saves trees, each used as its documentation tells a careful user to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import statetree
from benchmarks.fidelity import arrays_by_name as names
from benchmarks.fidelity import frameworks
from benchmarks.fidelity.case import Case

__all__ = ["SUBJECTS", "Subject", "statetree_in"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that saves trees."""

    name: str
    """Name in the table."""
    save: Callable[[Path, Case, Any], None]
    """(path, case, value): save the value there."""
    load: Callable[[Path, Case, Any], Any]
    """(path, case, fresh object) → what came back."""
    libraries: tuple[str, ...]
    """Distributions that do the work."""
    use: str
    """How it is used."""


def statetree_in(*suffixes: str) -> Subject:
    """Return statetree in some containers, which have to agree."""

    def save(path: Path, case: Case, value: Any) -> None:
        tree = statetree.state(value) if case.framework else value
        for suffix in suffixes:
            statetree.save(f"{path}{suffix}", tree, durable=False)

    def load(path: Path, case: Case, fresh: Any) -> Any:
        trees = [statetree.load(f"{path}{suffix}") for suffix in suffixes]
        _check_equal(trees, suffixes)
        return statetree.restore(fresh, trees[0]) if case.framework else trees[0]

    use = "`save` and `load` in HDF5, Zarr folder, Zarr zip and BSON, which agree; objects by `state` and `restore`"
    return Subject("statetree", save, load, ("statetree",), use)


def _check_equal(trees: Sequence[Any], suffixes: Sequence[str]) -> None:
    for suffix, tree in zip(suffixes, trees, strict=True):
        differs = statetree.difference(trees[0], tree)
        if differs is not None:
            raise AssertionError(f"{suffix} is another tree than {suffixes[0]}: {differs}")


SUBJECTS = {
    subject.name: subject
    for subject in (
        statetree_in(".h5", ".zarr", ".zarr.zip", ".bson"),
        Subject(
            "torch.save",
            frameworks.save_torch,
            frameworks.load_torch,
            ("torch",),
            "`torch.load(weights_only=True)`; what makes NumPy's arrays and every class of the cases, "
            f"{len(frameworks.ALLOWED)} in all, are allowed with `safe_globals`",
        ),
        Subject(
            "dcp",
            frameworks.save_dcp,
            frameworks.load_dcp,
            ("torch",),
            "`torch.distributed.checkpoint` in one process, into a fresh state dict; models and optimisers by "
            "`get_state_dict` and `set_state_dict`. What is no tensor is a pickle, loaded without `weights_only`",
        ),
        Subject(
            "orbax",
            frameworks.save_orbax,
            frameworks.load_orbax,
            ("orbax-checkpoint", "jax"),
            "`StandardCheckpointer` with a target, and `PyTreeCheckpointer` where that refuses to save; over an old "
            "checkpoint with `force=True` (a `CheckpointManager` leaves the step before it alone)",
        ),
        Subject(
            "flax", frameworks.save_flax, frameworks.load_flax, ("flax",), "`to_bytes` and `from_bytes` with a target"
        ),
        Subject(
            "safetensors",
            names.save_safetensors,
            names.load_safetensors,
            ("safetensors",),
            "`save_file` of NumPy or torch, texts as metadata; modules by `save_model`",
        ),
        Subject("npz", names.save_npz, names.load_npz, ("numpy",), "`numpy.savez`, `numpy.load(allow_pickle=False)`"),
        Subject(
            "h5py",
            names.save_h5py,
            names.load_h5py,
            ("h5py",),
            "dicts as groups with `track_order=True`, arrays as datasets, all else as attributes",
        ),
        Subject(
            "zarr",
            names.save_zarr,
            names.load_zarr,
            ("zarr",),
            "zarr-python: dicts as groups, arrays as arrays, all else as attributes",
        ),
    )
}
