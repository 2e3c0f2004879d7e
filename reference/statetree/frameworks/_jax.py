"""JAX: arrays, typed keys of random numbers, and other pytrees. Source: docs/restore.md.

JAX arrays cannot be changed, so restoring makes new ones, and with them new containers of the same tree structure.
"""

import dataclasses
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax._src import tree_util

from statetree.dtype import dtype_name
from statetree.frameworks.parts import Context, Found, Leaf, Parts, refuse

__all__ = ["KEY_LABEL", "find", "node"]

Array = np.ndarray[Any, Any]
KEY_LABEL = "jax.random.key"
_DONATED = "take the state before the step that donates it"
_X64 = "jax.config.update('jax_enable_x64', True) lets JAX hold it; cast=True makes it narrower"


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of JAX, or a class that is a pytree, are taken apart; None for other classes."""
    if issubclass(kind, jax.core.Tracer):
        return lambda value, context: refuse(
            context, "an array with values", "a tracer", "call state() outside of jit, grad and vmap"
        )
    if issubclass(kind, jax.Array):
        return _array
    if kind is jax.ShapeDtypeStruct:
        return _template
    if _is_node(kind):
        return node
    return None


def _is_key(value: Any) -> bool:
    return bool(jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key))


def _array(array: Any, context: Context) -> Found:
    if array.is_deleted():
        refuse(
            context,
            "an array with values",
            "a deleted or donated array",
            "take the state before the step that donates it",
        )
    if not array.is_fully_addressable:
        refuse(
            context,
            "an array on the devices of this process",
            "an array that is sharded over other processes",
            "gather it first with jax.experimental.multihost_utils.process_allgather(x, tiled=True)",
        )
    if _is_key(array):
        return _key(array)
    name = dtype_name(np.dtype(array.dtype))
    if name is None:
        refuse(context, "a dtype of the format", f"an array of {array.dtype}", "convert it with .astype")
    make, reserved = _maker(array.sharding), _reserved(array.dtype)
    return Leaf(name, array.shape, lambda: np.array(array), make, id(array), reserved=reserved)


def _template(template: Any, context: Context) -> Found:
    """Take a shape without values for an array that is to be made."""

    def read() -> Array:
        return refuse(context, "an array with values", "a ShapeDtypeStruct", "give the arrays themselves")

    dtype = template.dtype
    return Leaf(
        dtype_name(np.dtype(dtype)),
        template.shape,
        read,
        _maker(template.sharding),
        id(template),
        reserved=_reserved(dtype),
    )


def _maker(sharding: Any) -> Callable[[Array], Any]:
    # The copy is needed: on the CPU an array made of NumPy's would share its memory.
    return lambda new: jax.device_put(np.array(new), sharding, may_alias=False)


def _reserved(dtype: Any) -> str | None:
    """Return why JAX cannot hold a dtype now."""
    if jax.dtypes.canonicalize_dtype(dtype) != np.dtype(dtype):
        return _X64
    return None


def _key(key: Any) -> Parts:
    impl = str(jax.random.key_impl(key))

    def build(new: Any) -> Any:
        return jax.random.wrap_key_data(new[1], impl=impl)

    items = [("impl", impl), ("data", jax.random.key_data(key))]
    return Parts("record", items, build, label=KEY_LABEL, fixed=frozenset(("impl",)))


def _is_node(kind: type) -> bool:
    """Whether a class is registered as a pytree; dataclasses go by their fields."""
    if dataclasses.is_dataclass(kind) or kind in _PYTHON:
        return False
    return kind in tree_util._registry


_PYTHON = (dict, list, tuple, OrderedDict, defaultdict, type(None))


def node(value: Any, context: Context) -> Found:
    """Take a registered pytree apart by one level; its children are numbered in the order of JAX."""
    children, structure = jax.tree.flatten(value, is_leaf=lambda part: part is not value)

    def build(new: Any) -> Any:
        same = all(part is old for part, old in zip(new, children, strict=True))
        return value if same else jax.tree.unflatten(structure, new)

    items = [(str(number), child) for number, child in enumerate(children)]
    return Parts("record", items, build, label=type(value).__name__)
