"""HDF5 files of other tools: told apart by the header text, and by names at the root. Source: HDF5 file format 4.

Only whether an attribute or a link of a name exists is asked; no value is read and no link is followed.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from statetree.child import Budget, Child
from statetree.errors import StateTreeError
from statetree.files import MappedFile
from statetree.formats._sample import Recognised, Sample

__all__ = ["attend", "recognise_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_H5PY = "read its arrays with h5py, then statetree.save what you read"
_KERAS = "load it with keras where you trust it, then statetree.save({w.path: w.numpy() for w in model.weights})"

# Header text → what it is: these formats put it into a user block before the signature.
_HEADS: tuple[tuple[bytes, Recognised], ...] = (
    (
        b"HDF5-based Julia Data Format",
        Recognised(
            "jld2",
            "a JLD2 file written by Julia",
            "read its arrays with h5py (their axes come reversed), then statetree.save what you read",
        ),
    ),
    (b"Julia data file (HDF5)", Recognised("jld", "a JLD file written by Julia", _H5PY)),
    (b"MATLAB 7.3 MAT-file", Recognised("mat", "a MATLAB .mat file (version 7.3, HDF5)", _H5PY)),
)

# (attributes, links) that must all be at the root → what it is; the first row that fits counts.
_ROOTS: tuple[tuple[tuple[str, ...], tuple[str, ...], Recognised], ...] = (
    (
        ("encoding-type",),
        ("obs", "var"),
        Recognised("h5ad", "an AnnData file (.h5ad)", "read it with anndata, then statetree.save its arrays"),
    ),
    (("keras_version", "model_config"), (), Recognised("keras", "a Keras model in HDF5 (legacy .h5)", _KERAS)),
    (("keras_version",), (), Recognised("keras", "Keras weights in HDF5 (legacy .h5)", _KERAS)),
    (("layer_names",), (), Recognised("keras", "Keras weights in HDF5 (legacy .h5)", _KERAS)),
    ((), ("_layer_checkpoint_dependencies",), Recognised("keras", "a Keras weights file (.weights.h5)", _KERAS)),
    ((), ("layers", "vars"), Recognised("keras", "a Keras weights file (.weights.h5)", _KERAS)),
    (
        ("_NCProperties",),
        (),
        Recognised("netcdf", "a netCDF-4 file", "read it with netCDF4 or xarray, then statetree.save its arrays"),
    ),
    (
        ("PYTABLES_FORMAT_VERSION",),
        (),
        Recognised("pytables", "a PyTables or pandas HDF5 file", "read it with tables, then statetree.save its arrays"),
    ),
    (
        ("HICKLE_VERSION",),
        (),
        Recognised("hickle", "a hickle file", "load it where you trust it, and save its state", pickle=True),
    ),
)


def recognise_hdf5(sample: Sample) -> Recognised | None:
    """Recognise an HDF5 file and the tool that wrote it."""
    for text, what in _HEADS:
        if sample.head.startswith(text):
            return what
    if not _is_hdf5(sample):
        return None
    try:
        row = _row(sample.path) if sample.budget is None else _row_by_child(sample.path, sample.budget)
    except (OSError, RuntimeError, ValueError, KeyError, StateTreeError):
        return Recognised(
            "hdf5",
            "an HDF5 file that the HDF5 library cannot open",
            "it is damaged, or a copy broke off: take it from where it came from once more",
        )
    if 0 <= row < len(_ROOTS):
        return _ROOTS[row][2]
    return Recognised("hdf5", "an HDF5 file that statetree did not write", _H5PY)


def _is_hdf5(sample: Sample) -> bool:
    """Whether the signature is at byte 0 or behind a user block: at 512, 1024, 2048, … up to 1 MiB."""
    offsets = [0, *(512 << k for k in range(12))]
    return any(sample.file.read(at, 8) == _SIGNATURE for at in offsets if at + 8 <= sample.file.size)


def _row(path: "Path | str") -> int:
    """Return the row of `_ROOTS` that a file fits, -1 if none."""
    import h5py

    with h5py.File(path, "r", locking=False) as file:
        root = file.id
        for row, (attributes, links, _) in enumerate(_ROOTS):
            if all(h5py.h5a.exists(root, name.encode()) for name in attributes) and all(
                root.links.exists(name.encode()) for name in links
            ):
                return row
    return -1


def _row_by_child(path: Path, budget: Budget) -> int:
    file = MappedFile(path)
    try:
        child = Child(__name__, "the HDF5 library", file.descriptor, file.size, budget)
        try:
            return child.ask(None, int)
        finally:
            child.close()
    finally:
        file.close()


def attend(descriptor: int | None) -> Callable[[Any], Any]:
    """Return the function by which a process of its own says which row of `_ROOTS` a file fits."""
    return lambda _: _row(f"/proc/self/fd/{descriptor}")
