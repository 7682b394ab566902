"""An object in a Ray actor, wherever in its cluster Ray puts that."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from .._os.io_thread import reactor
from .._pickling.exceptions import unpack_error
from .._wire.channel import StreamChannel
from .._wire.ray_cluster import NAMESPACE, connected, still_connected, tell_when_left
from .._wire.ray_line import RayLine
from .._wire.ray_transport import name_at
from .contract import ExitCallback, ExitCallbacks, ExitReason, ExitReport, LaunchSpec
from .packing import pack
from .ray_host import CONTROL, DATA, THREADS, Event, Packed, RayHost
from .ray_placement import missing_resources, wanted_resources

__all__ = ["RayEngine", "RayInstance"]

EVENTS_SECONDS: Final = 60.0
"""How long an actor is waited for that has nothing to tell, before it is asked again."""
EVENT_SECONDS: Final = 1.0
"""How long an event may take that is on its way."""
NAME_SECONDS: Final = 10.0
"""How long the name of an actor may be taken by the one that it follows, which has ended."""
NAME_CHECK: Final = 0.05
OURS: Final = {
    "name": "an actor has the name of options(name=...)",
    "namespace": "an actor has the name of options(name=...)",
    "get_if_exists": "an actor has one owner, who spawns it",
    "lifetime": "an actor ends with its owner",
    "max_restarts": "an actor is restarted by options(restart=...)",
    "max_task_retries": "a call is never run twice",
    "max_concurrency": "an actor runs as many calls at once as options() says",
    "concurrency_groups": "an actor runs as many calls at once as options() says",
}
"""What Ray is told by us alone, and why."""


class RayInstance:
    """A program in a Ray actor.

    Args:
        host: the Ray actor.
        take_in: takes in what is told of lifecycle errors over there.
    """

    runs_by_itself: bool = True

    def __init__(self, spec: LaunchSpec, host: Any, take_in: Callable[[Any], None]) -> None:
        self.name = spec.name
        self._host = host
        self._take_in: Callable[[Any], None] | None = take_in
        self._wanted = wanted_resources(spec.engine_options or {})
        self._pid: int | None = None
        self._code: int | None = None
        """What the program ended with; None: it has not said so."""
        self._failure = b""
        self._why_dead: BaseException | None = None
        self._killed = self._told_to_end = False
        self._seen = 0
        self._begun = threading.Event()
        self._ended = threading.Event()
        self._exit_callbacks = ExitCallbacks()
        exchange, get = host.exchange.remote, still_connected().get
        data = RayLine(DATA, exchange, get)
        control = RayLine(CONTROL, exchange, get, behind=data)  # a stop is behind all calls
        self._lines = [data, control]
        self.data = StreamChannel(data.stream, wire_options=spec.wire_options)
        self.control = StreamChannel(control.stream)
        for line in self._lines:
            line.begin()
        tell_when_left(self)
        self._ask_on()

    # --- what it tells -----------------------------------------------------------------------

    def _ask_on(self) -> None:
        self._asked = self._host.events.remote(self._seen, EVENTS_SECONDS)
        self._asked._on_completed(self._told)

    def _told(self, outcome: Any) -> None:
        """Something has happened over there; in a thread of Ray's."""
        if isinstance(outcome, BaseException):
            self._end(outcome)
            return
        for event in outcome:
            self._seen += 1
            self._take(event)
        if not self._ended.is_set():
            try:
                self._ask_on()
            except Exception as exc:
                self._end(exc)

    def _take(self, event: Event) -> None:
        kind, what = event
        if kind == "began":
            self._pid = what
            self._begun.set()
        elif kind == "record":
            if self._take_in is not None:
                self._take_in(what)
        else:
            self._code, self._failure = what
            self._end(None)

    def cut_off(self) -> None:
        """This process has left the cluster, which ends its actors."""
        self._end(ConnectionError("this process has left the cluster of Ray: ray.shutdown()"))

    def _end(self, why: BaseException | None) -> None:
        if self._ended.is_set():
            return
        self._why_dead = why
        self._take_in = None  # an exception in it leads to who raised it, and must not from here
        self._begun.set()
        self._ended.set()
        if why is not None:
            for line in self._lines:
                line.lost()
        if self._exit_callbacks:
            with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
                reactor.call_soon(self._tell_exit)

    # --- as its owner sees it ------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Its number on its own machine; None: it has no process yet."""
        if self._pid is None and self._lines[0].has_come:
            self._begun.wait(EVENT_SECONDS)
        return self._pid

    @property
    def started(self) -> str:
        return ""  # the process may be of another machine

    @property
    def recorder_place(self) -> tuple[int, int]:
        return -1, 0

    @property
    def exitcode(self) -> int | None:
        if self._code is None and self._killed and self._ended.is_set():
            return -signal.SIGKILL
        return self._code  # which Ray does not tell of one that ended otherwise

    def is_alive(self) -> bool:
        return not self._ended.is_set()

    def waits_for(self) -> str:
        if self._begun.is_set():
            return ""
        if (ray := connected()) is None:
            return ""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        missing = missing_resources(self._wanted, nodes, ray.available_resources())
        return f"Ray has not placed it: {missing or 'no node has taken it yet'}"

    def wait(self, timeout: float | None = None) -> bool:
        return self._ended.wait(timeout)

    def on_exit(self, callback: ExitCallback) -> None:
        self._exit_callbacks.add(callback)
        if self._ended.is_set():
            self._tell_exit()

    def _tell_exit(self) -> None:
        self._exit_callbacks.tell(self.exit_report())

    def exit_report(self) -> ExitReport:
        report = ExitReport(self.name, self._pid, self.exitcode, self._reason())
        if self._failure:
            return report._replace(error=unpack_error(self._failure))
        if self._why_dead is None or self._killed:
            return report
        said = _plain(str(self._why_dead))
        return report._replace(last_output=said, out_of_memory=_ran_out_of_memory(self._why_dead))

    def _reason(self) -> ExitReason:
        if self._failure:
            return "failed"
        if self._code == 0 or (self._code == -signal.SIGTERM and self._told_to_end):
            return "stopped"
        return "killed" if self._killed and self._code is None else "died"

    def stacks(self, seconds: float) -> NoReturn:
        raise RuntimeError(
            f"{self.name} does not answer: code that holds the interpreter keeps it from that, and "
            "from outside only Ray can look in: run `ray stack` on its node"
        )

    def terminate(self) -> None:
        if self.is_alive():
            self._told_to_end = True
            with contextlib.suppress(Exception):  # Ray's: it is just ending, which is told of
                self._host.unwind.remote()

    def kill(self) -> None:
        if self.is_alive():
            self._killed = True
            self._kill()

    def _kill(self) -> None:
        with contextlib.suppress(Exception):  # what is gone need not be killed
            if (ray := connected()) is not None:
                ray.kill(self._host)

    def release(self) -> None:
        self.data.close()
        self.control.close()
        self._kill()


