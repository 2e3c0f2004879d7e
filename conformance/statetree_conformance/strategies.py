"""Hypothesis strategies for state trees, reaching what Hypothesis misses by itself. Source: spec sections 2 and 3."""

import math
import struct
from collections import Counter, namedtuple
from typing import Any

import numpy as np
from hypothesis import strategies as st

from statetree import Record, Symbol
from statetree.dtype import BY_NAME
from statetree_conformance.values import AWKWARD_TEXTS, bits_array, float_bits

__all__ = ["arrays", "drawn", "keys", "layouts", "plain", "scalars", "shapes", "texts", "trees"]

Array = np.ndarray[Any, Any]
Point = namedtuple("Point", ["x", "y"])

drawn: Counter[str] = Counter()
"""What was drawn in this process: `kind:…`, `key:…`, `dtype:…`, `shape:…`, `layout:…`, `tie`, `nan:…`."""


def texts() -> st.SearchStrategy[str]:
    """Texts without surrogates, the awkward ones often."""
    return st.sampled_from(AWKWARD_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def integers() -> st.SearchStrategy[int]:
    """Ints around every boundary, and beyond 64 bits."""
    edges = [0, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**1000]
    return st.sampled_from([s * e + d for e in edges for s in (1, -1) for d in (-1, 0, 1)]) | st.integers()


def floats() -> st.SearchStrategy[float]:
    """Python floats of any bits."""
    bits = st.sampled_from(float_bits("float64")) | st.integers(0, 2**64 - 1)
    return bits.map(_python_float)


def _python_float(bits: int) -> float:
    value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return value


def keys(*, max_depth: int = 2) -> st.SearchStrategy[Any]:
    """Keys of every kind."""
    leaf = st.one_of(texts(), texts(), integers(), st.booleans(), st.none(), st.binary(max_size=6), texts().map(Symbol))
    if not max_depth:
        return leaf
    return st.one_of(leaf, leaf, leaf, st.lists(keys(max_depth=max_depth - 1), max_size=3).map(tuple))


def shapes(*, max_elements: int = 60) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes: 0-d, empty, with long runs of ones, rank 32, and plain ones."""
    plain = st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple)
    special = st.sampled_from([(), (), (0,), (3, 0, 2), (0, 0), (1,), (1, 1, 4), (2, *(1,) * 30, 2)])
    return st.one_of(plain, special).filter(lambda shape: math.prod(shape) <= max_elements)


def elements(dtype: str) -> st.SearchStrategy[int]:
    """Bits of one element that a writer may store."""
    row = BY_NAME[dtype]
    if row.complex:
        half = "float32" if row.itemsize == 8 else "float64"
        width = 4 * row.itemsize
        return st.tuples(elements(half), elements(half)).map(lambda pair: pair[0] | pair[1] << width)
    if row.top is not None:
        return st.integers(0, row.top)
    if dtype in ("float16", "bfloat16", "float32", "float64") or dtype.startswith("float8"):
        return st.sampled_from(float_bits(dtype)) | st.integers(0, 2**row.bits - 1)
    return st.integers(0, 2**row.bits - 1)


@st.composite
def arrays(draw: st.DrawFn, *, dtypes: tuple[str, ...] = tuple(BY_NAME), max_elements: int = 60) -> Array:
    """Arrays of every dtype in native C order, owned and writable."""
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(shapes(max_elements=max_elements))
    size = math.prod(shape)
    bits = draw(st.lists(elements(dtype), min_size=min(size, 8), max_size=min(size, 8)))
    repeated = (bits * (size // max(1, len(bits)) + 1))[:size]
    drawn[f"dtype:{dtype}"] += 1
    drawn[f"shape:{'0-d' if not shape else 'empty' if not size else 'rank32' if len(shape) == 32 else 'plain'}"] += 1
    array: Array = bits_array(dtype, repeated).reshape(shape)
    if dtype in ("float16", "bfloat16", "float32", "float64"):
        _count_nans(dtype, repeated)
    return array


def _count_nans(dtype: str, bits: list[int]) -> None:
    wanted = float_bits(dtype)
    for name, value in (("signalling", wanted[-1]), ("payload", wanted[-3]), ("negative zero", wanted[1])):
        if value in bits:
            drawn[f"nan:{name}:{dtype}"] += 1


LAYOUTS = ("fortran", "negative stride", "slice", "broadcast", "read-only", "byte-swapped", "misaligned")


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Array, Array]:
    """Pairs (array as it lies, the same elements in native C order)."""
    plain = draw(arrays().filter(lambda a: a.ndim > 0))
    layout = draw(st.sampled_from(LAYOUTS))
    drawn[f"layout:{layout}"] += 1
    match layout:
        case "fortran":
            return np.asfortranarray(plain), plain
        case "negative stride":
            return plain[::-1], np.ascontiguousarray(plain[::-1])
        case "slice":
            wide = np.repeat(plain, 2, axis=0)
            return wide[::2], np.ascontiguousarray(wide[::2])
        case "broadcast" if plain.shape[0]:
            wide = np.broadcast_to(plain[:1], (3, *plain.shape[1:]))
            return wide, np.ascontiguousarray(wide)
        case "read-only":
            copy = plain.copy()
            copy.flags.writeable = False
            return copy, plain
        case "byte-swapped" if plain.dtype.kind in "iufc" and plain.dtype.itemsize > 1:
            return plain.byteswap().view(plain.dtype.newbyteorder()), plain
        case "misaligned":
            raw = np.empty(plain.nbytes + 1, np.uint8)
            crooked = raw[1:].view(plain.dtype).reshape(plain.shape) if plain.nbytes else plain
            crooked[...] = plain
            raw[1:] = np.frombuffer(plain.tobytes(), np.uint8)
            return crooked, plain
        case _:
            return plain[...], plain


def scalars() -> st.SearchStrategy[Any]:
    """NumPy scalars of every dtype."""
    return arrays(max_elements=1).filter(lambda a: a.size == 1).map(lambda a: a.reshape(-1)[0])


def plain() -> st.SearchStrategy[Any]:
    """Leaves that are no arrays."""
    return st.one_of(
        st.none(),
        st.booleans(),
        integers(),
        floats(),
        st.tuples(floats(), floats()).map(lambda pair: complex(*pair)),
        texts(),
        st.binary(max_size=9),
        texts().map(Symbol),
        scalars(),
    )


def _distinct(items: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Drop pairs whose key equals an earlier one in Python."""
    out: dict[Any, Any] = {}
    for key, value in items:
        out.setdefault(key, value)
    return list(out.items())


@st.composite
def trees(draw: st.DrawFn, *, max_nodes: int = 24, max_depth: int = 60, namedtuples: bool = False) -> Any:
    """State trees of every kind, some of them deep, with arrays that are tied across containers."""
    pool = [draw(arrays()) for _ in range(draw(st.integers(0, 4)))]
    budget = draw(st.integers(1, max_nodes))
    if draw(st.integers(0, 9)) == 0:
        return _deep(draw, pool, draw(st.integers(2, max_depth)))
    return _tree(draw, pool, budget, namedtuples)


def _deep(draw: st.DrawFn, pool: list[Array], depth: int) -> Any:
    node: Any = draw(plain())
    for level in range(depth):
        node = ([node], (node,), {"k": node}, Record({"f": node}))[level % 4]
    drawn[f"deep:{depth > 30}"] += 1
    return node


def _tree(draw: st.DrawFn, pool: list[Array], budget: int, namedtuples: bool) -> Any:
    kind = draw(st.sampled_from(["leaf", "array", "dict", "list", "tuple", "record", "record", "dict"]))
    if budget <= 1 and kind not in ("leaf", "array"):
        kind = "leaf"
    if kind == "array" and pool:
        chosen = draw(st.sampled_from(pool))
        drawn["kind:array"] += 1
        drawn["tie"] += 1
        # A view of the same elements is the same array.
        return chosen[...] if draw(st.booleans()) and chosen.size else chosen
    if kind in ("leaf", "array"):
        leaf = draw(plain())
        drawn[f"kind:{_name(leaf)}"] += 1
        return leaf
    count = draw(st.integers(0, min(5, budget - 1)))
    children = [_tree(draw, pool, (budget - 1) // max(1, count), namedtuples) for _ in range(count)]
    drawn[f"kind:{kind}"] += 1
    match kind:
        case "dict":
            chosen_keys = draw(st.lists(keys(), min_size=count, max_size=count))
            for key in chosen_keys:
                drawn[f"key:{_name(key)}"] += 1
            return dict(_distinct(list(zip(chosen_keys, children, strict=True))))
        case "list":
            return children
        case "tuple":
            return Point(*children) if namedtuples and count == 2 else tuple(children)
        case _:
            names = draw(st.lists(texts(), min_size=count, max_size=count, unique=True))
            return Record(list(zip(names, children, strict=True)), label=draw(st.none() | texts()))


def _name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case np.generic():
            return "scalar"
        case Symbol():
            return "symbol"
        case _:
            return type(value).__name__
