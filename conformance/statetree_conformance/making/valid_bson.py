"""Valid vectors: BSON files as writers make them. Source: spec section 7.5."""

from collections.abc import Iterator

from statetree_conformance.making.base import BASE
from statetree_conformance.making.bson import bson_file
from statetree_conformance.making.frames import DEFLATED, gzip_frame, zstd_frame
from statetree_conformance.making.record import Made, valid
from statetree_conformance.making.texts import document
from statetree_conformance.making.values import Array

__all__ = ["made"]


def made() -> Iterator[Made]:
    """Yield the vectors."""
    for name, pack in (("gzip", gzip_frame), ("zstd", zstd_frame)):
        content = bson_file(BASE, compression=name, pack=pack)
        yield valid(name, "bson", content, BASE, title=f"payloads that are {name} frames", rules="B-3 C-6")
    codes = document([Array("uint8", (64,), DEFLATED[0])])
    content = bson_file(codes, compression="gzip", pack=gzip_frame)
    yield valid("gzip-codes", "bson", content, codes, title="a payload that is deflated with codes", rules="C-6")
    content = bson_file(BASE, compression="zstd", pack=lambda data: zstd_frame(data, sized=False))
    yield valid("zstd-unsized", "bson", content, BASE, title="frames that do not say their size", rules="C-6")
