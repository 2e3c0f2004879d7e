"""The laws that every container obeys, tried through the public interface. Source: the rules that each names.

A law is a function of a bench and an input. It raises where it does not hold, and says what it expected.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from hypothesis import strategies as hs

import statetree as st
from statetree.decode import Decoder
from statetree.inspecting import lines_of
from statetree.limits import Limits
from statetree.loading import lookup, map_arrays
from statetree.manifest import decode_manifest, encode_manifest
from statetree.registry import find_backend
from statetree.saving import manifest_of
from statetree_conformance.containers import Bench, files_of, manifest
from statetree_conformance.damage import Damage, damages, flips
from statetree_conformance.machine import store_machine
from statetree_conformance.strategies import arrays, keys, laid_out, menageries, texts
from statetree_conformance.tagged import tag
from statetree_conformance.trial import Law, Reach, law
from statetree_conformance.values import twins

__all__ = ["LAWS"]

Array = np.ndarray[Any, Any]


def expect(held: object, text: str) -> None:
    """Raise with `text` unless it held."""
    if not held:
        raise AssertionError(text)


def expect_same(wanted: Any, found: Any) -> None:
    """Raise unless two trees are the same, bit for bit."""
    differs = st.difference(wanted, found)
    expect(differs is None, f"expected the same tree, got another: {differs}")


# Round trips


@law("D-1", "D-5", "D-7", "D-9", "N-2", "X-1", tree=lambda reach: reach.trees(namedtuples=True, crooked=True))
def a_saved_tree_is_loaded_unchanged(bench: Bench, tree: Any) -> None:
    path = bench.save(tree)

    expect_same(tree, st.load(path))


@law("E-1", "E-2", "E-3", "E-5", "N-3", tree=lambda reach: menageries(dtypes=reach.dtypes))
def arrays_and_scalars_of_every_dtype_come_back(bench: Bench, tree: Any) -> None:
    path = bench.save(tree)

    expect_same(tree, st.load(path))


@law("D-10", "G-4", "M-6", tree=lambda reach: reach.trees())
def a_loaded_tree_saved_again_has_the_same_manifest(bench: Bench, tree: Any) -> None:
    path = bench.save(tree)

    again = bench.save(st.load(path), "again")

    expect(manifest(path) == manifest(again), "expected the manifest of a loaded tree to be that of the file")


@law("M-6", "J-1", tree=lambda reach: reach.trees(), other=lambda reach: hs.sampled_from(reach.others))
def one_tree_has_one_manifest_in_every_container(bench: Bench, tree: Any, other: str) -> None:
    here, there = bench.save(tree), bench.beside(other).save(tree, "there")

    expect(manifest(here) == manifest(there), f"expected the manifest that the tree has in {other}, got another")


def _chains(reach: Reach) -> hs.SearchStrategy[list[str]]:
    return hs.lists(hs.sampled_from(reach.others), min_size=1, max_size=3)


@law("C-1", "G-2", "X-1", tree=lambda reach: reach.trees(), chain=_chains)
def any_chain_of_conversions_ends_at_the_same_tree(bench: Bench, tree: Any, chain: list[str]) -> None:
    path = first = bench.save(tree, "0")
    for number, name in enumerate((*chain, bench.container.name), 1):
        path = bench.beside(name).convert(path, str(number))

    expect_same(tree, st.load(path))
    expect(manifest(first) == manifest(path), "expected the manifest to be carried over byte for byte")


@law("M-5", "N-1", "N-2", "J-1", tree=lambda reach: reach.trees())
def decoding_and_encoding_undo_each_other(bench: Bench, tree: Any) -> None:
    path = bench.save(tree)
    text, limits = manifest(path), Limits()

    decoded = decode_manifest(text, limits, "manifest")
    with st.open(path) as file:
        held = [lazy.read() for lazy in _lazy_arrays(file.tree)]
    found = Decoder(held, limits).decode(decoded.node)

    expect_same(tree, found)
    expect(encode_manifest(decoded.node, decoded.arrays, decoded.algorithm) == text, "expected the node's own text")
    expect(manifest_of(found, decoded.algorithm, limits) == text, "expected the manifest of the decoded tree")


def _lazy_arrays(tree: Any) -> list[Any]:
    met: dict[int, Any] = {}
    map_arrays(tree, lambda lazy: met.setdefault(id(lazy), lazy))
    return list(met.values())


@law("G-1", "C-6", "L-1", tree=lambda reach: reach.trees(), pick=lambda reach: hs.integers(0, 255))
def how_a_tree_is_saved_does_not_change_it(bench: Bench, tree: Any, pick: int) -> None:
    compressions = (None, *_compressions(bench))
    options: dict[str, Any] = {
        "compression": compressions[pick % len(compressions)],
        "algorithm": ("xxh3-128", "sha-256")[pick & 1],
        "pack": bool(pick & 2),
    }

    path = bench.save(tree, **options)

    expect_same(tree, st.load(path))
    expect(manifest(path) == manifest_of(tree, options["algorithm"], Limits()), "expected the same manifest")


def _compressions(bench: Bench) -> list[str]:
    backend = find_backend(bench.container.backend)
    return [name for name in backend.compressions if backend.missing_library(name) is None]


@law("I-1", tree=lambda reach: reach.trees(inside=2), name=lambda reach: texts())
def what_is_noted_beside_a_tree_comes_back_and_does_not_count(bench: Bench, tree: Any, name: str) -> None:
    noted = {name: 7, "loss": -0.0, "run": ("a", None)}

    plain, path = bench.save([tree], "plain"), bench.save([tree], "noted", info=noted)

    with st.open(path) as file:
        expect_same(noted, file.info["user"])
    expect(manifest(plain) == manifest(path), "expected notes to leave the manifest as it is")


# Comparing


@law("D-10", tree=lambda reach: reach.trees(), other=lambda reach: reach.trees())
def difference_is_none_for_the_same_tree_and_symmetric(bench: Bench, tree: Any, other: Any) -> None:
    loaded = st.load(bench.save(tree))

    expect_same(tree, tree)
    expect_same(loaded, tree)
    here, there = st.difference(loaded, other), st.difference(other, loaded)
    expect((here is None) == (there is None), "expected a difference from both sides or from none")


@law("D-10", "G-4", tree=lambda reach: reach.trees(inside=1), other=lambda reach: reach.trees(inside=1))
def equal_digests_mean_no_difference(bench: Bench, tree: Any, other: Any) -> None:
    # In lists, because a str by itself could be meant as a path.
    same = st.digest([st.load(bench.save(tree))]) == st.digest([other])

    expect(same == (st.difference(tree, other) is None), "expected equal digests for equal trees and for no others")


@law(
    *("D-1", "D-5", "D-7", "D-10", "N-1"),
    tree=lambda reach: reach.trees(inside=3),
    pair=lambda reach: hs.sampled_from(twins()),
    turn=lambda reach: hs.booleans(),
)
def what_is_nearly_the_same_is_told_apart(bench: Bench, tree: Any, pair: tuple[Any, Any], turn: bool) -> None:
    one, other = ({"t": tree, "n": [twin]} for twin in (pair[::-1] if turn else pair))
    loaded = st.load(bench.save(one))

    expect_same(one, loaded)
    expect(st.difference(loaded, other) is not None, "expected a difference from what is nearly the same, got none")
    expect(st.difference(other, loaded) is not None, "expected a difference from the other side too, got none")
    expect(st.digest(one) != st.digest(other), "expected another digest for another tree, got the same")


# Reading


@law("G-3", "D-7", tree=lambda reach: reach.trees())
def lazy_and_mapped_reading_give_what_loading_gives(bench: Bench, tree: Any) -> None:
    path = bench.save(tree)

    eager = st.load(path)
    with st.open(path) as file:
        known: dict[int, Any] = {}
        expect_same(eager, map_arrays(file.tree, lambda lazy: known.setdefault(id(lazy), lazy.read())))
    expect_same(eager, st.load(path, mmap=True))


@law("P-1", "P-2", tree=lambda reach: reach.trees(), pick=lambda reach: hs.integers(0, 1 << 16))
def a_part_loaded_alone_is_the_part_of_the_whole(bench: Bench, tree: Any, pick: int) -> None:
    path = bench.save(tree)
    with st.open(path) as file:
        paths = [line.path for line in lines_of(file.tree)]
    chosen = paths[pick % len(paths)]

    part = st.load(path, select=st.path_text(chosen))

    expect_same(lookup(st.load(path), chosen), part)


_INDEX = hs.integers(-6, 6) | hs.slices(6)
_KEYS = hs.lists(_INDEX, min_size=1, max_size=3).map(tuple)


def _rows(reach: Reach) -> hs.SearchStrategy[Array]:
    return arrays(dtypes=reach.dtypes).filter(lambda array: array.ndim > 0)


@law("G-3", array=_rows, key=lambda reach: _KEYS)
def a_slice_read_alone_is_the_slice_of_the_whole(bench: Bench, array: Array, key: tuple[Any, ...]) -> None:
    path = bench.save({"a": array})

    with st.open(path) as file:
        _expect_slice(array, file["a"], key[: array.ndim])


def _expect_slice(array: Array, lazy: Any, key: tuple[Any, ...]) -> None:
    try:
        wanted = array[key]
    except IndexError:
        try:
            lazy[key]
        except IndexError:
            return
        raise AssertionError(f"expected an IndexError for {key}, got elements") from None
    expect_same({"slice": np.array(wanted)}, {"slice": np.array(lazy[key])})


# Arrays above 4 MiB are digested block by block, and many small ones may share a stored object: cases of their own.


def _large(variant: int) -> Array:
    dtype, shape = ((np.float32, (330, 4096)), (np.int8, (5 << 20,)), (np.complex128, (7, 1 << 16)))[variant]
    bits = np.arange(prod(shape) * np.dtype(dtype).itemsize // 4, dtype=np.uint32) * np.uint32(2654435761)
    return (bits >> 7 if dtype is np.complex128 else bits).view(dtype).reshape(shape)


_PLACE = hs.integers(0, 1 << 30)


@law("G-2", "G-3", variant=lambda reach: hs.integers(0, 2), start=lambda reach: _PLACE, count=lambda reach: _PLACE)
def rows_of_a_large_array_are_those_of_the_whole(bench: Bench, variant: int, start: int, count: int) -> None:
    path, array = bench.once(f"large{variant}", lambda: {"w": _large(variant)}), _large(variant)
    first = start % len(array)
    rows = slice(first, first + count % (len(array) - first + 1))

    with st.open(path) as file:
        found = file["w"][rows]

    expect(found.tobytes() == array[rows].tobytes(), f"expected the elements of rows {rows.start} to {rows.stop}")


@law("G-3", "H-6", needs_files=True, damage=lambda reach: flips(), start=lambda reach: _PLACE)
def a_flipped_byte_of_a_large_array_is_an_error_where_it_is_read(bench: Bench, damage: Damage, start: int) -> None:
    path, array = bench.once("large1", lambda: {"w": _large(1)}), _large(1)
    first = start % (len(array) - 4096)
    files = sorted(files_of(path), key=lambda file: -file.stat().st_size)[:1]

    with damage.done_to(files):
        try:
            with st.open(path) as file:
                found = file["w"][first : first + 4096]
        except st.StateTreeError:
            return
    expect(found.tobytes() == array[first : first + 4096].tobytes(), "expected an error or the right elements")


def _small(variant: int) -> list[Array]:
    size = (1, 3, 65)[variant]
    return [np.full(size, number, np.int32) for number in range(1001 + variant)]


@law("C-2", "C-3", variant=lambda reach: hs.integers(0, 2), pick=lambda reach: _PLACE)
def one_of_a_thousand_small_arrays_is_found_by_its_place(bench: Bench, variant: int, pick: int) -> None:
    path, small = bench.once(f"small{variant}", lambda: _small(variant)), _small(variant)
    at = pick % len(small)

    expect_same(small[at], st.load(path, select=(at,)))
    if pick % 64 == 0:
        expect_same(small, st.load(path))


# Inputs of a save


@law("D-9", "E-2", pair=lambda reach: laid_out())
def how_an_array_lies_in_memory_does_not_count(bench: Bench, pair: tuple[Array, Array]) -> None:
    crooked, plain = pair

    path = bench.save({"a": crooked})

    expect(manifest(path) == manifest_of({"a": plain}, "xxh3-128", Limits()), "expected the same manifest")
    expect_same(st.load(path), {"a": plain})


@law("D-9", tree=lambda reach: reach.trees(inside=1, crooked=True), pair=lambda reach: laid_out())
def saving_changes_nothing_of_what_it_is_given(bench: Bench, tree: Any, pair: tuple[Array, Array]) -> None:
    given = [tree, pair[0]]
    before, flags, raw = tag(given), str(pair[0].flags), pair[0].tobytes()

    bench.save(given)

    expect(tag(given) == before, "expected a tree that was saved to be what it was")
    expect((str(pair[0].flags), pair[0].tobytes()) == (flags, raw), "expected an array to lie as it did")


BAD = (
    lambda: 0,
    object(),
    {1, 2},
    np.array([None]),
    np.array(["a"]),
    complex,
    bytearray(b"x"),
    range(3),
    np.datetime64(0, "s"),
    "\ud800",
    np.ma.MaskedArray([1]),
)
"""Values that no tree holds."""


@law(
    "D-9",
    "C-4",
    "S-1",
    tree=lambda reach: reach.trees(inside=10),
    bad=lambda reach: hs.sampled_from(BAD),
    key=lambda reach: keys(kinds=reach.key_kinds),
)
def a_bad_value_is_refused_with_its_path_and_nothing_is_written(bench: Bench, tree: Any, bad: Any, key: Any) -> None:
    try:
        bench.save({"a": tree, "b": [{key: (tree, bad)}]}, "bad")
    except st.WriteError as error:
        expect(error.path == ("b", 0, key, 1), f"expected the path of the bad value, got {error.path}")
    else:
        raise AssertionError("expected the bad value to be refused, got a save")
    expect(not bench.path("bad").exists(), "expected nothing at the place of a refused save")


# Damage


def _with_array(reach: Reach) -> hs.SearchStrategy[list[Any]]:
    """Trees of whose bytes enough are elements of an array for damage to meet them."""
    small = reach.trees(inside=1, max_nodes=min(8, reach.max_nodes))
    large = arrays(dtypes=reach.dtypes).map(lambda array: np.resize(array, 1024 // array.itemsize))
    return hs.tuples(small, large).map(list)


@law("G-3", "G-5", "R-1", needs_files=True, tree=_with_array, damage=lambda reach: flips())
def a_flipped_byte_is_an_error_or_changes_nothing(bench: Bench, tree: Any, damage: Damage) -> None:
    path = bench.save(tree)

    with damage.done_to(files_of(path)) as file:
        _expect_error_or_same(lambda: st.load(path), tree, f"byte {damage.at} of {file.name}")
        _expect_error_or_same(lambda: st.load(path, mmap=True), tree, f"byte {damage.at} of {file.name}")


@law("G-5", "R-1", "R-2", needs_files=True, tree=_with_array, damage=lambda reach: damages())
def a_damaged_file_is_an_error_or_the_same_tree(bench: Bench, tree: Any, damage: Damage) -> None:
    path = bench.save(tree)

    with damage.done_to(files_of(path)) as file:
        _expect_error_or_same(lambda: st.load(path), tree, file.name)


def _expect_error_or_same(load: Callable[[], Any], tree: Any, where: str) -> None:
    try:
        found = load()
    except st.StateTreeError:
        return
    differs = st.difference(tree, found)
    expect(differs is None, f"expected an error or the same tree after damage to {where}, got another: {differs}")


@law("R-3", tree=_with_array, damage=lambda reach: hs.none() | flips())
def what_validate_finds_sound_is_loaded(bench: Bench, tree: Any, damage: Damage | None) -> None:
    path = bench.save(tree)

    if damage is None or not files_of(path):
        report = st.validate(path)
        expect(report.ok, f"expected a saved tree to be sound, got {'; '.join(map(str, report.problems))}")
        expect_same(tree, st.load(path))
        return
    with damage.done_to(files_of(path)):
        if st.validate(path).ok:
            expect_same(tree, st.load(path))


# Many steps

a_store_is_a_dict_of_trees_whatever_fails = Law(
    "a_store_is_a_dict_of_trees_whatever_fails", ("C-4", "X-1", "Z-3"), lambda: None, machine=store_machine
)

LAWS: tuple[Law, ...] = tuple(value for value in globals().values() if isinstance(value, Law))
"""All laws, in the order of this page."""
