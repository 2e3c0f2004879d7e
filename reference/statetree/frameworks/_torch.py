"""PyTorch: what its classes are as parts; generators, schedulers and data loaders. Source: docs/restore.md."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from statetree.frameworks._torch_module import held, module_parts
from statetree.frameworks._torch_optimizer import optimizer_parts
from statetree.frameworks._torch_tensor import tensor_leaf, tensors_like
from statetree.frameworks.parts import NOTHING, Context, Found, Parts, Slot

__all__ = ["find"]

_SETTINGS = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of PyTorch, or derived from one, are taken apart; None for other classes."""
    mro = kind.__mro__
    if torch.Tensor in mro:
        return tensor_leaf
    if torch.nn.Module in mro:
        return module_parts
    if torch.optim.Optimizer in mro:
        return optimizer_parts
    if torch.Generator in mro:
        return _generator
    if torch.Size in mro:
        return lambda value, context: Parts("tuple", list(enumerate(map(int, value))), torch.Size)
    if kind in _SETTINGS:
        return lambda value, context: NOTHING
    if _has(kind, "state_dict") and _has(kind, "load_state_dict"):
        return _loader if any(base.__module__.partition(".")[0] == "torchdata" for base in mro) else _stateful
    return None


def _has(kind: type, name: str) -> bool:
    return any(callable(vars(base).get(name)) for base in kind.__mro__)


def _generator(generator: torch.Generator, context: Context) -> Found:
    def put(state: torch.Tensor) -> torch.Generator:
        generator.set_state(state)
        return generator

    # A state of the right length may still be one that the generator refuses.
    state = Slot(generator.get_state, put, hold=lambda: partial(put, generator.get_state()))
    items = [("device", str(generator.device)), ("state", state)]
    return Parts("record", items, lambda new: generator, label="torch.Generator", fixed=frozenset(("device",)))


def _stateful(value: Any, context: Context) -> Found:
    """Take apart what keeps to PyTorch's protocol: schedulers, gradient scalers, samplers."""

    def put(state: Any) -> Any:
        old = value.state_dict()
        if state or old:
            value.load_state_dict(tensors_like(old, state))
        return value

    # Schedulers of torch take every state, also that of another class.
    keyed = isinstance(value, torch.optim.lr_scheduler.LRScheduler) and type(value).__module__.startswith("torch.")
    return Slot(value.state_dict, put, strict=False, keyed=keyed, hold=partial(held, value.state_dict, put))


def _loader(value: Any, context: Context) -> Found:
    """Take apart a data loader of torchdata; asking a new one for its state would start it."""

    def put(state: Any) -> Any:
        value.load_state_dict(tensors_like(None, state))
        return value

    return Slot(value.state_dict, put, strict=False, template=False)
