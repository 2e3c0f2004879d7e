"""Arrays that share memory: with what they are filled from, and with each other. Source: docs/restore.md."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.lib.array_utils import byte_bounds

from statetree.compare import canonical_bytes
from statetree.errors import Problem, shown
from statetree.path import path_text
from statetree.restoring.nodes import read
from statetree.restoring.putting import New

__all__ = ["contradictions", "keep_apart"]

Span = tuple[str, int, int]


def keep_apart(news: Iterable[New]) -> None:
    """Copy what is to be put into arrays where it lies in memory that will be written to."""
    news = list(news)
    spans = [group[-1] for group in _groups(news)]
    starts = [span[:2] for span in spans]
    for new in news:
        if isinstance(new.src, np.ndarray) and new.src.size:
            start, stop = byte_bounds(new.src)
            before = bisect_right(starts, ("cpu", stop - 1)) - 1
            if before >= 0 and spans[before][0] == "cpu" and spans[before][2] > start:
                new.src = new.src.copy()


def contradictions(news: Iterable[New]) -> Iterator[tuple[New, Problem]]:
    """Yield arrays whose new value would change that of another one, which shares memory with it.

    Whether strided arrays share elements is found by trying it; afterwards all of them hold what they held before.
    """
    for group, _ in _groups(news):
        if len(group) > 1:
            yield from _tried(group)


def _groups(news: Iterable[New]) -> list[tuple[list[New], Span]]:
    """Return (arrays whose memory may overlap, all of their memory), in the order of addresses."""
    groups: list[tuple[list[New], Span]] = []
    held = [(new.leaf.memory, new) for new in news if new.leaf.memory is not None]
    for (device, start, stop), new in sorted(held, key=lambda pair: pair[0]):
        if groups and groups[-1][1][0] == device and start < groups[-1][1][2]:
            members, (_, first, last) = groups[-1]
            groups[-1] = ([*members, new], (device, first, max(last, stop)))
        elif stop > start:
            groups.append(([new], (device, start, stop)))
    return groups


def _tried(group: Sequence[New]) -> Iterator[tuple[New, Problem]]:
    before = [new.leaf.read() for new in group]
    written: list[New] = []
    try:
        for new in group:
            new.write()
            spoilt = next((other for other in written if not _holds(other)), None)
            if spoilt is None:
                written.append(new)
                continue
            for other in written:
                other.write()
            first = shown(path_text(spoilt.path), 100)
            expected = f"a value that agrees with {first}, which shares memory with it here"
            remedy = "tie them in the model that was saved, or give them memory of their own here"
            yield new, Problem("STATE_TIE", expected, "another value", path=new.path, remedy=remedy)
    finally:
        for new, old in zip(group, before, strict=True):
            new.leaf.write(old)


def _holds(new: New) -> bool:
    return canonical_bytes(new.leaf.read()) == canonical_bytes(read(new.src))
