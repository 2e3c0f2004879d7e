"""Invalid vectors: Zarr folders whose root, files, links or packs are wrong. Source: spec section 7.4."""

from collections.abc import Iterator
from typing import Any

from statetree_conformance.making.base import BASE, A, floats
from statetree_conformance.making.record import Made, Recipe, invalid
from statetree_conformance.making.texts import document
from statetree_conformance.making.valid_zarr import consolidated
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import (
    GENERATION,
    Files,
    array_json,
    but,
    folder,
    group_json,
    json_text,
    metadata,
    raw,
    root,
    without,
)

__all__ = ["made"]

SOUND = folder(BASE)
OTHER = "fedcba9876543210"
"""Name of a generation that the root does not name."""


def folder_fault(name: str, files: Files, fault: str, codes: str, rows: str = "", rules: str = "Z-1") -> Made:
    """Return the vector of a folder."""
    return invalid(name, "zarr", files, fault, codes, rows=rows, rules=rules)


def unseen(name: str, files: Files, fault: str, codes: str, rows: str = "", rules: str = "Z-11", **other: Any) -> Made:
    """Return a vector that a reader accepts that does not look at more than it must."""
    about: dict[str, Any] = {"doc": BASE, "rows": rows, "rules": rules, **other}
    return invalid(name, "zarr", files, fault, "accept?", codes, **about)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _roots()
    yield from _root_texts()
    yield from _commits()
    yield from _parts()
    yield from _links()
    yield from _strays()
    yield from _unread()


def _root(name: str, fault: str, codes: str, rows: str = "", **members: Any) -> Made:
    """Return the vector of a root whose attribute has other members."""
    files = but(SOUND, {"/zarr.json": json_text(group_json(statetree=root(BASE, **members)))})
    return folder_fault(f"attribute-{name}", files, fault, codes, rows)


def _roots() -> Iterator[Made]:
    yield _root("no-generation", "no member `generation`", "Z_METADATA", generation=...)
    yield _root("no-info", "no member `info`", "Z_METADATA", info=...)
    yield _root("no-version", "no member `version`", "VERSION_FORM Z_METADATA", "V01", version=...)
    yield _root("more", "another member", "Z_METADATA", "V10", host="x")
    yield _root("version-number", "the version as a number", "VERSION_FORM", "V08", version=1)
    yield _root("version-form", "a version of three numbers", "VERSION_FORM", "V08", version="1.0.0")
    yield _root("algorithm-number", "an algorithm that is no text", "Z_METADATA", algorithm=1)
    yield _root("generation-upper-case", "a generation in capitals", "Z_METADATA", generation=GENERATION.upper())
    yield _root("generation-short", "a generation of 15 characters", "Z_METADATA", generation=GENERATION[1:])
    yield _root(
        "generation-out", "a generation that leads out of the folder", "Z_METADATA", "K07", generation="../" + "a" * 13
    )
    yield _root("generation-number", "a generation that is a number", "Z_METADATA", generation=1)
    yield _root(
        "generation-line-feed", "a line feed behind the generation", "Z_METADATA", "M33", generation=GENERATION + "\n"
    )
    digest = root(BASE)["manifest"]
    yield _root("digest-upper-case", "a digest in capitals", "Z_METADATA", "I02", manifest=digest.upper())
    yield _root("digest-short", "a digest of two digits", "Z_METADATA", "I02", manifest="99")
    yield _root("digest-null", "null in place of a digest", "Z_METADATA", "I02", info=None)
    listed = but(SOUND, {"/zarr.json": json_text(group_json(statetree=["1.0"]))})
    yield folder_fault("attribute-list", listed, "a list in place of the attribute", "Z_METADATA")


