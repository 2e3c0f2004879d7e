"""What a reader of Zarr folders refuses: metadata, chunks, links and special files, each with class and code."""

import gzip
import json
import os
import re
import shutil
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pytest
import zstandard

import statetree
from statetree import StateTreeError
from statetree.digest import digest

TREE = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([1, 2, 3], np.uint8), "z": np.zeros((0, 2))}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    statetree.save(tmp_path / "x.zarr", TREE, durable=False)
    return tmp_path / "x.zarr"


def generation(store: Path) -> Path:
    return store / json.loads((store / "zarr.json").read_bytes())["attributes"]["statetree"]["generation"]


def refusal(store: Path) -> StateTreeError:
    with pytest.raises(StateTreeError) as caught:
        statetree.load(store)
    return caught.value


def change(path: Path, **members: Any) -> None:
    """Set members of a metadata text; `...` removes one."""
    value = json.loads(path.read_bytes()) | members
    path.write_text(json.dumps({name: member for name, member in value.items() if member is not ...}))


BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


def codecs(*more: Any) -> dict[str, Any]:
    return {"codecs": [BYTES, *more]}


def grid(*shape: Any) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(shape)}}}


SHARDS = {"chunk_shape": [1, 3], "codecs": [BYTES], "index_codecs": [BYTES], "index_location": "end"}
METADATA: dict[str, tuple[dict[str, Any], str, str]] = {
    "format 2": ({"zarr_format": 2}, "unsupported", "Z_FORMAT"),
    "format 4": ({"zarr_format": 4}, "unsupported", "Z_FORMAT"),
    "format 3.0": ({"zarr_format": 3.0}, "malformed", "JSON_NUMBER_FORM"),
    "format true": ({"zarr_format": True}, "invalid", "Z_METADATA"),
    "no format": ({"zarr_format": ...}, "invalid", "Z_METADATA"),
    "a group": ({"node_type": "group"}, "invalid", "Z_METADATA"),
    "an unknown member": ({"extra": 1}, "invalid", "Z_METADATA"),
    "a member that must be understood": ({"extra": {"must_understand": True}}, "invalid", "Z_METADATA"),
    "another shape": ({"shape": [3, 2]}, "invalid", "BACKEND_MISMATCH"),
    "another rank": ({"shape": [6]}, "invalid", "BACKEND_MISMATCH"),
    "a shape of floats": ({"shape": [2.0, 3]}, "invalid", "BACKEND_MISMATCH"),
    "a shape of bools": ({"shape": [True, 3]}, "invalid", "BACKEND_MISMATCH"),
    "no shape": ({"shape": ...}, "invalid", "BACKEND_MISMATCH"),
    "an absurd shape": ({"shape": [1 << 50, 3]}, "invalid", "BACKEND_MISMATCH"),
    "an integer of 5,000 digits": ({"shape": [10**4000, 3]}, "malformed", "JSON_NUMBER_RANGE"),
    "another data type": ({"data_type": "int32"}, "invalid", "BACKEND_MISMATCH"),
    "an unknown data type": ({"data_type": "float31"}, "invalid", "BACKEND_MISMATCH"),
    "a data type as an object": ({"data_type": {"name": "float32"}}, "invalid", "BACKEND_MISMATCH"),
    "a carrier's attribute": ({"attributes": {"statetree": {"dtype": "bfloat16"}}}, "invalid", "BACKEND_MISMATCH"),
    "attributes as a list": ({"attributes": []}, "invalid", "Z_METADATA"),
    "attributes of null": ({"attributes": None}, "invalid", "Z_METADATA"),
    "fill 1": ({"fill_value": 1}, "invalid", "Z_FILL"),
    "fill -0.0": ({"fill_value": -0.0}, "invalid", "Z_FILL"),
    "fill NaN as text": ({"fill_value": "NaN"}, "invalid", "Z_FILL"),
    "fill as hexadecimal text": ({"fill_value": "0x00000000"}, "invalid", "Z_FILL"),
    "fill false": ({"fill_value": False}, "invalid", "Z_FILL"),
    "no fill": ({"fill_value": ...}, "invalid", "Z_FILL"),
    "fill NaN": ({"fill_value": float("nan")}, "malformed", "JSON_NONFINITE"),
    "sharding": ({"codecs": [{"name": "sharding_indexed", "configuration": SHARDS}]}, "invalid", "Z_METADATA"),
    "transpose": (
        {"codecs": [{"name": "transpose", "configuration": {"order": [1, 0]}}, BYTES]},
        "invalid",
        "Z_METADATA",
    ),
    "big-endian": ({"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]}, "invalid", "Z_METADATA"),
    "no byte order": ({"codecs": [{"name": "bytes"}]}, "invalid", "Z_METADATA"),
    "a list as configuration": ({"codecs": [{"name": "bytes", "configuration": [1]}]}, "invalid", "Z_METADATA"),
    "blosc": (codecs({"name": "blosc", "configuration": {}}), "unsupported", "Z_CODEC"),
    "bitround": (codecs({"name": "numcodecs.bitround"}), "invalid", "Z_LOSSY_CODEC"),
    "quantize": (codecs({"name": "numcodecs.quantize"}), "invalid", "Z_LOSSY_CODEC"),
    "cast": (codecs({"name": "cast_value"}), "invalid", "Z_LOSSY_CODEC"),
    "gzip of zstd": (codecs({"name": "zstd"}, {"name": "gzip"}), "invalid", "Z_METADATA"),
    "gzip twice": (codecs({"name": "gzip"}, {"name": "gzip"}), "invalid", "Z_METADATA"),
    "gzip of crc32c": (codecs({"name": "crc32c"}, {"name": "gzip"}), "invalid", "Z_METADATA"),
    "no codecs": ({"codecs": []}, "invalid", "Z_METADATA"),
    "codecs as a text": ({"codecs": "bytes"}, "invalid", "Z_METADATA"),
    "a codec as a text": ({"codecs": ["bytes"]}, "invalid", "Z_METADATA"),
    "a storage transformer": ({"storage_transformers": [{"name": "x"}]}, "unsupported", "Z_CODEC"),
    "chunks along the last axis": (grid(2, 1), "invalid", "Z_METADATA"),
    "chunks of 0": (grid(0, 3), "invalid", "Z_METADATA"),
    "chunks of true": (grid(True, 3), "invalid", "Z_METADATA"),
    "chunks larger than the array": (grid(4, 3), "invalid", "Z_METADATA"),
    "chunks of another rank": (grid(6), "invalid", "Z_METADATA"),
    "a rectilinear grid": ({"chunk_grid": {"name": "rectilinear"}}, "invalid", "Z_METADATA"),
    "a grid as a list": ({"chunk_grid": []}, "invalid", "Z_METADATA"),
    "a grid configured by a number": ({"chunk_grid": {"name": "regular", "configuration": 5}}, "invalid", "Z_METADATA"),
    "keys of version 2": ({"chunk_key_encoding": {"name": "v2"}}, "invalid", "Z_METADATA"),
    "keys with another separator": (
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "../"}}},
        "invalid",
        "Z_METADATA",
    ),
}


