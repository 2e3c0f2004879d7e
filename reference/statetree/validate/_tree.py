"""Every fault of a tree, where the decoder stops at the first. Source: spec sections 2 and 4.

The walk steps over what is wrong and goes on behind it. It judges keys, names and leaves by the decoder's own rules;
what it adds is where to go on. A sound tree never comes here: the decoder is asked first.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from statetree.decode import Decoder
from statetree.errors import Problem, StateTreeError
from statetree.limits import Limits
from statetree.manifest import Node

__all__ = ["tree_faults"]

Report = Callable[[Problem], None]
_REMEDY = "write the file with a conforming writer"
_ENDS = ("LIMIT_NODES", "LIMIT_TIME")
"""Codes behind which a walk would cost what the limit is there to save."""
_ASTRAY = ("ARRAY_INDEX", "NODE_KIND", "KEY_FORM")
"""Codes behind which an array that nothing names is no fault of its own."""
_PASSABLE = ("", "NODE_KIND", "LIMIT_KEY")
"""Codes of a container that can be walked all the same."""


class _EndError(Exception):
    """Nothing behind this is looked at."""


def tree_faults(node: Node, arrays: int, limits: Limits, report: Report) -> None:
    """Report all that is wrong with the root node of a manifest whose table has so many arrays."""
    _Walk(arrays, limits, report).run(node)


class _Walk:
    def __init__(self, arrays: int, limits: Limits, report: Report) -> None:
        self._decoder = Decoder(range(arrays), limits)
        self._path = self._decoder.path
        self._report = report
        self._met = [False] * arrays
        self._next = 0
        self._astray = False
        """Whether there was something that may have been meant to name an array."""
        self._nowhere: tuple[Any, ...] | None = None
        """Path of the container that holds a key which is none; what is below such a key has no path of its own."""

    def run(self, node: Node) -> None:
        """Walk the tree, then the table."""
        try:
            self._node(node, 0)
        except _EndError:
            return
        self._path.clear()
        if self._astray:
            return
        for index, met in enumerate(self._met):
            if not met:
                self._say("ARRAY_ORPHAN", "every array of the table in the tree", f"array {index} nowhere")

    def _say(self, code: str, expected: str, found: str) -> None:
        self._tell(Problem(code, expected, found, tuple(self._path), remedy=_REMEDY))

    def _tell(self, problem: Problem) -> None:
        self._report(problem if self._nowhere is None else replace(problem, path=self._nowhere))

    def _fault(self, judge: Callable[..., Any], *arguments: Any) -> str:
        """Return the code of what a rule of the decoder finds wrong, after reporting it; "" if that is nothing."""
        try:
            judge(*arguments)
        except StateTreeError as error:
            self._tell(error.problems[0])
            self._astray |= error.code in _ASTRAY
            if error.code in _ENDS:
                raise _EndError from None
            return error.code
        return ""

    def _node(self, node: Node, depth: int) -> None:
        decoder = self._decoder
        name, value = next(iter(node.items())) if type(node) is dict and len(node) == 1 else ("", None)
        match name:
            case "dict" if type(value) is list:
                if self._fault(decoder.enter_dict, value, depth) in _PASSABLE:
                    self._dict(value, depth + 1)
            case "record" if type(value) is list:
                if self._fault(decoder.enter_record, value, depth) in _PASSABLE:
                    self._record(value, depth + 1)
            case "list" | "tuple" if type(value) is list:
                if self._fault(decoder.enter, value, "list or tuple", depth) in _PASSABLE:
                    self._sequence(value, depth + 1)
            case "array" if type(value) is int and 0 <= value < len(self._met):
                self._array(value)
            case _:
                self._fault(decoder.node, node, depth)

    def _dict(self, value: list[Any], depth: int) -> None:
        keys: dict[Any, Any] = {}
        hashes: dict[int, int] = {}

        def step(node: Node) -> None:
            keys[self._decoder.new_key(keys, hashes, node, depth)] = None

        self._pairs(value[::2], value[1::2], step, depth)

    def _record(self, value: list[Any], depth: int) -> None:
        names: dict[str, Any] = {}

        def step(name: Any) -> None:
            names[self._decoder.new_name(names, name)] = None

        self._pairs(value[1::2], value[2::2], step, depth)

    def _pairs(self, keys: list[Any], children: list[Any], step: Callable[[Any], None], depth: int) -> None:
        for key, child in zip(keys, children, strict=False):
            above, nowhere = len(self._path), self._nowhere
            self._fault(step, key)
            if len(self._path) == above and nowhere is None:
                self._nowhere = tuple(self._path)
            self._node(child, depth)
            del self._path[above:]
            self._nowhere = nowhere

    def _sequence(self, value: list[Any], depth: int) -> None:
        for position, child in enumerate(value):
            self._path.append(position)
            self._node(child, depth)
            self._path.pop()

    def _array(self, index: int) -> None:
        if self._met[index]:
            return
        while self._met[self._next]:
            self._next += 1
        if index > self._next:
            self._say("ARRAY_ORDER", f"array {self._next} to be met first", f"array {index}")
        self._met[index] = True
