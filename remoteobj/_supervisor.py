"""`Supervisor`: children that are started again when they fail, as OTP's supervisors do it."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final, NoReturn, ParamSpec, Self, TypeVar, Unpack, cast

from ._option_types import ChildOptions
from ._options import Options
from ._os.lazy_import import import_lock
from ._program_end import SECOND_CTRL_C
from ._spawn import options_for
from .errors import NotListeningError, RestartLimitError

if TYPE_CHECKING:
    from ._child import Child
    from ._handle import Handle
    from ._option_types import SpawnOptions
    from ._restart_strategy import Restart, Strategy
    from ._supervision import Supervision

__all__ = ["SupervisedSpawner", "Supervisor"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

P = ParamSpec("P")
T = TypeVar("T")

_OF_THE_SUPERVISOR: Final = ("max_restarts", "restart_window", "backoff")


class SupervisedSpawner:
    """Spawns children with some options changed: what `Supervisor.options` gives."""

    def __init__(self, supervisor: Supervisor, changes: ChildOptions) -> None:
        _check(changes)
        self._supervisor = supervisor
        self._changes = changes

    def spawn(self, factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """Start a child: see `Supervisor.spawn`."""
        return self._supervisor._begin(factory, args, kwargs, self._changes)

    def supervisor(
        self,
        strategy: Strategy = "one-for-one",
        max_restarts: int = 3,
        within: float = 60.0,
        **options: Unpack[ChildOptions],
    ) -> Supervisor:
        """Start a supervisor as a child: see `Supervisor.supervisor`."""
        limits = max_restarts, within
        return self._supervisor._nest(
            strategy, limits, self._changes, cast("SpawnOptions", options)
        )

    def options(self, **changes: Unpack[ChildOptions]) -> SupervisedSpawner:
        """The same with further options changed."""
        return SupervisedSpawner(self._supervisor, {**self._changes, **changes})


def _check(changes: ChildOptions) -> None:
    """Refuse what no child can have.

    Raises:
        TypeError, ValueError: with what is wrong.
    """
    for name in _OF_THE_SUPERVISOR:
        if name in changes:
            raise TypeError(
                f"{name!r} is no option of a child: its supervisor restarts it at once, within a "
                "limit for all of its children, Supervisor(max_restarts=..., within=...)"
            )
    Options().but(cast("SpawnOptions", changes))


class Supervisor:
    """Starts actors, its *children*, and starts them again when they fail.

    A failure is a death by a signal, a crash, an exit code that is not 0, or a work loop that
    raises. The exception of a call is none. The new process has the same arguments and the same
    address, so that all handles and proxies of the child go on; calls that come meanwhile wait.

    Args:
        strategy: which children are restarted when one fails: `"one-for-one"`, that one alone;
            `"one-for-all"`, all; `"rest-for-one"`, that one and those that were started after it.
            The others among them are stopped before, in reverse order.
        max_restarts: how many restarts there may be within `within` seconds. At the failure after
            these the supervisor stops all its children, in reverse order, and has failed.
        within: the seconds within which restarts count.
        options: what the children get, where they are not given others.

    A child's option `restart` says after which of its ends it is restarted: `"on-failure"`, which
    is the default here, `"always"`, or `"never"`. A child that is ended by its handle, or that ends
    without being restarted, is no child any more.

    Leaving `with` stops the children in reverse order, and raises `RestartLimitError` if the
    supervisor has failed; `async with` does so without blocking the event loop. One that is
    garbage-collected stops its children too.

    >>> import os
    >>> from remoteobj import ActorDiedError, remote
    >>> @remote
    ... class Counter:
    ...     def __init__(self):
    ...         self.value = 0
    ...     def add(self):
    ...         self.value += 1
    ...         return self.value
    ...     def crash(self):
    ...         os._exit(1)
    >>> with Supervisor() as supervisor:
    ...     counter = supervisor.spawn(Counter)
    ...     _ = counter.add(), counter.add()
    ...     try:
    ...         counter.crash()
    ...     except ActorDiedError:
    ...         counter.exited_.done(), counter.add()
    (False, 1)
    """

    def __init__(
        self,
        strategy: Strategy = "one-for-one",
        max_restarts: int = 3,
        within: float = 60.0,
        **options: Unpack[ChildOptions],
    ) -> None:
        self._set_up(_supervising().new_supervision(strategy, max_restarts, within), options)

    def _set_up(self, supervision: Supervision, changes: ChildOptions) -> None:
        _check(changes)
        self._supervision = supervision
        self._changes = changes
        self._owner_pid = os.getpid()
        self._faces: dict[Child, Handle[Any] | Supervisor] = {}
        """What users have of each child. Those that are over are dropped now and then."""
        self._finalizer = weakref.finalize(
            self, _stop_in_background, supervision, self._faces, self._owner_pid
        )
        self._finalizer.atexit = False

    # --- children ----------------------------------------------------------------------------

    def spawn(self, factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """Start a child: an actor of what `factory(*args, **kwargs)` returns.

        It returns, and raises, as `remoteobj.spawn` does: a child whose `__init__` fails at this
        first time is no child. The arguments are kept, since each restart uses them again.

        Raises:
            RestartLimitError: the supervisor has failed.
            RuntimeError: the supervisor has been stopped.
            NotListeningError: this process is a forked copy of the supervisor's.
        """
        return self._begin(factory, args, kwargs, self._changes)

    def options(self, **changes: Unpack[ChildOptions]) -> SupervisedSpawner:
        """Options for some children alone: `s.options(restart="always").spawn(Cls, ...)`.

        Raises:
            TypeError: an option of such a name does not exist, or is the supervisor's own.
        """
        return SupervisedSpawner(self, {**self._changes, **changes})

    def supervisor(
        self,
        strategy: Strategy = "one-for-one",
        max_restarts: int = 3,
        within: float = 60.0,
        **options: Unpack[ChildOptions],
    ) -> Supervisor:
        """Start a supervisor as a child of this one.

        When it fails, that is one failure of a child of this one. It is then restarted as a whole:
        its children are started again in their order, and their handles go on. These get the
        options of this supervisor, but for `restart`, where they are not given others.
        """
        limits = max_restarts, within
        return self._nest(strategy, limits, self._changes, cast("SpawnOptions", options))

    def _nest(
        self,
        strategy: Strategy,
        limits: tuple[int, float],
        own: ChildOptions,
        changes: ChildOptions,
    ) -> Supervisor:
        self._check_owner()
        self._supervision.await_up()
        inherited = ChildOptions(**own)
        restart = cast("Restart", inherited.pop("restart", "on-failure"))
        new = _supervising().new_supervision
        supervision = new(strategy, *limits, restart, self._supervision)
        nested = object.__new__(Supervisor)
        nested._set_up(supervision, {**inherited, **changes})
        self._add(supervision, nested)
        return nested

    @property
    def children(self) -> list[Handle[Any] | Supervisor]:
        """The handles of its children, and supervisors below it, in the order of their start."""
        return list(self._known_faces().values())

    def _known_faces(self) -> dict[Child, Handle[Any] | Supervisor]:
        """Those of the children that there are; of the others, those that are over are dropped.

        That is asked of each child itself: others start children meanwhile, which no list has that
        was made before.
        """
        for child in list(self._faces):
            if child.over:
                self._faces.pop(child, None)
        known = [(child, self._faces.get(child)) for child in self._supervision.children]
        return {child: face for child, face in known if face is not None}

    def _begin(
        self,
        factory: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        changes: ChildOptions,
    ) -> Handle[T]:
        self._check_owner()
        options = options_for(factory, cast("SpawnOptions", changes))
        if options.restart == "never" and "restart" not in changes:
            options = options.but({"restart": "on-failure"})
        self._supervision.await_up()
        spawn = _supervising().spawn_child
        handle: Handle[T]
        child, handle = spawn(self._supervision, factory, args, kwargs, options)
        try:
            self._add(child, handle)
        except BaseException:
            handle.stop_()
            raise
        child.is_known()
        return handle

    def _add(self, child: Child, face: Handle[Any] | Supervisor) -> None:
        self._known_faces()
        while not self._supervision.add(child):
            self._supervision.await_up()
        self._faces[child] = face

    def _check_owner(self) -> None:
        if os.getpid() != self._owner_pid:
            raise NotListeningError(
                f"only the process that made {self._supervision.name} can start its children"
            )

    # --- its end -----------------------------------------------------------------------------

    def stop(self) -> None:
        """Stop the children, the last one first; a child that is being restarted is stopped too.

        Each has the time that its option `stop_timeout` gives it. If the supervisor has been
        stopped already, or this process is a forked copy of its own, nothing happens.
        """
        if os.getpid() == self._owner_pid:
            self._supervision.stop(None)
            self._known_faces()
            self._finalizer.detach()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the supervisor has ended: until it has failed or been stopped.

        Returns False if `timeout` seconds are over before.
        """
        return self._supervision.wait(timeout)

    @property
    def error(self) -> RestartLimitError | None:
        """Why it has failed, if it has."""
        return self._supervision.error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if getattr(exc, SECOND_CTRL_C, False):
            self._supervision.kill()
        self.stop()
        self._supervision.check()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with import_lock:
            from . import _async_with  # asyncio at start-up would take longer than all else

        supervision = self._supervision
        await _async_with.wait_beside(supervision.name, self.stop, supervision.kill)
        supervision.check()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Supervisor can't be sent to another process; send the handles of its children"
        )

    def __repr__(self) -> str:
        supervision = self._supervision
        number = len(supervision.children)
        return f"<{supervision.name}, {supervision.strategy}, of {number} children>"


def _supervising() -> ModuleType:
    with import_lock:
        from . import _supervising  # for a faster start-up: few programs have supervisors

    return _supervising


def _stop_in_background(
    supervision: Supervision, faces: dict[Child, Handle[Any] | Supervisor], owner_pid: int
) -> None:
    """The supervisor is gone. This may run anywhere, so it must neither wait nor raise.

    The handles are there until all children have been stopped: they would be stopped side by side
    if theirs ended before.
    """

    def stop() -> None:
        supervision.stop(None)
        faces.clear()

    if os.getpid() == owner_pid:
        with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
            name = f"remoteobj-stop-{supervision.name}"
            threading.Thread(target=stop, name=name, daemon=True).start()
