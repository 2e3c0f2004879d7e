"""Zarr in a folder: generations, the commit, and removing what nobody uses. Source: spec section 7.4.

Locks: whoever writes or reads a generation holds a shared lock on its folder. A save that cleans up takes an exclusive
one, and then asks the root once more: a generation that nobody holds, and that the root does not name, never will be
named again. A reader asks the root again once it holds its lock, a writer looks whether its folder is still there.
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from statetree import files
from statetree.errors import MissingFileError, Problem, StateTreeError, StoreIOError, fail, shown
from statetree.files import Folder, NewPart, io_errors
from statetree.store import Finding
from statetree_backends._zarr_metadata import Root, parse_root

__all__ = ["FolderFiles", "FolderTarget", "is_generation", "open_generation", "read_root", "strays"]

ROOT = "zarr.json"
ROOT_LIMIT = 1 << 20
"""Bytes of the metadata of a root that are read at most."""
_GENERATION = re.compile(r"[0-9a-f]{16}")
_PARTS = {ROOT, "manifest", "info", "blocks", "arrays", "packs"}
_MAPPED_FROM = 64 << 10
"""Smaller files are copied, so that there are never more mappings than the system allows."""
_TRIES, _PAUSE = 200, 0.01
_DAMAGED = "the folder is damaged: restore it from a copy"


def is_generation(name: str) -> bool:
    """Whether a name is that of a generation."""
    return _GENERATION.fullmatch(name) is not None


def read_root(path: Path) -> bytes:
    """Return the root's metadata; a link is not followed.

    Raises:
        MissingFileError: there is none.
    """
    with io_errors(path, "read a folder"):
        folder = Folder(path, files.open_folder(path))
    try:
        file = folder.file(ROOT)
    finally:
        folder.close()
    try:
        if file.size > ROOT_LIMIT:
            fail("Z_METADATA", f"at most {ROOT_LIMIT} bytes", str(file.size), place=ROOT, remedy=_DAMAGED)
        return file.read(0, file.size)
    finally:
        file.close()


def _committed(path: Path) -> str | None:
    """Return the generation that the root names, None if there is no root.

    Raises:
        StateTreeError: the root cannot be read, or is not ours.
    """
    try:
        return parse_root(read_root(path), ROOT).generation
    except MissingFileError:
        return None


def _is_ours(path: Path) -> bool:
    """Whether a folder has nothing but what a generation has, whole or not; its metadata comes first and goes last."""
    try:
        names = {name for name, _ in files.list_folder(path)}
    except FileNotFoundError:
        return True  # another save has removed it meanwhile
    return not names or (ROOT in names and names <= _PARTS)


def _remove(path: Path) -> None:
    for name, folder in files.list_folder(path):
        if folder:
            files.remove_folder(path / name)
    files.remove_folder(path)


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
        self._made_root = self._committing = False
        self.generation = ""
        """Name of the generation."""
        try:
            with io_errors(path, "save a folder"):
                self._begin()
        except BaseException:
            self.discard()
            raise

    def _begin(self) -> None:
        if files.exists(self._path):
            if not files.is_folder(self._path):
                fail("USAGE", "a folder, or a new name", "a file", place=str(self._path), remedy="give another path")
            self._check_ours()
        else:
            files.check_parent(self._path, self._path)
            with suppress(FileExistsError):
                files.make_folder(self._path)
                self._made_root = True
        while self._lock is None:
            self.generation = secrets.token_hex(8)
            self._base = self._path / self.generation
            files.make_folder(self._base)
            self._made = [self._base]
            # Another save may take the new folder for one that a killed save left, and remove it before it is locked.
            with suppress(FileNotFoundError):
                self._lock = files.lock_folder(self._base, exclusive=False)
            if self._lock is not None and not files.is_still_at(self._lock, self._base):
                self._unlock()

    def _check_ours(self) -> None:
        for name, folder in files.list_folder(self._path):
            if name == ROOT and not folder:
                ours = self._root_is_ours()
            elif folder:
                ours = is_generation(name) and _is_ours(self._path / name)
            else:
                ours = name.endswith(files.SUFFIX)
            if not ours:
                fail(
                    "USAGE",
                    "an empty folder, or a state tree",
                    f"a folder that holds {shown(repr(name))}",
                    place=str(self._path),
                    remedy="give another path; what is not a state tree is never replaced",
                )

    def _root_is_ours(self) -> bool:
        try:
            return _committed(self._path) is not None
        except StoreIOError:
            raise
        except StateTreeError:
            return False

    def folder(self, name: str) -> None:
        """Make a folder of the generation."""
        path = self._base / name
        with io_errors(self._path, "save a folder"):
            files.make_folder(path)
        self._made.append(path)

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write a whole file; its folders were made before."""
        self.begin(name, len(data))
        self.append(data)
        self.end()

    def begin(self, name: str, size: int) -> None:
        """Begin a file of `size` bytes."""
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
            for path in (*reversed(self._made), self._path, *([self._path.parent] if self._made_root else [])):
                files.sync_folder(path)
        self._committing = True
        files.replace_file(self._path / ROOT, root, durable=self._durable)
        self._made, self._made_root = [], False
        self._unlock()
        with suppress(OSError, StateTreeError):
            self._remove_others()

    def _remove_others(self) -> None:
        """Remove generations that no reader and no writer holds; what cannot be removed waits for the next save."""
        for name, folder in files.list_folder(self._path):
            if not folder or not is_generation(name) or name == self.generation:
                continue
            with suppress(OSError):
                self._remove_unused(name)

    def _remove_unused(self, name: str) -> None:
        lock = files.lock_folder(self._path / name, exclusive=True)
        if lock is None:
            return
        try:
            if _committed(self._path) != name and _is_ours(self._path / name):
                _remove(self._path / name)
        finally:
            files.close(lock)

    def _unlock(self) -> None:
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with suppress(OSError):
                files.close(lock)

    def discard(self) -> None:
        """Remove the generation, and the root folder if this save made it; not if it was committed after all."""
        if self._open is not None:
            with suppress(OSError):
                self._open.close()
        if not (self._committing and self._may_be_committed()):
            if self._made:
                with suppress(OSError):
                    _remove(self._base)
            if self._made_root:
                files.remove_empty_folder(self._path)
        self._made, self._made_root = [], False
        self._unlock()

    def _may_be_committed(self) -> bool:
        try:
            return _committed(self._path) == self.generation
        except StateTreeError:
            return True


