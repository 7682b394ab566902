"""The server of an actor: a server that its owner gives orders, and that ends with its owner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container
from itertools import islice
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from .._catching.catchers import USER_ERRORS, Except
from .._engines.contract import OwnerLink
from .._os.interrupter import Interrupter, run_loop
from .._os.lazy_import import import_lock
from .._os.poller import clock
from .._pickling.exceptions import unpack_error
from .._protocol.config import WireOptions
from .._protocol.identity import ActorId
from .._protocol.messages import (
    Bytes,
    Flag,
    Frame,
    InterruptOrder,
    Kind,
    StopOrder,
    refusal_of_unknown,
)
from .._protocol.requests import followers, observers
from .._wire.registry import transport_of
from .._wire.runtime_directory import sweep_for_the_dead
from .._wire.transport import Address
from ..errors import NotListeningError
from .awaitables import is_coroutine_function
from .clients import Client
from .execution import Executor, ExecutorMaker, Running
from .interrupting import CallsOfClient, OneCall, interrupt_coroutine, is_taking_in
from .replies import value_frame
from .roles import takes_requests
from .runner import ManyAtOnce
from .server import Server
from .status import SHOWN_QUEUED, Explanation, Status, memory, open_prompts

if TYPE_CHECKING:
    from .recording import Recording
    from .running_calls import RunningCalls

__all__ = ["ActorServer"]

TAKE_IN_SECONDS = 0.1
"""How long a request may take to be unpickled that is to be interrupted once it has begun."""

OTHERS_EXPLAINED = 5
"""How many others that wait a call that is out of time is told the stacks of."""


class ActorServer(Server):
    """A server that its owner gives orders."""

    many: ManyAtOnce | None = None
    """What drives the requests, where several may be begun at once."""

    def __init__(
        self,
        actor_id: ActorId,
        address: Address,
        exc: Except,
        link: OwnerLink,
        wire_options: WireOptions,
        reentrant: bool,
        make_executor: ExecutorMaker,
    ) -> None:
        super().__init__(
            None,
            actor_id,
            address,
            wire_options=wire_options,
            reentrant=reentrant,
            make_executor=make_executor,
        )
        self._exc = exc
        self.link = link
        self.ends_itself = False
        self.born = False
        self.abandoned = False
        self.has_work = False
        """Whether there is a work loop that has not come to its end."""
        self.recording: Recording | None = None
        """What records its requests, if anything does."""
        self._stop_after_work = False
        self._closed = False
        self._running_calls: RunningCalls | None = None
        self.owner: Client | None = None
        self.interrupter: Interrupter | None = None
        """None where its main thread is not the actor's."""

    def open(self) -> None:
        """Begin to accept callers, at an address that was made for this server alone."""
        listener = self.link.listener
        if listener is None:
            listener = transport_of(self.address).listen(self.address, fresh=True)
        self.control.start(listener, self.link.line)
        self.register_local()

    @property
    def executor(self) -> Executor:
        """What runs requests."""
        return self.mailbox.executor

    def handle_order(self, order: Frame) -> Frame | None:
        """Do what the owner says: see `_ORDERS`."""
        handle = _ORDERS.get(order.kind)
        if handle is not None:
            return handle(self, order)
        return refusal_of_unknown(order, "it knows no order")

    def _on_stop(self, order: Frame) -> None:
        stop = StopOrder.read(order.payload)
        self.fulfil = stop.fulfil
        if stop.after_work and self.has_work:
            self._stop_after_work = True
        else:
            self.begin_to_end()
        if stop.none_waits or stop.given_up:
            ids = None if stop.none_waits else frozenset(stop.given_up)
            self._interrupt_given_up(ids)

    def _on_terminate(self, _: Frame) -> None:
        if self.link.repeat_sigterm is not None:
            self.link.repeat_sigterm()

    def _on_status(self, order: Frame) -> Frame:
        return value_frame(Kind.VALUE, order.call_id, self.status().told())

    def _on_stack(self, order: Frame) -> Frame:
        return value_frame(Kind.VALUE, order.call_id, self.running_calls.stacks())

    def _on_explain(self, order: Frame) -> Frame:
        about = InterruptOrder.read(order.payload)
        begun = self.running_calls.of_client(self.owner)
        call = begun.get(about.call_id)
        age = None if call is None else clock() - call.since
        stack = self.running_calls.stacks(call, OTHERS_EXPLAINED)
        answer = Explanation(self.status().told(), stack, tuple(begun), age)
        if about.error and call is not None and call.task is None:
            self._interrupt_one(call, unpack_error(about.error))
        # Else it has not begun; or is a coroutine, which ends as soon as its caller gives it up.
        return value_frame(Kind.VALUE, order.call_id, tuple(answer))

    def _on_observe(self, order: Frame) -> Frame | None:
        with import_lock:
            from .observed import follow_order  # for a faster start-up: few are observed

        follow_order(order.payload, lambda said: [tell(said) for tell in followers])
        return value_frame(Kind.VALUE, order.call_id, None) if order.call_id else None

    def _on_interrupt(self, order: Frame) -> Frame | None:
        interrupt = InterruptOrder.read(order.payload)
        if order.flags & Flag.ANSWER:
            return value_frame(Kind.VALUE, order.call_id, self._interrupt(interrupt))
        self._interrupt_given_up((interrupt.call_id,))
        return None

    def status(self) -> Status:
        """What it is doing. From any thread."""
        state, call, age, done = self._activity()
        return Status(
            state=state,
            call=call,
            age=age,
            queued=tuple(
                self._described(one.payload) for one in islice(self.mailbox.queued, SHOWN_QUEUED)
            ),
            done=done,
            memory=memory(),
            threads=tuple(one.name for one in threading.enumerate()),
            waits_for=_threads_that_last() if self._closed else (),
            debugged=bool(open_prompts),
            calls=self.running_calls.told(),
            queue_length=self.mailbox.queue_length,
        )

    @property
    def running_calls(self) -> RunningCalls:
        """What runs, with numbers, made when somebody first asks: in the control thread alone."""
        if self._running_calls is None:
            with import_lock:
                from .running_calls import RunningCalls  # for a faster start-up

            self._running_calls = RunningCalls(
                lambda: self.executor, lambda: self.mailbox.serving.thread
            )
        return self._running_calls

    def _on_glance(self, order: Frame) -> Frame:
        running = len(self.executor.all_running)
        glance = *self._activity(), self.mailbox.queue_length, running
        return value_frame(Kind.VALUE, order.call_id, glance)

    def _activity(self) -> tuple[str, str | None, float, int]:
        """Its state, the call that it runs and for how long, and how many requests are done."""
        current = self.executor.current
        return (
            self.mailbox.lifecycle.state.name.lower(),
            None if current is None else self._described(current.request.payload),
            0.0 if current is None else clock() - current.since,
            self.executor.done,
        )

    @staticmethod
    def _described(request: Bytes) -> str:
        with import_lock:
            # For a faster start-up: few owners ask.
            from .._protocol.descriptions import describe_request

        return describe_request(request)

    # --- interrupting ----------------------------------------------------------------------

    def _interrupt(self, order: InterruptOrder) -> bool:
        """Raise something in what runs; False: nothing does that can be interrupted."""
        error = unpack_error(order.error)
        if order.number:
            call = self.running_calls.of_number(order.number)
            return call is not None and self._interrupt_one(call, error)
        return self._interrupt_all(error)

    def _interrupt_all(self, error: BaseException) -> bool:
        running = self.executor.all_running
        if self.many is not None and running:
            interrupted = [self._interrupt_one(one, error) for one in running]
            return any(interrupted)
        if self.interrupter is None or not (self._runs_in_main if running else self.has_work):
            return False
        if self.loop_runner is not None:
            runner = self.loop_runner
            interrupt_coroutine(runner, error, self.interrupter, runner.loop)
        else:
            self.interrupter.throw(error)
        self.mailbox.wake()  # a work loop may wait there
        return True

    def _interrupt_one(self, running: Running, error: BaseException) -> bool:
        """Raise something in one call; False: it runs in a thread where nothing can be raised."""
        if running.thread and running.interrupt is not None:
            running.interrupt(error)
            return True
        if self.interrupter is None or not self._runs_in_main:
            return False
        call = OneCall(self.executor, running)
        if self.loop_runner is not None:
            interrupt_coroutine(call, error, self.interrupter, self.loop_runner.loop)
        else:
            self.interrupter.throw(error, call.runs, call.is_open)
            self.mailbox.wake()  # it may wait for another actor
        return True

    def _interrupt_calls(self, calls: CallsOfClient, error: BaseException) -> bool:
        """Raise something in what runs in the main thread, if it is one of these calls."""
        if self.interrupter is None or not self._runs_in_main or not calls.is_open():
            return False
        self.interrupter.throw(error, calls.runs, calls.is_open)
        self.mailbox.wake()  # it may wait for another actor
        return True

    def _interrupt_given_up(self, call_ids: Container[int] | None) -> None:
        """End what runs if the owner waits for it no more; None: if it is any call of the owner's.

        What has not begun is withdrawn by a frame of its own, which the owner has sent before, and
        which is read unless the request is just being taken in.
        """
        executor: Executor | None = self.executor
        if self.many is not None:
            self.many.give_up(self.owner, call_ids)
            executor = self.many.in_serving_thread
        if executor is None:
            return
        calls = CallsOfClient(executor, self.owner, call_ids)
        self.mailbox.look_soon()
        deadline = time.monotonic() + TAKE_IN_SECONDS
        while True:
            begins = is_taking_in(self.mailbox.serving.thread)
            if self._interrupt_calls(calls, KeyboardInterrupt("nobody waits for this call")):
                return
            if calls.is_open() and not self.listening:
                self.drops_request = True  # in the second thread, where only the end can drop it
            if not begins or time.monotonic() > deadline:
                return
            time.sleep(0.001)

    @property
    def _runs_in_main(self) -> bool:
        return self.mailbox.serving.thread == threading.main_thread().ident

    # --- the end ---------------------------------------------------------------------------

    def end_now(self) -> None:
        """End without the requests that have not begun. Also from a signal handler."""
        self.fulfil = False
        self.drops_request = True
        self.mailbox.stop()

    def owner_gone(self) -> None:
        self.begin_to_end()
        self.abandoned = True
        if self.link.end_orphan is not None:
            self.link.end_orphan(self._tidy)

    def _tidy(self) -> None:
        """Leave no files: the owner, whose directory this is, can't remove them any more."""
        self.control.drop_listener()
        sweep_for_the_dead()

    def close(self) -> None:
        """Let go of everything, but for the owner's sign of life: the process itself, its
        other threads say, may take its time to end, and must not outlive the owner."""
        self._closed = True
        if self.link.shared_process:
            self.close_control()
        self.release()
        if self.abandoned:
            self._tidy()

    def report(self, exc: BaseException) -> None:
        if observers:
            with import_lock:
                from .observed import cast_failed  # for a faster start-up, too
            cast_failed(exc)
        if self.recording is not None:
            self.recording.failed(exc)
        try:
            with self._exc("work", raises=False, types=BaseException):
                raise exc
        except BaseException as unrecorded:  # no memory is left to record it, say
            super().report(unrecorded)

    def work(self, loop: Callable[[], Any]) -> None:
        """Run the work loop in this thread, and requests too if it takes some; else they run in
        another thread, until it does."""
        self.loop_thread = threading.get_ident()
        if takes_requests(loop) or is_coroutine_function(loop):
            self.mailbox.serving.settle()
        else:
            self.run_in_background()
        try:
            with self._exc("work", raises=True, types=USER_ERRORS):
                try:
                    if is_coroutine_function(loop):
                        self.carry_out(loop)
                    else:
                        run_loop(loop)
                except NotListeningError:
                    if self.listening:
                        raise
                    # A loop without an end of its own, that asked for requests after the stop.
        finally:
            self.has_work = False
        if self._stop_after_work:
            self.mailbox.stop()

    def carry_out(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call a method that has a part in the object's life, and await it if it is to be awaited;
        then requests run meanwhile, if they may by then."""
        result = method(*args)
        if type(result) is CoroutineType and self.loop_runner is not None:
            return self.loop_runner.finish(result)
        return result


def _threads_that_last() -> tuple[str, ...]:
    """The names of the threads that keep a process from ending, beside the main thread."""
    main = threading.main_thread()
    return tuple(one.name for one in threading.enumerate() if not one.daemon and one is not main)


_ORDERS: Final[dict[int, Callable[[ActorServer, Frame], Frame | None]]] = {
    Kind.STOP: ActorServer._on_stop,
    Kind.TERMINATE: ActorServer._on_terminate,
    Kind.STATUS: ActorServer._on_status,
    Kind.STACK: ActorServer._on_stack,
    Kind.EXPLAIN: ActorServer._on_explain,
    Kind.INTERRUPT: ActorServer._on_interrupt,
    Kind.GLANCE: ActorServer._on_glance,
    Kind.OBSERVE: ActorServer._on_observe,
}
"""What is done with what the owner says, by its kind. A new order is one row."""
