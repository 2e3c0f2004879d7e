"""The `zarr.json` texts: what is written and what is accepted. Source: spec section 7.4."""

import json
import math
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from statetree.digest import digest_size
from statetree.dtype import BY_NAME
from statetree.errors import fail, shown
from statetree.store import ArraySpec
from statetree.version import check_version

__all__ = [
    "ArrayMetadata",
    "Root",
    "array_json",
    "chunk_key",
    "declared_size",
    "group_json",
    "parse_array",
    "parse_root",
    "root_json",
    "strict_json",
]

_DAMAGED = "the container is damaged: restore it from a copy"
_FOREIGN = "write it with a conforming writer"
_LOSSY = {"bitround", "fixedscaleoffset", "quantize", "astype", "cast_value", "scale_offset", "packbits"}
_UNUSED = {"sharding_indexed", "transpose"}
"""Codecs of Zarr's core that the format does not use."""
_MEMBERS = {
    "group": {"zarr_format", "node_type", "attributes", "consolidated_metadata"},
    "array": {
        *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value"),
        *("codecs", "attributes", "dimension_names", "storage_transformers"),
    },
}


def group_json(attributes: dict[str, Any] | None = None) -> bytes:
    """Return the metadata of a group."""
    return msgspec.json.encode({"zarr_format": 3, "node_type": "group", "attributes": attributes or {}})


@dataclass(frozen=True, slots=True)
class Root:
    """What the root's attribute `statetree` says: by naming a generation it commits it."""

    version: str
    """Version of the format."""
    algorithm: str
    """Digest algorithm of the file."""
    generation: str
    """Name of the generation that counts."""
    manifest: str
    """Digest of the manifest text, hexadecimal."""
    info: str
    """Digest of the info text, hexadecimal."""


def root_json(root: Root) -> bytes:
    """Return the metadata of the root."""
    return group_json({"statetree": asdict(root)})


def _attribute(data: bytes, place: str) -> dict[str, Any]:
    value = strict_json(data, place)
    _check_format(value, "group", place)
    found = value.get("attributes", {}).get("statetree")
    if type(found) is not dict:
        fail("Z_METADATA", "the attribute 'statetree'", "none", place=place, remedy=_DAMAGED)
    check_version(found.get("version"), place)
    return found


def parse_root(data: bytes, place: str) -> Root:
    """Return what a root's metadata says of the store.

    Raises:
        StateTreeError: it is malformed, of another major version, or not ours.
    """
    found = _attribute(data, place)
    if found.keys() != Root.__dataclass_fields__.keys() or any(type(text) is not str for text in found.values()):
        fail("Z_METADATA", f"the texts {', '.join(Root.__dataclass_fields__)}", "others", place=place, remedy=_DAMAGED)
    root = Root(**found)
    digits = 2 * digest_size(root.algorithm)
    for name, size in (("generation", 16), ("manifest", digits), ("info", digits)):
        if not re.fullmatch(f"[0-9a-f]{{{size}}}", found[name]):
            other = shown(repr(found[name]), 40)
            fail("Z_METADATA", f"{name} as {size} hexadecimal digits", other, place=place, remedy=_DAMAGED)
    return root


def data_type(dtype: str) -> str:
    """Return the Zarr data type that stores `dtype`."""
    return BY_NAME[dtype].carrier or dtype


def _fill(dtype: str) -> Any:
    name = data_type(dtype)
    if name == "bool":
        return False
    if name.startswith("complex"):
        return [0.0, 0.0]
    return 0.0 if name.startswith("float") else 0


@lru_cache(maxsize=4096)
def array_json(
    dtype: str, shape: tuple[int, ...], *, rows: int = 0, codec: str | None = None, separator: str = "."
) -> bytes:
    """Return the metadata of an array in one chunk, or in chunks of `rows` rows compressed by `codec`."""
    carrier = data_type(dtype)
    chunk = [rows, *shape[1:]] if rows else [max(1, extent) for extent in shape]
    codecs: list[dict[str, Any]] = [{"name": "bytes", "configuration": {"endian": "little"}}]
    if BY_NAME[carrier].itemsize == 1:
        codecs = [{"name": "bytes"}]
    if codec == "gzip":
        codecs.append({"name": "gzip", "configuration": {"level": 5}})
    elif codec == "zstd":
        codecs.append({"name": "zstd", "configuration": {"level": 3, "checksum": False}})
    return msgspec.json.encode(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": carrier,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
            "fill_value": _fill(dtype),
            "codecs": codecs,
            "attributes": {"statetree": {"dtype": dtype}} if carrier != dtype else {},
        }
    )


