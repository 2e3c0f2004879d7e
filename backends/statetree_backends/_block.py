"""The header block: 512 bytes that say where the parts of a container file lie. Source: spec section 7.2.1."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from statetree.digest import ALGORITHMS, BLOCK, block_count, digest_size, hasher
from statetree.errors import fail, shown
from statetree.version import MAJOR, MINOR, VERSION, check_major

__all__ = ["MAGIC", "PARTS", "SIZE", "Block", "Part", "checked_text", "pack_block", "split_blocks", "unpack_block"]

MAGIC = b"\x89statetree\r\n\x1a\n\0\0"
SIZE = 512
PARTS = ("manifest", "info", "index", "blocks")
_HEAD = struct.Struct("<16sHHI16s16sQQ")
_PART = struct.Struct("<QQ32s")
_PARTS_END = _HEAD.size + len(PARTS) * _PART.size
_DIGEST_AT = SIZE - 32
_FOREIGN = "write the file with a conforming writer"


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
    rows: int
    """Number of rows of the index."""
    parts: Mapping[str, Part]
    """`manifest`, `info`, `index` and `blocks`."""
    version: str = VERSION
    """Version of the format."""


def pack_block(block: Block) -> bytes:
    """Return the 512 bytes of a header block."""
    algorithm, compression = block.algorithm.encode(), (block.compression or "").encode()
    head = _HEAD.pack(MAGIC, MAJOR, MINOR, 0, algorithm, compression, block.arrays, block.rows)
    parts = b"".join(_PART.pack(p.offset, p.size, p.digest) for p in (block.parts[name] for name in PARTS))
    text = (head + parts).ljust(_DIGEST_AT, b"\0")
    return text + hasher(block.algorithm)(text).ljust(32, b"\0")


def unpack_block(data: bytes, place: str, compressions: Sequence[str]) -> Block:
    """Return the header block of 512 bytes, which may name one of `compressions` or none.

    Raises:
        MalformedError: another magic, compression, or something where there is nothing.
        UnsupportedError: another major version, or an unknown digest algorithm.
        IntegrityError: the block does not have the digest that it holds.
    """
    magic, major, minor, reserved, algorithm, compression, arrays, rows = _HEAD.unpack_from(data)
    if len(data) != SIZE or magic != MAGIC:
        fail("BAD_MAGIC", "the magic of statetree", "other bytes", place=place)
    check_major(major, place)
    name = _text(algorithm)
    if name not in ALGORITHMS:
        fail("DIGEST_ALGORITHM", f"a digest algorithm of {', '.join(ALGORITHMS)}", repr(shown(name)), place=place)
    if hasher(name)(data[:_DIGEST_AT]).ljust(32, b"\0") != data[_DIGEST_AT:]:
        fail(
            "DIGEST",
            "a header with its own digest",
            "another",
            place=place,
            remedy="the file is damaged: restore it from a copy",
        )
    fields = [_PART.unpack_from(data, _HEAD.size + k * _PART.size) for k in range(len(PARTS))]
    size = ALGORITHMS[name]
    if reserved or any(data[_PARTS_END:_DIGEST_AT]) or any(any(digest[size:]) for _, _, digest in fields):
        fail("HEADER_FORM", "zero bytes around the fields of the header block", "others", place=place, remedy=_FOREIGN)
    packed = _text(compression) or None
    if packed not in (None, *compressions):
        expected = f"the compression {' or '.join(compressions)}, or none"
        fail("HEADER_FORM", expected, repr(shown(packed or "")), place=place, remedy=_FOREIGN)
    parts = {name: Part(at, length, digest[:size]) for name, (at, length, digest) in zip(PARTS, fields, strict=True)}
    return Block(name, packed, arrays, rows, parts, f"{major}.{minor}")


def _text(field: bytes) -> str:
    return field.rstrip(b"\0").decode("latin-1")


def split_blocks(data: bytes, sizes: Iterable[int], algorithm: str, place: str) -> dict[int, bytes]:
    """Return the raw block digests of each array above 4 MiB by its index; `sizes` are the bytes of all arrays.

    Raises:
        IntegrityError: `data` has another length than all of them together.
    """
    size = digest_size(algorithm)
    counts = {index: block_count(nbytes) * size for index, nbytes in enumerate(sizes) if nbytes > BLOCK}
    total = sum(counts.values())
    if len(data) != total:
        remedy = "the file is damaged: restore it from a copy"
        fail("BLOCK_DIGEST", f"block digests of {total} bytes", f"{len(data)} bytes", place=place, remedy=remedy)
    ends = accumulate(counts.values())
    return {index: data[end - count : end] for (index, count), end in zip(counts.items(), ends, strict=True)}


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
