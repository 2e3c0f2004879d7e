"""Programs that speak the protocol badly, each in one way: `python fake_subjects.py NAME`. They know no format."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

START = {
    "protocol": 1,
    "implementation": {"name": "fake", "language": "Python", "version": "0"},
    "versions": ["1.0"],
    "containers": {"hdf5": [], "zarr": [], "zarr.zip": [], "bson": ["read"]},
    "verbs": ["load", "validate"],
}


def say(value: Any) -> None:
    sys.stdout.write(value if isinstance(value, str) else json.dumps(value) + "\n")
    sys.stdout.flush()


def rejected(request: Any) -> dict[str, Any]:
    return {"seq": request["seq"], "result": "rejected", "class": "invalid", "code": "NODE_KIND"}


def hang(request: Any) -> None:
    time.sleep(3600)


def die(request: Any) -> None:
    os._exit(7)


def kill_itself(request: Any) -> None:
    os.kill(os.getpid(), 11)


def print_garbage(request: Any) -> None:
    say("Segmentation fault? Hardly.\n")


def print_half_a_line(request: Any) -> None:
    say('{"seq":')
    time.sleep(3600)


def print_without_end(request: Any) -> None:
    while True:
        sys.stdout.write("x" * (1 << 20))


def answer_another_seq(request: Any) -> None:
    say(rejected(request) | {"seq": 10_000})


def answer_twice(request: Any) -> None:
    say(rejected(request))
    say(rejected(request))


def answer_no_result(request: Any) -> None:
    say({"seq": request["seq"], "result": "fine"})


def answer_a_list(request: Any) -> None:
    say([1, 2])


def answer_deep(request: Any) -> None:
    say("[" * 200_000 + "]" * 200_000 + "\n")


def skip_what_it_can(request: Any) -> None:
    say({"seq": request["seq"], "result": "skipped", "reason": "not today"})


def error(request: Any) -> None:
    say({"seq": request["seq"], "result": "errored", "reason": "KeyError: 'tree'"})


def accept_everything(request: Any) -> None:
    say({"seq": request["seq"], "result": "accepted", "tree": {"k": "null"}, "digest": "xxh3-128:00"})


def close_its_output(request: Any) -> None:
    os.close(1)
    time.sleep(3600)


def leave_a_child(request: Any) -> None:
    if os.fork() == 0:
        time.sleep(3600)
    os._exit(0)


def eat_memory(request: Any) -> None:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 10)) * (1 << 16))


ASIDE: dict[str, Callable[[Any], None]] = {
    "hang": hang,
    "die": die,
    "kill itself": kill_itself,
    "print garbage": print_garbage,
    "print half a line": print_half_a_line,
    "print without end": print_without_end,
    "answer another seq": answer_another_seq,
    "answer twice": answer_twice,
    "answer no result": answer_no_result,
    "answer a list": answer_a_list,
    "answer deep": answer_deep,
    "skip what it can": skip_what_it_can,
    "error": error,
    "accept everything": accept_everything,
    "close its output": close_its_output,
    "leave a child": leave_a_child,
    "eat memory": eat_memory,
}
STARTS: dict[str, Any] = {
    "say nothing": lambda: time.sleep(3600),
    "end at once": lambda: sys.exit(3),
    "greet": lambda: say("hello\n"),
    "speak protocol 2": lambda: say(START | {"protocol": 2}),
    "have no verbs": lambda: say({name: value for name, value in START.items() if name != "verbs"}),
    "claim other uses": lambda: say(START | {"containers": {"bson": ["destroy"]}}),
}


def main(name: str) -> None:
    held: list[Any] = []
    for line in sys.stdin:
        request = json.loads(line)
        if request["cmd"] == "stop":
            if name == "never stop":
                time.sleep(3600)
            return
        if request["cmd"] == "start":
            STARTS.get(name, lambda: say(START))()
        elif name == "answer in reverse":
            held.append(request)
            if len(held) == 4:
                for request in held[::-1]:
                    say(rejected(request))
                held.clear()
        elif name == "die once" and not os.path.exists("died"):
            with open(os.path.join(os.environ["TMPDIR"], "died"), "a") as file:
                file.write("x")
            os._exit(1)
        else:
            ASIDE.get(name, lambda request: say(rejected(request)))(request)


if __name__ == "__main__":
    main(sys.argv[1])
