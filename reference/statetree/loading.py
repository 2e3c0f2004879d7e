"""Loading: the manifest is judged first, then arrays are read and verified. Source: spec sections 6, 8 and 9."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from statetree.bulk import Bulk
from statetree.child import Budget
from statetree.decode import Decoder
from statetree.digest import digest
from statetree.errors import StateTreeError, fail, shown
from statetree.info import decode_info
from statetree.lazy import LazyArray, StateFile, native
from statetree.limits import Limits
from statetree.manifest import decode_manifest
from statetree.path import Path, PathSyntaxError, parse_path, path_text
from statetree.pause import no_collection
from statetree.registry import as_path, recognise
from statetree.source import Source
from statetree.store import Reader
from statetree.tree import Record

__all__ = ["budget_of", "check_bytes", "load", "lookup", "map_arrays", "open"]

Array = np.ndarray[Any, Any]


def open(
    path: "str | os.PathLike[str]", *, verify: bool = True, isolate: bool = False, limits: Limits | None = None
) -> StateFile:
    """Open a file lazily: its structure, numbers and texts at once, arrays on demand.

    Args:
        path: the file or folder; its container is recognised by content.
        verify: hold what is read against its digests.
        isolate: run the HDF5 library, where a file needs it, in a process of its own with limits.
        limits: what is refused as too large.

    Raises:
        StateTreeError: the file is foreign, newer, damaged or breaks a rule; see the class and code of the error.
    """
    with no_collection():
        return _open(path, verify, isolate, limits or Limits())


def _open(path: "str | os.PathLike[str]", verify: bool, isolate: bool, limits: Limits) -> StateFile:
    source, text = _source(path, verify, isolate, limits)
    try:
        arrays = [LazyArray(source, i) for i in range(len(source.manifest.arrays))]
        file = _opened(source, text, arrays, path, limits)
        source.bind()
        return file
    except BaseException:
        source.close()
        raise


def _opened(source: Source, text: bytes, arrays: Sequence[Any], path: Any, limits: Limits) -> StateFile:
    tree = Decoder(arrays, limits).decode(source.manifest.node)
    info = decode_info(source.reader.info(), limits, "info")
    algorithm = source.manifest.algorithm
    return StateFile(source, tree, f"{algorithm}:{digest(algorithm, text)}", info, os.fspath(path), source.backend)


def budget_of(limits: Limits) -> Budget:
    """Return what a process of its own may take."""
    return Budget(limits.child_bytes, limits.child_seconds)


def _source(path: "str | os.PathLike[str]", verify: bool, isolate: bool, limits: Limits) -> tuple[Source, bytes]:
    place = as_path(path)
    backend = recognise(place, budget_of(limits) if isolate else None)
    reader = backend.reader(place, limits)
    try:
        text = reader.manifest()
        manifest = decode_manifest(text, limits, "manifest")
        if manifest.algorithm != reader.algorithm():
            fail(
                "BACKEND_MISMATCH",
                f"a container of the manifest's algorithm {manifest.algorithm}",
                shown(reader.algorithm()),
                place="manifest",
                remedy="write the file with a conforming writer",
            )
        return Source(reader, manifest, backend.name, verify=verify), text
    except BaseException:
        reader.close()
        raise


def load(
    path: "str | os.PathLike[str]",
    *,
    select: "str | Path | None" = None,
    verify: bool = True,
    mmap: bool = False,
    isolate: bool = False,
    limits: Limits | None = None,
) -> Any:
    """Load a state tree, or the part of it at one path.

    Args:
        path: the file or folder; its container is recognised by content.
        select: path of a node, as text (`/model/layers/#0/weight`) or as a tuple of keys; only its arrays are read.
        verify: hold every array against its digest.
        mmap: give read-only arrays mapped from the file where it allows that, instead of owned, writable ones.
        isolate: run the HDF5 library, where a file needs it, in a process of its own with limits.
        limits: what is refused as too large.

    Raises:
        StateTreeError: the file is foreign, newer, damaged or breaks a rule; see the class and code of the error.
    """
    chosen = limits or Limits()
    if select is None and not mmap:
        with no_collection():
            return _load_all(path, verify, isolate, chosen)
    with open(path, verify=verify, isolate=isolate, limits=limits) as file:
        tree = file.tree if select is None else lookup(file.tree, select)
        wanted: dict[int, LazyArray] = {}
        map_arrays(tree, lambda lazy: wanted.setdefault(id(lazy), lazy))
        if not mmap:
            check_bytes(sum(lazy.nbytes for lazy in wanted.values()), file.source.reader, chosen)
        known = {key: lazy.view() if mmap else lazy.read() for key, lazy in wanted.items()}
        return map_arrays(tree, lambda lazy: known[id(lazy)])


def _load_all(path: "str | os.PathLike[str]", verify: bool, isolate: bool, limits: Limits) -> Any:
    source, text = _source(path, verify, isolate, limits)
    try:
        check_bytes(sum(source.manifest.nbytes), source.reader, limits)
        try:
            source.bind()
            bulk = Bulk(source)
        except StateTreeError:
            # A tree that is wrong in itself is told before a store that does not agree with it.
            _opened(source, text, range(len(source.manifest.arrays)), path, limits)
            raise
        file = _opened(source, text, bulk.arrays, path, limits)
        bulk.fill()
        if not np.little_endian:
            for array in bulk.arrays:
                array[...] = native(array)
        return file.tree
    finally:
        source.close()


def check_bytes(declared: int, reader: Reader, limits: Limits) -> None:
    """Refuse to allocate more than the caller allows, or far more than the file holds."""
    allowed = limits.total_bytes if limits.total_bytes is not None else _free_memory() // 2
    if declared > allowed:
        fail(
            "LIMIT_BYTES",
            f"arrays of at most {allowed} bytes",
            f"{declared} bytes",
            remedy="open it lazily (statetree.open), load a part with select=, or raise limits=Limits(total_bytes=…)",
        )
    if declared > 4 << 30 and declared > limits.ratio * (stored := reader.stored_bytes()):
        fail(
            "LIMIT_RATIO",
            f"arrays of at most {limits.ratio} times the stored bytes",
            f"{declared} bytes in a file of {stored}",
            remedy="raise limits=Limits(ratio=…) if you trust the file",
        )


def _free_memory() -> int:
    try:
        lines = FilePath("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def lookup(tree: Any, path: "str | Path") -> Any:
    """Return the node of `tree` at `path`, given as text or as a tuple of keys, positions and field names.

    >>> lookup({"a": [1, 2]}, "/a/#1"), lookup({"a": [1, 2]}, ("a", 1))
    (2, 2)

    Raises:
        MissingPathError: there is none; it is a KeyError too.
    """
    try:
        keys = parse_path(path) if isinstance(path, str) else path
        found = shown(type(path).__name__) if not isinstance(keys, tuple) else None
    except PathSyntaxError as error:
        keys, found = (), shown(str(error), 200)
    if found is not None:
        fail(
            "PATH_FORM",
            "a path such as /model/layers/#0/weight, or a tuple of keys",
            found,
            remedy="write / before each key and #0 for positions",
        )
    node: Any = tree
    for depth, key in enumerate(keys):
        try:
            node = _child(node, key)
        except (KeyError, StopIteration):
            _no_node(node, keys, depth)
    return node


def _child(node: Any, key: Any) -> Any:
    if isinstance(node, dict):
        return node[next(k for k in node if _same_key(k, key))]
    if isinstance(node, Record) and type(key) is str:
        return node[key]
    if isinstance(node, list | tuple) and type(key) is int and 0 <= key < len(node):
        return node[key]
    raise KeyError


def _same_key(a: Any, b: Any) -> bool:
    if type(a) is tuple and type(b) is tuple:
        return len(a) == len(b) and all(map(_same_key, a, b))
    return type(a) is type(b) and bool(a == b)


def _no_node(node: Any, keys: Path, depth: int) -> None:
    names: list[Any] = []
    if isinstance(node, dict):
        names = list(node)
    elif isinstance(node, Record):
        names = list(node.names)
    elif isinstance(node, list | tuple):
        names = list(range(len(node)))
    some = ", ".join(shown(path_text((name,)), 40) for name in names[:6]) + (", …" if len(names) > 6 else "")
    fail(
        "PATH_NOT_FOUND",
        f"a path of the tree; at {shown(path_text(keys[:depth])) or 'the root'} there is {some or 'nothing below'}",
        shown(path_text(keys), 200),
        remedy="statetree inspect shows all paths",
    )


def map_arrays(tree: Any, change: Callable[[Any], Any]) -> Any:
    """Return `tree` with every lazy array replaced by what `change` makes of it; containers are new."""
    kind = type(tree)
    if kind is LazyArray:
        return change(tree)
    if kind is dict:
        return {key: map_arrays(value, change) for key, value in tree.items()}
    if kind is list:
        return [map_arrays(value, change) for value in tree]
    if kind is tuple:
        return tuple([map_arrays(value, change) for value in tree])
    if kind is Record:
        return Record([(name, map_arrays(value, change)) for name, value in tree.items()], label=tree.label)
    return tree
