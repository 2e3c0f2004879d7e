"""Restoring into plain Python objects and NumPy's: all or nothing, in place, every difference at once."""

import copy
import dataclasses
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as hs

import statetree
from statetree import Problem, Record, RestoreError, Symbol, difference, restore, state
from statetree.dtype import BY_NAME
from statetree_conformance import strategies

Array = np.ndarray[Any, Any]


def other_than(tree: Any) -> Any:
    """Return a tree of the same structure with other values, and arrays of its own, tied as they are."""
    arrays: dict[int, Array] = {}

    def made(node: Any) -> Any:
        match node:
            case np.ndarray():
                if id(node) not in arrays:
                    arrays[id(node)] = np.zeros(node.shape, node.dtype)
                return arrays[id(node)]
            case dict():
                return {key: made(part) for key, part in node.items()}
            case list() | tuple():
                return type(node)(map(made, node))
            case Record():
                return Record([(name, made(part)) for name, part in node.items()], label=node.label)
            case bool():
                return not node
            case np.generic():
                return type(node)(0)
            case None:
                return None
            case Symbol():
                return Symbol("another")
            case _:
                return type(node)()

    return made(tree)


@given(strategies.trees())
def test_a_state_restored_into_an_object_of_its_structure_is_its_state(tree: Any) -> None:
    tree = state(tree)
    dst = other_than(tree)

    restored = restore(dst, tree)

    assert difference(state(restored), tree) is None
    if type(dst) in (dict, list, np.ndarray):
        assert restored is dst


@given(strategies.trees(max_depth=50), hs.data())
def test_what_does_not_fit_is_refused_and_nothing_is_changed(tree: Any, data: hs.DataObject) -> None:
    tree = [state(tree), {"x": np.ones(3)}]
    dst = other_than(tree)
    before = state(dst)
    tree[1] = data.draw(
        hs.sampled_from([{"x": np.ones(4)}, {"x": np.ones(3, "f4")}, {}, {"x": 1}, {"x": np.ones(3), "y": 1}, []])
    )

    with pytest.raises(RestoreError):
        restore(dst, tree)

    assert difference(state(dst), before) is None


@dataclasses.dataclass
class Dense:
    weight: Any
    bias: Any = None
    act: Callable[[Any], Any] = len
    rate: float = 0.5


@dataclasses.dataclass(frozen=True)
class Frozen:
    weight: Any
    inner: Any = ()
    size: int = dataclasses.field(default=3, metadata={"static": True})


Point = namedtuple("Point", ["x", "y"])


def test_what_can_be_changed_is_changed_in_place() -> None:
    model = {"layers": [Dense(np.zeros(2), np.zeros(1))], "opt": {"lr": 0.1, "steps": [1]}, "queue": deque([1, 2])}
    held = (
        model["layers"],
        model["layers"][0],
        model["layers"][0].weight,
        model["opt"],
        model["opt"]["steps"],
        model["queue"],
    )  # type: ignore[index]
    other = {
        "layers": [Dense(np.ones(2), np.full(1, 7.0), abs, 0.9)],
        "opt": {"lr": 0.2, "steps": [5]},
        "queue": deque([8, 9]),
    }

    restored = restore(model, state(other))

    assert restored is model
    assert (held[0], held[3], held[5]) == (model["layers"], model["opt"], model["queue"])
    assert held[1].act is len
    assert (held[1].rate, held[2].tolist(), held[4], list(held[5])) == (0.9, [1, 1], [5], [8, 9])
    assert difference(state(model), state(other)) is None


def test_what_cannot_be_changed_is_made_anew_with_its_class() -> None:
    inner = Point(1, Frozen(np.zeros(2)))
    model = {"a": Frozen(np.zeros(1), inner), "t": (1, [2])}

    restored = restore(model, state({"a": Frozen(np.ones(1), Point(2, Frozen(np.ones(2)))), "t": (3, [4])}))

    a = restored["a"]
    assert (type(a), type(a.inner), type(a.inner.y), a.size) == (Frozen, Point, Frozen, 3)
    assert (a.inner.x, a.inner.y.weight.tolist(), restored["t"]) == (2, [1, 1], (3, [4]))
    assert a.inner.y.weight is inner.y.weight  # the array in it can be changed, and is
    assert inner.x == 1


