"""Subjects that behave badly get a clear verdict, and never stall the run; a good one is understood."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as hs
from referencing import Registry, Resource

from fake_subjects import ASIDE, START, STARTS
from statetree_conformance import protocol
from statetree_conformance.program import Broken
from statetree_conformance.running import REFERENCE, Column, Plan, run
from statetree_conformance.talk import Talk
from statetree_spec import schema

FAKE = f"{sys.executable} {Path(__file__).parent / 'fake_subjects.py'}"
REQUEST = {"verb": "load", "path": "/nowhere.bson"}
VERDICTS = {
    "hang": ("timed out", "it was silent for 0.5 s"),
    "die": ("crashed", "it ended with status 7"),
    "kill itself": ("crashed", "it ended by SIGSEGV"),
    "print garbage": ("garbage", "it wrote no JSON (Expecting value: line 1 column 1 (char 0))"),
    "print half a line": ("timed out", "it was silent for 0.5 s"),
    "print without end": ("flooded", "it wrote more than 64 MiB without a line feed"),
    "answer another seq": ("garbage", "it answered 10000, which it was not asked, or not any more"),
    "answer no result": ("garbage", "it wrote the result 'fine'"),
    "answer a list": ("garbage", "it wrote JSON that is no object (list)"),
    "answer deep": ("garbage", "it wrote JSON nested too deep"),
    "skip what it can": ("skipped", "not today"),
    "error": ("errored", "KeyError: 'tree'"),
    "accept everything": ("accepted", ""),
    "close its output": ("closed", "it closed its standard output and went on"),
    "leave a child": ("crashed", "it ended with status 0"),
    "eat memory": ("crashed", "it ended with status 1"),
}


def talk(name: str, timeout: float = 0.5) -> Talk:
    return Talk(f"{FAKE} '{name}'", timeout=timeout)


@pytest.mark.parametrize("name", VERDICTS)
def test_a_subject_that_behaves_badly_gets_a_verdict_at_once(name: str) -> None:
    slow = name in ("eat memory", "print without end")
    asked = talk(name, 30 if slow else 0.5)
    begun = time.monotonic()

    reply = asked.ask([REQUEST])[0]

    asked.close()
    assert (reply.kind, reply.why) == VERDICTS[name]
    assert time.monotonic() - begun < (60 if slow else 10)


def test_every_fake_subject_has_a_verdict() -> None:
    assert VERDICTS.keys() | {"answer twice"} == ASIDE.keys()


@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("say nothing", "timed out", "it was silent for 0.5 s"),
        ("end at once", "crashed", "it ended with status 3"),
        ("greet", "garbage", "it answered start with no JSON (Expecting value: line 1 column 1 (char 0))"),
        ("speak protocol 2", "garbage", "it answered start with protocol 2 in place of 1"),
        ("have no verbs", "garbage", "it answered start with 'verbs' of another form"),
        ("claim other uses", "garbage", "it answered start with 'containers' of another form"),
    ],
)
def test_a_subject_that_cannot_be_started_is_no_subject(name: str, kind: str, why: str) -> None:
    with pytest.raises(Broken) as broken:
        talk(name)

    assert (broken.value.kind, broken.value.why) == (kind, why)
    assert name in STARTS


def test_a_program_that_is_not_there_is_no_subject() -> None:
    with pytest.raises(Broken) as broken:
        Talk("no-such-program --at all")

    assert broken.value.why == "it cannot be started: no such file or directory"


def test_answers_may_come_in_any_order() -> None:
    asked = talk("answer in reverse", 5)

    replies = asked.ask([REQUEST] * 4)

    asked.close()
    assert [reply.answer["seq"] for reply in replies] == [1, 2, 3, 4]
    assert asked.complaints == []


def test_what_is_asked_together_is_asked_alone_when_something_goes_wrong() -> None:
    asked = talk("die", 5)

    replies = asked.ask([REQUEST] * 3)

    asked.close()
    assert [reply.kind for reply in replies] == ["crashed"] * 3


def test_an_answer_that_nobody_asked_for_is_a_failure() -> None:
    asked = talk("answer twice", 5)

    replies = [asked.ask([REQUEST])[0] for _ in range(2)]

    asked.close()
    assert "garbage" in [reply.kind for reply in replies] or asked.complaints


def test_a_subject_that_does_not_stop_is_complained_of() -> None:
    asked = talk("never stop", 5)
    begun = time.monotonic()

    asked.close()

    assert asked.complaints == ["it had not ended 5 s after it was told to stop"]
    assert time.monotonic() - begun < 15


def test_a_subject_that_is_always_silent_is_soon_asked_no_more() -> None:
    begun = time.monotonic()

    found = run([Column("subject", f"{FAKE} hang")], Plan(examples=5, timeout=0.5))

    failed = {result.why.split(" (")[0] for result in found.failed if result.why}
    assert time.monotonic() - begun < 30
    assert not found.ok
    assert any("timed out: it was silent for 0.5 s" in why for why in failed)
    assert any("not asked: it broke the talk 3 times" in why for why in failed)


def test_a_subject_that_skips_what_it_says_it_can_has_failed() -> None:
    found = run([Column("subject", f"{FAKE} 'skip what it can'")], Plan(examples=5, only="bson-root"))

    assert {result.why for result in found.failed} == {
        "expected an answer, got skipped (not today), though it says at the start that it can do this"
    }
    assert {result.why for result in found.results if result.outcome == "skipped" and result.verb} == set()


def test_a_subject_that_can_do_nothing_has_not_passed() -> None:
    found = run([Column("subject", f"{FAKE} quiet")], Plan(examples=5, only="hdf5-root"))

    assert found.failed == ()
    assert not found.ok


# The protocol and its schema say the same


def accepted_by_schema(message: Any) -> bool:
    tagged = Resource.from_contents(schema("tagged"))
    registry: Registry[Any] = Registry().with_resource("urn:statetree:schema:1.0:tagged", tagged)
    return bool(jsonschema.Draft202012Validator(schema("protocol"), registry=registry).is_valid(message))


def accepted_by_runner(message: Any) -> bool:
    if "protocol" in message:
        try:
            protocol.capabilities(message)
        except ValueError:
            return False
        return True
    return protocol.answer_problem(message) is None


ANSWERS = [
    START,
    {"seq": 1, "result": "accepted"},
    {"seq": "a", "result": "accepted", "tree": {"k": "null"}, "digest": "xxh3-128:00"},
    {"seq": 1, "result": "rejected", "class": "invalid", "code": "NODE_KIND", "problems": []},
    {"seq": 1, "result": "skipped", "reason": "no"},
    {"seq": 1, "result": "errored", "reason": "no"},
]
ODD = [None, True, 0, 1.5, "x", [], ["x"], {"k": "null"}]


@given(hs.sampled_from(ANSWERS), hs.data())
def test_the_runner_takes_the_answers_that_the_schema_allows(answer: dict[str, Any], data: hs.DataObject) -> None:
    name = data.draw(hs.sampled_from([*sorted(answer), "more"]))
    change = data.draw(hs.sampled_from(["none", "drop", "odd"]))
    changed = {n: v for n, v in answer.items() if n != name} if change == "drop" else dict(answer)
    if change == "odd":
        changed[name] = data.draw(hs.sampled_from(ODD))

    assert accepted_by_runner(changed) == accepted_by_schema(changed), json.dumps(changed)


def test_the_reference_answers_as_the_schema_says(tmp_path: Path) -> None:
    asked = Talk(REFERENCE)
    tree = {"k": "dict", "items": [[{"k": "str", "v": "a"}, {"k": "int", "hex": "7"}]]}
    path = str(asked.sandbox.saves / "t.bson")

    replies = [
        asked.ask([request])[0]
        for request in (
            {"verb": "save", "container": "bson", "path": path, "tree": tree},
            {"verb": "load", "path": path},
            {"verb": "validate", "path": path},
            {"verb": "load", "path": path + "x"},
            {"verb": "save", "container": "none", "path": path, "tree": tree},
        )
    ]

    asked.close()
    assert [reply.kind for reply in replies] == ["accepted", "accepted", "accepted", "rejected", "rejected"]
    assert replies[1].answer["tree"] == tree
    assert replies[1].answer["digest"] == replies[0].answer["digest"]
    assert all(accepted_by_schema(dict(reply.answer)) for reply in replies)
