"""An object in a process of its own, started by fork, forkserver or spawn.

The child never imports the program's `__main__` again: what it needs of it travels by
value. So an unguarded script, `python -c` and a notebook work under every start method.
"""

from __future__ import annotations

from .._wire.channel import StreamChannel
from .contract import ExitReport, LaunchSpec
from .process import ActorProcess

__all__ = ["ProcessEngine"]


class ProcessInstance:
    """A program in a process."""

    runs_by_itself: bool = True

    def __init__(self, process: ActorProcess) -> None:
        self._process = process
        self.data: StreamChannel = process.data
        self.control: StreamChannel = process.control

    @property
    def pid(self) -> int | None:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def exitcode(self) -> int | None:
        return self._process.reap()

    def exit_report(self) -> ExitReport:
        return self._process.exit_report()

    def stacks(self, seconds: float) -> str:
        return self._process.stacks(seconds)

    def join(self, timeout: float | None = None) -> bool:
        self._process.join(timeout)
        return not self._process.is_alive()

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.release()
        if not self._process.is_alive():
            self._process.close_sentinel()


class ProcessEngine:
    """Launches programs in processes."""

    def launch(self, launch: LaunchSpec) -> ProcessInstance:
        process = ActorProcess(
            launch.program,
            name=launch.name,
            daemon=launch.daemon,
            start_method=launch.start_method,
            wire_options=launch.wire_options,
        )
        process.start()
        return ProcessInstance(process)
