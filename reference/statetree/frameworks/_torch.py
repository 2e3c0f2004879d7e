"""PyTorch: tensors, modules, optimisers, schedulers, generators, data loaders. Source: docs/restore.md.

A tensor is found again under its name, so parts are shown as they are and restored in place: references to them
that others hold stay valid.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import ml_dtypes
import numpy as np
import torch

from statetree.dtype import BY_NAME
from statetree.frameworks.parts import NOTHING, Context, Found, Leaf, Parts, Slot, refuse

__all__ = ["find", "names_of", "new_tensor"]

Array = np.ndarray[Any, Any]

# dtype of torch → (name in the format, dtype of NumPy of the same width through which its bytes go)
_DTYPES: dict[torch.dtype, tuple[str, Any]] = {
    torch.bool: ("bool", np.bool_),
    torch.uint8: ("uint8", np.uint8),
    torch.uint16: ("uint16", np.uint16),
    torch.uint32: ("uint32", np.uint32),
    torch.uint64: ("uint64", np.uint64),
    torch.int8: ("int8", np.int8),
    torch.int16: ("int16", np.int16),
    torch.int32: ("int32", np.int32),
    torch.int64: ("int64", np.int64),
    torch.float16: ("float16", np.float16),
    torch.float32: ("float32", np.float32),
    torch.float64: ("float64", np.float64),
    torch.complex64: ("complex64", np.complex64),
    torch.complex128: ("complex128", np.complex128),
    torch.bfloat16: ("bfloat16", torch.int16),
    torch.float8_e4m3fn: ("float8_e4m3fn", torch.uint8),
    torch.float8_e4m3fnuz: ("float8_e4m3fnuz", torch.uint8),
    torch.float8_e5m2: ("float8_e5m2", torch.uint8),
    torch.float8_e5m2fnuz: ("float8_e5m2fnuz", torch.uint8),
}
_PACKED = getattr(torch, "float4_e2m1fn_x2", None)
"""Two elements of float4_e2m1fn a byte, the first in the low bits."""
for _name in ("float8_e8m0fnu",):
    if hasattr(torch, _name):
        _DTYPES[getattr(torch, _name)] = (_name, torch.uint8)
_BY_NAME = {name: dtype for dtype, (name, _) in _DTYPES.items()}
_TENSORS = (torch.Tensor, torch.nn.Parameter)
_SETTINGS = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class of PyTorch, or derived from one, are taken apart; None for other classes."""
    mro = kind.__mro__
    if torch.Tensor in mro:
        return _tensor if kind in _TENSORS else _other_tensor
    if torch.nn.Module in mro:
        return _module
    if torch.optim.Optimizer in mro:
        return _optimizer
    if torch.Generator in mro:
        return _generator
    if torch.Size in mro:
        return lambda value, context: Parts("tuple", list(enumerate(map(int, value))), lambda new: value)
    if kind in _SETTINGS:
        return lambda value, context: NOTHING
    if _has(kind, "state_dict") and _has(kind, "load_state_dict"):
        return _loader if any(base.__name__ == "StatefulDataLoader" for base in mro) else _stateful
    return None


def _has(kind: type, name: str) -> bool:
    return any(callable(vars(base).get(name)) for base in kind.__mro__)


# Tensors


def _tensor(tensor: torch.Tensor, context: Context) -> Found:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        what = "nested" if tensor.is_nested else "quantised" if tensor.is_quantized else str(tensor.layout)[6:]
        refuse(
            context, "a dense tensor", f"a {what} tensor", _REMEDIES.get(what, "keep the dense tensors it is made of")
        )
    if tensor.is_meta:
        refuse(context, "a tensor with values", "a tensor on the meta device", "give the model its weights first")
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        refuse(context, "a tensor", "a tensor inside of a transform of torch.func", "call state() outside of it")
    packed = _PACKED is not None and tensor.dtype is _PACKED
    if tensor.dtype not in _DTYPES and not packed:
        remedy = "convert it with .to(torch.complex64)" if tensor.dtype is torch.complex32 else "keep it as uint8"
        refuse(context, "a dtype of the format", f"a tensor of {tensor.dtype}", remedy)
    name = "float4_e2m1fn" if packed else _DTYPES[tensor.dtype][0]
    shape = (*tensor.shape[:-1], 2 * (tensor.shape[-1] if tensor.ndim else 1)) if packed else tuple(tensor.shape)

    def read() -> Array:
        if not tensor.is_inference():
            version = tensor._version
            context.versions.append(lambda: tensor._version == version)
        return to_numpy(tensor)

    def write(array: Array) -> torch.Tensor:
        with torch.no_grad():
            raw = tensor.view(torch.uint8) if packed else tensor
            raw.copy_(_from_numpy(array, name, packed=packed).reshape(tensor.shape))
        return tensor

    # torch shows tied weights as tensors of one address, shape and strides.
    place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), str(tensor.device))
    identity = place if tensor.numel() else id(tensor)
    return Leaf(name, shape, read, write, identity, holds=True)


