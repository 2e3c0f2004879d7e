"""Entry points: what other packages bring. The one place where the name of a module comes from outside of the code."""

from collections.abc import Iterator
from importlib import metadata

__all__ = ["entry_points"]


def entry_points(group: str) -> Iterator[metadata.EntryPoint]:
    """Yield the entry points of a group, sorted by name; nothing is imported before one is loaded."""
    yield from sorted(metadata.entry_points(group=group), key=lambda entry: entry.name)
