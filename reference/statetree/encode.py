"""Trees to nodes: the encoding of every kind. Source: spec sections 2 and 4.2."""

import struct
from base64 import b64encode
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from statetree.dtype import BY_NAME, DType, dtype_name
from statetree.errors import fail, shown
from statetree.limits import DEPTH, RANK, SAME_HASH, Limits, chosen_hash
from statetree.manifest import SAFE, Node
from statetree.naming import key_label
from statetree.path import Path
from statetree.tree import Record, Symbol, namedtuple_fields

__all__ = ["Encoded", "encode", "tie_key"]

_SCALARS: dict[type, DType] = {row.numpy.type: row for row in BY_NAME.values()} | {
    # Integers of C that NumPy has under two types have one dtype.
    kind: BY_NAME[name]
    for kind in np.sctypeDict.values()
    if (name := dtype_name(np.dtype(kind))) is not None
}
_CONTAINERS = "dict, list, tuple, Record or namedtuple"
_LEAVES = "NumPy array or scalar, int, float, complex, bool, None, str, bytes or Symbol"


@dataclass(slots=True)
class Encoded:
    """A tree as a node and the arrays that the node names by position."""

    node: Node = None
    """The root node."""
    arrays: "list[np.ndarray[Any, Any]]" = field(default_factory=list)
    """Distinct arrays in first-met order, as the caller gave them."""
    labels: list[str] = field(default_factory=list)
    """Label of each array's first path."""
    first_path: Path = ()
    """Path of the first array."""


def encode(tree: Any, limits: Limits) -> Encoded:
    """Return `tree` encoded; nothing of it is copied or changed, and no method of a foreign object is called.

    Raises:
        WriteError: a value is outside the data model, or the tree contains itself.
        LimitError: the tree is too deep or too large.
    """
    encoder = _Encoder(limits)
    try:
        encoder.out.node = encoder.node(tree, "", 0)
    except RuntimeError as error:
        if "changed" not in str(error):
            raise
        fail(
            "WRITE_CHANGED",
            "a tree that rests while it is saved",
            str(error),
            remedy="save a snapshot",
            path=tuple(encoder.path),
        )
    return encoder.out


