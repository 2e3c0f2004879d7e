"""What a stock library shows of an array, held against the manifest. Source: spec [E-5]."""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from math import prod
from typing import Any, NoReturn

import numpy as np

from statetree.digest import BLOCK, hasher
from statetree.dtype import BY_NAME
from statetree.errors import Problem, StateTreeError, StoreIOError, UsageError, fail, shown
from statetree.store import ArraySpec, Finding

__all__ = ["compare", "differs", "digest_of", "guarded", "missing", "numpy_of", "slabs"]

_RULE = "E-5"
_REMEDY = "write it anew with statetree.convert"


def numpy_of(dtype: str, others: dict[str, str]) -> "np.dtype[Any]":
    """Return the NumPy dtype that a stock library shows: `others`, the carrier, or the dtype itself."""
    return np.dtype(others.get(dtype) or BY_NAME[dtype].carrier or dtype)


def slabs(shape: tuple[int, ...], itemsize: int) -> Iterator[tuple[slice, ...]]:
    """Yield selections of at most 4 MiB that make up an array in C order."""
    axis = next((k for k in range(len(shape)) if prod(shape[k + 1 :]) * itemsize <= BLOCK), 0)
    if not shape:
        yield ()
        return
    step = max(1, BLOCK // max(1, prod(shape[axis + 1 :]) * itemsize))
    for above in product(*map(range, shape[:axis])):
        for start in range(0, shape[axis], step):
            yield (*(slice(k, k + 1) for k in above), slice(start, min(start + step, shape[axis])))


def digest_of(algorithm: str, nbytes: int, pieces: Iterable[bytes]) -> str:
    """Return the digest of the canonical bytes of an array that come in pieces of any size."""
    function = hasher(algorithm)
    held, digests = bytearray(), []
    for piece in pieces:
        held += piece
        while len(held) >= BLOCK and nbytes > BLOCK:
            digests.append(function(bytes(held[:BLOCK])))
            del held[:BLOCK]
    if nbytes <= BLOCK:
        return function(bytes(held)).hex()
    return function(b"".join([*digests, function(bytes(held))] if held else digests)).hex()


def compare(
    spec: ArraySpec,
    digest: str,
    algorithm: str,
    seen: tuple[tuple[int, ...], Any, Any],
    pieces: Callable[[], Iterable[bytes]],
    place: str,
) -> Iterator[Problem]:
    """Yield in what an array that a stock library shows is another one.

    Args:
        spec: what the manifest says of it.
        digest: its digest there.
        algorithm: the digest algorithm.
        seen: its shape, its dtype, and the dtype that it is to have.
        pieces: returns its canonical bytes as the library reads them.
        place: where it is.
    """
    shape, dtype, wanted = seen
    if tuple(shape) != spec.shape:
        yield differs(f"shape {spec.shape}", shown(str(tuple(shape))), place)
    elif dtype != wanted:
        yield differs(f"dtype {wanted}", shown(str(dtype)), place)
    elif digest_of(algorithm, spec.nbytes, pieces()) != digest:
        yield Problem("DIGEST", "the values that the manifest has", "others", None, place, _REMEDY, _RULE)


def differs(expected: str, found: str, place: str) -> Problem:
    """Return the problem that a stock library shows something else than the manifest says."""
    return Problem("BACKEND_MISMATCH", expected, found, None, place, _REMEDY, _RULE)


def guarded(findings: Iterator[Finding], library: str, place: str) -> Iterator[Finding]:
    """Yield findings; an error of the library is the last of them."""
    try:
        yield from findings
    except (StoreIOError, UsageError, MemoryError):
        raise
    except StateTreeError as error:
        yield Finding(error.problems[0])
    except Exception as error:  # A stock library may raise anything at all.
        found = shown(f"{type(error).__name__}: {error}", 160)
        yield Finding(differs(f"a container that {library} can read", found, place))


def missing(library: str, backend: str) -> NoReturn:
    """Refuse to go on without a stock library.

    Raises:
        MissingLibraryError: always.
    """
    expected = f"the library {library!r} to look at a container of the backend {backend!r} as its users do"
    fail(
        "BACKEND_LIBRARY", expected, "no such library", remedy=f"pip install 'statetree[{backend}]', or level='digests'"
    )
