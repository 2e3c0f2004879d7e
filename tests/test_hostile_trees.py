"""Files that a conforming writer never makes: they cost little and are refused with a reason."""

import time
from pathlib import Path
from typing import Any

import pytest

import statetree as st
from statetree.decode import Decoder
from statetree.limits import Limits
from statetree.manifest import encode_manifest
from statetree.registry import find_backend
from statetree.store import WriteOptions


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip", ".bson"])
def test_a_manifest_of_another_algorithm_than_its_container_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    name = {".h5": "hdf5", ".bson": "bson"}.get(suffix, "zarr")
    info = st.save(tmp_path / "other.h5", None) and st.open(tmp_path / "other.h5").source.reader.info()
    writer = find_backend(name).writer(path, WriteOptions(algorithm="sha-256"))
    writer.create([])
    writer.commit(encode_manifest(None, [], "xxh3-128"), info, {})

    with pytest.raises(st.InvalidError) as refused:
        st.load(path)

    assert str(refused.value) == (
        "expected a container of the manifest's algorithm xxh3-128, got sha-256 (in manifest): "
        "write the file with a conforming writer"
    )


PRIME = (1 << 61) - 1
"""Python's hash of an int is its remainder by this."""


def test_keys_made_to_collide_are_refused_before_they_cost_time() -> None:
    pairs: list[Any] = []
    for k in range(1, 200_000):
        pairs += [{"int": f"{k * PRIME:x}"}, None]
    started = time.process_time()

    with pytest.raises(st.LimitError) as refused:
        Decoder((), Limits()).decode({"dict": pairs})

    assert str(refused.value) == (
        "expected keys that a hash table tells apart, got more than 1000 of one hash (at the root): "
        "write the file with a conforming writer"
    )
    assert refused.value.code == "LIMIT_TIME"
    assert time.process_time() - started < 5


@pytest.mark.parametrize("key", [lambda k: k * PRIME, lambda k: (k * PRIME,)], ids=["ints", "tuples"])
def test_what_is_refused_because_of_its_hashes_is_refused_when_it_is_saved(key: Any, tmp_path: Path) -> None:
    path = tmp_path / "x.bson"
    keys = {key(4 * k): k for k in range(1, 1501)}
    few = dict(list(keys.items())[:1000]) | {k: k for k in range(1000)} | {f"{k}": k for k in range(1000)}

    with pytest.raises(st.LimitError) as refused:
        st.save(path, {"a": keys})

    assert str(refused.value) == (
        "expected keys that a hash table tells apart, got more than 1000 of one hash (at /a): "
        "save a list of pairs, or other keys; this limit is fixed"
    )
    assert (refused.value.code, list(tmp_path.iterdir())) == ("LIMIT_TIME", [])
    st.save(path, few, durable=False)
    assert st.difference(st.load(path), few) is None
