"""Files and trees for the exchange with JavaScript, made with the public interface of statetree only.

`exchange.py write FOLDER SEED COUNT` saves random trees into containers of every kind and says which, a line each;
`exchange.py read` loads each path that it gets as a line and prints what it holds.
"""

import hashlib
import json
import random
import struct
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import statetree as st

KINDS = [
    ("a.h5", {}),
    ("b.h5", {"algorithm": "sha-256"}),
    ("a.zarr", {}),
    ("b.zarr", {"compression": "gzip", "algorithm": "blake3"}),
    ("c.zarr", {"compression": "zstd"}),
    ("a.zarr.zip", {}),
    ("b.zarr.zip", {"compression": "zstd", "algorithm": "sha-256"}),
    ("a.bson", {}),
    ("b.bson", {"compression": "gzip", "algorithm": "sha-256"}),
    ("c.bson", {"compression": "zstd", "algorithm": "blake3"}),
]
NAMED = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128"
TYPED = """bfloat16 float8_e3m4 float8_e4m3 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz
float8_e8m0fnu float6_e2m3fn float6_e3m2fn float4_e2m1fn int2 int4 uint2 uint4"""
DTYPES = [np.dtype(name) for name in NAMED.split()] + [np.dtype(getattr(ml_dtypes, name)) for name in TYPED.split()]
BITS = {
    "float6_e2m3fn": 6,
    "float6_e3m2fn": 6,
    "float4_e2m1fn": 4,
    "int2": 2,
    "int4": 4,
    "uint2": 2,
    "uint4": 4,
    "bool": 1,
}
TEXTS = [
    "",
    "a",
    "σ²",
    "a/b",
    "a\0b",
    "#1",
    ":x",
    "~",
    "..",
    "é",
    "e\u0301",
    "\u2028",
    "\U0001f600",
    "x" * 120,
    '"\\\n\x1f',
]
FLOATS = [0.0, -0.0, 1.5, float("inf"), struct.unpack("<d", bytes.fromhex("0100000000 00f87f"))[0], 5e-324]


