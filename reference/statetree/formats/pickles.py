"""Pickles: found by following their instructions without obeying one. Source: Python's Lib/pickletools.py.

Strategy: a pickle is a program for a stack machine. `scan` walks it with the table of instructions that pickletools
ships and keeps a shadow of the stack that holds texts and marks only, which is enough to know every global that the
program names. Nothing is imported, called or built; operands are skipped, not read, where they are long.
"""

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from statetree.errors import shown
from statetree.formats._joblib import dtype_of, gap_behind
from statetree.formats._sample import Recognised, Sample, Source

__all__ = ["REMEDY", "TORCH_REMEDY", "importing", "imports_of", "pickle_in", "recognise_pickle", "scan"]

REMEDY = (
    "pickles run code when opened and are refused for long-term storage; load it where you trust it, and save its state"
)
TORCH_REMEDY = (
    "pickles run code when opened and are refused for long-term storage; "
    "torch.load(…, weights_only=True) reads it, then save its state"
)
_INSTRUCTIONS = 250_000
_LINE_BYTES = 1 << 26
_TEXT = 200
_GLOBALS = 1000
_PICKLES = 16
# torch.save before 1.6 begins with the pickle of the number 0x1950a86a20f9469cfc6c.
_TORCH_LEGACY = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
_SIZES = {-2: (1, False), -3: (4, True), -4: (4, False), -5: (8, False)}
_STORES = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))
_IMPORTS = frozenset(("GLOBAL", "INST"))
_NUMBERS = frozenset(("BININT", "BININT1", "BININT2"))
_PUSHED = 256
_WRAPPERS = ("joblib.numpy_pickle.NumpyArrayWrapper",)
_FETCHES = frozenset(("GET", "BINGET", "LONG_BINGET"))
# Modules whose functions reach the system or run code: named first, whatever else a pickle imports.
_TELLING = re.compile(
    r"(os|posix|nt|sys|subprocess|shutil|socket|pty|runpy|ctypes|importlib|imp|code|codeop|marshal|types|pickle|"
    r"webbrowser|timeit|pdb|bdb|cProfile|profile|asyncio|multiprocessing|operator|functools|dill|cloudpickle|\?)\.|"
    r"(builtins|__builtin__)\.(eval|exec|execfile|compile|open|__import__|getattr|setattr|input|apply|breakpoint)$"
)


@dataclass(slots=True)
class Scan:
    """What one walk over a pickle saw."""

    protocol: int = 0
    """The protocol that it declares, or the lowest that has all its instructions."""
    imports: dict[str, None] = field(default_factory=dict)
    """Globals in the order of the stream, `module.name`; a part that is computed while it runs is `?`."""
    instructions: int = 0
    """Instructions followed."""
    end: int | None = None
    """Offset behind the STOP instruction; None where the walk ended before it."""
    clean: bool = False
    """Whether the stack held exactly the result at STOP."""
    odd: bool = False
    """Whether a line was not of the form that Python writes."""
    exhausted: bool = False
    """Whether the walk was given up for length."""


class _BrokenError(Exception):
    """The bytes are no pickle, or not one from here on."""

    def __init__(self, *, long: bool = False) -> None:
        self.long = long


class _Stream:
    """Reads a source forwards through a buffer."""

    def __init__(self, source: Source, at: int) -> None:
        self._source = source
        self._buffer = b""
        self._start = at
        self._at = 0
        self._line_budget = _LINE_BYTES

    @property
    def offset(self) -> int:
        return self._start + self._at

    def _refill(self, need: int) -> None:
        self._start += self._at
        self._at = 0
        self._buffer = self._source.read(self._start, max(need, 1 << 16))
        if len(self._buffer) < need:
            raise _BrokenError

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._buffer):
            self._refill(size)
        data = self._buffer[self._at : self._at + size]
        self._at += size
        return data

    def skip(self, size: int) -> None:
        if size < 0 or self.offset + size > self._source.size:
            raise _BrokenError
        self._at += size
        if self._at > len(self._buffer):
            self._start, self._at, self._buffer = self._start + self._at, 0, b""

    def line(self) -> tuple[bytes, bool]:
        """Return the bytes up to the next newline, at most 4 KiB of them, and whether that is all of them."""
        kept = b""
        while True:
            if self._at >= len(self._buffer):
                self._refill(1)
            end = self._buffer.find(b"\n", self._at)
            piece = self._buffer[self._at : end if end >= 0 else len(self._buffer)]
            whole = len(kept) + len(piece) <= 4096
            kept = (kept + piece)[:4097]
            self._at += len(piece) + (end >= 0)
            self._line_budget -= len(piece)
            if end >= 0:
                return kept[:4096], whole and len(kept) <= 4096
            if self._line_budget < 0:
                raise _BrokenError(long=True)


