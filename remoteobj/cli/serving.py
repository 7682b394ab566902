"""`remoteobj serve`: an actor in the foreground, until a signal ends it in order.

::

    main thread      events: ready | error | a signal | a death | the end
    ready threads    one for each of its processes: waits for the `__init__` there, and says so
"""

from __future__ import annotations

import argparse
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from .. import Handle
from .._fast_typing import NamedTuple
from ..errors import ExitReport
from .streams import complain
from .targets import Target, TargetError
from .text import shown
from .tracebacks import print_theirs

__all__ = ["serve"]

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end it in order."""
READY_CHECK: Final = 0.01
"""Seconds between two looks whether it is known yet that the process has ended that was ready."""


class _Ready(NamedTuple):
    """The event that its `__init__` has finished."""

    restarts: int
    """How often it had been started again by then."""


class _Died(NamedTuple):
    """The event that one of its processes has ended, which another one may follow."""

    report: ExitReport


Event = _Ready | _Died | BaseException | signal.Signals | ExitReport


def serve(asked: argparse.Namespace) -> int:
    """Serve it until it ends."""
    try:
        target = Target.of(asked)
    except TargetError:
        raise
    except Exception as exc:  # of the module's own code
        print_theirs(exc)
        return 1
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    with _told_to_end(events.put):
        return _Service(target.spawn(), target.restarts, events).run()


class _Service:
    """One actor, from its start to its end."""

    def __init__(
        self, handle: Handle[Any], restarts: bool, events: queue.SimpleQueue[Event]
    ) -> None:
        self._handle = handle
        self._restarts = restarts
        self._events = events
        self._name = shown(handle.name_)
        self._waiting: list[threading.Thread] = []
        self._deaths = 0
        self._last_death: int | None = None
        """The process that has ended last, of which that was told."""
        self._ready_after = -1
        """After how many restarts it was ready last."""

    def run(self) -> int:
        """Do what each event asks for, until it has ended; the exit code."""
        handle, events = self._handle, self._events
        self._tell_when_ready()
        try:
            if self._restarts:
                handle.on_exit_(lambda report: events.put(_Died(report)))
            handle.exited_.add_done_callback(lambda future: events.put(future.result()))
            while (code := self._attend(events.get())) is None:
                pass
            return code
        except KeyboardInterrupt:
            handle.kill_()
            raise
        finally:
            handle.stop_()
            for one in self._waiting:
                one.join()  # it waits no longer, since the actor has ended

    def _attend(self, event: Event) -> int | None:
        """Do what an event asks for; the exit code, if that is the end."""
        name, handle = self._name, self._handle
        if isinstance(event, _Ready):
            self._say_ready(event.restarts)
        elif isinstance(event, signal.Signals):
            print(f"{name} is told to stop, by {event.name}; Ctrl-C kills it", flush=True)
            handle.stop_()
            return _outcome(handle)
        elif isinstance(event, _Died):
            self._deaths += 1
            self._last_death = event.report.pid
            _tell(event.report)
            self._tell_when_ready()
        elif isinstance(event, ExitReport):
            code = _outcome(handle)
            if event.reason == "stopped":
                return code
            if code == 0 and event.pid != self._last_death:
                _tell(event)
            return 1
        else:
            print_theirs(event)
            return 1
        return None

    def _say_ready(self, restarts: int) -> None:
        if restarts > self._ready_after:
            self._ready_after = restarts
            again = " again" if restarts else ""
            pid = self._handle.pid_
            print(f"{self._name} is ready{again} (pid {pid}); Ctrl-C stops it", flush=True)

    def _tell_when_ready(self) -> None:
        """Have it told once its `__init__` has finished that follows the deaths up to now."""
        arguments = (self._handle, self._events.put, self._deaths)
        waits = threading.Thread(
            target=_wait_until_ready, args=arguments, name="remoteobj-serve-ready", daemon=True
        )
        waits.start()
        self._waiting.append(waits)


def _tell(report: ExitReport) -> None:
    if report.reason != "stopped":
        complain(shown(str(report)))


def _outcome(handle: Handle[Any]) -> int:
    """The exit code of one that has ended; what went wrong beside its calls is shown."""
    try:
        handle.stop_()
        handle.exc_.raise_any()
    except Exception as exc:
        print_theirs(exc)
        return 1
    return 0


def _wait_until_ready(handle: Handle[Any], tell: Callable[[Event], object], deaths: int) -> None:
    try:
        handle.ready_()
        while handle.restarts_ < deaths:
            time.sleep(READY_CHECK)
            handle.ready_()
    except BaseException as exc:
        if deaths == 0:  # else its death, or its end, is an event as well
            tell(exc)
    else:
        tell(_Ready(handle.restarts_))


@contextmanager
def _told_to_end(tell: Callable[[signal.Signals], object]) -> Iterator[None]:
    """Be told of the signals that end a program, which then do not end this one."""

    told: list[int] = []

    def handler(number: int, _: FrameType | None) -> None:
        if told and number == signal.SIGINT:
            raise KeyboardInterrupt  # whoever presses it again has waited long enough
        told.append(number)
        tell(signal.Signals(number))

    # Under `nohup` it is not for us that a terminal is closed.
    lasting = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    former = {
        one: signal.signal(one, handler) for one in ENDING if not (lasting and one == signal.SIGHUP)
    }
    try:
        yield
    finally:
        for one, what in former.items():
            signal.signal(one, what)
