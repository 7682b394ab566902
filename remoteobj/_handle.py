"""The handle: a proxy that owns the actor behind it, from spawn to the end."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._actor.program import ActorProgram
from ._actor.status import Status
from ._birth import Birth
from ._catching.catchers import Except
from ._engines.contract import LaunchSpec, unique_name
from ._options import Options
from ._os.lazy_import import import_lock
from ._own_proxy import OwnProxy
from ._ownership import SECOND_CTRL_C, OwnedActor, stop_in_background
from ._program_end import register_at_exit
from ._protocol.identity import ActorId, class_name
from ._protocol.operations import format_steps
from ._proxy import Proxy, proxy_of, ref_of
from ._reference import RemoteRef
from ._wire.registry import new_address
from .errors import ActorDiedError, ExitReport

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["Handle", "spawn"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")


class _Exited:
    """The future of an end, made when somebody asks for it.

    It is not the actor's but the handle's: the report may hold an exception, and that leads to
    whoever raised it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._future: Future[ExitReport] | None = None

    def future(self, actor: OwnedActor) -> Future[ExitReport]:
        """The future, which is done when this actor has ended."""
        future = self._future
        if future is not None and future.done():
            return future
        actor.check_owner()  # before the lock, which another thread may have held at the fork
        with import_lock:
            # concurrent.futures at start-up would take a good part of our own import.
            from concurrent.futures import Future

        with self._lock:
            if self._future is None:
                future = Future()
                future.set_running_or_notify_cancel()
                actor.on_exit(future.set_result)
                self._future = future
            return self._future


