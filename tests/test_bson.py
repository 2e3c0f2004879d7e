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
from bson_by_hand import (
    PARTS,
    binary,
    bson_file,
    document,
    element,
    extents,
    header,
    int32,
    int64,
    string,
)
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
    for each, (i, array) in zip(data, stored, strict=True):
        assert list(each) == ["array", "n", "name", "dtype", "shape", "pad", "data"]
        assert each["name"] == f"{i:03d}-{each['dtype']}.{i % 5}"
        assert BY_NAME[each["dtype"]].numpy == array.dtype
        assert each["shape"] == list(array.shape)
        assert each["data"] == array.tobytes()


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
    "name without zero byte": (struct.pack("<i", 10) + b"\x10abcd\0", "BSON_FRAMING"),
    "nesting": (document(element(3, b"a", document())), None),
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


@pytest.mark.parametrize("levels", range(8))
def test_documents_are_nested_at_most_4_deep(levels: int) -> None:
    data = document(int32("n", 1))
    for _ in range(levels):
        data = document(element(3, b"a", data))

    if levels <= 4:
        assert list(read_document(data, "here")) == ["a" if levels else "n"]
        return
    with pytest.raises(st.LimitError) as refused:
        read_document(data, "here")
    assert refused.value.code == "LIMIT_DEPTH"


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


A = [np.arange(6.0), np.zeros(0), np.arange(6.0) + 1]
TAIL = "the file is damaged: restore it from a copy"


def part(name: str, form: str, at: int, *values: int) -> Any:
    """Return a change of the header block: other values at byte `at` of a part."""
    return lambda block: struct.pack_into(form, block, PARTS[name] + at, *values)


def trailer(*elements: bytes) -> Any:
    return lambda block: document(*elements, binary("data", block))


