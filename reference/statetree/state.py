"""The state of an object: the tree that is left of a model when its code is taken away. Source: docs/restore.md."""

import random
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from statetree.errors import Problem, raise_problem, shown
from statetree.frameworks import look
from statetree.frameworks.parts import NOTHING, PLAIN, Context, Leaf, Parts, Slot, Special, refuse
from statetree.limits import DEPTH
from statetree.path import Path
from statetree.tree import Record, Symbol

__all__ = ["generators", "rng_state", "state"]

Array = np.ndarray[Any, Any]


def state(obj: Any, *, report: list[Path] | None = None) -> Any:
    """Return the state of an object as a state tree: plain kinds and arrays on the CPU, copied.

    Models, optimisers, schedulers, generators of random numbers, dataclasses and containers of these are taken apart.
    What is not state, such as functions, settings and objects of unknown classes, becomes `()`.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Dense:
    ...     weight: np.ndarray
    ...     act: object
    >>> left_out = []
    >>> state(Dense(np.ones(2), len), report=left_out), left_out
    (Record({'weight': array([1., 1.]), 'act': ()}, label='Dense'), [('act',)])

    Args:
        obj: a model, an optimiser, a tree of such objects, or any object whose class has `__statetree__`.
        report: a list to which the path of everything that became `()` is added.

    Raises:
        WriteError: a part has state that a tree cannot hold, with its path and what to do about it; or `obj` changed
            meanwhile.
    """
    walk = _Walk(obj)
    try:
        tree = walk.node(obj, 0)
    except RuntimeError as error:
        if "changed" not in str(error) and "mutated" not in str(error):
            raise
        walk.changed(str(error))
    if not all(unchanged() for unchanged in walk.context.versions):
        walk.changed("one of which a part was changed")
    if report is not None:
        report.extend(walk.left_out)
    return tree


class _Walk:
    def __init__(self, root: Any) -> None:
        self.context = Context(root)
        self.left_out: list[Path] = []
        self._arrays: dict[Any, Array] = {}
        self._slots: dict[Any, Any] = {}
        self._held: list[Any] = []
        self._open: set[int] = set()

    def changed(self, found: str) -> NoReturn:
        problem = Problem(
            "STATE_CHANGED", "an object that rests while its state is taken", found, remedy="take it between two steps"
        )
        raise_problem(problem)

    def node(self, value: Any, depth: int) -> Any:
        found = look(value, self.context)
        if found is PLAIN:
            return value
        if found is NOTHING:
            self.left_out.append(tuple(self.context.path))
            return ()
        if isinstance(found, Leaf):
            return self.array(value, found)
        return self.within(value, depth, lambda: self.made(value, found, depth + 1))

    def within(self, value: Any, depth: int, make: Callable[[], Any]) -> Any:
        """Return what `make` returns, unless `value` is inside of itself or too deep."""
        if id(value) in self._open:
            refuse(self.context, "a tree", "an object that holds itself", "break the cycle", "WRITE_CYCLE")
        if depth > 2 * DEPTH:
            refuse(self.context, f"at most {DEPTH} levels", "more", "flatten the object", "LIMIT_DEPTH")
        self._open.add(id(value))
        tree = make()
        self._open.discard(id(value))
        return tree

    def made(self, value: Any, found: Any, depth: int) -> Any:
        if isinstance(found, Slot | Special):
            inner = self.got(found)
            # What a call returns may be gone when the next one returns something at the same address.
            self._held.append(inner)
            self.context.inner.append((tuple(self.context.path), inner))
            return self.node(inner, depth)
        parts: Parts = found
        if parts.in_place:
            self.context.versions.append(lambda: _rests(parts.items, look(value, self.context)))
        nodes = [self.part(key, part, parts, depth) for key, part in parts.items]
        if parts.kind == "list":
            return nodes
        if parts.kind == "tuple":
            return tuple(nodes)
        keys = [key for key, _ in parts.items]
        if parts.kind == "record":
            return Record(zip(keys, nodes, strict=True), label=parts.label)
        return dict(zip(keys, nodes, strict=True))

    def got(self, found: Slot | Special) -> Any:
        """Return what is in a slot, the same object each time if it is one place."""
        identity = found.identity if isinstance(found, Slot) else None
        if identity is None:
            return found.get()
        if identity not in self._slots:
            self._slots[identity] = found.get()
        return self._slots[identity]

    def part(self, key: Any, part: Any, parts: Parts, depth: int) -> Any:
        self.context.path.append(key)
        if parts.kind == "dict" and not _is_key(key):
            self.context.path.pop()
            refuse(
                self.context,
                "a key that is str, int, bool, None, bytes, Symbol or a tuple of these",
                f"a key of type {shown(type(key).__qualname__)}",
                "use one of these",
                "KEY_TYPE",
            )
        if key in parts.static:
            self.left_out.append(tuple(self.context.path))
            node: Any = ()
        else:
            node = self.node(part, depth)
        self.context.path.pop()
        return node

    def array(self, value: Any, leaf: Leaf) -> Array:
        self._held.append(value)
        if leaf.identity not in self._arrays:
            self._arrays[leaf.identity] = leaf.read()
        return self._arrays[leaf.identity]


def _rests(before: Sequence[tuple[Any, Any]], now: Any) -> bool:
    """Whether a container still has the parts that it had."""
    same = zip(before, now.items, strict=False)
    return len(before) == len(now.items) and all(a is c and b is d for (a, b), (c, d) in same)


def _is_key(key: Any) -> bool:
    kind = type(key)
    if kind is tuple:
        return all(map(_is_key, key))
    return kind in (str, int, bool, type(None), bytes, Symbol)


def rng_state() -> dict[str, Any]:
    """Return the state of the global generators of random numbers: of `random`, of NumPy, and of torch if imported.

    Returns:
        A tree for `restore_rng`, with the keys `python`, `numpy` and, if torch was imported, `torch`.
    """
    return dict(state(generators()))


def generators(*, torch_too: bool = False, devices: bool = False) -> dict[str, Any]:
    """Return the global generators by name.

    Args:
        torch_too: import torch if nobody has yet.
        devices: those of its devices too, even if they were not used yet.
    """
    found: dict[str, Any] = {"python": random._inst, "numpy": np.random.mtrand._rand}
    if "torch" in sys.modules or torch_too:
        import torch

        found["torch"] = [torch.default_generator]
        if torch.cuda.is_available() and (devices or torch.cuda.is_initialized()):
            torch.cuda.init()
            found["torch"] += list(torch.cuda.default_generators)
    return found
