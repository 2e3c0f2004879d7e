"""The Zarr backend: Zarr version 3 in a folder or a zip file. Source: spec section 7.4."""

import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from statetree.digest import block_count, digest_size
from statetree.errors import MissingFileError, SecurityError, StateTreeError, fail
from statetree.files import SUFFIX, io_errors, is_folder, list_folder
from statetree.limits import Limits
from statetree.store import ArraySpec, Examination, Finding, Layout, WriteOptions
from statetree_backends._block import checked_text, split_blocks
from statetree_backends._codecs import decompress, missing_codec
from statetree_backends._stock import guarded
from statetree_backends._zarr_examine import Contents, Examiner
from statetree_backends._zarr_folder import FolderFiles, is_generation, open_generation, read_root, strays
from statetree_backends._zarr_metadata import ArrayMetadata, Root, chunk_key, declared_size, parse_array
from statetree_backends._zarr_stock import stock_zarr
from statetree_backends._zarr_writer import PACK_SIZE, ROW_BYTES, ZarrWriter
from statetree_backends._zarr_zip import ZipFiles, is_our_zip

__all__ = ["BACKEND"]

JSON_LIMIT = 1 << 20
"""Bytes of the metadata of an array that are read at most."""
_PACK_LIMIT, _CHUNK_LIMIT = 2 * PACK_SIZE, 1 << 40
_T = TypeVar("_T")
_FOREIGN = "write it with a conforming writer"
_DAMAGED = "the container is damaged: restore it from a copy"


