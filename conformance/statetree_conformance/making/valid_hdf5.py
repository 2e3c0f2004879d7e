"""Valid vectors: HDF5 files as writers and other tools make them. Source: spec section 7.3."""

import struct
from collections.abc import Iterator
from typing import Any

from statetree_conformance.making.base import BASE, A, floats
from statetree_conformance.making.chunks import DEFLATE, SHUFFLE, chunked, compact
from statetree_conformance.making.frames import DEFLATED
from statetree_conformance.making.hdf5 import attribute, dataset, datatype, fixed_text, hdf5_file, space
from statetree_conformance.making.record import Made, Recipe, valid
from statetree_conformance.making.texts import Document, document
from statetree_conformance.making.values import Array

__all__ = ["made"]

GRID = floats(*range(6), shape=(2, 3))
CHUNKED = document({"a": GRID})
CODES = document({"a": Array("uint8", (64,), DEFLATED[0])})
NEW = ("V110", "LATEST")


def _in_chunks(name: str, title: str, make: Any, rules: str = "H-5", **other: Any) -> Made:
    content = hdf5_file(CHUNKED, make={0: make}, **other)
    return valid(f"chunks-{name}", "hdf5", content, CHUNKED, title=title, rules=rules)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _moved()
    yield from _chunks()
    yield from _superblocks()
    yield from _types()
    yield valid(
        "by-name",
        "hdf5",
        hdf5_file(BASE, rows=lambda rows: [(0, 0), rows[1]]),
        BASE,
        title="an array in one piece that the index does not place, and that is read by its name",
        rules="H-4 H-6",
    )
    yield valid(
        "index-size",
        "hdf5",
        hdf5_file(BASE, rows=lambda rows: [(rows[0][0], 4), rows[1]]),
        BASE,
        title="a row of the index whose size is not the array's, which is read by its name",
        rows="H25b",
        rules="H-4 H-6",
    )
    yield valid(
        "compact",
        "hdf5",
        hdf5_file(BASE, make={0: compact}),
        BASE,
        title="data in the object header, as h5repack -l COMPA makes it",
        rules="H-7",
    )
    yield valid(
        "deflate-1000-to-1",
        "hdf5",
        Recipe("hdf5-zeros", {"bytes": 1 << 20}),
        document([Array("uint8", (1 << 20,), bytes(1 << 20))]),
        title="zeros that take a thousandth of their bytes",
        rows="H21",
        rules="H-9 L-1",
    )


def _moved() -> Iterator[Made]:
    for size in (4096, 512):
        yield valid(
            f"moved-{size}",
            "hdf5",
            hdf5_file(BASE, moved=size),
            BASE,
            title=f"a header of {size} bytes that is not at 4096: everything is read by its name",
            rows="H25b H29",
            rules="H-1 H-6 H-7",
        )


def _shuffled_by_2(file: bytes) -> bytes:
    """Return a file whose filter shuffle has the parameter 2 in place of 4."""
    old, new = (b"shuffle\0" + struct.pack("<I", size) for size in (4, 2))
    assert file.count(old) == 1
    return file.replace(old, new)


