"""HDF5 files by the stock library: places first, bytes into them afterwards. Source: spec section 7.3.

The library makes every object and says where its data lies; the data itself, the index and the header block are put
into the bytes of the finished file. So any of them can be wrong, and the rest is what stock HDF5 makes.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from statetree_conformance.making.header import Edit, header_block
from statetree_conformance.making.texts import Document
from statetree_conformance.making.values import Array
from statetree_spec import registry

__all__ = ["HEADER_AT", "Make", "Row", "contiguous", "data_at", "datatype", "fixed_text", "hdf5_file", "plain_file"]

HEADER_AT, HEADER_SIZE = 4096, 4096
Row = tuple[int, int]
Make = Callable[[Any, bytes, Array], int | None]
"""Makes the dataset of an array in a group under a name; returns the file offset of its data if that is one piece."""
CARRIERS: dict[str, str | None] = {row["name"]: row["carrier"] for row in registry("dtypes")["dtypes"]}
PLAIN = {
    **{f"int{bits}": f"STD_I{bits}LE" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"STD_U{bits}LE" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"IEEE_F{bits}LE" for bits in (16, 32, 64)},
}


def datatype(dtype: str) -> Any:
    """[E-5]: return the datatype that stores a dtype."""
    from h5py import h5t

    if dtype in PLAIN:
        return getattr(h5t, PLAIN[dtype])
    if dtype == "bool":
        kind = h5t.enum_create(h5t.STD_I8LE)
        kind.enum_insert(b"FALSE", 0)
        kind.enum_insert(b"TRUE", 1)
        return kind
    if dtype == "bfloat16":
        kind = h5t.IEEE_F16LE.copy()
        kind.set_fields(15, 7, 8, 0, 7)
        kind.set_ebias(127)
        return kind
    if dtype.startswith("complex"):
        half = h5t.IEEE_F32LE if dtype == "complex64" else h5t.IEEE_F64LE
        kind = h5t.create(h5t.COMPOUND, 2 * half.get_size())
        kind.insert(b"r", 0, half)
        kind.insert(b"i", half.get_size(), half)
        return kind
    return h5t.STD_U8LE


def space(shape: Sequence[int], most: Sequence[int] | None = None) -> Any:
    """Return a dataspace; a maximum extent of -1 is none."""
    from h5py import h5s

    bounds = None if most is None else tuple(h5s.UNLIMITED if extent < 0 else extent for extent in most)
    return h5s.create_simple(tuple(shape), bounds) if shape else h5s.create(h5s.SCALAR)


def fixed_text(value: bytes, size: int, *, padded: bool = False) -> tuple[Any, bytes]:
    """Return (datatype, bytes) of a text of fixed length, which ends with a zero byte or is padded with them."""
    from h5py import h5t

    kind = h5t.C_S1.copy()
    kind.set_size(size)
    kind.set_strpad(h5t.STR_NULLPAD if padded else h5t.STR_NULLTERM)
    return kind, value.ljust(size, b"\0")


def attribute(object_: Any, name: bytes, kind: Any, value: bytes) -> None:
    """Write a scalar attribute."""
    import numpy as np
    from h5py import h5a

    made = h5a.create(object_, name, kind, space(()))
    made.write(np.frombuffer(value, np.dtype(f"V{len(value)}")).reshape(()), kind)


def plist(*, filled: bool = False) -> Any:
    """Return the properties of a dataset whose data has its place at once and which holds no time."""
    from h5py import h5d, h5p

    created = h5p.create(h5p.DATASET_CREATE)
    created.set_layout(h5d.CONTIGUOUS)
    created.set_alloc_time(h5d.ALLOC_TIME_EARLY)
    created.set_fill_time(h5d.FILL_TIME_IFSET if filled else h5d.FILL_TIME_NEVER)
    created.set_obj_track_times(False)
    return created


def dataset(group: Any, name: bytes, kind: Any, where: Any, created: Any | None = None) -> Any:
    """Make a dataset."""
    from h5py import h5d

    return h5d.create(group, name, kind, where, created or plist())


def contiguous(group: Any, name: bytes, array: Array) -> int | None:
    """[H-2], [H-8]: make the dataset of an array as a writer does."""
    made = dataset(group, name, datatype(array.dtype), space(array.shape))
    if CARRIERS[array.dtype] == "uint8":
        kind, value = fixed_text(array.dtype.encode(), len(array.dtype) + 1)
        attribute(made, b"dtype", kind, value)
    return made.get_offset() if array.raw else None


def _access(alignment: int, least: int, bounds: tuple[str, str], image: bytes | None = None) -> Any:
    from h5py import h5f, h5p

    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fapl_core(4096, False)
    access.set_alignment(least, alignment)
    access.set_libver_bounds(*(getattr(h5f, f"LIBVER_{bound}") for bound in bounds))
    if image is not None:
        access.set_file_image(image)
    return access


def _untimed(kind: str) -> Any:
    """Return the properties of a file or a group that holds no time."""
    from h5py import h5p

    created = h5p.create(getattr(h5p, kind))
    created.set_obj_track_times(False)
    return created


def _closed(file: Any) -> bytes:
    from h5py import h5f

    h5f.flush(file)
    image = bytes(file.get_file_image())
    file.close()
    return image


def plain_file(fill: Callable[[Any], None]) -> bytes:
    """Return an HDF5 file with whatever `fill` puts into it."""
    from h5py import h5f

    file = h5f.create(b"plain", h5f.ACC_TRUNC, _untimed("FILE_CREATE"), _access(64, 1, ("EARLIEST", "V18")))
    fill(file)
    return _closed(file)


def _begun(bounds: tuple[str, str], at: int) -> bytes:
    """Return a file with the dataset `/header` alone, whose data lies at `at`."""
    from h5py import h5f

    access = _access(at, HEADER_SIZE, bounds)
    access.set_meta_block_size(at // 2)
    file = h5f.create(b"header", h5f.ACC_TRUNC, _untimed("FILE_CREATE"), access)
    assert dataset(file, b"header", datatype("uint8"), space([HEADER_SIZE])).get_offset() == at
    return _closed(file)


def hdf5_file(
    doc: Document,
    *,
    make: Mapping[int, Make] | None = None,
    texts: Mapping[str, Make] | None = None,
    moved: int = 0,
    more: Callable[[Any], None] | None = None,
    rows: Callable[[list[Row]], list[Row]] = list,
    index: Callable[[bytes], bytes] = bytes,
    blocks: Callable[[bytes], bytes] = bytes,
    edit: Edit | None = None,
    arrays: int | None = None,
    compression: str = "",
    tracked: bool = False,
    bounds: tuple[str, str] = ("EARLIEST", "V18"),
    before: bytes = b"",
) -> bytes:
    """Return a file; every argument but the first changes one thing of a sound one.

    Args:
        doc: what it holds.
        make: how the datasets of some arrays are made, by index; the others are `contiguous`.
        texts: how the datasets of some texts are made, by name; the group that they are given is the root.
        moved: bytes of a header that is not at 4096, so that everything is read by its name; 0 if it is there.
        more: adds objects to the open file.
        rows: the rows of the index.
        index: the bytes of the index.
        blocks: the joined block digests.
        edit: changes the header block.
        arrays: number of arrays in the header block.
        compression: what the header block says of it.
        tracked: whether the group of arrays keeps the order of its links, so that it can hold links of every kind.
        bounds: the oldest and the newest version of HDF5 whose structures are used.
        before: bytes before the HDF5, to whose size all addresses are then relative.
    """
    from h5py import h5f, h5g, h5p

    if moved:
        file = h5f.create(b"moved", h5f.ACC_TRUNC, _untimed("FILE_CREATE"), _access(64, 1, bounds))
    else:
        file = h5f.open(b"parts", h5f.ACC_RDWR, _access(64, 1, bounds, _begun(bounds, HEADER_AT - len(before))))
    created = _untimed("GROUP_CREATE")
    if tracked:
        created.set_link_creation_order(h5p.CRT_ORDER_TRACKED)
    group = h5g.create(file, b"arrays", None, created)
    found = dict(enumerate(contiguous for _ in doc.arrays)) | dict(make or {})
    data: list[tuple[int | None, bytes]] = []
    for number, (name, array) in enumerate(zip(doc.names, doc.arrays, strict=True)):
        data.append((found[number](group, name.encode(), array), array.raw))
    table = rows([(at + len(before), len(raw)) if at is not None else (0, 0) for at, raw in data])
    contents = {
        "manifest": doc.text,
        "info": doc.info,
        "index": index(b"".join(struct.pack("<QQ", *row) for row in table)),
        "blocks": blocks(doc.blocks),
    }
    parts: dict[str, tuple[int, bytes]] = {}
    for name, content in contents.items():
        how = (texts or {}).get(name, contiguous)
        at = how(file, name.encode(), Array("uint8", (len(content),), content))
        data.append((at, content))
        parts[name] = (at or 0) + len(before), content
    block = header_block(
        doc.algorithm,
        parts,
        arrays=len(doc.arrays) if arrays is None else arrays,
        rows=len(doc.arrays),
        version=doc.version,
        compression=compression,
        edit=edit,
    )
    if moved:
        data.append((contiguous(file, b"header", Array("uint8", (moved,), block)), block[:moved]))
    else:
        data.append((HEADER_AT - len(before), block))
    if more is not None:
        more(file)
    del group
    out = bytearray(_closed(file))
    for at, raw in data:
        if at is not None:
            out[at : at + len(raw)] = raw
    return before + bytes(out)


def data_at(doc: Document, number: int, file: bytes) -> int:
    """Return the file offset of an array, by the header block and the index of a sound file."""
    (at,) = struct.unpack_from("<Q", file, HEADER_AT + 168)
    (offset,) = struct.unpack_from("<Q", file, at + 16 * number)
    assert file[offset:].startswith(doc.arrays[number].raw)
    return int(offset)