def chunk_key(number: int, rank: int, separator: str = ".") -> str:
    """Return the key of chunk `number` along the first axis."""
    return separator.join(["c", str(number), *("0",) * (rank - 1)]) if rank else "c"


def strict_json(data: bytes, place: str) -> Any:
    """Return the value of a metadata text: UTF-8 without byte order mark, unique members, no NaN.

    Raises:
        MalformedError: it is not.
    """
    if data.startswith(b"\xef\xbb\xbf"):
        fail("JSON_ENCODING", "UTF-8 without a byte order mark", "one", place=place, remedy=_FOREIGN)

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) != len(items):
            fail("JSON_DUPLICATE_KEY", "unique member names", "a name twice", place=place, remedy=_FOREIGN)
        return out

    def constant(name: str) -> NoReturn:
        fail("JSON_NONFINITE", "a JSON value", name, place=place, remedy=_FOREIGN)

    def real(text: str) -> float:
        if math.isinf(value := float(text)):
            found = shown(text, 40)
            fail("JSON_NUMBER_RANGE", "a number within binary64", found, place=place, remedy=_FOREIGN)
        return value

    def integer(digits: str) -> float:
        value = real(digits)
        return value if value == 0 and digits[0] == "-" else int(digits)

    try:
        text = data.decode("utf-8")
        return json.loads(text, object_pairs_hook=pairs, parse_constant=constant, parse_float=real, parse_int=integer)
    except UnicodeDecodeError:
        fail("JSON_ENCODING", "UTF-8", "other bytes", place=place, remedy=_DAMAGED)
    except json.JSONDecodeError as error:
        fail("JSON_SYNTAX", "JSON", f"{error.msg.lower()} at character {error.pos}", place=place, remedy=_DAMAGED)
    except RecursionError:
        fail("LIMIT_DEPTH", "metadata of few levels", "more", place=place, remedy=_FOREIGN)


@dataclass(frozen=True, slots=True)
class ArrayMetadata:
    """How the chunks of one array are stored."""

    rows: int
    """Rows of a chunk; for a 0-d array 1."""
    codec: str | None
    """`gzip`, `zstd` or None."""
    checksum: bool
    """Whether a CRC-32C follows the bytes of a chunk."""
    separator: str
    """Separator of chunk keys."""

    @property
    def plain(self) -> bool:
        """Whether chunks are stored as they are."""
        return self.codec is None and not self.checksum


def parse_array(data: bytes, spec: ArraySpec, place: str) -> ArrayMetadata:
    """Return how array `spec` is stored, its metadata held against the manifest.

    Raises:
        StateTreeError: it is malformed, disagrees with the manifest, or needs what the format does not use.
    """
    if data == array_json(spec.dtype, spec.shape):
        return ArrayMetadata(spec.shape[0] if spec.shape else 1, None, False, ".")
    value = strict_json(data, place)
    _check_format(value, "array", place)
    _expect(value, "shape", list(spec.shape), "BACKEND_MISMATCH", place)
    _expect(value, "data_type", data_type(spec.dtype), "BACKEND_MISMATCH", place)
    if not _is_zero(value.get("fill_value"), _fill(spec.dtype)):
        found = shown(repr(value.get("fill_value")))
        fail("Z_FILL", f"fill_value {_fill(spec.dtype)}", found, place=place, remedy=_DAMAGED)
    if value.get("storage_transformers"):
        fail("Z_CODEC", "no storage transformers", "some", place=place, remedy=_FOREIGN)
    wanted = {"dtype": spec.dtype} if BY_NAME[spec.dtype].carrier else None
    if value.get("attributes", {}).get("statetree") != wanted:
        fail("BACKEND_MISMATCH", f"the attribute for dtype {spec.dtype}", "another", place=place, remedy=_DAMAGED)
    separator = _separator(value.get("chunk_key_encoding"), place)
    codec, checksum = _codecs(value.get("codecs"), BY_NAME[data_type(spec.dtype)].itemsize, place)
    return ArrayMetadata(_rows(value.get("chunk_grid"), spec, place), codec, checksum, separator)


def _separator(encoding: Any, place: str) -> str:
    """Return the separator of chunk keys; one that is left out is Zarr's default."""
    for separator in "./":
        if encoding == {"name": "default", "configuration": {"separator": separator}}:
            return separator
    if encoding in ({"name": "default"}, {"name": "default", "configuration": {}}):
        return "/"
    fail("Z_METADATA", "the default chunk key encoding", shown(str(encoding)), place=place, remedy=_FOREIGN)


