"""What the Zarr backend writes is plain Zarr to zarr-python, and what zarr-python stores of it is read."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec
from zarr.storage import LocalStore, ZipStore

import statetree
from statetree.dtype import BY_NAME

CONTAINERS = ["x.zarr", "x.zarr.zip"]
SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (2, 3, 5), (1,) * 31 + (2,)]


def sample(dtype: str, shape: tuple[int, ...]) -> "np.ndarray[Any, Any]":
    """Return an array of every bit pattern in turn, signalling NaNs among them."""
    row = BY_NAME[dtype]
    count = int(np.prod(shape, dtype=int)) * row.itemsize
    data = (np.arange(count) * 37 + 11).astype(np.uint8)
    if row.top is not None:
        data &= np.uint8(row.top)
    return data.view(row.numpy).reshape(shape)


TREE = {f"{dtype}/{k}": sample(dtype, shape) for dtype in BY_NAME for k, shape in enumerate(SHAPES)}


def arrays_of(path: Path) -> tuple[Any, dict[str, Any]]:
    """Return the root group and the arrays by name, as zarr-python sees them."""
    store = ZipStore(path, mode="r") if path.suffix == ".zip" else LocalStore(path, read_only=True)
    root = zarr.open_group(store, mode="r", zarr_format=3, use_consolidated=False)
    generation: Any = root[root.attrs["statetree"]["generation"]]
    return root, dict(generation["arrays"].arrays())


def same_bits(stored: Any, array: "np.ndarray[Any, Any]") -> bool:
    read = np.asarray(stored[...])
    return read.shape == array.shape and read.tobytes() == array.tobytes()


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_stock_zarr_finds_every_array_of_the_right_name_shape_dtype_and_bits(
    name: str, compression: str | None, tmp_path: Path
) -> None:
    statetree.save(tmp_path / name, TREE, compression=compression, durable=False)

    root, arrays = arrays_of(tmp_path / name)

    assert sorted(arrays) == [f"{i:03}-{label.replace('/', '_')}" for i, label in enumerate(TREE)]
    for (label, array), found in zip(TREE.items(), map(arrays.get, sorted(arrays)), strict=True):
        row = BY_NAME[label.partition("/")[0]]
        assert found is not None
        assert (found.shape, found.dtype) == (array.shape, np.dtype(row.carrier or row.name))
        assert dict(found.attrs) == ({"statetree": {"dtype": row.name}} if row.carrier else {})
        assert same_bits(found, array)
    assert root.metadata.consolidated_metadata is None


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_saved_tree_of_every_dtype_and_shape_is_loaded_unchanged(
    name: str, compression: str | None, tmp_path: Path
) -> None:
    statetree.save(tmp_path / name, TREE, compression=compression, durable=False)

    assert statetree.difference(statetree.load(tmp_path / name), TREE) is None
    assert statetree.difference(statetree.load(tmp_path / name, mmap=True), TREE) is None


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_large_arrays_come_back_whole_and_in_slices(name: str, compression: str | None, tmp_path: Path) -> None:
    """Chunks of one row of 7 MB, of 4 MiB exactly, and of nearly 4 MiB, so that blocks and chunks differ."""
    tree = {
        "wide": np.arange(2 * 900_001, dtype=np.float64).reshape(2, -1),
        "rows": np.arange(3_000 * 1_001, dtype=np.float32).reshape(1_001, 3_000),
        "thin": np.arange(3 * 1_500_000, dtype=np.int64).astype(np.uint8).reshape(-1, 3),
        "flat": np.arange(1 << 20, dtype=np.int32),
    }

    statetree.save(tmp_path / name, tree, compression=compression, durable=False)

    assert statetree.difference(statetree.load(tmp_path / name), tree) is None
    with statetree.open(tmp_path / name) as file:
        for key, part in (("wide", slice(1, 2)), ("rows", slice(340, 701)), ("thin", slice(1_398_100, 1_398_102))):
            assert statetree.difference(file[key][part], tree[key][part].copy()) is None
    _, arrays = arrays_of(tmp_path / name)
    assert all(same_bits(arrays[f"{i}-{key}"], tree[key]) for i, key in enumerate(tree))
    if compression:
        assert [arrays[f"{i}-{key}"].chunks[0] for i, key in enumerate(tree)] == [1, 349, 1_398_101, 1 << 20]
    else:
        assert all(arrays[f"{i}-{key}"].chunks == tree[key].shape for i, key in enumerate(tree))


def test_the_manifest_is_a_file_of_a_zarr_folder_and_the_same_in_a_zip_file(tmp_path: Path) -> None:
    tree = {"w": np.arange(3.0), "n": 1}
    for name in CONTAINERS:
        statetree.save(tmp_path / name, tree, durable=False)

    (text,) = tmp_path.glob("x.zarr/*/manifest/c/0")

    assert json.loads(text.read_bytes())["statetree"] == "1.0"
    with zipfile.ZipFile(tmp_path / "x.zarr.zip") as archive:
        (entry,) = (n for n in archive.namelist() if n.endswith("/manifest/c/0"))
        assert archive.read(entry) == text.read_bytes()


def test_many_small_arrays_of_a_folder_are_packed_and_the_others_are_not(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tree: dict[str, Any] = {f"k{i}": rng.random(int(rng.integers(0, 900)), np.float32) for i in range(1_200)}
    tree["edge"] = rng.random(16_383, np.float32)
    tree["above"] = rng.random(16_384, np.float32)

    statetree.save(tmp_path / "x.zarr", tree, durable=False)

    root, arrays = arrays_of(tmp_path / "x.zarr")
    packs = root[root.attrs["statetree"]["generation"] + "/packs"]
    rows = packs["index"][...].view("<u8").reshape(-1, 3)
    empty = [i for i, array in enumerate(tree.values()) if not array.size]
    assert sorted(arrays) == [f"{i:04}-k{i}" for i in empty] + ["1201-above"]
    assert sorted(packs.array_keys()) == ["0", "index"]
    for row, array in zip(rows.tolist(), tree.values(), strict=True):
        if 0 < array.nbytes < 65_536:
            pack, offset, size = row
            assert (pack, offset % 64, size) == (1, 0, array.nbytes)
            assert packs["0"][offset : offset + size].tobytes() == array.tobytes()
        else:
            assert row == [0, 0, 0]
    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), tree) is None


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_packs_hold_at_most_16_mib_and_gaps_of_zeros(compression: str | None, tmp_path: Path) -> None:
    tree = [np.full(64_001, i % 251 + 1, np.uint8) for i in range(1_001)]

    statetree.save(tmp_path / "x.zarr", tree, compression=compression, durable=False)

    root, _ = arrays_of(tmp_path / "x.zarr")
    packs = root[root.attrs["statetree"]["generation"] + "/packs"]
    sizes = [packs[str(k)].shape[0] for k in range(4)]
    assert sorted(packs.array_keys()) == ["0", "1", "2", "3", "index"]
    assert [size <= 16 << 20 < size + 64_064 for size in sizes] == [True, True, True, False]
    assert sum(int((packs[str(k)][...] != 0).sum()) for k in range(4)) == 1_001 * 64_001
    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), tree) is None


@pytest.mark.parametrize(("count", "pack"), [(1_000, True), (1_001, False)])
def test_no_packs_are_made_for_a_thousand_arrays_or_if_not_wanted(count: int, pack: bool, tmp_path: Path) -> None:
    tree = [np.full(2, i, np.int16) for i in range(count)]

    statetree.save(tmp_path / "x.zarr", tree, pack=pack, durable=False)

    assert not list(tmp_path.glob("x.zarr/*/packs"))
    assert len(list(tmp_path.glob("x.zarr/*/arrays/*/c.0"))) == count
    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), tree) is None


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("packer", [None, GzipCodec(level=1), ZstdCodec(level=1, checksum=True)], ids=str)
@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_other_chunkings_along_the_first_axis_are_read(
    rows: int, checksum: bool, packer: Any, separator: Any, tmp_path: Path
) -> None:
    tree = {"w": np.arange(7 * 3, dtype=np.float32).reshape(7, 3)}
    statetree.save(tmp_path / "x.zarr", tree, durable=False)
    (place,) = tmp_path.glob("x.zarr/*/arrays/0-w")
    shutil.rmtree(place)
    stored = zarr.create_array(
        store=place,
        shape=(7, 3),
        chunks=(rows, 3),
        dtype="float32",
        fill_value=0,
        serializer=BytesCodec(),
        compressors=[c for c in (packer, Crc32cCodec() if checksum else None) if c is not None] or None,
        chunk_key_encoding={"name": "default", "separator": separator},
        config={"write_empty_chunks": True},
    )

    stored[...] = tree["w"]

    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), tree) is None
    with statetree.open(tmp_path / "x.zarr") as file:
        assert statetree.difference(file["w"][2:5], tree["w"][2:5].copy()) is None


def test_metadata_rewritten_by_stock_zarr_is_read(tmp_path: Path) -> None:
    tree = {"w": np.arange(4.0), "z": np.ones(2, np.complex64), "b": np.array([True]), "q": np.zeros(3, np.uint16)}
    statetree.save(tmp_path / "x.zarr", tree, durable=False)
    for place in tmp_path.glob("x.zarr/*/arrays/*"):
        if place.is_dir():
            array = zarr.open_array(LocalStore(place), mode="r+")
            array.attrs["units"] = "none"

    loaded = statetree.load(tmp_path / "x.zarr")

    assert statetree.difference(loaded, tree) is None


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_consolidated_metadata_is_not_relied_on(tmp_path: Path) -> None:
    tree = {"w": np.arange(4.0)}
    statetree.save(tmp_path / "x.zarr", tree, durable=False)
    zarr.consolidate_metadata(LocalStore(tmp_path / "x.zarr"), zarr_format=3)
    root = tmp_path / "x.zarr" / "zarr.json"
    assert b'"consolidated_metadata"' in root.read_bytes()
    root.write_bytes(root.read_bytes().replace(b'"float64"', b'"int8"'))

    assert statetree.difference(statetree.load(tmp_path / "x.zarr"), tree) is None
