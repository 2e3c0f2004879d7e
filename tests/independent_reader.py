"""A reader of HDF5 and BSON state trees written from spec/spec.md alone: no statetree, no HDF5, no BSON library.

Plain numbers come as NumPy arrays of their dtype; dtypes that NumPy does not have come as their carrier, uint16 or
uint8. Only uncompressed files are read, and digests are checked with SHA-256 only.
"""

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

BLOCK = 4 << 20
PIECE = 8 << 20


def header_block(data: bytes) -> dict[str, Any]:
    """[C-5]: where the parts lie."""
    assert data[:16] == bytes.fromhex("89737461746574726565 0d0a1a0a0000".replace(" ", ""))
    assert struct.unpack_from("<H", data, 16)[0] == 1, "another major version"
    algorithm = data[24:40].rstrip(b"\0").decode()
    assert not data[40:56].strip(b"\0"), "compressed"
    block: dict[str, Any] = {"algorithm": algorithm}
    for k, part in enumerate(("manifest", "info", "index", "blocks")):
        offset, size, digest = struct.unpack_from("<QQ32s", data, 72 + 48 * k)
        block[part] = (offset, size, digest)
    if algorithm == "sha-256":
        assert hashlib.sha256(data[:480]).digest() == data[480:512]
    return block


def array_of(raw: bytes, entry: dict[str, Any], algorithm: str) -> Any:
    """[E-2], [E-5], [G-2]: canonical bytes to an array."""
    if algorithm == "sha-256":
        pieces = [raw[k : k + BLOCK] for k in range(0, len(raw), BLOCK)] or [b""]
        digests = [hashlib.sha256(piece).digest() for piece in pieces]
        top = digests[0] if len(digests) == 1 else hashlib.sha256(b"".join(digests)).digest()
        assert top.hex() == entry["digest"], "damaged"
    try:
        dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    except TypeError:
        dtype = np.dtype("<u2" if entry["dtype"] == "bfloat16" else "u1")
    return np.frombuffer(raw, dtype).reshape(entry["shape"])


def read_hdf5(path: Path) -> tuple[Any, list[Any]]:
    """[H-3], [H-4]: return (root node, arrays) by the header block and the index."""
    data = path.read_bytes()
    block = header_block(data[4096 : 4096 + 512])
    text = {p: data[block[p][0] : block[p][0] + block[p][1]] for p in ("manifest", "index")}
    manifest = json.loads(text["manifest"])
    places = list(struct.iter_unpack("<QQ", text["index"]))
    raws = [data[offset : offset + size] if offset else b"" for offset, size in places]
    return manifest["tree"], [array_of(r, e, block["algorithm"]) for r, e in zip(raws, manifest["arrays"], strict=True)]


def bson_text(data: bytes, offset: int, size: int) -> bytes:
    """[B-4]: the pieces of a text; `data` is the last element of each of its documents."""
    out = b""
    while True:
        length = struct.unpack_from("<i", data, offset)[0]
        piece = min(PIECE, size - len(out))
        end = offset + length - 1
        out += data[end - piece : end]
        offset += length
        if len(out) == size:
            return out


def read_bson(path: Path) -> tuple[Any, list[Any]]:
    """[B-1], [B-2], [B-5], [B-6]: return (root node, arrays) by the trailer and the index."""
    data = path.read_bytes()
    assert data[4:15] == b"\x02statetree\0"
    version = data[19 : 19 + struct.unpack_from("<i", data, 15)[0]]
    assert version.split(b".")[0] == b"1", "another major version"
    block = header_block(data[-513:-1])
    manifest = json.loads(bson_text(data, *block["manifest"][:2]))
    raws: dict[int, bytes] = {}
    for array, _, offset, size in struct.iter_unpack("<IIQQ", bson_text(data, *block["index"][:2])):
        raws[array] = raws.get(array, b"") + data[offset : offset + size]
    rows = enumerate(manifest["arrays"])
    return manifest["tree"], [array_of(raws.get(i, b""), entry, block["algorithm"]) for i, entry in rows]
