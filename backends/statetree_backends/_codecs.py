"""Compression of stored bytes: gzip and zstd, never unpacking more than was declared. Source: spec section 7.2.2."""

import gzip
import zlib
from importlib.util import find_spec

from statetree.errors import StateTreeError, fail

__all__ = ["compress", "decompress", "missing_codec"]


def missing_codec(name: str | None, extra: str) -> tuple[str, str] | None:
    """Return (library, extra) if the codec `name` needs a library that is not installed."""
    return ("zstandard", extra) if name == "zstd" and find_spec("zstandard") is None else None


def compress(name: str, data: bytes) -> bytes:
    """Return `data` as one frame of the codec `name`."""
    if name == "gzip":
        return gzip.compress(data, compresslevel=5, mtime=0)
    import zstandard

    return zstandard.ZstdCompressor(level=3).compress(data)


def decompress(name: str, data: bytes, size: int, place: str) -> bytes:
    """Return the `size` bytes that a frame holds; at most one byte more is ever unpacked.

    Raises:
        IntegrityError: the frame is damaged, or holds more or fewer bytes.
    """
    try:
        out = _gunzip(data, size) if name == "gzip" else _unzstd(data, size)
    except StateTreeError:
        raise
    except (zlib.error, ValueError, EOFError) as error:
        fail(
            "DIGEST",
            f"a {name} frame",
            str(error)[:100].lower(),
            place=place,
            remedy="the file is damaged: restore it from a copy",
        )
    if len(out) != size:
        fail(
            "DIGEST",
            f"a {name} frame of {size} bytes",
            f"{'more' if len(out) > size else len(out)}",
            place=place,
            remedy="the file is damaged: restore it from a copy",
        )
    return out


def _gunzip(data: bytes, size: int) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    out = unpacker.decompress(data, size + 1)
    if not unpacker.eof or unpacker.unused_data:
        # A last call checks the trailer, which may lie behind the bytes asked for.
        out += unpacker.decompress(unpacker.unconsumed_tail, 1) if len(out) <= size else b""
    if len(out) <= size and (not unpacker.eof or unpacker.unused_data):
        raise ValueError("truncated, or bytes behind the frame")
    return out


def _unzstd(data: bytes, size: int) -> bytes:
    if find_spec("zstandard") is None:
        fail(
            "BACKEND_LIBRARY",
            "the library 'zstandard' for zstd frames",
            "no such library",
            remedy="pip install 'statetree[all]'",
        )
    import zstandard

    try:
        declared = zstandard.frame_content_size(data)
        if declared == -1 and len(out := _stream(data, size)) != size:
            return out
        if declared not in (size, -1):
            raise ValueError(f"a frame of {declared} bytes")
        # The frame is known now to hold no more than `size` bytes.
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        out = unpacker.decompress(data)
        if not unpacker.eof or unpacker.unused_data:
            raise ValueError("truncated, or bytes behind the frame")
        return out
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _stream(data: bytes, size: int) -> bytes:
    import zstandard

    with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as reader:
        return bytes(reader.read(size + 1))
