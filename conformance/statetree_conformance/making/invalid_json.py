"""Invalid vectors: manifests that are not canonical JSON, or not the root of a manifest. Source: spec 4.1 and 4.3."""

import json
from collections.abc import Iterator
from typing import NamedTuple

from statetree_conformance.making.base import A
from statetree_conformance.making.record import Made, Recipe, invalid
from statetree_conformance.making.texts import Document, entry, text
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import folder

__all__ = ["ENTRY", "Fault", "in_zarr", "made", "of_one"]


class Fault(NamedTuple):
    """A manifest in which one thing is wrong."""

    name: str
    fault: str
    text: bytes
    codes: str
    rows: str
    rules: str
    arrays: tuple[Array, ...] = ()


ENTRY = json.dumps(entry(A), separators=(",", ":"))
"""The row of an array in the table, as JSON."""
GOOD = text()
DIGEST = entry(A)["digest"]


def of_one(row: str = ENTRY, tree: str = '{"array":0}') -> bytes:
    """Return a manifest of a table with one row."""
    return text(tree, arrays=f"[{row}]")


def row(digest: str = f'"{DIGEST}"', dtype: str = '"float32"', shape: str = "[2]") -> bytes:
    """Return a manifest of one array whose row has these members."""
    return of_one(f'{{"digest":{digest},"dtype":{dtype},"shape":{shape}}}')


def in_zarr(fault: Fault) -> Made:
    """Return the vector of a manifest: a Zarr folder, so that its text is read by eye."""
    names = tuple(f"{number}-_" for number in range(len(fault.arrays)))
    doc = Document(fault.text, fault.arrays, names)
    return invalid(fault.name, "zarr", folder(doc), fault.fault, fault.codes, rows=fault.rows, rules=fault.rules)


def json_fault(name: str, fault: str, found: bytes, codes: str, rows: str) -> Fault:
    """Return a text that is wrong as JSON."""
    return Fault(f"json-{name}", fault, found, codes, rows, "J-1")


def raw(data: bytes) -> bytes:
    """Return a manifest whose root is a string of these bytes."""
    return text('"@"').replace(b"@", data)


