"""The rules of Flux.jl for taking and loading the state of a model, case by case. Source: docs/restore.md.

`statetree.state` and `statetree.restore` are what to use in Python: they copy, keep more kinds and are stricter. These
two do what Flux.state and Flux.loadmodel! of Flux 0.16 do, for models that came from there: structs are dataclasses,
named tuples or records, layers without parameters are functions, and a bias that is turned off is False.

Where these are stricter: `loadmodel` changes nothing unless everything fits, and it says all that does not.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from statetree.compare import kind_of
from statetree.encode import tie_key
from statetree.errors import Problem, RestoreError, raise_problem, shown
from statetree.frameworks import look
from statetree.frameworks.parts import NOTHING, Context
from statetree.path import Path, path_text
from statetree.restoring.conversion import wide
from statetree.tree import Record, Symbol, namedtuple_fields

__all__ = ["loadmodel", "state"]

Array = np.ndarray[Any, Any]
_FRAMEWORKS = ("torch", "jax", "jaxlib", "flax", "equinox")


def state(model: Any) -> Any:
    """Return the state of a model as Flux.state does: arrays, numbers, texts, symbols and None; `()` for all else.

    Every field of a struct is there, whether it is trained or not. Arrays are those of the model, not copies, and
    what is one array there is one array in the state.

    >>> state({"weight": np.zeros(2), "act": len, "layers": (abs, 0.5)})
    {'weight': array([0., 0.]), 'act': (), 'layers': ((), 0.5)}

    Raises:
        WriteError: a part of a framework such as PyTorch, whose state Flux's rules do not see.
    """
    return _state(model, ())


def _state(model: Any, path: Path) -> Any:
    match _children(model):
        case None:
            return _leaf_state(model, path)
        case "dict", children:
            return {key: _state(part, (*path, key)) for key, part in children}
        case "list", children:
            return [_state(part, (*path, key)) for key, part in children]
        case "tuple", children:
            return tuple(_state(part, (*path, key)) for key, part in children)
        case _, children:
            # A struct without fields is a leaf of no state.
            return Record([(name, _state(part, (*path, name))) for name, part in children]) if children else ()


def _stranger(value: Any, path: Path) -> Problem | None:
    """Return what is wrong with a part whose state only `statetree.state` sees, None if it is none."""
    owners = {base.__module__.partition(".")[0] for base in type(value).__mro__}
    if owners.isdisjoint(_FRAMEWORKS) or look(value, Context(value, path=[*path, ""])) is NOTHING:
        return None
    expected = "a dataclass, a named tuple, a container or an array"
    found = f"an object of type {shown(f'{type(value).__module__}.{type(value).__qualname__}')}"
    return Problem("STATE_TYPE", expected, found, path=path, remedy="use statetree.state and statetree.restore")


def _leaf_state(value: Any, path: Path) -> Any:
    if (problem := _stranger(value, path)) is not None:
        raise_problem(problem)
    if isinstance(value, range):
        return np.arange(value.start, value.stop, value.step)
    if isinstance(value, np.ndarray) and value.dtype.kind in "OUST":
        return [state(part) for part in value.tolist()]
    kept = value is None or isinstance(value, bool | int | float | complex | str | Symbol | np.ndarray | np.generic)
    return value if kept else ()


def _children(value: Any) -> tuple[str, list[tuple[Any, Any]]] | None:
    """Return (kind, [(key, part)]) of what Flux walks into, None for a leaf."""
    kind = type(value)
    if isinstance(value, dict):
        return "dict", list(value.items())
    if isinstance(value, Record):
        return "struct", value.items()
    names = namedtuple_fields(kind)
    if names is not None:
        return "struct", list(zip(names, value, strict=True))
    if isinstance(value, list | tuple):
        return ("list" if isinstance(value, list) else "tuple"), list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return "struct", [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def loadmodel(dst: Any, src: Any, *, filter: Callable[[Any], bool] | None = None) -> Any:
    """Copy the arrays of a state, or of another model, into the arrays of a model, as Flux.loadmodel! does.

    - Fields and keys must be the same, in any order; a list may stand for a tuple, a dict for a struct.
    - An array takes one of its shape; elements are converted where that is exact, or rounds a float.
    - False stands for an array of zeros that is turned off: into an array it fills zeros, and it takes any array.
    - All else is neither copied nor compared: numbers, texts, functions, None against None.
    - What is one array in `dst` must have one value in `src`.

    >>> model = {"weight": np.zeros(2), "bias": False, "act": len}
    >>> loadmodel(model, {"weight": np.ones(2), "bias": np.zeros(2), "act": ()})["weight"]
    array([1., 1.])

    Args:
        dst: the model; its arrays are changed in place.
        src: what Flux.state or `state` returned of such a model, or another model.
        filter: tells of each part of both whether it counts; those that do not are left alone.

    Returns:
        `dst`.

    Raises:
        RestoreError: all that does not fit, each with its path; nothing was changed.
    """
    loading = _Loading(filter or (lambda part: True))
    loading.walk(dst, src, ())
    if loading.problems:
        raise RestoreError(loading.problems)
    for array, value in loading.planned.values():
        array[...] = value
    return dst


class _Loading:
    def __init__(self, counts: Callable[[Any], bool]) -> None:
        self.problems: list[Problem] = []
        self.planned: dict[Any, tuple[Array, Array]] = {}
        """Identity of an array of the model → (the array, what it is to hold)."""
        self._counts = counts

    def problem(self, code: str, path: Path, expected: str, found: str) -> None:
        remedy = "build the model as the saved one was"
        self.problems.append(Problem(code, expected, found, path=path, remedy=remedy))

    def walk(self, dst: Any, src: Any, path: Path) -> None:
        here = _children(dst)
        if here is None:
            self.problems += filter(None, [_stranger(dst, path)])
            return  # Flux takes an array at the top for a leaf too, and loads nothing into it.
        ours, theirs = self.named(dst), self.named(src)
        if ours.keys() != theirs.keys():
            found = _names(theirs) if _children(src) is not None else _what(src)
            self.problem("STATE_KIND", path, _names(ours), found)
            return
        for key, (name, part) in ours.items():
            other, place = theirs[key][1], (*path, name)
            if _children(part) is None:
                self.leaf(part, other, place)
            else:
                self.walk(part, other, place)

    def named(self, value: Any) -> dict[Any, tuple[Any, Any]]:
        """Return comparable key → (key, part) of the parts that count: fields, symbols and texts by their text."""
        _, children = _children(value) or ("", [])
        return {
            (key.name if isinstance(key, Symbol) else key): (key, part) for key, part in children if self._counts(part)
        }

    def leaf(self, dst: Any, src: Any, path: Path) -> None:
        if (problem := _stranger(dst, path)) is not None:
            self.problems.append(problem)
        elif isinstance(dst, np.ndarray):
            self.array(dst, src, path)
        elif isinstance(src, np.ndarray) and dst is not False:
            expected = "zeros or False" if dst is True else f"no array, as in {_what(dst)}"
            self.problem("STATE_KIND", path, expected, _what(src))

    def array(self, dst: Array, src: Any, path: Path) -> None:
        new = self.converted(dst, src, path)
        if new is None:
            return
        known = self.planned.setdefault(tie_key(dst), (dst, new))
        if not np.array_equal(known[1], new):
            expected = "one value for what is one array in the model"
            self.problem("STATE_TIE", path, expected, "zeros" if src is False else "another value")

    def converted(self, dst: Array, src: Any, path: Path) -> Array | None:
        """Return what an array of the model is to hold, None if the source is nothing for it."""
        if src is False:
            return np.zeros_like(dst)
        if not isinstance(src, np.ndarray):
            self.problem("STATE_KIND", path, f"an array of shape {dst.shape}, or False", _what(src))
        elif src.shape != dst.shape:
            self.problem("STATE_SHAPE", path, f"shape {dst.shape}", f"{src.shape}")
        elif (new := _converted(src, dst.dtype)) is None:
            self.problem("STATE_DTYPE", path, f"values that {dst.dtype} holds", f"others, of {src.dtype}")
        else:
            return new
        return None


def _converted(array: Array, dtype: "np.dtype[Any]") -> Array | None:
    """Return an array with its elements in another dtype as Julia's convert does; None where that is inexact."""
    if array.dtype.kind == "c" and dtype.kind != "c":
        if np.any(array.imag != 0):
            return None
        array = array.real
    with np.errstate(all="ignore"):
        new = array.astype(dtype)
    return None if dtype.kind in "iub" and not np.array_equal(wide(new), wide(array)) else new


def _names(named: dict[Any, Any]) -> str:
    return f"parts {shown(', '.join(path_text((key,))[1:] for key in named), 200)}" if named else "no parts"


def _what(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"{kind_of(value)} {shown(repr(value), 40)}"
