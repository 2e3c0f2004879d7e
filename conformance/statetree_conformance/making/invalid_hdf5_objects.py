"""Invalid vectors: HDF5 files in which an array is no plain dataset of its dtype and shape. Source: spec 7.3, [H-7]."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from statetree_conformance.making.base import BASE, A, floats
from statetree_conformance.making.chunks import DEFLATE, SHUFFLE, chunked
from statetree_conformance.making.frames import zlib_stream
from statetree_conformance.making.hdf5 import (
    Make,
    attribute,
    contiguous,
    dataset,
    datatype,
    fixed_text,
    hdf5_file,
    plist,
    space,
)
from statetree_conformance.making.invalid_hdf5_file import NEW, TWINS, changed
from statetree_conformance.making.record import Made, invalid
from statetree_conformance.making.texts import BLOCK, Document, canonical, digest, document, text
from statetree_conformance.making.values import Array

__all__ = ["made"]

UNDEFINED = (1 << 64) - 1
GAP = 3968
"""Where in a file nothing lies, before the header."""
GRID = document({"a": floats(*range(6), shape=(2, 3))})
RAW = GRID.arrays[0].raw


def by_name(name: str, make: Make, fault: str, codes: str, rows: str = "", rules: str = "H-7", **other: Any) -> Made:
    """Return the vector of a file whose array `a` is made so, and which is read by names throughout."""
    content = hdf5_file(BASE, make={0: make}, moved=512, **other)
    return invalid(name, "hdf5", content, fault, codes, rows=rows, rules=rules)


def in_chunks(name: str, make: Make, fault: str, codes: str, rows: str = "", rules: str = "H-7 H-9") -> Made:
    """Return the vector of a file whose only array, of 2 by 3 elements, is in chunks."""
    content = hdf5_file(GRID, make={0: make}, compression="gzip")
    return invalid(name, "hdf5", content, fault, codes, rows=rows, rules=rules)


def behind(
    name: str, make: Make, fault: str, codes: str, rows: str = "", rules: str = "H-10 R-3", **other: Any
) -> Made:
    """Return the vector of a file whose index still has the bytes of the array `a`, which a reader believes."""

    def kept(group: Any, name: bytes, array: Array) -> int:
        make(group, name, array)
        return GAP

    content = hdf5_file(BASE, make={0: kept}, **other)
    return invalid(name, "hdf5", content, fault, "accept?", codes, doc=BASE, rows=rows, rules=rules)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _links()
    yield from _storage()
    yield from _datatypes()
    yield from _shapes()
    yield from _filters()
    yield from _chunks()
    yield from _patched()
    yield from _declared()


def _external(group: Any, name: bytes, array: Array) -> None:
    group.links.create_external(name, b"secret.h5", b"/w")


def _soft(target: bytes) -> Make:
    def make(group: Any, name: bytes, array: Array) -> None:
        group.links.create_soft(name, target)

    return make


def _hard(group: Any, name: bytes, array: Array) -> None:
    group.links.create_hard(name, group, b"0-a")


def _linked_group(file: Any) -> None:
    file.unlink(b"arrays")
    file.links.create_external(b"arrays", b"secret.h5", b"/arrays")


def _linked_header(file: Any) -> None:
    file.unlink(b"header")
    file.links.create_external(b"header", b"secret.h5", b"/header")


def _user_defined(file: bytes) -> bytes:
    """Return a file whose external link is of a class that nobody knows: version 1, flags, then the class."""
    assert file.count(b"\1\x0c\x40") == 1
    return file.replace(b"\1\x0c\x40", b"\1\x0c\xbb")


def _links() -> Iterator[Made]:
    rules = "H-7 S-2"
    yield by_name(
        "external-link", _external, "an external link in place of an array", "H5_LINK", "H01", rules, tracked=True
    )
    yield by_name("soft-link", _soft(b"/arrays/1-b"), "a soft link in place of an array", "H5_LINK", "H02", rules)
    yield by_name("soft-link-dangling", _soft(b"/nothing"), "a soft link that leads nowhere", "H5_LINK", "H03", rules)
    content = hdf5_file(BASE, moved=512, more=_linked_group)
    fault = "an external link in place of the group of arrays"
    yield invalid("external-link-group", "hdf5", content, fault, "H5_LINK", rows="H04", rules=rules)
    content = hdf5_file(BASE, moved=512, more=_linked_header)
    fault = "an external link in place of the header"
    yield invalid("external-link-header", "hdf5", content, fault, "NOT_STATETREE H5_LINK", rows="H01", rules="H-1 S-2")
    content = _user_defined(hdf5_file(BASE, make={0: _external}, moved=512, tracked=True))
    fault = "a link of a class that nobody knows"
    yield invalid("user-defined-link", "hdf5", content, fault, "H5_LINK", rows="H05", rules=rules)
    content = hdf5_file(TWINS.but(arrays=(TWINS.arrays[0],) * 2), make={1: _hard}, moved=512)
    fault = "two links that name one dataset"
    yield invalid("hard-link", "hdf5", content, fault, "H5_HARDLINK DIGEST", rows="H09", rules="H-7")
    for name, make, fault, rows in (
        ("external-link", _external, "an external link in place of an array", "H01"),
        ("soft-link", _soft(b"/arrays/1-b"), "a soft link in place of an array", "H02"),
    ):
        yield behind(f"{name}-behind", make, f"{fault}, whose bytes the index still has", "H5_LINK", rows, tracked=True)


def _elsewhere(group: Any, name: bytes, array: Array) -> None:
    from h5py import h5d, h5p

    created = h5p.create(h5p.DATASET_CREATE)
    created.set_layout(h5d.CONTIGUOUS)
    created.set_obj_track_times(False)
    created.set_external(b"secret.raw", 0, len(array.raw))
    dataset(group, name, datatype(array.dtype), space(array.shape), created)


def _virtual(source: bytes) -> Make:
    def make(group: Any, name: bytes, array: Array) -> None:
        from h5py import h5d, h5p

        created = h5p.create(h5p.DATASET_CREATE)
        created.set_layout(h5d.VIRTUAL)
        created.set_obj_track_times(False)
        created.set_virtual(space(array.shape), source, b"/w", space(array.shape))
        dataset(group, name, datatype(array.dtype), space(array.shape), created)

    return make


def _unstored(group: Any, name: bytes, array: Array) -> None:
    from h5py import h5d

    created = plist()
    created.set_alloc_time(h5d.ALLOC_TIME_LATE)
    dataset(group, name, datatype(array.dtype), space(array.shape), created)


def _storage() -> Iterator[Made]:
    rules = "H-7 S-2"
    yield by_name("external-storage", _elsewhere, "data in another file", "H5_EXTERNAL_DATA", "H06", rules)
    yield by_name(
        "virtual", _virtual(b"."), "a virtual dataset of this file", "H5_EXTERNAL_DATA", "H07", rules, bounds=NEW
    )
    yield by_name(
        "virtual-elsewhere",
        _virtual(b"secret.h5"),
        "a virtual dataset of a file that is not there",
        "H5_EXTERNAL_DATA",
        "H08",
        rules,
        bounds=NEW,
    )
    yield behind(
        "external-storage-behind",
        _elsewhere,
        "data in another file, while the index has the bytes",
        "H5_EXTERNAL_DATA",
        "H06",
    )
    yield by_name("no-storage", _unstored, "a dataset without storage", "ARRAY_MISSING_CHUNK", "H22")


def _typed(kind: Callable[[], Any], *, committed: bool = False) -> Make:
    def make(group: Any, name: bytes, array: Array) -> None:
        found = kind()
        if committed:
            found.commit(group, b"type")
        dataset(group, name, found, space(array.shape), plist(filled=True))

    return make


def _types() -> dict[str, tuple[Callable[[], Any], str, str, str]]:
    from h5py import h5t

    def compound() -> Any:
        kind = h5t.create(h5t.COMPOUND, 4)
        kind.insert(b"a", 0, h5t.IEEE_F16LE)
        kind.insert(b"b", 2, h5t.IEEE_F16LE)
        return kind

    def opaque() -> Any:
        kind = h5t.create(h5t.OPAQUE, 4)
        kind.set_tag(b"pickle")
        return kind

    def enumeration() -> Any:
        kind = h5t.enum_create(h5t.STD_I32LE)
        kind.enum_insert(b"A", 1)
        return kind

    def biased() -> Any:
        kind = h5t.IEEE_F32LE.copy()
        kind.set_ebias(100)
        return kind

    def any_length() -> Any:
        kind = h5t.C_S1.copy()
        kind.set_size(h5t.VARIABLE)
        return kind

    foreign, other = "H5_DTYPE BACKEND_MISMATCH", "BACKEND_MISMATCH"
    return {
        "reference": (lambda: h5t.STD_REF_OBJ, "references to objects", foreign, "H11"),
        "region": (lambda: h5t.STD_REF_DSETREG, "references to regions", foreign, "H11"),
        "compound": (compound, "a compound that is no complex number", foreign, "H13"),
        "opaque": (opaque, "an opaque type with the tag `pickle`", foreign, "H14 P05"),
        "variable-length": (lambda: h5t.vlen_create(h5t.IEEE_F32LE), "a type of any length", foreign, "H15"),
        "text": (any_length, "texts of any length", foreign, "H15"),
        "fixed-text": (lambda: fixed_text(b"", 4)[0], "texts of fixed length", foreign, "H15"),
        "enumeration": (enumeration, "an enumeration other than FALSE and TRUE", foreign, "H16"),
        "time": (lambda: h5t.UNIX_D32LE, "times", foreign, "H17"),
        "bit-field": (lambda: h5t.STD_B32LE, "bit fields", foreign, "H17"),
        "array": (lambda: h5t.array_create(h5t.STD_I8LE, (4,)), "an array type", foreign, "H17"),
        "big-endian": (lambda: h5t.IEEE_F32BE, "big-endian elements", other, "A17 A14"),
        "integer": (lambda: h5t.STD_I32LE, "integers", other, "A14"),
        "double": (lambda: h5t.IEEE_F64LE, "elements of twice the size", other, "A14"),
        "bias": (biased, "a floating point of another bias", other, "A14"),
    }


def _datatypes() -> Iterator[Made]:
    for name, (kind, fault, codes, rows) in _types().items():
        yield by_name(f"datatype-{name}", _typed(kind), f"{fault} in place of float32", codes, rows, "H-7 E-5 S-3")
    committed = _typed(lambda: datatype("float32").copy(), committed=True)
    yield by_name("datatype-committed", committed, "a committed datatype", "H5_DTYPE", "H12", "H-7")
    kinds = _types()
    for name in ("opaque", "big-endian"):
        kind, fault, codes, rows = kinds[name]
        said = f"{fault} in place of float32, while the index has the bytes"
        yield behind(f"datatype-{name}-behind", _typed(kind), said, codes, rows, "H-10 E-5")
    for name, value, fault in (
        ("missing", None, "no attribute `dtype` of an int4"),
        ("other", fixed_text(b"uint4", 6), "an attribute `dtype` with another name"),
        ("long", fixed_text(b"int4", 65), "an attribute `dtype` of 65 bytes"),
        ("number", (datatype("uint8"), b"\4"), "an attribute `dtype` that is a number"),
    ):
        doc = document({"a": Array("int4", (2,), b"\1\x0f")})
        content = hdf5_file(doc, make={0: _carried(value)}, moved=512)
        yield invalid(f"dtype-{name}", "hdf5", content, fault, "BACKEND_MISMATCH", rows="A09 A14", rules="H-8 H-7 E-5")


def _carried(value: tuple[Any, bytes] | None) -> Make:
    def make(group: Any, name: bytes, array: Array) -> int:
        found = dataset(group, name, datatype("uint8"), space(array.shape))
        if value is not None:
            attribute(found, b"dtype", *value)
        return int(found.get_offset())

    return make


def _reshaped(*shape: int) -> Make:
    def make(group: Any, name: bytes, array: Array) -> int | None:
        return contiguous(group, name, Array(array.dtype, shape, array.raw))

    return make


def _group(group: Any, name: bytes, array: Array) -> None:
    from h5py import h5g

    h5g.create(group, name)


def _nothing(group: Any, name: bytes, array: Array) -> None:
    return None


def _named_type(group: Any, name: bytes, array: Array) -> None:
    datatype(array.dtype).copy().commit(group, name)


def _shapes() -> Iterator[Made]:
    yield by_name("shape", _reshaped(3), "another extent", "BACKEND_MISMATCH", "A14 A11")
    yield by_name("rank", _reshaped(2, 1), "another number of dimensions", "BACKEND_MISMATCH", "A14")
    yield by_name("array-missing", _nothing, "no dataset of the array", "ARRAY_MISSING", "A15")
    yield by_name("array-group", _group, "a group in place of the array", "ARRAY_MISSING", "A15")
    yield by_name("array-type", _named_type, "a committed datatype in place of the array", "ARRAY_MISSING", "H12")
    yield behind(
        "array-missing-behind",
        _nothing,
        "no dataset of the array, while the index has the bytes",
        "ARRAY_MISSING",
        "A15",
    )
    yield behind(
        "shape-behind", _reshaped(3), "another extent, while the index has the bytes", "BACKEND_MISMATCH", "A14"
    )


FILTERS = {
    "lzf": (32000, ()),
    "blosc": (32001, (2, 2, 4, 8, 5, 1, 0)),
    "zstd": (32015, (3,)),
    "szip": (4, (141, 4, 32, 2)),
    "fletcher32": (3, ()),
}


def _filters() -> Iterator[Made]:
    for name, (code, values) in FILTERS.items():
        make = chunked((2, 3), (code,), values=values, mask=1)
        yield in_chunks(f"filter-{name}", make, f"the filter {code}", "H5_FILTER", "H18 H19", "H-7 S-3")
    twice = chunked((2, 3), (DEFLATE, DEFLATE))
    yield in_chunks("filter-twice", twice, "deflate twice", "H5_FILTER", "H18", "H-7")
    swapped = chunked((2, 3), (DEFLATE, SHUFFLE))
    yield in_chunks("filter-order", swapped, "deflate before shuffle", "H5_FILTER", "H18", "H-7")
    yield in_chunks(
        "filter-scale-offset", _lossy(6), "the filter scale-offset, which rounds", "H5_LOSSY_FILTER", "H20", "H-7 S-3"
    )
    yield in_chunks("filter-n-bit", _lossy(5), "the filter n-bit, which cuts", "H5_LOSSY_FILTER", "H20", "H-7 S-3")


def _lossy(code: int) -> Make:
    def make(group: Any, name: bytes, array: Array) -> None:
        from h5py import h5d, h5z

        created = plist()
        created.set_layout(h5d.CHUNKED)
        created.set_chunk(array.shape)
        created.set_alloc_time(h5d.ALLOC_TIME_INCR)
        if code == 6:
            created.set_scaleoffset(h5z.SO_FLOAT_DSCALE, 2)
        else:
            created.set_filter(code, h5z.FLAG_OPTIONAL, ())
        found = dataset(group, name, datatype(array.dtype), space(array.shape), created)
        found.write_direct_chunk((0,) * len(array.shape), array.raw, 1)

    return make


def _chunks() -> Iterator[Made]:
    for name, fault, stored in (
        ("garbage", "a chunk that is no stream", b"no stream"),
        ("short", "a stream of one byte less", zlib_stream(RAW[:-1])),
        ("long", "a stream of one byte more", zlib_stream(RAW + b"\0")),
        ("behind", "a byte behind the stream", zlib_stream(RAW) + b"\0"),
        ("cut", "a stream without its last byte", zlib_stream(RAW)[:-1]),
        ("empty", "a chunk of one byte", b"x"),
    ):
        make = chunked((2, 3), (DEFLATE,), stored={(0, 0): stored})
        yield in_chunks(f"chunk-{name}", make, fault, "DIGEST", "Z03 Z04 H28" if name == "short" else "H28", "H-9")
    flipped = bytearray(zlib_stream(RAW))
    flipped[12] ^= 1
    make = chunked((2, 3), (DEFLATE,), stored={(0, 0): bytes(flipped)})
    yield in_chunks("chunk-flipped", make, "one bit of a chunk is another", "DIGEST", "H28 I01", "H-9 G-3")
    make = chunked((1, 3), (DEFLATE,), stored={(1, 0): None})
    yield in_chunks("chunk-missing", make, "a chunk that is not stored", "ARRAY_MISSING_CHUNK", "Z01 H22", "H-7 H-9")
    make = chunked((1, 3), stored={(0, 0): None, (1, 0): None})
    yield in_chunks("chunks-missing", make, "no chunk is stored", "ARRAY_MISSING_CHUNK", "H22", "H-7 H-9")
    large = chunked((4, 3), (DEFLATE,), most=(-1, 3))
    yield in_chunks("chunk-large", large, "chunks that are longer than the array", "BACKEND_MISMATCH", rules="H-7")
    zeros = document({"a": Array("float32", (2, 3), bytes(24))})
    make = chunked((1, 3), stored={(1, 0): None})
    content = hdf5_file(zeros, make={0: make})
    fault = "a chunk of zeros that is not stored"
    yield invalid("chunk-missing-zeros", "hdf5", content, fault, "ARRAY_MISSING_CHUNK", rows="Z01", rules="H-9")


def _patched() -> Iterator[Made]:
    """Bytes of the metadata that no library writes."""
    named = hdf5_file(BASE, moved=512)
    at = named.index(A.raw)
    old = struct.pack("<BBQQ", 3, 1, at, len(A.raw))
    assert named.count(old) == 1
    far = named.replace(old, struct.pack("<BBQQ", 3, 1, len(named) - 4, len(A.raw)))
    fault = "data that ends behind the end of the file"
    yield invalid("data-behind-end", "hdf5", far, fault, "CONTAINER_TRUNCATED", rows="H26", rules="H-7")
    file = hdf5_file(GRID, make={0: chunked((2, 3), (DEFLATE,))})
    at = file.index(zlib_stream(RAW))
    tree = file.index(b"TREE\1\0")
    assert struct.unpack_from("<Q", file, tree + 24 + 32)[0] == at
    far = changed(file, (tree + 24 + 32, struct.pack("<Q", len(file) - 4)))
    fault = "a chunk that ends behind the end of the file"
    yield invalid("chunk-behind-end", "hdf5", far, fault, "CONTAINER_TRUNCATED", rows="H26", rules="H-7")
    fault = "an index of chunks that names its nodes many times: 64 to the power of 5 entries"
    yield invalid(
        "chunk-index-bomb", "hdf5", _bomb(file, tree), fault, "ARRAY_MISSING_CHUNK", rows="R03", rules="H-7 L-2"
    )
    lost = changed(file, (tree, b"XREE"))
    fault = "an index of chunks that no library can read"
    yield invalid("chunk-index-broken", "hdf5", lost, fault, "CONTAINER_TRUNCATED", rows="H28", rules="H-7")


def _bomb(file: bytes, tree: int) -> bytes:
    """Return a file with an index of chunks of five levels, each of which names the one below 64 times."""
    old = struct.pack("<Q", tree)
    assert file.count(old) == 1
    key = struct.pack("<IIQQQ", len(zlib_stream(RAW)), 0, 0, 0, 0)
    size = 24 + 64 * 8 + 65 * len(key)
    (chunk,) = struct.unpack_from("<Q", file, tree + 24 + len(key))
    out = bytearray(file.replace(old, struct.pack("<Q", len(file) + 4 * size)))
    for level in range(5):
        child = chunk if not level else len(file) + size * (level - 1)
        out += b"TREE" + struct.pack("<BBHQQ", 1, level, 64, UNDEFINED, UNDEFINED)
        out += (key + struct.pack("<Q", child)) * 64 + key
    struct.pack_into("<Q", out, 40, len(out))
    return bytes(out)


def _declared() -> Iterator[Made]:
    """5 GiB that nobody stored; their block digests are there."""
    blocks = b"".join([digest("xxh3-128", bytes(BLOCK))] * ((5 << 30) // BLOCK))
    shape = ((5 << 30) // 8,)
    row = {"digest": digest("xxh3-128", blocks).hex(), "dtype": "float64", "shape": list(shape)}
    said = text('{"array":0}', arrays=canonical([row]).decode())
    doc = Document(said, (Array("float64", shape, b""),), ("0-_",))
    make = chunked((1024,), (DEFLATE,), shape=shape)
    content = hdf5_file(doc, make={0: make}, blocks=lambda _: blocks)
    fault = "5 GiB are declared, nothing is stored"
    for name, codes, limits in (
        ("declared", "LIMIT_BYTES", {"total_bytes": 1 << 30}),
        ("declared-ratio", "LIMIT_RATIO", {"total_bytes": 1 << 50}),
    ):
        # A validator may go on and find that nothing is stored.
        about: dict[str, Any] = {"rows": "H22 R01", "rules": "L-1 L-2", "limits": limits}
        yield invalid(name, "hdf5", content, fault, codes, f"{codes} ARRAY_MISSING_CHUNK", **about)
