"""Valid vectors: Zarr folders and zip files as writers and other tools make them. Source: spec section 7.4."""

import json
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from statetree_conformance.making.base import BASE, A, floats
from statetree_conformance.making.frames import DEFLATED, crc32c, gzip_frame, zstd_frame
from statetree_conformance.making.record import Made, valid
from statetree_conformance.making.texts import Document, document
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import (
    BYTES,
    GENERATION,
    Files,
    array_json,
    but,
    folder,
    group_json,
    json_text,
    metadata,
    packed,
    raw,
    root,
    without,
)
from statetree_conformance.making.zipped import Entry, entries, zip_file

__all__ = ["ARRAY", "GRID", "chunks", "consolidated", "made"]

GRID = document({"a": floats(*range(6), shape=(2, 3))})
"""One array of two rows."""
ARRAY = "arrays/0-a/zarr.json"
RAW = GRID.arrays[0].raw
GZIP, ZSTD, CRC = (
    {"name": "gzip", "configuration": {"level": 5}},
    {"name": "zstd", "configuration": {"level": 3, "checksum": False}},
    {"name": "crc32c"},
)


def chunks(doc: Document, *stored: bytes, codecs: tuple[Any, ...] = (), rows: int | None = None) -> Files:
    """Return a folder whose only array has these chunks, of so many rows each, after these codecs."""
    (one,) = doc.arrays
    about = array_json(one.dtype, one.shape)
    about["codecs"] += codecs
    if rows is not None:
        about["chunk_grid"]["configuration"]["chunk_shape"][0] = rows
    tail = ".0" * (len(one.shape) - 1)
    made = {f"arrays/{doc.names[0]}/c.{number}{tail}": data for number, data in enumerate(stored)}
    return but(folder(doc), {f"arrays/{doc.names[0]}/zarr.json": json_text(about), **made})


def _zarr(name: str, files: Files, title: str, rules: str, doc: Document = BASE, rows: str = "") -> Made:
    return valid(name, "zarr", files, doc, title=title, rules=rules, rows=rows)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _chunks()
    yield from _metadata()
    yield from _beside()
    yield from _packs()
    yield from _zips()


FRAMES: dict[str, tuple[str, tuple[Any, ...], bytes]] = {
    "gzip": ("gzip", (GZIP,), gzip_frame(RAW)),
    "zstd": ("zstd", (ZSTD,), zstd_frame(RAW)),
    "crc32c": ("a checksum alone", (CRC,), RAW + crc32c(RAW)),
    "gzip-crc32c": ("gzip, then a checksum", (GZIP, CRC), gzip_frame(RAW) + crc32c(gzip_frame(RAW))),
    "zstd-crc32c": ("zstd, then a checksum", (ZSTD, CRC), zstd_frame(RAW) + crc32c(zstd_frame(RAW))),
    "gzip-fields": ("a gzip member with a name and a comment", (GZIP,), gzip_frame(RAW, flags=0x18, fields=b"a\0b\0")),
    "zstd-unsized": ("a zstd frame that does not say its size", (ZSTD,), zstd_frame(RAW, sized=False)),
    "zstd-checked": ("a zstd frame with a checksum", (ZSTD,), zstd_frame(RAW, checked=True)),
}


def _chunks() -> Iterator[Made]:
    rows = "Z19"
    for name, (title, codecs, frame) in FRAMES.items():
        yield _zarr(name, chunks(GRID, frame, codecs=codecs), title, "Z-5 C-6", GRID, rows)
    codes = document({"a": Array("uint8", (64,), DEFLATED[0])})
    yield _zarr("gzip-codes", chunks(codes, gzip_frame(DEFLATED[0]), codecs=(GZIP,)), "gzip with codes", "C-6", codes)
    zeros = document({"a": Array("uint8", (200,), bytes(200))})
    frame = zstd_frame(bytes(200), repeated=True)
    yield _zarr("zstd-repeated", chunks(zeros, frame, codecs=(ZSTD,)), "a zstd block of one byte", "C-6", zeros)
    yield _zarr("chunks", chunks(GRID, RAW[:12], RAW[12:], rows=1), "chunks of one row each", "Z-5 Z-6", GRID)
    three = document({"a": floats(1, 2, 3)})
    (one,) = three.arrays
    beyond = chunks(three, one.raw[:8], one.raw[8:] + b"\x55" * 4, rows=2)
    yield _zarr("chunks-beyond", beyond, "bytes beyond the array that are not zero", "Z-6", three)


