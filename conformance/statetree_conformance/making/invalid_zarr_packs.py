"""Invalid vectors: Zarr folders whose packs are wrong. Source: spec section 7.4, [Z-7]."""

import struct
from collections.abc import Callable, Iterator

from statetree_conformance.making.base import A, integers
from statetree_conformance.making.frames import gzip_frame
from statetree_conformance.making.invalid_zarr import folder_fault, unseen
from statetree_conformance.making.record import Made, invalid
from statetree_conformance.making.texts import document
from statetree_conformance.making.valid_zarr import GZIP
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import GENERATION, Files, but, folder, metadata, packed, raw

__all__ = ["made"]


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _pack_rows()
    yield from _packs()
    yield from _pack_order()


PACKED = document([A, Array("uint8", (0,), b""), integers(1, 2, 3)])
"""An array at 0, one without elements, and one at 64."""
INDEX = "packs/index/c/0"


def _rows(change: Callable[[list[int]], None]) -> Files:
    """Return a folder with other numbers in the index of its pack."""
    files = packed(PACKED)
    numbers = list(struct.unpack("<9Q", raw(files[f"{GENERATION}/{INDEX}"])))
    change(numbers)
    return but(files, {INDEX: struct.pack("<9Q", *numbers)})


def _put(**values: int) -> Callable[[list[int]], None]:
    def change(numbers: list[int]) -> None:
        for name, value in values.items():
            numbers[int(name[1:])] = value

    return change


def _pack_rows() -> Iterator[Made]:
    for name, change, fault, codes in (
        ("size", _put(_2=7), "a row of a pack's index with another size than the array's", "BACKEND_MISMATCH"),
        ("beyond", _put(_7=66), "bytes behind the end of the pack", "BACKEND_MISMATCH"),
        ("overflow", _put(_7=(1 << 64) - 3), "an offset whose sum with the size is beyond 64 bits", "BACKEND_MISMATCH"),
        ("pack-2", _put(_0=2), "a row that names a pack that is not there", "ARRAY_MISSING"),
        ("pack-large", _put(_0=(1 << 64) - 1), "a row that names a pack of a number beyond 2^63", "ARRAY_MISSING"),
        ("pack-0", _put(_0=0, _1=0, _2=0), "a row of an array that is nowhere", "ARRAY_MISSING"),
        ("moved", _put(_7=0), "a row that names the place of another array", "DIGEST"),
    ):
        files = _rows(change)
        # Bytes of a pack that no row has are seen by a validator, whatever the reason.
        yield invalid(f"pack-row-{name}", "zarr", files, fault, codes, f"{codes} Z_METADATA", rows="A15", rules="Z-7")
    sound = packed(PACKED)
    index = raw(sound[f"{GENERATION}/{INDEX}"])
    for name, data in {"short": index[:-24], "long": index + bytes(24), "odd": index[:-1], "empty": b""}.items():
        yield folder_fault(
            f"pack-index-{name}", but(sound, {INDEX: data}), "an index of another size", "Z_METADATA", rules="Z-7"
        )


def _packs() -> Iterator[Made]:
    sound = packed(PACKED)
    about = "packs/0/zarr.json"
    data = raw(sound[f"{GENERATION}/packs/0/c/0"])
    for name, chunk, codes in (
        ("short", data[:-1], "ARRAY_NBYTES"),
        ("long", data + b"\0", "ARRAY_NBYTES"),
        ("flipped", bytes([data[0] ^ 1]) + data[1:], "DIGEST"),
        ("zeroed", bytes(len(data)), "DIGEST"),
    ):
        yield folder_fault(
            f"pack-{name}", but(sound, {"packs/0/c/0": chunk}), "other bytes of a pack", codes, "I01 Z03", "Z-7"
        )
    bare = {name: found for name, found in sound.items() if "/packs/0/" not in name}
    yield folder_fault("pack-missing", bare, "no folder of a pack", "ARRAY_MISSING", "A15", "Z-7")
    size = len(data)
    for name, members, codes in (
        ("codec", {"codecs": [{"name": "bytes"}, {"name": "blosc"}]}, "Z_METADATA Z_CODEC"),
        ("checksum", {"codecs": [{"name": "bytes"}, {"name": "crc32c"}]}, "Z_METADATA"),
        ("chunks", {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [8]}}}, "Z_METADATA"),
        ("separator", {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}}, "Z_METADATA"),
        (
            "2d",
            {"shape": [size, 1], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [size, 1]}}},
            "Z_METADATA",
        ),
        ("int8", {"data_type": "int8"}, "Z_METADATA BACKEND_MISMATCH"),
        (
            "32-mib",
            {"shape": [1 << 25], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1 << 25]}}},
            "Z_METADATA",
        ),
        ("group", {"node_type": "group"}, "Z_METADATA"),
    ):
        yield folder_fault(
            f"pack-of-{name}", metadata(sound, about, **members), "a pack with other metadata", codes, rules="Z-7"
        )
    frame = gzip_frame(data)
    bomb = packed(PACKED, codec=GZIP, chunk=gzip_frame(data + b"\0"))
    yield folder_fault(
        "pack-gzip-more", bomb, "a pack that unpacks to a byte too many", "DIGEST ARRAY_NBYTES", "Z05", "Z-7 C-6"
    )
    cut = packed(PACKED, codec=GZIP, chunk=frame[:-1])
    yield folder_fault(
        "pack-gzip-cut", cut, "a compressed pack without its last byte", "DIGEST ARRAY_NBYTES", "Z03", "Z-7 C-6"
    )


