"""The machine-readable part of the specification: JSON Schemas and registries, as data."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["registry", "schema"]


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


def _data(folder: str, file: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(files(__name__).joinpath(folder, file).read_bytes())
    return value
