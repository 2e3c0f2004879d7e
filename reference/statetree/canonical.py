"""Canonical JSON: the one text of a JSON value, and what is wrong with any other. Source: spec section 4.1."""

import json
import re
from typing import Any, NoReturn

import msgspec

from statetree.errors import Problem, raise_problem, shown

__all__ = ["decode_json", "encode_json", "explain_json", "no_float"]


def no_float(digits: str) -> NoReturn:
    """Refuse a JSON number that is no integer; the hook of every decoder of canonical texts."""
    raise ValueError(digits)


_ENCODER = msgspec.json.Encoder(order="sorted")
_DECODER = msgspec.json.Decoder(float_hook=no_float)
JSON_LEVELS = 128
"""Nesting that every common parser takes; no canonical text of the format is deeper."""


def encode_json(value: Any) -> bytes:
    """Return the canonical text of a JSON value without floats: members sorted, no white space, raw UTF-8.

    >>> encode_json({"b": [1, None], "a": "σ"}).decode()
    '{"a":"σ","b":[1,null]}'
    """
    return _ENCODER.encode(value)


def decode_json(text: bytes, place: str) -> Any:
    """Return the value of a canonical JSON text; `place` names the text in errors.

    Raises:
        MalformedError: `text` is not JSON, or not the canonical text of its value.
        LimitError: it is nested deeper than 128 levels.
    """
    try:
        value = _DECODER.decode(text)
        if encode_json(value) == text and _levels(text) <= JSON_LEVELS:
            return value
    except (msgspec.MsgspecError, ValueError, RecursionError):
        pass
    raise_problem(explain_json(text, place)[0])


class _Found(Exception):  # noqa: N818 - carries a finding out of the parser's hooks
    pass


def _found(code: str, expected: str, found: str, place: str) -> Problem:
    return Problem(code, expected, found, place=place, remedy="write the file with a conforming writer", rule="J-1")


def explain_json(text: bytes, place: str) -> tuple[Problem, Any]:
    """Return why `text` is not canonical, and its value; Ellipsis if it has none.

    Only ever called on texts that are wrong, so it may be slow.
    """
    value: Any = ...

    def stop(code: str, expected: str, found: str) -> NoReturn:
        raise _Found(_found(code, expected, found, place))

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(items)
        if len(value) != len(items):
            seen: set[str] = set()
            twice = next(name for name, _ in items if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            stop("JSON_DUPLICATE_KEY", "unique member names", f"{shown(twice)!r} twice")
        return value

    def number(digits: str) -> int:
        if len(digits) > 17:
            stop("JSON_NUMBER_RANGE", "an integer within ±(2^53−1)", f"a number of {len(digits)} characters")
        if digits == "-0":
            stop("JSON_NUMBER_FORM", "an integer", "-0")
        return int(digits)

    def real(digits: str) -> NoReturn:
        if float(digits) in (float("inf"), float("-inf")):
            stop("JSON_NUMBER_RANGE", "an integer within ±(2^53−1)", shown(digits, 40))
        stop("JSON_NUMBER_FORM", "an integer", shown(digits, 40))

    try:
        if _levels(text) > JSON_LEVELS:
            stop("LIMIT_DEPTH", f"at most {JSON_LEVELS} levels of JSON", "more")
        parsed = json.loads(
            _unicode(text, stop),
            object_pairs_hook=pairs,
            parse_int=number,
            parse_float=real,
            parse_constant=lambda name: stop("JSON_NONFINITE", "a JSON value", name),
        )
        _no_surrogates(parsed, stop)
        value = parsed
        stop(
            "NOT_CANONICAL",
            "canonical JSON",
            f"another text of the same value{_first_difference(text, value)}",
        )
    except _Found as found:
        problem: Problem = found.args[0]
    except json.JSONDecodeError as error:
        problem = _found("JSON_SYNTAX", "JSON", f"{error.msg.lower()} at character {error.pos}", place)
    return problem, value


def _levels(text: bytes) -> int:
    """Return how deep the brackets of `text` nest outside of strings."""
    deepest = level = 0
    for bracket in re.findall(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        if bracket in (b"[", b"{"):
            level += 1
            deepest = max(deepest, level)
        elif bracket in (b"]", b"}"):
            level -= 1
    return deepest


def _unicode(text: bytes, stop: Any) -> str:
    if text.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or text[1:2] == b"\0" or text[:1] == b"\0":
        stop("JSON_ENCODING", "UTF-8 without a byte order mark", "a byte order mark or UTF-16")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        stop("JSON_ENCODING", "UTF-8", f"byte 0x{text[error.start]:02x} at {error.start}")
        raise  # not reached: stop raises


def _no_surrogates(value: Any, stop: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        stop("TEXT_SURROGATE", "text without lone surrogates", "a lone surrogate")


def _first_difference(text: bytes, value: Any) -> str:
    try:
        right = encode_json(value)
    except (TypeError, ValueError, msgspec.MsgspecError):
        return ""
    at = next((i for i, (a, b) in enumerate(zip(text, right, strict=False)) if a != b), min(len(text), len(right)))
    return f", first different at byte {at}"
