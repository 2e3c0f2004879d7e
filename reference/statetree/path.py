"""Paths: where a node stands in a state tree, and the text of that place. Source: spec section 5."""

import re
from typing import Any

from statetree.tree import Symbol

__all__ = ["Path", "PathSyntaxError", "parse_path", "path_text"]

Path = tuple[Any, ...]
"""Keys of dicts, positions of lists and tuples (int), field names of records (str), from the root."""


class PathSyntaxError(ValueError):
    """A text that is not the text of a path."""


_ESCAPES = (("~", "~0"), ("/", "~1"))
_TUPLE_ESCAPES = ((",", "~2"), (")", "~3"))


def path_text(path: Path) -> str:
    """Return the text of `path`; `parse_path` is its inverse.

    >>> path_text(("layers", 0, "a/b", Symbol("relu"), None, ("x", 1)))
    '/layers/#0/a~1b/:relu/~n/~(x,#1,)'
    """
    return "".join("/" + _key_text(key, _ESCAPES) for key in path)


def _key_text(key: Any, escapes: tuple[tuple[str, str], ...]) -> str:
    match key:
        case None:
            return "~n"
        case bool():
            return "~t" if key else "~f"
        case int():
            return f"#{key}" if abs(key) < 1 << 53 else f"#{'-' if key < 0 else ''}x{abs(key):x}"
        case str():
            return ("~s" if key[:1] in ("#", ":") else "") + _escape(key, escapes)
        case Symbol():
            return ":" + _escape(key.name, escapes)
        case bytes():
            return "~b" + key.hex()
        case _:
            return "~(" + "".join(_key_text(k, _ESCAPES + _TUPLE_ESCAPES) + "," for k in key) + ")"


def _escape(text: str, escapes: tuple[tuple[str, str], ...]) -> str:
    for plain, escaped in escapes:
        text = text.replace(plain, escaped)
    return text


_INT = re.compile(r"#(0|-?[1-9][0-9]{0,15})|#(-?)x([1-9a-f][0-9a-f]*)")
_TEXT = re.compile(r"(?:[^~/]|~[01])*")
_TUPLE_TEXT = re.compile(r"(?:[^~/,)]|~[0123])*")


def parse_path(text: str) -> Path:
    """Return the path whose text is `text`.

    >>> parse_path("/layers/#0/weight")
    ('layers', 0, 'weight')

    Raises:
        ValueError: `text` is not the text of a path; every path has exactly one.
    """
    path: list[Any] = []
    at = 0
    while at < len(text):
        if text[at] != "/":
            raise PathSyntaxError(f"expected '/' at character {at} of the path {text!r}")
        key, at = _parse_key(text, at + 1, inside=False)
        path.append(key)
    if path_text(tuple(path)) != text:
        raise PathSyntaxError(f"expected the path written as {path_text(tuple(path))!r}, got {text!r}")
    return tuple(path)


def _parse_key(text: str, at: int, *, inside: bool) -> tuple[Any, int]:
    match text[at : at + 1], text[at : at + 2]:
        case _, "~n":
            return None, at + 2
        case _, "~t":
            return True, at + 2
        case _, "~f":
            return False, at + 2
        case _, "~b":
            digits = re.compile(r"(?:[0-9a-f]{2})*").match(text, at + 2)
            assert digits is not None
            return bytes.fromhex(digits[0]), digits.end()
        case _, "~s":
            return _parse_text(text, at + 2, inside)
        case _, "~(":
            return _parse_tuple(text, at + 2)
        case ":", _:
            name, end = _parse_text(text, at + 1, inside)
            return Symbol(name), end
        case "#", _:
            number = _INT.match(text, at)
            if number is None:
                raise PathSyntaxError(
                    f"expected an integer after '#' at character {at} of the path {text!r}; "
                    "a str key that starts with '#' is written ~s#"
                )
            value = int(number[1]) if number[1] else int(number[2] + number[3], 16)
            return value, number.end()
        case _:
            return _parse_text(text, at, inside)


def _parse_text(text: str, at: int, inside: bool) -> tuple[str, int]:
    found = (_TUPLE_TEXT if inside else _TEXT).match(text, at)
    assert found is not None
    plain = found[0]
    for char, escaped in reversed(_ESCAPES + _TUPLE_ESCAPES if inside else _ESCAPES):
        plain = plain.replace(escaped, char)
    return plain, found.end()


def _parse_tuple(text: str, at: int) -> tuple[Path, int]:
    keys: list[Any] = []
    while text[at : at + 1] != ")":
        key, at = _parse_key(text, at, inside=True)
        if text[at : at + 1] != ",":
            raise PathSyntaxError(f"expected ',' at character {at} of the path {text!r}")
        keys.append(key)
        at += 1
    return tuple(keys), at + 1
