"""Invalid vectors: files of other formats, some of which run code in the programs that open them. Source: [S-4]."""

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from statetree_conformance.making.base import floats
from statetree_conformance.making.bson import document, element, int32, string
from statetree_conformance.making.hdf5 import attribute, contiguous, fixed_text, plain_file
from statetree_conformance.making.record import Content, Made, invalid
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import array_json, content, group_json, json_text
from statetree_conformance.making.zipped import Entry, zip_file

__all__ = ["made"]

CALL = b"cposix\nsystem\n(S'true'\ntR."
"""A pickle that runs a program when it is opened."""
WEIGHTS = floats(1, 2)


def _group(parent: Any, *names: bytes) -> Any:
    from h5py import h5g

    for name in names:
        parent = h5g.create(parent, name)
    return parent


def _keras(file: Any) -> None:
    contiguous(_group(file, b"layers", b"dense", b"vars"), b"0", WEIGHTS)


def _anndata(file: Any) -> None:
    attribute(file, b"encoding-type", *fixed_text(b"anndata", 8))
    attribute(file, b"encoding-version", *fixed_text(b"0.1.0", 6))
    contiguous(file, b"X", WEIGHTS)


def _header_of_another(file: Any) -> None:
    contiguous(file, b"header", Array("uint8", (512,), bytes(512)))


def _npy(descr: str) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': (1,), }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text.encode()


def _safetensors() -> bytes:
    head = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    return struct.pack("<Q", len(head)) + head + WEIGHTS.raw


def _julia_struct() -> bytes:
    """What BSON.jl writes of a value of a type: the name of a function that it calls when it loads it."""
    names = element(0x04, "name", document(string("0", "Main"), string("1", "Base"), string("2", "run")))
    kind = document(string("tag", "datatype"), element(0x04, "params", document()), names)
    data = element(0x04, "data", document(string("0", "true")))
    return document(element(0x03, "model", document(string("tag", "struct"), element(0x03, "type", kind), data)))


def _foreign(name: str, container: str, found: Content, what: str, rows: str) -> Made:
    return invalid(f"foreign-{name}", container, found, what, "NOT_STATETREE", rows=rows, rules="R-1 S-4 S-1")


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _pickles()
    for name, found, what, rows in (
        ("keras-weights", plain_file(_keras), "weights that Keras wrote", "H33"),
        ("anndata", plain_file(_anndata), "an AnnData file", "H34"),
        ("plain", plain_file(lambda file: None), "an HDF5 file with nothing in it", "H33"),
        ("header", plain_file(_header_of_another), "an HDF5 file with a dataset /header of something else", "H33"),
        ("empty", b"", "a file of no bytes", ""),
        ("text", b"hello\n", "a text", ""),
        ("signature", b"\x89HDF\r\n\x1a\n", "the signature of HDF5 and nothing else", "H26"),
        (
            "npy-objects",
            _npy("|O") + b"\x80\x02" + CALL,
            "an array of Python objects that NumPy wrote, which is a pickle",
            "P06",
        ),
        ("safetensors", _safetensors(), "a safetensors file", ""),
    ):
        yield _foreign(name, "hdf5", found, what, rows)
    begun = b"HDF5-based Julia Data Format, version 0.2.0\0".ljust(512, b"\0")
    yield _foreign("jld2", "hdf5", begun + plain_file(_keras), "a JLD2 file", "H32 P09")
    for name, found, what, rows in (
        ("plain", document(int32("a", 1)), "a BSON document of something else", "B17"),
        ("julia-struct", _julia_struct(), "a struct that BSON.jl wrote, which names a function", "B17 P09"),
        (
            "statetree-later",
            document(int32("x", 1), string("statetree", "1.0")),
            "a document whose second element is named `statetree`",
            "B13",
        ),
        ("statetree-number", document(int32("statetree", 1)), "a number named `statetree`", "B13"),
    ):
        yield _foreign(name, "bson", found, what, rows)
    yield from _folders()
    yield from _zips()


def _pickles() -> Iterator[Made]:
    for protocol in range(6):
        head = b"\x80" + bytes([protocol]) if protocol > 1 else b""
        pickle = head + CALL
        for container in ("hdf5", "bson") if protocol in (0, 4) else ("bson",):
            what = f"a pickle of protocol {protocol} that runs a program"
            yield _foreign(f"pickle-{protocol}", container, pickle, what, "P04")


def _folders() -> Iterator[Made]:
    plain = {"zarr.json": group_json(), "a/zarr.json": array_json("uint8", [1])}
    folders: dict[str, tuple[dict[str, Any], str, str]] = {
        "plain": (plain, "a Zarr hierarchy of something else", "Z16"),
        "version-2": ({".zgroup": {"zarr_format": 2}, ".zattrs": {}}, "a Zarr hierarchy of version 2", "Z16"),
        "text": ({"zarr.json": {"statetre": 1}}, "a `zarr.json` that does not name this format", "Z16"),
    }
    for name, (texts, what, rows) in folders.items():
        files = {path: content(json_text(value)) for path, value in texts.items()}
        yield _foreign(name, "zarr", files, what, rows)
    yield _foreign("empty", "zarr", {}, "a folder with nothing in it", "Z25")
    yield _foreign("pickle", "zarr", {"model.pkl": content(CALL)}, "a folder with a pickle in it", "P04")


def _zips() -> Iterator[Made]:
    def with_entries(*found: tuple[str, bytes]) -> bytes:
        return zip_file([Entry(name.encode(), data) for name, data in found])

    made: dict[str, tuple[Callable[[], bytes], str, str]] = {
        "torch": (
            lambda: with_entries(("archive/data.pkl", b"\x80\x02" + CALL), ("archive/version", b"3\n")),
            "a file of torch.save, which holds a pickle",
            "P04",
        ),
        "npz": (lambda: with_entries(("a.npy", _npy("|O") + CALL)), "an npz file with an array of objects", "P06"),
        "keras": (
            lambda: with_entries(
                ("metadata.json", b"{}"), ("config.json", b'{"class_name":"Lambda"}'), ("model.weights.h5", b"")
            ),
            "a model that Keras wrote, with code in it",
            "P08",
        ),
        "empty": (lambda: zip_file([]), "a zip file without entries", ""),
        "plain": (
            lambda: with_entries(("zarr.json", json_text(group_json()))),
            "a Zarr hierarchy of something else",
            "Z16",
        ),
    }
    for name, (make, what, rows) in made.items():
        yield _foreign(name, "zarr.zip", make(), what, rows)
