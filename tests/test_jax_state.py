"""The state of objects of JAX and its libraries: exact, a snapshot, ties and empty states kept, the rest refused."""

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import flax.core
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from jax_trees import Chosen, Config, Layer, Mutable, Named, Numbered, Pair, Struct
from statetree import Record, WriteError, difference, restore, state
from statetree.dtype import BY_NAME
from statetree_spec import registry

Array = np.ndarray[Any, Any]
ONES = np.ones(2, np.float32)
NOT_IN_JAX = {"float6_e2m3fn", "float6_e3m2fn"}


def elements(name: str, shape: tuple[int, ...]) -> Array:
    """Return an array of a dtype whose elements have bits of all kinds."""
    row = BY_NAME[name]
    raw = np.frombuffer(np.random.default_rng(0).bytes(int(np.prod(shape)) * row.itemsize), np.uint8)
    return (raw if row.top is None else raw & np.uint8(row.top)).view(row.numpy).reshape(shape)


@pytest.mark.parametrize("name", sorted(set(BY_NAME) - NOT_IN_JAX))
def test_an_array_of_every_dtype_of_jax_keeps_dtype_shape_and_bits(name: str) -> None:
    for shape in ((2, 3), (), (0, 2)):
        array = elements(name, shape)
        with jax.enable_x64(True):
            there, zeros = jnp.asarray(array), jnp.zeros(shape, array.dtype)

            assert there.dtype == array.dtype
            assert difference(state(there), array) is None
            assert difference(state(restore(zeros, array)), array) is None


def test_bits_of_nans_and_of_zeros_are_kept() -> None:
    bits = np.array([0x7F800001, 0xFFC12345, 0x80000000, 1], np.uint32)

    for array in (bits.view(np.float32), bits.view(np.complex64)):
        assert difference(state(jnp.asarray(array)), array) is None
        assert difference(state(restore(jnp.zeros(array.shape, array.dtype), array)), array) is None


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_a_typed_key_is_a_record_of_its_implementation_and_data(impl: str, shape: tuple[int, ...]) -> None:
    key = jax.random.split(jax.random.key(7, impl=impl), shape)

    tree = state(key)

    expected = Record({"impl": impl, "data": np.asarray(jax.random.key_data(key))}, label="jax.random.key")
    assert difference(tree, expected) is None
    assert registry("labels")["labels"][tree.label]["fields"] == list(tree.names)


def test_a_raw_key_is_an_array() -> None:
    assert difference(state(jax.random.PRNGKey(3)), np.array([0, 3], np.uint32)) is None


def test_a_state_does_not_share_memory_with_arrays_that_are_donated_later() -> None:
    there = jnp.arange(1000.0)
    tree = state({"weight": there})

    jax.jit(lambda x: x * 0, donate_argnums=0)(there).block_until_ready()

    assert there.is_deleted()
    assert difference(tree["weight"], np.arange(1000, dtype=np.float32)) is None


def test_one_array_at_two_places_is_one_and_equal_ones_are_two() -> None:
    shared, key = jnp.ones(2), jax.random.key(0)

    tree = state({"a": shared, "b": [shared, jnp.ones(2)], "keys": (key, key)})

    data = np.zeros(2, np.uint32)
    keys = Record({"impl": "threefry2x32", "data": data}, label="jax.random.key")
    assert difference(tree, {"a": ONES, "b": [ONES, np.copy(ONES)], "keys": (keys, keys)}) is None


OBJECTS: list[tuple[Callable[[Any], Any], Any]] = [
    (lambda x: Pair(x, None), Record({"x": ONES, "y": None}, label="Pair")),
    (lambda x: Numbered(x, 2), Record({"0": ONES, "1": 2}, label="Numbered")),
    (lambda x: Named(x, 2), Record({"shift": 2, "scale": ONES}, label="Named")),
    (Mutable, Record({"weight": ONES, "size": (), "bias": None}, label="Mutable")),
    (Chosen, Record({"weight": ONES, "size": ()}, label="Chosen")),
    (lambda x: Struct(x, 0.5), Record({"params": ONES, "rate": 0.5, "apply": ()}, label="Struct")),
    (lambda x: [x, Config()], [ONES, ()]),
    (lambda x: jax.tree_util.Partial(len, x, k=1), Record({"0": (ONES,), "1": {"k": 1}}, label="Partial")),
    (jax.new_ref, ONES),
    (lambda x: flax.core.freeze({"a": {"b": x}}), {"a": {"b": ONES}}),
    (lambda x: [nn.Dense(1), x], [(), ONES]),
    (lambda x: nnx.Param(x, note="setting"), ONES),
    (lambda x: nnx.Variable(None), None),
    (lambda x: nnx.Variable({"a": [x]}), {"a": [ONES]}),
    (lambda x: nnx.List([nnx.Param(x), nnx.relu, 3]), [ONES, (), ()]),
    (lambda x: nnx.Dict(a=nnx.Param(x), b=3), {"a": ONES}),
    (lambda x: nnx.Sequential(nnx.Param(x), jnp.tanh), {"layers": [ONES, ()]}),
    (lambda x: nnx.State({"a": {0: nnx.Param(x)}}), {"a": {0: ONES}}),
    (lambda x: nnx.to_flat_state(nnx.State({"a": {0: nnx.Param(x)}})), {("a", 0): ONES}),
    (lambda x: nnx.split(nnx.Dict(a=nnx.Param(x))), ((), {"a": ONES})),
    (Layer, Record({"weight": ONES, "size": (), "scale": 1.0}, label="Layer")),
    (lambda x: eqx.nn.Dropout(0.5, inference=True), Record({"p": 0.5, "inference": True}, label="Dropout")),
    (lambda x: [eqx.nn.Identity(), eqx.nn.Lambda(jnp.tanh)], [(), Record({"fn": ()}, label="Lambda")]),
    (lambda x: [optax.EmptyState(), optax.MaskedNode()], [Record(label="EmptyState"), Record(label="MaskedNode")]),
    (lambda x: optax.TraceState({"w": x}), Record({"trace": {"w": ONES}}, label="TraceState")),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("made", "tree"), OBJECTS)
