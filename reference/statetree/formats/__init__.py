"""Foreign files: what they are, and why they are refused. Source: spec section 11."""

from pathlib import Path
from typing import NoReturn

from statetree.errors import fail

__all__ = ["refuse_foreign"]


def refuse_foreign(path: Path, head: bytes) -> NoReturn:
    """Refuse a file that no backend recognises."""
    fail("NOT_STATETREE", "a statetree container", "a file of an unknown kind", place=str(path))
