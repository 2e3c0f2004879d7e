"""Making the vectors: `python -m statetree_conformance.making --check`, `--write` or `--pin`."""

import argparse
import hashlib
import sys
from pathlib import Path

from statetree_conformance.making import all_made

FOLDER = Path(__file__).parents[3] / "spec" / "statetree_spec" / "vectors" / "1.0"
PINNED = FOLDER / "SHA256SUMS"
"""Digests of all files of vectors, as `sha256sum --check` takes them."""


def differing(folder: Path) -> list[str]:
    """Return what is not as it would be made: names of files, each with what is wrong."""
    wanted = {name: data for made in all_made() for name, data in made.files().items()}
    found = {str(path.relative_to(folder)): path for path in folder.glob("*/*") if path.is_file()}
    missing = [f"{name}: not there" for name in wanted.keys() - found.keys()]
    other = [
        f"{name}: other bytes" for name in wanted.keys() & found.keys() if found[name].read_bytes() != wanted[name]
    ]
    return sorted([*missing, *other, *(f"{name}: nobody makes it" for name in found.keys() - wanted.keys())])


def write(folder: Path) -> None:
    """Write all vectors; what nobody makes any more is left, for `--check` to tell."""
    for made in all_made():
        for name, data in made.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


def pin(folder: Path) -> list[str]:
    """Add the digests of new files; return the files whose pinned digest is another, which stay pinned."""
    lines = PINNED.read_text().splitlines() if PINNED.exists() else []
    pinned = {name: digest for digest, name in (line.split("  ") for line in lines)}
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*")
    }
    both = found | pinned
    PINNED.write_text("".join(f"{both[name]}  {name}\n" for name in sorted(both)))
    return [f"{name}: pinned with other bytes" for name in sorted(pinned) if found.get(name) != pinned[name]]


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m statetree_conformance.making", description=__doc__)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--check", action="store_true", help="compare the vectors with what would be made")
    chosen.add_argument("--write", action="store_true", help="write them")
    chosen.add_argument("--pin", action="store_true", help="add the digests of new vectors to SHA256SUMS")
    arguments = parser.parse_args()
    if arguments.write:
        write(FOLDER)
    found = pin(FOLDER) if arguments.pin else differing(FOLDER)
    print("\n".join(found) or "all vectors are as they were made")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
