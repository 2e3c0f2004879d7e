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


def test_keys_made_to_collide_are_refused_before_they_cost_time() -> None:
    prime = (1 << 61) - 1
    pairs: list[Any] = []
    for k in range(1, 200_000):
        pairs += [{"int": f"{k * prime:x}"}, None]
    started = time.process_time()

    with pytest.raises(st.LimitError) as refused:
        Decoder((), Limits()).decode({"dict": pairs})

    assert refused.value.code == "LIMIT_TIME"
    assert time.process_time() - started < 5
