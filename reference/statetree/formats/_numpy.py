"""NumPy's .npy files. Source: numpy.lib.format."""

import re

from statetree.formats._sample import Recognised, Sample
from statetree.formats.pickles import importing, imports_of

__all__ = ["OBJECT_REMEDY", "pickle_offset", "recognise_npy"]

_MAGIC = b"\x93NUMPY"
_OBJECTS = re.compile(rb"'descr':\s*'O'|'\|O")
OBJECT_REMEDY = (
    "pickles run code when opened and are refused for long-term storage; load it where you trust it, "
    "and save arrays of numbers, or lists of what the objects are made of"
)


def pickle_offset(head: bytes) -> int:
    """Return where the pickle of an object array begins, 0 for all other arrays and files."""
    if not head.startswith(_MAGIC):
        return 0
    width = 2 if head[6:7] == b"\1" else 4
    start = 8 + width
    size = int.from_bytes(head[8:start], "little")
    return start + size if _OBJECTS.search(head[start : start + size]) else 0


def recognise_npy(sample: Sample) -> Recognised | None:
    """Recognise a .npy file, and whether it holds objects."""
    if not sample.head.startswith(_MAGIC):
        return None
    at = pickle_offset(sample.head)
    if not at:
        return Recognised("npy", "a NumPy .npy file", "statetree.save(path, numpy.load(…))")
    text = importing("a NumPy .npy file with pickled objects", imports_of(sample.file, at))
    return Recognised("npy", text, OBJECT_REMEDY, pickle=True)
