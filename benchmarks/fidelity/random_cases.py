"""Cases of generators of random numbers."""

import random
from typing import Any

import numpy as np
import torch

from benchmarks.fidelity.case import Case, Way

__all__ = ["RANDOM"]


def _python(seed: int) -> random.Random:
    generator = random.Random(seed)
    generator.gauss(0, 1)
    return generator


def _python_state(generator: random.Random) -> Any:
    return generator.getstate()


def _python_set(generator: random.Random, state: Any) -> random.Random:
    generator.setstate(state)
    return generator


def _numpy(seed: int) -> np.random.Generator:
    generator = np.random.default_rng(seed)
    generator.integers(2, dtype=np.uint32)
    return generator


def _numpy_state(generator: np.random.Generator) -> Any:
    return generator.bit_generator.state


def _numpy_set(generator: np.random.Generator, state: Any) -> np.random.Generator:
    generator.bit_generator.state = state
    return generator


def _torch(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _torch_state(generator: torch.Generator) -> Any:
    return {"state": generator.get_state()}


def _torch_set(generator: torch.Generator, state: Any) -> torch.Generator:
    generator.set_state(state["state"])
    return generator


RANDOM = (
    Case(
        "random.Random",
        lambda: _python(1),
        "python",
        lambda: _python(2),
        Way(_python_state, _python_set),
        view=_python_state,
        tell=("zarr",),
    ),
    Case(
        "NumPy Generator, ints of 128 bits",
        lambda: _numpy(1),
        "python",
        lambda: _numpy(2),
        Way(_numpy_state, _numpy_set),
        view=_numpy_state,
        tell=("npz",),
    ),
    Case(
        "torch.Generator",
        lambda: _torch(1),
        "torch",
        lambda: _torch(2),
        Way(_torch_state, _torch_set),
        view=_torch_state,
    ),
)
