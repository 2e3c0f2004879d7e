"""The public interface: what is exported, what docs/api.md says of it, and what its functions promise."""

import inspect
import re
from collections import OrderedDict, namedtuple
from itertools import pairwise
from pathlib import Path
from types import FunctionType
from typing import Any

import click
import ml_dtypes
import numpy as np
import pytest

import statetree
from statetree import LazyArray, Limits, Record, Symbol, difference
from statetree.cli import command
from statetree.digest import BLOCK
from statetree.dtype import BY_NAME

ROOT = Path(__file__).parents[1]
API = (ROOT / "docs" / "api.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)(?:\([^\n]*\))?`\n(.*?)(?=^##)", API, re.MULTILINE | re.DOTALL))
CONTAINERS = ["x.h5", "x.zarr", "x.zarr.zip", "x.bson"]
KINDS = [name for name in statetree.__all__ if inspect.isclass(getattr(statetree, name))]
ERRORS = [name for name in KINDS if issubclass(getattr(statetree, name), BaseException)]


def test_the_document_lists_every_public_name_and_no_other() -> None:
    listed = set(SECTIONS) | set(re.findall(r"^\| `(\w+Error)` \|", API, re.MULTILINE))

    assert listed == set(statetree.__all__)
    assert sorted(statetree.__all__, key=lambda name: (name[0].islower(), name)) == statetree.__all__


def test_every_public_name_is_documented_and_belongs_to_the_package() -> None:
    for name in statetree.__all__:
        value = getattr(statetree, name)

        assert value.__doc__, name
        assert value.__module__.startswith("statetree."), name


def signature(value: Any) -> str:
    """Return the parameters of a function or class as the document writes them."""
    bare = inspect.signature(value)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in bare.parameters.values()]
    return str(bare.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize(("name", "parameters"), re.findall(r"^### `(\w+)(\(.*\))`$", API, re.MULTILINE))
def test_the_document_has_the_parameters_of_every_function(name: str, parameters: str) -> None:
    assert signature(getattr(statetree, name)) == parameters


def test_every_function_of_the_document_has_its_parameters() -> None:
    functions = {name for name in statetree.__all__ if isinstance(getattr(statetree, name), FunctionType)}

    assert functions <= set(re.findall(r"^### `(\w+)\(", API, re.MULTILINE))


@pytest.mark.parametrize("name", ["save", "load", "open", "convert", "diff", "digest"])
def test_options_are_keyword_only(name: str) -> None:
    parameters = inspect.signature(getattr(statetree, name)).parameters.values()

    assert all(p.kind is p.KEYWORD_ONLY for p in parameters if p.default is not p.empty)


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(ERRORS)))
def test_the_document_names_every_attribute_of_every_class(name: str) -> None:
    kind = getattr(statetree, name)
    public = {attribute for attribute in (*dir(kind), *instance_attributes(kind)) if not attribute.startswith("_")}

    assert public <= set(re.findall(r"`(\w+)`", SECTIONS[name])) | set(inspect.signature(kind).parameters)


def instance_attributes(kind: type) -> set[str]:
    """Return the names that the constructor of a class sets."""
    if kind is not statetree.StateFile:
        return set()
    return set(re.findall(r"self\.(\w+) =", inspect.getsource(kind.__init__)))


@pytest.mark.parametrize("name", ERRORS)
def test_the_document_says_which_built_in_error_each_error_is(name: str) -> None:
    (row,) = re.findall(rf"^\| `{name}` \| (.*?) \|", API, re.MULTILINE)

    for builtin in re.findall(r"`(\w+)`", row):
        assert issubclass(getattr(statetree, name), getattr(__import__("builtins"), builtin))


def test_the_document_lists_every_command_and_option() -> None:
    assert isinstance(command, click.Group)
    rows = dict(re.findall(r"^\| `(\w+)[^`]*` \| (.*) \|$", API.split("## The command")[1], re.MULTILINE))

    # The suite brings a command of its own, which docs/conformance.md is about.
    assert set(rows) == set(command.list_commands(click.Context(command))) == {*command.commands, "conformance"}
    for name, sub in command.commands.items():
        options = {option for p in sub.params if isinstance(p, click.Option) for option in p.opts}
        assert set(re.findall(r"`(--[a-z-]+)", rows[name])) == options - {"--json", "--help"}
        assert "--json" in options


