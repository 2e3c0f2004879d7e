"""Results of a run: one for each law, vector and verb that was tried. Source: spec/conformance.md section 6."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["OUTCOMES", "Result", "Run", "counts"]

OUTCOMES = ("passed", "known", "skipped", "failed")
"""What may come of a case; `known` is a failure that is on the list of known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one case."""

    column: str
    """The backend or subject that was tried."""
    kind: str
    """`law`, `vector`, or `run` for what concerns no single one of them."""
    name: str
    """Name of the law, or id of the vector."""
    rules: tuple[str, ...]
    """Ids of the rules that it is about."""
    outcome: str
    """One of `OUTCOMES`."""
    verb: str | None = None
    """For vectors: what the subject was asked to do."""
    container: str | None = None
    """The kind of container."""
    why: str | None = None
    """Why it failed or was skipped; for passed vectors of which only the code is wrong, that."""
    code: bool | None = None
    """For refused vectors: whether the code is the expected one too."""
    input: str | None = None
    """The input on which a law does not hold, as small as Hypothesis could make it."""
    examples: int | None = None
    """How many inputs were tried."""
    seconds: float = 0.0
    """How long it took; of what was asked in one breath, a share."""

    @property
    def title(self) -> str:
        """The case in words."""
        title = self.name.replace("_", " ") if self.kind == "law" else self.name
        return title if self.verb is None else f"{title}, {self.verb}"

    def as_json(self) -> dict[str, Any]:
        """Return it as plain JSON; what is not known is left out."""
        found = {name: value for name, value in asdict(self).items() if value is not None}
        return found | {"rules": list(self.rules), "seconds": round(self.seconds, 4)}


@dataclass(frozen=True, slots=True)
class Run:
    """All results of a run, and what it was."""

    results: tuple[Result, ...]
    """In the order in which they came."""
    about: dict[str, Any]
    """Version of the suite, examples, seed, time, seconds; columns and what they are."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.about["columns"])

    @property
    def failed(self) -> tuple[Result, ...]:
        """What failed."""
        return tuple(result for result in self.results if result.outcome == "failed")

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and something passed in each column."""
        passed = {result.column for result in self.results if result.outcome == "passed"}
        return not self.failed and passed >= {*self.columns}

    def of(self, column: str) -> tuple[Result, ...]:
        """Return the results of one column."""
        return tuple(result for result in self.results if result.column == column)


def counts(results: Iterable[Result]) -> dict[str, int]:
    """Return how many of each outcome there are, all outcomes being named."""
    found = Counter(result.outcome for result in results)
    return {outcome: found[outcome] for outcome in OUTCOMES}


def code_score(results: Sequence[Result]) -> tuple[int, int]:
    """Return how many refused vectors that passed have the right code, and how many there are."""
    asked = [result.code for result in results if result.code is not None]
    return sum(asked), len(asked)
