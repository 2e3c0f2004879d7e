"""Valid vectors: trees of every kind of value, each in every container. Source: spec sections 2, 3 and 4."""

import struct
from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

from statetree_conformance.making.base import SOUND, A, floats, integers
from statetree_conformance.making.record import Made, valid
from statetree_conformance.making.texts import Document, document
from statetree_conformance.making.values import Array, Complex, Float, Record, Scalar, Symbol
from statetree_spec import registry

__all__ = ["made"]

DTYPES: list[dict[str, Any]] = registry("dtypes")["dtypes"]
FILES = ("hdf5", "zarr", "bson")
ALL = (*FILES, "zarr.zip")
ONE, NEGATIVE_ZERO, INFINITY = "3ff0000000000000", "8000000000000000", "7ff0000000000000"
NANS = ("7ff8000000000000", "fff8000000000000", "7ff8000000000005", "7ff0000000000001", "fff0000000000001")
"""The default NaN, its negative, one with a payload, and two that signal."""


class Tree(NamedTuple):
    """A tree that is a vector in several containers."""

    name: str
    title: str
    value: Any
    rows: str
    rules: str
    containers: tuple[str, ...] = FILES


ROOTS: dict[str, Any] = {
    "null": None,
    "bool": True,
    "int": -5,
    "float": Float("3fb999999999999a"),
    "complex": Complex(ONE, NEGATIVE_ZERO),
    "str": "\u03c3",
    "bytes": b"\0\xff",
    "symbol": Symbol("relu"),
    "scalar": Scalar("float32", ("3f800000",)),
    "array": A,
    "dict": {"a": A},
    "list": [A],
    "tuple": (A,),
    "record": Record("Dense", (("weight", A),)),
}
EMPTY = Record(None, ())
TEXTS = (
    *("", "/", "a/b", "a.b", ".", "..", "../../etc/passwd", "a\\b", "C:", "con", "nul.txt", "x.", "x ", "a\0b", "a"),
    *("\n", "\t", "\u202e", "\ufeff", "\U0001f469", "\U0001f469\u200d\U0001f680", "\u00e9", "e\u0301", "W", "w"),
    *("\u00df", "ss", "\u0131", "I", "__metadata__", "zarr.json", "__zarr", "_types", "tag", "category"),
    *("$ref", "$id", "type", "value", "_backrefs", "__class__", "__reduce__", "NaN", "null", "#0", ":a", "~s", "~"),
)
"""Texts that files, libraries and people take for something else, or for each other."""
NESTED = {"a": {"b": 1}, "a/b": 2, "a.b": 3}

KEYS: dict[Any, Any] = {
    **dict.fromkeys((0, -1, 2**53 - 1, 2**53, -(2**53), 2**63 - 1, 2**63, 10**30, -(10**30))),
    1: "int",
    "1": "str",
    Symbol("1"): "symbol",
    b"1": "bytes",
    (1,): "tuple",
    ("1",): "tuple of a str",
    None: 0,
    False: 0,
    b"": 0,
    Symbol(""): 0,
    (): 0,
    "": 0,
    (1, "a", (None, b"\0", Symbol("b"))): {"0": "a str alone"},
    "ints": {5: "an int alone"},
}
FIELDS = ("\u03c3\u00b2", "\u03f5", "class", "_x", "1a", "a b", "count", "_fields", "index", "names", "label", "")
LABELS = (None, "", "os.system", "__builtin__.eval", "a\0b", "Main.Base.run")

