"""Programs and backends that are broken on purpose, each in one way, and what of the suite must notice.

`python tests/mutants.py NAME` is the reference as a subject, broken in the way NAME.
"""

import os
import pickle
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from statetree import files
from statetree.errors import StateTreeError
from statetree.source import Source
from statetree_conformance import subject

Tagged = dict[str, Any]
Change = Callable[[Tagged], Tagged]


@dataclass(frozen=True)
class Mutant:
    """A broken subject."""

    break_it: Callable[[], None]
    """Breaks the reference in this process."""
    vectors: tuple[str, ...]
    """Ids of vectors, or error codes of vectors, of which at least one must fail."""


# What it loads is another tree


def _nodes(node: Any, change: Change) -> Any:
    """Return a tagged tree with each node changed, those inside first."""
    if isinstance(node, list):
        return [_nodes(child, change) for child in node]
    if not isinstance(node, dict):
        return node
    return change({name: _nodes(child, change) for name, child in node.items()})


def reads(change: Change) -> Callable[[], None]:
    def break_it() -> None:
        tag = subject.tag
        subject.tag = lambda tree: _nodes(tag(tree), change)  # type: ignore[attr-defined]

    return break_it


def of(kind: str, change: Change) -> Callable[[], None]:
    return reads(lambda node: change(node) if node["k"] == kind else node)


def no_sign_of_zero(node: Tagged) -> Tagged:
    return node | {"bits": "0" * 16} if node["bits"] == f"8{'0' * 15}" else node


def swapped(node: Tagged) -> Tagged:
    items = node["items"]
    if len(items) < 2:
        return node
    (a, x), (b, y) = items[:2]
    return node | {"items": [[b, x], [a, y], *items[2:]]}


def without_ties() -> None:
    tag, count = subject.tag, iter(range(1 << 30))

    def apart(node: Tagged) -> Tagged:
        return node | {"id": next(count)} if node["k"] == "array" else node

    subject.tag = lambda tree: _nodes(tag(tree), apart)  # type: ignore[attr-defined]


def saves_apart() -> None:
    untag = subject.untag

    def apart(tree: Any) -> Any:
        copies = iter(range(1 << 30))
        return untag(_nodes(tree, lambda node: node | {"id": next(copies)} if node["k"] == "array" else node))

    subject.untag = apart  # type: ignore[attr-defined]


def quiet(node: Tagged) -> Tagged:
    bits = int(node["bits"], 16)
    nan = bits >> 52 & 0x7FF == 0x7FF and bits & (1 << 52) - 1
    return node | {"bits": f"{bits | 1 << 51:016x}"} if nan else node


def as_float32(node: Tagged) -> Tagged:
    return node | {"dtype": "float32", "bits": f"{node['bits']}0000"} if node["dtype"] == "bfloat16" else node


def as_scalar(node: Tagged) -> Tagged:
    if node["shape"] or "hex" not in node or node["dtype"].startswith("complex"):
        return node
    return {"k": "scalar", "dtype": node["dtype"], "bits": bytes.fromhex(node["hex"])[::-1].hex()}


def as_double(node: Tagged) -> Tagged:
    value = int(node["hex"], 16)
    return node | {"hex": f"{int(float(value)):x}"} if abs(value) < 1 << 1000 else node


def composed(node: Tagged) -> Tagged:
    return node | {"v": unicodedata.normalize("NFC", node["v"])}


def without_empty(node: Tagged) -> Tagged:
    return node | {"items": [item for item in node["items"] if item[1].get("items") != []]}


# What it refuses is less, or otherwise


def accepts(*codes: str) -> Callable[[], None]:
    """Break the checks whose codes these are, as far as anyone outside can see."""

    def break_it() -> None:
        answer = subject._answer

        def broken(request: Tagged) -> Tagged:
            found = answer(request)
            return {"result": "accepted", "tree": {"k": "null"}} if found.get("code") in codes else found

        subject._answer = broken

    return break_it


def answers(change: Change) -> Callable[[], None]:
    def break_it() -> None:
        answer = subject._answer
        subject._answer = lambda request: change(answer(request))

    return break_it


