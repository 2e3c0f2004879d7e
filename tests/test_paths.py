"""Paths: every path has one text, and every text is of at most one path."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import statetree
from statetree import MissingPathError, Record, Symbol, UsageError, parse_path, path_text
from statetree.loading import lookup
from statetree.naming import array_names, key_label, path_label
from statetree.path import PathSyntaxError

texts = st.text(st.sampled_from("ab~/#:,()n0123xstf.-é\0😀") | st.characters(exclude_categories=["Cs"]), max_size=6)
integers = st.integers() | st.sampled_from([0, -1, 2**53 - 1, 2**53, 1 - 2**53, -(2**53), 2**64, 10**30])
simple = texts | integers | st.booleans() | st.none() | st.binary(max_size=4) | texts.map(Symbol)
keys = st.recursive(simple, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=6)
paths = st.lists(keys, max_size=4).map(tuple)


def typed(key: Any) -> Any:
    """Return a key with its types, so that 1 and True differ."""
    return tuple(map(typed, key)) if type(key) is tuple else (type(key), key)


@given(paths)
@example(())
@example(("",))
@example(("", ""))
@example(("~",))
@example(("#",))
@example((":",))
@example(("~s#",))
@example(((),))
@example((("a,b)", ("~2", Symbol(",")), ()),))
@example((-(2**53), 2**53, 2**53 - 1))
def test_the_text_of_a_path_gives_the_path_back(path: Any) -> None:
    assert typed(parse_path(path_text(path))) == typed(path)


@given(paths, paths)
def test_two_paths_have_two_texts(a: Any, b: Any) -> None:
    assert (path_text(a) == path_text(b)) == (typed(a) == typed(b))


@given(st.text(st.sampled_from("/~#:,()nstfb01x2-9a"), max_size=12) | texts)
@example("/~(")
@example("/~(#1)")
@example("/~ba")
@example("/#01")
@example("/#x1")
@example("/#-0")
def test_a_text_is_of_one_path_or_refused(text: str) -> None:
    try:
        path = parse_path(text)
    except PathSyntaxError:
        return

    assert path_text(path) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("model", "layers", 0, "weight"), "/model/layers/#0/weight"),
        ((1,), "/#1"),
        (("1",), "/1"),
        ((Symbol("1"),), "/:1"),
        (("#1",), "/~s#1"),
        ((":1",), "/~s:1"),
        ((True, False, None), "/~t/~f/~n"),
        ((b"\x00\xff",), "/~b00ff"),
        ((-5, 2**53, -(2**53)), "/#-5/#x20000000000000/#-x20000000000000"),
        (("a/b~c",), "/a~1b~0c"),
        ((("x", 1),), "/~(x,#1,)"),
        ((("a,b)",),), "/~(a~2b~3,)"),
        (("a,b)",), "/a,b)"),
        (("",), "/"),
    ],
)
def test_the_text_of_a_path_is_the_one_of_the_specification(path: Any, text: str) -> None:
    assert (path_text(path), typed(parse_path(text))) == (text, typed(path))


@given(st.lists(texts.filter(lambda key: key[:1] not in ("#", ":")), max_size=4))
def test_a_path_of_plain_texts_is_a_json_pointer(keys: list[str]) -> None:
    pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)

    assert path_text(tuple(keys)) == pointer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "expected '/' at character 0 of the path 'a'"),
        ("/a~", "expected '/' at character 2 of the path '/a~'"),
        ("/a~5", "expected '/' at character 2 of the path '/a~5'"),
        (
            "/#",
            "expected an integer after '#' at character 1 of the path '/#'; "
            "a str key that starts with '#' is written ~s#",
        ),
        ("/#x1", "expected the path written as '/#1', got '/#x1'"),
        ("/~sa", "expected the path written as '/a', got '/~sa'"),
        ("/~(a)", "expected ',' at character 4 of the path '/~(a)'"),
        ("/~na", "expected '/' at character 3 of the path '/~na'"),
    ],
)
def test_a_text_of_no_path_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(PathSyntaxError) as caught:
        parse_path(text)

    assert str(caught.value) == message


TREE = {
    "a": [1, {"b": Record({"σ²": 2, "": 3})}],
    1: "int",
    "1": "str",
    Symbol("1"): "symbol",
    ("k",): "tuple",
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/a/#1/b/σ²", 2),
        ("/a/#1/b/", 3),
        ("/#1", "int"),
        ("/1", "str"),
        ("/:1", "symbol"),
        ("/~(k,)", "tuple"),
        (("a", 0), 1),
        ((), TREE),
        ("", TREE),
    ],
)
def test_a_path_finds_the_node_whose_key_is_of_its_kind(path: Any, value: Any) -> None:
    assert lookup(TREE, path) is value or lookup(TREE, path) == value


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "/b",
            "expected a path of the tree; at the root there is /a, /#1, /1, /:1, /~(k,), got /b: "
            "statetree inspect shows all paths",
        ),
        ("/a/#2", "expected a path of the tree; at /a there is /#0, /#1, got /a/#2: statetree inspect shows all paths"),
        ("/a/0", "expected a path of the tree; at /a there is /#0, /#1, got /a/0: statetree inspect shows all paths"),
        (
            "/a/#0/x",
            "expected a path of the tree; at /a/#0 there is nothing below, got /a/#0/x: "
            "statetree inspect shows all paths",
        ),
        (
            ("a", -1),
            "expected a path of the tree; at /a there is /#0, /#1, got /a/#-1: statetree inspect shows all paths",
        ),
        ((True,), None),
        (("a", True), None),
    ],
)
def test_a_path_of_no_node_is_refused_and_the_text_says_what_is_there(path: Any, message: str | None) -> None:
    with pytest.raises(MissingPathError) as caught:
        lookup(TREE, path)

    assert isinstance(caught.value, KeyError)
    assert message is None or str(caught.value) == message


def test_a_text_of_no_path_is_refused_where_a_path_is_asked_for() -> None:
    with pytest.raises(UsageError) as caught:
        lookup(TREE, "a/b")

    assert str(caught.value) == (
        "expected a path such as /model/layers/#0/weight, or a tuple of keys, "
        "got expected '/' at character 0 of the path 'a/b': write / before each key and #0 for positions"
    )


def array_name(index: int, count: int, path: Any) -> str:
    """Return the name of array `index` of `count` whose first path is `path`."""
    labels = [""] * count
    labels[index] = path_label(path)
    return array_names(labels)[index]


@given(paths, st.integers(0, 200))
def test_the_name_of_an_array_is_a_file_name_on_every_system(path: Any, index: int) -> None:
    name = array_name(index, index + 1, path)

    assert all(char.isascii() and (char.isalnum() or char in "_-.") for char in name)
    assert len(name) <= 110
    assert name.rstrip(".") == name
    assert not name.startswith(".")


@pytest.mark.parametrize(
    ("index", "count", "path", "name"),
    [
        (12, 148, ("encoder", "layers", 0, "weight"), "012-encoder.layers.0.weight"),
        (0, 1, (), "0-_"),
        (9, 10, ("a/b", "..", "con"), "9-a_b.__.con"),
        (10, 11, ("",), "10-_"),
        (0, 1, ("σ²",), "0-__"),
        (0, 1, (None, True, False, b"\x01", Symbol("s"), (1, ("x",))), "0-null.true.false.01.s.1_x"),
        (0, 1, (-(2**53), 2**53 - 1), "0--x20000000000000.9007199254740991"),
        (0, 1, ("a" * 150,), "0-" + "a" * 100),
        (0, 1, ("a" * 99, "", ""), "0-" + "a" * 99),
        (0, 1, ("a" * 60, "b" * 60), "0-" + "a" * 60 + "." + "b" * 39),
    ],
)
def test_the_name_of_an_array_is_the_one_of_the_specification(index: int, count: int, path: Any, name: str) -> None:
    assert array_name(index, count, path) == name


@given(keys)
def test_the_label_of_a_key_is_at_most_100_characters(key: Any) -> None:
    assert len(key_label(key)) <= 100


def test_paths_are_part_of_the_public_interface() -> None:
    assert (statetree.path_text(("a", 0)), statetree.parse_path("/a/#0")) == ("/a/#0", ("a", 0))


def test_the_text_of_a_path_may_be_written_to_json() -> None:
    path = ("\x00", "\u202e", "😀")

    assert parse_path(json.loads(json.dumps(path_text(path)))) == path
