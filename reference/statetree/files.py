"""The file system: every file that statetree reads or writes passes through here. Source: spec section 7.

New files appear by rename, so that there is the old file or the new one and never half a file. Temporary names
are `.<name>.<random>.statetree-tmp`; a writer holds a lock on its own, so that the next save of the same name can
remove what a killed one left. Tests replace the name `os` of this module to make every step fail in turn.
"""

import errno
import fcntl
import mmap
import os
import resource
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from statetree.errors import MissingFileError, Problem, StateTreeError, StoreIOError, fail

__all__ = [
    "Folder",
    "MappedFile",
    "NewFile",
    "NewPart",
    "check_parent",
    "exists",
    "has_descriptors",
    "io_errors",
    "is_folder",
    "list_folder",
    "list_kinds",
    "lock_folder",
    "make_folder",
    "read_head",
    "remove_folder",
    "replace_file",
    "sync_folder",
]

SUFFIX = ".statetree-tmp"
_IOV_MAX = 1024
_GATHER = 1 << 16
_BUFFER = 1 << 20
_GAP = 4096


_DURABLE = "make a save durable"
_REMEDIES = {
    "save a file": "check space and permissions; what was there before is unchanged",
    "save a folder": "check space and permissions; what was there before is unchanged",
    _DURABLE: "the new tree is in place, but may be lost if the power fails now; save again",
}


@contextmanager
def io_errors(path: "str | os.PathLike[str]", doing: str) -> Iterator[None]:
    """Turn an OSError into a StoreIOError that names `path`; the cause stays in the chain."""
    try:
        yield
    except StateTreeError:
        raise
    except FileNotFoundError as error:
        problem = Problem("NOT_FOUND", "a file or folder", "nothing", place=str(path), remedy="check the path")
        raise _with_errno(MissingFileError([problem]), error, path) from error
    except OSError as error:
        remedy = _REMEDIES.get(doing, "check the path and its permissions")
        if error.errno == errno.ENAMETOOLONG:
            remedy = "give a shorter name"
        found = (error.strerror or type(error).__name__).lower()
        problem = Problem("IO", f"to {doing}", found, place=str(path), remedy=remedy)
        raise _with_errno(StoreIOError([problem]), error, path) from error


def _with_errno(raised: StoreIOError, cause: OSError, path: "str | os.PathLike[str]") -> StoreIOError:
    """Give an error the number and the file name by which callers of the system tell its errors apart."""
    raised.errno, raised.strerror, raised.filename = cause.errno, cause.strerror, str(path)
    return raised


def check_parent(path: Path, given: Path) -> None:
    """Refuse a place in a folder that is not there; `given` is how the caller wrote it.

    Raises:
        MissingFileError: there is no folder to save into.
    """
    if not os.path.exists(path.parent):
        home = "; ~ stands for the home folder in shells only: pathlib.Path(…).expanduser()"
        remedy = f"make the folder first{home if str(given).startswith('~') else ''}"
        problem = Problem("NOT_FOUND", "a folder to save into", "none", place=str(path.parent), remedy=remedy)
        missing = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent))
        raise _with_errno(MissingFileError([problem]), missing, path.parent)


def _check_place(path: Path, given: Path) -> int | None:
    """Return the permissions of the file that a save will replace, None if there is none.

    Raises:
        UsageError: what is there is no regular file.
        MissingFileError: there is no folder to save into.
    """
    try:
        mode = os.stat(path, follow_symlinks=False).st_mode
    except FileNotFoundError:
        check_parent(path, given)
        return None
    if stat.S_ISREG(mode):
        return stat.S_IMODE(mode)
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISLNK, "a link that leads in a circle"))
    found = next((name for test, name in kinds if test(mode)), "a device, a pipe or a socket")
    remedy = "give another path, or remove the folder" if stat.S_ISDIR(mode) else "give another path"
    fail("USAGE", "a file, or a new name", found, place=str(given), remedy=remedy)