FILES: dict[str, tuple[dict[str, Any], str]] = {
    "header in another order": (
        {"first": document(string("statetree", "1.0"), int64("arrays", 3), string("algorithm", "xxh3-128"))},
        "BSON_CHUNKS",
    ),
    "header with one more": ({"first": document(header(arrays=3)[4:-1], int32("x", 1))}, "BSON_CHUNKS"),
    "header with int32": (
        {"first": document(string("statetree", "1.0"), string("algorithm", "xxh3-128"), int32("arrays", 3))},
        "BSON_TYPE",
    ),
    "header of another algorithm": ({"first": header(arrays=3, algorithm="sha-256")}, "BSON_CHUNKS"),
    "header of an unknown algorithm": ({"first": header(arrays=3, algorithm="md5")}, "BSON_CHUNKS"),
    "header of another number of arrays": ({"first": header(arrays=4)}, "BSON_CHUNKS"),
    "header above 4,096 bytes": (
        {"first": document(string("statetree", "1.0"), string("x", "y" * 4096))},
        "BSON_FRAMING",
    ),
    "trailer of another kind": ({"trailer": trailer(string("kind", "trailes"))}, "BSON_CHUNKS"),
    "trailer in another order": (
        {"trailer": lambda block: document(binary("data", block), string("kind", "trailer"))},
        "BSON_CHUNKS",
    ),
    "trailer of another subtype": (
        {"trailer": lambda block: document(string("kind", "trailer"), binary("data", block, 1))},
        "BSON_TYPE",
    ),
    "trailer without its last byte": (
        {"trailer": lambda b: trailer(string("kind", "trailer"))(b)[:-1] + b"\1"},
        "BSON_FRAMING",
    ),
    "a byte behind the trailer": (
        {"trailer": lambda b: trailer(string("kind", "trailer"))(b) + b"\0"},
        "CONTAINER_TRUNCATED",
    ),
    "a longer trailer": ({"trailer": trailer(string("kind", "trailer2"))}, "CONTAINER_TRUNCATED"),
    "text of another number": ({"text": lambda e: [e[0], int32("n", 1)]}, "BSON_CHUNKS"),
    "text of another kind": ({"text": lambda e: [string("kind", "x"), e[1]]}, "BSON_CHUNKS"),
    "text with int64": ({"text": lambda e: [e[0], int64("n", 0)]}, "BSON_TYPE"),
    "text with one more": ({"text": lambda e: [*e, int32("x", 0)]}, "BSON_CHUNKS"),
    "text with code": ({"text": lambda e: [*e, element(0x0D, b"x", struct.pack("<i", 2) + b"x\0")]}, "PICKLE_CODE"),
    "text before the header": ({"block": part("info", "<Q", 0, 0)}, "BSON_CHUNKS"),
    "text that overlaps the header": ({"block": part("info", "<Q", 0, 8)}, "BSON_CHUNKS"),
    "text behind the file": ({"block": part("info", "<Q", 0, 1 << 63)}, "BSON_CHUNKS"),
    "text of another size": ({"block": part("manifest", "<Q", 8, 5)}, "BSON_CHUNKS"),
    "index longer than its rows": ({"texts": {"index": bytes(25)}}, "BSON_CHUNKS"),
    "index of other digest": ({"block": part("index", "<2Q", 16, 0, 0)}, "DIGEST"),
    "blocks before the header": ({"block": part("blocks", "<Q", 0, 0)}, "BSON_CHUNKS"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_file_of_another_structure_is_refused(fault: str, tmp_path: Path) -> None:
    changes, code = FILES[fault]
    path = tmp_path / "t.bson"
    path.write_bytes(bson_file(A, **changes))

    with pytest.raises(st.StateTreeError) as refused:
        st.load(path)

    assert refused.value.code == code
    assert code in {problem.code for problem in st.validate(path).problems}


ROWS: dict[str, tuple[Any, str]] = {
    "in another order": (lambda rows: rows[::-1], "BSON_CHUNKS"),
    "twice": (lambda rows: [rows[0], rows[0], rows[1]], "BSON_CHUNKS"),
    "numbered from 1": (lambda rows: [(0, 1, *rows[0][2:]), rows[1]], "BSON_CHUNKS"),
    "with a number left out": (lambda rows: [rows[0], (0, 2, *rows[1][2:])], "BSON_CHUNKS"),
    "of an array that is not there": (lambda rows: [rows[0], (3, *rows[1][1:])], "BSON_CHUNKS"),
    "of an array without bytes": (lambda rows: [rows[0], (1, *rows[1][1:])], "BSON_CHUNKS"),
    "of an array without bytes, too": (
        lambda rows: [rows[0], (1, 0, rows[0][2] + 64, 1), (2, 0, rows[1][2], 48)],
        "BSON_CHUNKS",
    ),
    "at 0": (lambda rows: [(0, 0, 0, 48), rows[1]], "BSON_CHUNKS"),
    "at no multiple of 64": (lambda rows: [(0, 0, rows[0][2] + 1, 48), rows[1]], "BSON_CHUNKS"),
    "behind the file": (lambda rows: [rows[0], (2, 0, 1 << 63, 48)], "BSON_CHUNKS"),
    "in the texts": (lambda rows: [rows[0], (2, 0, rows[1][2] + 256, 48)], "BSON_CHUNKS"),
    "over each other": (lambda rows: [rows[0], (2, 0, rows[0][2], 48)], "BSON_CHUNKS"),
    "of size 0": (lambda rows: [(*rows[0][:3], 0), rows[1]], "BSON_CHUNKS"),
    "of a huge size": (lambda rows: [(*rows[0][:3], (1 << 64) - 1), rows[1]], "BSON_CHUNKS"),
    "of another size": (lambda rows: [(*rows[0][:3], 40), rows[1]], "BSON_CHUNKS"),
    "too few": (lambda rows: rows[:1], "ARRAY_MISSING"),
    "none": (lambda rows: [], "ARRAY_MISSING"),
    "too many": (lambda rows: [(0, 0, rows[0][2], 8), (0, 1, rows[0][2] + 64, 8), rows[1]], "BSON_CHUNKS"),
}


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("fault", ROWS)
def test_rows_of_the_index_that_are_wrong_are_refused_however_arrays_are_read(
    fault: str, mmap: bool, tmp_path: Path
) -> None:
    change, code = ROWS[fault]
    path = tmp_path / "t.bson"
    path.write_bytes(bson_file(A, rows=change))

    with pytest.raises(st.StateTreeError) as refused:
        st.load(path, mmap=mmap)

    assert refused.value.code == code
    assert code in {problem.code for problem in st.validate(path).problems}


@pytest.mark.parametrize("mmap", [False, True])
def test_a_piece_that_is_missing_is_said_however_the_array_is_read(mmap: bool, tmp_path: Path) -> None:
    path = tmp_path / "t.bson"
    path.write_bytes(bson_file([np.zeros((8 << 20) + 8, np.uint8)], rows=lambda rows: rows[:1]))

    with pytest.raises(st.IntegrityError) as refused:
        st.load(path, mmap=mmap)

    assert str(refused.value) == f"expected 2 data documents, got 1 (in array 0-0): {TAIL}"


def test_a_row_of_an_array_without_bytes_is_said_where_it_is_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "t.bson"
    path.write_bytes(bson_file([np.zeros(0), np.zeros(3)], rows=lambda rows: [(0, 0, rows[0][2], 24)]))

    with pytest.raises(st.InvalidError) as refused:
        st.load(path)

    assert str(refused.value) == (
        f"expected an index of arrays that have bytes, got array 0, which has none (in index): {TAIL}"
    )


def test_what_a_reader_need_not_look_at_changes_nothing(tmp_path: Path) -> None:
    """Readers find payloads by the index, and texts by the header block; the rest is for validators."""
    path = tmp_path / "t.bson"
    for changes in (
        {"order": ("manifest", "info", "index", "blocks")},
        {"data": lambda e: [*e[:2], string("name", "evil"), string("dtype", "int8"), extents(())]},
        {"trailer": lambda block: b"garbage!" + trailer(string("kind", "trailer"))(block)},
    ):
        path.write_bytes(bson_file(A, **changes))

        assert st.difference(st.load(path), A) is None
