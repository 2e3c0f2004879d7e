"""Names of arrays inside containers. Source: spec section 7.1."""

import re
from functools import lru_cache
from typing import Any

from statetree.path import Path
from statetree.tree import Symbol

__all__ = ["array_name", "key_label", "path_label"]

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


def array_name(index: int, count: int, label: str) -> str:
    """Return the name of array `index` of `count` in every container.

    >>> array_name(12, 148, ".encoder.layers.0.weight")
    '012-encoder.layers.0.weight'
    """
    return f"{index:0{len(str(max(count - 1, 0)))}}-{label[1:101].rstrip('.') or '_'}"


def path_label(path: Path) -> str:
    """Return the joined labels of a path, as `array_name` takes them."""
    return "".join("." + key_label(key) for key in path)
