"""Recipes: vectors whose bytes are too large to be kept. Source: spec/conformance.md section 2."""

import zlib
from collections.abc import Callable
from pathlib import Path

from statetree_conformance.making.chunks import DEFLATE, chunked
from statetree_conformance.making.hdf5 import hdf5_file
from statetree_conformance.making.texts import Document, document
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import Files, folder, raw

__all__ = ["RECIPES", "SLOW"]


def hdf5_zeros(path: Path, bytes: int) -> None:
    """Write zeros as one deflated chunk."""
    array = Array("uint8", (bytes,), b"\0" * bytes)
    packed = zlib.compress(array.raw, 9)
    make = chunked((bytes,), (DEFLATE,), stored={(0,): packed})
    path.write_bytes(hdf5_file(document([array]), make={0: make}, compression="gzip"))


def put(path: Path, files: Files) -> None:
    """Write a folder."""
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(raw(content))


def zarr_text(path: Path, repeat: str, times: int, before: str = "", after: str = "") -> None:
    """Write a folder whose manifest is a text repeated, with another before it and a third, as often, behind it."""
    put(path, folder(Document((before + repeat * times + after * times).encode())))


RECIPES: dict[str, Callable[..., None]] = {"hdf5-zeros": hdf5_zeros, "zarr-text": zarr_text}
"""Name → what writes the file or folder at a path, of the arguments of a record."""
SLOW: frozenset[str] = frozenset()
"""Those that take long."""
