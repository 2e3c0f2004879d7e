"""Foreign files are refused with a text that says what they are and what to do; nothing in them is run."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import shutil
import struct
import time
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import statetree
from statetree import UnsupportedError, formats
from statetree.files import read_head
from statetree.formats import Recognised, pickle_globals, recognise, refuse_foreign
from statetree.formats._sample import sampled

FIXTURES = Path(__file__).parent / "data" / "foreign"
SHARED = Path(__file__).parents[2] / "shared" / "flux"
PICKLE = (
    "pickles run code when opened and are refused for long-term storage; load it where you trust it, and save its state"
)
TORCH = (
    "pickles run code when opened and are refused for long-term storage; "
    "torch.load(…, weights_only=True) reads it, then save its state"
)


def _seen(path: Path) -> Recognised | None:
    return recognise(path, read_head(path))


def _put(folder: Path, name: str, data: bytes) -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def _zip(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


class Canary:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _canary(folder: Path) -> tuple[Path, dict[str, bytes]]:
    """Return the file that unpickling would make, and pickles that would."""
    nest = folder / "nest"
    bird = {"weights": list(range(5)), "bird": Canary(nest)}
    pickles = {f"protocol {p}": pickle.dumps(bird, p) for p in range(6)}
    newest = pickles["protocol 4"]
    series: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}, bird, []]
    numbers = b"".join(pickle.dumps(x, 2) for x in series)
    objects = io.BytesIO()
    np.save(objects, np.array([Canary(nest)], object), allow_pickle=True)
    return nest, pickles | {
        "gzip": gzip.compress(newest),
        "zlib": zlib.compress(newest),
        "bz2": bz2.compress(newest),
        "xz": lzma.compress(newest),
        "lzma": lzma.compress(newest, lzma.FORMAT_ALONE),
        "gzip of protocol 0": gzip.compress(pickles["protocol 0"]),
        "torch": _zip({"archive/data.pkl": pickles["protocol 2"], "archive/version": b"3\n"}),
        "torch deflated": _zip({"archive/data.pkl": newest}, zipfile.ZIP_DEFLATED),
        "torchscript": _zip({"m/data.pkl": newest, "m/constants.pkl": newest, "m/code/m.py": b""}),
        "torch legacy": numbers,
        "npy": objects.getvalue(),
        "npz": _zip({"x.npy": objects.getvalue()}),
    }


KINDS = [
    *(f"protocol {p}" for p in range(6)),
    *("gzip", "zlib", "bz2", "xz", "lzma", "gzip of protocol 0", "torch", "torch deflated", "torchscript"),
    *("torch legacy", "npy", "npz"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_is_named_and_its_imports_are_found_while_its_canary_sleeps(tmp_path: Path, kind: str) -> None:
    nest, files = _canary(tmp_path)
    path = _put(tmp_path, "file", files[kind])

    found, imports = _seen(path), pickle_globals(path)
    with pytest.raises(UnsupportedError) as caught:
        statetree.load(path)

    assert caught.value.code == "NOT_STATETREE"
    assert found is not None
    assert found.pickle
    assert {"pathlib.Path.touch", "__builtin__.getattr", "builtins.getattr"} & set(imports)
    assert not nest.exists()


def test_the_canary_does_fire_when_unpickled(tmp_path: Path) -> None:
    nest, files = _canary(tmp_path)

    pickle.loads(files["protocol 4"])

    assert nest.exists()


def test_all_canaries_are_tried(tmp_path: Path) -> None:
    assert list(_canary(tmp_path)[1]) == KINDS


_LEGACY: list[Any] = [0x1950A86A20F9469CFC6C, 1001, {}, OrderedDict(), []]

TEXTS = {
    "os.pkl": (
        b"\x80\x04cos\nsystem\nX\x04\0\0\0true\x85R.",
        f"expected a statetree container, got a Python pickle (protocol 4) that imports os.system (in PATH): {PICKLE}",
    ),
    "plain.pkl": (
        pickle.dumps({"a": [1, 2.5, None]}, 5),
        f"expected a statetree container, got a Python pickle (protocol 5) (in PATH): {PICKLE}",
    ),
    "zero.pkl": (
        pickle.dumps(OrderedDict(a=1), 0),
        "expected a statetree container, got a Python pickle (protocol 0) that imports "
        f"collections.OrderedDict (in PATH): {PICKLE}",
    ),
    "one.pkl": (
        pickle.dumps([1, "x"], 1),
        f"expected a statetree container, got a Python pickle (protocol 1) (in PATH): {PICKLE}",
    ),
    "two.pkl": (
        pickle.dumps(1, 0) + pickle.dumps(OrderedDict(), 0),
        "expected a statetree container, got a Python pickle (protocol 0) that imports "
        f"collections.OrderedDict (in PATH): {PICKLE}",
    ),
    "many.pkl": (
        b"\x80\x02(ca\nb\nca\nc\nca\nd\nca\ne\ncposix\nsystem\nl.",
        "expected a statetree container, got a Python pickle (protocol 2) that imports "
        f"posix.system, a.b, a.c and 2 more (in PATH): {PICKLE}",
    ),
    "colour.pkl": (
        b"\x80\x04\x8c\x04a\x1b[m\x8c\x01b\x93.",
        f"expected a statetree container, got a Python pickle (protocol 4) that imports a\\x1b[m.b (in PATH): {PICKLE}",
    ),
    "joblib.gz": (
        gzip.compress(b"\x80\x03cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b\xff\xff\xff"),
        "expected a statetree container, got a joblib file (a Python pickle, protocol 3) that imports "
        f"joblib.numpy_pickle.NumpyArrayWrapper, compressed with gzip (in PATH): {PICKLE}",
    ),
    "old.z": (
        b"ZF0x31f".ljust(21) + zlib.compress(b"\x80\x02N."),
        f"expected a statetree container, got a joblib file (zlib, as joblib wrote before 0.10) (in PATH): {PICKLE}",
    ),
    "torch.pt": (
        _zip({"a/data.pkl": pickle.dumps(OrderedDict(), 2), "a/data/0": bytes(8)}),
        "expected a statetree container, got a PyTorch checkpoint (zip with a pickle) that imports "
        f"collections.OrderedDict (in PATH): {TORCH}",
    ),
    "torch-old.pt": (
        b"".join(pickle.dumps(x, 2) for x in _LEGACY) + bytes(100),
        "expected a statetree container, got a PyTorch checkpoint (a series of pickles, as torch.save wrote before 1.6)"
        f" that imports collections.OrderedDict (in PATH): {TORCH}",
    ),
    "script.pt": (
        _zip({"m/data.pkl": pickle.dumps({}, 2), "m/constants.pkl": pickle.dumps((), 2), "m/code/x.py": b"pass"}),
        "expected a statetree container, got a TorchScript module (zip with code and pickles) (in PATH): it holds "
        "code, which is refused for long-term storage; load it with torch.jit.load where you trust it, "
        "and save its state_dict()",
    ),
    "program.pt2": (
        _zip({"m/archive_format": b"pt2", "m/models/model.json": b"{}"}),
        "expected a statetree container, got an exported PyTorch program (.pt2) (in PATH): "
        "load it with torch.export.load where you trust it, and save its state_dict",
    ),
    "m.keras": (
        _zip({"config.json": b'{"class_name": "Dense"}', "metadata.json": b"{}", "model.weights.h5": b""}),
        "expected a statetree container, got a Keras model (.keras) (in PATH): load it with keras where you trust it, "
        "then statetree.save({w.path: w.numpy() for w in model.weights})",
    ),
    "lambda.keras": (
        _zip({"config.json": b'{"class_name": "Lambda"}', "metadata.json": b"{}", "model.weights.h5": b""}),
        "expected a statetree container, got a Keras model (.keras) with a lambda, which is code (in PATH): "
        "load it with keras where you trust it, then statetree.save({w.path: w.numpy() for w in model.weights})",
    ),
    "zarr.zip": (
        _zip({".zgroup": b"{}", "x/.zarray": b"{}"}),
        "expected a statetree container, got a zip archive with Zarr arrays that statetree did not write (in PATH): "
        "read its arrays with zarr, then statetree.save what you read",
    ),
    "plain.zip": (
        _zip({"readme": b"hello"}),
        "expected a statetree container, got a zip archive (in PATH): unpack it, and see what it holds",
    ),
    "empty.zip": (
        _zip({}),
        "expected a statetree container, got an empty zip archive (in PATH): unpack it, and see what it holds",
    ),
    "broken.zip": (
        _zip({"readme": b"hello"})[:40],
        "expected a statetree container, got a zip archive that is damaged or of too many files to look at (in PATH): "
        "check that it was copied as a whole; unpack it, and see what it holds",
    ),
    "x.gz": (
        gzip.compress(b"hello"),
        "expected a statetree container, got a gzip-compressed file, which may hold a joblib pickle (in PATH): "
        "decompress it, and see what it holds",
    ),
    "x.lz4": (
        b"\x04\x22\x4d\x18" + bytes(20),
        "expected a statetree container, got an LZ4-compressed file, which may hold a joblib pickle (in PATH): "
        "decompress it, and see what it holds",
    ),
    "x.safetensors": (
        struct.pack("<Q", 58) + b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}    ' + bytes(4),
        "expected a statetree container, got a safetensors file (in PATH): "
        "statetree.save(path, safetensors.numpy.load_file(…))",
    ),
    "x.gguf": (
        b"GGUF\3\0\0\0" + bytes(40),
        "expected a statetree container, got a GGUF file (in PATH): "
        "read it with gguf.GGUFReader, then statetree.save its tensors",
    ),
    "x.onnx": (
        b"\x08\x08\x12\x07pytorch\x3a\x05\x12\x03abc\x42\x02\x10\x11",
        "expected a statetree container, got an ONNX model (in PATH): "
        "read it with onnx, then statetree.save its initializers as arrays",
    ),
    "x.msgpack": (
        b"\x81\xa1k\xc7\x11\x01\x93\x91\x01\xa7float32\xc4\x04\0\0\0\0",
        "expected a statetree container, got a Flax msgpack file (in PATH): "
        "read it with flax.serialization.msgpack_restore, then statetree.save what you read",
    ),
    "x.mat": (
        b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM",
        "expected a statetree container, got a MATLAB .mat file (version 5) (in PATH): "
        "statetree.save what scipy.io.loadmat reads of it",
    ),
    "x.jls": (
        b"7JL\x0c\x04\0\0\0" + bytes(9),
        "expected a statetree container, got a file of Julia's Serialization library (in PATH): such files run code "
        "when opened and hold for one version of Julia; load it where you trust it, and save its state as plain arrays",
    ),
    "x.index": (
        bytes(40) + bytes.fromhex("57fb808b247547db"),
        "expected a statetree container, got the index of a TensorFlow checkpoint (in PATH): "
        "read it with tf.train.load_checkpoint, then statetree.save its tensors as a dict of arrays",
    ),
    "x.bson": (
        b"\x10\0\0\0\x12a\0" + bytes(8) + b"\0",
        "expected a statetree container, got a BSON document that statetree did not write (in PATH): "
        "read it with bson.decode_all of pymongo, then statetree.save what you read",
    ),
    "dump.bson": (
        (b"\x10\0\0\0\x12a\0" + bytes(8) + b"\0") * 3,
        "expected a statetree container, got a stream of BSON documents, as mongodump writes them, that statetree "
        "did not write (in PATH): read it with bson.decode_all of pymongo, then statetree.save what you read",
    ),
    "x.json": (
        b'{"a": [1, 2]}',
        "expected a statetree container, got a JSON text (in PATH): statetree.save what json.load reads of it",
    ),
    "x.txt": (
        b"Now is the time.\n",
        "expected a statetree container, got a text (in PATH): parse it, then statetree.save what it says",
    ),
    "x.html": (
        b"<!DOCTYPE html><title>404</title>",
        "expected a statetree container, got an HTML page, perhaps of a failed download (in PATH): "
        "download the file once more",
    ),
    "lfs.h5": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
        "expected a statetree container, got a Git LFS pointer in place of the file (in PATH): "
        "git lfs pull brings the file",
    ),
    "x.dat": (
        b"\xfe\xca\0\0 of no kind",
        "expected a statetree container, got a file of an unknown kind (in PATH): "
        "load it with the library that wrote it, then statetree.save what it holds",
    ),
    "empty.h5": (
        b"",
        "expected a statetree container, got an empty file (in PATH): "
        "nothing was saved in it, or a copy broke off: take it from its source",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_error_says_what_a_file_is_and_what_to_do(tmp_path: Path, name: str) -> None:
    data, text = TEXTS[name]
    path = _put(tmp_path, name, data)

    with pytest.raises(UnsupportedError) as caught:
        refuse_foreign(path, read_head(path))

    assert str(caught.value).replace(statetree.errors.shown(str(path), 200), "PATH") == text
    assert [problem.code for problem in caught.value.problems] == ["NOT_STATETREE"]


def test_load_and_open_refuse_with_the_same_text(tmp_path: Path) -> None:
    path = _put(tmp_path, "x.json", b"[1]")

    for verb in (statetree.load, statetree.open):
        with pytest.raises(UnsupportedError) as caught:
            verb(path)
        assert "got a JSON text (in " in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("flat_params-0.4.17.jld2", "a JLD2 file written by Julia"),
        ("flat_params-0.6.5.jld2", "a JLD2 file written by Julia"),
        ("flat_params.bson", "a BSON.jl file written by Julia"),
        ("cycle.bson", "a BSON.jl file written by Julia"),
    ],
)
def test_files_of_julia_are_recognised(name: str, text: str) -> None:
    found = _seen(FIXTURES / name)

    assert found is not None
    assert (found.text, found.pickle) == (text, False)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the collection of files of Julia is not part of the project")
def test_every_file_of_the_collection_is_recognised() -> None:
    wanted = {".jld2": "jld2", ".bson": "bson.jl"}
    files = [path for path in SHARED.rglob("*") if path.suffix in wanted]

    wrong = [
        (path.name, found) for path in files if (found := _seen(path)) is None or found.name != wanted[path.suffix]
    ]

    assert len(files) > 200
    assert wrong == []


def _hdf5(path: Path, *, attrs: tuple[str, ...] = (), groups: tuple[str, ...] = (), userblock: int = 0) -> Path:
    with h5py.File(path, "w", userblock_size=userblock) as file:
        for name in attrs:
            file.attrs[name] = "anndata"
        for name in groups:
            file.create_group(name)
    return path


@pytest.mark.parametrize(
    ("attrs", "groups", "text"),
    [
        (("encoding-type", "encoding-version"), ("X", "obs", "var"), "an AnnData file (.h5ad)"),
        (("keras_version", "backend", "model_config"), ("model_weights",), "a Keras model in HDF5 (legacy .h5)"),
        (("layer_names", "backend", "keras_version"), ("dense",), "Keras weights in HDF5 (legacy .h5)"),
        ((), ("_layer_checkpoint_dependencies", "vars"), "a Keras weights file (.weights.h5)"),
        ((), ("layers", "optimizer", "vars"), "a Keras weights file (.weights.h5)"),
        (("_NCProperties",), (), "a netCDF-4 file"),
        (("PYTABLES_FORMAT_VERSION",), (), "a PyTables or pandas HDF5 file"),
        ((), ("layers",), "an HDF5 file that statetree did not write"),
        ((), (), "an HDF5 file that statetree did not write"),
    ],
)
def test_hdf5_files_of_other_tools_are_told_apart(
    tmp_path: Path, attrs: tuple[str, ...], groups: tuple[str, ...], text: str
) -> None:
    path = _hdf5(tmp_path / "x.h5", attrs=attrs, groups=groups)

    found = _seen(path)

    assert found is not None
    assert found.text == text


def test_an_hdf5_file_behind_a_user_block_is_recognised(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "x.h5", userblock=1024)
    matlab = _hdf5(tmp_path / "x.mat", userblock=512)
    with matlab.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")

    found = [_seen(path), _seen(matlab)]

    assert [what and what.name for what in found] == ["hdf5", "mat"]


def test_a_truncated_hdf5_file_is_called_damaged(tmp_path: Path) -> None:
    path = _hdf5(tmp_path / "x.h5", groups=("a", "b"))
    path.write_bytes(path.read_bytes()[:300])

    found = _seen(path)

    assert found is not None
    assert found.text == "an HDF5 file that the HDF5 library cannot open"


def test_links_out_of_an_hdf5_file_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["layers"] = h5py.ExternalLink(tmp_path / "missing.h5", "/")
        file["vars"] = h5py.SoftLink("/nowhere")

    found = _seen(path)

    # Links that lead nowhere are there only for those who do not follow them.
    assert found is not None
    assert found.text == "a Keras weights file (.weights.h5)"


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("saved_model.pb", "variables"), "a TensorFlow SavedModel (a folder with a program)"),
        (("checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"), "a folder with a TensorFlow checkpoint"),
        (("_CHECKPOINT_METADATA", "d", "manifest.ocdbt"), "an Orbax checkpoint (a folder)"),
        (("zarr.json", "x"), "a Zarr v3 folder that statetree did not write"),
        ((".zgroup", ".zattrs"), "a Zarr v2 folder"),
        (("config.json", "model.safetensors"), "a Hugging Face model folder"),
        ((), "an empty folder"),
        (("notes",), "a folder that is no container"),
    ],
)
def test_folders_are_told_apart(tmp_path: Path, names: tuple[str, ...], text: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for name in names:
        (folder / name).touch()

    with pytest.raises(UnsupportedError, match="expected a statetree container, got ") as caught:
        refuse_foreign(folder, b"")

    assert caught.value.problems[0].found == text


def test_a_series_of_orbax_checkpoints_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "10").mkdir()
    (tmp_path / "10" / "_CHECKPOINT_METADATA").touch()

    found = _seen(tmp_path)

    assert found is not None
    assert found.text == "a series of Orbax checkpoints (a folder)"


def test_the_pickle_of_a_distributed_checkpoint_is_named_and_sleeps(tmp_path: Path) -> None:
    nest, files = _canary(tmp_path)
    folder = tmp_path / "dcp"
    folder.mkdir()
    _put(folder, ".metadata", b"\x80\x02cos\nsystem\n.")
    _put(folder, "__0_0.distcp", files["protocol 2"])

    found = _seen(folder)

    assert found is not None
    assert found.text == "a distributed PyTorch checkpoint (a folder with a pickle) that imports os.system"
    assert pickle_globals(folder) == ["os.system"]
    assert not nest.exists()


def test_a_link_in_a_distributed_checkpoint_is_not_followed(tmp_path: Path) -> None:
    secret = _put(tmp_path, "secret", b"\x80\x02cmy\nsecret\n.")
    folder = tmp_path / "dcp"
    folder.mkdir()
    (folder / ".metadata").symlink_to(secret)
    _put(folder, "__0_0.distcp", b"")

    found = _seen(folder)

    assert found is not None
    assert found.text == "a distributed PyTorch checkpoint (a folder with a pickle)"


def test_globals_are_found_in_the_order_of_the_stream(tmp_path: Path) -> None:
    stream = b"".join(
        (
            b"\x80\x04",
            b"\x8c\x02os\x94\x8c\x06system\x94\x93\x94",  # two texts, memoised
            b"h\x00\x8c\x05popen\x93",  # the module from the memo
            b"2",  # a copy of what is on top
            b"\x8c\x01a2\x93",  # the same text twice
            b"(i__main__\nX\n",
            b"\x82\x05",
            b"NN\x85\x93",  # a name that a tuple stands for
            b"(csubprocess\nPopen\n1.",
        )
    )
    path = _put(tmp_path, "x.pkl", stream)

    found = pickle_globals(path)

    assert found == ["os.system", "os.popen", "a.a", "__main__.X", "?.copyreg_extension_5", "?.?", "subprocess.Popen"]


@pytest.mark.parametrize("protocol", range(6))
def test_the_globals_are_those_that_unpickling_asks_for(tmp_path: Path, protocol: int) -> None:
    value = {"a": np.arange(1000.0), "b": [OrderedDict(x=np.float32(1)), complex(1, 2)], "c": bytearray(70_000)}
    path = _put(tmp_path, "x.pkl", pickle.dumps(value, protocol))
    asked: list[str] = []

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            asked.append(f"{module}.{name}")
            return super().find_class(module, name)

    Unpickler(path.open("rb")).load()

    # Names of Python 2 are reported as they stand in the file.
    found = [
        name.replace("__builtin__.", "builtins.").replace("copy_reg.", "copyreg.") for name in pickle_globals(path)
    ]
    assert found == list(dict.fromkeys(name.replace("__builtin__.", "builtins.") for name in asked))


@pytest.mark.parametrize(
    ("stream", "names"),
    [
        (b"\x80\x02I0x1\n0cos\nsystem\n.", ["os.system"]),
        (b"\x80\x03c\xc3\xa9\nx\n0cos\nsystem\n.", ["é.x", "os.system"]),
        (b"\x80\x04S'os'\nS'sys\\x74em'\n\x93.", ["os.?"]),
        (b"\x80\x04\x8c\x02osV" + b"a" * 300 + b"\n\x93.", ["os.?"]),
        (b"\x80\x04X" + struct.pack("<I", 300) + b"a" * 300 + b"\x8c\x01b\x93.", ["?.b"]),
        (b"\x80\x02cos\nsystem\n\xff\xff", ["os.system"]),
    ],
)
def test_odd_streams_hide_no_globals(tmp_path: Path, stream: bytes, names: list[str]) -> None:
    path = _put(tmp_path, "x.pkl", stream)

    found = pickle_globals(path)

    assert found == names


def test_files_without_pickles_have_no_globals(tmp_path: Path) -> None:
    files = [_put(tmp_path, name, data) for name, (data, text) in TEXTS.items() if "ickle" not in text.split("(in ")[0]]

    found = {path.name: pickle_globals(path) for path in files}

    assert len(found) > 15
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "text", [b".", b"0.", b"hello.", b"(1.", b"I am.", b"N.\n", b"a = 1\n.", b"S'x\n.", b"c.\n.\n"]
)
def test_texts_are_no_pickles(tmp_path: Path, text: bytes) -> None:
    found = _seen(_put(tmp_path, "x", text))

    assert found is not None
    assert found.name == "text"


def test_sources_of_this_project_are_no_pickles() -> None:
    files = [*Path(statetree.__file__).parent.rglob("*.py"), *Path(json.__file__).parent.glob("*.py")]

    wrong = [path for path in files if path.stat().st_size and (found := _seen(path)) and found.name != "text"]

    assert wrong == []


def test_our_own_files_are_not_foreign_until_they_are_broken(tmp_path: Path) -> None:
    path = tmp_path / "x.bson"
    statetree.save(path, {"w": np.ones(3)}, durable=False)
    path.write_bytes(b"\0" + path.read_bytes()[1:])

    found = _seen(path)

    assert found is None or not found.pickle


HOSTILE = {
    "a length of 2^63": b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + b".",
    "a negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "an endless line": b"\x80\x02c" + b"a" * 200_000,
    "a mark of nothing": b"\x80\x02t.",
    "an unknown memo": b"\x80\x02h\x07.",
    "a million marks": b"\x80\x02" + b"(" * 1_000_000,
    "a number that only C reads, before an import": b"\x80\x02I0x1\n0cos\nsystem\n.",
    "deep lists": b"\x80\x02" + b"]" * 500_000 + b"a" * 500_000 + b".",
    "a huge number": b"I" + b"9" * 100_000 + b"\n.",
    "names of text": b"\x80\x04" + b"\x8c\xc8" + b"n" * 200 + b"\x94" + b"h\0h\0\x930" * 90_000 + b".",
    "zip of a lying directory": b"PK\3\4" + bytes(100) + b"PK\5\6\0\0\0\0" + b"\xff" * 12 + b"\0\0",
    "a zip bomb": _zip({"a/data.pkl": b"\x80\x02" + b"N0" * 20_000_000 + b"."}, zipfile.ZIP_DEFLATED),
    "a gzip bomb": gzip.compress(b"\x80\x02" + b"N0" * 20_000_000 + b"."),
    "a safetensors header of 2^64": b"\xff" * 8 + b"{",
    "bson of a lying text": b"\x14\0\0\0\x02a\0\xff\xff\xff\x7fx\0" + bytes(6) + b"\0",
    "deep bson": b"".join(struct.pack("<i", 7 * k + 5) + b"\x03a\0" for k in range(2000, 0, -1)) + bytes(2100),
    "msgpack of 2^32 items": b"\xdf\xff\xff\xff\xff" + bytes(100),
    "onnx of a long number": b"\x08" + b"\xff" * 100_000,
    "npy of a long header": b"\x93NUMPY\2\0\xff\xff\xff\xff{'descr': '|O'",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_cost_little_and_raise_nothing(tmp_path: Path, name: str) -> None:
    path = _put(tmp_path, "x", HOSTILE[name])
    start = time.process_time()

    found = _seen(path)
    imports = pickle_globals(path)

    assert time.process_time() - start < 5
    assert found is None or isinstance(found, Recognised)
    assert len(imports) <= 1000


def _samples(folder: Path) -> list[bytes]:
    pickles = list(_canary(folder)[1].values())
    fixtures = [path.read_bytes() for path in sorted(FIXTURES.iterdir())]
    plain = _hdf5(folder / "seed.h5", attrs=("encoding-type",), groups=("obs", "var")).read_bytes()
    return [*pickles, *fixtures, plain, *(data for data, _ in TEXTS.values() if data)]


def test_mutated_files_never_bring_a_recogniser_down(tmp_path: Path) -> None:
    draw = random.Random(7)
    path = tmp_path / "x"
    samples = _samples(tmp_path)

    for _ in range(600):
        data = bytearray(draw.choice(samples))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.choice((0, 0xFF, 0x80, draw.randrange(256)))
        path.write_bytes(data[: draw.choice((len(data), draw.randint(1, len(data))))])
        with sampled(path) as sample:
            for recogniser in formats._recognisers():
                recogniser(sample)  # `recognise` would catch what this raises
        pickle_globals(path)

    assert not (tmp_path / "nest").exists()


class _Entry:
    def __init__(self, name: str, load: Any) -> None:
        self.name, self.load = name, load


class _Mine:
    name = "mine"
    remedy = "call mine.load, then statetree.save"

    def recognise(self, path: Path, head: bytes) -> str | None:
        return "a file of mine\x07" if head.startswith(b"\xfeMINE") else None


def _broken() -> Any:
    raise ImportError("no such library")


def test_formats_of_other_packages_are_asked_last_and_may_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load() -> _Mine:
        loaded.append("b")
        return _Mine()

    entries = [_Entry("a", _broken), _Entry("b", load), _Entry("c", object)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries if group == formats.GROUP else [])

    known = _seen(_put(tmp_path, "x.npy", b"\x93NUMPY\x01\0"))
    before = list(loaded)
    mine = _seen(_put(tmp_path, "x", b"\xfeMINE"))
    other = _seen(_put(tmp_path, "y", b"\xfeYOUR"))

    assert known is not None
    assert known.name == "npy"
    assert before == []
    assert mine == Recognised("mine", "a file of mine\\x07", "call mine.load, then statetree.save")
    assert other is None


class _Notes:
    name = "notes"
    remedy = "call notes.read, then statetree.save"

    def recognise(self, path: Path, head: bytes) -> str | None:
        return "notes of mine" if head.startswith(b'{"notes"') else None


def test_a_format_that_is_made_of_a_common_one_is_told_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [_Entry("notes", _Notes)]
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: entries if group == formats.GROUP else [])

    notes = _seen(_put(tmp_path, "a.json", b'{"notes":[]}'))
    plain = _seen(_put(tmp_path, "b.json", b'{"other":[]}'))

    assert [what and what.name for what in (notes, plain)] == ["notes", "json"]


def test_a_file_that_vanished_is_of_no_kind_and_raises_nothing(tmp_path: Path) -> None:
    assert recognise(tmp_path / "gone", b"\x80\x04N.") is None


def test_looking_at_a_file_leaves_nothing_behind(tmp_path: Path) -> None:
    path = _put(tmp_path, "x.pkl", pickle.dumps([1]))
    before = sorted(tmp_path.iterdir())

    _seen(path)

    assert sorted(tmp_path.iterdir()) == before


def test_files_of_torch_are_recognised(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch writes these files")
    state = torch.nn.Linear(2, 3).state_dict()
    torch.save(state, tmp_path / "new.pt")
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)

    found = [_seen(tmp_path / name) for name in ("new.pt", "old.pt")]

    assert [what and what.name for what in found] == ["torch", "torch"]
    assert "torch._utils._rebuild_tensor_v2" in pickle_globals(tmp_path / "new.pt")
    assert "torch._utils._rebuild_tensor_v2" in pickle_globals(tmp_path / "old.pt")


def test_files_of_joblib_are_recognised(tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib writes these files")
    names = ["x.joblib", "x.z", "x.gz", "x.bz2", "x.xz", "x.lzma"]
    for name in names:
        joblib.dump({"a": np.arange(1000.0)}, tmp_path / name)

    found = [_seen(tmp_path / name) for name in names]

    assert [what and (what.name, what.pickle) for what in found] == [("joblib", True)] * 6


class Runs:
    """An object whose pickle runs a program."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


