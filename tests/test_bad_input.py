"""Bad input: what is no state tree, no file of ours or no path is refused with the whole text, and leaves nothing."""

import array
import collections
import datetime
import decimal
import enum
import fractions
import functools
import json
import pathlib
import pickle
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import statetree
from bson_by_hand import INFO, MAGIC, bson_file, header, signed
from statetree import Limits, Record, StateTreeError, Symbol
from statetree.encode import _Encoder
from statetree.registry import find_backend
from statetree.store import WriteOptions

CONTAINERS = ["x.h5", "x.zarr", "x.zarr.zip", "x.bson"]
BACKENDS = {"x.h5": "hdf5", "x.zarr": "zarr", "x.zarr.zip": "zarr", "x.bson": "bson"}
TREE = {"w": np.arange(5.0), "epoch": 1}

STATE = "leave it out, or save what it is made of; statetree.state(model) does that"
MADE_OF = (
    "save statetree.state(x) of a model, an optimiser or a dataclass, of another object "
    "what it is made of: dict, list, tuple, Record or namedtuple, "
    "with NumPy array or scalar, int, float, complex, bool, None, str, bytes or Symbol as leaves"
)
OBJECTS = "save its elements as a list; object arrays are pickles and are refused for long-term storage"
KEYS = "use one of these; for a float key, its repr"
DAMAGED = "the file is damaged: restore it from a copy"
NEWER = "read it with a newer statetree: pip install -U statetree"
CONFORMING = "write the file with a conforming writer"


class Colour(enum.IntEnum):
    RED = 1


class Words(str):
    __slots__ = ()


class Shape(tuple):
    pass


class Point(collections.namedtuple("Point", "x y")):
    pass


class Liar(tuple):
    __slots__ = ()
    _fields = ("x", "y")


class Twins(tuple):
    __slots__ = ()
    _fields = ("x", "x")


class Layer:
    pass


csr_matrix = type("csr_matrix", (), {"__module__": "scipy.sparse._csr"})


class Hostile:
    """An object whose every method fails the test."""

    def _touched(self, *_: Any, **__: Any) -> Any:
        pytest.fail("a method of a foreign object was called")

    __reduce__ = __reduce_ex__ = __array__ = __iter__ = __len__ = __eq__ = __hash__ = _touched  # type: ignore[assignment]
    __getattr__ = __getattribute__ = __repr__ = __str__ = __getitem__ = __bool__ = __float__ = _touched  # type: ignore[assignment]
    __array_interface__ = __index__ = __bytes__ = __format__ = __class__ = property(_touched)  # type: ignore[assignment]


def point_with_more() -> Point:
    point = Point(1, 2)
    point.colour = "red"
    return point


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def in_itself() -> Any:
    value: dict[str, Any] = {"a": {}}
    value["a"]["b"] = [value]
    return value


def shared(levels: int) -> Any:
    value: Any = [0]
    for _ in range(levels):
        value = [value, value]
    return value


def leaf(value: Any, name: str, remedy: str) -> Any:
    text = f"expected a value of a state tree, got an object of type {name} (at /model/x): {remedy}"
    return pytest.param({"model": {"x": value}}, "WRITE_TYPE", text, id=name)


def of_dtype(dtype: Any, name: str, remedy: str) -> Any:
    text = f"expected an array of a dtype of the format, got dtype {name} (at /x): {remedy}"
    return pytest.param({"x": np.zeros(2, dtype)}, "WRITE_DTYPE", text, id=f"array of {name}")


def key(value: Any, name: str, remedy: str = KEYS) -> Any:
    text = (
        "expected a key that is str, int, bool, None, bytes, Symbol or a tuple of these, "
        f"got a key of type {name} (at /model): {remedy}"
    )
    return pytest.param({"model": {value: 1}}, "KEY_TYPE", text, id=f"key {value!r:.40}")


def surrogate(tree: Any, path: str) -> Any:
    text = (
        f"expected text that UTF-8 can hold, got a lone surrogate in '\\ud800' (at {path}): "
        "decode the bytes with the right encoding, or save them as bytes"
    )
    return pytest.param(tree, "WRITE_TEXT", text, id=f"surrogate at {path}")


