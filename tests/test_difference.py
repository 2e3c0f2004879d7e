"""difference(a, b): bitwise, kind-exact, with the sharing of arrays; every single change is seen."""

import collections
import copy
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statetree import Difference, Record, Symbol, difference
from statetree.dtype import BY_NAME
from statetree.limits import Limits
from statetree.saving import manifest_of


class Point(NamedTuple):
    x: Any
    y: Any


def float_of(bits: str) -> float:
    value: float = struct.unpack(">d", bytes.fromhex(bits))[0]
    return value


QUIET, SIGNALLING, PAYLOAD = map(float_of, ("7ff8000000000000", "7ff0000000000001", "7ff8000000000001"))

DIFFERENT: list[Any] = [
    None,
    False,
    True,
    0,
    1,
    0.0,
    -0.0,
    1.0,
    QUIET,
    PAYLOAD,
    -QUIET,
    0j,
    -0j,
    complex(0.0, -0.0),
    1 + 0j,
    "",
    "1",
    "a",
    "é",
    "e\u0301",
    b"",
    b"a",
    Symbol(""),
    Symbol("a"),
    2**53,
    2**64,
    [],
    (),
    {},
    Record(),
    Record(label="a"),
    Record({"a": 1}),
    [1],
    [True],
    (1,),
    {"a": 1},
    {Symbol("a"): 1},
    {1: 1},
    {"1": 1},
    {True: 1},
    {(1,): 1},
    {(True,): 1},
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    Record({"a": 1, "b": 2}),
    Record({"b": 2, "a": 1}),
    np.bool_(True),
    np.int8(1),
    np.int64(1),
    np.float32(1),
    np.float64(1),
    np.float64(-0.0),
    np.complex64(1),
    ml_dtypes.bfloat16(1),
    np.array(1),
    np.array(1, np.float32),
    np.array([1], np.float32),
    np.array([[1]], np.float32),
    np.array([0.0]),
    np.array([-0.0]),
    np.array([QUIET]),
    np.array([PAYLOAD]),
    np.zeros(1, np.uint8),
    np.zeros(1, ml_dtypes.float8_e4m3fn),
    np.zeros(1, ml_dtypes.int4),
    np.zeros((0, 2)),
    np.zeros((2, 0)),
]
"""Values that are all different state trees, though Python calls many of them equal."""


