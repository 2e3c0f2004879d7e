"""Judging a subject's reply to a vector, and the list of failures that are known. Source: rules T-4, T-6, T-8."""

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from statetree.errors import fail, shown
from statetree_conformance.protocol import Capabilities
from statetree_conformance.results import Result
from statetree_conformance.tagged import tagged_difference
from statetree_conformance.talk import Reply
from statetree_conformance.vectors import Vector
from statetree_spec import registry

__all__ = ["KnownFailure", "judge", "known_failures", "unlisted"]

_CLASSES = registry("errors")["classes"].keys()
_CLASS_OF: dict[str, str] = {code: row["class"] for code, row in registry("errors")["codes"].items()}


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One entry of a list of known failures."""

    vector: str
    """Id of the vector."""
    verb: str
    """What the subject is asked to do."""
    result: str
    """What it does: `accepted`, `rejected`, `errored`, `crashed`, …"""
    error_class: str | None
    """The class with which it rejects."""
    reason: str
    """Why this is so."""


def known_failures(path: Path) -> tuple[KnownFailure, ...]:
    """Return the entries of a list `expected/<subject>.toml`; none if there is no such file.

    Raises:
        UsageError: the file is no such list.
    """
    if not path.is_file():
        return ()
    try:
        listed = tomllib.loads(path.read_text("utf-8")).get("vectors", {})
    except tomllib.TOMLDecodeError as error:
        _no_list(path, "TOML", str(error))
    found = []
    for name, entries in listed.items():
        for entry in entries if isinstance(entries, list) else [entries]:
            more = entry.keys() - {"verb", "result", "class", "reason"}
            if more or not {"verb", "result", "reason"} <= entry.keys():
                _no_list(path, "verb, result, class and reason", f"other members of vectors.{name}")
            found.append(KnownFailure(name, entry["verb"], entry["result"], entry.get("class"), entry["reason"]))
    return tuple(found)


def _no_list(path: Path, expected: str, found: str) -> NoReturn:
    fail("USAGE", expected, found, place=str(path), remedy="spec/conformance.md [T-8] says what is in the list")


def judge(
    column: str, vector: Vector, verb: str, reply: Reply, can: Capabilities, known: Sequence[KnownFailure] = ()
) -> Result:
    """Return what a reply to a vector is worth."""
    outcome, why, code = _verdict(vector, verb, reply, can)
    result = Result(
        column=column,
        kind="vector",
        name=vector.id,
        rules=vector.rules,
        outcome=outcome,
        verb=verb,
        container=vector.container,
        why=why,
        code=code,
        seconds=reply.seconds,
    )
    for entry in known:
        if (entry.vector, entry.verb) == (vector.id, verb):
            return _held_against(entry, result, reply)
    return result


def unlisted(column: str, known: Iterable[KnownFailure], results: Sequence[Result]) -> list[Result]:
    """Return a failure for each entry of the list whose vector and verb are not there any more."""
    tried = {(result.name, result.verb) for result in results if result.kind == "vector"}
    why = "it is listed as a known failure, and there is no such vector and verb: take it off the list"
    return [
        Result(
            column=column, kind="vector", name=entry.vector, rules=("T-8",), outcome="failed", verb=entry.verb, why=why
        )
        for entry in known
        if (entry.vector, entry.verb) not in tried
    ]


def _held_against(entry: KnownFailure, result: Result, reply: Reply) -> Result:
    found_class = reply.answer.get("class")
    if result.outcome == "failed" and (reply.kind, found_class) == (entry.result, entry.error_class):
        return replace(result, outcome="known", why=f"{entry.reason} ({result.why})")
    listed = f"listed as a known failure ({_named(entry.result, entry.error_class)})"
    found = {
        "passed": "it passes: take it off the list",
        "skipped": f"it is skipped: {result.why}",
    }.get(result.outcome, f"it fails otherwise: {result.why}")
    return replace(result, outcome="failed", why=f"{listed}, and {found}")


_Verdict = tuple[str, str | None, bool | None]


def _verdict(vector: Vector, verb: str, reply: Reply, can: Capabilities) -> _Verdict:
    wanted = vector.expect[verb]
    match reply.kind:
        case "accepted" if wanted["outcome"] == "accept":
            why = _wrong_tree(vector, reply.answer) if verb == "load" else None
            return ("failed", why, None) if why else ("passed", None, None)
        case "accepted":
            return "failed", f"expected {_named('rejected', wanted['class'], wanted['code'])}, got accepted", None
        case "rejected":
            return _refused(wanted, reply.answer)
        case "skipped" if not can.has(verb, vector.container):
            return "skipped", shown(reply.why, 300), None
        case "skipped":
            said = "it says at the start that it can do this"
            return "failed", f"expected an answer, got skipped ({shown(reply.why, 300)}), though {said}", None
    return "failed", f"expected an answer, got {reply.kind}: {shown(reply.why, 2000)}", None


def _refused(wanted: Mapping[str, Any], answer: Mapping[str, Any]) -> _Verdict:
    found = _named("rejected", answer["class"], answer["code"])
    if answer["class"] not in _CLASSES:
        return "failed", f"expected a class of the registry, got {found}", None
    if wanted["outcome"] == "accept":
        # A code of `also` is that of something a reader may lack, such as a library.
        if answer["code"] in wanted.get("also", ()) and answer["class"] == _CLASS_OF[answer["code"]]:
            return "passed", None, True
        return "failed", f"expected accepted, got {found}", None
    right = answer["code"] in (wanted["code"], *wanted.get("also", ()))
    # A code of another class that counts as right brings its class with it.
    if answer["class"] not in (
        {wanted["class"]} | {_CLASS_OF[code] for code in wanted.get("also", ()) if code == answer["code"]}
    ):
        return "failed", f"expected {_named('rejected', wanted['class'], wanted['code'])}, got {found}", None
    return "passed", None if right else f"expected the code {wanted['code']}, got {shown(answer['code'], 60)}", right


def _named(result: str, error_class: str | None, code: str | None = None) -> str:
    more = ", ".join(shown(part, 60) for part in (error_class, code) if part)
    return f"{result} ({more})" if more else result


def _wrong_tree(vector: Vector, answer: Mapping[str, Any]) -> str | None:
    if vector.digest is not None and answer.get("digest") != vector.digest:
        return f"expected the digest {vector.digest}, got {shown(str(answer.get('digest')), 80)}"
    if vector.tree is None:
        return None
    if "tree" not in answer:
        return "expected a tree, got accepted without one"
    differs = tagged_difference(vector.tree, answer["tree"])
    return None if differs is None else f"expected the tree of the vector, got another: {differs}"
