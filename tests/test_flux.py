"""Flux's rules, case by case: each test is named after a line of what Flux 0.16 did when it was asked."""

import dataclasses
import re
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statetree import Record, RestoreError, Symbol, WriteError, difference
from statetree.flux import loadmodel, state

Array = np.ndarray[Any, Any]


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


@dataclasses.dataclass
class Dense:
    weight: Any
    bias: Any
    σ: Callable[[Array], Array] = relu  # noqa: PLC2401 - Flux names it so


@dataclasses.dataclass
class Chain:
    layers: Any


@dataclasses.dataclass
class GlobalMeanPool:
    pass


LINES: dict[str, str] = {}
"""Line of what Flux did → the test that holds it."""


def lines(*texts: str) -> Callable[[Any], Any]:
    """Name the lines of Flux's answers that a test is about."""

    def note(test: Any) -> Any:
        LINES.update(dict.fromkeys(texts, test.__name__))
        return test

    return note


def dense(value: float = 0, dtype: str = "float32") -> Dense:
    return Dense(np.full((2, 3), value, dtype), np.full(2, value, dtype))


def struct(**fields: Any) -> Record:
    return Record(fields)


def full(value: float, *shape: int, dtype: str = "float32") -> Array:
    return np.full(shape, value, dtype)


def refused(dst: Any, src: Any) -> list[str]:
    """Load what does not fit, check that nothing was changed, and return what is said."""
    before = repr(state(dst))

    with pytest.raises(RestoreError) as error:
        loadmodel(dst, src)

    assert repr(state(dst)) == before
    return [str(problem).split(": build the model")[0] for problem in error.value.problems]


@lines("same structure")
def test_same_structure() -> None:
    model = dense()

    assert loadmodel(model, state(dense(1))) is model
    assert difference(state(model), state(dense(1))) is None


@lines("key order differs")
def test_key_order_differs() -> None:
    model = dense()

    loadmodel(model, struct(σ=(), bias=full(2, 2), weight=full(1, 2, 3)))

    assert (model.weight[0, 0], model.bias[0]) == (1, 2)


@lines("missing key σ")
def test_missing_key() -> None:
    assert refused(dense(), struct(bias=full(0, 2), weight=full(0, 2, 3))) == [
        "expected parts weight, bias, σ, got parts bias, weight (at the root)"
    ]


@lines("extra key")
def test_extra_key() -> None:
    found = refused(dense(), struct(bias=full(0, 2), weight=full(0, 2, 3), σ=(), x=1))

    assert found == ["expected parts weight, bias, σ, got parts bias, weight, σ, x (at the root)"]


@lines("shape mismatch")
def test_shape_mismatch() -> None:
    found = refused(dense(), struct(weight=full(0, 3, 2), bias=full(0, 2), σ=()))

    assert found == ["expected shape (2, 3), got (3, 2) (at /weight)"]


@lines("shape mismatch same length (2,3)<-(6,)")
def test_shape_mismatch_of_the_same_length() -> None:
    found = refused(dense(), struct(weight=full(0, 6), bias=full(0, 2), σ=()))

    assert found == ["expected shape (2, 3), got (6,) (at /weight)"]


@lines("Float64 src into Float32 dst (1.1)")
def test_float64_source_into_float32() -> None:
    model = dense()

    loadmodel(model, struct(weight=full(1.1, 2, 3, dtype="float64"), bias=full(0, 2), σ=()))

    assert (model.weight.dtype, model.weight[0, 0]) == (np.float32, np.float32(1.1))


@lines("Int src into Float32 dst")
def test_int_source_into_float32() -> None:
    model = dense()

    loadmodel(model, struct(weight=full(2, 2, 3, dtype="int64"), bias=full(0, 2), σ=()))

    assert model.weight[0, 0] == 2.0


@lines("Complex src into Float32 dst")
def test_complex_source_into_float32() -> None:
    source = np.full((2, 3), 1 + 2j)

    assert refused(dense(), struct(weight=source, bias=full(0, 2), σ=())) == [
        "expected values that float32 holds, got others, of complex128 (at /weight)"
    ]
    loadmodel(dense(), struct(weight=source.real + 0j, bias=full(0, 2), σ=()))


