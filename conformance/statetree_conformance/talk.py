"""A talk with a subject: requests in, a reply to each of them out, whatever the subject does. Source: rules T-5 to T-7.

Strategy: requests are sent many at a time. If anything goes wrong with some of them (the subject ends, is silent,
prints what is no answer, writes where it must not), it is started anew and asked for each of them alone, so that the
fault is found where it is.
"""

import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from statetree_conformance.program import Broken, Program
from statetree_conformance.protocol import (
    Capabilities,
    Message,
    answer_problem,
    capabilities,
    decode_line,
    encode_line,
)
from statetree_conformance.sandbox import Sandbox

__all__ = ["Reply", "Talk"]

_SILENT, _BROKEN = 3, 60
"""How often a subject may be silent for too long, and break the talk at all, before it is asked no more."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one request."""

    kind: str
    """A result of the protocol, or what the runner saw: `crashed`, `timed out`, `garbage`, `flooded`, `closed`,
    `trespassed`, `told a secret`, `not asked`."""
    answer: Mapping[str, Any] = field(default_factory=dict)
    """The answer, if there was one."""
    why: str = ""
    """Why there was none, or what else was wrong."""
    seconds: float = 0.0
    """How long it took; of what was asked in one breath, an equal share."""


class Talk:
    """A subject that is asked, watched, and started anew where it breaks.

    Args:
        command: the program and its arguments as one text; files of the working folder are found.
        timeout: seconds of silence that end the talk.

    Raises:
        Broken: it cannot be started, or says nothing that could be understood.
    """

    def __init__(self, command: str, *, timeout: float = 90.0) -> None:
        words = shlex.split(command)
        self._words = [str(Path(word).absolute()) if Path(word).is_file() else word for word in words]
        self._timeout = timeout
        self._seq = 0
        self._breaks: list[str] = []
        self.sandbox = Sandbox()
        """Where it works."""
        self.complaints: list[str] = []
        """What went wrong once and not again when it was asked alone."""
        self.stderr = ""
        """The last of what it said before it broke."""
        try:
            self.capabilities: Capabilities = self._begin()
            """What it says that it can do."""
        except Broken:
            self.sandbox.close()
            raise

    def _begin(self) -> Capabilities:
        self._program = Program(self._words, self.sandbox.work, self.sandbox.environment())
        try:
            self._program.send(encode_line({"cmd": "start", "protocol": 1}))
            return capabilities(self._read())
        except ValueError as error:
            self._end()
            raise Broken("garbage", f"it answered start with {error}") from error
        except Broken:
            self._end()
            raise

    def _end(self) -> None:
        self._program.kill()
        self.stderr = self._program.stderr

    def _read(self) -> Message:
        """Return the next line as an object.

        Raises:
            Broken: there is none, or it holds the secret of the sandbox.
            ValueError: it is no object.
        """
        line = self._program.line(self._timeout)
        if self.sandbox.secret.encode() in line:
            raise Broken("told a secret", "its answer holds what it could only find outside of what it was given")
        return decode_line(line)

    @property
    def given_up(self) -> str | None:
        """Why it is asked no more, None if it still is."""
        for kind, most in (("timed out", _SILENT), ("", _BROKEN)):
            if sum(kind in found for found in self._breaks) >= most:
                return f"it broke the talk {len(self._breaks)} times, at last because {self._breaks[-1]}"
        return None

    def ask(self, requests: Sequence[Mapping[str, Any]]) -> list[Reply]:
        """Return the reply to each request, in their order; each holds what `run` needs but `cmd` and `seq`."""
        if self.given_up is not None:
            return [Reply("not asked", why=self.given_up) for _ in requests]
        begun = time.monotonic()
        try:
            answers = self._exchange(requests)
            trespasses = self.sandbox.trespasses()
            wrong = Broken("trespassed", ", ".join(trespasses)) if trespasses else None
        except Broken as broken:
            wrong = broken
            self._restart(broken)
        if wrong is None:
            seconds = (time.monotonic() - begun) / max(1, len(requests))
            return [Reply(answer["result"], answer, answer.get("reason", ""), seconds) for answer in answers]
        if len(requests) == 1:
            return [Reply(wrong.kind, why=wrong.why, seconds=time.monotonic() - begun)]
        alone = [self.ask([request])[0] for request in requests]
        if all(reply.answer for reply in alone):
            self.complaints.append(f"{wrong.why} when it was asked {len(requests)} things at once, and not again alone")
        return alone

    def _exchange(self, requests: Sequence[Mapping[str, Any]]) -> list[Message]:
        wanted = range(self._seq + 1, self._seq + 1 + len(requests))
        self._seq += len(requests)
        found: dict[Any, Message] = {}
        for seq, request in zip(wanted, requests, strict=True):
            self._program.send(encode_line({"cmd": "run", "seq": seq, **request, "timeout": self._timeout}))
        while len(found) < len(wanted):
            try:
                answer = self._read()
                problem = answer_problem(answer)
            except ValueError as error:
                problem = str(error)
            if problem is not None:
                raise Broken("garbage", f"it wrote {problem}")
            seq = answer["seq"]
            if seq not in wanted or seq in found:
                raise Broken("garbage", f"it answered {seq!r}, which it was not asked, or not any more")
            found[seq] = answer
        return [found[seq] for seq in wanted]

    def _restart(self, broken: Broken) -> None:
        self._end()
        self._breaks.append(f"it {broken.kind}: {broken.why}")
        if self.given_up is None:
            try:
                self._begin()
            except Broken as again:
                # It started once; if it does not any more, there is nobody to ask.
                self._breaks += [f"it cannot be started again: {again.why}"] * _BROKEN

    def close(self) -> None:
        """Tell it to stop, and remove the sandbox."""
        if self.given_up is None:
            self._program.send(encode_line({"cmd": "stop"}))
            problem = self._program.end(5.0)
            if problem is not None:
                self.complaints.append(problem)
        else:
            self._end()
        self.sandbox.close()
