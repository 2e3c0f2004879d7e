"""The info text: who wrote a file and when, and what the user adds beside the tree. Source: spec section 4.4."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from statetree.canonical import decode_json, encode_json
from statetree.decode import Decoder
from statetree.encode import encode
from statetree.errors import fail, shown
from statetree.limits import Limits

__all__ = ["decode_info", "encode_info"]

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_REMEDY = "write the file with a conforming writer"


def encode_info(user: Mapping[str, Any] | None, limits: Limits) -> bytes:
    """Return the info text of a file written now; `user` is a dict of plain values without arrays.

    Raises:
        WriteError: `user` holds an array or something that no tree may hold.
        LimitError: the text is larger than `limits` allow.
    """
    if not isinstance(user, Mapping | None):
        fail("USAGE", "a mapping as info=", type(user).__name__, remedy="give a dict such as {'step': 7}")
    encoded = encode(dict(user or {}), limits)
    if encoded.arrays:
        fail(
            "WRITE_TYPE",
            "plain values in info=",
            "an array",
            path=encoded.first_path,
            remedy="put arrays into the tree",
        )
    time = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = encode_json({"time": time, "user": encoded.node, "writer": f"statetree {version('statetree')}"})
    _check_size(text, limits, None)
    return text


def decode_info(text: bytes, limits: Limits, place: str) -> dict[str, Any]:
    """Return an info text as {"time", "user", "writer"}.

    Raises:
        StateTreeError: it is not an info text.
    """
    _check_size(text, limits, place)
    value = decode_json(text, place)
    good = type(value) is dict and value.keys() == {"time", "user", "writer"}
    if not good or any(type(value[name]) is not str for name in ("time", "writer")):
        fail("INFO_FORM", "the members time, user and writer", "others", place=place, remedy=_REMEDY)
    if not _TIME.fullmatch(value["time"]):
        found = shown(repr(value["time"]), 40)
        fail("INFO_FORM", "a time such as 2026-01-02T03:04:05Z", found, place=place, remedy=_REMEDY)
    user = Decoder((), limits).decode(value["user"])
    if type(user) is not dict:
        fail("INFO_FORM", "'user' as a dict", type(user).__name__, place=place, remedy=_REMEDY)
    return {"time": value["time"], "user": user, "writer": value["writer"]}


def _check_size(text: bytes, limits: Limits, place: str | None) -> None:
    if len(text) > limits.info_bytes:
        expected, found = f"an info text of at most {limits.info_bytes} bytes", f"{len(text)} bytes"
        fail("LIMIT_MANIFEST", expected, found, place=place, remedy="raise limits=Limits(info_bytes=…)")
