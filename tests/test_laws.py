"""The laws of the suite, for every container that comes with statetree."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import statetree as st
from statetree_backends import memory
from statetree_conformance import strategies
from statetree_conformance.containers import OURS
from statetree_conformance.laws import LAWS
from statetree_conformance.subject_laws import SUBJECT_LAWS


@pytest.fixture(autouse=True)
def nothing_in_memory() -> Iterator[None]:
    yield
    memory.clear()


@pytest.mark.statetree(*OURS)
def test_a_container_obeys(statetree_law: Callable[[], object]) -> None:
    statetree_law()


def test_everything_that_is_hard_was_drawn() -> None:
    assert strategies.undrawn() == []


@pytest.mark.parametrize("container", ["zarr", "zarr.zip", "bson"])
def test_what_compresses_best_is_within_the_ratio_that_is_loaded_by_default(tmp_path: Path, container: str) -> None:
    path, zeros = tmp_path / f"t.{container}", np.zeros(64 << 20, np.uint8)

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


def test_every_law_is_about_rules_of_the_specification() -> None:
    root = Path(__file__).parents[1]
    rules = re.findall(r"^\[([A-Z]-[0-9]+)\]", (root / "spec" / "spec.md").read_text("utf-8"), re.MULTILINE)

    assert {rule for law in (*LAWS, *(law for _, law in SUBJECT_LAWS)) for rule in law.rules} <= {*rules}
