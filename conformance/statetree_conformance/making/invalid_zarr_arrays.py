"""Invalid vectors: Zarr folders whose arrays have other metadata, codecs or chunks. Source: spec section 7.4."""

import struct
from collections.abc import Iterator
from typing import Any

from statetree_conformance.making.base import floats, integers
from statetree_conformance.making.frames import crc32c, gzip_frame, zstd_frame
from statetree_conformance.making.invalid_zarr import folder_fault
from statetree_conformance.making.record import Made, invalid
from statetree_conformance.making.texts import Document, document, text
from statetree_conformance.making.valid_zarr import ARRAY, CRC, GRID, GZIP, RAW, ZSTD, chunks
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import (
    BYTES,
    GENERATION,
    array_json,
    but,
    folder,
    json_text,
    metadata,
    raw,
)

__all__ = ["made"]

SOUND = folder(GRID)
TEXT = raw(SOUND[f"{GENERATION}/{ARRAY}"])


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _agreement()
    yield from _fills()
    yield from _texts()
    yield from _layout()
    yield from _codecs()
    yield from _frames()
    said = text('{"array":0}', arrays=f'[{{"digest":"{"0" * 32}","dtype":"float64","shape":[{1 << 49}]}}]')
    content = but(folder(Document(said)), {"arrays/0-_/zarr.json": json_text(array_json("float64", [1 << 49]))})
    fault = "4 PiB are declared, nothing is stored"
    limits = {"total_bytes": 1 << 30}
    about: dict[str, Any] = {"rows": "Z24 R01", "rules": "L-2 R-1", "limits": limits}
    yield invalid(
        "declared", "zarr", content, fault, "LIMIT_BYTES", "LIMIT_BYTES BLOCK_DIGEST ARRAY_MISSING_CHUNK", **about
    )


def _other(
    name: str, fault: str, codes: str, rows: str = "", rules: str = "Z-9", doc: Document = GRID, **members: Any
) -> Made:
    """Return the vector of an array whose metadata have other members."""
    return folder_fault(name, metadata(folder(doc), ARRAY, **members), fault, codes, rows, rules)


def _agreement() -> Iterator[Made]:
    codes = "BACKEND_MISMATCH"
    yield _other("shape", "another shape than the manifest's", codes, "A14", shape=[3, 2])
    yield _other("shape-rank", "another number of dimensions than the manifest's", codes, "A14", shape=[6])
    yield _other("shape-missing", "no shape", f"{codes} Z_METADATA", "A14", shape=...)
    ones = document({"a": floats(1)})
    yield _other("shape-true", "`true` as an extent", f"{codes} Z_METADATA", "Z15", doc=ones, shape=[True])
    yield _other("shape-1.0", "`1.0` as an extent", f"{codes} Z_METADATA", "Z15 M09", doc=ones, shape=[1.0])
    yield _other("data-type", "another data type of the same size", codes, "A14", data_type="int32")
    yield _other("data-type-size", "another data type of another size", codes, "A14", data_type="float64")
    yield _other(
        "data-type-object",
        "a data type that is an extension",
        f"{codes} Z_METADATA",
        "A14",
        data_type={"name": "float32"},
    )
    yield _other("data-type-unknown", "a data type that Zarr does not have", codes, "A10", data_type="float128")
    int4 = document({"a": Array("int4", (2,), b"\1\2")})
    for name, attributes in {
        "missing": {},
        "other": {"statetree": {"dtype": "uint4"}},
        "list": {"statetree": ["int4"]},
        "more": {"statetree": {"dtype": "int4", "unit": "m"}},
    }.items():
        yield _other(
            f"carrier-{name}", "not the attribute of dtype int4", codes, "A09 A14", "Z-5", int4, attributes=attributes
        )
    needless = {"statetree": {"dtype": "float32"}}
    yield _other(
        "carrier-needless", "an attribute of a dtype that has no carrier", codes, "A14", "Z-5", attributes=needless
    )
    yield _other("attributes-list", "attributes that are a list", "Z_METADATA", attributes=[])


