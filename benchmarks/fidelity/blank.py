"""Blank trees: the containers of a tree with zeros in them, which is what a program that loads has before it loads."""

from collections import OrderedDict
from typing import Any

import jax
import numpy as np
import torch

from statetree.tree import namedtuple_fields

__all__ = ["blank"]


def blank(value: Any) -> Any:
    """Return the same containers, dtypes and shapes with zeros and empty texts; what is one array stays one."""
    return _Blanks().node(value)


class _Blanks:
    def __init__(self) -> None:
        self.made: dict[int, Any] = {}

    def node(self, value: Any) -> Any:
        if isinstance(value, np.ndarray | torch.Tensor | jax.Array):
            return self.made.setdefault(id(value), _zeros(value))
        kind = type(value)
        if kind in (dict, OrderedDict):
            return kind((key, self.node(part)) for key, part in value.items())
        if kind in (list, tuple):
            return kind(map(self.node, value))
        if namedtuple_fields(kind):
            return kind(*map(self.node, value))
        if isinstance(value, np.generic):
            return np.zeros((), value.dtype)[()]
        if kind in (int, float, complex, bool, str, bytes):
            return kind()
        if jax.tree.structure(value).num_nodes > 1:
            return jax.tree.map(self.node, value)
        return value


def _zeros(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return _zero_tensor(value)
    if isinstance(value, jax.Array):
        if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(value)
            return jax.random.wrap_key_data(jax.numpy.zeros_like(data), impl=jax.random.key_impl(value))
        return jax.numpy.zeros_like(value)
    return np.zeros(value.shape, value.dtype)


def _zero_tensor(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.layout is not torch.strided or tensor.is_quantized:
        return tensor.clone()
    zeros = torch.empty(tensor.shape, dtype=tensor.dtype)
    zeros.reshape(-1).view(torch.uint8).zero_()
    return torch.nn.Parameter(zeros) if isinstance(tensor, torch.nn.Parameter) else zeros