class FolderFiles:
    """The files of one generation, open for reading; a shared lock keeps it from being removed meanwhile.

    Args:
        path: the folder of the generation.
        fd: its descriptor, which holds the lock; closed by `close`.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._folder = Folder(path, fd)

    def read(self, name: str, limit: int, code: str = "Z_METADATA") -> bytes:
        """Return a whole file; one of more than `limit` bytes is refused with `code`.

        Raises:
            MissingFileError: there is none.
        """
        file = self._folder.file(*name.split("/"))
        try:
            if file.size > limit:
                fail(code, f"at most {limit} bytes", str(file.size), place=name, remedy=_DAMAGED)
            return file.read(0, file.size)
        finally:
            file.close()

    def view(self, name: str) -> memoryview | None:
        """Return a whole file, mapped if it is large; None if so many are mapped that descriptors could run out.

        The mapping outlives this object.
        """
        file = self._folder.file(*name.split("/"))
        try:
            if file.size < _MAPPED_FROM:
                return memoryview(file.read(0, file.size))
            # A mapping holds a descriptor before Python 3.13.
            return file.view(0, file.size) if files.has_descriptors() else None
        finally:
            file.close()

    def size(self, name: str) -> int:
        """Return the bytes of a file.

        Raises:
            MissingFileError: there is none.
        """
        file = self._folder.file(*name.split("/"))
        try:
            return file.size
        finally:
            file.close()

    def read_into(self, name: str, offset: int, out: memoryview) -> int:
        """Copy the bytes at `offset` of a file into `out`, unless it ends before, and return its size."""
        file = self._folder.file(*name.split("/"))
        try:
            if offset + len(out) <= file.size:
                file.read_into(offset, out)
            return file.size
        finally:
            file.close()

    def entries(self) -> Iterator[tuple[str, str, int]]:
        """Yield (name, kind, bytes) of all that lies in the generation."""
        return self._folder.walk()

    def stored_bytes(self) -> int:
        """Return the bytes of all files."""
        return self._folder.size()

    def close(self) -> None:
        """Release the generation."""
        self._folder.close()


def open_generation(path: Path) -> tuple[Root, FolderFiles]:
    """Return what the root says, and the files of the generation that it names.

    Raises:
        IntegrityError: no save was finished here, or the generation is gone.
        StoreIOError: others keep it locked.
    """
    gone: Root | None = None
    for _ in range(_TRIES):
        try:
            text = read_root(path)
        except MissingFileError:
            _uncommitted(path, "a finished save", "one that never ended", "saving here again is safe")
        root = parse_root(text, ROOT)
        place = path / root.generation
        try:
            fd = _lock(place)
        except MissingFileError:
            if gone == root:
                _uncommitted(place, "the generation that the root names", "none", _DAMAGED)
            gone = root
            continue
        if fd is None:
            time.sleep(_PAUSE)
            continue
        found = FolderFiles(place, fd)
        try:
            if read_root(path) == text:
                return root, found
        except BaseException:
            found.close()
            raise
        found.close()
    fail("CONTAINER_LOCKED", "a folder that is not being replaced", "one that is", place=str(path), remedy="try again")


def _lock(place: Path) -> int | None:
    with io_errors(place, "read a folder"):
        try:
            return files.lock_folder(place, exclusive=False)
        except NotADirectoryError:
            if files.is_link(place):
                remedy = "links are never followed"
                fail("FS_LINK", "a folder of this folder", "a link", place=place.name, remedy=remedy)
            _uncommitted(place, "the generation that the root names", "a file", _DAMAGED)


def _uncommitted(place: Path, expected: str, found: str, remedy: str) -> NoReturn:
    fail("UNCOMMITTED", expected, found, place=str(place), remedy=remedy)


_ODD = {"link": ("FS_LINK", "a link"), "special": ("FS_SPECIAL", "a special file")}
_VERSION_2 = (".zarray", ".zattrs", ".zgroup", ".zmetadata")


def strays(path: Path, generation: str) -> Iterator[Finding]:
    """Yield what lies in a folder beside the root's metadata and a generation; leftovers of saves are warnings."""
    for name, kind in files.list_kinds(path):
        if name in (ROOT, generation):
            continue
        place, found, severity, remedy = shown(name, 200), f"a {kind}", "warning", "remove it"
        if kind in _ODD:
            (code, found), expected, severity = _ODD[kind], "files and folders", "error"
        elif name in _VERSION_2:
            code, expected, found, severity = "Z_MIXED", "nothing of Zarr version 2", "a file of it", "error"
        elif name.endswith(files.SUFFIX) or (kind == "folder" and is_generation(name)):
            code, expected = "FS_STRAY", "nothing that a save left"
            remedy = "the next save removes it"
        else:
            code, expected = "CONTAINER_EXTRA", "nothing but a state tree"
        yield Finding(Problem(code, expected, found, place=place, remedy=remedy, rule="Z-11", severity=severity))