class _Encoder:
    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.out = Encoded()
        self.path: list[Any] = []
        self.nodes = 0
        self.open: set[int] = set()
        self.done: dict[int, tuple[Node, int, int]] = {}
        self.indices: dict[Any, int] = {}
        self.deepest = 0
        self.views = False
        self.dtypes: dict[int, np.dtype[Any]] = {}
        self.short = min(1000, limits.key_bytes + 1)

    def fail(self, code: str, expected: str, found: str, remedy: str | None = None) -> NoReturn:
        fail(code, expected, found, path=tuple(self.path), remedy=remedy)

    def node(self, value: Any, label: str, depth: int) -> Node:
        self.nodes += 1
        kind = type(value)
        if kind is np.ndarray or kind is np.memmap:
            return {"array": self.array(value, label)}
        leaf = _LEAF_ENCODERS.get(kind)
        if leaf is not None:
            return leaf(self, value)
        fields = None
        if kind not in _CONTAINER_KINDS:
            fields = namedtuple_fields(kind)
            if fields is None or not _is_plain(value, fields):
                self.unsupported(value)
        return self.container(value, fields, label, depth + 1)

    def container(self, value: Any, fields: tuple[str, ...] | None, label: str, depth: int) -> Node:
        """Encode a container; where the same object is met again, its node is used again, so that sharing is cheap."""
        known = self.done.get(id(value))
        if known is not None:
            node, nodes, height = known
            self.nodes += nodes
            self.check_size(depth + height)
            return node
        if id(value) in self.open:
            self.fail(
                "WRITE_CYCLE",
                "a tree",
                "a container that holds itself",
                "break the cycle; a state tree has no references upwards",
            )
        wide = 1 if type(value) is list or type(value) is tuple else 2
        self.check_size(depth, wide * (len(value) if fields is None else len(fields)))
        self.open.add(id(value))
        before, outer = self.nodes, self.deepest
        self.deepest = depth
        node = self.items(value, fields, label, depth)
        self.open.discard(id(value))
        self.done[id(value)] = node, self.nodes - before, self.deepest - depth
        self.deepest = max(outer, self.deepest)
        return node

    def check_size(self, depth: int, more: int = 0) -> None:
        """Refuse a container at `depth` with `more` nodes below it, if that is too much."""
        self.deepest = max(self.deepest, depth)
        if depth > DEPTH:
            self.fail(
                "LIMIT_DEPTH",
                f"at most {DEPTH} levels of containers",
                f"level {depth}",
                "flatten the tree; this limit is fixed",
            )
        if self.nodes + more > self.limits.nodes:
            self.fail(
                "LIMIT_NODES",
                f"at most {self.limits.nodes} nodes",
                "more",
                "save large data as arrays, or raise limits=Limits(nodes=…)",
            )

    def items(self, value: Any, fields: tuple[str, ...] | None, label: str, depth: int) -> Node:
        kind = type(value)
        if kind is dict or kind is OrderedDict:
            node = {"dict": self.pairs(value.items(), label, depth, _Encoder.key)}
            if len(value) > SAME_HASH:
                self.check_hashes(value)
            return node
        if kind is list:
            return {"list": self.sequence(value, label, depth)}
        if kind is tuple:
            return {"tuple": self.sequence(value, label, depth)}
        if fields is None:
            name, pairs = value.label, value.items()
        else:
            name, pairs = kind.__name__, list(zip(fields, tuple.__iter__(value), strict=True))
        if name is not None:
            self.text(name, "LIMIT_KEY", self.limits.key_bytes)
        return {"record": [name, *self.pairs(pairs, label, depth, _Encoder.field_name)]}

    def check_hashes(self, keys: Iterable[Any]) -> None:
        """Refuse keys that no reader would put into a hash table."""
        hashes = Counter(chosen_hash(key) for key in keys)
        del hashes[None]
        if hashes and max(hashes.values()) > SAME_HASH:
            expected, found = "keys that a hash table tells apart", f"more than {SAME_HASH} of one hash"
            self.fail("LIMIT_TIME", expected, found, "save a list of pairs, or other keys; this limit is fixed")

    def pairs(self, items: Any, label: str, depth: int, encode_key: Any) -> list[Node]:
        nodes: list[Node] = []
        path = self.path
        for key, value in items:
            path.append(key)
            if type(key) is str:
                if len(key) < self.short and key.isascii():
                    nodes.append(key)
                    self.nodes += 1
                else:
                    nodes.append(self.key(key, depth))
            else:
                path.pop()
                nodes.append(encode_key(self, key, depth))
                path.append(key)
            nodes.append(self.node(value, f"{label}.{key_label(key)}", depth))
            path.pop()
        return nodes

    def sequence(self, items: Sequence[Any], label: str, depth: int) -> list[Node]:
        nodes: list[Node] = []
        path = self.path
        for position, value in enumerate(items):
            path.append(position)
            nodes.append(self.node(value, f"{label}.{position}", depth))
            path.pop()
        return nodes

    def key(self, key: Any, depth: int) -> Node:
        kind = type(key)
        if kind is tuple:
            self.nodes += 1
            self.check_size(depth + 1, len(key))
            return {"tuple": [self.key(k, depth + 1) for k in key]}
        if kind is str or kind is Symbol:
            self.text(key if kind is str else key.name, "LIMIT_KEY", self.limits.key_bytes)
        elif kind is bytes and len(key) > self.limits.key_bytes:
            self.fail(
                "LIMIT_KEY",
                f"keys of at most {self.limits.key_bytes} bytes",
                f"{len(key)} bytes",
                "use a shorter key",
            )
        elif kind not in _KEY_KINDS:
            self.fail(
                "KEY_TYPE",
                "a key that is str, int, bool, None, bytes, Symbol or a tuple of these",
                f"a key of type {_type_name(kind)}",
                "use int(key)" if isinstance(key, np.integer) else "use one of these; for a float key, its repr",
            )
        self.nodes += 1
        encoder = _LEAF_ENCODERS[kind]
        return encoder(self, key)

    def field_name(self, name: str, depth: int) -> Node:
        self.text(name, "LIMIT_KEY", self.limits.key_bytes)
        return name

    def text(self, text: str, code: str, limit: int) -> str:
        try:
            size = len(text) if text.isascii() else len(text.encode())
        except UnicodeEncodeError:
            self.fail(
                "WRITE_TEXT",
                "text that UTF-8 can hold",
                f"a lone surrogate in {shown(ascii(text))}",
                "decode the bytes with the right encoding, or save them as bytes",
            )
        if size > limit:
            what = "key_bytes" if code == "LIMIT_KEY" else "string_bytes"
            shorter = "use a shorter one" if code == "LIMIT_KEY" else "save it as a uint8 array"
            self.fail(
                code, f"text of at most {limit} bytes", f"{size} bytes", f"{shorter}, or raise limits=Limits({what}=…)"
            )
        return text

    def integer(self, value: int) -> Node:
        if -SAFE <= value <= SAFE:
            return value
        if value.bit_length() > 4 * self.limits.integer_digits:
            self.fail(
                "LIMIT_INTEGER",
                f"an int of at most {self.limits.integer_digits} hexadecimal digits",
                "a longer one",
                "raise limits=Limits(integer_digits=…)",
            )
        return {"int": f"{value:x}"}

    def bytes_(self, value: bytes) -> Node:
        if len(value) > self.limits.string_bytes:
            self.fail(
                "LIMIT_STRING",
                f"bytes of at most {self.limits.string_bytes}",
                f"{len(value)} bytes",
                "save it as a uint8 array, or raise limits=Limits(string_bytes=…)",
            )
        return {"bytes": b64encode(value).decode()}

    def array(self, array: "np.ndarray[Any, Any]", label: str) -> int:
        index = self.indices.get(id(array))
        if index is not None:
            return index
        dtype = array.dtype
        if self.dtypes.get(id(dtype)) is not dtype:
            if dtype_name(dtype) is None:
                self.unsupported_dtype(dtype)
            self.dtypes[id(dtype)] = dtype
        if array.ndim > RANK:
            self.fail("LIMIT_RANK", f"at most {RANK} dimensions", f"{array.ndim}", "reshape the array")
        if array.nbytes > SAFE or (array.size == 0 and max(array.shape) > SAFE):
            self.fail("WRITE_TYPE", "extents and bytes up to 2^53−1", f"shape {array.shape}", "save a smaller array")
        key = self.tie_key(array)
        index = self.indices.get(key)
        if index is None:
            index = len(self.out.arrays)
            if index >= self.limits.arrays:
                self.fail(
                    "LIMIT_ARRAYS",
                    f"at most {self.limits.arrays} arrays",
                    "more",
                    "join small arrays, or raise limits=Limits(arrays=…)",
                )
            self.out.arrays.append(array)
            self.out.labels.append(label)
            if not index:
                self.out.first_path = tuple(self.path)
            self.indices[key] = index
        self.indices[id(array)] = index
        return index

    def tie_key(self, array: "np.ndarray[Any, Any]") -> Any:
        """Return `tie_key(array)`; while all arrays own their memory the object itself will do, and is quicker."""
        if array.base is None and not self.views:
            return id(array)
        if not self.views:
            self.views = True
            self.indices.update((tie_key(known), i) for i, known in enumerate(self.out.arrays))
        return tie_key(array)

    def unsupported_dtype(self, dtype: "np.dtype[Any]") -> NoReturn:
        if dtype.hasobject and dtype.kind != "T":
            self.fail(
                "WRITE_OBJECT_DTYPE",
                "an array of numbers",
                "an array of Python objects",
                "save its elements as a list; object arrays are pickles and are refused for long-term storage",
            )
        self.fail(
            "WRITE_DTYPE",
            "an array of a dtype of the format",
            f"dtype {shown(str(dtype))}",
            _DTYPE_REMEDY.get("struct" if dtype.names else dtype.kind, "convert it to one of the dtypes of the format"),
        )

    def unsupported(self, value: Any) -> NoReturn:
        kind = type(value)
        self.fail("WRITE_TYPE", "a value of a state tree", f"an object of type {_type_name(kind)}", _remedy(kind))