@pytest.mark.parametrize("made", [Counter, lambda d: defaultdict(list, d), OrderedDict])
def test_dicts_of_other_classes_keep_their_class(made: Callable[[Any], Any]) -> None:
    dst = {"d": made({3: 1, 5: 2})}
    held = dst["d"]

    restore(dst, {"d": {3: 7, 5: 8}})

    assert dst["d"] is held
    assert held == {3: 7, 5: 8}


def test_an_empty_tuple_leaves_what_is_there_alone() -> None:
    model = {"f": len, "layer": Dense(np.zeros(1), None, abs), "t": ()}

    restore(model, {"f": (), "layer": Record({"weight": np.ones(1), "bias": None, "act": (), "rate": 0.1}), "t": ()})

    assert (model["f"], model["layer"].act, model["layer"].rate) == (len, abs, 0.1)  # type: ignore[union-attr]


def test_order_of_keys_does_not_count() -> None:
    model = {"a": 1, "b": np.zeros(1)}

    restore(model, {"b": np.ones(1), "a": 2})

    assert (list(model), model["a"]) == (["a", "b"], 2)


def test_keys_are_told_apart_by_their_kind() -> None:
    dst = {1: 0, "1": 0, Symbol("1"): 0, (1, True): 0}

    restore(dst, {"1": 2, 1: 1, Symbol("1"): 3, (1, True): 4})

    assert list(dst.values()) == [1, 2, 3, 4]
    with pytest.raises(RestoreError) as refused:
        restore({1: 0}, {True: 0})
    assert [problem.code for problem in refused.value.problems] == ["STATE_MISSING", "STATE_UNEXPECTED"]


def texts(error: pytest.ExceptionInfo[RestoreError]) -> list[str]:
    return str(error.value).splitlines()


WIDER = "(at /a): build it with a wider dtype"
BUILD = "build the object as the saved one was, or adapt the state with rename= or migrate="
LEAVE = "leave it out with migrate=, or pass strict=False to ignore it"
ADD = "add it with migrate=, or pass strict=False to keep yours"


def test_every_difference_is_told_at_once_with_its_path() -> None:
    model = {
        "gone": 1,
        "shape": np.zeros((2, 3)),
        "dtype": np.zeros(2, np.float32),
        "kind": [1],
        "number": 1,
        "array": np.zeros(2),
        "function": len,
        "nothing": None,
        "fine": 1,
    }

    with pytest.raises(RestoreError) as refused:
        restore(
            model,
            {
                "shape": np.zeros((3, 2)),
                "dtype": np.zeros(2),
                "kind": (1,),
                "number": 1.0,
                "array": None,
                "function": 3,
                "nothing": np.zeros(1),
                "fine": 2,
                "more": [np.zeros(1)],
            },
        )

    assert texts(refused) == [
        f"expected a value, got none (at /gone): {ADD}",
        f"expected shape (2, 3), got (3, 2) (at /shape): {BUILD}",
        "expected float32, got float64 (at /dtype): build it with that dtype, or pass cast=True",
        f"expected a list of 1, got a tuple (at /kind): {BUILD}",
        "expected int, as in 1, got float 1.0 (at /number): convert it with migrate=",
        f"expected an array of float64 (2,), got null None (at /array): {BUILD}",
        f"expected (), as builtin_function_or_method has no state, got int 3 (at /function): {LEAVE}",
        "expected None, got an array of float64 (1,) (at /nothing): convert it with migrate=",
        f"expected nothing, got a list (at /more): {LEAVE}",
    ]
    assert (model["fine"], model["number"]) == (1, 1)


def test_without_strict_what_fits_is_loaded_and_the_rest_is_returned() -> None:
    model = {"a": np.zeros(2), "b": np.zeros(2), "c": 1, "t": (1, len)}

    restored, problems = restore(model, {"a": np.ones(2), "b": np.ones(3), "x": 1, "t": (5, ())}, strict=False)

    assert restored is model
    assert (model["a"].tolist(), model["b"].tolist(), model["c"], model["t"]) == ([1, 1], [0, 0], 1, (5, len))  # type: ignore[union-attr]
    assert [(problem.code, problem.path) for problem in problems] == [
        ("STATE_SHAPE", ("b",)),
        ("STATE_MISSING", ("c",)),
        ("STATE_UNEXPECTED", ("x",)),
    ]
    assert all(isinstance(problem, Problem) for problem in problems)


