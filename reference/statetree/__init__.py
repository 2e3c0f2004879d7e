"""Model state trees: saved lossless or refused, in HDF5, Zarr and BSON, and never as code.

>>> import numpy as np, statetree as st, tempfile
>>> path = tempfile.mkdtemp() + "/checkpoint.h5"
>>> digest = st.save(path, {"model": {"w": np.ones((2, 3), np.float32)}, "epoch": 42})
>>> st.load(path)["epoch"]
42
"""

from statetree.compare import Difference, difference
from statetree.convert import convert
from statetree.diffing import Change, DiffReport
from statetree.errors import (
    IntegrityError,
    InvalidError,
    LimitError,
    MalformedError,
    MissingFileError,
    MissingLibraryError,
    MissingPathError,
    Problem,
    RestoreError,
    SecurityError,
    StateTreeError,
    StoreIOError,
    UnsupportedError,
    UsageError,
    WriteError,
)
from statetree.inspecting import Summary, diff, digest, inspect
from statetree.lazy import LazyArray, StateFile
from statetree.limits import Limits
from statetree.loading import load, open
from statetree.path import parse_path, path_text
from statetree.restore import restore, restore_rng
from statetree.saving import save
from statetree.state import rng_state, state
from statetree.tree import Record, Symbol
from statetree.validate import Report, validate

__all__ = [
    "Change",
    "DiffReport",
    "Difference",
    "IntegrityError",
    "InvalidError",
    "LazyArray",
    "LimitError",
    "Limits",
    "MalformedError",
    "MissingFileError",
    "MissingLibraryError",
    "MissingPathError",
    "Problem",
    "Record",
    "Report",
    "RestoreError",
    "SecurityError",
    "StateFile",
    "StateTreeError",
    "StoreIOError",
    "Summary",
    "Symbol",
    "UnsupportedError",
    "UsageError",
    "WriteError",
    "convert",
    "diff",
    "difference",
    "digest",
    "inspect",
    "load",
    "open",
    "parse_path",
    "path_text",
    "restore",
    "restore_rng",
    "rng_state",
    "save",
    "state",
    "validate",
]
