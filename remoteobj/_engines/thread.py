"""An object in a thread of this process: the same messages, no isolation."""

from __future__ import annotations

import os
import threading
from typing import NoReturn

from .._wire.channel import StreamChannel
from .._wire.duplex import duplex_pair, socket_pair
from .contract import ExitReport, LaunchSpec, OwnerLink, Program

__all__ = ["ThreadEngine"]


class ThreadInstance:
    """A program in a thread."""

    def __init__(self, launch: LaunchSpec) -> None:
        data, their_data = duplex_pair()
        control, their_control = socket_pair()
        self.data: StreamChannel = StreamChannel(data, wire_options=launch.wire_options)
        self.control: StreamChannel = StreamChannel(control)
        self._name = launch.name
        self._exitcode: int | None = None
        self._link = OwnerLink(their_data, their_control, shared_process=True)
        self._thread = threading.Thread(
            target=self._run, args=(launch.program,), name=launch.name, daemon=True
        )
        self._thread.start()

    def _run(self, program: Program) -> None:
        code = 1
        try:
            program.run(self._link)
            code = 0
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        finally:
            self._exitcode = code
            self._link.data.close()
            self._link.control.close()

    runs_by_itself: bool = True

    @property
    def pid(self) -> int:
        return os.getpid()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def exitcode(self) -> int | None:
        return None if self._thread.is_alive() else self._exitcode

    def join(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def terminate(self) -> NoReturn:
        raise self._cannot_end()

    def kill(self) -> NoReturn:
        raise self._cannot_end()

    def _cannot_end(self) -> RuntimeError:
        return RuntimeError(
            f"{self._name} is a thread, and a thread can't be ended from outside; "
            'use stop_(), or engine="process"'
        )

    def exit_report(self) -> ExitReport:
        return ExitReport(self.exitcode)

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(f"{self._name} does not answer, and is a thread of this process")

    def close(self) -> None:
        self.data.close()
        self.control.close()


class ThreadEngine:
    """Launches programs in threads."""

    def launch(self, launch: LaunchSpec) -> ThreadInstance:
        return ThreadInstance(launch)
