"""`python -m benchmarks.fidelity`: what comes back from statetree and from others. See docs/fidelity.md."""

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.fidelity.page import page, show
from benchmarks.fidelity.results import measure
from benchmarks.fidelity.subjects import SUBJECTS

PAGE = Path("docs/fidelity.md")


def main() -> None:
    """Measure, print, and write the page and the results where that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=__doc__)
    parser.add_argument("--only", default=",".join(SUBJECTS), help="subjects, with commas")
    parser.add_argument(
        "--quick", action="store_true", help="leave out flipped bits and killed saves, which take minutes"
    )
    parser.add_argument("--words", action="store_true", help="print how each value changed, or the error")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--folder", type=Path, default=Path("build"), help="where files go for a while (default build)")
    options = parser.parse_args()
    names = options.only.split(",")
    if unknown := [name for name in names if name not in SUBJECTS]:
        parser.error(f"expected subjects of {', '.join(SUBJECTS)}, got {', '.join(unknown)}")
    if options.write and (options.quick or len(names) < len(SUBJECTS)):
        parser.error("expected all subjects and facts for --write, got --quick or --only: leave these out")
    options.folder.mkdir(parents=True, exist_ok=True)
    out = Console(width=None if sys.stdout.isatty() else 150)
    facts = () if options.quick else ("flip", "kill")
    results = measure(names, facts, options.folder.absolute(), lambda text: print(text, file=sys.stderr, flush=True))
    show(results, out, words=options.words)
    if options.write:
        PAGE.write_text(page(results), encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(results.as_json(), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
