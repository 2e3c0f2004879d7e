"""The state of plain Python objects and of NumPy's: what is taken, what becomes (), what is refused."""

import dataclasses
import datetime
import decimal
import enum
import random
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import attrs
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given

import statetree
from statetree import Record, Symbol, WriteError, difference, state
from statetree_conformance import strategies

Array = np.ndarray[Any, Any]


def arrays_of(tree: Any) -> Iterator[Array]:
    if isinstance(tree, np.ndarray):
        yield tree
    elif isinstance(tree, dict | Record):
        for _, part in tree.items():
            yield from arrays_of(part)
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from arrays_of(part)


@given(strategies.trees(namedtuples=True))
def test_the_state_of_a_tree_is_the_tree_with_arrays_of_its_own(tree: Any) -> None:
    found = state(tree)

    assert difference(found, tree) is None
    theirs = list(arrays_of(tree))
    assert not any(np.shares_memory(ours, other) for ours in arrays_of(found) for other in theirs)


def test_later_changes_do_not_reach_a_state() -> None:
    model = {"w": np.zeros(3), "steps": [1]}

    found = state(model)
    model["w"][:] = 1
    model["steps"].append(2)

    assert difference(found, {"w": np.zeros(3), "steps": [1]}) is None


def test_one_array_at_two_places_is_one_in_the_state_and_equal_ones_are_two() -> None:
    w = np.ones(2)

    found = state({"a": w, "b": [w], "view": w[:], "other": np.ones(2)})

    assert found["a"] is found["b"][0] is found["view"]
    assert found["other"] is not found["a"]


@dataclasses.dataclass
class Layer:
    weight: Any
    act: Any = len
    size: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    weight: Any
    more: Any = None
    name: str = dataclasses.field(default="x", metadata={"static": True})


@attrs.define
class Attrs:
    weight: Any
    names: list[str]


Point = namedtuple("Point", ["x", "σ"])


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        (Layer(np.ones(2)), Record({"weight": np.ones(2), "act": (), "size": 3}, label="Layer")),
        (Frozen(np.ones(2)), Record({"weight": np.ones(2), "more": None, "name": ()}, label="Frozen")),
        (Attrs(np.ones(2), ["a"]), Record({"weight": np.ones(2), "names": ["a"]}, label="Attrs")),
        (Point(1, (2,)), Record({"x": 1, "σ": (2,)}, label="Point")),
        ([Counter({3: 1}), defaultdict(list, a=[1]), OrderedDict(b=2)], [{3: 1}, {"a": [1]}, {"b": 2}]),
        (deque([1, 2]), [1, 2]),
        (
            {"f": len, "t": int, "m": sys, "e": Colour.RED, "l": lambda: 0},
            {"f": (), "t": (), "m": (), "e": (), "l": ()},
        ),
        ([np.float32(1), np.arange(3)[::-1]], [np.float32(1), np.array([2, 1, 0])]),
        ([ml_dtypes.bfloat16(1), np.ones(2, ">f4")], [ml_dtypes.bfloat16(1), np.ones(2, "f4")]),
        (Symbol("relu"), Symbol("relu")),
        (None, None),
    ],
)
def test_what_an_object_becomes(value: Any, tree: Any) -> None:
    assert difference(state(value), tree) is None


def test_every_path_that_became_an_empty_tuple_is_reported_and_no_other() -> None:
    report: list[Any] = []

    state({"a": Layer(np.ones(1)), "b": [(), Frozen(1)], "c": {"d": print}}, report=report)

    assert report == [("a", "act"), ("b", 1, "name"), ("c", "d")]


class Unknown:
    pass


def test_an_object_of_an_unknown_class_is_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="left out") as warned:
        found = state({"a": [Unknown()]})

    assert found == {"a": [()]}
    assert str(warned[0].message) == (
        f"an object of type {__name__}.Unknown is taken for no state and left out (at /a/#0): if it has any, give its "
        "class __statetree__ and __load_statetree__"
    )