INTS = [
    *(0, 1, -1, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, -(2**53) + 1, -(2**53), 2**63 - 1, -(2**63)),
    *(2**63, 2**64, -(2**63) - 1, 2**64 - 1, 10**30, 10**1000, -(10**1000)),
]
FLOATS = [
    *(
        Float("0000000000000000"),
        Float(NEGATIVE_ZERO),
        Float(ONE),
        Float("0000000000000001"),
        Float("000fffffffffffff"),
    ),
    *(Float("7fefffffffffffff"), Float(INFINITY), Float("fff0000000000000"), *map(Float, NANS)),
]
COMPLEXES = [
    *(Complex(a, b) for a in ("0000000000000000", NEGATIVE_ZERO) for b in ("0000000000000000", NEGATIVE_ZERO)),
    *(Complex(NANS[0], INFINITY), Complex(NANS[3], NANS[4])),
]
ALIKE = {
    "bool": True,
    "int": 1,
    "float": Float(ONE),
    "bool scalar": Scalar("bool", ("01",)),
    "bool array": Array("bool", (), b"\1"),
    "int8": Scalar("int8", ("01",)),
    "int64": Scalar("int64", ("0000000000000001",)),
    "float32": Scalar("float32", ("3f800000",)),
    "float32 array": floats(1, shape=()),
    "complex": Complex(ONE, "0000000000000000"),
    "str": "1",
    "null": None,
    "empty": (),
}
"""Ones and nothings that are all different values."""
STRINGS = [
    *(
        "",
        "a\0b",
        "ab\0",
        "\U0001f469\u200d\U0001f680",
        "e\u0301",
        "\u00e9",
        "a\r\nb",
        "\u007f\u0080",
        '"\\/',
        "\b\t\n\f\r\x1f",
    ),
    *("NaN", "null", "true", "0x7fc00000", "1.0", "\ufeff", "\uffff", "\U0010ffff"),
    *(Symbol("a"), "a", Symbol(""), Symbol("a b"), Symbol("\0")),
]
PICKLE = b"cposix\nsystem\n(S'true'\ntR."
"""A pickle of protocol 0 that runs a program when it is opened."""


def ramp(dtype: str, shape: tuple[int, ...]) -> Array:
    """Return an array of the numbers 0, 1, 2, … in their lowest byte, as far as its bits go."""
    row = next(row for row in DTYPES if row["name"] == dtype)
    top = 2 if dtype == "bool" else 1 << min(8, row["bits"])
    raw = b"".join(bytes([n % top]).ljust(row["itemsize"], b"\x01") for n in range(prod(shape)))
    return Array(dtype, shape, raw if row["itemsize"] > 1 else bytes(n % top for n in range(prod(shape))))


def filled(dtype: str, bits: int, count: int = 3) -> Array:
    """Return an array of one element again and again."""
    size = next(row["itemsize"] for row in DTYPES if row["name"] == dtype)
    return Array(dtype, (count,), bits.to_bytes(size, "little") * count)


FILLS = {
    "zeros": filled("float64", 0),
    "negative zeros": filled("float32", 1 << 31),
    "negative complex zeros": filled("complex64", 1 << 31 | 1 << 63),
    "NaN": filled("float64", 0x7FF8 << 48),
    "NaN with a payload": filled("float64", 0x7FF8 << 48 | 5),
    "false": filled("bool", 0),
    "bfloat16": filled("bfloat16", 0x8000),
}
SIGNALLING = {
    "float16": filled("float16", 0x7C01),
    "bfloat16": filled("bfloat16", 0x7F81),
    "float32": filled("float32", 0x7F800001),
    "float64": filled("float64", 0x7FF0 << 48 | 1),
    "complex64": filled("complex64", 0x7F800001 | 0x7FC00000 << 32),
    "complex128": filled("complex128", (0x7FF0 << 48 | 1) | (0xFFF8 << 48) << 64),
    "mixed": Array("float32", (4,), struct.pack("<4I", 0x7F800001, 0xFFC00000, 0x80000000, 0x7F800000)),
}
CARRIED = bytes((0, 1, 7, 15))
SAME_BYTES = {name: Array(name, (4,), CARRIED) for name in ("float8_e4m3fn", "float8_e5m2", "int4", "uint4", "uint8")}
SHAPES = {
    "0d": (),
    "0": (0,),
    "1": (1,),
    "3-0-2": (3, 0, 2),
    "2-3-5": (2, 3, 5),
    "rank-32": (2, *(1,) * 30, 2),
}


def scalars() -> dict[str, Any]:
    """Return a scalar of each dtype whose bits are lost easily."""
    out: dict[str, Any] = {}
    for row in DTYPES:
        digits = "01" if row["name"] == "bool" else f"{(1 << row['bits']) - 1:0{2 * row['itemsize']}x}"
        if row["name"] in ("float16", "bfloat16", "float32", "float64"):
            digits = {"float16": "7c01", "bfloat16": "7f81", "float32": "7f800001", "float64": "7ff0000000000001"}[
                row["name"]
            ]
        half = len(digits) // 2
        bits = (NANS[3][: half - 1] + "1", "8" + "0" * (half - 1)) if row["group"] == "complex" else (digits,)
        out[row["name"]] = Scalar(row["name"], bits)
    return out


