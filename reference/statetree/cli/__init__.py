"""The command `statetree`: what it does and how it exits. Source: docs/api.md."""

import difflib
import io
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import click

from statetree.cli import show
from statetree.cli.reports import FORMATS, explained, explanation
from statetree.convert import convert as convert_file
from statetree.errors import StateTreeError, StoreIOError, UsageError, fail, shown
from statetree.inspecting import diff as diff_files
from statetree.inspecting import inspect as inspect_file
from statetree.loading import open as open_file
from statetree.plugins import entry_points
from statetree.registry import backend_names, find_backend
from statetree.validate import LEVELS, Report, problem_json, unjudged
from statetree.validate import validate as validate_file

__all__ = ["command", "main"]

WRONG, USAGE, CANNOT_READ, INTERRUPTED = 1, 2, 3, 130
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Commands(click.Group):
    """Our own commands, and those that other packages bring by the entry point `statetree.commands`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *(entry.name for entry in entry_points("statetree.commands"))})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        for entry in () if found else entry_points("statetree.commands"):
            if entry.name == cmd_name:
                found = entry.load()
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="statetree")
def command() -> None:
    """Look at, check, compare and convert state trees (.h5, .zarr, .zarr.zip, .bson).

    Exit status: 0 fine or equal, 1 wrong, different or refused, 2 usage, 3 cannot read, 130 interrupted.
    """


@command.command()
@click.argument("file")
@click.option("--depth", type=click.IntRange(0), help="Show this many levels only.")
@_JSON
def inspect(file: str, depth: int | None, as_json: bool) -> None:
    """Show what FILE holds: its tree with shapes, dtypes, sizes and totals. No array is read."""
    summary = inspect_file(file)
    if as_json:
        _print_json(summary.as_json())
    else:
        show.summary(summary, depth)


@command.command()
@click.argument("source")
@click.argument("destination")
@click.option("--backend", help="Container to write; beats the suffix.")
@click.option("--compression", type=click.Choice(["gzip", "zstd"]))
@click.option("--no-pack", is_flag=True, help="Keep many small arrays apart (Zarr).")
@_JSON
def convert(
    source: str, destination: str, backend: str | None, compression: str | None, no_pack: bool, as_json: bool
) -> None:
    """Write the tree of SOURCE into another container; the tree digest stays the same."""
    if backend == "memory":
        fail("USAGE", "a container that outlives the command", "'memory'", remedy="choose hdf5, zarr or bson")
    with show.progress(quiet=as_json) as progress:
        digest = convert_file(
            source, destination, backend=backend, compression=compression, pack=not no_pack, progress=progress
        )
    if as_json:
        _print_json({"source": source, "destination": destination, "digest": digest})
    else:
        show.line(f"{source} → {destination}")
        show.line(digest)


@command.command()
@click.argument("a")
@click.argument("b")
@_JSON
def diff(a: str, b: str, as_json: bool) -> None:
    """Compare the trees of A and B: structure, dtypes and values, with the largest differences. Exit 1 if any."""
    report = diff_files(a, b)
    if as_json:
        _print_json({"a": a, "b": b, "equal": not report, "changes": [change.as_json() for change in report.changes]})
    else:
        show.changes(report.changes)
    sys.exit(WRONG if report else 0)


@command.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_JSON
def digest(files: tuple[str, ...], as_json: bool) -> None:
    """Print the tree digest of each FILE: equal digests mean equal trees, in whatever container."""
    found: list[dict[str, Any]] = []
    status = 0
    for name in files:
        try:
            with open_file(name) as file:
                found.append({"path": name, "digest": file.digest})
        except StateTreeError as error:
            status = max(status, _status(error))
            found.append({"path": name, "digest": None, "error": [problem_json(problem) for problem in error.problems]})
    if as_json:
        _print_json(found)
    for row in found if not as_json else ():
        if row["digest"] is not None:
            show.line(f"{row['digest']}  {row['path']}")
        for problem in row.get("error", ()):
            show.error(problem["message"])
    sys.exit(status)


@command.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--level", type=click.Choice(LEVELS), default="digests", show_default=True, help="How far to look.")
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text", show_default=True)
@click.option("--max-memory", type=click.IntRange(1), metavar="MIB", help="Memory that a file may cost.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Time that a file may cost."
)
@click.option("--explain", metavar="CODE", help="Say what a code means, with an example and the remedy.")
@_JSON
def validate(
    paths: tuple[str, ...],
    level: str,
    form: str,
    max_memory: int | None,
    timeout: float | None,
    explain: str | None,
    as_json: bool,
) -> None:
    """Say everything that is wrong with each PATH, and with its container. Levels: structure, digests, full."""
    if explain is not None:
        _explain(explain, as_json=as_json)
        return
    if not paths:
        raise click.UsageError("Missing argument 'PATH...'.")
    statuses = [0]

    def reports() -> Iterator[Report]:
        for path in paths:
            try:
                memory = None if max_memory is None else max_memory << 20
                report = validate_file(path, level=level, max_memory=memory, timeout=timeout)
                statuses.append(0 if report.ok else WRONG)
            except StateTreeError as error:
                statuses.append(_status(error))
                report = unjudged(path, level, error.problems, "the file could not be judged")
            yield report

    for line in FORMATS["json" if as_json else form](reports()):
        click.echo(line)
    sys.exit(max(statuses))


def _explain(code: str, *, as_json: bool) -> None:
    if code not in explained():
        near = difflib.get_close_matches(code.upper(), explained(), 3)
        remedy = f"did you mean {' or '.join(near)}?" if near else "validate prints codes such as DIGEST"
        fail("USAGE", "a code of the error registry", repr(shown(code)), remedy=remedy)
    found = explanation(code)
    if as_json:
        _print_json(found)
    else:
        show.explanation(found)


@command.command()
@_JSON
def backends(as_json: bool) -> None:
    """List the containers: their suffixes, compressions, and whether their libraries are here."""
    rows: list[dict[str, Any]] = []
    for name in backend_names():
        backend = find_backend(name)
        missing = backend.missing_library(None)
        rows.append(
            {
                "name": name,
                "suffixes": list(backend.suffixes),
                "compressions": [c for c in backend.compressions if backend.missing_library(c) is None],
                "usable": missing is None,
                "install": None if missing is None else f"pip install 'statetree[{missing[1]}]'",
            }
        )
    if as_json:
        _print_json(rows)
    else:
        show.backends(rows)


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=True, indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its status."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it lives as long as the process
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: show.error(str(message), kind="warning")
        sys.exit(_guarded(lambda: command.main(arguments, standalone_mode=False), arguments))


def _status(error: StateTreeError) -> int:
    if isinstance(error, StoreIOError):
        return CANNOT_READ
    # A compression that a container does not have was asked for; nothing is wrong with a file.
    return USAGE if isinstance(error, UsageError) or error.code == "WRITE_COMPRESSION" else WRONG


def _guarded(run: Callable[[], Any], arguments: list[str] | None) -> int:
    as_json = "--json" in (sys.argv[1:] if arguments is None else arguments)
    try:
        status = run()
        sys.stdout.flush()
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE
    except StateTreeError as error:
        if as_json:
            _print_json({"error": [problem_json(problem) for problem in error.problems]})
        else:
            show.error(str(error))
        return _status(error)
    except OSError as error:
        _drop_output()
        show.error(f"expected to write the output, got {(error.strerror or 'an error').lower()}")
        return CANNOT_READ
    return status if isinstance(status, int) else 0


def _drop_output() -> None:
    """Send what is still to be printed nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
