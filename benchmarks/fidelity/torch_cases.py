"""Cases of PyTorch: tensors, modules, optimisers."""

from collections.abc import Callable
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    get_model_state_dict,
    get_state_dict,
    set_model_state_dict,
    set_state_dict,
)

from benchmarks.fidelity.case import Case, Way

__all__ = ["PYTORCH"]

Objects = dict[str, Any]
FLOAT8 = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu")


# Tensors


def _bits(bits: list[int], raw: torch.dtype, dtype: torch.dtype) -> torch.Tensor:
    return torch.tensor(bits, dtype=torch.int64).to(raw).view(dtype)


def _bfloat16() -> Objects:
    return {"x": _bits([0x7F81, 0x8000, 1], torch.int16, torch.bfloat16)}


def _float8() -> Objects:
    return {name: _bits([1, 0x80, 0x7F, 0x3C], torch.uint8, getattr(torch, name)) for name in FLOAT8}


def _float4() -> Objects:
    return {"x": _bits([0x10, 0xF7], torch.uint8, torch.float4_e2m1fn_x2)}


def _twice(fill: float) -> Objects:
    weight = torch.full((4, 3), fill)
    return {"embed": weight, "head": weight}


def _quantised(scale: float) -> Objects:
    return {"x": torch.quantize_per_tensor(torch.tensor([0.5, -1.0]), scale, 3, torch.qint8)}


def _sized(*extents: int) -> Objects:
    return {"x": torch.zeros(2), "size": torch.Size(extents)}


def _typed(dtype: torch.dtype) -> Objects:
    return {"x": torch.zeros(2), "dtype": dtype}


# Modules


class Tied(torch.nn.Module):  # type: ignore[misc]
    """An embedding whose weight is the head's too."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = torch.nn.Embedding(5, 3)
        self.head = torch.nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight


class Normed(torch.nn.Module):  # type: ignore[misc]
    """Batch statistics, buffers of three kinds, and an extra state of plain values."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(4)
        self.register_buffer("mask", torch.zeros(3, dtype=torch.bool))
        self.register_buffer("low", torch.zeros(2, dtype=torch.float16))
        self.extra: Any = {"steps": 0, "window": (0, 0.0), "names": [""]}

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


def _normed() -> Normed:
    torch.manual_seed(1)
    module = Normed()
    module.norm(torch.randn(8, 4) * 3)
    module.mask[1] = True
    module.low[0] = -0.0
    module.extra = {"steps": 3, "window": (1, 2.5), "names": ["a"]}
    return module


def _extra(state: Any) -> Normed:
    module = Normed()
    module.extra = state
    return module


def _state_dict(value: Any) -> Any:
    return value.state_dict()


def _load_state_dict(value: Any, state: Any) -> Any:
    value.load_state_dict(state)
    return value


def _set_model(module: torch.nn.Module, state: Any) -> torch.nn.Module:
    set_model_state_dict(module, state)
    return module


OWN = Way(_state_dict, _load_state_dict)
DCP_MODULE = Way(get_model_state_dict, _set_model)


# Optimisers


