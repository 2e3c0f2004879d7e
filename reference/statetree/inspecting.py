"""Looking at files without loading them: a summary, the digest, the differences of two. Source: docs/api.md."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from statetree.diffing import DiffReport, describe, diff_trees
from statetree.digest import digest as digest_of_bytes
from statetree.errors import fail
from statetree.lazy import LazyArray
from statetree.limits import Limits
from statetree.loading import open
from statetree.path import Path, path_text
from statetree.saving import manifest_of
from statetree.tree import Record

__all__ = ["Line", "Summary", "diff", "digest", "inspect"]


@dataclass(frozen=True, slots=True)
class Line:
    """One node of a tree, as a line of a listing."""

    path: Path
    """Where it stands."""
    text: str
    """What it is: `float32 (5, 10)`, `dict of 3`, `int 42`."""
    nbytes: int
    """Bytes of its array, 0 if it is none."""
    tied: Path | None
    """Path at which the same array was met first, None at that place."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file holds."""

    path: str
    """The file."""
    backend: str
    """Name of its container."""
    digest: str
    """Tree digest, `algorithm:hexadecimal`."""
    info: dict[str, Any]
    """`writer`, `time` and `user`, as they were saved."""
    lines: tuple[Line, ...]
    """Every node in pre-order, the root first."""
    arrays: int
    """Distinct arrays."""
    parameters: int
    """Elements of all distinct arrays."""
    nbytes: int
    """Bytes of all distinct arrays in memory."""
    stored_bytes: int
    """Bytes on disk."""

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain JSON."""
        nodes = [
            {"path": path_text(n.path), "node": n.text, "nbytes": n.nbytes}
            | ({"tied": path_text(n.tied)} if n.tied is not None else {})
            for n in self.lines
        ]
        return {
            "path": self.path,
            "backend": self.backend,
            "digest": self.digest,
            "writer": self.info["writer"],
            "time": self.info["time"],
            "info": {str(key): describe(value) for key, value in self.info["user"].items()},
            "arrays": self.arrays,
            "parameters": self.parameters,
            "nbytes": self.nbytes,
            "stored_bytes": self.stored_bytes,
            "nodes": nodes,
        }


def inspect(path: "str | os.PathLike[str]", *, limits: Limits | None = None) -> Summary:
    """Return what a file holds; no array is read.

    Args:
        path: the file or folder.
        limits: what is refused as too large.

    Raises:
        StateTreeError: the file cannot be opened.
    """
    with open(path, limits=limits) as file:
        first: dict[int, tuple[Path, LazyArray]] = {}
        lines = tuple(_lines(file.tree, (), first))
        arrays = [lazy for _, lazy in first.values()]
        return Summary(
            path=os.fspath(path),
            backend=file.backend,
            digest=file.digest,
            info=file.info,
            lines=lines,
            arrays=len(arrays),
            parameters=sum(lazy.size for lazy in arrays),
            nbytes=sum(lazy.nbytes for lazy in arrays),
            stored_bytes=file.stored_bytes,
        )


def _lines(node: Any, path: Path, first: dict[int, tuple[Path, LazyArray]]) -> Iterator[Line]:
    if type(node) is LazyArray:
        known = first.setdefault(id(node), (path, node))[0]
        yield Line(path, describe(node), node.nbytes, None if known == path else known)
        return
    yield Line(path, describe(node), 0, None)
    for key, child in children(node):
        yield from _lines(child, (*path, key), first)


def lines_of(tree: Any) -> tuple[Line, ...]:
    """Return every node of an open file's tree in pre-order, the root first."""
    return tuple(_lines(tree, (), {}))


def children(node: Any) -> list[tuple[Any, Any]]:
    """Return the (key, node) pairs below a node."""
    if isinstance(node, dict | Record):
        return list(node.items())
    return list(enumerate(node)) if isinstance(node, list | tuple) else []


def digest(tree_or_path: Any, *, algorithm: str | None = None, limits: Limits | None = None) -> str:
    """Return the tree digest of a tree in memory or of a file: equal digests mean equal trees.

    Args:
        tree_or_path: a tree, or a path (pathlib.Path); a str is a tree, as any value is.
        algorithm: digest algorithm, `xxh3-128` unless said; of a file only the one it was saved with.
        limits: what is refused as too large.

    Raises:
        WriteError: the tree holds a value that the format cannot hold.
        StateTreeError: the file cannot be opened.

    >>> digest({"epoch": 42})
    'xxh3-128:17a4d8a92e181b35da8314292a989874'
    """
    if isinstance(tree_or_path, os.PathLike):
        with open(tree_or_path, limits=limits) as file:
            stored = file.digest.partition(":")[0]
            if algorithm not in (None, stored):
                remedy = "load the tree and digest that, or save it with this algorithm"
                fail("USAGE", f"the algorithm of the file, {stored}", repr(algorithm), place=file.place, remedy=remedy)
            return file.digest
    if isinstance(tree_or_path, str) and os.path.exists(tree_or_path):
        warnings.warn("a str is digested as a tree; for the file of that name give pathlib.Path(…)", stacklevel=2)
    chosen = algorithm or "xxh3-128"
    return f"{chosen}:{digest_of_bytes(chosen, manifest_of(tree_or_path, chosen, limits or Limits()))}"


def diff(a: "str | os.PathLike[str]", b: "str | os.PathLike[str]", *, limits: Limits | None = None) -> DiffReport:
    """Return all differences of the trees of two files, in any containers; only arrays of other digests are read.

    Args:
        a: first file.
        b: second file.
        limits: what is refused as too large.

    Raises:
        StateTreeError: one of the files cannot be opened, or an array that is read is damaged.
    """
    with open(a, limits=limits) as left, open(b, limits=limits) as right:
        return diff_trees(left.tree, right.tree)