def _keys(doc: Document, encoding: dict[str, Any], old: str, new: str) -> Files:
    """Return a folder whose array has its chunk under another key."""
    files = metadata(folder(doc), ARRAY, chunk_key_encoding=encoding)
    moved = files[f"{GENERATION}/arrays/0-a/{old}"]
    return but(without(files, f"arrays/0-a/{old}"), {f"arrays/0-a/{new}": moved})


def _metadata() -> Iterator[Made]:
    slash = {"name": "default", "configuration": {"separator": "/"}}
    yield _zarr("separator-slash", _keys(GRID, slash, "c.0.0", "c/0/0"), "chunk keys with slashes", "Z-5", GRID)
    encodings: dict[str, dict[str, Any]] = {
        "left-out": {"name": "default"},
        "empty": {"name": "default", "configuration": {}},
    }
    for name, encoding in encodings.items():
        files = _keys(GRID, encoding, "c.0.0", "c/0/0")
        yield _zarr(f"separator-{name}", files, "a separator that is left out is a slash", "Z-5", GRID)
    point = document({"a": floats(1, shape=())})
    yield _zarr("separator-0d", _keys(point, slash, "c", "c"), "the chunk of an array without dimensions", "Z-5", point)
    numbers = document({"a": Array("complex64", (1,), bytes(8))})
    yield _zarr(
        "fill-complex",
        metadata(folder(numbers), ARRAY, fill_value=[0, 0.0]),
        "zeros as others write them",
        "Z-5",
        numbers,
    )
    yield _zarr("fill-float", metadata(folder(GRID), ARRAY, fill_value=0), "a zero without a fraction", "Z-5", GRID)
    others = {
        "attributes": {"units": "m", "deep": [[{"": None}]], "odd": "\ud800"},
        "dimension_names": ["x", None],
        "storage_transformers": [],
        "other": {"must_understand": False},
    }
    text = json.dumps(
        json.loads(raw(folder(GRID)[f"{GENERATION}/{ARRAY}"])) | others, indent=1, sort_keys=True
    ).encode()
    yield _zarr(
        "metadata-others", but(folder(GRID), {ARRAY: text}), "what other tools add to metadata", "Z-5 Z-9", GRID
    )
    said = metadata(folder(BASE), "arrays/1-b/zarr.json", codecs=[BYTES], attributes=...)
    yield _zarr("metadata-said", said, "a byte order of elements of one byte, and no attributes", "Z-5")
    more = group_json(statetree=root(BASE), title="mine")
    yield _zarr(
        "root-attributes", but(folder(BASE), {"/zarr.json": json_text(more)}), "other attributes of the root", "Z-1"
    )


def consolidated(files: Files) -> dict[str, Any]:
    """Return the metadata of a root with that of all nodes below it in it."""
    nodes = {
        name.removesuffix("/zarr.json"): json.loads(raw(found))
        for name, found in files.items()
        if name.endswith("/zarr.json")
    }
    top: dict[str, Any] = json.loads(raw(files["zarr.json"]))
    return top | {"consolidated_metadata": {"kind": "inline", "must_understand": False, "metadata": nodes}}


def _beside() -> Iterator[Made]:
    files = folder(BASE)
    inlined = but(files, {"/zarr.json": json_text(consolidated(files))})
    yield _zarr("consolidated", inlined, "consolidated metadata that says what the nodes say", "Z-10 Z-11")
    half = {"/fedcba9876543210/zarr.json": json_text(group_json()), "/fedcba9876543210/manifest/c/0": b"{"}
    yield _zarr("other-generation", but(files, half), "a generation that was never committed", "Z-2 C-4", rows="Z25")
    empty = but(files, {"/fedcba9876543210": {"folder": True}})
    yield _zarr("other-generation-empty", empty, "a generation that holds nothing yet", "Z-2 Z-3", rows="Z25")
    left = but(files, {"/.zarr.json.1234.statetree-tmp": b"{"})
    yield _zarr("temporary-file", left, "a temporary file of a writer that was killed", "Z-3 Z-11", rows="Z25")