class _Trees:
    """Random trees of one seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.arrays: list[np.ndarray[Any, Any]] = []

    def text(self) -> str:
        return self.random.choice(TEXTS) + self.random.choice(["", str(self.random.randrange(100))])

    def integer(self) -> int:
        edges = [
            0,
            1,
            -1,
            2**53 - 1,
            2**53,
            -(2**53),
            2**64,
            self.random.getrandbits(200),
            -self.random.getrandbits(70),
        ]
        return self.random.choice(edges)

    def array(self) -> Any:
        if self.arrays and self.random.random() < 0.2:
            return self.random.choice(self.arrays)
        dtype = self.random.choice(DTYPES)
        shape = self.random.choice([(), (0,), (3, 0), (1,), (5,), (2, 3), (4, 1, 3), (70, 30)])
        made = self.elements(dtype, int(np.prod(shape, dtype=int))).reshape(shape)
        self.arrays.append(made)
        return made

    def elements(self, dtype: np.dtype[Any], count: int) -> Any:
        raw = np.frombuffer(self.random.randbytes(count * dtype.itemsize), np.uint8).copy()
        raw &= np.uint8(2 ** BITS.get(dtype.name, 8) - 1)
        return raw.view(dtype)

    def key(self, depth: int = 0) -> Any:
        plain = [self.text, self.text, self.integer, lambda: None, lambda: b"\0k", lambda: st.Symbol(self.text())]
        if depth < 2 and self.random.random() < 0.15:
            return tuple(self.key(depth + 1) for _ in range(self.random.randrange(3)))
        return self.random.choice(plain)()

    def leaf(self) -> Any:
        choices = [
            lambda: None,
            lambda: self.random.random() < 0.5,
            self.integer,
            lambda: self.random.choice(FLOATS),
            lambda: complex(self.random.choice(FLOATS), self.random.choice(FLOATS)),
            self.text,
            lambda: self.random.randbytes(self.random.randrange(9)),
            lambda: st.Symbol(self.text()),
            lambda: self.elements(self.random.choice(DTYPES), 1)[0],
            self.array,
            self.array,
        ]
        return self.random.choice(choices)()

    def node(self, depth: int = 0) -> Any:
        if depth and (depth > 4 or self.random.random() < 0.4):
            return self.leaf()
        items = [self.node(depth + 1) for _ in range(self.random.randrange(6))]
        match self.random.randrange(4):
            case 0:
                return items
            case 1:
                return tuple(items)
            case 2:
                names = dict.fromkeys(self.text() for _ in items)
                return st.Record(dict(zip(names, items, strict=False)), label=self.random.choice([None, self.text()]))
            case _:
                return {self.key(): item for item in items}


def many(seed: int) -> dict[str, Any]:
    """More than 1,000 small arrays, which are packed."""
    trees = _Trees(seed)
    return {f"w{number}": trees.elements(np.dtype("float32"), 1 + number % 300) for number in range(1100)}


def large(seed: int) -> dict[str, Any]:
    """Arrays of several blocks and pieces."""
    trees = _Trees(seed)
    rows = trees.elements(np.dtype("float32"), 2_500_000).reshape(2500, 1000)
    return {"rows": rows, "half": rows[:1250].copy(), "zeros": np.zeros((3, 2**20), np.int64), "small": trees.array()}


def bits(value: Any) -> str:
    """The bits of one number, most significant digit first."""
    return bytes(reversed(np.asarray(value).tobytes())).hex()


def tagged(value: Any, ids: dict[int, int], kept: list[Any]) -> dict[str, Any]:
    """The tagged tree of a tree (conformance, section 1)."""

    def below(item: Any) -> dict[str, Any]:
        return tagged(item, ids, kept)

    match value:
        case np.ndarray():
            return tagged_array(value, ids, kept)
        case dict():
            return {"k": "dict", "items": [[below(key), below(item)] for key, item in value.items()]}
        case st.Record():
            fields = [[name, below(item)] for name, item in value.items()]
            return {"k": "record", "label": value.label, "fields": fields}
        case list() | tuple():
            return {"k": type(value).__name__, "items": [below(item) for item in value]}
    return tagged_leaf(value)


def tagged_leaf(value: Any) -> dict[str, Any]:
    """The node of a leaf that is no array."""
    match value:
        case None:
            return {"k": "null"}
        case np.generic():
            return {"k": "scalar", "dtype": value.dtype.name, "bits": scalar_bits(value)}
        case bool() | str():
            return {"k": type(value).__name__, "v": value}
        case int():
            return {"k": "int", "hex": f"{value:x}"}
        case float():
            return {"k": "float", "bits": bits(value)}
        case complex():
            return {"k": "complex", "bits": [bits(value.real), bits(value.imag)]}
        case st.Symbol():
            return {"k": "symbol", "v": value.name}
    return {"k": "bytes", "hex": value.hex()}


def scalar_bits(value: Any) -> Any:
    """The bits of a scalar: of its two parts, if it is complex."""
    if value.dtype.kind == "c":
        return [bits(value.real), bits(value.imag)]
    mask = 2 ** BITS.get(value.dtype.name, 8) - 1
    return f"{np.asarray(value).view(np.uint8).item() & mask:02x}" if value.dtype.itemsize == 1 else bits(value)


def tagged_array(value: Any, ids: dict[int, int], kept: list[Any]) -> dict[str, Any]:
    """The node of an array; ties are told by identity."""
    kept.append(value)
    number = ids.setdefault(id(value), len(ids))
    raw = np.ascontiguousarray(value).tobytes()
    if value.dtype.name in BITS:
        raw = bytes(byte & (2 ** BITS[value.dtype.name] - 1) for byte in raw)
    node = {"k": "array", "id": number, "dtype": value.dtype.name, "shape": [str(extent) for extent in value.shape]}
    node["sha256"] = hashlib.sha256(raw).hexdigest()
    return node | ({"hex": raw.hex()} if len(raw) <= 4096 else {})


def write(folder: Path, seed: int, count: int) -> None:
    """Saves trees and prints what they are."""
    trees = [_Trees(seed + number).node() for number in range(count)] + [many(seed), large(seed)]
    for number, tree in enumerate(trees):
        for name, options in KINDS:
            path = folder / f"{number}-{name}"
            digest = st.save(path, tree, info={"n": number}, durable=False, **options)
            print(json.dumps({"path": str(path), "digest": digest, "tree": tagged(tree, {}, [])}))


def read() -> None:
    """Loads and validates what it is told, and prints what it holds."""
    for line in sys.stdin:
        path = json.loads(line)
        tree = st.load(path)
        problems = [problem.code for problem in st.validate(path).problems]
        digest = st.digest(Path(path))
        print(json.dumps({"path": path, "digest": digest, "problems": problems, "tree": tagged(tree, {}, [])}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        read()
