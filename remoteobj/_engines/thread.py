"""An object in a thread of this process: the same messages, no isolation."""

from __future__ import annotations

import copy
import threading
from typing import NoReturn

from .._wire.channel import StreamChannel
from .._wire.duplex import duplex_pair, socket_pair
from .contract import LaunchSpec, OwnerLink, Program, ProgramFailedError
from .in_process import InProcessInstance

__all__ = ["ThreadEngine"]


class ThreadInstance(InProcessInstance):
    """A program in a thread."""

    runs_by_itself: bool = True

    def __init__(self, spec: LaunchSpec) -> None:
        super().__init__(spec.name)
        data, their_data = duplex_pair()
        control, their_control = socket_pair()
        self.data = StreamChannel(data, wire_options=spec.wire_options)
        self.control = StreamChannel(control)
        self._link = OwnerLink(their_data, their_control, shared_process=True)
        self._link.listener = None if spec.listener is None else spec.listener.lend()
        self._thread = threading.Thread(
            target=self._run, args=(copy.copy(spec.program),), name=spec.name, daemon=True
        )
        self._thread.start()

    def _run(self, program: Program) -> None:
        code, failure = 1, None
        try:
            program.run(self._link)
            code = 0
        except ProgramFailedError as exc:
            failure = exc
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        finally:
            self.end(code, failure)
            self._link.data.close()
            self._link.control.close()

    def is_alive(self) -> bool:
        # A forked copy of the owner has a copy of this object, but not the thread.
        return super().is_alive() and self._thread.is_alive()

    def wait(self, timeout: float | None = None) -> bool:
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(f"{self.name} does not answer, and is a thread of this process")

    def terminate(self) -> NoReturn:
        raise self._cannot_end()

    def kill(self) -> NoReturn:
        raise self._cannot_end()

    def _cannot_end(self) -> RuntimeError:
        return RuntimeError(
            f"{self.name} is a thread, and a thread can't be ended from outside; "
            'use stop_(), or engine="process"'
        )


class ThreadEngine:
    """Launches programs in threads."""

    def launch(self, spec: LaunchSpec) -> ThreadInstance:
        return ThreadInstance(spec)