def _root_texts() -> Iterator[Made]:
    text = raw(SOUND["zarr.json"])

    def said(name: str, found: bytes, fault: str, codes: str, rows: str = "", rules: str = "Z-9") -> Made:
        return folder_fault(f"root-metadata-{name}", but(SOUND, {"/zarr.json": found}), fault, codes, rows, rules)

    twice = text.replace(b"{", b'{"node_type":"group",', 1)
    yield said("member-twice", twice, "a member of the root's metadata twice", "JSON_DUPLICATE_KEY", "Z11")
    yield said("bom", b"\xef\xbb\xbf" + text, "a byte order mark before the root's metadata", "JSON_ENCODING", "Z12")
    more = text.replace(b'"attributes":{', b'"attributes":{"x":@,')
    yield said("nan", more.replace(b"@", b"NaN"), "a bare `NaN` in an attribute", "JSON_NONFINITE JSON_SYNTAX", "Z13")
    yield said(
        "1e400", more.replace(b"@", b"1e400"), "a number beyond binary64 in an attribute", "JSON_NUMBER_RANGE", "M07"
    )
    digits = more.replace(b"@", b"1" * 5000)
    yield said("5000-digits", digits, "a number of 5,000 digits in an attribute", "JSON_NUMBER_RANGE", "M08")
    yield said(
        "ff", more.replace(b"@", b'"\xff"'), "a byte 0xff in the root's metadata", "JSON_ENCODING JSON_SYNTAX", "M14"
    )
    yield said("cut", text[:-1], "a root's metadata without its last byte", "JSON_SYNTAX", "Z25")
    yield said("comma", text.replace(b"}}}", b"},}}"), "a comma too many in the root's metadata", "JSON_SYNTAX", "M18")
    yield said("format-3.0", text.replace(b":3,", b":3.0,"), "`zarr_format` 3.0", "JSON_NUMBER_FORM", "Z14")
    yield said("format-2", text.replace(b":3,", b":2,"), "`zarr_format` 2", "Z_FORMAT", "Z17")
    yield said("format-text", text.replace(b":3,", b':"3",'), "`zarr_format` as a text", "Z_METADATA", "Z14")
    yield said("format-missing", text.replace(b'"zarr_format":3,', b""), "no `zarr_format`", "Z_METADATA", "Z17")
    yield said("array", text.replace(b'"group"', b'"array"'), "a root that calls itself an array", "Z_METADATA", "Z18")
    yield said(
        "must-understand",
        text[:-1] + b',"x":{"must_understand":true}}',
        "a member that must be understood",
        "Z_METADATA",
    )
    yield said("unknown-member", text[:-1] + b',"x":1}', "a member that Zarr does not define", "Z_METADATA")
    yield said("list", b'["statetree"]', "a list in place of the root's metadata", "Z_METADATA")
    nested = text.replace(b'"attributes":{', b'"attributes":{"x":' + b"[" * 10_000 + b",")
    yield said(
        "nested", nested, "10,000 brackets, one inside of the other, never closed", "LIMIT_DEPTH JSON_SYNTAX", "M26"
    )


def _commits() -> Iterator[Made]:
    rules = "Z-2"
    bare = without(SOUND, "/zarr.json")
    yield folder_fault("no-root", bare, "no metadata of the root: the save never ended", "UNCOMMITTED", "Z25", rules)
    left = but(bare, {"/.zarr.json.1.statetree-tmp": b"{"})
    yield folder_fault(
        "no-root-temporary", left, "half of the root's metadata, under a temporary name", "UNCOMMITTED", "Z25", rules
    )
    gone = but(SOUND, {"/zarr.json": json_text(group_json(statetree=root(BASE, generation=OTHER)))})
    yield folder_fault(
        "no-generation", gone, "a root that names a generation that is not there", "UNCOMMITTED", "Z25", rules
    )
    filed = but(gone, {f"/{OTHER}": b"x"})
    yield folder_fault("generation-file", filed, "a root that names a file", "UNCOMMITTED", "Z25", rules)
    yield folder_fault(
        "no-root-others",
        but(bare, {"/notes.txt": b"x"}),
        "no metadata of the root, and other files",
        "NOT_STATETREE",
        rules=rules,
    )


def _parts() -> Iterator[Made]:
    rules = "Z-4"
    for part in ("manifest", "info"):
        files = without(SOUND, f"{part}/c/0")
        yield folder_fault(f"{part}-missing", files, f"no chunk of the {part}", "ARRAY_MISSING_CHUNK", "Z01", rules)
    hollow = but(SOUND, {"manifest/c/0": b""})
    yield folder_fault(
        "manifest-empty", hollow, "a manifest of no bytes", "MANIFEST_DIGEST JSON_SYNTAX", "M24 I01", rules
    )
    yield folder_fault(
        "array-missing", without(SOUND, "arrays/0-a"), "no folder of an array", "ARRAY_MISSING", "A15", rules
    )
    yield folder_fault(
        "array-metadata-missing",
        without(SOUND, "arrays/0-a/zarr.json"),
        "no metadata of an array",
        "ARRAY_MISSING",
        "A15",
        rules,
    )
    both = "ARRAY_MISSING Z_METADATA"
    yield folder_fault("arrays-missing", without(SOUND, "arrays"), "no folder of arrays", both, "A15", rules)
    filed = but(without(SOUND, "arrays"), {"arrays": b"x"})
    yield folder_fault("arrays-file", filed, "a file in place of the folder of arrays", both, rules="Z-9")
    other = but(
        without(SOUND, "arrays/0-a"),
        {f"arrays/0-A/{name}": raw(SOUND[f"{GENERATION}/arrays/0-a/{name}"]) for name in ("zarr.json", "c.0")},
    )
    yield folder_fault("array-other-name", other, "an array under another name", "ARRAY_MISSING", "A15", "C-2 C-3")
    yield folder_fault(
        "chunk-missing", without(SOUND, "arrays/0-a/c.0"), "no chunk of an array", "ARRAY_MISSING_CHUNK", "Z01", "Z-6"
    )
    zeros = document({"a": floats(0, 0)})
    yield folder_fault(
        "chunk-missing-zeros",
        without(folder(zeros), "arrays/0-a/c.0"),
        "no chunk of an array of zeros",
        "ARRAY_MISSING_CHUNK",
        "Z01 A05",
        "Z-6",
    )
    for name, data in {"short": A.raw[:-1], "long": A.raw + b"\0", "twice": A.raw * 2, "empty": b""}.items():
        files = but(SOUND, {"arrays/0-a/c.0": data})
        rows = "Z04 A11" if len(data) > 8 else "Z03 A11"
        yield folder_fault(
            f"chunk-{name}", files, f"a chunk of {len(data)} bytes in place of 8", "ARRAY_NBYTES", rows, "Z-6"
        )


