"""The report as one page for people: a matrix of rules and columns, and each failure with its input.

It is self-contained: no script, no other file, nothing from the network. All text is escaped. Source: section 6.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from statetree_conformance.results import OUTCOMES, Result, Run, code_score, counts

__all__ = ["write_html"]

_WORST = ("failed", "known", "passed", "skipped")
"""Of several outcomes of one cell the first one of these shows."""
_SIGN = {"passed": "✓", "failed": "✗", "skipped": "–", "known": "!"}
_STYLE = """
:root { --ink: #1d2330; --dim: #667085; --line: #e3e6ec; --paper: #fff; --soft: #f6f7f9;
  --passed: #12805c; --failed: #c4320a; --known: #946200; --skipped: #98a2b3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #98a2b3; --line: #2c3340; --paper: #14181f;
  --soft: #1b212b; --passed: #4cc38a; --failed: #ff8a65; --known: #e2b93b; --skipped: #667085; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.5rem 0 .75rem; }
p { max-width: 46rem; } .dim { color: var(--dim); }
code, pre, .rule { font-family: ui-monospace, monospace; font-size: 13px; }
pre { background: var(--soft); padding: .75rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere;
  max-height: 24rem; overflow: auto; margin: .5rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .3rem .75rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--paper); font-weight: 600; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } tbody tr:hover { background: var(--soft); }
.passed { color: var(--passed); } .failed { color: var(--failed); font-weight: 600; }
.known { color: var(--known); } .skipped { color: var(--skipped); }
td a { color: inherit; } .cell { white-space: nowrap; }
section.case { border-left: 3px solid var(--failed); padding: .1rem 0 .1rem 1rem; margin: 1rem 0; }
section.case-known { border-color: var(--known); } section.case h3 { font-size: 1rem; margin: 0; color: var(--ink); }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""


def write_html(run: Run, path: Path) -> None:
    """Write the page."""
    path.write_text(_page(run), "utf-8", errors="replace")


def _page(run: Run) -> str:
    body = [_head(run), _columns(run), _matrix(run), _laws(run), _failures(run), _skips(run)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>statetree conformance</title><style>{_STYLE}</style></head>\n<body>{''.join(body)}</body></html>\n"
    )


def _text(value: object) -> str:
    """Return a text as HTML; what steers the direction or the layout of text is shown as its code."""
    shown = "".join(c if c in "\n\t" or c.isprintable() or c == " " else f"\\u{ord(c):04x}" for c in str(value))
    return escape(shown)


def _head(run: Run) -> str:
    verdict = (
        '<span class="passed">Everything holds.</span>'
        if run.ok
        else f'<span class="failed">{len(run.failed)} failed.</span>'
    )
    about = run.about
    seed = "the same inputs in every run" if about["seed"] is None else f"seed {about['seed']}"
    return (
        f"<h1>statetree conformance</h1><p>{verdict} <span class='dim'>Suite {_text(about['suite'])}, "
        f"{_text(about['time'])}, {about['examples']} examples a law, {seed}, {about['seconds']} s.</span></p>"
    )


def _columns(run: Run) -> str:
    heads = "".join(f'<th class="n">{_SIGN[outcome]} {outcome}</th>' for outcome in OUTCOMES)
    rows = []
    for column in run.columns:
        results = run.of(column)
        right, asked = code_score(results)
        numbers = "".join(
            f'<td class="n {outcome if number else "dim"}">{number}</td>' for outcome, number in counts(results).items()
        )
        codes = f"{right} of {asked}" if asked else ""
        rows.append(
            f"<tr><th>{_text(column)}</th>{numbers}<td class='n'>{codes}</td>"
            f"<td class='dim'>{_text(run.about['columns'][column]['about'])}</td></tr>"
        )
    return (
        "<h2>What was tried</h2><div class='wide'><table><thead><tr><th></th>"
        f"{heads}<th class='n'>right codes</th><th>what it is</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
        "<p class='dim'>A case is a law, tried on many generated inputs, or a vector, a fixed file with one verb. Of a "
        "file that is rightly refused the class must be right; the code is scored apart. <em>Known</em> failures are "
        "listed and explained.</p>"
    )