def _chunks() -> Iterator[Made]:
    yield _in_chunks("shuffle-deflate", "as writers compress", chunked((1, 3), (SHUFFLE, DEFLATE)), compression="gzip")
    yield _in_chunks("deflate", "deflate without shuffle", chunked((2, 3), (DEFLATE,)))
    yield _in_chunks("shuffle", "shuffle without deflate", chunked((2, 3), (SHUFFLE,)))
    file = _shuffled_by_2(hdf5_file(CHUNKED, make={0: chunked((2, 3), (SHUFFLE,), size=2)}))
    title = "shuffle by two bytes where elements have four"
    yield valid("chunks-shuffle-2", "hdf5", file, CHUNKED, title=title, rules="H-5")
    yield _in_chunks("plain", "chunks without filters", chunked((1, 3)))
    yield _in_chunks("every-axis", "chunks along every axis", chunked((1, 2), (SHUFFLE, DEFLATE)), "H-7")
    yield _in_chunks(
        "beyond", "bytes beyond the array that are not zero", chunked((2, 2), (DEFLATE,), beyond=0x55), "H-7"
    )
    yield _in_chunks(
        "mask", "chunks that say that they skip their filters", chunked((1, 3), (SHUFFLE, DEFLATE), mask=3)
    )
    yield _in_chunks(
        "mask-shuffle", "chunks that skip the first filter only", chunked((1, 3), (SHUFFLE, DEFLATE), mask=1)
    )
    yield _in_chunks("growing", "maximum extents without a bound", chunked((1, 3), most=(-1, -1)), "H-2 H-7")
    for name, make in {
        "single": chunked((2, 3), (DEFLATE,)),
        "implicit": chunked((1, 3), early=True),
        "fixed-array": chunked((1, 3), (DEFLATE,)),
        "extensible-array": chunked((1, 3), (DEFLATE,), most=(-1, 3)),
        "b-tree-2": chunked((1, 3), (DEFLATE,), most=(-1, -1)),
    }.items():
        yield _in_chunks(name, "an index of chunks that newer libraries make", make, "H-7", bounds=NEW)
    yield valid(
        "chunks-codes",
        "hdf5",
        hdf5_file(CODES, make={0: chunked((64,), (DEFLATE,))}, compression="gzip"),
        CODES,
        title="a chunk that is deflated with codes",
        rules="H-5 C-6",
    )


def _version_1(file: bytes) -> bytes:
    """Return a file with a superblock of version 1, which is 4 bytes longer; what was there moves to the end."""
    out = bytearray(file)
    (root,) = struct.unpack_from("<Q", out, 64)
    (size,) = struct.unpack_from("<I", out, root + 8)
    out[28:100] = file[24:96]
    out[8:9], out[24:28] = b"\1", struct.pack("<HH", 32, 0)
    struct.pack_into("<Q", out, 68, len(out))
    out += file[root : root + 16 + size]
    struct.pack_into("<Q", out, 44, len(out))
    return bytes(out)


def _superblocks() -> Iterator[Made]:
    files = {
        1: _version_1(hdf5_file(BASE)),
        2: hdf5_file(BASE, bounds=("V18", "V18")),
        3: hdf5_file(BASE, bounds=NEW),
    }
    for version, file in files.items():
        assert file[8] == version
        title = f"a superblock of version {version}"
        yield valid(f"superblock-{version}", "hdf5", file, BASE, title=title, rules="H-1 H-10")
    file = hdf5_file(BASE, bounds=NEW, moved=4096)
    yield valid(
        "moved-superblock-3", "hdf5", file, BASE, title="a newer file whose header is not at 4096", rules="H-1 H-6"
    )


INT4 = document([Array("int4", (3,), b"\0\7\x0f")])
BOOLS = document([Array("bool", (3,), b"\0\1\1")])


def _named(value: bytes, size: int, *, padded: bool) -> Any:
    """Return what makes a dataset whose attribute `dtype` is a text of `size` bytes."""

    def make(group: Any, name: bytes, array: Array) -> int:
        found = dataset(group, name, datatype("uint8"), space(array.shape))
        attribute(found, b"dtype", *fixed_text(value, size, padded=padded))
        return int(found.get_offset())

    return make


def _true_first(group: Any, name: bytes, array: Array) -> int:
    from h5py import h5t

    kind = h5t.enum_create(h5t.STD_I8LE)
    kind.enum_insert(b"TRUE", 1)
    kind.enum_insert(b"FALSE", 0)
    return int(dataset(group, name, kind, space(array.shape)).get_offset())


def _by_names(name: str, doc: Document, make: Any, title: str, rules: str) -> Made:
    return valid(name, "hdf5", hdf5_file(doc, make={0: make}, moved=512), doc, title=title, rules=rules)


def _types() -> Iterator[Made]:
    yield _by_names(
        "dtype-padded", INT4, _named(b"int4", 64, padded=True), "a name of a dtype in 64 bytes, padded", "H-8"
    )
    yield _by_names(
        "dtype-exact", INT4, _named(b"int4", 4, padded=True), "a name of a dtype without a zero byte", "H-8"
    )
    yield _by_names("bool-true-first", BOOLS, _true_first, "an enumeration that names TRUE first", "E-5")
    one = document([A])
    growing = hdf5_file(one, make={0: chunked((2,), most=(5,))})
    yield valid("maximum-extent", "hdf5", growing, one, title="a maximum extent above the extent", rules="H-2")
