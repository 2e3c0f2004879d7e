"""Zarr containers as zarr-python shows them, held against the manifest. Source: spec section 7.4."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from statetree.errors import shown
from statetree.store import ArraySpec, Finding
from statetree_backends._stock import compare, differs, missing, numpy_of, slabs
from statetree_backends._zarr_metadata import Root

__all__ = ["stock_zarr"]

_OTHERS = {"bfloat16": "uint16"}


def stock_zarr(
    path: Path,
    root: Root,
    texts: dict[str, bytes],
    specs: Sequence[ArraySpec],
    digests: Sequence[str],
    rows: NDArray[np.int64] | None,
) -> Iterator[Finding]:
    """Yield in what a container, which was found to be sound, shows another tree than the manifest.

    Args:
        path: the folder or zip file.
        root: what the root says.
        texts: `manifest`, `info` and `blocks`.
        specs: the arrays.
        digests: their digests.
        rows: the index of the packs.

    Raises:
        MissingLibraryError: zarr-python is not installed.
    """
    try:
        import zarr
        from zarr.storage import LocalStore, ZipStore
    except ImportError:
        missing("zarr", "zarr")
    store: Any = LocalStore(path, read_only=True) if path.is_dir() else ZipStore(path, mode="r")
    try:
        group: Any = zarr.open_group(store, mode="r", zarr_format=3)
        said = dict(group.attrs.get("statetree", {}))
        if said.get("generation") != root.generation or said.get("manifest") != root.manifest:
            yield Finding(differs("the generation and the digest that the root names", "others", "zarr.json"))
        yield from _generation(group[root.generation], root.algorithm, texts, specs, digests, rows)
    finally:
        store.close()


def _generation(
    group: Any,
    algorithm: str,
    texts: dict[str, bytes],
    specs: Sequence[ArraySpec],
    digests: Sequence[str],
    rows: NDArray[np.int64] | None,
) -> Iterator[Finding]:
    for name, text in texts.items():
        if np.asarray(group[name][...]).tobytes() != text:
            yield Finding(differs(f"the text {name}", "another one", name))
    arrays = dict(group["arrays"].arrays())
    known: set[str] = set()
    packs: dict[int, bytes] = {}
    for index, (spec, digest) in enumerate(zip(specs, digests, strict=True)):
        if rows is not None and rows[0, index]:
            number, offset, size = rows[:, index].tolist()
            if number not in packs:
                packs = {number: np.asarray(group[f"packs/{number - 1}"][...]).tobytes()}
            data = packs[number][offset : offset + size]
            seen: tuple[Any, Any, Any] = spec.shape, spec.dtype, spec.dtype
            problems = compare(spec, digest, algorithm, seen, partial(iter, [data]), f"packs/{number - 1}")
        else:
            known.add(spec.name)
            found, place = arrays.get(spec.name), f"arrays/{spec.name}"
            if found is None:
                yield Finding(differs("an array of that name", "none", place), index)
                continue
            seen = found.shape, found.dtype, numpy_of(spec.dtype, _OTHERS)
            problems = compare(spec, digest, algorithm, seen, partial(_pieces, found), place)
        yield from (Finding(problem, index) for problem in problems)
    for name in sorted(arrays.keys() - known):
        yield Finding(differs("arrays of the table only", "one that it does not name", f"arrays/{shown(name)}"))


def _pieces(array: Any) -> Iterator[bytes]:
    if array.size:
        for selection in slabs(array.shape, array.dtype.itemsize):
            data = np.asarray(array[selection])
            yield data.astype(data.dtype.newbyteorder("<"), copy=False).tobytes()
