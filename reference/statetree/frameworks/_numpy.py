"""NumPy: arrays, scalars and generators of random numbers, those of Python beside them. Source: docs/restore.md."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from statetree.dtype import BY_NAME, dtype_name
from statetree.encode import tie_key
from statetree.frameworks.parts import NOTHING, PLAIN, Context, Found, Leaf, Parts, Slot, refuse
from statetree.tree import Record

__all__ = ["find"]

_SCALARS = {row.numpy.type for row in BY_NAME.values()}
_LISTS = "keep its elements as a list"


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of NumPy and of the module `random` are taken apart, None for others."""
    if kind is np.ndarray or kind is np.memmap:
        return _array
    if kind in _SCALARS:
        return lambda value, context: PLAIN
    mro = kind.__mro__
    if np.dtype in mro:
        return lambda value, context: NOTHING
    if np.ndarray in mro or np.generic in mro:
        name = f"{kind.__module__}.{kind.__qualname__}"
        remedy = "keep {'data': a.data, 'mask': a.mask}" if np.ma.MaskedArray in mro else "keep numpy.asarray(a)"
        return lambda value, context: refuse(context, "a plain NumPy array or scalar", f"a {name}", remedy)
    if np.random.Generator in mro:
        return lambda value, context: _bits(value.bit_generator, "numpy.random.Generator", value)
    if np.random.BitGenerator in mro:
        return lambda value, context: _bits(value, "numpy.random.BitGenerator", value)
    if np.random.RandomState in mro:
        return _random_state
    if random.SystemRandom in mro:
        return lambda value, context: NOTHING
    return _python_random if random.Random in mro else None


def _array(array: "np.ndarray[Any, Any]", context: Context) -> Found:
    dtype = dtype_name(array.dtype)
    if dtype is None:
        remedy = _LISTS if array.dtype.kind in "OUST" else "convert it to a dtype of the format"
        refuse(context, "an array of numbers", f"an array of dtype {array.dtype}", remedy)

    def write(new: "np.ndarray[Any, Any]") -> Any:
        if not array.flags.writeable:
            return np.array(new)
        array[...] = new
        return array

    return Leaf(dtype, array.shape, lambda: np.array(array, order="C", subok=False), write, tie_key(array), holds=True)


def _bits(generator: Any, label: str, value: Any) -> Parts:
    state = generator.state

    def put(new: Any) -> Any:
        generator.state = new
        return value

    algorithm = state["bit_generator"]
    rest = {key: part for key, part in state.items() if key != "bit_generator"}
    # A state of the right structure may still be one that the generator refuses.
    slot = Slot(
        lambda: rest,
        lambda new: put({"bit_generator": algorithm, **new}),
        hold=lambda: partial(put, generator.state),
    )
    items = [("bit_generator", algorithm), ("state", slot)]
    return Parts("record", items, lambda _: value, label=label, fixed=frozenset(("bit_generator",)))


def _random_state(value: np.random.RandomState, context: Context) -> Parts:
    state = value.get_state(legacy=False)
    rest = {key: part for key, part in state.items() if key != "bit_generator"}

    def put(new: Any) -> Any:
        value.set_state({"bit_generator": state["bit_generator"], **new})
        return value

    slot = Slot(lambda: rest, put, hold=lambda: partial(put, value.get_state(legacy=False)))
    items = [("bit_generator", state["bit_generator"]), ("state", slot)]
    label = "numpy.random.RandomState"
    return Parts("record", items, lambda _: value, label=label, fixed=frozenset(("bit_generator",)))


def _python_random(value: random.Random, context: Context) -> Parts:
    version, words, gauss = value.getstate()

    def put(new: Record) -> Any:
        value.setstate((version, tuple(new["words"].tolist()), new["gauss"]))
        return value

    state = Record({"words": np.array(words, np.uint32), "gauss": gauss})
    # `gauss` is None or a float, which one is part of the state.
    items = [("version", version), ("state", Slot(lambda: state, put, strict=False))]
    return Parts("record", items, lambda _: value, label="random.Random", fixed=frozenset(("version",)))
