"""Lines between a runner and a subject: what they may be. Source: spec/conformance.md section 3.

The schema `protocol` says the same for programs of any language; tests hold the two against each other.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["VERBS", "Capabilities", "Message", "answer_problem", "capabilities", "decode_line", "encode_line"]

Message = dict[str, Any]
VERSION = 1
VERBS = ("load", "validate", "save")
RESULTS = ("accepted", "rejected", "skipped", "errored")
USES = {"load": "read", "validate": "read", "save": "write"}
"""What a verb does to a container, in the words of a subject's capabilities."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a subject says of itself when it is started."""

    name: str
    """Name of the implementation."""
    language: str
    """What it is written in."""
    version: str
    """Its own version."""
    versions: tuple[str, ...]
    """Versions of the format."""
    containers: Mapping[str, tuple[str, ...]]
    """Container → `read`, `write`, both or neither."""
    verbs: tuple[str, ...]
    """Verbs that it has."""

    def has(self, verb: str, container: str) -> bool:
        """Whether it says that it can do this."""
        return verb in self.verbs and USES[verb] in self.containers.get(container, ())


def encode_line(message: Mapping[str, Any]) -> bytes:
    """Return a message as one line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def decode_line(line: bytes) -> Message:
    """Return the object on a line.

    >>> decode_line(b'{"seq":1,"result":"accepted"}')
    {'seq': 1, 'result': 'accepted'}

    Raises:
        ValueError: it is none; the text says why.
    """
    try:
        value = json.loads(line.decode("utf-8"))
    except RecursionError:
        raise ValueError("JSON nested too deep") from None
    except ValueError as error:
        raise ValueError(f"no JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"JSON that is no object ({type(value).__name__})")
    return value


def capabilities(answer: Message) -> Capabilities:
    """Return what a subject says of itself.

    Raises:
        ValueError: it is no answer to `start`.
    """
    if answer.get("protocol") != VERSION or isinstance(answer.get("protocol"), bool):
        raise ValueError(f"protocol {answer.get('protocol')!r} in place of {VERSION}")
    for name, holds in _START.items():
        if not holds(answer.get(name)):
            raise ValueError(f"'{name}' of another form")
    about = answer["implementation"]
    return Capabilities(
        about["name"],
        about["language"],
        about["version"],
        tuple(answer["versions"]),
        {name: tuple(uses) for name, uses in answer["containers"].items()},
        tuple(answer["verbs"]),
    )


def answer_problem(answer: Message) -> str | None:
    """Return what keeps an answer to `run` from being one, None if nothing does."""
    seq, result = answer.get("seq"), answer.get("result")
    if isinstance(seq, bool) or not isinstance(seq, int | str):
        return "an answer without the seq of a request"
    if result not in RESULTS:
        return f"the result {result!r}"[:80]
    wanted, allowed = _MEMBERS[result]
    for name, holds in wanted.items():
        if not holds(answer.get(name)):
            return f"{result} without '{name}'" if name not in answer else f"'{name}' of another form"
    for name, holds in allowed.items():
        if name in answer and not holds(answer[name]):
            return f"'{name}' of another form"
    more = sorted(answer.keys() - {"seq", "result"} - wanted.keys() - allowed.keys())
    return f"the member {more[0]!r} of {result}"[:80] if more else None


_Form = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


_START: dict[str, _Form] = {
    "implementation": lambda v: isinstance(v, dict) and all(_text(v.get(n)) for n in ("name", "language", "version")),
    "versions": _texts,
    "containers": lambda v: isinstance(v, dict) and all(_texts(u) and {*u} <= {"read", "write"} for u in v.values()),
    "verbs": lambda v: _texts(v) and {*v} <= {*VERBS},
}
_MEMBERS: dict[str, tuple[dict[str, _Form], dict[str, _Form]]] = {
    "accepted": ({}, {"tree": lambda v: isinstance(v, dict), "digest": _text}),
    "rejected": ({"class": _text, "code": _text}, {"problems": lambda v: isinstance(v, list)}),
    "skipped": ({"reason": _text}, {}),
    "errored": ({"reason": _text}, {}),
}
"""Result → members that it must have, and may have."""
