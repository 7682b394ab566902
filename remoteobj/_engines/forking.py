"""How a process is forked so that it costs its owner one descriptor, that of the process itself.

`multiprocessing` makes two pipes, by which the two processes learn of each other's end. Of each
one end stays in the owner, and goes on to all that it forks later.
"""

from __future__ import annotations

import os
from multiprocessing import popen_fork
from multiprocessing import process as mp_process
from typing import Any

from .._os.fork_safety import fork_lean, leave_to_parent

__all__ = ["ForkPopen"]


class ForkPopen(popen_fork.Popen):
    """`multiprocessing`'s, but without its pipes: whoever uses it gives it a `sentinel`."""

    sentinel = -1

    def _launch(self, process_obj: Any) -> None:
        self.pid = fork_lean()
        if self.pid == 0:
            code = 1
            try:
                leave_to_parent(vars(mp_process)["_children"])
                code = process_obj.live()
            finally:
                os._exit(code)
