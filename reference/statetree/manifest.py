"""The manifest text: its members, its table of arrays and its version. Source: spec section 4."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import prod
from operator import mul
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from statetree.canonical import decode_json, no_float
from statetree.digest import digest_size
from statetree.dtype import BY_NAME
from statetree.errors import Problem, StateTreeError, fail, raise_problem, shown
from statetree.limits import RANK, Limits
from statetree.path import Path
from statetree.version import NEWER, VERSION, check_version

__all__ = [
    "ArrayEntry",
    "Manifest",
    "Node",
    "decode_manifest",
    "dtype_problem",
    "encode_manifest",
    "root_problems",
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
    version: str = VERSION
    """Version of the format that it names."""


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
    return Manifest(root.algorithm, root.arrays, nbytes, root.tree, VERSION)


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
    for problem in root_problems(root, limits, place):
        raise_problem(problem)
    arrays = [ArrayEntry(row["digest"], row["dtype"], tuple(row["shape"])) for row in root["arrays"]]
    nbytes = [entry.nbytes for entry in arrays]
    return Manifest(root["algorithm"], arrays, nbytes, root["tree"], root["statetree"])


def root_problems(root: Any, limits: Limits, place: str) -> Iterator[Problem]:
    """Yield what is wrong with the value of a manifest text, its tree apart, in the order in which a reader judges."""
    if type(root) is not dict or "statetree" not in root:
        yield _wrong("BAD_MAGIC", "a manifest with the member 'statetree'", "JSON without it", place)
        return
    try:
        check_version(root["statetree"], place)
    except StateTreeError as error:
        yield error.problems[0]
        if error.code == "VERSION_MAJOR":
            return
    yield from _member_problems(root, _MEMBERS, place)
    if type(root.get("features")) is list:
        yield from _feature_problems(root["features"], place)
    digits: int | None = None
    try:
        digits = 2 * digest_size(root["algorithm"]) if type(root.get("algorithm")) is str else None
    except StateTreeError as error:
        yield error.problems[0]
    rows = root.get("arrays")
    if type(rows) is not list:
        return
    if len(rows) > limits.arrays:
        expected, remedy = f"at most {limits.arrays} arrays", "raise limits=Limits(arrays=…)"
        yield Problem("LIMIT_ARRAYS", expected, str(len(rows)), place=place, remedy=remedy)
        return
    for number, row in enumerate(rows):
        yield from _entry_problems(row, digits, f"{place}/arrays/{number}")


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


def _wrong(code: str, expected: str, found: str, place: str) -> Problem:
    return Problem(code, expected, found, place=place, remedy=_REMEDY)


def _member_problems(value: dict[str, Any], members: dict[str, type | None], place: str) -> Iterator[Problem]:
    """Yield which members are missing, of another type, or too many."""
    for name, kind in members.items():
        if name not in value:
            yield _wrong("SCHEMA_MISSING", f"the member '{name}'", "none", place)
        elif kind is not None and type(value[name]) is not kind:
            yield _wrong("SCHEMA_TYPE", f"'{name}' as {_JSON[kind]}", _JSON[type(value[name])], place)
    for name in sorted(value.keys() - members.keys()):
        yield _wrong("SCHEMA_UNKNOWN_KEY", f"the members {', '.join(members)}", repr(shown(name)), place)


def _feature_problems(features: list[Any], place: str) -> Iterator[Problem]:
    if any(type(f) is not str for f in features):
        yield _wrong("SCHEMA_TYPE", "feature names as strings", "something else", place)
        return
    if any(a >= b for a, b in pairwise(features)):
        yield _wrong("FEATURE_FORM", "features sorted and unique", "another order", place)
    unknown = [f for f in features if f not in FEATURES]
    if unknown:
        found = ", ".join(repr(shown(f)) for f in unknown[:3])
        expected = "features that this reader knows (none so far)"
        yield Problem("FEATURE_UNKNOWN", expected, found, place=place, remedy=NEWER)


def _entry_problems(row: Any, digits: int | None, place: str) -> Iterator[Problem]:
    """Yield what is wrong with a row of the table; `digits` of its digest, None if the algorithm is not known."""
    if type(row) is not dict:
        yield _wrong("SCHEMA_TYPE", "an object", _JSON[type(row)], place)
        return
    yield from _member_problems(row, _ENTRY, place)
    digest, dtype, shape = (row.get(name) if type(row.get(name)) is kind else None for name, kind in _ENTRY.items())
    if digest is not None and digits is not None and (len(digest) != digits or not _HEX.fullmatch(digest)):
        expected = f"a digest of {digits} lower-case hexadecimal digits"
        yield _wrong("SCHEMA_PATTERN", expected, repr(shown(digest)), place)
    if dtype is not None and dtype not in BY_NAME:
        yield dtype_problem(dtype, place=place)
    if shape is not None:
        yield from _shape_problems(shape, _ITEMSIZES.get(dtype or "", 1), place)


def _shape_problems(shape: list[Any], itemsize: int, place: str) -> Iterator[Problem]:
    other = next((type(extent) for extent in shape if type(extent) is not int), None)
    if other is not None:
        yield _wrong("SCHEMA_TYPE", "extents as integers", _JSON[other], place)
        return
    if len(shape) > RANK:
        yield _wrong("LIMIT_RANK", f"at most {RANK} dimensions", str(len(shape)), place)
        return
    extents_fit = all(0 <= extent <= SAFE for extent in shape)
    if not extents_fit or itemsize * prod(shape) > SAFE or not _spans_little(shape, itemsize):
        expected = "extents from 0 to 2^53−1 whose product in bytes is as small"
        yield _wrong("ARRAY_SHAPE", expected, shown(str(shape)), place)


def dtype_problem(name: str, *, path: Path | None = None, place: str | None = None) -> Problem:
    """Return what is wrong with a dtype that is not of the registry."""
    code, found, remedy = "DTYPE_UNKNOWN", repr(shown(name)), NEWER
    if name in ("object", "O", "|O"):
        code, found = "PICKLE_OBJECT_DTYPE", "Python objects"
        remedy = "object arrays are pickles and are refused for long-term storage"
    return Problem(code, "a dtype of the format", found, path=path, place=place, remedy=remedy)
