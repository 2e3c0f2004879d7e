"""The memory backend: stores in this process, for tests and as the model of stateful tests. Source: spec section 10."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from statetree.digest import hasher
from statetree.errors import fail
from statetree.files import exists
from statetree.limits import Limits
from statetree.store import ArraySpec, Layout, WriteOptions
from statetree_backends._block import checked_text

__all__ = ["BACKEND", "clear"]


@dataclass(frozen=True, slots=True)
class _Stored:
    algorithm: str
    texts: Mapping[str, bytes]
    digests: Mapping[str, bytes]
    blocks: Mapping[int, bytes]
    arrays: Sequence[bytes]


_STORES: dict[str, _Stored] = {}


def clear() -> None:
    """Forget every store of this process."""
    _STORES.clear()


class MemoryWriter:
    """A store being written; it appears at once when committed."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        self._path = str(path)
        self._algorithm = options.algorithm
        self._arrays: list[bytearray] = []

    def create(self, specs: Sequence[ArraySpec]) -> None:
        """Make room for the arrays."""
        self._arrays = [bytearray(spec.nbytes) for spec in specs]

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        """Copy `data` to byte `start` of array `index`."""
        self._arrays[index][start : start + len(data)] = data

    def write_many(self, first: int, arrays: Sequence[bytes]) -> None:
        """Copy whole arrays."""
        for index, data in enumerate(arrays, first):
            self.write(index, 0, data)

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        """Replace what was at the path."""
        function = hasher(self._algorithm)
        texts = {"manifest": manifest, "info": info}
        digests = {name: function(text) for name, text in texts.items()}
        arrays = [bytes(array) for array in self._arrays]
        _STORES[self._path] = _Stored(self._algorithm, texts, digests, dict(blocks), arrays)

    def abort(self) -> None:
        """Forget what was written."""
        self._arrays = []


class MemoryReader:
    """An open store; later saves to its path do not reach it."""

    def __init__(self, stored: _Stored) -> None:
        self._stored = stored
        self._specs: Sequence[ArraySpec] = ()

    def algorithm(self) -> str:
        """Return the digest algorithm that the container records."""
        return self._stored.algorithm

    def manifest(self) -> bytes:
        """Return the manifest text."""
        return self._text("manifest")

    def info(self) -> bytes:
        """Return the info text."""
        return self._text("info")

    def _text(self, name: str) -> bytes:
        stored = self._stored
        return checked_text(name, stored.texts[name], stored.algorithm, stored.digests[name], f"/{name}")

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        """Learn the names of the arrays."""
        self._specs = specs

    def blocks(self) -> Mapping[int, bytes]:
        """Return the block digests."""
        return self._stored.blocks

    def view(self, index: int) -> memoryview | None:
        """Return the bytes of array `index`."""
        return memoryview(self._stored.arrays[index])

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        """Copy bytes [start, stop) of array `index`."""
        out[:] = memoryview(self._stored.arrays[index])[start:stop]

    def layout(self) -> Layout | None:
        """Arrays are apart from each other."""
        return None

    def reread(self, index: int) -> bool:
        """There is no other way."""
        return False

    def stored_bytes(self) -> int:
        """Return the bytes of all parts."""
        texts = sum(map(len, self._stored.texts.values()))
        return texts + sum(map(len, self._stored.arrays)) + sum(map(len, self._stored.blocks.values()))

    def place(self, index: int) -> str:
        """Return the name of array `index` under /arrays."""
        return f"/arrays/{self._specs[index].name}"

    def close(self) -> None:
        """Nothing to release."""


class MemoryBackend:
    """Stores in this process, by the text of their path."""

    name = "memory"
    suffixes: tuple[str, ...] = ()
    compressions: tuple[str, ...] = ()

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        """Nothing is needed."""
        return None

    def recognises(self, path: Path, head: bytes) -> bool:
        """Whether a store was saved at `path`; a file that came there since is in its place."""
        return str(path) in _STORES and not exists(path)

    def writer(self, path: Path, options: WriteOptions) -> MemoryWriter:
        """Begin a save.

        Raises:
            UsageError: a file is there, which would be read in place of the store.
        """
        if exists(path):
            fail(
                "USAGE",
                "a name that no file has",
                "that of a file",
                place=str(path),
                remedy="choose another name for a store in memory",
            )
        return MemoryWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> MemoryReader:
        """Open a store."""
        return MemoryReader(_STORES[str(path)])


BACKEND = MemoryBackend()
