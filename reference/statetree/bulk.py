"""All arrays of an open store at once: in few pieces of memory, by several threads. Source: spec section 6.

Strategy: everything is first tried the quick way, in any order. What fails there, for whatever reason, is read again
one by one and in order, which finds the other way to it or says what is wrong.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statetree.digest import BLOCK, block_spans
from statetree.dtype import BY_NAME
from statetree.errors import StateTreeError
from statetree.source import Source
from statetree.store import Layout

__all__ = ["Bulk"]

Array = np.ndarray[Any, Any]
_ALIGN = 64
_ELEMENT = 16
"""Bytes of the largest element: where arrays lie at multiples of it, all are aligned in memory."""
_SLAB, _OWN = 32 << 20, 4 << 20
_SLACK = 64 << 10
_UNIT = 2 << 20
"""Bytes that a task reads and digests at once: what stays in the cache of a processor meanwhile."""
_THREADED = 32 << 20
"""Bytes from which it pays to start threads."""
_DTYPES = {name: row.numpy for name, row in BY_NAME.items()}


@dataclass(frozen=True, slots=True)
class _Slab:
    """Memory that arrays [first, last) share, in large pages: touching these takes a fraction of the time.

    A slab lives as long as one of its arrays.
    """

    first: int
    last: int
    memory: NDArray[np.uint8]
    places: list[int]
    """Byte of the memory at which each array begins."""
    segment: int
    """Segment of the store that lies in the memory as it does in the store, -1 if arrays are read one by one."""
    shift: int
    """What to add to a byte of the memory to have that of the segment."""


Task = Callable[[], Iterable[int]]
"""Reads something and returns the arrays that did not come out right."""


class Bulk:
    """Memory for every array of a store that knows its arrays already.

    Args:
        source: the open store.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._layout = source.reader.layout()
        self._slabs = list(_slabs(np.array(source.manifest.nbytes, np.int64), self._layout))
        self.arrays: list[Array] = [array for slab in self._slabs for array in _arrays(source, slab)]
        """The arrays: writable, in C order, with bytes that mean nothing before `fill`."""

    def fill(self) -> None:
        """Read the little-endian bytes of all arrays, verified.

        Raises:
            StateTreeError: for the first array, in the order of the table, that is not what was saved.
        """
        tasks = [task for slab in self._slabs for task in _tasks(self._source, slab, self._layout)]
        for index in sorted(set(_run(tasks, sum(self._source.manifest.nbytes)))):
            slab = next(slab for slab in self._slabs if slab.first <= index < slab.last)
            self._source.fill(index, _part(self._source, slab, index))


