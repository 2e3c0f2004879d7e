"""Files of tagged fields without a magic: Flax's msgpack and ONNX's protobuf. Source: the msgpack and protobuf specs.

Both are accepted only if every byte of the file fits, as far as 100,000 fields go.
"""

from statetree.formats._sample import Recognised, Sample, Source

__all__ = ["recognise_flax", "recognise_onnx"]

_FIELDS = 100_000
_FIXED = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4,
    0xD3: 8, 0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
# First byte → (bytes of the length, bytes that it does not count).
_SIZED = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1), 0xD9: (1, 0), 0xDA: (2, 0),
    0xDB: (4, 0),
}  # fmt: skip
_COUNTED = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}
_EXTENSIONS = {0xC7: 2, 0xC8: 3, 0xC9: 5, 0xD4: 1, 0xD5: 1, 0xD6: 1, 0xD7: 1, 0xD8: 1}
# Flax: 1 an array, 2 a Python complex number, 3 a NumPy scalar.
_FLAX = (1, 2, 3)


def recognise_flax(sample: Sample) -> Recognised | None:
    """Recognise flax.serialization.to_bytes: a msgpack map that holds arrays as extension types."""
    first = sample.head[0] if sample.head else 0
    if not (0x81 <= first <= 0x8F or first in (0xDE, 0xDF)):
        return None
    try:
        if not _holds_arrays(sample.file):
            return None
    except (ValueError, IndexError):
        return None
    return Recognised(
        "flax",
        "a Flax msgpack file",
        "read it with flax.serialization.msgpack_restore, then statetree.save what you read",
    )


def _holds_arrays(source: Source) -> bool:
    """Whether the bytes are one msgpack value with an extension type of Flax in it.

    Raises:
        ValueError, IndexError: they are not one msgpack value.
    """
    at, left, arrays = 0, 1, False
    for _ in range(_FIELDS):
        if not left:
            break
        head = source.read(at, 8)
        items, size = _measure(head)
        at, left = at + size, left - 1 + items
        if at > source.size or left > source.size:
            raise ValueError("a length that does not fit")
        kind = _EXTENSIONS.get(head[0])
        arrays |= kind is not None and head[kind] in _FLAX
    if not left and at != source.size:
        raise ValueError("more than one value")
    return arrays


def _measure(head: bytes) -> tuple[int, int]:
    """Return (values inside, bytes to the next value) of the msgpack value that begins so."""
    first = head[0]
    if first <= 0x7F or first >= 0xE0:
        return 0, 1
    if first <= 0x9F:
        return (first & 15) * (2 if first <= 0x8F else 1), 1
    if first <= 0xBF:
        return 0, 1 + (first & 31)
    if first in _FIXED:
        return 0, 1 + _FIXED[first]
    if first in _SIZED:
        width, more = _SIZED[first]
        return 0, 1 + width + more + int.from_bytes(head[1 : 1 + width], "big")
    if first in _COUNTED:
        width, each = _COUNTED[first]
        return each * int.from_bytes(head[1 : 1 + width], "big"), 1 + width
    raise ValueError("no msgpack value")


def recognise_onnx(sample: Sample) -> Recognised | None:
    """Recognise an ONNX model: a protobuf message with its version (1), graph (7) and operator sets (8)."""
    if sample.head[:1] != b"\x08" or sample.head[1:2] > b"\x20":
        return None
    try:
        fields = _fields(sample.file)
    except (ValueError, IndexError):
        return None
    if not {(1, 0), (7, 2), (8, 2)} <= fields:
        return None
    return Recognised("onnx", "an ONNX model", "read it with onnx, then statetree.save its initializers as arrays")


def _fields(source: Source) -> set[tuple[int, int]]:
    """Return (number, wire type) of the fields of a protobuf message.

    Raises:
        ValueError, IndexError: the bytes are none.
    """
    at = 0
    found: set[tuple[int, int]] = set()
    for _ in range(_FIELDS):
        if at == source.size:
            return found
        head = source.read(at, 20)
        key, used = _varint(head, 0)
        number, wire = key >> 3, key & 7
        if not 1 <= number <= 100:
            raise ValueError("a field that no model has")
        found.add((number, wire))
        if wire == 0:
            used = _varint(head, used)[1]
        elif wire == 2:
            size, used = _varint(head, used)
            used += size
        else:
            used += {1: 8, 5: 4}.get(wire, source.size + 1)
        at += used
        if at > source.size:
            raise ValueError("a length that does not fit")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