class Handle(Proxy, Generic[T]):
    """A proxy that owns the actor behind it.

    Leaving `with handle:` stops the actor, and raises the last of its lifecycle errors. A
    handle that is garbage-collected stops its actor too, in the background.

    To type checkers `Handle[Counter]` is one whose object is a `Counter`, and what `with` gives is
    the `Counter`, so that its methods are known; at run time it is the handle itself.
    """

    __slots__ = ("_actor", "_exc", "_exited")

    _actor: OwnedActor
    _exc: Except
    _exited: _Exited

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @property
    def pid_(self) -> int | None:
        """The process in which the object lives."""
        return self._actor.instance.pid

    @property
    def name_(self) -> str:
        """The actor's name."""
        return self._actor.name

    @property
    def alive_(self) -> bool:
        """Whether the actor runs. True to the fact."""
        return self._actor.instance.is_alive()

    @property
    def exitcode_(self) -> int | None:
        """Its exit code: negative for a signal, None while it runs."""
        return self._actor.instance.exitcode

    @property
    def exc_(self) -> Except:
        """Its lifecycle errors, in the groups `init`, `work` and `cleanup`."""
        return self._exc

    def ready_(self, timeout: float | None = None) -> None:
        """Wait until the actor is ready: its `__init__` has finished over there.

        `spawn` has done so already, unless the option `wait` is False. Then calls can be made at
        once, and wait for that themselves; if `__init__` fails, each of them raises the error that
        this raises.

        Args:
            timeout: seconds to wait, not longer than the option `spawn_timeout` allows for the
                whole start. None waits for that.

        Raises:
            Exception: what `__init__` raised. The actor has ended then.
            SpawnTimeoutError: `__init__` took longer than `spawn_timeout`. The actor was ended.
            ActorDiedError: the process ended before `__init__` had finished.
            CallTimeoutError: it is not ready after `timeout` seconds, and goes on with its start;
                with the stack of what it is at.
            NotListeningError: this process is a forked copy of the owner, which alone can know.

        >>> from remoteobj import options
        >>> tables = [options(wait=False).spawn(dict, a=n) for n in range(3)]  # side by side
        >>> for table in tables:
        ...     table.ready_()
        >>> [table["a"].get_() for table in tables]
        [0, 1, 2]
        """
        self._actor.ready(timeout)

    def stop_(self, timeout: float | None = None) -> None:
        """End the actor: requests in hand, then its cleanup, then the process.

        Harmless when it has ended. When it has not ended after `timeout` seconds (by
        default the option `stop_timeout`) it gets SIGTERM, then SIGKILL, and `exc_`
        records that in the group `cleanup`.
        """
        self._actor.stop(self._actor.options.stop_timeout if timeout is None else timeout)

    def join_(self, timeout: float | None = None) -> bool:
        """Wait until the actor has ended by itself; False when that took too long."""
        return self._actor.instance.wait(timeout)

    def terminate_(self) -> None:
        """Send SIGTERM: the actor drops what it is doing, cleans up and ends."""
        self._actor.forced = True
        self._actor.instance.terminate()

    def kill_(self) -> None:
        """End the process at once. Nothing of it runs any more, its cleanup neither."""
        self._actor.forced = True
        self._actor.instance.kill()

    @property
    def exited_(self) -> Future[ExitReport]:
        """Its end, as a future of the `ExitReport`, which says why it ended, and with what.

        It is done within some milliseconds of the end, however that came. To wait for several use
        `concurrent.futures.wait`; in a coroutine, `await asyncio.wrap_future(handle.exited_)`.
        Whoever has not asked for it pays nothing for it. It can't be cancelled.

        Raises:
            NotListeningError: this process is a forked copy of the owner, which alone can know.

        >>> from remoteobj import remote
        >>> Box = remote(type("Box", (), {}))
        >>> with Box.spawn() as box:
        ...     exited = box.exited_
        >>> exited.result().reason, exited.result().exitcode
        ('stopped', 0)
        """
        return self._exited.future(self._actor)

    def on_exit_(self, callback: Callable[[ExitReport], object]) -> None:
        """Have the `ExitReport` given to `callback` when the actor has ended, however that came.

        Callbacks run in the order in which they were added, in a thread that all actors of this
        process share: they must not wait for long. One that is added after the end runs at once, in
        the thread that adds it. What a callback raises goes to `threading.excepthook`. One that
        refers to the handle keeps it alive, so that the actor is not stopped when the handle is
        forgotten. The end of this program waits for no callback.

        Raises:
            NotListeningError: this process is a forked copy of the owner, which alone can know.

        >>> import os, signal
        >>> from remoteobj import remote
        >>> Box = remote(type("Box", (), {}))
        >>> box = Box.spawn()
        >>> box.kill_(); box.join_()
        True
        >>> box.on_exit_(lambda report: print(report.reason, report.signal.name))
        killed SIGKILL
        """
        self._actor.on_exit(callback)

    def status_(self, timeout: float | None = 1.0) -> Status:
        """What the actor is doing: it says so at once, also while a method runs.

        Args:
            timeout: seconds to wait for the answer. None waits for ever.

        Raises:
            CallTimeoutError: it did not answer: it is stopped, or something that holds the
                interpreter, code in C say, keeps it busy.
            ActorDiedError: it has ended.

        >>> from remoteobj import remote
        >>> Box = remote(type("Box", (), {"peek": lambda self: 1}))
        >>> with Box.spawn() as box:
        ...     box.peek()
        ...     box.status_().state, box.status_().done
        1
        ('running', 1)
        """
        return self._actor.inspector.status(timeout)

    def stack_(self, timeout: float | None = 1.0) -> str:
        """The Python stacks of all threads of the actor's process, as text.

        Also of one that is stuck in code which holds the interpreter: if it does not answer
        within `timeout` seconds, faulthandler writes them at a signal.

        Raises:
            CallTimeoutError: the process takes no signals: it is stopped.
            ActorDiedError: it has ended.
        """
        return self._actor.inspector.stack(timeout)

    def interrupt_(
        self,
        exc: BaseException | type[BaseException] = KeyboardInterrupt,
        timeout: float | None = 1.0,
    ) -> bool:
        """Raise an exception in what the actor's main thread runs; False: it runs nothing.

        That is a request, which ends with that exception, or the work loop. The actor and its
        state stay. Code that holds the interpreter is interrupted once it lets go of it. A
        request that runs in the background, beside a work loop that has not asked for requests,
        is not in the main thread.

        Args:
            exc: the exception, or its class. It travels like any other.
            timeout: seconds until the actor must have taken notice.

        Raises:
            CallTimeoutError: it did not.
            ActorDiedError: it has ended.
        """
        return self._actor.inspector.interrupt(exc() if isinstance(exc, type) else exc, timeout)

    def __enter__(self) -> T:
        self._actor.ready_or_ended()
        return self  # type: ignore[return-value]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if getattr(exc, SECOND_CTRL_C, False):
            self._actor.kill_now()
            return
        self.stop_()
        self._raise_failure(exc)

    async def __aenter__(self) -> T:
        with import_lock:
            from . import _async_with  # asyncio at start-up would take longer than all else

        await _async_with.enter(self._actor)
        return self  # type: ignore[return-value]

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with import_lock:
            from . import _async_with  # as above, at start-up

        await _async_with.leave(self._actor, self.stop_)
        self._raise_failure(exc)

    def _raise_failure(self, exc: BaseException | None) -> None:
        """Raise what failed beside the calls, at the end of a block that ended with `exc`."""
        if self._actor.failed():
            self._exc.raise_any()
        death = self._actor.died()
        if death is not None and not isinstance(exc, ActorDiedError):
            raise death

    def _repr_html_(self) -> str:
        """How notebooks show it: with what its owner knows of it. The actor is not asked."""
        with import_lock:
            from ._display import as_html  # only for notebooks, so not at start-up

        return as_html(self._actor, ref_of(self).object_class)

    def __repr__(self) -> str:
        return f"<Remote {self.name_!r} (pid {self.pid_}) : ({format_steps(self._view.steps)})>"