def _failures(run: Run) -> str:
    parts = []
    for outcome, title in (("failed", "What failed"), ("known", "Known failures")):
        found = [result for result in run.results if result.outcome == outcome]
        if found:
            parts.append(f"<h2>{title}</h2>" + "".join(_case(result, _anchor(run, result)) for result in found))
    return "".join(parts)


def _anchor(run: Run, result: Result) -> str:
    return f"case-{run.results.index(result)}"


def _case(result: Result, anchor: str) -> str:
    where = ", ".join(dict.fromkeys(part for part in (result.column, result.container, *result.rules) if part))
    given = f"<p>The smallest input found:</p><pre>{_text(result.input)}</pre>" if result.input else ""
    return (
        f'<section class="case case-{result.outcome}" id="{anchor}"><h3>{_text(result.title)}</h3>'
        f"<div class='dim'>{_text(where)}</div><pre>{_text(result.why or '')}</pre>{given}</section>"
    )


def _matrix(run: Run) -> str:
    cells: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in run.results:
        for rule in result.rules:
            cells[rule, result.column].append(result)
    rules = sorted({rule for rule, _ in cells}, key=_order)
    rows = "".join(
        f'<tr><th class="rule">{_text(rule)}</th>{"".join(_cell(run, cells[rule, c]) for c in run.columns)}</tr>'
        for rule in rules
    )
    return (
        "<h2>Rule × column</h2><p class='dim'>Each cell: the worst outcome of the cases about this rule, and how many "
        f"there are of each. Rules are those of spec.md and conformance.md.</p>{_table('rule', run, rows)}"
    )


def _table(first: str, run: Run, rows: str) -> str:
    heads = "".join(f"<th>{_text(column)}</th>" for column in run.columns)
    table = f"<table><thead><tr><th>{first}</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    return f"<div class='wide'>{table}</div>"


def _order(rule: str) -> tuple[str, int]:
    letter, _, number = rule.partition("-")
    return letter, int(number) if number.isdecimal() else 0


def _cell(run: Run, results: Sequence[Result]) -> str:
    if not results:
        return '<td class="cell dim">not tried</td>'
    found = counts(results)
    worst = next(outcome for outcome in _WORST if found[outcome])
    numbers = " ".join(f"{found[outcome]}{_SIGN[outcome]}" for outcome in OUTCOMES if found[outcome])
    first = next(result for result in results if result.outcome == worst)
    title = f"{first.title}: {first.why}" if first.why else ""
    link = f'<a href="#{_anchor(run, first)}">{numbers}</a>' if worst in ("failed", "known") else numbers
    return f'<td class="cell {worst}" title="{_text(title[:300])}">{link}</td>'


def _laws(run: Run) -> str:
    names = dict.fromkeys(result.name for result in run.results if result.kind == "law")
    if not names:
        return ""
    by = defaultdict(list)
    for result in run.results:
        if result.kind == "law":
            by[result.name, result.column].append(result)
    rows = "".join(
        f"<tr><th>{_text(name.replace('_', ' '))}</th>{''.join(_cell(run, by[name, c]) for c in run.columns)}</tr>"
        for name in names
    )
    return f"<h2>Laws</h2>{_table('law', run, rows)}"


def _skips(run: Run) -> str:
    by: dict[tuple[str, str], list[str]] = defaultdict(list)
    for result in run.results:
        if result.outcome == "skipped":
            by[result.column, result.why or ""].append(result.title)
    if not by:
        return ""
    return "<h2>What was skipped, and why</h2>" + "".join(
        f"<details><summary>{_text(column)}: {_text(why)} <span class='dim'>({len(titles)})</span></summary>"
        f"<p class='dim'>{_list(titles)}</p></details>"
        for (column, why), titles in by.items()
    )


def _list(titles: Iterable[str]) -> str:
    return "; ".join(map(_text, titles))