UNSUPPORTED = [
    leaf(len, "builtin_function_or_method", STATE),
    leaf(lambda x: x, "function", STATE),
    leaf("".join, "builtin_function_or_method", STATE),
    leaf(Layer, "type", STATE),
    leaf(types, "module", STATE),
    leaf(functools.partial(len), "functools.partial", MADE_OF),
    leaf((i for i in ()), "generator", MADE_OF),
    leaf(Layer(), f"{__name__}.Layer", MADE_OF),
    leaf(Hostile(), f"{__name__}.Hostile", MADE_OF),
    leaf(datetime.datetime(2026, 1, 1), "datetime.datetime", MADE_OF),
    leaf(decimal.Decimal(1), "decimal.Decimal", MADE_OF),
    leaf(fractions.Fraction(1, 2), "fractions.Fraction", MADE_OF),
    leaf(pathlib.PurePosixPath("x"), "pathlib.PurePosixPath", MADE_OF),
    leaf(np.random.default_rng(0), "numpy.random._generator.Generator", MADE_OF),
    leaf(np.dtype("f4"), "numpy.dtypes.Float32DType", MADE_OF),
    leaf(array.array("d"), "array.array", MADE_OF),
    leaf(collections.deque(), "collections.deque", MADE_OF),
    leaf(types.MappingProxyType({}), "mappingproxy", MADE_OF),
    leaf(np.void(b"x"), "numpy.void", MADE_OF),
    leaf(..., "ellipsis", MADE_OF),
    leaf({1}, "set", "save sorted(x), a list"),
    leaf(frozenset(), "frozenset", "save sorted(x), a list"),
    leaf(bytearray(b"x"), "bytearray", "save bytes(x)"),
    leaf(memoryview(b"x"), "memoryview", "save bytes(x)"),
    leaf(range(3), "range", "save list(x)"),
    leaf(collections.defaultdict(int), "collections.defaultdict", "save dict(d)"),
    leaf(collections.Counter({3: 1}), "collections.Counter", "save dict(d)"),
    leaf(type("Config", (collections.OrderedDict,), {"__module__": "m"})(), "m.Config", "save dict(d)"),
    leaf(Colour.RED, f"{__name__}.Colour", "save int(x)"),
    leaf(Words("x"), f"{__name__}.Words", "save str(x)"),
    leaf(Shape((1, 2)), f"{__name__}.Shape", "save tuple(x)"),
    leaf(Liar((1,)), f"{__name__}.Liar", "save tuple(x)"),
    leaf(Twins((1, 2)), f"{__name__}.Twins", "save tuple(x)"),
    leaf(point_with_more(), f"{__name__}.Point", "save tuple(x)"),
    leaf(type("Items", (list,), {"__module__": "m"})(), "m.Items", "save list(x)"),
    leaf(np.str_("x"), "numpy.str_", "save str(x)"),
    leaf(np.bytes_(b"x"), "numpy.bytes_", "save bytes(x)"),
    leaf(np.datetime64("2026-01-01"), "numpy.datetime64", "save numpy.int64(x) and the unit beside it"),
    leaf(np.timedelta64(1, "s"), "numpy.timedelta64", "save numpy.int64(x) and the unit beside it"),
    leaf(np.longdouble(1), "numpy.longdouble", "save float(x) where that loses nothing"),
    leaf(np.clongdouble(1), "numpy.clongdouble", "save complex(x) where that loses nothing"),
    leaf(np.asarray([[1]]).view(np.matrix), "numpy.matrix", "save numpy.asarray(a), a plain array"),
    leaf(np.rec.array([(1,)], dtype=[("x", "i4")]), "numpy.rec.recarray", "save numpy.asarray(a), a plain array"),
    leaf(np.ma.array([1], mask=[True]), "numpy.ma.MaskedArray", "save {'data': a.data, 'mask': a.mask}"),
    leaf(
        csr_matrix(),
        "scipy.sparse._csr.csr_matrix",
        "save its arrays, for instance {'data': m.data, 'indices': m.indices, 'indptr': m.indptr, 'shape': m.shape}",
    ),
    of_dtype("M8[s]", "datetime64[s]", "save .view('int64') and the unit beside it"),
    of_dtype("m8[s]", "timedelta64[s]", "save .view('int64') and the unit beside it"),
    of_dtype("U3", "<U3", "save .tolist(), a list of str"),
    of_dtype("S3", "|S3", "save .tolist(), a list of bytes"),
    of_dtype(np.dtypes.StringDType(), "StringDType()", "save .tolist(), a list of str"),
    of_dtype("V8", "|V8", "convert it to one of the dtypes of the format"),
    of_dtype([("x", "<i4")], "[('x', '<i4')]", "save each field as an array of its own"),
    of_dtype(
        np.longdouble, str(np.dtype(np.longdouble)), "convert it with .astype('float64') where that loses nothing"
    ),
    of_dtype(
        np.clongdouble, str(np.dtype(np.clongdouble)), "convert it with .astype('complex128') where that loses nothing"
    ),
    pytest.param(
        {"x": np.array([None, {}], object)},
        "WRITE_OBJECT_DTYPE",
        f"expected an array of numbers, got an array of Python objects (at /x): {OBJECTS}",
        id="object array",
    ),
    pytest.param(
        {"x": np.zeros(1, [("x", object)])},
        "WRITE_OBJECT_DTYPE",
        f"expected an array of numbers, got an array of Python objects (at /x): {OBJECTS}",
        id="object array in a structure",
    ),
    key(1.5, "float"),
    key(float("nan"), "float"),
    key(1j, "complex"),
    key(frozenset(), "frozenset"),
    key(np.int64(1), "numpy.int64", "use int(key)"),
    key(Colour.RED, f"{__name__}.Colour"),
    key(Words("x"), f"{__name__}.Words"),
    key(Point(1, 2), f"{__name__}.Point"),
    key((1, ("a", 2.5)), "float"),
    surrogate({"x": "\ud800"}, "/x"),
    surrogate({"x": {"\ud800": 1}}, "/x/\\ud800"),
    surrogate({"x": Symbol("\ud800")}, "/x"),
    surrogate({"x": Record({"\ud800": 1})}, "/x/\\ud800"),
    surrogate({"x": Record(label="\ud800")}, "/x"),
    pytest.param(
        in_itself(),
        "WRITE_CYCLE",
        "expected a tree, got a container that holds itself (at /a/b/#0): "
        "break the cycle; a state tree has no references upwards",
        id="cycle",
    ),
    pytest.param(
        {"x": nested(60)},
        "LIMIT_DEPTH",
        f"expected at most 60 levels of containers, got level 61 (at /x{'/#0' * 59}): "
        "flatten the tree; this limit is fixed",
        id="61 levels",
    ),
    pytest.param(
        nested(100_000),
        "LIMIT_DEPTH",
        f"expected at most 60 levels of containers, got level 61 (at {'/#0' * 60}): "
        "flatten the tree; this limit is fixed",
        id="100,000 levels",
    ),
    pytest.param(
        {"x": np.zeros((1,) * 33)},
        "LIMIT_RANK",
        "expected at most 32 dimensions, got 33 (at /x): reshape the array",
        id="rank 33",
    ),
    pytest.param(
        {"x": np.zeros((1 << 60, 0), np.uint8)},
        "WRITE_TYPE",
        "expected extents and bytes up to 2^53−1, got shape (1152921504606846976, 0) (at /x): save a smaller array",
        id="extent",
    ),
    pytest.param(
        {"x": np.broadcast_to(np.uint8(1), (1 << 60,))},
        "WRITE_TYPE",
        "expected extents and bytes up to 2^53−1, got shape (1152921504606846976,) (at /x): save a smaller array",
        id="bytes",
    ),
    pytest.param(
        {"x": 16**100_000},
        "LIMIT_INTEGER",
        "expected an int of at most 100000 hexadecimal digits, got a longer one (at /x): "
        "raise limits=Limits(integer_digits=…)",
        id="int",
    ),
]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize(("tree", "code", "message"), UNSUPPORTED)
def test_what_the_format_cannot_hold_is_refused_before_anything_is_written(
    tree: Any, code: str, message: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / name, tree)

    assert (str(caught.value), caught.value.code) == (message, code)
    assert list(tmp_path.iterdir()) == []