FEATURES = b'"features":[],'
JSON = [
    json_fault(
        "member-twice",
        "the member `algorithm` stands twice",
        GOOD.replace(b"{", b'{"algorithm":"xxh3-128",', 1),
        "JSON_DUPLICATE_KEY NOT_CANONICAL",
        "M01",
    ),
    json_fault(
        "member-twice-nested",
        "the member `list` of a node stands twice",
        text('{"list":[1],"list":[1]}'),
        "JSON_DUPLICATE_KEY NOT_CANONICAL",
        "M02",
    ),
    json_fault(
        "member-twice-escaped",
        "the member `list` stands twice, once with an escape",
        text('{"list":[1],"l\\u0069st":[1]}'),
        "JSON_DUPLICATE_KEY NOT_CANONICAL",
        "M03",
    ),
    json_fault("nan", "a bare `NaN`", text("NaN"), "JSON_NONFINITE JSON_SYNTAX", "M04"),
    json_fault("infinity", "a bare `Infinity`", text("Infinity"), "JSON_NONFINITE JSON_SYNTAX", "M05"),
    json_fault("minus-infinity", "a bare `-Infinity`", text("-Infinity"), "JSON_NONFINITE JSON_SYNTAX", "M06"),
    json_fault("1e400", "a number beyond binary64", text("1e400"), "JSON_NUMBER_RANGE JSON_NUMBER_FORM", "M07"),
    json_fault(
        "5000-digits", "an integer of 5,000 digits as a number", text("1" * 5000), "JSON_NUMBER_RANGE INT_FORM", "M08"
    ),
    json_fault("minus-zero", "`-0` in place of `0`", text("-0"), "JSON_NUMBER_FORM NOT_CANONICAL", "M09"),
    json_fault("1.0", "`1.0` as a node", text("1.0"), "JSON_NUMBER_FORM NOT_CANONICAL", "M09"),
    json_fault("1e2", "`1e2` as a node", text("1e2"), "JSON_NUMBER_FORM NOT_CANONICAL", "M09"),
    json_fault(
        "1.0-in-shape", "`2.0` as an extent", row(shape="[2.0]"), "JSON_NUMBER_FORM NOT_CANONICAL", "M09 A12"
    )._replace(arrays=(A,)),
    json_fault(
        "1.0-as-index",
        "`0.0` as an index of the table",
        of_one(tree='{"array":0.0}'),
        "JSON_NUMBER_FORM NOT_CANONICAL",
        "M09 N03",
    )._replace(arrays=(A,)),
    json_fault("bom", "a byte order mark at the beginning", b"\xef\xbb\xbf" + GOOD, "JSON_ENCODING JSON_SYNTAX", "M11"),
    json_fault(
        "utf-16",
        "UTF-16 with a byte order mark",
        b"\xff\xfe" + GOOD.decode().encode("utf-16-le"),
        "JSON_ENCODING JSON_SYNTAX",
        "M12",
    ),
    json_fault(
        "utf-16-be",
        "UTF-16 without a byte order mark",
        GOOD.decode().encode("utf-16-be"),
        "JSON_ENCODING JSON_SYNTAX",
        "M12",
    ),
    json_fault("overlong", "a slash in two bytes of UTF-8", raw(b"\xc0\xaf"), "JSON_ENCODING JSON_SYNTAX", "M13"),
    json_fault(
        "utf-8-surrogate",
        "a surrogate encoded as three bytes",
        raw(b"\xed\xa0\x80"),
        "JSON_ENCODING TEXT_SURROGATE",
        "M13",
    ),
    json_fault("ff", "a byte 0xff", raw(b"\xff"), "JSON_ENCODING JSON_SYNTAX", "M14"),
    json_fault(
        "cut-sequence", "two of the three bytes of a character", raw(b"\xe2\x82"), "JSON_ENCODING JSON_SYNTAX", "M15"
    ),
    json_fault(
        "surrogate", "an escaped lone surrogate in a str", text('"\\ud800"'), "TEXT_SURROGATE NOT_CANONICAL", "M16"
    )._replace(rules="J-1 D-5"),
    json_fault(
        "surrogate-in-key",
        "an escaped lone surrogate in a key",
        text('{"dict":["\\udfff",1]}'),
        "TEXT_SURROGATE NOT_CANONICAL",
        "M17 K16",
    )._replace(rules="J-1 D-5"),
    json_fault(
        "surrogate-in-field",
        "an escaped lone surrogate in a name of a field",
        text('{"record":[null,"\\ud800",1]}'),
        "TEXT_SURROGATE NOT_CANONICAL",
        "K16",
    )._replace(rules="J-1 D-5"),
    json_fault("trailing-comma", "a comma behind the last item", text('{"list":[1,]}'), "JSON_SYNTAX", "M18"),
    json_fault("comment", "a comment", text("/*x*/1"), "JSON_SYNTAX", "M19"),
    json_fault("single-quotes", "a string in single quotes", text("'a'"), "JSON_SYNTAX", "M20"),
    json_fault("control", "a line feed as it is in a string", text('"a\nb"'), "JSON_SYNTAX NOT_CANONICAL", "M21"),
    json_fault("nul", "a zero byte as it is in a string", text('"a\0b"'), "JSON_SYNTAX NOT_CANONICAL", "M21"),
    json_fault("garbage", "a letter behind the text", GOOD + b"x", "JSON_SYNTAX", "M22"),
    json_fault("trailing-nul", "a zero byte behind the text", GOOD + b"\0", "JSON_SYNTAX", "M22"),
    json_fault("two", "two texts, one behind the other", GOOD + GOOD, "JSON_SYNTAX", "M23"),
    json_fault("nbsp", "a no-break space before the text", b"\xc2\xa0" + GOOD, "JSON_SYNTAX", "M25"),
    json_fault("space", "a space behind a colon", GOOD.replace(b'"tree":', b'"tree": '), "NOT_CANONICAL", "M35"),
    json_fault("line-feed", "a line feed behind the text", GOOD + b"\n", "NOT_CANONICAL", "M35"),
    json_fault(
        "order",
        "`features` behind `tree`",
        GOOD.replace(FEATURES, b"")[:-1] + b",%b}" % FEATURES[:-1],
        "NOT_CANONICAL",
        "M35",
    ),
    json_fault("needless-escape", "`\\u0061` for `a`", text('"\\u0061"'), "NOT_CANONICAL", "M35"),
    json_fault(
        "escaped-name",
        "an escape in the name of a member",
        GOOD.replace(b'"tree"', b'"tr\\u0065e"'),
        "NOT_CANONICAL",
        "M35",
    ),
    json_fault("solidus", "an escaped slash", text('"\\/"'), "NOT_CANONICAL", "M35"),
    json_fault("upper-escape", "upper-case digits in an escape", text('"\\u001F"'), "NOT_CANONICAL", "M35"),
    json_fault("long-escape", "`\\u000a` for `\\n`", text('"\\u000a"'), "NOT_CANONICAL", "M35"),
    json_fault("escaped-delete", "U+007F escaped", text('"\\u007f"'), "NOT_CANONICAL", "M35"),
    json_fault(
        "escaped-pair", "a character beyond U+FFFF as two escapes", text('"\\ud83d\\ude00"'), "NOT_CANONICAL", "M35"
    ),
    Fault("json-no-object", "a list in place of the root", b"[]", "BAD_MAGIC", "V01", "M-1"),
]


