"""What runs where an actor lives: make the object, serve it, run its work loop, clean up.

```
begin ── __init__ ──> ready ──> work loop (if there is one) ──> serve until told to stop
                                                                      │
      end <── cleanup <── goodbye <── requests fulfilled or refused <──
```
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final

from .._catching.catchers import USER_ERRORS, Except
from .._engines.contract import OwnerLink, ProgramFailedError, named_parts
from .._os.fork_safety import Closable
from .._os.interrupter import Interrupter
from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from .._pickling import own_objects
from .._pickling.codec import pickled
from .._pickling.exceptions import pack_error
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.identity import ActorId, class_name
from .._protocol.lifecycle import Event
from .._protocol.messages import INIT_ID, Frame, Kind
from .._protocol.own_names import OF_SERVING
from .._protocol.requests import observers
from .._wire.transport import Address
from .actor_server import ActorServer
from .awaitables import has_coroutines
from .breakpoints import answer_breakpoints
from .concurrency import AS_USUAL, Concurrency
from .current import ProxyMaker, current_actor, give_own_proxy
from .execution import USER_ENTRY_POINTS, ExecutorMaker, SerialExecutor
from .mailbox import INTERNAL_CODE
from .making import make_object
from .replies import cut_off_frame, error_frame
from .roles import role_of
from .server import Server

if TYPE_CHECKING:
    from .._protocol.observing import ObserverPlan
    from .recording import RecordPlan
    from .state_keeper import StatePlan

__all__ = ["ActorProgram"]

_INTERNAL_CODE: Final = INTERNAL_CODE | {Server.publish.__code__}


class ActorProgram:
    """An actor, before it runs: what an engine launches."""

    _has_thread = True

    def __init__(
        self,
        factory: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        actor_id: ActorId,
        address: Address,
        exc: Except,
        proxy: ProxyMaker,
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
        reentrant: bool = True,
        initializer: Callable[[], object] | None = None,
        state: StatePlan | None = None,
        record: RecordPlan | None = None,
        concurrency: Concurrency = AS_USUAL,
        tells_birth_at: tuple[str, int] | None = None,
    ) -> None:
        self._plans: Sequence[ObserverPlan] = ()
        self._initializer = initializer
        self._state = state
        self._record = record
        self._concurrency = concurrency
        self._tells_birth_at = tells_birth_at
        """A file, and the place in it, where it says that it is born, for others than the owner."""
        self._reentrant = reentrant
        self._make = (factory, args, kwargs)
        self._actor_id = actor_id
        self._address = address
        self._exc = exc
        self._proxy = proxy
        self._wire_options = wire_options

    def observed_by(self, plans: Sequence[ObserverPlan]) -> ActorProgram:
        """The same, whose calls are observed."""
        program = copy.copy(self)
        program._plans = plans
        return program

    # --- for engines ---------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Where it will listen."""
        return self._address

    def told_apart(self) -> tuple[ActorProgram, Callable[[Any], None]]:
        """For where no memory is shared with the owner: the program without what catches its
        lifecycle errors, and what takes in the records of these that are told."""
        with import_lock:
            from .._catching.relay import take_in  # for a faster start-up: few live so far away

        other = copy.copy(self)
        del other._exc
        return other, partial(take_in, self._exc)

    def tell_records(self, tell: Callable[[Any], None]) -> None:
        """Of such a program, where it runs: have each record told."""
        with import_lock:
            from .._catching.relay import relayed  # as above, at start-up

        self._exc = relayed(tell)

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
        self._has_thread = False
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
        what = "class" if isinstance(self._make[0], type) else "factory"
        yield from named_parts(what, *self._make)
        if self._initializer is not None:
            yield "initializer", self._initializer

    @property
    def kept(self) -> tuple[Closable, ...]:
        """What it shares with its owner: see `LaunchSpec.kept`."""
        return () if self._state is None else (self._state.store,)

    @property
    def find_record(self) -> Callable[[int | None], str | None] | None:
        """Finds the file in which the requests of one process of it are: see `LaunchSpec`."""
        return None if self._record is None else self._record.find

    @staticmethod
    def describe(request: bytes) -> str:
        with import_lock:
            # For a faster start-up: it is asked about the dead.
            from .._protocol.descriptions import describe_request

        return describe_request(request)

    # --- a life --------------------------------------------------------------------------

    def _open(self, link: OwnerLink, accept: bool) -> ActorServer:
        make_executor: ExecutorMaker = partial(SerialExecutor, recorder=link.recorder)
        recording = None if self._record is None else self._record.recording()
        if recording is not None:
            make_executor = recording.around(make_executor)
        keeper = None if self._state is None else self._state.keeper()
        server = ActorServer(
            self._actor_id,
            self._address,
            self._exc,
            link,
            self._wire_options,
            self._reentrant,
            make_executor if keeper is None else keeper.around(make_executor),
        )
        server.state_keeper, server.recording = keeper, recording
        if self._plans:
            self._be_observed(server)
        if link.shared_process:
            server.home_threads = set()
        link.on_sigterm = server.end_now
        self._owner = server.owner = server.mailbox.clients.attach(link.data)
        if recording is not None:
            recording.attend(self._owner, keeper)
        if not link.shared_process:
            answer_breakpoints()
            server.interrupter = Interrupter(USER_ENTRY_POINTS, _INTERNAL_CODE)
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
            self._orders = link.line
        return server

    def _be_observed(self, server: ActorServer) -> None:
        with import_lock:
            from . import observed  # for a faster start-up: few are

        observed.begin(self._plans)
        observed.attend(server)

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

    def _born(self, server: ActorServer) -> ProgramFailedError | None:
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
        if self._tells_birth_at is not None:
            _tell_birth(*self._tells_birth_at)
        about = _names_of_serving(server.root), class_name(type(server.root))
        self._owner.send(Frame(Kind.VALUE, INIT_ID, pickled(about, 5)))
        return None

    def _construct(self, server: ActorServer) -> None:
        """Make the object, and write down how, if its requests are recorded."""
        if server.recording is None:
            self._make_and_restore(server)
            return
        server.recording.begin(self._actor_id, self._initializer, self._make, self.parts())
        with server.recording.making():
            self._make_and_restore(server)

    def _make_and_restore(self, server: ActorServer) -> None:
        """Make the object; it has its proxy before its `__init__` runs, and its state after."""
        keeper, concurrency = server.state_keeper, self._concurrency
        if keeper is not None:
            keeper.open()
        if self._initializer is not None:
            self._initializer()
        factory, args, kwargs = self._make
        del self._make
        make = partial(self._make_object, server, factory, args, kwargs)
        if isinstance(factory, type):
            give_own_proxy(factory)
            self._check_thread(factory)
            if has_coroutines(factory):  # so that its `__init__` has the loop, too
                make = partial(concurrency.give_loop(server).call, make)
        make()
        self._check_thread(type(server.root))
        concurrency.apply(server, partial(self._at_home, server))
        if keeper is not None:
            keeper.restore(server.root, server.carry_out)

    def _check_thread(self, cls: type) -> None:
        """Refuse what needs a thread of its own where there is none."""
        if self._has_thread:
            return
        what = self._concurrency.needs(cls)
        if role_of(cls, "work"):
            what = "a @remote.work loop"
        if what:
            raise ValueError(
                f"{cls.__name__} has {what}, and an inline actor has no thread to run it in; use "
                'engine="thread" or "process"'
            )

    def _make_object(
        self, server: ActorServer, factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        make_object(server, self._proxy, factory, args, kwargs, partial(self._awaited, server))

    def _awaited(self, server: ActorServer, made: CoroutineType[Any, Any, Any]) -> Any:
        """The object that a factory is to give, where that is awaited."""
        self._check_thread(CoroutineType)
        return self._concurrency.give_loop(server).finish(made)

    def _live(self, server: ActorServer) -> ProgramFailedError | None:
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

    def _finish(self, server: ActorServer) -> None:
        """Say goodbye to the callers, then clean up."""
        try:
            try:
                server.finish()
            except ThreadUnwind:  # SIGTERM, while it finished what was in hand: that is dropped
                server.finish()
                raise
        finally:  # whatever cuts the goodbye short, the cleanup runs
            try:
                self._clean_up(server)
            finally:
                if server.loop_runner is not None:
                    server.loop_runner.close()
                own_objects.leave(server.root)
                if server.state_keeper is not None:
                    server.state_keeper.close()
                if server.recording is not None:
                    server.recording.close(bool(server.last_word) or not server.born)
                server.close()
                if observers and not server.link.shared_process:
                    self._end_observation()

    def _end_observation(self) -> None:
        with import_lock:
            from . import observed  # for a faster start-up, too

        observed.close()

    def _clean_up(self, server: ActorServer) -> None:
        if server.link.ignore_sigterm is not None:
            server.link.ignore_sigterm()
        cleanup = role_of(type(server.root), "cleanup")
        if cleanup is not None and server.born:
            with self._exc("cleanup", raises=False, types=USER_ERRORS):
                server.carry_out(getattr(server.root, cleanup))

    def _turn(self, server: ActorServer) -> None:
        """Do what is at hand, for an owner whose thread this is."""
        server.control.hear(-1, self._orders)
        with self._at_home(server):
            server.mailbox.process(0.0)
        if self._owner.unsent and self._owner.flush():
            server.mailbox.clients.resume(self._owner)


def _tell_birth(path: str, place: int) -> None:
    """Say to all who can read it that the object is made, by the number of this process."""
    with contextlib.suppress(OSError):  # it is a help, and must hinder nobody
        fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.pwrite(fd, os.getpid().to_bytes(4, "little"), place)
        finally:
            os.close(fd)


def _names_of_serving(obj: object) -> tuple[str, ...]:
    """Those of `OF_SERVING` that the object has, as it is written: no code of it must run here."""
    places: list[Any] = [vars(base) for base in type(obj).__mro__]
    with contextlib.suppress(AttributeError, TypeError):
        places.append(object.__getattribute__(obj, "__dict__"))
    return tuple(name for name in OF_SERVING if any(name in names for names in places))