def test_float_source_into_int_must_be_exact() -> None:
    model = {"n": np.zeros(2, np.int32)}

    loadmodel(model, {"n": np.array([1.0, 2.0])})

    assert model["n"].tolist() == [1, 2]
    assert refused(model, {"n": np.array([1.5, 2.0])}) == [
        "expected values that int32 holds, got others, of float64 (at /n)"
    ]


@lines("dst array <- src false")
def test_array_from_false() -> None:
    model = dense(1)

    loadmodel(model, struct(weight=full(1, 2, 3), bias=False, σ=()))

    assert model.bias.tolist() == [0.0, 0.0]


@lines("dst array <- src true")
def test_array_from_true() -> None:
    assert refused(dense(1), struct(weight=full(1, 2, 3), bias=True, σ=())) == [
        "expected an array of shape (2,), or False, got bool True (at /bias)"
    ]


@lines("dst false <- src zeros", "dst false <- src nonzero")
@pytest.mark.parametrize("value", [0, 1])
def test_false_from_zeros_and_from_other_than_zeros(value: float) -> None:
    model = Dense(full(0, 2, 3), False)

    loadmodel(model, struct(weight=full(1, 2, 3), bias=full(value, 2), σ=()))

    assert model.bias is False


@lines("dst true <- src array")
def test_true_from_array() -> None:
    assert refused(Dense(full(0, 2, 3), True), struct(weight=full(1, 2, 3), bias=full(0, 2), σ=())) == [
        "expected zeros or False, got an array of shape (2,) (at /bias)"
    ]


@lines("dst false <- src true")
def test_false_from_true() -> None:
    model = Dense(full(0, 2, 3), False)

    loadmodel(model, struct(weight=full(1, 2, 3), bias=True, σ=()))

    assert model.bias is False


@lines("dst array <- src nothing", "dst array <- src number 0")
@pytest.mark.parametrize(("source", "what"), [(None, "null None"), (0, "int 0"), ((), "tuple ()"), ("x", "str 'x'")])
def test_array_from_nothing_or_a_number(source: Any, what: str) -> None:
    assert refused(dense(), struct(weight=full(0, 2, 3), bias=source, σ=())) == [
        f"expected an array of shape (2,), or False, got {what} (at /bias)"
    ]


@lines("dst nothing <- src array")
def test_nothing_from_array() -> None:
    assert refused(Dense(full(0, 2, 3), None), struct(weight=full(0, 2, 3), bias=full(0, 2), σ=())) == [
        "expected no array, as in null None, got an array of shape (2,) (at /bias)"
    ]


@lines("dst number <- src other number: copied?")
def test_number_from_another_number_is_not_copied() -> None:
    model = {"ϵ": 1e-5, "momentum": 0.1}

    loadmodel(model, {"ϵ": 1e-3, "momentum": 0.9})

    assert model == {"ϵ": 1e-5, "momentum": 0.1}


@lines("dst σ function <- src ()", "dst σ function <- src anything string")
@pytest.mark.parametrize("source", [(), "anything"])
def test_function_from_empty_tuple_or_string(source: Any) -> None:
    model = dense()

    loadmodel(model, struct(weight=full(1, 2, 3), bias=full(1, 2), σ=source))

    assert model.σ is relu


@lines("dst σ function <- src array")
def test_function_from_array() -> None:
    (found,) = refused(dense(), struct(weight=full(1, 2, 3), bias=full(1, 2), σ=full(1, 2)))

    assert found.startswith("expected no array, as in function <function relu")


@lines("Chain tuple length mismatch")
def test_tuple_length_mismatch() -> None:
    assert refused(Chain((dense(),)), struct(layers=(state(dense()), state(dense())))) == [
        "expected parts #0, got parts #0, #1 (at /layers)"
    ]


@lines("Vector src for Tuple dst layers")
def test_vector_source_for_tuple() -> None:
    model = Chain((dense(),))

    loadmodel(model, struct(layers=[state(dense(1))]))

    assert model.layers[0].weight[0, 0] == 1


