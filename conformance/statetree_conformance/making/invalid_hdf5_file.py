"""Invalid vectors: HDF5 files whose frame, header block, texts or index are wrong. Source: spec 7.2.1 and 7.3."""

import struct
from collections.abc import Callable, Iterator
from typing import Any

from statetree_conformance.making.base import BASE, B, floats, integers
from statetree_conformance.making.hdf5 import (
    HEADER_AT,
    Make,
    attribute,
    contiguous,
    data_at,
    dataset,
    datatype,
    fixed_text,
    hdf5_file,
    plist,
    space,
)
from statetree_conformance.making.header import AT, put
from statetree_conformance.making.lookup3 import lookup3
from statetree_conformance.making.record import Made, invalid
from statetree_conformance.making.texts import document
from statetree_conformance.making.values import Array

__all__ = ["changed", "made"]

SOUND = hdf5_file(BASE)
NEW = ("V110", "LATEST")
TWINS = document({"a": floats(1, 2), "b": floats(3, 4)})
"""Two arrays of one dtype and shape."""
HOLLOW = document({"a": integers(dtype="int16", shape=(0, 2)), "b": B})
"""An array without elements, and another."""


def changed(file: bytes, *changes: tuple[int, bytes]) -> bytes:
    """Return a file with other bytes at some offsets."""
    out = bytearray(file)
    for at, data in changes:
        out[at : at + len(data)] = data
    return bytes(out)


def _file(name: str, content: bytes, fault: str, codes: str, rows: str = "", rules: str = "H-1", **other: Any) -> Made:
    return invalid(name, "hdf5", content, fault, codes, rows=rows, rules=rules, **other)


def _unseen(
    name: str, content: bytes, fault: str, codes: str, rows: str = "", rules: str = "H-10", **other: Any
) -> Made:
    """Return a vector of which a reader that goes by the index sees nothing; one that goes by names may."""
    return invalid(name, "hdf5", content, fault, "accept?", codes, rows=rows, rules=rules, **{"doc": BASE, **other})


def _stale(name: str, content: bytes, fault: str, codes: str, rows: str, rules: str, **other: Any) -> Made:
    """Return a vector with an offset that does not hold, where every reader goes by the name."""
    return invalid(name, "hdf5", content, fault, "accept", codes, rows=rows, rules=rules, **{"doc": BASE, **other})


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _frames()
    yield from _header_blocks()
    yield from _offsets()
    yield from _texts()
    yield from _flips()
    yield from _extras()


