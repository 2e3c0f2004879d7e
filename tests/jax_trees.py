"""Pytrees for the tests of JAX: a shape of a tree is drawn once and filled as often as a test likes."""

import dataclasses
import tempfile
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.core
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as hs

import statetree as st
from statetree import Record, difference, state

Maker = Callable[[np.random.Generator], Any]
"""Makes a tree with the values of a generator; its structure is always the same."""

Pair = namedtuple("Pair", ["x", "y"])


@jax.tree_util.register_pytree_node_class
class Numbered:
    """A pytree whose children have no names."""

    def __init__(self, *children: Any, note: str = "note") -> None:
        self.children = children
        self.note = note

    def tree_flatten(self) -> Any:
        return self.children, self.note

    @classmethod
    def tree_unflatten(cls, note: str, children: Any) -> "Numbered":
        return cls(*children, note=note)


@jax.tree_util.register_pytree_with_keys_class
class Named:
    """A pytree that gives names to its children."""

    def __init__(self, scale: Any, shift: Any) -> None:
        self.scale, self.shift = scale, shift

    def tree_flatten_with_keys(self) -> Any:
        key = jax.tree_util.GetAttrKey
        return ((key("shift"), self.shift), (key("scale"), self.scale)), None

    @classmethod
    def tree_unflatten(cls, _: None, children: Any) -> "Named":
        return cls(children[1], children[0])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Mutable:
    weight: Any
    size: int = dataclasses.field(default=3, metadata={"static": True})
    bias: Any = None


@dataclasses.dataclass(frozen=True)
class Chosen:
    """A dataclass whose fields are told apart where it is registered."""

    weight: Any
    size: int = 3


jax.tree_util.register_dataclass(Chosen, data_fields=["weight"], meta_fields=["size"])


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 8


@flax.struct.dataclass
class Struct:
    params: Any
    rate: float
    apply: Any = flax.struct.field(pytree_node=False, default=len)


class Layer(eqx.Module):
    weight: Any
    size: int = eqx.field(static=True, default=3)
    scale: float = 1.0

    def __check_init__(self) -> None:
        assert self.size == 3


def number(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 30))


def _array(dtype: Any, shape: tuple[int, ...]) -> Maker:
    def made(rng: np.random.Generator) -> Any:
        return jnp.asarray(rng.integers(0, 2, shape) if dtype is bool else rng.standard_normal(shape), dtype)

    return made


def _key(impl: str, shape: tuple[int, ...]) -> Maker:
    return lambda rng: jax.random.split(jax.random.key(number(rng), impl=impl), shape)


_shapes = hs.sampled_from([(), (0,), (3,), (2, 2)])
_leaves: hs.SearchStrategy[Maker] = hs.one_of(
    hs.builds(_array, hs.sampled_from([jnp.float32, jnp.int32, jnp.bfloat16, jnp.int4, bool]), _shapes),
    hs.builds(_key, hs.sampled_from(["threefry2x32", "rbg"]), hs.sampled_from([(), (2,)])),
    hs.builds(lambda shape: lambda rng: rng.standard_normal(shape), _shapes),
    hs.sampled_from(
        [
            number,
            lambda rng: rng.standard_normal(),
            lambda rng: np.float32(rng.standard_normal()),
            lambda rng: jnp.asarray(float(rng.standard_normal())),
            lambda rng: None,
            lambda rng: (),
            lambda rng: {},
            lambda rng: Config(),
            lambda rng: len,
        ]
    ),
)
_KINDS: list[Callable[..., Any]] = [
    *(lambda *parts: list(parts), lambda *parts: parts, Numbered),
    *(lambda *parts: dict(zip("cab", parts, strict=False)), lambda *parts: dict(zip((1, -1, 0), parts, strict=False))),
    *(lambda *parts: OrderedDict(enumerate(parts)), lambda *parts: defaultdict(list, enumerate(parts))),
    lambda *parts: flax.core.freeze({"frozen": {"in": parts[0]}, "rest": parts[1:]}),
    *(lambda *parts: Pair(parts[0], parts[1:]), lambda *parts: Named(parts[0], parts[1:])),
    *(lambda *parts: Mutable(parts[0], bias=parts[1:]), lambda *parts: Chosen(parts)),
    *(lambda *parts: Struct(parts, 0.5), lambda *parts: Layer(parts)),
]


def _node(kind: Callable[..., Any], parts: list[Maker]) -> Maker:
    return lambda rng: kind(*[part(rng) for part in parts])


pytrees: hs.SearchStrategy[Maker] = hs.recursive(
    _leaves,
    lambda inner: hs.builds(_node, hs.sampled_from(_KINDS), hs.lists(inner, min_size=1, max_size=3)),
    max_leaves=8,
)


def in_order(tree: Any) -> Any:
    """Return a state with the keys of its dicts sorted, as JAX sorts them in what it returns."""
    match tree:
        case dict():
            return {key: in_order(tree[key]) for key in sorted(tree, key=repr)}
        case Record():
            return Record([(name, in_order(part)) for name, part in tree.items()], label=tree.label)
        case list() | tuple():
            return type(tree)(map(in_order, tree))
        case _:
            return tree


def same(a: Any, b: Any) -> bool:
    """Whether the states of two objects are the same bit for bit, but for the order of keys."""
    return difference(in_order(state(a)), in_order(state(b))) is None


def through_a_file(tree: Any, suffix: str = ".h5") -> Any:
    """Return a tree as it comes back from a file."""
    with tempfile.TemporaryDirectory() as folder:
        st.save(f"{folder}/t{suffix}", tree, durable=False)
        return st.load(f"{folder}/t{suffix}")
