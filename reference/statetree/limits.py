"""Limits: how much a reader or writer takes on before it refuses. Source: spec section 8 and the registry `limits`."""

from dataclasses import dataclass
from typing import Any

from statetree_spec import registry

__all__ = ["Limits"]

_DEFAULT = {row["name"]: row["default"] for row in registry("limits")["limits"]}
DEPTH: int = _DEFAULT["depth"]
RANK: int = _DEFAULT["rank"]
SAME_HASH = 1000
"""Keys of one dict, of those whose hash a file can choose, that may have the same hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Numbers above which a file or a tree is refused with class *limit*; depth (60) and rank (32) are fixed.

    >>> Limits(nodes=1000).nodes
    1000
    """

    manifest_bytes: int = _DEFAULT["manifest_bytes"]
    """Bytes of the manifest text."""
    info_bytes: int = _DEFAULT["info_bytes"]
    """Bytes of the info text."""
    nodes: int = _DEFAULT["nodes"]
    """Nodes of the tree, containers, leaves and keys alike."""
    key_bytes: int = _DEFAULT["key_bytes"]
    """UTF-8 bytes of one key, field name, label or symbol."""
    string_bytes: int = _DEFAULT["string_bytes"]
    """Bytes of one str (as UTF-8) or bytes leaf."""
    integer_digits: int = _DEFAULT["integer_digits"]
    """Hexadecimal digits of one int."""
    arrays: int = _DEFAULT["arrays"]
    """Distinct arrays."""
    total_bytes: int | None = None
    """Bytes of all arrays together; None: half of the memory that is free for `load`, no limit for `open`."""
    ratio: int = _DEFAULT["ratio"]
    """Declared bytes over stored bytes, above 4 GiB declared."""
    child_bytes: int = 1 << 30
    """Bytes of memory that a library may take in a process of its own, beside itself and the file."""
    child_seconds: float = 60
    """Seconds of a processor that it may take there for one answer, and four times as many of the clock."""


def chosen_hash(key: Any) -> int | None:
    """Return the hash of a key of which a file can hold many of one hash, None for other keys."""
    free = type(key) is tuple or (type(key) is int and abs(key) >= 1 << 53)
    return hash(key) if free else None
