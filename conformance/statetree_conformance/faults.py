"""Faults of the file system: the module `os` with its n-th call failing. Source: spec rule C-4.

It works for every backend that reaches files through `statetree.files` alone.
"""

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from statetree import files

__all__ = ["FaultyOs", "died", "failing"]

_PURE = ("path", "fspath", "scandir", "walk")
"""What asks nothing of the system, or is an iterator that must be closed."""


class FaultyOs:
    """The module `os` with every call counted; the n-th fails, and nothing after it does.

    Args:
        at: number of the call that fails, from 1; 0 for none.
        fault: the exception that it raises.
        short: whether writes store half of what they are given.
    """

    def __init__(self, at: int, fault: BaseException | None, *, short: bool = False) -> None:
        self.calls: list[str] = []
        self._at = at
        self._fault = fault
        self._short = short

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if not callable(real) or name in _PURE:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self._at and self._fault is not None:
                raise self._fault
            if name == "pwritev" and self._short:
                pieces = [memoryview(piece).cast("B") for piece in args[1]]
                return real(args[0], [pieces[0][: max(1, len(pieces[0]) // 2)]], args[2])
            return real(*args, **kwargs)

        return call


@contextmanager
def failing(faulty: FaultyOs) -> Iterator[FaultyOs]:
    """Put `faulty` in the place of `os` in `statetree.files` for a while."""
    files.os = faulty  # type: ignore[attr-defined,assignment] # it stands for the module
    try:
        yield faulty
    finally:
        files.os = os  # type: ignore[attr-defined] # as it was


class _Killed(BaseException):
    """Stands for the end of the process."""


class _DyingOs(FaultyOs):
    """The module `os` of a process that is killed at its call number `at`: what is called from then on is not done."""

    def __init__(self, at: int) -> None:
        super().__init__(0, None)
        self.opened: set[int] = set()
        self._last = at

    def __getattr__(self, name: str) -> Any:
        call = super().__getattr__(name)
        if name in _PURE or not callable(call):
            return call

        def until_killed(*args: Any, **kwargs: Any) -> Any:
            if name == "close" and len(self.calls) + 1 >= self._last:
                # The system will close it. Nothing is raised, since objects close files when they are forgotten.
                self.calls.append("killed")
                return None
            self.check()
            result = call(*args, **kwargs)
            if name == "open":
                self.opened.add(result)
            elif name == "close":
                self.opened.discard(args[0])
            return result

        return until_killed

    @property
    def dead(self) -> bool:
        return len(self.calls) >= self._last

    def check(self) -> None:
        if len(self.calls) + 1 >= self._last:
            self.calls.append("killed")
            raise _Killed

    def rmtree(self, *args: Any, **kwargs: Any) -> None:
        """Stand for `shutil.rmtree`."""
        self.check()
        shutil.rmtree(*args, **kwargs)


def died(at: int, action: Callable[[], object]) -> bool:
    """Run `action` as in a process that is killed at its call number `at`; return whether it came to that.

    From that call on nothing is written, removed or renamed, and in the end the system closes what was open and so
    releases its locks. (A copy of the process could be killed, but may lock up where a library runs threads.)
    """
    dying = _DyingOs(at)
    files.shutil = dying  # type: ignore[attr-defined,assignment] # it stands for the module
    try:
        with failing(dying):
            with suppress(_Killed):
                action()
            # What still holds a file lets go of it now, as long as that means nothing.
            gc.collect(1)
    finally:
        files.shutil = shutil  # type: ignore[attr-defined] # as it was
    for fd in dying.opened:
        os.close(fd)
    return dying.dead