_REMEDIES = {
    "sparse_coo": "keep t.to_dense(), or its indices(), values() and shape",
    "quantised": "keep t.int_repr() with its scale and zero point, or t.dequantize()",
    "nested": "keep t.unbind(), a list of tensors",
}


def _other_tensor(tensor: Any, context: Context) -> Found:
    """Refuse a subclass of Tensor, whose state is more than the elements it shows."""
    kind = type(tensor)
    names = {base.__name__ for base in kind.__mro__}
    if names & {"UninitializedParameter", "UninitializedBuffer"}:
        remedy = "run the model once on an example, so that its lazy layers get their shapes"
        refuse(context, "a tensor with values", f"a {kind.__name__}", remedy)
    if names & {"DTensor", "ShardedTensor", "FlatParameter"}:
        return refuse(context, "a whole tensor", f"a {kind.__name__}, which is sharded over devices", _GATHER)
    what = f"{kind.__module__}.{kind.__qualname__}"
    return refuse(context, "a plain torch.Tensor", f"a {what}", "keep the plain tensors that it is made of")


_GATHER = (
    "gather it first: torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True, cpu_offload=True)) gives whole tensors on rank 0"
)


def to_numpy(tensor: torch.Tensor) -> Array:
    """Return a copy of a dense tensor on the CPU, bit for bit."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    if _PACKED is not None and plain.dtype is _PACKED:
        return _unpacked(plain.view(torch.uint8).numpy())
    name, through = _DTYPES[plain.dtype]
    if isinstance(through, torch.dtype):
        return np.array(plain.view(through).numpy()).view(BY_NAME[name].numpy)
    return np.array(plain.numpy())


def _unpacked(raw: Array) -> Array:
    pairs = np.stack([raw & 15, raw >> 4], axis=-1)
    return pairs.reshape(*raw.shape[:-1], -1).view(ml_dtypes.float4_e2m1fn)


def _from_numpy(array: Array, name: str, *, packed: bool = False) -> torch.Tensor:
    """Return a tensor with the elements of an array of a dtype of the format, which nobody else holds."""
    if packed:
        pairs = np.ascontiguousarray(array).view(np.uint8).reshape(-1, 2)
        return torch.from_numpy(pairs[:, 0] | pairs[:, 1] << 4)
    dtype = _BY_NAME[name]
    through = _DTYPES[dtype][1]
    plain = np.array(array, order="C")
    if isinstance(through, torch.dtype):
        raw = torch.from_numpy(plain.view(np.int16 if plain.itemsize == 2 else np.uint8))
        return raw.view(dtype).reshape(array.shape)
    return torch.from_numpy(plain)


def new_tensor(array: Array, device: Any = None) -> torch.Tensor | Array:
    """Return a new tensor of an array, or the array itself where torch has no such dtype."""
    name = next((name for name, row in BY_NAME.items() if row.numpy == array.dtype), "")
    return _from_numpy(array, name).to(device) if name in _BY_NAME else array


# Modules


def _module(module: torch.nn.Module, context: Context) -> Found:
    module = _unwrapped(module)
    for base in type(module).__mro__:
        if base.__name__ == "FullyShardedDataParallel":
            refuse(context, "a module with whole tensors", "a module that is sharded by FSDP", _GATHER)
    state = module.state_dict(keep_vars=True)
    live = {id(tensor) for tensor in chain(module.parameters(), module.buffers())}
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    if all(id(tensor) in live for tensor in tensors):
        parts = {name: _extra_state(module, name) if _is_extra(name) else value for name, value in state.items()}
        return Parts("dict", list(_nested(parts, context).items()), lambda new: module)
    # A class that writes its own state dict: what it shows are copies, so it has to read them back itself.
    return Slot(lambda: _nested(dict(state), context), lambda new: _load(module, new))


def _unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module that wrappers with names of their own in front of every parameter are around."""
    while True:
        kind = type(module).__name__
        if kind in ("DistributedDataParallel", "DataParallel"):
            module = module.module
        elif kind == "OptimizedModule":
            module = module._orig_mod
        else:
            return module


