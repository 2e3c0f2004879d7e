"""Damage: what happens to the bytes of files that nobody meant to change. Source: spec sections 6 and 9."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as hs

__all__ = ["Damage", "damages", "flips"]

_KINDS = ("overwrite", "lose", "double", "swap", "zero", "insert", "cut")
_SIZES = (1, 2, 4, 8, 16, 64, 512, 4096)


@dataclass(frozen=True, slots=True)
class Damage:
    """One change of one file; places are numbers that are taken modulo what there is."""

    kind: str
    """`flip`, or one of `overwrite`, `lose`, `double`, `swap`, `zero`, `insert`, `cut`."""
    file: int
    """Which file of the container."""
    at: int
    """Where in the file."""
    other: int = 0
    """A second place in it."""
    size: int = 1
    """How many bytes."""
    junk: bytes = b"\xff"
    """Bytes that come in; for `flip` the one that is added without carry."""

    def of(self, content: bytes) -> bytes:
        """Return the bytes of a damaged file."""
        size = len(content)
        if not size:
            return self.junk if self.kind in ("overwrite", "insert") else content
        a, b = sorted((self.at % size, self.other % size))
        piece = content[a : a + self.size]
        after = max(b, a + self.size)
        second = content[after : after + self.size]
        match self.kind:
            case "flip":
                return content[:a] + bytes([content[a] ^ self.junk[0]]) + content[a + 1 :]
            case "overwrite":
                return content[:a] + self.junk + content[a + len(self.junk) :]
            case "lose":
                return content[:a] + content[a + self.size :]
            case "double":
                return content[:a] + piece + content[a:]
            case "swap":
                return content[:a] + second + content[a + self.size : after] + piece + content[after + self.size :]
            case "zero":
                return content[:a] + bytes(len(piece)) + content[a + self.size :]
            case "cut":
                return content[:a]
            case _:
                return content[:a] + self.junk + content[a:]

    @contextmanager
    def done_to(self, files: list[Path]) -> Iterator[Path]:
        """Change one of `files` for a while and yield which."""
        file = files[self.file % len(files)]
        content = file.read_bytes()
        file.write_bytes(self.of(content))
        try:
            yield file
        finally:
            file.write_bytes(content)


def _places() -> hs.SearchStrategy[int]:
    # Hypothesis draws small numbers far more often than others, and the start of a file is not all of it.
    near = hs.integers(0, 1 << 30)
    return near | near.map(lambda number: number * 2654435761 % (1 << 32))


def flips() -> hs.SearchStrategy[Damage]:
    """Single bytes that are changed, by one bit often."""
    bits = hs.sampled_from([bytes([1 << bit]) for bit in range(8)]) | hs.integers(1, 255).map(lambda n: bytes([n]))
    place = _places()
    return hs.builds(lambda file, at, junk: Damage("flip", file, at, at, 1, junk), place, place, bits)


def damages() -> hs.SearchStrategy[Damage]:
    """Larger damage: pieces overwritten, lost, doubled, swapped, made zero or put in, and files cut short."""
    place = _places()
    return hs.builds(
        Damage,
        hs.sampled_from(_KINDS),
        place,
        place,
        place,
        hs.sampled_from(_SIZES),
        hs.binary(min_size=1, max_size=16),
    )