@pytest.mark.parametrize("index", range(len(DIFFERENT)))
def test_a_value_differs_from_every_other_value_and_not_from_its_copy(index: int) -> None:
    value = DIFFERENT[index]

    found = [other for other in DIFFERENT if difference(value, other) is None]

    assert len(found) == 1
    assert found[0] is value
    assert difference(value, copy.deepcopy(value)) is None


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_every_bit_of_every_dtype_counts_in_arrays_and_scalars(name: str) -> None:
    row = BY_NAME[name]
    first = np.frombuffer(bytes(row.itemsize), row.numpy)

    for bit in range(row.bits if row.bits > 1 else 1):
        raw = bytearray(row.itemsize)
        raw[bit // 8] = 1 << bit % 8
        other = np.frombuffer(bytes(raw), row.numpy)

        assert difference({"a": first}, {"a": other}) is not None
        assert difference(first[0], other[0]) is not None


@pytest.mark.parametrize("name", sorted(name for name, row in BY_NAME.items() if row.bits < 8))
def test_bits_that_saving_clears_do_not_count(name: str) -> None:
    row = BY_NAME[name]
    clean = np.frombuffer(b"\x01", row.numpy)
    dirty = np.frombuffer(bytes([1 | (1 << row.bits)]), row.numpy)

    assert difference([clean], [dirty]) is None
    assert difference(clean[0], dirty[0]) is None


def normalised() -> Iterator[Any]:
    ramp = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    yield pytest.param(ramp, ramp.astype(">f4"), id="byte order")
    yield pytest.param(ramp, np.asfortranarray(ramp), id="memory order")
    yield pytest.param(ramp, np.repeat(ramp, 2, axis=2)[:, :, ::2], id="strides")
    yield pytest.param(ramp, ramp[::-1].copy()[::-1], id="negative strides")
    yield pytest.param(np.ones((3, 2)), np.broadcast_to(1.0, (3, 2)), id="broadcast")
    yield pytest.param({"b": 1, "a": 2}, collections.OrderedDict(b=1, a=2), id="OrderedDict")
    yield pytest.param(Record({"x": 1, "y": ()}, label="Point"), Point(1, ()), id="namedtuple")


@pytest.mark.parametrize(("a", "b"), list(normalised()))
def test_what_saving_normalises_is_no_difference(a: Any, b: Any) -> None:
    assert difference(a, b) is None
    assert difference(b, a) is None


W = np.arange(6.0)


@pytest.mark.parametrize(
    ("a", "b", "path", "reason"),
    [
        ({"a": 1}, {"a": True}, ("a",), "int against bool"),
        ({"a": 1.0}, {"a": np.float64(1)}, ("a",), "float against scalar"),
        ({"a": [1, 2]}, {"a": [1]}, ("a",), "length 2 against 1"),
        ({"a": [1, 2]}, {"a": [1, 3]}, ("a", 1), "2 against 3"),
        ({"a": "x"}, {"a": "y"}, ("a",), "'x' against 'y'"),
        (
            {"a": -0.0},
            {"a": 0.0},
            ("a",),
            "-0.0 (bits 8000000000000000) against 0.0 (bits 0000000000000000)",
        ),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, (), "keys ('a', 'b') against ('b', 'a')"),
        ({"a": 1}, {Symbol("a"): 1}, (), "keys ('a') against (Symbol('a'))"),
        (Record(label="A"), Record(), (), "label 'A' against None"),
        (Record({"x": 1}), Record({"y": 1}), (), "fields ('x') against ('y')"),
        (W, W.astype("f4"), (), "dtype float64 against float32"),
        (W, W.reshape(2, 3), (), "shape (6,) against (2, 3)"),
        (
            {"w": np.array([[1, 2], [3, 4]], np.uint16)},
            {"w": np.array([[1, 2], [3, 5]], np.uint16)},
            ("w",),
            "element 3: bits 0004 against 0005",
        ),
        ([np.float32(1)], [np.float32(2)], (0,), "float32(1.0) (bits 3f800000) against float32(2.0) (bits 40000000)"),
        ([W, W], [W, W.copy()], (1,), "tied to /#0 only in the left tree"),
        ([W, W.copy()], [W, W], (1,), "tied to /#0 only in the right tree"),
        ({"a": object()}, {"a": 1}, ("a",), "object against int"),
    ],
)
def test_the_first_difference_is_told_with_its_path(a: Any, b: Any, path: Any, reason: str) -> None:
    assert difference(a, b) == Difference(path, reason)


def test_a_difference_is_read_as_reason_and_place() -> None:
    assert str(difference({"a": [1]}, {"a": [2]})) == "1 against 2 (at /a/#0)"
    assert str(difference(1, 2)) == "1 against 2 (at the root)"


def test_ties_are_equal_if_the_same_places_share() -> None:
    a, b = np.ones(3), np.ones(3)

    assert difference([a, a, b, b], [b, b, a, a]) is None
    assert difference([a, b, a, b], [a, a, b, b]) is not None
    assert difference([a, a, a, b], [a, a, b, b]) is not None
    assert difference([a, a[:]], [b, b.view()]) is None
    assert difference([a, a[:2]], [b, b[:2].copy()]) is None


def test_empty_arrays_are_tied_only_as_one_object() -> None:
    one, base = np.zeros(0), np.zeros(3)

    assert difference([one, one], [base[:0], base[:0]]) is not None
    assert difference([base[:0], base[:0]], [np.zeros(0), np.zeros(0)]) is None


scalars = st.sampled_from(sorted(BY_NAME)).flatmap(
    lambda name: st.binary(min_size=16, max_size=16).map(lambda raw: element(name, raw))
)


def element(name: str, raw: bytes) -> Any:
    row = BY_NAME[name]
    data = bytes([raw[0] & row.top]) if row.top is not None else raw[: row.itemsize]
    return np.frombuffer(data, row.numpy)[0]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