def _load(module: torch.nn.Module, state: Mapping[str, Any]) -> torch.nn.Module:
    module.load_state_dict(dict(_flat(state)))
    return module


def _is_extra(name: str) -> bool:
    return name.rpartition(".")[2] == "_extra_state"


def _extra_state(module: torch.nn.Module, name: str) -> Slot:
    owner = module.get_submodule(name.rpartition(".")[0])

    def put(state: Any) -> Any:
        owner.set_extra_state(state)
        return owner

    return Slot(owner.get_extra_state, put, strict=False)


def _nested(state: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return a state dict as dicts in dicts, by the names between the dots."""
    out: dict[str, Any] = {}
    for name, value in state.items():
        *outer, last = name.split(".")
        at: Any = out
        for key in outer:
            at = at.setdefault(key, {}) if isinstance(at, dict) else None
        if not isinstance(at, dict) or last in at:
            refuse(context, "names of which none continues another", repr(name), "rename it, or keep the flat dict")
        at[last] = value
    return out


def _flat(state: Mapping[str, Any], prefix: str = "") -> Any:
    for name, value in state.items():
        if isinstance(value, dict) and name != "_extra_state":
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, new_tensor(value) if isinstance(value, np.ndarray) else value


# Optimisers


def names_of(context: Context) -> dict[int, tuple[tuple[Any, ...], str]]:
    """Return id of parameter → (path of its module in the root, its name there), for all modules in the root."""
    if context.names is None:
        context.names = {}
        _collect(context.root, (), context.names, set())
    return context.names


def _collect(value: Any, path: tuple[Any, ...], names: dict[int, Any], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    kind = type(value)
    if torch.nn.Module in kind.__mro__:
        for name, parameter in _unwrapped(value).named_parameters():
            names.setdefault(id(parameter), (path, name))
    elif dict in kind.__mro__:
        for key, part in dict.items(value):
            _collect(part, (*path, key), names, seen)
    elif list in kind.__mro__ or tuple in kind.__mro__:
        for position, part in enumerate(value):
            _collect(part, (*path, position), names, seen)
    elif hasattr(kind, "__dataclass_fields__"):
        for name in kind.__dataclass_fields__:
            if name in getattr(value, "__dict__", {}):
                _collect(value.__dict__[name], (*path, name), names, seen)


def _optimizer(optimizer: torch.optim.Optimizer, context: Context) -> Found:
    from statetree.frameworks._torch_optimizer import optimizer_parts

    return optimizer_parts(optimizer, context)


# Others


def _generator(generator: torch.Generator, context: Context) -> Found:
    def put(state: torch.Tensor) -> torch.Generator:
        generator.set_state(state)
        return generator

    items = [("device", str(generator.device)), ("state", Slot(generator.get_state, put))]
    return Parts("record", items, lambda new: generator, label="torch.Generator", fixed=frozenset(("device",)))


def _stateful(value: Any, context: Context) -> Found:
    """Take apart what keeps to PyTorch's protocol: schedulers, gradient scalers, samplers."""

    def put(state: Any) -> Any:
        if state or value.state_dict():
            value.load_state_dict(state)
        return value

    return Slot(value.state_dict, put, strict=False)


def _loader(value: Any, context: Context) -> Found:
    """Take apart torchdata's StatefulDataLoader; asking a new one for its state would start its workers."""

    def put(state: Any) -> Any:
        value.load_state_dict(_as_tensors(state))
        return value

    return Slot(value.state_dict, put, strict=False, template=False)


def _as_tensors(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return new_tensor(value)
    if type(value) is dict:
        return {key: _as_tensors(part) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_as_tensors(part) for part in value)
    return value
