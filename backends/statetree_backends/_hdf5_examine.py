"""HDF5 files as a whole: the metadata that the writer makes, or all that the library finds. Source: spec [H-10].

Most files have, behind their texts, the very bytes that the writer would have made, and are compared with these, which
leaves room for nothing else. In any other file everything is looked for by its name.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from statetree.errors import Problem, StateTreeError
from statetree.files import MappedFile
from statetree.store import ArraySpec, Finding
from statetree_backends._block import MAGIC, PARTS, SIZE, Block, checked_text
from statetree_backends._hdf5_format import superblock
from statetree_backends._hdf5_isolated import Finder, stock_of, survey_of
from statetree_backends._hdf5_metadata import HEADER_AT, HEADER_SIZE, aligned, metadata
from statetree_backends._hdf5_stock import Promise
from statetree_backends._hdf5_stored import Unpacker

__all__ = ["Places", "examine_by_names", "is_as_written", "stock_findings"]

Places = tuple[NDArray[np.uint64], NDArray[np.uint64]]
"""File offset and bytes of each array, as the index has them."""
_RULE = "H-10"
_BATCH = 10_000
"""Arrays that the library is asked for at once: it has a limit of time for each answer."""
_DAMAGED = "the file is damaged: restore it from a copy"
_STALE = "another tool moved the data and left the offset behind; write the file anew with statetree.convert"
_FOREIGN = "write the file with a conforming writer"


def is_as_written(file: MappedFile, block: Block, specs: Sequence[ArraySpec], places: Places) -> bool:
    """Whether all that is not an array or a text is what the writer makes of a file without compression."""
    last = block.parts[PARTS[-1]]
    at = aligned(last.offset + last.size)
    if block.compression is not None or at > file.size:
        return False
    offsets, sizes = places
    if not np.array_equal(sizes, np.fromiter((spec.nbytes for spec in specs), np.uint64, len(specs))):
        return False
    if (offsets > np.uint64(file.size)).any() or ((offsets > 0) != (sizes > 0)).any():
        return False
    headers, root = metadata(specs, offsets.tolist(), block.parts, at, {})
    first = superblock(root, file.size)
    behind = file.view(HEADER_AT + SIZE, HEADER_SIZE - SIZE)
    return file.view(at, file.size - at) == headers and file.view(0, len(first)) == first and not any(behind)


def examine_by_names(
    file: MappedFile, library: Finder, block: Block, specs: Sequence[ArraySpec] | None, places: Places | None
) -> Iterator[Finding]:
    """Yield what is wrong with any file, in which everything is looked for by its name.

    Args:
        file: the file.
        library: the library that has it open.
        block: its header block.
        specs: what the manifest says of the arrays, None if there is no manifest that can be believed.
        places: the index, None if the header block is not at 4096 or the index was refused.
    """
    survey = survey_of(library)
    yield from _header(file, library)
    in_place = file.view(HEADER_AT, len(MAGIC)) == MAGIC
    for name in PARTS:
        yield from _part(file, library, block, name, in_place=in_place)
    for first in range(0, len(specs or ()), _BATCH):
        assert specs is not None
        batch = specs[first : first + _BATCH]
        found = survey.arrays(batch)
        refused = {each.index for each in found.findings}
        for each in found.findings:
            yield Finding(each.problem, None if each.index is None else first + each.index)
        for position, offset in enumerate(found.offsets if places is not None else ()):
            assert places is not None
            said = int(places[0][first + position])
            if said and offset != said and position not in refused:
                place = f"/arrays/{batch[position].name}"
                yield from _elsewhere(said, offset, place, first + position)
    yield from survey.rest(known=specs is not None)


def _elsewhere(said: int, offset: int | None, place: str, index: int | None = None) -> Iterator[Finding]:
    """Yield that the data of a dataset does not begin where an offset says."""
    found = "data in chunks or in its header" if offset is None else f"data at {offset}"
    yield _finding("BACKEND_MISMATCH", f"data at {said}, as its offset says", found, place, index, remedy=_STALE)


def _header(file: MappedFile, library: Finder) -> Iterator[Finding]:
    """Judge `/header` by its name."""
    place = "/header"
    try:
        stored = library.text("header", HEADER_SIZE)
        data = b"" if stored is None else Unpacker(file).whole(stored)
    except StateTreeError as error:
        yield Finding(error.problems[0])
        return
    if stored is None:
        yield _finding("ARRAY_MISSING", "the dataset /header", "none", place)
    elif len(data) < SIZE:
        yield _finding("H5_MANIFEST_FORM", f"a header of {SIZE} to {HEADER_SIZE} bytes", f"{len(data)} bytes", place)
    elif any(data[SIZE:]):
        yield _finding("HEADER_FORM", "zeros behind the header block", "other bytes", place, remedy=_FOREIGN)
    elif (at_4096 := file.read(HEADER_AT, SIZE))[: len(MAGIC)] == MAGIC and at_4096 != data[:SIZE]:
        yield _finding("BACKEND_MISMATCH", f"the header block at {HEADER_AT}", "another one", place, remedy=_STALE)


def _part(file: MappedFile, library: Finder, block: Block, name: str, *, in_place: bool) -> Iterator[Finding]:
    """Judge a text, the index or the block digests by their names."""
    part, place = block.parts[name], f"/{name}"
    try:
        stored = library.text(name, part.size)
        if stored is not None:
            checked_text(name, Unpacker(file).whole(stored), block.algorithm, part.digest, place)
    except StateTreeError as error:
        yield Finding(error.problems[0])
        return
    if stored is None:
        yield _finding("ARRAY_MISSING", f"the dataset {place}", "none", place)
    elif in_place and part.size and stored.offset != part.offset:
        yield from _elsewhere(part.offset, stored.offset, place)


def _finding(
    code: str, expected: str, found: str, place: str, index: int | None = None, *, remedy: str = _DAMAGED
) -> Finding:
    return Finding(Problem(code, expected, found, place=place, remedy=remedy, rule=_RULE), index)


def stock_findings(
    library: Finder, block: Block, specs: Sequence[ArraySpec], digests: Sequence[str], places: Places | None
) -> Iterator[Finding]:
    """Yield in what h5py shows another tree than the manifest has.

    Args:
        library: the library that has the file open.
        block: its header block.
        specs: the arrays.
        digests: their digests.
        places: the index; None if the header block is not at 4096.
    """
    stock = stock_of(library)
    offsets = [0] * len(specs) if places is None else places[0].tolist()
    for first in range(0, len(specs), _BATCH):
        rows = zip(specs[first : first + _BATCH], digests[first:], offsets[first:], strict=False)
        promises = [Promise(spec.name, spec.dtype, spec.shape, digest, offset) for spec, digest, offset in rows]
        for each in stock.stock_arrays(promises, block.algorithm):
            yield Finding(each.problem, None if each.index is None else first + each.index)
    yield from stock.stock_rest({name: block.parts[name].digest for name in PARTS}, block.algorithm, len(specs))
