"""Judging the datatypes of HDF5 objects that other tools wrote. Source: spec sections 3 and 7.3."""

from typing import Any

import numpy as np

from statetree.dtype import BY_NAME
from statetree.errors import fail, shown
from statetree_backends._hdf5_format import FLOATS

__all__ = ["check_datatype", "is_integer", "is_stored_as"]

_DAMAGED = "the file is damaged: restore it from a copy"
_LONGEST = 64
_COMPLEX = tuple(name for name, row in BY_NAME.items() if row.complex)


def check_datatype(h5: Any, dataset: Any, dtype: str, place: str) -> None:
    """Refuse a dataset that is not stored as `dtype` is.

    Raises:
        InvalidError: another datatype, or without the attribute that names a dtype with a carrier.
    """
    kind = dataset.get_type()
    if not is_stored_as(h5, kind, dtype):
        found = _foreign(h5, kind)
        if found is not None:
            fail("H5_DTYPE", f"the datatype of {dtype}", found, place=place, remedy="write it with a conforming writer")
        fail("BACKEND_MISMATCH", f"the datatype of {dtype}", "another datatype", place=place, remedy=_DAMAGED)
    if BY_NAME[dtype].carrier == "uint8" and (name := _dtype_attribute(h5, dataset)) != dtype:
        found = "none of that form" if name is None else repr(shown(name))
        fail("BACKEND_MISMATCH", f"the attribute dtype = {dtype!r}", found, place=place, remedy=_DAMAGED)


def _foreign(h5: Any, kind: Any) -> str | None:
    """Return what a datatype is that the format never has, None for one that it has."""
    h5t = h5.h5t
    names = {h5t.REFERENCE: "a reference", h5t.VLEN: "a variable-length type", h5t.OPAQUE: "an opaque type"}
    names |= {h5t.TIME: "a time", h5t.BITFIELD: "a bit field", h5t.STRING: "a string", h5t.ARRAY: "an array type"}
    if kind.get_class() == h5t.COMPOUND and not any(is_stored_as(h5, kind, name) for name in _COMPLEX):
        return "a compound other than a complex number"
    if kind.get_class() == h5t.ENUM and not is_stored_as(h5, kind, "bool"):
        return "an enumeration other than FALSE and TRUE"
    return names.get(kind.get_class())


def _dtype_attribute(h5: Any, dataset: Any) -> str | None:
    """Return the attribute `dtype` if it is a scalar string of fixed length."""
    if not h5.h5a.exists(dataset, b"dtype"):
        return None
    attribute = h5.h5a.open(dataset, b"dtype")
    kind = attribute.get_type()
    fixed = kind.get_class() == h5.h5t.STRING and not kind.is_variable_str() and attribute.shape == ()
    if not fixed or kind.get_size() > _LONGEST:
        return None
    value = np.empty((), f"S{kind.get_size()}")
    attribute.read(value, kind)
    return bytes(value[()]).decode("latin-1")


def is_integer(h5: Any, kind: Any, size: int, *, signed: bool) -> bool:
    """Whether an HDF5 datatype is the integer of that size and sign, little-endian."""
    if kind.get_class() != h5.h5t.INTEGER or kind.get_size() != size:
        return False
    sign = h5.h5t.SGN_2 if signed else h5.h5t.SGN_NONE
    return bool(kind.get_sign() == sign and (size == 1 or kind.get_order() == h5.h5t.ORDER_LE))


def _is_float(h5: Any, kind: Any, size: int, exponent: int, mantissa: int) -> bool:
    if kind.get_class() != h5.h5t.FLOAT or kind.get_size() != size or kind.get_order() != h5.h5t.ORDER_LE:
        return False
    fields = (8 * size - 1, mantissa, exponent, 0, mantissa)
    return tuple(kind.get_fields()) == fields and kind.get_ebias() == (1 << (exponent - 1)) - 1


def is_stored_as(h5: Any, kind: Any, dtype: str) -> bool:
    """Whether an HDF5 datatype is the one that stores `dtype`."""
    row = BY_NAME[dtype]
    if dtype == "bool":
        if kind.get_class() != h5.h5t.ENUM or kind.get_nmembers() != 2:
            return False
        names = {kind.get_member_name(i): kind.get_member_value(i) for i in range(2)}
        return names == {b"FALSE": 0, b"TRUE": 1} and is_integer(h5, kind.get_super(), 1, signed=True)
    if dtype in FLOATS:
        return _is_float(h5, kind, *FLOATS[dtype])
    if row.complex:
        # Newer HDF5 libraries may show the compound as their own complex class; only the compound is written.
        if kind.get_class() != h5.h5t.COMPOUND or kind.get_nmembers() != 2 or kind.get_size() != row.itemsize:
            return False
        half = FLOATS["float32" if row.itemsize == 8 else "float64"]
        return all(
            kind.get_member_name(i) == name
            and kind.get_member_offset(i) == i * half[0]
            and _is_float(h5, kind.get_member_type(i), *half)
            for i, name in enumerate((b"r", b"i"))
        )
    return is_integer(h5, kind, row.itemsize, signed=row.carrier is None and dtype.startswith("int"))
