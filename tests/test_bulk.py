"""Loading whole trees: wherever a store says that arrays lie, each comes out as itself, in memory of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import statetree
from statetree import IntegrityError, difference
from statetree.bulk import Bulk
from statetree.digest import BLOCK, digest
from statetree.manifest import ArrayEntry, Manifest
from statetree.source import Source
from statetree.store import ArraySpec, Layout

Place = tuple[int, int]
DTYPES = ["uint8", "bool", "int4", "float32", "complex128"]


class ScatteredReader:
    """A store whose arrays lie where a test put them; what its layout does not say is read one by one."""

    def __init__(self, arrays: Sequence[np.ndarray[Any, Any]], places: Sequence[Place | None]) -> None:
        self.data = [array.tobytes() for array in arrays]
        self.places = places
        self.segments = {place[0]: bytearray(1 << 20) for place in places if place is not None}
        for data, place in zip(self.data, places, strict=True):
            if place is not None:
                self.segments[place[0]][place[1] : place[1] + len(data)] = data

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        pass

    def layout(self) -> Layout:
        segments = np.array([-1 if place is None else place[0] for place in self.places], np.int64)
        offsets = np.array([0 if place is None else place[1] for place in self.places], np.int64)
        return Layout(segments, offsets, np.array(list(map(len, self.data)), np.int64), self.read_segment)

    def read_segment(self, segment: int, offset: int, out: memoryview) -> None:
        out[:] = self.segments[segment][offset : offset + len(out)]

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        out[:] = self.data[index][start:stop]

    def reread(self, index: int) -> bool:
        return False

    def place(self, index: int) -> str:
        return f"array {index}"


def source_of(arrays: Sequence[np.ndarray[Any, Any]], dtypes: Sequence[str], reader: Any) -> Source:
    entries = [
        ArrayEntry(digest("xxh3-128", array.tobytes()), dtype, array.shape)
        for array, dtype in zip(arrays, dtypes, strict=True)
    ]
    node = {"list": [{"array": index} for index in range(len(arrays))]}
    return Source(reader, Manifest("xxh3-128", entries, [a.nbytes for a in arrays], node), "test", verify=True)


def array_of(dtype: str, size: int, seed: int) -> np.ndarray[Any, Any]:
    numpy = statetree.dtype.BY_NAME[dtype].numpy
    top = statetree.dtype.BY_NAME[dtype].top or 255
    raw = np.random.default_rng(seed).integers(0, top + 1, size * numpy.itemsize, np.uint8)
    return raw.view(numpy)


places = st.none() | st.tuples(st.integers(0, 1), st.integers(0, 400) | st.integers(0, 40).map(lambda k: 16 * k))
stored = st.lists(st.tuples(st.sampled_from(DTYPES), st.integers(0, 9), places), max_size=12)


@given(stored)
@example([("float32", 4, (0, 64 * k)) for k in range(8)])
@example([("float32", 4, (0, 8)), ("float32", 4, (0, 0))])
@example([("uint8", 1, (0, 0)), ("uint8", 1, (0, 1 << 19))])
@example([("bool", 0, (0, 0)), ("bool", 2, (0, 0)), ("int4", 0, None)])
def test_arrays_come_from_wherever_they_lie_and_share_no_memory(rows: list[tuple[str, int, Place | None]]) -> None:
    dtypes = [dtype for dtype, _, _ in rows]
    arrays = [array_of(dtype, size, seed) for seed, (dtype, size, _) in enumerate(rows)]
    reader = ScatteredReader(arrays, [place for _, _, place in rows])
    # Where two arrays overlap, the store has bytes of the later one: the other has a wrong digest there.
    bulk = Bulk(source_of(arrays, dtypes, reader))

    bulk.fill()

    assert difference(bulk.arrays, arrays) is None
    for k, array in enumerate(bulk.arrays):
        assert array.flags.writeable
        assert array.flags.aligned
        assert not any(np.shares_memory(array, other) for other in bulk.arrays[:k])


def test_arrays_that_a_store_says_lie_over_each_other_are_read_apart() -> None:
    arrays = [np.arange(8, dtype=np.float32)] * 2
    bulk = Bulk(source_of(arrays, ["float32"] * 2, ScatteredReader(arrays, [(0, 0), (0, 0)])))

    bulk.fill()
    bulk.arrays[0][:] = 0

    assert difference(bulk.arrays[1], arrays[1]) is None


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip", ".bson"])
def test_a_tree_of_large_and_small_arrays_is_the_one_that_was_saved(suffix: str, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    sizes = [5 << 20, 3, 0, 1 << 20, *([200] * 1200), BLOCK, BLOCK + 1, 17 << 20, 40, 9 << 20, 70_000]
    tree = {f"a{k}": random.integers(0, 256, size, np.uint8) for k, size in enumerate(sizes)}
    statetree.save(tmp_path / f"x{suffix}", tree, durable=False)

    assert difference(statetree.load(tmp_path / f"x{suffix}"), tree) is None


def test_of_several_damaged_arrays_the_first_is_named(tmp_path: Path) -> None:
    tree = {f"a{k}": np.full(9 << 20, k, np.uint8) for k in range(5)}
    path = tmp_path / "x.bson"
    statetree.save(path, tree, durable=False)
    data = bytearray(path.read_bytes())
    for k in (1, 3, 4):
        data[data.index(bytes([k]) * (1 << 20)) + (5 << 20)] ^= 1
    path.write_bytes(data)

    with pytest.raises(IntegrityError) as refused:
        statetree.load(path)

    assert refused.value.path == ("a1",)
