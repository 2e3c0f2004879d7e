"""What frameworks bring themselves: torch.save, torch DCP, Orbax and flax's msgpack."""

import builtins
import collections
import importlib
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint as ocp
import torch
import torch.distributed.checkpoint as dcp

import statetree
from benchmarks.fidelity.case import Case
from benchmarks.fidelity.containers import Activation, Normed, Pair
from benchmarks.fidelity.conversions import of_jax, to_arrays, to_jax, to_value
from statetree.dtype import BY_NAME

__all__ = [
    "ALLOWED",
    "load_dcp",
    "load_flax",
    "load_orbax",
    "load_torch",
    "save_dcp",
    "save_flax",
    "save_orbax",
    "save_torch",
]


# torch


def _allowed() -> list[Any]:
    """Return what `weights_only=True` has to be allowed to call: what makes NumPy's arrays, and the cases' classes.

    Its errors name them one by one; `torch.serialization.safe_globals` is what they tell to use.
    """
    core: Any = importlib.import_module("numpy._core.multiarray")
    masked: Any = np.ma.core
    rows = [row.numpy for name, row in BY_NAME.items() if hasattr(ml_dtypes, name)]
    more = [np.dtype(kind) for kind in (ml_dtypes.int1, ml_dtypes.complex32)]
    dtypes = [np.dtype(code) for code in "?bBhHiIlLqQefdgFDGSUVmMO"]
    return [
        *(core._reconstruct, core.scalar, np.ndarray, np.dtype),
        *{type(dtype) for dtype in (*dtypes, *rows, *more)},
        *{dtype.type for dtype in (*rows, *more)},
        *(masked._mareconstruct, np.ma.MaskedArray),
        *(builtins.bytes, builtins.list, collections.defaultdict),
        *(Pair, Normed, Activation, statetree.Symbol, statetree.tree._record),
    ]


ALLOWED = _allowed()


def _own(case: Case, value: Any) -> Any:
    return case.way.give(value) if case.framework == "torch" else to_arrays(case, value)


def _back(case: Case, fresh: Any, tree: Any) -> Any:
    return case.way.take(fresh, tree) if case.framework == "torch" else to_value(case, fresh, tree)


def save_torch(path: Path, case: Case, value: Any) -> None:
    torch.save(_own(case, value), path)


def load_torch(path: Path, case: Case, fresh: Any) -> Any:
    with torch.serialization.safe_globals(ALLOWED):
        return _back(case, fresh, torch.load(path, weights_only=True))


def save_dcp(path: Path, case: Case, value: Any) -> None:
    dcp.save({"state": case.dcp.give(value) if case.dcp else _own(case, value)}, checkpoint_id=path)


def load_dcp(path: Path, case: Case, fresh: Any) -> Any:
    """Load into a fresh state dict, as DCP has to."""
    state = {"state": case.dcp.give(fresh) if case.dcp else _own(case, fresh)}
    dcp.load(state, checkpoint_id=path)
    return case.dcp.take(fresh, state["state"]) if case.dcp else _back(case, fresh, state["state"])


# JAX


def _pytree(case: Case, value: Any) -> Any:
    return case.way.give(value) if case.framework == "jax" else to_arrays(case, value)


def save_orbax(path: Path, case: Case, value: Any) -> None:
    """Save with StandardCheckpointer; where that refuses with PyTreeCheckpointer, which takes texts too."""
    tree = _pytree(case, value)
    try:
        with ocp.StandardCheckpointer() as standard:
            standard.save(path / "standard", tree, force=True)
    except Exception:
        with ocp.PyTreeCheckpointer() as pytree:
            pytree.save(path / "pytree", tree, force=True)


def load_orbax(path: Path, case: Case, fresh: Any) -> Any:
    """Load with a target."""
    target = _pytree(case, fresh)
    if (path / "standard").exists():
        with ocp.StandardCheckpointer() as standard:
            tree = standard.restore(path / "standard", target)
    else:
        with ocp.PyTreeCheckpointer() as pytree:
            tree = pytree.restore(path / "pytree", item=target)
    return case.way.take(fresh, tree) if case.framework == "jax" else to_value(case, fresh, tree)


def save_flax(path: Path, case: Case, value: Any) -> None:
    path.write_bytes(flax.serialization.to_bytes(_numpy_pytree(case, value)))


def load_flax(path: Path, case: Case, fresh: Any) -> Any:
    """Load with a target."""
    tree = flax.serialization.from_bytes(_numpy_pytree(case, fresh), path.read_bytes())
    if case.framework != "jax":
        return to_value(case, fresh, tree)
    return case.way.take(fresh, jax.tree.map(to_jax, case.way.give(fresh), tree))


def _numpy_pytree(case: Case, value: Any) -> Any:
    return jax.tree.map(of_jax, case.way.give(value)) if case.framework == "jax" else to_arrays(case, value)
