"""The manifest text: one encoding of every tree, and a class and a code for every other text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statetree import StateTreeError
from statetree.decode import Decoder
from statetree.limits import Limits
from statetree.manifest import decode_manifest, encode_manifest

DIGEST = "99aa06d3014798d86001c324468d497f"
ENTRY = f'{{"digest":"{DIGEST}","dtype":"float32","shape":[2]}}'
NODES = {
    "int": '"20000000000000"',
    "float": '"3ff0000000000000"',
    "complex": '["3ff0000000000000","8000000000000000"]',
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


def text(
    tree: str = "null",
    *,
    arrays: str = "",
    algorithm: str = '"xxh3-128"',
    features: str = "[]",
    version: str = '"1.0"',
) -> bytes:
    """Return a manifest whose parts are given as JSON."""
    return (
        f'{{"algorithm":{algorithm},"arrays":[{arrays}],"features":{features},"statetree":{version},"tree":{tree}}}'
    ).encode()


def decode(manifest: bytes, limits: Limits | None = None) -> object:
    """Return the tree of a manifest, its arrays standing for themselves as objects."""
    found = decode_manifest(manifest, limits or Limits(), "manifest")
    return Decoder([object() for _ in found.arrays], limits or Limits()).decode(found.node)


def entry(dtype: str = '"float32"', shape: str = "[2]", digest: str = f'"{DIGEST}"') -> bytes:
    return text('{"array":0}', arrays=f'{{"digest":{digest},"dtype":{dtype},"shape":{shape}}}')


def case(id_: str, manifest: bytes, class_: str, code: str) -> object:
    return pytest.param(manifest, class_, code, id=id_)


GOOD = text()

JSON_CASES = [
    case("M01-duplicate", GOOD.replace(b"{", b'{"algorithm":"xxh3-128",', 1), "malformed", "JSON_DUPLICATE_KEY"),
    case("M02-nested", text('{"list":[1],"list":[1]}'), "malformed", "JSON_DUPLICATE_KEY"),
    case("M03-escaped", text('{"list":[1],"l\\u0069st":[1]}'), "malformed", "JSON_DUPLICATE_KEY"),
    case("M04-nan", text("NaN"), "malformed", "JSON_NONFINITE"),
    case("M05-infinity", text("Infinity"), "malformed", "JSON_NONFINITE"),
    case("M06-minus-infinity", text("-Infinity"), "malformed", "JSON_NONFINITE"),
    case("M07-1e400", text("1e400"), "malformed", "JSON_NUMBER_RANGE"),
    case("M07-minus-1e400", text("-1e400"), "malformed", "JSON_NUMBER_RANGE"),
    case("M08-5000-digits", text("1" * 5000), "malformed", "JSON_NUMBER_RANGE"),
    case("M09-minus-zero", text("-0"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.0", text("1.0"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5", text("1.5"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1e2", text("1e2"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.0-in-a-shape", entry(shape="[1.0]"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.0-as-an-index", text('{"array":0.0}', arrays=ENTRY), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.0-as-a-key", text('{"dict":[1.0,1]}'), "malformed", "JSON_NUMBER_FORM"),
    *(
        case(f"M09-1.5-as-{kind}", text(f'{{"{kind}":1.5}}'), "malformed", "JSON_NUMBER_FORM")
        for kind in ("int", "float", "complex", "bytes", "symbol", "scalar", "array", "dict", "list", "record", "set")
    ),
    case("M09-1.5-in-a-complex", text('{"complex":[1.5,1.5]}'), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-bits", text('{"scalar":["int8",1.5]}'), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-a-label", text('{"record":[1.5]}'), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-a-name", text('{"record":[null,1.5,1]}'), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-the-algorithm", text(algorithm="1.5"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-a-feature", text(features="[1.5]"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-an-entry", text(arrays="1.5"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-a-digest", entry(digest="1.5"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-as-the-version", text(version="1.5"), "malformed", "JSON_NUMBER_FORM"),
    case("M09-1.5-in-an-unknown-member", GOOD[:-1] + b',"x":1.5}', "malformed", "JSON_NUMBER_FORM"),
    case("M10-true-in-a-shape", entry(shape="[true]"), "invalid", "SCHEMA_TYPE"),
    case("M11-bom", b"\xef\xbb\xbf" + GOOD, "malformed", "JSON_ENCODING"),
    case("M12-utf-16", GOOD.decode().encode("utf-16"), "malformed", "JSON_ENCODING"),
    case("M12-utf-16-le", GOOD.decode().encode("utf-16-le"), "malformed", "JSON_ENCODING"),
    case("M12-utf-16-be", GOOD.decode().encode("utf-16-be"), "malformed", "JSON_ENCODING"),
    case("M12-utf-32-be", GOOD.decode().encode("utf-32-be"), "malformed", "JSON_ENCODING"),
    case("M13-overlong", text('"@"').replace(b"@", b"\xc0\xaf"), "malformed", "JSON_ENCODING"),
    case("M13-overlong-nul", text('"@"').replace(b"@", b"\xc0\x80"), "malformed", "JSON_ENCODING"),
    case("M13-surrogate-in-utf-8", text('"@"').replace(b"@", b"\xed\xa0\x80"), "malformed", "JSON_ENCODING"),
    case("M14-ff", text('"@"').replace(b"@", b"\xff"), "malformed", "JSON_ENCODING"),
    case("M15-cut-sequence", text('"@"').replace(b"@", b"\xe2\x82"), "malformed", "JSON_ENCODING"),
    case("M16-surrogate", text('"\\ud800"'), "malformed", "TEXT_SURROGATE"),
    case("M16-low-first", text('"\\udc00\\ud800"'), "malformed", "TEXT_SURROGATE"),
    case("M17-surrogate-in-a-key", text('{"dict":["\\ud800",1]}'), "malformed", "TEXT_SURROGATE"),
    case("M17-surrogate-in-a-name", text('{"\\ud800":1}'), "malformed", "TEXT_SURROGATE"),
    case("M18-trailing-comma", text('{"list":[1,]}'), "malformed", "JSON_SYNTAX"),
    case("M19-comment", text("/*x*/1"), "malformed", "JSON_SYNTAX"),
    case("M20-single-quotes", text("'a'"), "malformed", "JSON_SYNTAX"),
    case("M21-raw-control", text('"a\nb"'), "malformed", "JSON_SYNTAX"),
    case("M21-raw-nul", text('"a\0b"'), "malformed", "JSON_SYNTAX"),
    case("M22-trailing-garbage", GOOD + b"x", "malformed", "JSON_SYNTAX"),
    case("M22-trailing-nul", GOOD + b"\0", "malformed", "JSON_SYNTAX"),
    case("M23-two-documents", GOOD + GOOD, "malformed", "JSON_SYNTAX"),
    case("M24-empty", b"", "malformed", "JSON_SYNTAX"),
    case("M24-space", b" ", "malformed", "JSON_SYNTAX"),
    case("M25-nbsp", b"\xc2\xa0" + GOOD, "malformed", "JSON_SYNTAX"),
    case("M26-nested", b"[" * 100_000, "limit", "LIMIT_DEPTH"),
    case("M26-nested-and-closed", b"[" * 100_000 + b"]" * 100_000, "limit", "LIMIT_DEPTH"),
    case("M26-nested-objects", b'{"a":' * 100_000, "limit", "LIMIT_DEPTH"),
    case("M26-nested-features", text(features="[" * 200 + "]" * 200), "limit", "LIMIT_DEPTH"),
    case("M35-space", GOOD.replace(b":", b": "), "malformed", "NOT_CANONICAL"),
    case("M35-line-feed", GOOD + b"\n", "malformed", "NOT_CANONICAL"),
    case("M35-order", GOOD.replace(b'"features":[],', b"")[:-1] + b',"features":[]}', "malformed", "NOT_CANONICAL"),
    case("M35-needless-escape", text('"\\u0061"'), "malformed", "NOT_CANONICAL"),
    case("M35-solidus", text('"\\/"'), "malformed", "NOT_CANONICAL"),
    case("M35-long-escape", text('"\\u000a"'), "malformed", "NOT_CANONICAL"),
    case("M35-upper-case-escape", text('"\\u001F"'), "malformed", "NOT_CANONICAL"),
    case("M35-escaped-delete", text('"\\u007f"'), "malformed", "NOT_CANONICAL"),
    case("M35-escaped-pair", text('"\\ud83d\\ude00"'), "malformed", "NOT_CANONICAL"),
]

SCHEMA_CASES = [
    case("M27-unknown-member", GOOD[:-1] + b',"writer":"x"}', "invalid", "SCHEMA_UNKNOWN_KEY"),
    case(
        "M29-unknown-in-an-entry", text('{"array":0}', arrays=ENTRY[:-1] + ',"x":1}'), "invalid", "SCHEMA_UNKNOWN_KEY"
    ),
    *(
        case(f"M30-second-member-of-{kind}", text(f'{{"{kind}":{value},"~":1}}', arrays=ENTRY), "invalid", "NODE_KIND")
        for kind, value in NODES.items()
    ),
    *(
        case(f"M31-no-{name}", manifest, "invalid", "SCHEMA_MISSING")
        for name, manifest in (
            ("algorithm", GOOD.replace(b'"algorithm":"xxh3-128",', b"")),
            ("arrays", GOOD.replace(b'"arrays":[],', b"")),
            ("features", GOOD.replace(b'"features":[],', b"")),
            ("tree", GOOD.replace(b',"tree":null', b"")),
            ("digest", text('{"array":0}', arrays='{"dtype":"float32","shape":[2]}')),
            ("dtype", text('{"array":0}', arrays=f'{{"digest":"{DIGEST}","shape":[2]}}')),
            ("shape", text('{"array":0}', arrays=f'{{"digest":"{DIGEST}","dtype":"float32"}}')),
        )
    ),
    *(
        case(f"M32-algorithm-{value}", text(algorithm=value), "invalid", "SCHEMA_TYPE")
        for value in ("1", "null", "true", "[]", "{}")
    ),
    *(
        case(f"M32-features-{value}", text(features=value), "invalid", "SCHEMA_TYPE")
        for value in ("1", "null", "true", '"a"', "{}", "[1]", "[null]")
    ),
    *(
        case(
            f"M32-arrays-{value}", GOOD.replace(b'"arrays":[]', f'"arrays":{value}'.encode()), "invalid", "SCHEMA_TYPE"
        )
        for value in ("1", "null", "true", '"a"', "{}")
    ),
    *(case(f"M32-entry-{value}", text(arrays=value), "invalid", "SCHEMA_TYPE") for value in ("1", "null", '"a"', "[]")),
    *(case(f"M32-digest-{value}", entry(digest=value), "invalid", "SCHEMA_TYPE") for value in ("1", "null", "[]")),
    *(case(f"M32-dtype-{value}", entry(dtype=value), "invalid", "SCHEMA_TYPE") for value in ("1", "null", "[]", "{}")),
    *(case(f"M32-shape-{value}", entry(shape=value), "invalid", "SCHEMA_TYPE") for value in ("1", "null", '"2"', "{}")),
    *(
        case(f"M32-extent-{value}", entry(shape=f"[{value}]"), "invalid", "SCHEMA_TYPE")
        for value in ("null", '"2"', "[]", "false")
    ),
    *(
        case(f"M32-{kind}-of-{value}", text(f'{{"{kind}":{value}}}', arrays=ENTRY), "invalid", code)
        for kind, values, code in (
            ("list", ("null", "1", '"a"', "{}"), "SCHEMA_TYPE"),
            ("tuple", ("null", "1", '"a"', "{}"), "SCHEMA_TYPE"),
            ("dict", ("null", "1", '"a"', "{}"), "SCHEMA_TYPE"),
            ("record", ("null", "1", '"a"', "{}"), "SCHEMA_TYPE"),
            ("symbol", ("null", "1", "[]", "{}"), "SCHEMA_TYPE"),
            ("scalar", ("null", "1", '"a"', "{}", "[1]"), "SCHEMA_TYPE"),
            ("int", ("null", "1", "[]"), "INT_FORM"),
            ("float", ("null", "1", "[]"), "FLOAT_FORM"),
            ("complex", ("null", "1", '"3ff0000000000000"', "{}"), "FLOAT_FORM"),
            ("bytes", ("null", "1", "[]"), "BYTES_FORM"),
        )
        for value in values
    ),
    case("M33-digest-line-feed", entry(digest=f'"{DIGEST}\\n"'), "invalid", "SCHEMA_PATTERN"),
    case("M33-digest-line-feed-inside", entry(digest=f'"{DIGEST[:-1]}\\n"'), "invalid", "SCHEMA_PATTERN"),
    case("M33-version-line-feed", text(version='"1.0\\n"'), "malformed", "VERSION_FORM"),
    case("M33-float-line-feed", text('{"float":"3ff000000000000\\n"}'), "invalid", "FLOAT_FORM"),
    case("M33-int-line-feed", text('{"int":"20000000000000\\n"}'), "invalid", "INT_FORM"),
    case("M33-bytes-line-feed", text('{"bytes":"YQ==\\n"}'), "invalid", "BYTES_FORM"),
    case("M34-digits-of-another-script", text('{"int":"２0000000000000"}'), "invalid", "INT_FORM"),
    case("M34-digest-of-another-script", entry(digest=f'"{DIGEST[:-1]}７"'), "invalid", "SCHEMA_PATTERN"),
    case("M34-float-of-another-script", text('{"float":"٣ff0000000000000"}'), "invalid", "FLOAT_FORM"),
    case("digest-upper-case", entry(digest=f'"{DIGEST.upper()}"'), "invalid", "SCHEMA_PATTERN"),
    case("digest-too-short", entry(digest='"99"'), "invalid", "SCHEMA_PATTERN"),
    case("digest-of-another-algorithm", entry(digest=f'"{DIGEST * 2}"'), "invalid", "SCHEMA_PATTERN"),
]

VERSION_CASES = [
    case("V01-missing", GOOD.replace(b'"statetree":"1.0",', b""), "malformed", "BAD_MAGIC"),
    case("V01-misspelt", GOOD.replace(b'"statetree"', b'"statetres"'), "malformed", "BAD_MAGIC"),
    case("V01-another-case", b'{"Statetree":"1.0"}', "malformed", "BAD_MAGIC"),
    *(
        case(f"V01-{value.decode()}", value, "malformed", "BAD_MAGIC")
        for value in (b"[]", b'"statetree"', b"1", b"null", b"{}")
    ),
    case("V02-major-0", text(version='"0.9"'), "unsupported", "VERSION_MAJOR"),
    case("V03-major-2", text(version='"2.0"'), "unsupported", "VERSION_MAJOR"),
    case("V03-major-2-before-all-else", b'{"else":[],"statetree":"2.0"}', "unsupported", "VERSION_MAJOR"),
    case("V03-major-10", text(version='"10.0"'), "unsupported", "VERSION_MAJOR"),
    case("V04-major-999999999", text(version='"999999999999.0"'), "unsupported", "VERSION_MAJOR"),
    case("V06-feature", text(features='["sparse"]'), "unsupported", "FEATURE_UNKNOWN"),
    case("V06-feature-of-a-newer-minor", text(features='["x"]', version='"1.99"'), "unsupported", "FEATURE_UNKNOWN"),
    case("V07-unsorted", text(features='["b","a"]'), "invalid", "FEATURE_FORM"),
    case("V07-twice", text(features='["a","a"]'), "invalid", "FEATURE_FORM"),
    *(
        case(f"V08-{value}", text(version=value), "malformed", "VERSION_FORM")
        for value in (
            "1",
            "null",
            "[]",
            '"1"',
            '"1.0.0"',
            '"01.0"',
            '" 1.0"',
            '"1.00"',
            '"1."',
            '"１.0"',
            '""',
            '"1000000000000000.0"',
            '"1.1000000000000000"',
        )
    ),
    case("V10-on-the-root-of-a-newer-minor", text(version='"1.9"')[:-1] + b',"x":1}', "invalid", "SCHEMA_UNKNOWN_KEY"),
    *(
        case(f"algorithm-{name}", text(algorithm=f'"{name}"'), "unsupported", "DIGEST_ALGORITHM")
        for name in ("md5", "xxh3-64", "SHA-256", "")
    ),
]

NODE_CASES = [
    case("N02-no-member", text("{}"), "invalid", "NODE_KIND"),
    case("N02-two-members", text('{"list":[],"tuple":[]}'), "invalid", "NODE_KIND"),
    case("N02-M28-unknown", text('{"set":[]}'), "invalid", "NODE_KIND"),
    case("N02-another-case", text('{"List":[]}'), "invalid", "NODE_KIND"),
    case("N02-a-list-is-no-node", text("[]"), "invalid", "NODE_KIND"),
    case("N02-dict-without-a-value", text('{"dict":["a"]}'), "invalid", "NODE_KIND"),
    case("N02-record-without-a-label", text('{"record":[]}'), "invalid", "NODE_KIND"),
    case("N02-record-without-a-value", text('{"record":[null,"a"]}'), "invalid", "NODE_KIND"),
    case("N02-record-with-another-label", text('{"record":[1]}'), "invalid", "NODE_KIND"),
    case("N02-record-with-another-name", text('{"record":[null,1,1]}'), "invalid", "SCHEMA_TYPE"),
    case("N03-index-negative", text('{"array":-1}', arrays=ENTRY), "invalid", "ARRAY_INDEX"),
    case("N03-index-too-large", text('{"array":1}', arrays=ENTRY), "invalid", "ARRAY_INDEX"),
    case("N03-index-of-no-table", text('{"array":0}'), "invalid", "ARRAY_INDEX"),
    case("N03-index-true", text('{"array":true}', arrays=f"{ENTRY},{ENTRY}"), "invalid", "ARRAY_INDEX"),
    case("N03-index-text", text('{"array":"0"}', arrays=ENTRY), "invalid", "ARRAY_INDEX"),
    case("N03-orphan", text(arrays=ENTRY), "invalid", "ARRAY_ORPHAN"),
    case("N03-orphan-at-the-end", text('{"array":0}', arrays=f"{ENTRY},{ENTRY}"), "invalid", "ARRAY_ORPHAN"),
    case(
        "N03-order",
        text('{"list":[{"array":1},{"array":0}]}', arrays=f"{ENTRY},{ENTRY}"),
        "invalid",
        "ARRAY_ORDER",
    ),
    case("N04-small-as-hex", text('{"int":"2a"}'), "invalid", "INT_FORM"),
    case("N04-largest-small-as-hex", text('{"int":"1fffffffffffff"}'), "invalid", "INT_FORM"),
    case("N04-smallest-small-as-hex", text('{"int":"-1fffffffffffff"}'), "invalid", "INT_FORM"),
    case("N04-zero-as-hex", text('{"int":"0"}'), "invalid", "INT_FORM"),
    case("N04-large-as-a-number", text("9007199254740992"), "invalid", "INT_FORM"),
    case("N04-large-negative-as-a-number", text("-9007199254740992"), "invalid", "INT_FORM"),
    *(
        case(f"S02-{value}", text(f'{{"int":"{value}"}}'), "invalid", "INT_FORM")
        for value in ("+ff", "0ff", "-0", "FF", "0xff", " ff", "f_f", "", "-", "ｆｆ", "2000000000000_0", "--ff", "fg")
    ),
    *(
        case(f"S02-long-{value}", text(f'{{"int":"{value}"}}'), "invalid", "INT_FORM")
        for value in ("+20000000000000", "020000000000000", "2000000000000A", "20000000000000 ", "0x20000000000000")
    ),
    *(
        case(f"S08-float-{value}", text(f'{{"float":"{value}"}}'), "invalid", "FLOAT_FORM")
        for value in ("3ff", "3FF0000000000000", "0x3ff00000000000", "3ff00000000000000", "", "3ff000000000000 ", "1.0")
    ),
    case("S08-complex-of-one", text('{"complex":["3ff0000000000000"]}'), "invalid", "FLOAT_FORM"),
    case(
        "S08-complex-of-three",
        text(f'{{"complex":{["3ff0000000000000"] * 3}}}'.replace("'", '"').replace(" ", "")),
        "invalid",
        "FLOAT_FORM",
    ),
    *(
        case(f"S08-scalar-{value}", text(f'{{"scalar":["float32",{value}]}}'), "invalid", "FLOAT_FORM")
        for value in ('"3f80"', '"3F800000"', '"0x3f8000"', '"3f80000"', '"3f800000","3f800000"', "1", "null")
    ),
    case("S08-scalar-of-nothing", text('{"scalar":[]}'), "invalid", "FLOAT_FORM"),
    case("S08-scalar-without-bits", text('{"scalar":["float32"]}'), "invalid", "FLOAT_FORM"),
    case("S08-complex-scalar-in-one", text('{"scalar":["complex64","3f8000003f800000"]}'), "invalid", "FLOAT_FORM"),
    *(
        case(f"S08-bytes-{value}", text(f'{{"bytes":"{value}"}}'), "invalid", "BYTES_FORM")
        for value in ("YR==", "YQ", "YQ=", "-_8=", "Y", "=", "====", "YQ==YQ==", "Y Q=", "YWF=", "ＹＱ==", "YQ===")
    ),
    case("bool-scalar-of-2", text('{"scalar":["bool","02"]}'), "invalid", "BOOL_VALUE"),
    case("int4-scalar-of-16", text('{"scalar":["int4","10"]}'), "invalid", "SUBBYTE_RANGE"),
    case("int2-scalar-sign-extended", text('{"scalar":["int2","ff"]}'), "invalid", "SUBBYTE_RANGE"),
    case("float6-scalar-of-64", text('{"scalar":["float6_e2m3fn","40"]}'), "invalid", "SUBBYTE_RANGE"),
    case("scalar-of-an-unknown-dtype", text('{"scalar":["float128","00"]}'), "unsupported", "DTYPE_UNKNOWN"),
    *(
        case(f"scalar-of-{name}", text(f'{{"scalar":["{name}","00"]}}'), "security", "PICKLE_OBJECT_DTYPE")
        for name in ("O", "|O", "object")
    ),
    case("K23-1-and-true", text('{"dict":[1,0,true,0]}'), "invalid", "KEY_COLLISION"),
    case("K23-false-and-0", text('{"dict":[false,0,0,0]}'), "invalid", "KEY_COLLISION"),
    case("K23-in-tuples", text('{"dict":[{"tuple":[1]},0,{"tuple":[true]},0]}'), "invalid", "KEY_COLLISION"),
    case(
        "K23-in-nested-tuples",
        text('{"dict":[{"tuple":["a",{"tuple":[0]}]},0,{"tuple":["a",{"tuple":[false]}]},0]}'),
        "invalid",
        "KEY_COLLISION",
    ),
    *(
        case(f"K26-{key}", text(f'{{"dict":[{key},0,{key},0]}}'), "invalid", "KEY_DUPLICATE")
        for key in ('"a"', "1", "true", "null", '{"bytes":"YQ=="}', '{"symbol":"a"}', '{"tuple":[1,{"symbol":"a"}]}')
    ),
    case(
        "K26-large-int",
        text('{"dict":[{"int":"20000000000000"},0,{"int":"20000000000000"},0]}'),
        "invalid",
        "KEY_DUPLICATE",
    ),
    case("K27-field", text('{"record":[null,"a",1,"a",1]}'), "invalid", "KEY_DUPLICATE"),
    case("K27-empty-field", text('{"record":[null,"",1,"",1]}'), "invalid", "KEY_DUPLICATE"),
    *(
        case(f"key-{key}", text(f'{{"dict":[{key},0]}}'), "invalid", "NODE_KIND")
        for key in ("{}", "[]", '["a"]', '{"bytes":"","set":1}', '{"bytes":"","symbol":""}')
    ),
    case("key-of-no-kind", text('{"dict":[{"set":1},0]}'), "invalid", "KEY_FORM"),
    *(
        case(f"key-{key}", text(f'{{"dict":[{key},0]}}', arrays=ENTRY), "invalid", "KEY_FORM")
        for key in (
            '{"float":"3ff0000000000000"}',
            '{"list":[]}',
            '{"dict":[]}',
            '{"record":[null]}',
            '{"array":0}',
            '{"scalar":["bool","01"]}',
            '{"complex":["3ff0000000000000","3ff0000000000000"]}',
        )
    ),
]

ARRAY_CASES = [
    *(
        case(f"A10-{name}", entry(dtype=f'"{name}"'), "unsupported", "DTYPE_UNKNOWN")
        for name in (
            "Float32",
            "<f4",
            "float",
            "longdouble",
            "datetime64",
            "V8",
            "U5",
            "",
            "float32 ",
            "int1",
            "bcomplex32",
        )
    ),
    *(
        case(f"A10-{name}", entry(dtype=f'"{name}"'), "security", "PICKLE_OBJECT_DTYPE")
        for name in ("O", "|O", "object")
    ),
    case("A02-rank-33", entry(shape="[" + ",".join(["1"] * 33) + "]"), "limit", "LIMIT_RANK"),
    case("A12-product-over-2-63", entry(shape="[4294967296,4294967296]"), "invalid", "ARRAY_SHAPE"),
    case("A12-product-over-2-53", entry(shape="[9007199254740991]"), "invalid", "ARRAY_SHAPE"),
    case("A12-negative", entry(shape="[-1]"), "invalid", "ARRAY_SHAPE"),
    case("A12-two-negatives", entry(shape="[-2,-2]"), "invalid", "ARRAY_SHAPE"),
    case("A12-float", entry(shape="[2.5]"), "malformed", "JSON_NUMBER_FORM"),
    case("A13-span-over-2-63", entry(dtype='"uint8"', shape="[9007199254740991,1025,0]"), "invalid", "ARRAY_SHAPE"),
    case("A13-extent-over-2-53", entry(shape="[9007199254740992,0]"), "invalid", "ARRAY_SHAPE"),
    case("A13-extent-over-2-64", entry(shape="[36893488147419103232,0]"), "invalid", "ARRAY_SHAPE"),
]

ALL_CASES = [*JSON_CASES, *SCHEMA_CASES, *VERSION_CASES, *NODE_CASES, *ARRAY_CASES]


@pytest.mark.parametrize(("manifest", "class_", "code"), ALL_CASES)
def test_every_text_but_the_one_of_a_tree_is_refused_by_class_and_code(manifest: bytes, class_: str, code: str) -> None:
    with pytest.raises(StateTreeError) as caught:
        decode(manifest)

    assert (caught.value.error_class, caught.value.code) == (class_, code)


@pytest.mark.parametrize(
    "manifest",
    [
        pytest.param(GOOD, id="smallest"),
        pytest.param(text(version='"1.99"'), id="V05-newer-minor"),
        pytest.param(text(version='"1.999999999"'), id="V05-longest-minor"),
        pytest.param(text(algorithm='"sha-256"'), id="sha-256"),
        pytest.param(entry(), id="array"),
        pytest.param(entry(dtype='"uint8"', shape="[9007199254740991,0]"), id="A13-largest-extent"),
        pytest.param(entry(shape="[" + ",".join(["1"] * 32) + "]"), id="rank-32"),
        pytest.param(text('{"dict":["a",0,{"symbol":"a"},0,1,0,"1",0]}'), id="K20-K24-keys"),
        *(
            pytest.param(text(f'{{"{kind}":{value}}}', arrays=ENTRY * (kind == "array")), id=kind)
            for kind, value in NODES.items()
        ),
    ],
)
def test_the_text_of_a_tree_is_accepted(manifest: bytes) -> None:
    decode(manifest)


def test_depth_60_is_accepted_and_61_refused() -> None:
    def nested(depth: int) -> bytes:
        return text('{"list":[' * depth + "1" + "]}" * depth)

    decode(nested(60))
    with pytest.raises(StateTreeError) as caught:
        decode(nested(61))

    assert str(caught.value) == (
        f"expected at most 60 levels of containers, got level 61 (at {'/#0' * 60}): this limit is fixed"
    )


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (
            GOOD.replace(b'"1.0"', b'"2.0"'),
            "expected format version 1, got version 2.0 (in manifest): "
            "read it with a newer statetree: pip install -U statetree",
        ),
        (
            text(features='["sparse"]'),
            "expected features that this reader knows (none so far), got 'sparse' (in manifest): "
            "read it with a newer statetree: pip install -U statetree",
        ),
        (
            text(algorithm='"md5"'),
            "expected a digest algorithm of xxh3-128, sha-256, blake3, got 'md5': "
            "choose one of these; a file with another one needs a newer statetree",
        ),
        (
            text('{"list":[{"scalar":["O","00"]}]}'),
            "expected a dtype of the format, got Python objects (at /#0): "
            "object arrays are pickles and are refused for long-term storage",
        ),
        (
            text('{"list":[{"float":1.5}]}'),
            "expected an integer, got 1.5 (in manifest): write the file with a conforming writer",
        ),
        (
            entry(dtype='"O"'),
            "expected a dtype of the format, got Python objects (in manifest/arrays/0): "
            "object arrays are pickles and are refused for long-term storage",
        ),
        (
            text('{"dict":["a",{"dict":[1,0,true,0]}]}'),
            "expected keys that stay different in Python, got keys that are equal there, such as 1 and true "
            "(at /a/~t): write the file with a conforming writer",
        ),
        (
            text('{"dict":["x",{"list":[{"float":"1.0"}]}]}'),
            "expected 16 lower-case hexadecimal digits, got '1.0' (at /x/#0): write the file with a conforming writer",
        ),
        (
            GOOD.replace(b":", b": ", 1),
            "expected canonical JSON, got another text of the same value, first different at byte 13 (in manifest): "
            "write the file with a conforming writer",
        ),
        (
            GOOD.replace(b"{", b'{"algorithm":"xxh3-128",', 1),
            "expected unique member names, got 'algorithm' twice (in manifest): "
            "write the file with a conforming writer",
        ),
    ],
)
def test_a_refusal_says_what_was_expected_where_and_what_to_do(manifest: bytes, message: str) -> None:
    with pytest.raises(StateTreeError) as caught:
        decode(manifest)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("limits", "manifest", "code"),
    [
        (Limits(manifest_bytes=50), GOOD, "LIMIT_MANIFEST"),
        (Limits(nodes=3), text('{"list":[1,2,3]}'), "LIMIT_NODES"),
        (Limits(nodes=3), text('{"dict":[1,2,3,4]}'), "LIMIT_NODES"),
        (Limits(nodes=4), text('{"dict":[{"tuple":[1,2]},3]}'), "LIMIT_NODES"),
        (Limits(nodes=4), text('{"record":["L","a",1,"b",2]}'), "LIMIT_NODES"),
        (Limits(key_bytes=4), text('{"dict":["aaaaa",1]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"dict":["σσσ",1]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"dict":[{"symbol":"aaaaa"},1]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"dict":[{"bytes":"YWFhYWE="},1]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"dict":[{"tuple":["aaaaa"]},1]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"record":["aaaaa"]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"record":[null,"aaaaa",1]}'), "LIMIT_KEY"),
        (Limits(key_bytes=4), text('{"symbol":"aaaaa"}'), "LIMIT_KEY"),
        (Limits(string_bytes=4), text('"aaaaa"'), "LIMIT_STRING"),
        (Limits(string_bytes=4), text('"σσσ"'), "LIMIT_STRING"),
        (Limits(string_bytes=4), text('{"bytes":"YWFhYWE="}'), "LIMIT_STRING"),
        (Limits(integer_digits=14), text('{"int":"200000000000000"}'), "LIMIT_INTEGER"),
        (Limits(arrays=0), text('{"array":0}', arrays=ENTRY), "LIMIT_ARRAYS"),
    ],
)
def test_what_is_above_a_limit_is_refused_and_the_limit_can_be_raised(
    limits: Limits, manifest: bytes, code: str
) -> None:
    with pytest.raises(StateTreeError) as caught:
        decode(manifest, limits)

    assert (caught.value.error_class, caught.value.code) == ("limit", code)
    decode(manifest)


@pytest.mark.parametrize(
    ("nodes", "tree"),
    [
        (1, "null"),
        (4, '{"list":[1,2,3]}'),
        (3, '{"dict":["a",1]}'),
        (3, '{"record":["L","a",1]}'),
        (1, '{"record":[null]}'),
        (5, '{"dict":[{"tuple":[1,2]},3]}'),
    ],
)
def test_a_tree_of_as_many_nodes_as_the_limit_says_is_accepted(nodes: int, tree: str) -> None:
    decode(text(tree), Limits(nodes=nodes))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4])
def test_text_at_its_limit_is_accepted(size: int) -> None:
    decode(text(f'{{"dict":["{"a" * size}",{{"symbol":"{"b" * size}"}}]}}'), Limits(key_bytes=4))


nodes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
    | st.binary(min_size=8, max_size=8).map(lambda b: {"float": b.hex()}),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: {"list": items}),
    max_leaves=12,
)


@given(nodes, st.integers(0, 500), st.integers(0, 255))
def test_a_changed_byte_of_a_manifest_is_refused_or_gives_another_text(node: object, at: int, byte: int) -> None:
    right = encode_manifest(node, [], "xxh3-128")
    changed = bytearray(right)
    changed[at % len(right)] = byte

    try:
        found = decode_manifest(bytes(changed), Limits(), "manifest")
    except StateTreeError:
        return

    # What decodes is the text of what was decoded: no two texts of one value.
    minor = b'"1.0"' not in changed
    assert minor or encode_manifest(found.node, found.arrays, found.algorithm) == bytes(changed)
