"""An object in a thread of this process: the same messages, no isolation."""

from __future__ import annotations

import os
import threading
from typing import NoReturn

from .._line import line, socket_line
from .._transport import LineChannel
from ._base import Certificate, Launch, Link, Program

__all__ = ["ThreadEngine"]


class ThreadVessel:
    """A program in a thread."""

    def __init__(self, launch: Launch) -> None:
        data, their_data = line()
        control, their_control = socket_line()
        self.data: LineChannel = LineChannel(data, traits=launch.traits)
        self.control: LineChannel = LineChannel(control)
        self._name = launch.name
        self._exitcode: int | None = None
        self._link = Link(their_data, their_control, shared_process=True)
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

    autonomous: bool = True

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

    def certificate(self) -> Certificate:
        return Certificate(self.exitcode)

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(f"{self._name} does not answer, and is a thread of this process")

    def close(self) -> None:
        self.data.close()
        self.control.close()


class ThreadEngine:
    """Launches programs in threads."""

    def launch(self, launch: Launch) -> ThreadVessel:
        return ThreadVessel(launch)