def declared_size(data: bytes, limit: int, place: str) -> int:
    """Return the extent that the metadata of an array of one dimension declares, at most `limit`."""
    value = strict_json(data, place)
    shape = value.get("shape") if type(value) is dict else None
    if type(shape) is not list or len(shape) != 1 or type(shape[0]) is not int or not 0 < shape[0] <= limit:
        fail("Z_METADATA", f"one extent of at most {limit}", shown(repr(shape)), place=place, remedy=_DAMAGED)
    return int(shape[0])


def _check_format(value: Any, node: str, place: str) -> None:
    """Refuse metadata of another Zarr version or of another kind of node."""
    if type(value) is not dict:
        fail("Z_METADATA", "an object", type(value).__name__, place=place, remedy=_FOREIGN)
    version = value.get("zarr_format")
    if type(version) is not int:
        code = "JSON_NUMBER_FORM" if type(version) is float else "Z_METADATA"
        fail(code, "zarr_format 3", shown(repr(version)), place=place, remedy=_FOREIGN)
    if version != 3:
        fail("Z_FORMAT", "zarr_format 3", str(version), place=place, remedy=_FOREIGN)
    if value.get("node_type") != node:
        fail("Z_METADATA", f"node_type {node}", shown(repr(value.get("node_type"))), place=place, remedy=_FOREIGN)
    if type(value.get("attributes", {})) is not dict:
        found = type(value["attributes"]).__name__
        fail("Z_METADATA", "attributes as an object", found, place=place, remedy=_FOREIGN)
    for name, member in value.items():
        # Zarr: a member that a reader does not know stops it, unless it says that it need not be understood.
        optional = type(member) is dict and member.get("must_understand") is False
        if name not in _MEMBERS[node] and not optional:
            fail("Z_METADATA", f"members of a Zarr {node}", shown(repr(name)), place=place, remedy=_FOREIGN)


def _expect(value: dict[str, Any], name: str, wanted: Any, code: str, place: str) -> None:
    found = value.get(name)
    # repr tells 3 from 3.0 and 1 from true.
    if repr(found) != repr(wanted):
        fail(code, f"{name} {wanted}", shown(repr(found)), place=place, remedy=_DAMAGED)


def _is_zero(found: Any, wanted: Any) -> bool:
    """Whether a fill value is the zero `wanted`; writers may drop the fraction of a float."""
    if type(wanted) is list:
        return type(found) is list and len(found) == 2 and all(map(_is_zero, found, wanted))
    return repr(found) == repr(wanted) or (type(wanted) is float and repr(found) == "0")


def _rows(grid: Any, spec: ArraySpec, place: str) -> int:
    regular = type(grid) is dict and grid.get("name") == "regular"
    shape = _configuration(grid).get("chunk_shape") if regular else None
    wanted = [max(1, extent) for extent in spec.shape]
    good = type(shape) is list and len(shape) == len(wanted) and all(type(n) is int and n > 0 for n in shape)
    if not good or (shape and (shape[1:] != wanted[1:] or shape[0] > wanted[0])):
        fail("Z_METADATA", "regular chunks along the first axis", shown(str(grid)), place=place, remedy=_FOREIGN)
    return int(shape[0]) if shape else 1


def _configuration(extension: dict[str, Any]) -> dict[str, Any]:
    found = extension.get("configuration")
    return found if type(found) is dict else {}


def _codecs(codecs: Any, itemsize: int, place: str) -> tuple[str | None, bool]:
    if type(codecs) is not list or any(type(c) is not dict or type(c.get("name")) is not str for c in codecs):
        fail("Z_METADATA", "a list of codecs", shown(str(codecs)), place=place, remedy=_FOREIGN)
    names = [codec["name"] for codec in codecs]
    for name in names:
        if name not in ("bytes", "gzip", "zstd", "crc32c"):
            lossy = name.rpartition(".")[2] in _LOSSY
            code = "Z_LOSSY_CODEC" if lossy else "Z_METADATA" if name in _UNUSED else "Z_CODEC"
            fail(code, "the codecs bytes, gzip or zstd, crc32c", shown(name), place=place, remedy=_FOREIGN)
    packed = [name for name in names[1:2] if name in ("gzip", "zstd")]
    if names not in (["bytes", *packed], ["bytes", *packed, "crc32c"]):
        fail("Z_METADATA", "bytes, then gzip or zstd, then crc32c", shown(str(names)), place=place, remedy=_FOREIGN)
    endian = _configuration(codecs[0]).get("endian")
    if endian != "little" and (itemsize > 1 or endian is not None):
        fail("Z_METADATA", "little-endian bytes", shown(repr(endian)), place=place, remedy=_FOREIGN)
    return (packed[0] if packed else None), names[-1] == "crc32c"
