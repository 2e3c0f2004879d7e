"""HDF5 files: what is saved is loaded, and stock tools see the arrays as they are."""

import shutil
import subprocess
from math import prod
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
import pytest

import statetree as st
from statetree.digest import BLOCK, hasher
from statetree.dtype import BY_NAME
from statetree.limits import Limits
from statetree.store import ArraySpec, WriteOptions
from statetree_backends.hdf5 import BACKEND

SHAPES = [(), (0,), (1,), (3, 0, 2), (2, 3, 5), (1,) * 30 + (3, 2), (130, 33)]
H5DUMP = shutil.which("h5dump")


def some(dtype: str, shape: tuple[int, ...], seed: int = 0) -> Any:
    """Return an array of arbitrary bits of a dtype."""
    row = BY_NAME[dtype]
    top = 255 if row.top is None else row.top
    data = np.random.default_rng(seed).integers(0, top + 1, prod(shape) * row.itemsize, np.uint8)
    return np.frombuffer(data.tobytes(), row.numpy).reshape(shape)


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("dtype", BY_NAME)
def test_arrays_of_every_dtype_and_shape_are_loaded_unchanged(
    tmp_path: Path, dtype: str, compression: str | None
) -> None:
    tree = {str(shape): some(dtype, shape) for shape in SHAPES}

    st.save(tmp_path / "a.h5", tree, compression=compression, durable=False)

    assert st.difference(st.load(tmp_path / "a.h5"), tree) is None
    with st.open(tmp_path / "a.h5") as file:
        assert all(st.difference(file[k][...], tree[k]) is None for k in tree)


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("dtype", [name for name in BY_NAME if name != "bfloat16"])
def test_h5py_sees_every_array_with_its_shape_and_bytes(tmp_path: Path, dtype: str, compression: str | None) -> None:
    row = BY_NAME[dtype]
    arrays = [some(dtype, shape) for shape in SHAPES]
    st.save(tmp_path / "a.h5", arrays, compression=compression, durable=False)

    with h5py.File(tmp_path / "a.h5") as file:
        found = [file["arrays"][f"{i}-{i}"] for i in range(len(SHAPES))]
        read = [dataset[()] for dataset in found]

        assert list(file["arrays"]) == [f"{i}-{i}" for i in range(len(SHAPES))]
        assert [d.shape for d in found] == SHAPES
        expected = np.dtype(np.uint8) if row.carrier else row.numpy
        assert {d.dtype for d in found} == {expected}
        assert [np.asarray(r).tobytes() for r in read] == [a.tobytes() for a in arrays]
        attributes = [{"dtype": dtype.encode()}] if row.carrier else [{}]
        assert [dict(d.attrs) for d in found] == attributes * len(SHAPES)


def test_h5py_reads_bfloat16_as_the_same_numbers(tmp_path: Path) -> None:
    array = np.array([0.0, -0.0, 1.5, -3e38, 1e-40, np.inf, -np.inf, np.nan], ml_dtypes.bfloat16)
    st.save(tmp_path / "a.h5", array, durable=False)

    with h5py.File(tmp_path / "a.h5") as file:
        read = file["arrays/0-_"][()]

    assert read.dtype == np.float32
    assert np.isnan(read[-1])
    assert read[:-1].tobytes() == array[:-1].astype(np.float32).tobytes()


@pytest.mark.skipif(H5DUMP is None, reason="h5dump is not installed")
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_h5dump_shows_every_object(tmp_path: Path, compression: str | None) -> None:
    tree = {dtype: some(dtype, (2, 3)) for dtype in BY_NAME} | {"big": np.arange(70_000.0), "none": some("bool", (0,))}
    st.save(tmp_path / "a.h5", tree, compression=compression, durable=False)
    assert H5DUMP is not None

    shown = subprocess.run([H5DUMP, "-p", tmp_path / "a.h5"], capture_output=True, text=True, check=False)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.count("DATASET ") == 5 + len(tree)
    assert 'H5T_COMPOUND {\n            H5T_IEEE_F64LE "r";\n            H5T_IEEE_F64LE "i";' in shown.stdout
    assert '"FALSE"            0;' in shown.stdout
    assert ("COMPRESSION DEFLATE { LEVEL 5 }" in shown.stdout) is (compression == "gzip")