@cache
def _instructions() -> dict[bytes, tuple[str, int, Any, int | None, tuple[int, bool, bool]]]:
    """Return code → (name, protocol, operand, kind of operand, (items popped, mark popped, item pushed))."""
    import pickletools

    table = {}
    for op in pickletools.opcodes:
        marked = pickletools.markobject in op.stack_before
        popped = op.stack_before.index(pickletools.markobject) if marked else len(op.stack_before)
        effect = (popped, marked, bool(op.stack_after))
        table[op.code.encode("latin-1")] = (op.name, op.proto, op.arg, op.arg.n if op.arg else None, effect)
    return table


_MARK = object()


def _operand(stream: _Stream, name: str, operand: Any, kind: int, seen: Scan) -> Any:
    """Return the operand of an instruction: an int, a short text, else None; skip it where it is long."""
    if kind >= 0:
        data = stream.take(kind)
        return int.from_bytes(data, "little") if name != "BINFLOAT" else None
    if kind == -1:
        return _line_operand(stream, name, operand, seen)
    width, signed = _SIZES[kind]
    size = int.from_bytes(stream.take(width), "little", signed=signed)
    if size <= _TEXT and size >= 0 and ("UNICODE" in name or "STRING" in name):
        return stream.take(size).decode("utf-8", "replace")
    stream.skip(size)
    return None


def _line_operand(stream: _Stream, name: str, operand: Any, seen: Scan) -> Any:
    """Return the operand of an instruction whose operand is a line; what it cannot be makes the walk `odd`."""
    lines = [stream.line() for _ in range(2 if name in _IMPORTS else 1)]
    whole = all(is_whole for _, is_whole in lines)
    first = lines[0][0]
    if name in _IMPORTS:
        return " ".join(line.decode("utf-8", "replace") for line, _ in lines) if whole else "? ?"
    if name == "STRING":
        # Escapes are left alone: such a text is of no use but to hide a name.
        seen.odd |= whole and not (len(first) > 1 and first[:1] in (b"'", b'"') and first[-1:] == first[:1])
        return first[1:-1].decode("utf-8", "replace") if whole and b"\\" not in first and len(first) <= _TEXT else None
    try:
        value = operand.reader(io.BytesIO(first + b"\n")) if whole else None
    except ValueError:
        value = None
        seen.odd = True
    return None if isinstance(value, str) and len(value) > _TEXT else value


class _Machine:
    """The shadow of the stack and the memo: texts, marks, and None for all else."""

    def __init__(self, seen: Scan, *, inner: bool = False) -> None:
        self.seen = seen
        self.inner = inner
        """Whether this is the pickle of an array inside of another one."""
        self.stack: list[Any] = []
        self.pushed: list[Any] = []
        """What was put on the stack since the last array of joblib, the latest 256."""
        self._memo: dict[int, Any] = {}

    def _import(self, name: str) -> None:
        if len(self.seen.imports) < _GLOBALS:
            self.seen.imports.setdefault(name)

    def _pop_mark(self) -> None:
        while self.stack:
            if self.stack.pop() is _MARK:
                return
        raise _BrokenError

    def _top(self) -> Any:
        if not self.stack:
            raise _BrokenError
        return self.stack[-1]

    def step(self, name: str, value: Any, effect: tuple[int, bool, bool]) -> None:
        """Do to the shadow what instruction `name` does to the stack."""
        if name == "MARK":
            self.stack.append(_MARK)
        elif name in _STORES:
            self._memo[value] = self._top()
        elif name == "MEMOIZE":
            self._memo[len(self._memo)] = self._top()
        elif name in _FETCHES:
            if value not in self._memo:
                raise _BrokenError
            self._push(self._memo[value])
        elif name == "DUP":
            self.stack.append(self._top())
        else:
            self._move(name, value, effect)

    def _move(self, name: str, value: Any, effect: tuple[int, bool, bool]) -> None:
        popped, marked, pushes = effect
        if name == "POP" and self._top() is _MARK:
            popped, marked = 0, True
        if marked:
            self._pop_mark()
        if len(self.stack) < popped:
            raise _BrokenError
        items = self.stack[len(self.stack) - popped :]
        del self.stack[len(self.stack) - popped :]
        if name in _IMPORTS:
            self._import(value.replace(" ", ".", 1))
        elif name == "STACK_GLOBAL":
            self._import(".".join(item if isinstance(item, str) else "?" for item in items))
        elif name in ("EXT1", "EXT2", "EXT4"):
            self._import(f"?.copyreg_extension_{value}")
        if name == "REDUCE":
            self._push(dtype_of(self.pushed))
        elif pushes:
            known = isinstance(value, str) and name not in _IMPORTS and name != "PERSID"
            self._push(value if known or (name in _NUMBERS and value is not None) else None)

    def _push(self, value: Any) -> None:
        self.stack.append(value)
        self.pushed.append(value)
        del self.pushed[:-_PUSHED]


