"""State trees in .npz files, which `numpy.load` opens: an example of a backend that somebody else brings.

A file is a zip of stored members: `statetree.npy` (version, digest algorithm, digests of the texts), `manifest.npy`,
`info.npy`, `blocks/<i>.npy`, `arrays/<name>.npy`. Each member has one possible header, so that none is ever parsed.
A save is built in memory: this is an example, and not for large trees.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import numpy as np

from statetree.digest import block_count, digest_size, hasher
from statetree.errors import fail
from statetree.files import check_parent, replace_file
from statetree.limits import Limits
from statetree.store import ArraySpec, Layout, WriteOptions
from statetree_spec import registry

_FIRST = b"statetree.npy"
_CARRIERS = {row["name"]: row["carrier"] or row["name"] for row in registry("dtypes")["dtypes"]}
_DAMAGED = "the file is damaged: restore it from a copy"


def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    out = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype).newbyteorder("<"))
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue()


def _flat(data: bytes) -> bytes:
    return _header("uint8", (len(data),)) + data


def _refuse(code: str, expected: str, found: str, place: str) -> NoReturn:
    fail(code, expected, found, place=place, remedy=_DAMAGED)


class NpzWriter:
    """A file being written; its arrays are in memory until it is committed."""

    def __init__(self, path: Path, options: WriteOptions) -> None:
        check_parent(path, path)
        self._path, self._options = path, options
        self._specs: Sequence[ArraySpec] = ()
        self._arrays: list[bytearray] = []

    def create(self, specs: Sequence[ArraySpec]) -> None:
        self._specs = specs
        self._arrays = [bytearray(spec.nbytes) for spec in specs]

    def write(self, index: int, start: int, data: memoryview | bytes) -> None:
        self._arrays[index][start : start + len(data)] = data

    def write_many(self, first: int, arrays: Sequence[bytes]) -> None:
        for index, data in enumerate(arrays, first):
            self.write(index, 0, data)

    def commit(self, manifest: bytes, info: bytes, blocks: Mapping[int, bytes]) -> None:
        function = hasher(self._options.algorithm)
        record = f"1.0 {self._options.algorithm} {function(manifest).hex()} {function(info).hex()}"
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as file:
            members = {"statetree": _flat(record.encode()), "manifest": _flat(manifest), "info": _flat(info)}
            members |= {f"blocks/{index}": _flat(digests) for index, digests in blocks.items()}
            for spec, data in zip(self._specs, self._arrays, strict=True):
                members[f"arrays/{spec.name}"] = _header(_CARRIERS[spec.dtype], spec.shape) + data
            for name, content in members.items():
                # The same tree at any time is the same file.
                file.writestr(zipfile.ZipInfo(f"{name}.npy"), content)
        replace_file(self._path, out.getvalue(), durable=self._options.durable)

    def abort(self) -> None:
        self._arrays = []


class NpzReader:
    """An open file."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self._path, self._limits = path, limits
        self._specs: Sequence[ArraySpec] = ()
        with self._reading("the members of the file"):
            self._file = zipfile.ZipFile(path)
        record = self._text("statetree", 4096).decode("ascii", "replace").split(" ")
        if len(record) != 4 or record[0] != "1.0":
            _refuse("HEADER_FORM", "a version, an algorithm and two digests", f"{len(record)} words", str(path))
        self._algorithm, self._digests = record[1], {"manifest": record[2], "info": record[3]}
        try:
            hasher(self._algorithm)
        except KeyError:
            _refuse("DIGEST_ALGORITHM", "a digest algorithm", repr(self._algorithm)[:80], str(path))

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        # What zipfile raises for a damaged file is no promise of its documentation.
        try:
            yield
        except Exception as error:
            _refuse("CONTAINER_TRUNCATED", what, f"{type(error).__name__} ({error})"[:200], str(self._path))

    def _member(self, name: str) -> zipfile.ZipInfo:
        with self._reading(f"the member {name}.npy"):
            found = self._file.getinfo(f"{name}.npy")
            if found.compress_type or found.flag_bits & 1 or found.file_size != found.compress_size:
                raise ValueError("a compressed or encrypted member")
        return found

    def _read(self, name: str, header: bytes, size: int, start: int, out: memoryview) -> None:
        """Fill `out` with bytes of a member of `size` bytes behind its header, from `start` on."""
        found = self._member(name)
        if found.file_size != len(header) + size:
            _refuse("ARRAY_NBYTES", f"{len(header) + size} bytes", str(found.file_size), f"{name}.npy")
        with self._reading(f"the member {name}.npy"), self._file.open(found) as member:
            if member.read(len(header)) != header:
                raise ValueError("another header")
            member.seek(len(header) + start)
            view = out
            while len(view):
                piece = member.read(min(len(view), 1 << 20))
                if not piece:
                    raise EOFError("the member ends early")
                view[: len(piece)] = piece
                view = view[len(piece) :]

    def _text(self, name: str, most: int) -> bytes:
        """Return a member of plain bytes."""
        size = self._member(name).file_size - len(_header("uint8", (0,)))
        if not 0 <= size <= most:
            _refuse("LIMIT_MANIFEST", f"at most {most} bytes", str(size), f"{name}.npy")
        out = bytearray(size)
        self._read(name, _header("uint8", (size,)), size, 0, memoryview(out))
        return bytes(out)

    def _checked(self, name: str, most: int, code: str) -> bytes:
        text = self._text(name, most)
        if hasher(self._algorithm)(text).hex() != self._digests[name]:
            _refuse(code, f"the {name} that was saved", "one with another digest", f"{name}.npy")
        return text

    def algorithm(self) -> str:
        return self._algorithm

    def manifest(self) -> bytes:
        return self._checked("manifest", self._limits.manifest_bytes, "MANIFEST_DIGEST")

    def info(self) -> bytes:
        return self._checked("info", self._limits.info_bytes, "INFO_DIGEST")

    def bind(self, specs: Sequence[ArraySpec]) -> None:
        self._specs = specs
        # Nothing is asked of memory for arrays that the file does not hold.
        for spec in specs:
            found = self._member(f"arrays/{spec.name}")
            if found.file_size != spec.nbytes + len(_header(_CARRIERS[spec.dtype], spec.shape)):
                _refuse("BACKEND_MISMATCH", f"{spec.nbytes} bytes", f"{found.file_size}", f"arrays/{spec.name}.npy")

    def blocks(self) -> Mapping[int, bytes]:
        size = digest_size(self._algorithm)
        return {
            index: self._text(f"blocks/{index}", size * count)
            for index, count in enumerate(block_count(spec.nbytes) for spec in self._specs)
            if count > 1
        }

    def view(self, index: int) -> memoryview | None:
        return None

    def read(self, index: int, start: int, stop: int, out: memoryview) -> None:
        spec = self._specs[index]
        header = _header(_CARRIERS[spec.dtype], spec.shape)
        self._read(f"arrays/{spec.name}", header, spec.nbytes, start, out[: stop - start])

    def layout(self) -> Layout | None:
        return None

    def reread(self, index: int) -> bool:
        return False

    def stored_bytes(self) -> int:
        return self._path.stat().st_size

    def place(self, index: int) -> str:
        return f"arrays/{self._specs[index].name}.npy"

    def close(self) -> None:
        self._file.close()


class NpzBackend:
    """State trees in .npz files."""

    name = "npz"
    suffixes: tuple[str, ...] = (".npz",)
    compressions: tuple[str, ...] = ()

    def missing_library(self, compression: str | None = None) -> tuple[str, str] | None:
        return None

    def recognises(self, path: Path, head: bytes) -> bool:
        return head[:4] == b"PK\3\4" and head[30:].startswith(_FIRST)

    def writer(self, path: Path, options: WriteOptions) -> NpzWriter:
        return NpzWriter(path, options)

    def reader(self, path: Path, limits: Limits) -> NpzReader:
        return NpzReader(path, limits)


BACKEND = NpzBackend()
