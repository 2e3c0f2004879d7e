"""The Zarr backend: Zarr version 3 in a folder or a zip file. Source: spec section 7.4."""

import struct
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from statetree.digest import block_count, digest_size
from statetree.errors import MissingFileError, StateTreeError, fail
from statetree.files import SUFFIX, give_back, io_errors, is_folder, list_folder
from statetree.limits import Limits
from statetree.store import ArraySpec, WriteOptions
from statetree_backends._block import checked_text
from statetree_backends._codecs import decompress, missing_codec
from statetree_backends._zarr_folder import FolderFiles, is_generation, open_generation, read_root
from statetree_backends._zarr_metadata import ArrayMetadata, Root, chunk_key, declared_size, parse_array
from statetree_backends._zarr_writer import PACK_SIZE, ROW_BYTES, ZarrWriter
from statetree_backends._zarr_zip import ZipFiles, is_our_zip

__all__ = ["BACKEND"]

JSON_LIMIT = 1 << 20
"""Bytes of the metadata of an array that are read at most."""
_PACK_LIMIT, _CHUNK_LIMIT = 2 * PACK_SIZE, 1 << 40
_T = TypeVar("_T")
_DAMAGED = "the container is damaged: restore it from a copy"


class ZarrReader:
    """An open generation. Metadata of an array is read and judged when the array is first asked for."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._specs: Sequence[ArraySpec] = ()
        self._lock = threading.Lock()
        self._known: dict[int, ArrayMetadata] = {}
        self._view: tuple[int, memoryview] = (-1, memoryview(b""))
        self._packs: dict[int, memoryview] = {}
        self._rows: tuple[list[int], list[int], list[int]] = ([], [], [])
        self._blocks: dict[int, bytes] | None = None
        self._last: tuple[int, int, memoryview] = (-1, -1, memoryview(b""))
        self._root: Root
        self._files: FolderFiles | ZipFiles
        if is_folder(path):
            self._root, self._files = open_generation(path)
        else:
            self._files = ZipFiles(path)
            self._root = self._files.root

    def algorithm(self) -> str:
        """Return the digest algorithm that the container records."""
        return self._root.algorithm

    def manifest(self) -> bytes:
        """Return the manifest text, checked."""
        return self._text("manifest", self._root.manifest, self._limits.manifest_bytes)

    def info(self) -> bytes:
        """Return the info text, checked."""
        return self._text("info", self._root.info, self._limits.info_bytes)

    def _text(self, name: str, recorded: str, limit: int) -> bytes:
        try:
            data = self._files.read(f"{name}/c/0", limit, "LIMIT_MANIFEST")
        except MissingFileError:
            fail("ARRAY_MISSING_CHUNK", "the chunk c/0", "none", place=name, remedy=_DAMAGED)
        return checked_text(name, data, self._root.algorithm, bytes.fromhex(recorded), name)

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Read the index of the packs, if there is one."""
        self._specs = specs
        try:
            data = self._files.read("packs/index/c/0", ROW_BYTES * len(specs))
        except MissingFileError:
            return
        if len(data) != ROW_BYTES * len(specs):
            found = f"{len(data)} bytes"
            fail("Z_METADATA", f"an index of {len(specs)} arrays", found, place="packs/index", remedy=_DAMAGED)
        packs, offsets, sizes = np.frombuffer(data, "<u8").reshape(-1, 3).T.tolist()
        self._rows = packs, offsets, sizes

    def blocks(self, index: int) -> bytes:
        """Return the block digests of array `index`."""
        if self._blocks is None:
            size = digest_size(self._root.algorithm)
            counts = [block_count(spec.nbytes) * size for spec in self._specs]
            try:
                data = self._files.read("blocks/c/0", sum(counts), "BLOCK_DIGEST")
            except MissingFileError:
                data = b""
            found, at = {}, 0
            for i, count in enumerate(counts):
                if count:
                    found[i] = data[at : at + count]
                    at += count
            self._blocks = found
        return self._blocks.get(index, b"")

    def view(self, index: int) -> memoryview | None:
        """Return array `index`, if it lies in a pack or in one chunk that is stored as it is."""
        packs, offsets, sizes = self._rows
        if packs and packs[index]:
            pack = self._packs.get(packs[index] - 1)
            if pack is None:
                pack = self._pack(packs[index] - 1, index)
            return pack[offsets[index] : offsets[index] + sizes[index]]
        # Only the last one is kept: a mapping keeps a descriptor, and the pages that were read of it.
        last, view = self._view
        if last == index:
            if view is not None:
                give_back(view)
            return view
        spec, stored = self._specs[index], self._metadata(index)
        if not stored.plain or (spec.shape and stored.rows < spec.shape[0]):
            return None
        mapped = self._of_chunk(index, 0, self._files.view)
        if mapped is not None:
            self._check_size(index, len(mapped), spec.nbytes)
            self._view = (index, mapped)
        return mapped

    def _pack(self, number: int, index: int) -> memoryview:
        """Return a pack, whose metadata is judged when it is first asked for."""
        name = f"packs/{number}"
        try:
            text = self._files.read(f"{name}/zarr.json", JSON_LIMIT)
            data = memoryview(self._files.view(f"{name}/c/0") or self._files.read(f"{name}/c/0", _PACK_LIMIT))
        except MissingFileError:
            fail("ARRAY_MISSING", f"the pack {name}", "none", place=self.place(index), remedy=_DAMAGED)
        size = declared_size(text, PACK_SIZE, name)
        codec = parse_array(text, ArraySpec(name, "uint8", (size,), size), name).codec
        if codec is not None:
            data = memoryview(decompress(codec, bytes(data), size, name))
        if len(data) != size:
            fail("ARRAY_NBYTES", f"{size} bytes", str(len(data)), place=name, remedy=_DAMAGED)
        return self._packs.setdefault(number, data)

    def _metadata(self, index: int) -> ArrayMetadata:
        known = self._known.get(index)
        if known is None:
            spec, place = self._specs[index], self.place(index)
            try:
                text = self._files.read(f"arrays/{spec.name}/zarr.json", JSON_LIMIT)
            except MissingFileError:
                fail("ARRAY_MISSING", "an array of that name", "none", place=place, remedy=_DAMAGED)
            known = self._known[index] = parse_array(text, spec, place)
        return known

    def _of_chunk(self, index: int, number: int, read: Callable[[str], _T]) -> _T:
        """Return what `read` makes of the name of a chunk, which must be there."""
        spec = self._specs[index]
        key = chunk_key(number, len(spec.shape), self._known[index].separator)
        try:
            return read(f"arrays/{spec.name}/{key}")
        except MissingFileError:
            fail("ARRAY_MISSING_CHUNK", "a chunk", "none", place=f"{self.place(index)}/{key}", remedy=_DAMAGED)

    def _check_size(self, index: int, found: int, size: int) -> None:
        if found != size:
            fail("ARRAY_NBYTES", f"a chunk of {size} bytes", str(found), place=self.place(index), remedy=_DAMAGED)

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index` out of its chunks."""
        spec, stored = self._specs[index], self._metadata(index)
        size = stored.rows * (spec.nbytes // spec.shape[0]) if spec.shape else spec.nbytes
        at = start
        while at < stop:
            number = at // size
            end = min(stop, (number + 1) * size)
            first = at - number * size
            out[at - start : end - start] = self._part(index, number, size, first, first + end - at)
            at = end

    def _part(self, index: int, number: int, size: int, start: int, stop: int) -> memoryview | bytes:
        """Return bytes [start, stop) of a chunk of `size` bytes."""
        if not self._known[index].plain:
            return self._chunk(index, number, size)[start:stop]
        data, stored = self._of_chunk(index, number, lambda name: self._files.part(name, start, stop - start))
        self._check_size(index, stored, size)
        return data

    def _chunk(self, index: int, number: int, size: int) -> memoryview:
        """Return a chunk unpacked; the last one is kept, since digest blocks seldom end where chunks do."""
        with self._lock:
            last = self._last
        if last[:2] == (index, number):
            return last[2]
        stored, place = self._known[index], self.place(index)
        data = memoryview(self._of_chunk(index, number, lambda name: self._files.read(name, _CHUNK_LIMIT)))
        if stored.checksum:
            data = _without_checksum(data, place)
        if stored.codec is not None:
            data = memoryview(decompress(stored.codec, bytes(data), size, place))
        self._check_size(index, len(data), size)
        with self._lock:
            self._last = (index, number, data)
        return data

    def reread(self, index: int) -> bool:
        """There is no other way."""
        return False

    def stored_bytes(self) -> int:
        """Return the bytes of all files."""
        return self._files.stored_bytes()

    def place(self, index: int) -> str:
        """Return the name of array `index` below arrays/."""
        return f"arrays/{self._specs[index].name}"

    def close(self) -> None:
        """Release the files; what is mapped stays mapped."""
        self._packs.clear()
        self._view = (-1, memoryview(b""))
        self._files.close()


def _without_checksum(view: memoryview, place: str) -> memoryview:
    try:
        import google_crc32c
    except ImportError:
        fail(
            "BACKEND_LIBRARY",
            "the library 'google_crc32c' for the codec crc32c",
            "no such library",
            place=place,
            remedy="pip install 'statetree[zarr]'",
        )
    data, checksum = view[:-4], bytes(view[-4:])
    if len(view) < 4 or struct.pack("<I", google_crc32c.value(bytes(data))) != checksum:
        fail("DIGEST", "a chunk with its CRC-32C", "another", place=place, remedy=_DAMAGED)
    return data


class ZarrBackend:
    """Zarr folders and zip files."""

    name = "zarr"
    suffixes: tuple[str, ...] = (".zarr", ".zarr.zip")
    compressions: tuple[str, ...] = ("gzip", "zstd")

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        """Plain arrays need nothing; zstd needs zstandard."""
        return missing_codec(compression, "zarr")

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether the root's metadata has our attribute, or there are generations and no root yet."""
        try:
            if not is_folder(path):
                return bool(head) and is_our_zip(path, head)
            with io_errors(path, "read a folder"):
                names = list_folder(path)
            if any(name == "zarr.json" for name, _ in names):
                return _is_ours(path)
            return bool(names) and all(is_generation(name) or name.endswith(SUFFIX) for name, _ in names)
        except StateTreeError:
            return False

    def writer(self, path: Path, options: WriteOptions) -> ZarrWriter:
        """Begin a save."""
        return ZarrWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> ZarrReader:
        """Open a store."""
        return ZarrReader(path, limits)


def _is_ours(path: Path) -> bool:
    """Whether a root's metadata mentions us, or is what a store must not have; what is wrong, the reader says."""
    try:
        return b'"statetree"' in read_root(path)
    except StateTreeError as error:
        return error.error_class == "security"


BACKEND = ZarrBackend()