@pytest.mark.parametrize("fault", METADATA)
def test_metadata_of_an_array_that_is_not_allowed_is_refused(fault: str, store: Path) -> None:
    members, error_class, code = METADATA[fault]
    change(generation(store) / "arrays/0-w/zarr.json", **members)

    error = refusal(store)

    assert (error.error_class, error.code) == (error_class, code)


@pytest.mark.parametrize(
    "members",
    [
        {"attributes": {"units": "m", "_ARRAY_DIMENSIONS": ["a", "b"]}},
        {"attributes": ...},
        {"dimension_names": ["a", None]},
        {"storage_transformers": []},
        {"fill_value": 0},
        {"dimension_names": 5},
        {"attributes": {"deep": json.loads("[" * 300 + "]" * 300), "odd": "\ud800", "long": 1e300}},
        {"extra": {"must_understand": False}},
        {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}},
    ],
)
def test_what_others_may_add_to_metadata_changes_nothing(members: dict[str, Any], store: Path) -> None:
    change(generation(store) / "arrays/0-w/zarr.json", **members)

    assert statetree.difference(statetree.load(store), TREE) is None


@pytest.mark.parametrize("encoding", [{}, {"configuration": {}}, {"configuration": {"separator": "/"}}])
def test_a_separator_that_is_left_out_is_a_slash(encoding: dict[str, Any], store: Path) -> None:
    place = generation(store) / "arrays/0-w"
    change(place / "zarr.json", chunk_key_encoding={"name": "default", **encoding})
    (place / "c/0").mkdir(parents=True)
    (place / "c.0.0").rename(place / "c/0/0")

    assert statetree.difference(statetree.load(store), TREE) is None


