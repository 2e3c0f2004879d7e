"""Backends: which there are, and which one a path means. Source: spec section 10 and docs/api.md."""

import os
import tomllib
import warnings
from functools import cache
from pathlib import Path
from typing import NoReturn

from statetree.child import Budget
from statetree.errors import MissingFileError, fail, shown
from statetree.files import read_head
from statetree.formats import refuse_foreign
from statetree.plugins import entry_points
from statetree.store import Backend, Isolable

__all__ = ["as_path", "backend_names", "choose_backend", "find_backend", "recognise"]

GROUP = "statetree.backends"


@cache
def backend_names() -> tuple[str, ...]:
    """Return the names of the installed backends, sorted; one that cannot be imported is left out with a warning."""
    names = []
    for entry in entry_points(GROUP):
        try:
            if not hasattr(entry.load(), "suffixes"):
                raise TypeError("its entry point leads to no backend")
        except Exception as error:
            warnings.warn(f"backend {entry.name!r} cannot be used: {shown(str(error))}", stacklevel=2)
        else:
            names.append(entry.name)
    return tuple(sorted(set(names)))


@cache
def find_backend(name: str) -> Backend:
    """Return the backend called `name`.

    Raises:
        UsageError: there is none.
    """
    for entry in entry_points(GROUP) if isinstance(name, str) else ():
        if entry.name == name:
            backend: Backend = entry.load()
            return backend
    fail(
        "BACKEND_UNKNOWN",
        f"a backend of {', '.join(backend_names())}",
        shown(repr(name)),
        remedy="choose one of these, or install the package that brings it",
    )


def check_library(backend: Backend, compression: str | None = None) -> None:
    """Refuse to go on without a library that `backend` needs.

    Raises:
        MissingLibraryError: the text says which extra brings it.
    """
    missing = backend.missing_library(compression)
    if missing is not None:
        library, extra = missing
        fail(
            "BACKEND_LIBRARY",
            f"the library {library!r} for the backend {backend.name!r}",
            "no such library",
            remedy=f"pip install 'statetree[{extra}]'",
        )


def as_path(path: "str | os.PathLike[str]") -> Path:
    """Return `path` as a Path.

    Raises:
        UsageError: it is a file object, bytes or a URL.
    """
    if isinstance(path, str) and "://" in path:
        _no_path("a URL", "copy the file here first; object stores are not supported yet")
    if not isinstance(path, str | os.PathLike):
        _no_path(f"an object of type {type(path).__name__}", "give its path; a save is atomic only at a path")
    text = os.fspath(path)
    if not isinstance(text, str) or not text or "\0" in text:
        _no_path(repr(text)[:80], "give a path as str, not empty and without NUL characters")
    return Path(text)


def _no_path(found: str, remedy: str) -> NoReturn:
    fail("USAGE", "a path (str or os.PathLike)", found, remedy=remedy)


def choose_backend(path: Path, backend: str | None) -> Backend:
    """Return the backend for saving at `path`: the argument, the suffix, the settings, HDF5; in this order.

    Raises:
        UsageError: unknown suffix and no argument, or an unknown name.
    """
    if path.name in ("", ".."):
        _no_path(repr(str(path)), "give a path that ends in a name")
    by_suffix = _by_suffix(path.name)
    if backend is not None:
        chosen = find_backend(backend)
        if by_suffix not in (None, backend) and chosen.suffixes:
            warnings.warn(
                f"backend {backend!r} was asked for and is used, though {path.name!r} looks like {by_suffix!r}",
                stacklevel=3,
            )
        return chosen
    if by_suffix is not None:
        return find_backend(by_suffix)
    if path.suffix:
        fail(
            "BACKEND_UNKNOWN",
            f"a path that ends in {', '.join(s for n in backend_names() for s in find_backend(n).suffixes)}",
            repr(shown(path.suffix)),
            remedy="choose one of these, or say backend=",
        )
    return find_backend(os.environ.get("STATETREE_BACKEND") or _configured(Path.cwd()) or "hdf5")


def _by_suffix(name: str) -> str | None:
    found = [
        (len(suffix), backend)
        for backend in backend_names()
        for suffix in find_backend(backend).suffixes
        if name.lower().endswith(suffix)
    ]
    return max(found)[1] if found else None


def _configured(folder: Path) -> str | None:
    """Return `[tool.statetree] backend` of the nearest pyproject.toml upwards from `folder`."""
    for place in (folder, *folder.parents):
        file = place / "pyproject.toml"
        if file.is_file():
            try:
                name = tomllib.loads(file.read_text("utf-8")).get("tool", {}).get("statetree", {}).get("backend")
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError) as error:
                warnings.warn(f"{file} cannot be read for a backend: {error}", stacklevel=4)
                return None
            if not isinstance(name, str | None):
                fail("USAGE", "the name of a backend", repr(name), place=str(file), remedy='write backend = "hdf5"')
            return name
    return None


def recognise(path: Path, budget: Budget | None = None) -> Backend:
    """Return the backend of the container at `path`, by its content.

    Args:
        path: the file or folder.
        budget: what a library that may crash can take in a process of its own, now and when the file is read; None: it
            runs in this process.

    Raises:
        StoreIOError: nothing is there, or it cannot be read.
        UnsupportedError: it is some other file; the text says of what kind.
    """
    try:
        head = read_head(path)
    except MissingFileError:
        # Where there is no file, there may be a store of this process.
        memory = find_backend("memory")
        if memory.recognises(path, b""):
            return memory
        raise
    for name in backend_names():
        backend = find_backend(name)
        if budget is not None and isinstance(backend, Isolable):
            backend = backend.isolated(budget)
        if backend.recognises(path, head):
            return backend
    refuse_foreign(path, head, budget)