def spawn(
    factory: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> Handle[T]:
    """Make an actor of what a factory makes; returns when that has finished over there, or with
    `wait=False` when it has been started."""
    actor_id = ActorId.new(options.name or unique_name(_name_of(factory)))
    address = new_address()
    exc = options.exc if options.exc is not None else Except.of_actor()
    ref = RemoteRef(actor_id, address, options.of_references)
    program = ActorProgram(
        factory,
        args,
        kwargs,
        actor_id=actor_id,
        address=address,
        exc=exc,
        proxy=OwnProxy(ref.reference()),
        wire_options=options.wire_options,
        reentrant=options.reentrant,
    )
    spec = LaunchSpec(
        program,
        actor_id.name,
        options.daemon,
        options.start_method,
        ref.wire_options,
        options.main,
    )
    actor = OwnedActor(spec, actor_id, address, options, exc)
    try:
        register_at_exit(actor)
        handle: Handle[T] = _handle_of(actor, exc, factory)  # made while the process starts
        if options.wait:
            actor.ready()
        else:
            actor.birth.keep_time(actor.destroy)
    except BaseException:  # nobody will have the handle
        actor.destroy()
        raise
    return handle


def _name_of(factory: Any) -> str:
    func = getattr(factory, "func", factory)  # of a `functools.partial`
    return str(getattr(func, "__name__", type(factory).__name__)).strip("<>")


def _class_of(made_by: type | None, birth: Birth) -> type | str | None:
    """The object's class: that which was to make it, unless the actor has told of another one."""
    told = birth.class_name()
    return made_by if made_by is not None and told in (None, class_name(made_by)) else told


def _handle_of(actor: OwnedActor, exc: Except, factory: object) -> Handle[Any]:
    options = actor.options.of_references
    ref = RemoteRef(actor.actor_id, actor.address, options, endpoint=actor.endpoint)
    ref.taken_names = actor.taken_names
    ref.wait_for_door = actor.wait_for_door
    made_by = factory if isinstance(factory, type) else None  # a function may lead to much data
    ref.told_class = partial(_class_of, made_by, actor.birth)
    handle: Handle[Any] = proxy_of(ref, Handle)
    object.__setattr__(handle, "_actor", actor)
    object.__setattr__(handle, "_exc", exc)
    object.__setattr__(handle, "_exited", _Exited())
    actor.finalizer = weakref.finalize(handle, stop_in_background, actor)
    actor.finalizer.atexit = False
    return handle
