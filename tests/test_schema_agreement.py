"""The JSON Schema, the validator and the reader agree, up to the line that spec.md draws in [M-7].

Schema refuses ⇒ validator refuses; validator accepts ⇒ reader accepts, and gives the tree that the validator describes.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statetree
from statetree import Record, Symbol
from statetree.canonical import decode_json
from statetree.decode import Decoder, first_paths
from statetree.limits import Limits
from statetree.manifest import decode_manifest
from statetree.naming import array_names, path_label
from statetree.saving import manifest_of
from statetree.store import ArraySpec, WriteOptions
from statetree_backends.bson import BACKEND
from statetree_conformance.strategies import trees
from statetree_spec import schema

VALIDATOR = jsonschema.Draft202012Validator(schema("manifest"))
SPEC = (Path(__file__).parent.parent / "spec" / "spec.md").read_text("utf-8")
BEYOND = set(re.findall(r"`([A-Z]+(?:_[A-Z0-9]+)+)`", SPEC[SPEC.index("[M-7]") :].split("\n\n")[0]))
INFO = b'{"time":"2026-01-02T03:04:05Z","user":{"dict":[]},"writer":"by hand"}'
JUNK: list[Any] = [
    *(None, True, 0, 1, -1, 2**53, 2**60, 1.5, "", "a", "a\n", "1.0\n", "1.1", "2.0", "0", "10", "YR==", "00"),
    *([], ["a"], ["a", "b"], [1, 2, 3], {}, {"a": 1}, {"float": "0"}, {"float": "7ff0000000000001"}),
    *(
        {"int": "20000000000000"},
        {"int": "5"},
        {"array": 0},
        {"array": 1},
        {"symbol": "a"},
        {"tuple": []},
        {"dict": []},
    ),
    *({"scalar": ["bool", "02"]}, {"scalar": ["float32", "7f800001"]}, {"record": []}, {"record": [None]}),
]
MEMBERS = ["a", "time", "int", "float", "list", "dict", "tuple", "record", "scalar", "array", "symbol", "bytes", "~"]


def spots(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every JSON value in a JSON value."""
    yield at
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from spots(child, (*at, key))


def found(value: Any, at: tuple[Any, ...]) -> Any:
    """Return the value at a place."""
    for key in at:
        value = value[key]
    return value


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """Return a JSON value with another one at a place."""
    out = copy.deepcopy(value)
    if not at:
        return new
    found(out, at[:-1])[at[-1]] = new
    return out


KINDS = ("replace", "move", "drop", "double", "swap", "rename", "add")


def mutated(manifest: Any, random: Any) -> Any:
    """Return a manifest with one thing changed: a value replaced, left out, doubled, moved, renamed or added."""
    places = list(spots(manifest))
    at, new, name = random.choice(places), random.choice(JUNK), random.choice(MEMBERS)
    holder = found(manifest, at[:-1])
    match random.choice(KINDS):
        case "move":
            return put(manifest, at, copy.deepcopy(found(manifest, random.choice(places))))
        case "drop" if at:
            out = copy.deepcopy(manifest)
            del found(out, at[:-1])[at[-1]]
            return out
        case "double" if isinstance(holder, list):
            return put(manifest, at[:-1], [*holder[: at[-1]], holder[at[-1]], *holder[at[-1] :]])
        case "swap" if isinstance(holder, list) and len(holder) > 1:
            return put(manifest, at[:-1], holder[::-1])
        case "rename" if at and isinstance(holder, dict):
            return put(manifest, at[:-1], {name if k == at[-1] else k: v for k, v in holder.items()})
        case "add" if isinstance(holder, dict):
            return put(manifest, at[:-1], {**holder, name: new})
        case _:
            return put(manifest, at, new)


def text_of(manifest: Any) -> bytes:
    """Return the text of a manifest, canonical as far as its values allow that."""
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def write(path: Path, text: bytes, original: bytes, arrays: dict[str, bytes]) -> None:
    """Write a sound container of a manifest, which may be none; arrays are found by their digests."""
    try:
        manifest = decode_manifest(text, Limits(), "manifest")
        Decoder(range(len(manifest.arrays)), Limits()).decode(manifest.node)
    except statetree.StateTreeError:
        manifest = decode_manifest(original, Limits(), "manifest")
    names = array_names([path_label(place) for place in first_paths(manifest.node)])
    rows = zip(names, manifest.arrays, strict=True)
    specs = [ArraySpec.of(name, entry.dtype, tuple(entry.shape)) for name, entry in rows]
    writer = BACKEND.writer(path, WriteOptions(algorithm=manifest.algorithm, durable=False))
    writer.create(specs)
    for index, (spec, entry) in enumerate(zip(specs, manifest.arrays, strict=True)):
        data = arrays.get(entry.digest, b"")
        if spec.nbytes:
            writer.write(index, 0, (data + bytes(spec.nbytes))[: spec.nbytes])
    writer.commit(text, INFO, {})