def _plain(text: str) -> str:
    """Without what colours it in a terminal."""
    return re.sub("\x1b\\[[0-9;]*m", "", text)


def _ran_out_of_memory(why: BaseException) -> bool:
    return type(why).__name__ == "OutOfMemoryError" or "OOM" in str(why).split("Some common")[0]


class RayEngine:
    """Launches programs in Ray actors."""

    def launch(self, spec: LaunchSpec) -> RayInstance:
        ray = still_connected()  # since the address was made
        program: Any = spec.program
        _check(spec.engine_options or {})
        name = name_at(program.address)
        options = {
            "name": name,
            "namespace": NAMESPACE,
            "max_concurrency": THREADS,
            **(spec.engine_options or {}),
        }
        make = ray.remote(RayHost).options(**options)
        sent, take_in = program.told_apart()
        packed = _without_descriptors(sent, spec.main)
        return RayInstance(spec, _made(make, packed, spec.name, name), take_in)


def _made(make: Any, packed: Packed, name: str, ray_name: str) -> Any:
    """The Ray actor. Of one that has just ended Ray may still have the name."""
    deadline = time.monotonic() + NAME_SECONDS
    while True:
        try:
            return make.remote(packed, name, ray_name)
        except ValueError as exc:
            if "already taken" not in str(exc) or time.monotonic() > deadline:
                raise
            time.sleep(NAME_CHECK)


def _without_descriptors(program: Any, main: str) -> Packed:
    packed = pack(program, main, "ray")
    pickles = packed.pickles
    kept = pickles.payload, list(pickles.buffers), list(pickles.more)
    return Packed(*kept, packed.script, packed.imports, packed.filters)


def _check(options: Mapping[str, Any]) -> None:
    for name in options:
        if name in OURS:
            raise ValueError(f"engine_options[{name!r}] is not for you to say: {OURS[name]}")