def _links() -> Iterator[Made]:
    """Links, whose targets have the right bytes where they have any, and special files."""
    rules = "Z-9 S-2"
    twin = {f"/{OTHER}/{name.partition('/')[2]}": raw(found) for name, found in SOUND.items() if "/" in name}
    both = but(SOUND, twin)

    def linked(
        name: str, path: str, target: str, fault: str, rows: str, codes: str = "FS_LINK", found: Files = both
    ) -> Made:
        return folder_fault(
            f"link-{name}", but(without(found, path), {path: {"link": target}}), fault, codes, rows, rules
        )

    up = f"../../../{OTHER}/arrays/0-a"
    yield linked("chunk", "arrays/0-a/c.0", f"{up}/c.0", "a chunk that is a link to one with the right bytes", "Z06")
    yield linked(
        "chunk-out", "arrays/0-a/c.0", "/etc/hostname", "a chunk that is a link out of the folder", "Z06", found=SOUND
    )
    yield linked("chunk-dangling", "arrays/0-a/c.0", "nothing", "a chunk that is a link to nothing", "Z06", found=SOUND)
    yield linked("loop", "arrays/0-a/c.0", "c.0", "a chunk that is a link to itself", "Z08", found=SOUND)
    yield linked("metadata", "arrays/0-a/zarr.json", f"{up}/zarr.json", "metadata that are a link", "Z06")
    yield linked("array", "arrays/0-a", f"../../{OTHER}/arrays/0-a", "a folder of an array that is a link", "Z07")
    yield linked("arrays", "arrays", f"../{OTHER}/arrays", "a folder of arrays that is a link", "Z07")
    yield linked(
        "arrays-loop", "arrays", ".", "a folder of arrays that is a link to the folder around it", "Z08", found=SOUND
    )
    yield linked("manifest", "manifest/c/0", f"../../../{OTHER}/manifest/c/0", "a manifest that is a link", "Z06")
    yield linked(
        "manifest-folder", "manifest/c", f"../../{OTHER}/manifest/c", "a folder of the manifest that is a link", "Z07"
    )
    generation = without(both, f"/{GENERATION}") | {GENERATION: {"link": OTHER}}
    yield folder_fault("link-generation", generation, "a generation that is a link to another", "FS_LINK", "Z07", rules)
    away = {
        **without(SOUND, "/zarr.json"),
        "zarr.json": {"link": f"{GENERATION}/root"},
        f"{GENERATION}/root": SOUND["zarr.json"],
    }
    yield folder_fault(
        "link-root", away, "the root's metadata that are a link", "FS_LINK NOT_STATETREE UNCOMMITTED", "Z06", rules
    )
    for name, path in {
        "chunk": "arrays/0-a/c.0",
        "manifest": "manifest/c/0",
        "metadata": "arrays/0-a/zarr.json",
    }.items():
        piped = but(without(SOUND, path), {path: {"fifo": True}})
        yield folder_fault(f"fifo-{name}", piped, f"a named pipe in place of a {name}", "FS_SPECIAL", "Z10", "Z-9")
    for name, path in {"chunk": "arrays/0-a/c.0", "manifest": "manifest/c/0"}.items():
        entered = but(without(SOUND, path), {path: {"folder": True}})
        yield folder_fault(
            f"folder-{name}", entered, f"a folder in place of a {name}", "FS_SPECIAL ARRAY_MISSING_CHUNK", "Z10", "Z-9"
        )