class NewFile:
    """A file being written beside its final place, which `commit` moves it to.

    Args:
        path: final place; a symbolic link there is followed, so that its target is replaced.
        size: bytes to reserve, 0 if unknown. Reserving makes writing faster and finds a full disk early.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self.path = Path(os.path.realpath(path))
        self._fd = -1
        self._temporary = _temporary(self.path)
        self._pending: list[memoryview | bytes] = []
        self._pending_at = 0
        self._pending_size = 0
        self._end = 0
        with self._saving():
            mode = _check_place(self.path, path)
            _remove_stale(self.path)
            while not self._begin():
                self._temporary = _temporary(self.path)
            if mode is not None:
                os.fchmod(self._fd, mode)
            if size:
                _reserve(self._fd, size)

    def _begin(self) -> bool:
        """Make and lock the file; False if another save of this name took it for a stale one before it was locked."""
        self._fd = os.open(self._temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_still_at(self._fd, self._temporary):
                return True
        except BlockingIOError:
            pass
        fd, self._fd = self._fd, -1
        os.close(fd)
        return False

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            with io_errors(self.path, "save a file"):
                yield
        except BaseException:
            self.discard()
            raise

    def write(self, offset: int, data: "memoryview | bytes") -> None:
        """Store `data` at `offset`. Small pieces that follow each other are gathered; gaps read as zeros."""
        if type(data) is bytes and offset == self._pending_at + self._pending_size and self._gathers(len(data)):
            self._pending.append(data)
            self._pending_size += len(data)
            self._end = max(self._end, offset + len(data))
            return
        try:
            self._gather(offset, data)
        except BaseException:
            # Only now, because a context manager for each of ten thousand small pieces takes longer than they do.
            with self._saving():
                raise

    def write_all(self, offset: int, pieces: Sequence[bytes]) -> None:
        """Store many pieces behind each other, from `offset` on."""
        with self._saving():
            self._flush()
            _write_all(self._fd, pieces, offset)
        self._end = max(self._end, offset + sum(map(len, pieces)))

    def _gathers(self, size: int) -> bool:
        """Whether a small piece that follows the ones before can wait with them."""
        return bool(self._pending) and size <= _GATHER and self._pending_size <= _BUFFER

    def _gather(self, offset: int, data: "memoryview | bytes") -> None:
        gap = offset - self._pending_at - self._pending_size
        # A gap is filled with zeros only where nothing was written yet.
        fillable = gap == 0 or (0 < gap <= _GAP and self._pending_at + self._pending_size >= self._end)
        if self._pending and (not fillable or self._pending_size > _BUFFER):
            self._flush()
        if not self._pending:
            self._pending_at, gap = offset, 0
        if gap:
            self._pending.append(bytes(gap))
        # A small piece is copied, so that the caller may reuse its memory; a large one is written at once.
        large = len(data) > _GATHER
        self._pending.append(data if large else bytes(data))
        self._pending_size += gap + len(data)
        self._end = max(self._end, offset + len(data))
        if large:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            pieces, at = self._pending, self._pending_at
            self._pending, self._pending_size = [], 0
            _write_all(self._fd, pieces, at)

    def commit(self, *, durable: bool) -> None:
        """Make the file visible at its place, in one step; `durable` waits until it is on the disk."""
        with self._saving():
            self._flush()
            if durable:
                os.fsync(self._fd)
            os.replace(self._temporary, self.path)
        # From here on the new file is the one that counts.
        fd, self._fd = self._fd, -1
        with suppress(OSError):
            os.close(fd)
        if durable:
            sync_folder(self.path.parent)

    def truncate(self, size: int) -> None:
        """Set the size of the file, which reserving may have made larger."""
        with self._saving():
            self._flush()
            os.ftruncate(self._fd, size)

    def discard(self) -> None:
        """Remove the temporary file; allowed at any time."""
        self._pending, self._pending_size = [], 0
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                os.unlink(self._temporary)
            with suppress(OSError):
                os.close(fd)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name[:150]}.{secrets.token_hex(8)}{SUFFIX}")


def _reserve(fd: int, size: int) -> None:
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
            raise


def _write_all(fd: int, pieces: "Sequence[memoryview | bytes]", at: int) -> None:
    first = 0
    while first < len(pieces):
        some = pieces[first : first + _IOV_MAX]
        written = os.pwritev(fd, some, at)
        at += written
        if written == sum(map(len, some)):
            first += len(some)
            continue
        while written >= len(pieces[first]):
            written -= len(pieces[first])
            first += 1
        pieces = [memoryview(pieces[first])[written:], *pieces[first + 1 :]]
        first = 0


def _remove_stale(path: Path) -> None:
    """Remove temporary files of `path` whose writers are gone."""
    prefix = f".{path.name[:150]}."
    with os.scandir(path.parent) as entries:
        stale = [e.path for e in entries if e.name.startswith(prefix) and e.name.endswith(SUFFIX)]
    for name in stale:
        with suppress(OSError):
            fd = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name)
            finally:
                os.close(fd)


def replace_file(path: Path, data: bytes, *, durable: bool) -> None:
    """Put a small file at `path` in one step."""
    new = NewFile(path)
    new.write(0, data)
    new.commit(durable=durable)


def make_folder(path: Path) -> None:
    """Make one folder, which must not exist."""
    os.mkdir(path)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    with io_errors(path, _DURABLE):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def lock_folder(path: Path, *, exclusive: bool) -> int | None:
    """Lock a folder without waiting and return its descriptor, which holds the lock; None if another has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_folder(path: Path) -> int:
    """Return a descriptor of a folder; `path` itself may be a link to it."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def is_still_at(fd: int, path: Path) -> bool:
    """Whether the file or folder that `fd` holds is the one at `path` now."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def close(fd: int) -> None:
    """Close a descriptor of `lock_folder` or `open_folder`."""
    os.close(fd)