def test_a_place_without_a_value_takes_a_number_or_a_text() -> None:
    model = {"best": None, "log": [None], "layer": Dense(None, None)}

    restore(model, {"best": 0.25, "log": ["x"], "layer": Record({"weight": 3, "bias": None, "act": (), "rate": 1.0})})

    assert (model["best"], model["log"], model["layer"].weight) == (0.25, ["x"], 3)  # type: ignore[union-attr]


def tied(*values: float) -> dict[str, Array]:
    return {name: np.full(2, float(value)) for name, value in zip("ab", values, strict=True)}


def test_what_is_tied_here_must_have_one_value() -> None:
    w = np.zeros(2)

    with pytest.raises(RestoreError) as refused:
        restore({"a": w, "b": w}, tied(1, 2))

    assert texts(refused) == [
        "expected the value of /a, which is the same array here, got another value (at /b): "
        "tie them in the model that was saved, or untie them here"
    ]
    assert w.tolist() == [0, 0]
    restore({"a": w, "b": w[:]}, tied(1, 1))
    assert w.tolist() == [1, 1]


def test_what_is_tied_in_the_state_only_is_copied_to_both() -> None:
    w = np.ones(2)
    model = tied(0, 0)

    restore(model, {"a": w, "b": w})

    assert not np.shares_memory(model["a"], model["b"])
    assert (model["a"].tolist(), model["b"].tolist()) == ([1, 1], [1, 1])


@pytest.mark.parametrize(
    ("source", "target"),
    [("f8", "f4"), ("f4", "f8"), ("i8", "i4"), ("i8", "f4"), ("f4", "c8"), ("f8", "bfloat16"), ("bfloat16", "f4")],
)
def test_cast_is_the_only_way_to_another_dtype(source: str, target: str) -> None:
    model = {"a": np.zeros(3, getattr(ml_dtypes, target, target))}
    tree = {"a": np.array([0, 1, 2]).astype(getattr(ml_dtypes, source, source))}

    with pytest.raises(RestoreError):
        restore(model, tree)
    restore(model, tree, cast=True)

    assert model["a"].astype("c16").tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("value", "target", "text"),
    [
        (np.array([1 << 40]), "i4", f"expected values that int32 holds, got 1099511627776 {WIDER}"),
        (np.array([1 << 24 | 1]), "f4", f"expected values that float32 holds, got 16777217 {WIDER}"),
        (np.array([2**64 - 1], "u8"), "i8", f"expected values that int64 holds, got 18446744073709551615 {WIDER}"),
        (np.array([200], "u1"), "i1", f"expected values that int8 holds, got 200 {WIDER}"),
        (np.array([1e300]), "f4", f"expected values that float32 holds, got 1e+300 {WIDER}"),
        (np.array([7.0]), "float4_e2m1fn", f"expected values that float4_e2m1fn holds, got 7.0 {WIDER}"),
        (np.array([np.nan]), "float4_e2m1fn", f"expected values that float4_e2m1fn holds, got nan {WIDER}"),
        (np.array([np.inf]), "float8_e4m3fn", f"expected values that float8_e4m3fn holds, got inf {WIDER}"),
        (np.array([0.0]), "float8_e8m0fnu", f"expected values that float8_e8m0fnu holds, got 0.0 {WIDER}"),
        (np.array([1j]), "f8", f"expected float64, got complex128 (at /a): {BUILD}"),
        (np.array([1.5]), "i8", f"expected int64, got float64 (at /a): {BUILD}"),
        (np.array([-1]), "u8", f"expected uint64, got int64 (at /a): {BUILD}"),
    ],
)
def test_a_cast_that_loses_a_value_is_refused(value: Array, target: str, text: str) -> None:
    with pytest.raises(RestoreError) as refused:
        restore({"a": np.ones(1, BY_NAME[target].numpy if target in BY_NAME else target)}, {"a": value}, cast=True)

    assert texts(refused) == [text]


def test_casting_keeps_infinities_and_nans() -> None:
    model = np.zeros(3, np.float32)

    restore({"a": model}, {"a": np.array([np.inf, -np.inf, np.nan])}, cast=True)

    assert repr(model.tolist()) == "[inf, -inf, nan]"


# Renaming and migrating


