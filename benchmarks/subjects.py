"""Subjects: safetensors and each container of statetree, doing the same three things."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy

import statetree
from benchmarks.workloads import Tree, flat

__all__ = ["CONTAINERS", "OPERATIONS", "RIVAL", "Subject", "remove"]

OPERATIONS = ("save", "load", "lazy")


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that saves trees."""

    name: str
    suffix: str
    prepare: Callable[[Tree], Any]
    """Make of a tree what `save` takes; not timed."""
    save: Callable[[Path, Any], Any]
    load: Callable[[Path], Any]
    lazy: Callable[[Path], Any]
    """Open a file and learn name, dtype and shape of all arrays, without reading any."""


def _save(path: Path, tree: Tree) -> None:
    statetree.save(path, tree, durable=False)


def _lazy(path: Path) -> int:
    # An open file has name, dtype and shape of every array; safetensors is asked for them one by one.
    with statetree.open(path) as file:
        return len(file.tree)


def _safetensors_save(path: Path, tensors: dict[str, Any]) -> None:
    safetensors.numpy.save_file(tensors, path)


def _safetensors_lazy(path: Path) -> int:
    with safetensors.safe_open(path, "np") as file:
        slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - it is no dict
        return len([(one.get_dtype(), one.get_shape()) for one in slices])


RIVAL = Subject("safetensors", ".safetensors", flat, _safetensors_save, safetensors.numpy.load_file, _safetensors_lazy)
CONTAINERS = tuple(
    Subject(name, suffix, lambda tree: tree, _save, statetree.load, _lazy)
    for name, suffix in (("hdf5", ".h5"), ("zarr", ".zarr"), ("bson", ".bson"))
)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
