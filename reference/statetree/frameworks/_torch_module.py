"""Modules of PyTorch: dicts in dicts by the names of their parts. Source: docs/restore.md.

Parameters and buffers are shown as they are and filled in place. A module that has a say in how its state is written
or read (a `state_dict` or hooks of its own) gets its state through `load_state_dict`, so that its code runs.
"""

import copy
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain, count
from typing import Any

import torch

from statetree.errors import shown
from statetree.frameworks._python import fields_parts
from statetree.frameworks._torch_tensor import GATHER, fill, is_dense, place, tensors_like, watch
from statetree.frameworks.parts import Context, Found, Parts, Slot, refuse
from statetree.path import Path
from statetree.tree import namedtuple_fields

__all__ = ["held", "module_parts", "names_of"]

State = Mapping[str, Any]


def module_parts(module: torch.nn.Module, context: Context) -> Found:
    """Return a module as dicts in dicts, without the names of wrappers."""
    outer, module = module, _unwrapped(module)
    for part in module.modules():
        _check(part, module, context)
    live = _live(module)
    state = _state_of(module)
    _watch(module, live, context)
    if _has_its_say(module, state, {id(tensor) for tensor in live}):
        return _through_its_code(outer, module, state, context)
    parts = {name: _extra_state(module, name) if _is_extra(name) else value for name, value in state.items()}
    return Parts("dict", list(_nested(module, parts, context).items()), lambda new: outer)


def _check(part: torch.nn.Module, module: torch.nn.Module, context: Context) -> None:
    """Refuse a module if one of its modules has state that its state_dict does not show."""
    for base in type(part).__mro__:
        if base.__name__ == "FullyShardedDataParallel":
            refuse(context, "a module with whole tensors", "a module that is sharded by FSDP", GATHER)
        if part is not module and "__statetree__" in vars(base):
            what = f"{shown(type(part).__name__)} inside of it, which has __statetree__"
            refuse(
                context,
                "a module whose modules keep to state_dict",
                what,
                "give that get_extra_state, or this __statetree__ too",
            )


def _state_of(module: torch.nn.Module) -> State:
    # Who writes a state_dict of its own need not know keep_vars.
    own = type(module).state_dict is not torch.nn.Module.state_dict
    state: State = module.state_dict() if own else module.state_dict(keep_vars=True)
    return state


def _live(module: torch.nn.Module) -> list[torch.Tensor]:
    return list(chain(module.parameters(), module.buffers()))


def _watch(module: torch.nn.Module, live: list[torch.Tensor], context: Context) -> None:
    for tensor in filter(is_dense, live):
        watch(tensor, context)
    context.versions.append(lambda: list(map(id, _live(module))) == list(map(id, live)))


def _has_its_say(module: torch.nn.Module, state: State, live: set[int]) -> bool:
    if not all(id(value) in live or _is_extra(name) for name, value in state.items()):
        return True
    return any(
        part._load_state_dict_pre_hooks or part._load_state_dict_post_hooks or _overrides(type(part))
        for part in module.modules()
    )


def _overrides(kind: type) -> bool:
    """Whether a class reads its state by itself; those of torch.nn do so only for files of older versions."""
    return any(
        not vars(base).keys().isdisjoint(("load_state_dict", "_load_from_state_dict"))
        for base in kind.__mro__
        if not f"{base.__module__}.".startswith(("torch.nn.", "torch.jit."))
    )


def _is_extra(name: str) -> bool:
    return name.rpartition(".")[2] == "_extra_state"


def _extra_state(module: torch.nn.Module, name: str) -> Slot:
    owner = module.get_submodule(name.rpartition(".")[0])

    def put(state: Any) -> Any:
        owner.set_extra_state(tensors_like(owner.get_extra_state(), state))
        return owner

    return Slot(owner.get_extra_state, put, strict=False, hold=partial(held, owner.get_extra_state, put))


