"""Consolidated metadata held against the nodes themselves. Source: spec [Z-10] and [Z-11].

zarr-python writes the metadata of a node anew when it consolidates: it adds members that say nothing, and a zero of a
float may lose its fraction. Such differences are none.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from statetree.errors import StateTreeError
from statetree_backends._zarr_metadata import strict_json

__all__ = ["contradictions"]


def contradictions(
    text: bytes, prefix: str, known: Mapping[str, str], text_of: Callable[[str], bytes | None]
) -> Iterator[tuple[str, str]]:
    """Yield (path, what is said of the node there instead) of the consolidated metadata of a group.

    Args:
        text: metadata of the group.
        prefix: what stands before the paths of its nodes, from the root on.
        known: the nodes that there are, path from the root on → what `text_of` calls it.
        text_of: returns the metadata of a node.
    """
    try:
        held = strict_json(text, "zarr.json").get("consolidated_metadata")
    except StateTreeError:
        return  # this was said where the group was judged
    if held is None:
        return
    listed = held.get("metadata") if type(held) is dict else None
    if type(listed) is not dict:
        yield "", "something of another form"
        return
    for path, said in listed.items():
        name = known.get(prefix + path)
        own = None if name is None else text_of(name)
        if own is None:
            yield path, "a node that is not there"
        elif not _is_same(said, own):
            yield path, "something else"
    for path in known:
        if path.startswith(prefix) and path[len(prefix) :] not in listed:
            yield path[len(prefix) :], "nothing"


def _is_same(said: Any, own: bytes) -> bool:
    try:
        node = strict_json(own, "zarr.json")
    except StateTreeError:
        return True
    return type(said) is type(node) is dict and repr(_plain(said)) == repr(_plain(node))


def _plain(node: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the members of a node that say something, in one order and with one zero."""
    empty: dict[str, Any] = {"storage_transformers": [], "dimension_names": None, "attributes": {}}
    members = {
        name: value
        for name, value in node.items()
        if name != "consolidated_metadata" and (name not in empty or value != empty[name])
    }
    if "fill_value" in members:
        members["fill_value"] = _zero(members["fill_value"])
    return sorted((name, _sorted(value)) for name, value in members.items())


def _zero(value: Any) -> Any:
    if type(value) is list:
        return [_zero(item) for item in value]
    return 0 if type(value) in (int, float) and repr(value) in ("0", "0.0") else value


def _sorted(value: Any) -> Any:
    """Return a JSON value with the members of its objects sorted."""
    if type(value) is dict:
        return sorted((name, _sorted(member)) for name, member in value.items())
    return [_sorted(item) for item in value] if type(value) is list else value
