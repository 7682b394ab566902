"""What drives the mailbox of an actor that has an event loop.

::

    a client's descriptor is readable ──> take in ──> begin what there is room for ─┐
            ^                                                                       │
            └── event loop <── a coroutine awaits, or is over and its reply written ┘

The loop runs in the thread that serves, for as long as that serves: in between it stands still, and
goes on where it was. Requests are taken in whatever runs, so that who gives one up is heard. One is
begun when it is its turn and there is room; or at once, where a call of this actor's waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import sys
import time
from collections.abc import Awaitable, Callable, Container, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from .._os.spin_selector import SpinLoop
from .._protocol.lifecycle import State
from .._protocol.messages import Bytes, FrameParts
from .admission import DROP_SECONDS, Admission
from .async_streams import AsyncStreamProducer
from .awaitables import finish
from .clients import Client, StreamProducer
from .execution import Executor, SerialExecutor
from .goodbye import end_streams
from .loop_executor import LoopExecutor
from .mailbox import REQUESTS, Mailbox

if TYPE_CHECKING:
    from .actor_server import ActorServer

__all__ = ["LoopRunner", "of_server"]

T = TypeVar("T")

_RUNNING = State.RUNNING  # a bare name: see `execution`


def of_server(server: ActorServer, kind: str, limit: int) -> LoopRunner:
    """What drives the requests of a server by an event loop of its own, from now on."""
    loop: asyncio.AbstractEventLoop
    if kind == "uvloop":
        import uvloop  # at start-up only where it is asked for

        loop = uvloop.new_event_loop()
    else:
        loop = SpinLoop(server.wire_options.spin)
    runner = LoopRunner(server.mailbox, loop)

    def root() -> object:
        return server.root

    serial = SerialExecutor(root, server.report, server.link.recorder)
    executor = LoopExecutor(loop, serial, limit, runner, root, server.report)
    runner.run_by(executor, lambda: server.drops_request)
    recorded = executor if server.recording is None else server.recording.guard(executor)
    keeper = server.state_keeper
    guarded = recorded if keeper is None else keeper.guard(recorded, root, server.report)
    if guarded is not executor:
        server.mailbox.run_by(guarded)
    return runner


class LoopRunner:
    """Runs the requests of one mailbox on one event loop."""

    def __init__(self, mailbox: Mailbox, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._spin_loop = loop if isinstance(loop, SpinLoop) else None
        self._mailbox = mailbox
        self._clients = mailbox.clients
        self._lifecycle = mailbox.lifecycle
        self._schedule = mailbox.schedule
        self._turns, self._flowing = mailbox.schedule.turns, mailbox.schedule.streams
        self.reentrancy = mailbox.reentrancy
        self._executor: LoopExecutor
        self._admission: Admission
        self._is_over: Callable[[], bool] = lambda: True
        self._counts = False
        """Whether it may be over by what was begun alone; else whoever makes it so asks for a look.
        """
        self._unwinding: BaseException | None = None
        self._will_look = False
        self._own: asyncio.Task[Any] | None = None
        """What `finish` runs: the work loop, say."""
        self._error: BaseException | None = None
        """By which that is to end, rather than as one that is cancelled."""
        asyncio.set_event_loop(loop)

    def run_by(self, executor: LoopExecutor, drops: Callable[[], bool]) -> None:
        """Begin requests by this executor from now on.

        Args:
            drops: as for `Admission`.
        """
        self._executor = executor
        self.in_serving_thread: Executor | None = executor.serial
        self._admission = Admission(self._mailbox, executor, self._advance, drops)
        self._mailbox.run_by(executor)
        self._mailbox.serving.by_loop = True
        loop, urgent = self.loop, self._spin_loop
        if urgent is not None:
            self._clients.watched_by(lambda fd: urgent.attend(fd, self._read_at_once), urgent.leave)
        else:
            self._clients.watched_by(
                lambda fd: loop.add_reader(fd, self._read, fd), loop.remove_reader
            )

    # --- for the server ------------------------------------------------------------------

    def serve(self, until: Callable[[], bool]) -> None:
        """Run requests until `until()` or the listener stops; `wake` makes it look."""
        with self._mailbox.serving.at_work(lasting=True):
            self._run_until(lambda: until() or self._lifecycle.stopping)

    def process(
        self, deadline: float | None, limit: int = sys.maxsize, lasting: bool = False
    ) -> int:
        """Begin what is there, waiting for the first until `deadline`; how much was begun. What is
        awaited goes on for as long as that takes.

        Raises:
            RuntimeError: this is called within the loop.
        """
        if self.loop.is_running():
            raise RuntimeError(
                "the event loop of this actor runs calls by itself, whenever its code awaits: "
                "await something in place of asking for calls, and pace a loop by `async for`"
            )
        admission = self._admission
        before = admission.count

        def is_enough() -> bool:
            done = admission.count - before
            if done >= limit or self._lifecycle.stopping:
                return True
            if self._schedule and self._executor.has_room():
                return False
            return done > 0 or (deadline is not None and time.monotonic() >= deadline)

        with self._mailbox.serving.at_work(lasting):
            self._run_until(is_enough, deadline, counts=True)
        return admission.count - before

    def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine of the actor's own to its end, and requests meanwhile.

        Raises:
            BaseException: what it raises.
        """
        with self._mailbox.serving.at_work(lasting=True):
            task = self._own = self.loop.create_task(_outcome_of(finish(coroutine)))
            task.add_done_callback(lambda _: self._look_soon())
            try:
                self._run_until(task.done)
            except BaseException:
                task.cancel()  # it is left by what ends the process
                raise
            finally:
                self._own = None
        outcome: list[T] | BaseException = task.result()
        error, self._error = self._error, None
        if error is not None and isinstance(outcome, asyncio.CancelledError):
            raise error from outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome[0]

    # ... which, as an `Interruptible`,

    def runs(self) -> bool:
        """Whether its code runs, and not that of a request, if users' code runs at all."""
        return self._own is not None and self._executor.current is None

    def is_open(self) -> bool:
        """Whether it has not come to its end."""
        return self._own is not None

    def interrupt(self, error: BaseException) -> None:
        """Have it end by an error at what it awaits."""
        if self._own is not None:
            self._error = error
            self._own.cancel()

    def call(self, func: Callable[[], T]) -> T:
        """Call something within the loop."""

        async def within() -> T:
            return func()

        return self.finish(within())

    def begin(self, awaitable: Awaitable[T]) -> Future[T]:
        """Have something awaited in the loop, which the object's own code has begun by itself. From
        any thread."""
        return asyncio.run_coroutine_threadsafe(finish(awaitable), self.loop)

    def drain(self, fulfil: bool, last_word: Bytes = b"") -> None:
        """Fulfil or refuse all that has arrived, let what is begun come to its end, say goodbye."""
        executor, admission = self._executor, self._admission
        with self._mailbox.serving.at_work():
            admission.close(fulfil)
            if admission.drops():
                executor.dropping = True
                executor.cancel_all()
            self._run_until(
                lambda: executor.awaits_none and not admission.last, admission.patience()
            )
            for client in self._clients:
                end_streams(client, executor)
            self._run_until(lambda: not executor.has_streams, admission.patience())
            admission.say_goodbye(last_word)

    def give_up(self, client: Client | None, call_ids: Container[int] | None) -> None:
        """Nobody waits any more for these calls of a client, or for any. From any thread."""
        for running in self._executor.all_running:
            call_id = running.request.call_id
            if running.client is client and (call_ids is None or call_id in call_ids):
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self.loop.call_soon_threadsafe(self._executor.give_up, running.client, call_id)

    def close(self) -> None:
        """End what the object has left running in the loop, and the loop."""
        others = asyncio.all_tasks(self.loop)
        for task in others:
            task.cancel()
        deadline = time.monotonic() + DROP_SECONDS
        self._run_until(lambda: all(task.done() for task in others), deadline)
        for end in (self.loop.shutdown_asyncgens, self.loop.shutdown_default_executor):
            task = self.loop.create_task(end())
            self._run_until(task.done, deadline)
        asyncio.set_event_loop(None)
        self.loop.close()

    # --- in the loop -----------------------------------------------------------------------

    def _run_until(
        self, is_over: Callable[[], bool], deadline: float | None = None, counts: bool = False
    ) -> None:
        """Run the loop until this is so, or until `deadline`."""
        in_time = True

        def time_is_up() -> None:
            nonlocal in_time
            in_time = False
            self._look_soon()

        before = self._is_over, self._counts
        self._is_over, self._counts = lambda: is_over() or not in_time, counts
        timer = None
        if deadline is not None:
            timer = self.loop.call_later(max(0.0, deadline - time.monotonic()), time_is_up)
        try:
            self._look_soon()
            self.loop.run_forever()
            while not (self._unwinding or self._is_over()):  # that was a stop from before
                self.loop.run_forever()
        finally:
            self._is_over, self._counts = before
            if timer is not None:
                timer.cancel()
        if self._unwinding is not None:
            exc, self._unwinding = self._unwinding, None
            raise exc

    def _read(self, fd: int) -> None:
        """A client has sent something, or the mailbox is to look up."""
        try:
            self._mailbox.take_in(self._clients.read([(fd, select.POLLIN)]))
        except BaseException as exc:
            self.unwind(exc)
        self._look()

    def _read_at_once(self, fd: int) -> bool:
        """The same, within the wait of the loop; whether that is to go on waiting."""
        loop = self._spin_loop
        assert loop is not None
        loop.asked = False
        found = self._clients.read([(fd, select.POLLIN)])
        waits = self._turns or self._flowing or self._clients.woken
        is_open = self._lifecycle.state is _RUNNING
        if len(found) == 1 and is_open and not waits and self._executor.has_room():
            client, frames = found[0]
            # One request and nothing else to do, as it mostly is: it is spared the queues.
            if frames and len(frames) == 1 and frames[0][0] in REQUESTS:
                if frames[0][4]:
                    client.has_actors = True
                self._will_look = True  # what ends meanwhile need not ask for it
                self._admission.run(client, frames[0])
                self._will_look = False
                if self._turns or self._flowing or (self._counts and self._is_over()):
                    self._look()
                return not loop.asked
        self._mailbox.take_in(found)
        self._look()
        return not loop.asked

    def _look_soon(self) -> None:
        if not self._will_look:
            self._will_look = True
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        """Begin what there is room for; leave the loop if it is over."""
        self._will_look = True  # what ends meanwhile need not ask for it
        try:
            self._admission.begin(self._is_over)
            if self._is_over():
                self.loop.stop()
        except BaseException as exc:
            self.unwind(exc)
        self._will_look = False
        if self._admission.has_turns and self._executor.has_room():
            self._look_soon()

    def _advance(self, stream: StreamProducer) -> None:
        if not isinstance(stream, AsyncStreamProducer):
            self._mailbox.streams.advance(stream)
        elif stream.open and not stream.client.unsent:
            stream.go_on()

    # --- as `LoopHost` ---------------------------------------------------------------------

    def deliver(self, client: Client, reply: FrameParts | None) -> None:
        if reply is not None:
            client.send(reply)
        if client.requests or client.unsent:
            self._mailbox.line_up(client)
        if not self._will_look:
            self._look_soon()

    def room(self) -> None:
        self._look_soon()

    def flow(self, stream: StreamProducer) -> None:
        if stream.open and not stream.client.unsent:
            self._schedule.flow(stream)
            self._look_soon()

    def unwind(self, exc: BaseException) -> None:
        self._unwinding = exc
        self.loop.stop()

    @property
    def thread(self) -> int:
        return self._mailbox.serving.thread

    @property
    def others_wait(self) -> bool:
        return bool(self._schedule)


async def _outcome_of(coroutine: Coroutine[Any, Any, T]) -> list[T] | BaseException:
    """What a coroutine returns, or raises, as a value: what a task raises may leave the loop."""
    try:
        return [await coroutine]
    except GeneratorExit:
        raise
    except BaseException as exc:
        return exc