class Hostile:
    """Whatever is called of it fails."""

    def _never(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("called")

    __array__ = __eq__ = __getstate__ = __iter__ = __len__ = __hash__ = __bool__ = __repr__ = __str__ = _never
    __getattr__ = __reduce__ = __reduce_ex__ = __copy__ = __deepcopy__ = __float__ = __index__ = _never
    __array_interface__ = property(_never)
    __class__ = property(_never)  # type: ignore[assignment]


def test_nothing_of_a_hostile_object_is_called() -> None:
    with pytest.warns(UserWarning, match="left out"):
        found = state({"a": Hostile(), "b": [np.ones(1)]})

    assert difference(found, {"a": (), "b": [np.ones(1)]}) is None


REFUSED = {
    "set": ({1}, "expected a value of a state tree, got a set (at /k/#0): keep sorted(x), a list"),
    "date": (
        datetime.date(2026, 1, 1),
        "expected a value of a state tree, got a date (at /k/#0): keep x.isoformat(), a str",
    ),
    "decimal": (decimal.Decimal(1), "expected a value of a state tree, got a Decimal (at /k/#0): keep str(x)"),
    "bytearray": (bytearray(b"x"), "expected a value of a state tree, got a bytearray (at /k/#0): keep bytes(x)"),
    "objects": (
        np.array([None]),
        "expected an array of numbers, got an array of dtype object (at /k/#0): keep its elements as a list",
    ),
    "texts": (
        np.array(["a"]),
        "expected an array of numbers, got an array of dtype <U1 (at /k/#0): keep its elements as a list",
    ),
    "masked": (
        np.ma.ones(2),
        "expected a plain NumPy array or scalar, got a numpy.ma.MaskedArray (at /k/#0): "
        "keep {'data': a.data, 'mask': a.mask}",
    ),
    "matrix": (
        np.asmatrix(np.ones(2)),
        "expected a plain NumPy array or scalar, got a numpy.matrix (at /k/#0): keep numpy.asarray(a)",
    ),
    "float key": (
        {1.5: 1},
        "expected a key that is str, int, bool, None, bytes, Symbol or a tuple of these, got a key of type float "
        "(at /k/#0): use one of these",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_values_whose_loss_would_be_noticed_late_are_refused(name: str) -> None:
    value, text = REFUSED[name]

    with pytest.raises(WriteError) as refused:
        state({"k": [value]})

    assert (
        str(refused.value).replace("numpy.ma.core.", "numpy.ma.").replace("numpy.matrixlib.defmatrix.", "numpy.")
        == text
    )


def test_an_object_that_holds_itself_is_refused() -> None:
    model: dict[str, Any] = {"layers": []}
    model["layers"].append(model)

    with pytest.raises(WriteError) as refused:
        state(model)

    assert str(refused.value) == "expected a tree, got an object that holds itself (at /layers/#0): break the cycle"


def test_an_object_of_an_unknown_class_by_itself_is_refused() -> None:
    with pytest.raises(WriteError) as refused:
        state(object())

    assert str(refused.value) == (
        "expected a model, an optimiser, a tree, or another object whose state is known, got an object of type "
        "builtins.object (at the root): give its class __statetree__ and __load_statetree__, or write an adapter "
        "(docs/restore.md)"
    )


class Meddling:
    """While its state is taken, it does something to the object that it is a part of."""

    def __init__(self, meddle: Callable[[], Any]) -> None:
        self.meddle = meddle

    def __statetree__(self) -> int:
        self.meddle()
        return 1

    def __load_statetree__(self, tree: int) -> None: ...


MEDDLING: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a key is added": lambda model: model.update(new=1),
    "a key is removed": lambda model: model.pop("a"),
    "a value is replaced": lambda model: model.update(a=np.zeros(1)),
    "a list grows": lambda model: model["list"].append(1),
    "a field is set": lambda model: setattr(model["layer"], "size", 5),
}


@pytest.mark.parametrize("what", MEDDLING)
def test_an_object_that_changes_meanwhile_is_refused(what: str) -> None:
    model: dict[str, Any] = {"a": np.ones(1), "list": [0], "layer": Layer(np.ones(1))}
    model["meddling"] = Meddling(lambda: MEDDLING[what](model))

    with pytest.raises(WriteError) as refused:
        state(model)

    assert str(refused.value) == (
        "expected an object that rests while its state is taken, got one of which a part was changed: "
        "take it between two steps"
    )


def test_save_takes_no_objects_and_says_what_does(tmp_path: Path) -> None:
    with pytest.raises(WriteError) as refused:
        statetree.save(tmp_path / "x.h5", {"model": Layer(np.ones(1))})

    assert str(refused.value) == (
        f"expected a value of a state tree, got an object of type {__name__}.Layer (at /model): save "
        "statetree.state(x) of a model, an optimiser or a dataclass, of another object what it is made of: "
        "dict, list, tuple, Record or namedtuple, with NumPy array or scalar, int, float, complex, bool, None, "
        "str, bytes or Symbol as leaves"
    )
    assert list(tmp_path.iterdir()) == []


# Generators of random numbers

GENERATORS = {
    "PCG64": lambda: np.random.Generator(np.random.PCG64(1)),
    "PCG64DXSM": lambda: np.random.Generator(np.random.PCG64DXSM(1)),
    "MT19937": lambda: np.random.Generator(np.random.MT19937(1)),
    "Philox": lambda: np.random.Generator(np.random.Philox(1)),
    "SFC64": lambda: np.random.Generator(np.random.SFC64(1)),
    "RandomState": lambda: np.random.RandomState(1),
    "random": lambda: random.Random(1),
}


def draw(generator: Any) -> float:
    return float(generator.random())


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".bson"])
def test_a_generator_goes_on_where_it_was(name: str, suffix: str, tmp_path: Path) -> None:
    generator, other = GENERATORS[name](), GENERATORS[name]()
    for _ in range(7):
        draw(generator)
    if name in ("random", "RandomState"):
        getattr(generator, "gauss", getattr(generator, "normal", None))(0, 1)  # leaves the second of a pair behind
    statetree.save(tmp_path / f"x{suffix}", state(generator), durable=False)

    restored = statetree.restore(other, statetree.load(tmp_path / f"x{suffix}"))

    assert restored is other
    assert [draw(other) for _ in range(5)] == [draw(generator) for _ in range(5)]


