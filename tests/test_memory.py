"""Stores in memory: they are found by their name, and never stand in for a file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import statetree
from statetree import MissingFileError, UsageError, difference
from statetree_backends import memory

TREE = {"w": np.arange(3.0), "n": 1}


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    memory.clear()


def test_a_store_is_found_by_the_text_of_its_path_until_it_is_cleared() -> None:
    statetree.save("x", TREE, backend="memory")

    assert difference(statetree.load("x"), TREE) is None
    with statetree.open("x") as file:
        assert file.backend == "memory"
    memory.clear()
    with pytest.raises(MissingFileError):
        statetree.load("x")


def test_an_open_store_keeps_its_tree_when_another_is_saved_in_its_place() -> None:
    statetree.save("x", TREE, backend="memory")

    with statetree.open("x") as file:
        statetree.save("x", {"w": np.zeros(1)}, backend="memory")

        assert difference(file["w"][...], TREE["w"]) is None


def test_a_file_that_came_later_is_read_and_not_the_store_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    statetree.save(path, {"old": 1}, backend="memory")

    statetree.save(path, TREE)

    assert difference(statetree.load(path), TREE) is None


def test_a_store_cannot_take_the_name_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")

    with pytest.raises(UsageError) as refused:
        statetree.save(path, TREE, backend="memory")

    assert str(refused.value) == (
        f"expected a name that no file has, got that of a file (in {path}): choose another name for a store in memory"
    )
