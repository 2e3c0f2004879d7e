"""Tagged trees: nothing is lost on the way to them and back, whatever a tree holds."""

import hashlib
import json
import struct
from typing import Any

import jsonschema
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

import statetree
from statetree import Record, Symbol
from statetree_conformance.strategies import laid_out, menageries, trees
from statetree_conformance.tagged import SHOWN, tag, untag
from statetree_spec import schema

VALIDATOR = jsonschema.Draft202012Validator(schema("tagged"))


@given(trees(crooked=True))
def test_a_tree_tagged_and_untagged_is_the_tree(tree: Any) -> None:
    assert statetree.difference(tree, untag(tag(tree))) is None


@given(menageries())
def test_every_dtype_is_kept_bit_for_bit(tree: Any) -> None:
    assert statetree.difference(tree, untag(tag(tree))) is None


@given(trees())
def test_a_tagged_tree_is_plain_json_of_its_schema_and_tagged_again_the_same(tree: Any) -> None:
    text = json.dumps(tag(tree))

    VALIDATOR.validate(json.loads(text))
    assert json.dumps(tag(untag(json.loads(text)))) == text


@given(trees(), trees())
def test_tagged_trees_are_equal_if_and_only_if_the_trees_do_not_differ(a: Any, b: Any) -> None:
    assert (json.dumps(tag(a)) == json.dumps(tag(b))) == (statetree.difference(a, b) is None)


@given(laid_out())
def test_how_an_array_lies_in_memory_is_not_tagged(pair: tuple[Any, Any]) -> None:
    crooked, plain = pair

    assert tag(crooked) == tag(plain)


@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_a_signalling_nan_stays_one(dtype: str) -> None:
    array = np.frombuffer(struct.pack(f"{dtype[0]}I", 0x7F800001), dtype)

    tagged = tag([array, array[0]])

    assert [tagged["items"][0]["hex"], tagged["items"][1]["bits"]] == ["0100807f", "7f800001"]
    assert untag(tagged)[1].tobytes() == b"\x01\0\x80\x7f"


@pytest.mark.parametrize(
    ("value", "tagged"),
    [
        (None, {"k": "null"}),
        (True, {"k": "bool", "v": True}),
        (0, {"k": "int", "hex": "0"}),
        (-255, {"k": "int", "hex": "-ff"}),
        (-0.0, {"k": "float", "bits": "8000000000000000"}),
        (complex(1, -0.0), {"k": "complex", "bits": ["3ff0000000000000", "8000000000000000"]}),
        ("σ", {"k": "str", "v": "σ"}),
        (b"\0\xff", {"k": "bytes", "hex": "00ff"}),
        (Symbol("relu"), {"k": "symbol", "v": "relu"}),
        (np.float32(1), {"k": "scalar", "dtype": "float32", "bits": "3f800000"}),
        (np.complex64(1j), {"k": "scalar", "dtype": "complex64", "bits": ["00000000", "3f800000"]}),
        (ml_dtypes.int4(-1), {"k": "scalar", "dtype": "int4", "bits": "0f"}),
        ({1: ()}, {"k": "dict", "items": [[{"k": "int", "hex": "1"}, {"k": "tuple", "items": []}]]}),
        (Record({"": None}, label="L"), {"k": "record", "label": "L", "fields": [["", {"k": "null"}]]}),
        (
            np.ones((1, 2), ">i2"),
            {
                "k": "array",
                "id": 0,
                "dtype": "int16",
                "shape": ["1", "2"],
                "sha256": hashlib.sha256(b"\1\0\1\0").hexdigest(),
                "hex": "01000100",
            },
        ),
    ],
    ids=lambda value: value["k"] if isinstance(value, dict) and "k" in value else "",
)
def test_a_value_is_tagged_as_the_document_says(value: Any, tagged: Any) -> None:
    assert tag(value) == tagged


def test_arrays_are_one_by_their_place_and_empty_ones_by_their_identity() -> None:
    w, empty = np.zeros(2), np.zeros(0)

    found = tag([w, w[...], w.copy(), empty, np.zeros(0), empty, w[:1]])

    assert [each["id"] for each in found["items"]] == [0, 0, 1, 2, 3, 2, 4]


def test_a_large_array_is_told_by_its_digest_alone() -> None:
    small, large = tag(np.zeros(SHOWN, np.int8)), tag(np.zeros(SHOWN + 1, np.int8))

    assert ("hex" in small, "hex" in large) == (True, False)
    with pytest.raises(ValueError, match=r"^expected the bytes of an array of shape"):
        untag(large)


@pytest.mark.parametrize("value", [object(), {1, 2}, np.zeros(1, object), np.datetime64(0, "s"), np.zeros(1, "U1")])
def test_what_is_of_no_kind_is_not_tagged(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected a"):
        tag([value])


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"k": "set"},
        {"k": "null", "v": None},
        {"k": "int", "hex": "00"},
        {"k": "float", "bits": "0"},
        {"k": "list", "items": [1]},
        {"k": "dict", "items": [[{"k": "null"}]]},
        {"k": "tuple", "items": [{"k": "tuple", "items": [{"k": "no"}]}]},
    ],
    ids=str,
)
def test_the_schema_refuses_what_is_no_tagged_tree(value: Any) -> None:
    assert not VALIDATOR.is_valid(value)