@lines("NamedTuple src for Tuple dst")
def test_named_tuple_source_for_tuple() -> None:
    assert refused(Chain((dense(),)), struct(layers=struct(a=state(dense())))) == [
        "expected parts #0, got parts a (at /layers)"
    ]


@lines("Dict{Symbol} src for Dense")
def test_dict_of_symbols_source_for_struct() -> None:
    model = dense()

    loadmodel(model, {Symbol("weight"): full(1, 2, 3), Symbol("bias"): full(1, 2), Symbol("σ"): ()})

    assert model.weight[0, 0] == 1


@lines("Dict src for Dict dst")
def test_dict_source_for_dict() -> None:
    model = {"a": np.zeros(2)}

    loadmodel(model, {"a": np.ones(2)})

    assert model["a"].tolist() == [1.0, 1.0]


@lines("top-level array dst")
def test_list_of_arrays_at_the_top() -> None:
    assert loadmodel([np.zeros(2)], [np.ones(2)])[0].tolist() == [1.0, 1.0]


@lines("top-level numeric array (leaf)")
def test_numeric_array_at_the_top_is_a_leaf_that_nothing_is_loaded_into() -> None:
    assert loadmodel(np.zeros(2), np.ones(2)).tolist() == [0.0, 0.0]


def tied() -> dict[str, Array]:
    w = full(0, 2, 2)
    return {"a": w, "b": w}


@lines("tied dst, equal srcs")
def test_tied_destination_with_equal_sources() -> None:
    model = tied()

    loadmodel(model, {"a": full(1, 2, 2), "b": full(1, 2, 2)})

    assert model["a"] is model["b"]
    assert model["a"].tolist() == [[1, 1], [1, 1]]


@lines("tied dst, different srcs")
def test_tied_destination_with_different_sources() -> None:
    assert refused(tied(), {"a": full(1, 2, 2), "b": full(2, 2, 2)}) == [
        "expected one value for what is one array in the model, got another value (at /b)"
    ]


@lines("tied dst, array then false")
def test_tied_destination_with_an_array_then_false() -> None:
    assert refused(tied(), {"a": full(1, 2, 2), "b": False}) == [
        "expected one value for what is one array in the model, got zeros (at /b)"
    ]


@lines("tied dst, zeros then false")
def test_tied_destination_with_zeros_then_false() -> None:
    model = loadmodel(tied(), {"a": full(0, 2, 2), "b": False})

    assert model["b"].tolist() == [[0, 0], [0, 0]]


@lines("untied dst, tied src")
def test_untied_destination_with_tied_source() -> None:
    model = {"a": full(0, 2, 2), "b": full(0, 2, 2)}
    w = full(1, 2, 2)

    loadmodel(model, {"a": w, "b": w})

    assert model["a"] is not model["b"]
    assert model["b"].tolist() == [[1, 1], [1, 1]]


@lines("tied via transpose")
def test_tied_by_transpose() -> None:
    w = full(0, 2, 2)
    model = {"a": w, "b": w.T}
    source = np.array([[1, 2], [3, 4]], "float32")

    loadmodel(model, {"a": source, "b": source.T})

    assert (model["a"].tolist(), model["b"].tolist()) == ([[1, 2], [3, 4]], [[1, 3], [2, 4]])


@lines("dst IdSet: false leaf twice w/ arrays", "dst false twice, 2nd nonzero")
def test_false_twice_with_arrays() -> None:
    model = {"a": False, "b": False}

    loadmodel(model, {"a": full(0, 2), "b": full(1, 2)})

    assert model == {"a": False, "b": False}


@lines("dst empty Chain")
def test_empty_chain() -> None:
    loadmodel(Chain(()), struct(layers=()))


@lines("partial copy before error?")
def test_no_partial_copy_before_an_error_which_is_stricter_than_flux() -> None:
    first, second = dense(), dense()

    found = refused(
        Chain((first, second)),
        struct(layers=(state(dense(1)), struct(weight=full(1, 9), bias=None, σ=()))),
    )

    assert first.weight[0, 0] == 0
    assert found == [
        "expected shape (2, 3), got (9,) (at /layers/#1/weight)",
        "expected an array of shape (2,), or False, got null None (at /layers/#1/bias)",
    ]


