"""Manifests, info texts, digests and names, made from the rules. Source: spec sections 4, 6 and 7.1."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import count
from typing import Any

from statetree_conformance.making.values import Array, Complex, Float, Record, Scalar, Symbol, arrays_of
from statetree_spec import registry

__all__ = ["BLOCK", "INFO", "Document", "canonical", "digest", "document", "entry", "node", "text"]

BLOCK = 4 << 20
SAFE = (1 << 53) - 1
TIME, WRITER = "2026-01-02T03:04:05Z", "vectors 1"


def canonical(value: Any) -> bytes:
    """[J-1]: return the canonical text of a JSON value; all names of members are ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


INFO = canonical({"time": TIME, "user": {"dict": []}, "writer": WRITER})
"""The info text of most vectors."""


@cache
def _hash(algorithm: str) -> Callable[[bytes], bytes]:
    if algorithm == "sha-256":
        return lambda data: hashlib.sha256(data).digest()
    if algorithm == "blake3":
        from blake3 import blake3

        return lambda data: blake3(data).digest()
    import xxhash

    return xxhash.xxh3_128_digest


def digest(algorithm: str, data: bytes) -> bytes:
    """[G-1]: return the raw digest of `data`; of an algorithm that nobody knows, that under xxh3-128."""
    return _hash(algorithm)(data)


def block_digests(algorithm: str, raw: bytes) -> bytes:
    """[G-2]: return the joined raw digests of the blocks of an array, b"" up to 4 MiB."""
    if len(raw) <= BLOCK:
        return b""
    return b"".join(digest(algorithm, raw[at : at + BLOCK]) for at in range(0, len(raw), BLOCK))


def array_digest(algorithm: str, raw: bytes) -> str:
    """[G-2]: return the digest of an array as the manifest has it."""
    return digest(algorithm, block_digests(algorithm, raw) or raw).hex()


@cache
def itemsize(dtype: str) -> int:
    """Return the bytes of an element."""
    size: int = next(row["itemsize"] for row in registry("dtypes")["dtypes"] if row["name"] == dtype)
    return size


def node(value: Any, indices: dict[int, int]) -> Any:
    """[N-1]: return the node of a value; `indices` has the index of each array by its identity."""
    match value:
        case None | bool() | str():
            return value
        case int():
            return value if -SAFE <= value <= SAFE else {"int": f"{value:x}"}
        case Float():
            return {"float": value.bits}
        case Complex():
            return {"complex": [value.real, value.imaginary]}
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
        case Symbol():
            return {"symbol": value.name}
        case Scalar():
            return {"scalar": [value.dtype, *value.bits]}
        case Array():
            return {"array": indices[id(value)]}
        case dict():
            return {"dict": [node(part, indices) for pair in value.items() for part in pair]}
        case list():
            return {"list": [node(child, indices) for child in value]}
        case tuple():
            return {"tuple": [node(child, indices) for child in value]}
        case Record():
            fields = [part for name, child in value.fields for part in (name, node(child, indices))]
            return {"record": [value.label, *fields]}
    raise TypeError(f"expected a value of a tree, got {value!r}")


def entry(array: Array, algorithm: str = "xxh3-128") -> dict[str, Any]:
    """[M-5]: return the row of an array in the table."""
    return {"digest": array_digest(algorithm, array.raw), "dtype": array.dtype, "shape": list(array.shape)}


def _label(key: Any) -> str:
    match key:
        case bool():
            text = "true" if key else "false"
        case None:
            text = "null"
        case int():
            text = str(key) if -SAFE <= key <= SAFE else f"{'-' if key < 0 else ''}x{abs(key):x}"
        case bytes():
            text = key.hex()
        case tuple():
            text = "_".join(map(_label, key))
        case Symbol():
            text = key.name
        case _:
            text = str(key)
    return re.sub(r"[^A-Za-z0-9_-]", "_", text[:100])


def _labels(value: Any, path: tuple[str, ...], found: dict[int, str]) -> None:
    match value:
        case Array():
            found.setdefault(id(value), ".".join(path)[:100].rstrip(".") or "_")
        case dict():
            for key, child in value.items():
                _labels(child, (*path, _label(key)), found)
        case Record():
            for name, child in value.fields:
                _labels(child, (*path, _label(name)), found)
        case list() | tuple():
            for number, child in zip(count(), value, strict=False):
                _labels(child, (*path, str(number)), found)


def names(value: Any) -> list[str]:
    """[C-2]: return the name of each array of a tree.

    >>> names({"a/b": Array("uint8", (1,), b"x")})
    ['0-a_b']
    """
    found: dict[int, str] = {}
    _labels(value, (), found)
    digits = len(str(max(len(found) - 1, 0)))
    return [f"{number:0{digits}}-{label}" for number, label in enumerate(found.values())]


@dataclass(frozen=True, slots=True)
class Document:
    """What a container holds: a manifest, an info text and named arrays."""

    text: bytes
    """The manifest."""
    arrays: tuple[Array, ...] = ()
    """The arrays of its table."""
    names: tuple[str, ...] = ()
    """Their names in containers."""
    info: bytes = INFO
    """The info text."""
    algorithm: str = "xxh3-128"
    """The digest algorithm."""
    version: str = "1.0"
    """The version, as a container's own fields have it."""
    value: Any = None
    """The tree that a reader is to find, where there is one."""

    @property
    def digest(self) -> str:
        """[G-4]: the tree digest."""
        return f"{self.algorithm}:{digest(self.algorithm, self.text).hex()}"

    @property
    def blocks(self) -> bytes:
        """[G-3]: the joined block digests."""
        return b"".join(block_digests(self.algorithm, array.raw) for array in self.arrays)

    def but(self, **changes: Any) -> "Document":
        """Return it with other parts."""
        return replace(self, **changes)

    def saying(self, old: str, new: str) -> "Document":
        """Return it with another manifest: the one place where `old` stands has `new`."""
        assert self.text.count(old.encode()) == 1, (old, self.text)
        return replace(self, text=self.text.replace(old.encode(), new.encode()))


def document(value: Any, *, algorithm: str = "xxh3-128", version: str = "1.0", user: Any = None) -> Document:
    """Return the document of a tree."""
    arrays = arrays_of(value)
    indices = {id(array): number for number, array in enumerate(arrays)}
    root = {
        "algorithm": algorithm,
        "arrays": [entry(array, algorithm) for array in arrays],
        "features": [],
        "statetree": version,
        "tree": node(value, indices),
    }
    info = canonical({"time": TIME, "user": node(user or {}, {}), "writer": WRITER})
    return Document(canonical(root), tuple(arrays), tuple(names(value)), info, algorithm, version, value)


def text(
    tree: str = "null",
    *,
    arrays: str = "[]",
    algorithm: str = '"xxh3-128"',
    features: str = "[]",
    version: str = '"1.0"',
) -> bytes:
    """Return a manifest of parts that are given as JSON, however wrong they are."""
    parts = f'"algorithm":{algorithm},"arrays":{arrays},"features":{features},"statetree":{version},"tree":{tree}'
    return f"{{{parts}}}".encode("utf-8", "surrogatepass")