def _fills() -> Iterator[Made]:
    for name, value in {
        "1": 1.0,
        "minus-zero": -0.0,
        "null": None,
        "nan": "NaN",
        "text": "0x00000000",
        "false": False,
    }.items():
        yield _other(f"fill-{name}", "a fill value that is not zero", "Z_FILL", "Z20", "Z-5", fill_value=value)
    yield _other("fill-missing", "no fill value", "Z_FILL Z_METADATA", "Z20", "Z-5", fill_value=...)
    for name, one, fill in (
        ("integer-0.0", integers(1), 0.0),
        ("integer-1", integers(1), 1),
        ("bool-0", Array("bool", (1,), b"\1"), 0),
        ("bool-true", Array("bool", (1,), b"\1"), True),
        ("complex-one", Array("complex64", (1,), bytes(8)), 0.0),
        ("complex-minus-zero", Array("complex64", (1,), bytes(8)), [0.0, -0.0]),
        ("carrier", Array("int4", (1,), b"\1"), 15),
    ):
        fault = "a fill value that is not zero as this data type has it"
        yield _other(f"fill-{name}", fault, "Z_FILL", "Z20 A05", "Z-5", document({"a": one}), fill_value=fill)


def _texts() -> Iterator[Made]:
    def said(name: str, found: bytes, fault: str, codes: str, rows: str, rules: str = "Z-9") -> Made:
        return folder_fault(f"metadata-{name}", but(SOUND, {ARRAY: found}), fault, codes, rows, rules)

    twice = TEXT.replace(b"{", b'{"fill_value":1.0,', 1)
    yield said("member-twice", twice, "a member of metadata twice", "JSON_DUPLICATE_KEY", "Z11")
    yield said("bom", b"\xef\xbb\xbf" + TEXT, "a byte order mark before metadata", "JSON_ENCODING", "Z12")
    fill = b'"fill_value":0.0'
    assert fill in TEXT
    yield said(
        "nan",
        TEXT.replace(fill, b'"fill_value":NaN'),
        "a bare `NaN` as the fill value",
        "JSON_NONFINITE JSON_SYNTAX",
        "Z13",
    )
    yield said(
        "infinity",
        TEXT.replace(fill, b'"fill_value":-Infinity'),
        "a bare `-Infinity` as the fill value",
        "JSON_NONFINITE JSON_SYNTAX",
        "M06",
    )
    yield said("empty", b"", "metadata of no bytes", "JSON_SYNTAX", "Z25 M24")
    yield said("cut", TEXT[:-1], "metadata without their last byte", "JSON_SYNTAX", "M18")
    yield said("two", TEXT + TEXT, "metadata twice, one behind the other", "JSON_SYNTAX", "M23")
    yield said("list", b"[]", "a list in place of metadata", "Z_METADATA", "")
    yield said(
        "format-3.0",
        TEXT.replace(b'"zarr_format":3,', b'"zarr_format":3.0,'),
        "`zarr_format` 3.0",
        "JSON_NUMBER_FORM",
        "Z14",
    )
    yield said(
        "format-2",
        TEXT.replace(b'"zarr_format":3,', b'"zarr_format":2,'),
        "an array of Zarr version 2",
        "Z_FORMAT",
        "Z16 Z17",
    )
    yield said(
        "format-4",
        TEXT.replace(b'"zarr_format":3,', b'"zarr_format":4,'),
        "an array of Zarr version 4",
        "Z_FORMAT",
        "Z17",
    )
    yield said("group", TEXT.replace(b'"array"', b'"group"'), "an array that calls itself a group", "Z_METADATA", "Z18")