TIED, EQUAL, HOLLOW = integers(1, 2, dtype="int16"), integers(1, 2, dtype="int16"), integers(dtype="int16", shape=(0,))
TIES = {
    "w": TIED,
    "again": [TIED, (TIED,)],
    "in a record": Record(None, (("w", TIED),)),
    "equal, not tied": EQUAL,
    "part": integers(1, dtype="int16"),
    "empty": HOLLOW,
    "another empty": integers(dtype="int16", shape=(0,)),
    "the first empty": HOLLOW,
}


def one(number: int) -> Array:
    """Return an array of one byte."""
    return integers(number)


NAMES = {
    "": one(0),
    "..": one(1),
    "a/b": one(2),
    "x." * 3: one(3),
    "l" * 150: one(4),
    "deep": {"d" * 60: {"e" * 60: one(5)}},
    -5: one(6),
    2**64: one(7),
    -(2**64): one(8),
    None: one(9),
    True: one(10),
    b"\xab\0": one(11),
    Symbol("\u03c3"): one(12),
    (1, "a", (b"\1",)): one(13),
    "list": [one(14), Record(None, (("f g", one(15)),))],
    "W": one(16),
    "w": one(17),
}
"""Arrays whose paths are no names of files."""
WEIGHT = floats(1, -0.0, 2, 3, 4, 5, shape=(2, 3))
BIAS = Array("bfloat16", (2,), struct.pack("<2H", 0x3F00, 0xBF80))
EXAMPLE = {
    "model": Record("Dense", (("weight", WEIGHT), ("bias", BIAS), ("\u03c3", ()))),
    "tied": WEIGHT,
    "epoch": 42,
    "loss": Float("3fc0000000000000"),
    0: None,
    Symbol("opt"): [True, Scalar("float32", ("3f800000",))],
}


def deep(levels: int) -> Any:
    """Return a leaf inside of so many containers, each kind in turn."""
    value: Any = None
    for level in range(levels):
        value = ([value], (value,), {"k": value}, Record(None, (("f", value),)))[level % 4]
    return value


def deep_key(levels: int) -> dict[Any, Any]:
    """Return a dict with a key of so many tuples, one inside of the other."""
    key: Any = None
    for _ in range(levels):
        key = (key,)
    return {key: 1}


