"""BSON documents that are not ours: BSON.jl files are told by their tags. Source: bsonspec.org, version 1.1; BSON.jl.

Lengths are believed only inside of the file; payloads are skipped, and 20,000 elements are looked at.
"""

from collections.abc import Iterator

from statetree.formats._sample import Recognised, Sample, Source

__all__ = ["recognise_bson"]

_ELEMENTS = 20_000
_DOCUMENTS = 1000
_DEPTH = 200
_FIXED = {
    0x01: 8, 0x06: 0, 0x07: 12, 0x08: 1, 0x09: 8, 0x0A: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x7F: 0, 0xFF: 0,
}  # fmt: skip
# Type → bytes that its length does not count.
_SIZED = {0x02: 4, 0x05: 5, 0x0C: 16, 0x0D: 4, 0x0E: 4, 0x0F: 0}
_NESTED = (0x03, 0x04)
_TAGS = frozenset(
    (
        b"array", b"struct", b"tuple", b"symbol", b"backref", b"datatype", b"ref", b"svec", b"unionall",
        b"jl_anonymous", b"jl_bottom_type",
    )
)  # fmt: skip


def recognise_bson(sample: Sample) -> Recognised | None:
    """Recognise a BSON.jl file, one BSON document, or a stream of them."""
    source = sample.file
    size = _int32(source, 0)
    if not 5 <= size <= source.size:
        return None
    try:
        julia = any(_julian(source, *element) for element in _elements(source, size))
        count = _documents(source)
    except ValueError:
        return None
    if julia and count == 1:
        return Recognised(
            "bson.jl",
            "a BSON.jl file written by Julia",
            "read it with bson.decode of pymongo (array data is column-major), then statetree.save its arrays",
        )
    text = "a BSON document" if count == 1 else "a stream of BSON documents, as mongodump writes them,"
    return Recognised(
        "bson",
        f"{text} that statetree did not write",
        "read it with bson.decode_all of pymongo, then statetree.save what you read",
    )


def _int32(source: Source, at: int) -> int:
    data = source.read(at, 4)
    return int.from_bytes(data, "little", signed=True) if len(data) == 4 else -1


def _documents(source: Source) -> int:
    """Return how many documents the bytes are.

    Raises:
        ValueError: they are not whole documents.
    """
    at = count = 0
    while at < source.size and count < _DOCUMENTS:
        size = _int32(source, at)
        if size < 5 or at + size > source.size or source.read(at + size - 1, 1) != b"\0":
            raise ValueError("no document")
        at += size
        count += 1
    return count


def _julian(source: Source, depth: int, kind: int, name: bytes, at: int) -> bool:
    """Whether an element is a mark of BSON.jl: a tag inside of a document, or the table of shared objects."""
    if name == b"_backrefs":
        return depth == 1 and kind == 0x04
    if name != b"tag" or kind != 0x02 or depth < 2:
        return False
    return source.read(at + 4, min(_int32(source, at), 20))[:-1] in _TAGS


def _elements(source: Source, size: int) -> Iterator[tuple[int, int, bytes, int]]:
    """Yield (depth, type, name, offset of the value) of the first elements of a document of `size` bytes.

    Raises:
        ValueError: a type is unknown, or a length does not fit.
    """
    ends, at = [size], 4
    for _ in range(_ELEMENTS):
        head = source.read(at, 512)
        kind, end = head[0] if head else 0, ends[-1]
        if at >= end or (kind == 0 and at != end - 1):
            raise ValueError("no element")
        if kind == 0:
            ends.pop()
            at += 1
            if not ends:
                return
            continue
        stop = head.find(b"\0", 1)
        if stop < 0:
            raise ValueError("a name without an end, or of more than 510 bytes")
        at += stop + 1
        yield len(ends), kind, head[1:stop], at
        if kind in _NESTED:
            inner = _int32(source, at)
            if inner < 5 or at + inner >= end or len(ends) > _DEPTH:
                raise ValueError("no document")
            ends.append(at + inner)
            at += 4
        else:
            at += _value_size(source, kind, at, end)


def _value_size(source: Source, kind: int, at: int, end: int) -> int:
    if kind == 0x0B:
        data = source.read(at, 4096)
        size = data.find(b"\0", data.find(b"\0") + 1) + 1
    elif kind in _SIZED:
        counted = _int32(source, at)
        size = counted + _SIZED[kind] if counted >= 0 else -1
    else:
        size = _FIXED.get(kind, -1)
    if size < 0 or at + size >= end:
        raise ValueError("no value")
    return size
