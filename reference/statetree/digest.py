"""Digests of texts and arrays. Source: spec section 6."""

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import xxhash

from statetree.errors import fail

__all__ = ["ALGORITHMS", "BLOCK", "block_count", "digest", "digest_size", "hasher", "of_array"]

BLOCK = 4 << 20
"""Bytes of a block: arrays above it are digested block by block."""

ALGORITHMS = {"xxh3-128": 16, "sha-256": 32, "blake3": 32}
"""Name → bytes of a raw digest."""


def _blake3(data: Any) -> bytes:
    try:
        from blake3 import blake3
    except ImportError:
        fail(
            "BACKEND_LIBRARY",
            "the library 'blake3' for the digest algorithm 'blake3'",
            "no such library",
            remedy="pip install 'statetree[blake3]'",
        )
    return blake3(data).digest()


_HASHERS: dict[str, Callable[[Any], bytes]] = {
    "xxh3-128": xxhash.xxh3_128_digest,
    "sha-256": lambda data: hashlib.sha256(data).digest(),
    "blake3": _blake3,
}


def hasher(algorithm: str) -> Callable[[Any], bytes]:
    """Return the function bytes → raw digest of `algorithm`.

    Raises:
        UnsupportedError: the algorithm is none of `ALGORITHMS`.
    """
    found = _HASHERS.get(algorithm)
    if found is None:
        fail(
            "DIGEST_ALGORITHM",
            f"a digest algorithm of {', '.join(ALGORITHMS)}",
            repr(algorithm)[:40],
            remedy="choose one of these; a file with another one needs a newer statetree",
        )
    return found


def hex_hasher(algorithm: str) -> Callable[[Any], str]:
    """Return the function bytes → digest as lower-case hexadecimal text."""
    function = hasher(algorithm)
    return xxhash.xxh3_128_hexdigest if algorithm == "xxh3-128" else lambda data: function(data).hex()


def digest_size(algorithm: str) -> int:
    """Return the bytes of a raw digest."""
    hasher(algorithm)
    return ALGORITHMS[algorithm]


def digest(algorithm: str, data: Any) -> str:
    """Return the digest of contiguous bytes as lower-case hexadecimal text.

    >>> digest("xxh3-128", b"")
    '99aa06d3014798d86001c324468d497f'
    """
    return hasher(algorithm)(data).hex()


def block_count(nbytes: int) -> int:
    """Return how many block digests an array of `nbytes` has: 0 up to 4 MiB, else one for each 4 MiB begun."""
    return 0 if nbytes <= BLOCK else -(-nbytes // BLOCK)


def block_spans(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, stop) of the pieces of a byte range, cut at multiples of 4 MiB."""
    while start < stop:
        end = min(stop, (start // BLOCK + 1) * BLOCK)
        yield start, end
        start = end


def of_array(algorithm: str, data: memoryview) -> tuple[str, bytes]:
    """Return the digest of an array's canonical bytes, and its raw block digests joined (b"" up to 4 MiB)."""
    function = hasher(algorithm)
    if len(data) <= BLOCK:
        return function(data).hex(), b""
    blocks = b"".join(function(data[a:b]) for a, b in block_spans(0, len(data)))
    return function(blocks).hex(), blocks
