"""The plan of a restore: an object and a tree are walked together, and all that does not fit is noted.

Source: docs/restore.md.
"""

from collections import deque
from typing import Any

import numpy as np

from statetree.compare import difference, kind_of
from statetree.dtype import BY_NAME
from statetree.errors import Problem, WriteError, shown
from statetree.frameworks import look
from statetree.frameworks.parts import NOTHING, PLAIN, Context, Leaf, Parts, Slot, Special
from statetree.path import Path, path_text
from statetree.restoring.likeness import Likeness
from statetree.restoring.nodes import (
    as_record,
    children,
    dtype_of,
    expected,
    has,
    is_array,
    is_empty_tuple,
    is_value,
    read,
    typed,
    what,
)
from statetree.restoring.putting import Call, New, Thunk
from statetree.tree import Record
from statetree_spec import registry

__all__ = ["Plan"]

_LABELS = frozenset(registry("labels")["labels"])
_BUILD = "build the object as the saved one was, or adapt the state with rename= or migrate="
_ADD = "add it with migrate=, or pass strict=False to keep yours"
_LEAVE = "leave it out with migrate=, or pass strict=False to ignore it"


class Plan:
    """What is to be put where.

    Args:
        root: the object that a tree goes into.
        cast: whether dtypes may change.
        by_position: whether parameters of optimisers may be matched by position.
    """

    def __init__(self, root: Any, *, cast: bool, by_position: bool) -> None:
        self.problems: list[Problem] = []
        """What does not fit."""
        self.by_position = by_position
        """Whether parameters of optimisers may be matched by position."""
        self._cast = cast
        self._context = Context(root)
        self.calls: list[Call] = []
        """Values that go in through calls, in order; those that cannot be put back come in `last`."""
        self.last: list[Call] = []
        """The calls that come behind all others."""
        self.inside: list[Any] = []
        """Objects inside of values that other code judges, whose state is put back where that code refuses."""
        self._likeness = Likeness()
        self._held: dict[Any, tuple[Path, Any]] = {}
        self.news: dict[Any, New] = {}
        """What is to go into each array."""
        self._keep: list[Any] = []

    # Problems

    def problem(self, code: str, path: Path, expected: str, found: str, remedy: str | None = None) -> Thunk | None:
        """Note what does not fit."""
        self.problems.append(Problem(code, expected, found, path=path, remedy=remedy))
        return None

    def what(self, value: Any) -> str:
        """Return what a node of the tree is, in a few words."""
        return what(value)

    # Nodes

    def node(self, dst: Any, src: Any, path: Path) -> Thunk:
        """Return the function that gives `dst` the value of `src`, and itself back or what takes its place."""
        found = self._look(dst, path)
        if found is None:
            return lambda: dst
        if found is NOTHING:
            return self._nothing(dst, src, path)
        if found is PLAIN:
            return self._plain(dst, src, path)
        if isinstance(found, Leaf):
            return self._leaf(dst, found, src, path)
        if isinstance(found, Slot):
            return self._slot(dst, found, src, path)
        if isinstance(found, Special):
            return self._special(dst, found, src, path)
        assert isinstance(found, Parts)
        return self._parts(dst, found, src, path)

    def _look(self, dst: Any, path: Path) -> Any:
        """Return what `dst` is, None if nothing can be restored into it, which is a problem then."""
        self._context.path[:] = path
        try:
            found = look(dst, self._context)
        except WriteError as error:
            self.problems += error.problems
            return None
        self._keep.append((dst, found))
        return found

    def _nothing(self, dst: Any, src: Any, path: Path) -> Thunk:
        if not is_empty_tuple(src):
            wanted = f"(), as {shown(type(dst).__name__)} has no state"
            self.problem("STATE_KIND", path, wanted, what(src), _LEAVE)
        return lambda: dst

    def _plain(self, dst: Any, src: Any, path: Path) -> Thunk:
        if type(src) is type(dst):
            return lambda: src
        wanted = "None" if dst is None else f"{kind_of(dst)}, as in {shown(repr(dst), 40)}"
        array = is_array(src) and dst is not None
        remedy = "put an array there, or convert it with migrate=" if array else "convert it with migrate="
        self.problem("STATE_KIND", path, wanted, what(src), remedy)
        return lambda: dst

    def _leaf(self, dst: Any, leaf: Leaf, src: Any, path: Path) -> Thunk:
        if leaf.number is not None and type(src) is leaf.number:
            return lambda: src
        if not is_array(src):
            self.problem("STATE_KIND", path, f"an array of {leaf.dtype} {leaf.shape}", what(src), _BUILD)
            return lambda: dst
        fits = True
        if leaf.closed is not None:
            found, remedy = leaf.closed
            self.problem("STATE_KIND", path, "an array that can be written to", found, remedy)
            fits = False
        if tuple(src.shape) != leaf.shape:
            self.problem("STATE_SHAPE", path, f"shape {leaf.shape}", f"{tuple(src.shape)}", _BUILD)
            fits = False
        dtype = dtype_of(src)
        if leaf.reserved is not None and (before := leaf.reserved(leaf.dtype)):
            self.problem("STATE_DTYPE", path, "a dtype that can be held now", leaf.dtype, before)
            fits = False
        elif dtype != leaf.dtype and not (self._cast and _castable(dtype, leaf.dtype)):
            held = leaf.reserved(dtype) if leaf.reserved is not None and dtype in BY_NAME else None
            other = f"{held or 'build it with that dtype'}, or pass cast=True"
            self.problem("STATE_DTYPE", path, leaf.dtype, dtype, _BUILD if self._cast else other)
            fits = False
        if fits and leaf.holds and not self._agrees(leaf.identity, src, path):
            fits = False
        if not fits:
            return lambda: dst
        key = leaf.identity, id(src)
        if key not in self.news:
            array = src if dtype == leaf.dtype else self._converted(read(src), leaf.dtype, path)
            if array is None:
                return lambda: dst
            self.news[key] = New(leaf, array)
        return self.news[key].put

    def _agrees(self, identity: Any, src: Any, path: Path, *, splits: bool = False) -> bool:
        """Whether a place that is met again gets the same value as before; a problem unless it `splits` if not."""
        known = self._held.setdefault(identity, (path, src))
        if known[1] is src or difference(self.plain(known[1]), self.plain(src)) is None:
            return True
        if splits:
            return False
        first = shown(path_text(known[0]), 100) or "the root"
        remedy = "tie them in the model that was saved, or untie them here"
        same = "array" if is_array(src) else "object"
        self.problem("STATE_TIE", path, f"the value of {first}, which is the same {same} here", "another value", remedy)
        return False

    def cast_to(self, src: Any, dtype: str, path: Path) -> Any:
        """Return an array in another dtype if casting was asked for and can be, else as it is."""
        if not self._cast or dtype_of(src) == dtype or not _castable(dtype_of(src), dtype):
            return src
        new = self._converted(read(src), dtype, path)
        return src if new is None else new

    def _converted(self, array: Any, dtype: str, path: Path) -> Any:
        """Return an array in another dtype, None if a value does not fit into it."""
        with np.errstate(all="ignore"):
            new = array.astype(BY_NAME[dtype].numpy)
            kind = array.dtype.kind
            lost = kind in "iu" and not np.array_equal(new.astype(array.dtype), array)
            if not lost and kind not in "iub":
                finite = np.isfinite(array.astype(np.complex128 if kind == "c" else np.float64))
                lost = bool((finite & ~np.isfinite(new.astype(np.complex128))).any())
        if not lost:
            return new
        self.problem("STATE_DTYPE", path, f"values that {dtype} holds", "larger ones", "build it with a wider dtype")
        return None

    def _parts(self, dst: Any, parts: Parts, src: Any, path: Path) -> Thunk:
        src = as_record(src)
        nodes = children(src)
        kind = kind_of(src)
        if nodes is None or kind != parts.kind:
            self.problem("STATE_KIND", path, expected(parts), what(src), _BUILD)
            return lambda: dst
        if parts.kind == "record" and src.label != parts.label and _LABELS & {src.label, parts.label}:
            self.problem("STATE_KIND", path, expected(parts), what(src), _BUILD)
            return lambda: dst
        thunks: list[Thunk] = []
        for key, part in parts.items:
            if not has(nodes, key):
                self._missing(parts, key, part, (*path, key))
                thunks.append(lambda part=part: part)  # type: ignore[misc]
            else:
                thunks.append(self._part(parts, key, part, nodes[typed(key)][1], (*path, key)))
        here = {typed(key) for key, _ in parts.items}
        for name, (key, part) in nodes.items():
            if name not in here:
                self.problem("STATE_UNEXPECTED", (*path, key), "nothing", what(part), _LEAVE)
        build = parts.build
        if parts.in_place and not self._agrees((Parts, id(dst)), src, path, splits=parts.anew is not None):
            build = parts.anew or parts.build
        return lambda: build([thunk() for thunk in thunks])

    def _part(self, parts: Parts, key: Any, part: Any, src: Any, path: Path) -> Thunk:
        if key in parts.static:
            if not is_empty_tuple(src):
                self.problem("STATE_KIND", path, "(), as it is a setting here", what(src), _LEAVE)
            return lambda: part
        if key in parts.fixed:
            if type(part) is not type(src) or part != src:
                self.problem("STATE_KIND", path, shown(repr(part)), what(src), "build it with the same one")
            return lambda: part
        if part is None and parts.in_place and is_value(src):
            # A place without a value yet: the best loss so far, the name of a run.
            return lambda: src
        return self._value(parts.numbers, part, src, path)

    def _value(self, numbers: Any, part: Any, src: Any, path: Path) -> Thunk:
        """Plan a part; `numbers` tells where an array goes that comes to the place of a number."""
        if numbers is not None and is_array(src):
            leaf = numbers(part, src)
            if leaf is not None:
                return self._leaf(part, leaf, src, path)
        return self.node(part, src, path)

    def _missing(self, parts: Parts, key: Any, part: Any, path: Path) -> None:
        if key not in parts.static and self._look(part, path) not in (None, NOTHING):
            self.problem("STATE_MISSING", path, "a value", "none", _ADD)

    def _slot(self, dst: Any, slot: Slot, src: Any, path: Path) -> Thunk:
        if slot.identity is not None and not self._agrees((Slot, slot.identity), src, path):
            return lambda: dst
        if not slot.template:
            # It cannot be put back, so it goes when all others have gone.
            call = Call(slot.set, lambda: self.plain(src), hold=None)
            self.last.append(call)
            return lambda: call.result
        old = slot.get() if slot.copied is None else slot.copied()
        self._keep.append(old)
        self._context.inner.append((path, old))
        if slot.keyed and not self._same_keys(old, src, path):
            return lambda: dst
        inner = self._value(slot.numbers, old, src, path) if slot.strict else self.value(old, src, path, strict=False)
        if slot.strict and slot.hold is None:
            return lambda: slot.set(inner())
        call = Call(slot.set, inner, hold=slot.hold or (lambda: lambda: slot.set(old)))
        self.calls.append(call)
        return lambda: call.result

    def _same_keys(self, old: dict[Any, Any], src: Any, path: Path) -> bool:
        before = len(self.problems)
        if type(src) is not dict:
            self.problem("STATE_KIND", path, f"a dict of {len(old)}", what(src), _BUILD)
            return False
        for key in old:
            if key not in src:
                self.problem("STATE_MISSING", (*path, key), "a value", "none", _ADD)
        for key in src:
            if key not in old:
                self.problem("STATE_UNEXPECTED", (*path, key), "nothing", what(src[key]), _LEAVE)
        return len(self.problems) == before

    def _special(self, dst: Any, special: Special, src: Any, path: Path) -> Thunk:
        return special.plan(self, src, path)

    # Values for code that judges them itself

    def value(self, template: Any, src: Any, path: Path, *, strict: bool) -> Thunk:
        """Return the function that gives a value like `template` with what is in `src`."""
        if strict:
            return self.node(template, src, path)
        self._objects(template, src, path)
        return lambda: self._likeness.of(template, src)

    def _objects(self, template: Any, src: Any, path: Path) -> None:
        """Plan the objects inside of a value that other code judges: it gets them with the saved values in them."""
        nodes = children(src) or {}
        found = self._look(template, path) if nodes else PLAIN
        if isinstance(template, dict | list | tuple | deque | Record) and isinstance(found, Parts):
            for key, part in found.items:
                if has(nodes, key):
                    self._objects(part, nodes[typed(key)][1], (*path, key))
        elif isinstance(found, Parts | Slot | Special):
            self._likeness.planned[id(template)] = self.node(template, src, path)
            if not isinstance(found, Slot):
                self.inside.append(template)

    def plain(self, src: Any) -> Any:
        """Return a tree with its lazy arrays read, and its arrays copied."""
        return self._likeness.of(None, src)


def _castable(source: str, target: str) -> bool:
    if source not in BY_NAME:
        return False
    return np.can_cast(BY_NAME[source].numpy, BY_NAME[target].numpy, "same_kind")
