"""Workloads: the trees that are saved and loaded. Their values come from a fixed seed."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WORKLOADS", "flat", "tree_bytes"]

Tree = dict[str, Any]


def transformer(*, quick: bool) -> Tree:
    """W2: 148 float32 arrays, 475 MiB, as in a transformer of 12 layers and 768 wide (124 million parameters)."""
    random = np.random.default_rng(2)
    width, words = (192, 12_000) if quick else (768, 50_257)

    def new(*shape: int) -> NDArray[np.float32]:
        return random.standard_normal(shape, np.float32)

    def pair(m: int, n: int) -> Tree:
        return {"weight": new(m, n), "bias": new(n)}

    def block() -> Tree:
        return {
            "ln_1": {"weight": new(width), "bias": new(width)},
            "attn": {"c_attn": pair(width, 3 * width), "c_proj": pair(width, width)},
            "ln_2": {"weight": new(width), "bias": new(width)},
            "mlp": {"c_fc": pair(width, 4 * width), "c_proj": pair(4 * width, width)},
        }

    return {
        "wte": {"weight": new(words, width)},
        "wpe": {"weight": new(1024, width)},
        "h": {str(i): block() for i in range(12)},
        "ln_f": {"weight": new(width), "bias": new(width)},
    }


def many(*, quick: bool) -> Tree:
    """W3: 10,000 arrays of 64 to 1,024 float32, 21 MiB, in dicts of dicts."""
    random = np.random.default_rng(3)

    def new() -> NDArray[np.float32]:
        return random.standard_normal(int(random.integers(64, 1025)), np.float32)

    outer = 20 if quick else 100
    return {f"block_{i}": {f"layer_{j}": {f"p{k}": new() for k in range(10)} for j in range(10)} for i in range(outer)}


WORKLOADS = {"W2": transformer, "W3": many}


def flat(tree: Tree, prefix: str = "") -> dict[str, NDArray[np.float32]]:
    """Return the arrays by dotted name, which is what safetensors takes."""
    found: dict[str, NDArray[np.float32]] = {}
    for key, value in tree.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def tree_bytes(tree: Tree) -> int:
    """Return the bytes of all arrays."""
    return sum(array.nbytes for array in flat(tree).values())
