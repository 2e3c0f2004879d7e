"""Comparing files: what differs between two state trees, leaf by leaf. Source: docs/api.md."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from statetree.compare import canonical_bytes, difference, kind_of
from statetree.errors import shown
from statetree.lazy import LazyArray
from statetree.path import Path, path_text
from statetree.tree import Record

__all__ = ["Change", "DiffReport", "diff_trees"]


@dataclass(frozen=True, slots=True)
class Change:
    """One place where two trees differ."""

    path: Path
    """Where."""
    what: str
    """`removed`, `added`, `kind`, `order`, `label`, `dtype`, `shape`, `value` or `tie`."""
    left: str
    """What the first tree has there, in words; empty if nothing."""
    right: str
    """What the second tree has there."""
    elements: int = 0
    """How many elements of an array differ in their bits."""
    max_abs: float | None = None
    """Largest absolute difference of the elements that are numbers in both."""
    max_rel: float | None = None
    """Largest difference relative to the larger magnitude of the two."""

    def as_json(self) -> dict[str, Any]:
        """Return the change as plain JSON."""
        out: dict[str, Any] = {
            "path": path_text(self.path),
            "what": self.what,
            "left": self.left,
            "right": self.right,
        }
        if self.elements:
            out |= {"elements": self.elements, "max_abs": self.max_abs, "max_rel": self.max_rel}
        return out


@dataclass(slots=True)
class DiffReport:
    """All differences of two state trees; true if there are any."""

    changes: list[Change] = field(default_factory=list)
    """In the order of the first tree."""

    def __bool__(self) -> bool:
        return bool(self.changes)


def diff_trees(a: Any, b: Any) -> DiffReport:
    """Return the differences of two trees, whose arrays may be lazy."""
    report = DiffReport()
    groups: tuple[dict[Any, list[Path]], dict[Any, list[Path]]] = ({}, {})
    report.changes.extend(_nodes(a, b, (), groups))
    left = {tuple(paths) for paths in groups[0].values()}
    right = {tuple(paths) for paths in groups[1].values()}
    for paths in sorted(left ^ right, key=lambda p: path_text(p[0])):
        if len(paths) > 1:
            names = ", ".join(path_text(path) for path in paths)
            one = (names, "not tied so") if paths in left else ("not tied so", names)
            report.changes.append(Change(paths[0], "tie", *one))
    return report


def _nodes(a: Any, b: Any, path: Path, groups: Any) -> Iterator[Change]:
    kind, other = kind_of(a), kind_of(b)
    if kind != other:
        yield Change(path, "kind", describe(a), describe(b))
        return
    match kind:
        case "dict" | "record":
            if kind == "record" and a.label != b.label:
                yield Change(path, "label", shown(repr(a.label)), shown(repr(b.label)))
            yield from _items(dict(_typed(a)), dict(_typed(b)), path, groups)
        case "list" | "tuple":
            yield from _items(dict(enumerate(a)), dict(enumerate(b)), path, groups)
        case "array":
            for value, group in zip((a, b), groups, strict=True):
                group.setdefault(id(value), []).append(path)
            yield from _arrays(a, b, path)
        case _:
            found = difference(a, b)
            if found is not None:
                yield Change(path, "value", describe(a), describe(b), *_numbers(kind, a, b))


class _Typed:
    """A key that differs from another of the same value and another type."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Typed) and path_text((self.key,)) == path_text((other.key,))


def _typed(value: Any) -> list[tuple[_Typed, Any]]:
    return [(_Typed(key), child) for key, child in value.items()]


def _items(a: dict[Any, Any], b: dict[Any, Any], path: Path, groups: Any) -> Iterator[Change]:
    for key, value in a.items():
        child = (*path, key.key if isinstance(key, _Typed) else key)
        if key in b:
            yield from _nodes(value, b[key], child, groups)
        else:
            yield Change(child, "removed", describe(value), "")
    for key, value in b.items():
        if key not in a:
            yield Change((*path, key.key if isinstance(key, _Typed) else key), "added", "", describe(value))
    common = [key for key in a if key in b]
    if common != [key for key in b if key in a]:
        yield Change(path, "order", "keys in one order", "keys in another")


def _arrays(a: Any, b: Any, path: Path) -> Iterator[Change]:
    if a.dtype != b.dtype:
        yield Change(path, "dtype", describe(a), describe(b))
        return
    if a.shape != b.shape:
        yield Change(path, "shape", describe(a), describe(b))
        return
    if type(a) is LazyArray and type(b) is LazyArray and a.digest == b.digest:
        return
    x, y = np.asarray(a), np.asarray(b)
    width = max(1, x.dtype.itemsize)
    bits = [np.frombuffer(canonical_bytes(v), np.uint8).reshape(-1, width) for v in (x, y)]
    different = np.any(bits[0] != bits[1], axis=1)
    count = int(np.count_nonzero(different))
    if count:
        chosen = (x.reshape(-1)[different], y.reshape(-1)[different])
        yield Change(path, "value", describe(a), describe(b), count, *_largest(*chosen))


def _numbers(kind: str, a: Any, b: Any) -> tuple[int, float | None, float | None]:
    if kind in ("float", "complex", "scalar"):
        return 1, *_largest(np.asarray([a]), np.asarray([b]))
    return 0, None, None


def _largest(a: "np.ndarray[Any, Any]", b: "np.ndarray[Any, Any]") -> tuple[float | None, float | None]:
    """Return the largest absolute and relative difference; None where no pair of elements is finite."""
    if a.dtype != b.dtype or a.dtype.itemsize > 16:
        return None, None
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        x, y = a.astype(wide), b.astype(wide)
        gap = np.abs(x - y)
        size = np.maximum(np.abs(x), np.abs(y))
        finite = np.isfinite(gap)
        if not finite.any():
            return None, None
        relative = np.divide(gap, size, out=np.zeros_like(gap), where=size > 0)
        return float(gap[finite].max()), float(relative[finite].max())


def describe(value: Any) -> str:
    """Return what a node is in a few words: `float32 (5, 10)`, `dict of 3`, `int 42`."""
    kind = kind_of(value)
    match kind:
        case "array":
            return f"{value.dtype} {value.shape}"
        case "dict" | "list" | "tuple":
            return f"{kind} of {len(value)}"
        case "record":
            label = f" {shown(value.label, 40)}" if isinstance(value, Record) and value.label else ""
            return f"record{label} of {len(value)}"
        case "null":
            return "null"
        case "scalar":
            return f"{value.dtype}({value!s})"
        case "int" if value.bit_length() > 200:
            return f"int of {value.bit_length()} bits"
        case "str" | "bytes":
            return f"{kind} {shown(repr(value[:60]), 60)}" + (f" of {len(value)}" if len(value) > 60 else "")
        case "symbol":
            return f"symbol {shown(value.name, 60)}"
        case _:
            return f"{kind} {value!r}"