ARRAYS = [
    [np.ones((3, 2)), np.zeros(0), np.ones(70000, np.int8), np.array(["a", "bb"]), np.ones((2, 2), ">f4")],
    [np.array([1, "x", None], object), np.ones(3), np.array([2], object)],
    [np.ones(3, [("a", "f4"), ("b", "i8")]), np.array(3 + 0j), np.ones((2, 2), bool), np.array("2020", "M8[D]")],
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("arrays", ARRAYS, ids=["plain", "objects", "odd dtypes"])
def test_what_joblib_pickles_behind_its_arrays_is_named(arrays: list[Any], protocol: int, tmp_path: Path) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib writes these files")
    for name in ("x.joblib", "x.z"):
        joblib.dump([*arrays, Runs()], tmp_path / name, protocol=protocol)

        assert f"{os.system.__module__}.system" in pickle_globals(tmp_path / name)


def test_files_of_safetensors_and_flax_are_recognised(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy", reason="safetensors writes this file")
    safetensors.save_file({"x": np.ones(3)}, tmp_path / "x.safetensors")
    flax = pytest.importorskip("flax.serialization", reason="Flax writes this file")
    (tmp_path / "x.msgpack").write_bytes(flax.to_bytes({"params": {"k": np.ones((3, 4), np.float32)}, "step": 3}))

    found = [_seen(tmp_path / name) for name in ("x.safetensors", "x.msgpack")]

    assert [what and what.name for what in found] == ["safetensors", "flax"]


def test_files_of_numpy_are_recognised(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones(3))
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    np.savez_compressed(tmp_path / "b.npz", x=np.ones(3), O=np.zeros(1, [("O", "<f4")]))

    found = [_seen(tmp_path / name) for name in ("a.npy", "a.npz", "b.npz")]

    assert [what and (what.text, what.pickle) for what in found] == [
        ("a NumPy .npy file", False),
        ("a NumPy .npz file", False),
        ("a NumPy .npz file", False),
    ]


def test_a_zarr_folder_of_another_tool_is_refused(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr", reason="zarr writes this folder")
    zarr.open_group(tmp_path / "x.zarr", mode="w").create_array("x", data=np.ones(3))

    with pytest.raises(UnsupportedError) as caught:
        statetree.load(tmp_path / "x.zarr")

    assert caught.value.problems[0].found == "a Zarr v3 folder that statetree did not write"
    shutil.rmtree(tmp_path / "x.zarr")
