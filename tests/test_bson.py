"""BSON files: what pymongo sees in them, and what is refused."""

import contextlib
import struct
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

import statetree as st
from independent_reader import read_bson
from statetree.dtype import BY_NAME
from statetree_backends._bson_strict import read_document


def tree() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    out: dict[str, Any] = {}
    for name, row in BY_NAME.items():
        for shape in ((), (0,), (3, 0, 2), (2, 3, 5), (1,) * 32):
            raw = rng.integers(0, (row.top or 255) + 1, int(np.prod(shape)) * row.itemsize, np.uint8)
            out.setdefault(name, []).append(raw.view(row.numpy).reshape(shape))
    return out


def documents(path: Path) -> list[dict[str, Any]]:
    with path.open("rb") as file:
        return list(bson.decode_file_iter(file))


def test_pymongo_finds_every_array_with_its_name_dtype_shape_and_bytes(tmp_path: Path) -> None:
    arrays = [array for group in tree().values() for array in group]
    st.save(tmp_path / "t.bson", tree())

    found = documents(tmp_path / "t.bson")

    data = [document for document in found if "array" in document]
    stored = [(i, a) for i, a in enumerate(arrays) if a.size]
    assert [d["array"] for d in data] == [i for i, _ in stored]
    for document, (i, array) in zip(data, stored, strict=True):
        assert list(document) == ["array", "n", "name", "dtype", "shape", "pad", "data"]
        assert document["name"] == f"{i:03d}-{document['dtype']}.{i % 5}"
        assert BY_NAME[document["dtype"]].numpy == array.dtype
        assert document["shape"] == list(array.shape)
        assert document["data"] == array.tobytes()


