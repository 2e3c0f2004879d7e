"""The header block of HDF5 and BSON files: what is wrong with it is said alike in both."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import statetree as st
from bson_by_hand import MAGIC, PARTS, signed

TREE = [np.arange(6.0), np.arange(6.0) + 1]
FILES = ["x.h5", "x.bson"]


def rewritten(path: Path, change: Callable[[bytearray], None], *, sign: bool = True) -> Path:
    """Return a saved file whose header block was changed."""
    st.save(path, TREE, durable=False)
    raw = path.read_bytes()
    at = raw.index(MAGIC)
    block = bytearray(raw[at : at + 512])
    change(block)
    path.write_bytes(raw[:at] + (signed(block) if sign else block) + raw[at + 512 :])
    return path


def put(at: int, data: bytes) -> Callable[[bytearray], None]:
    def change(block: bytearray) -> None:
        block[at : at + len(data)] = data

    return change


FAULTS = {
    "major 2": (put(16, b"\2"), "unsupported", "VERSION_MAJOR"),
    "major 257": (put(17, b"\1"), "unsupported", "VERSION_MAJOR"),
    "an unknown algorithm": (put(24, b"md5".ljust(16, b"\0")), "unsupported", "DIGEST_ALGORITHM"),
    "bytes behind the algorithm": (put(39, b"x"), "unsupported", "DIGEST_ALGORITHM"),
    "a byte at 20": (put(20, b"\1"), "malformed", "HEADER_FORM"),
    "a byte at 23": (put(23, b"\1"), "malformed", "HEADER_FORM"),
    "a byte at 264": (put(264, b"\1"), "malformed", "HEADER_FORM"),
    "a byte at 479": (put(479, b"\1"), "malformed", "HEADER_FORM"),
    **{
        f"a byte behind the digest of {name}": (put(at + 16 + 16, b"\1"), "malformed", "HEADER_FORM")
        for name, at in PARTS.items()
    },
    "an unknown compression": (put(40, b"xz"), "malformed", "HEADER_FORM"),
    "bytes behind the compression": (put(40, b"gzip".ljust(15, b"\0") + b"x"), "malformed", "HEADER_FORM"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_header_block_of_another_form_is_refused(name: str, fault: str, tmp_path: Path) -> None:
    change, error_class, code = FAULTS[fault]
    path = rewritten(tmp_path / name, change)

    with pytest.raises(st.StateTreeError) as refused:
        st.load(path)

    assert (refused.value.error_class, refused.value.code) == (error_class, code)
    first, same = st.validate(path).problems[0], refused.value.problems[0]
    assert (first.code, first.expected, first.found) == (same.code, same.expected, same.found)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("at", [18, 20, 40, 56, 64, 72, 300, 479, 480, 495, 496, 511])
def test_a_header_block_without_its_digest_is_damaged(name: str, at: int, tmp_path: Path) -> None:
    path = rewritten(tmp_path / name, lambda block: put(at, bytes([block[at] ^ 1]))(block), sign=False)

    with pytest.raises(st.IntegrityError) as refused:
        st.load(path)

    assert refused.value.code == "DIGEST"


def test_zstd_is_no_compression_of_hdf5(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.h5", put(40, b"zstd"))

    with pytest.raises(st.MalformedError) as refused:
        st.load(path)

    assert str(refused.value) == (
        "expected the compression gzip, or none, got 'zstd' (in header): write the file with a conforming writer"
    )


@pytest.mark.parametrize("rows", [0, 1, 3, 1 << 63])
def test_the_index_of_hdf5_has_a_row_for_each_array(rows: int, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.h5", put(64, struct.pack("<Q", rows)))

    with pytest.raises(st.MalformedError) as refused:
        st.load(path)

    assert str(refused.value) == (
        f"expected an index of a row for each array, got {rows} rows for 2 (in /header): "
        "write the file with a conforming writer"
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("arrays", [0, 1, 3, 1 << 62])
def test_another_number_of_arrays_than_the_manifest_has_is_refused(name: str, arrays: int, tmp_path: Path) -> None:
    path = rewritten(tmp_path / name, put(56, struct.pack("<Q", arrays) * (2 if name == "x.h5" else 1)))
    if name == "x.bson":
        path.write_bytes(path.read_bytes().replace(struct.pack("<q", 2), struct.pack("<q", arrays), 1))

    with pytest.raises(st.InvalidError) as refused:
        st.load(path)

    place = {"x.h5": "/header", "x.bson": "trailer"}[name]
    assert refused.value.code == "BACKEND_MISMATCH"
    assert str(refused.value) == (
        f"expected 2 arrays, got {arrays} (in {place}): the file is damaged: restore it from a copy"
    )


@pytest.mark.parametrize("offset", [0, 5, (1 << 64) - 1])
def test_the_offset_of_an_empty_part_of_hdf5_means_nothing(offset: int, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.h5", put(PARTS["blocks"], struct.pack("<Q", offset)))

    assert st.difference(st.load(path), TREE) is None
    assert st.validate(path)


def test_a_trailer_with_another_magic_is_refused(tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.bson", put(15, b"\1"))

    with pytest.raises(st.MalformedError) as refused:
        st.load(path)

    assert refused.value.code == "BAD_MAGIC"
