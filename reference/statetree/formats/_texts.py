"""Texts: JSON, what a broken download leaves, and any other. Source: RFC 8259; the Git LFS specification."""

import re

from statetree.formats._sample import Recognised, Sample

__all__ = ["recognise_empty", "recognise_text"]

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def recognise_empty(sample: Sample) -> Recognised | None:
    """Recognise a file of no bytes."""
    if sample.names is not None or sample.file.size:
        return None
    return Recognised("empty", "an empty file", "nothing was saved in it, or a copy broke off: take it from its source")


def recognise_text(sample: Sample) -> Recognised | None:
    """Recognise UTF-8 text without control characters."""
    if not sample.head:
        return None
    cut = sample.file.size > len(sample.head)
    try:
        # The last character may be cut in the middle, at most three of its bytes.
        text = sample.head.decode("utf-8", "strict") if not cut else _decode_cut(sample.head)
    except UnicodeDecodeError:
        return None
    if _CONTROL.search(text):
        return None
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("version https://git-lfs"):
        return Recognised("git-lfs", "a Git LFS pointer in place of the file", "git lfs pull brings the file")
    if start[:15].lower().startswith(("<!doctype html", "<html")):
        return Recognised("html", "an HTML page, perhaps of a failed download", "download the file once more")
    if start[:1] in ("{", "["):
        return Recognised("json", "a JSON text", "statetree.save what json.load reads of it")
    return Recognised("text", "a text", "parse it, then statetree.save what it says")


def _decode_cut(head: bytes) -> str:
    for cut in range(4):
        try:
            return head[: len(head) - cut].decode("utf-8", "strict")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 4:
                raise
    return head.decode("utf-8", "strict")
