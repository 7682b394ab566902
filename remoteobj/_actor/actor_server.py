"""The server of an actor: a server that its owner gives orders, and that ends with its owner."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from .._catching.catchers import USER_ERRORS, Except
from .._engines.contract import OwnerLink
from .._os.interrupter import Interrupter, run_loop
from .._os.poller import clock
from .._pickling.exceptions import unpack_error
from .._protocol.config import WireOptions
from .._protocol.identity import ActorId
from .._protocol.messages import INIT_ID, Frame, InterruptOrder, Kind, StopOrder, refusal_of_unknown
from .._protocol.operations import describe_request
from .._wire.registry import transport_of
from .._wire.runtime_directory import sweep_for_the_dead
from .._wire.transport import Address
from ..errors import NotListeningError
from .clients import Client
from .execution import USER_ENTRY_POINTS
from .replies import value_frame
from .server import Server
from .status import Status, memory, stacks

__all__ = ["ActorServer"]


class ActorServer(Server):
    """A server that its owner gives orders."""

    def __init__(
        self,
        actor_id: ActorId,
        address: Address,
        exc: Except,
        link: OwnerLink,
        wire_options: WireOptions,
        reentrant: bool,
    ) -> None:
        super().__init__(None, actor_id, address, wire_options=wire_options, reentrant=reentrant)
        self._exc = exc
        self.link = link
        self.ends_itself = False
        self.born = False
        self.abandoned = False
        self.has_work = False
        """Whether there is a work loop that has not come to its end."""
        self._stop_after_work = False
        self.owner: Client | None = None
        self.interrupter: Interrupter | None = None
        """None where its main thread is not the actor's."""

    def open(self) -> None:
        """Begin to accept callers, at an address that was made for this server alone."""
        listener = transport_of(self.address).listen(self.address, fresh=True)
        self.control.start(listener, self.link.control)
        self.register_local()

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
            self.mailbox.stop()

    def _on_status(self, order: Frame) -> Frame:
        return value_frame(Kind.VALUE, order.call_id, tuple(self.status()))

    def _on_stack(self, order: Frame) -> Frame:
        return value_frame(Kind.VALUE, order.call_id, stacks(USER_ENTRY_POINTS))

    def _on_explain(self, order: Frame) -> Frame:
        answer = tuple(self.status()), stacks(USER_ENTRY_POINTS)
        if order.payload:
            self._interrupt(InterruptOrder.read(order.payload))
        return value_frame(Kind.VALUE, order.call_id, answer)

    def _on_interrupt(self, order: Frame) -> Frame:
        interrupted = self._interrupt(InterruptOrder.read(order.payload))
        return value_frame(Kind.VALUE, order.call_id, interrupted)

    def status(self) -> Status:
        """What it is doing. From any thread."""
        mailbox, current = self.mailbox, self.executor.current
        return Status(
            state=mailbox.lifecycle.state.name.lower(),
            call=None if current is None else describe_request(current.request.payload),
            age=0.0 if current is None else clock() - current.since,
            queued=tuple(describe_request(one.payload) for one in mailbox.queued),
            done=self.executor.done,
            memory=memory(),
            threads=tuple(one.name for one in threading.enumerate()),
        )

    def _interrupt(self, order: InterruptOrder) -> bool:
        """Raise something in what runs in the main thread; False: nothing does."""
        current = self.executor.current
        elsewhere = self.mailbox.serving.thread != threading.main_thread().ident
        if self.interrupter is None or (current is not None and elsewhere):
            return False
        if order.call_id != INIT_ID:
            runs = current is not None and current.client is self.owner
            if not runs or current is None or current.request.call_id != order.call_id:
                return False
        elif current is None and not self.has_work:
            return False
        self.interrupter.throw(unpack_error(order.error), may_wait=order.call_id == INIT_ID)
        self.mailbox.wake()  # a work loop may wait there
        return True

    def end_now(self) -> None:
        """End without the requests that have not begun. Also from a signal handler."""
        self.fulfil = False
        self.mailbox.stop()

    def owner_gone(self) -> None:
        self.mailbox.stop()
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
        if self.link.shared_process:
            self.control.close()
        self.release()
        if self.abandoned:
            self._tidy()

    def report(self, exc: BaseException) -> None:
        try:
            with self._exc("work", raises=False, types=BaseException):
                raise exc
        except BaseException as unrecorded:  # no memory is left to record it, say
            super().report(unrecorded)

    def work(self, loop: Callable[[], Any]) -> None:
        """Run the work loop in this thread, and requests in another until it takes over."""
        self.run_in_background()
        try:
            with self._exc("work", raises=True, types=USER_ERRORS):
                try:
                    run_loop(loop)
                except NotListeningError:
                    if self.listening:
                        raise
                    # A loop without an end of its own, that asked for requests after the stop.
        finally:
            self.has_work = False
        if self._stop_after_work:
            self.mailbox.stop()


_ORDERS: Final[dict[int, Callable[[ActorServer, Frame], Frame | None]]] = {
    Kind.STOP: ActorServer._on_stop,
    Kind.STATUS: ActorServer._on_status,
    Kind.STACK: ActorServer._on_stack,
    Kind.EXPLAIN: ActorServer._on_explain,
    Kind.INTERRUPT: ActorServer._on_interrupt,
}
"""What is done with what the owner says, by its kind. A new order is one row."""
