"""Vectors at a limit of the reader, and just above it. Source: spec section 8 and [G-2], [G-3]."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from statetree_conformance.making.base import BASE, CONTAINERS, SOUND, floats
from statetree_conformance.making.recipes import blocks, large, zeros
from statetree_conformance.making.record import Made, Recipe, invalid, valid
from statetree_conformance.making.texts import document
from statetree_conformance.making.values import Record, Symbol
from statetree_conformance.making.zarr import folder

__all__ = ["made"]


class Limit(NamedTuple):
    """A tree at a limit, and one that is above it by one."""

    name: str
    limit: str
    number: int
    at: Any
    above: Any
    code: str
    rows: str


LIMITS = [
    Limit("nodes", "nodes", 10, [0] * 9, [0] * 10, "LIMIT_NODES", "N08"),
    Limit(
        "nodes-fields",
        "nodes",
        5,
        Record("r", (("a", 0), ("b", 0))),
        Record("r", (("a", 0), ("b", [0]))),
        "LIMIT_NODES",
        "N08",
    ),
    Limit("nodes-tuple-key", "nodes", 5, {(1, 2): 0}, {(1, 2, 3): 0}, "LIMIT_NODES", "N08"),
    Limit("key", "key_bytes", 8, {"k" * 8: 0}, {"k" * 9: 0}, "LIMIT_KEY", "K17"),
    Limit("key-utf-8", "key_bytes", 8, {"\u00e9" * 4: 0}, {"\u00e9" * 4 + "k": 0}, "LIMIT_KEY", "K17"),
    Limit("key-bytes", "key_bytes", 8, {bytes(8): 0}, {bytes(9): 0}, "LIMIT_KEY", "K17"),
    Limit("field", "key_bytes", 8, Record(None, (("k" * 8, 0),)), Record(None, (("k" * 9, 0),)), "LIMIT_KEY", "K17"),
    Limit("label", "key_bytes", 8, Record("k" * 8, ()), Record("k" * 9, ()), "LIMIT_KEY", "K30"),
    Limit("symbol", "key_bytes", 8, Symbol("k" * 8), Symbol("k" * 9), "LIMIT_KEY", "K17"),
    Limit("string", "string_bytes", 8, "s" * 8, "s" * 9, "LIMIT_STRING", "S09"),
    Limit("string-utf-8", "string_bytes", 8, "\u00e9" * 4, "\u00e9" * 4 + "s", "LIMIT_STRING", "S09"),
    Limit("bytes", "string_bytes", 8, bytes(8), bytes(9), "LIMIT_STRING", "S15"),
    Limit("integer", "integer_digits", 20, 16**20 - 1, 16**20, "LIMIT_INTEGER", "S01"),
    Limit("integer-negative", "integer_digits", 20, 1 - 16**20, -(16**20), "LIMIT_INTEGER", "S01"),
    Limit("integer-key", "integer_digits", 20, {16**20 - 1: 0}, {16**20: 0}, "LIMIT_INTEGER", "K19"),
    Limit("arrays", "arrays", 2, [floats(1), floats(2)], [floats(1), floats(2), floats(3)], "LIMIT_ARRAYS", "R02"),
]
SIZES = {
    "manifest": (64 << 20, "R02"),
    "info": (1 << 20, "R02"),
    "nodes": (1_000_000, "N08"),
    "key": (64 << 10, "K17"),
    "string": (16 << 20, "S09"),
    "bytes": (16 << 20, "S15"),
    "integer": (4096, "S01"),
    "arrays": (100_000, "R02"),
}
"""What every reader accepts."""
BLOCKED = (4 << 20) + 4
HUGE = (1 << 31) + 1


def made() -> Iterator[Made]:
    """Yield the vectors."""
    for limit in LIMITS:
        given = {limit.limit: limit.number}
        at, above = document(limit.at), document(limit.above)
        about: dict[str, Any] = {"rows": limit.rows, "rules": "L-1", "limits": given}
        title = f"a tree at the limit {limit.limit} that the reader is given"
        yield valid(f"limit-{limit.name}", "zarr", folder(at), at, title=title, **about)
        fault = f"one more than the limit {limit.limit} that the reader is given"
        yield invalid(f"limit-{limit.name}-above", "zarr", folder(above), fault, limit.code, **about)
    yield from _texts()
    yield from _totals()
    yield from _large()
    yield from _blocks()


def _texts() -> Iterator[Made]:
    for limit, size in {"manifest_bytes": len(BASE.text), "info_bytes": len(BASE.info)}.items():
        name = f"limit-{limit.removesuffix('_bytes')}"
        for container in CONTAINERS:
            content = SOUND[container](BASE)
            about: dict[str, Any] = {"rows": "R02", "rules": "L-1 L-2 R-1"}
            title = f"a text at the limit {limit} that the reader is given"
            yield valid(name, container, content, BASE, title=title, limits={limit: size}, **about)
            fault = f"a text above the limit {limit} that the reader is given"
            yield invalid(
                f"{name}-above", container, content, fault, "LIMIT_MANIFEST", limits={limit: size - 1}, **about
            )


def _totals() -> Iterator[Made]:
    total = sum(len(array.raw) for array in BASE.arrays)
    for container in CONTAINERS:
        content = SOUND[container](BASE)
        about: dict[str, Any] = {"rows": "R01", "rules": "L-1 L-2 R-1"}
        title = "arrays of as many bytes as the reader is given room for"
        yield valid("limit-total", container, content, BASE, title=title, limits={"total_bytes": total}, **about)
        fault = "arrays of one byte more than the reader is given room for"
        limits = {"total_bytes": total - 1}
        yield invalid("limit-total-above", container, content, fault, "LIMIT_BYTES", limits=limits, **about)


def _large() -> Iterator[Made]:
    for what, (size, rows) in SIZES.items():
        content = Recipe("bson-large", {"what": what, "size": size})
        title = f"as much as every reader accepts: {what} of {size}"
        doc = large(what, size)
        yield valid(f"large-{what}", "bson", content, doc, title=title, rows=rows, rules="L-1", tree=False)
    features = Recipe("zarr-features", {"count": 1_000_000})
    fault = "a million features that nobody knows"
    yield invalid(
        "features-million", "zarr", features, fault, "FEATURE_UNKNOWN LIMIT_MANIFEST", rows="R03 V06", rules="M-3"
    )


def _blocks() -> Iterator[Made]:
    """An array of two blocks."""
    doc = blocks(BLOCKED)
    size = {"bytes": BLOCKED}
    contents = {
        "hdf5": Recipe("hdf5-blocks", size),
        "zarr": Recipe("zarr-blocks", {**size, "gone": []}),
        "bson": Recipe("bson-blocks", size),
    }
    for container, content in contents.items():
        title = "an array of two blocks, with the digest of each"
        yield valid("blocks", container, content, doc, title=title, rules="G-2 G-3", tree=False)
    for container in contents:
        huge = Recipe(f"{container}-large-zeros", {"size": HUGE})
        title = "an array of more bytes than 31 bits count, in compressed chunks"
        about: dict[str, Any] = {"rows": "A16", "rules": "G-2 L-1", "limits": {"total_bytes": HUGE}, "tree": False}
        yield valid("2-gib", container, huge, zeros(HUGE), title=title, **about)
    wrong = Recipe("bson-blocks", {**size, "spoilt": 20})
    yield invalid("blocks-other", "bson", wrong, "another digest of a block", "BLOCK_DIGEST", rows="I01", rules="G-3")
    gone = Recipe("zarr-blocks", {**size, "gone": ["blocks/c/0"]})
    yield invalid("blocks-missing", "zarr", gone, "no digests of blocks", "BLOCK_DIGEST", rows="I01", rules="G-3 Z-4")
    short = Recipe("hdf5-blocks", {**size, "cut": 16})
    yield invalid("blocks-short", "hdf5", short, "a digest of a block too few", "BLOCK_DIGEST", rows="I01", rules="G-3")
