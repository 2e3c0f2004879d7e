"""Training with flax and optax that is stopped and goes on in a new process: 10 + 10 steps are 20 steps, bit for bit.

Everything that the next step depends on is in the file: weights, statistics of BatchNorm, moments of AdamW, the place
in the schedule, the typed keys of JAX that dropout draws from, and the NumPy generator that shuffles the data. The new
process builds all of it anew, with another seed, and restores the state into it.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.training.train_state import TrainState

import statetree as st

SUFFIXES = (".h5", ".zarr", ".zarr.zip", ".bson")
HALF = 10


def matrices(params: Any) -> Any:
    return jax.tree.map(lambda x: x.ndim > 1, params)


RATE = optax.warmup_cosine_decay_schedule(0.0, 0.05, 5, 2 * HALF)
# Biases and scales do not decay.
OPTIMISER = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(RATE, weight_decay=0.01, mask=matrices))
DATA = np.linspace(-1, 1, 256, dtype=np.float32).reshape(32, 8)


def batch(shuffle: np.random.Generator) -> Any:
    return shuffle.permutation(DATA)[:16]


# flax nnx: objects that are changed in place


def build_nnx(seed: int) -> dict[str, Any]:
    rngs = nnx.Rngs(seed)
    layers = [nnx.Linear(8, 16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs), nnx.relu, nnx.Dropout(0.2, rngs=rngs)]
    model = nnx.Sequential(*layers, nnx.Linear(16, 1, rngs=rngs))
    optimizer = nnx.Optimizer(model, OPTIMISER, wrt=nnx.Param)
    return {"model": model, "optimizer": optimizer, "shuffle": np.random.default_rng(seed)}


@nnx.jit  # type: ignore[untyped-decorator]
def step_nnx(model: Any, optimizer: Any, x: Any) -> None:
    def loss(model: Any) -> Any:
        return jnp.mean((model(x)[:, 0] - x.sum(1)) ** 2)

    optimizer.update(model, nnx.grad(loss)(model))


def train_nnx(run: dict[str, Any]) -> None:
    for _ in range(HALF):
        step_nnx(run["model"], run["optimizer"], batch(run["shuffle"]))


# flax linen: values that are replaced


class Net(nn.Module):  # type: ignore[misc]
    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(nn.Dense(16)(x)))
        return nn.Dense(1)(nn.Dropout(0.2, deterministic=not train)(x))


class State(TrainState):  # type: ignore[misc]
    statistics: Any
    key: Any


NET = Net()


def build_linen(seed: int) -> dict[str, Any]:
    init, key = jax.random.split(jax.random.key(seed, impl="rbg"))
    variables = NET.init(init, DATA, train=False)
    params, statistics = variables["params"], variables["batch_stats"]
    state = State.create(apply_fn=NET.apply, params=params, tx=OPTIMISER, statistics=statistics, key=key)
    return {"train": state, "shuffle": np.random.default_rng(seed)}


@jax.jit  # type: ignore[untyped-decorator]
def step_linen(train: Any, x: Any) -> Any:
    key, dropout = jax.random.split(train.key)

    def loss(params: Any) -> Any:
        variables = {"params": params, "batch_stats": train.statistics}
        out, new = train.apply_fn(variables, x, train=True, rngs={"dropout": dropout}, mutable=["batch_stats"])
        return jnp.mean((out[:, 0] - x.sum(1)) ** 2), new["batch_stats"]

    grads, statistics = jax.grad(loss, has_aux=True)(train.params)
    return train.apply_gradients(grads=grads, statistics=statistics, key=key)


def train_linen(run: dict[str, Any]) -> None:
    for _ in range(HALF):
        run["train"] = step_linen(run["train"], batch(run["shuffle"]))


LIBRARIES = {"nnx": (build_nnx, train_nnx), "linen": (build_linen, train_linen)}


def straight(library: str, folder: Path) -> None:
    """Train without a break, and save the states of the middle and of the end."""
    build, train = LIBRARIES[library]
    run = build(seed=0)
    train(run)
    for suffix in SUFFIXES:
        st.save(folder / f"{library}-middle{suffix}", st.state(run))
    train(run)
    st.save(folder / f"{library}-straight.h5", st.state(run))


def resume(library: str, folder: Path) -> None:
    """Go on from each container, in objects that were built with another seed."""
    build, train = LIBRARIES[library]
    for suffix in SUFFIXES:
        run = st.restore(build(seed=1), st.load(folder / f"{library}-middle{suffix}"))
        train(run)
        st.save(folder / f"{library}-resumed{suffix}", st.state(run))


def compare(folder: Path) -> bool:
    """Print where each resumed run ended, and return whether all ended where the straight one did."""
    print("library  container  steps  state at the end")
    held = True
    for library in LIBRARIES:
        end = st.load(folder / f"{library}-straight.h5")
        print(f"{library:7}  {'':9}  {2 * HALF:5}  {st.digest(end)}")
        for suffix in SUFFIXES:
            found = st.difference(end, st.load(folder / f"{library}-resumed{suffix}"))
            held &= found is None
            print(f"{library:7}  {suffix:9}  {HALF}+{HALF}  {'identical' if found is None else f'DIFFERS: {found}'}")
    return held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where the files go and stay, default: a temporary folder")
    parser.add_argument("--part", choices=("straight", "resume"), help="what a new process does")
    parser.add_argument("--library", choices=LIBRARIES)
    options = parser.parse_args()
    if options.part:
        {"straight": straight, "resume": resume}[options.part](options.library, options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for part in ("straight", "resume"):
            command = [sys.executable, __file__, "--folder", str(folder), "--part", part, "--library"]
            both = [subprocess.Popen([*command, library]) for library in LIBRARIES]
            codes = [process.wait() for process in both]
            if any(codes):
                sys.exit(f"a process of the part {part} failed")
        sys.exit(0 if compare(folder) else 1)


if __name__ == "__main__":
    main()