def test_what_an_object_becomes(made: Callable[[Any], Any], tree: Any) -> None:
    assert difference(state(made(jnp.ones(2))), tree) is None


def test_a_train_state_is_a_record_without_its_functions() -> None:
    made = TrainState.create(apply_fn=len, params={"w": jnp.ones(2)}, tx=optax.sgd(0.1, 0.9))
    left_out: list[Any] = []

    tree = state(made, report=left_out)

    momentum = Record({"trace": {"w": np.zeros(2, np.float32)}}, label="TraceState")
    fields = {"step": 0, "apply_fn": (), "params": {"w": ONES}, "tx": ()}
    expected = {**fields, "opt_state": (momentum, Record(label="EmptyState"))}
    assert difference(tree, Record(expected, label="TrainState")) is None
    assert left_out == [("apply_fn",), ("tx",)]


def test_settings_of_equinox_are_reported() -> None:
    left_out: list[Any] = []
    model = eqx.nn.MLP(2, 1, 4, 1, key=jax.random.key(0))

    tree = state({"mlp": model, "bias": eqx.nn.Linear(2, 1, use_bias=False, key=jax.random.key(0))}, report=left_out)

    assert tree["mlp"].layers[0].names == ("weight", "bias", "in_features", "out_features", "use_bias")
    assert tree["bias"].bias is None
    assert {("mlp", "activation"), ("mlp", "depth"), ("mlp", "layers", 0, "use_bias"), ("bias", "in_features")} < set(
        left_out
    )


def test_states_of_layers_of_equinox_go_by_the_names_of_their_places() -> None:
    class Model(eqx.Module):
        norm: Any
        linear: Any

    def build() -> Any:
        norm = eqx.nn.BatchNorm(3, "batch", mode="ema")
        return Model(norm, eqx.nn.Linear(3, 1, key=jax.random.key(0)))

    model, layers = eqx.nn.make_with_state(build)()

    tree = state([model, layers])

    assert all(name.startswith("Model.norm.") for name in tree[1])
    assert len(tree[1]) == len(jax.tree.leaves(layers, is_leaf=lambda part: part is not layers))
    assert difference(state(jax.tree.leaves(layers)), _leaves(tree[1])) is None


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, np.ndarray):
        return [tree]
    parts = tree.values() if isinstance(tree, dict) else tree
    return [leaf for part in parts for leaf in _leaves(part)]


# nnx


