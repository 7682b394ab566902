"""An object in a Ray actor, wherever in its cluster Ray puts that."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from .._catching.catchers import Except
from .._catching.relay import take_in
from .._os.io_thread import reactor
from .._pickling.exceptions import unpack_error
from .._wire.channel import StreamChannel
from .._wire.ray_cluster import NAMESPACE, cluster
from .._wire.ray_line import RayLine
from .._wire.ray_transport import name_at
from .contract import ExitCallback, ExitCallbacks, ExitReason, ExitReport, LaunchSpec
from .packing import pack
from .ray_host import CONTROL, DATA, THREADS, Event, Packed, RayHost

__all__ = ["RayEngine", "RayInstance"]

EVENTS_SECONDS: Final = 60.0
"""How long an actor is waited for that has nothing to tell, before it is asked again."""
OURS: Final = frozenset(
    ("name", "namespace", "lifetime", "get_if_exists", "max_restarts", "max_task_retries")
)
"""What Ray is told by us alone."""


class RayInstance:
    """A program in a Ray actor."""

    runs_by_itself: bool = True

    def __init__(self, spec: LaunchSpec, host: Any, exc: Except) -> None:
        self.name = spec.name
        self._host = host
        self._exc = exc
        self._pid: int | None = None
        self._exitcode: int | None = None
        self._failure = b""
        self._why_dead: str | None = None
        self._killed = False
        self._seen = 0
        self._ended = threading.Event()
        self._exit_callbacks = ExitCallbacks()
        self.data = StreamChannel(self._stream(DATA), wire_options=spec.wire_options)
        self.control = StreamChannel(self._stream(CONTROL))
        self._ask_on()

    def _stream(self, key: bytes) -> Any:
        line = RayLine(key, self._host.exchange.remote)
        line.begin()
        return line.stream

    # --- what it tells -----------------------------------------------------------------------

    def _ask_on(self) -> None:
        self._asked = self._host.events.remote(self._seen, EVENTS_SECONDS)
        self._asked._on_completed(self._told)

    def _told(self, outcome: Any) -> None:
        """Something has happened over there; in a thread of Ray's."""
        if isinstance(outcome, BaseException):
            self._why_dead = str(outcome)
            self._end()
            return
        for event in outcome:
            self._seen += 1
            self._take(event)
        if not self._ended.is_set():
            self._ask_on()

    def _take(self, event: Event) -> None:
        kind, what = event
        if kind == "began":
            self._pid = what[0]
        elif kind == "record":
            take_in(self._exc, what)
        else:
            self._exitcode, self._failure = what
            self._end()

    def _end(self) -> None:
        self._ended.set()
        if self._exit_callbacks:
            with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
                reactor.call_soon(self._tell_exit)

    # --- as its owner sees it ------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        return self._pid

    @property
    def started(self) -> str:
        return ""  # it may be of another machine

    @property
    def recorder_place(self) -> tuple[int, int]:
        return -1, 0

    @property
    def exitcode(self) -> int | None:
        if not self._ended.is_set():
            return None
        return -9 if self._exitcode is None else self._exitcode

    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        return self._ended.wait(timeout)

    def on_exit(self, callback: ExitCallback) -> None:
        self._exit_callbacks.add(callback)
        if self._ended.is_set():
            self._tell_exit()

    def _tell_exit(self) -> None:
        self._exit_callbacks.tell(self.exit_report())

    def exit_report(self) -> ExitReport:
        if self._failure:
            error = unpack_error(self._failure)
            return ExitReport(self.name, self._pid, self._exitcode, "failed", error)
        reason: ExitReason = "stopped" if self._exitcode == 0 else "died"
        if self._killed and self._exitcode is None:
            reason = "killed"
        return ExitReport(
            self.name, self._pid, self._exitcode, reason, last_output=self._why_dead
        )

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(
            f"{self.name} does not answer; `ray stack` on its node shows what it is at"
        )

    def terminate(self) -> None:
        self._host.unwind.remote()

    def kill(self) -> None:
        self._killed = True
        cluster().kill(self._host)

    def release(self) -> None:
        self.data.close()
        self.control.close()
        with contextlib.suppress(Exception):  # the cluster is gone
            cluster().kill(self._host)


class RayEngine:
    """Launches programs in Ray actors."""

    def launch(self, spec: LaunchSpec) -> RayInstance:
        ray = cluster()
        program: Any = spec.program
        name = name_at(program.address)
        wanted = {"max_concurrency": THREADS, **_checked(spec.engine_options or {})}
        host_class = ray.remote(RayHost).options(name=name, namespace=NAMESPACE, **wanted)
        packed = _without_descriptors(program.catching_by(None), spec.main)
        host = host_class.remote(packed, spec.name, name)
        return RayInstance(spec, host, program.exc)


def _without_descriptors(program: Any, main: str) -> Packed:
    packed = pack(program, main, "ray")
    pickles = packed.pickles
    return (
        pickles.payload,
        list(pickles.buffers),
        list(pickles.more),
        packed.script,
        packed.imports,
        packed.filters,
    )


def _checked(options: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in options:
        if name in OURS:
            raise ValueError(
                f"engine_options[{name!r}] is not for you to say: an actor has its own name and "
                "end, and is restarted by the option restart="
            )
    return options
