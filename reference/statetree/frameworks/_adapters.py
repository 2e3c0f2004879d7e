"""Adapters: classes that take part by themselves or through another package. Source: docs/restore.md."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from statetree.frameworks.parts import Context, Found, Slot
from statetree.plugins import entry_points

__all__ = ["Adapter", "find"]

GROUP = "statetree.adapters"


class Adapter(Protocol):
    """How objects of another package take part; an object of the entry point group `statetree.adapters`.

    The name of the entry point is the package whose classes it serves. It is loaded when that package has been imported
    and an object is met that nobody else knows.
    """

    @property
    def classes(self) -> Sequence[str]:
        """Qualified names of classes, `package.module.Class`; their subclasses are served too."""

    def state(self, value: Any) -> Any:
        """Return what the state of `value` is made of: plain kinds, arrays, and objects that others know."""

    def load(self, value: Any, state: Any) -> Any:
        """Put a state back; it has what `state` returns, with the saved values in it.

        Returns:
            `value`, changed in place, or the object that is to take its place.
        """


def find(kind: type) -> Callable[[Any, Context], Found] | None:
    """Return how objects of a class take part, None if it does not say and no adapter serves it."""
    if any("__statetree__" in vars(base) for base in kind.__mro__):
        return _itself
    names = {f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__}
    for adapter in _adapters():
        if not names.isdisjoint(adapter.classes):
            return _through(adapter)
    return None


def _itself(value: Any, context: Context) -> Found:
    def put(state: Any) -> Any:
        value.__load_statetree__(state)
        return value

    return Slot(value.__statetree__, put, strict=False)


def _through(adapter: Adapter) -> Callable[[Any, Context], Found]:
    return lambda value, context: Slot(
        lambda: adapter.state(value), lambda state: adapter.load(value, state), strict=False
    )


_LOADED: dict[str, Adapter] = {}


def _adapters() -> list[Adapter]:
    for entry in entry_points(GROUP):
        if entry.name in sys.modules and entry.value not in _LOADED:
            _LOADED[entry.value] = entry.load()
    return list(_LOADED.values())
