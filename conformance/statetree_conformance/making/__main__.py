"""Making the vectors: `python -m statetree_conformance.making --check` or `--write`."""

import argparse
import sys
from pathlib import Path

from statetree_conformance.making import all_made

FOLDER = Path(__file__).parents[3] / "spec" / "statetree_spec" / "vectors" / "1.0"


def differing(folder: Path) -> list[str]:
    """Return what is not as it would be made: names of files, each with what is wrong."""
    wanted = {name: data for made in all_made() for name, data in made.files().items()}
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    missing = [f"{name}: not there" for name in wanted.keys() - found.keys()]
    other = [f"{name}: other bytes" for name in wanted.keys() & found.keys() if found[name].read_bytes() != wanted[name]]
    return sorted([*missing, *other, *(f"{name}: nobody makes it" for name in found.keys() - wanted.keys())])


def write(folder: Path) -> None:
    """Write all vectors; what nobody makes any more is left, for `--check` to tell."""
    for made in all_made():
        for name, data in made.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m statetree_conformance.making", description=__doc__)
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("--check", action="store_true", help="compare the vectors with what would be made")
    chosen.add_argument("--write", action="store_true", help="write them")
    if parser.parse_args().write:
        write(FOLDER)
    found = differing(FOLDER)
    print("\n".join(found) or "all vectors are as they are made")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
