"""Zip archives: NumPy, PyTorch, Keras and Zarr files are told apart by the names in them. Source: PKZIP APPNOTE."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from statetree.formats import _numpy
from statetree.formats._sample import Bytes, Recognised, Sample, Source
from statetree.formats.pickles import TORCH_REMEDY, importing, imports_of

__all__ = ["recognise_zip", "zip_imports"]

_DIRECTORY_BYTES = 4 << 20
_MEMBER_BYTES = 16 << 20
_BUDGET = 64 << 20
_MEMBERS = 64


class _Bounded(io.RawIOBase):
    """A file for zipfile that gives out a limited number of bytes, so that a lying directory costs little."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._at = 0
        self._left = _BUDGET

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move; before the start is an error, as for a file."""
        at = offset + (0, self._at, self._source.size)[whence]
        if at < 0:
            raise OSError("before the start of the file")
        self._at = at
        return at

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""
        size = min(size if size >= 0 else self._source.size, max(0, self._source.size - self._at))
        if size > _DIRECTORY_BYTES or size > self._left:
            raise OSError("more than a look takes")
        self._left -= size
        data = self._source.read(self._at, size)
        self._at += len(data)
        return data


@contextmanager
def _archive(source: Source) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(_Bounded(source)) as archive:
        yield archive


def _member(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    """Return the first `size` bytes of a member; b"" where it cannot be read."""
    try:
        row = archive.getinfo(name)
        # The dictionary of LZMA may be as large as the file says; nobody writes such files for what is looked for here.
        if row.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return b""
        parts, left = [], size
        with archive.open(row) as member:
            while left and (part := member.read(min(left, 1 << 20))):
                parts.append(part)
                left -= len(part)
        return b"".join(parts)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, EOFError, ValueError, zlib.error):
        return b""


def _imports(archive: zipfile.ZipFile) -> list[str]:
    """Return the globals of the pickles of an archive, and of the object arrays in it."""
    found: dict[str, None] = {}
    names = [name for name in archive.namelist() if name.endswith((".pkl", ".npy"))][:_MEMBERS]
    for name in names:
        at = 0
        if name.endswith(".npy") and not (at := _numpy.pickle_offset(_member(archive, name, 8192))):
            continue
        found.update(dict.fromkeys(imports_of(Bytes(_member(archive, name, _MEMBER_BYTES)), at)))
    return list(found)


def zip_imports(source: Source) -> list[str]:
    """Return the globals that the pickles in a zip archive import.

    Raises:
        zipfile.BadZipFile, OSError: the archive cannot be read.
    """
    with _archive(source) as archive:
        return _imports(archive)


def recognise_zip(sample: Sample) -> Recognised | None:
    """Recognise a zip archive and what is in it."""
    if not sample.head.startswith((b"PK\3\4", b"PK\5\6")):
        return None
    try:
        with _archive(sample.file) as archive:
            return _inside(archive)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return Recognised(
            "zip",
            "a zip archive that is damaged or of too many files to look at",
            "check that it was copied as a whole; unpack it, and see what it holds",
        )


def _inside(archive: zipfile.ZipFile) -> Recognised:
    names = archive.namelist()
    last = {name.rsplit("/", 1)[-1] for name in names}
    if "data.pkl" in last:
        return _torch(archive, names)
    if "config.json" in names and any(name.startswith("model.weights") for name in names):
        return _keras(archive)
    if names and all(name.endswith(".npy") for name in names):
        return _npz(archive)
    if last & {"zarr.json", ".zgroup", ".zarray"}:
        return Recognised(
            "zarr",
            "a zip archive with Zarr arrays that statetree did not write",
            "read its arrays with zarr, then statetree.save what you read",
        )
    if "archive_format" in last:
        return Recognised(
            "pt2",
            "an exported PyTorch program (.pt2)",
            "load it with torch.export.load where you trust it, and save its state_dict",
        )
    return Recognised("zip", "a zip archive" if names else "an empty zip archive", "unpack it, and see what it holds")


def _torch(archive: zipfile.ZipFile, names: list[str]) -> Recognised:
    imports = _imports(archive)
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return Recognised(
            "torchscript",
            importing("a TorchScript module (zip with code and pickles)", imports),
            "it holds code, which is refused for long-term storage; "
            "load it with torch.jit.load where you trust it, and save its state_dict()",
            pickle=True,
        )
    return Recognised(
        "torch",
        importing("a PyTorch checkpoint (zip with a pickle)", imports),
        TORCH_REMEDY,
        pickle=True,
    )


def _keras(archive: zipfile.ZipFile) -> Recognised:
    config = _member(archive, "config.json", _DIRECTORY_BYTES)
    coded = b'"Lambda"' in config or b'"__lambda__"' in config
    return Recognised(
        "keras",
        "a Keras model (.keras) with a lambda, which is code" if coded else "a Keras model (.keras)",
        "load it with keras where you trust it, then statetree.save({w.path: w.numpy() for w in model.weights})",
    )


def _npz(archive: zipfile.ZipFile) -> Recognised:
    objects = any(_numpy.pickle_offset(_member(archive, name, 8192)) for name in archive.namelist()[:_MEMBERS])
    if objects:
        text = importing("a NumPy .npz file with pickled objects", _imports(archive))
        return Recognised("npz", text, _numpy.OBJECT_REMEDY, pickle=True)
    return Recognised("npz", "a NumPy .npz file", "statetree.save(path, dict(numpy.load(…)))")
