"""Cases: a value that is awkward to save, and how a user of its framework gets its state out and back in."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Case", "Way"]


def _itself(value: Any) -> Any:
    return value


def _loaded(value: Any, state: Any) -> Any:
    return state


@dataclass(frozen=True, slots=True)
class Way:
    """How the state gets out of an object and back in, by the documentation of its framework."""

    give: Callable[[Any], Any] = _itself
    """Return the state of the object as a tree."""
    take: Callable[[Any, Any], Any] = _loaded
    """(new object, state) → the object with that state."""


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    """What is saved, in a few words; unique."""
    make: Callable[[], Any]
    """Make the value."""
    framework: str = ""
    """`torch`, `jax` or `python` if it holds objects that statetree takes apart with `state()`; else a plain tree."""
    fresh: Callable[[], Any] | None = None
    """Make the object of a new process that the state goes into; None if zeros in the same containers will do."""
    way: Way = Way()
    """How the state gets out and in where the subject does not do that itself."""
    dcp: Way | None = None
    """The same for torch DCP, where its documentation has a way of its own."""
    view: Callable[[Any], Any] = _itself
    """What of the value is compared."""
    ordered: bool = False
    """Whether the order of keys is what the case is about; elsewhere it does not count."""
    needed: int | None = None
    """Bytes of the elements; the bytes stored are told where they are more than ten times as many."""
    tell: tuple[str, ...] = ()
    """Subjects whose outcome is told in a note."""
