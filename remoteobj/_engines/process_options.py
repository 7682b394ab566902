"""What an owner decides of its actor's process, beside the program that runs there.

It is applied before anything of the program is unpickled, so that a module which that imports finds
all as it is meant to be: the environment, the processors, what becomes of records and output.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from .._os.lazy_import import import_lock, when_imported

if TYPE_CHECKING:
    from .log_forwarding import Levels
    from .owner_line import OwnerLine

__all__ = ["NO_OPTIONS", "ProcessOptions", "levels_to_send"]

SHORT_TITLE = 15
"""Bytes that the kernel keeps of the name of a process."""


class ProcessOptions(NamedTuple):
    """How the process of an actor is set up."""

    environment: Mapping[str, str | None] | None = None
    """Variables that it has beside those of its owner; None: it has not."""
    cpu_affinity: tuple[int, ...] | None = None
    """The processors that it may run on; None: those of its owner."""
    nice: int = 0
    """What is added to the niceness of its owner."""
    labelled_output: bool = False
    """Whether each line of its output begins with its name."""
    logging: Levels | None = None
    """Which records of `logging` go to its owner; None: those that it logs are its own."""

    def apply(self, name: str, line: OwnerLine) -> None:
        """Set this process up.

        Raises:
            OSError: the system refuses that.
        """
        _entitle(name)
        for variable, value in (self.environment or {}).items():
            if value is None:
                os.environ.pop(variable, None)
            else:
                os.environ[variable] = value
        if self.cpu_affinity is not None:
            os.sched_setaffinity(0, self.cpu_affinity)
        if self.nice:
            os.nice(self.nice)
        if self.labelled_output:
            with import_lock:
                from .labelled_output import label_output  # for a faster start-up: few want it

            atexit.register(label_output(name))
        elif (inherited := sys.modules.get(f"{__package__}.labelled_output")) is not None:
            inherited.unlabel_output()
        if self.logging is not None:
            when_imported("logging", partial(_forward, line, self.logging))


NO_OPTIONS = ProcessOptions()


def _forward(line: OwnerLine, wanted: Levels) -> None:
    # Not under `import_lock`: whoever holds that may be importing `logging`, and wait for us.
    from .log_forwarding import forward_to  # at start-up it would import `logging`

    forward_to(line, wanted)


def levels_to_send() -> Levels | None:
    """The levels of a program that has imported `logging`; another one has no handler for it."""
    if "logging" not in sys.modules:
        return None
    with import_lock:
        from .log_forwarding import levels  # for a faster start-up, as above

    return levels()


def _entitle(name: str) -> None:
    """Have `ps` and `top` tell which actor this process is, as far as that goes."""
    if (set_title := _setproctitle()) is not None:
        set_title(f"remoteobj: {name}")
        return
    with suppress(OSError), open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(name.encode(errors="replace")[:SHORT_TITLE])


@cache
def _setproctitle() -> Callable[[str], object] | None:
    with import_lock:
        try:
            module = import_module("setproctitle")
        except ImportError:  # the extra `titles`
            return None
    set_title: Callable[[str], object] = module.setproctitle
    return set_title
