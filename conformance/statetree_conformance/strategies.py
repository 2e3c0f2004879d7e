"""Hypothesis strategies for state trees, reaching what Hypothesis misses by itself. Source: spec sections 2 and 3.

Every strategy counts what it draws in `drawn`, and `undrawn` says what a run has never reached: a law that was only
tried on easy trees has not been tried.
"""

import itertools
import math
import struct
from collections import Counter, namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from statetree import Record, Symbol
from statetree.dtype import BY_NAME
from statetree_conformance.values import AWKWARD_TEXTS, COLLISIONS, bits_array, float_bits

__all__ = [
    "KEY_KINDS",
    "LAYOUTS",
    "arrays",
    "drawn",
    "keys",
    "laid_out",
    "leaves",
    "menageries",
    "scalars",
    "shapes",
    "texts",
    "trees",
    "undrawn",
]

Array = np.ndarray[Any, Any]
Point = namedtuple("Point", ["x", "y"])
DTYPES = tuple(BY_NAME)
KINDS = (
    "null",
    "bool",
    "int",
    "float",
    "complex",
    "str",
    "bytes",
    "symbol",
    "scalar",
    "array",
    "dict",
    "list",
    "tuple",
    "record",
)
KEY_KINDS = ("str", "int", "bool", "null", "bytes", "symbol", "tuple")
LAYOUTS = ("fortran", "negative stride", "slice", "broadcast", "read-only", "byte-swapped", "misaligned")
_WIDE_FLOATS = ("float16", "bfloat16", "float32", "float64")
DEEP = 50
"""Levels from which a tree counts as deep."""

drawn: Counter[str] = Counter()
"""What was drawn in this process."""


def undrawn() -> list[str]:
    """Return what a run with the default arguments should have drawn by now and has not."""
    wanted = [f"kind:{kind}" for kind in KINDS]
    wanted += [f"key:{kind}" for kind in KEY_KINDS]
    wanted += [f"dtype:{dtype}" for dtype in DTYPES] + [f"scalar:{dtype}" for dtype in DTYPES]
    wanted += [f"shape:{shape}" for shape in ("0-d", "empty", "rank 32", "plain")]
    wanted += [f"layout:{layout}" for layout in LAYOUTS]
    wanted += [f"{what}:{dtype}" for what, dtype in itertools.product(_TOLD, _WIDE_FLOATS)]
    wanted += [f"collision:{name}" for name in COLLISIONS]
    wanted += ["tie", "tie across containers", "deep", "int beyond 64 bits", "reserved key", "namedtuple"]
    return [name for name in wanted if not drawn[name]]


# Texts, numbers, keys


def texts(*, max_size: int = 12) -> st.SearchStrategy[str]:
    """Texts without surrogates, the awkward ones often."""
    return st.sampled_from(AWKWARD_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=max_size)


def integers() -> st.SearchStrategy[int]:
    """Ints around every boundary, and far beyond 64 bits."""
    edges = [0, 2**31, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, 10**30, 10**1000]
    return st.sampled_from([s * e + d for e in edges for s in (1, -1) for d in (-1, 0, 1)]) | st.integers()


def floats() -> st.SearchStrategy[float]:
    """Python floats of any bits."""
    bits = st.sampled_from(float_bits("float64")) | st.integers(0, 2**64 - 1)
    return bits.map(_python_float)


def _python_float(bits: int) -> float:
    value: float = struct.unpack("<d", bits.to_bytes(8, "little"))[0]
    return value


def keys(*, max_depth: int = 2, kinds: Sequence[str] = KEY_KINDS) -> st.SearchStrategy[Any]:
    """Keys of a dict.

    Args:
        max_depth: levels of tuples in tuples.
        kinds: which of `KEY_KINDS`.
    """
    leaf = {
        "str": texts(),
        "int": integers(),
        "bool": st.booleans(),
        "null": st.none(),
        "bytes": st.binary(max_size=6),
        "symbol": texts().map(Symbol),
    }
    chosen = [leaf[kind] for kind in kinds if kind != "tuple"]
    if "tuple" in kinds and max_depth:
        chosen.append(st.lists(keys(max_depth=max_depth - 1, kinds=kinds), max_size=3).map(tuple))
    return st.one_of(chosen)


# Arrays and scalars


def shapes(*, max_elements: int = 60, max_rank: int = 32) -> st.SearchStrategy[tuple[int, ...]]:
    """Shapes: 0-d, empty, with long runs of ones, of the highest rank, and plain ones."""
    plain = st.lists(st.integers(1, 5), min_size=1, max_size=min(3, max_rank)).map(tuple)
    special = [(), (), (0,), (3, 0, 2), (0, 0), (1,), (1, 1, 4), (2, *(1,) * 30, 2)]
    fitting = [shape for shape in special if len(shape) <= max_rank]
    return st.one_of(plain, st.sampled_from(fitting)).filter(lambda shape: math.prod(shape) <= max_elements)


