"""What an owner decides of its actor's process, beside the program that runs there.

It is applied before anything of the program is unpickled, so that a module which that imports finds
all as it is meant to be: the environment, the processors, what becomes of records and output.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from importlib import import_module
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock, is_awaited, when_imported

if TYPE_CHECKING:
    from .log_forwarding import Levels
    from .owner_line import OwnerLine

__all__ = ["NO_OPTIONS", "ProcessOptions", "usual_options"]

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
    whole_title: bool = False
    """Whether there is `setproctitle`. Its owner looks for it, once for all."""

    def apply(self, name: str, line: OwnerLine) -> None:
        """Set this process up.

        Raises:
            OSError: the system refuses that.
        """
        _entitle(name, self.whole_title)
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


def usual_options() -> ProcessOptions:
    """Those of a process for which nothing is asked, as things are at this moment.

    Records are sent to a program that has imported `logging`: another one has no handler for them.
    But an actor whose own records go to its owner passes on those of the actors that it starts.
    """
    wanted = None
    if is_awaited("logging"):
        with import_lock:
            import_module("logging")  # before what needs it, which is to be whole by then
    if "logging" in sys.modules:
        with import_lock:
            from .log_forwarding import levels  # for a faster start-up, as above

        wanted = levels()
    return ProcessOptions(logging=wanted, whole_title=_has_setproctitle())


@cache
def _has_setproctitle() -> bool:
    return PathFinder.find_spec("setproctitle") is not None


def _entitle(name: str, whole: bool) -> None:
    """Have `ps` and `top` tell which actor this process is, as far as that goes."""
    if whole:
        with import_lock, suppress(ImportError):
            import_module("setproctitle").setproctitle(f"remoteobj: {name}")
            return
    with suppress(OSError):
        file = os.open("/proc/self/comm", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(file, name.encode(errors="replace")[:SHORT_TITLE])
        finally:
            os.close(file)
