"""HDF5 files that are damaged or made to harm: refused with class and code, or exactly the same tree."""

import os
import shutil
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import statetree as st
from statetree.digest import hasher
from statetree.store import ArraySpec
from statetree_backends import _hdf5_metadata
from statetree_backends._block import SIZE
from statetree_backends._hdf5_format import UNDEFINED
from statetree_backends.hdf5 import BACKEND

H5REPACK = shutil.which("h5repack")
A = np.arange(1000, dtype=np.float32)
PLACE = 8192
"""Where the data of the first array lies."""


def spoil(path: Path) -> None:
    """Make the bytes wrong at the place that the index names, so that array 0 is read by its name."""
    with path.open("r+b") as file:
        file.seek(PLACE)
        file.write(b"\xff" * 64)


def edited(tmp_path: Path, edit: Callable[[Any], None], tree: Any = None) -> Path:
    """Return a file of {"w": A}, or of `tree`, whose array 0 is read by its name, edited with h5py."""
    path = tmp_path / "a.h5"
    st.save(path, {"w": A} if tree is None else tree, durable=False)
    with h5py.File(path, "r+") as file:
        size = file["arrays/0-w"].nbytes
        del file["arrays/0-w"]
        # Takes the place of the data, so that what is made anew lies elsewhere.
        file["arrays"].create_dataset("taken", data=np.zeros(size, np.uint8))
        edit(file)
        file.flush()
    spoil(path)
    return path


def refused(path: Path) -> tuple[str, str]:
    """Return (code, text) of the error that loading gives."""
    with pytest.raises(st.StateTreeError) as caught:
        st.load(path)
    return caught.value.code, str(caught.value)


