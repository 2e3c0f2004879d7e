"""Samples: the bounded look at a file or folder that recognisers share. Source: spec section 11."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from statetree.child import Budget
from statetree.files import MappedFile, is_folder, list_folder

__all__ = ["Bytes", "Recognised", "Recogniser", "Sample", "Source", "sampled"]

_HEAD = 8192


@dataclass(frozen=True, slots=True)
class Recognised:
    """What a foreign file is, in words for an error text."""

    name: str
    """Short name of the format: `jld2`, `safetensors`, `pickle`."""
    text: str
    """What the file is, article included: `a JLD2 file written by Julia`."""
    remedy: str
    """How its content gets into a state tree."""
    pickle: bool = False
    """Whether opening it with its own library may unpickle, and so run code."""


class Source(Protocol):
    """Bytes that are read by offset."""

    @property
    def size(self) -> int:
        """Number of bytes."""

    def read(self, offset: int, size: int, /) -> bytes:
        """Return at most `size` bytes at `offset`; fewer where they end."""


class Bytes:
    """A source in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read(self, offset: int, size: int, /) -> bytes:
        """Return at most `size` bytes at `offset`."""
        return self._data[offset : offset + size]


class _FileSource:
    def __init__(self, file: MappedFile) -> None:
        self._file = file
        self.size: int = file.size

    def read(self, offset: int, size: int, /) -> bytes:
        """Return at most `size` bytes at `offset`; no more than the file has is asked for, so no lie allocates."""
        return self._file.read(offset, max(0, min(size, self.size - offset)))


@dataclass(frozen=True, slots=True)
class Sample:
    """A file, or a folder, about to be recognised."""

    path: Path
    """Where it is."""
    head: bytes
    """Its first bytes, up to 8,192; b"" for a folder."""
    file: Source
    """All its bytes; none for a folder."""
    names: frozenset[str] | None
    """Names in the folder; None for a file."""
    budget: Budget | None = None
    """What a library may take in a process of its own; None: it runs in this process."""


Recogniser = Callable[[Sample], Recognised | None]


@contextmanager
def sampled(path: Path, head: bytes = b"", budget: Budget | None = None) -> Iterator[Sample]:
    """Open a file or folder for a look; `head` is its first 8,192 bytes, read again if it is less.

    Raises:
        StateTreeError: it cannot be read.
        OSError: the folder cannot be read.
    """
    if is_folder(path):
        yield Sample(path, b"", Bytes(b""), frozenset(name for name, _ in list_folder(path)))
        return
    file = MappedFile(path)
    try:
        source = _FileSource(file)
        first = head if len(head) >= min(_HEAD, source.size) else source.read(0, _HEAD)
        yield Sample(path, first, source, None, budget)
    finally:
        file.close()