def _layout() -> Iterator[Made]:
    yield _other("member-unknown", "a member that Zarr does not define", "Z_METADATA", other={"name": "x"})
    yield _other(
        "member-must-understand", "a member that must be understood", "Z_METADATA", other={"must_understand": True}
    )
    transformers = [{"name": "indirect"}]
    yield _other(
        "storage-transformer", "a storage transformer", "Z_CODEC", "Z19", "Z-9 S-3", storage_transformers=transformers
    )
    for name, shape in {
        "longer": [3, 3],
        "second-axis": [2, 2],
        "zero": [0, 3],
        "negative": [-1, 3],
        "rank": [2],
        "1.0": [1.0, 3],
        "true": [True, 3],
        "text": ["2", "3"],
    }.items():
        regular = {"name": "regular", "configuration": {"chunk_shape": shape}}
        yield _other(f"grid-{name}", "chunks of another form", "Z_METADATA", rules="Z-5", chunk_grid=regular)
    grids: dict[str, Any] = {"rectilinear": {"name": "rectilinear"}, "text": "regular", "missing": ...}
    for name, grid in grids.items():
        yield _other(f"grid-of-{name}", "another grid of chunks", "Z_METADATA", rules="Z-5", chunk_grid=grid)
    encodings: dict[str, Any] = {
        "v2": {"name": "v2", "configuration": {"separator": "."}},
        "separator": {"name": "default", "configuration": {"separator": "-"}},
        "text": "default",
        "missing": ...,
    }
    for name, encoding in encodings.items():
        yield _other(
            f"chunk-keys-{name}",
            "another encoding of chunk keys",
            "Z_METADATA",
            rules="Z-5 Z-9",
            chunk_key_encoding=encoding,
        )


def _codecs() -> Iterator[Made]:
    def other(name: str, codecs: Any, fault: str, codes: str, rows: str = "Z19", doc: Document = GRID) -> Made:
        return _other(f"codec-{name}", fault, codes, rows, "Z-9 Z-5 S-3", doc, codecs=codecs)

    codec: dict[str, Any]
    for name in ("blosc", "numcodecs.lz4", "numcodecs.pickle", "python.import", "vlen-utf8"):
        codec = {"name": name, "configuration": {}}
        yield other(name.replace("numcodecs.", ""), [BYTES, codec], "a codec that is none of ours", "Z_CODEC")
    for name in (
        "numcodecs.bitround",
        "numcodecs.quantize",
        "numcodecs.fixedscaleoffset",
        "numcodecs.astype",
        "cast_value",
    ):
        codec = {"name": name, "configuration": {"keepbits": 3}}
        yield other(
            name.replace("numcodecs.", "").replace("_", "-"),
            [codec, BYTES],
            "a codec that rounds",
            "Z_LOSSY_CODEC Z_CODEC",
        )
    inner = {"chunk_shape": [1, 3], "codecs": [BYTES], "index_codecs": [BYTES, CRC], "index_location": "end"}
    shard = {"name": "sharding_indexed", "configuration": inner}
    yield other("sharding", [shard], "shards", "Z_METADATA", "Z19 Z02")
    transpose = {"name": "transpose", "configuration": {"order": [1, 0]}}
    yield other("transpose", [transpose, BYTES], "transposed chunks", "Z_METADATA")
    big = {"name": "bytes", "configuration": {"endian": "big"}}
    yield other("big-endian", [big], "big-endian elements", "Z_METADATA", "Z19 A17")
    yield other("no-endian", [{"name": "bytes"}], "no byte order of elements of four bytes", "Z_METADATA", "Z19 A17")
    bytewise = document({"a": integers(1, 2)})
    yield other(
        "big-endian-bytes",
        [big],
        "a byte order of elements of one byte that is not ours",
        "Z_METADATA",
        "Z19",
        bytewise,
    )
    yield other("order", [GZIP, BYTES], "gzip before the bytes", "Z_METADATA")
    yield other("checksum-first", [BYTES, CRC, GZIP], "a checksum before gzip", "Z_METADATA")
    yield other("two", [BYTES, GZIP, ZSTD], "two codecs that compress", "Z_METADATA")
    yield other("two-checksums", [BYTES, CRC, CRC], "two checksums", "Z_METADATA")
    yield other("none", [], "no codecs", "Z_METADATA")
    yield other("missing", ..., "no member `codecs`", "Z_METADATA")
    yield other("text", ["bytes"], "a codec as a bare text", "Z_METADATA")
    yield other("nameless", [{"configuration": {"endian": "little"}}], "a codec without a name", "Z_METADATA")


