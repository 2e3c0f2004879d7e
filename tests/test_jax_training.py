"""Training with flax, optax and equinox goes on bit for bit from a saved state, in objects that are built anew."""

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

import statetree as st
from jax_trees import same, through_a_file
from statetree import RestoreError, difference, restore, state
from test_jax_state import Tied


class Convolution(nn.Module):
    """A model of linen with statistics, dropout and a table that is used twice."""

    @nn.compact
    def __call__(self, x: Any, train: bool = True) -> Any:
        table = nn.Embed(5, 4)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(table(x).mean(1))
        return table.attend(nn.Dropout(0.3, deterministic=not train)(x))


class LinenState(TrainState):
    batch_stats: Any
    key: Any


def linen(seed: int) -> LinenState:
    key = jax.random.key(seed)
    variables = flax.core.freeze(MODEL.init(key, TOKENS, train=False))
    params, statistics = variables["params"], variables["batch_stats"]
    return LinenState.create(apply_fn=MODEL.apply, params=params, tx=TX, batch_stats=statistics, key=key)


MODEL = Convolution()
TOKENS = jnp.asarray([[0, 1], [2, 3], [4, 0]])
SCHEDULE = optax.linear_schedule(0.1, 0.0, 9)
TX = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.masked(optax.inject_hyperparams(optax.adamw)(SCHEDULE), lambda params: jax.tree.map(jnp.ndim, params)),
)


@jax.jit
def linen_step(train: LinenState) -> LinenState:
    key, dropout = jax.random.split(train.key)

    def loss(params: Any) -> Any:
        variables = {"params": params, "batch_stats": train.batch_stats}
        out, new = train.apply_fn(variables, TOKENS, rngs={"dropout": dropout}, mutable=["batch_stats"])
        return (out**2).mean(), new["batch_stats"]

    grads, statistics = jax.grad(loss, has_aux=True)(train.params)
    return train.apply_gradients(grads=grads, batch_stats=flax.core.freeze(statistics), key=key)


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip", ".bson"])
def test_training_with_linen_goes_on_bit_for_bit(suffix: str) -> None:
    saved = linen_step(linen_step(linen(0)))
    fresh = linen(1)
    kept = state(fresh.params)

    restored = restore(fresh, through_a_file(state(saved), suffix))

    assert jax.tree.structure(restored) == jax.tree.structure(fresh)
    assert same(linen_step(restored), linen_step(saved))
    assert difference(state(fresh.params), kept) is None


@pytest.mark.parametrize("part", ["params", "batch_stats", "key", "opt_state"])
def test_training_without_one_part_of_its_state_goes_on_otherwise(part: str) -> None:
    saved = linen_step(linen(0))
    fields = [(name, node) for name, node in state(saved).items() if name != part]

    restored, problems = restore(linen(1), st.Record(fields, label="LinenState"), strict=False)

    assert [problem.path for problem in problems] == [(part,)]
    assert not same(outcome(linen_step(restored)), outcome(linen_step(saved)))


def outcome(train: LinenState) -> Any:
    """Return what the model has learnt, and what it says when it is used."""
    variables = {"params": train.params, "batch_stats": train.batch_stats}
    return train.params, MODEL.apply(variables, TOKENS, train=False)


