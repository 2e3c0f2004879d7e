"""Load every invalid vector under an audit hook that notes what runs code, imports, or opens a file elsewhere.

Run in a process of its own, since an audit hook cannot be taken away: `python audited_loads.py FOLDER`.
"""

import contextlib
import functools
import json
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import statetree
from statetree_conformance.vectors import Vector, materialise, vectors

NEVER = {
    *("pickle.find_class", "exec", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "marshal.loads"),
    *("import", "ctypes.dlopen", "socket.connect", "socket.bind"),
}
OPENS = {
    "open",
    "os.listdir",
    "os.scandir",
    "os.truncate",
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.symlink",
    "os.link",
}

ALWAYS = {"/proc/meminfo"}
"""Read to know how much memory is free, whatever the file is."""


class Watch:
    """What was seen while it was armed."""

    def __init__(self, folder: Path) -> None:
        self.folder = f"{folder}{os.sep}"
        self.armed = False
        self.about = ""
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.armed and (event in NEVER or (event in OPENS and not self.inside(event, arguments))):
            self.armed = False
            self.seen.append(f"{self.about}: {event} {str(arguments)[:200]}")
            self.armed = True

    def inside(self, event: str, arguments: tuple[Any, ...]) -> bool:
        """Whether a path is in the folder, and not a link that is followed; a descriptor was opened before."""
        path = arguments[0]
        if not isinstance(path, str | bytes | os.PathLike) or path in ALWAYS:
            return True
        found = os.path.normpath(os.path.join(self.folder, os.fsdecode(path)))
        kept = event != "open" or not os.path.islink(found) or bool(arguments[2] & os.O_NOFOLLOW)
        return f"{found}{os.sep}".startswith(self.folder) and kept


def load(vector: Vector, path: Path) -> None:
    """Load and validate a vector; that it is refused is shown elsewhere."""
    limits = statetree.Limits(**(vector.limits or {}))
    with contextlib.suppress(statetree.StateTreeError):
        statetree.load(path, limits=limits)
    with contextlib.suppress(statetree.StateTreeError):
        statetree.validate(path, limits=limits)


def self_test(watch: Watch) -> list[str]:
    """Return the events that the hook sees when they happen, and forget them again."""
    watch.armed = True
    exec("1")
    with contextlib.suppress(ImportError):
        import no_such_module  # type: ignore[import-not-found]  # noqa: F401
    open(os.devnull, "rb").close()
    for event, argument in (("os.system", "true"), ("pickle.find_class", "os"), ("subprocess.Popen", "true")):
        sys.audit(event, argument, argument)
    watch.armed = False
    found = {line.split()[1] for line in watch.seen}
    watch.seen.clear()
    return sorted(found)


def main(folder: Path) -> None:
    """Load all, and print what was seen as JSON."""
    folder = folder.resolve()
    os.chdir(folder)
    tempfile.tempdir = str(folder)
    watch = Watch(folder)
    sys.addaudithook(watch)
    paths = [(vector, materialise(vector, folder)) for vector in vectors("invalid") if not vector.slow]
    # Which backends and formats are installed does not depend on a file.
    metadata.entry_points = functools.cache(metadata.entry_points)
    for vector, path in paths:  # what is loaded when it is first needed is loaded now
        load(vector, path)
    armed = self_test(watch)
    for vector, path in paths:
        watch.about, watch.armed = vector.id, True
        load(vector, path)
        watch.armed = False
    print(json.dumps({"vectors": len(paths), "armed": armed, "seen": watch.seen}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
