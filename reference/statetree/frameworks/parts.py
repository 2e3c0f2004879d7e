"""Parts: an object seen as one node of a state tree, and how it takes a new value. Source: docs/restore.md."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import numpy as np

from statetree.errors import Problem, raise_problem
from statetree.path import Path

__all__ = ["NOTHING", "PLAIN", "Context", "Found", "Leaf", "Parts", "Slot", "Special", "refuse"]

Array = np.ndarray[Any, Any]


@dataclass(slots=True)
class Context:
    """Where a walk through an object is."""

    root: Any
    """The object that was given."""
    path: list[Any] = field(default_factory=list)
    """Path of the node that is looked at."""
    versions: list[Callable[[], bool]] = field(default_factory=list)
    """Functions that tell whether what was copied is still what it was."""
    names: dict[int, Any] | None = None
    """Name of each parameter of the modules in `root`, by its id; None before somebody asked."""
    inner: list[tuple[Path, Any]] = field(default_factory=list)
    """(path, object) that came out of a call, so that a walk through `root` does not meet it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A container node."""

    kind: Literal["dict", "list", "tuple", "record"]
    """Kind of the node."""
    items: Sequence[tuple[Any, Any]]
    """(key, position or field name; part) in order."""
    build: Callable[[Sequence[Any]], Any]
    """Return the object with these parts: itself, changed in place, where that can be, else a new one."""
    label: str | None = None
    """Label of a record."""
    in_place: bool = False
    """Whether `build` changes the object itself, so that others who hold it see the new parts."""
    anew: Callable[[Sequence[Any]], Any] | None = None
    """Return a new object with these parts, for one that stands at two places; None where it must stay one."""
    static: frozenset[Any] = frozenset()
    """Keys of parts that are settings of the code, and so left out."""
    fixed: frozenset[Any] = frozenset()
    """Keys of parts that must be the same already when a state is restored: the name of an algorithm."""
    numbers: "Callable[[Any, Any], Leaf | None] | None" = None
    """(number, array) → the place of that array; None, or None returned: only a number comes to its place."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """An array node."""

    dtype: str
    """Name of the dtype."""
    shape: tuple[int, ...]
    """Extents."""
    read: Callable[[], Array]
    """Return the array on the CPU, copied: later changes of the object do not reach it."""
    write: Callable[[Array], Any]
    """Put an array of this dtype and shape there and return the object, or return a new one of its kind."""
    identity: Hashable
    """Equal for two leaves that are one array."""
    holds: bool = False
    """Whether the object holds the array in place, so that what is tied in it must be given one value."""
    number: type | None = None
    """Kind of Python's numbers that may stand in place of the array, None if none may."""
    reserved: Callable[[str], str | None] | None = None
    """Return what to do before the framework can hold an array of a dtype, None if it can now."""
    closed: tuple[str, str] | None = None
    """(what it is that nothing can be written to, remedy), None if it can be written to."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that is got and set by calls."""

    get: Callable[[], Any]
    """Return the value, which may be made of further objects."""
    set: Callable[[Any], Any]
    """Put a new value there and return the object."""
    strict: bool = True
    """Whether a state must have the structure of the value that is there; if not, the object judges it in `set`."""
    identity: Hashable = None
    """Equal for two slots that are one place; None for a place of its own."""
    template: bool = True
    """Whether `get` may be called to see what the value is made of."""
    numbers: "Callable[[Any, Any], Leaf | None] | None" = None
    """As of Parts, where the value is a number."""
    keyed: bool = False
    """Whether a state must have the same keys as the value that is there, also where the object judges it."""
    copied: Callable[[], Any] | None = None
    """Return a copy of the value, to be filled and given to `set`; None where what `get` returns may be filled."""
    hold: Callable[[], Callable[[], Any]] | None = None
    """Return what puts the present value back; None where `set` cannot fail, or does that with what `get` returned."""


@dataclass(frozen=True, slots=True)
class Special:
    """An object that plans by itself how a state gets into it."""

    get: Callable[[], Any]
    """Return what its state is made of."""
    plan: Callable[[Any, Any, Path], Callable[[], Any]]
    """(planner, tree, path) → the function that puts the tree there and returns the object."""


class _Mark:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


PLAIN = _Mark("PLAIN")
"""A leaf that is a value of the format itself."""
NOTHING = _Mark("NOTHING")
"""An object that is no state: a function, a class, a setting."""

Found = Parts | Leaf | Slot | Special | _Mark


def refuse(context: Context, expected: str, found: str, remedy: str, code: str = "STATE_TYPE") -> NoReturn:
    """Refuse a part of an object whose state would be lost.

    Raises:
        WriteError: always.
    """
    raise_problem(Problem(code, expected, found, path=tuple(context.path), remedy=remedy))
