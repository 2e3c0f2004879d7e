"""Invalid vectors: manifests whose nodes, keys, numbers or arrays have another form. Source: spec 2, 3 and 4.2."""

from collections.abc import Iterator

from statetree_conformance.making.base import A
from statetree_conformance.making.invalid_json import DIGEST, ENTRY, Fault, in_zarr, of_one, row
from statetree_conformance.making.record import Made, Recipe, invalid
from statetree_conformance.making.texts import text

__all__ = ["made"]

ONE = "3ff0000000000000"
NODES = {
    "int": '"20000000000000"',
    "float": f'"{ONE}"',
    "complex": f'["{ONE}","{ONE}"]',
    "bytes": '"YQ=="',
    "symbol": '"relu"',
    "scalar": '["float32","3f800000"]',
    "array": "0",
    "dict": '["a",1]',
    "list": "[1]",
    "tuple": "[1]",
    "record": '[null,"a",1]',
}
"""A good value of each kind that is written as an object."""


def fault(name: str, why: str, tree: str, codes: str, rows: str, rules: str) -> Fault:
    """Return the fault of a tree without arrays."""
    return Fault(name, why, text(tree), codes, rows, rules)


def _kinds() -> Iterator[Fault]:
    for kind, value in NODES.items():
        tree = f'{{"{kind}":{value},"~":1}}'
        found = of_one(tree=tree) if kind == "array" else text(tree)
        arrays = (A,) if kind == "array" else ()
        yield Fault(
            f"node-two-members-{kind}", f"a second member beside `{kind}`", found, "NODE_KIND", "N02 M30", "N-1", arrays
        )
    for name, why, tree in (
        ("no-member", "an object without a member", "{}"),
        ("two-kinds", "an object that names two kinds", '{"list":[],"tuple":[]}'),
        ("unknown", "a kind that there is not", '{"set":[]}'),
        ("capital", "a kind in another case", '{"List":[]}'),
        ("list", "a JSON array in place of a node", "[]"),
        ("key-without-value", "a key without a value", '{"dict":["a"]}'),
        ("field-without-value", "a name of a field without a value", '{"record":[null,"a"]}'),
        ("no-label", "a record without label or null", '{"record":[]}'),
        ("label", "a number as a label", '{"record":[1]}'),
        ("key-list", "a JSON array in place of a key", '{"dict":[[],0]}'),
        ("key-no-member", "an object without a member as a key", '{"dict":[{},0]}'),
    ):
        yield fault(f"node-{name}", why, tree, "NODE_KIND", "N02 M28" if name == "unknown" else "N02", "N-1 N-2")
    for kind in ("list", "tuple", "dict", "record", "symbol", "scalar"):
        yield fault(
            f"type-{kind}", f"null in place of what `{kind}` holds", f'{{"{kind}":null}}', "SCHEMA_TYPE", "M32", "N-2"
        )
    yield fault("type-field", "a number as a name of a field", '{"record":[null,1,1]}', "SCHEMA_TYPE", "M32", "N-2 D-4")
    yield fault("type-dtype", "a number as the dtype of a scalar", '{"scalar":[1,"00"]}', "SCHEMA_TYPE", "M32", "N-2")


def _table() -> Iterator[Fault]:
    two = f"{ENTRY},{ENTRY.replace(DIGEST, DIGEST)}"
    for name, why, tree, rows in (
        ("negative", "a negative index", '{"array":-1}', ENTRY),
        ("beyond", "an index beyond the table", '{"array":1}', ENTRY),
        ("true", "`true` as an index", '{"array":true}', two),
        ("text", "a text as an index", '{"array":"0"}', ENTRY),
    ):
        yield Fault(f"index-{name}", why, of_one(rows, tree), "ARRAY_INDEX", "N03", "N-2 M-5", (A,))
    yield fault("index-no-table", "an index where there is no table", '{"array":0}', "ARRAY_INDEX", "N03", "N-2 M-5")
    orphan = "a row of the table that no leaf names"
    yield Fault("orphan", orphan, of_one(tree="null"), "ARRAY_ORPHAN", "N03 A15", "M-5", (A,))
    last = of_one(two, '{"array":0}')
    yield Fault("orphan-last", orphan, last, "ARRAY_ORPHAN", "N03 A15", "M-5", (A, A))
    order = of_one(two, '{"list":[{"array":1},{"array":0}]}')
    yield Fault(
        "order-of-arrays",
        "rows that are not in the order in which a walk meets them",
        order,
        "ARRAY_ORDER",
        "N03",
        "M-5",
        (A, A),
    )


