"""The header block: 512 bytes that say where the parts of a container file lie. Source: spec section 7.2."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from statetree.digest import ALGORITHMS, hasher
from statetree.errors import fail, shown
from statetree.version import MAJOR, MINOR, check_major

__all__ = ["MAGIC", "PARTS", "SIZE", "Block", "Part", "checked_text", "pack_block", "unpack_block"]

MAGIC = b"\x89statetree\r\n\x1a\n\0\0"
SIZE = 512
PARTS = ("manifest", "info", "index", "blocks")
_HEAD = struct.Struct("<16sHHI16s16sQQ")
_PART = struct.Struct("<QQ32s")
_DIGEST_AT = SIZE - 32


@dataclass(frozen=True, slots=True)
class Part:
    """Where a part lies."""

    offset: int
    """File offset: of its bytes, or of the first document that holds them."""
    size: int
    """Its bytes."""
    digest: bytes
    """Raw digest of its bytes."""


@dataclass(frozen=True, slots=True)
class Block:
    """A header block."""

    algorithm: str
    """Digest algorithm of the file."""
    compression: str | None
    """Compression of the arrays, None if they are stored as they are."""
    arrays: int
    """Number of arrays."""
    documents: int
    """Number of rows of the index."""
    parts: Mapping[str, Part]
    """`manifest`, `info`, `index` and `blocks`."""


def pack_block(block: Block) -> bytes:
    """Return the 512 bytes of a header block."""
    algorithm, compression = block.algorithm.encode(), (block.compression or "").encode()
    head = _HEAD.pack(MAGIC, MAJOR, MINOR, 0, algorithm, compression, block.arrays, block.documents)
    parts = b"".join(_PART.pack(p.offset, p.size, p.digest) for p in (block.parts[name] for name in PARTS))
    text = (head + parts).ljust(_DIGEST_AT, b"\0")
    return text + hasher(block.algorithm)(text).ljust(32, b"\0")


def unpack_block(data: bytes, place: str) -> Block:
    """Return the header block of 512 bytes that begin with the magic.

    Raises:
        UnsupportedError: another major version, or an unknown digest algorithm.
        IntegrityError: the block does not have the digest that it holds.
    """
    magic, major, _, reserved, algorithm, compression, arrays, documents = _HEAD.unpack_from(data)
    if len(data) != SIZE or magic != MAGIC:
        fail("BAD_MAGIC", "the magic of statetree", "other bytes", place=place)
    check_major(major, place)
    name = _text(algorithm)
    if name not in ALGORITHMS:
        fail("DIGEST_ALGORITHM", f"a digest algorithm of {', '.join(ALGORITHMS)}", repr(shown(name)), place=place)
    if hasher(name)(data[:_DIGEST_AT]).ljust(32, b"\0") != data[_DIGEST_AT:] or reserved:
        fail(
            "DIGEST",
            "a header with its own digest",
            "another",
            place=place,
            remedy="the file is damaged: restore it from a copy",
        )
    size = ALGORITHMS[name]
    parts = {}
    for k, part in enumerate(PARTS):
        offset, length, digest = _PART.unpack_from(data, _HEAD.size + k * _PART.size)
        parts[part] = Part(offset, length, digest[:size])
    return Block(name, _text(compression) or None, arrays, documents, parts)


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("latin-1")


def checked_text(part: str, data: bytes, algorithm: str, digest: bytes, place: str) -> bytes:
    """Return `data` if it has its recorded digest.

    Raises:
        IntegrityError: it has not.
    """
    if hasher(algorithm)(data) != digest:
        code = {"manifest": "MANIFEST_DIGEST", "info": "INFO_DIGEST"}.get(part, "DIGEST")
        fail(
            code,
            f"the {part} that was saved ({algorithm}:{digest.hex()})",
            f"{len(data)} bytes with another digest",
            place=place,
            remedy="the file is damaged: restore it from a copy",
        )
    return data
