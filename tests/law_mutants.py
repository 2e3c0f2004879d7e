"""What statetree and its containers would do if they were broken, each in one way, and the law that must notice."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import statetree as st
from statetree.digest import BLOCK
from statetree.files import NewFile
from statetree.lazy import LazyArray
from statetree.source import Source
from statetree_backends._bson_writer import BsonWriter
from statetree_backends.bson import BsonBackend, BsonReader
from statetree_backends.memory import MemoryReader

Break = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class LawMutant:
    """A fault, and where it is caught."""

    break_it: Break
    """Breaks the reference in this process, for a while."""
    law: str
    """Name of the law that no longer holds."""
    container: str = "bson"
    """The container for which it is tried."""


def instead(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Break:
    """Break something by a function that is made of the one that works."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


def loads(change: Callable[[Any], Any]) -> Break:
    return instead(st, "load", lambda load: lambda path, **options: change(load(path, **options)))


def saves(change: Callable[[Any], Any]) -> Break:
    return instead(st, "save", lambda save: lambda path, tree, **options: save(path, change(tree), **options))


def untied(tree: Any) -> Any:
    match tree:
        case np.ndarray():
            return tree.copy()
        case dict():
            return {key: untied(child) for key, child in tree.items()}
        case list() | tuple():
            return type(tree)(untied(child) for child in tree)
        case st.Record():
            return st.Record([(name, untied(child)) for name, child in tree.items()], label=tree.label)
        case _:
            return tree


def in_key_order(tree: Any) -> Any:
    return dict(sorted(tree.items(), key=lambda item: repr(item[0]))) if type(tree) is dict else tree


def as_it_lies(tree: Any) -> Any:
    array = tree["a"]
    return {"a": np.ascontiguousarray(array.ravel("K").reshape(array.shape))}


def in_our_order(tree: Any) -> Any:
    return {"a": tree["a"].view(tree["a"].dtype.newbyteorder("="))}


def froze(tree: Any) -> Any:
    tree[1].flags.writeable = False
    return tree


def leaves_a_file(save: Callable[..., Any]) -> Callable[..., Any]:
    def broken(path: Any, tree: Any, **options: Any) -> None:
        path.touch()
        save(path, tree, **options)

    return broken


def loses_the_path(save: Callable[..., Any]) -> Callable[..., Any]:
    def broken(path: Any, tree: Any, **options: Any) -> None:
        try:
            save(path, tree, **options)
        except st.WriteError as error:
            raise st.WriteError([p.__class__(p.code, p.expected, p.found) for p in error.problems]) from error

    return broken


def removes_first(begin: Callable[..., Any]) -> Callable[..., Any]:
    def broken(self: NewFile, path: Any, *more: Any) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        begin(self, path, *more)

    return broken


def says_nothing(save: Callable[..., Any]) -> Callable[..., Any]:
    def broken(path: Any, tree: Any, **options: Any) -> None:
        with contextlib.suppress(st.StoreIOError):
            save(path, tree, **options)

    return broken


def remembers(reader: Callable[..., Any]) -> Callable[..., Any]:
    kept: dict[Any, bytes] = {}

    def broken(self: BsonBackend, path: Any, limits: Any) -> Any:
        now = path.read_bytes()
        before = kept.setdefault(path, now)
        path.write_bytes(before)
        try:
            return reader(self, path, limits)
        finally:
            path.write_bytes(now)

    return broken


def no_block_digests(patch: pytest.MonkeyPatch) -> None:
    right = Source._try
    sound = Source._sound

    def broken(self: Source, index: int, start: int, stop: int, out: memoryview) -> Any:
        if self.manifest.nbytes[index] <= BLOCK:
            return right(self, index, start, stop, out)
        self.reader.read(index, start, stop, out)
        return None

    patch.setattr(Source, "_try", broken)
    patch.setattr(Source, "_sound", lambda self, i, view: len(view) > BLOCK or sound(self, i, view))


def no_digests(patch: pytest.MonkeyPatch) -> None:
    begin = Source.__init__
    patch.setattr(Source, "__init__", lambda self, *args, verify: begin(self, *args, verify=False))


def first_block_only(patch: pytest.MonkeyPatch) -> None:
    read = BsonReader.read
    patch.setattr(BsonReader, "view", lambda self, index: None)
    patch.setattr(BsonReader, "read", lambda self, i, start, stop, out: read(self, i, 0, stop - start, out))