def test_nodes_of_a_changed_class_go_to_their_new_names() -> None:
    model = {"encoder": {"weight": np.zeros(1)}, "b": np.zeros(1), "depth": 1}

    restore(
        model,
        {"enc": {"w": np.ones(1)}, "bias": np.ones(1), "depth": 2},
        rename={"/enc/w": "/encoder/weight", "/bias": "/b"},
    )

    assert (model["encoder"]["weight"].tolist(), model["depth"]) == ([1], 2)  # type: ignore[index]


def test_a_star_stands_for_one_key_and_is_carried_over() -> None:
    model = {"blocks": [{"attention": {"w": np.zeros(1)}, "n": 0}, {"attention": {"w": np.zeros(1)}, "n": 0}]}
    tree = {"layers": [{"attn": {"w": np.full(1, k)}, "n": k} for k in (1.0, 2.0)]}

    restore(model, tree, rename={"/layers/*/attn": "/layers/*/attention", "/layers": "/blocks"}, migrate=_whole_n)

    assert [block["attention"]["w"].tolist() for block in model["blocks"]] == [[1], [2]]  # type: ignore[index]


def _whole_n(tree: Any) -> Any:
    return {"layers": [{**layer, "n": int(layer["n"])} for layer in tree["layers"]]}


def test_fields_of_records_and_positions_of_tuples_are_renamed_too() -> None:
    tree = {"m": Record({"a": 1, "b": (2, 3)}, label="Old")}

    restored = restore(
        {"m": Record({"b": (0, 0), "c": 0}), "x": 0}, tree, rename={"/m/a": "/m/c"}, migrate=lambda t: {**t, "x": 9}
    )

    assert difference(restored, {"m": Record({"b": (2, 3), "c": 1}), "x": 9}) is None


@pytest.mark.parametrize(
    ("rename", "text"),
    [
        (
            {"/x": "/y"},
            "expected a path of the tree, got '/x', which fits nothing (in rename /x): "
            "statetree inspect shows all paths",
        ),
        (
            {"/a": "/b"},
            "expected a path where nothing is, got '/b' (in rename /b): move that away first, through a third name",
        ),
        (
            {"/a": "/*/b"},
            "expected as many * in the old path as in the new, got '/*/b' (in rename /a): name the keys",
        ),
        (
            {"a": "/b"},
            "expected a path such as /model/layers/*/weight, got expected '/' at character 0 of the path 'a' "
            "(in rename a): write / before each key, #0 for positions",
        ),
    ],
)
def test_a_renaming_that_cannot_be_is_refused(rename: dict[str, str], text: str) -> None:
    with pytest.raises(RestoreError) as refused:
        restore({"a": 1, "b": 2}, {"a": 1, "b": 2}, rename=rename)

    assert texts(refused) == [text]


# Classes of one's own


class Buffer:
    def __init__(self, items: Any) -> None:
        self.items = items
        self.loads = 0

    def __statetree__(self) -> Any:
        return {"items": self.items, "kinds": Counter(a=1)}

    def __load_statetree__(self, tree: Any) -> None:
        if tree["items"] == "bad":
            raise ValueError("no such items")
        assert type(tree["kinds"]) is Counter
        self.items = tree["items"]
        self.loads += 1


def test_a_class_takes_part_by_two_methods() -> None:
    here = {"buffer": Buffer([1]), "w": np.zeros(1)}

    restore(here, state({"buffer": Buffer([1, 2, 3]), "w": np.ones(1)}))

    assert (here["buffer"].items, here["w"].tolist()) == ([1, 2, 3], [1])  # type: ignore[union-attr]


def test_what_other_code_refuses_is_undone_before_any_array_is_touched() -> None:
    first, second, w = Buffer([1]), Buffer([2]), np.zeros(1)

    with pytest.raises(ValueError, match="no such items"):
        restore([w, first, second], state([np.ones(1), Buffer([5]), Buffer("bad")]))

    assert (first.items, second.items, w.tolist()) == ([1], [2], [0])


class _Adapter:
    classes = ("mylib.things.Thing",)

    def state(self, value: Any) -> Any:
        return {"weights": value.weights}

    def load(self, value: Any, tree: Any) -> Any:
        return type(value)(tree["weights"])


def thing_class() -> Any:
    def init(self: Any, weights: Any) -> None:
        self.weights = weights

    return type("Thing", (), {"__init__": init, "__module__": "mylib.things", "__qualname__": "Thing"})


