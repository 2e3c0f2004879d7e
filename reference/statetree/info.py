"""The info text: who wrote a file and when, and what the user adds beside the tree. Source: spec section 4.4."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from statetree.canonical import decode_json, encode_json
from statetree.decode import Decoder
from statetree.encode import encode
from statetree.errors import fail
from statetree.limits import Limits

__all__ = ["decode_info", "encode_info"]


def encode_info(user: Mapping[str, Any] | None, limits: Limits) -> bytes:
    """Return the info text of a file written now; `user` is a dict of plain values without arrays.

    Raises:
        WriteError: `user` holds an array or something that no tree may hold.
    """
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
    return encode_json({"time": time, "user": encoded.node, "writer": f"statetree {version('statetree')}"})


def decode_info(text: bytes, limits: Limits, place: str) -> dict[str, Any]:
    """Return an info text as {"time", "user", "writer"}.

    Raises:
        StateTreeError: it is not an info text.
    """
    if len(text) > limits.info_bytes:
        fail(
            "LIMIT_MANIFEST",
            f"an info text of at most {limits.info_bytes} bytes",
            f"{len(text)} bytes",
            place=place,
        )
    value = decode_json(text, place)
    good = type(value) is dict and value.keys() == {"time", "user", "writer"}
    if not good or any(type(value[name]) is not str for name in ("time", "writer")):
        fail(
            "INFO_FORM",
            "the members time, user and writer",
            "others",
            place=place,
            remedy="write the file with a conforming writer",
        )
    user = Decoder((), limits).decode(value["user"])
    if type(user) is not dict:
        fail(
            "INFO_FORM",
            "'user' as a dict",
            type(user).__name__,
            place=place,
            remedy="write the file with a conforming writer",
        )
    return {"time": value["time"], "user": user, "writer": value["writer"]}
