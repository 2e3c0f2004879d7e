"""A program and its three pipes: nothing that it does or leaves undone makes the caller wait longer than it said.

Source: spec/conformance.md rule T-5. One thread, no blocking call; whatever the program prints is bounded.
"""

import os
import resource
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

__all__ = ["Broken", "Program"]

_LINE = 64 << 20
"""Most bytes of a line."""
_KEPT = 16 << 10
"""Bytes of standard error that are kept, the last ones."""
_PIECE = 1 << 16
_LIMITS = {
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_DATA: 6 << 30,  # not the address space, of which JavaScript engines reserve far more than they use
    resource.RLIMIT_FSIZE: 4 << 30,
}


class Broken(Exception):  # noqa: N818 - the talk is, whoever is to blame
    """The program did what ends the talk with it."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        """`crashed`, `timed out`, `garbage`, `flooded` or `closed`."""
        self.why = why
        """What it did."""


class Program:
    """A running program.

    Args:
        words: the program and its arguments.
        folder: its working folder.
        environment: all of its environment.

    Raises:
        Broken: it cannot be started.
    """

    def __init__(self, words: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                words, 0, None, pipe, pipe, pipe, cwd=folder, env=environment, start_new_session=True
            )
        except OSError as error:
            raise Broken("crashed", f"it cannot be started: {(error.strerror or str(error)).lower()}") from error
        self._read = b""
        self._scanned = 0
        self._unsent = b""
        self._said = b""
        self._selector = selectors.DefaultSelector()
        for stream in self._streams():
            os.set_blocking(stream.fileno(), False)
        for stream in self._streams()[1:]:
            self._selector.register(stream, selectors.EVENT_READ)
        for limit, value in _LIMITS.items():
            with suppress(OSError, ValueError):
                _lower(self._process.pid, limit, value)

    def _streams(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        return process.stdin, process.stdout, process.stderr

    @property
    def stderr(self) -> str:
        """The last of what it wrote to standard error."""
        return self._said.decode("utf-8", "replace")

    def send(self, line: bytes) -> None:
        """Queue a line for its standard input; it is written as the program takes it."""
        stdin = self._streams()[0]
        if not self._unsent:
            self._selector.register(stdin, selectors.EVENT_WRITE)
        self._unsent += line

    def line(self, timeout: float) -> bytes:
        """Return the next line of its standard output, without the line feed.

        Raises:
            Broken: there is none within `timeout` seconds, or there will be none.
        """
        deadline = time.monotonic() + timeout
        while True:
            end = self._read.find(b"\n", self._scanned)
            if end >= 0:
                line, self._read, self._scanned = self._read[:end], self._read[end + 1 :], 0
                return line
            self._scanned = len(self._read)
            if self._scanned > _LINE:
                raise Broken("flooded", f"it wrote more than {_LINE >> 20} MiB without a line feed")
            left = deadline - time.monotonic()
            if left <= 0:
                raise Broken("timed out", f"it was silent for {timeout:g} s")
            self._pump(min(left, 0.2))

    def _pump(self, timeout: float) -> None:
        ready = self._selector.select(timeout)
        stdin, stdout, stderr = self._streams()
        # What it said before it went away counts.
        for key, _ in sorted(ready, key=lambda pair: pair[0].fileobj is stdin):
            if key.fileobj is stdin:
                self._write()
            elif key.fileobj is stderr:
                self._said = (self._said + self._piece(stderr))[-_KEPT:]
            else:
                piece = self._piece(stdout)
                self._read += piece
                if not piece:
                    self._ended()
        if not ready and self._process.poll() is not None:
            self._ended()

    def _piece(self, stream: IO[bytes]) -> bytes:
        try:
            piece = os.read(stream.fileno(), _PIECE)
        except BlockingIOError:
            return b" "[:0]
        if not piece:
            self._selector.unregister(stream)
        return piece

    def _write(self) -> None:
        stdin = self._streams()[0]
        try:
            self._unsent = self._unsent[os.write(stdin.fileno(), self._unsent[:_PIECE]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._selector.unregister(stdin)
            if self._status(0.5) is not None:
                self._ended()
            raise Broken("closed", "it closed its standard input") from None
        if not self._unsent:
            self._selector.unregister(stdin)

    def _ended(self) -> NoReturn:
        status = self._status(0.5)
        if status is None:
            raise Broken("closed", "it closed its standard output and went on")
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        raise Broken("crashed", f"it ended {how}")

    def _status(self, timeout: float) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def end(self, timeout: float) -> str | None:
        """Close its input, wait until it ends, and return what was wrong with that, None if nothing."""
        try:
            while True:
                left = self.line(timeout)
                if left.strip():
                    return "it wrote a line that nobody asked for before it ended"
        except Broken as broken:
            if broken.kind == "timed out":
                return f"it had not ended {timeout:g} s after it was told to stop"
            return None if broken.why == "it ended with status 0" else f"{broken.why} when it was told to stop"
        finally:
            self.kill()

    def kill(self) -> None:
        """End it and all that it started; allowed twice."""
        with suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(OSError, ValueError):
            while self._said is not None and (piece := os.read(self._streams()[2].fileno(), _PIECE)):
                self._said = (self._said + piece)[-_KEPT:]
        self._selector.close()
        for stream in self._streams():
            with suppress(OSError):
                stream.close()
        self._process.wait()


def _lower(pid: int, limit: int, value: int) -> None:
    hard = resource.prlimit(pid, limit)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.prlimit(pid, limit, (value, hard))
