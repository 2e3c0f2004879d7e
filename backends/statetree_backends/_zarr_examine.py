"""Zarr containers as a whole: every node and every file, whether a reader looks at it or not. Source: spec [Z-11]."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statetree.digest import block_count, digest_size
from statetree.errors import MissingFileError, Problem, StateTreeError, StoreIOError, UsageError, shown
from statetree.store import ArraySpec, Examination, Finding
from statetree_backends._zarr_consolidated import contradictions
from statetree_backends._zarr_metadata import (
    ArrayMetadata,
    Root,
    chunk_key,
    declared_size,
    is_array,
    parse_array,
    parse_group,
)

__all__ = ["Contents", "Examiner"]

_RULE = "Z-11"
_VERSION_2 = (".zarray", ".zattrs", ".zgroup", ".zmetadata")
_JSON_LIMIT = 1 << 20
_TEXT_LIMIT = 1 << 40
_ALIGN = 64
_CHUNKS = tuple(chunk_key(0, rank) for rank in range(33))
"""The only chunk of an array, by its dimensions."""
_DAMAGED = "the container is damaged: restore it from a copy"
_FOREIGN = "write it with a conforming writer"
_REMOVE = "remove it"


class Contents:
    """What lies in a container, crossed off as rules name it.

    Args:
        entries: (name, kind, bytes) of all there is; kinds are `file`, `folder`, `link` and `special`.
    """

    def __init__(self, entries: Iterable[tuple[str, str, int]]) -> None:
        self._left = {name: (kind, size) for name, kind, size in entries}
        self._folders: set[str] = set()
        self._forgotten: set[str] = set()
        self.misplaced: list[str] = []
        """Folders in the place of files."""

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> int | None:
        """Cross a file off; return its bytes, -1 if something else is in its place, None if nothing is."""
        found = self._left.pop(name, None)
        if found is None:
            return None
        self.expect(name.rpartition("/")[0])
        if found[0] == "folder":
            self.misplaced.append(name)
        return found[1] if found[0] == "file" else -1

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None if there is none."""
        found = self._left.get(name)
        return found[1] if found is not None and found[0] == "file" else None

    def take_all(self, folder: str, *names: str) -> None:
        """Cross off files of a folder, whose own folder was expected."""
        self._folders.add(folder)
        for name in names:
            self._left.pop(name, None)

    def expect(self, folder: str) -> None:
        """Cross a folder off, if it is there, and those around it."""
        while folder and folder not in self._folders:
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]

    def forget(self, name: str) -> None:
        """Say nothing of what lies in the folder of an array."""
        self._forgotten.add(name)

    def left(self) -> Iterator[tuple[str, str]]:
        """Yield (name, kind) of what was not crossed off, without what lies in folders that were not."""
        inside = ""
        for name, (kind, _) in sorted(self._left.items(), key=lambda item: item[0].split("/")):
            if (inside and name.startswith(inside)) or (kind == "folder" and name in self._folders):
                continue
            if self._forgotten and "/".join(name.split("/")[:2]) in self._forgotten:
                continue
            inside = f"{name}/" if kind == "folder" else ""
            yield name, kind

    def odd(self) -> Iterator[tuple[str, str]]:
        """Yield (name, kind) of all that is neither a file nor a folder."""
        return ((name, kind) for name, (kind, _) in self._left.items() if kind in ("link", "special"))