def _strays() -> Iterator[Made]:
    stray = {"arrays/2-c/zarr.json": json_text(array_json("uint8", [1])), "arrays/2-c/c.0": b"x"}
    yield unseen("stray", but(SOUND, stray), "an array that is in no table", "ARRAY_STRAY", "A15")
    top = consolidated(SOUND)
    top["consolidated_metadata"]["metadata"][f"{GENERATION}/arrays/0-a"]["shape"] = [3]
    lying = but(SOUND, {"/zarr.json": json_text(top)})
    yield unseen(
        "consolidated-other",
        lying,
        "consolidated metadata with another shape of an array",
        "Z_CONSOLIDATED",
        "Z22",
        "Z-10 Z-11",
    )
    top = consolidated(SOUND)
    del top["consolidated_metadata"]["metadata"][f"{GENERATION}/arrays/0-a"]
    less = but(SOUND, {"/zarr.json": json_text(top)})
    yield unseen(
        "consolidated-less", less, "consolidated metadata that leave out an array", "Z_CONSOLIDATED", "Z22", "Z-10 Z-11"
    )
    top = consolidated(SOUND)
    top["consolidated_metadata"]["metadata"]["ghost"] = group_json()
    more = but(SOUND, {"/zarr.json": json_text(top)})
    yield unseen(
        "consolidated-more",
        more,
        "consolidated metadata of a group that is not there",
        "Z_CONSOLIDATED",
        "Z22",
        "Z-10 Z-11",
    )
    for name, path in {
        "zgroup": "/.zgroup",
        "zarray": "arrays/0-a/.zarray",
        "zattrs": ".zattrs",
        "zmetadata": "/.zmetadata",
    }.items():
        mixed = but(SOUND, {path: b'{"zarr_format":2}'})
        yield unseen(f"mixed-{name}", mixed, f"a file .{name} of Zarr version 2", "Z_MIXED", "Z17")


def _unread() -> Iterator[Made]:
    """Metadata that only a validator reads."""
    for name, path in {"generation": "zarr.json", "arrays": "arrays/zarr.json"}.items():
        gone = without(SOUND, path)
        yield unseen(
            f"{name}-metadata-missing",
            gone,
            f"no metadata of the group {name}",
            "Z_METADATA ARRAY_MISSING",
            rules="Z-4 Z-11",
        )
        lying = metadata(SOUND, path, node_type="array")
        yield unseen(f"{name}-metadata-array", lying, f"a group {name} that calls itself an array", "Z_METADATA", "Z18")
    for part in ("manifest", "info", "blocks"):
        gone = without(SOUND, f"{part}/zarr.json")
        yield unseen(
            f"{part}-metadata-missing", gone, f"no metadata of the {part}", "Z_METADATA ARRAY_MISSING", rules="Z-4 Z-11"
        )
        lying = metadata(SOUND, f"{part}/zarr.json", shape=[1])
        yield unseen(
            f"{part}-metadata-shape",
            lying,
            f"metadata of the {part} with another extent",
            "Z_METADATA BACKEND_MISMATCH ARRAY_MISSING_CHUNK BLOCK_DIGEST",
            rules="Z-4 Z-11",
        )
    lying = metadata(SOUND, "manifest/zarr.json", data_type="int8")
    yield unseen(
        "manifest-metadata-dtype", lying, "a manifest of int8", "Z_METADATA BACKEND_MISMATCH", rules="Z-4 Z-11"
    )
    gzip = [{"name": "bytes"}, {"name": "gzip", "configuration": {"level": 5}}]
    lying = metadata(SOUND, "manifest/zarr.json", codecs=gzip)
    yield unseen(
        "manifest-metadata-codec", lying, "a manifest that is said to be compressed", "Z_METADATA", rules="Z-4 Z-11"
    )
    hollow = document({"a": Array("int16", (0, 2), b""), "b": A})
    path = "arrays/0-a/zarr.json"
    gone = without(folder(hollow), path)
    yield unseen(
        "empty-missing",
        gone,
        "no metadata of an array without elements",
        "ARRAY_MISSING",
        "A15",
        "Z-4 Z-11",
        doc=hollow,
    )
    lying = metadata(folder(hollow), path, shape=[2, 0])
    yield unseen(
        "empty-other",
        lying,
        "another shape of an array without elements",
        "BACKEND_MISMATCH",
        "A14",
        "Z-11",
        doc=hollow,
    )
    for name, path, codes in (("root", "/zarr.json", "NOT_STATETREE"), ("array", "arrays/0-a/zarr.json", "Z_METADATA")):
        content = Recipe("zarr-padded", {"name": path, "bytes": (1 << 20) + 1})
        yield invalid(
            f"padded-{name}",
            "zarr",
            content,
            f"metadata of the {name} of more than 1 MiB",
            codes,
            rows="R02",
            rules="Z-9 Z-1 L-2",
        )
