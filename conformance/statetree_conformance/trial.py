"""Trying a law: Hypothesis looks for an input that breaks it, and makes that small. Source: docs/conformance.md."""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as hs
from hypothesis.stateful import run_state_machine_as_test

from statetree_conformance.strategies import DTYPES, KEY_KINDS, trees
from statetree_conformance.tagged import tag

__all__ = ["Given", "Law", "Reach", "Stalled", "Trial", "as_text", "law", "quick"]

Given = hs.SearchStrategy[Any]

_SHOWN = 20_000
"""Most characters of an input in a report."""
_STEPS = 12
"""Steps of one run of a state machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far the inputs of laws reach, for a backend that takes less or a run that may not take long."""

    max_nodes: int = 24
    """Most nodes of a tree, about."""
    max_depth: int = 60
    """Most levels of a tree."""
    dtypes: tuple[str, ...] = DTYPES
    """Dtypes of arrays and scalars."""
    key_kinds: tuple[str, ...] = KEY_KINDS
    """Kinds of keys."""
    others: tuple[str, ...] = ("memory",)
    """Containers that the one under trial is converted to and compared with."""

    def trees(self, *, inside: int = 0, **more: Any) -> hs.SearchStrategy[Any]:
        """Trees within this reach.

        Args:
            inside: levels of containers that will be around them.
            more: arguments of `strategies.trees`.
        """
        limits = {"max_nodes": self.max_nodes, "max_depth": self.max_depth - inside}
        return trees(**{"dtypes": self.dtypes, "key_kinds": self.key_kinds, **limits, **more})


class Stalled(BaseException):
    """What is tried breaks so often or so slowly that Hypothesis must not look for a smaller input."""


@dataclass(slots=True)
class Trial:
    """What trying a law has come to."""

    examples: int = 0
    """How many inputs were tried."""
    failing: Mapping[str, Any] | None = None
    """The smallest input on which the law did not hold, by the names of its parts."""
    text: str | None = None
    """The same as text, where the law says it better itself."""
    skipped: str | None = None
    """Why it was not tried at all."""

    def input(self) -> str | None:
        """Return the failing input as text."""
        if self.failing is None:
            return self.text
        return "\n".join(f"{name} = {as_text(value)}" for name, value in self.failing.items())


def as_text(value: Any) -> str:
    """Return a value for people; a tree also tagged, since that alone says its bits.

    >>> print(as_text([-0.0]))
    [-0.0]
      tagged: {"k":"list","items":[{"k":"float","bits":"8000000000000000"}]}
    """
    try:
        text = repr(value)
    except Exception as error:
        text = f"{type(value).__name__} without a text ({type(error).__name__})"
    with suppress(TypeError, RecursionError):
        text += f"\n  tagged: {json.dumps(tag(value), separators=(',', ':'))}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class Law:
    """One law: what it says, which rules of spec.md it is about, and how it is tried."""

    name: str
    """The law, words joined by `_`."""
    rules: tuple[str, ...]
    """Ids of rules."""
    check: Callable[..., None]
    """Called with a bench and one input; raises where the law does not hold."""
    inputs: Mapping[str, Callable[[Reach], hs.SearchStrategy[Any]]] = field(default_factory=dict)
    """Parts of an input and what draws them."""
    machine: Callable[[Any, Reach, Trial, Callable[[Any], None]], None] | None = None
    """Makes a state machine and has it run, where a law is tried in many steps and not with one input."""
    needs_files: bool = False
    """Whether it changes the bytes of files, so that a container without any cannot be held against it."""

    @property
    def title(self) -> str:
        """The law as words."""
        return self.name.replace("_", " ")

    def hold(
        self, bench: Any, *, reach: Reach | None = None, using: settings | None = None, seed: int | None = None
    ) -> Trial:
        """Try the law on a bench and return how that went.

        Args:
            bench: where trees are saved and loaded.
            reach: how far inputs reach.
            using: settings of Hypothesis; those of its current profile by default.
            seed: what is drawn follows from it, if given.

        Raises:
            Exception: that of the smallest input on which the law does not hold, with the trial as `trial`.
        """
        trial = Trial()
        if self.needs_files and not bench.container.suffix:
            trial.skipped = "it keeps its bytes in no file"
            return trial
        reach, using = reach or Reach(), using or settings()
        using = settings(using, report_multiple_bugs=False, print_blob=False, stateful_step_count=_STEPS)
        seeded: Callable[[Any], Any] = (lambda test: test) if seed is None else hypothesis.seed(seed)
        try:
            if self.machine is not None:
                self.machine(bench, reach, trial, lambda made: _run_machine(seeded(made), using))
            else:
                seeded(using(self._test(bench, reach, trial)))()
        except Stalled as stalled:
            error = AssertionError(str(stalled))
            error.trial = trial  # type: ignore[attr-defined] # for those who report it
            raise error from None
        except Exception as error:
            error.trial = trial  # type: ignore[attr-defined]
            raise
        return trial

    def _test(self, bench: Any, reach: Reach, trial: Trial) -> Callable[[], None]:
        def held(**drawn: Any) -> None:
            trial.examples += 1
            try:
                self.check(bench, **drawn)
            except BaseException:
                trial.failing = drawn
                raise

        # Hypothesis derives what it draws from this name if nothing is to be left to chance.
        held.__name__ = held.__qualname__ = f"{self.name}__{re.sub('[^a-z0-9]', '_', bench.container.name)}"
        return given(**{name: draw(reach) for name, draw in self.inputs.items()})(held)


def _run_machine(made: Any, using: settings) -> None:
    run_state_machine_as_test(made, settings=using)


def law(
    *rules: str, needs_files: bool = False, **inputs: Callable[[Reach], hs.SearchStrategy[Any]]
) -> Callable[[Callable[..., None]], Law]:
    """Make a law of a function that takes a bench and the parts of an input."""
    return lambda check: Law(check.__name__, rules, check, inputs, None, needs_files)


def quick(examples: int, *, fresh: bool = False) -> settings:
    """Return settings of Hypothesis: so many examples, the same ones each time unless they are to be fresh."""
    return settings(
        max_examples=examples,
        derandomize=not fresh,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        print_blob=False,
    )
