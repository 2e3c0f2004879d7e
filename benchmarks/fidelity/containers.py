"""Cases of containers and of keys, with float32 arrays as leaves: what everybody can hold."""

import dataclasses
import enum
from collections import Counter, OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.fidelity.case import Case
from statetree import Record, Symbol

__all__ = ["CONTAINERS", "KEYS", "Activation", "Normed", "Pair"]

Pair = namedtuple("Pair", "mean var")


class Activation(enum.IntEnum):
    NONE = 0
    RELU = 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Normed:
    mean: Any
    steps: int


def one(start: int = 1) -> np.ndarray[Any, Any]:
    """Return a small array; another one for every start."""
    return np.arange(start, start + 3, dtype=np.float32)


def two() -> list[np.ndarray[Any, Any]]:
    return [one(1), one(2)]


def _record(activation: str) -> Any:
    return {"r": Record({"σ²": one(), "act": Symbol(activation)}, label="Norm")}


def _nothing() -> Any:
    return [{"a": None, "x": one(1)}, {"a": (), "x": one(2)}, {"x": one(3)}]


def _keys(*keys: Any) -> Callable[[], dict[Any, Any]]:
    return lambda: {key: one(start) for start, key in enumerate(keys, 1)}


CONTAINERS = (
    Case("a list beside a tuple", lambda: {"l": two(), "t": tuple(two())}, tell=("h5py",)),
    Case("a list of dicts", lambda: {"layers": [{"w": one(1)}, {"w": one(2), "b": one(3)}]}, tell=("npz",)),
    Case("empty dict, list and tuple", lambda: {"d": {}, "l": [], "t": ()}, tell=("npz",)),
    Case("None, () and a missing key", _nothing),
    Case("an OrderedDict", lambda: OrderedDict(b=one(1), a=one(2))),
    Case("a namedtuple", lambda: {"n": Pair(*two())}, "python", tell=("h5py",)),
    Case("a dataclass that is a pytree", lambda: {"n": Normed(one(), 3)}, "python", lambda: {"n": Normed(one(9), 0)}),
    Case(
        "a Counter",
        lambda: {"at": Counter({3: 1, 5: 2})},
        "python",
        lambda: {"at": Counter({3: 0, 5: 0})},
        tell=("dcp",),
    ),
    Case("statetree's Record and Symbol", lambda: _record("relu"), fresh=lambda: _record("none")),
    Case("a defaultdict", lambda: defaultdict(list, a=one()), fresh=lambda: defaultdict(list, a=one(9)), tell=("npz",)),
    Case("an IntEnum", lambda: {"act": Activation.RELU}, fresh=lambda: {"act": Activation.NONE}, tell=("zarr",)),
    Case("a set", lambda: {"frozen": {"a", "b"}}, fresh=lambda: {"frozen": set()}),
)

KEYS = (
    Case("order of keys: z, a, 10, 9, M", _keys("z", "a", "10", "9", "M"), ordered=True, tell=("orbax",)),
    Case("keys `''` and `/`", _keys("", "/"), tell=("orbax",)),
    Case("`a/b` beside `{a: {b}}`", lambda: {"a/b": one(1), "a": {"b": one(2)}}, tell=("safetensors",)),
    Case("`a.b` beside `{a: {b}}`", lambda: {"a.b": one(1), "a": {"b": one(2)}}, tell=("orbax",)),
    Case("keys `.`, `..`, `../../x`", _keys(".", "..", "../../x")),
    Case("keys `a\\b`, `C:`, `nul.txt`, `x `", _keys("a\\b", "C:", "nul.txt", "x "), tell=("zarr",)),
    Case("`a\\0b` beside `a`", _keys("a\0b", "a"), tell=("npz",)),
    Case("NFC and NFD é, W and w, emoji, U+202E", _keys("\u00e9", "e\u0301", "W", "w", "👩\u200d🔬", "\u202e")),
    Case("a key of 64 KiB", _keys("k" * 65_536)),
    Case("keys `__metadata__`, `zarr.json`, `file`", _keys("__metadata__", "zarr.json", "file"), tell=("safetensors",)),
    Case("int keys to 10³⁰, True", _keys(0, -1, 2**63, 10**30, True), tell=("dcp",)),
    Case("`1` beside `'1'`", _keys(1, "1")),
    Case("None as a key", lambda: {None: one(1), "None": one(2)}, tell=("h5py",)),
    Case("keys of bytes, tuple keys", _keys(b"a", "a", ("a", 1), ("a", "1"), ()), tell=("dcp",)),
    Case("a float key", _keys(0.5), tell=("dcp",)),
    Case("a lone surrogate in a key", _keys("\ud800")),
)