@pytest.mark.parametrize("separator", [".", "/"])
def test_an_array_of_no_dimension_has_the_chunk_c(separator: str, tmp_path: Path) -> None:
    statetree.save(tmp_path / "x.zarr", [np.ones(())], durable=False)
    place = generation(tmp_path / "x.zarr") / "arrays/0-0"
    change(place / "zarr.json", chunk_key_encoding={"name": "default", "configuration": {"separator": separator}})

    assert (place / "c").is_file()
    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), [np.ones(())]) is None


FILLS = {
    "int8": (["0"], ["0.0", "-0", "false", '"0"', "1"]),
    "float32": (["0", "0.0", "0e5"], ["-0", "-0.0", '"0x00000000"', "false", "null", "[0]"]),
    "bool": (["false"], ["0", "0.0", "null"]),
    "complex64": (["[0,0]", "[0.0,0]", "[0.0,0.0]"], ["[0]", "[0,0,0]", "0", "[0,-0.0]", "[-0,0]", '["0",0]']),
}


@pytest.mark.parametrize("dtype", FILLS)
def test_the_fill_value_is_a_positive_zero(dtype: str, tmp_path: Path) -> None:
    path, tree = tmp_path / "x.zarr", [np.ones(3, dtype)]
    statetree.save(path, tree, durable=False)
    metadata = generation(path) / "arrays/0-0/zarr.json"
    text = re.sub('"fill_value":([^"]*),', '"fill_value":@,', metadata.read_text())
    right, wrong = FILLS[dtype]

    for value in right:
        metadata.write_text(text.replace("@", value))
        assert statetree.difference(statetree.load(path), tree) is None
    for value in wrong:
        metadata.write_text(text.replace("@", value))
        assert refusal(path).code == "Z_FILL"


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "a name twice": (lambda text: text[:-1] + b',"shape":[2,3]}', "malformed", "JSON_DUPLICATE_KEY"),
    "a name twice, escaped": (lambda text: text[:-1] + b',"sh\\u0061pe":[2,3]}', "malformed", "JSON_DUPLICATE_KEY"),
    "a byte order mark": (lambda text: b"\xef\xbb\xbf" + text, "malformed", "JSON_ENCODING"),
    "UTF-16": (lambda text: text.decode().encode("utf-16"), "malformed", "JSON_ENCODING"),
    "a byte that is no UTF-8": (lambda text: text[:-1] + b',"\xff":1}', "malformed", "JSON_ENCODING"),
    "Infinity": (lambda text: text[:-1] + b',"x":-Infinity}', "malformed", "JSON_NONFINITE"),
    "half of it": (lambda text: text[: len(text) // 2], "malformed", "JSON_SYNTAX"),
    "nothing": (lambda _: b"", "malformed", "JSON_SYNTAX"),
    "two documents": (lambda text: text + text, "malformed", "JSON_SYNTAX"),
    "100,000 brackets": (lambda _: b"[" * 100_000, "limit", "LIMIT_DEPTH"),
    "a list": (lambda _: b"[]", "invalid", "Z_METADATA"),
    "2 MiB": (lambda text: text + b" " * (2 << 20), "invalid", "Z_METADATA"),
}


@pytest.mark.parametrize("fault", TEXTS)
def test_metadata_that_is_no_strict_json_is_refused(fault: str, store: Path) -> None:
    spoil, error_class, code = TEXTS[fault]
    path = generation(store) / "arrays/0-w/zarr.json"
    path.write_bytes(spoil(path.read_bytes()))

    error = refusal(store)

    assert (error.error_class, error.code) == (error_class, code)


ROOTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "major 2": ({"version": "2.0"}, "unsupported", "VERSION_MAJOR"),
    "major 2 of another form": ({"version": "2.0", "manifest": ..., "more": 1}, "unsupported", "VERSION_MAJOR"),
    "major 0": ({"version": "0.9"}, "unsupported", "VERSION_MAJOR"),
    "a long major": ({"version": "999999999.0"}, "unsupported", "VERSION_MAJOR"),
    "a number as version": ({"version": 1.0}, "malformed", "VERSION_FORM"),
    "no minor": ({"version": "1"}, "malformed", "VERSION_FORM"),
    "three parts": ({"version": "1.0.0"}, "malformed", "VERSION_FORM"),
    "a leading zero": ({"version": "01.0"}, "malformed", "VERSION_FORM"),
    "a line behind the version": ({"version": "1.0\n"}, "malformed", "VERSION_FORM"),
    "digits of another script": ({"version": "１.0"}, "malformed", "VERSION_FORM"),
    "no version": ({"version": ...}, "malformed", "VERSION_FORM"),
    "an unknown algorithm": ({"algorithm": "md5"}, "unsupported", "DIGEST_ALGORITHM"),
    "another algorithm": ({"algorithm": "sha-256"}, "invalid", "Z_METADATA"),
    "no algorithm": ({"algorithm": ...}, "invalid", "Z_METADATA"),
    "a member too many": ({"more": "1"}, "invalid", "Z_METADATA"),
    "a digest as a number": ({"manifest": 5}, "invalid", "Z_METADATA"),
    "a short digest": ({"manifest": "00"}, "invalid", "Z_METADATA"),
    "a digest in capitals": ({"manifest": "A" * 32}, "invalid", "Z_METADATA"),
    "a digest of other letters": ({"info": "z" * 32}, "invalid", "Z_METADATA"),
    "another digest of the manifest": ({"manifest": "0" * 32}, "integrity", "MANIFEST_DIGEST"),
    "another digest of the info text": ({"info": "0" * 32}, "integrity", "INFO_DIGEST"),
    "a generation outside": ({"generation": "../../etc/passwd"}, "invalid", "Z_METADATA"),
    "a generation in capitals": ({"generation": "A" * 16}, "invalid", "Z_METADATA"),
    "a generation that is not there": ({"generation": "0" * 16}, "integrity", "UNCOMMITTED"),
}


