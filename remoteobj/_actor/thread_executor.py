"""The executor of an actor whose plain methods run in several threads at once.

Each of these is a `Worker`: it runs one request, or some items of one stream, at a time, by a
`SerialExecutor` of its own, and writes the reply itself. What is next, the mailbox says, in the
thread that serves. Imported only by actors that have such threads.
"""

from __future__ import annotations

import contextlib
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from queue import SimpleQueue
from typing import Any, Final

from .._fast_typing import Protocol
from .._os.poller import clock
from .._os.thread_unwind import raise_in_thread, take_back_from_thread
from .._os.wakeup import Wakeup
from .._protocol.chains import BlockedCall, CallChain, serving_threads
from .._protocol.messages import Frame, FrameParts, Kind
from .announcing import is_answered
from .clients import Client, StreamProducer
from .control import start, unblock
from .execution import Executor, Running
from .reentrancy import Reentrancy
from .replies import cut_off_frame

__all__ = ["ThreadExecutor", "Worker", "WorkerHost"]

BURST_SECONDS = 50e-6
"""How long a stream whose items come fast goes on before others have their turn."""

LONGEST: Final = 1e6
"""Seconds of one wait, at most."""


class WorkerHost(Protocol):
    """What the workers belong to."""

    def ended(
        self, worker: Worker, client: Client, stream: StreamProducer | None = None, items: int = 0
    ) -> None:
        """A worker has ended what it was given: of a stream, it has sent so many items. In its
        thread."""

    def at_home(self) -> AbstractContextManager[None]:
        """The time in which the calling thread is the object's home."""
        ...


class Worker:
    """A thread that runs what it is given, one thing at a time: the `ServingThread` of it."""

    def __init__(self, name: str, serial: Executor, rules: Reentrancy, host: WorkerHost) -> None:
        self.serial = serial
        self._rules = rules
        self._host = host
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._blocked: list[BlockedCall] = []
        self._wakeup = Wakeup()
        self._interruptions = threading.Lock()
        """Held while it is decided whether there is something to be interrupted."""
        self._interruptible = self._interrupted = False
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        start(self.thread)

    # --- from the thread that serves -------------------------------------------------------

    def run(self, client: Client, request: Frame) -> None:
        """Have it run a request, and write its reply."""
        self._jobs.put(lambda: self._answer(client, request))

    def advance(self, stream: StreamProducer) -> None:
        """Have it make some items of a stream, as far as its consumer has asked by now."""
        credit = stream.credit
        self._jobs.put(lambda: self._flow(stream, credit))

    def close_stream(self, stream: StreamProducer) -> None:
        """Have it close the iterator of a stream."""

        def close() -> None:
            self.serial.close(stream)
            self._host.ended(self, stream.client)

        self._jobs.put(close)

    def end(self) -> None:
        """Have it end, once it is at nothing."""
        self._jobs.put(None)

    def interrupt(self, error: BaseException | type[BaseException], running: Running) -> None:
        """Raise something in what it runs, if it is still this."""
        with self._interruptions:
            current = self.serial.current
            if self._interruptible and current is not None and current.request is running.request:
                self._interrupted = True
                raise_in_thread(self.thread, error)

    @property
    def all_running(self) -> list[Running]:
        """What it runs."""
        return [
            one._replace(
                thread=self.thread.ident or 0, interrupt=partial(self.interrupt, running=one)
            )
            for one in self.serial.all_running
        ]

    @property
    def blocked_call(self) -> BlockedCall | None:
        """The call of its own that it waits for."""
        return self._blocked[-1] if self._blocked else None

    # --- in its thread -----------------------------------------------------------------------

    def _work(self) -> None:
        unblock()
        serving_threads[threading.get_ident()] = self
        try:
            with self._host.at_home():
                while (job := self._jobs.get()) is not None:
                    job()
                    del job  # it may hold an answer, or the last reference to a client
        finally:
            serving_threads.pop(threading.get_ident(), None)
            self._wakeup.close()

    def _answer(self, client: Client, request: Frame) -> None:
        reply: FrameParts | None = None
        try:
            self._interruptible = True
            reply = self.serial.run(client, request)
        except BaseException:  # the process is to end, or an interruption came at the very end
            if request.kind == Kind.CALL:
                reply = reply or cut_off_frame(request.call_id)
        self._leave_users_code()
        if reply is not None:
            client.send(reply)
        is_answered(client, request)
        self._host.ended(self, client)

    def _flow(self, stream: StreamProducer, credit: int) -> None:
        serial, client, items = self.serial, stream.client, 0
        end = clock() + BURST_SECONDS
        outer = serial.begin(client, stream.request)
        while items < credit and stream.open and not client.unsent and clock() < end:
            frame = self._step(stream)
            if stream.open:
                client.send(frame)
                items += 1
                if frame.kind != Kind.ITEM:
                    stream.end()
                    break
        else:
            if not stream.open:  # it was given up meanwhile
                serial.close(stream)
        serial.end(outer)
        self._host.ended(self, client, stream, items)

    def _step(self, stream: StreamProducer) -> Frame:
        try:
            self._interruptible = True
            return self.serial.step(stream)
        except BaseException:  # as in `_answer`
            return cut_off_frame(stream.call_id)
        finally:
            self._leave_users_code()

    def _leave_users_code(self) -> None:
        """From here on nothing is interrupted: what was meant to be came too late."""
        while True:
            try:
                with self._interruptions:
                    self._interruptible = False
                    if self._interrupted:
                        self._interrupted = False
                        take_back_from_thread(self.thread)
                return
            except BaseException:  # it came just now
                continue

    # --- as `ServingThread`, to the calls that it makes -----------------------------------------

    def chain_of_call(self, token: int) -> CallChain:
        current = self.serial.current
        return self._rules.chain_of_call(None if current is None else current.request, token)

    def chain_of_cast(self) -> CallChain:
        return self._rules.chain_of_cast()

    @contextlib.contextmanager
    def blocked(self, call: BlockedCall) -> Iterator[None]:
        self._blocked.append(call)
        try:
            yield
        finally:
            self._blocked.remove(call)

    def send_own_probe(self, call: BlockedCall) -> None:
        self._rules.send_own_probe(call)

    def pass_probes_on(self) -> None:
        """The thread that serves does, when they come."""

    def wake(self) -> None:
        self._wakeup.set()

    def wait_serving(self, watched: dict[int, int], deadline: float | None) -> bool:
        # What it needs is begun in other threads.
        return self.wait_reading(watched, deadline)

    def wait_reading(self, watched: dict[int, int], deadline: float | None) -> bool:
        poll = select.poll()
        poll.register(self._wakeup.fileno(), select.POLLIN)
        for fd, events in watched.items():
            poll.register(fd, events)
        left = None
        if deadline is not None:
            left = min(max(0.0, deadline - time.monotonic()), LONGEST) * 1000
        ready = poll.poll(left)
        self._wakeup.clear()
        return any(fd in watched for fd, _ in ready)


