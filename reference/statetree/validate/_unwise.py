"""What is unwise in a sound tree and breaks no rule. Source: spec [R-3]."""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from statetree.errors import Problem
from statetree.manifest import Manifest
from statetree.path import Path
from statetree.tree import Record, Symbol
from statetree.version import VERSION

__all__ = ["LARGE", "unwise"]

Report = Callable[[Problem], None]
LARGE = 1 << 20
"""Bytes from which it is told that two arrays hold the same."""


def unwise(manifest: Manifest, tree: Any, paths: Callable[[], Sequence[Path]], report: Report) -> None:
    """Report what is unwise in a tree.

    Args:
        manifest: its manifest.
        tree: the tree, with anything in place of arrays.
        paths: returns the first path of each array.
        report: is given each warning.
    """
    if manifest.version != VERSION:
        report(_warning("MINOR_NEWER", f"version {VERSION}", manifest.version, place="manifest"))
    _confusable(tree, [], report)
    first: dict[str, int] = {}
    for index, entry in enumerate(manifest.arrays):
        if manifest.nbytes[index] < LARGE:
            continue
        other = first.setdefault(f"{entry.digest}{entry.dtype}{entry.shape}", index)
        if other != index:
            found = f"the bytes of array {other} once more"
            report(_warning("ARRAY_DUPLICATE_BYTES", "different arrays, or tied ones", found, path=paths()[index]))


def _warning(code: str, expected: str, found: str, *, path: Path | None = None, place: str | None = None) -> Problem:
    return Problem(code, expected, found, path, place, severity="warning")


def _confusable(node: Any, path: list[Any], report: Report) -> None:
    kind = type(node)
    if kind is dict:
        texts = {key: key for key in node if type(key) is str} | {key: key.name for key in node if type(key) is Symbol}
        _same(texts, path, report)
        items: Iterable[tuple[Any, Any]] = node.items()
    elif kind is Record:
        _same({name: name for name in node.names}, path, report)
        items = node.items()
    elif kind in (list, tuple):
        items = enumerate(node)
    else:
        return
    for key, child in items:
        if type(child) in (dict, Record, list, tuple):
            path.append(key)
            _confusable(child, path, report)
            path.pop()


def _same(texts: dict[Any, str], path: list[Any], report: Report) -> None:
    """Report keys of one kind whose texts become one when people, file systems or databases fold them."""
    folded: dict[tuple[type, str], Any] = {}
    for key, text in texts.items():
        plain = text.lower() if text.isascii() else unicodedata.normalize("NFC", text.casefold())
        if folded.setdefault((type(key), plain), key) is not key:
            report(_warning("KEY_CONFUSABLE", "keys that differ in more than form or case", "two", path=(*path, key)))
