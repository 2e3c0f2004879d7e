"""Invalid vectors: the same fault in every container. Source: spec sections 3, 4, 6 and 7."""

from collections.abc import Iterator

from statetree_conformance.making.base import BASE, CONTAINERS, SOUND, A
from statetree_conformance.making.bson import bson_file
from statetree_conformance.making.hdf5 import hdf5_file
from statetree_conformance.making.header import AT, put
from statetree_conformance.making.record import Content, Made, invalid
from statetree_conformance.making.texts import INFO, Document, canonical, digest, document
from statetree_conformance.making.values import Array
from statetree_conformance.making.zarr import but, folder, group_json, json_text, raw, root
from statetree_conformance.making.zipped import entries, zip_file

__all__ = ["made"]


def everywhere(name: str, doc: Document, fault: str, codes: str, *, rows: str, rules: str) -> Iterator[Made]:
    """Yield the vector of a document that is wrong itself, in each container."""
    for container in CONTAINERS:
        yield invalid(name, container, SOUND[container](doc), fault, codes, rows=rows, rules=rules)


def made() -> Iterator[Made]:
    """Yield the vectors."""
    yield from _elements()
    yield from _versions()
    yield from _algorithms()
    yield from _digests()
    yield from _blocks()
    yield from _info()


def _elements() -> Iterator[Made]:
    for name, dtype, bits, codes, rows in (
        ("bool-2", "bool", b"\1\2", "BOOL_VALUE", "A07"),
        ("int4-16", "int4", b"\x0f\x10", "SUBBYTE_RANGE", "A08"),
    ):
        doc = document([Array(dtype, (2,), bits)])
        yield from everywhere(name, doc, "an element with bits that mean nothing", codes, rows=rows, rules="E-3")
    for dtype, byte in {
        "int2": 0xFF,
        "uint2": 4,
        "uint4": 16,
        "float6_e2m3fn": 64,
        "float6_e3m2fn": 64,
        "float4_e2m1fn": 16,
    }.items():
        doc = document([Array(dtype, (1,), bytes([byte]))])
        name, fault = f"{dtype.replace('_', '-')}-bits", "an element with bits that mean nothing"
        yield invalid(name, "zarr", folder(doc), fault, "SUBBYTE_RANGE", rows="A08", rules="E-3")
    doc = document([Array("bool", (1,), b"\xff")])
    yield invalid("bool-255", "zarr", folder(doc), "a bool of 255", "BOOL_VALUE", rows="A07", rules="E-3")


def _versions() -> Iterator[Made]:
    yield from everywhere(
        "major-2",
        document({"a": A}, version="2.0"),
        "a later major version, in the container's own fields and in the manifest",
        "VERSION_MAJOR",
        rows="V03",
        rules="M-2 C-5 Z-1 B-2",
    )
    yield from everywhere(
        "major-0",
        document({"a": A}, version="0.1"),
        "major version 0, in the container's own fields and in the manifest",
        "VERSION_MAJOR",
        rows="V02",
        rules="M-2",
    )
    other = BASE.but(version="1.1")
    for container in CONTAINERS:
        fault = "the container says minor version 1, the manifest 0"
        content = SOUND[container](other)
        yield invalid("other-minor", container, content, fault, "accept", "BACKEND_MISMATCH", doc=BASE, rules="M-2")


def _algorithms() -> Iterator[Made]:
    yield from everywhere(
        "other-algorithm",
        BASE.but(algorithm="sha-256"),
        "digests of another algorithm than the manifest's",
        "BACKEND_MISMATCH",
        rows="I02",
        rules="R-1 Z-1 C-5",
    )
    yield from everywhere(
        "unknown-algorithm",
        BASE.but(algorithm="md5"),
        "an algorithm of the container that nobody knows",
        "DIGEST_ALGORITHM",
        rows="I02",
        rules="G-1 C-5 Z-1",
    )


def _recorded(container: str, part: str) -> Content:
    """Return a container that records another digest of a text."""
    wrong = digest(BASE.algorithm, b"another text")
    if container == "hdf5":
        return hdf5_file(BASE, edit=put(AT[part] + 16, wrong))
    if container == "bson":
        return bson_file(BASE, edit=put(AT[part] + 16, wrong))
    said = json_text(group_json(statetree=root(BASE, **{part: wrong.hex()})))
    files = but(folder(BASE), {"/zarr.json": said})
    return files if container == "zarr" else zip_file(entries(files))


def _flipped(container: str, data: bytes) -> Content:
    """Return a container one of whose bytes is another: the first of `data`, which stands there once."""
    changed = bytes([data[0] ^ 1]) + data[1:]
    if container in ("zarr", "zarr.zip"):
        sound = folder(BASE)
        files = but(sound, {f"/{name}": raw(found).replace(data, changed) for name, found in sound.items()})
        return files if container == "zarr" else zip_file(entries(files))
    content = SOUND[container](BASE)
    assert isinstance(content, bytes)
    assert content.count(data) == 1
    return content.replace(data, changed)


