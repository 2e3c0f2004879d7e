"""BSON files as pymongo's bson shows them, held against the manifest. Source: spec section 7.5."""

from collections.abc import Iterator, Sequence
from typing import Any

from statetree.digest import digest
from statetree.store import ArraySpec, Finding
from statetree_backends._bson_file import PIECE, TEXTS, BsonFile
from statetree_backends._codecs import decompress
from statetree_backends._stock import differs, digest_of, missing

__all__ = ["stock_bson"]


def stock_bson(container: BsonFile, specs: Sequence[ArraySpec], digests: Sequence[str]) -> Iterator[Finding]:
    """Yield in what the documents of a file, which was found to be sound, say another thing than the manifest.

    Raises:
        MissingLibraryError: pymongo is not installed.
    """
    try:
        from bson import decode
    except ImportError:
        missing("bson", "bson")
    documents = _documents(container, decode)
    header = next(documents)
    wanted = {"statetree": container.version, "algorithm": container.block.algorithm, "arrays": len(specs)}
    if header != wanted:
        yield Finding(differs("the header document of the manifest", "another one", "header"))
    document = next(documents)
    for index, (spec, wanted_digest) in enumerate(zip(specs, digests, strict=True)):
        mine: list[dict[str, Any]] = []
        found: list[bytes] = []
        while document.get("array") == index:
            mine.append({name: value for name, value in document.items() if name not in ("data", "pad")})
            size = min(PIECE, spec.nbytes - PIECE * len(found))
            found.append(_data(document, size, f"array {spec.name}"))
            document = next(documents)
        same = {"array": index, "name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
        if any(not same.items() <= each.items() for each in mine):
            yield Finding(differs("its index, name, dtype and shape in each document", "others", spec.name), index)
        if digest_of(container.block.algorithm, spec.nbytes, found) != wanted_digest:
            yield Finding(differs("the values that the manifest has", "others", spec.name), index)
    for name in TEXTS:
        text = b""
        while document.get("kind") == name:
            text += document["data"]
            document = next(documents)
        if bytes.fromhex(digest(container.block.algorithm, text)) != container.block.parts[name].digest:
            yield Finding(differs(f"the text {name} of the header block", "another one", name))
    if document.keys() != {"kind", "data"} or next(documents, None) is not None:
        yield Finding(differs("the trailer document at the end", "another one", "trailer"))


def _documents(container: BsonFile, decode: Any) -> Iterator[dict[str, Any]]:
    at, file = 0, container.file
    while at < file.size:
        size = int.from_bytes(file.read(at, 4), "little")
        yield decode(file.read(at, size))
        at += size


def _data(document: dict[str, Any], size: int, place: str) -> bytes:
    compression, data = document.get("compression"), bytes(document["data"])
    return data if compression is None else decompress(compression, data, size, place)
