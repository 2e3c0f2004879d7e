"""The reference implementation as a subject: requests on standard input, answers on standard output, a line each.

Source: spec/conformance.md section 3. `python -m statetree_conformance.subject`
"""

import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import statetree as st
from statetree.validate import problem_json
from statetree_conformance.containers import container, container_names
from statetree_conformance.protocol import USES, VERBS, Message, decode_line, encode_line
from statetree_conformance.tagged import tag, untag

__all__ = ["main"]


def _start() -> Message:
    kept = [name for name in container_names() if container(name).suffix]
    return {
        "protocol": 1,
        "implementation": {"name": "statetree-python", "language": "Python", "version": version("statetree")},
        "versions": ["1.0"],
        "containers": {name: sorted({*USES.values()}) for name in kept},
        "verbs": list(VERBS),
    }


def _limits(request: Message) -> st.Limits:
    return st.Limits(**request.get("limits") or {})


def _load(request: Message) -> Message:
    tree = st.load(request["path"], limits=_limits(request))
    with st.open(request["path"], limits=_limits(request)) as file:
        return {"result": "accepted", "tree": tag(tree), "digest": file.digest}


def _validate(request: Message) -> Message:
    report = st.validate(request["path"], limits=_limits(request))
    return {"result": "accepted"} if report.ok else _rejected(report.problems)


def _save(request: Message) -> Message:
    chosen = container(request["container"])
    st.save(Path(request["path"]), untag(request["tree"]), backend=chosen.backend, durable=False)
    with st.open(request["path"]) as file:
        return {"result": "accepted", "digest": file.digest}


_RUN: dict[str, Callable[[Message], Message]] = {"load": _load, "validate": _validate, "save": _save}


def _rejected(problems: Any) -> Message:
    first = problems[0]
    found = [problem_json(problem) for problem in problems[:100]]
    return {"result": "rejected", "class": first.error_class, "code": first.code, "problems": found}


def _answer(request: Message) -> Message:
    try:
        return _RUN[request["verb"]](request)
    except st.StateTreeError as error:
        return _rejected(error.problems)
    except Exception:
        return {"result": "errored", "reason": traceback.format_exc()}


def main() -> None:
    """Answer until the input ends or says stop."""
    for line in sys.stdin.buffer:
        request = decode_line(line)
        if request["cmd"] == "stop":
            return
        answer = _start() if request["cmd"] == "start" else {"seq": request["seq"], **_answer(request)}
        sys.stdout.buffer.write(encode_line(answer))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
