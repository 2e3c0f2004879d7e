"""Optimisers of PyTorch: their state goes by the names of parameters. Source: docs/restore.md.

PyTorch itself numbers parameters in the order in which the optimiser got them, so that a state read by an optimiser
that got them in another order puts moments to the wrong weights, in silence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from statetree.errors import shown
from statetree.frameworks._torch_module import names_of
from statetree.frameworks._torch_tensor import dtype_of, tensor_leaf, tensors_like
from statetree.frameworks.parts import Context, Special, refuse
from statetree.lazy import LazyArray
from statetree.path import Path, path_text
from statetree.tree import Record

__all__ = ["LABEL", "optimizer_parts"]

LABEL = "torch.Optimizer"
Name = str | int
Thunk = Callable[[], Any]
_LIKE_PARAMETER = frozenset(
    (
        *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "acc_delta"),
        *("grad_avg", "sum", "prev", "step_size", "ax"),
    )
)
"""State of an optimiser that has the shape and, as torch has it, the dtype of its parameter."""
_MACHINE = frozenset(("foreach", "fused", "capturable", "differentiable"))
"""Settings of how a step is computed on a machine: those of the optimiser that is here stay."""
_NAMES = frozenset(("params", "param_names"))
_HOOKS = ("state_dict_pre", "state_dict_post", "load_state_dict_pre", "load_state_dict_post")


def optimizer_parts(optimizer: torch.optim.Optimizer, context: Context) -> Special:
    """Return an optimiser as a record of its class, its state by name, and its groups.

    Raises:
        WriteError: it keeps state that this would lose.
    """
    for parameter in _parameters(optimizer):
        tensor_leaf(parameter, context)
    kind, base = type(optimizer), torch.optim.Optimizer
    own = kind.state_dict is not base.state_dict or kind.load_state_dict is not base.load_state_dict
    if own or any(getattr(optimizer, f"_optimizer_{name}_hooks") for name in _HOOKS):
        refuse(
            context,
            "an optimiser whose state is what torch makes of it",
            f"{shown(kind.__name__)} with a state_dict or hooks of its own",
            "keep what its state_dict() returns, or give its class __statetree__ and __load_statetree__",
        )
    names = _names(optimizer, context)
    return Special(partial(_record, optimizer, names, _own_state(optimizer, context)), partial(_plan, optimizer, names))


def _parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _names(optimizer: torch.optim.Optimizer, context: Context) -> list[list[Name]]:
    """Return the names of the parameters of each group; positions, counted through, where no names are known."""
    groups, parameters = optimizer.param_groups, _parameters(optimizer)
    known = names_of(context)
    found = [known[id(parameter)] for parameter in parameters if id(parameter) in known]
    flat: list[Name] = list(range(len(parameters)))
    if found and len(found) < len(parameters):
        refuse(
            context,
            "an optimiser of parameters of the modules beside it",
            f"{len(parameters) - len(found)} of {len(parameters)} parameters that are in none of them",
            "give state() all modules that the optimiser trains, {'model': model, 'optimizer': optimizer}",
        )
    elif found:
        # Of several models the names may collide; then they are paths in the tree.
        one = len({module for module, _ in found}) == 1
        flat = [name if one else path_text((*module, *name.split("."))) for module, name in found]
    elif all("param_names" in group for group in groups):
        given: list[Name] = [str(name) for group in groups for name in group["param_names"]]
        flat = given if len(set(given)) == len(given) else flat
    names = iter(flat)
    return [[next(names) for _ in group["params"]] for group in groups]


def _own_state(optimizer: torch.optim.Optimizer, context: Context) -> dict[Any, Any]:
    """Return what an optimiser keeps under keys that are no parameters.

    Raises:
        WriteError: it is the state of a tensor, which has no name.
    """
    parameters = set(map(id, _parameters(optimizer)))
    own = {key: value for key, value in optimizer.state.items() if id(key) not in parameters}
    if any(isinstance(key, torch.Tensor) for key in own):
        remedy = "del optimizer.state[tensor], or give its parameter back to a group"
        refuse(
            context, "state of the optimiser's parameters", "state of a tensor that is in none of its groups", remedy
        )
    return own


def _record(optimizer: torch.optim.Optimizer, names: Sequence[Sequence[Name]], own: dict[Any, Any]) -> Record:
    placed = list(zip(_parameters(optimizer), chain.from_iterable(names), strict=True))
    state: dict[Any, Any] = {name: optimizer.state[p] for p, name in placed if p in optimizer.state}
    # A tuple of one is never the name of a parameter.
    state |= {(key,): value for key, value in own.items()}
    groups = [
        {**{key: value for key, value in group.items() if key not in _NAMES}, "params": list(group_names)}
        for group, group_names in zip(optimizer.param_groups, names, strict=True)
    ]
    return Record({"algorithm": type(optimizer).__name__, "state": state, "groups": groups}, label=LABEL)


@dataclass(slots=True)
class _Planned:
    """What goes where, found before anything is changed."""

    settings: list[tuple[dict[str, Any], str, Thunk]] = field(default_factory=list)
    """(group, key, new value)."""
    entries: list[tuple[Any, Thunk]] = field(default_factory=list)
    """(parameter or key of the optimiser's own, its new state)."""
    emptied: list[Any] = field(default_factory=list)
    """Parameters that have no state yet in what was saved."""


def _plan(
    optimizer: torch.optim.Optimizer, names: Sequence[Sequence[Name]], planner: Any, tree: Any, path: Path
) -> Thunk:
    algorithm = type(optimizer).__name__
    if not _is_state(tree):
        planner.problem("STATE_KIND", path, "the state of an optimiser", planner.what(tree), _HOW)
    elif tree["algorithm"] != algorithm:
        found = planner.what(tree["algorithm"])
        planner.problem("STATE_KIND", (*path, "algorithm"), algorithm, found, "build the same optimiser")
    elif (matched := _matched(optimizer, names, planner, tree, path)) is not None:
        planned = _Planned()
        for number, (group, stored) in enumerate(zip(optimizer.param_groups, tree["groups"], strict=True)):
            _plan_group(group, stored, planner, (*path, "groups", number), planned)
        _plan_state(optimizer, matched, tree, planner, (*path, "state"), planned)
        return lambda: _apply(optimizer, planned)
    return lambda: optimizer


_HOW = "save statetree.state({'model': model, 'optimizer': optimizer}), and restore both together"


def _is_state(tree: Any) -> bool:
    """Whether a tree is what `_record` makes, so far as it is the same for all optimisers."""
    if type(tree) is not Record or tree.label != LABEL or tree.names != ("algorithm", "state", "groups"):
        return False
    groups = tree["groups"]
    if type(tree["state"]) is not dict or type(groups) is not list:
        return False
    if not all(type(group) is dict and type(group.get("params")) is list for group in groups):
        return False
    names = [name for group in groups for name in group["params"]]
    return all(type(name) in (str, int) for name in names) and len(set(names)) == len(names)


def _matched(
    optimizer: torch.optim.Optimizer, names: Sequence[Sequence[Name]], planner: Any, tree: Record, path: Path
) -> dict[Name, tuple[Any, dict[str, Any]]] | None:
    """Return stored name → (parameter, its group), None if they cannot be brought together."""
    groups, stored = optimizer.param_groups, [group["params"] for group in tree["groups"]]
    path = (*path, "groups")
    if len(stored) != len(groups):
        return planner.problem("STATE_NAMES", path, f"{len(groups)} groups", f"{len(stored)} groups", _SAME)  # type: ignore[no-any-return]
    named = all(type(name) is str for name in chain(*stored, *names))
    if not named and not planner.by_position:
        which = "the stored state" if any(type(name) is int for name in chain(*stored)) else "this optimiser"
        remedy = f"{_HOW}; or pass by_position=True if the parameters are in the same order"
        planner.problem("STATE_NAMES", path, "parameters by name", f"positions only in {which}", remedy)
        return None
    out: dict[Name, tuple[Any, dict[str, Any]]] = {}
    for number, (group, ours, theirs) in enumerate(zip(groups, names, stored, strict=True)):
        at = (*path, number, "params")
        if not named and len(ours) != len(theirs):
            planner.problem("STATE_NAMES", at, f"{len(ours)} parameters", str(len(theirs)), _SAME)
            return None
        parameters = dict(zip(ours if named else theirs, group["params"], strict=True))
        _compare_names(parameters, theirs, planner, at)
        if isinstance(optimizer, torch.optim.LBFGS) and named and list(parameters) != theirs:
            remedy = "build it from the parameters in that order: LBFGS keeps vectors of all of them"
            planner.problem("STATE_NAMES", at, "the order of the stored state", "another order", remedy)
            return None
        out.update({name: (parameters[name], group) for name in theirs if name in parameters})
    return out


_SAME = "build it from the same parameters in the same groups"
_KEEP = "add it with migrate=, or pass strict=False to keep yours"


def _compare_names(parameters: dict[Name, Any], theirs: Sequence[Name], planner: Any, path: Path) -> None:
    for name in theirs:
        if name not in parameters:
            planner.problem("STATE_UNEXPECTED", path, "a parameter of this optimiser", repr(name), _SAME)
    for name in parameters:
        if name not in theirs:
            planner.problem("STATE_MISSING", path, f"the parameter {name!r}", "none of that name", _SAME)


# Groups


def _plan_group(group: dict[str, Any], stored: dict[str, Any], planner: Any, path: Path, planned: _Planned) -> None:
    for key in group:
        if key not in stored and key not in _NAMES | _MACHINE:
            planner.problem("STATE_MISSING", (*path, key), f"the setting {key!r}", "none", _KEEP)
    for key, value in stored.items():
        if key not in _NAMES | _MACHINE:
            planned.settings.append((group, key, _plan_setting(group, key, value, planner, (*path, key))))


def _plan_setting(group: dict[str, Any], key: str, value: Any, planner: Any, path: Path) -> Thunk:
    if key not in group:  # of a scheduler, such as initial_lr
        device = getattr(group.get("lr"), "device", None)
        return lambda: tensors_like(None, planner.plain(value), device)
    if _alike(group[key], value):
        return lambda: value
    return planner.value(group[key], value, path, strict=True)  # type: ignore[no-any-return]


def _alike(old: Any, new: Any) -> bool:
    """Whether a setting may take the place of another: a number that of any number, and None of any."""
    if type(old) is tuple:
        return type(new) is tuple and len(old) == len(new) and all(map(_alike, old, new))
    kinds = {type(old), type(new)} - {type(None)}
    return kinds <= {bool, int, float} or kinds == {str}


# State


def _plan_state(
    optimizer: torch.optim.Optimizer,
    matched: dict[Name, tuple[Any, dict[str, Any]]],
    tree: Record,
    planner: Any,
    path: Path,
    planned: _Planned,
) -> None:
    stored = {name for group in tree["groups"] for name in group["params"]}
    for name, entry in tree["state"].items():
        at = (*path, name)
        if type(name) is tuple and len(name) == 1:
            old = optimizer.state.get(name[0])
            planned.entries.append((name[0], lambda old=old, entry=entry: tensors_like(old, planner.plain(entry))))  # type: ignore[misc]
        elif name not in stored:
            planner.problem("STATE_UNEXPECTED", at, "state of a parameter in its groups", repr(name), _SAME)
        elif name in matched:
            _plan_entry(optimizer, matched[name], entry, planner, at, planned)
    planned.emptied += [parameter for name, (parameter, _) in matched.items() if name not in tree["state"]]
    for key in optimizer.state:
        if not isinstance(key, torch.Tensor) and (key,) not in tree["state"]:
            planner.problem("STATE_MISSING", (*path, (key,)), "a value", "none", _KEEP)


def _plan_entry(
    optimizer: torch.optim.Optimizer,
    place: tuple[Any, dict[str, Any]],
    entry: Any,
    planner: Any,
    path: Path,
    planned: _Planned,
) -> None:
    if type(entry) is not dict:
        planner.problem("STATE_KIND", path, "a dict", planner.what(entry), _SAME)
        return
    before = len(planner.problems)
    existing = optimizer.state.get(place[0], {})
    values = {
        key: _plan_value(key, value, existing.get(key), place, planner, (*path, key)) for key, value in entry.items()
    }
    # Half of an entry would be worse than none.
    if len(planner.problems) == before:
        planned.entries.append((place[0], lambda: {key: thunk() for key, thunk in values.items()}))


def _plan_value(key: str, value: Any, old: Any, place: tuple[Any, dict[str, Any]], planner: Any, path: Path) -> Thunk:
    parameter, group = place
    if isinstance(value, np.ndarray | LazyArray):
        if key in _LIKE_PARAMETER and tuple(value.shape) not in (tuple(parameter.shape), ()):
            found = f"{tuple(value.shape)}"
            planner.problem("STATE_SHAPE", path, f"shape {tuple(parameter.shape)}", found, _SAME)
            return lambda: old
        if isinstance(old, torch.Tensor) and tuple(old.shape) == tuple(value.shape):
            return planner.value(old, value, path, strict=True)  # type: ignore[no-any-return]
        if key in _LIKE_PARAMETER:
            value = planner.cast_to(value, dtype_of(parameter), path)
    device = _device(key, parameter, group)
    return lambda: _laid_like(parameter, tensors_like(old, planner.plain(value), device))


def _laid_like(parameter: torch.Tensor, value: Any) -> Any:
    """Return a tensor of a parameter's shape with its strides too: fused steps go through both by address."""
    if not isinstance(value, torch.Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _device(key: str, parameter: Any, group: dict[str, Any]) -> Any:
    """Return where a new tensor of the state goes: `step` stays on the CPU unless the optimiser wants it elsewhere."""
    on_device = key != "step" or group.get("capturable") or group.get("fused")
    return parameter.device if on_device else torch.device("cpu")


def _apply(optimizer: torch.optim.Optimizer, planned: _Planned) -> torch.optim.Optimizer:
    for group, key, thunk in planned.settings:
        group[key] = thunk()
    for parameter in planned.emptied:
        optimizer.state.pop(parameter, None)
    for key, thunk in planned.entries:
        optimizer.state[key] = thunk()
    return optimizer