def test_a_tree_of_2_to_26_nodes_by_shared_lists_is_refused_quickly(tmp_path: Path) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / "x.h5", shared(26))

    assert str(caught.value).startswith("expected at most 10000000 nodes, got more (at /#0")
    assert str(caught.value).endswith("): save large data as arrays, or raise limits=Limits(nodes=…)")
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_changes_while_it_is_saved_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = {"a": {"step": 1}, "b": 2}
    encode_items = _Encoder.items

    def items(self: _Encoder, value: Any, *rest: Any) -> Any:
        if value is tree["a"]:
            tree["later"] = 3
        return encode_items(self, value, *rest)

    monkeypatch.setattr(_Encoder, "items", items)
    with pytest.raises(statetree.WriteError) as refused:
        statetree.save(tmp_path / "t.h5", tree)

    assert refused.value.code == "WRITE_CHANGED"
    assert str(refused.value) == (
        "expected a tree that rests while it is saved, got dictionary changed size during iteration (at the root): "
        "save a snapshot"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_list_at_two_places_is_two_lists_after_loading(tmp_path: Path) -> None:
    inner = [1]
    statetree.save(tmp_path / "x.bson", {"a": inner, "b": inner}, durable=False)

    loaded = statetree.load(tmp_path / "x.bson")

    assert statetree.difference(loaded, {"a": [1], "b": [1]}) is None
    assert loaded["a"] is not loaded["b"]


@pytest.mark.skipif(not hasattr(ml_dtypes, "int1"), reason="this ml_dtypes has no int1")
def test_dtypes_of_ml_dtypes_that_the_format_does_not_have_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / "x.h5", {"x": np.zeros(1, ml_dtypes.int1)})

    assert str(caught.value) == (
        "expected an array of a dtype of the format, got dtype int1 (at /x): "
        "convert it to one of the dtypes of the format"
    )


