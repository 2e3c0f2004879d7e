"""The conformance suite, run from this package's own repository, and what `numpy.load` sees of its files."""

import numpy as np
import pytest

import statetree as st


@pytest.mark.statetree("npz")
def test_npz(statetree_law):
    statetree_law()


def test_numpy_opens_a_file_and_sees_its_arrays(tmp_path):
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    st.save(tmp_path / "t.npz", {"model": {"weight": weight}})

    with np.load(tmp_path / "t.npz", allow_pickle=False) as file:
        found = file["arrays/0-model.weight"]

    assert found.dtype == np.float32
    assert found.tobytes() == weight.tobytes()
    assert found.shape == weight.shape
