"""Files that were damaged: an error of ours or the same tree, never another tree and never a foreign error."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as hs

import statetree as st

SHARED = np.arange(6, dtype=np.float32).reshape(2, 3)
TREE = {
    "w": SHARED,
    "tied": [SHARED, (np.array(True), np.zeros((0, 3), np.int16))],
    "σ": st.Record({"f8": np.array([0.5, -2], ml_dtypes.float8_e4m3fn), "c": np.array([-0.0 - 0j])}, label="Norm"),
    1: {None: 2**70, b"k": -0.0, (st.Symbol("s"), "t"): np.float16(1.5)},
}
BLOCKS = {
    "big": np.random.default_rng(0).integers(0, 1 << 20, 5 << 18, np.int32),
    "b16": np.ones(3, ml_dtypes.bfloat16),
}
"""An array of 5 MiB has block digests."""
MANY = [np.full(2, i, np.int16) for i in range(1100)]
"""So many small arrays share files in a Zarr folder."""

CONTAINERS = {
    "hdf5": ("t.h5", None),
    "hdf5, gzip": ("t.h5", "gzip"),
    "zarr": ("t.zarr", None),
    "zarr, zstd": ("t.zarr", "zstd"),
    "zarr.zip": ("t.zarr.zip", None),
    "zarr.zip, gzip": ("t.zarr.zip", "gzip"),
    "bson": ("t.bson", None),
    "bson, zstd": ("t.bson", "zstd"),
}
each_container = pytest.mark.parametrize("container", CONTAINERS)


def saved(folder: Path, container: str, tree: Any) -> Path:
    name, compression = CONTAINERS[container]
    st.save(folder / name, tree, compression=compression, durable=False)
    return folder / name


def files_of(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def outcome(path: Path, tree: Any) -> str:
    """Return how loading ended: `refused` or `same`; anything else fails the test."""
    try:
        found = st.load(path)
    except st.StateTreeError:
        return "refused"
    assert st.difference(tree, found) is None
    return "same"


def flips(content: bytes, stride: int) -> Iterator[tuple[int, int]]:
    """Yield (offset, byte to put there): one bit at one offset, all bits at the next."""
    for offset in range(0, len(content), stride):
        yield offset, content[offset] ^ (0xFF if offset & 1 else 1 << (offset >> 1) % 8)


def flip_all(path: Path, tree: Any, stride: Callable[[int], int]) -> dict[str, int]:
    counts = {"refused": 0, "same": 0}
    for file in files_of(path):
        content = file.read_bytes()
        with file.open("r+b", buffering=0) as handle:
            for offset, value in flips(content, stride(len(content))):
                handle.seek(offset)
                handle.write(bytes([value]))
                try:
                    counts[outcome(path, tree)] += 1
                except BaseException as error:
                    error.add_note(f"byte {offset} of {file.relative_to(path.parent)} is {value:#04x}")
                    raise
                handle.seek(offset)
                handle.write(content[offset : offset + 1])
    assert outcome(path, tree) == "same"
    return counts


@each_container
def test_a_flipped_byte_is_an_error_or_changes_nothing(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, container, TREE)

    counts = flip_all(path, TREE, lambda size: max(1, size // 2500))

    assert counts["refused"] > 100


@each_container
def test_a_flipped_byte_of_an_array_with_blocks_is_an_error(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, container, BLOCKS)

    # A prime, so that all columns of a table and all bytes of an element have their turn.
    counts = flip_all(path, BLOCKS, lambda size: max(1, size // 40) | 1)

    assert counts["refused"] > 30


def test_a_flipped_byte_of_a_pack_is_an_error(tmp_path: Path) -> None:
    path = saved(tmp_path, "zarr", MANY)
    assert len(files_of(path)) < 100

    counts = flip_all(path, MANY, lambda size: max(1, size // 16) | 1)

    assert counts["refused"] > 50


@each_container
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, container, TREE)
    for file in files_of(path):
        content = file.read_bytes()
        for size in range(0, len(content), max(1, len(content) // 150)):
            file.write_bytes(content[:size])

            assert outcome(path, TREE) in (["refused"] if file == path else ["refused", "same"]), size
        file.write_bytes(content)
    assert outcome(path, TREE) == "same"


@each_container
def test_a_file_with_bytes_behind_it_is_refused_or_the_same(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, container, TREE)
    for file in files_of(path):
        content = file.read_bytes()
        for more in (b"\0", b"\n", b"\0" * 4096, content):
            file.write_bytes(content + more)

            assert outcome(path, TREE)
        file.write_bytes(content)


def test_a_folder_without_one_of_its_files_is_refused_or_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path, "zarr", TREE)
    needed = {file for file in files_of(path) if "c" in file.parts or file.parent == path}
    for file in files_of(path):
        content = file.read_bytes()
        file.unlink()

        assert outcome(path, TREE) in (["refused"] if file in needed else ["refused", "same"])
        file.write_bytes(content)
    assert needed


@hs.composite
def damages(draw: hs.DrawFn) -> Callable[[bytes], bytes]:
    """Damages to the bytes of a file: pieces overwritten, lost, doubled, moved or made zero."""
    kind = draw(hs.sampled_from(("overwrite", "lose", "double", "swap", "zero", "insert")))
    where, other = draw(hs.floats(0, 1)), draw(hs.floats(0, 1))
    size = draw(hs.sampled_from((1, 2, 4, 8, 16, 64, 512, 4096)))
    junk = draw(hs.binary(min_size=1, max_size=16))

    def damaged(content: bytes) -> bytes:
        a, b = sorted(int(x * max(0, len(content) - size)) for x in (where, other))
        piece, second = content[a : a + size], content[max(b, a + size) : max(b, a + size) + size]
        match kind:
            case "overwrite":
                return content[:a] + junk + content[a + len(junk) :]
            case "lose":
                return content[:a] + content[a + size :]
            case "double":
                return content[:a] + piece + content[a:]
            case "swap":
                return content[:a] + second + content[a + size : max(b, a + size)] + piece + content[b + 2 * size :]
            case "zero":
                return content[:a] + bytes(len(piece)) + content[a + size :]
            case _:
                return content[:a] + junk + content[a:]

    return damaged


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: saved(tmp_path_factory.mktemp("original"), name, TREE) for name in CONTAINERS}


@each_container
@settings(max_examples=150)
@given(data=hs.data())
def test_a_damaged_file_is_an_error_or_changes_nothing(
    originals: dict[str, Path], container: str, data: hs.DataObject
) -> None:
    path = originals[container]
    file = data.draw(hs.sampled_from(files_of(path)))
    damage = data.draw(damages())
    content = file.read_bytes()

    file.write_bytes(damage(content))
    try:
        outcome(path, TREE)
    finally:
        file.write_bytes(content)


@each_container
def test_what_validate_finds_sound_loads_and_is_the_same_tree(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, container, TREE)
    for file in files_of(path):
        content = file.read_bytes()
        for offset, value in flips(content, max(1, len(content) // 60)):
            file.write_bytes(content[:offset] + bytes([value]) + content[offset + 1 :])

            if st.validate(path).ok:
                assert outcome(path, TREE) == "same"
        file.write_bytes(content)


@each_container
def test_a_copy_elsewhere_is_the_same_tree(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path, container, TREE)
    copy = tmp_path / "elsewhere"
    shutil.copytree(path, copy) if path.is_dir() else shutil.copy(path, copy)

    assert outcome(copy, TREE) == "same"