def test_a_refused_save_keeps_what_was_there(tmp_path: Path) -> None:
    for name in CONTAINERS:
        statetree.save(tmp_path / name, TREE, durable=False)

        with pytest.raises(StateTreeError):
            statetree.save(tmp_path / name, {**TREE, "f": len})

        assert statetree.difference(statetree.load(tmp_path / name), TREE) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONTAINERS)


@pytest.mark.parametrize(
    ("limits", "tree", "code"),
    [
        (Limits(nodes=3), [1, 2, 3], "LIMIT_NODES"),
        (Limits(nodes=3), {"a": 1, "b": 2}, "LIMIT_NODES"),
        (Limits(arrays=1), [np.zeros(1), np.zeros(1)], "LIMIT_ARRAYS"),
        (Limits(key_bytes=4), {"aaaaa": 1}, "LIMIT_KEY"),
        (Limits(key_bytes=4), {"σσσ": 1}, "LIMIT_KEY"),
        (Limits(key_bytes=4), {b"aaaaa": 1}, "LIMIT_KEY"),
        (Limits(key_bytes=4), {("aaaaa",): 1}, "LIMIT_KEY"),
        (Limits(key_bytes=4), Symbol("aaaaa"), "LIMIT_KEY"),
        (Limits(key_bytes=4), Record({"aaaaa": 1}), "LIMIT_KEY"),
        (Limits(key_bytes=4), Record(label="aaaaa"), "LIMIT_KEY"),
        (Limits(string_bytes=4), "aaaaa", "LIMIT_STRING"),
        (Limits(string_bytes=4), b"aaaaa", "LIMIT_STRING"),
        (Limits(integer_digits=14), 1 << 60, "LIMIT_INTEGER"),
        (Limits(manifest_bytes=100), TREE, "LIMIT_MANIFEST"),
    ],
)
def test_what_is_above_a_limit_of_the_writer_is_refused_and_the_limit_can_be_raised(
    limits: Limits, tree: Any, code: str, tmp_path: Path
) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / "x.bson", tree, limits=limits)

    assert (caught.value.code, caught.value.error_class, list(tmp_path.iterdir())) == (code, "limit", [])
    statetree.save(tmp_path / "x.bson", tree, durable=False)
    with pytest.raises(StateTreeError) as caught:
        statetree.load(tmp_path / "x.bson", limits=limits)
    assert caught.value.code == code


@pytest.mark.parametrize("name", CONTAINERS)
def test_limits_that_were_raised_hold_where_names_of_arrays_are_needed(name: str, tmp_path: Path) -> None:
    path, limits = tmp_path / name, Limits(key_bytes=4 << 20, integer_digits=300_000, string_bytes=1 << 30)
    tree = {b"x" * (2 << 20): np.zeros(3), 16**150_000: {("y" * (2 << 20),): np.ones(3)}}
    statetree.save(path, tree, limits=limits, durable=False)

    loaded = statetree.load(path, limits=limits)
    statetree.convert(path, tmp_path / "y.zarr", limits=limits, durable=False)

    assert statetree.difference(loaded, tree) is None
    assert statetree.difference(statetree.load(tmp_path / "y.zarr", limits=limits), tree) is None


