"""The bytes of plain HDF5: superblock 0, groups with symbol tables, version 1 object headers. Source: spec section 7.3.

The layouts are those of the HDF5 File Format Specification, version 3.0, sections II.A (superblock), III.A to III.D
(B-trees, symbol nodes, heaps) and IV.A (object headers and messages).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from statetree.dtype import BY_NAME

__all__ = [
    "FLOATS",
    "FRAME",
    "SIGNATURE",
    "UNDEFINED",
    "Frame",
    "chunk_tree",
    "dataset_header",
    "group",
    "group_header",
    "read_frame",
    "superblock",
]

SIGNATURE = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 0xFFFF_FFFF_FFFF_FFFF
LEAF_K, INTERNAL_K, CHUNK_K = 64, 32, 32
"""Half of the entries of a symbol node, of a group's B-tree node and of a chunk B-tree node (there 32 is fixed)."""


def superblock(root: int, end: int) -> bytes:
    """Return the superblock: the root group's object header lies at `root`, the file ends at `end`."""
    versions = bytes((0, 0, 0, 0, 0, 8, 8, 0))
    sizes = struct.pack("<HHI", LEAF_K, INTERNAL_K, 0)
    addresses = struct.pack("<QQQQ", 0, UNDEFINED, end, UNDEFINED)
    return SIGNATURE + versions + sizes + addresses + struct.pack("<QQII16x", 0, root, 0, 0)


@dataclass(frozen=True, slots=True)
class Frame:
    """What the superblock of any version says of the whole file."""

    base: int
    """Bytes before the HDF5."""
    end: int
    """Bytes of the file, as the last program that closed it counted them."""
    written: bool
    """Whether a program that marks such files has it open for writing, or died doing so."""


FRAME = 64
"""Bytes of the file that `read_frame` needs."""


def read_frame(head: bytes) -> Frame | None:
    """Return what the superblock at the start of a file says, None if there is none that HDF5 libraries know."""
    if len(head) < FRAME or head[:8] != SIGNATURE or head[8] > 3:
        return None
    version = head[8]
    sizes, at = (head[13:15], 24 + 4 * version) if version < 2 else (head[9:11], 12)
    if sizes != b"\x08\x08":
        return None
    base, _, end = struct.unpack_from("<QQQ", head, at)
    return Frame(base, end, version == 3 and bool(head[11] & 5))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _message(kind: int, data: bytes) -> bytes:
    data = _padded(data)
    return struct.pack("<HHB3x", kind, len(data), 0) + data


def _object_header(messages: Sequence[bytes]) -> bytes:
    body = b"".join(messages)
    return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body


def _fixed(size: int, *, signed: bool) -> bytes:
    return struct.pack("<BBBBIHH", 0x10, 0x08 if signed else 0, 0, 0, size, 0, 8 * size)


def _floating(size: int, exponent: int, mantissa: int) -> bytes:
    # 0x20: the highest bit of the mantissa is implied, as IEEE has it.
    bias = (1 << (exponent - 1)) - 1
    head = struct.pack("<BBBBI", 0x11, 0x20, 8 * size - 1, 0, size)
    return head + struct.pack("<HHBBBBI", 0, 8 * size, mantissa, exponent, 0, mantissa, bias)


FLOATS = {"float16": (2, 5, 10), "float32": (4, 8, 23), "float64": (8, 11, 52), "bfloat16": (2, 8, 7)}