def _numbers() -> Iterator[Fault]:
    for name, value in {"small": "2a", "largest": "1fffffffffffff", "smallest": "-1fffffffffffff", "zero": "0"}.items():
        yield fault(
            f"int-{name}-as-hex",
            "an integer within ±(2^53−1) as hexadecimal text",
            f'{{"int":"{value}"}}',
            "INT_FORM",
            "N04",
            "N-2",
        )
    for name, value in {
        "large": "9007199254740992",
        "large-negative": "-9007199254740992",
        "2-64": "18446744073709551616",
    }.items():
        yield fault(
            f"int-{name}-as-number",
            "an integer outside of ±(2^53−1) as a number",
            value,
            "INT_FORM JSON_NUMBER_RANGE",
            "N04",
            "N-2 J-1",
        )
    for name, value in {
        "plus": "+20000000000000",
        "leading-zero": "020000000000000",
        "minus-zero": "-0",
        "upper-case": "2000000000000A",
        "0x": "0x20000000000000",
        "space": " 20000000000000",
        "underscore": "2000000_0000000",
        "empty": "",
        "minus": "-",
        "wide-digits": "\uff12\uff10000000000000",
        "line-feed": "20000000000000\\n",
    }.items():
        rows = {"wide-digits": "S02 M34", "line-feed": "S02 M33"}.get(name, "S02")
        yield fault(
            f"int-{name}", "hexadecimal digits of another form", f'{{"int":"{value}"}}', "INT_FORM", rows, "N-2"
        )
    yield fault("int-number", "a number in place of hexadecimal text", '{"int":1}', "INT_FORM", "S02 M32", "N-2")
    for name, value in {
        "short": "3ff",
        "upper-case": "3FF0000000000000",
        "0x": "0x3ff00000000000",
        "long": f"{ONE}0",
        "odd": ONE[:-1],
        "line-feed": f"{ONE[:-1]}\\n",
        "wide-digit": f"\uff13{ONE[1:]}",
    }.items():
        rows = {"wide-digit": "S08 M34", "line-feed": "S08 M33"}.get(name, "S08")
        yield fault(f"float-{name}", "bits of another form", f'{{"float":"{value}"}}', "FLOAT_FORM", rows, "N-2")
    for name, tree in {
        "float-number": '{"float":1}',
        "complex-one": f'{{"complex":["{ONE}"]}}',
        "complex-three": f'{{"complex":["{ONE}","{ONE}","{ONE}"]}}',
        "complex-text": f'{{"complex":"{ONE}"}}',
        "scalar-short": '{"scalar":["float32","3f80"]}',
        "scalar-upper-case": '{"scalar":["float32","3F800000"]}',
        "scalar-two": '{"scalar":["float32","3f800000","3f800000"]}',
        "scalar-no-bits": '{"scalar":["float32"]}',
        "scalar-empty": '{"scalar":[]}',
        "scalar-complex-in-one": '{"scalar":["complex64","3f8000003f800000"]}',
    }.items():
        yield fault(name, "bits of another number or form", tree, "FLOAT_FORM", "S08", "N-2")
    for name, value in {
        "unused-bits": "YR==",
        "no-padding": "YQ",
        "url": "-_8=",
        "line-feed": "YQ==\\n",
        "space": "Y Q=",
        "twice": "YQ==YQ==",
        "one-digit": "Y",
    }.items():
        yield fault(
            f"bytes-{name}",
            "base64 of another form",
            f'{{"bytes":"{value}"}}',
            "BYTES_FORM",
            "S08 M33" if name == "line-feed" else "S08",
            "N-2",
        )
    yield fault("bytes-number", "a number in place of base64", '{"bytes":1}', "BYTES_FORM", "S08 M32", "N-2")
    for name, value in {
        "int4": "10",
        "int2": "ff",
        "uint2": "04",
        "float6_e2m3fn": "40",
        "float4_e2m1fn": "10",
    }.items():
        tree = f'{{"scalar":["{name}","{value}"]}}'
        yield fault(
            f"scalar-{name.replace('_', '-')}-bits",
            "unused bits of a scalar that are not zero",
            tree,
            "SUBBYTE_RANGE",
            "A08",
            "N-3 E-3",
        )
    yield fault("scalar-bool-2", "2 as a bool", '{"scalar":["bool","02"]}', "BOOL_VALUE", "A07", "N-3 E-3")
    yield fault(
        "scalar-dtype",
        "a scalar of a dtype that there is not",
        '{"scalar":["float128","00"]}',
        "DTYPE_UNKNOWN",
        "A10",
        "E-1",
    )
    yield fault(
        "scalar-object", "a scalar of dtype object", '{"scalar":["O","00"]}', "PICKLE_OBJECT_DTYPE", "A10", "E-1 S-1"
    )