def remove_empty_folder(path: Path) -> None:
    """Remove a folder if nothing is in it."""
    with suppress(OSError):
        os.rmdir(path)


def remove_folder(path: Path) -> None:
    """Remove a folder and what is in it, as far as the system allows; symbolic links are not followed."""
    shutil.rmtree(path, ignore_errors=True)


def read_head(path: Path, size: int = 8192) -> bytes:
    """Return the first `size` bytes of a file, b"" for a folder.

    Raises:
        StoreIOError: nothing is there, it is not readable, or is neither a file nor a folder.
    """
    with io_errors(path, "read a file"):
        mode = os.stat(path).st_mode
        if os.path.isdir(path):
            return b""
        if mode & 0o170000 != 0o100000:
            fail("FS_SPECIAL", "a file or a folder", "a special file", place=str(path), remedy="give a file")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.pread(fd, size, 0)
        finally:
            os.close(fd)


class NewPart:
    """A file inside of a folder that is not yet committed, written from its start to its end.

    Args:
        path: where it is made; nothing may be there.
        size: bytes to reserve, 0 if unknown.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._at = 0
        if size > _BUFFER:
            _reserve(self._fd, size)

    def write(self, data: "memoryview | bytes") -> None:
        """Append `data`."""
        _write_all(self._fd, [data], self._at)
        self._at += len(data)

    def close(self, *, durable: bool = False) -> None:
        """Close the file, after it has reached the disk if `durable`; allowed twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)