def follow_links() -> None:
    class Os:
        O_NOFOLLOW = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

    files.os = Os()  # type: ignore[attr-defined]
    files.is_link = lambda path: False


def zeros_for_missing() -> None:
    from statetree_backends._hdf5_stored import Unpacker

    read = Unpacker.read

    def broken(self: Unpacker, stored: Any, start: int, stop: int, out: memoryview) -> None:
        try:
            read(self, stored, start, stop, out)
        except StateTreeError as error:
            if error.code != "ARRAY_MISSING_CHUNK":
                raise
            out[:] = bytes(len(out))

    Unpacker.read = broken  # type: ignore[method-assign]


def unpickle() -> None:
    answer = subject._answer

    def broken(request: Tagged) -> Tagged:
        if b"cos\nsystem" in (content := Path(request["path"]).read_bytes()):
            pickle.loads(content[content.index(b"cos\nsystem") :])
        return answer(request)

    subject._answer = broken


def no_digests() -> None:
    begin = Source.__init__
    Source.__init__ = lambda self, *args, verify: begin(self, *args, verify=False)  # type: ignore[method-assign]


def writes_beside(place: str) -> Callable[[], None]:
    def break_it() -> None:
        answer = subject._answer

        def broken(request: Tagged) -> Tagged:
            path = Path(request["path"])
            (path.parent / "cache.txt" if place == "vectors" else Path.cwd() / "cache.txt").write_text(str(path))
            return answer(request)

        subject._answer = broken

    return break_it


def tells_the_environment() -> None:
    answer = subject._answer
    subject._answer = lambda request: answer(request) | {"digest": os.environ["STATETREE_CANARY"]}


def reads_more() -> None:
    answer = subject._answer

    def broken(request: Tagged) -> Tagged:
        found = Path(request["path"]).parent.parent / "canary.txt"
        return answer(request) | {"digest": found.read_text()}

    subject._answer = broken


