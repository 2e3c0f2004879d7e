"""Names of arrays inside containers. Source: spec section 7.1."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from statetree.path import Path
from statetree.tree import Symbol

__all__ = ["array_names", "key_label", "path_label"]

_SAFE = (1 << 53) - 1

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")


@lru_cache(maxsize=4096, typed=True)
def _str_label(key: str) -> str:
    return _UNSAFE.sub("_", key[:100])


def key_label(key: Any) -> str:
    """Return the label of one key, position or field name, at most 100 characters.

    >>> key_label("a/b"), key_label(Symbol("relu")), key_label(("x", -1)), key_label(None)
    ('a_b', 'relu', 'x_-1', 'null')
    """
    if type(key) is str:
        return _str_label(key)
    match key:
        case None:
            return "null"
        case bool():
            return "true" if key else "false"
        case int():
            return str(key) if -_SAFE <= key <= _SAFE else f"{'-' if key < 0 else ''}x{abs(key):x}"[:100]
        case bytes():
            return key[:50].hex()
        case Symbol():
            return _str_label(key.name)
        case _:
            return "_".join(map(key_label, key))[:100] if type(key) is tuple else "_"


def array_names(labels: Sequence[str]) -> list[str]:
    """Return the names that arrays with these labels, as `path_label` makes them, have in every container.

    >>> array_names([".encoder.layers.0.weight", ""])
    ['0-encoder.layers.0.weight', '1-_']
    """
    digits = len(str(max(len(labels) - 1, 0)))
    return [f"{i:0{digits}}-{label[1:101].rstrip('.') or '_'}" for i, label in enumerate(labels)]


def path_label(path: Path) -> str:
    """Return the joined labels of a path, as `array_names` takes them."""
    return "".join("." + key_label(key) for key in path)
