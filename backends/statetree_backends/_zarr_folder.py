"""Zarr in a folder: generations, the commit, and removing what nobody uses. Source: spec section 7.4."""

import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from statetree import files
from statetree.errors import StateTreeError, fail
from statetree.files import Folder, MappedFile, NewPart, io_errors

__all__ = ["GENERATION", "FolderFiles", "FolderTarget", "is_generation"]

ROOT = "zarr.json"
GENERATION = re.compile(r"[0-9a-f]{16}")


def is_generation(name: str) -> bool:
    """Whether a name is that of a generation."""
    return GENERATION.fullmatch(name) is not None


class FolderTarget:
    """A generation being written into a folder.

    Args:
        path: the folder; made if it is not there. It must hold nothing but a store of ours.
        durable: whether every file reaches the disk before the commit.
    """

    packs = True

    def __init__(self, path: Path, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._made: list[Path] = []
        self._lock: int | None = None
        self._open: NewPart | None = None
        self.generation = secrets.token_hex(8)
        """Name of the generation."""
        self._base = path / self.generation
        self._made_root = False
        try:
            with io_errors(path, "save a folder"):
                self._begin()
        except BaseException:
            self.discard()
            raise

    def _begin(self) -> None:
        if not files.exists(self._path):
            files.make_folder(self._path)
            self._made_root = True
        elif not files.is_folder(self._path):
            fail("USAGE", "a folder, or a new name", "a file", place=str(self._path), remedy="give another path")
        else:
            self._check_ours()
        files.make_folder(self._base)
        self._made.append(self._base)
        self._lock = files.lock_folder(self._base, exclusive=True)

    def _check_ours(self) -> None:
        for name, folder in files.list_folder(self._path):
            ours = is_generation(name) if folder else name == ROOT or name.endswith(files.SUFFIX)
            if not ours:
                fail(
                    "USAGE",
                    "an empty folder, or a state tree",
                    f"a folder that holds {name!r}"[:120],
                    place=str(self._path),
                    remedy="give another path; what is not a state tree is never replaced",
                )

    def folder(self, name: str) -> None:
        """Make a folder of the generation."""
        path = self._base / name
        with io_errors(self._path, "save a folder"):
            files.make_folder(path)
        self._made.append(path)

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write a whole file; its folders were made before."""
        self.begin(name, 0)
        self.append(data)
        self.end()

    def begin(self, name: str, size: int) -> None:
        """Begin a file of `size` bytes (0 if unknown)."""
        with io_errors(self._path, "save a folder"):
            self._open = NewPart(self._base / name, size)

    def append(self, data: bytes | memoryview) -> None:
        """Append to the file begun last."""
        assert self._open is not None
        with io_errors(self._path, "save a folder"):
            self._open.write(data)

    def end(self) -> None:
        """Close the file begun last."""
        assert self._open is not None
        with io_errors(self._path, "save a folder"):
            self._open.close(durable=self._durable)

    def commit(self, root: bytes) -> None:
        """Make the generation the one that counts, by replacing the root's metadata."""
        if self._durable:
            for path in reversed(self._made):
                files.sync_folder(path)
        files.replace_file(self._path / ROOT, root, durable=self._durable)
        self._made_root = False
        self._unlock()
        self._made = []
        if self._durable:
            with suppress(StateTreeError):
                files.sync_folder(self._path.parent)
        self._remove_others()

    def _remove_others(self) -> None:
        """Remove generations that no reader and no writer holds; what cannot be removed waits for the next save."""
        with suppress(OSError):
            for name, folder in files.list_folder(self._path):
                if folder and is_generation(name) and name != self.generation:
                    with suppress(OSError):
                        lock = files.lock_folder(self._path / name, exclusive=True)
                        if lock is not None:
                            files.remove_folder(self._path / name)
                            files.close(lock)

    def _unlock(self) -> None:
        if self._lock is not None:
            files.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove the generation, and the root folder if this save made it."""
        if self._open is not None:
            with suppress(OSError):
                self._open.close()
        if self._made:
            files.remove_folder(self._base)
            self._made = []
        with suppress(OSError):
            self._unlock()
        if self._made_root:
            self._made_root = False
            files.remove_folder(self._path)


class FolderFiles:
    """The files of one generation, open for reading; a shared lock keeps it from being removed meanwhile."""

    def __init__(self, path: Path, generation: str) -> None:
        base = path / generation
        with io_errors(base, "read a folder"):
            fd = files.lock_folder(base, exclusive=False)
        if fd is None:
            fail(
                "UNCOMMITTED", "a finished save", "one that is being replaced", place=str(path), remedy="open it again"
            )
        self._folder = Folder(base, fd)

    def _file(self, parts: Sequence[str]) -> MappedFile:
        return self._folder.file(*parts)

    def read(self, name: str, limit: int) -> bytes:
        """Return a whole file of at most `limit` bytes."""
        file = self._file(name.split("/"))
        try:
            if file.size > limit:
                fail("LIMIT_MANIFEST", f"at most {limit} bytes", str(file.size), place=name, remedy="raise limits=")
            return file.read(0, file.size)
        finally:
            file.close()

    def view(self, name: str) -> memoryview:
        """Return a whole file mapped; the mapping outlives this object."""
        file = self._file(name.split("/"))
        try:
            return file.view(0, file.size) if file.size else memoryview(b"")
        finally:
            file.close()

    def stored_bytes(self) -> int:
        """Return the bytes of all files."""
        return self._folder.size()

    def close(self) -> None:
        """Release the generation."""
        self._folder.close()
