"""Conversions that users of a framework make for a library that knows NumPy only, by the framework's own functions.

None of them says in the file what a value was: whoever loads has to know, and here has a fresh object to look at.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import torch

from benchmarks.fidelity.case import Case

__all__ = ["flat", "nested", "of_jax", "to_arrays", "to_jax", "to_value"]

Tree = Any


def mapped(tree: Tree, kind: type, change: Callable[[Any], Any]) -> Tree:
    """Return a tree with every leaf of a kind changed; dicts, lists and tuples stay, an OrderedDict becomes a dict."""
    if isinstance(tree, kind):
        return change(tree)
    if type(tree) in (dict, OrderedDict):
        return {key: mapped(part, kind, change) for key, part in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(mapped(part, kind, change) for part in tree)
    return tree


def of_torch(tree: Tree) -> Tree:
    """Return a tree with NumPy's arrays for tensors."""
    return mapped(tree, torch.Tensor, lambda tensor: tensor.detach().resolve_conj().resolve_neg().numpy())


def to_torch(tree: Tree) -> Tree:
    """Return a tree with tensors for NumPy's arrays."""
    return mapped(tree, np.ndarray, lambda array: torch.from_numpy(np.array(array)))


def of_jax(leaf: Any) -> Any:
    """Return a NumPy array for one of JAX, and for a key of random numbers its data."""
    if not isinstance(leaf, jax.Array):
        return leaf
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def to_jax(wanted: Any, found: Any) -> Any:
    """Return an array or a key of JAX for a NumPy array, where the fresh object has one."""
    if not isinstance(wanted, jax.Array) or not isinstance(found, np.ndarray):
        return found
    array = jax.numpy.asarray(found)
    return jax.random.wrap_key_data(array, impl=jax.random.key_impl(wanted)) if _is_key(wanted) else array


def _is_key(array: jax.Array) -> bool:
    return bool(jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key))


def by_path(tree: Tree) -> dict[str, Any]:
    """Return the leaves of a pytree by the text of their path."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def to_arrays(case: Case, value: Any) -> Tree:
    """Return the state of a value for a library that knows NumPy's arrays and Python's containers."""
    tree = case.way.give(value)
    if case.framework == "jax":
        return {path: of_jax(leaf) for path, leaf in by_path(tree).items()}
    return of_torch(tree) if case.framework == "torch" else tree


def to_value(case: Case, fresh: Any, tree: Tree) -> Any:
    """Return a fresh object with the state that `to_arrays` made."""
    if case.framework == "jax":
        like = case.way.give(fresh)
        leaves = [to_jax(wanted, tree[path]) for path, wanted in by_path(like).items()]
        tree = jax.tree.unflatten(jax.tree.structure(like), leaves)
    if case.framework == "torch":
        tree = to_torch(tree)
    return case.way.take(fresh, tree)


def flat(tree: Tree) -> dict[str, Any]:
    """Return dicts in dicts as one dict, with `/` between the keys."""
    return dict(flax.traverse_util.flatten_dict(tree, sep="/")) if isinstance(tree, dict) else {"root": tree}


def nested(names: dict[str, Any]) -> Tree:
    """Return what `flat` was given."""
    return names["root"] if list(names) == ["root"] else flax.traverse_util.unflatten_dict(names, sep="/")
