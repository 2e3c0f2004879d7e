"""spec.md, registries, schemas and code say the same; what the schema refuses, the decoder refuses."""

import ast
import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import statetree
import statetree_backends
import statetree_spec
from statetree import Record, StateTreeError, Symbol
from statetree.compare import kind_of
from statetree.decode import _DECODERS, Decoder
from statetree.digest import ALGORITHMS
from statetree.dtype import BY_NAME
from statetree.encode import _KEY_KINDS
from statetree.info import encode_info
from statetree.limits import DEPTH, RANK, Limits
from statetree.manifest import decode_manifest
from statetree.saving import manifest_of
from statetree.version import VERSION
from statetree_spec import registry, schema

ROOT = Path(__file__).parents[1]
SPEC = (ROOT / "spec" / "spec.md").read_text("utf-8")
MANIFEST = schema("manifest")
NODE = MANIFEST["$defs"]["node"]["properties"]
SCALARS = NODE["scalar"]["oneOf"]
VALIDATOR = jsonschema.Draft202012Validator(MANIFEST)


def rule(name: str) -> str:
    """Return the text of one rule of spec.md, up to the next rule or heading."""
    found = re.search(rf"^\[{name}\] (.*?)(?=^\[|^#)", SPEC, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def table(text: str) -> list[list[str]]:
    """Return the rows of the first Markdown table of a text, without its head."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def modules() -> list[Path]:
    """Return every module of the implementation."""
    folders = (Path(statetree.__file__).parent, Path(statetree_backends.__file__).parent)
    return [path for folder in folders for path in folder.rglob("*.py")]


@pytest.mark.parametrize("name", ["manifest", "info"])
def test_the_schemas_are_schemas(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))


def test_the_schemas_name_the_version_that_the_code_writes() -> None:
    versions = [schema(name)["$id"].split(":")[3] for name in ("manifest", "info")]

    assert versions == [VERSION, VERSION]
    assert SPEC.startswith(f"# The statetree format, version {VERSION}\n")


def test_dtypes_are_the_same_in_schema_registry_code_and_text() -> None:
    names = [row["name"] for row in registry("dtypes")["dtypes"]]

    assert MANIFEST["$defs"]["dtype"]["enum"] == names
    assert list(BY_NAME) == names
    assert set(
        re.findall(r"[a-z]+[0-9]+(?:_[a-z0-9]+)?|bool", rule("E-1").split("exact name:")[1].split(". Any")[0])
    ) == set(names)
    assert sorted(name for branch in SCALARS for name in branch["prefixItems"][0]["enum"]) == sorted(names)


def test_dtypes_have_the_size_and_the_numpy_type_that_the_registry_says() -> None:
    for row in registry("dtypes")["dtypes"]:
        kind = np.dtype(getattr(ml_dtypes, row["name"], None) or getattr(np, row["name"]))

        assert (BY_NAME[row["name"]].numpy, kind.itemsize) == (kind, row["itemsize"])
        assert row["bits"] <= 8 * row["itemsize"]


def test_the_schema_takes_exactly_the_largest_bits_of_every_scalar() -> None:
    for name, row in BY_NAME.items():
        parts = 2 if row.complex else 1
        largest = f"{row.top:02x}" if row.top is not None else "f" * (row.itemsize * 2 // parts)
        beyond = f"{row.top + 1:02x}" if row.top is not None else largest + "0"

        assert VALIDATOR.is_valid(document({"scalar": [name, *[largest] * parts]}))
        assert not VALIDATOR.is_valid(document({"scalar": [name, *[beyond] * parts]}))
        assert not VALIDATOR.is_valid(document({"scalar": [name, *[largest] * (parts + 1)]}))


def test_kinds_are_the_same_in_schema_registry_code_and_text() -> None:
    kinds = [row["name"] for row in registry("kinds")["kinds"]]
    direct = {"null": "null", "bool": "boolean", "int": "integer", "str": "string"}
    values = [None, True, 1, 1.0, 1j, "", b"", Symbol("a"), np.int8(1), np.zeros(1), {}, [], (), Record()]

    assert [kind_of(value) for value in values] == kinds
    assert [row[0] for row in table(SPEC[SPEC.index("[D-1]") :].split("[D-2]")[0])] == kinds
    assert set(MANIFEST["$defs"]["node"]["type"]) == {*direct.values(), "object"}
    assert set(NODE) == set(_DECODERS) == {"int"} | set(kinds) - direct.keys()


def test_key_kinds_are_the_same_in_registry_and_code() -> None:
    names = {kind_of(kind("a") if kind is Symbol else kind()) for kind in _KEY_KINDS}

    assert {row["name"] for row in registry("kinds")["kinds"] if row["key"]} == names | {"tuple"}


def test_digest_algorithms_are_the_same_in_schema_code_and_text() -> None:
    branches = {
        part["if"]["properties"]["algorithm"]["const"]: int(
            part["then"]["properties"]["arrays"]["items"]["properties"]["digest"]["$ref"].removeprefix("#/$defs/hex")
        )
        for part in MANIFEST["allOf"]
    }

    assert MANIFEST["properties"]["algorithm"]["enum"] == list(ALGORITHMS)
    assert branches == {name: 2 * size for name, size in ALGORITHMS.items()}
    assert re.findall(r"`([a-z0-9-]+)`", rule("G-1"))[1:4] == list(ALGORITHMS)


def test_error_classes_are_the_same_in_registry_code_and_text() -> None:
    classes = registry("errors")["classes"]

    assert [row[0] for row in table(SPEC[SPEC.index("[R-2]") :].split("[R-3]")[0])] == list(classes)
    for row in classes.values():
        assert issubclass(getattr(statetree, row["exception"]), StateTreeError)


def test_every_error_code_has_a_known_class() -> None:
    assert {row["class"] for row in registry("errors")["codes"].values()} <= set(registry("errors")["classes"])


def codes_of(path: Path) -> set[str]:
    """Return the words in capitals that a module gives to a function as its first argument."""
    firsts = [
        node.args[0]
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and node.args
    ]
    words = {part.value for first in firsts for part in ast.walk(first) if isinstance(part, ast.Constant)}
    return {word for word in words if isinstance(word, str) and re.fullmatch(r"[A-Z0-9]+(_[A-Z0-9]+)+", word)}


def test_every_error_code_of_code_and_text_is_in_the_registry() -> None:
    known = set(registry("errors")["codes"]) | set(registry("errors")["warnings"])
    prefix = "|".join(sorted({code.split("_")[0] for code in known if "_" in code}))
    written = {code for path in modules() for code in codes_of(path)}
    said = set(re.findall(rf"`((?:{prefix})_[A-Z0-9_]+|DIGEST|IO)`", SPEC))

    assert len(written) > 50
    assert {code for code in written if re.match(rf"(?:{prefix})_", code)} - known == set()
    assert said - known == set()


def test_every_code_of_the_registry_is_in_the_text_but_for_those_of_the_environment_and_the_call() -> None:
    codes = registry("errors")["codes"]
    said = set(re.findall(r"`([A-Z0-9_]+)`", SPEC))

    assert {code for code, row in codes.items() if row["class"] not in ("io", "usage")} - said == set()


def test_limits_are_the_same_in_registry_code_and_text() -> None:
    rows = {row["name"]: row for row in registry("limits")["limits"]}
    limits = Limits()

    assert {name: getattr(limits, name) for name in rows if name not in ("depth", "rank")} == {
        name: row["default"] for name, row in rows.items() if name not in ("depth", "rank")
    }
    assert (rows["depth"]["default"], rows["rank"]["default"]) == (DEPTH, RANK)
    assert MANIFEST["$defs"]["entry"]["properties"]["shape"]["maxItems"] == RANK
    said = table(SPEC[SPEC.index("[L-1]") :].split("[L-2]")[0])
    assert sorted(row[3].strip("`") for row in said) == sorted(row["code"] for row in rows.values())
    assert sorted(number(row[1]) for row in said) == sorted(row["accept"] or 0 for row in rows.values())


def number(cell: str) -> int:
    """Return what a cell such as `64 MiB` or `1,000` says, 0 for a dash."""
    digits, _, unit = cell.replace(",", "").partition(" ")
    return 0 if digits == "–" else int(digits) << {"": 0, "KiB": 10, "MiB": 20}[unit]


def test_no_reader_refuses_by_default_what_every_reader_must_accept() -> None:
    for row in registry("limits")["limits"]:
        assert row["default"] is None or row["accept"] <= row["default"], row["name"]


def test_rule_ids_are_unique() -> None:
    ids = re.findall(r"^\[([A-Z]+[0-9]*-[0-9]+)\]", SPEC, re.MULTILINE)

    assert sorted(set(ids)) == sorted(ids)


def test_every_rule_that_is_referred_to_exists() -> None:
    ids = set(re.findall(r"^\[([A-Z]+[0-9]*-[0-9]+)\]", SPEC, re.MULTILINE))

    assert set(re.findall(r"\[([A-Z]+[0-9]*-[0-9]+)\]", SPEC)) - ids == set()


def test_the_data_package_holds_every_registry_that_it_names() -> None:
    names = re.findall(r"`(\w+s)`", (statetree_spec.registry.__doc__ or "").split("\n\n", maxsplit=1)[0])

    assert sorted(names) == ["dtypes", "errors", "kinds", "labels", "limits"]
    assert all(registry(name) for name in names)


# The schema against the decoder.


def document(node: Any, arrays: list[Any] | None = None, algorithm: str = "xxh3-128") -> dict[str, Any]:
    return {"algorithm": algorithm, "arrays": arrays or [], "features": [], "statetree": "1.0", "tree": node}


def decode(value: Any) -> None:
    """Decode a manifest given as JSON value, written canonically where that is possible."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    found = decode_manifest(text, Limits(), "manifest")
    Decoder([object() for _ in found.arrays], Limits()).decode(found.node)


scalars = st.sampled_from(sorted(BY_NAME)).flatmap(
    lambda name: st.binary(min_size=16, max_size=16).map(lambda raw: scalar(name, raw))
)


def scalar(name: str, raw: bytes) -> Any:
    row = BY_NAME[name]
    data = bytes([raw[0] & row.top]) if row.top is not None else raw[: row.itemsize]
    return np.frombuffer(data, row.numpy)[0]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
integers = st.integers() | st.sampled_from([2**53 - 1, 2**53, -(2**53), 1 - 2**53, 2**64, -(10**30)])
simple_keys = texts | integers | st.booleans() | st.none() | st.binary(max_size=4) | texts.map(Symbol)
keys = st.recursive(simple_keys, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=3)
arrays = st.sampled_from(sorted(BY_NAME)).flatmap(
    lambda name: st.sampled_from([(), (0,), (2,), (3, 0, 2), (1,) * 32]).map(
        lambda shape: np.zeros(shape, BY_NAME[name].numpy)
    )
)
leaves = simple_keys | st.floats() | st.complex_numbers() | scalars | arrays
trees = st.recursive(
    leaves,
    lambda inner: (
        st.dictionaries(keys, inner, max_size=4)
        | st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.tuples(st.dictionaries(texts, inner, max_size=4), st.none() | texts).map(
            lambda p: Record(p[0], label=p[1])
        )
    ),
    max_leaves=15,
)
algorithms = st.sampled_from(["xxh3-128", "sha-256"])


@given(trees, algorithms)
def test_the_manifest_of_every_tree_is_valid(tree: Any, algorithm: str) -> None:
    manifest = json.loads(manifest_of(tree, algorithm, Limits()))

    VALIDATOR.validate(manifest)


@given(st.dictionaries(texts, leaves.filter(lambda leaf: type(leaf) is not np.ndarray), max_size=4))
def test_the_info_text_of_every_mapping_is_valid(user: dict[str, Any]) -> None:
    info = json.loads(encode_info(user, Limits()))

    jsonschema.Draft202012Validator(schema("info")).validate(info)


def spots(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every JSON value in a JSON value."""
    yield at
    if isinstance(value, dict | list):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from spots(child, (*at, key))


def mutated(manifest: Any, at: tuple[Any, ...], new: Any) -> Any:
    """Return a manifest with the value at one place replaced, or left out where `new` is Ellipsis."""
    if not at:
        return {} if new is ... else new
    out = copy.deepcopy(manifest)
    place = out
    for key in at[:-1]:
        place = place[key]
    if new is ...:
        del place[at[-1]]
    else:
        place[at[-1]] = new
    return out


replacements = st.sampled_from(
    [..., None, True, 0, -1, 2**53, 1.5, "", "a\n", "1.0\n", "0", "10", "YR==", [], ["a"], {}, {"a": 1}, {"float": "0"}]
)


@given(trees, algorithms, st.randoms(use_true_random=False), replacements)
def test_the_decoder_refuses_what_the_schema_refuses(tree: Any, algorithm: str, random: Any, new: Any) -> None:
    manifest = json.loads(manifest_of(tree, algorithm, Limits()))
    changed = mutated(manifest, random.choice(list(spots(manifest))), new)

    if not VALIDATOR.is_valid(changed):
        with pytest.raises(StateTreeError):
            decode(changed)


EXAMPLE = {
    "a": [None, True, 1, 2**60, 1.0, 1j, "x", b"y", Symbol("z"), np.float32(1), np.complex64(1)],
    ("k", 1): (np.zeros(2, np.float32), Record({"f": np.zeros(2, np.int8)}, label="L")),
}


@pytest.mark.parametrize("new", ["\n", "x"], ids=["line feed", "letter"])
def test_text_behind_a_patterned_text_is_refused_by_schema_and_decoder(new: str) -> None:
    manifest = json.loads(manifest_of(EXAMPLE, "xxh3-128", Limits()))
    patterned = [("statetree",), ("arrays", 0, "digest")]
    patterned += [at for at in spots(manifest) if at[-1:] in (("int",), ("float",), ("bytes",))]
    patterned += [at for at in spots(manifest) if at[-2:-1] == ("complex",)]
    patterned += [at for at in spots(manifest) if at[-2:-1] == ("scalar",)]

    for at in patterned:
        value = manifest
        for key in at:
            value = value[key]
        changed = mutated(manifest, at, value + new)

        assert not VALIDATOR.is_valid(changed), at
        with pytest.raises(StateTreeError):
            decode(changed)


@pytest.mark.parametrize(
    "at",
    [(), ("arrays", 0), *(("tree", "dict", 1, "list", i) for i in (3, 4, 5, 7, 8, 9))],
    ids=str,
)
def test_an_unknown_member_is_refused_by_schema_and_decoder_wherever_it_stands(at: tuple[Any, ...]) -> None:
    manifest = json.loads(manifest_of(EXAMPLE, "xxh3-128", Limits()))
    changed = mutated(manifest, (*at, "new"), 1)

    assert not VALIDATOR.is_valid(changed)
    with pytest.raises(StateTreeError):
        decode(changed)
