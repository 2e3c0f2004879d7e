"""Values of a state tree that Python has no type for: symbols and records. Source: spec section 2."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn

__all__ = ["Record", "Symbol", "namedtuple_fields"]


class Symbol:
    """An interned name such as Julia's `:relu`; never equal to the str of the same text.

    >>> Symbol("relu"), Symbol("relu") == "relu", Symbol("relu") == Symbol("relu")
    (Symbol('relu'), False, True)
    """

    __slots__ = ("name",)
    name: str
    """Its text."""

    def __init__(self, name: str) -> None:
        if type(name) is not str:
            raise TypeError(f"expected the name of a symbol as str, got {type(name).__name__}")
        object.__setattr__(self, "name", name)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Symbol cannot be changed")

    def __reduce__(self) -> tuple[Any, ...]:
        return Symbol, (self.name,)

    def __eq__(self, other: object) -> bool:
        return type(other) is Symbol and self.name == other.name

    def __hash__(self) -> int:
        return hash((Symbol, self.name))

    def __repr__(self) -> str:
        return f"Symbol({self.name!r})"


class Record:
    """Named fields in order, under an inert label or none: what a struct or a namedtuple leaves behind.

    Field names are any text. Values are read as `record["σ²"]`, or as attributes where the name is an
    identifier that Record does not use itself; iteration gives the values.

    >>> r = Record({"weight": 1, "σ²": 2}, label="BatchNorm")
    >>> r.weight, r["σ²"], r.label, r.names, list(r)
    (1, 2, 'BatchNorm', ('weight', 'σ²'), [1, 2])

    Args:
        fields: name → value, or (name, value) pairs; names are unique.
        label: a name for people and adapters; nothing looks it up.
    """

    __slots__ = ("_by_name", "label", "names")
    label: str | None
    """Inert label, or None."""
    names: tuple[str, ...]
    """Field names in order."""
    _by_name: dict[str, Any]

    def __init__(self, fields: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), *, label: str | None = None) -> None:
        pairs = list(fields.items() if isinstance(fields, Mapping) else fields)
        by_name = dict(pairs)
        if any(type(name) is not str for name in by_name):
            raise TypeError("expected field names as str")
        if len(by_name) != len(pairs):
            raise ValueError("expected unique field names, got the same name twice")
        if label is not None and type(label) is not str:
            raise TypeError(f"expected a label as str or None, got {type(label).__name__}")
        object.__setattr__(self, "_by_name", by_name)
        object.__setattr__(self, "label", label)
        object.__setattr__(self, "names", tuple(by_name))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Record cannot be changed: build a new one")

    def __reduce__(self) -> tuple[Any, ...]:
        return _record, (tuple(self.items()), self.label)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_by_name" or name not in self._by_name:
            raise AttributeError(f"Record has no field {name!r}")
        return self._by_name[name]

    def __getitem__(self, name: str) -> Any:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Any]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self.names]

    def __repr__(self) -> str:
        fields = ", ".join(f"{name!r}: {value!r}" for name, value in self.items())
        return f"Record({{{fields}}}, label={self.label!r})" if self.label is not None else f"Record({{{fields}}})"

    def items(self) -> list[tuple[str, Any]]:
        """Return the (name, value) pairs in order."""
        return list(self._by_name.items())


def _record(pairs: tuple[tuple[str, Any], ...], label: str | None) -> Record:
    return Record(pairs, label=label)


def namedtuple_fields(kind: type) -> tuple[str, ...] | None:
    """Return the field names if `kind` is a namedtuple class, else None; runs no code of `kind`."""
    if tuple not in kind.__mro__ or kind is tuple:
        return None
    for base in kind.__mro__:
        fields = vars(base).get("_fields")
        if type(fields) is tuple and all(type(name) is str for name in fields):
            return fields
    return None
