"""Judging: how a value that came back differs from the one that was saved, in a few words.

As strict as `statetree.difference`, and stricter about types: a namedtuple is its class, a tensor no array.
What does not count is the same too: byte order, memory order, OrderedDict against dict.
"""

import dataclasses
import struct
from collections import OrderedDict
from typing import Any

import jax
import numpy as np
import torch

from statetree import Record
from statetree.compare import canonical_bytes
from statetree.dtype import dtype_name
from statetree.encode import tie_key

__all__ = ["change"]

_NAMES: dict[type, str] = {np.ndarray: "array", torch.Tensor: "tensor", OrderedDict: "dict"}


def change(before: Any, after: Any, *, ordered: bool = True) -> str | None:
    """Return how `after` differs from `before`, None if it is the same; with `ordered=False` in any order of keys.

    >>> change({"a": (1, 2)}, {"a": [1, 2]}), change([0.0], [-0.0])
    ('tuple → list', '0.0 → -0.0')
    """
    return _Judge(ordered).nodes(before, after)


def _kind(value: Any) -> str:
    kind = type(value)
    if isinstance(value, jax.Array):
        return "JAX array"
    if isinstance(value, np.generic):
        return f"NumPy {value.dtype}"
    return _NAMES.get(kind) or kind.__name__


class _Judge:
    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.pairs: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})

    def nodes(self, a: Any, b: Any) -> str | None:
        if (kind := _kind(a)) != (other := _kind(b)) or (type(a) is not type(b) and kind not in ("dict", "JAX array")):
            return f"{kind} → {other}"
        if isinstance(a, torch.Tensor):
            return self.tied(_torch_key(a), _torch_key(b)) or _tensors(a, b)
        if isinstance(a, jax.Array):
            return self.tied(id(a), id(b)) or _jax_arrays(a, b)
        if isinstance(a, np.ndarray):
            return self.arrays(a, b)
        if isinstance(a, dict) or hasattr(a, "keys"):
            return self.items(list(a.items()), list(b.items()))
        if isinstance(a, Record):
            return self.items([*a.items(), ("label", a.label)], [*b.items(), ("label", b.label)])
        if isinstance(a, list | tuple):
            return self.sequences(list(a), list(b))
        if dataclasses.is_dataclass(a):
            return self.items(_fields(a), _fields(b))
        return _leaves(a, b)

    def items(self, a: list[Any], b: list[Any]) -> str | None:
        if len(a) != len(b):
            return f"keys: {len(a)} → {len(b)}"
        missing, more = _keys_beyond(a, b), _keys_beyond(b, a)
        if missing:
            return f"key {_short(missing[0])} → {_short(more[0])}"
        if not self.ordered:
            b = [next(item for item in b if _same_key(item[0], key)) for key, _ in a]
        if not all(_same_key(x, y) for (x, _), (y, _) in zip(a, b, strict=True)):
            return "order of keys"
        return self.sequences([value for _, value in a], [value for _, value in b])

    def sequences(self, a: list[Any], b: list[Any]) -> str | None:
        if len(a) != len(b):
            return f"length {len(a)} → {len(b)}"
        return next((how for x, y in zip(a, b, strict=True) if (how := self.nodes(x, y))), None)

    def arrays(self, a: Any, b: Any) -> str | None:
        if a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
            return f"{a.dtype} → {b.dtype}"
        if a.dtype.hasobject:
            return self.sequences(a.ravel().tolist(), b.ravel().tolist())
        return self.tied(tie_key(a), tie_key(b)) or _elements(a.shape, b.shape, _bytes(a), _bytes(b), a.dtype.itemsize)

    def tied(self, a: Any, b: Any) -> str | None:
        """Return how the sharing of arrays differs, if this array shows that it does."""
        if self.pairs[0].setdefault(a, b) != b:
            return "one array → two"
        return "two arrays → one" if self.pairs[1].setdefault(b, a) != a else None


def _keys_beyond(a: list[Any], b: list[Any]) -> list[Any]:
    """Return the keys of `a` that `b` has not."""
    return [key for key, _ in a if not any(_same_key(key, other) for other, _ in b)]


def _fields(value: Any) -> list[Any]:
    return [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]


def _same_key(a: Any, b: Any) -> bool:
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(map(_same_key, a, b))
    return type(a) is type(b) and bool(a == b)


def _leaves(a: Any, b: Any) -> str | None:
    if _bits(a) == _bits(b):
        return None
    if (shown := _short(a)) != (other := _short(b)):
        return f"{shown} → {other}"
    return f"bits {_bits(a).hex()} → {_bits(b).hex()}" if isinstance(_bits(a), bytes) else "another value"


def _bits(value: Any) -> Any:
    match value:
        case float():
            return struct.pack(">d", value)
        case complex():
            return struct.pack(">dd", value.real, value.imag)
        case np.generic():
            return _bytes(np.asarray(value))[::-1]
        case _:
            return value


def _short(value: Any) -> str:
    if type(value) is int and value.bit_length() > 80:
        return f"int of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= 24 else f"{text[:22]}…"


def _bytes(array: Any) -> bytes:
    if dtype_name(array.dtype):
        return canonical_bytes(array)
    native = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype == np.longdouble:
        # The bytes beside its 80 bits may be anything.
        return bytes(np.frombuffer(native.tobytes(), np.uint8).reshape(-1, native.itemsize)[:, :10])
    return bytes(native.tobytes())


def _torch_key(tensor: torch.Tensor) -> Any:
    if tensor.layout is not torch.strided or not tensor.numel():
        return id(tensor)
    return tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()


def _tensors(a: torch.Tensor, b: torch.Tensor) -> str | None:
    if a.dtype != b.dtype or a.layout != b.layout:
        return f"{a.dtype} {a.layout} → {b.dtype} {b.layout}".replace("torch.", "").replace(" strided", "")
    if a.is_quantized and (a.q_scale(), a.q_zero_point()) != (b.q_scale(), b.q_zero_point()):
        return "scale and zero point"
    return _elements(a.shape, b.shape, _tensor_bytes(a), _tensor_bytes(b), a.dtype.itemsize)


def _tensor_bytes(tensor: torch.Tensor) -> bytes:
    plain = tensor.detach().resolve_conj().resolve_neg()
    if plain.is_quantized:
        plain = plain.int_repr()
    if plain.layout is not torch.strided:
        plain = plain.to_dense()
    return bytes(plain.contiguous().reshape(-1).view(torch.uint8).numpy())


def _jax_arrays(a: jax.Array, b: jax.Array) -> str | None:
    if a.dtype != b.dtype:
        return f"{a.dtype} → {b.dtype}"
    if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return _elements(a.shape, b.shape, _bytes(np.asarray(a)), _bytes(np.asarray(b)), a.dtype.itemsize)


def _elements(shape: Any, other: Any, a: bytes, b: bytes, size: int) -> str | None:
    if tuple(shape) != tuple(other):
        return f"shape {tuple(shape)} → {tuple(other)}"
    if a == b:
        return None
    at = next(i for i in range(0, len(a), size) if a[i : i + size] != b[i : i + size])
    differ = sum(a[i : i + size] != b[i : i + size] for i in range(0, len(a), size))
    bits = f"{a[at : at + size][::-1].hex()} → {b[at : at + size][::-1].hex()}"
    return f"bits {bits}" if differ == 1 else f"bits of {differ} elements: {bits}"
