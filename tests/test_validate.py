"""Validating: whatever load refuses is found, in files that hold few arrays or none too."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree as st
from bson_by_hand import PARTS, bson_file, signed
from statetree.digest import digest

WRONG = {"no arrays": [], "an empty array": [np.zeros(0)], "a small array": [np.zeros(3)]}
each_tree = pytest.mark.parametrize("tree", WRONG.values(), ids=WRONG)


def found(path: Path) -> list[str]:
    """Return the codes that `validate` finds, after making sure that `load` refuses nothing that it does not."""
    codes = [problem.code for problem in st.validate(path).problems]
    if not codes:
        st.load(path)
    return codes


def spoiled(name: str) -> Callable[[bytearray], None]:
    """Return a change of the header block: another digest of a part."""

    def change(block: bytearray) -> None:
        block[PARTS[name] + 16 : PARTS[name] + 32] = bytes(16)

    return change


@pytest.mark.parametrize("part", ["index", "blocks"])
@each_tree
def test_a_part_of_bson_without_its_digest_is_found(tree: list[Any], part: str, tmp_path: Path) -> None:
    path = tmp_path / "x.bson"
    path.write_bytes(bson_file(tree, block=spoiled(part)))

    assert found(path) == ["DIGEST"]


@pytest.mark.parametrize("part", ["index", "blocks"])
@each_tree
def test_a_part_of_hdf5_without_its_digest_is_found(tree: list[Any], part: str, tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    st.save(path, tree, durable=False)
    raw = path.read_bytes()
    block = bytearray(raw[4096:4608])
    spoiled(part)(block)
    path.write_bytes(raw[:4096] + signed(block) + raw[4608:])

    assert found(path) == ["DIGEST"]


@pytest.mark.parametrize("rows", [1, 1 << 63])
def test_rows_that_the_index_of_bson_does_not_have_are_found(rows: int, tmp_path: Path) -> None:
    path = tmp_path / "x.bson"
    path.write_bytes(bson_file(block=lambda block: struct.pack_into("<Q", block, 64, rows)))

    assert found(path) == ["BSON_CHUNKS"]


@each_tree
def test_block_digests_that_no_array_needs_are_found(tree: list[Any], tmp_path: Path) -> None:
    (tmp_path / "x.bson").write_bytes(bson_file(tree, texts={"blocks": b"1234"}))
    st.save(tmp_path / "x.zarr", tree, durable=False)
    (blocks,) = (tmp_path / "x.zarr").glob("*/blocks")
    (blocks / "c").mkdir()
    (blocks / "c/0").write_bytes(b"1234")

    assert found(tmp_path / "x.bson") == ["BLOCK_DIGEST"]
    assert found(tmp_path / "x.zarr") == ["BLOCK_DIGEST", "ARRAY_NBYTES"]


@pytest.mark.parametrize("extra", [-16, -1, 1, 16])
def test_block_digests_of_another_length_are_damage_in_every_container(extra: int, tmp_path: Path) -> None:
    array = np.zeros((4 << 20) + 1, np.uint8)
    blocks = bytes.fromhex(digest("xxh3-128", array[: 4 << 20].data) + digest("xxh3-128", array[4 << 20 :].data))
    other = blocks[:extra] if extra < 0 else blocks + bytes(extra)
    (tmp_path / "x.bson").write_bytes(bson_file([array], texts={"blocks": other}))
    st.save(tmp_path / "x.zarr", [array], durable=False)
    (chunk,) = (tmp_path / "x.zarr").glob("*/blocks/c/0")
    chunk.write_bytes(other)
    st.save(tmp_path / "x.h5", [array], durable=False)
    raw = bytearray((tmp_path / "x.h5").read_bytes())
    at = struct.unpack_from("<Q", raw, 4096 + PARTS["blocks"])[0]
    raw[at : at + len(other)] = other
    struct.pack_into("<QQ", raw, 4096 + PARTS["blocks"], at, len(other))
    place = 4096 + PARTS["blocks"] + 16
    raw[place : place + 16] = bytes.fromhex(digest("xxh3-128", other))
    raw[4096:4608] = signed(raw[4096:4608])
    (tmp_path / "x.h5").write_bytes(raw)

    for name in ("x.bson", "x.zarr", "x.h5"):
        with pytest.raises(st.IntegrityError) as refused:
            st.load(tmp_path / name)
        assert (refused.value.code, found(tmp_path / name)[0]) == ("BLOCK_DIGEST", "BLOCK_DIGEST")


def test_what_is_wrong_with_an_index_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "x.bson"
    path.write_bytes(bson_file([np.zeros(3), np.ones(3)], block=spoiled("index")))

    assert found(path) == ["DIGEST"]


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (
            {"timeout": float("nan")},
            "expected timeout above 0 and at most 1000000.0, got nan: leave it out for no limit",
        ),
        ({"timeout": 0}, "expected timeout above 0 and at most 1000000.0, got 0: leave it out for no limit"),
        (
            {"max_memory": 0},
            "expected max_memory above 0 and at most 70368744177664, got 0: leave it out for no limit",
        ),
        (
            {"max_memory": 1.5},
            "expected max_memory above 0 and at most 70368744177664, got 1.5: leave it out for no limit",
        ),
    ],
    ids=str,
)
def test_a_limit_that_limits_nothing_is_refused(tmp_path: Path, limit: dict[str, Any], text: str) -> None:
    with pytest.raises(st.UsageError) as refused:
        st.validate(tmp_path, **limit)

    assert str(refused.value) == text