class Examiner:
    """Looks at one open generation.

    Args:
        contents: what lies in it.
        read: returns a file of it, of at most so many bytes.
        root: what the root says.
        metadata: returns how an array is stored, judged against the manifest.
        pack: returns the bytes and the codec of a pack, judged.
        read_pack: copies bytes of a pack from an offset on.
        extra: severity of what no rule names.
    """

    def __init__(
        self,
        contents: Contents,
        read: Callable[[str, int], bytes],
        root: Root,
        metadata: Callable[[int], ArrayMetadata],
        pack: Callable[[int], tuple[int, str | None]],
        read_pack: Callable[[int, int, memoryview], None],
        *,
        extra: str,
    ) -> None:
        self._contents = contents
        self._read = read
        self._root = root
        self._metadata = metadata
        self._pack = pack
        self._read_pack = read_pack
        self._extra = extra
        self._nodes: list[str] = []
        """Names of the nodes that were found, the generation itself being ""."""

    def run(
        self, specs: Sequence[ArraySpec], rows: NDArray[np.int64] | None, root_text: bytes, asked: Examination
    ) -> Iterator[Finding]:
        """Yield what is wrong with the generation, and with what the root says of it.

        Args:
            specs: what the manifest says of the arrays, if `asked.bound`.
            rows: the index of packs, None if there is none or it was refused.
            root_text: metadata of the root.
            asked: how far to look.
        """
        if asked.version not in (None, self._root.version):
            expected = f"version {asked.version}, as the manifest says"
            yield _finding("BACKEND_MISMATCH", expected, self._root.version, "zarr.json", rule="M-2")
        for name, kind in list(self._contents.odd()):
            what = "a link" if kind == "link" else "a special file"
            code = "FS_LINK" if kind == "link" else "FS_SPECIAL"
            yield _finding(code, "files and folders", what, name, remedy="links are never followed", rule="Z-9")
        yield from self._group("")
        for text in ("manifest", "info"):
            yield from self._text(text)
        blocks = sum(block_count(spec.nbytes) for spec in specs) * digest_size(self._root.algorithm)
        yield from self._text("blocks", blocks if asked.bound else None)
        if "packs/index/c/0" in self._contents:
            yield from self._group("packs")
            yield from self._text("packs/index")
        nbytes = np.fromiter((spec.nbytes for spec in specs), np.int64, len(specs))
        if rows is not None and asked.bound:
            yield from self._packs(rows, nbytes)
        if asked.bound:
            packed = [0] * len(specs) if rows is None else rows[0].tolist()
            self._contents.expect("arrays")
            for index, spec in enumerate(specs):
                if packed[index] or not self._is_in_one_chunk(index, spec):
                    yield from self._array(index, spec, in_pack=packed[index] > 0)
        yield from self._group("arrays")
        if rows is not None and asked.bound:
            yield from _order(rows)
            if asked.data:
                yield from self._gaps(rows, nbytes)
        for name in self._contents.misplaced:
            yield _finding("FS_SPECIAL", "a file", "a folder", name, remedy=_DAMAGED, rule="Z-9")
        yield from self._consolidated(root_text)
        yield from self._rest(asked)

    def _node(self, name: str) -> bytes | None:
        """Return the metadata of a node, None if there is none; cross it off."""
        path = f"{name}/zarr.json" if name else "zarr.json"
        if self._contents.take(path) is None:
            return None
        self._nodes.append(name)
        return self._read(path, _JSON_LIMIT)

    def _group(self, name: str) -> Iterator[Finding]:
        place = name or self._root.generation
        try:
            text = self._node(name)
            if text is None:
                yield _finding("Z_METADATA", "the metadata of a group", "none", place)
            else:
                parse_group(text, place)
        except StateTreeError as error:
            yield from _found(error)

    def _text(self, name: str, wanted: int | None = None) -> Iterator[Finding]:
        """Judge a uint8 array of one dimension in one chunk, which is to have so many bytes."""
        stored = self._contents.take(f"{name}/c/0")
        try:
            text = self._node(name)
            if text is None:
                yield _finding("ARRAY_MISSING", "the metadata of an array", "none", name)
                return
            size = declared_size(text, _TEXT_LIMIT, name, least=0)
            found = parse_array(text, ArraySpec(name, "uint8", (size,), size), name)
        except StateTreeError as error:
            yield from _found(error)
            return
        if wanted not in (None, size):
            yield _finding("BACKEND_MISMATCH", f"{wanted} bytes", f"{size} bytes", name, remedy=_DAMAGED)
        if found != ArrayMetadata(max(1, size), None, False, "/"):
            yield _finding("Z_METADATA", "one chunk c/0 that is stored as it is", "others", name)
        if stored not in (size or None, -1):
            other = "none" if stored is None else f"{stored} bytes"
            code = "ARRAY_MISSING_CHUNK" if stored is None else "ARRAY_NBYTES"
            yield _finding(code, f"a chunk of {size} bytes" if size else "no chunk", other, name, remedy=_DAMAGED)

    def _packs(self, rows: NDArray[np.int64], nbytes: NDArray[np.int64]) -> Iterator[Finding]:
        """Judge every pack that rows of the index name, and where arrays lie in it."""
        packs, offsets, sizes = rows
        for number in np.unique(packs[packs > 0]).tolist():
            name = f"packs/{number - 1}"
            mine = np.flatnonzero(packs == number)
            try:
                yield from _places(mine, offsets[mine], sizes[mine], nbytes[mine], self._pack(number - 1)[0])
            except StateTreeError as error:
                yield from _found(error)
            if self._contents.take(f"{name}/zarr.json") is not None:
                self._nodes.append(name)
            self._contents.take(f"{name}/c/0")

    def _gaps(self, rows: NDArray[np.int64], nbytes: NDArray[np.int64]) -> Iterator[Finding]:
        """Judge the bytes of packs that no array has."""
        packs, offsets, sizes = rows
        for number in np.unique(packs[packs > 0]).tolist():
            mine = np.flatnonzero((packs == number) & (sizes == nbytes))
            try:
                data = np.empty(self._pack(number - 1)[0], np.uint8)
                self._read_pack(number - 1, 0, data.data)
            except StateTreeError as error:
                yield from _found(error)
                continue
            for offset, size in zip(offsets[mine].tolist(), sizes[mine].tolist(), strict=True):
                data[offset : offset + size] = 0
            if data.any():
                at = int(np.flatnonzero(data)[0])
                found = f"0x{data[at]:02x} at byte {at}"
                yield _finding("Z_METADATA", "zeros between the arrays of a pack", found, f"packs/{number - 1}")

    def _is_in_one_chunk(self, index: int, spec: ArraySpec) -> bool:
        """Whether an array is as most are: its metadata, and one chunk of its bytes; then cross both off."""
        rank = len(spec.shape)
        base = f"arrays/{spec.name}"
        chunk = f"{base}/{_CHUNKS[rank]}"
        if not spec.nbytes or self._contents.size(chunk) != spec.nbytes:
            return False
        try:
            stored = self._metadata(index)
        except StateTreeError:
            return False
        if not (stored.plain and stored.separator == "." and (not rank or stored.rows == spec.shape[0])):
            return False
        self._contents.take_all(base, chunk, f"{base}/zarr.json")
        self._nodes.append(base)
        return True

    def _array(self, index: int, spec: ArraySpec, *, in_pack: bool) -> Iterator[Finding]:
        name = f"arrays/{spec.name}"
        if in_pack:
            if f"{name}/zarr.json" in self._contents:
                found = "metadata of its own"
                yield _finding("ARRAY_STRAY", "nothing below arrays of an array in a pack", found, name, index)
            return
        if self._contents.take(f"{name}/zarr.json") is not None:
            self._nodes.append(name)
        try:
            stored = self._metadata(index)
        except StateTreeError as error:
            yield from _found(error, index)
            # What its chunks are called is not known; they are not what is wrong.
            self._contents.forget(name)
            return
        if spec.nbytes:
            yield from self._chunks(index, spec, stored)

    def _chunks(self, index: int, spec: ArraySpec, stored: ArrayMetadata) -> Iterator[Finding]:
        rank = len(spec.shape)
        count = -(-spec.shape[0] // stored.rows) if rank else 1
        size = spec.nbytes // spec.shape[0] * stored.rows if rank else spec.nbytes
        for number in range(count):
            name = f"arrays/{spec.name}/{chunk_key(number, rank, stored.separator)}"
            found = self._contents.take(name)
            if found is None:
                # The first will do: there may be many more than files.
                yield _finding("ARRAY_MISSING_CHUNK", "a chunk", "none", name, index, remedy=_DAMAGED, rule="Z-6")
                return
            held = size + 4 * stored.checksum
            if stored.codec is None and found not in (held, -1):
                expected = f"a chunk of {held} bytes"
                yield _finding("ARRAY_NBYTES", expected, str(found), name, index, remedy=_DAMAGED, rule="Z-6")

    def _consolidated(self, root_text: bytes) -> Iterator[Finding]:
        generation = self._root.generation
        known = {generation + (f"/{name}" if name else ""): name for name in self._nodes}
        for name, text in ((None, root_text), *((group, self._text_of(group)) for group in ("", "arrays", "packs"))):
            if text is None or b'"consolidated_metadata"' not in text:
                continue
            place = "zarr.json" if name is None else f"{generation}/{name}".rstrip("/")
            prefix = "" if name is None else f"{place}/"
            for path, found in contradictions(text, prefix, known, self._text_of):
                yield _finding("Z_CONSOLIDATED", "what the node itself says", found, f"{place}: {shown(path)}")

    def _text_of(self, name: str) -> bytes | None:
        try:
            return self._read(f"{name}/zarr.json" if name else "zarr.json", _JSON_LIMIT)
        except StateTreeError:
            return None

    def _rest(self, asked: Examination) -> Iterator[Finding]:
        """Yield what no rule names; of a container whose arrays are not known only what cannot be one of them."""
        for name, kind in self._contents.left():
            if kind in ("link", "special") or (not asked.bound and name.startswith(("arrays/", "packs"))):
                continue
            if name.rpartition("/")[2] in _VERSION_2:
                yield _finding("Z_MIXED", "nothing of Zarr version 2", "a file of it", name, remedy=_REMOVE)
            elif name.count("/") == 1 and name.startswith("arrays/") and self._is_array(name):
                expected = "arrays of the table only"
                yield _finding("ARRAY_STRAY", expected, "an array that it does not name", name, remedy=_REMOVE)
            else:
                found = f"a {kind} that no rule names"
                yield _extra(name, found, self._extra)

    def _is_array(self, name: str) -> bool:
        text = self._text_of(name)
        return text is not None and is_array(text)


def _order(rows: NDArray[np.int64]) -> Iterator[Finding]:
    """Judge the rows of the index against each other."""
    bad = (rows[0] == 0) & ((rows[1] != 0) | (rows[2] != 0))
    if bad.any():
        index = int(np.flatnonzero(bad)[0])
        found = f"{rows[1, index]} and {rows[2, index]}"
        yield _finding("Z_METADATA", "three zeros in a row without a pack", found, "packs/index", index)
    numbers = np.flatnonzero(rows[0])
    packs, offsets, sizes = rows[:, numbers]
    same = packs[1:] == packs[:-1]
    rules: tuple[tuple[str, Any, int], ...] = (
        ("packs in the order of the table", (packs[1:] < packs[:-1]) | (packs[1:] > packs[:-1] + 1), 1),
        ("packs from the first on", packs[:1] != 1, 0),
        (f"offsets that are multiples of {_ALIGN}", offsets % _ALIGN != 0, 0),
        ("arrays one behind the other in a pack", same & (np.diff(offsets) < sizes[:-1]), 1),
    )
    for expected, bad, shift in rules:
        if bad.any():
            at = int(np.flatnonzero(bad)[0]) + shift
            found = f"pack {packs[at] - 1}, offset {offsets[at]}, {sizes[at]} bytes"
            yield _finding("Z_METADATA", expected, found, "packs/index", int(numbers[at]))


def _places(
    numbers: NDArray[np.int64],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    nbytes: NDArray[np.int64],
    held: int,
) -> Iterator[Finding]:
    """Hold the rows of one pack against the table of arrays and the size of the pack."""
    for at in np.flatnonzero((sizes != nbytes) | (offsets > held - np.minimum(sizes, held))).tolist():
        index, size, end = int(numbers[at]), int(sizes[at]), int(offsets[at]) + int(sizes[at])
        wrong = size != nbytes[at]
        expected, found = (f"{nbytes[at]} bytes", str(size)) if wrong else (f"bytes up to {held} of a pack", str(end))
        yield _finding("BACKEND_MISMATCH", expected, found, "packs/index", index, remedy=_DAMAGED, rule="Z-7")


def _found(error: StateTreeError, index: int | None = None) -> Iterator[Finding]:
    if isinstance(error, StoreIOError | UsageError) and not isinstance(error, MissingFileError):
        raise error
    for problem in error.problems:
        yield Finding(problem, index)


def _finding(
    code: str,
    expected: str,
    found: str,
    place: str,
    index: int | None = None,
    *,
    remedy: str = _FOREIGN,
    rule: str = _RULE,
) -> Finding:
    return Finding(Problem(code, expected, found, place=shown(place, 200), remedy=remedy, rule=rule), index)


def _extra(name: str, found: str, severity: str) -> Finding:
    return Finding(
        Problem(
            "CONTAINER_EXTRA",
            "nothing but a state tree",
            found,
            place=shown(name, 200),
            remedy=_REMOVE,
            rule=_RULE,
            severity=severity,
        )
    )