Point = namedtuple("Point", "x y")
W = np.arange(6, dtype=np.float32).reshape(2, 3)
TREE = {
    "model": {"w": W, "tied": W, "bn": Record({"σ²": np.ones(3), "count": 3, "": None}, label="BatchNorm")},
    "opt": [(Point(1, 2.5), ()), {1: "int", "1": "str", Symbol("1"): "symbol", None: b"\0", (1, "a"): True}],
    "rng": (2**127 + 1, -(2**64), np.uint64(2**64 - 1), np.float32(0.1), 1j, float("nan"), -0.0),
    "low": [np.zeros(3, row.numpy) for row in BY_NAME.values()],
    "zero": [np.zeros((0, 3)), np.float64(1), np.ones(())],
    "ordered": OrderedDict(b=1, a=2),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_saved_tree_is_loaded_unchanged(name: str, tmp_path: Path) -> None:
    digest = statetree.save(tmp_path / name, TREE, durable=False)

    loaded = statetree.load(tmp_path / name)

    assert difference(loaded, TREE) is None
    assert loaded["model"]["w"] is loaded["model"]["tied"]
    assert digest == statetree.digest(TREE) == statetree.digest(loaded) == statetree.digest(tmp_path / name)


def test_every_container_and_conversion_has_the_same_digest(tmp_path: Path) -> None:
    places = [tmp_path / name for name in (*CONTAINERS, "y.h5")]
    digest = statetree.save(places[0], TREE, info={"step": 7}, durable=False)

    for source, destination in pairwise(places):
        assert statetree.convert(source, destination, durable=False) == digest
        with statetree.open(source) as a, statetree.open(destination) as b:
            assert (a.info, a.digest) == (b.info, digest)
            assert b.info["user"] == {"step": 7}
        assert not statetree.diff(source, destination)


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_is_loaded_is_writable_and_apart_from_the_file(name: str, tmp_path: Path) -> None:
    statetree.save(tmp_path / name, TREE, durable=False)
    loaded = statetree.load(tmp_path / name)

    loaded["model"]["w"][:] = 9

    assert difference(statetree.load(tmp_path / name), TREE) is None


@pytest.mark.parametrize("name", CONTAINERS)
def test_mapped_arrays_are_read_only_and_equal(name: str, tmp_path: Path) -> None:
    statetree.save(tmp_path / name, TREE, durable=False)

    mapped = statetree.load(tmp_path / name, mmap=True)

    assert difference(mapped, TREE) is None
    assert not mapped["model"]["w"].flags.writeable


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("select", ["/model", "/model/bn/σ²", ("opt", 1), "/opt/#0/#0", "/rng", "/zero/#2", ""])
def test_a_part_is_that_part_of_the_whole(name: str, select: Any, tmp_path: Path) -> None:
    statetree.save(tmp_path / name, TREE, durable=False)
    whole: Any = statetree.load(tmp_path / name)

    part = statetree.load(tmp_path / name, select=select)

    for key in statetree.parse_path(select) if isinstance(select, str) else select:
        whole = whole[key]
    assert difference(part, whole) is None


def test_the_normalisations_are_those_of_the_readme_and_no_others(tmp_path: Path) -> None:
    mapped = np.memmap(tmp_path / "m", np.int32, "w+", shape=(3,))
    tree = {
        "big": W.astype(">f4"),
        "fortran": np.asfortranarray(W),
        "reversed": W[::-1],
        "wide bool": np.array([0, 1, 2, 255], np.uint8).view(np.bool_),
        "wide int4": np.array([0xF7], np.uint8).view(ml_dtypes.int4),
        "ordered": OrderedDict(b=1),
        "point": Point(1, 2),
        "mapped": mapped,
    }
    statetree.save(tmp_path / "x.h5", tree, durable=False)

    loaded = statetree.load(tmp_path / "x.h5")

    assert [loaded[name].dtype.isnative and loaded[name].flags.c_contiguous for name in ("big", "fortran", "reversed")]
    assert difference(loaded["big"], W) is None
    assert loaded["wide bool"].view(np.uint8).tolist() == [0, 1, 1, 1]
    assert loaded["wide int4"].view(np.uint8).tolist() == [7]
    assert type(loaded["ordered"]) is dict
    assert (type(loaded["point"]), loaded["point"].label, loaded["point"].names) == (Record, "Point", ("x", "y"))
    assert type(loaded["mapped"]) is np.ndarray


def test_saving_changes_nothing_of_the_tree(tmp_path: Path) -> None:
    w = np.asfortranarray(W)
    tree = {"w": w, "bits": np.array([2], np.uint8).view(np.bool_)}

    statetree.save(tmp_path / "x.bson", tree, durable=False)

    assert tree["w"] is w
    assert w.flags.f_contiguous
    assert tree["bits"].view(np.uint8).tolist() == [2]


def test_a_save_replaces_what_was_there(tmp_path: Path) -> None:
    for name in CONTAINERS:
        statetree.save(tmp_path / name, {"old": W}, durable=False)
        statetree.save(tmp_path / name, TREE, durable=False)

        assert difference(statetree.load(tmp_path / name), TREE) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CONTAINERS)


