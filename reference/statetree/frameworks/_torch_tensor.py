"""Tensors of PyTorch: dense ones are arrays, bit for bit, all others are refused. Source: docs/restore.md."""

from itertools import chain, repeat
from typing import Any, NoReturn

import ml_dtypes
import numpy as np
import torch

from statetree.dtype import BY_NAME, dtype_name
from statetree.frameworks.parts import Context, Leaf, refuse

__all__ = ["GATHER", "dtype_of", "fill", "is_dense", "new_tensor", "place", "tensor_leaf", "tensors_like", "watch"]

Array = np.ndarray[Any, Any]

_PLAIN = (torch.Tensor, torch.nn.Parameter)
"""Classes whose state is the elements and nothing else."""
# dtype of torch → (name in the format, dtype of NumPy, or of torch where NumPy has none, through which its bytes go)
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
if hasattr(torch, "float8_e8m0fnu"):
    _DTYPES[torch.float8_e8m0fnu] = ("float8_e8m0fnu", torch.uint8)
_BY_NAME = {name: dtype for dtype, (name, _) in _DTYPES.items()}


def tensor_leaf(tensor: torch.Tensor, context: Context) -> Leaf:
    """Return a plain tensor as a leaf that is read and written in place.

    Raises:
        WriteError: its state is more, or less, than the elements that it shows.
    """
    if type(tensor) not in _PLAIN:
        _refuse_class(type(tensor), context)
    _check(tensor, context)
    packed = tensor.dtype is _PACKED
    name = dtype_of(tensor)
    shape = (*tensor.shape[:-1], 2 * (tensor.shape[-1] if tensor.ndim else 1)) if packed else tuple(tensor.shape)

    def read() -> Array:
        watch(tensor, context)
        return _to_numpy(tensor)

    def write(array: Array) -> torch.Tensor:
        new = _from_numpy(array, name, packed=packed, borrowed=array.flags.writeable)
        fill(tensor, new.reshape(tensor.shape))
        return tensor

    closed = _EXPANDED if _overlaps(tensor) else None
    return Leaf(name, shape, read, write, place(tensor), holds=True, closed=closed)


def is_dense(value: Any) -> bool:
    """Whether a value is a plain tensor whose elements lie in memory."""
    return type(value) in _PLAIN and value.layout is torch.strided and not (value.is_nested or value.is_meta)


def fill(tensor: torch.Tensor, new: torch.Tensor) -> None:
    """Put the elements of another tensor into one, also where gradients are recorded or it was made in another mode."""
    packed = tensor.dtype is _PACKED
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        (tensor.view(torch.uint8) if packed else tensor).copy_(new.view(torch.uint8) if packed else new)


def dtype_of(tensor: torch.Tensor) -> str:
    """Return the name that the format has for the dtype of a tensor that is a leaf."""
    return "float4_e2m1fn" if tensor.dtype is _PACKED else _DTYPES[tensor.dtype][0]


def place(tensor: torch.Tensor) -> Any:
    """Return what is equal for two tensors that are one: torch shows tied weights as tensors of one address."""
    at = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride(), str(tensor.device))
    return at if tensor.numel() else id(tensor)


def watch(tensor: torch.Tensor, context: Context) -> None:
    """Have the walk look at the end whether a tensor was changed in place since now."""
    if not tensor.is_inference():
        version = tensor._version
        context.versions.append(lambda: tensor._version == version)


_EXPANDED = ("an expanded tensor, whose elements share memory", "build it with a clone() of that tensor")


def _overlaps(tensor: torch.Tensor) -> bool:
    steps = [(extent, step) for extent, step in zip(tensor.shape, tensor.stride(), strict=True) if extent > 1]
    spanned = 1 + sum((extent - 1) * step for extent, step in steps)
    return tensor.numel() > spanned or (tensor.numel() > 0 and any(not step for _, step in steps))


def _check(tensor: torch.Tensor, context: Context) -> None:
    """Refuse a tensor that has no elements in memory, or none of a dtype of the format."""
    what = "nested" if tensor.is_nested else "quantised" if tensor.is_quantized else str(tensor.layout).split(".")[-1]
    if what != "strided":
        refuse(context, "a dense tensor", f"a {what.lstrip('_')} tensor", _REMEDIES.get(what, "keep t.to_dense()"))
    if tensor.is_meta:
        refuse(context, "a tensor with values", "a tensor on the meta device", _MEMORY)
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        refuse(context, "a tensor", "a tensor inside of a transform of torch.func", "call state() outside of it")
    if torch._C._get_dispatch_mode(torch._C._TorchDispatchModeKey.FAKE) is not None:
        refuse(context, "a tensor with values", "a tensor under FakeTensorMode", "call state() outside of it")
    if getattr(tensor, "_fsdp_flattened", False):
        refuse(context, "a whole tensor", "a parameter that FSDP has flattened and sharded", GATHER)
    if torch._is_zerotensor(tensor):
        refuse(context, "a tensor with memory", "a ZeroTensor of automatic differentiation", "keep t.clone()")
    if tensor.dtype not in _DTYPES and tensor.dtype is not _PACKED:
        remedy = "keep t.to(torch.complex64)" if tensor.dtype is torch.complex32 else "keep t.view(torch.uint8)"
        refuse(context, "a dtype of the format", f"a tensor of {tensor.dtype}", remedy)