def bytes_by_digest(tree: Any, path: Path) -> dict[str, bytes]:
    """Return the canonical bytes of each array of a tree by its digest."""
    statetree.save(path, tree, durable=False)
    out: dict[str, bytes] = {}
    with statetree.open(path) as file:
        for index, entry in enumerate(file.source.manifest.arrays):
            data = bytearray(entry.nbytes)
            file.source.fill(index, memoryview(data))
            out[entry.digest] = bytes(data)
    return out


def judge(manifest: Any, changed: Any, tree: Any, folder: Path) -> statetree.Report:
    """Hold schema, validator and reader against each other for one manifest; return the validator's report."""
    path = folder / "x.bson"
    write(path, text_of(changed), text_of(manifest), bytes_by_digest(tree, folder / "sound.bson"))
    report = statetree.validate(path)
    if not VALIDATOR.is_valid(changed):
        assert not report.ok, "the schema refuses, the validator accepts"
    if report.ok:
        loaded = statetree.load(path)
        assert report.digest == statetree.digest(loaded), "the tree is another than the validator described"
    return report


def beyond(changed: Any, report: statetree.Report) -> set[str]:
    """Return the codes for which the validator refused what the schema takes."""
    if not VALIDATOR.is_valid(changed):
        return set()
    return {problem.code for problem in report.problems if problem.phase in ("manifest", "tree", "limits")}


EXAMPLE: dict[Any, Any] = {
    "a": [None, True, 1, 2**60, 1.0, 1j, "x", b"y", Symbol("z"), np.float32(1), np.complex64(1)],
    ("k", 1): (np.arange(2, dtype=np.float32), Record({"f": np.arange(2, dtype=np.int8)}, label="L")),
}


@given(trees(), st.randoms(use_true_random=False))
def test_schema_validator_and_reader_agree_on_changed_manifests(tmp_path: Path, tree: Any, random: Any) -> None:
    manifest = json.loads(manifest_of(tree, "xxh3-128", Limits()))

    assert judge(manifest, manifest, tree, tmp_path).ok
    for _ in range(2):
        changed = mutated(manifest, random)
        assert beyond(changed, judge(manifest, changed, tree, tmp_path)) <= BEYOND


CHANGES: list[tuple[str, Callable[[Any], Any]]] = [
    ("KEY_DUPLICATE", lambda m: put(m, ("tree", "dict", 2), "a")),
    ("KEY_COLLISION", lambda m: put(put(m, ("tree", "dict", 0), 1), ("tree", "dict", 2), True)),
    ("KEY_FORM", lambda m: put(m, ("tree", "dict", 0), {"float": "0" * 16})),
    ("NODE_KIND", lambda m: put(m, ("tree", "dict"), m["tree"]["dict"][:3])),
    ("SCHEMA_TYPE", lambda m: put(m, ("tree", "dict", 3, "tuple", 1, "record", 1), 5)),
    ("ARRAY_INDEX", lambda m: put(m, ("tree", "dict", 3, "tuple", 0, "array"), 7)),
    ("ARRAY_ORDER", lambda m: put(m, ("tree", "dict", 3, "tuple"), m["tree"]["dict"][3]["tuple"][::-1])),
    ("ARRAY_ORPHAN", lambda m: put(m, ("tree", "dict", 3, "tuple", 0), None)),
    ("ARRAY_SHAPE", lambda m: put(m, ("arrays", 0, "shape"), [2**53 - 1])),
    ("LIMIT_DEPTH", lambda m: put(m, ("tree", "dict", 1), deep(60))),
    ("LIMIT_KEY", lambda m: put(m, ("tree", "dict", 0), "k" * ((1 << 20) + 1))),
    ("LIMIT_INTEGER", lambda m: put(m, ("tree", "dict", 1), {"int": "f" * 100_001})),
]


def deep(levels: int) -> Any:
    """Return lists in lists."""
    node: Any = 1
    for _ in range(levels):
        node = {"list": [node]}
    return node


@pytest.mark.parametrize(("code", "change"), CHANGES, ids=[code for code, _ in CHANGES])
def test_what_is_beyond_the_schema_is_found_by_the_validator(
    code: str, change: Callable[[Any], Any], tmp_path: Path
) -> None:
    manifest = json.loads(manifest_of(EXAMPLE, "xxh3-128", Limits()))
    changed = change(manifest)

    report = judge(manifest, changed, EXAMPLE, tmp_path)

    assert code in BEYOND
    assert code in beyond(changed, report)
    assert decode_json(text_of(changed), "manifest") == changed
