"""Where a listener is in its life: a table of what moves it from one state to the next."""

from __future__ import annotations

import enum
import threading

__all__ = ["Event", "Lifecycle", "State"]


class State(enum.Enum):
    """Where a listener is in its life."""

    STARTING = enum.auto()
    RUNNING = enum.auto()
    DRAINING = enum.auto()  # no new connections; what has arrived is fulfilled or refused
    STOPPED = enum.auto()


class Event(enum.Enum):
    """What moves a listener on."""

    READY = enum.auto()
    STOP = enum.auto()
    DRAINED = enum.auto()


_TRANSITIONS = {
    (State.STARTING, Event.READY): State.RUNNING,
    (State.STARTING, Event.STOP): State.DRAINING,
    (State.RUNNING, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.READY): State.DRAINING,  # told to stop while it was starting
    (State.DRAINING, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.DRAINED): State.STOPPED,
    (State.STOPPED, Event.STOP): State.STOPPED,
}


class Lifecycle:
    """The state of a listener, moved by events alone.

    >>> life = Lifecycle()
    >>> life.on(Event.READY)
    <State.RUNNING: 2>
    >>> life.on(Event.STOP)
    <State.DRAINING: 3>
    """

    def __init__(self) -> None:
        self.state = State.STARTING
        self.stopping = False
        self._lock = threading.RLock()  # a signal handler may come on top of its holder

    def on(self, event: Event) -> State:
        """Move on; the state after it.

        Raises:
            RuntimeError: this can't happen in this state.
        """
        with self._lock:
            try:
                self.state = _TRANSITIONS[self.state, event]
            except KeyError:
                raise RuntimeError(f"{event.name} can't happen while {self.state.name}") from None
            self.stopping = self.state in (State.DRAINING, State.STOPPED)
            return self.state
