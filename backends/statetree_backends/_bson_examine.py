"""BSON files as a whole: every document where and as index, header block and manifest say. Source: spec [B-8].

Most documents are the very bytes that a writer would have made, and are compared with these. Others are parsed.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

from statetree.errors import Problem, StateTreeError, shown
from statetree.store import ArraySpec, Examination, Finding
from statetree_backends._bson_file import ALIGN, DAMAGED, PIECE, TEXTS, BsonFile
from statetree_backends._bson_head import Heads
from statetree_backends._bson_index import Index
from statetree_backends._bson_strict import MAX_DOCUMENT, check_fields, read_document

__all__ = ["examine"]

Document = dict[str, Any]

_RULE = "B-8"
_FOREIGN = "write the file with a conforming writer"
_TEXT = {"kind": "string", "n": "int32", "pad": "binary", "data": "binary"}
_ARRAY = {"array": "int32", "n": "int32", "name": "string", "dtype": "string", "shape": "array"}
_LAST = {"pad": "binary", "data": "binary"}


def examine(
    container: BsonFile, specs: Sequence[ArraySpec], index: Index | None, asked: Examination
) -> Iterator[Finding]:
    """Yield what is wrong with the documents of a file.

    Args:
        container: the open file.
        specs: what the manifest says of the arrays, if `asked.bound`.
        index: the index of payloads; None if it was refused.
        asked: how far to look.
    """
    for place, version in (("header", container.version), ("trailer", container.block.version)):
        if asked.version not in (None, version):
            expected = f"version {asked.version}, as the manifest says"
            yield _finding("BACKEND_MISMATCH", expected, version, place, rule="M-2")
    walk = _Walk(container, specs if asked.bound else None, index)
    yield from walk.data()
    yield from walk.texts()


def _finding(
    code: str, expected: str, found: str, place: str, index: int | None = None, *, rule: str = _RULE
) -> Finding:
    remedy = _FOREIGN if code in ("BSON_TYPE", "BACKEND_MISMATCH") else DAMAGED
    return Finding(Problem(code, expected, found, place=place, remedy=remedy, rule=rule), index)


class _Walk:
    """A walk over the documents behind the header; `at` is where the next one begins."""

    def __init__(self, container: BsonFile, specs: Sequence[ArraySpec] | None, index: Index | None) -> None:
        self._container = container
        self._file = container.file
        self._specs = specs
        self._index = index
        self._compression = container.block.compression
        self._heads = Heads(self._compression)
        self._at = container.first
        self._start = self._at
        self._lost = False

    def _pieces(self) -> Iterator[tuple[int, int]]:
        """Yield (array, n) of each data document that there must be, in order."""
        for i, spec in enumerate(self._specs or ()):
            for n in range(-(-spec.nbytes // PIECE)):
                yield i, n

    def data(self) -> Iterator[Finding]:
        """Walk the data documents."""
        pieces = self._pieces()
        left = next(pieces, None)
        while True:
            if left is not None and self._is_written_so(*left):
                left = next(pieces, None)
                continue
            document = yield from self._document()
            if document is None:
                break
            if "kind" in document:
                self._at = self._start
                break
            key = yield from self._judged(document)
            if self._specs is None or key is None:
                left = next(pieces, None)
                continue
            if key != left:
                expected = "the documents of texts" if left is None else f"document {left[1]} of array {left[0]}"
                yield self._here("BSON_CHUNKS", expected, f"document {key[1]} of array {key[0]}")
            # Documents may be missing; one that is not expected any more is passed over.
            while left is not None and left < key:
                left = next(pieces, None)
            if left == key:
                left = next(pieces, None)
        if left is not None:
            missing = [left, *islice(pieces, 1)]
            found = f"none for document {left[1]} of array {left[0]}" + (" and more" if missing[1:] else "")
            yield _finding("BSON_CHUNKS", "a document for each piece of an array", found, "data documents", left[0])

    def _is_written_so(self, i: int, n: int) -> bool:
        """Whether the next document is, up to its payload, the one of a piece; then step behind it."""
        row = self._row(i, n)
        assert self._specs is not None
        spec = self._specs[i]
        size = min(PIECE, spec.nbytes - n * PIECE)
        if self._index is None:
            if self._compression is not None:
                return False
        elif row is None or (self._compression is None and self._index.sizes[row] != size):
            return False
        else:
            size = int(self._index.sizes[row])
        head = self._heads.of(spec, i, n, size, self._at)
        payload = self._at + len(head)
        end = payload + size + 1
        if end > self._container.trailer or self._file.view(self._at, len(head)) != head:
            return False
        if self._file.view(end - 1, 1)[0] or (row is not None and self._index and self._index.offsets[row] != payload):
            return False
        self._at = end
        return True

    def _row(self, i: int, n: int) -> int | None:
        """Return the row of the index for a piece, None if there is none."""
        if self._index is None or not n < self._index.counts[i]:
            return None
        return int(self._index.starts[i]) + n

    def _document(self) -> Generator[Finding, None, Document | None]:
        """Read the next document and step behind it; return it, {} if it is wrong, None where none follows."""
        at, trailer = self._at, self._container.trailer
        if at == trailer:
            return None
        self._start = at
        size = int.from_bytes(self._file.read(at, 4), "little", signed=True)
        if not 5 <= size < MAX_DOCUMENT or at + size > trailer:
            self._lost = True
            expected = f"a document of 5 to {min(MAX_DOCUMENT - 1, trailer - at)} bytes"
            yield self._here("BSON_FRAMING", expected, f"a length of {size}")
            return None
        self._at = at + size
        try:
            return read_document(self._file.read(at, size), self._place)
        except StateTreeError as error:
            yield Finding(error.problems[0])
            return {}

    @property
    def _place(self) -> str:
        return f"document at byte {self._start}"

    def _here(self, code: str, expected: str, found: str, index: int | None = None) -> Finding:
        return _finding(code, expected, found, self._place, index)

    def _fields(self, document: Document, fields: dict[str, str]) -> Iterator[Finding]:
        try:
            check_fields(document, fields, self._place)
        except StateTreeError as error:
            yield Finding(error.problems[0])

    def _judged(self, document: Document) -> Generator[Finding, None, tuple[int, int] | None]:
        """Judge a data document; return (array, n), None if it is not even clear whose it is."""
        if not document:
            return None
        packed = {} if self._compression is None else {"compression": "string"}
        wrong = list(self._fields(document, {**_ARRAY, **packed, **_LAST}))
        yield from wrong
        if wrong:
            return None
        i, n = document["array"][1], document["n"][1]
        yield from self._payload(document, i, n)
        if any(type(extent) is not tuple or extent[0] != "int64" for extent in document["shape"]):
            yield self._here("BSON_TYPE", "shape as an array of int64", "other elements", i)
        elif self._specs is not None and 0 <= i < len(self._specs):
            yield from self._against(document, self._specs[i], i)
        return i, n

    def _payload(self, document: Document, i: int, n: int) -> Iterator[Finding]:
        """Judge where the payload lies, and how long it is."""
        size = len(document["data"])
        offset = self._at - 1 - size
        yield from self._pad(document, offset)
        row = self._row(i, n) if self._specs is not None and 0 <= i < len(self._specs) and n >= 0 else None
        if self._index is not None and row is not None:
            said = int(self._index.offsets[row]), int(self._index.sizes[row])
            if said != (offset, size):
                expected = f"{said[1]} bytes at {said[0]}, as the index says"
                yield self._here("BSON_CHUNKS", expected, f"{size} bytes at {offset}", i)

    def _pad(self, document: Document, offset: int) -> Iterator[Finding]:
        pad = document["pad"]
        if len(pad) >= ALIGN or any(pad) or offset % ALIGN:
            expected = f"a pad of 0 to {ALIGN - 1} zero bytes that aligns the payload to {ALIGN}"
            yield self._here("BSON_CHUNKS", expected, f"{len(pad)} bytes before {offset}")

    def _against(self, document: Document, spec: ArraySpec, i: int) -> Iterator[Finding]:
        """Hold a data document against the manifest."""
        wanted = {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}
        found = {**document, "shape": [extent[1] for extent in document["shape"]]}
        if self._compression is not None:
            wanted["compression"] = self._compression
        for name, value in wanted.items():
            if found[name] != value:
                other = shown(repr(found[name]))
                yield self._here("BACKEND_MISMATCH", f"{name} {shown(repr(value))}", other, i)

    def texts(self) -> Iterator[Finding]:
        """Walk the documents of the texts, up to the trailer."""
        parts = self._container.block.parts
        met: list[tuple[str, int]] = []
        if self._lost:
            # Where the data documents could not be followed, the header block says where the texts begin.
            self._at = min(part.offset for part in parts.values())
        while self._at != self._container.trailer:
            at = self._at
            document = yield from self._document()
            if document is None:
                return
            wrong = list(self._fields(document, _TEXT)) if document else []
            yield from wrong
            if not document or wrong:
                continue
            key = document["kind"], document["n"][1]
            yield from self._pad(document, self._at - 1 - len(document["data"]))
            if key[1] == 0 and key[0] in parts and parts[key[0]].offset != at:
                expected = f"the first document of {key[0]} at byte {parts[key[0]].offset}"
                yield self._here("BSON_CHUNKS", expected, f"one at {at}")
            met.append(key)
        wanted = [(name, n) for name in TEXTS for n in range(max(1, -(-parts[name].size // PIECE)))]
        if met != wanted:
            other = shown(", ".join(f"{name} {n}" for name, n in met), 200)
            expected = "the documents of blocks, index, info and manifest, in this order"
            yield _finding("BSON_CHUNKS", expected, other or "none", "texts")
