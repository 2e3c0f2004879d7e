"""Which container a save makes: the argument, the suffix, the environment, the project, HDF5; in this order."""

import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import statetree
from statetree import MissingLibraryError, StateTreeError, UsageError, WriteError
from statetree.registry import backend_names, find_backend

TREE = {"w": np.arange(3.0), "n": 1}


@pytest.fixture(autouse=True)
def quiet_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder without settings."""
    (tmp_path / "here").mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("STATETREE_BACKEND", raising=False)
    return tmp_path / "here"


def saved(path: str, **options: Any) -> str:
    """Save at `path` and return the container that the file is by its content."""
    statetree.save(path, TREE, durable=False, **options)
    with statetree.open(path) as file:
        assert statetree.difference(statetree.load(path), TREE) is None
        return file.backend


def configure(place: Path, text: str) -> None:
    (place / "pyproject.toml").write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("path", "backend"),
    [
        ("x.h5", "hdf5"),
        ("x.hdf5", "hdf5"),
        ("x.zarr", "zarr"),
        ("x.zarr.zip", "zarr"),
        ("x.bson", "bson"),
        ("X.H5", "hdf5"),
        ("epoch.3.Bson", "bson"),
        ("x", "hdf5"),
        (".hidden", "hdf5"),
    ],
)
def test_the_suffix_chooses_and_without_one_it_is_hdf5(path: str, backend: str) -> None:
    assert saved(path) == backend


@pytest.mark.parametrize("backend", ["hdf5", "zarr", "bson"])
def test_the_argument_chooses_where_the_suffix_says_nothing(backend: str, recwarn: pytest.WarningsRecorder) -> None:
    assert saved("x", backend=backend) == backend
    assert saved("x.ckpt", backend=backend) == backend
    assert not recwarn.list


def test_the_argument_beats_the_suffix_with_a_warning_at_the_callers_line() -> None:
    text = "^backend 'bson' was asked for and is used, though 'x.h5' looks like 'hdf5'$"

    with pytest.warns(UserWarning, match=text) as caught:
        statetree.save("x.h5", TREE, backend="bson", durable=False)

    assert caught[0].filename == __file__
    with statetree.open("x.h5") as file:
        assert file.backend == "bson"


def test_convert_chooses_and_warns_as_save_does() -> None:
    statetree.save("x.h5", TREE, durable=False)

    with pytest.warns(UserWarning, match="^backend 'zarr' was asked for") as caught:
        statetree.convert("x.h5", "y.bson", backend="zarr", durable=False)

    assert caught[0].filename == __file__
    with statetree.open("y.bson") as file:
        assert file.backend == "zarr"


def test_the_suffix_beats_the_environment_and_the_environment_beats_the_project(
    quiet_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(quiet_place, '[tool.statetree]\nbackend = "zarr"\n')

    assert saved("a") == "zarr"
    monkeypatch.setenv("STATETREE_BACKEND", "bson")
    assert saved("b") == "bson"
    assert saved("c.h5") == "hdf5"
    assert saved("d", backend="hdf5") == "hdf5"


def test_the_nearest_project_upwards_counts_and_no_other(quiet_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = quiet_place / "src" / "deep"
    inner.mkdir(parents=True)
    configure(quiet_place, '[tool.statetree]\nbackend = "bson"\n')
    monkeypatch.chdir(inner)

    assert saved("x") == "bson"
    configure(quiet_place / "src", '[project]\nname = "inner"\n')
    assert saved("y") == "hdf5"


@pytest.mark.parametrize(
    "text",
    ["", "[tool.statetree]\n", "[tool]\nother = 1\n"],
)
def test_a_project_that_says_nothing_changes_nothing(quiet_place: Path, text: str) -> None:
    configure(quiet_place, text)

    assert saved("x") == "hdf5"


@pytest.mark.parametrize("text", ["tool = 1\n", "[tool]\nstatetree = 1\n", "= no toml"])
def test_a_project_file_that_cannot_be_read_changes_nothing_but_is_told(quiet_place: Path, text: str) -> None:
    configure(quiet_place, text)

    with pytest.warns(UserWarning, match=r"pyproject\.toml cannot be read for a backend"):
        assert saved("x") == "hdf5"


def test_a_project_that_names_no_text_is_refused(quiet_place: Path) -> None:
    configure(quiet_place, "[tool.statetree]\nbackend = 1\n")

    with pytest.raises(UsageError) as caught:
        saved("x")

    assert str(caught.value).startswith("expected the name of a backend, got 1 (in ")


def test_an_empty_environment_variable_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATETREE_BACKEND", "")

    assert saved("x") == "hdf5"


@pytest.mark.parametrize("how", ["argument", "environment", "project"])
def test_an_unknown_backend_is_refused(how: str, quiet_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("STATETREE_BACKEND", "netcdf")
    if how == "project":
        configure(quiet_place, '[tool.statetree]\nbackend = "netcdf"\n')

    with pytest.raises(UsageError) as caught:
        statetree.save("x", TREE, **({"backend": "netcdf"} if how == "argument" else {}))

    assert str(caught.value) == (
        "expected a backend of bson, hdf5, memory, zarr, got 'netcdf': "
        "choose one of these, or install the package that brings it"
    )
    assert not Path("x").exists()


def test_reading_goes_by_content_and_not_by_name() -> None:
    for name, other in (("x.h5", "y.bson"), ("x.bson", "y.zarr.zip"), ("x.zarr", "y.h5"), ("x.zarr.zip", "y")):
        statetree.save(name, TREE, durable=False)
        Path(name).rename(other)

        assert statetree.difference(statetree.load(other), TREE) is None


@pytest.mark.parametrize(
    ("backend", "compression", "message"),
    [
        (
            "hdf5",
            "zstd",
            "expected a compression that every HDF5 library can read (gzip), "
            "got 'zstd', a plug-in filter that stock readers do not have: "
            "use compression='gzip', or a Zarr or BSON container for zstd",
        ),
        (
            "hdf5",
            "lzma",
            "expected a compression of the backend 'hdf5' (gzip), got 'lzma': choose one of these, or compression=None",
        ),
        (
            "zarr",
            "blosc",
            "expected a compression of the backend 'zarr' (gzip, zstd), got 'blosc': "
            "choose one of these, or compression=None",
        ),
        (
            "memory",
            "gzip",
            "expected a compression of the backend 'memory' (it has none), got 'gzip': "
            "choose one of these, or compression=None",
        ),
    ],
)
def test_a_compression_that_the_container_does_not_have_is_refused(
    backend: str, compression: str, message: str
) -> None:
    with pytest.raises(WriteError) as caught:
        statetree.save("x", TREE, backend=backend, compression=compression)

    assert str(caught.value) == message
    assert not Path("x").exists()


def hide(monkeypatch: pytest.MonkeyPatch, module: str, library: str) -> None:
    """Make a backend module believe that a library is not installed."""
    name = (
        sys.modules[type(find_backend(module)).__module__].__name__
        if module != "codecs"
        else ("statetree_backends._codecs")
    )
    real = sys.modules[name].find_spec

    def find_spec(wanted: str, package: str | None = None) -> ModuleSpec | None:
        found: ModuleSpec | None = None if wanted == library else real(wanted, package)
        return found

    monkeypatch.setattr(sys.modules[name], "find_spec", find_spec)


def test_a_missing_library_says_which_install_brings_it_when_saving(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "bson", "bson")

    with pytest.raises(MissingLibraryError) as caught:
        statetree.save("x.bson", TREE)

    assert str(caught.value) == (
        "expected the library 'pymongo' for the backend 'bson', got no such library: pip install 'statetree[bson]'"
    )
    assert isinstance(caught.value, ImportError)
    assert not Path("x.bson").exists()


def test_reading_needs_no_library_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    statetree.save("x.bson", TREE, durable=False)
    hide(monkeypatch, "bson", "bson")

    assert statetree.difference(statetree.load("x.bson"), TREE) is None


@pytest.mark.parametrize("backend", ["zarr", "bson"])
def test_a_missing_codec_says_which_install_brings_it_when_loading(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    statetree.save(f"x.{backend}", [np.zeros(100_000)], compression="zstd", durable=False)
    hide(monkeypatch, "codecs", "zstandard")

    with pytest.raises(MissingLibraryError) as caught:
        statetree.load(f"x.{backend}")

    assert str(caught.value) == (
        "expected the library 'zstandard' for zstd frames, got no such library: pip install 'statetree[all]'"
    )


@pytest.mark.parametrize("backend", ["zarr", "bson"])
def test_a_missing_codec_says_which_install_brings_it(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "codecs", "zstandard")

    with pytest.raises(MissingLibraryError) as caught:
        statetree.save(f"x.{backend}", TREE, compression="zstd")

    assert str(caught.value) == (
        f"expected the library 'zstandard' for the backend '{backend}', got no such library: "
        f"pip install 'statetree[{backend}]'"
    )
    assert saved(f"x.{backend}", compression="gzip") == backend


def test_a_missing_digest_library_says_which_install_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "blake3", None)

    with pytest.raises(MissingLibraryError) as caught:
        statetree.save("x.h5", TREE, algorithm="blake3")

    assert str(caught.value) == (
        "expected the library 'blake3' for the digest algorithm 'blake3', got no such library: "
        "pip install 'statetree[blake3]'"
    )
    assert not Path("x.h5").exists()


def test_an_unknown_digest_algorithm_is_refused() -> None:
    with pytest.raises(StateTreeError) as caught:
        statetree.save("x.h5", TREE, algorithm="md5")

    assert str(caught.value) == (
        "expected a digest algorithm of xxh3-128, sha-256, blake3, got 'md5': "
        "choose one of these; a file with another one needs a newer statetree"
    )
    assert not Path("x.h5").exists()


def test_the_four_backends_are_installed() -> None:
    assert backend_names() == ("bson", "hdf5", "memory", "zarr")
    assert [find_backend(name).name for name in backend_names()] == list(backend_names())


HEAVY = ("h5py", "zarr", "bson", "pymongo", "torch", "jax", "flax", "tensorflow", "sklearn", "pandas", "click", "rich")


def imported(code: str) -> set[str]:
    """Return which heavy libraries a fresh process has imported after running `code`."""
    script = f"import sys\n{code}\nprint(*(name for name in {HEAVY} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_import_statetree_imports_no_container_library_and_no_framework() -> None:
    assert imported("import statetree") == set()


@pytest.mark.parametrize(
    ("path", "libraries"),
    [("x.h5", set()), ("x.zarr", set()), ("x.zarr.zip", set()), ("x.bson", {"bson", "pymongo"})],
)
def test_saving_and_loading_import_what_their_container_needs_and_no_framework(path: str, libraries: set[str]) -> None:
    code = f"import statetree\nstatetree.save({path!r}, {{'a': 1}}, durable=False)\nstatetree.load({path!r})"

    assert imported(code) <= libraries


def test_an_entry_point_that_leads_to_no_backend_is_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from statetree import registry

    found = [*registry.entry_points(registry.GROUP), EntryPoint("wrong", "math:pi", registry.GROUP)]
    monkeypatch.setattr(registry, "entry_points", lambda group: iter(found))
    registry.backend_names.cache_clear()
    try:
        with pytest.warns(UserWarning, match="backend 'wrong' cannot be used: its entry point leads to no backend"):
            assert "wrong" not in registry.backend_names()
    finally:
        registry.backend_names.cache_clear()
