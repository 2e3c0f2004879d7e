"""The command `statetree conformance`: what it tries, what it writes, how it exits. Source: docs/conformance.md.

It is found by the entry point `statetree.commands`, and imports Hypothesis only when a run begins.
"""

import json
import os
import secrets
from pathlib import Path

import click

from statetree.errors import fail

__all__ = ["conformance"]

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group()
def conformance() -> None:
    """Hold a backend, or a program in any language, against the specification."""


@conformance.command()
@click.option("--backend", "backends", multiple=True, metavar="NAME", help="Try a backend, such as hdf5 or zarr.zip.")
@click.option("--subject", "subjects", multiple=True, metavar="COMMAND", help="Try a program that speaks the protocol.")
@click.option("--examples", type=click.IntRange(1), default=200, show_default=True, help="Inputs for each law.")
@click.option("--seed", metavar="N|random", help="Draw inputs from this seed; the same ones each time without it.")
@click.option("--only", default="", metavar="TEXT", help="Laws and vectors whose name holds this.")
@click.option("--timeout", type=float, default=90.0, show_default=True, help="Seconds a subject may be silent.")
@click.option("--expected", type=click.Path(file_okay=False, path_type=Path), help="Folder of known failures.")
@click.option("--jobs", type=click.IntRange(1), help="Columns at a time; as many as there are processors by default.")
@click.option("--html", type=_FILE, help="Write a page for people.")
@click.option("--jsonl", type=_FILE, help="Write a line of JSON for each result.")
@click.option("--junit", type=_FILE, help="Write JUnit XML.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(
    backends: tuple[str, ...],
    subjects: tuple[str, ...],
    examples: int,
    seed: str | None,
    only: str,
    timeout: float,
    expected: Path | None,
    jobs: int | None,
    html: Path | None,
    jsonl: Path | None,
    junit: Path | None,
    as_json: bool,
) -> int:
    """Try backends and subjects, and report what holds; the five containers of statetree if none is named.

    Exit status: 0 everything holds, 1 something failed or nothing passed, 2 usage, 130 interrupted.
    """
    try:
        import hypothesis  # noqa: F401 - what follows imports it
    except ImportError:
        fail(
            "BACKEND_LIBRARY",
            "the library 'hypothesis' for the command 'conformance'",
            "no such library",
            remedy="pip install 'statetree[conformance]'",
        )
    from statetree_conformance import page, reports
    from statetree_conformance.containers import OURS
    from statetree_conformance.running import Column, Plan
    from statetree_conformance.running import run as run_columns

    chosen = [*(Column("backend", name) for name in backends), *(Column("subject", words) for words in subjects)]
    chosen = chosen or [Column("backend", name) for name in OURS]
    plan = Plan(examples=examples, seed=_seed(seed), timeout=timeout, expected=expected, only=only)
    jobs = min(len(chosen), jobs or os.cpu_count() or 1)
    found = run_columns(chosen, plan, jobs=jobs, done=lambda name: click.echo(f"tried {name}", err=True))
    for path, write in ((html, page.write_html), (jsonl, reports.write_jsonl), (junit, reports.write_junit)):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write(found, path)
    if as_json:
        results = [result.as_json() for result in found.results]
        click.echo(json.dumps({"run": found.about | {"ok": found.ok}, "results": results}, indent=2))
    else:
        click.echo("\n".join(reports.summary(found)))
    return 0 if found.ok else 1


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "random":
        return secrets.randbits(32)
    if not text.isdecimal():
        raise click.BadParameter(f"{text!r} is neither a number nor 'random'", param_hint="--seed")
    return int(text)
