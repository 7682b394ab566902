"""How an actor ended, and the words for what happened: what the errors are made of."""

from __future__ import annotations

import contextlib
from signal import Signals
from typing import Literal

from ._fast_typing import NamedTuple

__all__ = ["ExitReason", "ExitReport", "describe", "printable", "type_name"]

ExitReason = Literal["stopped", "failed", "killed", "died"]
"""Why an actor ended: see `ExitReport`."""


class ExitReport(NamedTuple):
    """How an actor ended, and what it left behind, as its owner knows it.

    `reason` is one of four words:

    - `"stopped"`: it ended in order, with exit code 0; or its owner told it to end, by SIGTERM too.
    - `"failed"`: its `__init__`, its work loop or its function raised `error`; the exit code is 1.
    - `"killed"`: its owner killed it, by `kill_()`, or since it did not stop in time.
    - `"died"`: anything else: a signal from elsewhere, a crash, another exit code.

    >>> report = ExitReport("counter", exitcode=-9)
    >>> report.reason, report.signal.name
    ('died', 'SIGKILL')
    """

    name: str = "the actor"
    pid: int | None = None
    """The id of its process."""
    exitcode: int | None = None
    """Negative for a signal. `None`: not known, for example because other code has read it."""
    reason: ExitReason = "died"
    error: BaseException | None = None
    """The exception with which it failed. `None`: it did not fail, or that is not known."""
    running: str | None = None
    """The call that it was running, without the arguments. `None`: it was running none. Of many,
    in the error of one of them that one, else any of them."""
    last_stack: str | None = None
    """The stacks that faulthandler wrote at a crash."""
    last_output: str | None = None
    """The end of what it wrote to `sys.stderr`, with its control characters."""
    peak_memory: int | None = None
    """The most physical memory that it used, in bytes."""
    out_of_memory: bool = False
    """Whether the kernel killed it because memory ran out, if the system tells that."""
    all_running: tuple[str, ...] = ()
    """All calls that it was running, one text for each: of a call that has let in others, those
    come first. At most 513 are known."""
    record: str | None = None
    """The file of its requests, if it has the option `record`. `None`: there is none."""

    @property
    def signal(self) -> Signals | None:
        """The signal that ended it, if one did, and has a name."""
        if self.exitcode is not None and self.exitcode < 0:
            with contextlib.suppress(ValueError):  # a real-time signal has a number alone
                return Signals(-self.exitcode)
        return None

    def __str__(self) -> str:
        """What a message says of it.

        >>> print(ExitReport("parser-1", exitcode=3, running="?.parse(...)"))
        parser-1 exited with code 3, while it ran ?.parse(...)
        >>> print(ExitReport("parser-1", reason="failed", error=OSError("disk full")))
        parser-1 failed with OSError: disk full
        >>> print(ExitReport("web", exitcode=3, running="?.a()", all_running=("?.b()", "?.a()")))
        web exited with code 3, while it ran ?.a() and 1 other call
        """
        words = "died" if self.exitcode is None else f"exited with code {self.exitcode}"
        if self.error is not None:
            words = f"failed with {describe(self.error)}"
        if self.exitcode is not None and self.exitcode < 0:
            number = f"signal {-self.exitcode}"
            words = f"was killed by {number if self.signal is None else self.signal.name}"
        memory = ", by the kernel since memory ran out" if self.out_of_memory else ""
        running = "" if self.running is None else f", while it ran {self.running}"
        if running and (others := len(self.all_running) - 1) > 0:
            running += f" and {others} other call{'s' * (others > 1)}"
        text = f"{self.name} {words}{memory}{running}"
        if self.record is not None:
            text += f" (to run that again: {replay_command(self.record)})"
        return printable(text)


def replay_command(record: str) -> str:
    """What is typed to run the requests of a record again.

    >>> replay_command("/tmp/my records/parser-1.record")
    "python -m remoteobj replay '/tmp/my records/parser-1.record'"
    """
    import shlex  # for a faster start-up: it is asked about the dead

    return f"python -m remoteobj replay {shlex.quote(record)}"


def type_name(cls: type) -> str:
    """Return the qualified name by which messages call a class: ``package.module.Name``.

    >>> type_name(KeyError), type_name(ExitReport)
    ('KeyError', 'remoteobj._exit_report.ExitReport')
    """
    return f"{cls.__module__}.{cls.__qualname__}".removeprefix("builtins.")


def describe(error: BaseException) -> str:
    """Return an exception's last line in a traceback, even where its ``str()`` fails.

    >>> describe(KeyError("k"))
    "KeyError: 'k'"
    """
    try:
        text = str(error)
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = "<str() of the exception failed>"
    name = type_name(type(error))
    return f"{name}: {text}" if text else name


def printable(text: str) -> str:
    """The text with nothing in it that a terminal would obey."""
    codes = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
    return text.translate({code: f"\\x{code:02x}" for code in codes})