LAWS: dict[str, tuple[Callable[[], None], str]] = {
    "unpickles what looks like a pickle": (unpickle, "bytes_that_are_a_pickle_are_bytes"),
    "loses a tie": (without_ties, "a_tree_that_the_reference_saved_is_loaded_unchanged"),
    "saves without ties": (saves_apart, "a_tree_that_it_saved_is_loaded_unchanged_by_the_reference"),
    "saves another digest": (
        answers(lambda found: found | {"digest": "xxh3-128:" + "0" * 32} if "digest" in found else found),
        "a_tree_that_it_saved_is_loaded_unchanged_by_the_reference",
    ),
    "finds nothing sound": (
        answers(lambda _: {"result": "rejected", "class": "invalid", "code": "NODE_KIND"}),
        "a_tree_that_the_reference_saved_is_found_sound",
    ),
}
"""Broken subjects that a law of subjects must catch."""
ANY = ("bson-scalars",)
MUTANTS: dict[str, Mutant] = {
    "drops the sign of zero": Mutant(of("float", no_sign_of_zero), ("bson-floats", "hdf5-root-float")),
    "swaps two keys": Mutant(of("dict", swapped), ("bson-order",)),
    "sorts keys": Mutant(
        of("dict", lambda node: node | {"items": sorted(node["items"], key=lambda item: str(item[0]))}), ("bson-order",)
    ),
    "reads a tuple as a list": Mutant(of("tuple", lambda node: node | {"k": "list"}), ("bson-alike",)),
    "reads a bool as an int": Mutant(
        of("bool", lambda node: {"k": "int", "hex": str(int(node["v"]))}), ("bson-ones", "hdf5-ones")
    ),
    "reads an int as a double": Mutant(of("int", as_double), ("bson-ints", "bson-integers", "zarr-ints", "hdf5-ints")),
    "reads a symbol as a str": Mutant(of("symbol", lambda node: node | {"k": "str"}), ("bson-root-symbol",)),
    "reads a record as a dict": Mutant(
        of("record", lambda node: {"k": "dict", "items": [[{"k": "str", "v": n}, v] for n, v in node["fields"]]}),
        ("bson-root-record",),
    ),
    "loses labels of records": Mutant(of("record", lambda node: node | {"label": None}), ("hdf5-records",)),
    "loses a tie": Mutant(without_ties, ("zarr-ties",)),
    "quiets NaNs": Mutant(of("float", quiet), ("bson-floats", "hdf5-floats", "zarr-floats")),
    "casts bfloat16": Mutant(of("scalar", as_float32), ("bson-scalars",)),
    "reads a 0-d array as a scalar": Mutant(of("array", as_scalar), ("hdf5-shape-0d",)),
    "composes text": Mutant(of("str", composed), ("bson-texts", "hdf5-texts", "zarr-texts")),
    "drops what is empty": Mutant(of("dict", without_empty), ("hdf5-empty",)),
    "reads empty arrays as one of another shape": Mutant(
        of("array", lambda node: node | {"shape": ["0"]} if "0" in node["shape"] else node), ("hdf5-shape-3-0-2",)
    ),
    "loads nothing": Mutant(answers(lambda found: {n: v for n, v in found.items() if n != "tree"}), ANY),
    "says another digest": Mutant(
        answers(lambda found: found | {"digest": "xxh3-128:" + "0" * 32} if "digest" in found else found), ANY
    ),
    "accepts duplicate members": Mutant(accepts("JSON_DUPLICATE_KEY"), ("JSON_DUPLICATE_KEY",)),
    "accepts another order of members": Mutant(accepts("NOT_CANONICAL"), ("NOT_CANONICAL",)),
    "accepts NaN in JSON": Mutant(accepts("JSON_NONFINITE"), ("JSON_NONFINITE",)),
    "accepts a later major version": Mutant(accepts("VERSION_MAJOR"), ("VERSION_MAJOR",)),
    "accepts unknown features": Mutant(accepts("FEATURE_UNKNOWN"), ("FEATURE_UNKNOWN",)),
    "accepts bools that are two": Mutant(accepts("BOOL_VALUE"), ("BOOL_VALUE",)),
    "accepts equal keys": Mutant(accepts("KEY_DUPLICATE", "KEY_COLLISION"), ("KEY_DUPLICATE", "KEY_COLLISION")),
    "accepts any depth": Mutant(accepts("LIMIT_DEPTH"), ("LIMIT_DEPTH",)),
    "accepts external links": Mutant(accepts("H5_LINK"), ("H5_LINK",)),
    "accepts an object array": Mutant(accepts("DTYPE_UNKNOWN", "PICKLE_OBJECT_DTYPE"), ("DTYPE_UNKNOWN",)),
    "skips a digest": Mutant(no_digests, ("hdf5-flipped-array", "bson-flipped-array", "zarr-flipped-array")),
    "skips the digest of the info": Mutant(accepts("INFO_DIGEST"), ("INFO_DIGEST",)),
    "follows a symlink": Mutant(follow_links, ("FS_LINK",)),
    "reads a missing chunk as zeros": Mutant(zeros_for_missing, ("hdf5-chunk-missing-zeros",)),
    "believes a stale index": Mutant(no_digests, ("hdf5-index-swapped",)),
    "takes everything for malformed": Mutant(
        answers(lambda found: found | {"class": "malformed"} if found["result"] == "rejected" else found),
        ("BOOL_VALUE",),
    ),
    "makes up a class": Mutant(
        answers(lambda found: found | {"class": "bad"} if found["result"] == "rejected" else found), ("BOOL_VALUE",)
    ),
    "refuses everything": Mutant(
        answers(lambda found: {"seq": 0, "result": "rejected", "class": "invalid", "code": "NODE_KIND"}), ANY
    ),
    "writes beside what it reads": Mutant(writes_beside("vectors"), ANY),
    "keeps a cache where it works": Mutant(writes_beside("work"), ANY),
    "tells its environment": Mutant(tells_the_environment, ANY),
    "reads outside of what it is given": Mutant(reads_more, ANY),
}

if __name__ == "__main__":
    name = sys.argv[1]
    (MUTANTS[name].break_it if name in MUTANTS else LAWS[name][0])()
    subject.main()
