"""A store under many steps, some of which fail, beside a dict of what must be in it. Source: spec rule C-4.

Steps save, overwrite, load whole and in part, convert, read on in a file that was open before, fail with an error of
the system at any file operation, and end the process at any. After each, every name holds the tree that was saved
there last, or, where the last save failed, the one before.
"""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as hs
from hypothesis.stateful import RuleBasedStateMachine, rule

import statetree as st
from statetree.inspecting import lines_of
from statetree.loading import lookup, map_arrays
from statetree_conformance.containers import Bench
from statetree_conformance.faults import FaultyOs, died, failing
from statetree_conformance.trial import Reach, Trial, as_text

__all__ = ["store_machine"]

_NAMES = hs.sampled_from(["one", "two"])
# A save of a file takes some ten operations, one of a folder fifty.
_AT = hs.integers(1, 12) | hs.integers(1, 60)
_FAULTS: dict[str, Callable[[], BaseException]] = {
    "ENOSPC": lambda: OSError(errno.ENOSPC, "No space left on device"),
    "EIO": lambda: OSError(errno.EIO, "Input/output error"),
    "EACCES": lambda: PermissionError(errno.EACCES, "Permission denied"),
    "interrupt": KeyboardInterrupt,
}
_NOTHING = object()


def store_machine(bench: Bench, reach: Reach, trial: Trial, run: Callable[[Any], None]) -> None:
    """Make the machine for a bench and have it run."""
    small = reach.trees(max_nodes=min(8, reach.max_nodes))

    class Machine(_Machine):
        @rule(name=_NAMES, tree=small)
        def save(self, name: str, tree: Any) -> None:
            self.step(f"save {name}", tree)
            self.save_at(name, tree)
            self.model[name] = tree
            self.killed.discard(name)
            self.expect_nothing_left(name)

        @rule(name=_NAMES, tree=small, at=_AT, fault=hs.sampled_from(sorted(_FAULTS)))
        def save_that_fails(self, name: str, tree: Any, at: int, fault: str) -> None:
            self.step(f"save {name}, {fault} at file operation {at}", tree)
            try:
                with failing(FaultyOs(at, _FAULTS[fault]())):
                    self.save_at(name, tree)
            except (st.StoreIOError, KeyboardInterrupt):
                self.settle(name, tree)
                self.expect_nothing_left(name)
            else:
                # The fault may have been in removing what a killed save had left, which a save does not insist on.
                self.model[name] = tree

        @rule(name=_NAMES, tree=small, at=_AT)
        def save_that_is_killed(self, name: str, tree: Any, at: int) -> None:
            self.step(f"save {name}, killed at file operation {at}", tree)
            if died(at, lambda: self.save_at(name, tree)):
                self.killed.add(name)
                self.settle(name, tree)
            else:
                self.model[name] = tree

        @rule(name=_NAMES)
        def load(self, name: str) -> None:
            self.step(f"load {name}")
            self.expect_tree(name, self.found(name))

        @rule(name=_NAMES, pick=hs.integers(0, 1 << 16))
        def load_a_part(self, name: str, pick: int) -> None:
            self.step(f"load a part of {name}, {pick}")
            if name in self.model:
                with st.open(self.path(name)) as file:
                    paths = [line.path for line in lines_of(file.tree)]
                chosen = paths[pick % len(paths)]
                self.expect_same(lookup(self.model[name], chosen), st.load(self.path(name), select=chosen))

        @rule(name=_NAMES, through=hs.sampled_from(reach.others))
        def convert_there_and_back(self, name: str, through: str) -> None:
            self.step(f"convert {name} to {through} and back")
            if name in self.model:
                self.convert(name, through)

        @rule(name=_NAMES)
        def open_and_keep_open(self, name: str) -> None:
            self.step(f"open {name}")
            if name in self.model and len(self.kept) < 4:
                self.kept.append((st.open(self.path(name)), self.model[name]))

        @rule()
        def read_on(self) -> None:
            self.step("read what is open")
            while self.kept:
                file, tree = self.kept.pop()
                with file:
                    known: dict[int, Any] = {}
                    read = map_arrays(file.tree, lambda lazy: known.setdefault(id(lazy), lazy.read()))  # noqa: B023 - called at once
                self.expect_same(tree, read)

    Machine.bench, Machine.trial = bench, trial
    run(Machine)


class _Machine(RuleBasedStateMachine):
    """What the steps share: the model, the files that are kept open, and the story so far."""

    bench: Bench
    trial: Trial

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Any] = {}
        self.killed: set[str] = set()
        self.kept: list[tuple[st.StateFile, Any]] = []
        self.story: list[str] = []
        self.trial.examples += 1
        self.run = self.trial.examples

    def step(self, what: str, tree: Any = _NOTHING) -> None:
        self.story.append(what if tree is _NOTHING else f"{what}: {as_text(tree)}")
        # Of the runs that fail the last one is the smallest, and its story ends where it failed.
        self.trial.text = "\n".join(self.story)

    def name_of(self, name: str) -> str:
        """Return a name that no other run has, since a store in memory cannot be removed."""
        return f"{name}-{self.run}"

    def path(self, name: str) -> Path:
        return self.bench.path(self.name_of(name))

    def save_at(self, name: str, tree: Any) -> None:
        self.bench.save(tree, self.name_of(name))

    def convert(self, name: str, through: str) -> None:
        between = self.bench.beside(through).convert(self.path(name), self.name_of("through"))
        self.bench.convert(between, self.name_of(name))

    def found(self, name: str) -> Any:
        """Return what is at a name, `_NOTHING` if nothing is."""
        try:
            return st.load(self.path(name))
        except st.MissingFileError:
            return _NOTHING
        except st.StateTreeError:
            # A first save that was killed leaves nothing, or what is known to be unfinished.
            if name in self.killed and name not in self.model:
                return _NOTHING
            raise

    def settle(self, name: str, tree: Any) -> None:
        """Learn whether the old tree or the new one is there after a save that failed; raise if neither is."""
        found = self.found(name)
        if found is not _NOTHING and st.difference(found, tree) is None:
            self.model[name] = tree
        else:
            self.expect_tree(name, found)

    def expect_tree(self, name: str, found: Any) -> None:
        wanted = self.model.get(name, _NOTHING)
        if wanted is _NOTHING or found is _NOTHING:
            if wanted is not found:
                raise AssertionError(f"expected {'nothing' if wanted is _NOTHING else 'a tree'} at {name}, got another")
            return
        self.expect_same(wanted, found)

    def expect_same(self, wanted: Any, found: Any) -> None:
        differs = st.difference(wanted, found)
        if differs is not None:
            raise AssertionError(f"expected the tree that was saved last, got another: {differs}")

    def expect_nothing_left(self, name: str) -> None:
        """Raise if a save at a name left something, unless one that was killed did and none has worked since."""
        left = [path.name for path in self.bench.folder.rglob(f"*{self.name_of(name)}*.statetree-tmp")]
        if left and name not in self.killed:
            raise AssertionError(f"expected no temporary files, got {', '.join(left)}")

    def teardown(self) -> None:
        for file, _ in self.kept:
            file.close()
        for path in self.bench.folder.glob(f"*-{self.run}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