TREES = [
    *(Tree(f"root-{kind}", f"a tree that is one {kind}", v, "N01", "D-1 N-1 M-1") for kind, v in ROOTS.items()),
    Tree("empty", "nothing in containers of each kind", {"d": {}, "l": [], "t": (), "r": EMPTY}, "N06", "D-1", ALL),
    Tree(
        "alike",
        "the same items in each kind of container",
        [[1], (1,), {"a": 1}, Record(None, (("a", 1),))],
        "N05",
        "D-1",
    ),
    Tree("example", "the worked example of the specification", EXAMPLE, "V12", "M-6 D-7 G-4 R-1 S-1", ALL),
    Tree(
        "keys-text",
        "texts as keys that tools take for something else, or for each other",
        {**dict.fromkeys(TEXTS, 0), "nested": NESTED},
        "K01 K02 K03 K04 K05 K06 K07 K08 K09 K10 K11 K12 K13 K14 K15 K18 K21 P11 B12",
        "D-2 D-5 C-3 S-1",
        ALL,
    ),
    Tree(
        "fields-text",
        "the same as names of fields",
        Record(None, tuple((t, 0) for t in TEXTS)),
        "K01 K11 K13 K18",
        "D-4 D-5",
    ),
    Tree(
        "keys-typed",
        "keys of every kind, and those that only their kind tells apart",
        KEYS,
        "K19 K20 K21 K22 K24 K25",
        "D-2 D-3",
    ),
    Tree(
        "order",
        "keys and fields in an order that is not that of sorting",
        {"z": 1, "a": 2, 10: 3, 9: 4, "M": Record(None, (("b", 1), ("a", 2)))},
        "K28",
        "D-1",
    ),
    Tree(
        "records",
        "names of fields that Python has no attributes for, and labels that name functions",
        [*(Record(label, ()) for label in LABELS), Record("r", tuple((name, 1) for name in FIELDS))],
        "K29 K30",
        "D-4 S-1 D-11",
    ),
    Tree("keys-long", "keys of 256 and 4,096 bytes", {"k" * 256: 1, "\u00e9" * 2048: 2}, "K17", "L-1"),
    Tree("ints", "integers at every border, and of a thousand digits", INTS, "S01", "N-2", ALL),
    Tree("floats", "floats and complexes of easily lost bits", [*FLOATS, *COMPLEXES], "S03 S07", "N-2"),
    Tree("scalars", "a scalar of each dtype, some of them signalling NaNs", scalars(), "S04 S06 S07", "E-1 N-3"),
    Tree("ones", "ones and nothings that are all different", ALIKE, "S05 S06 S13 B12", "D-1"),
    Tree("texts", "texts and symbols that tools change", STRINGS, "S09 S11 S12", "D-5 J-1"),
    Tree(
        "bytes",
        "bytes of every remainder, and a pickle",
        [b"", b"a", b"ab", b"abc", bytes(range(256)), PICKLE],
        "S15 P07",
        "N-1 S-1",
    ),
    *(
        Tree(
            f"shape-{name}",
            f"an array of each dtype of shape {shape}",
            {row["name"]: ramp(row["name"], shape) for row in DTYPES},
            "A01 A03 A08",
            "E-1 E-2 E-3 E-4 E-5 H-2 H-8",
        )
        for name, shape in SHAPES.items()
    ),
    Tree("fills", "arrays of one value throughout, which some libraries leave out", FILLS, "A05", "E-2 Z-5 Z-6"),
    Tree("signalling", "NaNs that signal or carry something", SIGNALLING, "A06", "E-2"),
    Tree("carriers", "the same bytes under several dtypes", SAME_BYTES, "A09", "E-5 H-8"),
    Tree(
        "extent", "the largest extent of an array without elements", [Array("uint8", (2**53 - 1, 0), b"")], "A13", "E-4"
    ),
    Tree("ties", "one array at several places, equal ones apart", TIES, "T01 T02 T03 T04 T06 T07", "D-7"),
    Tree("names", "arrays below keys of every kind: their names in the container", NAMES, "Z26", "C-2 C-3", ALL),
    Tree(
        "pickle", "an array whose bytes are a pickle", {"p": Array("uint8", (len(PICKLE),), PICKLE)}, "P07", "S-1 S-4"
    ),
]


def _of(tree: Tree, doc: Document, container: str, name: str | None = None) -> Made:
    about: dict[str, Any] = {"title": tree.title, "rows": tree.rows, "rules": tree.rules}
    return valid(name or tree.name, container, SOUND[container](doc), doc, **about)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    for tree in TREES:
        doc = document(tree.value)
        for container in tree.containers:
            yield _of(tree, doc, container)
    yield from _deep()
    yield from _algorithms()
    yield from _versions()
    yield from _info()
    yield from _ten()


def _deep() -> Iterator[Made]:
    deepest = Tree("depth-60", "containers 60 deep", deep(60), "N07", "D-8 L-1")
    for container in ("zarr", "bson"):
        yield _of(deepest, document(deepest.value), container)
    key = Tree("depth-60-key", "a key that takes the levels below its dict", deep_key(59), "N07", "D-8")
    yield _of(key, document(key.value), "zarr")


def _algorithms() -> Iterator[Made]:
    for algorithm in ("sha-256", "blake3"):
        tree = Tree(algorithm, f"a file whose digests are {algorithm}", EXAMPLE, "", "G-1 M-4")
        for container in ALL if algorithm == "sha-256" else FILES:
            yield _of(tree, document(EXAMPLE, algorithm=algorithm), container)


def _versions() -> Iterator[Made]:
    tree = Tree("minor-99", "a later minor version without anything new", {"a": A}, "V05", "M-2 M-3")
    for container in ALL:
        yield _of(tree, document(tree.value, version="1.99"), container)


def _info() -> Iterator[Made]:
    user = {"step": 7, 1: [Float(NANS[3]), (b"x", Symbol("s"))], ("t",): Scalar("int4", ("0f",))}
    tree = Tree("info", "an info text that holds values of the user", {"a": A}, "", "I-1")
    for container in FILES:
        yield _of(tree, document(tree.value, user=user), container)


def _ten() -> Iterator[Made]:
    many = Tree(
        "ten-arrays", "names of arrays whose numbers have two digits", [one(n) for n in range(11)], "", "C-2 M-5"
    )
    for container in FILES:
        yield _of(many, document(many.value), container)
