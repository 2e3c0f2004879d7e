"""A model in the style of Flux.jl: dataclasses that hold arrays and functions, saved as state, loaded into a new model.

Flux's advice is to save Flux.state(model), plain nested data, and to load it with loadmodel! into a model that the code
of the day builds. Here the model has an activation function, which no file should hold, and a tied weight.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import statetree as st
from statetree import flux

Array = np.ndarray[Any, Any]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@dataclass
class Dense:
    weight: Array
    bias: "Array | bool"
    act: Callable[[Array], Array]

    def __call__(self, x: Array) -> Array:
        return self.act(x @ self.weight + self.bias)


@dataclass
class Chain:
    layers: tuple[Any, ...]

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = layer(x)
        return x


def build(seed: int) -> Chain:
    """Return a model of three layers, the middle one used twice, the last one with its bias turned off."""
    rng = np.random.default_rng(seed)

    def dense(m: int, n: int, act: Callable[[Array], Array], *, bias: bool = True) -> Dense:
        return Dense(rng.standard_normal((m, n)), np.zeros(n) if bias else False, act)

    middle = dense(16, 16, relu)
    return Chain((dense(8, 16, np.tanh), middle, middle, dense(16, 2, np.sin, bias=False)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", default="model.bson", help="where in a temporary folder the state goes")
    options = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((4, 8))
    model = build(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / options.file
        left_out: list[Any] = []
        st.save(path, st.state(model, report=left_out))
        print("not in the file:", ", ".join(map(st.path_text, left_out)))
        for line in st.inspect(path).lines:
            print("  " * len(line.path), st.path_text(line.path[-1:]) or "/", line.text)

        restored = st.restore(build(2), st.load(path))
        print("statetree.restore: same output", np.array_equal(restored(x), model(x)))
        print("the layer that is used twice is one layer:", restored.layers[1].weight is restored.layers[2].weight)

        loaded = flux.loadmodel(build(3), st.load(path))
        print("statetree.flux.loadmodel: same output", np.array_equal(loaded(x), model(x)))

        smaller = Chain((*build(4).layers[:3], Dense(np.zeros((16, 3)), np.zeros(3), np.sin)))
        try:
            st.restore(smaller, st.load(path))
        except st.RestoreError as error:
            print("another model is refused, with everything that differs:")
            print(error)


if __name__ == "__main__":
    main()