class Tied(nnx.Module):
    """Shares a layer, a variable and an array."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(2, 2, rngs=rngs)
        self.again = self.first
        self.kernel = self.first.kernel
        self.other = nnx.Param(self.first.kernel.get_value())
        self.steps = 3  # a setting, by the account of nnx


def test_what_nnx_shares_is_there_at_every_place_as_one_array() -> None:
    left_out: list[Any] = []

    tree = state(Tied(nnx.Rngs(0)), report=left_out)

    first = {"kernel": np.copy(tree["kernel"]), "bias": np.zeros(2, np.float32)}
    expected = {"first": first, "again": first, "kernel": first["kernel"], "other": first["kernel"]}
    assert difference(tree, expected) is None
    assert left_out == []


def test_random_streams_of_nnx_are_keys_and_counts() -> None:
    rngs = nnx.Rngs(0, dropout=jax.random.key(5, impl="rbg"))
    rngs.dropout()

    tree = state(rngs)

    assert difference(tree["dropout"]["count"], np.array(1, np.uint32)) is None
    assert (tree["dropout"]["key"].impl, tree["default"]["key"].impl) == ("rbg", "threefry2x32")


@pytest.mark.filterwarnings("ignore:Variable hooks are deprecated")
def test_a_variable_is_its_raw_value_and_not_what_hooks_make_of_it() -> None:
    doubled = nnx.Param(jnp.ones(2), on_get_value=lambda variable, value: value * 2)

    assert difference(state(doubled), ONES) is None
    assert difference(state(restore(doubled, ONES * 3)), ONES * 3) is None


class Plain(nnx.Object):
    """An nnx object that is no pytree."""

    def __init__(self) -> None:
        self.weight = nnx.Param(jnp.ones(2))
        self.parts = [nnx.Param(jnp.ones(2)), 3]
        self.sizes = [1, 2]


def test_an_object_of_nnx_that_is_no_pytree_gives_what_holds_data() -> None:
    assert difference(state(Plain()), {"weight": ONES, "parts": [np.copy(ONES), 3]}) is None


class Layers(nnx.List):
    """A list with attributes beside its items."""

    def __init__(self) -> None:
        super().__init__([nnx.Param(jnp.ones(2))])
        self.scale = nnx.Param(jnp.ones(2))


def test_a_list_of_nnx_with_attributes_loses_none_of_them() -> None:
    assert difference(state(Layers()), {"0": ONES, "scale": np.copy(ONES)}) is None


# Refusals


def donated() -> Any:
    array = jnp.ones(2)
    array.delete()
    return array


def donated_key() -> Any:
    key = jax.random.key(0)
    key.delete()
    return key


def replaced_state() -> Any:
    index = eqx.nn.StateIndex(jnp.array(0))
    old = eqx.nn.State(index)
    old.set(index, jnp.array(1))
    return old


_DONATED = (
    "expected an array with values, got a deleted or donated array (at /model/0): "
    "take the state before the step that donates it"
)
_SHAPE = "expected an array with values, got a shape without values (at /model/0): give the arrays themselves"


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (donated, _DONATED),
        (donated_key, _DONATED.replace("/0)", "/0/data)")),
        (lambda: jax.ShapeDtypeStruct((2,), jnp.float32), _SHAPE),
        (lambda: jax.eval_shape(lambda: jax.random.key(0)), _SHAPE.replace("/0)", "/0/data)")),
        (
            replaced_state,
            "expected the newest State, got one that another has replaced (at /model/0): "
            "keep what set() and update() return",
        ),
    ],
)
def test_what_has_no_values_is_refused(made: Callable[[], Any], text: str) -> None:
    with pytest.raises(WriteError) as refused:
        state({"model": Numbered(made())})

    assert str(refused.value) == text


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
@pytest.mark.parametrize("inner", [lambda x: x, nnx.Param])
def test_a_tracer_is_refused(transform: Callable[[Any], Any], inner: Callable[[Any], Any]) -> None:
    def within(x: Any) -> Any:
        state({"x": inner(x)})

    with pytest.raises(WriteError) as refused:
        transform(within)(jnp.ones(3) if transform is jax.vmap else 1.0)

    assert str(refused.value) == (
        "expected an array with values, got a tracer (at /x): call it outside of jit, grad and vmap"
    )


class Trainer:
    """Has a state of its own, and trains while it is asked for it."""

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def __statetree__(self) -> Any:
        self.variable.set_value(self.variable.get_value() + 1)
        return 0


def test_a_variable_that_changes_meanwhile_is_refused() -> None:
    weight = nnx.Param(jnp.ones(2))

    with pytest.raises(WriteError) as refused:
        state({"weight": weight, "trainer": Trainer(weight)})

    assert str(refused.value) == (
        "expected an object that rests while its state is taken, got one of which a part was changed: "
        "take it between two steps"
    )


# The registry


def namedtuples_of_optax() -> dict[str, list[str]]:
    """Return the fields of every namedtuple class in the source of optax."""
    found = {}
    for path in Path(optax.__file__).parent.rglob("*.py"):
        if path.stem.endswith("_test"):
            continue
        for part in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(part, ast.ClassDef) and any(ast.unparse(base).endswith("NamedTuple") for base in part.bases):
                fields = [line.target for line in part.body if isinstance(line, ast.AnnAssign)]
                found[part.name] = [ast.unparse(field) for field in fields]
    return found


def test_the_registry_holds_every_state_of_optax_with_its_fields() -> None:
    settings = {"GradientTransformation", "MuonDimensionNumbers", "GaLoreDimensionNumbers"}
    states = {name: fields for name, fields in namedtuples_of_optax().items() if name not in settings}
    labels = {name: row["fields"] for name, row in registry("labels")["labels"].items() if "." not in name}

    assert len(states) > 60
    assert {name: labels.get(name) for name in states} == states