def test_progress_counts_every_byte_once(tmp_path: Path) -> None:
    large = np.zeros(3 * BLOCK // 2, np.uint8)
    seen: list[tuple[int, int]] = []

    statetree.save(tmp_path / "x.h5", [large, W], durable=False, progress=lambda *step: seen.append(step))

    total = large.nbytes + W.nbytes
    assert [done for done, _ in seen] == [BLOCK, large.nbytes, total]
    assert {whole for _, whole in seen} == {total}


@pytest.mark.parametrize("algorithm", ["xxh3-128", "sha-256", "blake3"])
def test_a_file_keeps_its_digest_algorithm(algorithm: str, tmp_path: Path) -> None:
    if algorithm == "blake3":
        pytest.importorskip("blake3", reason="blake3 is an optional library")
    statetree.save(tmp_path / "x.h5", TREE, algorithm=algorithm, durable=False)

    digest = statetree.convert(tmp_path / "x.h5", tmp_path / "x.bson", durable=False)

    assert digest.startswith(f"{algorithm}:")
    assert digest == statetree.digest(TREE, algorithm=algorithm)


def test_a_str_given_to_digest_is_a_tree_and_a_path_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved = statetree.save("x.bson", TREE, durable=False)

    with pytest.warns(UserWarning, match="^a str is digested as a tree; for the file of that name give pathlib.Path"):
        of_text = statetree.digest("x.bson")

    assert statetree.digest(Path("x.bson")) == saved != of_text
    (tmp_path / "x.bson").unlink()
    assert statetree.digest("x.bson") == of_text


def test_inspect_reads_no_array_and_sums_up(tmp_path: Path) -> None:
    statetree.save(tmp_path / "x.bson", {"w": W, "tied": W, "n": 1}, info={"step": 7}, durable=False)

    summary = statetree.inspect(tmp_path / "x.bson")

    assert [(line.path, line.text, line.nbytes, line.tied) for line in summary.lines] == [
        ((), "dict of 3", 0, None),
        (("w",), "float32 (2, 3)", 24, None),
        (("tied",), "float32 (2, 3)", 24, ("w",)),
        (("n",), "int 1", 0, None),
    ]
    assert (summary.arrays, summary.parameters, summary.nbytes, summary.backend) == (1, 6, 24, "bson")
    assert summary.info["user"] == {"step": 7}
    assert summary.stored_bytes == (tmp_path / "x.bson").stat().st_size


@pytest.mark.parametrize(
    ("a", "b", "what", "path"),
    [
        ({"a": 1}, {}, "removed", ("a",)),
        ({}, {"a": 1}, "added", ("a",)),
        ({"a": 1}, {"a": True}, "kind", ("a",)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, "order", ()),
        (Record(label="A"), Record(label="B"), "label", ()),
        ([W], [W.astype(np.float64)], "dtype", (0,)),
        ([W], [W.T], "shape", (0,)),
        ([W], [W + 1], "value", (0,)),
        ([0.0], [-0.0], "value", (0,)),
        ([W, W], [W, W.copy()], "tie", (0,)),
    ],
)
def test_diff_names_what_differs(a: Any, b: Any, what: str, path: Any, tmp_path: Path) -> None:
    statetree.save(tmp_path / "a.h5", a, durable=False)
    statetree.save(tmp_path / "b.bson", b, durable=False)

    report = statetree.diff(tmp_path / "a.h5", tmp_path / "b.bson")

    assert bool(report)
    assert [(change.what, change.path) for change in report.changes] == [(what, path)]


def test_diff_measures_arrays(tmp_path: Path) -> None:
    other = W.copy()
    other[1, 2] = 4
    statetree.save(tmp_path / "a.h5", W, durable=False)
    statetree.save(tmp_path / "b.h5", other, durable=False)

    (change,) = statetree.diff(tmp_path / "a.h5", tmp_path / "b.h5").changes

    assert (change.elements, change.max_abs, change.max_rel) == (1, 1.0, 0.2)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_sound_file_validates(name: str, tmp_path: Path) -> None:
    digest = statetree.save(tmp_path / name, TREE, durable=False)

    report = statetree.validate(tmp_path / name)

    assert bool(report)
    assert (report.ok, report.problems, report.digest) == (True, (), digest)


def test_more_bytes_than_allowed_are_not_loaded_but_may_be_opened(tmp_path: Path) -> None:
    limits = Limits(total_bytes=10)
    statetree.save(tmp_path / "x.bson", {"w": W, "b": np.zeros(1, np.int8)}, durable=False)

    with pytest.raises(statetree.LimitError) as caught:
        statetree.load(tmp_path / "x.bson", limits=limits)

    assert str(caught.value) == (
        "expected arrays of at most 10 bytes, got 25 bytes: open it lazily (statetree.open), "
        "load a part with select=, or raise limits=Limits(total_bytes=…)"
    )
    assert difference(statetree.load(tmp_path / "x.bson", select="/b", limits=limits), np.zeros(1, np.int8)) is None
    with statetree.open(tmp_path / "x.bson", limits=limits) as file:
        assert type(file["w"]) is LazyArray
        assert difference(file["w"][1], W[1]) is None


README = (ROOT / "README.md").read_text("utf-8")


def test_the_example_and_the_listing_of_the_readme_are_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    example, training = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (listing,) = re.findall(r"```console\n\$ statetree inspect checkpoint.h5\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)

    names: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), names)
    exec(compile(training, "README.md", "exec"), names)
    capsys.readouterr()
    command(["inspect", "checkpoint.h5"], standalone_mode=False)

    def lines(text: str) -> list[str]:
        # What depends on the day and on the version of this package.
        return [re.sub(r"^statetree .*|, [0-9.]+ KiB$", "", line).rstrip() for line in text.splitlines()]

    assert lines(capsys.readouterr().out) == lines(listing)
    assert example.count("\n") <= 12


def test_the_error_text_of_the_readme_is_real(tmp_path: Path) -> None:
    with pytest.raises(statetree.WriteError) as caught:
        statetree.save(tmp_path / "x.h5", {"model": {"names": np.array(["a", None], object)}})

    assert f"\n{caught.value}\n" in README


def test_every_link_of_the_documents_leads_somewhere() -> None:
    for document in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_decision_has_a_status_and_an_outcome() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))

    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text("utf-8")
        assert text.startswith(f"# {int(page.name[:4])}. ")
        assert re.findall(r"^## (\w+)|^(Status): ", text, re.MULTILINE) == [
            ("", "Status"),
            ("Question", ""),
            ("Options", ""),
            ("Outcome", ""),
        ]
