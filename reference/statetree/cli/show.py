"""What the command prints: trees, tables and problems, with all text from files escaped. Source: docs/api.md."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from statetree.diffing import Change
from statetree.errors import shown
from statetree.inspecting import Line, Summary
from statetree.path import path_text
from statetree.validate import Report

__all__ = ["backends", "changes", "error", "line", "progress", "report", "size", "summary"]


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


def error(text: str) -> None:
    """Print an error; its texts from files are escaped already."""
    _console(stderr=True).print(Text("error: ", style="bold red") + Text(text))


def summary(found: Summary, depth: int | None) -> None:
    """Print a file's tree and totals."""
    console = _console()
    title = Text(shown(found.path, 200), style="bold") + Text(
        f"  {found.backend}, {size(found.stored_bytes)}", style="dim"
    )
    root = Tree(title, guide_style="dim")
    nodes: dict[tuple[Any, ...], Tree] = {}
    for node in found.lines:
        if depth is not None and len(node.path) > depth:
            continue
        parent = nodes.get(node.path[:-1], root) if node.path else root
        nodes[node.path] = parent.add(_node(node)) if node.path else root
        if not node.path and node.text.partition(" ")[0] not in ("dict", "list", "tuple", "record"):
            root.add(_node(node))
    console.print(root)
    console.print(Text(f"{found.arrays} arrays, {found.parameters:,} elements, {size(found.nbytes)}"))
    console.print(Text(f"{found.digest}"))
    console.print(Text(f"{shown(found.info['writer'])}, {shown(found.info['time'])}", style="dim"))
    for key, value in found.info["user"].items():
        console.print(Text(f"info {shown(str(key))}: {shown(repr(value))}", style="dim"))


def _node(node: Line) -> Text:
    name = shown(path_text(node.path[-1:])[1:], 60) if node.path else "(root)"
    text = Text(name, style="cyan") + Text("  ") + Text(node.text)
    if node.tied is not None:
        return text + Text(f"  tied to {shown(path_text(node.tied), 200)}", style="magenta")
    return text + Text(f"  {size(node.nbytes)}", style="dim") if node.nbytes else text


def changes(found: Sequence[Change]) -> None:
    """Print the differences of two files, a line each."""
    console = _console()
    if not found:
        console.print(Text("no difference"))
        return
    table = Table("path", "what", "left", "right", "elements", "max abs", "max rel", box=None, pad_edge=False)
    for change in found:
        table.add_row(
            Text(shown(path_text(change.path), 100) or "(root)"),
            change.what,
            Text(change.left),
            Text(change.right),
            str(change.elements) if change.elements else "",
            "" if change.max_abs is None else f"{change.max_abs:.6g}",
            "" if change.max_rel is None else f"{change.max_rel:.6g}",
        )
    console.print(table)
    console.print(Text(f"{len(found)} difference{'s' if len(found) > 1 else ''}"))


def report(found: Report) -> None:
    """Print what was found in a file."""
    console = _console()
    name = shown(found.path, 200)
    if found.ok:
        console.print(Text("sound ", style="green") + Text(f"{name}  {found.backend}  {found.digest}"))
        return
    console.print(Text("wrong ", style="bold red") + Text(f"{name}  {len(found.problems)} problem(s)"))
    for problem in found.problems[:100]:
        console.print(Text(f"  {problem.code} ({problem.error_class})  {problem}"))
    if len(found.problems) > 100:
        console.print(Text(f"  and {len(found.problems) - 100} more"))


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
