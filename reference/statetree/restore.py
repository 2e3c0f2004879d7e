"""Restoring: a state goes back into an object, all of it or nothing. Source: docs/restore.md.

Strategy: the object and the tree are walked together first, and everything that does not fit is collected. Only if
nothing is left to say are values put in their places: first those that go through calls of other people's code, which
may fail and are then undone, then arrays, which cannot.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from statetree.compare import difference, kind_of
from statetree.dtype import BY_NAME, dtype_name
from statetree.errors import Problem, RestoreError, WriteError, raise_problem, shown
from statetree.frameworks import look
from statetree.frameworks.parts import NOTHING, PLAIN, Context, Leaf, Parts, Slot, Special
from statetree.lazy import LazyArray
from statetree.path import Path
from statetree.renaming import renamed
from statetree.state import generators, state
from statetree.tree import Record, namedtuple_fields
from statetree_spec import registry

__all__ = ["restore", "restore_rng"]

Thunk = Callable[[], Any]
_KINDS = frozenset(row["name"] for row in registry("kinds")["kinds"])
_LABELS = frozenset(registry("labels")["labels"])


def restore(
    dst: Any,
    tree: Any,
    *,
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    migrate: Callable[[Any], Any] | None = None,
    cast: bool = False,
    by_position: bool = False,
) -> Any:
    """Put a state into an existing object, all or nothing, and return the object.

    What can be changed is changed in place: torch modules and optimisers, NumPy arrays, dicts, lists, dataclasses. What
    cannot, such as JAX arrays, tuples and frozen dataclasses, is made anew; so use what is returned.

    >>> model = {"weight": np.zeros(2), "act": len}
    >>> restore(model, {"weight": np.ones(2), "act": ()})["weight"] is model["weight"], model["weight"]
    (True, array([1., 1.]))

    Args:
        dst: the object, built as the one whose state was saved.
        tree: a state tree, of `load`, `open` or `state`. `()` in it leaves what is in its place alone.
        strict: refuse if anything is missing, unexpected or of another shape, dtype or kind. With False, what fits is
            loaded and (object, problems) is returned.
        rename: path in the tree → path in `dst`, as text; `*` stands for one key and is carried over in order.
        migrate: a function that makes of the tree the tree that `dst` expects; called before `rename` is applied.
        cast: change dtypes, where no value is lost by size.
        by_position: match parameters of optimisers that were saved without names by their positions.

    Raises:
        RestoreError: all that does not fit, each with its path; nothing of `dst` was changed.
    """
    tree = migrate(tree) if migrate is not None else tree
    tree = renamed(tree, rename) if rename else tree
    plan = _Plan(dst, cast=cast, by_position=by_position)
    thunk = plan.node(dst, tree, ())
    if plan.problems and strict:
        raise RestoreError(plan.problems)
    value = plan.apply(thunk)
    return value if strict else (value, tuple(plan.problems))


def restore_rng(tree: Any, *, strict: bool = True) -> None:
    """Set the global generators of random numbers to the state that `rng_state` returned.

    Args:
        tree: what `rng_state` returned, or what was saved and loaded of it.
        strict: refuse a state of generators that are not here, such as those of a GPU; with False the others are set.

    Raises:
        RestoreError: it is no such state; no generator was changed.
    """
    wanted = tree if isinstance(tree, dict) else {"python": (), "numpy": ()}
    here = generators(torch_too="torch" in wanted, devices=len(_children(wanted.get("torch")) or ()) > 1)
    restore({name: generator for name, generator in here.items() if name in wanted}, tree, strict=strict)


class _Plan:
    """What is to be put where."""

    def __init__(self, root: Any, *, cast: bool, by_position: bool) -> None:
        self.problems: list[Problem] = []
        self.by_position = by_position
        self._cast = cast
        self._context = Context(root)
        self._calls: list[_Call] = []
        self._last: list[_Call] = []
        self._planned: dict[int, Thunk] = {}
        self._inside: list[Any] = []
        self._arrays: dict[Any, Any] = {}
        self._held: dict[Any, tuple[Path, Any]] = {}
        self._news: dict[Any, _New] = {}
        self._keep: list[Any] = []

    def apply(self, thunk: Thunk) -> Any:
        """Put everything in its place and return the new root."""
        for new in self._news.values():
            new.prepare()
        before = [(value, state(value)) for value in self._inside]
        done: list[_Call] = []
        try:
            for call in chain(self._calls, self._last):
                done.append(call)
                call.run()
        except BaseException:
            for call in reversed(done):
                call.undo()
            for value, tree in before:
                restore(value, tree, by_position=True)
            raise
        return thunk()

    # Problems

    def problem(self, code: str, path: Path, expected: str, found: str, remedy: str | None = None) -> Thunk | None:
        """Note what does not fit."""
        self.problems.append(Problem(code, expected, found, path=path, remedy=remedy))
        return None

    def what(self, value: Any) -> str:
        """Return what a node of the tree is, in a few words."""
        if isinstance(value, LazyArray | np.ndarray):
            return f"an array of {_dtype_of(value)} {tuple(value.shape)}"
        value = _recorded(value)
        if isinstance(value, Record):
            return f"a record {shown(value.label)}" if value.label else "a record"
        if isinstance(value, dict | list | tuple):
            return f"{'an empty' if not len(value) else 'a'} {kind_of(value)}"
        kind = kind_of(value)
        return f"{kind} {shown(repr(value), 40)}" if kind in _KINDS else f"an object of type {shown(kind)}"

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
        if not _is_empty_tuple(src):
            expected = f"(), as {shown(type(dst).__name__)} has no state"
            self.problem("STATE_KIND", path, expected, self.what(src), _LEAVE)
        return lambda: dst

    def _plain(self, dst: Any, src: Any, path: Path) -> Thunk:
        if type(src) is type(dst):
            return lambda: src
        expected = "None" if dst is None else f"{kind_of(dst)}, as in {shown(repr(dst), 40)}"
        array = isinstance(src, np.ndarray | LazyArray) and dst is not None
        remedy = "put an array there, or convert it with migrate=" if array else "convert it with migrate="
        self.problem("STATE_KIND", path, expected, self.what(src), remedy)
        return lambda: dst

    def _leaf(self, dst: Any, leaf: Leaf, src: Any, path: Path) -> Thunk:
        if leaf.number is not None and type(src) is leaf.number:
            return lambda: src
        if not isinstance(src, np.ndarray | LazyArray):
            self.problem("STATE_KIND", path, f"an array of {leaf.dtype} {leaf.shape}", self.what(src), _BUILD)
            return lambda: dst
        fits = True
        if leaf.closed is not None:
            found, remedy = leaf.closed
            self.problem("STATE_KIND", path, "an array that can be written to", found, remedy)
            fits = False
        if tuple(src.shape) != leaf.shape:
            self.problem("STATE_SHAPE", path, f"shape {leaf.shape}", f"{tuple(src.shape)}", _BUILD)
            fits = False
        dtype = _dtype_of(src)
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
        if key not in self._news:
            array = src if dtype == leaf.dtype else self._converted(_read(src), leaf.dtype, path)
            if array is None:
                return lambda: dst
            self._news[key] = _New(leaf, array)
        return self._news[key].put

    def _agrees(self, identity: Any, src: Any, path: Path, *, splits: bool = False) -> bool:
        """Whether a place that is met again gets the same value as before; a problem unless it `splits` if not."""
        known = self._held.setdefault(identity, (path, src))
        if known[1] is src or difference(self.plain(known[1]), self.plain(src)) is None:
            return True
        if splits:
            return False
        from statetree.path import path_text

        first = shown(path_text(known[0]), 100) or "the root"
        remedy = "tie them in the model that was saved, or untie them here"
        what = "array" if isinstance(src, np.ndarray | LazyArray) else "object"
        self.problem("STATE_TIE", path, f"the value of {first}, which is the same {what} here", "another value", remedy)
        return False

    def cast_to(self, src: Any, dtype: str, path: Path) -> Any:
        """Return an array in another dtype if casting was asked for and can be, else as it is."""
        if not self._cast or _dtype_of(src) == dtype or not _castable(_dtype_of(src), dtype):
            return src
        new = self._converted(_read(src), dtype, path)
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
        src = _recorded(src)
        children = _children(src)
        kind = kind_of(src)
        if children is None or kind != parts.kind:
            self.problem("STATE_KIND", path, _expected(parts), self.what(src), _BUILD)
            return lambda: dst
        if parts.kind == "record" and src.label != parts.label and _LABELS & {src.label, parts.label}:
            self.problem("STATE_KIND", path, _expected(parts), self.what(src), _BUILD)
            return lambda: dst
        thunks: list[Thunk] = []
        for key, part in parts.items:
            if not _has(children, key):
                self._missing(parts, key, part, (*path, key))
                thunks.append(lambda part=part: part)  # type: ignore[misc]
            else:
                thunks.append(self._part(parts, key, part, children[_typed(key)][1], (*path, key)))
        here = {_typed(key) for key, _ in parts.items}
        for typed, (key, part) in children.items():
            if typed not in here:
                self.problem("STATE_UNEXPECTED", (*path, key), "nothing", self.what(part), _LEAVE)
        build = parts.build
        if parts.in_place and not self._agrees((Parts, id(dst)), src, path, splits=parts.anew is not None):
            build = parts.anew or parts.build
        return lambda: build([thunk() for thunk in thunks])

    def _part(self, parts: Parts, key: Any, part: Any, src: Any, path: Path) -> Thunk:
        if key in parts.static:
            if not _is_empty_tuple(src):
                self.problem("STATE_KIND", path, "(), as it is a setting here", self.what(src), _LEAVE)
            return lambda: part
        if key in parts.fixed:
            if type(part) is not type(src) or part != src:
                self.problem("STATE_KIND", path, shown(repr(part)), self.what(src), "build it with the same one")
            return lambda: part
        if part is None and parts.in_place and _is_value(src):
            # A place without a value yet: the best loss so far, the name of a run.
            return lambda: src
        return self._value(parts.numbers, part, src, path)

    def _value(self, numbers: Any, part: Any, src: Any, path: Path) -> Thunk:
        """Plan a part; `numbers` tells where an array goes that comes to the place of a number."""
        if numbers is not None and isinstance(src, np.ndarray | LazyArray):
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
            call = _Call(slot.set, lambda: self.plain(src), hold=None)
            self._last.append(call)
            return lambda: call.result
        old = slot.get() if slot.copied is None else slot.copied()
        self._keep.append(old)
        self._context.inner.append((path, old))
        if slot.keyed and not self._same_keys(old, src, path):
            return lambda: dst
        inner = self._value(slot.numbers, old, src, path) if slot.strict else self.value(old, src, path, strict=False)
        if slot.strict and slot.hold is None:
            return lambda: slot.set(inner())
        call = _Call(slot.set, inner, hold=slot.hold or (lambda: lambda: slot.set(old)))
        self._calls.append(call)
        return lambda: call.result

    def _same_keys(self, old: dict[Any, Any], src: Any, path: Path) -> bool:
        before = len(self.problems)
        if type(src) is not dict:
            self.problem("STATE_KIND", path, f"a dict of {len(old)}", self.what(src), _BUILD)
            return False
        for key in old:
            if key not in src:
                self.problem("STATE_MISSING", (*path, key), "a value", "none", _ADD)
        for key in src:
            if key not in old:
                self.problem("STATE_UNEXPECTED", (*path, key), "nothing", self.what(src[key]), _LEAVE)
        return len(self.problems) == before

    def _special(self, dst: Any, special: Special, src: Any, path: Path) -> Thunk:
        return special.plan(self, src, path)

    # Values for code that judges them itself

    def value(self, template: Any, src: Any, path: Path, *, strict: bool) -> Thunk:
        """Return the function that gives a value like `template` with what is in `src`."""
        if strict:
            return self.node(template, src, path)
        self._objects(template, src, path)
        return lambda: self._like(template, src)

    def _objects(self, template: Any, src: Any, path: Path) -> None:
        """Plan the objects inside of a value that other code judges: it gets them with the saved values in them."""
        children = _children(src)
        found = PLAIN if children is None or not children else self._look(template, path)
        if isinstance(template, dict | list | tuple | deque | Record) and isinstance(found, Parts):
            for key, part in found.items:
                if _has(children or {}, key):
                    self._objects(part, (children or {})[_typed(key)][1], (*path, key))
        elif isinstance(found, Parts | Slot | Special):
            self._planned[id(template)] = self.node(template, src, path)
            if not isinstance(found, Slot):
                self._inside.append(template)

    def plain(self, src: Any) -> Any:
        """Return a tree with its lazy arrays read, and its arrays copied."""
        return self._like(None, src)

    def _like(self, template: Any, src: Any) -> Any:
        """Return the value of `src` in the types of `template`, as far as it goes; nothing is refused."""
        if id(template) in self._planned:
            return self._planned[id(template)]()
        if isinstance(src, np.ndarray | LazyArray):
            return self._array_like(template, src)
        if _is_empty_tuple(src) and template is not None:
            return template
        kind = type(template)
        if isinstance(src, dict):
            parts = template if isinstance(template, dict) else {}
            new = {key: self._like(parts.get(key), part) for key, part in src.items()}
            known = kind in (dict, OrderedDict) or not isinstance(template, dict)
            return new if known else _dict_like(template, new)
        if isinstance(src, Record):
            names = namedtuple_fields(kind)
            if names is not None and set(names) == set(src.names):
                return tuple.__new__(kind, [self._like(getattr(template, name), src[name]) for name in names])
            fields = dict(template.items()) if isinstance(template, Record) else {}
            return Record([(name, self._like(fields.get(name), part)) for name, part in src.items()], label=src.label)
        if isinstance(src, list | tuple):
            old = list(template) if isinstance(template, list | tuple) else []
            return type(src)(self._like(old[k] if k < len(old) else None, part) for k, part in enumerate(src))
        return src

    def _array_like(self, template: Any, src: Any) -> Any:
        """Return a new array or tensor; what is one array in the tree is one again."""
        key = id(src), type(template), str(getattr(template, "device", None))
        if key not in self._arrays:
            self._keep.append(src)
            self._arrays[key] = self._new_array(template, src)
        return self._arrays[key]

    def _new_array(self, template: Any, src: Any) -> Any:
        array = _read(src)
        found = look(template, Context(template, path=[()])) if template is not None else PLAIN
        if isinstance(found, Leaf) and not found.holds:
            alike = (found.dtype, found.shape) == (_dtype_of(array), array.shape)
            return found.write(array) if alike else np.array(array)
        if type(template).__module__ == "torch":
            from statetree.frameworks._torch_tensor import new_tensor

            return new_tensor(array, template.device)
        return np.array(array)


class _New:
    """What is to go into one array; what is one array on both sides stays one."""

    def __init__(self, leaf: Leaf, src: Any) -> None:
        self._leaf = leaf
        self._src = src
        self._made: Any = None

    def prepare(self) -> None:
        """Do what may fail: read an array of an open file, make one that does not exist yet."""
        if not self._leaf.holds:
            self._made = self._leaf.write(_read(self._src))
        elif isinstance(self._src, LazyArray):
            # What is changed in place is read twice, so that not all of a file needs to be in memory.
            for problem in self._src.problems():
                raise_problem(problem)

    def put(self) -> Any:
        return self._leaf.write(_read(self._src)) if self._leaf.holds else self._made


class _Call:
    """A value that goes in through a call which may fail."""

    def __init__(self, put: Callable[[Any], Any], make: Thunk, hold: Callable[[], Thunk] | None) -> None:
        self.result: Any = None
        self._put = put
        self._make = make
        self._hold = hold
        self._back: Thunk | None = None

    def run(self) -> None:
        if self._hold is not None:
            self._back = self._hold()
        self.result = self._put(self._make())

    def undo(self) -> None:
        if self._back is not None:
            self._back()


_BUILD = "build the object as the saved one was, or adapt the state with rename= or migrate="
_ADD = "add it with migrate=, or pass strict=False to keep yours"
_LEAVE = "leave it out with migrate=, or pass strict=False to ignore it"


def _expected(parts: Parts) -> str:
    if parts.kind == "record":
        return f"a record {shown(parts.label)}" if parts.label else "a record"
    return f"a {parts.kind} of {len(parts.items)}"


def _children(src: Any) -> dict[Any, tuple[Any, Any]] | None:
    """Return key with its type → (key, node) of a container of a tree, None for a leaf."""
    if isinstance(src, dict):
        return {_typed(key): (key, part) for key, part in src.items()}
    if isinstance(src, Record):
        return {_typed(name): (name, part) for name, part in src.items()}
    if type(src) in (list, tuple):
        return {_typed(position): (position, part) for position, part in enumerate(src)}
    return None


def _recorded(src: Any) -> Any:
    """Return a namedtuple as the record that it stands for."""
    names = namedtuple_fields(type(src))
    return src if names is None else Record(zip(names, tuple.__iter__(src), strict=True), label=type(src).__name__)


def _typed(key: Any) -> Any:
    """Return a key that differs from those of other types which Python holds equal to it."""
    return tuple(map(_typed, key)) if type(key) is tuple else (type(key), key)


def _has(children: Mapping[Any, Any], key: Any) -> bool:
    return _typed(key) in children


def _is_empty_tuple(src: Any) -> bool:
    return type(src) is tuple and not src


def _is_value(src: Any) -> bool:
    return type(src) in (bool, int, float, complex, str, bytes)


def _read(src: Any) -> Any:
    return src.read() if isinstance(src, LazyArray) else src


def _dtype_of(src: Any) -> str:
    return dtype_name(src.dtype) or str(src.dtype)


def _castable(source: str, target: str) -> bool:
    if source not in BY_NAME:
        return False
    return np.can_cast(BY_NAME[source].numpy, BY_NAME[target].numpy, "same_kind")


def _dict_like(template: Any, new: dict[Any, Any]) -> Any:
    """Return a dict of the class of `template`, such as Counter, with other items."""
    import copy

    out = copy.copy(template)
    out.clear()
    out.update(new)
    return out
