"""All that lies in an HDF5 file, by its names: what a reader looks for, and what it passes over. Source: spec [H-10].

This runs where the HDF5 library does. Links are asked for their kind and never followed unless they are hard links.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from statetree.dtype import BY_NAME
from statetree.errors import Problem, StateTreeError, shown
from statetree.store import ArraySpec, Finding
from statetree_backends._block import PARTS
from statetree_backends._hdf5_library import Library, errors
from statetree_backends._hdf5_stored import check_chunks

__all__ = ["Survey", "Surveyed"]

_RULE = "H-10"
_REMOVE = "remove it, or write the file anew with statetree.convert"
_LINK = "links and other files are never followed; copy the data in"
_ARRAYS = "/arrays"
_DATASETS = ("header", *PARTS)
_OBJECTS = 100_000
"""Objects that no rule names of which more are not looked at."""
_DEPTH = 60
"""Groups in groups below which is not looked."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What was found of some arrays."""

    offsets: list[int | None]
    """File offset of the data of each, None if it has none, or was refused."""
    findings: list[Finding]
    """What is wrong; the index is the position among these arrays."""


class Survey:
    """A walk over one open file.

    Args:
        library: the open file.
    """

    def __init__(self, library: Library) -> None:
        self._library = library
        self._h5 = library.h5
        self._carried: dict[bytes, bool] = {}
        """Whether an array has the attribute `dtype`, by the names of those that were asked for."""

    def arrays(self, specs: Sequence[ArraySpec]) -> Surveyed:
        """Judge some arrays of the table."""
        offsets: list[int | None] = []
        findings: list[Finding] = []
        for position, spec in enumerate(specs):
            self._carried[spec.name.encode()] = BY_NAME[spec.dtype].carrier == "uint8"
            try:
                stored = self._library.array(spec)
                if stored.chunks is not None:
                    check_chunks(stored, stored.chunks, self._library.file_size)
                offsets.append(stored.offset)
            except StateTreeError as error:
                offsets.append(None)
                problem = error.problems[0]
                # What is wrong with the group of all arrays is no array's fault.
                findings.append(Finding(problem, None if problem.place == _ARRAYS else position))
        return Surveyed(offsets, findings)

    def rest(self, *, known: bool) -> list[Finding]:
        """Return what no rule names: links, objects and attributes; `known`: all arrays were asked for."""
        try:
            with errors("/"):
                return list(self._rest(known))
        except StateTreeError as error:
            return [Finding(error.problems[0])]

    def _rest(self, known: bool) -> Iterator[Finding]:
        root = self._h5.h5g.open(self._library.id, b"/")
        yield from self._attributes(root, "/")
        left = iter(range(_OBJECTS))
        yield from self._below_arrays(root, left, known)
        for name in list(root):
            if name.decode("utf-8", "replace") in _DATASETS:
                yield from self._dataset(root, name, "/")
            elif name != _ARRAYS[1:].encode():
                yield from self._stranger(root, name, "/", [self._address(root)], left)

    def _below_arrays(self, root: Any, left: Iterator[int], known: bool) -> Iterator[Finding]:
        try:
            group = self._library.arrays_group()
        except StateTreeError as error:
            yield Finding(error.problems[0])
            return
        yield from self._attributes(group, _ARRAYS)
        for name in list(group):
            if name in self._carried:
                yield from self._dataset(group, name, f"{_ARRAYS}/", (b"dtype",) if self._carried[name] else ())
            elif known:
                above = [self._address(root), self._address(group)]
                yield from self._stranger(group, name, f"{_ARRAYS}/", above, left)

    def _address(self, loc: Any) -> tuple[int, int]:
        info = self._h5.h5o.get_info(loc)
        return int(info.fileno), int(info.addr)

    def _dataset(self, group: Any, name: bytes, place: str, allowed: tuple[bytes, ...] = ()) -> Iterator[Finding]:
        """Judge the attributes of a dataset that a rule names."""
        try:
            found = self._library.child(group, name.decode(), place)
        except (StateTreeError, OSError, RuntimeError, LookupError, ValueError):
            return  # who asked for it by its name was told
        if isinstance(found, self._h5.h5d.DatasetID):
            yield from self._attributes(found, place + _text(name), allowed)

    def _attributes(self, loc: Any, place: str, allowed: tuple[bytes, ...] = ()) -> Iterator[Finding]:
        if not self._h5.h5a.get_num_attrs(loc):
            return
        names: list[bytes] = []
        self._h5.h5a.iterate(loc, lambda name, *_: names.append(name))
        for name in names:
            if name not in allowed:
                yield _finding("CONTAINER_EXTRA", "nothing but a state tree", f"the attribute {_text(name)}", place)

    def _stranger(
        self, group: Any, name: bytes, place: str, above: list[tuple[int, int]], left: Iterator[int]
    ) -> Iterator[Finding]:
        """Say what a link is that no rule names; go on below a group."""
        if next(left, None) is None or len(above) > _DEPTH:
            return
        where = place + _text(name)
        if group.links.get_info(name).type != self._h5.h5l.TYPE_HARD:
            yield _finding("H5_LINK", "an object in this file", "a link that is no hard link", where, remedy=_LINK)
            return
        found = self._h5.h5o.open(group, name)
        is_group = isinstance(found, self._h5.h5g.GroupID)
        if is_group and self._address(found) in above:
            yield _finding("H5_CYCLE", "groups that end", "a group that leads back to itself", where)
        elif isinstance(found, self._h5.h5d.DatasetID) and place == f"{_ARRAYS}/":
            yield _finding("ARRAY_STRAY", "arrays of the table only", "a dataset that it does not name", where)
        else:
            what = "a group" if is_group else "an object"
            yield _finding("CONTAINER_EXTRA", "nothing but a state tree", f"{what} that no rule names", where)
        if is_group and self._address(found) not in above:
            for below in list(found):
                inner = self._stranger(found, below, f"{where}/", [*above, self._address(found)], left)
                # What is below a group that is too much is too much as well; only what is worse is said.
                yield from (each for each in inner if each.problem.error_class == "security")


def _text(name: bytes) -> str:
    return shown(name.decode("utf-8", "backslashreplace"))


def _finding(code: str, expected: str, found: str, place: str, *, remedy: str = _REMOVE) -> Finding:
    return Finding(Problem(code, expected, found, place=shown(place, 200), remedy=remedy, rule=_RULE))