@pytest.mark.parametrize("fault", ROOTS)
def test_a_root_that_does_not_commit_a_generation_of_this_version_is_refused(fault: str, store: Path) -> None:
    members, error_class, code = ROOTS[fault]
    path = store / "zarr.json"
    value = json.loads(path.read_bytes())
    ours = value["attributes"]["statetree"] | members
    value["attributes"]["statetree"] = {name: text for name, text in ours.items() if text is not ...}
    path.write_text(json.dumps(value))

    error = refusal(store)

    assert (error.error_class, error.code) == (error_class, code)


@pytest.mark.parametrize(
    ("members", "error_class", "code"),
    [
        ({"zarr_format": 2}, "unsupported", "Z_FORMAT"),
        ({"node_type": "array"}, "invalid", "Z_METADATA"),
        ({"extra": 1}, "invalid", "Z_METADATA"),
        ({"attributes": {"statetree": "1.0"}}, "invalid", "Z_METADATA"),
    ],
)
def test_a_root_of_another_kind_is_refused(members: dict[str, Any], error_class: str, code: str, store: Path) -> None:
    change(store / "zarr.json", **members)

    error = refusal(store)

    assert (error.error_class, error.code) == (error_class, code)


def test_the_refusal_of_a_newer_store_says_what_to_do(store: Path) -> None:
    path = store / "zarr.json"
    path.write_bytes(path.read_bytes().replace(b'"version":"1.0"', b'"version":"2.7"'))

    assert str(refusal(store)) == (
        "expected format version 1, got version 2.7 (in zarr.json): "
        "read it with a newer statetree: pip install -U statetree"
    )