_DTYPE_REMEDY = {
    "M": "save .view('int64') and the unit beside it",
    "m": "save .view('int64') and the unit beside it",
    "U": "save .tolist(), a list of str",
    "S": "save .tolist(), a list of bytes",
    "T": "save .tolist(), a list of str",
    "struct": "save each field as an array of its own",
    "f": "convert it with .astype('float64') where that loses nothing",
    "c": "convert it with .astype('complex128') where that loses nothing",
}


def _type_name(kind: type) -> str:
    module = kind.__module__ if type(kind.__module__) is str else "?"
    return shown(kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}")


def _remedy(kind: type) -> str:
    name = kind.__name__
    module = kind.__module__.partition(".")[0] if type(kind.__module__) is str else ""
    for base, remedy in _REMEDIES:
        if base in kind.__mro__:
            return remedy
    if (module, name) == ("statetree", "LazyArray"):
        return "read it with numpy.asarray(a), or convert the file with statetree.convert"
    if module == "scipy":
        return (
            "save its arrays, for instance {'data': m.data, 'indices': m.indices, 'indptr': m.indptr, 'shape': m.shape}"
        )
    if name in ("function", "builtin_function_or_method", "method", "type", "module"):
        return "leave it out, or save what it is made of; statetree.state(model) does that"
    made = f"what it is made of: {_CONTAINERS}, with {_LEAVES} as leaves"
    return f"save statetree.state(x) of a model, an optimiser or a dataclass, of another object {made}"


