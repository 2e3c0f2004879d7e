"""The version of the format: the one that is written here, and those that can be read. Source: spec section 4.3."""

import re
from typing import Any

from statetree.errors import fail, shown

__all__ = ["MAJOR", "MINOR", "NEWER", "VERSION", "check_major", "check_version"]

MAJOR, MINOR = 1, 0
VERSION = f"{MAJOR}.{MINOR}"
"""The version that this implementation writes."""
NEWER = "read it with a newer statetree: pip install -U statetree"
"""The remedy for files of later versions."""
_FORM = re.compile(r"(0|[1-9][0-9]{0,14})\.(?:0|[1-9][0-9]{0,14})")


def check_version(version: Any, place: str) -> None:
    """Refuse a version, as JSON or BSON gives it, that this reader cannot read.

    Raises:
        MalformedError: no text "MAJOR.MINOR".
        UnsupportedError: another major version.
    """
    parts = _FORM.fullmatch(version) if type(version) is str else None
    if parts is None:
        found, remedy = shown(repr(version), 40), "write the file with a conforming writer"
        fail("VERSION_FORM", 'a version such as "1.0"', found, place=place, remedy=remedy)
    if int(parts[1]) != MAJOR:
        _other_major(version, place)


def check_major(major: int, place: str) -> None:
    """Refuse a major version that is a number of its own.

    Raises:
        UnsupportedError: another one.
    """
    if major != MAJOR:
        _other_major(str(major), place)


def _other_major(version: str, place: str) -> None:
    fail("VERSION_MAJOR", f"format version {MAJOR}", f"version {version}", place=place, remedy=NEWER)
