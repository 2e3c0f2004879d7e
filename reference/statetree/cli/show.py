"""What the command prints: trees, tables and problems, with all text from files escaped. Source: docs/api.md."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from statetree.diffing import Change
from statetree.errors import shown
from statetree.inspecting import Line, Summary
from statetree.path import path_text

__all__ = ["backends", "changes", "error", "explanation", "line", "progress", "size", "summary"]


def _console(*, stderr: bool = False) -> Console:
    # Rich would take brackets for markup and cut long lines of a pipe; neither is wanted here.
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True, width=None if stream.isatty() else 200)


def size(nbytes: int) -> str:
    """Return a number of bytes for people.

    >>> size(999), size(20 << 20)
    ('999 B', '20.0 MiB')
    """
    value = float(nbytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{nbytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def line(text: str) -> None:
    """Print one line."""
    _console().print(Text(shown(text, 4000)))


def error(text: str, *, kind: str = "error") -> None:
    """Print an error or a warning; its texts from files are escaped already."""
    style = "bold red" if kind == "error" else "yellow"
    _console(stderr=True).print(Text(f"{kind}: ", style=style) + Text(text))


def summary(found: Summary, depth: int | None) -> None:
    """Print a file's tree and totals."""
    console = _console()
    dim = _style("2")
    click.echo(f"{_style('1')(shown(found.path, 200))}{dim(f'  {found.backend}, {size(found.stored_bytes)}')}")
    lines = [node for node in found.lines if depth is None or len(node.path) <= depth]
    # Line by line and by hand: a layout of a million lines would take minutes.
    for node, guides in zip(lines, _guides(lines), strict=True):
        if node.path or (len(lines) == 1 and not node.text.startswith(_CONTAINERS)):
            click.echo(f"{dim(guides)}{_node(node)}")
    console.print(Text(f"{found.arrays} arrays, {found.parameters:,} elements, {size(found.nbytes)}"))
    console.print(Text(f"{found.digest}"))
    console.print(Text(f"{shown(found.info['writer'])}, {shown(found.info['time'])}", style="dim"))
    for key, value in found.info["user"].items():
        console.print(Text(f"info {shown(str(key))}: {shown(repr(value))}", style="dim"))


_CONTAINERS = ("dict", "list", "tuple", "record")


def _style(code: str) -> Callable[[str], str]:
    """Return a function that sets a text in a style, on a terminal."""
    return (lambda text: f"\x1b[{code}m{text}\x1b[0m" if text else "") if sys.stdout.isatty() else str


def _guides(lines: Sequence[Line]) -> list[str]:
    """Return what stands before each line of a tree in pre-order: whether others follow at its level, and around it."""
    followed: list[bool] = []
    open_levels: set[int] = set()
    for node in reversed(lines):
        level = len(node.path)
        followed.append(level in open_levels)
        open_levels = {k for k in open_levels if k < level} | {level}
    out: list[str] = []
    above: list[str] = []
    for node, more in zip(lines, reversed(followed), strict=True):
        level = len(node.path)
        del above[max(level - 1, 0) :]
        out.append("".join(above) + ("├── " if more else "└── ") if level else "")
        if level:
            above.append("│   " if more else "    ")
    return out


def _node(node: Line) -> str:
    name = shown(path_text(node.path[-1:])[1:], 60) if node.path else "(root)"
    text = f"{_style('36')(name)}  {node.text}"
    if node.tied is not None:
        return text + _style("35")(f"  tied to {shown(path_text(node.tied), 200)}")
    return text + _style("2")(f"  {size(node.nbytes)}") if node.nbytes else text


def changes(found: Sequence[Change]) -> None:
    """Print the differences of two files: a line of the path, which is never cut, and one of what differs there."""
    for change in found:
        click.echo(shown(path_text(change.path), 4000) or "(root)")
        sides = " → ".join(dict.fromkeys(side for side in (change.left, change.right) if side))
        sizes = [f"{change.elements} elements"] if change.elements else []
        sizes += [f"max abs {change.max_abs:.6g}"] if change.max_abs is not None else []
        sizes += [f"max rel {change.max_rel:.6g}"] if change.max_rel is not None else []
        click.echo(f"    {change.what}  {sides}{'  ' if sizes else ''}{', '.join(sizes)}")
    click.echo(f"{len(found)} difference{'s' if len(found) > 1 else ''}" if found else "no difference")


def explanation(found: Mapping[str, str]) -> None:
    """Print what there is to say of a code."""
    click.echo(f"{_style('1')(found['code'])}  {found['class']}: {found['class_means']}")
    for name in ("means", "rules", "example", "remedy"):
        click.echo(f"  {name:8}{found[name]}")


def backends(rows: Sequence[dict[str, Any]]) -> None:
    """Print the table of containers."""
    table = Table("backend", "suffixes", "compressions", "usable", box=None, pad_edge=False)
    for row in rows:
        usable = "yes" if row["usable"] else row["install"]
        table.add_row(row["name"], " ".join(row["suffixes"]), " ".join(row["compressions"]), Text(usable))
    _console().print(table)


@contextmanager
def progress(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show a progress bar on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=_console(stderr=True), transient=True) as bar:
        task = bar.add_task("arrays", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
