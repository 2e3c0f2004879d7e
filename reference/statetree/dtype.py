"""The dtypes of the format and how their elements lie in memory. Source: spec section 3 and the registry `dtypes`."""

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from statetree_spec import registry

__all__ = ["BY_NAME", "DType", "dtype_name"]


@dataclass(frozen=True, slots=True)
class DType:
    """One dtype of the registry."""

    name: str
    """Exact name in manifests."""
    numpy: "np.dtype[Any]"
    """NumPy's dtype, native byte order."""
    itemsize: int
    """Bytes an element takes in every container."""
    bits: int
    """Bits of an element that carry value; below 8, the upper bits of its byte are zero."""
    carrier: str | None
    """Name of the plain dtype that stands for it where a container has no type of its own."""
    complex: bool
    """Whether an element is a pair (re, im)."""

    @property
    def top(self) -> int | None:
        """Largest value a stored byte may have, None where every byte is valid."""
        if self.name == "bool":
            return 1
        return (1 << self.bits) - 1 if self.bits < 8 else None


def _dtype(row: dict[str, Any]) -> DType:
    kind = getattr(ml_dtypes, row["name"], None) or getattr(np, row["name"])
    return DType(row["name"], np.dtype(kind), row["itemsize"], row["bits"], row["carrier"], row["group"] == "complex")


BY_NAME: dict[str, DType] = {row["name"]: _dtype(row) for row in registry("dtypes")["dtypes"]}
_NAMES: dict["np.dtype[Any]", str] = {row.numpy: name for name, row in BY_NAME.items()}


def dtype_name(dtype: "np.dtype[Any]") -> str | None:
    """Return the format's name of a NumPy dtype of any byte order, None if the format has none.

    >>> dtype_name(np.dtype(">f4")), dtype_name(np.dtype(object))
    ('float32', None)
    """
    name = _NAMES.get(dtype)
    if name is None and dtype.kind in "biufc" and not dtype.isnative:
        name = _NAMES.get(dtype.newbyteorder("="))
    return name
