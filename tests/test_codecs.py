"""Compressed bytes: one frame of the size that was declared, or an error."""

import gzip
import struct
import zlib
from collections.abc import Callable

import pytest
import zstandard

from statetree import IntegrityError
from statetree_backends._codecs import compress, decompress

DATA = b"statetree" * 1000
SKIPPABLE = struct.pack("<II", 0x184D2A50, 4) + b"abcd"
DICTIONARY = zstandard.ZstdCompressionDict(DATA[:100], dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def streamed(data: bytes, **options: int) -> bytes:
    """Return a frame that does not say how many bytes it holds."""
    parameters = zstandard.ZstdCompressionParameters(**options)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return packer.compress(data) + packer.flush()


SOUND: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "zstd": ("zstd", lambda data: compress("zstd", data)),
    "zstd without its size": ("zstd", streamed),
    "zstd with a checksum": ("zstd", lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data)),
    "zstd with a window of 8 MiB": ("zstd", lambda data: streamed(data, window_log=23)),
}
BROKEN: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "two gzip members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "zeros behind a gzip member": ("gzip", lambda data: gzip.compress(data) + bytes(4)),
    "a gzip member of more": ("gzip", lambda data: gzip.compress(data + b"x")),
    "a gzip member of less": ("gzip", lambda data: gzip.compress(data[:-1])),
    "a gzip member cut off": ("gzip", lambda data: gzip.compress(data)[:-1]),
    "a gzip member of another CRC": (
        "gzip",
        lambda data: gzip.compress(data)[:-8] + bytes(4) + gzip.compress(data)[-4:],
    ),
    "a zlib stream": ("gzip", zlib.compress),
    "two zstd frames": ("zstd", lambda data: compress("zstd", data[:9]) + compress("zstd", data[9:])),
    "two zstd frames without size": ("zstd", lambda data: streamed(data[:9]) + streamed(data[9:])),
    "a skippable frame before": ("zstd", lambda data: SKIPPABLE + compress("zstd", data)),
    "a skippable frame behind": ("zstd", lambda data: compress("zstd", data) + SKIPPABLE),
    "a zstd frame of more": ("zstd", lambda data: streamed(data + b"x")),
    "a zstd frame of less": ("zstd", lambda data: streamed(data[:-1])),
    "a zstd frame cut off": ("zstd", lambda data: streamed(data)[:-1]),
    "a zstd frame of another checksum": ("zstd", lambda data: streamed(data, write_checksum=1)[:-4] + bytes(4)),
    "a zstd frame of a dictionary": (
        "zstd",
        lambda data: zstandard.ZstdCompressor(dict_data=DICTIONARY, level=19).compress(data[:50] * 180),
    ),
}


@pytest.mark.parametrize("frame", SOUND)
def test_one_frame_gives_its_bytes(frame: str) -> None:
    name, pack = SOUND[frame]

    assert decompress(name, pack(DATA), len(DATA), "here") == DATA


@pytest.mark.parametrize("frame", BROKEN)
def test_anything_but_one_frame_of_the_declared_size_is_damage(frame: str) -> None:
    name, pack = BROKEN[frame]

    with pytest.raises(IntegrityError) as refused:
        decompress(name, pack(DATA), len(DATA), "here")

    assert refused.value.code == "DIGEST"
