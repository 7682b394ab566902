"""Reading from the terminal of a program in a process that leads a group of its own.

A terminal belongs to one process group at a time, that of the program in the foreground, and stops
any other process that reads from it. So an actor that is to ask there joins the program's group for
as long as that takes. Then Ctrl-Z stops both, as it should, and if the program runs in the
background both are stopped until it is brought to the front.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Iterator

from .._engines.child_signals import PROGRAM_GROUP

__all__ = ["in_group_of_program"]


@contextlib.contextmanager
def in_group_of_program(terminal: int) -> Iterator[None]:
    """Be in the program's group meanwhile, if the terminal is that of our session, and minds."""
    group = multiprocessing.current_process()._config.get(PROGRAM_GROUP)  # type: ignore[attr-defined]
    before = os.getpgrp()
    joined = False
    with contextlib.suppress(OSError):
        os.tcgetpgrp(terminal)
        if group is not None:
            os.setpgid(0, group)
            joined = True
    try:
        yield
    finally:
        if joined:
            os.setpgid(0, before)