def _packs() -> Iterator[Made]:
    doc = document([A, Array("uint8", (0,), b""), Array("bool", (3,), b"\1\0\1"), Array("int4", (), b"\x0f")])
    yield _zarr("packs", packed(doc), "arrays in a pack", "Z-7 Z-4", doc)
    pack = raw(packed(doc)[f"{GENERATION}/packs/0/c/0"])
    for name, codec, frame in (("gzip", GZIP, gzip_frame(pack)), ("zstd", ZSTD, zstd_frame(pack))):
        yield _zarr(f"packs-{name}", packed(doc, codec=codec, chunk=frame), "arrays in a compressed pack", "Z-7", doc)
    whole = folder(doc)
    index = f"{GENERATION}/packs/index/c/0"
    mixed = packed(doc)
    alone = {name: found for name, found in whole.items() if "/arrays/3-" in name}
    rows = bytearray(raw(mixed[index]))
    rows[72:96] = bytes(24)
    pack = raw(mixed[f"{GENERATION}/packs/0/c/0"])
    shorter = metadata(mixed, "packs/0/zarr.json", shape=[67], chunk_grid=_grid(67))
    mixed = but({**shorter, **alone}, {"packs/index/c/0": bytes(rows), "packs/0/c/0": pack[:67]})
    yield _zarr("packs-mixed", mixed, "arrays in a pack and one that is not", "Z-7", doc)


def _grid(*shape: int) -> dict[str, Any]:
    return {"name": "regular", "configuration": {"chunk_shape": list(shape)}}


def _wide(entry: Entry) -> Entry:
    """Return an entry whose sizes stand in a ZIP64 field."""
    size = len(entry.data)
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    wide = {"packed": 0xFFFFFFFF, "size": 0xFFFFFFFF}
    return entry.but(local={**wide, "extra": extra}, central=wide, extra=extra, aligned=False)


def _streamed(entry: Entry) -> Entry:
    """Return an entry whose sizes follow its bytes."""
    crc, size = zlib.crc32(entry.data), len(entry.data)
    tail = struct.pack("<4s3I", b"PK\7\x08", crc, size, size)
    return entry.but(local={"flags": 8, "crc": 0, "packed": 0, "size": 0}, central={"flags": 8}, tail=tail)


def _folders(found: list[Entry]) -> list[Entry]:
    parents = {name.rpartition(b"/")[0] + b"/" for name in (entry.name for entry in found) if b"/" in name}
    whole = sorted({b"/".join(p.split(b"/")[:n]) + b"/" for p in parents for n in range(1, p.count(b"/") + 1)})
    return [*(Entry(name, b"", stat.S_IFDIR | 0o755) for name in whole), *found]


def _zip(name: str, content: bytes, title: str, rules: str = "Z-8", rows: str = "") -> Made:
    return valid(name, "zarr.zip", content, BASE, title=title, rules=rules, rows=rows)


def _zips() -> Iterator[Made]:
    found = entries(BASE)
    yield _zip("folders", zip_file(_folders(found)), "entries of folders, as tools make them")
    yield _zip("zip64", zip_file([_wide(entry) for entry in found], wide=True), "ZIP64 throughout", rows="Z23")
    yield _zip("streamed", zip_file([_streamed(entry) for entry in found]), "sizes behind the bytes")
    yield _zip("unaligned", zip_file([entry.but(aligned=False) for entry in found]), "bytes at any place")
    yield _zip("root-first", zip_file([found[-1], *found[:-1]]), "the root's metadata first")
    yield _zip("no-modes", zip_file([entry.but(mode=0) for entry in found]), "no Unix modes")
    inlined = consolidated(folder(BASE))
    content = zip_file(entries(but(folder(BASE), {"/zarr.json": json_text(inlined)})))
    yield _zip("consolidated", content, "consolidated metadata", "Z-10")
    framed = zip_file(entries(chunks(GRID, gzip_frame(RAW), codecs=(GZIP,))))
    yield valid("gzip", "zarr.zip", framed, GRID, title="a compressed chunk in a stored entry", rules="Z-5 Z-8")
