"""JAX: arrays, typed keys of random numbers, references, and other pytrees. Source: docs/restore.md.

JAX arrays cannot be changed, so restoring makes new ones, and with them new containers of the same tree structure.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from statetree.dtype import BY_NAME, dtype_name
from statetree.frameworks._python import fields_parts, find_made
from statetree.frameworks.parts import NOTHING, Context, Found, Leaf, Parts, Slot, refuse

__all__ = ["KEY_LABEL", "children", "find", "in_place_of_number", "node"]

Array = np.ndarray[Any, Any]
Finder = Callable[[Any, Context], Found]
KEY_LABEL = "jax.random.key"
_SETTINGS = (jax.Device, jax.sharding.Sharding, jax.sharding.Mesh, jax.sharding.PartitionSpec, jax.tree_util.PyTreeDef)
_KINDS: dict[type, type] = {bool: np.bool_, int: np.integer, float: np.floating, complex: np.complexfloating}
_WEAK: dict[str, type] = {"i": int, "f": float, "c": complex}
_X64 = "call jax.config.update('jax_enable_x64', True) before building it"


def find(kind: type) -> Finder | None:
    """Return how objects of a class of JAX, or of one that may be a pytree, are taken apart; None for others."""
    if issubclass(kind, jax.core.Tracer):
        return _tracer
    if issubclass(kind, jax.Array) or kind is jax.ShapeDtypeStruct:
        return _array
    if issubclass(kind, jax.Ref):
        return _reference
    if issubclass(kind, _SETTINGS):
        return lambda value, context: NOTHING
    if issubclass(kind, dict | list | tuple):
        return None
    made = find_made(kind)

    def found(value: Any, context: Context) -> Found:
        return made(value, context) if jax.tree_util.all_leaves((value,)) else node(value, context)

    return found


def _tracer(tracer: Any, context: Context) -> Found:
    refuse(context, "an array with values", "a tracer", "call it outside of jit, grad and vmap")


# Arrays


def _array(array: Any, context: Context) -> Found:
    """Take an array; one that is deleted, or a shape without values, is still good enough to restore into."""
    if jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
        return _key(array, context)
    name = dtype_name(np.dtype(array.dtype))
    if name is None:
        refuse(context, "a dtype of the format", f"an array of {array.dtype}", "convert it with .astype")

    def read() -> Array:
        _refuse_unreadable(array, context)
        return np.array(array, order="C")

    # Where jit has made an array of a number, the number itself does as well.
    number = _WEAK[array.dtype.kind] if array.weak_type and not array.shape else None
    return Leaf(name, tuple(array.shape), read, _maker(array), id(array), number=number, reserved=_reserved)


def _refuse_unreadable(array: Any, context: Context) -> None:
    if isinstance(array, jax.ShapeDtypeStruct):
        refuse(context, "an array with values", "a shape without values", "give the arrays themselves")
    if array.is_deleted():
        remedy = "take the state before the step that donates it"
        refuse(context, "an array with values", "a deleted or donated array", remedy)
    if not (array.is_fully_addressable or array.is_fully_replicated):
        refuse(
            context,
            "an array on the devices of this process",
            "an array that is sharded over other processes",
            "gather it first with jax.experimental.multihost_utils.process_allgather(x, tiled=True)",
        )


def _maker(like: Any) -> Callable[[Array], Any]:
    """Return the function that makes a new array where another one is, and weakly typed if that is."""
    sharding = _sharding(like)

    def make(new: Array) -> Any:
        # The copy is needed: on the CPU JAX takes the memory of an array of NumPy for its own where it can.
        made = np.array(new)
        return jax.device_put(_weak(made) if like.weak_type else made, sharding)

    return make


def _sharding(like: Any) -> Any:
    """Return where an array is to be; None, which is where JAX likes, if nobody has said."""
    # A committed array does not go together with those on other devices in one jitted function.
    return like.sharding if getattr(like, "committed", True) else None


def _weak(new: Array) -> Any:
    """Return an array whose dtype gives way to those of others, as that of Python's numbers does."""
    zero = jax.numpy.asarray(_WEAK[new.dtype.kind]())
    return jax.numpy.broadcast_to(zero, new.shape).at[...].set(new) if zero.dtype == new.dtype else new