_MEMORY = "give the model memory with model.to_empty(device='cpu'), and its weights"
_REMEDIES = {
    "sparse_coo": "keep t.to_dense(), or t.coalesce().indices(), .values() and the shape",
    "sparse_csr": "keep t.to_dense(), or t.crow_indices(), t.col_indices(), t.values() and the shape",
    "sparse_bsr": "keep t.to_dense(), or t.crow_indices(), t.col_indices(), t.values() and the shape",
    "sparse_csc": "keep t.to_dense(), or t.ccol_indices(), t.row_indices(), t.values() and the shape",
    "sparse_bsc": "keep t.to_dense(), or t.ccol_indices(), t.row_indices(), t.values() and the shape",
    "quantised": "keep t.int_repr() with its scale and zero point, or t.dequantize()",
    "nested": "keep t.unbind(), a tuple of tensors",
}


def _refuse_class(kind: type, context: Context) -> NoReturn:
    names = {base.__name__ for base in kind.__mro__}
    if names & {"UninitializedParameter", "UninitializedBuffer"}:
        remedy = "run the model once on an example, so that its lazy layers get their shapes"
        refuse(context, "a tensor with values", f"an {kind.__name__}", remedy)
    if names & {"DTensor", "ShardedTensor", "FlatParameter"}:
        refuse(context, "a whole tensor", f"a {kind.__name__}, which is sharded over devices", GATHER)
    if "FakeTensor" in names:
        refuse(context, "a tensor with values", "a FakeTensor", _MEMORY)
    if "NestedTensor" in names:
        refuse(context, "a dense tensor", "a nested tensor", _REMEDIES["nested"])
    what = f"{kind.__module__}.{kind.__qualname__}"
    refuse(context, "a plain torch.Tensor", f"a {what}", "keep the plain tensors that it is made of")


GATHER = (
    "gather it first: torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True, cpu_offload=True)) gives whole tensors on rank 0, "
    "get_optimizer_state_dict those of an optimiser"
)
"""What to do about weights that several processes hold parts of."""


def _to_numpy(tensor: torch.Tensor) -> Array:
    """Return a copy of a dense tensor on the CPU, bit for bit."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    packed = plain.dtype is _PACKED
    name, through = ("uint8", torch.uint8) if packed else _DTYPES[plain.dtype]
    raw = (plain.view(through) if isinstance(through, torch.dtype) else plain).numpy()
    copied = raw.copy() if plain.data_ptr() == tensor.data_ptr() else raw
    return _unpacked(copied) if packed else copied.view(BY_NAME[name].numpy)


def _unpacked(raw: Array) -> Array:
    pairs = np.stack([raw & 15, raw >> 4], axis=-1)
    shape = (*raw.shape[:-1], 2 * raw.shape[-1]) if raw.ndim else (2,)
    return pairs.reshape(shape).view(ml_dtypes.float4_e2m1fn)


def _from_numpy(array: Array, name: str, *, packed: bool = False, borrowed: bool = False) -> torch.Tensor:
    """Return a tensor with the elements of an array of a dtype of the format.

    Args:
        array: the array, of any layout.
        name: name of its dtype.
        packed: two elements a byte.
        borrowed: the tensor may lie in the array's memory; otherwise nobody else holds its memory.
    """
    plain = np.array(array, BY_NAME[name].numpy, order="C", copy=None if borrowed else True)
    if packed:
        pairs = plain.view(np.uint8).reshape(-1, 2)
        return torch.from_numpy(pairs[:, 0] | pairs[:, 1] << 4)
    dtype = _BY_NAME[name]
    if isinstance(_DTYPES[dtype][1], torch.dtype):
        raw = torch.from_numpy(plain.view(np.int16 if plain.itemsize == 2 else np.uint8))
        return raw.view(dtype)
    return torch.from_numpy(plain)


def new_tensor(array: Array, device: Any = None) -> torch.Tensor | Array:
    """Return a new tensor of an array, or the array itself where torch has no such dtype."""
    name = dtype_name(array.dtype)
    return _from_numpy(array, name).to(device) if name in _BY_NAME else array


def tensors_like(old: Any, new: Any, device: Any = None) -> Any:
    """Return a value with tensors for its arrays, but for those in the places of NumPy arrays of the `old` one."""
    if isinstance(new, np.ndarray):
        return new if isinstance(old, np.ndarray) else new_tensor(new, device)
    if type(new) is dict:
        parts = old if isinstance(old, dict) else {}
        return {key: tensors_like(parts.get(key), part, device) for key, part in new.items()}
    if type(new) in (list, tuple):
        places = chain(old if isinstance(old, list | tuple) else (), repeat(None))
        return type(new)(tensors_like(part, value, device) for part, value in zip(places, new, strict=False))
    return new
