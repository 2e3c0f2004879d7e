"""All cases, in the order of the table."""

from benchmarks.fidelity.arrays import ARRAYS, SHARING
from benchmarks.fidelity.case import Case
from benchmarks.fidelity.containers import CONTAINERS, KEYS
from benchmarks.fidelity.jax_cases import JAX
from benchmarks.fidelity.random_cases import RANDOM
from benchmarks.fidelity.torch_cases import PYTORCH
from benchmarks.fidelity.values import NUMBERS, TEXTS

__all__ = ["CASES", "GROUPS"]

GROUPS: dict[str, tuple[Case, ...]] = {
    "Containers": CONTAINERS,
    "Keys of dicts": KEYS,
    "Numbers": NUMBERS,
    "Texts and bytes": TEXTS,
    "Arrays": ARRAYS,
    "Sharing": SHARING,
    "Random state": RANDOM,
    "PyTorch": PYTORCH,
    "JAX": JAX,
}
CASES: dict[str, Case] = {case.name: case for cases in GROUPS.values() for case in cases}
