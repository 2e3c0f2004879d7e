"""The Zarr backend: Zarr version 3 in a folder or a zip file. Source: spec section 7.4."""

import struct
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from statetree.digest import block_count, digest, digest_size
from statetree.errors import MissingFileError, StateTreeError, fail, shown
from statetree.files import io_errors, is_folder, list_folder, read_head
from statetree.limits import Limits
from statetree.store import ArraySpec, WriteOptions

from statetree_backends._block import checked_text
from statetree_backends._chunks import Cutter, chunk_rows
from statetree_backends._codecs import compress, decompress, missing_codec
from statetree_backends._zarr_folder import FolderFiles, FolderTarget, is_generation
from statetree_backends._zarr_metadata import (
    ArrayMetadata,
    array_json,
    check_format,
    chunk_key,
    group_json,
    parse_array,
    strict_json,
)
from statetree_backends._zarr_zip import ZipFiles, ZipTarget, begins_like_ours, root_of

__all__ = ["BACKEND"]

PACK_ABOVE, PACKED_BELOW, PACK_SIZE = 1000, 64 << 10, 16 << 20
_ALIGN = 64
_ROW = np.dtype([("pack", "<u8"), ("offset", "<u8"), ("size", "<u8")])
_DAMAGED = "the folder is damaged: restore it from a copy"
_JSON_LIMIT = 1 << 20


