"""Files known by their first bytes, or by their last. Source: the formats' own documents."""

from statetree.formats._folders import TENSORFLOW
from statetree.formats._sample import Recognised, Sample
from statetree.formats.pickles import REMEDY

__all__ = ["recognise_magic", "recognise_safetensors", "recognise_tensorflow"]

_ARROW = "read it with pyarrow, then statetree.save its columns as arrays"
# (offset, magic) → what it is.
_MAGICS: tuple[tuple[int, bytes, Recognised], ...] = (
    (0, b"GGUF", Recognised("gguf", "a GGUF file", "read it with gguf.GGUFReader, then statetree.save its tensors")),
    (
        0,
        b"MATLAB 5.0 MAT-file",
        Recognised("mat", "a MATLAB .mat file (version 5)", "statetree.save what scipy.io.loadmat reads of it"),
    ),
    (4, b"TFL3", Recognised("tflite", "a TensorFlow Lite model", "read its tensors with tensorflow, and save them")),
    (
        0,
        b"7JL",
        Recognised(
            "julia-serialization",
            "a file of Julia's Serialization library",
            "such files run code when opened and hold for one version of Julia; "
            "load it where you trust it, and save its state as plain arrays",
        ),
    ),
    (0, b"ZF0x", Recognised("joblib", "a joblib file (zlib, as joblib wrote before 0.10)", REMEDY, pickle=True)),
    (0, b"PAR1", Recognised("parquet", "a Parquet file", _ARROW)),
    (0, b"ARROW1", Recognised("arrow", "an Arrow or Feather file", _ARROW)),
    (
        0,
        b"SQLite format 3\0",
        Recognised("sqlite", "an SQLite database", "read it with sqlite3, and save what you read"),
    ),
    (257, b"ustar", Recognised("tar", "a tar archive", "unpack it, and see what it holds")),
)
_TABLE_END = bytes.fromhex("57fb808b247547db")
_HEADER_BYTES = 100_000_000


def recognise_magic(sample: Sample) -> Recognised | None:
    """Recognise a file by a magic at a fixed offset."""
    for at, magic, what in _MAGICS:
        if sample.head[at : at + len(magic)] == magic:
            return what
    return None


def recognise_safetensors(sample: Sample) -> Recognised | None:
    """Recognise a safetensors file: the length of a JSON header, then the header."""
    size = int.from_bytes(sample.head[:8], "little")
    header = sample.file.read(8, min(size, 1 << 16))
    if not 2 <= size <= min(_HEADER_BYTES, sample.file.size - 8) or header[:1] != b"{":
        return None
    if not (b'"data_offsets"' in header or b'"__metadata__"' in header or header.strip() == b"{}"):
        return None
    return Recognised("safetensors", "a safetensors file", "statetree.save(path, safetensors.numpy.load_file(…))")


def recognise_tensorflow(sample: Sample) -> Recognised | None:
    """Recognise the index of a TensorFlow checkpoint, a table whose last eight bytes are its magic."""
    if sample.file.size < 48 or sample.file.read(sample.file.size - 8, 8) != _TABLE_END:
        return None
    return Recognised("tensorflow", "the index of a TensorFlow checkpoint", TENSORFLOW.remedy)
