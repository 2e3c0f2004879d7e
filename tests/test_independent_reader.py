"""A stranger's reader, written from the specification alone, reads what we write."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree as st
from independent_reader import read_bson, read_hdf5
from statetree.dtype import BY_NAME

READERS = {".h5": read_hdf5, ".bson": read_bson}


def tree_of_all_dtypes() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    tree: dict[str, Any] = {}
    for name, row in BY_NAME.items():
        for shape in ((), (0,), (3, 0, 2), (2, 3, 5), (1,) * 32):
            raw = rng.integers(0, (row.top or 255) + 1, int(np.prod(shape)) * row.itemsize, np.uint8)
            tree.setdefault(name, []).append(raw.view(row.numpy).reshape(shape))
    return tree


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("algorithm", ["sha-256", "xxh3-128"])
def test_a_reader_written_from_the_specification_reads_every_dtype_and_shape(
    tmp_path: Path, suffix: str, algorithm: str
) -> None:
    tree = tree_of_all_dtypes()
    st.save(tmp_path / f"t{suffix}", tree, algorithm=algorithm)

    node, arrays = READERS[suffix](tmp_path / f"t{suffix}")

    expected = [array for group in tree.values() for array in group]
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in expected]
    assert [a.shape for a in arrays] == [a.shape for a in expected]
    assert node["dict"][0] == "bool"
    assert node["dict"][1] == {"list": [{"array": i} for i in range(5)]}


@pytest.mark.parametrize("suffix", READERS)
@pytest.mark.parametrize("nbytes", [(4 << 20) + 1, 8 << 20, (8 << 20) + 1, 17 << 20])
def test_a_reader_written_from_the_specification_reads_arrays_of_several_blocks(
    tmp_path: Path, suffix: str, nbytes: int
) -> None:
    array = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    st.save(tmp_path / f"t{suffix}", {"w": array, "epoch": 3}, algorithm="sha-256")

    node, arrays = READERS[suffix](tmp_path / f"t{suffix}")

    assert node == {"dict": ["w", {"array": 0}, "epoch", 3]}
    assert arrays[0].tobytes() == array.tobytes()
