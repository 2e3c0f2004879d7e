"""Recipes: vectors whose bytes are too large to be kept. Source: spec/conformance.md section 2."""

import gzip
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from statetree_conformance.making.base import BASE
from statetree_conformance.making.bson import PIECE, bson_file, document, element
from statetree_conformance.making.chunks import DEFLATE, chunked
from statetree_conformance.making.hdf5 import dataset, datatype, hdf5_file, plist, space
from statetree_conformance.making.texts import BLOCK, Document, canonical, text
from statetree_conformance.making.texts import document as tree
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import GENERATION, Files, array_json, but, folder, json_text, raw, without

__all__ = ["RECIPES", "SLOW", "blocks", "large", "zeros"]


def hdf5_zeros(path: Path, bytes: int) -> None:
    """Write zeros as one deflated chunk."""
    array = Array("uint8", (bytes,), b"\0" * bytes)
    packed = zlib.compress(array.raw, 9)
    make = chunked((bytes,), (DEFLATE,), stored={(0,): packed})
    path.write_bytes(hdf5_file(tree([array]), make={0: make}, compression="gzip"))


def put(path: Path, files: Files) -> None:
    """Write a folder."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw(content))


def zarr_text(path: Path, repeat: str, times: int, before: str = "", after: str = "") -> None:
    """Write a folder whose manifest is a text repeated, with another before it and a third, as often, behind it."""
    put(path, folder(Document((before + repeat * times + after * times).encode())))


def zarr_padded(path: Path, name: str, bytes: int) -> None:
    """Write a folder one of whose metadata texts has so many bytes, most of them spaces."""
    sound = folder(BASE)
    found = raw(sound[name[1:] if name.startswith("/") else f"{GENERATION}/{name}"])
    put(path, but(sound, {name: found[:-1] + b" " * (bytes - len(found)) + found[-1:]}))


def bson_nested(path: Path, times: int) -> None:
    """Write a file one of whose text documents has documents nested so deep."""
    inner = b"".join(struct.pack("<i3s", 5 + 8 * left, b"\3a\0") for left in range(times, 0, -1))
    deep = element(0x03, "x", inner + document() + b"\0" * times)
    path.write_bytes(bson_file(BASE, text=lambda name, found: [*found, deep] if name == "manifest" else found))


def features(count: int) -> bytes:
    """Return a manifest of so many features that nobody knows."""
    return text(features=canonical([f"f{number:08}" for number in range(count)]).decode())


def zarr_features(path: Path, count: int) -> None:
    """Write a folder whose manifest names so many features that nobody knows."""
    put(path, folder(Document(features(count))))


def _long(total: int) -> list[str]:
    """Return strings whose manifest has `total` bytes."""
    left = total - len(tree([]).text)
    full, rest = divmod(left, 1 << 20)
    out = ["a" * ((1 << 20) - 3)] * full
    if rest < 4:
        out[-1:] = []
        rest += 1 << 20
    return [*out, "a" * (rest - 2)]


LARGE: dict[str, Callable[[int], Any]] = {
    "nodes": lambda count: [None] * (count - 1),
    "string": lambda size: "a" * size,
    "bytes": bytes,
    "key": lambda size: {"k" * size: 1},
    "integer": lambda digits: 16 ** (digits - 1),
    "arrays": lambda count: [Array("uint8", (0,), b"") for _ in range(count)],
    "manifest": _long,
}
"""Trees of one size, by what is large in them."""


def large(what: str, size: int) -> Document:
    """Return the document of a tree that is large in one way; of `info`, of one whose info text has `size` bytes."""
    if what == "info":
        bare = tree(None, user={"x": ""})
        return tree(None, user={"x": "a" * (size - len(bare.info))})
    return tree(LARGE[what](size))


def bson_large(path: Path, what: str, size: int) -> None:
    """Write a file that is large in one way."""
    path.write_bytes(bson_file(large(what, size)))


def bson_blocks(path: Path, bytes: int, spoilt: int = -1) -> None:
    """Write a file with an array of zeros that has blocks; one of its block digests is wrong."""
    doc = blocks(bytes)

    def other(found: Any) -> Any:
        return found[:spoilt] + b"x" + found[spoilt + 1 :] if spoilt >= 0 else found

    path.write_bytes(bson_file(doc, blocks=other))


def zarr_blocks(path: Path, bytes: int, gone: list[str]) -> None:
    """Write a folder with an array of zeros that has blocks; some files are left out."""
    files = folder(blocks(bytes))
    put(path, without(files, *gone) if gone else files)


def hdf5_blocks(path: Path, bytes: int, cut: int = 0) -> None:
    """Write a file with an array of zeros that has blocks; its block digests lack their last bytes."""
    path.write_bytes(hdf5_file(blocks(bytes), blocks=lambda found: found[: len(found) - cut]))


def blocks(bytes: int) -> Document:
    """Return the document of an array of bytes that count up."""
    return tree([Array("uint8", (bytes,), (b"".join(n.to_bytes(4, "little") for n in range(bytes // 4 + 1)))[:bytes])])


@cache
def zeros(size: int) -> Document:
    """Return the document of an array of zeros; memory that is only read as zeros takes no room."""
    return tree([Array("uint8", (size,), bytes(size))])


@cache
def _gzip(size: int) -> bytes:
    return gzip.compress(bytes(size), mtime=0)


def hdf5_large_zeros(path: Path, size: int) -> None:
    """Write zeros in deflated chunks of a block each."""
    packed = zlib.compress(bytes(BLOCK), 9)

    def make(group: Any, name: bytes, array: Array) -> None:
        from h5py import h5d, h5z

        created = plist()
        created.set_layout(h5d.CHUNKED)
        created.set_chunk((BLOCK,))
        created.set_alloc_time(h5d.ALLOC_TIME_INCR)
        created.set_filter(DEFLATE, h5z.FLAG_OPTIONAL, (9,))
        made = dataset(group, name, datatype("uint8"), space(array.shape), created)
        for first in range(0, size, BLOCK):
            made.write_direct_chunk((first,), packed, 0)

    path.write_bytes(hdf5_file(zeros(size), make={0: make}, compression="gzip"))


def zarr_large_zeros(path: Path, size: int) -> None:
    """Write zeros in compressed chunks of 8 MiB each."""
    doc = zeros(size)
    about = array_json("uint8", [size])
    about["chunk_grid"]["configuration"]["chunk_shape"] = [PIECE]
    about["codecs"] += [{"name": "gzip", "configuration": {"level": 5}}]
    name, blocks = doc.names[0], array_json("uint8", [len(doc.blocks)], separator="/")
    chunks = {f"arrays/{name}/c.{n}": _gzip(PIECE) for n in range(-(-size // PIECE))}
    texts = {
        "blocks/zarr.json": json_text(blocks),
        "blocks/c/0": doc.blocks,
        f"arrays/{name}/zarr.json": json_text(about),
    }
    put(path, but(folder(doc.but(arrays=(), names=())), {**texts, **chunks}))


def bson_large_zeros(path: Path, size: int) -> None:
    """Write zeros in compressed pieces."""
    path.write_bytes(bson_file(zeros(size), compression="gzip", pack=lambda data: _gzip(len(data))))


RECIPES: dict[str, Callable[..., None]] = {
    "hdf5-zeros": hdf5_zeros,
    "hdf5-blocks": hdf5_blocks,
    "hdf5-large-zeros": hdf5_large_zeros,
    "zarr-text": zarr_text,
    "zarr-padded": zarr_padded,
    "zarr-features": zarr_features,
    "zarr-blocks": zarr_blocks,
    "zarr-large-zeros": zarr_large_zeros,
    "bson-large-zeros": bson_large_zeros,
    "bson-nested": bson_nested,
    "bson-large": bson_large,
    "bson-blocks": bson_blocks,
}
"""Name → what writes the file or folder at a path, of the arguments of a record."""
SLOW = frozenset({"hdf5-large-zeros", "zarr-large-zeros", "bson-large-zeros"})
"""Those that take seconds and gigabytes to read."""
