"""Children: a library that may crash on a hostile file, in a process of its own with limits. Source: docs/adr/0015.

A *nursery* is a process that has imported a library and forks a *child* for each file, so that only the first of many
waits for the import; it ends when it had nothing to do for a while. Parent and child speak MessagePack over a socket,
and never pickles: what a child says is to be trusted as little as the file that it has open.
"""

import atexit
import math
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from statetree.errors import Problem, StateTreeError, shown

__all__ = ["Budget", "Child", "tend"]

T = TypeVar("T")
Attend = Callable[[int | None], Callable[[Any], Any]]
"""Descriptor of a file → function that answers requests about it."""
_IDLE = 10.0
"""Seconds after which a nursery without children ends."""
_BIRTH = 60.0
"""Seconds that a nursery may take for importing its library."""
_FIRST = struct.Struct("<QdQ")
"""What a child is born with: bytes, seconds, size of its file."""
_LENGTH = struct.Struct("<Q")
_STATUS = struct.Struct("<i")
_ENVIRONMENT = {
    # Threads of a numerical library take address space and do not come through a fork.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # No filter of someone else is ever loaded.
    "HDF5_PLUGIN_PRELOAD": "::",
}
_DAMAGED = "the file is damaged: restore it from a copy"


@dataclass(frozen=True, slots=True)
class Budget:
    """What a child may take."""

    nbytes: int
    """Bytes of memory, beside what the library and the mapping of the file take."""
    seconds: float
    """Seconds of a processor for each answer."""
    wall: float = 4
    """Seconds of the clock for each of these: other programs want the processor too."""

    @property
    def patience(self) -> float:
        """Seconds of the clock for each answer."""
        return self.wall * self.seconds


class _Finding(msgspec.Struct, array_like=True, frozen=True):
    """A problem on its way from a child."""

    code: str
    expected: str
    found: str
    place: str | None
    remedy: str | None
    rule: str | None

    def problem(self) -> Problem:
        return Problem(self.code, self.expected, self.found, None, self.place, self.remedy, self.rule)


class _Answer(msgspec.Struct, array_like=True, frozen=True):
    """What a child says: a value, or why there is none."""

    value: msgspec.Raw = msgspec.Raw(b"\xc0")
    refused: list[_Finding] = []
    memory: bool = False
    bug: str = ""


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(_Answer).decode


# In the parent