def root(name: str, fault: str, found: bytes, codes: str, rows: str, rules: str = "M-1", one: bool = False) -> Fault:
    """Return a text whose root, or whose table, is wrong."""
    return Fault(f"root-{name}", fault, found, codes, rows, rules, (A,) if one else ())


def _missing() -> Iterator[Fault]:
    parts = {
        "algorithm": b'"algorithm":"xxh3-128",',
        "arrays": b'"arrays":[],',
        "features": FEATURES,
        "tree": b',"tree":null',
    }
    for name, part in parts.items():
        yield root(f"no-{name}", f"the member `{name}` is missing", GOOD.replace(part, b""), "SCHEMA_MISSING", "M31")
    for name, member in {
        "digest": f'"digest":"{DIGEST}",',
        "dtype": '"dtype":"float32",',
        "shape": ',"shape":[2]',
    }.items():
        found = of_one(ENTRY.replace(member, ""))
        yield root(f"no-{name}", f"`{name}` of an array is missing", found, "SCHEMA_MISSING", "M31", "M-5", one=True)


def _types() -> Iterator[Fault]:
    for name, found in {
        "algorithm": text(algorithm="1"),
        "arrays": text(arrays="{}"),
        "arrays-null": text(arrays="null"),
        "features": text(features='"a"'),
        "feature": text(features="[1]"),
    }.items():
        yield root(f"type-{name}", "another JSON type", found, "SCHEMA_TYPE", "M32", "M-1 M-3 M-4")
    for name, found in {
        "entry": of_one("[]"),
        "digest": row(digest="1"),
        "dtype": row(dtype="null"),
        "shape": row(shape="2"),
        "extent": row(shape='["2"]'),
        "extent-true": row(shape="[true]"),
    }.items():
        rows = "M32 M10" if name == "extent-true" else "M32"
        yield root(f"type-{name}", "another JSON type", found, "SCHEMA_TYPE", rows, "M-5 M-1", one=True)


