"""An HDF5 library that opens every file and crashes when it is asked for anything in it."""

import os
import signal
from collections.abc import Callable
from typing import Any


def attend(descriptor: int | None) -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        if request[0] != "open":
            os.kill(os.getpid(), signal.SIGSEGV)

    return answer
