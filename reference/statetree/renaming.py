"""Renaming: nodes of a tree move to other paths, for classes that have changed. Source: docs/restore.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

from statetree.errors import Problem, RestoreError
from statetree.path import Path, PathSyntaxError, parse_path, path_text
from statetree.tree import Record

__all__ = ["renamed"]

_ANY = object()


def renamed(tree: Any, rename: Mapping[str, str]) -> Any:
    """Return `tree` with nodes moved; containers on the way are new, arrays are not copied.

    The names that optimisers have for their parameters follow.

    >>> renamed({"enc": {"w": 1}, "b": 2}, {"/enc/w": "/encoder/weight"})
    {'b': 2, 'encoder': {'weight': 1}}

    Args:
        tree: a state tree.
        rename: old path → new path, as text. A key `*` stands for any one key, also in the new path, in order.

    Raises:
        RestoreError: a path is no path, fits nothing, or leads to where something is already.
    """
    for old, new in rename.items():
        pattern, target = _pattern(old), _pattern(new)
        if pattern.count(_ANY) < target.count(_ANY):
            _fail(old, "as many * in the old path as in the new", f"{new!r}", "name the keys")
        moves = list(_matches(tree, pattern, ()))
        if not moves:
            _fail(old, "a path of the tree", f"{old!r}, which fits nothing", "statetree inspect shows all paths")
        optimizers = [(place, _module_of(tree, names)) for place, names in _optimizers(tree, ())]
        for place, module in optimizers:
            tree = _replaced(tree, place, _renamed_names(_at(tree, place), module, moves, target))
        taken = [(path, keys, _at(tree, path)) for path, keys in moves]
        for path, _, _ in reversed(taken):
            tree = _without(tree, path)
        for _, keys, node in taken:
            tree = _with(tree, _filled(target, keys), node, new)
    return tree


def _fail(text: str, expected: str, found: str, remedy: str) -> NoReturn:
    raise RestoreError([Problem("PATH_FORM", expected, found, place=f"rename {text}", remedy=remedy)])


def _pattern(text: str) -> Path:
    try:
        return tuple(_ANY if key == "*" else key for key in parse_path(text))
    except PathSyntaxError as error:
        return _fail(
            text, "a path such as /model/layers/*/weight", str(error), "write / before each key, #0 for positions"
        )


def _items(node: Any) -> list[tuple[Any, Any]]:
    if isinstance(node, dict | Record):
        return list(node.items())
    return list(enumerate(node)) if type(node) in (list, tuple) else []


def _matches(node: Any, pattern: Path, path: Path) -> Any:
    """Yield (path, keys that stand for *) of the nodes that a pattern fits."""
    if not pattern:
        yield path, ()
        return
    for key, part in _items(node):
        if pattern[0] is _ANY or (type(key) is type(pattern[0]) and key == pattern[0]):
            for found, keys in _matches(part, pattern[1:], (*path, key)):
                yield found, ((key, *keys) if pattern[0] is _ANY else keys)


# Names of parameters in the states of optimisers


def _optimizers(node: Any, path: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield (path, names of its parameters) of the states of optimisers whose parameters have names."""
    if isinstance(node, Record) and node.label == "torch.Optimizer":
        groups = node["groups"] if "groups" in node.names else ()
        names = [name for group in groups if type(group) is dict for name in group.get("params", ())]
        if names and all(type(name) is str for name in names):
            yield path, names
        return
    for key, part in _items(node):
        yield from _optimizers(part, (*path, key))


def _module_of(tree: Any, names: list[str]) -> Path | None:
    """Return the path of the one module that has parameters of these names, None if there is none or several."""
    found = [()] if names[0].startswith("/") else list(_holders(tree, (), names))
    return found[0] if len(found) == 1 else None


def _holders(node: Any, path: Path, names: list[str]) -> Iterator[Path]:
    if type(node) is dict and all(_has(node, name.split(".")) for name in names):
        yield path
    for key, part in _items(node):
        yield from _holders(part, (*path, key), names)


def _has(node: Any, keys: list[str]) -> bool:
    for key in keys:
        if type(node) is not dict or key not in node:
            return False
        node = node[key]
    return True


def _renamed_names(optimizer: Record, module: Path | None, moves: Sequence[tuple[Path, Path]], target: Path) -> Record:
    """Return the state of an optimiser with the names that its parameters have when the nodes of `moves` have gone."""
    if module is None:
        return optimizer

    def moved(path: Path) -> Path:
        for old, keys in moves:
            if path[: len(old)] == old:
                return (*_filled(target, keys), *path[len(old) :])
        return path

    def new(name: Any) -> Any:
        if type(name) is not str:
            return name
        if name.startswith("/"):
            return path_text(moved(parse_path(name)))
        path, within = moved((*module, *name.split("."))), moved(module)
        return ".".join(map(str, path[len(within) :])) if path[: len(within)] == within else name

    state = {new(name): entry for name, entry in optimizer["state"].items()}
    groups = [{**group, "params": [new(name) for name in group["params"]]} for group in optimizer["groups"]]
    renewed = {**dict(optimizer.items()), "state": state, "groups": groups}
    return Record(renewed, label=optimizer.label)


def _replaced(node: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    items = [(key, _replaced(part, path[1:], new) if key == path[0] else part) for key, part in _items(node)]
    return _rebuilt(node, items)


def _filled(target: Path, keys: Path) -> Path:
    left = iter(keys)
    return tuple(next(left) if key is _ANY else key for key in target)


def _at(node: Any, path: Path) -> Any:
    for key in path:
        node = node[key]
    return node


def _rebuilt(node: Any, items: list[tuple[Any, Any]]) -> Any:
    if isinstance(node, Record):
        return Record(items, label=node.label)
    return dict(items) if isinstance(node, dict) else type(node)(part for _, part in items)


def _without(node: Any, path: Path) -> Any:
    """Return `node` without what is at `path`, and without the dicts and records that this leaves empty."""
    key, *rest = path
    items = []
    for k, part in _items(node):
        if k != key:
            items.append((k, part))
        elif rest:
            inner = _without(part, tuple(rest))
            if _items(inner) or not isinstance(node, dict | Record):
                items.append((k, inner))
    return _rebuilt(node, items)


def _with(node: Any, path: Path, value: Any, text: str) -> Any:
    key, *rest = path
    items = _items(node)
    known = dict(items)
    if not isinstance(node, dict | Record):
        return _with_position(node, path, value, text)
    if not rest:
        if key in known:
            _fail(text, "a path where nothing is", f"{path_text(path)!r}", "move that away first, through a third name")
        return _rebuilt(node, [*items, (key, value)])
    inner = _with(known.get(key, {}), tuple(rest), value, text)
    if key in known:
        return _rebuilt(node, [(k, inner if k == key else part) for k, part in items])
    return _rebuilt(node, [*items, (key, inner)])


def _with_position(node: Any, path: Path, value: Any, text: str) -> Any:
    key, *rest = path
    known = type(node) in (list, tuple) and type(key) is int and 0 <= key < len(node) + (not rest)
    if not known or (not rest and key < len(node)):
        remedy = "use migrate= for more than names"
        _fail(text, "a path of the tree, or one that continues it", f"{path_text(path)!r}", remedy)
    parts = list(node)
    parts[key:] = [value] if not rest else [_with(parts[key], tuple(rest), value, text), *parts[key + 1 :]]
    return type(node)(parts)
