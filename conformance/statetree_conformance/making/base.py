"""The tiny tree that most vectors hold, and each container made soundly of any document."""

import struct
from collections.abc import Callable

from statetree_conformance.making.bson import bson_file
from statetree_conformance.making.hdf5 import hdf5_file
from statetree_conformance.making.record import Content
from statetree_conformance.making.texts import Document, document
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import folder
from statetree_conformance.making.zipped import entries, zip_file

__all__ = ["BASE", "CONTAINERS", "SOUND", "A", "B", "floats", "integers"]


def floats(*values: float, shape: tuple[int, ...] | None = None) -> Array:
    """Return an array of float32."""
    return Array("float32", shape if shape is not None else (len(values),), struct.pack(f"<{len(values)}f", *values))


def integers(*values: int, dtype: str = "uint8", shape: tuple[int, ...] | None = None) -> Array:
    """Return an array of integers of any size."""
    bits = int(dtype.removeprefix("u").removeprefix("int"))
    raw = b"".join((value % (1 << bits)).to_bytes(bits // 8, "little") for value in values)
    return Array(dtype, shape if shape is not None else (len(values),), raw)


A, B = floats(1.5, -0.0), integers(1, 2, 3)
BASE = document({"a": A, "b": B, "n": 7})
"""Two arrays and a number."""

SOUND: dict[str, Callable[[Document], Content]] = {
    "hdf5": hdf5_file,
    "zarr": folder,
    "zarr.zip": lambda doc: zip_file(entries(doc)),
    "bson": bson_file,
}
CONTAINERS = tuple(SOUND)
