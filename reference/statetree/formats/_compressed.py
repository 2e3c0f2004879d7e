"""Compressed files: unpacked for a first piece, to see whether a pickle is in it. Source: RFC 1950, 1952; xz, bzip2."""

import bz2
import lzma
import zlib
from collections.abc import Callable

from statetree.formats._sample import Bytes, Recognised, Sample
from statetree.formats.pickles import pickle_in

__all__ = ["inflate", "recognise_compressed"]

_PIECE = 1 << 20
_MEMORY = 1 << 27
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: zlib.decompressobj(31).decompress(data, _PIECE),
    "zlib": lambda data: zlib.decompressobj(15).decompress(data, _PIECE),
    "bzip2": lambda data: bz2.BZ2Decompressor().decompress(data, _PIECE),
    "xz": lambda data: lzma.LZMADecompressor(lzma.FORMAT_XZ, _MEMORY).decompress(data, _PIECE),
    "lzma": lambda data: lzma.LZMADecompressor(lzma.FORMAT_ALONE, _MEMORY).decompress(data, _PIECE),
}
_MAGICS = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"x\x01": "zlib",
    b"x\x5e": "zlib",
    b"x\x9c": "zlib",
    b"x\xda": "zlib",
}


def _method(head: bytes) -> str | None:
    return next((method for magic, method in _MAGICS.items() if head.startswith(magic)), None)


def inflate(sample: Sample) -> bytes:
    """Return the first bytes of a compressed file, at most 1 MiB; b"" where it is none, or cannot be unpacked."""
    unpack = _UNPACK.get(_method(sample.head) or "")
    if unpack is None:
        return b""
    try:
        return unpack(sample.file.read(0, _PIECE))
    except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError):
        return b""


def recognise_compressed(sample: Sample) -> Recognised | None:
    """Recognise a compressed file, and the pickle in it."""
    method = _method(sample.head)
    if method is None:
        return None
    data = inflate(sample)
    found = pickle_in(Bytes(data)) if data else None
    if found is not None:
        return Recognised(found.name, f"{found.text}, compressed with {method}", found.remedy, pickle=True)
    # Two or three bytes are no proof: what cannot be unpacked is some other file.
    if not data and method in ("zlib", "bzip2", "lzma"):
        return None
    article = "an" if method in ("xz", "lzma", "LZ4") else "a"
    return Recognised(
        "compressed",
        f"{article} {method}-compressed file, which may hold a joblib pickle",
        "decompress it, and see what it holds",
    )