def _frames() -> Iterator[Made]:
    gzip, zstd = gzip_frame(RAW), zstd_frame(RAW)
    wrong = RAW[:-1] + b"\0"
    assert wrong != RAW
    dictionary = zstd[:4] + bytes([zstd[4] | 1]) + b"\x07" + zstd[5:]
    for name, codec, frame, fault in (
        ("gzip-flipped", GZIP, gzip[:20] + bytes([gzip[20] ^ 1]) + gzip[21:], "one bit of a gzip member is another"),
        ("gzip-crc", GZIP, gzip[:-8] + b"\0\0\0\0" + gzip[-4:], "another CRC-32 of a gzip member"),
        ("gzip-size", GZIP, gzip[:-4] + b"\0\0\0\0", "another size at the end of a gzip member"),
        ("gzip-cut", GZIP, gzip[:-1], "a gzip member without its last byte"),
        ("gzip-header", GZIP, gzip[:10], "the header of a gzip member alone"),
        ("gzip-behind", GZIP, gzip + b"\0", "a byte behind a gzip member"),
        ("gzip-two", GZIP, gzip_frame(RAW[:12]) + gzip_frame(RAW[12:]), "two gzip members, half of the chunk each"),
        ("gzip-more", GZIP, gzip_frame(RAW + b"\0"), "a gzip member that holds a byte too many"),
        ("gzip-less", GZIP, gzip_frame(RAW[:-1]), "a gzip member that holds a byte too few"),
        ("gzip-plain", GZIP, RAW, "a chunk that is not compressed"),
        ("gzip-other", GZIP, gzip_frame(wrong), "a gzip member of other values"),
        ("zstd-flipped", ZSTD, zstd[:-1] + bytes([zstd[-1] ^ 1]), "one bit of a zstd frame is another"),
        ("zstd-cut", ZSTD, zstd[:-1], "a zstd frame without its last byte"),
        ("zstd-behind", ZSTD, zstd + b"\0", "a byte behind a zstd frame"),
        ("zstd-two", ZSTD, zstd_frame(RAW[:12]) + zstd_frame(RAW[12:]), "two zstd frames, half of the chunk each"),
        ("zstd-more", ZSTD, zstd_frame(RAW + b"\0"), "a zstd frame that holds a byte too many"),
        ("zstd-less", ZSTD, zstd_frame(RAW[:-1]), "a zstd frame that holds a byte too few"),
        (
            "zstd-skippable",
            ZSTD,
            struct.pack("<II", 0x184D2A50, 4) + b"PK\5\6" + zstd,
            "a skippable frame before a zstd frame",
        ),
        (
            "zstd-skippable-behind",
            ZSTD,
            zstd + struct.pack("<II", 0x184D2A50, 4) + b"PK\5\6",
            "a skippable frame behind a zstd frame",
        ),
        ("zstd-checksum", ZSTD, zstd_frame(RAW, checked=True)[:-4] + bytes(4), "another checksum of a zstd frame"),
        ("zstd-dictionary", ZSTD, dictionary, "a zstd frame that needs a dictionary"),
    ):
        yield folder_fault(name, chunks(GRID, frame, codecs=(codec,)), fault, "DIGEST", "Z05", "Z-6 C-6")
    bad = crc32c(RAW)[::-1]
    yield folder_fault(
        "crc32c-big-endian",
        chunks(GRID, RAW + bad, codecs=(CRC,)),
        "a checksum that is big-endian",
        "DIGEST",
        "Z05",
        "Z-5 Z-6",
    )
    yield folder_fault(
        "crc32c-flipped",
        chunks(GRID, wrong + crc32c(RAW), codecs=(CRC,)),
        "a byte that its checksum does not fit",
        "DIGEST",
        "Z05",
        "Z-6",
    )
    inner = crc32c(RAW)
    yield folder_fault(
        "crc32c-of-array",
        chunks(GRID, gzip + inner, codecs=(GZIP, CRC)),
        "a checksum of the array in place of the frame",
        "DIGEST",
        "Z05",
        "Z-5",
    )
    short = chunks(GRID, RAW, codecs=(CRC,))
    yield folder_fault("crc32c-missing", short, "no checksum", "ARRAY_NBYTES DIGEST", "Z03", "Z-6")
    half = chunks(GRID, RAW[:12], rows=1)
    yield folder_fault("chunk-second-missing", half, "no chunk of the second row", "ARRAY_MISSING_CHUNK", "Z01", "Z-6")
    swapped = chunks(GRID, RAW[12:], RAW[:12], rows=1)
    yield folder_fault(
        "chunks-swapped", swapped, "the chunks of two rows, one in the place of the other", "DIGEST", "I01", "G-3"
    )