class ThreadExecutor:
    """Hands what it is given to workers, as many as may be at work, or as are needed."""

    def __init__(self, limit: int, make_worker: Callable[[int], Worker]) -> None:
        self._limit = limit
        self._make_worker = make_worker
        self.workers: list[Worker] = []
        self._idle: deque[Worker] = deque()
        self._by_thread: dict[int, Worker] = {}

    # --- in the thread that serves -------------------------------------------------------

    def has_room(self) -> bool:
        """Whether one more may be begun."""
        return len(self.workers) - len(self._idle) < self._limit

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work."""
        return len(self._idle) == len(self.workers)

    def run(self, client: Client, request: Frame) -> None:
        """Have a request run by a worker, which writes the reply."""
        self._free_worker().run(client, request)

    def advance(self, stream: StreamProducer) -> None:
        """Have a worker make some items of a stream."""
        self._free_worker().advance(stream)

    def close(self, stream: StreamProducer) -> None:
        """Have the iterator closed of a stream that is not open any more."""
        self._free_worker().close_stream(stream)

    def _free_worker(self) -> Worker:
        """One that is at nothing; one more, where what is begun is needed by the others."""
        if self._idle:
            return self._idle.popleft()
        worker = self._make_worker(len(self.workers) + 1)
        self.workers.append(worker)
        self._by_thread[worker.thread.ident or 0] = worker
        return worker

    def begin(self, client: Client, request: Frame) -> object:
        """Nothing: a stream is driven by a worker."""
        return None

    def step(self, stream: StreamProducer) -> Frame:
        raise AssertionError("a stream is driven by a worker")

    def end(self, outer: Any) -> None:
        """Nothing, as with `begin`."""

    def give_up(self, client: Client, call_id: int) -> None:
        """It goes on: a thread is only interrupted if somebody asks for that."""

    def interrupt_all(self, kind: type[BaseException]) -> None:
        """Raise something in all that runs."""
        for worker in self.workers:
            if (running := worker.serial.current) is not None:
                worker.interrupt(kind, running)

    # --- from any thread -------------------------------------------------------------------

    def is_free(self, worker: Worker) -> None:
        """This worker is at nothing."""
        self._idle.append(worker)

    @property
    def current(self) -> Running | None:
        """What the asking thread runs; to another thread, the eldest of what runs."""
        worker = self._by_thread.get(threading.get_ident())
        if worker is not None:
            return worker.serial.current
        return min(self.all_running, key=lambda one: one.since, default=None)

    @property
    def all_running(self) -> list[Running]:
        """All that is begun and not over."""
        return [one for worker in list(self.workers) for one in worker.all_running]

    @property
    def done(self) -> int:
        """How many requests were run."""
        return sum(worker.serial.done for worker in list(self.workers))

    def is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        return self.runner_of(client, call_id) is not None

    def runner_of(self, client: Client, call_id: int) -> Worker | None:
        """The worker that runs a call, if one does."""
        running = (one for one in list(self.workers) if one.serial.is_running(client, call_id))
        return next(running, None)