def _complex(size: int) -> bytes:
    half = _floating(*FLOATS["float32" if size == 8 else "float64"])
    member = b"".join(
        _padded(name + b"\0") + struct.pack("<IB3xII4I", at, 0, 0, 0, 0, 0, 0, 0) + half
        for name, at in ((b"r", 0), (b"i", size // 2))
    )
    return struct.pack("<BHBI", 0x16, 2, 0, size) + member


def _boolean() -> bytes:
    names = _padded(b"FALSE\0") + _padded(b"TRUE\0")
    return struct.pack("<BHBI", 0x18, 2, 0, 1) + _fixed(1, signed=True) + names + bytes((0, 1))


@lru_cache
def datatype(dtype: str) -> bytes:
    """Return the datatype message of a dtype of the registry."""
    row = BY_NAME[dtype]
    if dtype == "bool":
        return _boolean()
    if dtype in FLOATS:
        return _floating(*FLOATS[dtype])
    if row.complex:
        return _complex(row.itemsize)
    signed = row.carrier is None and dtype.startswith("int")
    return _fixed(row.itemsize, signed=signed)


def dataspace(shape: tuple[int, ...]) -> bytes:
    """Return the dataspace message of a shape."""
    return struct.pack(f"<BBBxI{len(shape)}Q", 1, len(shape), 0, 0, *shape)


def _attribute(name: bytes, value: bytes) -> bytes:
    kind = struct.pack("<BBBBI", 0x13, 0x00, 0, 0, len(value))
    space = dataspace(())
    head = struct.pack("<BxHHH", 1, len(name) + 1, len(kind), len(space))
    return head + _padded(name + b"\0") + _padded(kind) + _padded(space) + value


# Space is allocated early, nothing is filled in, the fill value is the default zero.
_FILL = _message(0x05, struct.pack("<BBBBI", 2, 1, 2, 1, 0))


@lru_cache(maxsize=1024)
def _around(dtype: str, shape: tuple[int, ...]) -> tuple[bytes, tuple[bytes, ...]]:
    head = _message(0x01, dataspace(shape)) + _message(0x03, datatype(dtype)) + _FILL
    carried = BY_NAME[dtype].carrier == "uint8"
    return head, (_message(0x0C, _attribute(b"dtype", dtype.encode() + b"\0")),) if carried else ()


def dataset_header(dtype: str, shape: tuple[int, ...], address: int, size: int) -> bytes:
    """Return the object header of a contiguous dataset whose `size` bytes lie at `address`."""
    head, attributes = _around(dtype, shape)
    if not size:
        address = UNDEFINED
    layout = _message(0x08, struct.pack("<BBQQ", 3, 1, address, size))
    body = head + layout + b"".join(attributes)
    return struct.pack("<BxHII4x", 1, 4 + len(attributes), 1, len(body)) + body


_FILTER = struct.Struct("<HHHH8sI4x")
"""Number, bytes of the name, flags (0: mandatory), count of parameters; the name; one parameter."""


def chunked_header(dtype: str, shape: tuple[int, ...], rows: int, tree: int) -> bytes:
    """Return the object header of a dataset in shuffled and deflated chunks of `rows` rows; its B-tree is at `tree`."""
    head, attributes = _around(dtype, shape)
    itemsize = BY_NAME[dtype].itemsize
    layout = struct.pack(f"<BBBQ{len(shape) + 1}I", 3, 2, len(shape) + 1, tree, rows, *shape[1:], itemsize)
    # Names are optional here, but copying tools write them and then need the room that they take.
    filters = [_FILTER.pack(2, 8, 0, 1, b"shuffle", itemsize)] if itemsize > 1 else []
    filters.append(_FILTER.pack(1, 8, 0, 1, b"deflate", 5))
    pipeline = struct.pack("<BB6x", 1, len(filters)) + b"".join(filters)
    body = head + _message(0x08, layout) + _message(0x0B, pipeline) + b"".join(attributes)
    return struct.pack("<BxHII4x", 1, 5 + len(attributes), 1, len(body)) + body


def chunk_tree(at: int, chunks: Sequence[tuple[int, int]], rows: int, rank: int) -> tuple[bytes, int]:
    """Return (bytes, address of the root) of the B-tree of chunks along the first axis, to lie at `at`.

    Args:
        at: file offset of the bytes.
        chunks: (address, stored size) of each chunk.
        rows: rows of a chunk.
        rank: dimensions of the dataset.
    """

    def key(number: int, size: int) -> bytes:
        return struct.pack(f"<II{rank + 1}Q", size, 0, number * rows, *(0,) * rank)

    keys = [key(i, size) for i, (_, size) in enumerate(chunks)] + [key(len(chunks), 0)]
    return _tree(at, 1, keys, [address for address, _ in chunks], CHUNK_K)


def _tree(at: int, kind: int, keys: Sequence[bytes], children: Sequence[int], k: int) -> tuple[bytes, int]:
    """Return (bytes, address of the root) of a version 1 B-tree built from its leaves up.

    `keys` has one entry more than `children`: the keys to the left and right of each child.
    """
    width = 2 * k
    size = 24 + width * 8 + (width + 1) * len(keys[0])
    out: list[bytes] = []
    level = 0
    while True:
        spans = [(i, min(i + width, len(children))) for i in range(0, max(len(children), 1), width)]
        base = at + size * len(out)
        for number, (a, b) in enumerate(spans):
            left = base + size * (number - 1) if number else UNDEFINED
            right = base + size * (number + 1) if number + 1 < len(spans) else UNDEFINED
            node = [b"TREE", struct.pack("<BBHQQ", kind, level, b - a, left, right)]
            for i in range(a, b):
                node += (keys[i], struct.pack("<Q", children[i]))
            node.append(keys[b])
            out.append(b"".join(node).ljust(size, b"\0"))
        if len(spans) == 1:
            return b"".join(out), base
        keys = [keys[a] for a, _ in spans] + [keys[-1]]
        children = [base + size * number for number in range(len(spans))]
        level += 1


def group_header(tree: int, heap: int) -> bytes:
    """Return the object header of a group."""
    return _object_header([_message(0x11, struct.pack("<QQ", tree, heap))])


def group(at: int, links: Sequence[tuple[bytes, int]]) -> tuple[bytes, int]:
    """Return (bytes, address of its object header) of a group, to lie at `at`, a multiple of 8.

    Args:
        at: file offset of the bytes.
        links: (name, address of the object header) in the order of the names' bytes.
    """
    names, offsets, used = [b"\0" * 8], [], 8
    for name, _ in links:
        offsets.append(used)
        names.append(_padded(name + b"\0"))
        used += len(names[-1])
    segment = b"".join(names)
    # 1 stands for "no free space" in a heap.
    heap = b"HEAP" + struct.pack("<B3xQQQ", 0, len(segment), 1, at + 32) + segment
    width = 2 * LEAF_K
    nodes: list[bytes] = []
    keys = [struct.pack("<Q", 0)]
    addresses: list[int] = []
    start = at + len(heap)
    size = 8 + 40 * width
    for a in range(0, len(links), width):
        entries = [struct.pack("<QQ24x", offsets[i], links[i][1]) for i in range(a, min(a + width, len(links)))]
        addresses.append(start + size * len(nodes))
        nodes.append((b"SNOD" + struct.pack("<BxH", 1, len(entries)) + b"".join(entries)).ljust(size, b"\0"))
        keys.append(struct.pack("<Q", offsets[min(a + width, len(links)) - 1]))
    body = heap + b"".join(nodes)
    tree, root = _tree(at + len(body), 0, keys, addresses, INTERNAL_K)
    body += tree
    return body + group_header(root, at), at + len(body)