keys = texts | st.integers() | st.booleans() | st.none() | st.binary(max_size=2) | texts.map(Symbol)
leaves = (
    keys
    | st.floats()
    | st.sampled_from([QUIET, SIGNALLING, PAYLOAD, -0.0])
    | st.complex_numbers()
    | scalars
    | scalars.map(np.asarray)
    | st.builds(lambda s, n: np.full(n, s, s.dtype), scalars, st.integers(0, 3))
)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(keys, inner, max_size=3)
        | st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.tuples(st.dictionaries(texts, inner, max_size=3), st.none() | texts).map(
            lambda p: Record(p[0], label=p[1])
        )
    ),
    max_leaves=8,
)


@given(trees)
def test_a_tree_is_no_different_from_itself_or_its_copy(tree: Any) -> None:
    assert difference(tree, tree) is None
    assert difference(tree, copy.deepcopy(tree)) is None


@given(trees, trees)
@example([1], [True])
def test_difference_is_symmetric(a: Any, b: Any) -> None:
    left, right = difference(a, b), difference(b, a)

    assert (left is None) == (right is None)
    assert left is None or right is None or left.path == right.path


def changed(tree: Any, random: Any) -> Any:
    """Return a tree that differs from `tree` in exactly one place."""
    below: list[tuple[Any, Callable[[Any], Any]]] = []
    match tree:
        case dict():
            below = [(k, lambda new, k=k: {q: new if q is k else v for q, v in tree.items()}) for k in tree]
        case list() | tuple():
            rebuild = type(tree)
            below = [(i, lambda new, i=i: rebuild([*tree[:i], new, *tree[i + 1 :]])) for i in range(len(tree))]
        case Record():
            below = [
                (n, lambda new, n=n: Record([(m, new if m == n else v) for m, v in tree.items()], label=tree.label))
                for n in tree.names
            ]
    if below and random.random() < 0.8:
        key, rebuild_with = random.choice(below)
        return rebuild_with(changed(tree[key], random))
    return another(tree, random)


def another(node: Any, random: Any) -> Any:
    """Return a node that differs from `node` itself."""
    match node:
        case None:
            return ()
        case bool():
            return random.choice([not node, int(node)])
        case int():
            return random.choice([node + 1, -node - 1, float(node) if abs(node) < 2**53 else str(node)])
        case float():
            raw = bytearray(struct.pack(">d", node))
            raw[random.randrange(8)] ^= 1 << random.randrange(8)
            return float_of(raw.hex())
        case complex():
            return complex(node.imag, node.real) if str(node.imag) != str(node.real) else None
        case str():
            return random.choice([node + "\0", Symbol(node), node.encode()])
        case bytes():
            return node + b"\0"
        case Symbol():
            return node.name
        case dict():
            return random.choice([{**node, (node.__class__.__name__, "new"): 1}, list(node.items())])
        case list():
            return random.choice([tuple(node), [*node, None]])
        case tuple():
            return random.choice([list(node), (*node, None)])
        case Record():
            return Record(node.items(), label=(node.label or "") + "x")
        case np.ndarray():
            return np.expand_dims(node, 0)
        case _:
            return np.asarray(node)


@given(trees, st.randoms(use_true_random=False))
def test_every_single_change_is_seen(tree: Any, random: Any) -> None:
    assert difference(tree, changed(copy.deepcopy(tree), random)) is not None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.lists(st.integers(0, 3), min_size=1, max_size=5))
def test_the_sharing_of_arrays_is_compared_exactly(a: list[int], b: list[int]) -> None:
    left, right = [np.ones(2) for _ in range(4)], [np.ones(2) for _ in range(4)]
    pattern = [[p == q for q in a] for p in a], [[p == q for q in b] for p in b]

    found = difference([left[i] for i in a], [right[i] for i in b])

    assert (found is None) == (pattern[0] == pattern[1])


def same_manifest(a: Any, b: Any) -> bool:
    return manifest_of(a, "xxh3-128", Limits()) == manifest_of(b, "xxh3-128", Limits())


@given(trees, trees, st.randoms(use_true_random=False))
def test_trees_are_the_same_if_and_only_if_their_manifests_are(a: Any, b: Any, random: Any) -> None:
    for other in (b, copy.deepcopy(a), changed(copy.deepcopy(a), random)):
        assert (difference(a, other) is None) == same_manifest(a, other)


@pytest.mark.parametrize(("a", "b"), list(normalised()))
def test_what_saving_normalises_has_one_manifest(a: Any, b: Any) -> None:
    assert same_manifest(a, b)