def _slabs(nbytes: NDArray[np.int64], layout: Layout | None) -> Iterator[_Slab]:
    segments = np.full(len(nbytes), -1, np.int64)
    offsets = np.zeros(len(nbytes), np.int64)
    if layout is not None:
        segments = np.where((layout.sizes == nbytes) & (layout.offsets % _ELEMENT == 0), layout.segments, -1)
        offsets = layout.offsets
    padded = -(-nbytes // _ALIGN) * _ALIGN
    own = nbytes >= _OWN
    cuts = own[1:] | own[:-1] | ((segments[1:] != segments[:-1]) & (segments[1:] >= 0) & (segments[:-1] >= 0))
    ends = np.cumsum(padded)
    first = 0
    for stop in [*(np.flatnonzero(cuts) + 1).tolist(), len(nbytes)]:
        while first < stop:
            last = min(stop, int(np.searchsorted(ends, ends[first] - padded[first] + _SLAB, "right")))
            last = max(last, first + 1)
            yield _slab(first, last, *(column[first:last] for column in (nbytes, padded, segments, offsets)))
            first = last


def _slab(
    first: int,
    last: int,
    nbytes: NDArray[np.int64],
    padded: NDArray[np.int64],
    segments: NDArray[np.int64],
    offsets: NDArray[np.int64],
) -> _Slab:
    """Return a slab that is laid out as the store is, if its arrays follow each other there, or one after another."""
    full = nbytes > 0
    starts, stops = offsets[full], (offsets + nbytes)[full]
    segment = int(segments[full][0]) if full.any() else -1
    if segment >= 0 and (segments[full] == segment).all() and (starts[1:] >= stops[:-1]).all():
        extent = int(stops[-1] - starts[0])
        if extent <= int(padded.sum()) * 5 // 4 + _SLACK:
            memory, start = _memory(extent, int(starts[0]))
            shift = int(starts[0]) - start
            # Empty arrays stand behind the one before them.
            ends = np.maximum.accumulate(np.where(full, offsets + nbytes, starts[0]))
            places = np.where(full, offsets, -(-ends // _ELEMENT) * _ELEMENT) - shift
            return _Slab(first, last, memory, places.tolist(), segment, shift)
    memory, start = _memory(int(padded.sum()), 0)
    return _Slab(first, last, memory, (start + np.cumsum(padded) - padded).tolist(), -1, 0)


def _memory(size: int, offset: int) -> tuple[NDArray[np.uint8], int]:
    """Return memory for `size` bytes, and the byte of it that is as far from a multiple of 64 as `offset` is."""
    memory = np.empty(size + 2 * _ALIGN, np.uint8)
    return memory, (offset - memory.__array_interface__["data"][0]) % _ALIGN


def _part(source: Source, slab: _Slab, index: int) -> memoryview:
    at = slab.places[index - slab.first]
    return slab.memory.data[at : at + source.manifest.nbytes[index]]


def _arrays(source: Source, slab: _Slab) -> list[Array]:
    entries, memory = source.manifest.arrays[slab.first : slab.last], slab.memory
    return [np.ndarray(e.shape, _DTYPES[e.dtype], memory, at) for e, at in zip(entries, slab.places, strict=True)]


def _tasks(source: Source, slab: _Slab, layout: Layout | None) -> Iterator[Task]:
    if layout is not None and slab.segment >= 0 and source.manifest.nbytes[slab.first] <= BLOCK:
        ends = [at + size for at, size in zip(slab.places, source.manifest.nbytes[slab.first : slab.last], strict=True)]
        begin, at = 0, slab.places[0]
        for k, end in enumerate(ends):
            if end - at >= _UNIT or k + 1 == len(ends):
                yield _run_of(source, layout, slab, begin, k + 1, ends)
                begin, at = k + 1, end
        return
    for index in range(slab.first, slab.last):
        out = _part(source, slab, index)
        for start, stop in block_spans(0, len(out)) if len(out) else [(0, 0)]:
            yield _block_of(source, index, start, stop, out[start:stop])


def _block_of(source: Source, index: int, start: int, stop: int, out: memoryview) -> Task:
    def task() -> Iterable[int]:
        try:
            if not source.copy(index, start, stop, out):
                return (index,)
            source.check_values(index, out)
            return ()
        except StateTreeError:
            return (index,)

    return task


def _run_of(source: Source, layout: Layout, slab: _Slab, begin: int, end: int, ends: list[int]) -> Task:
    """Return the task of arrays `begin` to `end`, counted from the first of a slab, that follow each other."""

    def task() -> Iterable[int]:
        spans = list(zip(slab.places[begin:end], ends[begin:end], strict=True))
        full = [span for span in spans if span[0] < span[1]]
        whole = slab.memory.data
        numbers = range(slab.first + begin, slab.first + end)
        try:
            if full:
                low, high = full[0][0], full[-1][1]
                layout.read(slab.segment, low + slab.shift, whole[low:high])
        except StateTreeError:
            return numbers
        return source.wrong(numbers, [whole[a:b] for a, b in spans])

    return task


def _run(tasks: list[Task], nbytes: int) -> list[int]:
    """Do all tasks and return what they return."""
    workers = min(len(tasks), len(os.sched_getaffinity(0)))
    if nbytes < _THREADED or workers < 2:
        return [index for task in tasks for index in task()]
    left = iter(tasks)

    def work() -> list[int]:
        return [index for task in left for index in task()]

    with ThreadPoolExecutor(workers) as pool:
        done = [pool.submit(work) for _ in range(workers)]
        try:
            return [index for one in done for index in one.result()]
        finally:
            for _ in left:
                pass  # after an interrupt the workers find nothing more to do