class Child:
    """A process that answers requests about one file.

    Args:
        module: the module that answers; its function `attend` takes the file's descriptor and returns what answers.
        library: what to call the library in errors: `the HDF5 library`.
        file: descriptor of the file, of which the child gets a copy; None if it needs none.
        size: bytes of the file.
        budget: what the child may take.

    Raises:
        StoreIOError: no process can be started.
    """

    def __init__(self, module: str, library: str, file: int | None, size: int, budget: Budget) -> None:
        self._library = library
        self._budget = budget
        self._failed: Problem | None = None
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        self._status, status = os.pipe()
        self.close = weakref.finalize(self, _release, self._socket, self._status)
        """End the process; allowed twice."""
        try:
            fds = [theirs.fileno(), status, *([] if file is None else [file])]
            self._pid = _bear(module, _FIRST.pack(budget.nbytes, budget.seconds, size), fds, self._status)
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()
            os.close(status)

    def ask(self, request: Any, kind: type[T], place: str | None = None) -> T:
        """Return the answer to a request as `kind`; `place` is where a problem of the process itself is said to be.

        Raises:
            StateTreeError: what the child refuses; or it crashed, or took more than it may.
        """
        with self._lock:
            if self._failed is not None:
                raise self._failed.error()
            try:
                answer = self._exchange(_ENCODE(request))
            except _SilenceError as silence:
                self._failed = self._explain(silence, place)
                raise self._failed.error() from None
        if answer.memory:
            raise self._too_much(f"more than {self._budget.nbytes >> 20} MiB of memory", "LIMIT_BYTES", place).error()
        if answer.bug:
            raise RuntimeError(f"{self._library} in a process of its own: {shown(answer.bug, 2000)}")
        if answer.refused:
            raise answer.refused[0].problem().error()
        try:
            return msgspec.msgpack.decode(answer.value, type=kind)
        except msgspec.MsgspecError:
            raise self._nothing("an answer that is none", place).error() from None

    def _exchange(self, request: bytes) -> _Answer:
        until = time.monotonic() + self._budget.patience
        try:
            self._socket.settimeout(self._budget.patience)
            self._socket.sendall(_LENGTH.pack(len(request)) + request)
            (size,) = _LENGTH.unpack(_receive(self._socket, _LENGTH.size, until))
            if size > self._budget.nbytes:
                raise _SilenceError
            return _DECODE(_receive(self._socket, size, until))
        except TimeoutError:
            raise _SilenceError(late=True) from None
        except (OSError, EOFError, msgspec.MsgspecError):
            raise _SilenceError from None

    def _explain(self, silence: "_SilenceError", place: str | None) -> Problem:
        """Return why there was no answer, after making sure that the process has ended."""
        status = None if silence.late else _read_status(self._status, 5)
        if status is None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        ended = -os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
        if silence.late or ended == -signal.SIGXCPU:
            return self._too_much(f"more than {self._budget.seconds:g} seconds", "LIMIT_TIME", place)
        how = f"a crash ({signal.Signals(-ended).name})" if ended else "an answer that is none"
        return self._nothing(how, place)

    def _nothing(self, found: str, place: str | None) -> Problem:
        return Problem("CONTAINER_TRUNCATED", f"a file that {self._library} can read", found, None, place, _DAMAGED)

    def _too_much(self, found: str, code: str, place: str | None) -> Problem:
        option = "child_bytes" if code == "LIMIT_BYTES" else "child_seconds"
        expected = f"{self._library} to need no more than it may"
        return Problem(code, expected, found, None, place, f"raise limits=Limits({option}=…) if you trust the file")


class _SilenceError(Exception):
    def __init__(self, *, late: bool = False) -> None:
        super().__init__()
        self.late = late


def _release(ours: socket.socket, status: int) -> None:
    ours.close()
    with suppress(OSError):
        os.close(status)


def _receive(source: socket.socket, size: int, until: float) -> bytes:
    """Return `size` bytes, which take memory as they come and not before."""
    out = bytearray()
    while len(out) < size:
        source.settimeout(max(0.001, until - time.monotonic()))
        data = source.recv(min(size - len(out), 1 << 20))
        if not data:
            raise EOFError
        out += data
    return bytes(out)


def _read_status(status: int, seconds: float) -> int | None:
    """Return the next number that a nursery says of a child, None if it says none in time."""
    ready, _, _ = select.select([status], [], [], seconds)
    data = os.read(status, _STATUS.size) if ready else b""
    return int(_STATUS.unpack(data)[0]) if len(data) == _STATUS.size else None


class _Nursery:
    """The process that has imported a module."""

    def __init__(self, module: str) -> None:
        self.socket, theirs = socket.socketpair()
        lines = (
            "import importlib, sys; sys.path[:] = sys.argv[2:]",
            f"module = importlib.import_module({module!r})",
            "from statetree.child import tend",
            "tend(int(sys.argv[1]), module.attend)",
        )
        paths = [os.path.abspath(path) for path in sys.path]
        # -I: neither the environment nor the working folder may bring modules that this process has not.
        command = [sys.executable, "-I", "-c", "\n".join(lines), str(theirs.fileno()), *paths]
        with theirs:
            self._process = subprocess.Popen(
                command,
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, **_ENVIRONMENT},
            )

    def end(self) -> None:
        """Tell the process to end, and wait for it."""
        self.socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)


_NURSERIES: dict[str, _Nursery] = {}
_NURSERIES_LOCK = threading.Lock()