FILES: dict[str, tuple[str, str, str]] = {
    "manifest/c/0": ("integrity", "ARRAY_MISSING_CHUNK", "manifest"),
    "info/c/0": ("integrity", "ARRAY_MISSING_CHUNK", "info"),
    "arrays/0-w/zarr.json": ("integrity", "ARRAY_MISSING", "arrays/0-w"),
    "arrays/0-w/c.0.0": ("integrity", "ARRAY_MISSING_CHUNK", "arrays/0-w/c.0.0"),
    "arrays/0-w": ("integrity", "ARRAY_MISSING", "arrays/0-w"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_missing_part_is_damage_and_never_zeros(name: str, store: Path) -> None:
    error_class, code, place = FILES[name]
    path = generation(store) / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    error = refusal(store)

    assert (error.error_class, error.code, error.problems[0].place) == (error_class, code, place)


@pytest.mark.parametrize("size", [0, 23, 25, 48, 100_000])
def test_a_chunk_of_another_size_is_refused(size: int, store: Path) -> None:
    (generation(store) / "arrays/0-w/c.0.0").write_bytes(bytes(size))

    assert str(refusal(store)) == (
        f"expected a chunk of 24 bytes, got {size} (in arrays/0-w): the container is damaged: restore it from a copy"
    )


def packed_store(store: Path, codec: str, chunk: bytes, *more: dict[str, Any]) -> None:
    """Make array 0-w say that it has two chunks of one row, the first of which is `chunk`."""
    place = generation(store) / "arrays/0-w"
    change(place / "zarr.json", **grid(1, 3), **codecs({"name": codec, "configuration": {"level": 1}}, *more))
    data = TREE["w"].tobytes()
    pack = gzip.compress if codec == "gzip" else zstandard.ZstdCompressor().compress
    second = pack(data[12:])
    for number, stored in enumerate((chunk, second)):
        tail = struct.pack("<I", google_crc32c.value(stored)) if more else b""
        (place / f"c.{number}.0").write_bytes(stored + tail)


ROW = TREE["w"].tobytes()[:12]
ZSTD = zstandard.ZstdCompressor()
UNSIZED = zstandard.ZstdCompressor(write_content_size=False)


@pytest.mark.parametrize(
    ("codec", "chunk"),
    [
        ("gzip", gzip.compress(ROW)),
        ("gzip", gzip.compress(ROW, 0)),
        ("zstd", ZSTD.compress(ROW)),
        ("zstd", UNSIZED.compress(ROW)),
    ],
)
@pytest.mark.parametrize("more", [(), ({"name": "crc32c"},)])
def test_a_chunk_that_holds_its_bytes_is_read(codec: str, chunk: bytes, more: Any, store: Path) -> None:
    packed_store(store, codec, chunk, *more)

    assert statetree.difference(statetree.load(store), TREE) is None


@pytest.mark.parametrize(
    ("codec", "chunk"),
    [
        ("gzip", gzip.compress(ROW[:-1])),
        ("gzip", gzip.compress(ROW + b"\0")),
        ("gzip", gzip.compress(bytes(100 << 20))),
        ("gzip", gzip.compress(ROW)[:-4]),
        ("gzip", gzip.compress(ROW) + b"\0"),
        ("gzip", gzip.compress(ROW[:6]) + gzip.compress(ROW[6:])),
        ("gzip", b""),
        ("gzip", ROW),
        ("zstd", ZSTD.compress(ROW[:-1])),
        ("zstd", ZSTD.compress(ROW + b"\0")),
        ("zstd", ZSTD.compress(bytes(1 << 30))),
        ("zstd", UNSIZED.compress(bytes(100 << 20))),
        ("zstd", ZSTD.compress(ROW)[:-1]),
        ("zstd", ZSTD.compress(ROW) + b"\0"),
        ("zstd", ZSTD.compress(ROW) + ZSTD.compress(ROW)),
        ("zstd", b""),
        ("zstd", ROW),
    ],
)
def test_a_chunk_that_holds_more_or_less_is_damage(codec: str, chunk: bytes, store: Path) -> None:
    packed_store(store, codec, chunk)

    error = refusal(store)

    assert (error.error_class, error.code) == ("integrity", "DIGEST")


def test_a_chunk_with_another_checksum_is_damage(store: Path) -> None:
    packed_store(store, "gzip", gzip.compress(ROW), {"name": "crc32c"})
    path = generation(store) / "arrays/0-w/c.0.0"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")

    assert str(refusal(store)) == (
        "expected a chunk with its CRC-32C, got another (in arrays/0-w): "
        "the container is damaged: restore it from a copy"
    )


LINKS = [
    "zarr.json",
    "{}",
    "{}/manifest",
    "{}/manifest/c",
    "{}/manifest/c/0",
    "{}/info/c/0",
    "{}/arrays",
    "{}/arrays/0-w",
    "{}/arrays/0-w/zarr.json",
    "{}/arrays/0-w/c.0.0",
]


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_a_store_is_never_followed(name: str, store: Path) -> None:
    path = store / name.format(generation(store).name)
    outside = store.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)

    error = refusal(store)

    assert (error.error_class, error.code) == ("security", "FS_LINK")


def test_a_link_that_leads_to_itself_is_never_followed(store: Path) -> None:
    path = generation(store) / "arrays/0-w/c.0.0"
    path.unlink()
    path.symlink_to(path)

    assert refusal(store).code == "FS_LINK"


def test_a_link_to_a_store_is_followed(store: Path) -> None:
    link = store.parent / "latest.zarr"
    link.symlink_to(store)

    assert statetree.difference(statetree.load(link), TREE) is None


@pytest.mark.parametrize("name", ["zarr.json", "{}/manifest/c/0", "{}/arrays/0-w/zarr.json", "{}/arrays/0-w/c.0.0"])
@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_a_special_file_in_a_store_is_never_read(name: str, kind: str, store: Path) -> None:
    path = store / name.format(generation(store).name)
    path.unlink()
    os.mkfifo(path) if kind == "fifo" else path.mkdir()

    error = refusal(store)

    assert (error.error_class, error.code) == ("security", "FS_SPECIAL")


def test_a_socket_in_a_store_is_never_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = generation(store) / "arrays/0-w/c.0.0"
    path.unlink()
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path.name)

        error = refusal(store)

    assert error.error_class in ("security", "io")


