"""What runs where an actor lives: make the object, serve it, run its work loop, clean up.

```
begin ── __init__ ──> ready ──> work loop (if there is one) ──> serve until told to stop
                                                                      │
      end <── cleanup <── goodbye <── requests fulfilled or refused <──
```
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Any, Final

from .._catching.catchers import USER_ERRORS, Except
from .._engines.contract import OwnerLink, ProgramFailedError, named_parts
from .._os.interrupter import Interrupter, run_loop
from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._pickling.exceptions import pack_error, unpack_error
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.identity import ActorId
from .._protocol.lifecycle import Event
from .._protocol.messages import INIT_ID, Flag, Frame, InterruptOrder, Kind, StopOrder
from .._protocol.operations import describe_request
from .._wire.channel import StreamChannel
from .._wire.registry import transport_of
from .._wire.runtime_directory import sweep_for_the_dead
from .._wire.transport import Address
from ..errors import NotListeningError
from .clients import Client
from .current import current_actor
from .execution import USER_ENTRY_POINTS
from .mailbox import INTERNAL_CODE
from .replies import cut_off_frame, error_frame, value_frame
from .server import Server
from .status import Status, memory, stacks

__all__ = ["ActorProgram", "mark"]

MARK = "_remoteobj_role"
ENTRY_POINTS = (*USER_ENTRY_POINTS, run_loop.__code__)
"""The code that calls users' code, for a request or as the work loop."""


def mark(method: Any, role: str) -> Any:
    """Give a method a part in the life of its object: "work" or "cleanup"."""
    setattr(method, MARK, role)
    return method


def role_of(cls: type, role: str) -> str | None:
    """The name of the method that has this part in a class."""
    seen: set[str] = set()
    for base in cls.__mro__:
        # As it is written in the class: a descriptor's own code must not run here.
        for name, value in vars(base).items():
            marked = isinstance(value, FunctionType) and vars(value).get(MARK) == role
            if marked and name not in seen:
                return name
            seen.add(name)
    return None


class _ActorServer(Server):
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
        if order.flags & Flag.ANSWER:
            why = f"it knows no order of kind {order.kind}"
            return Frame(Kind.REFUSED, order.call_id, why.encode())
        return None

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
        return value_frame(Kind.VALUE, order.call_id, stacks(ENTRY_POINTS))

    def _on_explain(self, order: Frame) -> Frame:
        answer = tuple(self.status()), stacks(ENTRY_POINTS)
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
        with self._exc("work", raises=False, types=BaseException):
            raise exc

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


_ORDERS: Final[dict[int, Callable[[_ActorServer, Frame], Frame | None]]] = {
    Kind.STOP: _ActorServer._on_stop,
    Kind.STATUS: _ActorServer._on_status,
    Kind.STACK: _ActorServer._on_stack,
    Kind.EXPLAIN: _ActorServer._on_explain,
    Kind.INTERRUPT: _ActorServer._on_interrupt,
}
"""What is done with what the owner says, by its kind. A new order is one row."""