def reheaded(path: Path, at: int, data: bytes) -> None:
    """Change bytes of the header block and make its digest right again."""
    whole = bytearray(path.read_bytes())
    block = whole[4096 : 4096 + SIZE]
    block[at : at + len(data)] = data
    block[SIZE - 32 :] = hasher("xxh3-128")(bytes(block[: SIZE - 32])).ljust(32, b"\0")
    whole[4096 : 4096 + SIZE] = block
    path.write_bytes(whole)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a sound file of {"w": A}."""
    st.save(tmp_path / "a.h5", {"w": A}, durable=False)
    return tmp_path / "a.h5"


def survives_flips(path: Path, tree: Any, stride: int) -> tuple[int, int]:
    """Flip bytes one by one and return how many were (refused, harmless); anything else fails."""
    data = path.read_bytes()
    known = harmless = 0
    fd = os.open(path, os.O_RDWR)
    try:
        for at in range(len(data)):
            if data[at] == 0 and at % stride:
                continue
            os.pwrite(fd, bytes([data[at] ^ (1 << at % 8)]), at)
            try:
                assert st.difference(st.load(path), tree) is None, at
                harmless += 1
            except st.StateTreeError:
                known += 1
            os.pwrite(fd, data[at : at + 1], at)
    finally:
        os.close(fd)
    return known, harmless


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path, compression: str | None) -> None:
    tree = {"a": np.arange(20, dtype=np.float32), "big": np.arange(3000, dtype=np.int16), "n": 7}
    st.save(tmp_path / "a.h5", tree, compression=compression, durable=False)

    known, harmless = survives_flips(tmp_path / "a.h5", tree, 61)

    assert known > 300
    assert harmless > 100


@pytest.mark.skipif(H5REPACK is None, reason="h5repack is not installed")
def test_a_flipped_byte_is_refused_or_changes_nothing_where_names_are_used(tmp_path: Path) -> None:
    assert H5REPACK is not None
    tree = {"a": np.arange(20, dtype=np.float32), "b": np.ones(3, bool), "c": np.arange(3000, dtype=np.int16), "n": 7}
    st.save(tmp_path / "a.h5", tree, compression="gzip", durable=False)
    subprocess.run([H5REPACK, tmp_path / "a.h5", tmp_path / "b.h5"], check=True)

    known, harmless = survives_flips(tmp_path / "b.h5", tree, 61)

    assert known > 300
    assert harmless > 20


@pytest.mark.parametrize("left", [1, 512, 4095, 4097, 4096 + 100, 8191, 8192, -1, -100])
def test_a_file_cut_off_is_refused(saved: Path, left: int) -> None:
    data = saved.read_bytes()
    end = left if left > 0 else len(data) + left
    saved.write_bytes(data[:end])

    code, text = refused(saved)

    assert code in ("CONTAINER_TRUNCATED", "NOT_STATETREE")
    if end > 4096 + SIZE:
        assert text == (
            f"expected {len(data)} bytes, got {end} (in superblock): the file is damaged: restore it from a copy"
        )


def test_bytes_behind_the_end_are_refused(saved: Path) -> None:
    size = saved.stat().st_size
    saved.write_bytes(saved.read_bytes() + b"PK\5\6")

    assert refused(saved) == (
        "POLYGLOT",
        f"expected a file that ends with its HDF5 at {size}, got {size + 4} bytes (in superblock): something was added "
        "to the file: restore it from a copy",
    )


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_bytes_behind_the_end_are_refused_for_every_superblock(saved: Path, tmp_path: Path, libver: str) -> None:
    with h5py.File(saved) as source, h5py.File(tmp_path / "b.h5", "w", libver=libver) as target:
        for name in source:
            source.copy(name, target)
    sound = st.difference(st.load(tmp_path / "b.h5"), {"w": A})
    with (tmp_path / "b.h5").open("ab") as file:
        file.write(b"x")

    assert sound is None
    assert refused(tmp_path / "b.h5")[0] == "POLYGLOT"


def test_a_user_block_is_refused(saved: Path, tmp_path: Path) -> None:
    with h5py.File(saved) as source, h5py.File(tmp_path / "b.h5", "w", userblock_size=512) as target:
        for name in source:
            source.copy(name, target)
    data = bytearray((tmp_path / "b.h5").read_bytes())
    data[4096:4608] = saved.read_bytes()[4096:4608]
    (tmp_path / "b.h5").write_bytes(data)

    assert refused(tmp_path / "b.h5") == (
        "POLYGLOT",
        "expected HDF5 at the start of the file, got other bytes: the file is damaged: restore it from a copy",
    )


def test_a_base_address_is_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[24:32] = (512).to_bytes(8, "little")
    saved.write_bytes(data)

    code, text = refused(saved)

    assert code == "POLYGLOT"
    assert text.startswith("expected HDF5 at the start of the file, got a user block of 512 bytes (in superblock)")


def test_a_newer_major_version_is_refused_before_anything_else(saved: Path) -> None:
    reheaded(saved, 16, struct.pack("<H", 2))
    with saved.open("ab") as file:
        file.write(b"x")

    assert refused(saved) == (
        "VERSION_MAJOR",
        "expected format version 1, got version 2 (in header): read it with a newer statetree: pip install -U "
        "statetree",
    )


def test_a_newer_minor_version_is_read(saved: Path) -> None:
    reheaded(saved, 18, struct.pack("<H", 7))

    assert st.difference(st.load(saved), {"w": A}) is None


@pytest.mark.parametrize(
    ("at", "data", "code"),
    [
        (24, b"md5\0", "DIGEST_ALGORITHM"),
        (80, struct.pack("<Q", 1 << 62), "LIMIT_MANIFEST"),
        (88, bytes(16), "MANIFEST_DIGEST"),
        (128, struct.pack("<Q", 1 << 62), "LIMIT_MANIFEST"),
        (136, bytes(16), "INFO_DIGEST"),
        (80, struct.pack("<Q", 100), "H5_MANIFEST_FORM"),
        (184, bytes(16), "DIGEST"),
    ],
)
def test_a_header_that_is_wrong_is_refused(saved: Path, at: int, data: bytes, code: str) -> None:
    reheaded(saved, at, data)

    assert refused(saved)[0] == code


@pytest.mark.parametrize("part", range(4))
def test_a_text_that_is_not_where_the_header_says_is_found_by_its_name(saved: Path, part: int) -> None:
    reheaded(saved, 72 + 48 * part, struct.pack("<Q", 1 << 62))

    assert st.difference(st.load(saved), {"w": A}) is None


@pytest.mark.parametrize(
    "index", [b"", b"123", struct.pack("<QQ", 8192, 4000) + b"1", struct.pack("<4Q", 8192, 4000, 0, 0)]
)
def test_an_index_of_another_size_is_refused(saved: Path, index: bytes) -> None:
    data = saved.read_bytes()
    at = struct.unpack_from("<Q", data, 4096 + 168)[0]
    with saved.open("r+b") as file:
        file.seek(at)
        file.write(index)
    reheaded(saved, 176, struct.pack("<Q", len(index)) + hasher("xxh3-128")(index))

    assert refused(saved) == (
        "ARRAY_MISSING",
        f"expected an index of 16 bytes, got {len(index)} (in /index): the file is damaged: restore it from a copy",
    )


@pytest.mark.parametrize(
    "row", [(0, 0), (1 << 63, 4000), ((1 << 64) - 1, 4000), (8192, 1 << 63), (8192, 4001), (8192, 0), (4096, 4000)]
)
def test_an_index_that_is_wrong_is_not_believed(saved: Path, row: tuple[int, int]) -> None:
    index = struct.pack("<QQ", *row)
    at = struct.unpack_from("<Q", saved.read_bytes(), 4096 + 168)[0]
    with saved.open("r+b") as file:
        file.seek(at)
        file.write(index)
    reheaded(saved, 184, hasher("xxh3-128")(index))

    assert st.difference(st.load(saved), {"w": A}) is None


def test_a_place_outside_of_the_file_is_never_viewed(saved: Path) -> None:
    index = struct.pack("<QQ", 1 << 63, 4000)
    at = struct.unpack_from("<Q", saved.read_bytes(), 4096 + 168)[0]
    with saved.open("r+b") as file:
        file.seek(at)
        file.write(index)
    reheaded(saved, 184, hasher("xxh3-128")(index))
    reader = BACKEND.reader(saved, st.Limits())
    reader.manifest()
    reader.bind([ArraySpec.of("0-w", "float32", (1000,))])

    view = reader.view(0)

    assert view is not None
    assert bytes(view) == A.tobytes()


def test_an_array_read_by_its_name_is_not_looked_for_in_the_index_again(saved: Path) -> None:
    reader = BACKEND.reader(saved, st.Limits())
    reader.manifest()
    reader.bind([ArraySpec.of("0-w", "float32", (1000,))])

    tried = [reader.reread(0), reader.reread(0)]

    assert tried == [True, False]


def test_a_superblock_of_version_1_is_read(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[28:100] = data[24:96]
    data[24:28] = struct.pack("<HH", 32, 0)
    data[8] = 1
    saved.write_bytes(data)
    with h5py.File(saved) as file:
        assert file["arrays/0-w"][()].tobytes() == A.tobytes()

    sound = st.difference(st.load(saved), {"w": A})
    saved.write_bytes(data + b"x")

    assert sound is None
    assert refused(saved)[0] == "POLYGLOT"


LINKS: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "external link": (
        lambda file: file["arrays"].__setitem__("0-w", h5py.ExternalLink("secret.h5", "/w")),
        "H5_LINK",
        "expected an object in this file, got an external link (in /arrays/0-w): links and other files are never "
        "followed; copy the data in",
    ),
    "soft link": (
        lambda file: file["arrays"].__setitem__("0-w", h5py.SoftLink("/arrays/taken")),
        "H5_LINK",
        "expected an object in this file, got a soft link (in /arrays/0-w): links and other files are never "
        "followed; copy the data in",
    ),
    "dangling link": (
        lambda file: file["arrays"].__setitem__("0-w", h5py.SoftLink("/nothing")),
        "H5_LINK",
        "expected an object in this file, got a soft link (in /arrays/0-w): links and other files are never "
        "followed; copy the data in",
    ),
    "hard link": (
        lambda file: file["arrays"].__setitem__("0-w", file["arrays/taken"]),
        "H5_HARDLINK",
        "expected an object with one name, got one with more (in /arrays/0-w): write the file with a conforming writer",
    ),
    "no dataset": (
        lambda file: None,
        "ARRAY_MISSING",
        "expected a dataset, got none of that name (in /arrays/0-w): the file is damaged: restore it from a copy",
    ),
    "group": (
        lambda file: file["arrays"].create_group("0-w"),
        "ARRAY_MISSING",
        "expected a dataset, got none of that name (in /arrays/0-w): the file is damaged: restore it from a copy",
    ),
    "named datatype": (
        lambda file: file["arrays"].__setitem__("0-w", np.dtype("f4")),
        "ARRAY_MISSING",
        "expected a dataset, got none of that name (in /arrays/0-w): the file is damaged: restore it from a copy",
    ),
}


@pytest.mark.parametrize("name", LINKS)
def test_what_is_no_dataset_of_this_file_is_refused(tmp_path: Path, name: str) -> None:
    edit, code, text = LINKS[name]
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["w"] = A

    path = edited(tmp_path, edit)

    assert refused(path) == (code, text)


def test_the_target_of_a_link_is_never_opened(tmp_path: Path) -> None:
    path = edited(tmp_path, lambda file: file["arrays"].__setitem__("0-w", h5py.ExternalLink("pipe.h5", "/w")))
    # Whoever opens a pipe that nobody writes waits for ever.
    os.mkfifo(tmp_path / "pipe.h5")
    code = f"import statetree as st\ntry: st.load({str(path)!r})\nexcept st.SecurityError as error: print(error.code)"

    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, timeout=30, check=True)

    assert ended.stdout == b"H5_LINK\n"


def test_the_group_of_arrays_may_not_be_a_link(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["arrays/0-w"] = A

    def link(file: Any) -> None:
        del file["arrays"]
        file["arrays"] = h5py.ExternalLink("secret.h5", "/arrays")

    path = edited(tmp_path, link)

    assert refused(path)[0] == "H5_LINK"


def test_the_header_may_not_be_a_link(tmp_path: Path, saved: Path) -> None:
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["header"] = h5py.ExternalLink("a.h5", "/header")

    assert refused(tmp_path / "b.h5")[0] == "NOT_STATETREE"


def stored_virtually(file: Any) -> None:
    layout = h5py.VirtualLayout((1000,), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "w", (1000,))
    file["arrays"].create_virtual_dataset("0-w", layout)


def filtered(code: int, values: tuple[int, ...], *more: int) -> Callable[[Any], None]:
    def edit(file: Any) -> None:
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk((1000,))
        for each in (code, *more):
            created.set_filter(each, h5py.h5z.FLAG_OPTIONAL, values)
        space = h5py.h5s.create_simple((1000,))
        h5py.h5d.create(file["arrays"].id, b"0-w", h5py.h5t.IEEE_F32LE, space, created)

    return edit


STORAGE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "external": (
        lambda f: f["arrays"].create_dataset("0-w", (1000,), "f4", external=[("secret.h5", 0, 4000)]),
        "H5_EXTERNAL_DATA",
    ),
    "virtual": (stored_virtually, "H5_EXTERNAL_DATA"),
    "lzf": (lambda f: f["arrays"].create_dataset("0-w", data=A, compression="lzf"), "H5_FILTER"),
    "fletcher32": (lambda f: f["arrays"].create_dataset("0-w", data=A, fletcher32=True), "H5_FILTER"),
    "plug-in": (filtered(32015, (3,)), "H5_FILTER"),
    "deflate twice": (filtered(1, (3,), 1), "H5_FILTER"),
    "scale-offset": (lambda f: f["arrays"].create_dataset("0-w", data=A, scaleoffset=2), "H5_LOSSY_FILTER"),
    "no storage": (lambda f: f["arrays"].create_dataset("0-w", (1000,), "f4"), "ARRAY_MISSING_CHUNK"),
    "no chunks": (lambda f: f["arrays"].create_dataset("0-w", (1000,), "f4", chunks=(10,)), "ARRAY_MISSING_CHUNK"),
    "large chunks": (
        lambda f: f["arrays"].create_dataset("0-w", data=A, chunks=(5000,), maxshape=(None,)),
        "BACKEND_MISMATCH",
    ),
    "other shape": (lambda f: f["arrays"].create_dataset("0-w", data=A[:999]), "BACKEND_MISMATCH"),
    "other rank": (lambda f: f["arrays"].create_dataset("0-w", data=A.reshape(10, 100)), "BACKEND_MISMATCH"),
    "other values": (lambda f: f["arrays"].create_dataset("0-w", data=A + 1), "DIGEST"),
}


@pytest.mark.parametrize("name", STORAGE)
def test_data_elsewhere_or_behind_filters_is_refused(tmp_path: Path, name: str) -> None:
    edit, code = STORAGE[name]
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["w"] = A

    path = edited(tmp_path, edit)

    assert refused(path)[0] == code


VLEN, REFERENCE = h5py.vlen_dtype(np.float32), h5py.ref_dtype
TYPES: dict[str, tuple[Any, str, str]] = {
    "reference": (REFERENCE, "H5_DTYPE", "a reference"),
    "region reference": (h5py.regionref_dtype, "H5_DTYPE", "a reference"),
    "variable length": (VLEN, "H5_DTYPE", "a variable-length type"),
    "text": (h5py.string_dtype(), "H5_DTYPE", "a string"),
    "fixed text": ("S4", "H5_DTYPE", "a string"),
    "opaque": ("V4", "H5_DTYPE", "an opaque type"),
    "compound": ([("a", "f2"), ("b", "f2")], "H5_DTYPE", "a compound other than a complex number"),
    "enumeration": (h5py.enum_dtype({"A": 1}, "i4"), "H5_DTYPE", "an enumeration other than FALSE and TRUE"),
    "array type": (np.dtype(("f4", (2,))), "H5_DTYPE", "an array type"),
    "big-endian": (">f4", "BACKEND_MISMATCH", "another datatype"),
    "integer": ("i4", "BACKEND_MISMATCH", "another datatype"),
    "double": ("f8", "BACKEND_MISMATCH", "another datatype"),
    "complex": ("c8", "BACKEND_MISMATCH", "another datatype"),
    "bool": ("?", "BACKEND_MISMATCH", "another datatype"),
}


@pytest.mark.parametrize("name", TYPES)
def test_another_datatype_is_refused(tmp_path: Path, name: str) -> None:
    dtype, code, found = TYPES[name]

    path = edited(tmp_path, lambda file: file["arrays"].create_dataset("0-w", (1000,), dtype))

    remedy = (
        "the file is damaged: restore it from a copy"
        if found == "another datatype"
        else ("write it with a conforming writer")
    )
    assert refused(path) == (code, f"expected the datatype of float32, got {found} (in /arrays/0-w): {remedy}")


def test_a_float_of_another_bias_is_refused(tmp_path: Path) -> None:
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)

    path = edited(
        tmp_path,
        lambda file: h5py.h5d.create(file["arrays"].id, b"0-w", kind, h5py.h5s.create_simple((1000,))),
    )

    assert refused(path)[0] == "BACKEND_MISMATCH"


def test_a_committed_datatype_is_refused(tmp_path: Path) -> None:
    def edit(file: Any) -> None:
        file["type"] = np.dtype("f4")
        file["arrays"].create_dataset("0-w", (1000,), file["type"], A)

    path = edited(tmp_path, edit)

    assert refused(path)[0] == "H5_DTYPE"


@pytest.mark.parametrize("value", [np.bytes_(b"uint4"), np.bytes_(b"int4"), "int4", np.int8(4), None])
def test_a_carrier_must_name_its_dtype(tmp_path: Path, value: Any) -> None:
    import ml_dtypes

    tree = {"w": np.arange(100).astype(ml_dtypes.int4)}

    def edit(file: Any) -> None:
        dataset = file["arrays"].create_dataset("0-w", data=tree["w"].view(np.uint8) & 15)
        if value is not None:
            dataset.attrs["dtype"] = value

    path = edited(tmp_path, edit, tree)

    if value == b"int4":
        assert st.difference(st.load(path), tree) is None
    else:
        assert refused(path)[0] == "BACKEND_MISMATCH"


@pytest.mark.parametrize(
    "make",
    [
        lambda f, data: f.create_dataset("manifest", data=data.tobytes().decode()),
        lambda f, data: f.create_dataset("manifest", data=np.bytes_(data.tobytes())),
        lambda f, data: f.create_dataset("manifest", data=data.reshape(1, -1)),
        lambda f, data: f.create_dataset("manifest", data=data.view(np.int8)),
        lambda f, data: f.create_dataset("manifest", data=np.append(data, np.uint8(0))),
        lambda f, data: f.create_group("manifest"),
    ],
)
def test_a_manifest_of_another_form_is_refused(saved: Path, make: Callable[[Any, Any], None]) -> None:
    with h5py.File(saved, "r+") as file:
        data, place = file["manifest"][()], file["manifest"].id.get_offset()
        del file["manifest"]
        make(file, data)
    with saved.open("r+b") as raw:
        raw.seek(place)
        raw.write(bytes(16))

    assert refused(saved)[0] == "H5_MANIFEST_FORM"


def chunk_of(data: bytes, shape: tuple[int, ...] = (1000,), mask: int = 0) -> Callable[[Any], None]:
    """Return an edit that stores `data` as the only chunk of array 0."""

    def edit(file: Any) -> None:
        dataset = file["arrays"].create_dataset("0-w", shape, "f4", chunks=shape, compression="gzip")
        dataset.id.write_direct_chunk((0,) * len(shape), data, mask)

    return edit


@pytest.mark.parametrize(
    "data",
    [
        b"no stream",
        zlib.compress(A.tobytes()[:-1]),
        zlib.compress(A.tobytes() + b"\0"),
        zlib.compress(A.tobytes()) + b"\0",
        zlib.compress(A.tobytes())[:-1],
    ],
    ids=len,
)
def test_a_chunk_that_does_not_unpack_is_refused(tmp_path: Path, data: bytes) -> None:
    path = edited(tmp_path, chunk_of(data))

    assert refused(path)[0] == "DIGEST"


def test_a_chunk_that_skips_its_filter_is_read(tmp_path: Path) -> None:
    path = edited(tmp_path, chunk_of(A.tobytes(), mask=1))

    assert st.difference(st.load(path), {"w": A}) is None


def test_a_chunk_that_unpacks_to_much_more_is_refused_without_unpacking_it(tmp_path: Path) -> None:
    path = edited(tmp_path, chunk_of(zlib.compress(bytes(200 << 20), 9)))

    tracemalloc.start()
    try:
        code, text = refused(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert code == "DIGEST"
    assert text == (
        "expected a chunk of 4000 bytes at (0,), got other bytes (in /arrays/0-w): "
        "the file is damaged: restore it from a copy"
    )
    assert peak < 8 << 20


def test_an_index_of_chunks_that_names_its_nodes_many_times_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shared(at: int, chunks: Sequence[tuple[int, int]], rows: int, rank: int) -> tuple[bytes, int]:
        """Five nodes of 64 entries, each naming the one below in all of them: 2^30 chunks."""
        key = struct.pack("<II2Q", chunks[0][1], 0, 0, 0)
        size = 24 + 64 * 8 + 65 * len(key)
        nodes = b""
        for level in range(5):
            child = chunks[0][0] if not level else at + size * (level - 1)
            head = b"TREE" + struct.pack("<BBHQQ", 1, level, 64, UNDEFINED, UNDEFINED)
            nodes += head + (key + struct.pack("<Q", child)) * 64 + key
        return nodes, at + size * 4

    monkeypatch.setattr(_hdf5_metadata, "chunk_tree", shared)
    st.save(tmp_path / "a.h5", {"w": np.zeros(2000)}, compression="gzip", durable=False)

    assert refused(tmp_path / "a.h5") == (
        "ARRAY_MISSING_CHUNK",
        "expected the chunks of an array, got an index without an end (in /arrays/0-w): "
        "the file is damaged: restore it from a copy",
    )


def test_a_missing_chunk_is_refused_and_never_zeros(tmp_path: Path) -> None:
    def edit(file: Any) -> None:
        dataset = file["arrays"].create_dataset("0-w", (1000,), "f4", chunks=(100,))
        dataset[:900] = 0

    path = edited(tmp_path, edit, {"w": np.zeros(1000, np.float32)})

    assert refused(path) == (
        "ARRAY_MISSING_CHUNK",
        "expected a chunk at (900,), got none (in /arrays/0-w): the file is damaged: restore it from a copy",
    )


def test_a_reader_that_was_refused_leaves_no_file_open(saved: Path) -> None:
    with saved.open("ab") as file:
        file.write(b"x")
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(20):
        with pytest.raises(st.StateTreeError):
            BACKEND.reader(saved, st.Limits())

    assert len(os.listdir("/proc/self/fd")) == before
