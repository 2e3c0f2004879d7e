"""The machine-readable part of the specification: JSON Schemas, registries and vectors, as data."""

import json
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

__all__ = ["registry", "schema", "vectors"]


@cache
def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) called `name`, for instance `manifest`.

    >>> schema("manifest")["$schema"]
    'https://json-schema.org/draft/2020-12/schema'
    """
    return _data("schemas", f"{name}.schema.json")


@cache
def registry(name: str) -> dict[str, Any]:
    """Return the registry called `name`: `dtypes`, `kinds`, `errors`, `labels` or `limits`.

    >>> registry("errors")["classes"]["security"]["exception"]
    'SecurityError'
    """
    return _data("registry", f"{name}.json")


def vectors() -> Traversable:
    """Return the folder of the vectors: `valid` and `invalid`, each with records `<id>.json` and files beside them.

    >>> sorted(part.name for part in vectors().iterdir())
    ['SHA256SUMS', 'invalid', 'valid']
    """
    return files(__name__).joinpath("vectors", "1.0")


def _data(folder: str, file: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(files(__name__).joinpath(folder, file).read_bytes())
    return value