def _bear(module: str, first: bytes, fds: Sequence[int], status: int) -> int:
    """Return the number of a new child's process; the nursery tells by `status` how it ended."""
    try:
        with _NURSERIES_LOCK:
            # One that was idle has ended, or ends while it is asked.
            for _ in range(2):
                nursery = _NURSERIES.get(module)
                if nursery is None:
                    nursery = _NURSERIES[module] = _Nursery(module)
                with suppress(OSError):
                    socket.send_fds(nursery.socket, [first], fds)
                    # A nursery says nothing on its socket: that becomes readable when it ends.
                    select.select([status, nursery.socket.fileno()], [], [], _BIRTH)
                    pid = _read_status(status, 0)
                    if pid is not None:
                        return pid
                del _NURSERIES[module]
                nursery.end()
    except OSError as error:
        found = (error.strerror or "an error").lower()
        raise Problem("IO", "to start a process for a library", found).error() from error
    raise Problem("IO", "to start a process for a library", f"that {module} ends at once").error()


@atexit.register
def _end_all() -> None:
    while _NURSERIES:
        _NURSERIES.popitem()[1].end()


# A copy of this process has no part in the nurseries of the first.
os.register_at_fork(after_in_child=_NURSERIES.clear)


# In the nursery and its children


def tend(control: int, attend: Attend) -> None:
    """Fork a child for each message on the socket `control`, until that closes or nothing comes for a while."""
    parent = socket.socket(fileno=control)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [], None if children else _IDLE)
        if woken in ready:
            os.read(woken, 4096)
            _bury(children)
        if control in ready:
            message, fds, _, _ = socket.recv_fds(parent, _FIRST.size, 3)
            if not message:
                return
            pid = os.fork()
            if pid == 0:
                _live(message, fds, attend)
            os.write(fds[1], _STATUS.pack(pid))
            children[pid] = fds[1]
            for fd in (fds[0], *fds[2:]):
                os.close(fd)
        if not ready:
            return


def _bury(children: dict[int, int]) -> None:
    """Tell parents how their children ended."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        fd = children.pop(pid)
        with suppress(OSError):
            os.write(fd, _STATUS.pack(status))
        os.close(fd)


def _live(message: bytes, fds: Sequence[int], attend: Attend) -> None:
    """Answer requests until there are no more; never returns."""
    try:
        signal.set_wakeup_fd(-1)
        nbytes, seconds, size = _FIRST.unpack(message)
        _confine(nbytes + size)
        parent = socket.socket(fileno=fds[0])
        answer: Callable[[Any], Any] | None = None
        while True:
            head = parent.recv(_LENGTH.size, socket.MSG_WAITALL)
            if len(head) < _LENGTH.size:
                os._exit(0)
            request = parent.recv(_LENGTH.unpack(head)[0], socket.MSG_WAITALL)
            _allow(seconds)
            try:
                if answer is None:
                    answer = attend(fds[2] if len(fds) > 2 else None)
                said = _Answer(msgspec.Raw(_ENCODE(answer(msgspec.msgpack.decode(request)))))
            except StateTreeError as error:
                said = _Answer(refused=[_finding(problem) for problem in error.problems])
            except MemoryError:
                said = _Answer(memory=True)
            except Exception as error:
                said = _Answer(bug=f"{type(error).__name__}: {error}")
            data = _ENCODE(said)
            parent.sendall(_LENGTH.pack(len(data)) + data)
    finally:
        os._exit(1)


def _finding(problem: Problem) -> _Finding:
    return _Finding(problem.code, problem.expected, problem.found, problem.place, problem.remedy, problem.rule)


def _confine(nbytes: int) -> None:
    """Allow this process `nbytes` more of address space, and no files and no dumps to be written."""
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[0])
    _limit(resource.RLIMIT_AS, pages * resource.getpagesize() + nbytes)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_CORE, 0)


def _allow(seconds: float) -> None:
    """Allow this process so many more seconds of a processor."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    whole = math.ceil(used.ru_utime + used.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (whole if hard == resource.RLIM_INFINITY else min(whole, hard), hard))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))
