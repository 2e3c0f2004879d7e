"""Records of vectors, and how they are written down. Source: spec/conformance.md section 2."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from statetree_conformance.making.hdf5 import HEADER_AT
from statetree_conformance.making.header import MAGIC
from statetree_conformance.making.texts import Document
from statetree_conformance.making.values import tagged
from statetree_conformance.making.zarr import Files
from statetree_spec import registry

__all__ = ["SUFFIXES", "Content", "Made", "Recipe", "invalid", "valid"]

PREFIXES = {"hdf5": "hdf5", "zarr": "zarr", "zarr.zip": "zip", "bson": "bson"}
SUFFIXES = {"hdf5": ".h5", "zarr": ".zarr", "zarr.zip": ".zarr.zip", "bson": ".bson"}
HOW = {
    "hdf5": "by h5py's low-level interface; data, index and header block put into the finished bytes (making.hdf5)",
    "zarr": "by hand: every file is written out here (making.zarr)",
    "zarr.zip": "by hand, field by field (making.zipped)",
    "bson": "by hand, document by document (making.bson)",
}
LACKING = {"zstd": "Z_CODEC BACKEND_LIBRARY", "blake3": "DIGEST_ALGORITHM BACKEND_LIBRARY"}
"""Word in the name of a vector → codes of a reader that has not what it SHOULD have; [C-6], [G-1]."""
NAMED = "NOT_STATETREE"
"""What a reader without an HDF5 library says of an HDF5 file whose header is not at 4096; [H-1]."""
CLASSES: dict[str, str] = {code: row["class"] for code, row in registry("errors")["codes"].items()}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Bytes that are made when they are needed."""

    name: str
    """Name of one of `recipes.RECIPES`."""
    arguments: dict[str, Any]
    """What it is given."""


Content = bytes | Files | Recipe


@dataclass(frozen=True, slots=True)
class Made:
    """A vector: its record, and the bytes of the file beside it."""

    kind: str
    """`valid` or `invalid`."""
    record: dict[str, Any]
    """The record, as it is written."""
    beside: bytes | None
    """The bytes of the file that the record names."""

    @property
    def id(self) -> str:
        """The name of the vector."""
        found: str = self.record["id"]
        return found

    def files(self) -> dict[str, bytes]:
        """Return the files of the vector, by their path below the folder of all vectors."""
        out = {f"{self.kind}/{self.id}.json": laid_out(self.record).encode()}
        if self.beside is not None:
            out[f"{self.kind}/{self.record['bytes']['file']}"] = self.beside
        return out


def laid_out(record: dict[str, Any]) -> str:
    """Return the text of a record: a member a line, and of a folder a file a line."""
    lines = []
    for name, member in record.items():
        if name == "bytes" and "files" in member:
            inner = ",\n".join(f"   {_line(path)}: {_line(content)}" for path, content in member["files"].items())
            lines.append(f' "bytes": {{"files": {{\n{inner}\n  }}}}')
        else:
            lines.append(f" {_line(name)}: {_line(member)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value)


def expected(text: str) -> dict[str, Any]:
    """Return an outcome: `accept` and codes with which it may be refused, or codes of which the first is the one.

    >>> expected("JSON_SYNTAX NOT_CANONICAL")
    {'outcome': 'refuse', 'class': 'malformed', 'code': 'JSON_SYNTAX', 'also': ['NOT_CANONICAL']}
    """
    if text.startswith("accept"):
        others = text.removeprefix("accept").split()
        assert all(code in CLASSES for code in others), others
        return {"outcome": "accept", "also": others} if others else {"outcome": "accept"}
    codes = text.split()
    out: dict[str, Any] = {"outcome": "refuse", "class": CLASSES[codes[0]], "code": codes[0]}
    assert all(code in CLASSES for code in codes), codes
    if codes[1:]:
        out["also"] = codes[1:]
    return out


def _content(id: str, container: str, content: Content) -> tuple[dict[str, Any], str | None, bytes | None]:
    """Return the member `bytes`, the SHA-256 and the bytes of the file beside the record."""
    if isinstance(content, Recipe):
        return {"recipe": content.name, "arguments": content.arguments}, None, None
    if isinstance(content, bytes):
        return {"file": id + SUFFIXES[container]}, hashlib.sha256(content).hexdigest(), content
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {"files": content}, hashlib.sha256(text.encode()).hexdigest(), None


def _made(
    kind: str,
    name: str,
    container: str,
    content: Content,
    doc: Document | None,
    fault: str | None,
    *,
    title: str,
    rows: str,
    rules: str,
    load: str,
    validate: str,
    limits: dict[str, int] | None,
    tree: bool,
) -> Made:
    id = f"{PREFIXES[container]}-{name}"
    others = [codes for word, codes in LACKING.items() if word in name.split("-")]
    if container == "hdf5" and isinstance(content, bytes) and content[HEADER_AT : HEADER_AT + len(MAGIC)] != MAGIC:
        others.append(NAMED)
    load, validate = (" ".join(dict.fromkeys(" ".join([codes, *others]).split())) for codes in (load, validate))
    where, sha256, beside = _content(id, container, content)
    record: dict[str, Any] = {"id": id, "title": title}
    record |= {"fault": fault} if fault else {}
    record |= {"container": container, "bytes": where}
    record |= {"sha256": sha256} if sha256 else {}
    record |= {"rows": rows.split(), "rules": rules.split()}
    if load.startswith("accept") and doc is not None:
        record |= {"tree": tagged(doc.value)} if tree else {}
        record["digest"] = doc.digest
    record["expect"] = {"load": expected(load), "validate": expected(validate)}
    record |= {"limits": limits} if limits else {}
    record["made"] = "when it is needed (making.recipes)" if isinstance(content, Recipe) else HOW[container]
    return Made(kind, record, beside)


def valid(
    name: str,
    container: str,
    content: Content,
    doc: Document,
    *,
    title: str,
    rows: str = "",
    rules: str,
    limits: dict[str, int] | None = None,
    tree: bool = True,
) -> Made:
    """Return a vector that every reader accepts.

    Args:
        name: its id behind the name of the container.
        container: which one.
        content: its bytes.
        doc: what it holds.
        title: what it shows.
        rows: ids of the list of cases.
        rules: ids of rules.
        limits: what the reader is given.
        tree: whether the tree is written out.
    """
    about: dict[str, Any] = {"title": title, "rows": rows, "rules": rules, "limits": limits, "tree": tree}
    return _made("valid", name, container, content, doc, None, load="accept", validate="accept", **about)


def invalid(
    name: str,
    container: str,
    content: Content,
    fault: str,
    load: str,
    validate: str | None = None,
    *,
    doc: Document | None = None,
    rows: str = "",
    rules: str,
    limits: dict[str, int] | None = None,
) -> Made:
    """Return a vector that a validator refuses, and a reader too unless `load` is `accept`, with `?` where it may.

    Args:
        name: its id behind the name of the container; the title is made of it.
        container: which one.
        content: its bytes.
        fault: the one thing that is wrong.
        load: what a reader says, as `expected` takes it.
        validate: what a validator says, if something else.
        doc: what a reader finds that accepts it.
        rows: ids of the list of cases.
        rules: ids of rules.
        limits: what the reader is given.
    """
    title = name.replace("-", " ").replace(".", ". ")
    about: dict[str, Any] = {"title": title, "rows": rows, "rules": rules, "limits": limits, "tree": True}
    if load == "accept?":
        load = f"accept {validate}"
    return _made("invalid", name, container, content, doc, fault, load=load, validate=validate or load, **about)
