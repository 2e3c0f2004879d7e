"""The `zarr.json` texts: what is written and what is accepted. Source: spec section 7.4."""

import json
from dataclasses import dataclass
from typing import Any, NoReturn

import msgspec
from statetree.dtype import BY_NAME
from statetree.errors import fail, shown
from statetree.store import ArraySpec

__all__ = ["ArrayMetadata", "array_json", "check_format", "chunk_key", "group_json", "parse_array", "strict_json"]

_DAMAGED = "the folder is damaged: restore it from a copy"
_FOREIGN = "write it with a conforming writer"
_LOSSY = {"bitround", "fixedscaleoffset", "quantize", "astype", "cast_value", "scale_offset", "packbits"}


def group_json(attributes: dict[str, Any] | None = None) -> bytes:
    """Return the metadata of a group."""
    return msgspec.json.encode({"zarr_format": 3, "node_type": "group", "attributes": attributes or {}})


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

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) != len(items):
            fail("JSON_DUPLICATE_KEY", "unique member names", "a name twice", place=place, remedy=_FOREIGN)
        return out

    def constant(name: str) -> NoReturn:
        fail("JSON_NONFINITE", "a JSON value", name, place=place, remedy=_FOREIGN)

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except UnicodeDecodeError:
        fail("JSON_ENCODING", "UTF-8", "other bytes", place=place, remedy=_DAMAGED)
    except (json.JSONDecodeError, RecursionError) as error:
        if data.startswith(b"\xef\xbb\xbf"):
            fail("JSON_ENCODING", "UTF-8 without a byte order mark", "one", place=place, remedy=_FOREIGN)
        fail("JSON_SYNTAX", "JSON", shown(str(error)).lower(), place=place, remedy=_DAMAGED)


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


def parse_array(data: bytes, spec: ArraySpec, place: str) -> ArrayMetadata:
    """Return how array `spec` is stored, its metadata held against the manifest.

    Raises:
        StateTreeError: it is malformed, disagrees with the manifest, or needs what the format does not use.
    """
    value = strict_json(data, place)
    check_format(value, "array", place)
    _expect(value, "shape", list(spec.shape), "BACKEND_MISMATCH", place)
    _expect(value, "data_type", data_type(spec.dtype), "BACKEND_MISMATCH", place)
    _expect(value, "fill_value", _fill(spec.dtype), "Z_FILL", place)
    if value.get("storage_transformers"):
        fail("Z_CODEC", "no storage transformers", "some", place=place, remedy=_FOREIGN)
    attributes = value.get("attributes")
    wanted = {"dtype": spec.dtype} if BY_NAME[spec.dtype].carrier else None
    if type(attributes) is not dict or attributes.get("statetree") != wanted:
        fail("BACKEND_MISMATCH", f"the attribute for dtype {spec.dtype}", "another", place=place, remedy=_DAMAGED)
    encoding = value.get("chunk_key_encoding")
    separator = next((s for s in "./" if encoding == {"name": "default", "configuration": {"separator": s}}), None)
    if separator is None and encoding == {"name": "default"}:
        separator = "/"
    if separator is None:
        fail("Z_METADATA", "the default chunk key encoding", shown(str(encoding)), place=place, remedy=_FOREIGN)
    codec, checksum = _codecs(value.get("codecs"), BY_NAME[data_type(spec.dtype)].itemsize, place)
    return ArrayMetadata(_rows(value.get("chunk_grid"), spec, place), codec, checksum, separator)


def check_format(value: Any, node: str, place: str) -> None:
    """Refuse metadata of another Zarr version or of another kind of node."""
    if type(value) is not dict:
        fail("Z_METADATA", "an object", type(value).__name__, place=place, remedy=_FOREIGN)
    version = value.get("zarr_format")
    if type(version) is not int:
        fail("Z_METADATA", "zarr_format 3", shown(repr(version)), place=place, remedy=_FOREIGN)
    if version != 3:
        fail("Z_FORMAT", "zarr_format 3", str(version), place=place, remedy=_FOREIGN)
    if value.get("node_type") != node:
        fail("Z_METADATA", f"node_type {node}", shown(repr(value.get("node_type"))), place=place, remedy=_FOREIGN)


def _expect(value: dict[str, Any], name: str, wanted: Any, code: str, place: str) -> None:
    found = value.get(name)
    # repr tells 3 from 3.0 and 1 from true.
    if repr(found) != repr(wanted) and not (code == "Z_FILL" and repr(found) == repr(_integral(wanted))):
        fail(code, f"{name} {wanted}", shown(repr(found)), place=place, remedy=_DAMAGED)


def _integral(value: Any) -> Any:
    """Return a fill value as writers that drop the fraction spell it."""
    if type(value) is list:
        return [int(v) for v in value]
    return int(value) if type(value) is float else value


def _rows(grid: Any, spec: ArraySpec, place: str) -> int:
    shape = (
        grid.get("configuration", {}).get("chunk_shape")
        if type(grid) is dict and grid.get("name") == "regular"
        else None
    )
    wanted = [max(1, extent) for extent in spec.shape]
    good = type(shape) is list and len(shape) == len(wanted) and all(type(n) is int and n > 0 for n in shape)
    if not good or (shape and (shape[1:] != wanted[1:] or shape[0] > wanted[0])):
        fail("Z_METADATA", "regular chunks along the first axis", shown(str(grid)), place=place, remedy=_FOREIGN)
    return int(shape[0]) if shape else 1


def _codecs(codecs: Any, itemsize: int, place: str) -> tuple[str | None, bool]:
    if type(codecs) is not list or any(type(c) is not dict or type(c.get("name")) is not str for c in codecs):
        fail("Z_METADATA", "a list of codecs", shown(str(codecs)), place=place, remedy=_FOREIGN)
    names = [codec["name"] for codec in codecs]
    unknown = [name for name in names if name not in ("bytes", "gzip", "zstd", "crc32c")]
    if unknown:
        lossy = unknown[0].rpartition(".")[2] in _LOSSY
        fail(
            "Z_LOSSY_CODEC" if lossy else "Z_CODEC",
            "the codecs bytes, gzip or zstd, crc32c",
            shown(unknown[0]),
            place=place,
            remedy=_FOREIGN,
        )
    if names[:1] != ["bytes"] or names[1:] not in (
        [],
        ["gzip"],
        ["zstd"],
        ["crc32c"],
        ["gzip", "crc32c"],
        ["zstd", "crc32c"],
    ):
        fail("Z_METADATA", "bytes, then gzip or zstd, then crc32c", shown(str(names)), place=place, remedy=_FOREIGN)
    endian = (codecs[0].get("configuration") or {}).get("endian")
    if endian != "little" and (itemsize > 1 or endian is not None):
        fail("Z_METADATA", "little-endian bytes", shown(repr(endian)), place=place, remedy=_FOREIGN)
    return next((name for name in names if name in ("gzip", "zstd")), None), names[-1] == "crc32c"
