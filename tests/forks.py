"""Children of `os.fork` alone, which say by their exit code what became of them."""

import os
from collections.abc import Callable

from tests.internals import sweep


def in_child(func: Callable[[], bool]) -> int:
    """A forked child's pid; its exit code will be 0 if the function says yes there."""
    pid = os.fork()
    if not pid:
        code = 2
        try:
            code = 0 if func() else 1
        finally:
            os._exit(code)
    return pid


def code_of(pid: int) -> int:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    sweep()  # a child that just exits leaves its directory for the next to sweep
    return code
