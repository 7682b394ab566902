"""What drives the mailbox of an actor whose plain methods run in several threads.

::

    clients ──> thread that serves: takes in, decides who is next ──> workers ──reply──> client
                        ^                                                │
                        └────────────── is free again ───────────────────┘

The thread that serves runs no code of the user's, so that it is always there to take in. What a
worker waits for in an actor that calls back is begun although there is no room, in one thread more.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Container
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from .._fast_typing import NamedTuple
from .._os.thread_unwind import ThreadUnwind
from .._protocol.messages import Bytes, Frame
from .admission import Admission
from .clients import Client, StreamProducer
from .execution import BesideOthers, Executor, ExecutorMaker, SerialExecutor
from .goodbye import end_streams
from .mailbox import Mailbox
from .thread_executor import ThreadExecutor, Worker

if TYPE_CHECKING:
    from .actor_server import ActorServer

__all__ = ["ThreadRunner", "of_server"]


def of_server(
    server: ActorServer, limit: int, at_home: Callable[[], AbstractContextManager[None]]
) -> ThreadRunner:
    """What drives the requests of a server by so many threads, from now on."""
    runner = ThreadRunner(server.mailbox, at_home)
    recorder = server.link.recorder

    def make_one_of_many(
        root: Callable[[], Any], report: Callable[[BaseException], None]
    ) -> SerialExecutor:
        return SerialExecutor(root, report, recorder and BesideOthers(recorder))

    make_serial: ExecutorMaker = make_one_of_many
    if server.recording is not None:
        make_serial = server.recording.around(make_serial)
    if server.state_keeper is not None:
        make_serial = server.state_keeper.around(make_serial)

    def make_worker(number: int) -> Worker:
        serial = make_serial(lambda: server.root, server.report)
        name = f"remoteobj-worker-{server.actor_id.name}-{number}"
        return Worker(name, serial, server.mailbox.reentrancy, runner)

    runner.run_by(ThreadExecutor(limit, make_worker), lambda: server.drops_request)
    return runner


class ThreadRunner:
    """Runs the requests of one mailbox in the threads of a `ThreadExecutor`.

    Args:
        at_home: the time in which a thread is the object's home.
    """

    in_serving_thread: Executor | None = None

    def __init__(
        self, mailbox: Mailbox, at_home: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self.at_home = at_home
        self._mailbox = mailbox
        self._clients = mailbox.clients
        self._executor: ThreadExecutor
        self._admission: Admission
        self._ended: deque[Ended] = deque()
        """What workers have ended, and the thread that serves has not seen to."""
        self._advanced: set[StreamProducer] = set()
        """The streams that workers are at."""

    def run_by(self, executor: ThreadExecutor, drops: Callable[[], bool]) -> None:
        """Begin requests by this executor from now on.

        Args:
            drops: as for `Admission`.
        """
        self._executor = executor
        self._admission = Admission(self._mailbox, executor, self._advance, drops)
        self._mailbox.run_by(executor)
        self._mailbox.hear_probe = self._hear_probe

    # --- for the server ------------------------------------------------------------------

    def serve(self, until: Callable[[], bool]) -> None:
        """Run requests until `until()` or the listener stops; `wake` makes it look."""
        lifecycle = self._mailbox.lifecycle
        with self._mailbox.serving.at_work():
            self._run_until(lambda: until() or lifecycle.stopping)

    def process(
        self, deadline: float | None, limit: int = sys.maxsize, lasting: bool = False
    ) -> int:
        """Begin what is there, waiting for the first until `deadline`; how much was begun."""
        admission, before = self._admission, self._admission.count

        def is_enough() -> bool:
            done = admission.count - before
            if done >= limit or self._mailbox.lifecycle.stopping:
                return True
            return done > 0 and not (admission.has_turns and self._executor.has_room())

        with self._mailbox.serving.at_work(lasting):
            self._run_until(is_enough, deadline)
        return admission.count - before

    def drain(self, fulfil: bool, last_word: Bytes = b"") -> None:
        """Fulfil or refuse all that has arrived, let what is begun come to its end, say goodbye."""
        executor, admission = self._executor, self._admission
        with self._mailbox.serving.at_work():
            admission.close(fulfil)
            if admission.drops():
                executor.interrupt_all(ThreadUnwind)
            self._run_until(lambda: executor.is_idle and not admission.last, admission.patience())
            for client in self._clients:
                end_streams(client, executor)
            self._run_until(lambda: executor.is_idle, admission.patience())
            admission.say_goodbye(last_word)
        for worker in executor.workers:
            worker.end()

    def give_up(self, client: Client | None, call_ids: Container[int] | None) -> None:
        """Nobody waits any more for these calls of a client, or for any: what runs of them is
        interrupted. From any thread."""
        for worker in list(self._executor.workers):
            running = worker.serial.current
            if running is None or running.client is not client:
                continue
            if call_ids is None or running.request.call_id in call_ids:
                worker.interrupt(KeyboardInterrupt, running)

    def _run_until(self, is_over: Callable[[], bool], deadline: float | None = None) -> None:
        mailbox, clients = self._mailbox, self._clients
        while True:
            self._see_to_ended()
            self._admission.begin(is_over)
            if is_over() or (deadline is not None and time.monotonic() >= deadline):
                return
            at_once = self._admission.has_turns and self._executor.has_room()
            ready = clients.ready() if at_once else clients.wait(deadline)
            mailbox.take_in(clients.read(ready))

    def _see_to_ended(self) -> None:
        while self._ended:
            client, stream, items = self._ended.popleft()
            if stream is not None:
                self._advanced.discard(stream)
                stream.credit -= items
                if stream.open and not client.unsent:
                    self._mailbox.schedule.flow(stream)
            self._mailbox.line_up(client)

    def _advance(self, stream: StreamProducer) -> None:
        if stream.open and not stream.client.unsent and stream not in self._advanced:
            self._advanced.add(stream)
            self._executor.advance(stream)

    def _hear_probe(self, client: Client, probe: Frame) -> None:
        """A probe along a call that a worker runs goes on along the call which that waits for."""
        worker = self._executor.runner_of(client, probe.call_id)
        if worker is not None and (call := worker.blocked_call) is not None:
            self._mailbox.reentrancy.pass_on(bytes(probe.payload), call)
            worker.wake()

    # --- as `WorkerHost` -------------------------------------------------------------------

    def ended(
        self, worker: Worker, client: Client, stream: StreamProducer | None = None, items: int = 0
    ) -> None:
        self._ended.append(Ended(client, stream, items))
        self._executor.is_free(worker)
        self._mailbox.wake()


class Ended(NamedTuple):
    """Something that a worker has ended."""

    client: Client
    stream: StreamProducer | None
    items: int
    """How many items of the stream it has sent."""
