"""Laws of a subject: trees go to it from the reference implementation and back, and are the same. Source: rule T-4."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as hs

import statetree as st
from statetree.limits import Limits
from statetree.saving import manifest_of
from statetree_conformance.containers import Bench, Container, container, manifest
from statetree_conformance.tagged import tag, tagged_difference
from statetree_conformance.talk import Reply, Talk
from statetree_conformance.trial import Given, Law, Reach, Stalled, law

__all__ = ["SUBJECT_LAWS", "SubjectBench"]

_BREAKS = 20
"""How often the subject may break the talk while Hypothesis makes an input smaller."""


class SubjectBench:
    """A subject beside the reference implementation, for one container.

    Args:
        name: the container.
        talk: the talk with the subject.
    """

    def __init__(self, name: str, talk: Talk) -> None:
        self.container: Container = container(name)
        self.talk = talk
        self.reference = Bench(self.container, talk.sandbox.vectors)
        self._broken = 0

    def path(self, folder: Path, name: str) -> Path:
        """Return where a file of this container is called `name`."""
        return folder / f"{name}{self.container.suffix}"

    def ask(self, verb: str, **request: Any) -> Reply:
        """Return the answer to a request.

        Raises:
            AssertionError: there is none, or it is not that it was done.
            Stalled: the subject has broken the talk too often, or too slowly, to be asked on.
        """
        reply = self.talk.ask([{"verb": verb, **request}])[0]
        if reply.kind == "accepted":
            return reply
        said = reply.answer.get("code") or reply.why
        text = f"expected the subject to {verb} this, got {reply.kind} ({said})"
        if not reply.answer:
            self._broken += 1
            if reply.kind in ("timed out", "not asked") or self._broken > _BREAKS:
                raise Stalled(text)
        raise AssertionError(text)


def _trees(reach: Reach) -> Given:
    return reach.trees()


def _expect_tagged(wanted: Any, found: Any) -> None:
    differs = tagged_difference(tag(wanted), found)
    if differs is not None:
        raise AssertionError(f"expected the same tree, got another: {differs}")


def _expect_digest(path: Path, reply: Reply) -> None:
    with st.open(path) as file:
        if reply.answer.get("digest") != file.digest:
            raise AssertionError(f"expected the digest {file.digest}, got {reply.answer.get('digest')!r}"[:300])


@law("D-1", "D-7", "E-1", "E-2", "E-5", "G-4", "M-6", "N-1", "R-1", tree=_trees)
def a_tree_that_the_reference_saved_is_loaded_unchanged(bench: SubjectBench, tree: Any) -> None:
    path = bench.reference.save(tree)
    bench.talk.sandbox.protect(path)

    reply = bench.ask("load", path=str(path))

    _expect_tagged(tree, reply.answer.get("tree"))
    _expect_digest(path, reply)


@law("R-3", tree=_trees)
def a_tree_that_the_reference_saved_is_found_sound(bench: SubjectBench, tree: Any) -> None:
    path = bench.reference.save(tree)
    bench.talk.sandbox.protect(path)

    bench.ask("validate", path=str(path))


@law("D-1", "D-7", "E-1", "E-2", "E-5", "G-4", "M-6", "N-1", "J-1", tree=_trees)
def a_tree_that_it_saved_is_loaded_unchanged_by_the_reference(bench: SubjectBench, tree: Any) -> None:
    path = bench.path(bench.talk.sandbox.saves, "saved")

    reply = bench.ask("save", container=bench.container.name, path=str(path), tree=tag(tree))

    _expect_tagged(tree, tag(st.load(path)))
    _expect_digest(path, reply)
    if manifest(path) != manifest_of(tree, "xxh3-128", Limits()):
        raise AssertionError("expected the canonical manifest of the tree, got another")
    report = st.validate(path)
    if not report.ok:
        raise AssertionError(f"expected a sound file, got {'; '.join(map(str, report.problems))}")


# Pickles of protocols 0 and 2 that leave a file where the subject works; the runner sees that.
_PICKLES = (b"cos\nsystem\n(S'touch unpickled'\ntR.", b"\x80\x02cos\nsystem\nU\x0ftouch unpickled\x85R.")


@law("S-1", "S-4", data=lambda reach: hs.sampled_from(_PICKLES))
def bytes_that_are_a_pickle_are_bytes(bench: SubjectBench, data: bytes) -> None:
    tree = {"bytes": data, "array": np.frombuffer(data, np.uint8).copy(), "text": data.decode("latin-1")}
    path = bench.reference.save(tree)
    bench.talk.sandbox.protect(path)

    reply = bench.ask("load", path=str(path))

    _expect_tagged(tree, reply.answer.get("tree"))


SUBJECT_LAWS: tuple[tuple[str, Law], ...] = (
    ("load", a_tree_that_the_reference_saved_is_loaded_unchanged),
    ("load", bytes_that_are_a_pickle_are_bytes),
    ("validate", a_tree_that_the_reference_saved_is_found_sound),
    ("save", a_tree_that_it_saved_is_loaded_unchanged_by_the_reference),
)
"""The verb that a subject needs, and the law."""