def test_a_generator_of_another_algorithm_is_refused_and_left_alone() -> None:
    other = np.random.default_rng(5)
    before = other.bit_generator.state

    with pytest.raises(statetree.RestoreError) as refused:
        statetree.restore({"rng": other}, {"rng": state(np.random.Generator(np.random.SFC64(1)))})

    assert str(refused.value).splitlines()[0] == (
        "expected 'PCG64', got str 'SFC64' (at /rng/bit_generator): build it with the same one"
    )
    assert other.bit_generator.state == before


def test_the_global_generators_go_on_together() -> None:
    tree = statetree.rng_state()
    expected = random.random(), np.random.rand(3).tolist()

    statetree.restore_rng(tree)

    assert (random.random(), np.random.rand(3).tolist()) == expected


def test_no_framework_is_imported_for_plain_objects() -> None:
    code = (
        "import sys, numpy, statetree as st; st.state({'a': numpy.ones(1), 'f': len}); st.rng_state(); "
        "print([name for name in ('torch', 'jax', 'flax', 'equinox', 'optax', 'h5py') if name in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("length", [256, 257, 258, 1000])
def test_long_lists_rest_while_their_state_is_taken(length: int) -> None:
    history = [0.5] * length

    assert state({"list": history, "deque": deque(history)}) == {"list": history, "deque": history}


class Rate(float):
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Rate(1.5), "expected a value of a state tree, got a Rate (at /x): keep float(x)"),
        (MappingProxyType({"a": 1}), "expected a value of a state tree, got a mappingproxy (at /x): keep dict(x)"),
    ],
    ids=["float", "mappingproxy"],
)
def test_subclasses_of_numbers_and_texts_are_not_lost_in_silence(value: Any, text: str) -> None:
    with pytest.raises(WriteError) as refused:
        state({"x": value})

    assert str(refused.value) == text


class Warmup:
    def __init__(self) -> None:
        self.step = 3

    def __call__(self) -> float:
        return self.step / 10


@pytest.mark.parametrize("value", [Warmup(), (part for part in ())], ids=["callable", "generator"])
def test_what_is_called_or_iterated_and_may_keep_state_is_left_out_with_a_warning(value: Any) -> None:
    with pytest.warns(UserWarning, match=r"is taken for no state and left out \(at /x\)"):
        assert state({"x": value}) == {"x": ()}


def test_a_simple_namespace_is_a_record() -> None:
    value = SimpleNamespace(epoch=9, weight=np.ones(2))

    tree = state({"n": value})

    assert difference(tree, {"n": Record({"epoch": 9, "weight": np.ones(2)}, label="SimpleNamespace")}) is None


def test_an_array_of_an_open_file_is_read(tmp_path: Path) -> None:
    statetree.save(tmp_path / "a.h5", {"w": np.ones(2)})

    with statetree.open(tmp_path / "a.h5") as file:
        tree = state({"w": file["w"]})

    assert difference(tree, {"w": np.ones(2)}) is None