class ZarrWriter:
    """A store being written."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._options = options
        zipped = path.name.lower().endswith(".zip")
        self._target = (ZipTarget if zipped else FolderTarget)(path, durable=options.durable)
        self._specs: Sequence[ArraySpec] = ()
        self._packed = False
        self._pack = bytearray()
        self._packs = 0
        self._rows: list[tuple[int, int, int]] = []
        self._cutter: Cutter | None = None
        self._chunk = 0

    def create(self, specs: Sequence[ArraySpec]) -> None:
        """Begin the generation."""
        self._specs = specs
        small = sum(0 < spec.nbytes < PACKED_BELOW for spec in specs)
        self._packed = self._options.pack and self._target.packs and small > PACK_ABOVE
        self._rows = [(0, 0, 0)] * len(specs) if self._packed else []
        for name in ("", "arrays", *(["packs"] if self._packed else [])):
            if name:
                self._target.folder(name)
            self._target.put(f"{name}/zarr.json".lstrip("/"), group_json())
        for spec in specs:
            if not spec.nbytes:
                self._metadata(spec, 0)

    def _metadata(self, spec: ArraySpec, rows: int) -> None:
        self._target.folder(f"arrays/{spec.name}")
        codec = self._options.compression if rows else None
        text = array_json(spec.dtype, spec.shape, rows=rows, codec=codec)
        self._target.put(f"arrays/{spec.name}/zarr.json", text)

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Append a piece of array `index` to its chunk, its chunks or a pack."""
        spec = self._specs[index]
        if self._packed and spec.nbytes < PACKED_BELOW:
            self._add_to_pack(index, data)
            return
        rows = chunk_rows(spec) if self._options.compression is not None else 0
        if start == 0:
            self._metadata(spec, rows)
            self._cutter, self._chunk = (Cutter(spec, rows) if rows else None), 0
            if not rows:
                self._target.begin(f"arrays/{spec.name}/{chunk_key(0, len(spec.shape))}", spec.nbytes)
        if self._cutter is None:
            self._target.append(data)
            if start + len(data) == spec.nbytes:
                self._target.end()
            return
        for chunk in self._cutter.add(data):
            packed = compress(self._options.compression or "", chunk)
            self._target.put(f"arrays/{spec.name}/{chunk_key(self._chunk, len(spec.shape))}", packed)
            self._chunk += 1

    def _add_to_pack(self, index: int, data: memoryview | bytes) -> None:
        if len(self._pack) + len(data) > PACK_SIZE:
            self._flush_pack()
        self._rows[index] = (self._packs + 1, len(self._pack), len(data))
        self._pack += data
        self._pack += bytes(-len(self._pack) % _ALIGN)

    def _flush_pack(self) -> None:
        if self._pack:
            codec = self._options.compression
            self._bytes(f"packs/{self._packs}", bytes(self._pack), codec)
            self._pack.clear()
            self._packs += 1

    def _bytes(self, name: str, data: bytes, codec: str | None = None) -> None:
        """Write a uint8 array of one dimension in one chunk, `c/0`."""
        self._target.folder(name)
        rows = len(data) if codec else 0
        text = array_json("uint8", (len(data),), rows=rows, codec=codec, separator="/")
        self._target.put(f"{name}/zarr.json", text)
        if data:
            self._target.folder(f"{name}/c")
            self._target.put(f"{name}/c/0", compress(codec, data) if codec else data)

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Write the texts and make the generation the one that counts."""
        if self._packed:
            self._flush_pack()
            self._bytes("packs/index", np.array(self._rows, _ROW).tobytes())
        self._bytes("manifest", manifest)
        self._bytes("info", info)
        self._bytes("blocks", b"".join(blocks[i] for i in sorted(blocks)))
        algorithm = self._options.algorithm
        root = {
            "version": "1.0",
            "algorithm": algorithm,
            "generation": self._target.generation,
            "manifest": digest(algorithm, manifest),
            "info": digest(algorithm, info),
        }
        self._target.commit(group_json({"statetree": root}))

    def abort(self) -> None:
        """Remove what was written."""
        self._target.discard()


def _root(data: bytes, place: str) -> dict[str, str]:
    """Return the attributes by which the root's metadata commits a generation."""
    value = strict_json(data, place)
    check_format(value, "group", place)
    attributes = value.get("attributes")
    found = attributes.get("statetree") if type(attributes) is dict else None
    if type(found) is not dict or any(type(text) is not str for text in found.values()):
        fail("Z_METADATA", "the attribute 'statetree'", "none", place=place, remedy=_DAMAGED)
    version = found.get("version", "")
    if version.partition(".")[0] != "1":
        fail(
            "VERSION_MAJOR",
            "format version 1",
            f"version {shown(version, 40)}",
            place=place,
            remedy="read it with a newer statetree: pip install -U statetree",
        )
    if found.keys() != {"version", "algorithm", "generation", "manifest", "info"}:
        fail("Z_METADATA", "version, algorithm, generation, manifest and info", "others", place=place, remedy=_DAMAGED)
    if not is_generation(found["generation"]):
        fail("Z_METADATA", "a generation of 16 hexadecimal digits", "another text", place=place, remedy=_DAMAGED)
    return found