def scan(source: Source, at: int = 0) -> Scan:
    """Follow the pickle that begins at byte `at` until it stops, breaks, or has taken 250,000 instructions."""
    seen = Scan()
    try:
        _walk(_Stream(source, at), _Machine(seen), seen)
    except _BrokenError as error:
        seen.exhausted = error.long and seen.instructions > 9
    return seen


def _walk(stream: _Stream, machine: _Machine, seen: Scan) -> None:
    table = _instructions()
    for _ in range(_INSTRUCTIONS - seen.instructions):
        row = table.get(stream.take(1))
        if row is None:
            raise _BrokenError
        name, protocol, operand, kind, effect = row
        value: Any = None if kind is None else _operand(stream, name, operand, kind, seen)
        seen.instructions += 1
        seen.protocol = max(seen.protocol, value if value is not None and name == "PROTO" else protocol)
        if name == "STOP":
            seen.end = stream.offset
            seen.clean = not seen.odd and len(machine.stack) == 1 and machine.stack[0] is not _MARK
            return
        machine.step(name, value, effect)
        if name == "BUILD" and not seen.imports.keys().isdisjoint(_WRAPPERS):
            _skip_array(stream, machine, seen)
    seen.exhausted = True


def _skip_array(stream: _Stream, machine: _Machine, seen: Scan) -> None:
    """Step over the array behind a wrapper of joblib; one of objects is a pickle, which is followed."""
    gap = gap_behind(machine.pushed)
    if gap is None:
        return
    machine.pushed.clear()
    if gap.padded:
        stream.skip(stream.take(1)[0])
    if gap.nbytes is not None:
        stream.skip(gap.nbytes)
    elif not machine.inner:
        _walk(stream, _Machine(seen, inner=True), seen)
        seen.end = None


def _scan_all(source: Source, at: int = 0) -> Iterator[Scan]:
    """Yield the walk over the pickle at byte `at`, then over the whole pickles that follow it, at most 16."""
    left = _INSTRUCTIONS
    for count in range(_PICKLES):
        seen = scan(source, at)
        if count and seen.end is None:
            return
        yield seen
        left -= seen.instructions
        if seen.end is None or seen.end >= source.size or left < 0:
            return
        at = seen.end


def importing(text: str, imports: "list[str]") -> str:
    """Return `text` with up to three of the globals that a pickle imports, the most telling first.

    >>> importing("a Python pickle (protocol 0)", ["collections.OrderedDict", "os.system"])
    'a Python pickle (protocol 0) that imports os.system and collections.OrderedDict'
    """
    if not imports:
        return text
    first = [shown(name) for name in sorted(imports, key=lambda name: not _TELLING.match(name))[:3]]
    if len(imports) > 3:
        return f"{text} that imports {', '.join(first)} and {len(imports) - 3} more"
    return f"{text} that imports {' and '.join([', '.join(first[:-1]), first[-1]] if first[1:] else first)}"


def recognise_pickle(sample: Sample) -> Recognised | None:
    """Recognise pickles of protocols 2 to 5 by their first instruction, of 0 and 1 by following them to the end."""
    return pickle_in(sample.file) if sample.head else None


def pickle_in(source: Source) -> Recognised | None:
    """Recognise a pickle at the start of `source`."""
    scans = _scans_of_pickle(source)
    if not scans:
        return None
    head, first, imports = source.read(0, 32), scans[0], _names(scans)
    if _TORCH_LEGACY.match(head):
        text = "a PyTorch checkpoint (a series of pickles, as torch.save wrote before 1.6)"
        return Recognised("torch", importing(text, imports), TORCH_REMEDY, pickle=True)
    if any(name.startswith("joblib.numpy_pickle.") for name in imports):
        text = f"a joblib file (a Python pickle, protocol {first.protocol})"
        return Recognised("joblib", importing(text, imports), REMEDY, pickle=True)
    return Recognised("pickle", importing(f"a Python pickle (protocol {first.protocol})", imports), REMEDY, pickle=True)


def _scans_of_pickle(source: Source) -> list[Scan]:
    """Return the walks over a source that is a pickle, [] for any other."""
    head = source.read(0, 2)
    declared = head[:1] == b"\x80" and head[1:] in (b"\2", b"\3", b"\4", b"\5")
    scans = list(_scan_all(source))
    return scans if (scans[0].instructions > 1 if declared else _sound(scans, source.size)) else []


def _names(scans: Iterable[Scan]) -> list[str]:
    return list(dict.fromkeys(name for seen in scans for name in seen.imports))


def imports_of(source: Source, at: int = 0) -> list[str]:
    """Return the globals that the pickle at byte `at` imports; [] at byte 0 of a file that is no pickle."""
    return _names(_scan_all(source, at) if at else _scans_of_pickle(source))


def _sound(scans: list[Scan], size: int) -> bool:
    """Whether all bytes were followed as pickles: protocols 0 and 1 have nothing else to be known by."""
    return all(seen.clean or (seen.exhausted and not seen.odd) for seen in scans) and (
        scans[-1].exhausted or scans[-1].end == size
    )
