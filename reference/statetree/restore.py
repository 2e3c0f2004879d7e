"""Restoring: a state goes back into an object, all of it or nothing. Source: docs/restore.md.

Strategy: the object and the tree are walked together first, and everything that does not fit is collected. Only if
nothing is left to say are values put in their places: first those that go through calls of other people's code, which
may fail and are then undone, then arrays, which cannot.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from statetree.errors import RestoreError
from statetree.renaming import renamed
from statetree.restoring.nodes import children
from statetree.restoring.planning import Plan
from statetree.restoring.putting import Call, Thunk
from statetree.state import generators, state

__all__ = ["restore", "restore_rng"]


def restore(
    dst: Any,
    tree: Any,
    *,
    strict: bool = True,
    rename: Mapping[str, str] | None = None,
    migrate: Callable[[Any], Any] | None = None,
    cast: bool = False,
    by_position: bool = False,
) -> Any:
    """Put a state into an existing object, all or nothing, and return the object.

    What can be changed is changed in place: torch modules and optimisers, NumPy arrays, dicts, lists, dataclasses. What
    cannot, such as JAX arrays, tuples and frozen dataclasses, is made anew; so use what is returned.

    >>> import numpy as np
    >>> model = {"weight": np.zeros(2), "act": len}
    >>> restore(model, {"weight": np.ones(2), "act": ()})["weight"] is model["weight"], model["weight"]
    (True, array([1., 1.]))

    Args:
        dst: the object, built as the one whose state was saved.
        tree: a state tree, of `load`, `open` or `state`. `()` in it leaves what is in its place alone.
        strict: refuse if anything is missing, unexpected or of another shape, dtype or kind. With False, what fits is
            loaded and (object, problems) is returned.
        rename: path in the tree → path in `dst`, as text; `*` stands for one key and is carried over in order.
        migrate: a function that makes of the tree the tree that `dst` expects; called before `rename` is applied.
        cast: change dtypes, where no value is lost by size.
        by_position: match parameters of optimisers that were saved without names by their positions.

    Raises:
        RestoreError: all that does not fit, each with its path; nothing of `dst` was changed.
    """
    tree = migrate(tree) if migrate is not None else tree
    tree = renamed(tree, rename) if rename else tree
    plan = Plan(dst, cast=cast, by_position=by_position)
    thunk = plan.node(dst, tree, ())
    if plan.problems and strict:
        raise RestoreError(plan.problems)
    value = _apply(plan, thunk)
    return value if strict else (value, tuple(plan.problems))


def restore_rng(tree: Any, *, strict: bool = True) -> None:
    """Set the global generators of random numbers to the state that `rng_state` returned.

    Args:
        tree: what `rng_state` returned, or what was saved and loaded of it.
        strict: refuse a state of generators that are not here, such as those of a GPU; with False the others are set.

    Raises:
        RestoreError: it is no such state; no generator was changed.
    """
    wanted = tree if isinstance(tree, dict) else {"python": (), "numpy": ()}
    here = generators(torch_too="torch" in wanted, devices=len(children(wanted.get("torch")) or ()) > 1)
    restore({name: generator for name, generator in here.items() if name in wanted}, tree, strict=strict)


def _apply(plan: Plan, thunk: Thunk) -> Any:
    """Put everything in its place and return the new root."""
    for new in plan.news.values():
        new.prepare()
    before = [(value, state(value)) for value in plan.inside]
    done: list[Call] = []
    try:
        for call in chain(plan.calls, plan.last):
            done.append(call)
            call.run()
    except BaseException:
        for call in reversed(done):
            call.undo()
        for value, tree in before:
            restore(value, tree, by_position=True)
        raise
    return thunk()
