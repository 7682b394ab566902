"""What an instance that shares the process of its owner does at its end, in whichever thread."""

from __future__ import annotations

import os

from .._os.io_thread import reactor
from .._pickling.exceptions import unpack_error
from .._wire.channel import StreamChannel
from .contract import ExitCallback, ExitCallbacks, ExitReason, ExitReport, ProgramFailedError

__all__ = ["InProcessInstance"]


class InProcessInstance:
    """A program in the process of its owner: what the thread engine and the inline one share."""

    data: StreamChannel
    control: StreamChannel

    def __init__(self, name: str) -> None:
        self.name = name
        self._exitcode: int | None = None
        """None until its program has ended."""
        self._failure: ProgramFailedError | None = None
        self._exit_callbacks = ExitCallbacks()

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def started(self) -> str:
        return ""  # it is no process of its own

    @property
    def recorder_place(self) -> tuple[int, int]:
        return -1, 0

    @property
    def exitcode(self) -> int | None:
        return self._exitcode

    def is_alive(self) -> bool:
        return self._exitcode is None

    def waits_for(self) -> str:
        return ""

    def end(self, exitcode: int, failure: ProgramFailedError | None = None) -> None:
        """The program has ended, so."""
        self._failure = failure
        self._exitcode = exitcode
        if self._exit_callbacks:
            reactor.call_soon(self._tell_exit)

    def on_exit(self, callback: ExitCallback) -> None:
        self._exit_callbacks.add(callback)
        if self._exitcode is not None:
            self._tell_exit()

    def _tell_exit(self) -> None:
        self._exit_callbacks.tell(self.exit_report())

    def exit_report(self) -> ExitReport:
        if self._failure is not None:
            error = unpack_error(self._failure.error)
            return ExitReport(self.name, self.pid, self._exitcode, "failed", error)
        reason: ExitReason = "stopped" if self._exitcode == 0 else "died"
        return ExitReport(self.name, self.pid, self._exitcode, reason)

    def release(self) -> None:
        self.data.close()
        self.control.close()
