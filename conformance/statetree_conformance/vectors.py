"""The vectors of the specification: their records and their bytes. Source: spec/conformance.md section 2."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import statetree_spec
from statetree_conformance.making.recipes import RECIPES, SLOW
from statetree_conformance.making.record import SUFFIXES

__all__ = ["KINDS", "Vector", "materialise", "vectors"]

KINDS = ("valid", "invalid")
"""Those that every reader accepts, and those in which one thing is wrong."""


@dataclass(frozen=True, slots=True)
class Vector:
    """One vector."""

    kind: str
    """`valid` or `invalid`."""
    id: str
    """Its permanent name."""
    title: str
    """What it shows, in a few words."""
    container: str
    """`hdf5`, `zarr`, `zarr.zip` or `bson`."""
    bytes: Mapping[str, Any]
    """Where its bytes come from: `file`, `files`, or `recipe` and `arguments`."""
    rows: tuple[str, ...]
    """Ids of the list of cases."""
    rules: tuple[str, ...]
    """Ids of rules of spec.md."""
    expect: Mapping[str, Mapping[str, Any]]
    """Verb → outcome."""
    made: str
    """How the bytes were made."""
    fault: str | None = None
    """The one thing that is wrong."""
    sha256: str | None = None
    """SHA-256 of the bytes, of a folder that of the canonical JSON of `files`; None for recipes."""
    tree: Mapping[str, Any] | None = None
    """What a reader must find, tagged; None where it is refused, or too large to be written out."""
    digest: str | None = None
    """Its tree digest."""
    limits: Mapping[str, int] | None = None
    """Limits that the reader is to be given."""

    @property
    def slow(self) -> bool:
        """Whether making it takes so long that only long runs do."""
        return self.bytes.get("recipe") in SLOW


@cache
def vectors(kind: str | None = None) -> tuple[Vector, ...]:
    """Return all vectors of a kind, or of both, in the order of their ids."""
    return tuple(
        _vector(each, json.loads(entry.read_bytes()))
        for each in (KINDS if kind is None else (kind,))
        for entry in sorted(statetree_spec.vectors().joinpath(each).iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    )


def _vector(kind: str, record: dict[str, Any]) -> Vector:
    members: dict[str, Any] = {name: tuple(part) if isinstance(part, list) else part for name, part in record.items()}
    return Vector(kind, **members)


def materialise(vector: Vector, folder: Path) -> Path:
    """Write the bytes of a vector below `folder` and return the path that a reader is to be given."""
    path = folder / (vector.id + SUFFIXES[vector.container])
    if "recipe" in vector.bytes:
        RECIPES[vector.bytes["recipe"]](path, **vector.bytes["arguments"])
    elif "file" in vector.bytes:
        path.write_bytes(statetree_spec.vectors().joinpath(vector.kind, vector.bytes["file"]).read_bytes())
    else:
        path.mkdir()
        for name, content in vector.bytes["files"].items():
            _put(path / name, content)
    return path


def _put(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    match content:
        case {"text": str(text)}:
            path.write_bytes(text.encode())
        case {"hex": str(digits)}:
            path.write_bytes(bytes.fromhex(digits))
        case {"link": str(target)}:
            path.symlink_to(target)
        case {"fifo": True}:
            os.mkfifo(path)
        case {"folder": True}:
            path.mkdir(exist_ok=True)
        case _:
            raise ValueError(f"expected text, hex, link, fifo or folder, got {sorted(content)}")
