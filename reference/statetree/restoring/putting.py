"""Putting values in their places, what may fail first. Source: docs/restore.md."""

from collections.abc import Callable
from typing import Any

from statetree.errors import raise_problem, shown
from statetree.frameworks.parts import Leaf
from statetree.lazy import LazyArray
from statetree.path import Path, path_text
from statetree.restoring.nodes import read

__all__ = ["Call", "New", "Thunk"]

Thunk = Callable[[], Any]


class New:
    """What is to go into one array; what is one array on both sides stays one."""

    def __init__(self, dst: Any, leaf: Leaf, src: Any, path: Path) -> None:
        self.leaf = leaf
        self.src = src
        self.path = path
        self.later = False
        """Whether `put` only notes that the array is to be written in place."""
        self.noted = False
        """Whether `put` has noted that."""
        self.left = False
        """Whether the array is left as it is."""
        self._dst = dst
        self._made: Any = None

    def prepare(self) -> None:
        """Do what may fail: read an array of an open file, make one that does not exist yet."""
        if not self.leaf.holds:
            self._made = self.leaf.write(read(self.src))
        elif isinstance(self.src, LazyArray):
            # What is changed in place is read twice, so that not all of a file needs to be in memory.
            for problem in self.src.problems():
                raise_problem(problem)

    def put(self) -> Any:
        """Return the array with its new value in it, or the new array."""
        if self.left:
            return self._dst
        if not self.leaf.holds:
            return self._made
        if self.later and self.leaf.memory is not None:
            self.noted = True
            return self._dst
        return self.write()

    def write(self) -> Any:
        """Put the value into the array and return it."""
        return self.leaf.write(read(self.src))


class Call:
    """A value that goes in through a call which may fail."""

    def __init__(self, put: Callable[[Any], Any], make: Thunk, hold: Callable[[], Thunk] | None, path: Path) -> None:
        self.result: Any = None
        self._put = put
        self._make = make
        self._hold = hold
        self._path = path
        self._back: Thunk | None = None

    def run(self) -> None:
        """Put the value there; what is raised says where."""
        try:
            if self._hold is not None:
                self._back = self._hold()
            self.result = self._put(self._make())
        except Exception as error:
            error.add_note(f"while restoring {shown(path_text(self._path), 200) or 'the root'}")
            raise

    def undo(self) -> None:
        """Put back what was there before `run`."""
        if self._back is not None:
            self._back()
