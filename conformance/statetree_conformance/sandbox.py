"""Where a program under test works: folders that are watched, copies that it only reads, canaries. Source: rule T-7.

This finds accidents and careless programs. It is no wall: a program that means harm needs a container of the system.
"""

import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Sandbox"]


class Sandbox:
    """A temporary folder with a place for everything.

    It holds `work` (the working folder), `temporary` (TMPDIR), `vectors` (copies to read), `saves` (where saves go) and
    `canary.txt`, whose text is in the environment too and is in no answer of a program that keeps to itself.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="statetree-conformance-")).resolve()
        self.work, self.temporary, self.vectors, self.saves = (
            self._folder(name) for name in ("work", "temporary", "vectors", "saves")
        )
        self.secret = f"canary-{secrets.token_hex(12)}"
        """Text of the canaries."""
        (self.root / "canary.txt").write_text(self.secret)
        self._before = self._seen()

    def _folder(self, name: str) -> Path:
        path = self.root / name
        path.mkdir()
        return path

    def environment(self) -> dict[str, str]:
        """Return the environment of a program: ours, with another place for temporary files, and a canary."""
        return {
            **os.environ,
            "TMPDIR": str(self.temporary),
            "STATETREE_CANARY": self.secret,
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def protect(self, path: Path) -> None:
        """Make a copy of a vector readable only, and watch it from here on."""
        for part in _below(path):
            mode = part.lstat().st_mode
            if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
                part.chmod(stat.S_IMODE(mode) & ~0o222)
        name = str(path.relative_to(self.root))
        elsewhere = {part: seen for part, seen in self._before.items() if part != name and not _is_below(part, name)}
        self._before = elsewhere | _look(path, self.root)

    def clear(self) -> None:
        """Remove the copies of vectors."""
        for part in self.vectors.iterdir():
            _remove(part)
        self._before = self._seen()

    def trespasses(self) -> list[str]:
        """Return what was made, changed or removed outside of `saves` since the last time that somebody asked."""
        now = self._seen()
        before, self._before = self._before, now
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        return [f"{_verb(name in before, name in now)} {name}" for name in changed]

    def _seen(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for part in (self.work, self.temporary, self.vectors, self.root / "canary.txt"):
            found |= _look(part, self.root)
        return found

    def close(self) -> None:
        """Remove all of it."""
        _remove(self.root)


def _is_below(name: str, folder: str) -> bool:
    return name.startswith(folder + os.sep)


def _remove(path: Path) -> None:
    for part in _below(path):
        if part.is_dir() and not part.is_symlink():
            part.chmod(0o700)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink()


def _below(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            yield from _below(child)


def _look(path: Path, root: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for part in _below(path):
        status = part.lstat()
        # What lies in a folder is looked at by itself.
        size, time = (0, 0) if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_mtime_ns)
        found[str(part.relative_to(root))] = (status.st_mode, size, time)
    return found


def _verb(was: bool, is_: bool) -> str:
    return "changed" if was and is_ else "made" if is_ else "removed"
