"""The birth of an actor, as its owner waits for it: from its start to the end of its `__init__`.

::

    start ──> VALUE   it is born, and says of what class, with which names of ours
          ├─> ERROR   its `__init__` raised           ┐
          ├─> death   its process ended before that   ├ what `spawn` raises ends the connection
          └─> time    `spawn_timeout` has passed      ┘

Calls may be made before the birth: they lie in the connection until the actor gets to them. Since a
birth that fails ends the connection, each of them ends with what `spawn` would have raised, and so
does each that is made later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from ._caller.answers import decode_answer
from ._caller.connection import Connection
from ._engines.kinds import engine_kind
from ._listing import Listing
from ._options import Options
from ._os.io_thread import Timer, reactor
from ._pickling.exceptions import for_caller, unpack_error
from ._protocol.calls import ErrorFactory, PendingCall
from ._protocol.messages import Kind
from ._wire.registry import transport_of
from ._wire.transport import Address
from .errors import SpawnTimeoutError

__all__ = ["Birth"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

DOOR_CHECK = 0.01
"""Seconds between two attempts to call an actor that has just been started, where nothing tells."""


class Birth:
    """Whether an actor is born, and why not.

    Args:
        started: when its start began, by `time.monotonic()`.
        lost: makes the error of its death.
        told: called when somebody is given the error of a birth that failed.
        waits_for: what the engine knows that it still waits for, if it has not begun; or "".
    """

    _connection: Connection
    _call: PendingCall

    def __init__(
        self,
        name: str,
        options: Options,
        started: float,
        lost: ErrorFactory,
        told: Callable[[], object],
        waits_for: Callable[[], str],
    ) -> None:
        self._name = name
        self._options = options
        timeout = options.spawn_timeout
        self._deadline = None if timeout is None else started + timeout
        self._why = lost
        self._told = told
        self._waits_for = waits_for
        self._untold = True
        self._timer: Timer | None = None
        self._about: tuple[Collection[str], str] | None = None

    def expect_by(self, connection: Connection, listing: Listing) -> None:
        """This is the connection by which the actor will say that it is born, which others are then
        to find in its listing."""
        self._connection = connection
        self._listing = listing
        self._call = connection.init_call
        self._call.on_ready = self._known

    @property
    def over(self) -> bool:
        """Whether it is known how it went."""
        return self._call.over

    def seems_over(self) -> bool:
        """The same, by what has arrived up to now, of which nobody may have taken notice."""
        if not self.over:
            self._connection.poll()
        return self.over

    @property
    def failed(self) -> bool:
        """Whether it is known that it will not be born."""
        return self._call.failure is not None

    @property
    def late(self) -> bool:
        """Whether it failed since its time was up."""
        return self.failed and not self.ends_by_itself and self.time_left == 0.0

    @property
    def ends_by_itself(self) -> bool:
        """Whether the actor has said that it is not born: its program ends then."""
        return self.failed and self._call.first is not None

    @property
    def time_left(self) -> float | None:
        """Seconds until it must be born; None: there is no limit."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    # --- waiting -------------------------------------------------------------------------

    def wait(self, deadline: float | None = None) -> bool:
        """Wait until it is known how it went; False when `deadline` passed first."""
        limits = [one for one in (deadline, self._deadline) if one is not None]
        if self._connection.wait(self._call, min(limits, default=None)):
            return True
        self._end_if_late()
        return self.over

    def check(self) -> None:
        """Raise what `spawn` raises, if it has failed."""
        if self._call.failure is not None:
            raise self._call.failure()

    def taken_names(self) -> Collection[str]:
        """Those of `OF_SERVING` that the object has; only for one that is born."""
        return self._told_of_object()[0]

    def class_name(self) -> str | None:
        """What the object's class is called over there, once that is known."""
        return self._told_of_object()[1] if self.over and not self.failed else None

    def _told_of_object(self) -> tuple[Collection[str], str]:
        about = self._about
        if about is None:
            assert self._call.first is not None
            about = self._about = decode_answer(self._call.first)
        return about

    def keep_time(self, destroy: Callable[[], object]) -> None:
        """See to it that it fails when its time is up, although nobody may wait for it then;
        `destroy` ends the actor."""
        if self._deadline is None or self.over:
            return

        def expire() -> None:
            self._connection.poll()
            self._end_if_late()
            if self.failed:
                destroy()

        def late() -> None:
            # To end a process takes time, in which the I/O thread must go on.
            name = f"remoteobj-late-{self._name}"
            threading.Thread(target=expire, name=name, daemon=True).start()

        self._timer = reactor.call_at(self._deadline, late)
        if self.over:  # known since, by another thread
            self._timer.cancel()

    def give_up(self, why: BaseException) -> None:
        """Have it fail, unless it is over."""
        self._fail(lambda _: why)

    def look_for_door(self, address: Address, alive: Callable[[], bool]) -> None:
        """Wait until it can be called at this address, or has ended: in a forked copy of the owner,
        which is told nothing of its birth."""
        while not self.over and alive():
            try:
                transport_of(address).connect(address).close()
                return
            except OSError:
                if self.time_left == 0.0:
                    return
                time.sleep(DOOR_CHECK)

    def close(self) -> None:
        """The actor has ended."""
        if self._timer is not None:
            self._timer.cancel()

    # --- failing -------------------------------------------------------------------------

    def error(self, maybe_executed: bool) -> BaseException:
        """The error of whoever it leaves without an answer, who is given it: of a birth that
        failed, and later of the actor's death."""
        if self.failed or not self.over:
            self._untold = False
            self._told()
        return self._why(maybe_executed)

    def untold_error(self) -> BaseException | None:
        """The error of a birth that failed, if nobody was given it."""
        return self._why(True) if self.failed and self._untold else None

    def _known(self, call: PendingCall) -> None:
        """How it went is known. This is called within a read."""
        frame = call.first
        if frame is None:  # if it is late, the timer is to end it, whoever has seen that first
            return
        self.close()
        if frame.kind == Kind.VALUE:
            self._listing.born(self._told_of_object()[1])
        elif frame.kind == Kind.ERROR:
            packed = bytes(frame.payload)
            self._why = lambda _: for_caller(unpack_error(packed))
            self._connection.end(self.error)

    def _end_if_late(self) -> None:
        if self.time_left == 0.0:
            self._fail(self._late_error)

    def _fail(self, why: ErrorFactory) -> None:
        if not self.over:
            self._why = why
            self._connection.end(self.error)

    def _late_error(self, _: bool) -> BaseException:
        how = "killed" if engine_kind(self._options.engine).has_process else "told to stop"
        more_time = "give options(spawn_timeout=...) more, or do less in __init__"
        remedy = self._waits_for() or more_time
        return SpawnTimeoutError(
            f"{self._name} was not ready after {self._options.spawn_timeout} s and was {how}; "
            f"{remedy}"
        )
