"""Values in the likeness of others, for code that judges its state itself. Source: docs/restore.md."""

import copy
from collections import OrderedDict
from typing import Any

import numpy as np

from statetree.frameworks import look
from statetree.frameworks.parts import PLAIN, Context, Leaf
from statetree.restoring.nodes import dtype_of, is_array, is_empty_tuple, read
from statetree.restoring.putting import Thunk
from statetree.tree import Record, namedtuple_fields

__all__ = ["Likeness"]


class Likeness:
    """Makes values of nodes of one tree; what is one array in the tree is one again."""

    def __init__(self) -> None:
        self.planned: dict[int, Thunk] = {}
        """Id of an object inside of a template → what puts its state into it and returns it."""
        self._arrays: dict[Any, Any] = {}
        self._keep: list[Any] = []

    def of(self, template: Any, src: Any) -> Any:
        """Return the value of `src` in the types of `template`, as far as it goes; nothing is refused."""
        if id(template) in self.planned:
            return self.planned[id(template)]()
        if is_array(src):
            return self._array(template, src)
        if is_empty_tuple(src) and template is not None:
            return template
        if isinstance(src, dict):
            return self._dict(template, src)
        if isinstance(src, Record):
            return self._record(template, src)
        if isinstance(src, list | tuple):
            old = list(template) if isinstance(template, list | tuple) else []
            return type(src)(self.of(old[k] if k < len(old) else None, part) for k, part in enumerate(src))
        return src

    def _dict(self, template: Any, src: dict[Any, Any]) -> Any:
        known = template if isinstance(template, dict) else {}
        new = {key: self.of(known.get(key), part) for key, part in src.items()}
        if type(known) in (dict, OrderedDict):
            return new
        # A dict of another class, such as Counter, with other items.
        out = copy.copy(known)
        out.clear()
        out.update(new)
        return out

    def _record(self, template: Any, src: Record) -> Any:
        kind = type(template)
        names = namedtuple_fields(kind)
        if names is not None and set(names) == set(src.names):
            return tuple.__new__(kind, [self.of(getattr(template, name), src[name]) for name in names])
        fields = dict(template.items()) if isinstance(template, Record) else {}
        return Record([(name, self.of(fields.get(name), part)) for name, part in src.items()], label=src.label)

    def _array(self, template: Any, src: Any) -> Any:
        key = id(src), type(template), str(getattr(template, "device", None))
        if key not in self._arrays:
            self._keep.append(src)
            self._arrays[key] = self._new_array(template, read(src))
        return self._arrays[key]

    def _new_array(self, template: Any, array: Any) -> Any:
        found = look(template, Context(template, path=[()])) if template is not None else PLAIN
        if isinstance(found, Leaf) and not found.holds:
            alike = (found.dtype, found.shape) == (dtype_of(array), array.shape)
            return found.write(array) if alike else np.array(array)
        if type(template).__module__ == "torch":
            from statetree.frameworks._torch_tensor import new_tensor

            return new_tensor(array, template.device)
        return np.array(array)
