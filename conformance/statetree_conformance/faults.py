"""Faults of the file system: the module `os` with its n-th call failing. Source: spec rule C-4.

It works for every backend that reaches files through `statetree.files` alone.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from statetree import files

__all__ = ["FaultyOs", "died", "failing"]

_PURE = ("path", "fspath", "scandir", "walk")
"""What asks nothing of the system, or is an iterator that must be closed."""
_DIED = 9


class FaultyOs:
    """The module `os` with every call counted; the n-th fails, and nothing after it does.

    Args:
        at: number of the call that fails, from 1; 0 for none.
        fault: the exception that it raises, or what it does instead.
        short: whether writes store half of what they are given.
    """

    def __init__(self, at: int, fault: BaseException | Callable[[], object] | None, *, short: bool = False) -> None:
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
            if len(self.calls) == self._at:
                self._fail()
            if name == "pwritev" and self._short:
                pieces = [memoryview(piece).cast("B") for piece in args[1]]
                return real(args[0], [pieces[0][: max(1, len(pieces[0]) // 2)]], args[2])
            return real(*args, **kwargs)

        return call

    def _fail(self) -> None:
        if isinstance(self._fault, BaseException):
            raise self._fault
        if self._fault is not None:
            self._fault()


@contextmanager
def failing(faulty: FaultyOs) -> Iterator[FaultyOs]:
    """Put `faulty` in the place of `os` in `statetree.files` for a while."""
    files.os = faulty  # type: ignore[attr-defined,assignment] # it stands for the module
    try:
        yield faulty
    finally:
        files.os = os  # type: ignore[attr-defined] # as it was


def died(at: int, action: Callable[[], object]) -> bool:
    """Run `action` in a copy of this process that ends at its call number `at`; return whether it came to that.

    The end is that of a killed process: nothing is flushed, closed or removed, and the system releases its locks.
    """
    child = os.fork()
    if child == 0:
        try:
            with failing(FaultyOs(at, lambda: os._exit(_DIED))):
                action()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == _DIED
