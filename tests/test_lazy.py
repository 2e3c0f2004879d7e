"""Lazy arrays: a slice is what NumPy gives, costs the blocks that it needs, and is verified."""

import copy
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import statetree
from statetree import IntegrityError, LazyArray, StateFile, UsageError, WriteError, difference
from statetree.digest import BLOCK
from statetree.registry import find_backend

CLOSED = "expected an open file, got a closed one: read inside of the with block, or use statetree.load"
CONTAINERS = ["x.h5", "x.zarr", "x.zarr.zip", "x.bson"]
ROW = 1 << 20
"""Bytes of a row of the large array: four rows a block."""

rng = np.random.default_rng(0)
SMALL = {
    "ramp": np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4),
    "vector": rng.standard_normal(7),
    "bits": rng.integers(0, 16, 5).astype(ml_dtypes.uint4),
    "zero": np.full((), 3.5, np.float32),
    "empty": np.zeros((0, 3), np.complex64),
    "thin": np.zeros((4, 0), np.uint8),
}
TREE = {**SMALL, "large": rng.integers(0, 256, (18, ROW), np.uint8), "n": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("lazy")
    for name in CONTAINERS:
        statetree.save(place / name, TREE, durable=False)
    return place


@pytest.fixture(scope="module", params=CONTAINERS)
def file(folder: Path, request: pytest.FixtureRequest) -> Iterator[StateFile]:
    with statetree.open(folder / request.param) as opened:
        yield opened


def test_structure_is_there_and_arrays_are_described_without_reading(file: StateFile) -> None:
    large = file["large"]

    assert (list(file), len(file), "ramp" in file, file["n"]) == (list(TREE), len(TREE), True, 1)
    assert (large.shape, large.ndim, large.size, large.nbytes) == ((18, ROW), 2, 18 * ROW, 18 * ROW)
    assert (large.dtype, len(large), repr(large)) == (np.uint8, 18, f"LazyArray(shape=(18, {ROW}), dtype=uint8)")


def test_a_whole_array_is_the_one_that_was_saved(file: StateFile) -> None:
    for name in (*SMALL, "large"):
        lazy = file[name]

        assert difference(np.asarray(lazy), TREE[name]) is None
        assert difference(lazy.view(), TREE[name]) is None
        assert difference(lazy[...], TREE[name]) is None


ints = st.integers(-8, 8)
indices = (
    ints
    | ints.map(np.int64)
    | st.slices(8)
    | st.builds(slice, ints | st.none(), ints | st.none(), ints.filter(bool) | st.none())
    | st.just(Ellipsis)
    | st.none()
    | st.booleans()
    | st.lists(st.integers(-2, 1), max_size=3)
)
selections = indices | st.lists(indices, max_size=4).map(tuple)


def result(array: Any, key: Any) -> Any:
    """Return what indexing gives: the bits with dtype and shape, or the class of the error."""
    try:
        found = array[key]
    except (IndexError, ValueError, TypeError) as error:
        return type(error)
    return type(found) is np.ndarray, found.dtype, found.shape, found.tobytes()


@given(st.sampled_from(sorted(SMALL)), selections)
@example("ramp", ())
@example("ramp", slice(None, None, -1))
@example("ramp", (slice(-1, -3, -2), ..., 0))
@example("ramp", slice(None, None, 0))
@example("zero", ())
@example("zero", 0)
@example("empty", 0)
@example("empty", slice(None, None, -1))
@example("vector", 7)
@example("vector", -8)
def test_indexing_a_lazy_array_gives_what_numpy_gives(file: StateFile, name: str, key: Any) -> None:
    assert result(file[name], key) == result(SMALL[name], key)


@pytest.mark.parametrize("key", [slice(3, 9), slice(None, None, -5), 17, -1, (slice(2, 6), slice(10, 20)), slice(4, 4)])
def test_slices_of_large_arrays_are_those_of_numpy(file: StateFile, key: Any) -> None:
    assert result(file["large"], key) == result(TREE["large"], key)


def test_what_is_read_is_owned_and_writable(file: StateFile) -> None:
    row = file["large"][3]
    row[:] = 0

    assert difference(file["large"][3], TREE["large"][3]) is None


def test_a_view_is_read_only(file: StateFile) -> None:
    view = file["vector"].view()

    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


def test_iteration_gives_the_rows(file: StateFile) -> None:
    assert [row.tobytes() for row in file["ramp"]] == [row.tobytes() for row in SMALL["ramp"]]


def test_conversion_takes_a_dtype_and_refuses_to_share(file: StateFile) -> None:
    converted = np.asarray(file["ramp"], dtype=np.float64)

    assert difference(converted, SMALL["ramp"].astype(np.float64)) is None
    with pytest.raises(ValueError, match=r"^a lazy array cannot be converted without a copy; use \.view\(\)$"):
        np.asarray(file["ramp"], copy=False)


def test_a_0_d_array_has_no_length(file: StateFile) -> None:
    with pytest.raises(TypeError, match=r"^a 0-d array has no length$"):
        len(file["zero"])


def test_one_array_at_two_paths_is_one_lazy_array(tmp_path: Path) -> None:
    w = np.ones(3)
    statetree.save(tmp_path / "x.bson", {"a": w, "b": [w]}, durable=False)

    with statetree.open(tmp_path / "x.bson") as file:
        assert file["a"] is file["b"][0]


class CountingReader:
    """A store that counts which bytes of which array are asked for, and maps nothing."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.reads: list[tuple[int, int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    def view(self, index: int) -> None:
        return None

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        self.reads.append((index, start, stop))
        self._reader.read(index, start, stop, out)


@pytest.fixture(params=CONTAINERS)
def counted(folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[StateFile, CountingReader]]:
    with statetree.open(folder / request.param) as opened:
        reader = CountingReader(opened.source.reader)
        opened.source.reader = reader
        yield opened, reader


LARGE = list(SMALL).index("thin") + 1


@pytest.mark.parametrize(
    ("key", "blocks"),
    [
        (0, [0]),
        (17, [4]),
        (slice(0, 4), [0]),
        (slice(3, 5), [0, 1]),
        (slice(8, 12), [2]),
        (slice(9, 7, -1), [2]),
        ((slice(5, 6), slice(0, 10)), [1]),
        (slice(6, 6), []),
    ],
)
def test_a_slice_reads_only_the_blocks_that_it_needs(
    counted: tuple[StateFile, CountingReader], key: Any, blocks: list[int]
) -> None:
    file, reader = counted

    file["large"][key]

    size = 18 * ROW
    assert reader.reads == [(LARGE, k * BLOCK, min(size, (k + 1) * BLOCK)) for k in blocks]


def test_a_small_array_is_read_whole_and_once(counted: tuple[StateFile, CountingReader]) -> None:
    file, reader = counted

    file["vector"][2:3]

    assert reader.reads == [(1, 0, SMALL["vector"].nbytes)]


def test_opening_and_describing_reads_no_array(counted: tuple[StateFile, CountingReader]) -> None:
    file, reader = counted

    _ = repr(file), file.digest, file.info, file["n"], file["large"].digest

    assert reader.reads == []


def test_selecting_a_part_reads_its_arrays_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = type(find_backend("bson"))
    readers: list[CountingReader] = []
    make = backend.reader

    def reader(self: Any, path: Path, limits: Any) -> CountingReader:
        readers.append(CountingReader(make(self, path, limits)))
        return readers[-1]

    monkeypatch.setattr(backend, "reader", reader)

    part = statetree.load(folder / "x.bson", select="/ramp")

    assert difference(part, SMALL["ramp"]) is None
    assert readers[0].reads == [(0, 0, SMALL["ramp"].nbytes)]


class FlippingReader(CountingReader):
    """A store of which one byte of one array is not as it was written."""

    def __init__(self, reader: Any, index: int, at: int) -> None:
        super().__init__(reader)
        self._at = index, at

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        super().read(index, start, stop, out)
        if index == self._at[0] and start <= self._at[1] < stop:
            out[self._at[1] - start] ^= 1

    def reread(self, index: int) -> bool:
        return False


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_damaged_block_is_refused_and_the_others_are_read(folder: Path, name: str) -> None:
    with statetree.open(folder / name) as file:
        file.source.reader = FlippingReader(file.source.reader, LARGE, 9 * ROW)
        large = file["large"]

        assert difference(large[:8], TREE["large"][:8]) is None
        assert difference(large[12:], TREE["large"][12:]) is None
        with pytest.raises(IntegrityError) as caught:
            large[7:9]

        place = file.source.reader.place(LARGE)
        assert str(caught.value) == (
            f"expected the bytes that were saved ({large.digest}), "
            f"got bytes {2 * BLOCK} to {3 * BLOCK} of {18 * ROW} with another digest (at /large) (in {place}): "
            "the file is damaged: restore it from a copy, or read the rest of it with select="
        )
        assert (caught.value.code, caught.value.path) == ("DIGEST", ("large",))


def test_damage_is_not_looked_for_where_verify_is_off(folder: Path) -> None:
    with statetree.open(folder / "x.bson", verify=False) as file:
        file.source.reader = FlippingReader(file.source.reader, LARGE, 9 * ROW)

        assert file["large"][9, 0] == TREE["large"][9, 0] ^ 1


def test_reading_after_close_is_refused(folder: Path) -> None:
    with statetree.open(folder / "x.h5") as file:
        lazy = {name: file[name] for name in (*SMALL, "large")}

    for array in lazy.values():
        for read in (lambda a: a[...], np.asarray, LazyArray.read, LazyArray.view, LazyArray.problems):
            with pytest.raises(UsageError) as caught:
                read(array)

            assert (str(caught.value), caught.value.code) == (CLOSED, "CLOSED")
    with pytest.raises(UsageError):
        lazy["large"][2:2]
    assert repr(lazy["vector"]) == "LazyArray(shape=(7,), dtype=float64)"


def test_a_view_outlives_its_file(folder: Path) -> None:
    with statetree.open(folder / "x.h5") as file:
        view = file["large"].view()

    assert difference(view, TREE["large"]) is None


def test_close_is_allowed_twice(folder: Path) -> None:
    file = statetree.open(folder / "x.bson")

    file.close()
    file.close()


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_lazy_array_is_neither_pickled_nor_copied(file: StateFile, act: Any) -> None:
    with pytest.raises(UsageError) as caught:
        act(file["vector"])

    assert str(caught.value) == (
        "expected an array in memory, got a lazy array of an open file: "
        "read it first with numpy.asarray(a), or load the file with statetree.load"
    )


@pytest.mark.parametrize("act", [pickle.dumps, copy.copy, copy.deepcopy])
def test_an_open_file_is_neither_pickled_nor_copied(file: StateFile, act: Any) -> None:
    with pytest.raises(UsageError) as caught:
        act(file)

    assert str(caught.value) == (
        "expected a tree in memory, got an open file: load it with statetree.load, or open it anew where it is needed"
    )


def test_a_lazy_array_is_not_saved(file: StateFile, tmp_path: Path) -> None:
    with pytest.raises(WriteError) as caught:
        statetree.save(tmp_path / "y.h5", file.tree)

    assert str(caught.value) == (
        "expected a value of a state tree, got an object of type statetree.lazy.LazyArray (at /ramp): "
        "read it with numpy.asarray(a), or convert the file with statetree.convert"
    )
    assert list(tmp_path.iterdir()) == []


def test_threads_may_read_one_file_at_once(file: StateFile) -> None:
    def read(k: int) -> bool:
        name = sorted(SMALL)[k % len(SMALL)]
        rows = file["large"][k % 15 : k % 15 + 3]
        return difference(rows, TREE["large"][k % 15 : k % 15 + 3]) is None and (
            difference(np.asarray(file[name]), SMALL[name]) is None
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(60)))
