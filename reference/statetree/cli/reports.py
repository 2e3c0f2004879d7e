"""Reports of `validate` in the forms that people and programs read. Source: docs/validate.md.

Strategy: each format is a function from reports to lines. All text of a file was escaped and cut where the report was
made; what is escaped here is what a format itself gives a meaning to.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from xml.sax.saxutils import quoteattr

from statetree.errors import Problem, shown
from statetree.validate import Report
from statetree_spec import registry

__all__ = ["FORMATS", "explained", "explanation"]


def _text(reports: Iterable[Report]) -> Iterator[str]:
    for report in reports:
        name = shown(report.path, 200)
        if report.ok:
            yield f"sound {name}  {report.backend}  {report.digest or ''}".rstrip()
        else:
            count = len(report.problems) + report.more
            yield f"{'unread' if _is_unjudged(report) else 'wrong'} {name}  {count} problem{'s' if count > 1 else ''}"
        for problem in report.problems:
            yield f"  {problem.code} ({', '.join(filter(None, (problem.error_class, problem.rule)))})  {problem}"
        if report.more:
            yield f"  and {report.more} more"
        yield from (f"  warning: {warning.code}  {warning}" for warning in report.warnings)
        if report.more_warnings:
            yield f"  and {report.more_warnings} more warnings"
        yield from (f"  not run: {text}" for text in _not_run(report))


def _not_run(report: Report) -> Iterator[str]:
    """Yield the phases that could not run, those of one reason together."""
    for reason, phases in groupby(report.not_run, lambda each: each.reason):
        yield f"{', '.join(each.phase for each in phases)}: {reason}"


def _is_unjudged(report: Report) -> bool:
    """Whether the file could not even be read, or a library was missing."""
    return any(problem.error_class in ("io", "usage") for problem in report.problems)


def _json(reports: Iterable[Report]) -> Iterator[str]:
    yield json.dumps([report.as_json() for report in reports], ensure_ascii=True, indent=2)


def _jsonl(reports: Iterable[Report]) -> Iterator[str]:
    return (json.dumps(report.as_json(), ensure_ascii=True, separators=(",", ":")) for report in reports)


def _junit(reports: Iterable[Report]) -> Iterator[str]:
    found = list(reports)
    unread = sum(map(_is_unjudged, found))
    wrong = sum(not report.ok for report in found) - unread
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites><testsuite name="statetree validate" tests="{len(found)}" failures="{wrong}" errors="{unread}">'
    for report in found:
        yield f'<testcase classname="statetree.validate" name={_attribute(report.path)}>'
        if not report.ok:
            title = ", ".join(dict.fromkeys(problem.code for problem in report.problems))
            lines = [f"{problem.code}: {problem}" for problem in report.problems]
            lines += [f"and {report.more} more"] if report.more else []
            kind = "error" if _is_unjudged(report) else "failure"
            yield f"<{kind} message={_attribute(title)}>{_content(lines)}</{kind}>"
        notes = [f"{warning.code}: {warning}" for warning in report.warnings]
        notes += [f"not run: {text}" for text in _not_run(report)]
        if notes:
            yield f"<system-out>{_content(notes)}</system-out>"
        yield "</testcase>"
    yield "</testsuite></testsuites>"


def _attribute(text: str) -> str:
    return quoteattr(shown(text, 4000))


def _content(lines: Iterable[str]) -> str:
    return "\n".join(quoteattr(shown(line, 4000), {'"': "&quot;"})[1:-1] for line in lines)


def _github(reports: Iterable[Report]) -> Iterator[str]:
    for report in reports:
        for kind, problems in (("error", report.problems), ("warning", report.warnings)):
            yield from (_command(kind, report.path, problem) for problem in problems)
        if report.more:
            yield f"::error file={_property(report.path)}::and {report.more} more problems"


def _command(kind: str, path: str, problem: Problem) -> str:
    """Return a problem as a workflow command; see "Workflow commands" in GitHub's documentation."""
    message = shown(str(problem), 4000).replace("%", "%25")
    return f"::{kind} file={_property(path)},title={_property(problem.code)}::{message}"


def _property(text: str) -> str:
    out = shown(text, 4000)
    for mark in "%:,":
        out = out.replace(mark, f"%{ord(mark):02X}")
    return out


FORMATS: dict[str, Callable[[Iterable[Report]], Iterator[str]]] = {
    "text": _text,
    "json": _json,
    "jsonl": _jsonl,
    "junit": _junit,
    "github": _github,
}
"""Name → the lines of some reports; lines come as reports do, where the format allows that."""


def explained() -> tuple[str, ...]:
    """Return the codes that can be explained."""
    return (*registry("errors")["codes"], *registry("errors")["warnings"])


def explanation(code: str) -> dict[str, str]:
    """Return what there is to say of a code: its class, rules, meaning, an example, the remedy."""
    errors = registry("errors")
    row = errors["codes"].get(code) or errors["warnings"][code]
    kind = row.get("class", "warning")
    rules = ", ".join(f"[{rule}]" for rule in row["rules"])
    return {
        "code": code,
        "class": kind,
        "class_means": errors["classes"][kind]["meaning"]
        if kind in errors["classes"]
        else "unwise, and breaks no rule",
        "rules": f"spec.md {rules}" if rules else "none: it is not about a file's content",
        "means": row["meaning"],
        "example": row["example"],
        "remedy": row["fix"],
    }
