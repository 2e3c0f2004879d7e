"""Reports of a run for terminals and programs: summary, JSON lines, JUnit XML. Source: conformance.md section 6."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from statetree.errors import shown
from statetree_conformance.results import OUTCOMES, Result, Run, code_score, counts

__all__ = ["summary", "write_jsonl", "write_junit"]

_LISTED = 40
"""Failures that the terminal shows in full."""
_NO_XML = {number: "\N{REPLACEMENT CHARACTER}" for number in range(32) if chr(number) not in "\t\n\r"}
_NO_XML |= dict.fromkeys([0xFFFE, 0xFFFF], "\N{REPLACEMENT CHARACTER}")


def summary(run: Run) -> list[str]:
    """Return the lines of a summary: a row for each column, then what failed and on which input."""
    width = max(len(name) for name in (*run.columns, "column"))
    lines = [f"{'column':{width}}  {'  '.join(f'{name:>7}' for name in OUTCOMES)}    codes  seconds"]
    for column in run.columns:
        results = run.of(column)
        right, asked = code_score(results)
        codes = f"{right / asked:8.1%}" if asked else f"{'':>8}"
        numbers = "  ".join(f"{number:>7}" for number in counts(results).values())
        lines.append(f"{shown(column, 60):{width}}  {numbers}  {codes}  {run.about['columns'][column]['seconds']:7.1f}")
    for result in run.failed[:_LISTED]:
        lines += ["", f"FAILED {shown(result.column, 60)}: {shown(result.title, 200)} ({', '.join(result.rules)})"]
        lines += [f"    {shown(line, 1000)}" for line in (result.why or "").splitlines()]
        lines += [f"    | {shown(line, 1000)}" for line in (result.input or "").splitlines()]
    if len(run.failed) > _LISTED:
        lines += ["", f"and {len(run.failed) - _LISTED} more"]
    empty = [name for name in run.columns if not counts(run.of(name))["passed"]]
    lines += ["", *(f"nothing passed for {shown(name, 60)}" for name in empty)]
    seed = "" if run.about["seed"] is None else f", seed {run.about['seed']}"
    verdict = "everything holds" if run.ok else f"{len(run.failed)} failed"
    lines.append(f"{verdict} ({run.about['examples']} examples a law{seed}, {run.about['seconds']} s)")
    return lines


def write_jsonl(run: Run, path: Path) -> None:
    """Write a line about the run and a line for each result."""
    lines: list[dict[str, Any]] = [{"run": run.about | {"ok": run.ok}}, *({"result": r.as_json()} for r in run.results)]
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines), "utf-8")


def write_junit(run: Run, path: Path) -> None:
    """Write JUnit XML: a test suite for each column."""
    root = Xml.Element("testsuites", name="statetree conformance", time=str(run.about["seconds"]))
    for column in run.columns:
        results = run.of(column)
        found = counts(results)
        suite = Xml.SubElement(
            root,
            "testsuite",
            name=_clean(column),
            tests=str(len(results)),
            failures=str(found["failed"]),
            skipped=str(found["skipped"] + found["known"]),
            errors="0",
            time=str(run.about["columns"][column]["seconds"]),
            timestamp=run.about["time"].removesuffix("Z"),
        )
        for result in results:
            _case(suite, result)
    Xml.indent(root)
    Xml.ElementTree(root).write(path, "utf-8", xml_declaration=True)


def _case(suite: Xml.Element, result: Result) -> None:
    where = ".".join(part for part in (result.column, result.kind, result.container) if part)
    case = Xml.SubElement(
        suite, "testcase", classname=_clean(where), name=_clean(result.title), time=f"{result.seconds:.4f}"
    )
    why = _clean(result.why or "")
    if result.outcome == "failed":
        failure = Xml.SubElement(case, "failure", message=why[:300], type=result.kind)
        failure.text = "\n".join([why, *([_clean(result.input)] if result.input else []), ", ".join(result.rules)])
    elif result.outcome != "passed":
        Xml.SubElement(case, "skipped", message=("known failure: " if result.outcome == "known" else "") + why[:300])


def _clean(text: str) -> str:
    """Return a text that may stand in XML."""
    return text.encode("utf-8", "replace").decode().translate(_NO_XML)