def _reserved(name: str) -> str | None:
    dtype = BY_NAME[name].numpy
    return _X64 if jax.dtypes.canonicalize_dtype(dtype) != dtype else None


def in_place_of_number(number: Any, array: Any) -> Leaf | None:
    """Return the place of an array where a number is, None if `array` is of another kind.

    A number of a pytree becomes an array of the same kind once the tree has been through jit, weakly typed if it was
    one of Python.
    """
    name = dtype_name(array.dtype)
    kind = number.dtype if isinstance(number, np.generic) else _KINDS.get(type(number))
    if name is None or kind is None or not jax.dtypes.issubdtype(array.dtype, kind):
        return None
    weak = type(number) in _WEAK.values() and jax.numpy.asarray(number).dtype == array.dtype
    like = jax.ShapeDtypeStruct((), array.dtype, weak_type=weak)
    return Leaf(name, (), lambda: np.asarray(number), _maker(like), id(like), reserved=_reserved)


# Keys of random numbers


def _key(key: Any, context: Context) -> Parts:
    found: list[Any] = []

    def data_of(traced: Any) -> Any:
        found.append(jax.random.key_impl(traced))
        return jax.random.key_data(traced)

    shape = jax.eval_shape(data_of, key)
    usable = isinstance(key, jax.Array) and not key.is_deleted()
    data = jax.random.key_data(key) if usable else key

    def read() -> Array:
        _refuse_unreadable(key, context)
        return np.array(data, order="C")

    leaf = Leaf(str(shape.dtype), shape.shape, read, lambda new: jax.device_put(np.array(new)), id(data))

    def build(new: Sequence[Any]) -> Any:
        if new[1] is leaf:
            return key
        return jax.device_put(jax.random.wrap_key_data(new[1], impl=found[0]), _sharding(key))

    items = [("impl", str(found[0])), ("data", leaf)]
    return Parts("record", items, build, label=KEY_LABEL, fixed=frozenset(("impl",)))


# References


def _reference(reference: Any, context: Context) -> Slot:
    """Take a reference to an array that can be changed."""

    def put(new: Any) -> Any:
        reference[...] = new
        return reference

    return Slot(lambda: reference[...], put, identity=id(reference))


# Pytrees


def children(value: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """Take a pytree apart by one level.

    Returns:
        (key of JAX, child) in the order of JAX; the structure that makes a tree of children.
    """
    first = iter((False,))
    keyed, structure = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda _: next(first, True))
    return [(path[0], child) for path, child in keyed], structure


def node(value: Any, context: Context, *, frozen: bool | None = None) -> Found:
    """Take a registered pytree apart: a dataclass by its fields, others by the names of their children or numbered.

    What JAX counts as part of the structure is left out.
    """
    keyed, structure = children(value)
    if not keyed:
        return NOTHING
    names = [_name(key, number) for number, (key, _) in enumerate(keyed)]
    if len(set(names)) < len(names):
        names = [str(number) for number in range(len(names))]
    items = [(name, child) for name, (_, child) in zip(names, keyed, strict=True)]
    kind = type(value)
    if hasattr(kind, "__dataclass_fields__"):
        fields = [field.name for field in dataclasses.fields(kind)]
        frozen = kind.__dataclass_params__.frozen if frozen is None else frozen
        parts = fields_parts(value, fields, frozen=frozen, static=frozenset(fields) - set(names), splits=True)
        known = dict(parts.items)
        if all(name in known and known[name] is child for name, child in items):
            return dataclasses.replace(parts, numbers=in_place_of_number)

    def build(new: Sequence[Any]) -> Any:
        same = all(part is old for part, (_, old) in zip(new, items, strict=True))
        return value if same else jax.tree.unflatten(structure, new)

    return Parts("record", items, build, label=kind.__name__, numbers=in_place_of_number)


def _name(key: Any, number: int) -> str:
    name = getattr(key, "name", getattr(key, "key", None))
    return name if type(name) is str else str(number)
