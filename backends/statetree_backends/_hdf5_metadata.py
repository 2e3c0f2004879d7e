"""The metadata of a whole file as its writer lays it out: the same bytes for who writes and who checks.

Source: spec section 7.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from statetree.store import ArraySpec
from statetree_backends._block import Part
from statetree_backends._hdf5_format import chunk_tree, chunked_header, dataset_header, group

__all__ = ["ALIGN", "HEADER_AT", "HEADER_SIZE", "Chunked", "aligned", "metadata"]

HEADER_AT, HEADER_SIZE, ALIGN = 4096, 4096, 64


@dataclass(frozen=True, slots=True)
class Chunked:
    """An array in chunks along its first axis."""

    rows: int
    """Rows of a chunk."""
    chunks: Sequence[tuple[int, int]]
    """(file offset, stored bytes) of each."""


def aligned(at: int) -> int:
    """Return the first multiple of 64 from `at` on."""
    return -(-at // ALIGN) * ALIGN


def metadata(
    specs: Sequence[ArraySpec],
    offsets: Sequence[int],
    parts: Mapping[str, Part],
    at: int,
    chunked: Mapping[int, Chunked],
) -> tuple[bytes, int]:
    """Return (bytes, address of the root group's header) of all object headers and groups, to lie at `at`.

    Args:
        specs: the arrays.
        offsets: file offset of each, 0 for those that are empty or in chunks.
        parts: `manifest`, `info`, `index` and `blocks`.
        at: file offset of the bytes, a multiple of 8.
        chunked: the arrays in chunks by their index.
    """
    out: list[bytes] = []
    links: list[tuple[bytes, int]] = []

    def add(data: bytes) -> int:
        nonlocal at
        out.append(data)
        at += len(data)
        return at - len(data)

    for i, (spec, offset) in enumerate(zip(specs, offsets, strict=True)):
        if i in chunked:
            tree, top = chunk_tree(at, chunked[i].chunks, chunked[i].rows, len(spec.shape))
            add(tree + bytes(-len(tree) % 8))
            header = chunked_header(spec.dtype, spec.shape, chunked[i].rows, top)
        else:
            header = dataset_header(spec.dtype, spec.shape, offset, spec.nbytes)
        links.append((spec.name.encode(), add(header)))
    data, arrays = group(at, sorted(links))
    add(data)
    root = [(b"arrays", arrays), (b"header", add(dataset_header("uint8", (HEADER_SIZE,), HEADER_AT, HEADER_SIZE)))]
    for name, part in parts.items():
        root.append((name.encode(), add(dataset_header("uint8", (part.size,), part.offset, part.size))))
    data, top = group(at, sorted(root))
    add(data)
    return b"".join(out), top
