"""The checksum that HDF5 keeps of its newer structures. Source: Bob Jenkins' lookup3, which the HDF5 format names."""

import struct

__all__ = ["lookup3"]

MASK = 0xFFFFFFFF


def _rot(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & MASK


def lookup3(data: bytes) -> int:
    """Return the checksum of `data`, which is not empty.

    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a = b = c = (0xDEADBEEF + len(data)) & MASK
    words = list(struct.iter_unpack("<3I", data.ljust(-(-len(data) // 12) * 12, b"\0")))
    for x, y, z in words[:-1]:
        a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
        for bits in (4, 6, 8, 16, 19, 4):
            a = ((a - c) & MASK) ^ _rot(c, bits)
            # Each step does to the next of the three what the one before did.
            a, b, c = b, (c + b) & MASK, a
    x, y, z = words[-1]
    a, b, c = (a + x) & MASK, (b + y) & MASK, (c + z) & MASK
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rot(b, bits)) & MASK
        a, b, c = b, c, a
    return int(b)
