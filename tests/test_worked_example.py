"""The worked example of the specification is what the program writes."""

import re
from pathlib import Path

import ml_dtypes
import numpy as np

import statetree as st

SPEC = (Path(__file__).parent.parent / "spec" / "spec.md").read_text("utf-8")


def example() -> dict[object, object]:
    w = np.array([[1, -0.0, 2], [3, 4, 5]], np.float32)
    model = st.Record({"weight": w, "bias": np.array([0.5, -1], ml_dtypes.bfloat16), "σ": ()}, label="Dense")
    scalars = [True, np.float32(1)]
    return {"model": model, "tied": w, "epoch": 42, "loss": 0.125, 0: None, st.Symbol("opt"): scalars}


def test_the_manifest_of_the_example_is_the_one_of_the_specification(tmp_path: Path) -> None:
    st.save(tmp_path / "example.zarr", example(), durable=False)

    (manifest,) = tmp_path.glob("example.zarr/*/manifest/c/0")

    assert f"```json\n{manifest.read_text('utf-8')}\n```" in SPEC
    assert f"`{st.digest(example())}`" in SPEC


def test_the_bson_of_the_example_has_the_data_documents_of_the_specification(tmp_path: Path) -> None:
    st.save(tmp_path / "example.bson", example(), durable=False)
    data = (tmp_path / "example.bson").read_bytes()
    listing = SPEC.split("### A.3")[1]
    lines = dict(re.findall(r"^([0-9a-f]{6})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})", listing, re.M))

    # The header and the data documents come first; the info text, which holds the time, comes behind them.
    shown = {at: line for at, line in lines.items() if int(at, 16) < data.index(b"blocks\0") - 32}

    assert len(shown) > 10
    for at, line in shown.items():
        assert data[int(at, 16) : int(at, 16) + 16].hex(" ") == line
