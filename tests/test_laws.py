"""The laws of a round trip, for every container."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

import statetree as st
import statetree.inspecting
import statetree.loading
from statetree_backends import memory
from statetree_conformance import strategies

CONTAINERS = {"memory": "m", "hdf5": "t.h5", "zarr": "t.zarr", "zarr.zip": "t.zarr.zip", "bson": "t.bson"}
each_container = pytest.mark.parametrize("container", CONTAINERS)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)
    memory.clear()


def saved(folder: Path, container: str, tree: Any, name: str = "") -> Path:
    path = folder / (name + CONTAINERS[container])
    st.save(path, tree, backend="memory" if container == "memory" else None, durable=False)
    return path


@each_container
@given(tree=strategies.trees(namedtuples=True, crooked=True))
def test_a_saved_tree_is_loaded_unchanged(folder: Path, container: str, tree: Any) -> None:
    path = saved(folder, container, tree)

    assert st.difference(tree, st.load(path)) is None


@each_container
@given(tree=strategies.menageries())
def test_arrays_and_scalars_of_every_dtype_come_back(folder: Path, container: str, tree: Any) -> None:
    path = saved(folder, container, tree)

    assert st.difference(tree, st.load(path)) is None


@each_container
@given(tree=strategies.trees())
def test_a_loaded_tree_saved_again_has_the_same_digest_in_every_container(
    folder: Path, container: str, tree: Any
) -> None:
    path = saved(folder, container, tree)

    assert st.open(path).digest == st.digest(tree) == st.digest(st.load(path))


@each_container
@given(tree=strategies.trees())
def test_lazy_and_mapped_reading_give_what_loading_gives(folder: Path, container: str, tree: Any) -> None:
    path = saved(folder, container, tree)

    with st.open(path) as file:
        eager = st.load(path)
        lazy = st.loading.map_arrays(file.tree, _read_once())
        assert st.difference(eager, lazy) is None
    assert st.difference(eager, st.load(path, mmap=True)) is None


def _read_once() -> Any:
    known: dict[int, Any] = {}
    return lambda lazy: known.setdefault(id(lazy), lazy.read())


@each_container
@given(tree=strategies.trees(), data=hs.data())
def test_a_part_loaded_alone_is_the_part_of_the_whole(
    folder: Path, container: str, tree: Any, data: hs.DataObject
) -> None:
    path = saved(folder, container, tree)
    with st.open(path) as file:
        paths = [line.path for line in st.inspecting.lines_of(file.tree)]
    chosen = data.draw(hs.sampled_from(paths))

    part = st.load(path, select=st.path_text(chosen))

    assert st.difference(part, st.loading.lookup(st.load(path), chosen)) is None


@given(tree=strategies.trees(), chain=hs.lists(hs.sampled_from(list(CONTAINERS)), min_size=2, max_size=4))
def test_any_chain_of_conversions_ends_at_the_same_tree(folder: Path, tree: Any, chain: list[str]) -> None:
    path = saved(folder, chain[0], tree, "0")
    for number, container in enumerate(chain[1:], 1):
        after = folder / f"{number}{CONTAINERS[container]}"
        st.convert(path, after, backend="memory" if container == "memory" else None, durable=False)
        path = after

    assert st.difference(tree, st.load(path)) is None
    assert st.open(path).digest == st.digest(tree)


@each_container
@given(pair=strategies.laid_out())
def test_how_an_array_lies_in_memory_does_not_count(folder: Path, container: str, pair: tuple[Any, Any]) -> None:
    crooked, plain = pair
    before = crooked.tobytes()

    path = saved(folder, container, {"a": crooked})

    assert st.open(path).digest == st.digest({"a": plain})
    assert st.difference(st.load(path), {"a": plain}) is None
    assert crooked.tobytes() == before


@pytest.mark.parametrize("container", ["zarr", "zarr.zip", "bson"])
def test_what_compresses_best_is_within_the_ratio_that_is_loaded_by_default(tmp_path: Path, container: str) -> None:
    path, zeros = tmp_path / CONTAINERS[container], np.zeros(64 << 20, np.uint8)

    st.save(path, zeros, compression="zstd", durable=False)

    with st.open(path) as file:
        assert 1032 < zeros.nbytes / file.stored_bytes <= st.Limits().ratio


@pytest.mark.parametrize("name", ["byte", "short", "intc", "long", "longlong"])
@pytest.mark.parametrize("sign", ["", "u"])
def test_a_number_of_any_type_of_c_is_the_scalar_of_its_dtype(name: str, sign: str) -> None:
    kind = getattr(np, sign + name)
    dtype = np.zeros(1, kind).dtype.name

    assert st.difference({"n": kind(3)}, {"n": getattr(np, dtype)(3)}) is None
    assert st.digest({"n": kind(3)}) == st.digest({"n": getattr(np, dtype)(3)})


@given(tree=strategies.trees())
def test_a_tree_does_not_differ_from_itself_and_difference_is_symmetric(tree: Any) -> None:
    other = [tree]

    assert st.difference(tree, tree) is None
    assert (st.difference(tree, other) is None) == (st.difference(other, tree) is None)


@given(tree=strategies.trees(max_depth=59), other=strategies.trees(max_depth=59))
def test_equal_digests_mean_no_difference(tree: Any, other: Any) -> None:
    # In lists, because a str by itself could be meant as a path.
    assert (st.digest([tree]) == st.digest([other])) == (st.difference(tree, other) is None)


BAD = (lambda: 0, object(), {1, 2}, np.array([None]), np.array(["a"]), 1.5j.__class__, bytearray(b"x"), range(3))


@each_container
@given(tree=strategies.trees(max_depth=50), bad=hs.sampled_from(BAD), key=strategies.keys())
def test_a_bad_value_is_refused_with_its_path_and_nothing_is_written(
    folder: Path, container: str, tree: Any, bad: Any, key: Any
) -> None:
    path = folder / f"bad-{CONTAINERS[container]}"

    with pytest.raises(st.WriteError) as refused:
        st.save(path, {"a": tree, "b": [{key: (tree, bad)}]}, backend="memory" if container == "memory" else None)

    assert refused.value.path == ("b", 0, key, 1)
    assert not path.exists()


def test_everything_that_is_hard_was_drawn() -> None:
    assert strategies.undrawn() == []
