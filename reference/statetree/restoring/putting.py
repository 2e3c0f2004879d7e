"""Putting values in their places, what may fail first. Source: docs/restore.md."""

from collections.abc import Callable
from typing import Any

from statetree.errors import raise_problem
from statetree.frameworks.parts import Leaf
from statetree.lazy import LazyArray
from statetree.restoring.nodes import read

__all__ = ["Call", "New", "Thunk"]

Thunk = Callable[[], Any]


class New:
    """What is to go into one array; what is one array on both sides stays one."""

    def __init__(self, leaf: Leaf, src: Any) -> None:
        self._leaf = leaf
        self._src = src
        self._made: Any = None

    def prepare(self) -> None:
        """Do what may fail: read an array of an open file, make one that does not exist yet."""
        if not self._leaf.holds:
            self._made = self._leaf.write(read(self._src))
        elif isinstance(self._src, LazyArray):
            # What is changed in place is read twice, so that not all of a file needs to be in memory.
            for problem in self._src.problems():
                raise_problem(problem)

    def put(self) -> Any:
        """Return the array with its new value in it, or the new array."""
        return self._leaf.write(read(self._src)) if self._leaf.holds else self._made


class Call:
    """A value that goes in through a call which may fail."""

    def __init__(self, put: Callable[[Any], Any], make: Thunk, hold: Callable[[], Thunk] | None) -> None:
        self.result: Any = None
        self._put = put
        self._make = make
        self._hold = hold
        self._back: Thunk | None = None

    def run(self) -> None:
        """Put the value there."""
        if self._hold is not None:
            self._back = self._hold()
        self.result = self._put(self._make())

    def undo(self) -> None:
        """Put back what was there before `run`."""
        if self._back is not None:
            self._back()
