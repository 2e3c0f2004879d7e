"""Compressed frames by hand, so that their bytes are the same everywhere. Source: RFC 1950 to 1952, 8878."""

import struct
import zlib
from functools import cache

__all__ = ["DEFLATED", "crc32c", "gzip_frame", "zlib_stream", "zstd_frame"]

DEFLATED = (bytes(range(16)) * 4, bytes.fromhex("6360646266616563e7e0e4e2e6e1e5e36720910f00"))
"""64 bytes, and the deflate stream of them that zlib makes: codes of fixed lengths and one copy."""


def _deflated(data: bytes) -> bytes:
    """Return a deflate stream of one stored block, or the compressed one of the bytes of `DEFLATED`."""
    if data == DEFLATED[0]:
        return DEFLATED[1]
    return b"\1" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def zlib_stream(data: bytes) -> bytes:
    """Return a zlib stream."""
    return b"\x78\x01" + _deflated(data) + struct.pack(">I", zlib.adler32(data))


def gzip_frame(data: bytes, *, flags: int = 0, fields: bytes = b"") -> bytes:
    """Return a gzip member; `fields` are what `flags` announce behind its header."""
    head = b"\x1f\x8b\x08" + bytes([flags]) + bytes(4) + b"\0\xff"
    return head + fields + _deflated(data) + struct.pack("<II", zlib.crc32(data), len(data))


def zstd_frame(data: bytes, *, sized: bool = True, checked: bool = False, repeated: bool = False) -> bytes:
    """Return a zstd frame of one block.

    Args:
        data: what it holds, at most 255 bytes.
        sized: whether the frame says how much it holds; if not, it has a window of 1 KiB.
        checked: whether a checksum follows.
        repeated: whether the block is one byte to be repeated; `data` then has the same byte throughout.
    """
    head = bytes([(0x20 if sized else 0) | (4 if checked else 0), len(data) if sized else 0])
    block = (1 | (1 << 1 if repeated else 0) | len(data) << 3).to_bytes(3, "little")
    tail = b""
    if checked:
        import xxhash

        tail = xxhash.xxh64_intdigest(data).to_bytes(8, "little")[:4]
    return bytes.fromhex("28b52ffd") + head + block + (data[:1] if repeated else data) + tail


@cache
def _crc32c_table() -> tuple[int, ...]:
    def row(value: int) -> int:
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(row(value) for value in range(256))


def crc32c(data: bytes) -> bytes:
    """Return the CRC-32C of `data`, little-endian.

    >>> crc32c(b"123456789").hex()
    '839206e3'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _crc32c_table()[(value ^ byte) & 0xFF]
    return struct.pack("<I", value ^ 0xFFFFFFFF)