def test_a_store_of_a_few_bytes_that_declares_petabytes_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    statetree.save(tmp_path / "x.zarr", {"w": np.zeros((0, 1 << 46), np.float64)}, durable=False)
    store = tmp_path / "x.zarr"
    manifest = generation(store) / "manifest/c/0"
    text = manifest.read_bytes().replace(b'"shape":[0,', b'"shape":[1,')
    manifest.write_bytes(text)
    root = json.loads((store / "zarr.json").read_bytes())
    root["attributes"]["statetree"]["manifest"] = digest("xxh3-128", text)
    (store / "zarr.json").write_text(json.dumps(root))

    error = refusal(store)

    assert (error.error_class, error.code) == ("limit", "LIMIT_BYTES")


def packed(tmp_path: Path, compression: str | None = None) -> Path:
    tree = [np.full(3, i, np.int32) for i in range(1_001)]
    statetree.save(tmp_path / "p.zarr", tree, compression=compression, durable=False)
    return tmp_path / "p.zarr"


@pytest.mark.parametrize("name", ["packs/0", "packs/0/zarr.json", "packs/0/c/0", "packs/index/c/0"])
def test_a_missing_pack_is_damage(name: str, tmp_path: Path) -> None:
    store = packed(tmp_path)
    path = generation(store) / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()

    error = refusal(store)

    assert (error.error_class, error.code) == ("integrity", "ARRAY_MISSING")