def _frames() -> Iterator[Made]:
    before = bytes(2048)
    shifted = hdf5_file(BASE, before=before)
    yield _file("not-at-0", shifted, "bytes before the HDF5, which begins at 2048", "POLYGLOT", "H25")
    block = changed(shifted, (2048 + 24, struct.pack("<Q", 2048)), (2048 + 40, struct.pack("<Q", len(shifted))))
    yield _file("user-block", block, "a user block of 2,048 bytes", "POLYGLOT", "H23")
    script = b"#!/bin/sh\necho run\nexit\n".ljust(2048, b"\n")
    yield _file("script", hdf5_file(BASE, before=script), "a program before the HDF5", "POLYGLOT", "H23 H25", "H-1 S-1")
    based = changed(SOUND, (24, struct.pack("<Q", 512)))
    yield _file("base-address", based, "a base address of 512", "POLYGLOT", "H23")
    yield _file("trailing", SOUND + b"PK\5\6", "four bytes behind the end", "POLYGLOT", "H24")
    newer = hdf5_file(BASE, bounds=NEW)
    yield _file("trailing-superblock-3", newer + b"\0", "a byte behind the end of a newer file", "POLYGLOT", "H24")
    for name, size in {"1": len(SOUND) - 1, "100": len(SOUND) - 100, "half": len(SOUND) // 2}.items():
        yield _file(
            f"truncated-{name}", SOUND[:size], f"only {size} bytes of {len(SOUND)}", "CONTAINER_TRUNCATED", "H26"
        )
    far = changed(SOUND, (40, struct.pack("<Q", len(SOUND) + 8)))
    yield _file("end-behind", far, "a superblock that says that the file is longer", "CONTAINER_TRUNCATED", "H27")
    near = changed(SOUND, (40, struct.pack("<Q", len(SOUND) - 8)))
    yield _file("end-before", near, "a superblock that says that the file is shorter", "POLYGLOT", "H27")
    yield _file("superblock-4", changed(SOUND, (8, b"\4")), "a superblock of a version that there is not", "POLYGLOT")
    yield _file("offsets-of-4", changed(SOUND, (13, b"\4")), "offsets of 4 bytes", "POLYGLOT")
    flagged = changed(newer, (11, b"\5"))
    locked = changed(flagged, (44, struct.pack("<I", lookup3(flagged[:44]))))
    yield _file(
        "being-written", locked, "a mark that a program has it open for writing", "CONTAINER_LOCKED", "H31", "H-1 H-7"
    )


def _header_blocks() -> Iterator[Made]:
    def block(name: str, fault: str, codes: str, at: int, data: bytes, rows: str = "", rules: str = "C-5") -> Made:
        return _file(f"header-{name}", hdf5_file(BASE, edit=put(at, data)), fault, codes, rows, rules)

    yield block("compression", "a compression that HDF5 files do not have", "HEADER_FORM", 40, b"zstd", rules="C-5 H-5")
    yield block("compression-padding", "a letter behind the padding of the compression", "HEADER_FORM", 55, b"x")
    yield block("reserved", "a byte that is not zero at 20", "HEADER_FORM", 20, b"\1")
    yield block("tail", "a byte that is not zero behind the parts", "HEADER_FORM", 479, b"\1")
    yield block("digest-padding", "a byte that is not zero behind a digest", "HEADER_FORM", AT["info"] + 16 + 16, b"\1")
    yield block("rows", "another number of rows than of arrays", "HEADER_FORM", 64, b"\3", rules="C-5 H-4")
    yield block("algorithm-padding", "a letter behind the padding of the algorithm", "DIGEST_ALGORITHM", 39, b"x")
    counted = hdf5_file(BASE, edit=put(56, struct.pack("<QQ", 3, 3)))
    yield _file(
        "header-arrays", counted, "another number of arrays than the manifest's", "BACKEND_MISMATCH", rules="C-5 R-1"
    )
    yield block("index-digest", "another digest of the index", "DIGEST", AT["index"] + 16, bytes(16), "I01", "C-5 R-1")
    yield _unseen(
        "header-blocks-digest",
        hdf5_file(BASE, edit=put(AT["blocks"] + 16, bytes(16))),
        "another digest of the block digests, which are empty",
        "DIGEST BLOCK_DIGEST",
        rules="G-3 C-5 H-10",
    )
    yield block(
        "manifest-size",
        "a manifest of 2^62 bytes",
        "LIMIT_MANIFEST",
        AT["manifest"] + 8,
        struct.pack("<Q", 1 << 62),
        "R02",
        "L-2 C-5",
    )
    yield block(
        "info-size",
        "an info text of 2^62 bytes",
        "LIMIT_MANIFEST",
        AT["info"] + 8,
        struct.pack("<Q", 1 << 62),
        "R02",
        "L-2 C-5",
    )
    yield block(
        "manifest-small",
        "a manifest of 100 bytes, which has more",
        "H5_MANIFEST_FORM MANIFEST_DIGEST",
        AT["manifest"] + 8,
        struct.pack("<Q", 100),
        rules="H-7",
    )
    later = hdf5_file(BASE, edit=put(16, b"\2\0"))
    rest = bytes(512 - 20)
    other = changed(later, (HEADER_AT + 20, rest)) + b"x"
    yield _file(
        "major-2-other-form",
        other,
        "a later major version, whose header block is another and which is longer",
        "VERSION_MAJOR",
        "V03",
        "R-1 M-2",
    )
    more = changed(SOUND, (HEADER_AT + 4095, b"\1"))
    yield _unseen(
        "header-behind",
        more,
        "a byte of the header that is not zero behind the header block",
        "HEADER_FORM",
        rules="H-3 H-10",
    )
    for size in (511, 16):
        yield _file(
            f"moved-header-{size}",
            hdf5_file(BASE, moved=size),
            f"a header of {size} bytes",
            "H5_MANIFEST_FORM NOT_STATETREE",
            rules="H-7",
        )
    yield _file(
        "moved-header-5000",
        hdf5_file(BASE, moved=5000),
        "a header of 5,000 bytes",
        "H5_MANIFEST_FORM NOT_STATETREE",
        rules="H-7",
    )


def _offsets() -> Iterator[Made]:
    for part in ("manifest", "info", "index"):
        stale = hdf5_file(BASE, edit=put(AT[part], struct.pack("<Q", 1 << 62)))
        yield _stale(
            f"{part}-moved", stale, f"an offset of the {part} behind the end", "BACKEND_MISMATCH", "H25b", "H-6 H-10"
        )
    near = hdf5_file(BASE, edit=put(AT["manifest"], struct.pack("<Q", HEADER_AT)))
    yield _stale(
        "manifest-elsewhere", near, "an offset at which other bytes lie", "BACKEND_MISMATCH", "H25b", "H-6 H-10"
    )
    wide = hdf5_file(BASE, edit=put(AT["manifest"], struct.pack("<Q", (1 << 64) - 8)))
    yield _stale(
        "manifest-overflow",
        wide,
        "an offset whose sum with the size is beyond 64 bits",
        "BACKEND_MISMATCH",
        rows="H25b",
        rules="C-5 H-10",
    )
    swapped = hdf5_file(TWINS, rows=lambda rows: rows[::-1])
    yield _stale(
        "index-swapped",
        swapped,
        "an index that names the place of one array for the other",
        "BACKEND_MISMATCH",
        "H25b",
        "H-6 H-10",
        doc=TWINS,
    )
    for name, row in {"outside": (1 << 63, 8), "overflow": ((1 << 64) - 4, 8), "header": (HEADER_AT, 8)}.items():
        stale = hdf5_file(BASE, rows=lambda rows, row=row: [row, rows[1]])  # type: ignore[misc]
        yield _stale(
            f"index-{name}",
            stale,
            "a place of an array where its data does not begin",
            "BACKEND_MISMATCH",
            "H25b",
            "H-4 H-6 H-10",
        )
    for name, index in {
        "short": lambda data: data[:-16],
        "long": lambda data: data + bytes(16),
        "odd": lambda data: data + b"\0",
    }.items():
        content = hdf5_file(BASE, index=index)
        yield _file(f"index-{name}", content, "an index of another size", "ARRAY_MISSING", rules="H-4")


def _as_text(group: Any, name: bytes, array: Array) -> None:
    from h5py import h5t

    kind = h5t.C_S1.copy()
    kind.set_size(h5t.VARIABLE)
    dataset(group, name, kind, space([1]), plist(filled=True))


def _as_fixed_text(group: Any, name: bytes, array: Array) -> int:
    found = dataset(group, name, fixed_text(array.raw, len(array.raw))[0], space([1]))
    return int(found.get_offset())


def _with_nul(group: Any, name: bytes, array: Array) -> int:
    found = dataset(group, name, datatype("uint8"), space([len(array.raw) + 1]))
    return int(found.get_offset())


def _shaped(group: Any, name: bytes, array: Array) -> int:
    return int(dataset(group, name, datatype("uint8"), space([1, len(array.raw)])).get_offset())


def _signed(group: Any, name: bytes, array: Array) -> int:
    return int(dataset(group, name, datatype("int8"), space(array.shape)).get_offset())


def _as_attribute(group: Any, name: bytes, array: Array) -> None:
    attribute(group, name, *fixed_text(array.raw, len(array.raw)))


def _as_group(group: Any, name: bytes, array: Array) -> None:
    from h5py import h5g

    h5g.create(group, name)


def _nothing(group: Any, name: bytes, array: Array) -> None:
    return None


FORMS: dict[str, tuple[Make, str, str]] = {
    "text": (_as_text, "a manifest that is a text of any length", "H5_MANIFEST_FORM"),
    "fixed-text": (_as_fixed_text, "a manifest that is a text of fixed length", "H5_MANIFEST_FORM"),
    "nul": (_with_nul, "a zero byte behind the manifest", "H5_MANIFEST_FORM"),
    "2d": (_shaped, "a manifest of two dimensions", "H5_MANIFEST_FORM"),
    "signed": (_signed, "a manifest of int8", "H5_MANIFEST_FORM"),
    "attribute": (_as_attribute, "a manifest that is an attribute", "ARRAY_MISSING"),
    "group": (_as_group, "a group in place of the manifest", "H5_MANIFEST_FORM"),
    "missing": (_nothing, "no manifest", "ARRAY_MISSING"),
}


def _texts() -> Iterator[Made]:
    for name, (make, fault, codes) in FORMS.items():
        content = hdf5_file(BASE, texts={"manifest": make}, moved=512)
        yield _file(f"manifest-{name}", content, fault, codes, "H29", "H-7 H-2")
    stretched = hdf5_file(BASE, texts={"manifest": _with_nul})
    yield _unseen(
        "manifest-nul-behind",
        stretched,
        "a zero byte behind the manifest, which the header block does not count",
        "H5_MANIFEST_FORM",
        "H29",
    )
    for part in ("info", "index", "blocks"):
        gone = hdf5_file(BASE, texts={part: _nothing}, moved=512)
        fault = f"no dataset /{part}"
        if part == "info":
            yield _file(f"{part}-missing", gone, fault, "ARRAY_MISSING", rules="H-2 H-7")
        else:
            yield _unseen(f"{part}-missing", gone, fault, "ARRAY_MISSING", rules="H-2 H-10")
    link = hdf5_file(BASE, texts={"info": _linked}, moved=512)
    yield _file("info-soft-link", link, "a soft link in place of the info text", "H5_LINK", "H02", "H-7 S-2")


def _linked(group: Any, name: bytes, array: Array) -> None:
    group.links.create_soft(name, b"/manifest")


def _flips() -> Iterator[Made]:
    flipped = changed(SOUND, (HEADER_AT + 80, bytes([SOUND[HEADER_AT + 80] ^ 1])))
    yield _file("flipped-header", flipped, "one bit of the header block is another", "DIGEST", "H28 I01", "C-5")
    (index,) = struct.unpack_from("<Q", SOUND, HEADER_AT + AT["index"])
    flipped = changed(SOUND, (index, bytes([SOUND[index] ^ 1])))
    yield _file("flipped-index", flipped, "one bit of the index is another", "DIGEST", "H28 I01", "C-5 R-1")
    for name, mark in {"tree": b"TREE", "table": b"SNOD", "heap": b"HEAP"}.items():
        at = SOUND.rindex(mark)
        flipped = changed(SOUND, (at, b"X"))
        yield _unseen(
            f"flipped-{name}",
            flipped,
            f"one byte of {mark.decode()} of a group is another",
            "CONTAINER_TRUNCATED ARRAY_MISSING",
            "H28",
            "H-7 H-10",
        )
    at = data_at(BASE, 0, SOUND)
    yield _file(
        "zeroed-array", changed(SOUND, (at, bytes(8))), "an array whose bytes are zero", "DIGEST", "I01", "G-3 H-6"
    )


PICKLE = b"cposix\nsystem\n(S'true'\ntR."


def _opaque(file: Any) -> None:
    from h5py import h5t

    kind = h5t.create(h5t.OPAQUE, len(PICKLE))
    kind.set_tag(b"pickle")
    attribute(file, b"state", kind, PICKLE)


def _dataset_in(group: bytes, name: bytes) -> Callable[[Any], None]:
    def make(file: Any) -> None:
        from h5py import h5g

        contiguous(h5g.open(file, group), name, Array("uint8", (len(PICKLE),), PICKLE))

    return make


def _attribute_of(path: bytes) -> Callable[[Any], None]:
    def make(file: Any) -> None:
        from h5py import h5o

        attribute(h5o.open(file, path), b"unit", *fixed_text(b"m", 2))

    return make


def _group_in(group: bytes) -> Callable[[Any], None]:
    def make(file: Any) -> None:
        from h5py import h5g

        h5g.create(h5g.open(file, group), b"more")

    return make


def _cycle(file: Any) -> None:
    from h5py import h5g

    group, root = h5g.open(file, b"/arrays"), h5g.open(file, b"/")
    group.links.create_hard(b"loop", root, b"/")


def _type(file: Any) -> None:
    datatype("float32").copy().commit(file, b"type")


def _extras() -> Iterator[Made]:
    for name, make, fault, codes, rows in (
        (
            "dataset",
            _dataset_in(b"/", b"state"),
            "another dataset in the root, with a pickle in it",
            "CONTAINER_EXTRA",
            "H30 P05",
        ),
        ("group", _group_in(b"/"), "another group in the root", "CONTAINER_EXTRA", "H30"),
        ("group-of-arrays", _group_in(b"/arrays"), "a group below /arrays", "CONTAINER_EXTRA ARRAY_STRAY", "H30"),
        ("attribute", _attribute_of(b"/"), "an attribute of the root", "CONTAINER_EXTRA", "H30"),
        ("attribute-of-array", _attribute_of(b"/arrays/0-a"), "an attribute of an array", "CONTAINER_EXTRA", "H30"),
        (
            "attribute-of-manifest",
            _attribute_of(b"/manifest"),
            "an attribute of the manifest",
            "CONTAINER_EXTRA",
            "H30",
        ),
        ("pickle-attribute", _opaque, "an opaque attribute with a pickle in it", "CONTAINER_EXTRA", "H30 P05"),
        ("type", _type, "a committed datatype", "CONTAINER_EXTRA H5_DTYPE", "H30 H12"),
        (
            "stray",
            _dataset_in(b"/arrays", b"2-c"),
            "a dataset below /arrays that is in no table, with a pickle in it",
            "ARRAY_STRAY",
            "A15 P05",
        ),
        ("cycle", _cycle, "a group that leads back to the root", "H5_CYCLE H5_HARDLINK", "H10"),
    ):
        yield _unseen(f"extra-{name}", hdf5_file(BASE, more=make), fault, codes, rows, "H-10 R-3")
    missing = hdf5_file(HOLLOW, make={0: _nothing})
    yield _unseen(
        "empty-missing",
        missing,
        "no dataset of an array without elements",
        "ARRAY_MISSING",
        "A15",
        "H-6 H-10",
        doc=HOLLOW,
    )
    other = hdf5_file(HOLLOW, make={0: lambda g, n, a: contiguous(g, n, Array("int16", (2, 0), b""))})
    yield _unseen(
        "empty-other",
        other,
        "another shape of an array without elements",
        "BACKEND_MISMATCH",
        "A14",
        "H-6 H-10",
        doc=HOLLOW,
    )