MEMBERS = [
    root(
        "unknown-member",
        "a member that the root does not have",
        GOOD[:-1] + b',"writer":"x"}',
        "SCHEMA_UNKNOWN_KEY",
        "M27 V10",
    ),
    root(
        "unknown-member-of-entry",
        "a member that a row of the table does not have",
        of_one(ENTRY[:-1] + ',"units":"m"}'),
        "SCHEMA_UNKNOWN_KEY",
        "M29 V10",
        "M-5",
        one=True,
    ),
    root(
        "unknown-member-minor-99",
        "a member that the root does not have, of a later minor version",
        text(version='"1.99"')[:-1] + b',"writer":"x"}',
        "SCHEMA_UNKNOWN_KEY",
        "V10",
        "M-1 M-2",
    ),
    root(
        "digest-line-feed",
        "a line feed behind a digest",
        row(digest=f'"{DIGEST}\\n"'),
        "SCHEMA_PATTERN",
        "M33",
        "M-5",
        one=True,
    ),
    root(
        "digest-wide-digit",
        "a digit of another script in a digest",
        row(digest=f'"{DIGEST[:-1]}\uff17"'),
        "SCHEMA_PATTERN",
        "M34",
        "M-5",
        one=True,
    ),
    root(
        "digest-upper-case",
        "a digest in capitals",
        row(digest=f'"{DIGEST.upper()}"'),
        "SCHEMA_PATTERN",
        "I02",
        "M-5",
        one=True,
    ),
    root("digest-short", "a digest of two digits", row(digest='"99"'), "SCHEMA_PATTERN", "I02", "M-5", one=True),
    root(
        "digest-long",
        "a digest of as many digits as another algorithm has",
        row(digest=f'"{DIGEST * 2}"'),
        "SCHEMA_PATTERN",
        "I02",
        "M-5",
        one=True,
    ),
    root(
        "algorithm-unknown",
        "a digest algorithm that nobody knows",
        text(algorithm='"md5"'),
        "DIGEST_ALGORITHM",
        "I02",
        "M-4 G-1",
    ),
    root(
        "algorithm-upper-case",
        "a digest algorithm in capitals",
        text(algorithm='"SHA-256"'),
        "DIGEST_ALGORITHM",
        "I02",
        "M-4 G-1",
    ),
    root(
        "algorithm-empty", "no name of a digest algorithm", text(algorithm='""'), "DIGEST_ALGORITHM", "I02", "M-4 G-1"
    ),
]
VERSIONS = [
    root("version-missing", "no member `statetree`", GOOD.replace(b'"statetree":"1.0",', b""), "BAD_MAGIC", "V01"),
    root(
        "version-misspelt",
        "`statetres` in place of `statetree`",
        GOOD.replace(b'"statetree"', b'"statetres"'),
        "BAD_MAGIC",
        "V01",
    ),
    root(
        "version-capital",
        "`Statetree` in place of `statetree`",
        b'{"Statetree":"1.0",' + GOOD[1:].replace(b'"statetree":"1.0",', b""),
        "BAD_MAGIC",
        "V01",
    ),
    root("major-0", "major version 0", text(version='"0.9"'), "VERSION_MAJOR", "V02", "M-2"),
    root("major-2", "major version 2", text(version='"2.0"'), "VERSION_MAJOR", "V03", "M-2"),
    root(
        "major-2-other-members",
        "major version 2, whose members are others",
        b'{"else":[],"statetree":"2.0"}',
        "VERSION_MAJOR",
        "V03",
        "M-2 R-1",
    ),
    root(
        "major-long",
        "a major version of twelve digits",
        text(version='"999999999999.0"'),
        "VERSION_MAJOR",
        "V04",
        "M-2",
    ),
    *(
        root(f"version-{name}", fault, text(version=version), "VERSION_FORM", rows, "M-2")
        for name, fault, version, rows in (
            ("number", "the version as a number", "1", "V08"),
            ("no-minor", "a version without a minor", '"1"', "V08"),
            ("three", "a version of three numbers", '"1.0.0"', "V08"),
            ("leading-zero", "a leading zero in the major", '"01.0"', "V08"),
            ("minor-leading-zero", "a leading zero in the minor", '"1.00"', "V08"),
            ("space", "a space before the version", '" 1.0"', "V08"),
            ("line-feed", "a line feed behind the version", '"1.0\\n"', "V08 M33"),
            ("16-digits", "a minor of 16 digits", '"1.1000000000000000"', "V08"),
            ("wide-digit", "a digit of another script", '"\uff11.0"', "V08"),
        )
    ),
    root("feature", "a feature that nobody knows", text(features='["sparse"]'), "FEATURE_UNKNOWN", "V06", "M-3"),
    root(
        "feature-minor-99",
        "a feature of a later minor version",
        text(features='["sparse"]', version='"1.99"'),
        "FEATURE_UNKNOWN",
        "V06",
        "M-3",
    ),
    root(
        "features-unsorted",
        "features that are not sorted",
        text(features='["b","a"]'),
        "FEATURE_FORM FEATURE_UNKNOWN",
        "V07",
        "M-3",
    ),
    root(
        "features-utf-16",
        "features sorted by units of UTF-16",
        text(features='["\U00010000","\uffff"]'),
        "FEATURE_FORM FEATURE_UNKNOWN",
        "V07",
        "M-3",
    ),
    root("feature-twice", "a feature twice", text(features='["a","a"]'), "FEATURE_FORM FEATURE_UNKNOWN", "V07", "M-3"),
]


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from map(in_zarr, [*JSON, *_missing(), *_types(), *MEMBERS, *VERSIONS])
    for name, opening in {"lists": "[", "objects": '{"a":'}.items():
        content = Recipe("zarr-text", {"repeat": opening, "times": 100_000})
        fault = "100,000 brackets, one inside of the other"
        yield invalid(
            f"json-nested-{name}", "zarr", content, fault, "LIMIT_DEPTH JSON_SYNTAX", rows="M26", rules="J-1 D-8"
        )
