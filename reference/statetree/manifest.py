"""The manifest text: its members, its table of arrays and its version. Source: spec section 4."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from statetree.canonical import decode_json, no_float
from statetree.digest import digest_size
from statetree.dtype import BY_NAME
from statetree.errors import Problem, fail, raise_problem, shown
from statetree.limits import RANK, Limits
from statetree.path import Path
from statetree.version import NEWER, VERSION, check_version

__all__ = [
    "ArrayEntry",
    "Manifest",
    "Node",
    "decode_manifest",
    "encode_manifest",
    "unknown_dtype",
]

Node = Any
"""A node as Python JSON: None, bool, int, str or a dict of one member."""

FEATURES: frozenset[str] = frozenset()
"""Features that this implementation knows; version 1.0 defines none."""

SPAN = (1 << 63) - 1
"""Largest product of itemsize and extents other than 0: what address arithmetic in 64 bits can hold."""
SAFE = (1 << 53) - 1
"""Largest integer that a JSON number of the format may be."""
_HEX = re.compile(r"[0-9a-f]+")
_REMEDY = "write the file with a conforming writer"


if TYPE_CHECKING:
    _DTypeName = str
else:
    # Decoding by these names also makes one str of each, not one a row.
    _DTypeName = Literal[tuple(BY_NAME)]


class ArrayEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One row of the manifest's table of arrays."""

    digest: str
    """Digest of the canonical bytes, lower-case hexadecimal."""
    dtype: _DTypeName
    """Name of a dtype of the registry."""
    shape: tuple[int, ...]
    """Extents, outermost first."""

    @property
    def nbytes(self) -> int:
        """Bytes of the canonical form."""
        return prod(self.shape) * _ITEMSIZES[self.dtype]