_REMEDIES: tuple[tuple[type, str], ...] = (
    (np.ma.MaskedArray, "save {'data': a.data, 'mask': a.mask}"),
    (np.ndarray, "save numpy.asarray(a), a plain array"),
    (np.datetime64, "save numpy.int64(x) and the unit beside it"),
    (np.timedelta64, "save numpy.int64(x) and the unit beside it"),
    (np.longdouble, "save float(x) where that loses nothing"),
    (np.clongdouble, "save complex(x) where that loses nothing"),
    (OrderedDict, "save dict(d)"),
    (dict, "save dict(d)"),
    (bool, "save bool(x)"),
    (int, "save int(x)"),
    (float, "save float(x)"),
    (str, "save str(x)"),
    (bytes, "save bytes(x)"),
    (list, "save list(x)"),
    (tuple, "save tuple(x)"),
    (set, "save sorted(x), a list"),
    (frozenset, "save sorted(x), a list"),
    (bytearray, "save bytes(x)"),
    (memoryview, "save bytes(x)"),
    (range, "save list(x)"),
)


def _is_plain(value: Any, fields: tuple[str, ...]) -> bool:
    """Whether a namedtuple holds its fields and nothing beside them, so that saving it loses nothing."""
    try:
        more = object.__getattribute__(value, "__dict__")
    except AttributeError:
        more = {}
    return len(set(fields)) == len(fields) == tuple.__len__(value) and not more


_CONTAINER_KINDS = frozenset((dict, OrderedDict, list, tuple, Record))
_KEY_KINDS = frozenset((str, int, bool, type(None), bytes, Symbol))


def _float_bits(value: float) -> str:
    return struct.pack(">d", value).hex()


def _scalar(_: _Encoder, value: Any) -> Node:
    row = _SCALARS[type(value)]
    raw = value.tobytes()
    if row.complex:
        half = row.itemsize // 2
        return {"scalar": [row.name, raw[:half][::-1].hex(), raw[half:][::-1].hex()]}
    if row.top is not None:
        raw = bytes([raw[0] & row.top])
    return {"scalar": [row.name, raw[::-1].hex()]}


_LEAF_ENCODERS: dict[type, Callable[[_Encoder, Any], Node]] = {
    type(None): lambda _, value: value,
    bool: lambda _, value: value,
    int: _Encoder.integer,
    float: lambda _, value: {"float": _float_bits(value)},
    complex: lambda _, value: {"complex": [_float_bits(value.real), _float_bits(value.imag)]},
    str: lambda encoder, value: encoder.text(value, "LIMIT_STRING", encoder.limits.string_bytes),
    bytes: _Encoder.bytes_,
    Symbol: lambda encoder, value: {"symbol": encoder.text(value.name, "LIMIT_KEY", encoder.limits.key_bytes)},
    **dict.fromkeys(_SCALARS, _scalar),
}


def tie_key(array: "np.ndarray[Any, Any]") -> Any:
    """Return what two tied arrays have in common: the object, or address, dtype, shape and strides."""
    if array.size == 0:
        return id(array)
    return array.__array_interface__["data"][0], array.dtype, array.shape, array.strides
