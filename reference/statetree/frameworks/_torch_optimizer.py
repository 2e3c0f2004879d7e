"""Optimisers of PyTorch: their state goes by the names of parameters. Source: docs/restore.md.

PyTorch itself numbers parameters in the order in which the optimiser got them, so that a state read by an optimiser
that got them in another order puts moments to the wrong weights, in silence.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from statetree.frameworks._torch import names_of, new_tensor
from statetree.frameworks.parts import Context, Special, refuse
from statetree.path import Path, path_text
from statetree.tree import Record

__all__ = ["LABEL", "optimizer_parts"]

LABEL = "torch.Optimizer"
Name = str | int
_LIKE_PARAMETER = frozenset(
    (
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "acc_delta"),
        *("grad_avg", "sum", "prev", "step_size", "ax"),
    )
)
"""State of an optimiser that has the shape of its parameter."""


def optimizer_parts(optimizer: torch.optim.Optimizer, context: Context) -> Special:
    """Return an optimiser as a record of its class, its state by name, and its groups."""
    names = _names(optimizer, context)
    return Special(lambda: _record(optimizer, names), partial(_plan, optimizer, names))


def _names(optimizer: torch.optim.Optimizer, context: Context) -> list[list[Name]]:
    """Return the names of the parameters of each group; positions, counted through, where no name is known."""
    groups = optimizer.param_groups
    known = names_of(context)
    parameters = [parameter for group in groups for parameter in group["params"]]
    found = [known.get(id(parameter)) for parameter in parameters]
    flat: list[Name]
    if all(place is not None for place in found) and found:
        modules = {place[0] for place in found if place is not None}
        # Of several models the names may collide; then they are paths in the tree.
        flat = [
            name if len(modules) == 1 else path_text((*module, *name.split(".")))
            for module, name in filter(None, found)
        ]
    elif any(place is not None for place in found):
        refuse(
            context,
            "an optimiser of parameters of the modules beside it",
            f"{sum(place is None for place in found)} of {len(found)} parameters that are in none of them",
            "give state() all modules that the optimiser trains, {'model': model, 'optimizer': optimizer}",
        )
    elif all("param_names" in group for group in groups):
        flat = [str(name) for group in groups for name in group["param_names"]]
    else:
        flat = list(range(len(parameters)))
    names = iter(flat)
    return [[next(names) for _ in group["params"]] for group in groups]


def _record(optimizer: torch.optim.Optimizer, names: Sequence[Sequence[Name]]) -> Record:
    by_parameter = {
        id(parameter): name
        for group, group_names in zip(optimizer.param_groups, names, strict=True)
        for parameter, name in zip(group["params"], group_names, strict=True)
    }
    state = {by_parameter[id(p)]: dict(entry) for p, entry in optimizer.state.items() if id(p) in by_parameter}
    groups = [
        {**{key: value for key, value in group.items() if key != "params"}, "params": list(group_names)}
        for group, group_names in zip(optimizer.param_groups, names, strict=True)
    ]
    return Record({"algorithm": type(optimizer).__name__, "state": state, "groups": groups}, label=LABEL)


class _Planned:
    """What goes where, found before anything is changed."""

    def __init__(self) -> None:
        self.groups: list[tuple[dict[str, Any], str, Callable[[], Any]]] = []
        self.entries: list[tuple[Any, dict[str, Callable[[], Any]]]] = []


def _plan(
    optimizer: torch.optim.Optimizer, names: Sequence[Sequence[Name]], planner: Any, tree: Any, path: Path
) -> Callable[[], Any]:
    if type(tree) is not Record or tree.label != LABEL or tree.names != ("algorithm", "state", "groups"):
        planner.problem("STATE_KIND", path, "the state of an optimiser", planner.what(tree), _HOW)
        return lambda: optimizer
    algorithm = type(optimizer).__name__
    if tree["algorithm"] != algorithm:
        planner.problem(
            "STATE_KIND", (*path, "algorithm"), algorithm, planner.what(tree["algorithm"]), "build the same optimiser"
        )
        return lambda: optimizer
    matched = _matched(optimizer, names, planner, tree, path)
    if matched is None:
        return lambda: optimizer
    planned = _Planned()
    for number, (group, stored) in enumerate(zip(optimizer.param_groups, tree["groups"], strict=True)):
        _plan_group(group, stored, planner, (*path, "groups", number), planned)
    for name, entry in tree["state"].items():
        if name in matched:
            _plan_entry(optimizer, matched[name], entry, planner, (*path, "state", name), planned)
    return lambda: _apply(optimizer, planned)


_HOW = "save statetree.state({'model': model, 'optimizer': optimizer}), and restore both together"


def _matched(
    optimizer: torch.optim.Optimizer, names: Sequence[Sequence[Name]], planner: Any, tree: Record, path: Path
) -> dict[Name, tuple[Any, dict[str, Any]]] | None:
    """Return stored name → (parameter, its group), None if they cannot be brought together."""
    stored = [list(group.get("params", ())) if type(group) is dict else [] for group in tree["groups"]]
    here = [list(group_names) for group_names in names]
    if len(stored) != len(here):
        found = f"{len(stored)} groups"
        planner.problem("STATE_NAMES", (*path, "groups"), f"{len(here)} groups", found, _SAME)
        return None
    named = all(type(name) is str for group in (*stored, *here) for name in group)
    if not named and not planner.by_position:
        which = "the stored state" if any(type(name) is int for group in stored for name in group) else "this optimiser"
        planner.problem(
            "STATE_NAMES",
            (*path, "groups"),
            "parameters by name",
            f"positions only in {which}",
            f"{_HOW}; or pass by_position=True if the parameters are in the same order",
        )
        return None
    out: dict[Name, tuple[Any, dict[str, Any]]] = {}
    for number, (group, ours, theirs) in enumerate(zip(optimizer.param_groups, here, stored, strict=True)):
        if not named and len(ours) != len(theirs):
            at = (*path, "groups", number, "params")
            planner.problem("STATE_NAMES", at, f"{len(ours)} parameters", str(len(theirs)), _SAME)
            return None
        parameters = dict(zip(ours if named else theirs, group["params"], strict=True))
        _compare_names(parameters, theirs, planner, (*path, "groups", number, "params"))
        out.update({name: (parameters[name], group) for name in theirs if name in parameters})
    return out


_SAME = "build it from the same parameters in the same groups"


def _compare_names(parameters: dict[Name, Any], theirs: Sequence[Name], planner: Any, path: Path) -> None:
    for name in theirs:
        if name not in parameters:
            planner.problem("STATE_UNEXPECTED", path, "a parameter of this optimiser", repr(name), _SAME)
    for name in parameters:
        if name not in theirs:
            planner.problem("STATE_MISSING", path, f"the parameter {name!r}", "none of that name", _SAME)


def _plan_group(group: dict[str, Any], stored: dict[str, Any], planner: Any, path: Path, planned: _Planned) -> None:
    for key in group:
        if key not in stored and key != "params":
            planner.problem(
                "STATE_MISSING", (*path, key), f"the setting {key!r}", "none", "save it with this version of torch"
            )
    for key, value in stored.items():
        if key in ("params", "param_names"):
            continue
        # A scheduler adds settings to the groups, such as initial_lr.
        thunk = planner.value(group.get(key), value, (*path, key), strict=key in group)
        planned.groups.append((group, key, thunk))


def _plan_entry(
    optimizer: torch.optim.Optimizer,
    place: tuple[Any, dict[str, Any]],
    entry: dict[Any, Any],
    planner: Any,
    path: Path,
    planned: _Planned,
) -> None:
    parameter, group = place
    existing = optimizer.state.get(parameter, {})
    values: dict[str, Callable[[], Any]] = {}
    for key, value in entry.items():
        shape = getattr(value, "shape", None)
        if shape is not None and key in _LIKE_PARAMETER and tuple(shape) not in (tuple(parameter.shape), ()):
            expected = f"shape {tuple(parameter.shape)}"
            planner.problem(
                "STATE_SHAPE", (*path, key), expected, f"shape {tuple(shape)}", "build it from the same parameters"
            )
            continue
        device = _device(key, parameter, group)
        old = existing.get(key)
        if isinstance(old, torch.Tensor) and old.shape == shape:
            values[key] = planner.value(old, value, (*path, key), strict=True)
        else:
            values[key] = lambda value=value, device=device: _tensors(planner.plain(value), device)  # type: ignore[misc]
    planned.entries.append((parameter, values))


def _device(key: str, parameter: Any, group: dict[str, Any]) -> Any:
    """Return where a new tensor of the state goes: `step` stays on the CPU unless the optimiser wants it elsewhere."""
    on_device = key != "step" or group.get("capturable") or group.get("fused")
    return parameter.device if on_device else torch.device("cpu")


def _tensors(value: Any, device: Any) -> Any:
    if isinstance(value, np.ndarray):
        return new_tensor(value, device)
    if type(value) is dict:
        return {key: _tensors(part, device) for key, part in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_tensors(part, device) for part in value)
    return value


def _apply(optimizer: torch.optim.Optimizer, planned: _Planned) -> torch.optim.Optimizer:
    for group, key, thunk in planned.groups:
        group[key] = thunk()
    entries = [(parameter, {key: thunk() for key, thunk in values.items()}) for parameter, values in planned.entries]
    kept = {id(parameter) for parameter, _ in entries}
    for parameter in list(optimizer.state):
        if id(parameter) not in kept:
            del optimizer.state[parameter]
    for parameter, values in entries:
        optimizer.state[parameter] = values
    return optimizer