def _pack_order() -> Iterator[Made]:
    """What only a validator looks at."""
    sound = packed(PACKED)
    data = raw(sound[f"{GENERATION}/packs/0/c/0"])
    codes = "Z_METADATA"
    other = document([A, integers(1, 2, 3)])
    files = packed(other)
    late = data[64:].ljust(64, b"\0") + data[:8]
    about = metadata(
        files, "packs/0/zarr.json", shape=[72], chunk_grid={"name": "regular", "configuration": {"chunk_shape": [72]}}
    )
    swapped = but(about, {"packs/0/c/0": late, INDEX: struct.pack("<6Q", 1, 64, 8, 1, 0, 3)})
    yield unseen("pack-order", swapped, "rows of a pack that are not in the order of the table", codes, doc=other)
    near = metadata(
        files, "packs/0/zarr.json", shape=[11], chunk_grid={"name": "regular", "configuration": {"chunk_shape": [11]}}
    )
    tight = but(near, {"packs/0/c/0": data[:8] + data[64:], INDEX: struct.pack("<6Q", 1, 0, 8, 1, 8, 3)})
    yield unseen("pack-unaligned", tight, "an array in a pack that is not aligned to 64 bytes", codes, doc=other)
    twins = document([integers(1, 2), integers(1, 2)])
    alike = packed(twins)
    shared = metadata(
        alike, "packs/0/zarr.json", shape=[2], chunk_grid={"name": "regular", "configuration": {"chunk_shape": [2]}}
    )
    shared = but(shared, {"packs/0/c/0": b"\1\2", INDEX: struct.pack("<6Q", 1, 0, 2, 1, 0, 2)})
    yield unseen("pack-overlap", shared, "two arrays at one place of a pack", codes, doc=twins)
    filled = but(sound, {"packs/0/c/0": data[:20] + b"PK" + data[22:]})
    yield unseen("pack-between", filled, "bytes of a pack that no row has and that are not zero", codes, doc=PACKED)
    half = _rows(_put(_4=64))
    yield unseen("pack-row-half", half, "a row without a pack that has an offset", codes, doc=PACKED)
    whole = folder(PACKED)
    doubled = {**sound, **{name: found for name, found in whole.items() if "/arrays/0-" in name}}
    yield unseen("pack-and-alone", doubled, "an array in a pack and below arrays", "ARRAY_STRAY", doc=PACKED)
    for name, path in {"group": "packs/zarr.json", "index": "packs/index/zarr.json"}.items():
        gone = {key: found for key, found in sound.items() if key != f"{GENERATION}/{path}"}
        yield unseen(
            f"pack-{name}-metadata-missing",
            gone,
            f"no metadata of the {name} of packs",
            "Z_METADATA ARRAY_MISSING",
            rules="Z-7 Z-11",
            doc=PACKED,
        )
    lying = metadata(sound, "packs/index/zarr.json", shape=[24])
    yield unseen(
        "pack-index-metadata-shape",
        lying,
        "metadata of an index with another extent",
        "Z_METADATA BACKEND_MISMATCH",
        doc=PACKED,
    )