def test_an_info_text_above_the_limit_is_refused_and_the_limit_can_be_raised(tmp_path: Path) -> None:
    path, small, large = tmp_path / "x.bson", Limits(info_bytes=1000), Limits(info_bytes=40 << 20)
    info = {"note": "a" * (20 << 20)}

    with pytest.raises(StateTreeError) as refused:
        statetree.save(path, {}, info={"note": "a" * 2000}, limits=small)
    with pytest.raises(StateTreeError) as refused_by_default:
        statetree.save(path, {}, info=info)

    size = int(str(refused.value).split("got ")[1].split()[0])
    assert size > 2000
    assert str(refused.value) == (
        f"expected an info text of at most 1000 bytes, got {size} bytes: raise limits=Limits(info_bytes=…)"
    )
    assert (refused_by_default.value.code, list(tmp_path.iterdir())) == ("LIMIT_MANIFEST", [])
    statetree.save(path, {}, info=info, limits=large, durable=False)
    with statetree.open(path, limits=large) as file:
        assert file.info["user"] == info


def test_arrays_beside_the_tree_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / "x.h5", {}, info={"w": np.zeros(1)})

    assert str(caught.value) == "expected plain values in info=, got an array (at /w): put arrays into the tree"
    assert list(tmp_path.iterdir()) == []


# Paths.


@pytest.mark.parametrize("act", [lambda p: statetree.save(p, TREE), statetree.load, statetree.open, statetree.validate])
@pytest.mark.parametrize(
    ("path", "message"),
    [
        (b"x.h5", "got an object of type bytes: give its path; a save is atomic only at a path"),
        (3, "got an object of type int: give its path; a save is atomic only at a path"),
        ("", "got '': give a path as str, not empty and without NUL characters"),
        ("a\0b.h5", "got 'a\\x00b.h5': give a path as str, not empty and without NUL characters"),
        ("s3://bucket/x.h5", "got a URL: copy the file here first; object stores are not supported yet"),
    ],
)
def test_what_is_no_path_is_refused(act: Callable[[Any], Any], path: Any, message: str) -> None:
    with pytest.raises(StateTreeError) as caught:
        act(path)

    assert str(caught.value) == f"expected a path (str or os.PathLike), {message}"


@pytest.mark.parametrize("path", ["/", ".", ".."])
def test_a_path_without_a_name_is_nothing_to_save_at(path: str) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(path, TREE)

    assert str(caught.value) == (f"expected a path (str or os.PathLike), got {path!r}: give a path that ends in a name")


@pytest.mark.parametrize("suffix", [".txt", ".npz", ".pkl", ".h55", ".zip"])
def test_an_unknown_suffix_is_refused(suffix: str, tmp_path: Path) -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / f"x{suffix}", TREE)

    assert str(caught.value) == (
        f"expected a path that ends in .bson, .h5, .hdf5, .zarr, .zarr.zip, got '{suffix}': "
        "choose one of these, or say backend="
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_missing_file_is_a_file_not_found_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        statetree.load(tmp_path / name)

    assert str(caught.value) == f"expected a file or folder, got nothing (in {tmp_path / name}): check the path"


@pytest.mark.parametrize("name", ["x.h5", "x.bson", "x.zarr.zip"])
def test_a_folder_where_a_file_is_to_be_saved_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()

    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / name, TREE)

    assert str(caught.value) == (
        f"expected a file, or a new name, got a folder (in {tmp_path / name}): give another path, or remove the folder"
    )
    assert [path.name for path in tmp_path.rglob("*")] == [name]


def test_a_file_where_a_folder_is_to_be_saved_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").write_bytes(b"mine")

    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / "x.zarr", TREE)

    assert str(caught.value) == (
        f"expected a folder, or a new name, got a file (in {tmp_path / 'x.zarr'}): give another path"
    )
    assert (tmp_path / "x.zarr").read_bytes() == b"mine"