INDEXES: dict[str, tuple[Callable[[bytes], bytes], str, str]] = {
    "a short index": (lambda data: data[:-24], "invalid", "Z_METADATA"),
    "a long index": (lambda data: data + bytes(24), "invalid", "Z_METADATA"),
    "a pack that is not there": (lambda data: struct.pack("<3Q", 9, 0, 12) + data[24:], "integrity", "ARRAY_MISSING"),
    "a huge pack": (lambda data: struct.pack("<3Q", 2**64 - 1, 0, 12) + data[24:], "integrity", "ARRAY_MISSING"),
    "a huge offset": (lambda data: struct.pack("<3Q", 1, 2**64 - 1, 12) + data[24:], "invalid", "BACKEND_MISMATCH"),
    "the last behind its pack": (
        lambda data: data[:-24] + struct.pack("<3Q", 1, 64_064, 12),
        "invalid",
        "BACKEND_MISMATCH",
    ),
    "the last partly behind its pack": (
        lambda data: data[:-24] + struct.pack("<3Q", 1, 64_003, 12),
        "invalid",
        "BACKEND_MISMATCH",
    ),
    "a huge size": (lambda data: struct.pack("<3Q", 1, 0, 2**64 - 1) + data[24:], "invalid", "BACKEND_MISMATCH"),
    "another size": (lambda data: struct.pack("<3Q", 1, 0, 11) + data[24:], "invalid", "BACKEND_MISMATCH"),
    "another's bytes": (lambda data: struct.pack("<3Q", 1, 64, 12) + data[24:], "integrity", "DIGEST"),
    "not packed": (lambda data: bytes(24) + data[24:], "integrity", "ARRAY_MISSING"),
}


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("fault", INDEXES)
def test_an_index_of_packs_that_is_wrong_never_gives_other_values(
    fault: str, compression: str | None, tmp_path: Path
) -> None:
    spoil, error_class, code = INDEXES[fault]
    store = packed(tmp_path, compression)
    index = generation(store) / "packs/index/c/0"
    index.write_bytes(spoil(index.read_bytes()))

    error = refusal(store)

    assert (error.error_class, error.code) == (error_class, code)


PACKS: dict[str, dict[str, Any]] = {
    "another separator": {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}},
    "several chunks": grid(7),
    "a checksum": {"codecs": [{"name": "bytes"}, {"name": "crc32c"}]},
}


@pytest.mark.parametrize("fault", PACKS)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_pack_is_one_chunk_compressed_or_not(compression: str | None, fault: str, tmp_path: Path) -> None:
    store = packed(tmp_path, compression)
    change(generation(store) / "packs/0/zarr.json", **PACKS[fault])

    error = refusal(store)

    assert str(error) == (
        "expected one chunk c/0, compressed or not, got others (in packs/0): write it with a conforming writer"
    )
    assert error.code == "Z_METADATA"


@pytest.mark.parametrize("name", ["arrays", "arrays/0-w", "manifest", "manifest/c"])
def test_a_file_in_place_of_a_folder_is_a_missing_part(name: str, store: Path) -> None:
    path = generation(store) / name
    shutil.rmtree(path)
    path.write_bytes(b"x")

    error = refusal(store)

    assert error.code == ("ARRAY_MISSING_CHUNK" if "manifest" in name else "ARRAY_MISSING")


def test_a_file_in_place_of_the_generation_is_no_finished_save(store: Path) -> None:
    path = generation(store)
    shutil.rmtree(path)
    path.write_bytes(b"x")

    error = refusal(store)

    assert (error.error_class, error.code) == ("integrity", "UNCOMMITTED")
    assert str(error) == (
        f"expected the generation that the root names, got a file (in {path}): "
        "the folder is damaged: restore it from a copy"
    )


@pytest.mark.parametrize("shape", [[1 << 40], [0], [5], [True], [1.0], [], "no"])
def test_a_pack_of_another_size_than_declared_is_refused(shape: Any, tmp_path: Path) -> None:
    store = packed(tmp_path)
    change(generation(store) / "packs/0/zarr.json", shape=shape, **grid(*(shape if shape != "no" else [1])))

    assert refusal(store).code in ("Z_METADATA", "ARRAY_NBYTES")


def test_block_digests_that_are_missing_or_too_many_are_damage(tmp_path: Path) -> None:
    statetree.save(tmp_path / "x.zarr", {"w": np.zeros(5 << 20, np.uint8)}, durable=False)
    path = generation(tmp_path / "x.zarr") / "blocks/c/0"
    data = path.read_bytes()

    for other in (data + data, data[:-1], b"", data[16:] + data[:16]):
        path.write_bytes(other)
        assert refusal(tmp_path / "x.zarr").code == "BLOCK_DIGEST"
    path.unlink()
    assert refusal(tmp_path / "x.zarr").code == "BLOCK_DIGEST"


def test_texts_above_the_limits_are_refused_before_they_are_read(store: Path) -> None:
    for name in ("manifest", "info"):
        with pytest.raises(statetree.LimitError) as caught:
            statetree.load(store, limits=statetree.Limits(**{f"{name}_bytes": 5}))
        assert caught.value.code == "LIMIT_MANIFEST"