def no_step(getitem: Callable[..., Any]) -> Callable[..., Any]:
    def broken(self: LazyArray, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        return getitem(self, tuple(slice(k.start, k.stop) if isinstance(k, slice) else k for k in keys))

    return broken


def the_parent(load: Callable[..., Any]) -> Callable[..., Any]:
    def broken(path: Any, select: Any = None, **options: Any) -> Any:
        return load(path, select=select and select[: select.rindex("/")], **options)

    return broken


def as_saved(convert: Callable[..., Any]) -> Callable[..., Any]:
    def broken(source: Any, path: Any, **options: Any) -> None:
        st.save(path, in_key_order(st.load(source)), **options)

    return broken


def always_sound(validate: Callable[..., Any]) -> Callable[..., Any]:
    class Sound:
        ok = True

    return lambda path, **options: Sound()


def reversed_order(write_many: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, first, arrays: write_many(self, first, arrays[::-1])


def as_equal(difference: Callable[..., Any]) -> Callable[..., Any]:
    # As `==` does it: the sign of zero and the kinds of numbers are nothing to it.
    def broken(a: Any, b: Any) -> Any:
        try:
            return None if bool(a == b) else difference(a, b)
        except ValueError:
            return difference(a, b)

    return broken


ROUND_TRIP = "a_saved_tree_is_loaded_unchanged"
STORE = "a_store_is_a_dict_of_trees_whatever_fails"
LAID_OUT = "how_an_array_lies_in_memory_does_not_count"
REFUSED = "a_bad_value_is_refused_with_its_path_and_nothing_is_written"
MUTANTS: dict[str, LawMutant] = {
    "loads every array by itself": LawMutant(loads(untied), ROUND_TRIP, "memory"),
    "sorts keys when it saves": LawMutant(saves(in_key_order), ROUND_TRIP, "memory"),
    "sorts keys when it converts": LawMutant(
        instead(st, "convert", as_saved), "any_chain_of_conversions_ends_at_the_same_tree"
    ),
    "takes elements as they lie": LawMutant(saves(as_it_lies), LAID_OUT),
    "takes bytes in whatever order": LawMutant(saves(in_our_order), LAID_OUT),
    "makes arrays read-only when it saves them": LawMutant(
        saves(froze), "saving_changes_nothing_of_what_it_is_given", "memory"
    ),
    "leaves a file where it refuses": LawMutant(instead(st, "save", leaves_a_file), REFUSED),
    "refuses without saying where": LawMutant(instead(st, "save", loses_the_path), REFUSED),
    "forgets what is noted beside a tree": LawMutant(
        instead(st, "save", lambda save: lambda path, tree, info=None, **options: save(path, tree, **options)),
        "what_is_noted_beside_a_tree_comes_back_and_does_not_count",
    ),
    "selects what is around": LawMutant(
        instead(st, "load", the_parent), "a_part_loaded_alone_is_the_part_of_the_whole", "memory"
    ),
    "slices without steps": LawMutant(
        instead(LazyArray, "__getitem__", no_step), "a_slice_read_alone_is_the_slice_of_the_whole"
    ),
    "reads the first block for every other": LawMutant(
        first_block_only, "rows_of_a_large_array_are_those_of_the_whole"
    ),
    "loses block digests": LawMutant(
        lambda patch: patch.setattr(MemoryReader, "blocks", lambda self: {}),
        "rows_of_a_large_array_are_those_of_the_whole",
        "memory",
    ),
    "skips a digest": LawMutant(no_digests, "a_flipped_byte_is_an_error_or_changes_nothing"),
    "skips a block digest": LawMutant(no_block_digests, "a_flipped_byte_of_a_large_array_is_an_error_where_it_is_read"),
    "writes small arrays in another order": LawMutant(
        instead(BsonWriter, "write_many", reversed_order), "one_of_a_thousand_small_arrays_is_found_by_its_place"
    ),
    "removes the old file before the new one is whole": LawMutant(instead(NewFile, "__init__", removes_first), STORE),
    "leaves its temporary file behind": LawMutant(
        lambda patch: patch.setattr(NewFile, "discard", lambda self: None), STORE
    ),
    "says nothing of a save that failed": LawMutant(instead(st, "save", says_nothing), STORE),
    "remembers what it read at a path": LawMutant(instead(BsonBackend, "reader", remembers), STORE),
    "finds everything sound": LawMutant(instead(st, "validate", always_sound), "what_validate_finds_sound_is_loaded"),
    "compares as == does": LawMutant(instead(st, "difference", as_equal), "what_is_nearly_the_same_is_told_apart"),
    "says one digest for all": LawMutant(
        lambda patch: patch.setattr(st, "digest", lambda tree: "xxh3-128:" + "0" * 32),
        "equal_digests_mean_no_difference",
    ),
}