def _digests() -> Iterator[Made]:
    for part, code in (("manifest", "MANIFEST_DIGEST"), ("info", "INFO_DIGEST")):
        for container in CONTAINERS:
            fault, rules = f"another digest of the {part} is recorded", "G-5 R-1"
            yield invalid(
                f"{part}-digest", container, _recorded(container, part), fault, code, rows="M36 I01", rules=rules
            )
    for name, data, code, rows in (
        ("manifest", BASE.text[-20:], "MANIFEST_DIGEST", "I01 H28"),
        ("info", BASE.info[-20:], "INFO_DIGEST", "I01"),
        ("array", BASE.arrays[0].raw, "DIGEST", "I01 H28 Z05"),
    ):
        for container in CONTAINERS:
            fault = f"one bit of the {name} is another"
            yield invalid(
                f"flipped-{name}", container, _flipped(container, data), fault, code, rows=rows, rules="G-3 G-5"
            )
    swapped = BASE.but(arrays=(Array("float32", (2,), BASE.arrays[0].raw[::-1]), BASE.arrays[1]))
    yield from everywhere(
        "swapped-bytes", swapped, "an array whose bytes are in another order", "DIGEST", rows="A17", rules="E-2 G-3"
    )


def _blocks() -> Iterator[Made]:
    """Block digests where no array needs any."""
    more = bytes(16)
    contents: dict[str, Content] = {
        "hdf5": hdf5_file(BASE, blocks=lambda _: more),
        "bson": bson_file(BASE, blocks=lambda _: more),
    }
    about = json_text(
        {**_blocks_json(), "shape": [16], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [16]}}}
    )
    files = but(folder(BASE), {"blocks/zarr.json": about, "blocks/c/0": more})
    contents |= {"zarr": files, "zarr.zip": zip_file(entries(files))}
    for container, content in contents.items():
        fault = "block digests, of which no array needs any"
        yield invalid("needless-blocks", container, content, fault, "accept?", "BLOCK_DIGEST", doc=BASE, rules="G-3")


def _blocks_json() -> dict[str, object]:
    from statetree_conformance.making.zarr import array_json

    return array_json("uint8", [0], separator="/")


def _info() -> Iterator[Made]:
    time, writer = '"time":"2026-01-02T03:04:05Z"', '"writer":"vectors 1"'
    user = '"user":{"dict":[]}'
    for name, fault, found, codes in (
        ("no-time", "an info text without `time`", f"{{{user},{writer}}}", "INFO_FORM"),
        ("no-user", "an info text without `user`", f"{{{time},{writer}}}", "INFO_FORM"),
        ("more", "an info text with another member", f'{{"host":"x",{time},{user},{writer}}}', "INFO_FORM"),
        (
            "time-zone",
            "a time that is not in UTC",
            f'{{"time":"2026-01-02T03:04:05+01:00",{user},{writer}}}',
            "INFO_FORM",
        ),
        (
            "time-line-feed",
            "a line feed behind the time",
            f'{{"time":"2026-01-02T03:04:05Z\\n",{user},{writer}}}',
            "INFO_FORM",
        ),
        ("writer", "a writer that is no text", f'{{{time},{user},"writer":1}}', "INFO_FORM"),
        ("user-list", "a `user` that is a list", f'{{{time},"user":{{"list":[]}},{writer}}}', "INFO_FORM"),
        (
            "user-array",
            "a `user` with an array",
            f'{{{time},"user":{{"dict":["a",{{"array":0}}]}},{writer}}}',
            "ARRAY_INDEX",
        ),
        (
            "user-node",
            "a `user` with a node of no kind",
            f'{{{time},"user":{{"dict":["a",{{"set":[]}}]}},{writer}}}',
            "NODE_KIND",
        ),
        ("space", "an info text with a space", f"{{{time}, {user},{writer}}}", "NOT_CANONICAL"),
        ("nan", "an info text with `NaN`", f'{{{time},"user":{{"dict":["a",NaN]}},{writer}}}', "JSON_NONFINITE"),
        ("empty", "an info text of no bytes", "", "JSON_SYNTAX ARRAY_MISSING_CHUNK"),
    ):
        doc = BASE.but(info=found.encode())
        yield invalid(f"info-{name}", "bson", bson_file(doc), fault, codes, rules="I-1 J-1")
    doc = BASE.but(info=canonical({"time": "x", "user": {"dict": []}, "writer": ""}))
    yield from everywhere("info-time", doc, "a time of another form", "INFO_FORM", rows="", rules="I-1")
    assert len(INFO) > 20
