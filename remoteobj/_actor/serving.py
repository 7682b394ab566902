"""The thread that runs an actor's requests, as the calls that these requests make see it.

Which thread that is may change: a background thread, the work loop whenever it asks for requests,
or whoever calls `process_requests`. While it is within a request, or in the work loop's own code, a
call of it says for whom it is made; and while such a call is blocked, the mailbox stays open for
what the call needs. This is the actor's half of `ServingThread` (`_protocol.chains`).
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from .._fast_typing import Protocol
from .._protocol.chains import BlockedCall, CallChain, serving_threads
from .client_set import ClientSet
from .execution import Executor
from .reentrancy import Reentrancy

__all__ = ["Serving"]


class OpenMailbox(Protocol):
    """The mailbox, as the thread sees it while a call is blocked."""

    clients: ClientSet
    safe_point: Callable[[], None]
    probes: list[Any]
    """Those that came since this was cleared."""

    def take_in(self, found: Any) -> None:
        """Hand on what was read."""

    def run_needed(self) -> bool:
        """Run what the blocked call needs; whether a stream can go on at once."""
        ...

    def pass_probes_on(self) -> None:
        """Deal with the probes; the call is still blocked."""

    def wake(self) -> None:
        """End the wait, from another thread."""


def _nobody() -> None:
    return None


_NOWHERE: Final[tuple[int, Callable[[], threading.Thread | None]]] = (0, _nobody)


class Serving:
    """Who runs the requests of one mailbox: one thread at a time."""

    def __init__(self, mailbox: OpenMailbox, executor: Executor, reentrancy: Reentrancy) -> None:
        self._mailbox = mailbox
        self.executor = executor
        self._reentrancy = reentrancy
        self._turn = threading.RLock()
        self.by_loop = False
        """Whether an event loop runs requests, so that code between them runs in it as well."""
        self.depth = 0
        """How many requests are being run within each other."""
        self.thread = 0
        """The thread that runs requests, at the moment, or did last."""
        self._home = _NOWHERE
        """The thread that runs requests now and then, and is at something of its own otherwise."""

    @contextlib.contextmanager
    def at_work(self, lasting: bool = False) -> Iterator[None]:
        """The time in which the calling thread runs requests, and its calls say for whom.

        With `lasting` it remains the one that does: a work loop, that calls others meanwhile.
        """
        me = threading.get_ident()
        with self._turn:
            if me != self._home[0]:
                self.leave_home()
            before = serving_threads.get(me)
            self.depth += 1
            self.thread = me
            serving_threads[me] = self
            try:
                yield
            finally:
                self.depth -= 1
                if before is not None:
                    serving_threads[me] = before
                elif lasting:
                    self._home = (me, weakref.ref(threading.current_thread()))
                else:
                    serving_threads.pop(me, None)

    def settle(self) -> None:
        """The calling thread is the one that runs requests, whenever it gets round to some."""
        with self.at_work(lasting=True):
            pass

    def leave_home(self) -> None:
        """The thread that ran requests does so no more."""
        if serving_threads.get(self._home[0]) is self:
            del serving_threads[self._home[0]]
        self._home = _NOWHERE

    @property
    def within_request(self) -> bool:
        """Whether the calling thread is within a request."""
        if self._turn.acquire(blocking=False):
            try:
                if self.by_loop:
                    return self.executor.current is not None
                return self.depth > 0
            finally:
                self._turn.release()
        return False

    # --- as `ServingThread` ----------------------------------------------------------------

    def chain_of_call(self, token: int) -> CallChain:
        current = self.executor.current
        request = None if current is None else current.request
        return self._reentrancy.chain_of_call(request, token) if self._is_at_home() else ()

    def chain_of_cast(self) -> CallChain:
        return self._reentrancy.chain_of_cast() if self._is_at_home() else ()

    def _is_at_home(self) -> bool:
        """Whether this thread is within a request, or is that of the work loop."""
        # The number of a thread that has ended may be another's now.
        is_home = self._home[1]() is threading.current_thread()
        return is_home or self.executor.current is not None

    def blocked(self, call: BlockedCall) -> AbstractContextManager[None]:
        return self._reentrancy.blocked(call)

    def send_own_probe(self, call: BlockedCall) -> None:
        self._reentrancy.send_own_probe(call)

    def wake(self) -> None:
        self._mailbox.wake()

    def wait_serving(self, watched: dict[int, int], deadline: float | None) -> bool:
        goes_on = self._mailbox.run_needed()
        # Who waits for whom may be another matter after what was run. They will be repeated.
        self._mailbox.probes.clear()
        ready = self.wait_reading(watched, time.monotonic() if goes_on else deadline)
        self._mailbox.safe_point()
        return ready

    def pass_probes_on(self) -> None:
        self._mailbox.pass_probes_on()

    def wait_reading(self, watched: dict[int, int], deadline: float | None) -> bool:
        clients = self._mailbox.clients
        ready, others = clients.wait_for(watched, deadline)
        self._mailbox.take_in(clients.read(others))
        return ready