class Net(nnx.Module):
    """A model of nnx with all that such a model may hold."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.first = nnx.Linear(3, 4, rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.3, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(4, 4, rngs=rngs), nnx.relu])
        self.layers.append(self.layers[0])
        self.heads = nnx.Dict(a=nnx.Sequential(nnx.Linear(4, 1, use_bias=False, rngs=rngs), jnp.tanh))
        self.tied = nnx.data((self.first.kernel, None))
        self.count = nnx.Variable(0)
        self.seen = nnx.Variable({"sum": jnp.zeros(3), "last": [jnp.zeros(())]}, note="metadata")
        self.none = nnx.Variable(None)
        self.scale = nnx.data(2.0)
        self.metrics = nnx.MultiMetric(loss=nnx.metrics.Average())

    def __call__(self, x: Any) -> Any:
        self.count.set_value(self.count.get_value() + 1)
        self.seen.set_value({"sum": self.seen.get_value()["sum"] + x.sum(0), "last": [x.mean()]})
        x = self.dropout(self.norm(self.first(x)))
        for layer in self.layers:
            x = layer(x)
        return self.scale * self.heads["a"](x) + (x @ self.tied[0].get_value().T).sum()


def net(seed: int) -> tuple[Net, nnx.Optimizer[Net]]:
    model = Net(nnx.Rngs(seed, dropout=jax.random.key(seed, impl="rbg")))
    return model, nnx.Optimizer(model, TX, wrt=nnx.Param)


INPUTS = jnp.linspace(-1, 1, 12).reshape(4, 3)


@nnx.jit
def net_step(model: Net, optimizer: nnx.Optimizer[Net]) -> Any:
    def loss(model: Net) -> Any:
        return ((model(INPUTS) - INPUTS.sum(1, keepdims=True)) ** 2).mean()

    value, grads = nnx.value_and_grad(loss)(model)
    optimizer.update(model, grads)
    model.metrics.update(values=value)
    return value


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip", ".bson"])
def test_training_with_nnx_goes_on_bit_for_bit_and_references_stay_valid(suffix: str) -> None:
    saved = net(0)
    for _ in range(2):
        net_step(*saved)
    fresh = net(1)
    kernel, layer = fresh[0].first.kernel, fresh[0].layers[2]
    structure = jax.tree.structure(fresh)

    restored = restore(fresh, through_a_file(state(saved), suffix))

    assert jax.tree.structure(restored) == structure
    assert restored[0] is fresh[0]
    assert kernel is fresh[0].first.kernel is fresh[0].tied[0]
    assert layer is fresh[0].layers[0]
    assert same(fresh, saved)
    assert same([net_step(*fresh), *fresh], [net_step(*saved), *saved])


def test_a_model_of_shapes_alone_is_filled() -> None:
    saved = net(0)[0]

    model = restore(nnx.eval_shape(lambda: net(1)[0]), state(saved))

    assert same(model, saved)
    assert same(model(INPUTS), saved(INPUTS))


def test_split_states_of_nnx_are_restored_in_place() -> None:
    graph, params, rest = nnx.split(net(0)[0], nnx.Param, ...)
    saved = nnx.split(net(1)[0], nnx.Param, ...)

    restored = restore([graph, params, rest, nnx.to_flat_state(params)], state([*saved, nnx.to_flat_state(saved[1])]))

    assert restored[1] is params
    assert same(nnx.merge(graph, params, rest), net(1)[0])


def test_another_value_for_what_nnx_shares_is_refused() -> None:
    dst, tree = Tied(nnx.Rngs(0)), state(Tied(nnx.Rngs(1)))
    tree["again"] = {"kernel": np.zeros((2, 2), np.float32), "bias": np.zeros(2, np.float32)}
    before = state(dst)

    with pytest.raises(RestoreError) as refused:
        restore(dst, tree)

    told = "got another value (at {}): tie them in the model that was saved, or untie them here"
    assert str(refused.value).splitlines() == [
        f"expected the value of /first/kernel, which is the same array here, {told.format('/again/kernel')}",
        f"expected the value of /first, which is the same object here, {told.format('/again')}",
    ]
    assert difference(state(dst), before) is None


def test_shared_variables_are_compared_in_an_open_file_too(tmp_path: Path) -> None:
    def build(seed: int) -> Any:
        rngs = nnx.Rngs(seed)
        return nnx.Dict(a=rngs, b=rngs, c=rngs.params.key, d=nnx.data(nnx.Variable({"x": jnp.ones(2) * seed})))

    st.save(tmp_path / "t.h5", state(build(5)), durable=False)
    dst = build(1)

    with st.open(tmp_path / "t.h5") as file:
        restore(dst, file.tree)

    assert same(dst, build(5))


@pytest.mark.parametrize("mode", ["ref", "hijax"])
def test_other_modes_of_variables_are_taken_apart_and_restored_in_place(mode: str) -> None:
    def build(seed: int) -> Any:
        with nnx.var_defaults(**{mode: True}):
            model = Tied(nnx.Rngs(seed))
            model.drop = nnx.Dropout(0.5, rngs=nnx.Rngs(seed))
            model.norm = nnx.BatchNorm(2, rngs=nnx.Rngs(seed))
        with nnx.var_defaults(hijax=mode == "hijax"):
            model.more = nnx.Variable({"a": [jnp.ones(2) * seed], "n": seed})
        return model

    dst, src = build(0), build(1)
    kernel = dst.first.kernel

    restore(dst, state(src))

    assert same(dst, src)
    assert dst.first.kernel is kernel
    assert same(kernel.get_value(), src.kernel.get_value())
    tree = state(src)
    assert tree["kernel"] is tree["first"]["kernel"] is tree["again"]["kernel"]


class Stateful(eqx.Module):
    """A model of equinox with statistics, dropout, a shared layer and a converter."""

    embedding: Any
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    mlp: eqx.nn.MLP
    shared: eqx.nn.Shared
    scale: Any = eqx.field(converter=jnp.float32, default=2.0)
    rate: float = 0.5
    width: int = eqx.field(static=True, default=4)

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 3)
        self.embedding = eqx.nn.Linear(3, 4, key=keys[0])
        self.norm = eqx.nn.BatchNorm(4, "batch", mode="ema")
        self.dropout = eqx.nn.Dropout(0.3)
        self.mlp = eqx.nn.MLP(4, 4, 5, 1, key=keys[1])
        layers = (eqx.nn.Linear(4, 4, key=keys[2]), eqx.nn.Linear(4, 4, key=keys[2]))
        self.shared = eqx.nn.Shared(layers, where=lambda pair: pair[1].weight, get=lambda pair: pair[0].weight)

    def __check_init__(self) -> None:
        assert self.width == 4

    def __call__(self, x: Any, layers: Any, key: Any) -> Any:
        x, layers = self.norm(self.embedding(x), layers)
        x = self.mlp(self.dropout(x, key=key))
        for layer in self.shared():
            x = layer(x)
        return (self.scale * x * self.rate).sum(), layers


def stateful(seed: int) -> Any:
    key = jax.random.key(seed)
    model, layers = eqx.nn.make_with_state(Stateful)(key)
    tx = optax.adam(0.1)
    return model, layers, tx.init(eqx.filter(model, eqx.is_inexact_array)), key


@eqx.filter_jit
def stateful_step(model: Any, layers: Any, opt: Any, key: Any) -> Any:
    key, *keys = jax.random.split(key, 5)

    def loss(model: Any) -> Any:
        batched = jax.vmap(model, axis_name="batch", in_axes=(0, None, 0), out_axes=(0, None))
        out, new = batched(INPUTS, layers, jnp.stack(keys))
        return (out**2).mean(), new

    grads, new = eqx.filter_grad(loss, has_aux=True)(model)
    updates, opt = optax.adam(0.1).update(grads, opt)
    return eqx.apply_updates(model, updates), new, opt, key


def test_training_with_equinox_goes_on_bit_for_bit() -> None:
    saved = stateful_step(*stateful_step(*stateful(0)))
    fresh = stateful(1)
    kept = state(fresh[0])

    restored = restore(fresh, through_a_file(state(saved)))

    assert jax.tree.structure(restored) == jax.tree.structure(fresh)
    assert same(stateful_step(*restored), stateful_step(*saved))
    assert difference(state(fresh[0]), kept) is None


@pytest.mark.filterwarnings("error")
def test_what_equinox_shares_and_flags_is_restored() -> None:
    dst, src = stateful(0)[0], eqx.nn.inference_mode(stateful(1)[0])

    restored = restore(dst, state(src))

    assert restored.dropout.inference is True
    assert same(restored, src)
    assert jax.tree.structure(restored) == jax.tree.structure(src)
    assert same(restored.shared()[1].weight, src.shared()[0].weight)