class ZarrReader:
    """An open generation. Metadata of an array is read and judged when the array is first asked for."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path = path
        self._limits = limits
        self._specs: Sequence[ArraySpec] = ()
        self._lock = threading.Lock()
        self._known: dict[int, ArrayMetadata] = {}
        self._packs: dict[int, tuple[int, str | None]] = {}
        self._mapped: dict[int, memoryview | None] = {}
        self._unpacked: dict[int, bytes] = {}
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
        """Learn what the arrays are."""
        self._specs = specs

    @cached_property
    def _rows(self) -> NDArray[np.int64] | None:
        """The index of the packs: rows of packs, offsets and sizes; None if there are no packs."""
        specs = self._specs
        try:
            data = self._files.read("packs/index/c/0", ROW_BYTES * len(specs))
        except MissingFileError:
            return None
        if len(data) != ROW_BYTES * len(specs):
            found = f"{len(data)} bytes"
            fail("Z_METADATA", f"an index of {len(specs)} arrays", found, place="packs/index", remedy=_DAMAGED)
        # A number that no pack can have stays one that no pack has.
        rows: NDArray[np.int64] = np.minimum(np.frombuffer(data, "<u8").reshape(-1, 3), 1 << 62).astype(np.int64)
        return rows.T

    def layout(self) -> Layout | None:
        """Return where arrays lie in the packs, which are the segments."""
        if self._rows is None:
            return None
        packs, offsets, sizes = self._rows
        return Layout(packs - 1, offsets, sizes, self._read_pack)

    def blocks(self) -> Mapping[int, bytes]:
        """Return the block digests."""
        return self._blocks

    @cached_property
    def _blocks(self) -> Mapping[int, bytes]:
        algorithm, sizes = self._root.algorithm, [spec.nbytes for spec in self._specs]
        most = sum(map(block_count, sizes)) * digest_size(algorithm)
        try:
            data = self._files.read("blocks/c/0", most, "BLOCK_DIGEST")
        except MissingFileError:
            data = b""
        return split_blocks(data, sizes, algorithm, "blocks")

    def view(self, index: int) -> memoryview | None:
        """Return array `index`, if it lies in a pack or in one chunk that is stored as it is."""
        place = self._in_pack(index)
        if place is not None:
            number, offset = place
            if number not in self._mapped:
                plain = self._pack(number)[1] is None
                self._mapped[number] = self._files.view(f"packs/{number}/c/0") if plain else None
            pack = self._mapped[number]
            return None if pack is None else pack[offset : offset + self._specs[index].nbytes]
        spec, stored = self._specs[index], self._metadata(index)
        if not stored.plain or (spec.shape and stored.rows < spec.shape[0]):
            return None
        mapped = self._of_chunk(index, 0, self._files.view)
        if mapped is not None:
            self._check_size(index, len(mapped), spec.nbytes)
        return mapped

    def _in_pack(self, index: int) -> tuple[int, int] | None:
        """Return the number of the pack that holds array `index` and its offset there, None if none does."""
        if self._rows is None or not self._rows[0, index]:
            return None
        pack, offset, size = self._rows[:, index].tolist()
        nbytes, place = self._specs[index].nbytes, self.place(index)
        if size != nbytes:
            fail("BACKEND_MISMATCH", f"{nbytes} bytes", str(size), place=place, remedy=_DAMAGED)
        held = self._pack(pack - 1)[0]
        if offset + size > held:
            fail("BACKEND_MISMATCH", f"bytes up to {held} of a pack", str(offset + size), place=place, remedy=_DAMAGED)
        return pack - 1, offset

    def _pack(self, number: int) -> tuple[int, str | None]:
        """Return the bytes and the codec of a pack, whose metadata is judged when it is first asked for."""
        known = self._packs.get(number)
        if known is None:
            name = f"packs/{number}"
            try:
                text = self._files.read(f"{name}/zarr.json", JSON_LIMIT)
                stored = self._files.size(f"{name}/c/0")
            except MissingFileError:
                fail("ARRAY_MISSING", f"the pack {name}", "none", place="packs/index", remedy=_DAMAGED)
            size = declared_size(text, PACK_SIZE, name)
            found = parse_array(text, ArraySpec(name, "uint8", (size,), size), name)
            if found != ArrayMetadata(size, found.codec, False, "/"):
                fail("Z_METADATA", "one chunk c/0, compressed or not", "others", place=name, remedy=_FOREIGN)
            if found.codec is None and stored != size:
                fail("ARRAY_NBYTES", f"{size} bytes", str(stored), place=name, remedy=_DAMAGED)
            known = self._packs[number] = size, found.codec
        return known

    def _read_pack(self, number: int, offset: int, out: memoryview) -> None:
        """Copy bytes of a pack from `offset` on, as many as `out` takes."""
        (size, codec), name = self._pack(number), f"packs/{number}/c/0"
        end = offset + len(out)
        if end > size:
            fail("BACKEND_MISMATCH", f"bytes up to {size} of a pack", str(end), place=name, remedy=_DAMAGED)
        if codec is not None:
            out[:] = memoryview(self._unpack(number, name, size, codec))[offset:end]
        elif self._files.read_into(name, offset, out) != size:
            fail("ARRAY_NBYTES", f"{size} bytes", "another size", place=name, remedy=_DAMAGED)

    def _unpack(self, number: int, name: str, size: int, codec: str) -> bytes:
        """Return a compressed pack unpacked; the last two are kept, since threads may be at work where they meet."""
        with self._lock:
            found = self._unpacked.get(number)
            if found is None:
                found = decompress(codec, self._files.read(name, _PACK_LIMIT), size, name)
                for oldest in list(self._unpacked)[:-1]:
                    del self._unpacked[oldest]
                self._unpacked[number] = found
            return found

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
        place = self._in_pack(index)
        if place is not None:
            self._read_pack(place[0], place[1] + start, out)
            return
        spec, stored = self._specs[index], self._metadata(index)
        size = stored.rows * (spec.nbytes // spec.shape[0]) if spec.shape else spec.nbytes
        at = start
        while at < stop:
            number = at // size
            end = min(stop, (number + 1) * size)
            self._part(index, number, size, at - number * size, out[at - start : end - start])
            at = end

    def _part(self, index: int, number: int, size: int, start: int, out: memoryview) -> None:
        """Copy from byte `start` of a chunk of `size` bytes, as many as `out` takes."""
        if not self._known[index].plain:
            out[:] = self._chunk(index, number, size)[start : start + len(out)]
            return
        stored = self._of_chunk(index, number, lambda name: self._files.read_into(name, start, out))
        self._check_size(index, stored, size)

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

    def examine(self, asked: Examination) -> Iterator[Finding]:
        """Yield what is wrong with the container as a whole."""
        rows: NDArray[np.int64] | None = None
        if asked.bound:
            try:
                rows = self._rows
            except StateTreeError as error:
                yield Finding(error.problems[0])
        if isinstance(self._files, ZipFiles):
            yield from self._files.strays(data=asked.data)
            root_text, extra = self._files.root_text, "error"
        else:
            yield from strays(self._path, self._root.generation)
            root_text, extra = read_root(self._path), "warning"
        contents = Contents(self._files.entries())
        examiner = Examiner(
            contents, self._files.read, self._root, self._metadata, self._pack, self._read_pack, extra=extra
        )
        yield from examiner.run(self._specs, rows, root_text, asked)

    def stock(self, digests: Sequence[str]) -> Iterator[Finding]:
        """Yield in what zarr-python shows another tree than the manifest."""
        blocks = b"".join(data for _, data in sorted(self._blocks.items()))
        texts = {"manifest": self.manifest(), "info": self.info(), "blocks": blocks}
        found = stock_zarr(self._path, self._root, texts, self._specs, digests, self._rows)
        return guarded(found, "zarr-python", str(self._path))

    def stored_bytes(self) -> int:
        """Return the bytes of all files."""
        return self._files.stored_bytes()

    def place(self, index: int) -> str:
        """Return the name of array `index` below arrays/."""
        return f"arrays/{self._specs[index].name}"

    def close(self) -> None:
        """Release the files; what is mapped stays mapped."""
        self._mapped.clear()
        self._unpacked.clear()
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
            try:
                return b'"statetree"' in read_root(path)
            except MissingFileError:
                with io_errors(path, "read a folder"):
                    names = [name for name, _ in list_folder(path)]
                return bool(names) and all(is_generation(name) or name.endswith(SUFFIX) for name in names)
        except SecurityError:
            return True  # a link in place of the root's metadata: what is wrong, the reader says
        except StateTreeError:
            return False

    def writer(self, path: Path, options: WriteOptions) -> ZarrWriter:
        """Begin a save."""
        return ZarrWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> ZarrReader:
        """Open a store."""
        return ZarrReader(path, limits)


BACKEND = ZarrBackend()
