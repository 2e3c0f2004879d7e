"""Cases of JAX, flax, optax and equinox."""

from typing import Any

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.training.train_state import TrainState

from benchmarks.fidelity.case import Case, Way

__all__ = ["JAX"]

FLOAT8 = (
    *("float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz"),
    *("float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
)
BELOW_A_BYTE = ("float4_e2m1fn", "int4", "uint4", "int2", "uint2")


def _arrays(*names: str) -> dict[str, jax.Array]:
    return {name: jnp.arange(4, dtype=jnp.float32).astype(name) for name in names}


def _bfloat16() -> dict[str, jax.Array]:
    return {"x": jnp.asarray(np.array([0x7F81, 0x8000], np.uint16).view(jnp.bfloat16))}


def _twice() -> dict[str, jax.Array]:
    weight = jnp.arange(6.0)
    return {"embed": weight, "head": weight}


def _keys() -> dict[str, jax.Array]:
    return {"one": jax.random.key(7), "three": jax.random.split(jax.random.key(7, impl="rbg"), 3)}


# optax


def _weights() -> dict[str, Any]:
    return {"w": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}


def _optimiser(transform: optax.GradientTransformation, steps: int) -> Any:
    """Return the state of an optimiser after some steps."""
    weights = _weights()
    state = transform.init(weights)
    for step in range(steps):
        gradients = jax.tree.map(lambda w, step=step: jnp.cos(w + step), weights)
        updates, state = transform.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
    return state


def _optax(name: str, transform: optax.GradientTransformation, **more: Any) -> Case:
    return Case(name, lambda: _optimiser(transform, 2), "jax", lambda: _optimiser(transform, 0), **more)


CHAIN = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(0.1, 10)))
MASKED = optax.masked(optax.adam(0.1), {"w": True, "b": False})


# flax and equinox


class Net(flax.linen.Module):  # type: ignore[misc]
    @flax.linen.compact  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        return flax.linen.Dense(3)(x)


ADAM = optax.adam(0.1)


def _train_state(seed: int, steps: int) -> TrainState:
    state = TrainState.create(
        apply_fn=Net().apply, params=Net().init(jax.random.key(seed), jnp.ones((2, 4)))["params"], tx=ADAM
    )
    for _ in range(steps):
        state = state.apply_gradients(grads=jax.tree.map(jnp.ones_like, state.params))
    return state


def _train_view(state: TrainState) -> Any:
    return state.step, state.params, state.opt_state


class Tied(nnx.Module):  # type: ignore[misc]
    """Two layers of one kernel, with a norm and dropout between them."""

    def __init__(self, seed: int) -> None:
        rngs = nnx.Rngs(seed)
        self.first = nnx.Linear(3, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.second = nnx.Linear(3, 3, rngs=rngs)
        self.second.kernel = self.first.kernel


class Apart(Tied):
    """The same with a kernel for each layer: the code has changed since."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.second = nnx.Linear(3, 3, rngs=nnx.Rngs(seed + 1))


def _used(seed: int) -> Tied:
    model = Tied(seed)
    model.norm(model.dropout(jnp.arange(6.0).reshape(2, 3)))
    return model


def _nnx_state(model: Any) -> Any:
    return nnx.to_pure_dict(nnx.state(model))


def _nnx_take(model: Any, pure: Any) -> Any:
    state = nnx.state(model)
    nnx.replace_by_pure_dict(state, pure)
    nnx.update(model, state)
    return model


def _kernels(model: Any) -> Any:
    return [np.array(layer.kernel.get_value()) for layer in (model.first, model.second)]


def _nnx_view(model: Any) -> Any:
    return _kernels(model), model.first.kernel is model.second.kernel, _nnx_state(model)


NNX = Way(_nnx_state, _nnx_take)


def _mlp(seed: int) -> Any:
    return equinox.nn.MLP(2, 1, 3, 1, key=jax.random.key(seed))


def _mlp_leaves(model: Any) -> Any:
    return jax.tree.leaves(equinox.filter(model, equinox.is_array))


def _mlp_take(model: Any, leaves: Any) -> Any:
    arrays, rest = equinox.partition(model, equinox.is_array)
    return equinox.combine(jax.tree.unflatten(jax.tree.structure(arrays), leaves), rest)


EQUINOX = Way(_mlp_leaves, _mlp_take)

JAX = (
    Case("JAX bfloat16, NaN and −0.0", _bfloat16, "jax", tell=("npz",)),
    Case("JAX float8, 8 kinds", lambda: _arrays(*FLOAT8), "jax"),
    Case("JAX float4, int4, uint4, int2, uint2", lambda: _arrays(*BELOW_A_BYTE), "jax"),
    Case("one JAX array at two places", _twice, "jax", tell=("statetree", "orbax")),
    Case("PRNG keys: threefry, a batch of rbg", _keys, "jax"),
    _optax("optax: clip, adamw, schedule", CHAIN),
    _optax("optax: masked, MaskedNode inside", MASKED),
    _optax("optax: sgd, EmptyState only", optax.sgd(0.1)),
    Case(
        "flax TrainState",
        lambda: _train_state(1, 2),
        "jax",
        lambda: _train_state(2, 0),
        view=_train_view,
        tell=("npz",),
    ),
    Case("nnx: tied kernel, BatchNorm, dropout", lambda: _used(1), "jax", lambda: Tied(2), NNX, view=_nnx_view),
    Case(
        "nnx: tied kernel, apart in the new code",
        lambda: _used(1),
        "jax",
        lambda: Apart(2),
        NNX,
        view=_kernels,
    ),
    Case("equinox MLP with an activation", lambda: _mlp(1), "jax", lambda: _mlp(2), EQUINOX, view=_mlp_leaves),
)
