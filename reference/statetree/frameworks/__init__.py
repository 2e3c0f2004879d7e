"""Frameworks: what an object is made of, whoever made it. Source: docs/restore.md.

Nothing here imports a framework. A module is loaded when an object is met whose class may come from its framework,
which has then been imported already. Only classes are looked at to decide; no method of an unknown object is called.
"""

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from statetree.frameworks import _adapters, _numpy, _python
from statetree.frameworks.parts import Context, Found, Leaf, Parts, Slot, Special

__all__ = ["look"]

Finder = Callable[[Any, Context], Found]
_FOUND = frozenset((Parts, Leaf, Slot, Special))
_KNOWN: "WeakKeyDictionary[type, tuple[int, Finder]]" = WeakKeyDictionary()


def look(value: Any, context: Context) -> Found:
    """Return what `value` is as a node of a state tree.

    Raises:
        WriteError: its state would be lost.
    """
    kind = type(value)
    if kind in _FOUND:
        return value  # type: ignore[no-any-return] # a part that was taken apart already
    known = _KNOWN.get(kind)
    # A class may be met before the framework that knows it: PLAIN kinds aside, what is loaded since is asked again.
    loaded = sum(name in sys.modules for name in ("torch", "jax", "flax", "equinox"))
    if known is None or known[0] != loaded:
        known = _KNOWN[kind] = loaded, _find(kind)
    return known[1](value, context)


def _find(kind: type) -> Finder:
    return (
        _python.find_plain(kind)
        or _numpy.find(kind)
        or _adapters.find(kind)
        or _find_framework(kind)
        or _python.find_made(kind)
    )


def _find_framework(kind: type) -> Finder | None:
    found: Finder | None = None
    if "torch" in sys.modules:
        from statetree.frameworks import _torch

        found = _torch.find(kind)
    if found is None and "jax" in sys.modules:
        if "flax" in sys.modules:
            from statetree.frameworks import _flax

            found = _flax.find(kind)
        if found is None and "equinox" in sys.modules:
            from statetree.frameworks import _equinox

            found = _equinox.find(kind)
        if found is None:
            from statetree.frameworks import _jax

            found = _jax.find(kind)
    return found