def _objects(make: Callable[[Any], Any], *, turned: bool = False) -> Objects:
    """Return a model and its optimiser; with `turned` that gets the parameters in reverse."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh(), torch.nn.Linear(3, 3))
    parameters = list(model.parameters())
    return {"model": model, "optimizer": make(parameters[::-1] if turned else parameters)}


def _trained(make: Callable[[Any], Any], *, turned: bool = False) -> Objects:
    torch.manual_seed(2)
    found = _objects(make, turned=turned)
    for _ in range(2):
        found["optimizer"].zero_grad()
        found["model"](torch.randn(4, 3)).square().sum().backward()
        found["optimizer"].step()
    return found


def _adamw(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=torch.tensor(0.01), amsgrad=True)


def _state_dicts(objects: Objects) -> Any:
    return {name: part.state_dict() for name, part in objects.items()}


def _load_state_dicts(objects: Objects, state: Any) -> Objects:
    for name, part in objects.items():
        part.load_state_dict(state[name])
    return objects


def _dcp_state(objects: Objects) -> Any:
    model, optimizer = get_state_dict(objects["model"], objects["optimizer"])
    return {"model": model, "optimizer": optimizer}


def _dcp_take(objects: Objects, state: Any) -> Objects:
    set_state_dict(*objects.values(), model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    return objects


def _moments(objects: Objects) -> Any:
    """Return the weights, what the optimiser keeps for each parameter, by name, and its settings."""
    model, optimizer = objects["model"], objects["optimizer"]
    settings = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return model.state_dict(), {name: optimizer.state[p] for name, p in model.named_parameters()}, settings


BOTH = Way(_state_dicts, _load_state_dicts)
DCP_BOTH = Way(_dcp_state, _dcp_take)


def _scheduler(steps: int) -> Any:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3, 3], gamma=0.5)
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return scheduler


PYTORCH = (
    Case("bfloat16 tensor, NaN and −0.0", _bfloat16, "torch"),
    Case("float8 tensors, 5 kinds", _float8, "torch"),
    Case("float4_e2m1fn_x2 tensor", _float4, "torch"),
    Case("complex32 tensor", lambda: {"x": torch.tensor([1 + 2j]).to(torch.complex32)}, "torch"),
    Case("transposed tensor", lambda: {"x": torch.arange(6.0).reshape(2, 3).t()}, "torch"),
    Case(
        "tensor conjugated lazily",
        lambda: {"x": torch.tensor([1 + 2j, 3 - 4j]).conj()},
        "torch",
        tell=("safetensors",),
    ),
    Case(
        "sparse tensor",
        lambda: {"x": torch.eye(3).to_sparse()},
        "torch",
        lambda: {"x": torch.zeros(3, 3).to_sparse()},
    ),
    Case("quantised tensor", lambda: _quantised(0.1), "torch", lambda: _quantised(0.2), tell=("dcp",)),
    Case("torch.Size", lambda: _sized(2, 3), "torch", lambda: _sized(0, 0), tell=("npz",)),
    Case(
        "torch.dtype",
        lambda: _typed(torch.bfloat16),
        "torch",
        lambda: _typed(torch.float32),
        tell=("statetree",),
    ),
    Case("one tensor at two places", lambda: _twice(1.5), "torch", lambda: _twice(0.0), tell=("orbax",)),
    Case(
        "16 elements of a tensor of 1 Mi",
        lambda: {"x": torch.arange(1 << 20, dtype=torch.float32)[:16]},
        "torch",
        lambda: {"x": torch.zeros(16)},
        needed=64,
        tell=("torch.save",),
    ),
    Case("module, tied weights", lambda: Tied(1), "torch", lambda: Tied(2), OWN, DCP_MODULE, _state_dict),
    Case(
        "module, BatchNorm, extra state",
        _normed,
        "torch",
        Normed,
        OWN,
        DCP_MODULE,
        _state_dict,
    ),
    Case(
        "module, extra state, None in the new one",
        lambda: _extra({"mean": torch.ones(2), "n": 3}),
        "torch",
        lambda: _extra(None),
        OWN,
        DCP_MODULE,
        _state_dict,
        tell=("dcp",),
    ),
    Case(
        "AdamW, lr a tensor, into a new one",
        lambda: _trained(_adamw),
        "torch",
        lambda: _objects(_adamw),
        BOTH,
        DCP_BOTH,
        _moments,
        tell=("flax",),
    ),
    Case(
        "AdamW, parameters in another order",
        lambda: _trained(_adamw),
        "torch",
        lambda: _trained(_adamw, turned=True),
        BOTH,
        DCP_BOTH,
        _moments,
        tell=("torch.save",),
    ),
    Case(
        "MultiStepLR, a Counter inside",
        lambda: _scheduler(2),
        "torch",
        lambda: _scheduler(0),
        OWN,
        view=_state_dict,
        tell=("dcp",),
    ),
)