def held(get: Callable[[], Any], put: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return what puts the present value back: a copy of it, where one can be made, as it may be changed in place."""
    old = get()
    with suppress(Exception):
        old = copy.deepcopy(old)
    return partial(put, old)


# Names


def _unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module that wrappers are around."""
    while (name := _wrapped(module)) is not None:
        module = getattr(module, name)
    return module


def _wrapped(module: torch.nn.Module) -> str | None:
    """Return the name under which a wrapper of data parallel training or torch.compile has its module, if it is one."""
    if isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        return "module"
    return "_orig_mod" if type(module).__name__ == "OptimizedModule" else None


def _plain_names(module: torch.nn.Module, names: Iterable[str]) -> list[str]:
    """Return names in a module without those that wrappers inside of it add."""
    found = ((path, _wrapped(part)) for path, part in module.named_modules(remove_duplicate=False))
    inner = {f"{path}.{name}" for path, name in found if name is not None}
    return [_without(name, inner) if inner else name for name in names]


def _without(name: str, inner: set[str]) -> str:
    keys = name.split(".")
    return ".".join(key for end, key in enumerate(keys, 1) if ".".join(keys[:end]) not in inner)


def names_of(context: Context) -> dict[int, tuple[Path, str]]:
    """Return id of parameter → (path of its module, its name in the state of that), for all modules known so far.

    A parameter that is tied has its first name.
    """
    if context.names is None:
        context.names = {}
        context.inner.insert(0, ((), context.root))
    while context.inner:
        path, value = context.inner.pop(0)
        _collect(value, path, context.names, set())
    return context.names


def _collect(value: Any, path: Path, names: dict[int, tuple[Path, str]], seen: set[int]) -> None:
    if id(value) in seen:
        return
    seen.add(id(value))
    if torch.nn.Module in type(value).__mro__:
        module = _unwrapped(value)
        found = dict(module.named_parameters())
        for name, parameter in zip(_plain_names(module, found), found.values(), strict=True):
            names.setdefault(id(parameter), (path, name))
        return
    for key, part in _items(value):
        _collect(part, (*path, key), names, seen)


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """Return the parts of what may hold a module and its optimiser: a container, or an object of declared fields."""
    kind = type(value)
    if dict in kind.__mro__:
        return dict.items(value)
    base = next((base for base in (list, tuple, deque) if base in kind.__mro__), None)
    if base is not None:
        names = namedtuple_fields(kind)
        return zip(count() if names is None else names, base.__iter__(value), strict=False)
    fields = [*getattr(kind, "__dataclass_fields__", ()), *(a.name for a in getattr(kind, "__attrs_attrs__", ()))]
    return fields_parts(value, fields, frozen=True).items if fields else ()


def _nested(module: torch.nn.Module, state: State, context: Context) -> dict[str, Any]:
    """Return a state dict as dicts in dicts, by the names between the dots."""
    out: dict[str, Any] = {}
    names = _plain_names(module, state)
    outer = {name[:end] for name in names for end, sign in enumerate(name) if sign == "."}
    for name, value in zip(names, state.values(), strict=True):
        if name in outer:
            remedy = "rename it, or keep the flat dict, state(module.state_dict())"
            refuse(context, "names of which none continues another", repr(name), remedy)
        *keys, last = name.split(".")
        at = out
        for key in keys:
            at = at.setdefault(key, {})
        at[last] = value
    return out


# Modules that read their state themselves


def _through_its_code(outer: torch.nn.Module, module: torch.nn.Module, state: State, context: Context) -> Slot:
    plain_names = _plain_names(module, state)

    def parts(state: State) -> dict[str, Any]:
        return _nested(module, {name: _part(value) for name, value in state.items()}, context)

    def put(new: State) -> torch.nn.Module:
        values = [_at(new, name.split(".")) for name in plain_names]
        module.load_state_dict(_like(state, zip(state, values, strict=True)))
        return outer

    return Slot(lambda: parts(state), put, copied=lambda: parts(_copied(state)), hold=lambda: _held(module))


def _part(value: Any) -> Any:
    """Return what is no tensor as a value that the module judges itself."""
    if isinstance(value, torch.Tensor):
        return value
    return Slot(lambda: value, lambda new: tensors_like(value, new), strict=False)


def _at(state: Any, keys: Iterable[str]) -> Any:
    for key in keys:
        state = state[key]
    return state.get() if isinstance(state, Slot) else state  # one for which there was nothing


def _like(state: State, items: Iterable[tuple[str, Any]]) -> Any:
    """Return a state dict with other values, of the same versions: what its modules wrote beside it."""
    new: Any = OrderedDict(items)
    new._metadata = getattr(state, "_metadata", {})
    return new


def _copied(state: State) -> Any:
    """Return a state dict with tensors of its own, tied as they are; all else goes as it is."""
    made: dict[Any, torch.Tensor] = {}
    return _like(
        state,
        (
            (name, made.setdefault(place(value), value.detach().clone()) if is_dense(value) else value)
            for name, value in state.items()
        ),
    )


def _held(module: torch.nn.Module) -> Callable[[], None]:
    """Return what puts a module back as it is now, even if its own code fails again."""
    state = _copied(_state_of(module))
    tensors = [(tensor, tensor.detach().clone()) for tensor in _live(module) if is_dense(tensor)]

    def undo() -> None:
        with suppress(Exception):
            module.load_state_dict(state)
        for tensor, old in tensors:
            fill(tensor, old)

    return undo
