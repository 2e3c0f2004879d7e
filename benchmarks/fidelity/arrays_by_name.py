"""Libraries of arrays by name: safetensors, NumPy's npz, h5py and zarr-python."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
import zarr

from benchmarks.fidelity.case import Case
from benchmarks.fidelity.conversions import flat, nested, to_arrays, to_value

__all__ = [
    "load_h5py",
    "load_npz",
    "load_safetensors",
    "load_zarr",
    "save_h5py",
    "save_npz",
    "save_safetensors",
    "save_zarr",
]


def save_safetensors(path: Path, case: Case, value: Any) -> None:
    """Save tensors as tensors and texts as metadata; of a module, `save_model` knows what is tied."""
    if isinstance(value, torch.nn.Module):
        safetensors.torch.save_model(value, str(path))
        return
    torch_too = case.framework == "torch"
    names = flat(case.way.give(value) if torch_too else to_arrays(case, value))
    texts = {name: leaf for name, leaf in names.items() if type(leaf) is str}
    tensors = {name: leaf for name, leaf in names.items() if type(leaf) is not str}
    save = safetensors.torch.save_file if torch_too else safetensors.numpy.save_file
    save(tensors, path, metadata=texts or None)


def load_safetensors(path: Path, case: Case, fresh: Any) -> Any:
    if isinstance(fresh, torch.nn.Module):
        safetensors.torch.load_model(fresh, path)
        return fresh
    torch_too = case.framework == "torch"
    with safetensors.safe_open(path, "pt" if torch_too else "np") as file:
        names = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        tree = nested({**names, **(file.metadata() or {})})
    return case.way.take(fresh, tree) if torch_too else to_value(case, fresh, tree)


def save_npz(path: Path, case: Case, value: Any) -> None:
    with path.open("wb") as file:
        np.savez(file, **flat(to_arrays(case, value)))


def load_npz(path: Path, case: Case, fresh: Any) -> Any:
    with np.load(path, allow_pickle=False) as found:
        return to_value(case, fresh, nested({name: found[name] for name in found.files}))


def _rooted(tree: Any) -> dict[Any, Any]:
    return tree if isinstance(tree, dict) else {"root": tree}


def _unrooted(tree: dict[str, Any]) -> Any:
    return tree["root"] if list(tree) == ["root"] else tree


def save_h5py(path: Path, case: Case, value: Any) -> None:
    """Save dicts as groups, arrays as datasets and all else as attributes."""
    with h5py.File(path, "w", track_order=True) as file:
        _write_h5py(file, _rooted(to_arrays(case, value)))


def _write_h5py(group: Any, tree: dict[Any, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            _write_h5py(group.create_group(key, track_order=True), value)
        elif isinstance(value, np.ndarray):
            group.create_dataset(key, data=value)
        else:
            group.attrs[key] = value


def load_h5py(path: Path, case: Case, fresh: Any) -> Any:
    with h5py.File(path) as file:
        return to_value(case, fresh, _unrooted(_read_h5py(file)))


def _read_h5py(group: Any) -> dict[str, Any]:
    parts = group.items()
    return {**{key: _read_h5py(one) if isinstance(one, h5py.Group) else one[...] for key, one in parts}, **group.attrs}


def save_zarr(path: Path, case: Case, value: Any) -> None:
    """Save dicts as groups, arrays as arrays and all else as attributes."""
    _write_zarr(zarr.create_group(path, overwrite=True), _rooted(to_arrays(case, value)))


def _write_zarr(group: Any, tree: dict[Any, Any]) -> None:
    for key, value in tree.items():
        if isinstance(value, dict):
            _write_zarr(group.create_group(key), value)
        elif isinstance(value, np.ndarray):
            group.create_array(key, data=value)
        else:
            group.attrs[key] = value


def load_zarr(path: Path, case: Case, fresh: Any) -> Any:
    return to_value(case, fresh, _unrooted(_read_zarr(zarr.open_group(path, mode="r"))))


def _read_zarr(group: Any) -> dict[str, Any]:
    # Reading a 0-d array returns a NumPy scalar.
    parts = group.members()
    found = {key: _read_zarr(one) if isinstance(one, zarr.Group) else np.asarray(one[...]) for key, one in parts}
    return {**found, **group.attrs}