@lines("filter kw")
def test_filter_leaves_parts_of_both_out() -> None:
    model = {"a": full(0, 2), "s": "text"}

    loadmodel(model, {"a": full(1, 2)}, filter=lambda part: not isinstance(part, str))

    assert model["a"].tolist() == [1, 1]


# state


@lines("state(tuple w/ char, missing, ::Val, rng, fn, type, range)")
def test_state_keeps_numbers_texts_and_symbols_and_drops_code() -> None:
    values = (relu, int, range(1, 4), "a", Symbol("b"), None, 1 + 2j, np.array([True]), np.random.default_rng(0))

    found = state(values)

    assert (
        difference(found, ((), (), np.array([1, 2, 3]), "a", Symbol("b"), None, 1 + 2j, np.array([True]), ())) is None
    )


@lines("state(Dict)")
def test_state_of_a_dict() -> None:
    assert state({"f": relu, "a": 1}) == {"f": (), "a": 1}


@lines("state(Vector of layers)")
def test_state_of_a_vector_of_layers() -> None:
    (layer, function) = state([dense(), relu])

    assert difference(layer, struct(weight=full(0, 2, 3), bias=full(0, 2), σ=())) is None
    assert function == ()


@lines("state(array of strings)", "state(array of arrays)", "state(array of nothing/functions)")
def test_state_of_arrays_of_strings_of_arrays_and_of_nothing() -> None:
    found = state([np.array(["a", "b"]), [np.ones(1), np.ones(1)], [None, relu, 1]])

    assert difference(found, [["a", "b"], [np.ones(1), np.ones(1)], [None, (), 1]]) is None


@lines("aliasing: state shares memory with model: true", "tied arrays stay identical in state: true")
def test_state_has_the_arrays_of_the_model_and_keeps_them_tied() -> None:
    model = tied()

    found = state(model)

    assert found["a"] is model["a"]
    assert found["a"] is found["b"]


@lines("empty struct")
def test_state_of_structs_without_fields_is_an_empty_tuple() -> None:
    assert state((GlobalMeanPool(), relu)) == ((), ())


def test_state_of_a_named_tuple_has_no_label() -> None:
    found = state(namedtuple("Pool", ["k", "pad"])((2, 2), (0, 0)))

    assert difference(found, struct(k=(2, 2), pad=(0, 0))) is None


@lines("state(transpose)", "state(Adjoint leaf type)", "state(view)")
def test_views_are_arrays_in_python_so_the_state_has_them_as_such() -> None:
    w = np.arange(4.0).reshape(2, 2)

    assert state(Record({"w": w.T}))["w"].base is w.base


ANSWERS = Path(__file__).parents[2] / "shared" / "flux" / "loadmodel_rules.txt"


@pytest.mark.skipif(not ANSWERS.exists(), reason="the answers of Flux lie beside the project")
def test_every_answer_of_flux_has_a_test() -> None:
    answers = [line for line in ANSWERS.read_text("utf-8").splitlines() if line and not line.startswith("---")]
    titles = [re.split(r" {2,}| -> ", line, maxsplit=1)[0] for line in answers]

    assert [title for title in titles if title not in LINES] == []


def test_a_module_of_pytorch_is_refused_where_flux_would_see_a_leaf() -> None:
    torch = pytest.importorskip("torch")
    text = (
        "expected a dataclass, a named tuple, a container or an array, got an object of type "
        "torch.nn.modules.linear.Linear (at {}): use statetree.state and statetree.restore"
    )

    with pytest.raises(WriteError) as error:
        state({"m": torch.nn.Linear(1, 1)})
    assert str(error.value) == text.format("/m")
    for model, src, place in (({"m": torch.nn.Linear(1, 1)}, {"m": ()}, "/m"), (torch.nn.Linear(1, 1), (), "the root")):
        with pytest.raises(RestoreError) as none:
            loadmodel(model, src)
        assert str(none.value) == text.format(place)


def test_an_unsigned_integer_that_does_not_fit_is_no_negative_one() -> None:
    assert refused({"n": np.zeros(1, "i1")}, {"n": np.array([200], "u1")}) == [
        "expected values that int8 holds, got others, of uint8 (at /n)"
    ]