class ActorProgram:
    """An actor, before it runs: what an engine launches."""

    def __init__(
        self,
        cls: type,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        actor_id: ActorId,
        address: Address,
        exc: Except,
        proxy: object,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        reentrant: bool = True,
    ) -> None:
        self._reentrant = reentrant
        self._make = (cls, args, kwargs)
        self._actor_id = actor_id
        self._address = address
        self._exc = exc
        self._proxy = proxy
        self._wire_options = wire_options

    # --- for engines ---------------------------------------------------------------------

    def run(self, link: OwnerLink) -> None:
        """Run to the end.

        Raises:
            ProgramFailedError: the object could not be served, or its `__init__` or its work loop
                raised.
        """
        server = self._open(link, accept=True)
        with self._at_home(server):
            try:
                failure = self._born(server) or self._live(server)
            finally:
                self._finish(server)
        if failure is not None:
            raise failure

    def begin(self, link: OwnerLink) -> Callable[[], None]:
        """Begin in the caller's thread: `run` without a loop of its own."""
        server = self._server = self._open(link, accept=False)
        with self._at_home(server):
            self._failure = self._born(server)
        return lambda: self._turn(server)

    def end(self) -> None:
        with self._at_home(self._server):
            self._finish(self._server)
        if self._failure is not None:
            raise self._failure

    def parts(self) -> Iterable[tuple[str, object]]:
        return named_parts("class", *self._make)

    @staticmethod
    def describe(request: bytes) -> str:
        return describe_request(request)

    # --- a life --------------------------------------------------------------------------

    def _open(self, link: OwnerLink, accept: bool) -> _ActorServer:
        server = _ActorServer(
            self._actor_id, self._address, self._exc, link, self._wire_options, self._reentrant
        )
        if link.shared_process:
            server.home_threads = set()
        server.executor.recorder = link.recorder
        link.on_sigterm = server.end_now
        self._owner = server.owner = server.mailbox.clients.attach(link.data)
        if not link.shared_process:
            server.interrupter = Interrupter(ENTRY_POINTS, INTERNAL_CODE)
            server.interrupter.install()
            server.mailbox.safe_point = server.interrupter.raise_pending
        if accept:
            try:
                server.open()
            except BaseException as exc:
                raise self._failed(exc) from None
        else:
            server.mailbox.clients.patience = 0.0  # nobody reads while we wait
            server.register_local()
            self._orders = StreamChannel(link.control)
        return server

    @contextlib.contextmanager
    def _at_home(self, server: Server) -> Iterator[None]:
        """The time in which this thread is the object's home, and `current()` its proxy."""
        me = threading.get_ident()
        outer = server.home_threads is None or me in server.home_threads
        if server.home_threads is not None:
            server.home_threads.add(me)
        before = current_actor.enter(self._proxy, this_thread_only=server.home_threads is not None)
        try:
            yield
        finally:
            current_actor.leave(before)
            if server.home_threads is not None and not outer:
                server.home_threads.discard(me)

    def _failed(self, exc: BaseException) -> ProgramFailedError:
        """Tell the owner that it was not born."""
        frame = error_frame(INIT_ID, exc)
        self._owner.send(frame)
        return ProgramFailedError(frame.payload)

    def _born(self, server: _ActorServer) -> ProgramFailedError | None:
        """Make the object and tell the owner; what is returned ended that."""
        try:
            with self._exc("init", raises=True, types=USER_ERRORS):
                self._construct(server)
        except ThreadUnwind:
            self._owner.send(cut_off_frame(INIT_ID))
            raise
        except BaseException as exc:
            return self._failed(exc)
        server.born = True
        server.has_work = role_of(type(server.root), "work") is not None
        server.mailbox.lifecycle.on(Event.READY)
        self._owner.send(value_frame(Kind.VALUE, INIT_ID, None))
        return None

    def _construct(self, server: _ActorServer) -> None:
        """Make the object, and give it its proxy before its `__init__` runs."""
        cls, args, kwargs = self._make
        del self._make
        if type(cls).__call__ is not type.__call__:  # its metaclass makes its objects
            server.root = cls(*args, **kwargs)
            _give_remote(server.root, self._proxy)
            return
        server.root = cls.__new__(cls, *args, **kwargs)
        if isinstance(server.root, cls):
            _give_remote(server.root, self._proxy)
            type(server.root).__init__(server.root, *args, **kwargs)

    def _live(self, server: _ActorServer) -> ProgramFailedError | None:
        """Work, then serve; what is returned ended that before its time."""
        work = role_of(type(server.root), "work")
        try:
            if work is not None:
                server.work(getattr(server.root, work))
            server.serve()
        except ThreadUnwind:
            raise
        except SystemExit:
            raise
        except BaseException as exc:
            server.last_word = error = pack_error(exc)
            return ProgramFailedError(error)
        return None

    def _finish(self, server: _ActorServer) -> None:
        """Say goodbye to the callers, then clean up."""
        try:
            server.finish()
        finally:  # SIGTERM may cut the goodbye short, but not the cleanup
            try:
                self._clean_up(server)
            finally:
                server.close()

    def _clean_up(self, server: _ActorServer) -> None:
        if server.link.ignore_sigterm is not None:
            server.link.ignore_sigterm()
        cleanup = role_of(type(server.root), "cleanup")
        if cleanup is not None and server.born:
            with self._exc("cleanup", raises=False, types=USER_ERRORS):
                getattr(server.root, cleanup)()

    def _turn(self, server: _ActorServer) -> None:
        """Do what is at hand, for an owner whose thread this is."""
        server.control.hear(-1, self._orders)
        with self._at_home(server):
            server.mailbox.process(0.0)
        if self._owner.unsent and self._owner.flush():
            server.mailbox.clients.resume(self._owner)


def _give_remote(obj: object, proxy: object) -> None:
    """Set `obj.remote`, unless the class has one of its own or no room for it."""
    if not hasattr(type(obj), "remote"):
        # Slots, or no ordinary object: `current()` still finds the proxy.
        with contextlib.suppress(AttributeError, TypeError):
            object.__setattr__(obj, "remote", proxy)
