"""Records of `logging` that actors send, handled by their owner's handlers in a thread for that.

A handler is a user's code: it may wait for a lock, for a disk, or for another actor. So neither the
I/O thread runs it, nor whoever asks an actor something. The thread is there while actors live that
may send records, and sleeps in the kernel until one does.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from selectors import EVENT_READ, DefaultSelector
from typing import Final

from .._engines.log_forwarding import unpacked
from .._os.callback_errors import report_callback_error
from .._os.fork_safety import close_in_child, leave_to_parent
from .._os.wakeup import Wakeup
from .._protocol.messages import Frame
from .control_client import ControlClient

__all__ = ["LogIntake"]

LAST_SECONDS: Final = 1.0
"""How long the end of an actor waits for a handler that is at one of its records."""
RETRY: Final = 1e-3
"""Seconds after which the thread looks again at a channel that another thread reads just now."""


class LogIntake:
    """The records of one actor, handled in the order in which they were logged."""

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._arrived: deque[Frame] = deque()
        self._handling = threading.Lock()
        client.on_record = self._add
        self.fd = client.fileno()
        _reader.follow(self)

    def _add(self, record: Frame) -> None:
        """Called by whoever reads the channel."""
        self._arrived.append(record)
        _reader.has_records(self)

    def read(self) -> bool:
        """Take in what is there; False: another thread is at it."""
        return self._client.take_in()

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""
        return self._client.ended

    def handle_all(self) -> None:
        """Handle what has arrived. Called by the thread alone."""
        with self._handling:
            while self._arrived:
                _handle(self._arrived.popleft())

    def close(self) -> None:
        """The actor has ended: have the thread handle what it has left. A handler that hangs is not
        waited for."""
        self._client.take_in(wait=True)
        handled = not (self._arrived or self._handling.locked()) or _reader.handle_soon(self)
        _reader.forget(self, wait=handled)


def _handle(frame: Frame) -> None:
    """As if it had been logged here: by the levels, filters and handlers that there are now."""
    try:
        record = unpacked(frame.payload, frame.buffers)
        logger = logging.getLogger(record.name)
        if logger.isEnabledFor(record.levelno):
            logger.handle(record)
    except BaseException as exc:
        report_callback_error(exc)


class _Descriptor:
    """That of a selector, whose own `close` would look at all that is registered."""

    def __init__(self, number: int) -> None:
        self._number = number

    def close(self) -> None:
        os.close(self._number)


class _Reader:
    """Owns the thread, which starts and ends by itself.

    What it sleeps in takes account of a new actor at once (epoll and kqueue do), so that no start
    of an actor wakes it, and looks at none of the others.
    """

    def __init__(self) -> None:
        self._renew()
        os.register_at_fork(after_in_child=self._leave_to_parent)

    def _leave_to_parent(self) -> None:
        leave_to_parent((self._intakes, self._due, self._selector))
        self._renew()

    def _renew(self) -> None:
        """Begin anew: in a forked child the actors are the parent's."""
        self._lock = threading.Lock()
        self._intakes: dict[int, LogIntake] = {}
        self._due: deque[tuple[LogIntake, threading.Event | None]] = deque()
        """Those that have got records, and what tells that these have been handled."""
        self._selector: DefaultSelector | None = None
        self._inherited: _Descriptor | None = None
        self._wakeup: Wakeup | None = None
        self._thread: threading.Thread | None = None

    def follow(self, intake: LogIntake) -> None:
        """Read what this one gets, until it is forgotten or has ended."""
        with self._lock:
            if self._selector is None:
                self._start()
            assert self._selector is not None
            if intake.fd in self._intakes:  # it was closed, and is another's now
                self._selector.unregister(intake.fd)
            self._intakes[intake.fd] = intake
            self._selector.register(intake.fd, EVENT_READ, intake)

    def _start(self) -> None:
        selector, wakeup = DefaultSelector(), Wakeup()
        self._inherited = close_in_child(_Descriptor(selector.fileno()))
        selector.register(wakeup.fileno(), EVENT_READ)
        self._selector, self._wakeup = selector, wakeup
        self._thread = threading.Thread(
            target=self._run, args=(selector, wakeup), name="remoteobj-logs", daemon=True
        )
        self._thread.start()

    def forget(self, intake: LogIntake, wait: bool = False) -> None:
        """Its descriptor is about to be closed. With the last one the thread ends, for which this
        may `wait`."""
        with self._lock:
            if self._selector is not None and self._intakes.get(intake.fd) is intake:
                del self._intakes[intake.fd]
                self._selector.unregister(intake.fd)
            thread = None if self._intakes else self._thread
        if thread is not None and thread is not threading.current_thread():
            self._wake()
            if wait:
                thread.join(LAST_SECONDS)

    def has_records(self, intake: LogIntake, handled: threading.Event | None = None) -> None:
        """Have the thread handle what this one has got."""
        with self._lock:
            self._due.append((intake, handled))
            if self._selector is None:
                self._start()
        if threading.current_thread() is not self._thread:
            self._wake()

    def handle_soon(self, intake: LogIntake) -> bool:
        """The same, at the end of an actor; whether it has been done in time. It has not where this
        is called by a handler, which is in the thread itself: that goes on when it returns."""
        handled = threading.Event()
        self.has_records(intake, handled)
        return threading.current_thread() is not self._thread and handled.wait(LAST_SECONDS)

    def _wake(self) -> None:
        with self._lock:
            if self._wakeup is not None:
                self._wakeup.set()

    def _run(self, selector: DefaultSelector, wakeup: Wakeup) -> None:
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    wakeup.clear()
                else:
                    self._tend(key.data)
            while self._due:
                intake, handled = self._due.popleft()
                intake.handle_all()
                if handled is not None:
                    handled.set()
            with self._lock:
                if not (self._intakes or self._due):
                    self._selector = self._wakeup = self._inherited = None
                    selector.close()
                    wakeup.close()
                    return

    def _tend(self, intake: LogIntake) -> None:
        if not intake.read():  # whoever is at it hands on what he reads
            time.sleep(RETRY)
        intake.handle_all()
        if intake.ended:
            self.forget(intake)


_reader = _Reader()
