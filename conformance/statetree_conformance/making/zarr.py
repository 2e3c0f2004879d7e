"""Zarr folders as texts and bytes: what is in each file. Source: spec section 7.4."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from statetree_conformance.making.texts import Document, digest, itemsize
from statetree_conformance.making.values import Array
from statetree_spec import registry

__all__ = [
    "BYTES",
    "GENERATION",
    "Files",
    "array_json",
    "but",
    "folder",
    "group_json",
    "json_text",
    "metadata",
    "packed",
    "root",
    "without",
]

GENERATION = "0123456789abcdef"
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
CARRIERS: dict[str, str | None] = {row["name"]: row["carrier"] for row in registry("dtypes")["dtypes"]}
Files = dict[str, dict[str, Any]]
"""Path below the root → content, as the records of vectors have it."""


def content(data: bytes) -> dict[str, Any]:
    """Return the content of a file: as text where that is readable, else as hexadecimal digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}
    return {"text": text} if text.isprintable() and text.encode() == data else {"hex": data.hex()}


def raw(found: Mapping[str, Any]) -> bytes:
    """Return the bytes of a content."""
    return bytes.fromhex(found["hex"]) if "hex" in found else str(found["text"]).encode()


def json_text(value: Any) -> bytes:
    """Return a metadata text; its members stay in their order."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def group_json(**attributes: Any) -> dict[str, Any]:
    """[Z-1]: return the metadata of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": attributes}


def _fill(carrier: str) -> Any:
    if carrier == "bool":
        return False
    if carrier.startswith("complex"):
        return [0.0, 0.0]
    return 0.0 if carrier.startswith("float") else 0


def array_json(dtype: str, shape: Sequence[int], *, separator: str = ".") -> dict[str, Any]:
    """[Z-5]: return the metadata of an array in one chunk."""
    carrier = CARRIERS[dtype] or dtype
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": carrier,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [max(1, extent) for extent in shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": separator}},
        "fill_value": _fill(carrier),
        "codecs": [BYTES] if itemsize(carrier) > 1 else [{"name": "bytes"}],
        "attributes": {"statetree": {"dtype": dtype}} if carrier != dtype else {},
    }


def root(doc: Document, **members: Any) -> dict[str, Any]:
    """[Z-1]: return the attribute `statetree` of the root; a member given as `...` is left out."""
    found = {
        "version": doc.version,
        "algorithm": doc.algorithm,
        "generation": GENERATION,
        "manifest": digest(doc.algorithm, doc.text).hex(),
        "info": digest(doc.algorithm, doc.info).hex(),
        **members,
    }
    return {name: member for name, member in found.items() if member is not ...}


def _text(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield f"{name}/zarr.json", json_text(array_json("uint8", [len(data)], separator="/"))
    if data:
        yield f"{name}/c/0", data


def array(name: str, one: Array) -> Iterator[tuple[str, bytes]]:
    """[Z-5], [Z-6]: return the files of an array in one chunk as it is."""
    yield f"arrays/{name}/zarr.json", json_text(array_json(one.dtype, one.shape))
    if one.raw:
        yield f"arrays/{name}/{'.'.join(['c', *('0' for _ in one.shape)])}", one.raw


def generation(doc: Document) -> Iterator[tuple[str, bytes]]:
    """[Z-4]: return the files of a generation."""
    yield "zarr.json", json_text(group_json())
    for name, data in (("manifest", doc.text), ("info", doc.info), ("blocks", doc.blocks)):
        yield from _text(name, data)
    yield "arrays/zarr.json", json_text(group_json())
    for name, one in zip(doc.names, doc.arrays, strict=True):
        yield from array(name, one)


def folder(doc: Document) -> Files:
    """Return a whole folder."""
    files = {f"{GENERATION}/{name}": content(data) for name, data in generation(doc)}
    return {"zarr.json": content(json_text(group_json(statetree=root(doc)))), **files}


def packed(doc: Document, *, codec: dict[str, Any] | None = None, chunk: bytes | None = None) -> Files:
    """[Z-7]: return a folder whose arrays, but for empty ones, are all in one pack; `chunk` is what is stored of it."""
    pack, rows = b"", []
    for one in doc.arrays:
        pack += bytes(-len(pack) % 64) if one.raw else b""
        rows += [1, len(pack), len(one.raw)] if one.raw else [0, 0, 0]
        pack += one.raw
    about = array_json("uint8", [len(pack)], separator="/")
    about["codecs"] += [codec] if codec else []
    index = b"".join(number.to_bytes(8, "little") for number in rows)
    inside = tuple(f"{GENERATION}/arrays/{name}/" for name, one in zip(doc.names, doc.arrays, strict=True) if one.raw)
    bare = {name: found for name, found in folder(doc).items() if not name.startswith(inside)}
    more = {
        "packs/zarr.json": json_text(group_json()),
        "packs/0/zarr.json": json_text(about),
        "packs/0/c/0": pack if chunk is None else chunk,
        **dict(_text("packs/index", index)),
    }
    return {**bare, **{f"{GENERATION}/{name}": content(data) for name, data in more.items()}}


def but(files: Files, changes: Mapping[str, bytes | dict[str, Any]]) -> Files:
    """Return a folder with other or more files; names are those below the generation, or begin with `/`."""
    made = {
        name[1:] if name.startswith("/") else f"{GENERATION}/{name}": found
        if isinstance(found, dict)
        else content(found)
        for name, found in changes.items()
    }
    return {**files, **made}


def without(files: Files, *names: str) -> Files:
    """Return a folder without some files, or without all below a name."""
    gone = tuple(name[1:] if name.startswith("/") else f"{GENERATION}/{name}" for name in names)
    kept = {
        name: found
        for name, found in files.items()
        if name not in gone and not name.startswith(tuple(f"{g}/" for g in gone))
    }
    assert len(kept) < len(files)
    return kept


def metadata(files: Files, name: str, **members: Any) -> Files:
    """Return a folder one of whose metadata texts has other members; one given as `...` is left out."""
    path = name[1:] if name.startswith("/") else f"{GENERATION}/{name}"
    value = json.loads(raw(files[path])) | members
    return {**files, path: content(json_text({name: member for name, member in value.items() if member is not ...}))}
