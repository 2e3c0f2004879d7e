"""Foreign files: what they are, and how their content gets into a state tree. Source: spec section 11.

Recognition reads a bounded part of a file, follows no link out of it, and runs nothing that is in it.
"""

from pathlib import Path
from typing import NoReturn, Protocol

from statetree.child import Budget
from statetree.errors import fail, shown
from statetree.formats._sample import Recognised, Recogniser, Sample, sampled
from statetree.plugins import entry_points

__all__ = ["Format", "Recognised", "pickle_globals", "recognise", "refuse_foreign"]

GROUP = "statetree.formats"
_MATERIALS = {"zip", "hdf5", "zarr", "bson", "json", "text", "compressed", "tar", "sqlite"}
"""Names of the kinds that other formats are made of."""


class Format(Protocol):
    """A kind of foreign file; an object of the entry point group `statetree.formats`."""

    @property
    def name(self) -> str:
        """Short name: `jld2`, `safetensors`."""

    @property
    def remedy(self) -> str:
        """How the content of such a file gets into a state tree, for the end of an error text."""

    def recognise(self, path: Path, head: bytes) -> str | None:
        """Return what the file is, article included (`a JLD2 file written by Julia`), None if it is another.

        Args:
            path: the file or folder.
            head: its first 8,192 bytes, b"" for a folder.
        """


def _recognisers() -> tuple[Recogniser, ...]:
    """Return the built-in recognisers, those with a magic first, the guesses last."""
    from statetree.formats._bson_family import recognise_bson
    from statetree.formats._compressed import recognise_compressed
    from statetree.formats._folders import recognise_folder
    from statetree.formats._hdf5_family import recognise_hdf5
    from statetree.formats._magics import recognise_magic, recognise_safetensors, recognise_tensorflow
    from statetree.formats._messages import recognise_flax, recognise_onnx
    from statetree.formats._numpy import recognise_npy
    from statetree.formats._texts import recognise_empty, recognise_text
    from statetree.formats._zip_family import recognise_zip
    from statetree.formats.pickles import recognise_pickle

    return (
        recognise_folder,
        recognise_empty,
        recognise_hdf5,
        recognise_zip,
        recognise_npy,
        recognise_magic,
        recognise_safetensors,
        recognise_bson,
        recognise_pickle,
        recognise_compressed,
        recognise_tensorflow,
        recognise_flax,
        recognise_onnx,
        recognise_text,
    )


def recognise(path: Path, head: bytes, budget: Budget | None = None) -> Recognised | None:
    """Return what a foreign file or folder is, None if nobody knows; never raises.

    Built-in kinds are asked first. Formats of other packages are asked where none of these fits, or only one that many
    formats are made of, such as zip, HDF5 or JSON.

    Args:
        path: the file or folder.
        head: its first 8,192 bytes, b"" for a folder.
        budget: what a library may take in a process of its own; None: it runs in this process.
    """
    found: Recognised | None = None
    try:
        with sampled(path, head, budget) as sample:
            asked = (_ask(recogniser, sample) for recogniser in _recognisers())
            found = next((answer for answer in asked if answer is not None), None)
    except Exception:  # It vanished or became unreadable: then it is of no known kind.
        return None
    if found is None or found.name in _MATERIALS:
        return _third_party(path, head) or found
    return found


def _ask(recogniser: Recogniser, sample: Sample) -> Recognised | None:
    try:
        return recogniser(sample)
    except Exception:  # A hostile file may bring any parser down; it is then of no kind that this one knows.
        return None


def _third_party(path: Path, head: bytes) -> Recognised | None:
    for entry in entry_points(GROUP):
        try:
            kind: Format = entry.load()
            text = kind.recognise(path, head)
            if isinstance(text, str) and text:
                return Recognised(shown(str(kind.name)), shown(text, 200), shown(str(kind.remedy), 400))
        except Exception:  # A broken extension must not hide what is wrong with the file.
            continue
    return None


def pickle_globals(path: Path) -> list[str]:
    """Return the globals that the pickles of a file import when opened, `module.name`, in the order of the stream.

    Pickles of all protocols, in PyTorch archives, object arrays of NumPy, `.metadata` of distributed checkpoints and
    the first 1 MiB of compressed files are followed without being unpickled, up to 250,000 instructions each. A part
    of a name that only running it would tell is `?`.

    Raises:
        StateTreeError: the file cannot be read.
    """
    from statetree.formats._compressed import inflate
    from statetree.formats._folders import folder_imports
    from statetree.formats._numpy import pickle_offset
    from statetree.formats._sample import Bytes
    from statetree.formats._zip_family import zip_imports
    from statetree.formats.pickles import imports_of

    with sampled(path) as sample:
        if sample.names is not None:
            return folder_imports(sample)
        try:
            if sample.head.startswith(b"PK\3\4"):
                return zip_imports(sample.file)
        except Exception:
            return []
        data = inflate(sample)
        return imports_of(Bytes(data) if data else sample.file, pickle_offset(sample.head))


def refuse_foreign(path: Path, head: bytes, budget: Budget | None = None) -> NoReturn:
    """Refuse a file that no backend recognises, and say what it is.

    Raises:
        UnsupportedError: always.
    """
    from statetree.files import is_folder

    found = recognise(path, head, budget) or Recognised(
        "unknown",
        "a folder that is no container" if is_folder(path) else "a file of an unknown kind",
        "load it with the library that wrote it, then statetree.save what it holds",
    )
    fail("NOT_STATETREE", "a statetree container", found.text, place=str(path), remedy=found.remedy)
