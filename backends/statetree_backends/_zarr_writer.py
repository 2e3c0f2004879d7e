"""Writing a Zarr hierarchy: arrays in one chunk, in compressed chunks, or many in a pack. Source: spec section 7.4."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from statetree.digest import digest
from statetree.store import ArraySpec, WriteOptions
from statetree.version import VERSION
from statetree_backends._chunks import Cutter, chunk_rows
from statetree_backends._codecs import compress
from statetree_backends._zarr_folder import FolderTarget
from statetree_backends._zarr_metadata import Root, array_json, chunk_key, group_json, root_json
from statetree_backends._zarr_zip import ZipTarget

__all__ = ["PACK_SIZE", "ROW_BYTES", "ZarrWriter"]

PACK_ABOVE, PACKED_BELOW, PACK_SIZE = 1000, 64 << 10, 16 << 20
"""Packs are made for more than 1,000 arrays of fewer than 64 KiB, and hold at most 16 MiB."""
ROW_BYTES = 24
"""Bytes of a row of the index: pack + 1, offset and size, each an unsigned integer of 8 bytes."""
_ALIGN = 64
_PADS = [bytes(size) for size in range(_ALIGN)]
_OVERHEAD = 1024
"""Bytes that a zip file needs for the metadata and the entries of an array, about."""


class ZarrWriter:
    """A store being written."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._path = path
        self._options = options
        self._made: FolderTarget | ZipTarget | None = None
        self._specs: Sequence[ArraySpec] = ()
        self._packed = False
        self._pack = bytearray()
        self._packs = 0
        self._rows: list[tuple[int, int, int]] = []
        self._cutter: Cutter | None = None
        self._chunk = 0
        self._base = ""
        """Name of the array begun last."""

    @property
    def _target(self) -> FolderTarget | ZipTarget:
        assert self._made is not None
        return self._made

    def create(self, specs: Sequence[ArraySpec]) -> None:
        """Begin the generation."""
        self._specs = specs
        durable, zipped = self._options.durable, self._path.name.lower().endswith(".zip")
        if zipped:
            size = 0 if self._options.compression else sum(spec.nbytes + _OVERHEAD for spec in specs)
            self._made = ZipTarget(self._path, size, durable=durable)
        else:
            self._made = FolderTarget(self._path, durable=durable)
        small = sum(0 < spec.nbytes < PACKED_BELOW for spec in specs)
        self._packed = self._options.pack and not zipped and small > PACK_ABOVE
        self._rows = [(0, 0, 0)] * len(specs) if self._packed else []
        self._target.put("zarr.json", group_json())
        for name in ("arrays", "packs") if self._packed else ("arrays",):
            self._target.folder(name)
            self._target.put(f"{name}/zarr.json", group_json())
        for spec in specs:
            if not spec.nbytes:
                self._begin(spec, 0)

    def _begin(self, spec: ArraySpec, rows: int) -> None:
        """Write the metadata of an array, which has chunks of `rows` rows, or 0 for one that is stored as it is."""
        self._base = f"arrays/{spec.name}"
        self._target.folder(self._base)
        codec = self._options.compression if rows else None
        self._target.put(f"{self._base}/zarr.json", array_json(spec.dtype, spec.shape, rows=rows, codec=codec))
        self._cutter = Cutter(spec, rows) if rows else None
        self._chunk = 0

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Append a piece of array `index` to its chunk, its chunks or a pack."""
        spec = self._specs[index]
        if self._packed and spec.nbytes < PACKED_BELOW:
            self._add_to_pack(index, data)
            return
        if start == 0:
            self._begin(spec, chunk_rows(spec) if self._options.compression is not None else 0)
            key = f"{self._base}/{chunk_key(0, len(spec.shape))}"
            if self._cutter is None and len(data) == spec.nbytes:
                self._target.put(key, data)
                return
            if self._cutter is None:
                self._target.begin(key, spec.nbytes)
        if self._cutter is None:
            self._target.append(data)
            if start + len(data) == spec.nbytes:
                self._target.end()
            return
        for chunk in self._cutter.add(data):
            packed = compress(self._options.compression or "", chunk)
            self._target.put(f"{self._base}/{chunk_key(self._chunk, len(spec.shape))}", packed)
            self._chunk += 1

    def write_many(self, first: int, arrays: Sequence[bytes]) -> None:
        """Append whole arrays to a pack, if small arrays are packed."""
        for index, data in enumerate(arrays, first):
            if self._packed and len(data) < PACKED_BELOW:
                self._add_to_pack(index, data)
            else:
                self.write(index, 0, data)

    def _add_to_pack(self, index: int, data: memoryview | bytes) -> None:
        at = len(self._pack)
        gap = -at % _ALIGN
        if at + gap + len(data) > PACK_SIZE:
            self._flush_pack()
            at = gap = 0
        self._rows[index] = (self._packs + 1, at + gap, len(data))
        self._pack += _PADS[gap]
        self._pack += data

    def _flush_pack(self) -> None:
        if self._pack:
            self._bytes(f"packs/{self._packs}", self._pack, self._options.compression)
            self._pack = bytearray()
            self._packs += 1

    def _bytes(self, name: str, data: bytes | bytearray, codec: str | None = None) -> None:
        """Write a uint8 array of one dimension in one chunk, `c/0`."""
        self._target.folder(name)
        rows = len(data) if codec else 0
        text = array_json("uint8", (len(data),), rows=rows, codec=codec, separator="/")
        self._target.put(f"{name}/zarr.json", text)
        if data:
            self._target.folder(f"{name}/c")
            self._target.put(f"{name}/c/0", compress(codec, bytes(data)) if codec else memoryview(data))

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Write the texts and make the generation the one that counts."""
        if self._packed:
            self._flush_pack()
            self._bytes("packs/index", np.array(self._rows, "<u8").tobytes())
        self._bytes("manifest", manifest)
        self._bytes("info", info)
        self._bytes("blocks", b"".join(blocks[i] for i in sorted(blocks)))
        algorithm = self._options.algorithm
        texts = digest(algorithm, manifest), digest(algorithm, info)
        self._target.commit(root_json(Root(VERSION, algorithm, self._target.generation, *texts)))

    def abort(self) -> None:
        """Remove what was written."""
        if self._made is not None:
            self._made.discard()
