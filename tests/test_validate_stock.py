"""Level `full`: what h5py, zarr-python and bson show is held against the manifest."""

import builtins
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import statetree as st
from statetree.dtype import BY_NAME
from statetree.store import Stock

CONTAINERS = ("x.h5", "x.zarr", "x.zarr.zip", "x.bson")
each_container = pytest.mark.parametrize("name", CONTAINERS)
SHAPES: list[tuple[int, ...]] = [(), (0,), (3, 0, 2), (2, 3, 5), (1,) * 31 + (2,)]


def sample(dtype: str, shape: tuple[int, ...]) -> "np.ndarray[Any, Any]":
    """Return an array of every bit pattern in turn, signalling NaNs among them."""
    row = BY_NAME[dtype]
    count = int(np.prod(shape, dtype=int)) * row.itemsize
    data = (np.arange(count) * 37 + 11).astype(np.uint8)
    return (data if row.top is None else data & np.uint8(row.top)).view(row.numpy).reshape(shape)


ALL = {f"{dtype}/{k}": sample(dtype, shape) for dtype in BY_NAME for k, shape in enumerate(SHAPES)}
LARGE = {"rows": np.arange(3 << 20, dtype=np.float32).reshape(3, -1), "row": np.ones((1, 1, 2 << 20), np.float32)}


@pytest.mark.parametrize("compression", [None, "gzip"])
@pytest.mark.parametrize("tree", [ALL, LARGE], ids=["all dtypes", "large arrays"])
@each_container
def test_what_save_writes_is_sound_to_stock_libraries(
    name: str, tree: dict[str, Any], compression: str | None, tmp_path: Path
) -> None:
    st.save(tmp_path / name, tree, compression=compression, durable=False)

    report = st.validate(tmp_path / name, level="full")

    assert (report.problems, report.not_run) == ((), ())


def test_arrays_in_packs_are_sound_to_stock_libraries(tmp_path: Path) -> None:
    st.save(tmp_path / "x.zarr", [np.full(3, i) for i in range(1200)], durable=False)

    report = st.validate(tmp_path / "x.zarr", level="full")

    assert (report.problems, report.not_run) == ((), ())


@each_container
def test_values_that_a_stock_library_shows_are_held_against_the_manifest(name: str, tmp_path: Path) -> None:
    tree = [np.arange(4), np.ones((2, 2), ml_dtypes.bfloat16)]
    st.save(tmp_path / name, tree, durable=False)

    with st.open(tmp_path / name) as file:
        reader = file.source.reader
        assert isinstance(reader, Stock)
        right = [array.digest.partition(":")[2] for array in file.tree]
        found = [list(reader.stock(digests)) for digests in (right, right[::-1])]

    assert [each.index for each in found[0]] == []
    assert [each.index for each in found[1]] == [0, 1]


@each_container
def test_shapes_and_names_that_a_stock_library_shows_are_held_against_the_manifest(name: str, tmp_path: Path) -> None:
    st.save(tmp_path / name, [np.zeros((2, 3), np.float32)], durable=False)
    st.save(tmp_path / "other.bson", [np.zeros((3, 2), np.float32)], durable=False)

    with st.open(tmp_path / name) as file, st.open(tmp_path / "other.bson") as other:
        reader = file.source.reader
        assert isinstance(reader, Stock)
        other.source.reader = reader
        other.source.bind()
        found = [each.problem.code for each in reader.stock([file.tree[0].digest.partition(":")[2]])]

    assert found == ["BACKEND_MISMATCH"]


def test_a_container_that_is_wrong_is_not_shown_to_a_stock_library(tmp_path: Path) -> None:
    st.save(tmp_path / "x.bson", [np.ones(4)], durable=False)
    data = bytearray((tmp_path / "x.bson").read_bytes())
    data[data.index(np.ones(4).tobytes())] ^= 1
    (tmp_path / "x.bson").write_bytes(data)

    report = st.validate(tmp_path / "x.bson", level="full")

    assert [problem.code for problem in report.problems] == ["DIGEST"]
    assert [(each.phase, each.reason) for each in report.not_run] == [("stock", "the container is wrong already")]


@pytest.mark.parametrize(("name", "library", "extra"), [("x.zarr", "zarr", "zarr"), ("x.bson", "bson", "bson")])
def test_a_stock_library_that_is_not_installed_is_no_fault_of_the_file(
    name: str, library: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    st.save(tmp_path / name, [np.ones(4)], durable=False)
    found = builtins.__import__

    def absent(module: str, *rest: Any, **more: Any) -> Any:
        if module.partition(".")[0] == library:
            raise ImportError(module)
        return found(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(st.MissingLibraryError) as refused:
        st.validate(tmp_path / name, level="full")

    assert str(refused.value) == (
        f"expected the library {library!r} to look at a container of the backend {extra!r} as its users do, "
        f"got no such library: pip install 'statetree[{extra}]', or level='digests'"
    )


@pytest.mark.parametrize("name", ["x.zarr", "x.zarr.zip", "x.bson"])
def test_a_file_in_zstd_is_not_wrong_where_zstandard_is_not_installed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    st.save(tmp_path / name, [np.ones(100_000)], compression="zstd", durable=False)
    found = builtins.__import__

    def absent(module: str, *rest: Any, **more: Any) -> Any:
        if module == "zstandard":
            raise ImportError(module)
        return found(module, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setattr("statetree_backends._codecs.find_spec", lambda module: None)
    with pytest.raises(st.MissingLibraryError) as refused:
        st.validate(tmp_path / name)

    assert refused.value.code == "BACKEND_LIBRARY"
    assert st.validate(tmp_path / name, level="structure").ok