class _Root(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The manifest as its text has it; members in the order of their names."""

    algorithm: str
    arrays: list[ArrayEntry]
    features: list[str]
    statetree: str
    tree: Any


_DECODER = msgspec.json.Decoder(_Root, float_hook=no_float)
_ENCODER = msgspec.json.Encoder()
_ITEMSIZES = {name: row.itemsize for name, row in BY_NAME.items()}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A decoded manifest; its root node is not yet a tree."""

    algorithm: str
    """Digest algorithm."""
    arrays: list[ArrayEntry]
    """Distinct arrays in first-met order."""
    nbytes: list[int]
    """Bytes of each array's canonical form."""
    node: Node
    """Root node."""


def encode_manifest(node: Node, arrays: Sequence[ArrayEntry], algorithm: str) -> bytes:
    """Return the canonical text of a manifest."""
    return _ENCODER.encode(_Root(algorithm, list(arrays), [], VERSION, node))


def decode_manifest(text: bytes, limits: Limits, place: str) -> Manifest:
    """Return the manifest of a canonical text, its table of arrays checked.

    Raises:
        MalformedError: not canonical JSON, or not a manifest at all.
        UnsupportedError: another major version, an unknown feature, digest algorithm or dtype.
        InvalidError: a rule is broken.
        LimitError: larger than `limits` allow.
    """
    if len(text) > limits.manifest_bytes:
        fail(
            "LIMIT_MANIFEST",
            f"a manifest of at most {limits.manifest_bytes} bytes",
            f"{len(text)} bytes",
            place=place,
            remedy="raise limits=Limits(manifest_bytes=…)",
        )
    return _quick(text, limits) or _judged(text, limits, place)


def _quick(text: bytes, limits: Limits) -> Manifest | None:
    """Return the manifest of a sound text, decoded by its types and judged column by column; None for any other."""
    try:
        root = _DECODER.decode(text)
        digests, shapes = [a.digest for a in root.arrays], [a.shape for a in root.arrays]
        itemsizes = [_ITEMSIZES[a.dtype] for a in root.arrays]
        digits = 2 * digest_size(root.algorithm)
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
        return None
    sound = (
        _ENCODER.encode(root) == text
        and root.statetree == VERSION
        and not root.features
        and len(root.arrays) <= limits.arrays
        and {*map(len, digests)} <= {digits}
        and _is_hex("".join(digests))
        and max(map(len, shapes), default=0) <= RANK
    )
    extents = list(chain.from_iterable(shapes)) if sound else []
    if not sound or min(extents, default=1) < 0 or max(extents, default=0) > SAFE:
        return None
    nbytes = list(map(mul, itemsizes, map(prod, shapes)))
    # Arrays without elements have an extent of 0, whose other extents have a limit of their own.
    empty = [] if min(extents, default=1) else [a for a, size in zip(root.arrays, nbytes, strict=True) if not size]
    if max(nbytes, default=0) > SAFE or not all(_spans_little(a.shape, _ITEMSIZES[a.dtype]) for a in empty):
        return None
    return Manifest(root.algorithm, root.arrays, nbytes, root.tree)


def _spans_little(shape: Sequence[int], itemsize: int) -> bool:
    return itemsize * prod(extent for extent in shape if extent) <= SPAN


def _is_hex(text: str) -> bool:
    try:
        return len(bytes.fromhex(text)) * 2 == len(text) and text == text.lower()
    except ValueError:
        return False


def _judged(text: bytes, limits: Limits, place: str) -> Manifest:
    """Return the manifest of any text, judged rule by rule in the order of the specification."""
    root = decode_json(text, place)
    if type(root) is not dict or "statetree" not in root:
        fail(
            "BAD_MAGIC",
            "a manifest with the member 'statetree'",
            "JSON without it",
            place=place,
            remedy=_REMEDY,
        )
    check_version(root["statetree"], place)
    for name, kind in _MEMBERS.items():
        if name not in root:
            _invalid("SCHEMA_MISSING", f"the member '{name}'", "none", place)
        if kind is not None and type(root[name]) is not kind:
            _invalid("SCHEMA_TYPE", f"'{name}' as {_JSON[kind]}", _JSON[type(root[name])], place)
    _check_members(root, _MEMBERS, place)
    _check_features(root["features"], place)
    size = digest_size(root["algorithm"])
    if len(root["arrays"]) > limits.arrays:
        fail(
            "LIMIT_ARRAYS",
            f"at most {limits.arrays} arrays",
            str(len(root["arrays"])),
            place=place,
            remedy="raise limits=Limits(arrays=…)",
        )
    for number, row in enumerate(root["arrays"]):
        _check_entry(row, size * 2, f"{place}/arrays/{number}")
    arrays = [ArrayEntry(row["digest"], row["dtype"], tuple(row["shape"])) for row in root["arrays"]]
    return Manifest(root["algorithm"], arrays, [entry.nbytes for entry in arrays], root["tree"])


_MEMBERS: dict[str, type | None] = {
    "algorithm": str,
    "arrays": list,
    "features": list,
    "statetree": None,
    "tree": None,
}
_ENTRY: dict[str, type | None] = {"digest": str, "dtype": str, "shape": list}
_JSON = {
    str: "a string",
    list: "an array",
    dict: "an object",
    int: "an integer",
    bool: "a boolean",
    type(None): "null",
}


def _invalid(code: str, expected: str, found: str, place: str) -> None:
    raise_problem(Problem(code, expected, found, place=place, remedy=_REMEDY))


def _check_members(value: dict[str, Any], members: dict[str, type | None], place: str) -> None:
    unknown = value.keys() - members.keys()
    if unknown:
        _invalid("SCHEMA_UNKNOWN_KEY", f"the members {', '.join(members)}", repr(shown(min(unknown))), place)


def _check_features(features: list[Any], place: str) -> None:
    if any(type(f) is not str for f in features):
        _invalid("SCHEMA_TYPE", "feature names as strings", "something else", place)
    if any(a >= b for a, b in pairwise(features)):
        _invalid("FEATURE_FORM", "features sorted and unique", "another order", place)
    unknown = [f for f in features if f not in FEATURES]
    if unknown:
        fail(
            "FEATURE_UNKNOWN",
            "features that this reader knows (none so far)",
            ", ".join(repr(shown(f)) for f in unknown[:3]),
            place=place,
            remedy=NEWER,
        )


def _check_entry(row: Any, digits: int, place: str) -> None:
    """Say what is wrong with a row of the table, if anything is."""
    if type(row) is not dict:
        _invalid("SCHEMA_TYPE", "an object", _JSON[type(row)], place)
    for name, kind in _ENTRY.items():
        if name not in row:
            _invalid("SCHEMA_MISSING", f"the member '{name}'", "none", place)
        if type(row[name]) is not kind:
            assert kind is not None
            _invalid("SCHEMA_TYPE", f"'{name}' as {_JSON[kind]}", _JSON[type(row[name])], place)
    _check_members(row, _ENTRY, place)
    if len(row["digest"]) != digits or not _HEX.fullmatch(row["digest"]):
        _invalid(
            "SCHEMA_PATTERN",
            f"a digest of {digits} lower-case hexadecimal digits",
            repr(shown(row["digest"])),
            place,
        )
    if row["dtype"] not in BY_NAME:
        unknown_dtype(row["dtype"], place=place)
    if any(type(n) is not int for n in row["shape"]):
        _invalid(
            "SCHEMA_TYPE",
            "extents as integers",
            _JSON[type(next(n for n in row["shape"] if type(n) is not int))],
            place,
        )
    if len(row["shape"]) > RANK:
        fail("LIMIT_RANK", f"at most {RANK} dimensions", str(len(row["shape"])), place=place, remedy=_REMEDY)
    shape, itemsize = row["shape"], _ITEMSIZES[row["dtype"]]
    extents_fit = all(0 <= extent <= SAFE for extent in shape)
    if not extents_fit or itemsize * prod(shape) > SAFE or not _spans_little(shape, itemsize):
        _invalid("ARRAY_SHAPE", "extents from 0 to 2^53−1 whose product in bytes is as small", shown(str(shape)), place)


def unknown_dtype(name: str, *, path: Path | None = None, place: str | None = None) -> NoReturn:
    """Refuse a dtype that is not of the registry."""
    code, found, remedy = "DTYPE_UNKNOWN", repr(shown(name)), NEWER
    if name in ("object", "O", "|O"):
        code, found = "PICKLE_OBJECT_DTYPE", "Python objects"
        remedy = "object arrays are pickles and are refused for long-term storage"
    fail(code, "a dtype of the format", found, path=path, place=place, remedy=remedy)