class ZarrReader:
    """An open generation. Metadata of an array is read and judged when the array is first asked for."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._limits = limits
        self._specs: Sequence[ArraySpec] = ()
        self._lock = threading.Lock()
        self._known: dict[int, ArrayMetadata] = {}
        self._packs: dict[int, memoryview] = {}
        self._rows: list[tuple[int, int, int]] = []
        self._blocks: dict[int, bytes] | None = None
        self._last: tuple[tuple[int, int], bytes] = ((-1, -1), b"")
        self._root, self._files = _open_folder(path) if is_folder(path) else _open_zip(path)
        self._algorithm = self._root["algorithm"]
        try:
            digest_size(self._algorithm)
        except BaseException:
            self.close()
            raise

    def _text(self, name: str, limit: int) -> bytes:
        recorded = self._root[name]
        raw = bytes.fromhex(recorded) if len(recorded) % 2 == 0 and recorded.isalnum() and recorded.isascii() else b""
        return checked_text(name, self._uint8(name, limit), self._algorithm, raw, name)

    def _uint8(self, name: str, limit: int) -> bytes:
        try:
            return self._files.read(f"{name}/c/0", limit)
        except MissingFileError:
            return b"" if name == "blocks" else self._missing(name)

    def _missing(self, name: str) -> bytes:
        fail("ARRAY_MISSING_CHUNK", "the chunk c/0", "none", place=name, remedy=_DAMAGED)

    def manifest(self) -> bytes:
        """Return the manifest text, checked."""
        return self._text("manifest", self._limits.manifest_bytes)

    def info(self) -> bytes:
        """Return the info text, checked."""
        return self._text("info", self._limits.info_bytes)

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Read the index of the packs, if there is one."""
        self._specs = specs
        try:
            data = self._files.read("packs/index/c/0", 24 * len(specs))
        except MissingFileError:
            return
        if len(data) != 24 * len(specs):
            fail(
                "Z_METADATA",
                f"an index of {len(specs)} arrays",
                str(len(data) // 24),
                place="packs/index",
                remedy=_DAMAGED,
            )
        self._rows = np.frombuffer(data, _ROW).tolist()

    def _pack(self, number: int) -> memoryview:
        with self._lock:
            pack = self._packs.get(number)
            if pack is None:
                name = f"packs/{number}"
                text = self._files.read(f"{name}/zarr.json", _JSON_LIMIT)
                size = _declared_size(text, name)
                spec = ArraySpec(name, "uint8", (size,), size)
                codec = parse_array(text, spec, name).codec
                pack = self._chunk_view(f"{name}/c/0", name)
                if codec is not None:
                    pack = memoryview(decompress(codec, bytes(pack), size, name))
                if len(pack) != size:
                    fail("ARRAY_NBYTES", f"{size} bytes", str(len(pack)), place=name, remedy=_DAMAGED)
                self._packs[number] = pack
            return pack

    def _chunk_view(self, name: str, place: str) -> memoryview:
        try:
            return self._files.view(name)
        except MissingFileError:
            fail("ARRAY_MISSING_CHUNK", "a chunk", "none", place=f"{place}/{name.rpartition('/')[2]}", remedy=_DAMAGED)

    def _metadata(self, index: int) -> ArrayMetadata:
        known = self._known.get(index)
        if known is None:
            spec = self._specs[index]
            try:
                text = self._files.read(f"arrays/{spec.name}/zarr.json", _JSON_LIMIT)
            except MissingFileError:
                fail("ARRAY_MISSING", "an array of that name", "none", place=self.place(index), remedy=_DAMAGED)
            known = self._known[index] = parse_array(text, spec, self.place(index))
        return known

    def blocks(self, index: int) -> bytes:
        """Return the block digests of array `index`."""
        if self._blocks is None:
            size = digest_size(self._algorithm)
            counts = [block_count(spec.nbytes) * size for spec in self._specs]
            data = self._uint8("blocks", sum(counts))
            found, at = {}, 0
            for i, count in enumerate(counts):
                if count:
                    found[i] = data[at : at + count]
                    at += count
            self._blocks = found
        return self._blocks.get(index, b"")

    def view(self, index: int) -> memoryview | None:
        """Return array `index` mapped, if it lies in a pack or in one chunk that is stored as it is."""
        if self._rows and self._rows[index][0]:
            number, offset, size = self._rows[index]
            pack = self._packs.get(number - 1)
            if pack is None:
                pack = self._pack(number - 1)
            return pack[offset : offset + size]
        spec, stored = self._specs[index], self._metadata(index)
        if stored.codec is not None or stored.checksum or (spec.shape and stored.rows != spec.shape[0]):
            return None
        view = self._chunk_view(self._key(index, 0), self.place(index))
        if len(view) != spec.nbytes:
            fail(
                "ARRAY_NBYTES",
                f"a chunk of {spec.nbytes} bytes",
                str(len(view)),
                place=self.place(index),
                remedy=_DAMAGED,
            )
        return view

    def _key(self, index: int, number: int) -> str:
        spec = self._specs[index]
        return f"arrays/{spec.name}/{chunk_key(number, len(spec.shape), self._known[index].separator)}"

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index` out of its chunks."""
        spec, stored = self._specs[index], self._metadata(index)
        size = stored.rows * (spec.nbytes // spec.shape[0]) if spec.shape else spec.nbytes
        at = start
        while at < stop:
            number = at // size
            end = min(stop, (number + 1) * size)
            chunk = self._chunk(index, number, size)
            out[at - start : end - start] = chunk[at - number * size : end - number * size]
            at = end

    def _chunk(self, index: int, number: int, size: int) -> memoryview:
        with self._lock:
            if self._last[0] != (index, number):
                stored, place = self._known[index], self.place(index)
                view = self._chunk_view(self._key(index, number), place)
                if stored.checksum:
                    view = _without_checksum(view, place)
                data = decompress(stored.codec, bytes(view), size, place) if stored.codec else bytes(view)
                if len(data) != size:
                    fail("ARRAY_NBYTES", f"a chunk of {size} bytes", str(len(data)), place=place, remedy=_DAMAGED)
                self._last = ((index, number), data)
            return memoryview(self._last[1])

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
        self._files.close()


def _declared_size(text: bytes, place: str) -> int:
    shape = strict_json(text, place)
    shape = shape.get("shape") if type(shape) is dict else None
    if type(shape) is not list or len(shape) != 1 or type(shape[0]) is not int or not 0 < shape[0] <= PACK_SIZE:
        fail("Z_METADATA", f"a pack of at most {PACK_SIZE} bytes", shown(str(shape)), place=place, remedy=_DAMAGED)
    return int(shape[0])


def _without_checksum(view: memoryview, place: str) -> memoryview:
    import google_crc32c

    data, checksum = view[:-4], bytes(view[-4:])
    if len(view) < 4 or struct.pack("<I", google_crc32c.value(bytes(data))) != checksum:
        fail("DIGEST", "a chunk with its CRC-32C", "another", place=place, remedy=_DAMAGED)
    return data


def _open_folder(path: Path) -> tuple[dict[str, str], FolderFiles | ZipFiles]:
    """Open the generation that the root names; a save may replace it between the two steps, so try again."""
    for attempt in range(3):
        try:
            data = read_head(path / "zarr.json", _JSON_LIMIT)
        except MissingFileError:
            fail(
                "UNCOMMITTED",
                "a finished save",
                "one that never ended",
                place=str(path),
                remedy="there is nothing to read; saving here again is safe",
            )
        root = _root(data, "zarr.json")
        try:
            return root, FolderFiles(path, root["generation"])
        except (MissingFileError, StateTreeError) as error:
            if attempt == 2 and error.code != "NOT_FOUND":
                raise
    fail("UNCOMMITTED", "the generation that the root names", "none", place=root["generation"], remedy=_DAMAGED)


def _open_zip(path: Path) -> tuple[dict[str, str], FolderFiles | ZipFiles]:
    files = ZipFiles(path, "")
    try:
        root = _root(files.read("zarr.json", _JSON_LIMIT), "zarr.json")
    finally:
        files.close()
    return root, ZipFiles(path, root["generation"])


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
            if head[:4] == b"PK\3\4":
                return begins_like_ours(head) or _is_ours(root_of(path))
            if head or not is_folder(path):
                return False
            with io_errors(path, "read a folder"):
                names = list_folder(path)
            if any(name == "zarr.json" for name, _ in names):
                return _is_ours(read_head(path / "zarr.json", _JSON_LIMIT))
            return bool(names) and all(is_generation(name) or name.endswith(".statetree-tmp") for name, _ in names)
        except StateTreeError:
            return False

    def writer(self, path: Path, options: WriteOptions) -> ZarrWriter:
        """Begin a save."""
        return ZarrWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> ZarrReader:
        """Open a store."""
        return ZarrReader(path, limits)


def _is_ours(root: bytes | None) -> bool:
    """Whether a root's metadata mentions us; what is wrong with it, the reader says."""
    return root is not None and b'"statetree"' in root


BACKEND = ZarrBackend()