def test_a_class_of_another_package_takes_part_through_an_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def entry(name: str, adapter: Any) -> Any:
        return SimpleNamespace(name=name, value=f"{name}:ADAPTER", load=lambda: loaded.append(name) or adapter)

    entries = [entry("mylib", _Adapter()), entry("not_imported", object())]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries if group == "statetree.adapters" else [])
    monkeypatch.setitem(__import__("sys").modules, "mylib", SimpleNamespace())
    thing = thing_class()
    here = {"thing": thing(np.zeros(2))}

    tree = state({"thing": thing(np.ones(2))})
    restored = restore(here, tree)

    assert difference(tree, {"thing": {"weights": np.ones(2)}}) is None
    assert restored["thing"].weights.tolist() == [1, 1]
    assert loaded == ["mylib"]


# Sources


@pytest.mark.parametrize("name", ["x.h5", "x.zarr", "x.zarr.zip", "x.bson"])
def test_a_state_is_restored_from_an_open_file_without_loading_it_first(name: str, tmp_path: Path) -> None:
    tree = {"model": state(Dense(np.arange(3.0), np.ones((2, 2), np.float32))), "step": 3}
    statetree.save(tmp_path / name, tree, durable=False)
    here = {"model": Dense(np.zeros(3), np.zeros((2, 2), np.float32)), "step": 0}

    with statetree.open(tmp_path / name) as file:
        restore(here, file.tree)

    assert difference(state(here), tree) is None


def test_arrays_of_any_layout_are_filled_in_place() -> None:
    base = np.zeros((4, 6), np.float32)
    model: Sequence[Array] = [base[::2, ::3], np.asfortranarray(np.zeros((2, 3))), np.zeros(3, ">f8"), np.zeros(())]
    tree = [np.ones((2, 2), np.float32), np.ones((2, 3)), np.arange(3.0), np.array(5.0)]

    restore(model, tree)

    assert difference(state(model), tree) is None
    assert base.sum() == 4


def test_a_read_only_array_is_replaced_where_it_stands() -> None:
    w = np.zeros(2)
    w.flags.writeable = False
    model = {"w": w}

    restore(model, {"w": np.ones(2)})

    assert (w.tolist(), model["w"].tolist()) == ([0, 0], [1, 1])
    assert model["w"] is not w


def test_restoring_twice_is_restoring_once() -> None:
    model = {"a": Dense(np.zeros(2), None), "c": Counter(x=1)}
    tree = {"a": state(Dense(np.ones(2), None)), "c": {"x": 2}}

    once = copy.deepcopy(restore(model, tree))
    twice = restore(model, tree)

    assert difference(state(once), state(twice)) is None


# What shares memory


def test_arrays_are_filled_from_what_they_held_before() -> None:
    x, y = np.arange(3.0), np.arange(3.0) + 10
    model = {"a": x, "b": y}

    restore(model, {"a": y, "b": x})

    assert (x.tolist(), y.tolist()) == ([10, 11, 12], [0, 1, 2])


def test_arrays_that_share_memory_must_agree() -> None:
    x = np.zeros(4)
    model = {"a": x, "b": x[1:3]}

    with pytest.raises(RestoreError) as refused:
        restore(model, {"a": np.arange(4.0), "b": np.full(2, 9.0)})

    assert texts(refused) == [
        "expected a value that agrees with /a, which shares memory with it here, got another value (at /b): tie them "
        "in the model that was saved, or give them memory of their own here"
    ]
    assert x.tolist() == [0, 0, 0, 0]
    restore(model, {"a": np.arange(4.0), "b": np.array([1.0, 2.0])})
    assert x.tolist() == [0, 1, 2, 3]


def test_without_strict_the_first_of_those_that_share_memory_is_filled() -> None:
    x = np.zeros(4)

    _, problems = restore({"a": x, "b": x[1:3]}, {"a": np.arange(4.0), "b": np.full(2, 9.0)}, strict=False)

    assert [problem.path for problem in problems] == [("b",)]
    assert x.tolist() == [0, 1, 2, 3]


def test_columns_of_one_array_share_no_elements() -> None:
    x = np.zeros((3, 2))

    restore({"a": x[:, 0], "b": x[:, 1]}, {"a": np.arange(3.0), "b": np.ones(3)})

    assert x.tolist() == [[0, 1], [1, 1], [2, 1]]


# What fails in the middle


class Picky(dict[str, Any]):
    def __setitem__(self, key: str, value: Any) -> None:
        if value == 5:
            raise ValueError("no five here")
        super().__setitem__(key, value)


