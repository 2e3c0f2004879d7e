"""Nodes to trees: every node has one form, and all others are refused. Source: spec sections 2 and 4.2."""

import re
import struct
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from statetree.dtype import BY_NAME
from statetree.errors import fail, raise_problem, shown
from statetree.limits import DEPTH, SAME_HASH, Limits, chosen_hash
from statetree.manifest import SAFE, Node, dtype_problem
from statetree.path import Path
from statetree.tree import Record, Symbol

__all__ = ["Decoder", "first_paths"]

_INT = re.compile(r"-?[1-9a-f][0-9a-f]*")
_HEX16 = re.compile(r"[0-9a-f]{16}")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")
_REMEDY = "write the file with a conforming writer"
_ACCEPTED = Limits(nodes=SAFE, key_bytes=SAFE, string_bytes=SAFE, integer_digits=SAFE)
"""What was accepted once is not held against limits again."""


class Decoder:
    """Decodes the node of one manifest; stops at the first thing that is wrong.

    Args:
        arrays: what stands for array 0, 1, … in the tree; the same object wherever the array is met.
        limits: what is refused as too large.
    """

    def __init__(self, arrays: Sequence[Any], limits: Limits) -> None:
        self._arrays = arrays
        self._limits = limits
        self.path: list[Any] = []
        """Where the decoder is; whoever decodes node by node keeps it."""
        self._seen = 0
        self._nodes = 1

    def decode(self, node: Node) -> Any:
        """Return the tree of the root node.

        Raises:
            InvalidError: the node breaks a rule; the error has the path.
            LimitError: it is deeper or larger than allowed.
        """
        tree = self.node(node, 0)
        if self._seen != len(self._arrays):
            self._fail("ARRAY_ORPHAN", "every array of the table in the tree", f"array {self._seen} nowhere")
        return tree

    def _fail(self, code: str, expected: str, found: str, remedy: str = _REMEDY) -> NoReturn:
        fail(code, expected, found, path=tuple(self.path), remedy=remedy)

    def node(self, node: Node, depth: int) -> Any:
        """Return the tree of a node; `depth` is the number of containers around it."""
        kind = type(node)
        if kind is str:
            return self._text(node, "LIMIT_STRING", self._limits.string_bytes)
        if kind is int:
            return self._small(node)
        if node is None or kind is bool:
            return node
        if kind is not dict or len(node) != 1:
            self._fail(
                "NODE_KIND",
                "a node: null, a boolean, an integer, a string or an object with one member",
                _shape(node),
            )
        ((name, value),) = node.items()
        decode = _DECODERS.get(name)
        if decode is None:
            self._fail("NODE_KIND", f"one of {', '.join(_DECODERS)}", repr(shown(name)))
        return decode(self, value, depth)

    def _small(self, value: int) -> int:
        if not -SAFE <= value <= SAFE:
            self._fail("INT_FORM", 'an integer within ±(2^53−1), or {"int": …}', "a larger JSON number")
        return value

    def _array(self, value: Any, depth: int) -> Any:
        if type(value) is not int or not 0 <= value < len(self._arrays):
            self._fail("ARRAY_INDEX", f"an index below {len(self._arrays)}", _shape(value))
        if value >= self._seen:
            if value > self._seen:
                self._fail("ARRAY_ORDER", f"array {self._seen} to be met first", f"array {value}")
            self._seen += 1
        return self._arrays[value]

    def enter(self, value: Any, name: str, depth: int) -> int:
        """Begin a container that has `value` below it, and return the depth of what it holds."""
        if type(value) is not list:
            self._fail("SCHEMA_TYPE", f"'{name}' as an array", _shape(value))
        if depth >= DEPTH:
            self._fail(
                "LIMIT_DEPTH",
                f"at most {DEPTH} levels of containers",
                f"level {depth + 1}",
                "this limit is fixed",
            )
        self._nodes += len(value)
        if self._nodes > self._limits.nodes:
            self._fail("LIMIT_NODES", f"at most {self._limits.nodes} nodes", "more", "raise limits=Limits(nodes=…)")
        return depth + 1

    def _sequence(self, value: Any, depth: int) -> list[Any]:
        depth = self.enter(value, "list or tuple", depth)
        path, decode = self.path, self.node
        out: list[Any] = []
        for position, node in enumerate(value):
            path.append(position)
            out.append(decode(node, depth))
            path.pop()
        return out

    def _tuple(self, value: Any, depth: int) -> tuple[Any, ...]:
        return tuple(self._sequence(value, depth))

    def _dict(self, value: Any, depth: int) -> dict[Any, Any]:
        depth = self.enter_dict(value, depth)
        out: dict[Any, Any] = {}
        hashes: dict[int, int] = {}
        arrays, count, short = self._arrays, len(self._arrays), min(1000, self._limits.key_bytes // 4 + 1)
        rest = iter(value)
        for key, child in zip(rest, rest, strict=True):
            if type(key) is str and type(child) is dict and len(key) < short and key not in out:
                # Most of a large tree is this: a name and the array that comes next.
                index = child.get("array")
                if index == self._seen < count and type(index) is int and len(child) == 1:
                    out[key] = arrays[index]
                    self._seen += 1
                    continue
            self._item(out, hashes, key, child, depth)
        return out

    def enter_dict(self, value: Any, depth: int) -> int:
        """Begin a dict that has `value` below it, and return the depth of what it holds."""
        depth = self.enter(value, "dict", depth)
        if len(value) % 2:
            self._fail("NODE_KIND", "a key before every value of a dict", f"{len(value)} items")
        return depth

    def _item(self, out: dict[Any, Any], hashes: dict[int, int], node: Node, child: Node, depth: int) -> None:
        """Decode a key and what it leads to; `hashes` counts the keys whose hash a file can choose."""
        key = self.new_key(out, hashes, node, depth)
        out[key] = self.node(child, depth)
        self.path.pop()

    def new_key(self, known: dict[Any, Any], hashes: dict[int, int], node: Node, depth: int) -> Any:
        """Return the key of a node, which differs from those that are known, and step to it.

        Args:
            known: the keys of the same dict that came before.
            hashes: how many of them had a hash that a file can choose, by that hash.
            node: the node.
            depth: of the dict.
        """
        key = self._key(node, depth)
        chosen = chosen_hash(key)
        if chosen is not None:
            hashes[chosen] = hashes.get(chosen, 0) + 1
            if hashes[chosen] > SAME_HASH:
                self._fail("LIMIT_TIME", "keys that a hash table tells apart", f"more than {SAME_HASH} of one hash")
        self.path.append(key)
        if key in known:
            same = any(type(k) is type(key) and _typed(k) == _typed(key) for k in known if k == key)
            if same:
                self._fail("KEY_DUPLICATE", "unique keys", "the same key twice")
            self._fail(
                "KEY_COLLISION",
                "keys that stay different in Python",
                "keys that are equal there, such as 1 and true",
            )
        return key

    def key(self, node: Node) -> Any:
        """Return the key of a node that was accepted before."""
        return node if type(node) is str else self._key(node, 0)

    def _key(self, node: Node, depth: int) -> Any:
        if type(node) is dict and node.keys() == {"tuple"}:
            depth = self.enter(node["tuple"], "tuple", depth)
            return tuple(self._key(k, depth) for k in node["tuple"])
        if type(node) is dict and len(node) == 1 and node.keys() - _KEY_MEMBERS:
            self._fail("KEY_FORM", "a key of kind str, int, bool, null, bytes, symbol or tuple", _shape(node))
        key = self.node(node, depth)
        size = len(key.name if type(key) is Symbol else key) if type(key) in (str, bytes, Symbol) else 0
        if size > self._limits.key_bytes // 4:
            raw = key if type(key) is bytes else str(key.name if type(key) is Symbol else key).encode()
            self._limit("LIMIT_KEY", len(raw), self._limits.key_bytes, "key_bytes")
        return key

    def _limit(self, code: str, size: int, limit: int, option: str) -> None:
        if size > limit:
            self._fail(code, f"at most {limit} bytes", f"{size} bytes", f"raise limits=Limits({option}=…)")

    def _record(self, value: Any, depth: int) -> Record:
        depth = self.enter_record(value, depth)
        fields: dict[str, Any] = {}
        path, decode = self.path, self.node
        for i in range(1, len(value), 2):
            name = self.new_name(fields, value[i])
            fields[name] = decode(value[i + 1], depth)
            path.pop()
        return Record(fields, label=value[0])

    def enter_record(self, value: Any, depth: int) -> int:
        """Begin a record that has `value` below it, and return the depth of what it holds."""
        self._nodes -= 1  # the label is not counted
        depth = self.enter(value, "record", depth)
        if len(value) % 2 != 1 or not (value[0] is None or type(value[0]) is str):
            self._fail(
                "NODE_KIND",
                "a label or null, then a name before every value",
                _shape(value[0]) if value else "nothing",
            )
        if value[0] is not None:
            self._text(value[0], "LIMIT_KEY", self._limits.key_bytes)
        return depth

    def new_name(self, known: dict[str, Any], name: Any) -> str:
        """Return a field name, which differs from those that are known, and step to it."""
        if type(name) is not str:
            self._fail("SCHEMA_TYPE", "a field name as a string", _shape(name))
        self.path.append(self._text(name, "LIMIT_KEY", self._limits.key_bytes))
        if name in known:
            self._fail("KEY_DUPLICATE", "unique field names", "the same name twice")
        return name

    def _text(self, text: str, code: str, limit: int) -> str:
        if len(text) > limit // 4:
            self._limit(code, len(text.encode()), limit, "key_bytes" if code == "LIMIT_KEY" else "string_bytes")
        return text

    def _symbol(self, value: Any, depth: int) -> Symbol:
        if type(value) is not str:
            self._fail("SCHEMA_TYPE", "'symbol' as a string", _shape(value))
        return Symbol(self._text(value, "LIMIT_KEY", self._limits.key_bytes))

    def _int(self, value: Any, depth: int) -> int:
        if type(value) is str and len(value) - value.startswith("-") > self._limits.integer_digits:
            self._fail(
                "LIMIT_INTEGER",
                f"at most {self._limits.integer_digits} hexadecimal digits",
                f"{len(value)}",
                "raise limits=Limits(integer_digits=…)",
            )
        if type(value) is not str or not _INT.fullmatch(value):
            self._fail("INT_FORM", "lower-case hexadecimal digits without leading zeros", _shape(value))
        number = int(value, 16)
        if -SAFE <= number <= SAFE:
            self._fail("INT_FORM", "a JSON number for an integer within ±(2^53−1)", '{"int": …}')
        return number

    def _float(self, value: Any, depth: int) -> float:
        if type(value) is not str or not _HEX16.fullmatch(value):
            self._fail("FLOAT_FORM", "16 lower-case hexadecimal digits", _shape(value))
        number: float = struct.unpack(">d", bytes.fromhex(value))[0]
        return number

    def _complex(self, value: Any, depth: int) -> complex:
        if type(value) is not list or len(value) != 2:
            self._fail("FLOAT_FORM", "two floats of 16 hexadecimal digits", _shape(value))
        return complex(self._float(value[0], depth), self._float(value[1], depth))

    def _bytes(self, value: Any, depth: int) -> bytes:
        try:
            raw = a2b_base64(value, strict_mode=True) if type(value) is str else None
        except (Base64Error, ValueError):
            raw = None
        if raw is None or b64encode(raw).decode() != value:
            self._fail("BYTES_FORM", "RFC 4648 base64 with padding and zero unused bits", _shape(value))
        self._limit("LIMIT_STRING", len(raw), self._limits.string_bytes, "string_bytes")
        return raw

    def _scalar(self, value: Any, depth: int) -> Any:
        if type(value) is not list or (value and type(value[0]) is not str):
            self._fail("SCHEMA_TYPE", "a dtype and hexadecimal bits", _shape(value))
        if not value:
            self._fail("FLOAT_FORM", "a dtype and hexadecimal bits", "nothing")
        row = BY_NAME.get(value[0])
        if row is None:
            raise_problem(dtype_problem(value[0], path=tuple(self.path)))
        parts = 2 if row.complex else 1
        digits = row.itemsize * 2 // parts
        if len(value) != parts + 1 or any(
            type(v) is not str or len(v) != digits or not _HEX.fullmatch(v) for v in value[1:]
        ):
            self._fail("FLOAT_FORM", f"{parts} times {digits} lower-case hexadecimal digits", shown(str(value[1:])))
        raw = b"".join(bytes.fromhex(v)[::-1] for v in value[1:])
        if row.top is not None and raw[0] > row.top:
            self._fail(
                "BOOL_VALUE" if row.name == "bool" else "SUBBYTE_RANGE",
                f"a value up to {row.top}",
                str(raw[0]),
            )
        return np.frombuffer(raw, row.numpy.newbyteorder("<") if row.numpy.kind in "iufc" else row.numpy).astype(
            row.numpy, copy=False
        )[0]


_KEY_MEMBERS = frozenset(("int", "bytes", "symbol"))

_DECODERS: dict[str, Callable[[Decoder, Any, int], Any]] = {
    "int": Decoder._int,
    "float": Decoder._float,
    "complex": Decoder._complex,
    "bytes": Decoder._bytes,
    "symbol": Decoder._symbol,
    "scalar": Decoder._scalar,
    "array": Decoder._array,
    "dict": Decoder._dict,
    "list": Decoder._sequence,
    "tuple": Decoder._tuple,
    "record": Decoder._record,
}


def _typed(key: Any) -> Any:
    """Return a key with its types, so that 1 and True differ inside of tuples too."""
    return tuple(map(_typed, key)) if type(key) is tuple else (type(key), key)


def _shape(value: Any) -> str:
    """Return what a JSON value is, in a few characters."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return f"an object with the members {shown(', '.join(sorted(value)))}" if value else "an empty object"
        case list():
            return f"an array of {len(value)}"
        case str():
            return repr(shown(value))
        case _:
            return shown(str(value)) if abs(value) < 1 << 64 else "a large number"


def first_paths(node: Node) -> list[Path]:
    """Return the path at which each array is first met, from a root node that `Decoder` accepted."""
    out: list[Path] = []
    _collect_paths(node, (), out)
    return out


def _collect_paths(node: Node, path: Path, out: list[Path]) -> None:
    if type(node) is not dict:
        return
    ((name, value),) = node.items()
    match name:
        case "array" if value == len(out):
            out.append(path)
        case "list" | "tuple":
            for position, child in enumerate(value):
                _collect_paths(child, (*path, position), out)
        case "dict":
            for key, child in zip(value[::2], value[1::2], strict=True):
                _collect_paths(child, (*path, Decoder((), _ACCEPTED).key(key)), out)
        case "record":
            for field, child in zip(value[1::2], value[2::2], strict=True):
                _collect_paths(child, (*path, field), out)
