"""Errors: classes, codes, data and text of what is refused."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import statetree
from statetree import Problem, StateTreeError, Symbol
from statetree.errors import fail, raise_problem, shown
from statetree_spec import registry

CODES = registry("errors")["codes"]
CLASSES = registry("errors")["classes"]
SPECIAL = {
    "NOT_FOUND": statetree.MissingFileError,
    "BACKEND_LIBRARY": statetree.MissingLibraryError,
    "PATH_NOT_FOUND": statetree.MissingPathError,
    **{
        f"STATE_{what}": statetree.RestoreError
        for what in ("MISSING", "UNEXPECTED", "SHAPE", "DTYPE", "KIND", "TIE", "NAMES")
    },
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_is_raised_as_the_exception_of_its_class(code: str) -> None:
    error = Problem(code, "a", "b").error()

    assert isinstance(error, getattr(statetree, CLASSES[CODES[code]["class"]]["exception"]))
    assert type(error) is SPECIAL.get(code, getattr(statetree, CLASSES[CODES[code]["class"]]["exception"]))
    assert (error.code, error.error_class) == (code, CODES[code]["class"])


@pytest.mark.parametrize(
    ("name", "builtins"),
    [
        ("MalformedError", (ValueError,)),
        ("UnsupportedError", (ValueError,)),
        ("InvalidError", (ValueError,)),
        ("IntegrityError", (ValueError,)),
        ("SecurityError", (ValueError,)),
        ("LimitError", (ValueError,)),
        ("WriteError", (TypeError, ValueError)),
        ("StoreIOError", (OSError,)),
        ("MissingFileError", (statetree.StoreIOError, FileNotFoundError)),
        ("UsageError", (ValueError,)),
        ("RestoreError", (statetree.UsageError, ValueError)),
        ("MissingLibraryError", (statetree.UsageError, ImportError)),
        ("MissingPathError", (statetree.UsageError, KeyError)),
    ],
)
def test_every_error_is_what_a_caller_expects(name: str, builtins: tuple[type, ...]) -> None:
    kind = getattr(statetree, name)

    assert issubclass(kind, (StateTreeError,))
    assert all(issubclass(kind, builtin) for builtin in builtins)


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem("IO", "a", "b"), "expected a, got b"),
        (Problem("IO", "a", "b", ()), "expected a, got b (at the root)"),
        (Problem("IO", "a", "b", ("x", 0)), "expected a, got b (at /x/#0)"),
        (Problem("IO", "a", "b", place="/arrays/0-w"), "expected a, got b (in /arrays/0-w)"),
        (Problem("IO", "a", "b", remedy="do c"), "expected a, got b: do c"),
        (Problem("IO", "a", "b", (Symbol("s"),), "p", "do c", "J-1"), "expected a, got b (at /:s) (in p): do c"),
    ],
)
def test_the_text_is_expected_got_where_and_remedy(problem: Problem, text: str) -> None:
    assert str(problem) == text
    assert str(problem.error()) == text


def test_an_error_carries_its_problems_and_the_first_one_names_it() -> None:
    first = Problem("DIGEST", "a", "b", ("x",), "p", "c")
    error = statetree.IntegrityError([first, Problem("IO", "d", "e")])

    assert error.problems == (first, Problem("IO", "d", "e"))
    assert (error.code, error.error_class, error.path) == ("DIGEST", "integrity", ("x",))
    assert str(error) == "expected a, got b (at /x) (in p): c\nexpected d, got e"


def test_fail_and_raise_problem_raise() -> None:
    with pytest.raises(statetree.LimitError) as caught:
        fail("LIMIT_NODES", "a", "b", path=("x",), place="p", remedy="c", rule="L-1")

    assert caught.value.problems == (Problem("LIMIT_NODES", "a", "b", ("x",), "p", "c", "L-1"),)
    with pytest.raises(statetree.LimitError):
        raise_problem(caught.value.problems[0])


@pytest.mark.parametrize("code", ["DIGEST", "NOT_FOUND", "PATH_NOT_FOUND", "BACKEND_LIBRARY", "WRITE_TYPE"])
def test_errors_cross_process_boundaries(code: str) -> None:
    error = Problem(code, "a", "b", ("x", 1), "p", "c").error()

    copy = pickle.loads(pickle.dumps(error))

    assert (type(copy), copy.problems, str(copy)) == (type(error), error.problems, str(error))


@given(st.text(), st.integers(1, 100))
def test_text_from_files_is_shown_printable_and_cut(text: str, limit: int) -> None:
    out = shown(text, limit)

    assert out.isprintable()
    assert len(out) <= limit


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ("plain σ²", "plain σ²"),
        ("\x1b[31m", "\\x1b[31m"),
        ("a\nb\tc\0", "a\\nb\\tc\\x00"),
        ("\u202etxt", "\\u202etxt"),
        ("\ud800", "\\ud800"),
        ("x" * 100, "x" * 79 + "…"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, out: str) -> None:
    assert shown(text) == out


@given(st.text(), st.lists(st.text(max_size=300), max_size=3).map(tuple))
def test_no_path_or_place_makes_an_error_text_unprintable(place: str, path: tuple[str, ...]) -> None:
    text = str(Problem("IO", "a", "b", path, place))

    assert text.isprintable()
    assert len(text) < 500