def test_a_container_that_refuses_leaves_everything_as_it_was() -> None:
    model = {"w": np.zeros(2), "n": 1, "l": [1, 2], "picky": Picky(a=1)}

    with pytest.raises(ValueError, match="no five here"):
        restore(model, {"w": np.ones(2), "n": 2, "l": [3, 4], "picky": {"a": 5}})

    assert difference(state(model), {"w": np.zeros(2), "n": 1, "l": [1, 2], "picky": {"a": 1}}) is None


class Refusing:
    def __statetree__(self) -> Any:
        return {"a": 1}

    def __load_statetree__(self, tree: Any) -> None:
        raise ValueError("never")


def test_an_object_that_refuses_its_old_state_too_does_not_keep_others_from_theirs() -> None:
    model = {"first": np.random.default_rng(1), "refusing": Refusing(), "n": 1, "random": np.random.RandomState(1)}
    before = state(model)
    other = {"first": np.random.default_rng(2), "refusing": Refusing(), "n": 2, "random": np.random.RandomState(2)}

    with pytest.raises(ValueError, match="never") as refused:
        restore(model, state(other))

    assert difference(state(model), before) is None
    assert refused.value.__notes__ == [
        "while restoring /refusing",
        "putting back what was there failed too: ValueError('never')",
    ]


# Histories and counters


@pytest.mark.parametrize("here", [[], [0.5], [0.5] * 9, [{"epoch": 1, "loss": None}]])
def test_a_list_of_numbers_and_texts_takes_the_length_of_the_saved_one(here: list[Any]) -> None:
    saved = [{"epoch": 1, "loss": 0.25}, ("a", None)]
    model = {"history": here, "recent": deque([1.0], maxlen=4), "counts": Counter[str]()}

    back = restore(model, {"history": saved, "recent": [1.0, 2.0], "counts": {"a": 1}})

    assert back["history"] is here
    assert (here, model["recent"], model["counts"]) == (saved, deque([1.0, 2.0]), Counter("a"))
    assert here[0] is not saved[0]


def test_a_list_of_arrays_has_the_length_that_it_has() -> None:
    with pytest.raises(RestoreError) as refused:
        restore({"layers": []}, {"layers": [np.ones(1)]})

    assert texts(refused) == [
        "expected nothing, got an array of float64 (1,) (at /layers/#0): leave it out with migrate=, or pass "
        "strict=False to ignore it"
    ]


def test_a_number_of_python_and_the_same_kind_of_numpy_stand_for_each_other() -> None:
    model = {"best": float("inf"), "n": np.int64(1), "none": None, "was": 0.5}

    restore(model, {"best": np.float64(0.5), "n": 3, "none": np.float32(1), "was": None})

    assert difference(model, {"best": np.float64(0.5), "n": 3, "none": np.float32(1), "was": None}) is None


def test_a_random_state_that_is_a_tree_takes_another_one() -> None:
    saved = {"rng": state(Random(1))}
    generator = Random(2)
    generator.gauss(0, 1)

    assert restore({"rng": state(generator)}, saved)["rng"]["state"]["gauss"] is None
    assert restore(saved, {"rng": state(generator)})["rng"]["state"]["gauss"] is not None


# Texts


def test_what_is_no_tree_is_told_at_once(tmp_path: Path) -> None:
    statetree.save(tmp_path / "a.h5", {"n": 1})

    with pytest.raises(RestoreError) as refused, statetree.open(tmp_path / "a.h5") as file:
        restore({"n": 0}, file)
    assert texts(refused) == [
        "expected a state tree, got an object of type StateFile (at the root): pass statetree.load(path), or f.tree of "
        "an open file"
    ]
    with pytest.raises(RestoreError, match="an object of type str"):
        restore({"n": 0}, str(tmp_path / "a.h5"))


def test_a_long_list_of_problems_is_cut_in_the_text_alone() -> None:
    with pytest.raises(RestoreError) as refused:
        restore({str(number): number for number in range(50)}, {})

    assert str(refused.value).splitlines()[20:] == ["and 30 more, in the attribute problems"]
    assert len(refused.value.problems) == 50


def test_an_empty_random_state_is_refused() -> None:
    with pytest.raises(RestoreError) as refused:
        statetree.restore_rng({})

    assert [problem.path for problem in refused.value.problems] == [("python",), ("numpy",)]