@pytest.mark.parametrize("nbytes", [(8 << 20) - 1, 8 << 20, (8 << 20) + 1, (24 << 20) + 5])
def test_large_arrays_are_pieces_below_16_mib_in_order(tmp_path: Path, nbytes: int) -> None:
    array = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    st.save(tmp_path / "t.bson", [array])

    data = [document for document in documents(tmp_path / "t.bson") if "array" in document]

    assert [d["n"] for d in data] == list(range(-(-nbytes // (8 << 20))))
    assert b"".join(d["data"] for d in data) == array.tobytes()
    assert st.difference(st.load(tmp_path / "t.bson"), [array]) is None


def test_payloads_are_aligned_and_every_document_can_go_into_a_database(tmp_path: Path) -> None:
    st.save(tmp_path / "t.bson", {"a": np.ones(3), "b": np.ones(5_000_000), "t": "x" * 100_000})
    raw = (tmp_path / "t.bson").read_bytes()

    at, sizes = 0, []
    while at < len(raw):
        (size,) = struct.unpack_from("<i", raw, at)
        document = bson.decode(raw[at : at + size])
        if "array" in document:
            assert raw.index(document["data"][:8], at + 20) % 64 == 0 or len(set(document["data"])) < 20
            assert (at + size - 1 - len(document["data"])) % 64 == 0
        sizes.append(size)
        at += size

    assert at == len(raw)
    assert max(sizes) < 16 << 20
    assert sizes[-1] == 546


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_pieces_name_their_compression(tmp_path: Path, compression: str) -> None:
    st.save(tmp_path / "t.bson", [np.zeros(3_000_000)], compression=compression)

    data = [document for document in documents(tmp_path / "t.bson") if "array" in document]

    assert {d["compression"] for d in data} == {compression}
    assert (tmp_path / "t.bson").stat().st_size < 1 << 20
    assert st.difference(st.load(tmp_path / "t.bson"), [np.zeros(3_000_000)]) is None


def test_an_independent_reader_agrees_with_ours(tmp_path: Path) -> None:
    st.save(tmp_path / "t.bson", tree())

    _, arrays = read_bson(tmp_path / "t.bson")

    ours = [array for group in st.load(tmp_path / "t.bson").values() for array in group]
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in ours]


def test_every_length_of_a_cut_file_and_bytes_behind_it_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.bson"
    st.save(path, {"w": np.arange(3), "epoch": 1})
    whole = path.read_bytes()

    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(st.StateTreeError):
            st.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(st.MalformedError):
        st.load(path)


def test_another_major_version_is_said_in_full(tmp_path: Path) -> None:
    path = tmp_path / "t.bson"
    st.save(path, 1)
    path.write_bytes(path.read_bytes().replace(b"\x04\0\0\x001.0\0", b"\x04\0\0\x002.0\0", 1))

    with pytest.raises(st.UnsupportedError) as refused:
        st.load(path)

    assert refused.value.code == "VERSION_MAJOR"
    assert "format version 1" in str(refused.value)
    assert "read it with a newer statetree: pip install -U statetree" in str(refused.value)


def element(kind: int, name: bytes, value: bytes) -> bytes:
    return bytes([kind]) + name + b"\0" + value


def document(*elements: bytes) -> bytes:
    body = b"".join(elements)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


TEXT = struct.pack("<i", 2) + b"a\0"
BAD = {
    "duplicate names": (document(element(2, b"a", TEXT), element(2, b"a", TEXT)), "BSON_DUPLICATE_KEY"),
    "array keys 5, 5": (document(element(4, b"a", document(element(2, b"5", TEXT)))), "BSON_ARRAY_KEYS"),
    "length too small": (struct.pack("<i", 4) + b"\0", "BSON_FRAMING"),
    "length too large": (struct.pack("<i", 99) + b"\0", "BSON_FRAMING"),
    "length negative": (struct.pack("<i", -1) + b"\0", "BSON_FRAMING"),
    "length of 2 GiB": (struct.pack("<I", 1 << 31) + b"\0", "BSON_FRAMING"),
    "no end": (struct.pack("<i", 5) + b"\1", "BSON_FRAMING"),
    "trailing bytes": (document() + b"\0", "BSON_FRAMING"),
    "string of length 0": (document(element(2, b"a", struct.pack("<i", 0) + b"\0")), "BSON_STRING"),
    "string that is longer than its document": (
        document(element(2, b"a", struct.pack("<i", 9) + b"a\0")),
        "BSON_STRING",
    ),
    "string of negative length": (document(element(2, b"a", struct.pack("<i", -1) + b"a\0")), "BSON_STRING"),
    "string without zero byte": (document(element(2, b"a", struct.pack("<i", 2) + b"aa")), "BSON_STRING"),
    "string not UTF-8": (document(element(2, b"a", struct.pack("<i", 2) + b"\xff\0")), "BSON_STRING"),
    "name not UTF-8": (document(element(2, b"\xff", TEXT)), "BSON_STRING"),
    "binary of negative length": (document(element(5, b"a", struct.pack("<iB", -1, 0))), "BSON_FRAMING"),
    "binary of subtype 2": (document(element(5, b"a", struct.pack("<iB", 0, 2))), "BSON_TYPE"),
    "code": (document(element(0x0D, b"a", TEXT)), "PICKLE_CODE"),
    "code with scope": (document(element(0x0F, b"a", TEXT)), "PICKLE_CODE"),
    "nesting": (document(*[element(3, b"a", b"")] * 0, element(3, b"a", document())), None),
    **{
        f"type 0x{kind:02x}": (document(element(kind, b"a", bytes(12))), "BSON_TYPE")
        for kind in (0x01, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0C, 0x0E, 0x11, 0x13, 0x20, 0x7F, 0xFF)
    },
}


@pytest.mark.parametrize("name", BAD)
def test_documents_that_pymongo_may_let_pass_are_refused_by_code(name: str) -> None:
    data, code = BAD[name]

    if code is None:
        assert read_document(data, "here") == {"a": {}}
        return
    with pytest.raises(st.StateTreeError) as refused:
        read_document(data, "here")

    assert refused.value.code == code


def test_deep_nesting_is_refused_without_recursion() -> None:
    data = document()
    for _ in range(50):
        data = document(element(3, b"a", data))

    with pytest.raises(st.LimitError) as refused:
        read_document(data, "here")

    assert refused.value.code == "LIMIT_DEPTH"


@given(hs.binary(max_size=80))
def test_any_bytes_are_a_document_or_an_error_of_ours(data: bytes) -> None:
    try:
        value = read_document(data, "here")
    except st.StateTreeError:
        return
    assert isinstance(value, dict)


@given(hs.data())
def test_a_changed_byte_is_a_document_or_an_error_of_ours(data: hs.DataObject) -> None:
    good = bytearray(bson.encode({"kind": "x", "n": 1, "shape": [bson.int64.Int64(3)], "data": b"abc"}))
    good[data.draw(hs.integers(0, len(good) - 1))] = data.draw(hs.integers(0, 255))

    classes = (st.MalformedError, st.InvalidError, st.SecurityError, st.LimitError)
    with contextlib.suppress(*classes):
        assert isinstance(read_document(bytes(good), "here"), dict)