def test_the_layout_is_the_one_of_the_specification(tmp_path: Path) -> None:
    tree: dict[str, Any] = {
        "a": np.arange(7, dtype=np.float32),
        "b": np.zeros((0, 3)),
        "c": np.arange(5, dtype=np.int64),
    }
    st.save(tmp_path / "a.h5", tree, durable=False)

    data = (tmp_path / "a.h5").read_bytes()

    assert data[:9] == b"\x89HDF\r\n\x1a\n\0"
    assert int.from_bytes(data[40:48], "little") == len(data)
    assert data[4096:4112] == b"\x89statetree\r\n\x1a\n\0\0"
    with h5py.File(tmp_path / "a.h5") as file:
        assert sorted(file) == ["arrays", "blocks", "header", "index", "info", "manifest"]
        assert file["header"].id.get_offset() == 4096
        assert bytes(file["header"][()]) == data[4096:8192]
        assert bytes(file["manifest"][()]).startswith(b'{"algorithm":"xxh3-128","arrays":[')
        index = file["index"][()].view("<u8").reshape(-1, 2).tolist()
        assert index == [[8192, 28], [0, 0], [8256, 40]]
        assert data[8192:8220] == tree["a"].tobytes()
        assert data[8256:8296] == tree["c"].tobytes()


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 8192, 8193, 20_000])
def test_h5py_finds_every_array_of_a_large_group_by_name(tmp_path: Path, count: int) -> None:
    st.save(tmp_path / "a.h5", [np.array(i, np.int32) for i in range(count)], durable=False)
    width = len(str(max(count - 1, 0)))
    some_of_them = sorted({0, 1, count // 2, count - 2, count - 1} & set(range(count)))

    with h5py.File(tmp_path / "a.h5") as file:
        assert list(file["arrays"]) == [f"{i:0{width}}-{i}" for i in range(count)]
        assert [int(file[f"arrays/{i:0{width}}-{i}"][()]) for i in some_of_them] == some_of_them
        assert "no such name" not in file["arrays"]


def test_any_order_of_names_makes_a_sorted_group(tmp_path: Path) -> None:
    names = ["b", "a", "é", "Z", "0"]
    specs = [ArraySpec.of(name, "uint8", (1,)) for name in names]
    writer = BACKEND.writer(tmp_path / "a.h5", WriteOptions(durable=False))

    writer.create(specs)
    for i in range(len(names)):
        writer.write(i, 0, bytes([i]))
    writer.commit(b"{}", b"{}", {})

    with h5py.File(tmp_path / "a.h5") as file:
        assert [int(file["arrays"][name][0]) for name in names] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("rows", [1, 1024, 1500])
def test_large_arrays_are_compressed_in_chunks_of_about_4_mib(tmp_path: Path, rows: int) -> None:
    array = np.arange(rows * 3000, dtype=np.float32).reshape(rows, 3000)
    st.save(tmp_path / "a.h5", {"w": array}, compression="gzip", durable=False)

    with h5py.File(tmp_path / "a.h5") as file:
        dataset = file["arrays/0-w"]

        assert dataset.chunks == (min(rows, BLOCK // 12_000), 3000)
        assert (dataset.compression, dataset.shuffle) == ("gzip", True)
        assert dataset[()].tobytes() == array.tobytes()
    with st.open(tmp_path / "a.h5") as lazy:
        assert lazy["w"][rows // 2 :].tobytes() == array[rows // 2 :].tobytes()
    assert (tmp_path / "a.h5").stat().st_size < array.nbytes * 0.8 + 30_000


def test_block_digests_of_large_arrays_are_stored_in_order(tmp_path: Path) -> None:
    arrays = [np.arange(n, dtype=np.uint8) for n in (BLOCK, BLOCK + 1, 3 * BLOCK)]
    st.save(tmp_path / "a.h5", arrays, algorithm="sha-256", durable=False)
    expected = b"".join(hasher("sha-256")(a[k : k + BLOCK].data) for a in arrays[1:] for k in range(0, len(a), BLOCK))

    with h5py.File(tmp_path / "a.h5") as file:
        assert bytes(file["blocks"][()]) == expected
    assert st.difference(st.load(tmp_path / "a.h5"), arrays) is None


def test_zstd_is_refused_because_stock_readers_do_not_have_it(tmp_path: Path) -> None:
    with pytest.raises(st.WriteError) as caught:
        BACKEND.writer(tmp_path / "a.h5", WriteOptions(compression="zstd"))

    assert str(caught.value) == (
        "expected a compression that every HDF5 library can read (gzip), got 'zstd', a plug-in filter that stock "
        "readers do not have: use compression='gzip', or a Zarr or BSON container for zstd"
    )
    assert caught.value.code == "WRITE_COMPRESSION"
    assert list(tmp_path.iterdir()) == []


def test_an_aborted_save_leaves_nothing(tmp_path: Path) -> None:
    writer = BACKEND.writer(tmp_path / "a.h5", WriteOptions())
    writer.abort()
    writer.create([ArraySpec.of("w", "uint8", (9,))])
    writer.write(0, 0, b"123456789")

    writer.abort()
    writer.abort()

    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_not_recognised(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["header"] = np.arange(4096).astype(np.uint8)
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["header"] = h5py.ExternalLink("other.h5", "/header")
    (tmp_path / "broken.h5").write_bytes((tmp_path / "other.h5").read_bytes()[:700])

    found = [BACKEND.recognises(path, path.read_bytes()[:8192]) for path in tmp_path.iterdir()]

    assert found == [False] * 3
    assert BACKEND.recognises(tmp_path / "missing", b"\x89HDF\r\n\x1a\n") is False


def test_arrays_are_mapped_where_they_lie(tmp_path: Path) -> None:
    st.save(tmp_path / "a.h5", [np.arange(3.0), np.zeros(0)], durable=False)
    reader = BACKEND.reader(tmp_path / "a.h5", Limits())
    reader.manifest()
    reader.bind([ArraySpec.of("0-0", "float64", (3,)), ArraySpec.of("1-1", "float64", (0,))])

    view = reader.view(0)

    assert view is not None
    assert bytes(view) == np.arange(3.0).tobytes()
    assert view.readonly
    assert reader.place(0) == "/arrays/0-0"
    assert reader.stored_bytes() == (tmp_path / "a.h5").stat().st_size
    reader.close()
    reader.close()
    assert bytes(view) == np.arange(3.0).tobytes()
