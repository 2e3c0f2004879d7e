"""Containers: the names under which the suite asks for backends, and where it works. Source: docs/conformance.md."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import statetree as st
from statetree.registry import backend_names, find_backend
from statetree.store import Backend

__all__ = ["OURS", "Bench", "Container", "container", "container_names", "files_of", "manifest", "ours"]

OURS = ("memory", "hdf5", "zarr", "zarr.zip", "bson")
"""Containers that come with statetree."""


@dataclass(frozen=True, slots=True)
class Container:
    """A kind of container as the suite asks for it: a backend and one of its suffixes."""

    name: str
    """The backend's name; with a further suffix of the backend that suffix without its dot, such as `zarr.zip`."""
    backend: str
    """Name of the backend."""
    suffix: str
    """Ending of its files, with the dot; empty where the backend has none."""


def container(name: str) -> Container:
    """Return the container called `name`.

    >>> container("zarr.zip")
    Container(name='zarr.zip', backend='zarr', suffix='.zarr.zip')

    Raises:
        UsageError: no backend has this name or suffix.
    """
    for backend in backend_names():
        suffixes = find_backend(backend).suffixes
        if name == backend:
            return Container(name, backend, suffixes[0] if suffixes else "")
        if f".{name}" in suffixes:
            return Container(name, backend, f".{name}")
    return Container(name, find_backend(name).name, "")


def container_names() -> tuple[str, ...]:
    """Return the names of all containers whose libraries are here.

    >>> {"bson", "hdf5", "memory", "zarr", "zarr.zip"} <= {*container_names()}
    True
    """
    usable = [find_backend(name) for name in backend_names()]
    return tuple(dict.fromkeys(name for backend in usable if not backend.missing_library() for name in _names(backend)))


def ours() -> tuple[str, ...]:
    """Return the names of those containers of statetree whose libraries are here."""
    return tuple(name for name in OURS if name in container_names())


def _names(backend: Backend) -> list[str]:
    return [backend.name, *(suffix[1:] for suffix in backend.suffixes[1:])]


class Bench:
    """A folder in which laws save and load trees in one kind of container, through the public interface alone.

    Args:
        chosen: the container, or its name.
        folder: an empty folder; nothing else works there.
    """

    def __init__(self, chosen: Container | str, folder: Path) -> None:
        self.container = container(chosen) if isinstance(chosen, str) else chosen
        self.folder = folder
        self._made: dict[str, Path] = {}

    def beside(self, name: str) -> "Bench":
        """Return a bench for another container in the same folder."""
        return Bench(name, self.folder)

    def path(self, name: str = "t") -> Path:
        """Return the path of a container called `name`."""
        return self.folder / f"{name}{self.container.suffix}"

    def save(self, tree: Any, name: str = "t", **options: Any) -> Path:
        """Save a tree and return where; not durable, for no law asks for a power failure."""
        path = self.path(name)
        st.save(path, tree, backend=self.container.backend, durable=False, **options)
        return path

    def convert(self, source: Path, name: str, **options: Any) -> Path:
        """Convert the file at `source` into this container and return where."""
        path = self.path(name)
        st.convert(source, path, backend=self.container.backend, durable=False, **options)
        return path

    def once(self, name: str, make: Callable[[], Any]) -> Path:
        """Return where the tree of `make` is saved under `name`, which is done the first time only."""
        if name not in self._made:
            self._made[name] = self.save(make(), name)
        return self._made[name]


def manifest(path: Path) -> bytes:
    """Return the manifest text of the container at `path`."""
    with st.open(path) as file:
        return file.source.reader.manifest()


def files_of(path: Path) -> list[Path]:
    """Return the files of the container at `path`, sorted; none if it keeps its bytes elsewhere."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    return [path] if path.is_file() else []
