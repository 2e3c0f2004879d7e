"""BSON documents up to their payload: the same bytes for who writes and who checks. Source: spec section 7.5."""

import struct

from statetree.store import ArraySpec
from statetree_backends._bson_file import ALIGN

__all__ = ["Heads", "with_data"]

_INT32 = struct.Struct("<i").pack
_SIZE = struct.Struct("<iB").pack
_FIRST = struct.Struct("<i7si3si6si")
"""The length of a data document, its elements `array` and `n`, and `name` up to its text."""
_PADS = [b"\x05pad\0" + _SIZE(size, 0) + bytes(size) + b"\x05data\0" for size in range(ALIGN)]
_PADDED = 21
"""Bytes that `pad` and `data` take beside those that they hold."""


def with_data(body: bytes, at: int, size: int) -> bytes:
    """Return a document up to its payload: `body`, padding, and `data` of `size` bytes, aligned in the file.

    Args:
        body: the elements that come first, encoded.
        at: file offset of the document.
        size: bytes of the payload, which a zero byte follows.
    """
    pad = -(at + 4 + len(body) + _PADDED) % ALIGN
    return b"%b%b%b%b" % (_INT32(4 + len(body) + _PADDED + pad + size + 1), body, _PADS[pad], _SIZE(size, 0))


class Heads:
    """Beginnings of the data documents of one file.

    Args:
        compression: that of the file.
    """

    def __init__(self, compression: str | None) -> None:
        self._compression = compression
        self._kinds: dict[tuple[str, tuple[int, ...]], bytes] = {}

    def of(self, spec: ArraySpec, index: int, n: int, size: int, at: int) -> bytes:
        """Return the data document of piece `n` of an array up to its payload of `size` bytes; it begins at `at`."""
        kind = self._kinds.get((spec.dtype, spec.shape))
        if kind is None:
            kind = self._kinds[spec.dtype, spec.shape] = self._kind(spec)
        name = spec.name.encode()
        body = _FIRST.size + len(name) + 1 + len(kind)
        pad = -(at + body + _PADDED) % ALIGN
        length = body + _PADDED + pad + size + 1
        first = _FIRST.pack(length, b"\x10array\0", index, b"\x10n\0", n, b"\x02name\0", len(name) + 1)
        return b"%b%b\0%b%b%b" % (first, name, kind, _PADS[pad], _SIZE(size, 0))

    def _kind(self, spec: ArraySpec) -> bytes:
        """Return the elements `dtype`, `shape` and `compression`, which arrays of one kind share."""
        axes = [b"\x12%d\0%b" % (axis, extent.to_bytes(8, "little")) for axis, extent in enumerate(spec.shape)]
        shape = b"".join(axes)
        texts = b"\x02dtype\0%b" % _string(spec.dtype), b"\x04shape\0%b%b\0" % (_INT32(len(shape) + 5), shape)
        compression = b"" if self._compression is None else b"\x02compression\0%b" % _string(self._compression)
        return b"".join(texts) + compression


def _string(text: str) -> bytes:
    raw = text.encode()
    return _INT32(len(raw) + 1) + raw + b"\0"
