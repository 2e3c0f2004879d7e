"""A module for `statetree.child` that does what a library does to which a hostile file came."""

import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Any

from statetree.errors import fail


def attend(descriptor: int | None) -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        match request:
            case "echo", value:
                return value
            case "signal", number:
                os.kill(os.getpid(), number)
            case "end", status:
                os._exit(status)
            case "spin", _:
                while True:
                    pass
            case "sleep", seconds:
                time.sleep(seconds)
            case "take", nbytes:
                return len(bytearray(nbytes))
            case "answer", nbytes:
                return bytes(nbytes)
            case "refuse", code:
                fail(code, "a", "b", place="/x", remedy="c")
            case "write", path:
                with open(path, "wb", buffering=0) as file:
                    file.write(b"x")
            case "raise", text:
                raise KeyError(text)
            case "size", _:
                assert descriptor is not None
                return os.fstat(descriptor).st_size
            case "limits", _:
                return [resource.getrlimit(resource.RLIMIT_CORE), signal.getsignal(signal.SIGINT) is None]
        return None

    return answer