def _keys() -> Iterator[Fault]:
    for name, keys in {
        "1-true": ("1", "true"),
        "false-0": ("false", "0"),
        "in-tuples": ('{"tuple":[1]}', '{"tuple":[true]}'),
        "in-nested-tuples": ('{"tuple":["a",{"tuple":[0]}]}', '{"tuple":["a",{"tuple":[false]}]}'),
    }.items():
        tree = f'{{"dict":[{keys[0]},0,{keys[1]},0]}}'
        yield fault(
            f"collision-{name}", "keys that are one where true is 1", tree, "KEY_COLLISION KEY_DUPLICATE", "K23", "D-3"
        )
    for name, key in {
        "str": '"a"',
        "int": "1",
        "large-int": '{"int":"20000000000000"}',
        "bool": "true",
        "null": "null",
        "bytes": '{"bytes":"YQ=="}',
        "symbol": '{"symbol":"a"}',
        "tuple": '{"tuple":[1,{"symbol":"a"}]}',
    }.items():
        yield fault(
            f"key-twice-{name}", "the same key twice", f'{{"dict":[{key},0,{key},0]}}', "KEY_DUPLICATE", "K26", "D-3"
        )
    yield fault(
        "field-twice", "the same name of a field twice", '{"record":[null,"a",1,"a",1]}', "KEY_DUPLICATE", "K27", "D-4"
    )
    yield fault(
        "field-twice-empty",
        "the empty name of a field twice",
        '{"record":[null,"",1,"",1]}',
        "KEY_DUPLICATE",
        "K27",
        "D-4",
    )
    for name, key in {
        "float": f'{{"float":"{ONE}"}}',
        "complex": f'{{"complex":["{ONE}","{ONE}"]}}',
        "scalar": '{"scalar":["bool","01"]}',
        "list": '{"list":[]}',
        "dict": '{"dict":[]}',
        "record": '{"record":[null]}',
        "unknown": '{"set":1}',
        "in-tuple": '{"tuple":[{"list":[]}]}',
    }.items():
        yield fault(
            f"key-{name}",
            "a key of a kind that is none of keys",
            f'{{"dict":[{key},0]}}',
            "KEY_FORM NODE_KIND",
            "K25b",
            "D-2 N-1",
        )
    array = of_one(tree='{"dict":[{"array":0},0]}')
    yield Fault("key-array", "an array as a key", array, "KEY_FORM NODE_KIND", "K25b", "D-2", (A,))


def _arrays() -> Iterator[Fault]:
    for name, dtype in {
        "capital": "Float32",
        "numpy": "<f4",
        "float": "float",
        "longdouble": "longdouble",
        "datetime": "datetime64",
        "void": "V8",
        "text": "U5",
        "structured": "[('a','<f4')]",
        "int1": "int1",
        "line-feed": "float32\\n",
        "empty": "",
    }.items():
        yield Fault(
            f"dtype-{name}", "a dtype that there is not", row(dtype=f'"{dtype}"'), "DTYPE_UNKNOWN", "A10", "E-1", (A,)
        )
    for name, dtype in {"object": "object", "o": "O", "bar-o": "|O"}.items():
        yield Fault(
            f"dtype-{name}",
            "the dtype of Python objects, which are pickles",
            row(dtype=f'"{dtype}"'),
            "PICKLE_OBJECT_DTYPE",
            "A10 P06",
            "E-1 S-1",
            (A,),
        )
    yield Fault("rank-33", "33 dimensions", row(shape=f"[{','.join('1' * 33)}]"), "LIMIT_RANK", "A02", "E-4 L-1", (A,))
    for name, why, shape in (
        ("overflow-63", "extents whose product is beyond 2^63", "[4294967296,4294967296]"),
        ("overflow-64", "extents whose product is 0 in 64 bits", "[4294967296,4294967296,4294967296]"),
        ("overflow-53", "bytes beyond 2^53", "[9007199254740991]"),
        ("negative", "a negative extent", "[-1]"),
        ("two-negatives", "two negative extents", "[-2,-2]"),
        ("extent-2-53", "an extent beyond 2^53−1", "[9007199254740992,0]"),
        ("extent-2-64", "an extent beyond 2^64", "[36893488147419103232,0]"),
        ("span", "an array without elements whose other extents are beyond 2^63 bytes", "[9007199254740991,1025,0]"),
    ):
        codes = "ARRAY_SHAPE JSON_NUMBER_RANGE" if name.startswith("extent") else "ARRAY_SHAPE"
        yield Fault(f"shape-{name}", why, row(shape=shape), codes, "A13" if "0]" in shape else "A12", "E-4", (A,))


def _deep() -> Iterator[Fault]:
    for name, levels, inner in (("61", 60, "[]"), ("100", 100, "[]")):
        tree = '{"list":[' * levels + f'{{"list":{inner}}}' + "]}" * levels
        yield fault(f"depth-{name}", f"containers {levels + 1} deep", tree, "LIMIT_DEPTH", "N07", "D-8 L-1")
    key = '{"tuple":[' * 60 + "]}" * 60
    yield fault("depth-key", "a key of 60 tuples in a dict", f'{{"dict":[{key},0]}}', "LIMIT_DEPTH", "N07", "D-8")


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from map(in_zarr, [*_kinds(), *_table(), *_numbers(), *_keys(), *_arrays(), *_deep()])
    content = Recipe(
        "zarr-text", {"before": text().decode()[:-5], "repeat": '{"list":[', "times": 100_000, "after": "]}"}
    )
    yield invalid(
        "depth-100000",
        "zarr",
        content,
        "100,000 lists, one inside of the other",
        "LIMIT_DEPTH",
        rows="N07",
        rules="D-8 J-1",
    )