class Folder:
    """A folder open for reading: files in it are found without ever following a symbolic link."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd
        """A descriptor of the folder; closed by `close`."""

    def file(self, *parts: str) -> "MappedFile":
        """Return a regular file below the folder.

        Raises:
            MissingFileError: it is not there.
            SecurityError: a link, or something that is no regular file.
        """
        where = self.path.joinpath(*parts)
        opened: list[int] = []
        at = self._fd
        try:
            with io_errors(where, "read a file"):
                for part in parts[:-1]:
                    at = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
                    opened.append(at)
                fd = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=at)
        except StoreIOError as error:
            if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ELOOP, errno.ENOTDIR):
                if any(is_link(self.path.joinpath(*parts[:end])) for end in range(1, len(parts) + 1)):
                    remedy = "links are never followed"
                    fail("FS_LINK", "a file of this folder", "a link", place=str(where), remedy=remedy)
                fail("NOT_FOUND", "a file", "a file in place of its folder", place=str(where))
            raise
        finally:
            for folder in opened:
                os.close(folder)
        return MappedFile(where, fd=fd)

    def walk(self) -> Iterator[tuple[str, str, int]]:
        """Yield (name from here, kind, bytes) of what is in the folder and the folders in it; no link is followed.

        Kinds are those of `list_kinds`. Of folders more than 64 deep nothing but their names is told.
        """
        fd = os.dup(self._fd)
        try:
            with io_errors(self.path, "read a folder"):
                yield from _walk(fd, "", 64)
        finally:
            os.close(fd)

    def size(self) -> int:
        """Return the bytes of all files below the folder."""
        total = 0
        for folder, _, names in os.walk(self.path):
            for name in names:
                with suppress(OSError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Release the folder; allowed twice."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


_KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


def _kind(entry: "os.DirEntry[str]") -> tuple[str, str, int]:
    status = entry.stat(follow_symlinks=False)
    return entry.name, _KINDS.get(stat.S_IFMT(status.st_mode), "special"), status.st_size


def _walk(fd: int, prefix: str, depth: int) -> Iterator[tuple[str, str, int]]:
    with os.scandir(fd) as entries:
        found = sorted(map(_kind, entries))
    for name, kind, size in found:
        yield prefix + name, kind, size
        if kind == "folder" and depth:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            try:
                yield from _walk(below, f"{prefix}{name}/", depth - 1)
            finally:
                os.close(below)


def list_kinds(path: Path) -> list[tuple[str, str]]:
    """Return (name, kind) of what is in a folder, sorted: `file`, `folder`, `link` or `special`."""
    with io_errors(path, "read a folder"), os.scandir(path) as entries:
        return sorted((name, kind) for name, kind, _ in map(_kind, entries))


def list_folder(path: Path) -> list[tuple[str, bool]]:
    """Return (name, whether it is a folder and no link) of what is in a folder, sorted by name."""
    with os.scandir(path) as entries:
        return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)


def is_folder(path: Path) -> bool:
    """Whether a folder is at `path`; a link to one counts."""
    return os.path.isdir(path)


def is_link(path: Path) -> bool:
    """Whether a symbolic link is at `path`."""
    return os.path.islink(path)


def exists(path: Path) -> bool:
    """Whether anything is at `path`."""
    return os.path.lexists(path)


def has_descriptors() -> bool:
    """Whether this process may open many more files: a quarter of what the system allows it is left."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    unlimited = allowed == resource.RLIM_INFINITY
    return unlimited or allowed - len(os.listdir("/proc/self/fd")) > max(16, allowed // 4)


class MappedFile:
    """A regular file open for reading, mapped as a whole when its bytes are first viewed.

    Args:
        path: the file.
        fd: a descriptor of it that is open already; it is closed with this object.
    """

    def __init__(self, path: Path, *, fd: int | None = None) -> None:
        self.path = path
        self._fd = -1
        self._map: memoryview | None = None
        with io_errors(path, "read a file"):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK) if fd is None else fd
            status = os.fstat(self._fd)
            if status.st_mode & 0o170000 != 0o100000:
                self.close()
                fail("FS_SPECIAL", "a regular file", "something else", place=str(path), remedy="give a file")
            self.size = status.st_size
            """Bytes of the file."""

    def read(self, offset: int, size: int) -> bytes:
        """Return at most `size` bytes at `offset`; fewer where the file ends."""
        with io_errors(self.path, "read a file"):
            return os.pread(self._fd, size, offset) if size else b""

    def read_into(self, offset: int, out: memoryview) -> None:
        """Copy the bytes at `offset` into all of `out`.

        Raises:
            MalformedError: the file ends before.
        """
        done = 0
        with io_errors(self.path, "read a file"):
            while done < len(out) and (count := os.preadv(self._fd, [out[done:]], offset + done)):
                done += count
        if done < len(out):
            fail(
                "CONTAINER_TRUNCATED",
                f"{len(out)} bytes at {offset}",
                str(done),
                place=str(self.path),
                remedy="the file is damaged: restore it from a copy",
            )

    def view(self, offset: int, size: int) -> memoryview:
        """Return `size` bytes at `offset`, mapped read-only; the caller has checked that they are in the file."""
        if self._map is None:
            if self._fd < 0:
                # mmap takes -1 for memory of zeros.
                fail("CLOSED", "an open file", "a closed one", place=str(self.path), remedy="open the file again")
            with io_errors(self.path, "read a file"):
                self._map = memoryview(mmap.mmap(self._fd, self.size, prot=mmap.PROT_READ))
        return self._map[offset : offset + size]

    @property
    def descriptor(self) -> int:
        """The open descriptor, for a process that is to have the file open too."""
        return self._fd

    def is_locked(self) -> bool:
        """Whether another program holds a lock that lets nobody read."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        except BlockingIOError:
            return True
        except OSError:
            return False  # no locks on this file system
        return False

    def __del__(self) -> None:
        # A file that nobody closed is closed with the last array that was read lazily from it.
        self.close()

    def close(self) -> None:
        """Close the file; views that are still held stay valid."""
        self._map = None
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