def elements(dtype: str) -> st.SearchStrategy[int]:
    """Bits of one element that a writer may store."""
    row = BY_NAME[dtype]
    if row.complex:
        half = "float32" if row.itemsize == 8 else "float64"
        width = 4 * row.itemsize
        return st.tuples(elements(half), elements(half)).map(lambda pair: pair[0] | pair[1] << width)
    if row.top is not None:
        return st.integers(0, row.top)
    if dtype in _WIDE_FLOATS or dtype.startswith("float8"):
        return st.sampled_from(float_bits(dtype)) | st.integers(0, 2**row.bits - 1)
    return st.integers(0, 2**row.bits - 1)


@st.composite
def arrays(
    draw: st.DrawFn,
    *,
    dtypes: Sequence[str] = DTYPES,
    max_elements: int = 60,
    max_rank: int = 32,
    crooked: bool = False,
) -> Array:
    """Arrays of any bits.

    Args:
        draw: given by Hypothesis.
        dtypes: names of dtypes.
        max_elements: most elements.
        max_rank: most dimensions.
        crooked: whether they may lie in memory in any of `LAYOUTS`; else they are owned, writable, in native C order.
    """
    dtype = draw(st.sampled_from(dtypes))
    shape = draw(shapes(max_elements=max_elements, max_rank=max_rank))
    size = math.prod(shape)
    bits = draw(st.lists(elements(dtype), min_size=min(size, 8), max_size=min(size, 8)))
    repeated = (bits * (size // max(1, len(bits)) + 1))[:size]
    drawn[f"dtype:{dtype}"] += 1
    drawn[f"shape:{'0-d' if not shape else 'empty' if not size else 'rank 32' if len(shape) == 32 else 'plain'}"] += 1
    _count_bits(dtype, repeated)
    array: Array = bits_array(dtype, repeated).reshape(shape)
    if crooked and shape and draw(st.booleans()):
        return _laid_out(array, draw(st.sampled_from(LAYOUTS)))[0]
    return array


_TOLD = ("signalling NaN", "NaN with a payload", "negative zero")


def _count_bits(dtype: str, bits: list[int]) -> None:
    if dtype in _WIDE_FLOATS:
        wanted = float_bits(dtype)
        for name, value in zip(_TOLD, (wanted[-1], wanted[-3], wanted[1]), strict=True):
            drawn[f"{name}:{dtype}"] += value in bits


def scalars(*, dtypes: Sequence[str] = DTYPES) -> st.SearchStrategy[Any]:
    """NumPy scalars of any bits."""
    return st.sampled_from(dtypes).flatmap(lambda dtype: elements(dtype).map(lambda bits: _scalar(dtype, bits)))


def _scalar(dtype: str, bits: int) -> Any:
    drawn[f"scalar:{dtype}"] += 1
    _count_bits(dtype, [bits])
    return bits_array(dtype, [bits])[0]


@st.composite
def laid_out(draw: st.DrawFn) -> tuple[Array, Array]:
    """Pairs (array as it lies, the same elements in native C order)."""
    plain = draw(arrays().filter(lambda array: array.ndim > 0))
    return _laid_out(plain, draw(st.sampled_from(LAYOUTS)))


def _laid_out(plain: Array, layout: str) -> tuple[Array, Array]:
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
        case "misaligned" if plain.nbytes:
            raw = np.empty(plain.nbytes + 1, np.uint8)
            raw[1:] = np.frombuffer(plain.tobytes(), np.uint8)
            return raw[1:].view(plain.dtype).reshape(plain.shape), plain
        case _:
            return plain[...], plain


# Trees


def leaves(*, dtypes: Sequence[str] = DTYPES) -> st.SearchStrategy[Any]:
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
        scalars(dtypes=dtypes),
    )


@st.composite
def menageries(draw: st.DrawFn, *, dtypes: Sequence[str] = DTYPES, max_elements: int = 4) -> dict[str, Any]:
    """Dicts of an array and a scalar of each dtype of a fifth of them, so that none waits long for its chance."""
    some = dtypes[draw(st.integers(0, 4)) :: 5]
    return {
        dtype: [draw(arrays(dtypes=[dtype], max_elements=max_elements)), draw(scalars(dtypes=[dtype]))]
        for dtype in some
    }


@st.composite
def trees(
    draw: st.DrawFn,
    *,
    max_nodes: int = 24,
    max_depth: int = 60,
    dtypes: Sequence[str] = DTYPES,
    key_kinds: Sequence[str] = KEY_KINDS,
    namedtuples: bool = False,
    crooked: bool = False,
) -> Any:
    """State trees: of every kind, some very deep, with arrays that are tied across containers.

    Args:
        draw: given by Hypothesis.
        max_nodes: most nodes, about; a deep tree may have more.
        max_depth: most levels of containers.
        dtypes: names of dtypes of arrays and scalars.
        key_kinds: kinds of keys.
        namedtuples: whether namedtuples occur; they come back as records.
        crooked: whether arrays lie in memory in any way.
    """
    pool = [draw(arrays(dtypes=dtypes, crooked=crooked)) for _ in range(draw(st.integers(0, 4)))]
    maker = _Maker(draw, pool, dtypes, key_kinds, namedtuples)
    if draw(st.integers(0, 7)) == 0:
        return maker.deep(draw(st.integers(min(2, max_depth), max_depth)))
    return maker.node(draw(st.integers(1, max_nodes)), max_depth)


class _Maker:
    def __init__(
        self, draw: st.DrawFn, pool: list[Array], dtypes: Sequence[str], key_kinds: Sequence[str], namedtuples: bool
    ) -> None:
        self.draw = draw
        self.pool = pool
        self.dtypes = dtypes
        self.key_kinds = key_kinds
        self.namedtuples = namedtuples
        self.met: set[int] = set()

    def deep(self, depth: int) -> Any:
        """Return a leaf inside of `depth` containers, each kind in turn, with something beside it now and then."""
        drawn["deep"] += depth >= DEEP
        node = self.leaf()
        for level in range(depth):
            node = ([node, level], (node,), {"k": node}, Record({"f": node, "n": None}, label="deep"))[level % 4]
        return node

    def node(self, budget: int, depth: int) -> Any:
        kind = self.draw(st.sampled_from(["leaf", "array", "dict", "list", "tuple", "record", "record", "dict"]))
        if kind in ("leaf", "array") or budget <= 1 or depth < 1:
            return self.leaf(array=kind == "array")
        count = self.draw(st.integers(0, min(5, budget - 1)))
        # A tuple as a key takes levels of its own.
        children = [self.node((budget - 1) // max(1, count), depth - 1) for _ in range(count)]
        drawn[f"kind:{kind}"] += 1
        match kind:
            case "dict":
                return self.dict(children, depth)
            case "list":
                return children
            case "tuple":
                return self.tuple(children)
            case _:
                names = self.draw(st.lists(texts(), min_size=count, max_size=count, unique=True))
                return Record(list(zip(names, children, strict=True)), label=self.draw(st.none() | texts()))

    def tuple(self, children: list[Any]) -> Any:
        if self.namedtuples and len(children) == 2:
            drawn["namedtuple"] += 1
            return Point(*children)
        return tuple(children)

    def dict(self, children: list[Any], depth: int) -> dict[Any, Any]:
        chosen = self.draw(
            st.lists(
                keys(max_depth=min(2, depth - 1), kinds=self.key_kinds), min_size=len(children), max_size=len(children)
            )
        )
        pair = self.draw(st.none() | st.sampled_from(sorted(COLLISIONS)))
        if pair is not None and len(chosen) > 1 and {_kind(key) for key in COLLISIONS[pair]} <= {*self.key_kinds}:
            chosen[:2] = COLLISIONS[pair]
            drawn[f"collision:{pair}"] += 1
        out: dict[Any, Any] = {}
        for key, child in zip(chosen, children, strict=True):
            # Of keys that Python holds equal the first stays.
            if key not in out:
                out[key] = child
                drawn[f"key:{_kind(key)}"] += 1
                drawn["reserved key"] += type(key) is str and key.startswith(("__", "$", "zarr"))
        return out

    def leaf(self, *, array: bool = False) -> Any:
        if array and self.pool:
            chosen = self.draw(st.sampled_from(self.pool))
            drawn["kind:array"] += 1
            if id(chosen) in self.met and chosen.size:
                drawn["tie"] += 1
                drawn["tie across containers"] += 1
            self.met.add(id(chosen))
            # A view of the same elements is the same array.
            return chosen[...] if self.draw(st.booleans()) and chosen.size else chosen
        leaf = self.draw(leaves(dtypes=self.dtypes))
        drawn[f"kind:{_kind(leaf)}"] += 1
        drawn["int beyond 64 bits"] += type(leaf) is int and leaf.bit_length() > 64
        return leaf


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case np.generic():
            return "scalar"
        case Symbol():
            return "symbol"
        case _:
            return type(value).__name__
