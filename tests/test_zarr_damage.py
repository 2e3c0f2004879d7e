"""A changed byte anywhere in a Zarr container is an error, or changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statetree
from statetree import StateTreeError, saving

SMALL: dict[str, Any] = {
    "w": np.arange(3, dtype=np.float32),
    "h": np.array([1, -2], ml_dtypes.bfloat16),
    "z": np.zeros((2, 0)),
    "s": "text",
}
CONTAINERS = ["x.zarr", "x.zarr.zip"]


def parts(path: Path) -> Iterator[Path]:
    return iter(sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path])


def judge(path: Path, tree: Any) -> str:
    """Return the class of the error that loading gives, or that the tree is the same."""
    try:
        loaded = statetree.load(path)
    except StateTreeError as refusal:
        found = refusal.error_class
    else:
        found = "same" if statetree.difference(loaded, tree) is None else "another tree"
    assert found not in ("another tree", "usage", "writer")
    return found


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("compression", [None, "zstd"])
def test_every_byte_flipped_is_an_error_or_changes_nothing(name: str, compression: str | None, tmp_path: Path) -> None:
    tree = SMALL | {"c": np.zeros(600)} if compression else SMALL
    path = tmp_path / name
    statetree.save(path, tree, compression=compression, durable=False)
    seen: set[str] = set()
    flips = 0

    for part in parts(path):
        data = part.read_bytes()
        for at in range(len(data)):
            spoilt = bytearray(data)
            spoilt[at] ^= 1 << (at % 8)
            part.write_bytes(spoilt)
            seen.add(judge(path, tree))
            flips += 1
        part.write_bytes(data)

    assert flips > 2000
    assert {"same", "malformed", "integrity"} <= seen


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    tree = [np.full(1 + i % 3, i, np.int32) for i in range(1_001)]
    path = tmp_path_factory.mktemp("packed") / "x.zarr"
    statetree.save(path, tree, durable=False)
    return path, tree


@given(data=st.data())
def test_a_byte_changed_in_packs_or_their_index_is_an_error_or_changes_nothing(
    packed: tuple[Path, Any], data: st.DataObject
) -> None:
    path, tree = packed
    part = data.draw(st.sampled_from(sorted(path.glob("*/packs/**/c/0")) + sorted(path.glob("*/packs/**/zarr.json"))))
    content = part.read_bytes()
    at = data.draw(st.integers(0, len(content) - 1))
    spoilt = bytearray(content)
    spoilt[at] ^= data.draw(st.integers(1, 255))
    part.write_bytes(spoilt)

    try:
        judge(path, tree)
    finally:
        part.write_bytes(content)


@pytest.mark.parametrize("name", CONTAINERS)
@given(data=st.data())
def test_pieces_cut_out_doubled_or_replaced_are_an_error_or_change_nothing(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / f"pieces-{name}"
    if not path.exists():
        statetree.save(path, SMALL, durable=False)
    part = data.draw(st.sampled_from(list(parts(path))))
    content = part.read_bytes()
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    piece = data.draw(st.sampled_from([b"", content[start:stop] * 2]) | st.binary(max_size=40))
    part.write_bytes(content[:start] + piece + content[stop:])

    try:
        judge(path, SMALL)
    finally:
        part.write_bytes(content)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_changed_block_of_a_large_array_is_named_and_the_others_are_still_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    array = np.arange(10 << 18, dtype=np.int32).view(np.uint8)
    statetree.save(path, {"big": array}, durable=False)
    marker = array[5 << 20 : (5 << 20) + 300].tobytes()
    part = path if path.is_file() else next(path.glob("*/arrays/0-big/c.0"))
    content = bytearray(part.read_bytes())
    content[content.index(marker)] ^= 1
    part.write_bytes(content)

    with pytest.raises(statetree.IntegrityError) as caught:
        statetree.load(path)

    assert (caught.value.code, caught.value.path) == ("DIGEST", ("big",))
    assert "bytes 4194304 to 8388608 of 10485760" in str(caught.value)
    with statetree.open(path) as file:
        assert statetree.difference(file["big"][:1000], array[:1000].copy()) is None
        with pytest.raises(statetree.IntegrityError):
            file["big"][5 << 20]


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_tree_has_the_same_manifest_in_every_container(name: str, tmp_path: Path) -> None:
    text = saving.manifest_of(SMALL, "xxh3-128", statetree.Limits())
    for compression in (None, "gzip", "zstd"):
        statetree.save(tmp_path / name, SMALL, compression=compression, durable=False)

        found = [part.read_bytes() for part in parts(tmp_path / name)]

        assert any(text in data for data in found)