def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "thesis.tex").write_bytes(b"mine")

    with pytest.raises(StateTreeError) as caught:
        statetree.save(tmp_path / "x.zarr", TREE)

    assert str(caught.value) == (
        f"expected an empty folder, or a state tree, got a folder that holds 'thesis.tex' (in {tmp_path / 'x.zarr'}): "
        "give another path; what is not a state tree is never replaced"
    )
    assert [path.name for path in (tmp_path / "x.zarr").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_folder_that_is_missing_or_a_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(FileNotFoundError):
        statetree.save(tmp_path / "missing" / name, TREE)
    with pytest.raises(OSError, match="got not a directory") as caught:
        statetree.save(tmp_path / "file" / name, TREE)

    assert isinstance(caught.value, statetree.StoreIOError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_special_file_is_not_read() -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.load("/dev/zero")

    assert str(caught.value) == "expected a file or a folder, got a special file (in /dev/zero): give a file"


# Files.


TRUNCATED = {
    "x.h5": ("CONTAINER_TRUNCATED", "expected {size} bytes, got {cut} (in superblock): " + DAMAGED),
    "x.bson": (
        "CONTAINER_TRUNCATED",
        "expected a trailer document at the end of the file, got other bytes (in trailer): "
        "the file is cut off or was added to: restore it from a copy",
    ),
    "x.zarr.zip": (
        "CONTAINER_TRUNCATED",
        "expected the directory of a zip file at its end, got other bytes (in {path}): " + DAMAGED,
    ),
}


@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("part", [0.5, 0.99])
def test_a_cut_off_file_is_refused(name: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / name
    statetree.save(path, {**TREE, "large": np.zeros(10_000)}, durable=False)
    data = path.read_bytes()
    cut = int(len(data) * part)
    path.write_bytes(data[:cut])

    with pytest.raises(StateTreeError) as caught:
        statetree.load(path)

    code, message = TRUNCATED[name]
    assert (caught.value.error_class, caught.value.code) == ("malformed", code)
    assert str(caught.value) == message.format(size=len(data), cut=cut, path=path)


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_file_cut_anywhere_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    statetree.save(path, TREE, durable=False)
    data = path.read_bytes()

    for cut in (*range(0, len(data), 97), *range(len(data) - 40, len(data))):
        path.write_bytes(data[:cut])

        with pytest.raises(StateTreeError) as caught:
            statetree.load(path)

        assert caught.value.error_class in ("unsupported", "malformed", "security", "integrity")


def test_a_zarr_folder_without_a_chunk_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.zarr"
    statetree.save(path, TREE, durable=False)
    (chunk,) = path.glob("*/arrays/0-w/c*")
    chunk.unlink()

    with pytest.raises(StateTreeError) as caught:
        statetree.load(path)

    assert str(caught.value) == (
        "expected a chunk, got none (in arrays/0-w/c.0): the container is damaged: restore it from a copy"
    )


APPENDED = {
    "x.h5": ("security", "POLYGLOT"),
    "x.bson": ("malformed", "CONTAINER_TRUNCATED"),
    "x.zarr.zip": ("security", "POLYGLOT"),
}


@pytest.mark.parametrize("name", APPENDED)
@pytest.mark.parametrize("tail", [b"x", b"\0" * 100, b"PK\5\6" + b"\0" * 18])
def test_bytes_behind_the_end_of_a_file_are_refused(name: str, tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    statetree.save(path, TREE, durable=False)
    path.write_bytes(path.read_bytes() + tail)

    with pytest.raises(StateTreeError) as caught:
        statetree.load(path)

    assert caught.value.error_class in ("security", "malformed")


@pytest.mark.parametrize("name", ["x.h5", "x.bson", "x.zarr.zip"])
def test_bytes_before_the_beginning_of_a_file_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    statetree.save(path, TREE, durable=False)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())

    with pytest.raises(StateTreeError):
        statetree.load(path)


def patch(path: Path, old: bytes, new: bytes) -> None:
    """Replace the first `old` in a file, or in the only file of a folder that has it."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    (found,) = [file for file in files if old in file.read_bytes()]
    found.write_bytes(found.read_bytes().replace(old, new, 1))


VERSION_PLACES = {
    "x.h5": (MAGIC + b"\1\0", MAGIC + b"\2\0", "version 2 (in header)"),
    "x.bson": (b"\x02statetree\0\4\0\0\x001.0", b"\x02statetree\0\4\0\0\x002.0", "version 2.0 (in header)"),
    "x.zarr": (b'"version":"1.0"', b'"version":"2.0"', "version 2.0 (in zarr.json)"),
    "x.zarr.zip": (b'"version":"1.0"', b'"version":"2.0"', "version 2.0 (in zarr.json)"),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_of_a_newer_major_version_is_unsupported(name: str, tmp_path: Path) -> None:
    old, new, found = VERSION_PLACES[name]
    statetree.save(tmp_path / name, TREE, durable=False)
    patch(tmp_path / name, old, new)

    with pytest.raises(StateTreeError) as caught:
        statetree.load(tmp_path / name)

    assert (caught.value.error_class, caught.value.code) == ("unsupported", "VERSION_MAJOR")
    assert str(caught.value) == f"expected format version 1, got {found}: {NEWER}"


OWN_VERSIONS = {
    **dict.fromkeys(("1.0", "1.7", "1.10", "1.999999999"), None),
    **dict.fromkeys(("2.0", "0.9", "10.0", "999999999.0"), "VERSION_MAJOR"),
    **dict.fromkeys(("", "1", "1.", ".0", "1.0.0", "01.0", "1.00", "1.x", " 1.0", "1.0\n", "１.0"), "VERSION_FORM"),
    **dict.fromkeys(("1.1000000000000000", "1000000000000000.0", "1.0" + "0" * 5000), "VERSION_FORM"),
}


def write_version(place: str, version: str, path: Path) -> Path:
    """Write a container without arrays whose version at one place is `version`; return its path."""
    if place == "BSON header":
        (path / "x.bson").write_bytes(bson_file(first=header(version=version)))
        return path / "x.bson"
    if place == "manifest":
        write(path / "x.h5", manifest(json.dumps(version, ensure_ascii=False)[1:-1], tree='{"list":[]}'))
        return path / "x.h5"
    statetree.save(path / "x.zarr", [], durable=False)
    patch(path / "x.zarr", b'"version":"1.0"', b'"version":' + json.dumps(version).encode())
    return path / "x.zarr"


@pytest.mark.parametrize("place", ["BSON header", "Zarr root", "manifest"])
@pytest.mark.parametrize(("version", "code"), OWN_VERSIONS.items(), ids=[f"{v[:12]!r}" for v in OWN_VERSIONS])
def test_a_version_is_judged_alike_wherever_it_stands(
    version: str, code: str | None, place: str, tmp_path: Path
) -> None:
    path = write_version(place, version, tmp_path)

    if code is None:
        assert statetree.load(path) == []
        return
    with pytest.raises(StateTreeError) as caught:
        statetree.load(path)

    assert caught.value.code == code


@pytest.mark.parametrize("size", [0, 3, 5, 2**31, 2**32 - 1])
def test_a_version_whose_string_has_another_length_is_refused(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.bson"
    raw = bytearray(bson_file())
    raw[15:19] = size.to_bytes(4, "little")
    path.write_bytes(raw)

    with pytest.raises(StateTreeError) as caught:
        statetree.load(path)

    assert caught.value.code == "VERSION_FORM"


@pytest.mark.parametrize("name", ["x.h5", "x.bson"])
def test_the_minor_version_of_a_header_block_is_not_judged(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    statetree.save(path, TREE, durable=False)
    raw = path.read_bytes()
    at = raw.index(MAGIC)
    block = bytearray(raw[at : at + 512])
    block[18:20] = b"\xff\xff"
    path.write_bytes(raw[:at] + signed(block) + raw[at + 512 :])

    assert statetree.difference(statetree.load(path), TREE) is None


def write(path: Path, manifest: bytes, info: bytes = INFO) -> None:
    """Write a container without arrays that holds any two texts."""
    writer = find_backend(BACKENDS[path.name]).writer(path, WriteOptions(durable=False))
    writer.create([])
    writer.commit(manifest, info, {})


def manifest(version: str = "1.0", features: str = "", tree: str = '{"dict":["a",1]}') -> bytes:
    return (
        f'{{"algorithm":"xxh3-128","arrays":[],"features":[{features}],"statetree":"{version}","tree":{tree}}}'
    ).encode()


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_newer_minor_version_without_new_features_is_read(name: str, tmp_path: Path) -> None:
    write(tmp_path / name, manifest("1.99"))

    assert statetree.difference(statetree.load(tmp_path / name), {"a": 1}) is None


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (manifest("2.0"), f"expected format version 1, got version 2.0 (in manifest): {NEWER}"),
        (
            manifest("1.99", '"ragged"'),
            f"expected features that this reader knows (none so far), got 'ragged' (in manifest): {NEWER}",
        ),
        (
            manifest(tree='{"dict":["a",{"float":"1.5"}]}'),
            f"expected 16 lower-case hexadecimal digits, got '1.5' (at /a): {CONFORMING}",
        ),
        (manifest() + b" ", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_a_container_is_refused_for_its_manifest(name: str, text: bytes, message: str | None, tmp_path: Path) -> None:
    write(tmp_path / name, text)

    with pytest.raises(StateTreeError) as caught:
        statetree.load(tmp_path / name)

    assert message is None or str(caught.value) == message
    assert statetree.validate(tmp_path / name).problems == caught.value.problems


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"{}", "INFO_FORM"),
        (b"[]", "INFO_FORM"),
        (INFO.replace(b',"writer":"by hand"', b""), "INFO_FORM"),
        (INFO.replace(b'{"dict":[]}', b'{"list":[]}'), "INFO_FORM"),
        (INFO.replace(b'{"dict":[]}', b"null"), "INFO_FORM"),
        (INFO.replace(b'{"dict":[]}', b'{"set":[]}'), "NODE_KIND"),
        (INFO.replace(b'"2026-01-02T03:04:05Z"', b"0"), "INFO_FORM"),
        (INFO.replace(b'"2026-01-02T03:04:05Z"', b"1.5"), "JSON_NUMBER_FORM"),
        (INFO.replace(b"2026-01-02T03:04:05Z", b""), "INFO_FORM"),
        (INFO.replace(b"2026-01-02T03:04:05Z", b"yesterday"), "INFO_FORM"),
        (INFO.replace(b"05Z", b"05+00:00"), "INFO_FORM"),
        (INFO.replace(b"05Z", b"05Z\\n"), "INFO_FORM"),
        (INFO.replace(b'{"dict":[]}', b'{"dict":["a",{"array":0}]}'), "ARRAY_INDEX"),
        (INFO[:-1] + b',"x":1}', "INFO_FORM"),
        (INFO.replace(b":", b": ", 1), "NOT_CANONICAL"),
    ],
)
def test_a_container_is_refused_for_its_info_text(name: str, text: bytes, code: str, tmp_path: Path) -> None:
    write(tmp_path / name, manifest(), text)

    with pytest.raises(StateTreeError) as caught:
        statetree.load(tmp_path / name)

    assert caught.value.code == code


def test_m36_a_text_without_its_recorded_digest_is_refused(tmp_path: Path) -> None:
    for name in CONTAINERS:
        for old, new, code in (
            (b'"epoch"', b'"epoXh"', "MANIFEST_DIGEST"),
            (b'"runid"', b'"ruXid"', "INFO_DIGEST"),
            (TREE["w"].tobytes(), TREE["w"].tobytes()[::-1], "DIGEST"),
        ):
            path = tmp_path / name
            statetree.save(path, TREE, info={"runid": 1}, durable=False)
            patch(path, old, new)

            with pytest.raises(statetree.IntegrityError) as caught:
                statetree.load(path)

            assert caught.value.code == code
            assert [problem.code for problem in statetree.validate(path).problems] == [code]


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 10_000, b"\x89HDF\r\n\x1a\n", b"PK\3\4", b"\x16\0\0\0"])
def test_any_other_file_is_refused_as_foreign(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(StateTreeError) as caught:
        statetree.load(tmp_path / name)

    assert caught.value.error_class in ("unsupported", "malformed")


def foreign(what: str, path: Path, remedy: str) -> str:
    return f"expected a statetree container, got {what} (in {path}): {remedy}"


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_pickle_is_named_and_not_opened(name: str, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was opened",)

    (tmp_path / name).write_bytes(pickle.dumps(Bomb(), protocol=4))

    for read in (statetree.load, statetree.open, statetree.inspect):
        with pytest.raises(statetree.UnsupportedError) as caught:
            read(tmp_path / name)

        assert str(caught.value).startswith("expected a statetree container, got a Python pickle (protocol 4")
        assert "pickles run code when opened and are refused for long-term storage" in str(caught.value)
    assert [problem.code for problem in statetree.validate(tmp_path / name).problems] == ["NOT_STATETREE"]


def test_foreign_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=np.zeros(2))
    (tmp_path / "empty").mkdir()

    for name, what, remedy in (
        ("x.npz", "a NumPy .npz file", "statetree.save(path, dict(numpy.load(…)))"),
        ("empty", "an empty folder", "nothing was saved in it: check the path"),
    ):
        with pytest.raises(statetree.UnsupportedError) as caught:
            statetree.load(tmp_path / name)

        assert str(caught.value) == foreign(what, tmp_path / name, remedy)


def test_any_other_folder_is_refused_as_foreign(tmp_path: Path) -> None:
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "notes.txt").write_bytes(b"")

    with pytest.raises(StateTreeError) as caught:
        statetree.load(tmp_path / "x.zarr")

    assert (caught.value.error_class, caught.value.code) == ("unsupported", "NOT_STATETREE")
