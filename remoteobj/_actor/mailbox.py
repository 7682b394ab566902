"""The actor's side of every call: take requests in, in order, evaluate them, reply.

One thread at a time runs requests, so the object needs no lock against them.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final

from .._protocol.chains import ActorId, CallChain, serving_threads, unwrap
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.lifecycle import Event
from .._protocol.messages import Bytes, Frame, Kind
from .._protocol.operations import evaluate
from ..errors import DeadlockError
from .clients import Client, OpenStream, error_frame
from .reception import CALLS
from .status import stack_here
from .turns import Turns

__all__ = ["Mailbox"]

LAST_WORDS = 5.0
"""Seconds that the peers have, at the end, to take in what was written for them."""

NOBODY = ActorId("", "")


class Mailbox(Turns):
    """The requests of all peers, run one at a time by whichever thread calls in here."""

    def __init__(
        self,
        root: Callable[[], Any],
        flush_later: Callable[[Client], None],
        report: Callable[[BaseException], None],
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        me: ActorId = NOBODY,
        reentrant: bool = True,
    ) -> None:
        super().__init__(root, flush_later, report, wire_options)
        self._me = me
        self._reentrant = reentrant
        self._turn = threading.RLock()
        self._depth = 0
        self._home: tuple[int, Callable[[], threading.Thread | None]] = NOWHERE
        """The thread that runs requests now and then, and is at something of its own else."""
        self.runner = 0
        """The thread that runs them, at the moment."""
        self.safe_point: Callable[[], None] = _nothing
        """Called where an exception may be raised in the thread that runs requests: none of what
        was read for it, or is to be written, would be lost."""

    # --- running requests --------------------------------------------------------------

    def serve(self, until: Callable[[], bool]) -> None:
        """Run requests until `until()` or the listener stops; `wake` makes it look."""
        with self._at_work():
            while not until() and not self.life.stopping:
                self._step(None)

    def process(
        self, deadline: float | None, limit: int = sys.maxsize, lasting: bool = False
    ) -> int:
        """Run what is there, waiting for the first until `deadline`; how much was run."""
        with self._at_work(lasting):
            done = self._step(deadline)
            while (self._pending or self._flowing) and 0 < done < limit:
                done += self._step(deadline)
        self.safe_point()
        return done

    @contextlib.contextmanager
    def _at_work(self, lasting: bool = False) -> Iterator[None]:
        """The time in which this thread runs requests, and calls that it makes say for whom.

        With `lasting` it remains the one that does: a work loop, that calls others meanwhile.
        """
        me = threading.get_ident()
        with self._turn:
            if me != self._home[0]:
                self._leave_home()
            before = serving_threads.get(me)
            self._depth += 1
            self.runner = me
            serving_threads[me] = self
            try:
                yield
            finally:
                self._depth -= 1
                if before is not None:
                    serving_threads[me] = before
                elif lasting:
                    self._home = (me, weakref.ref(threading.current_thread()))
                else:
                    serving_threads.pop(me, None)

    def _leave_home(self) -> None:
        """The thread that ran requests does so no more."""
        if serving_threads.get(self._home[0]) is self:
            del serving_threads[self._home[0]]
        self._home = NOWHERE

    @property
    def running(self) -> bool:
        """Whether this thread is within a request."""
        if self._turn.acquire(blocking=False):
            try:
                return self._depth > 0
            finally:
                self._turn.release()
        return False

    # --- calls that this actor itself waits for ------------------------------------------

    @property
    def chain(self) -> CallChain:
        """Those who wait for what is being run, or for the work loop; this actor last."""
        current = self.current
        if current is not None:
            return (*self.who_waits(*current[:2]), self._me)
        # The number of a thread that has ended may be another's now.
        return (self._me,) if self._home[1]() is threading.current_thread() else ()

    def waiters(self) -> CallChain:
        """Those who wait for what is being run, or is in the queues, each once; this actor last."""
        peers = [one for one in self._clients.values() if one.awaited or one.waiters]
        waiting = [(client, one) for client in peers for one in client.requests]
        waiting += self._being_run()
        links = dict.fromkeys(link for one in waiting for link in self.who_waits(*one))
        for client in peers:
            for call_id in client.streams:
                links.update(dict.fromkeys(client.waiters.get(call_id, ())))
        links.pop(self._me, None)
        return (*links, self._me)

    def wait_beside(self, watched: dict[int, int], deadline: float | None, target: str) -> bool:
        """Wait for these descriptors, in the midst of a request; see `ServingThread`."""
        goes_on = self._run_chained(target)
        ready = self.take_in_beside(watched, time.monotonic() if goes_on else deadline)
        if not ready:
            self._run_chained(target)
        self.safe_point()
        return ready

    def take_in_beside(self, watched: dict[int, int], deadline: float | None) -> bool:
        """Wait for these descriptors, and take in what comes meanwhile; see `ServingThread`."""
        self._read_from_hosts(True)
        for fd, events in watched.items():
            self._poller.register(fd, events)
        self._beside += 1
        try:
            ready = self._poller.wait(deadline)
            others = [one for one in ready if one[0] not in watched]
            self._collect(others)
        finally:
            self._beside -= 1
            for fd in watched:
                self._poller.unregister(fd)
            if not self._beside:
                self._read_from_hosts(False)
        return len(others) < len(ready)

    def _run_chained(self, target: str) -> bool:
        """Run, or refuse, the requests for which the actor waits that is waited for here, and a
        step of each such stream: else both would wait for ever. Whether a stream can go on."""
        for client in list(self._clients.values()):
            # What one of them does may change the queue, so it is looked through anew.
            while not client.owed and (request := self._due(client, target)) is not None:
                self._take_out(client, request)
                if self._reentrant:
                    self._run(client, request)
                else:
                    client.send(error_frame(request.call_id, self._deadlock(client, request)))
        for stream in list(self._flowing):
            if stream in self._flowing and self._is_due(stream, target):
                self._flowing.remove(stream)
                if self._reentrant:
                    self._advance(stream)
                else:
                    self._break_off(stream, self._deadlock(stream.client, stream.request))
        return any(self._is_due(one, target) for one in self._flowing)

    def _is_due(self, stream: OpenStream, target: str) -> bool:
        """Whether `target` waits for the next item, which is not being made already."""
        if self._is_running(stream.client, stream.call_id):
            return False
        # And does so on our behalf: else it is free to answer what it is waited for here, and the
        # step, on top of that, could need what comes of the answer.
        waits = self.who_waits(stream.client, stream.request)
        return self._me in waits and any(link.path == target for link in waits)

    def _due(self, client: Client, target: str) -> Frame | None:
        """A request of a peer that can't wait for its turn, since `target` waits for it; where it
        is to be run, the first that the same actor has sent, since those are run in order."""
        if not (client.awaited or client.waiters):
            return None  # as mostly, however long the queue is
        first: dict[ActorId | None, Frame] = {}
        for request in client.requests:
            chain = unwrap(request)[0]
            eldest = first.setdefault(chain[-1] if chain else None, request)
            if any(link.path == target for link in self.who_waits(client, request)):
                return eldest if self._reentrant else request
        return None

    def _deadlock(self, client: Client, request: Frame) -> DeadlockError:
        chain = self.who_waits(client, request)
        ring = [one.name for one in (*chain, self._me)]
        names = " → ".join(ring if self._me in chain else [self._me.name, *ring])
        return DeadlockError(
            f"this call would wait for itself: {names}; and {self._me.name} is not reentrant. "
            f"It waits here:\n{stack_here((evaluate.__code__,))}"
        )

    # --- ending ------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: the thread that serves finishes what it is at, then looks."""
        self.life.on(Event.STOP)
        self.wake()

    def close(self) -> None:
        self._leave_home()
        super().close()

    def drain(self, fulfil: bool, last_word: Bytes = b"") -> None:
        """Fulfil or refuse every request that has arrived, say goodbye, and close."""
        with self._turn:
            self._take_all_in()
            waiting = dict.fromkeys([*self._pending, *self._clients.values()])
            self._pending.clear()
            for client in waiting:
                while client.requests:
                    request = self._next_request(client)
                    if client.cut:
                        continue  # it could not be told what came of it
                    if fulfil:
                        self._run(client, request)
                    elif request.kind in CALLS:
                        client.send(Frame(Kind.REFUSED, request.call_id))
            end = time.monotonic() + LAST_WORDS
            for client in list(self._clients.values()):
                self._dismiss(client, last_word, end)
            self.life.on(Event.DRAINED)


def _nothing() -> None:
    pass


NOWHERE: Final[tuple[int, Callable[[], threading.Thread | None]]] = (0, _nothing)
