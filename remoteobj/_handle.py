"""The handle: a proxy that owns the actor behind it, from spawn to the end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._actor.status import Status
from ._os.lazy_import import import_lock
from ._program_end import SECOND_CTRL_C
from ._proxy import Proxy, ref_of
from ._syntax import text_of
from .errors import ActorDiedError, ExitReport

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ._catching.catchers import Except
    from ._ownership import OwnedActor

__all__ = ["Handle", "owned_by"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")


class Handle(Proxy, Generic[T]):
    """A proxy that owns the actor behind it.

    Leaving `with handle:` stops the actor, and raises the last of its lifecycle errors. A
    handle that is garbage-collected stops its actor too, in the background.

    For type checkers `Handle[Counter]` is the handle of a `Counter`, and `with` returns the
    `Counter`, so that its methods are known. At run time `with` returns the handle.
    """

    __slots__ = ("_actor", "_exc", "_exited")

    _actor: OwnedActor
    _exc: Except
    _exited: Future[ExitReport] | None
    """The handle's, not the actor's: an exception in the report leads to whoever raised it."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    @property
    def pid_(self) -> int:
        """The process in which the object lives, or has lived: of an actor that is restarted, the
        present one. Of one that is still being placed in a cluster, this waits for that."""
        if (pid := self._actor.instance.pid) is not None:
            return pid
        self._actor.ready()
        pid = self._actor.instance.pid
        assert pid is not None, "one that is ready has a process"
        return pid

    @property
    def name_(self) -> str:
        """The name of the actor."""
        return self._actor.name

    @property
    def alive_(self) -> bool:
        """Whether the actor's process runs."""
        return self._actor.instance.is_alive()

    @property
    def exitcode_(self) -> int | None:
        """The exit code of the process: negative for a signal, None while it runs."""
        return self._actor.instance.exitcode

    @property
    def restarts_(self) -> int:
        """How often the actor has been started again in a new process: see the option `restart`."""
        return self._actor.restarts

    @property
    def exc_(self) -> Except:
        """The lifecycle errors of the actor, in the groups `init`, `work` and `cleanup`."""
        return self._exc

    def ready_(self, timeout: float | None = None) -> None:
        """Wait until the actor is ready: until its `__init__` has finished.

        `spawn` has waited already, unless the option `wait` is False. Then calls can be made at
        once, and wait for `__init__` themselves. If `__init__` fails, each of them raises the same
        error as this method.

        Args:
            timeout: seconds to wait; at most until the time limit for the start, which is the
                option `spawn_timeout`. None: until then.

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
        """Stop the actor: it runs the calls that have arrived, then its cleanup, and ends.

        If it has ended already, nothing happens. If it has not ended after `timeout` seconds
        (by default the option `stop_timeout`), it gets SIGTERM, then SIGKILL, and `exc_`
        records that in the group `cleanup`. While somebody debugs it at a `breakpoint()`, no
        time limit ends it.
        """
        self._actor.stop(self._actor.options.stop_timeout if timeout is None else timeout)

    def join_(self, timeout: float | None = None) -> bool:
        """Wait until the actor has ended by itself, and is not restarted; return False if `timeout`
        is over before."""
        return self._actor.wait_for_end(timeout)

    def terminate_(self) -> None:
        """Send SIGTERM: the actor drops what it is doing, runs its cleanup, and ends."""
        self._actor.terminate()

    def kill_(self) -> None:
        """End the process at once, without its cleanup."""
        self._actor.kill()

    @property
    def exited_(self) -> Future[ExitReport]:
        """The end of the actor: a future of the `ExitReport`, which says why it ended.

        It is done a few milliseconds after every kind of end that no restart follows. To wait for
        several actors, use `concurrent.futures.wait`; in a coroutine, use `asyncio.wrap_future`.
        It costs nothing until it is first used. It cannot be cancelled.

        Raises:
            NotListeningError: this process is a forked copy of the owner, which alone can know.

        >>> from remoteobj import remote
        >>> Box = remote(type("Box", (), {}))
        >>> with Box.spawn() as box:
        ...     exited = box.exited_
        >>> exited.result().reason, exited.result().exitcode
        ('stopped', 0)
        """
        future = self._exited
        if future is not None and future.done():
            return future
        self._actor.check_owner()  # before the lock, which another thread may have held at the fork
        with import_lock:  # by which two threads do not make one each
            from ._exited import end_to_come  # at start-up concurrent.futures would take too long

            if (future := self._exited) is not None:
                return future
            future = end_to_come()
            object.__setattr__(self, "_exited", future)
        self._actor.on_end(future.set_result)  # takes a lock of whoever may wait for an import
        return future

    def on_exit_(self, callback: Callable[[ExitReport], object]) -> None:
        """Call `callback` with the `ExitReport` when the actor has ended, in whatever way; of one
        that is restarted, each time that one of its processes has.

        Callbacks run in the order in which they were added, in a thread that all actors of this
        process share, so they must not wait for long. In it no call waits for the restart of an
        actor, but raises `DeadlockError` at once: make it in a thread of your own. A callback that
        is added after the end runs at once, in the thread that adds it. Its exceptions go to
        `threading.excepthook`. If it refers to the handle, it keeps the handle alive, and so the
        actor. The end of the program does not wait for callbacks.

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
        self._actor.on_death(callback)

    def status_(self, timeout: float | None = 1.0) -> Status:
        """Return what the actor is doing; it answers at once, also while a method runs.

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
        """Return the Python stacks of all that the actor runs, and of its threads, as text.

        Each has the calls that it is of, with their numbers in `status_().calls`. A coroutine that
        waits has a stack too, as have the tasks that it has begun.

        This works also if C code holds the interpreter: if the actor does not answer within
        `timeout` seconds, a signal makes faulthandler write the stacks: those of the threads.

        Raises:
            CallTimeoutError: the process takes no signals: it is stopped.
            ActorDiedError: it has ended.
        """
        return self._actor.inspector.stack(timeout)

    def interrupt_(
        self,
        exc: BaseException | type[BaseException] = KeyboardInterrupt,
        timeout: float | None = 1.0,
        *,
        call: int | None = None,
    ) -> bool:
        """Raise an exception in what the actor runs; return False if it runs nothing.

        The running request, or the work loop, gets the exception. The actor and its state stay.
        C code that holds the interpreter is interrupted only when it releases it. A request that
        runs in a second thread, beside a work loop that does not ask for requests, is not
        interrupted; nor is one that runs in a thread of its own.

        Of many that run at once each is interrupted. A coroutine that waits is cancelled there, as
        by Ctrl-C within `asyncio.run`: its own code gets `asyncio.CancelledError`, and its caller
        the exception.

        A call that somebody debugs at a `breakpoint()` ends with `bdb.BdbQuit` instead.

        Args:
            exc: the exception, or its class. It is sent like any other.
            timeout: seconds within which the actor must confirm.
            call: the `RunningCall.number`, from `status_().calls`, of the one call that is to be
                interrupted. If that has ended, nothing is, and the result is False.

        Raises:
            CallTimeoutError: it did not.
            ActorDiedError: it has ended.
        """
        error = exc() if isinstance(exc, type) else exc
        return self._actor.inspector.interrupt(error, timeout, call or 0)

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
        if self._actor.errors.failed():
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
        pid = self._actor.instance.pid
        where = "no process yet" if pid is None else f"pid {pid}"
        return f"<Remote {self.name_!r} ({where}) : ({text_of(self._view.steps)})>"


def owned_by(handle: Handle[Any]) -> OwnedActor:
    """What this handle owns."""
    return handle._actor
