"""A pool: workers that do what they are given, and are replaced when they die."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    overload,
)

from ._actor.roles import OPTIONS
from ._caller.outcomes import Outcome, results
from ._options import Options
from ._os.lazy_import import import_lock
from ._pool_functions import FunctionCache, name_of
from .errors import UnsendableError

if TYPE_CHECKING:
    from ._pool_crew import Crew
    from ._pool_map import Bar, Flow, Results
    from ._pool_tasks import Task

__all__ = ["Pool", "pool_of"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")


class Pool(Executor, Generic[T]):
    """Workers that do what they are given: a `concurrent.futures.Executor`.

    Without a factory, `submit(f, *args)` calls `f(*args)` in a free worker, a process of its own.
    With one, each worker has an object that `factory(*args, **kwargs)` has made there, and
    `submit(f, *args)` calls `f(obj, *args)` with that of a free one: `submit(Model.embed, text)`.

    A worker that dies fails the task that it was at, with `ActorDiedError`, and is replaced. All
    other tasks have their own outcomes, and none is run twice. If three workers in a row can't be
    started, the pool is broken: all that is queued ends with `BrokenExecutor`.

    The workers are started at once, and this does not wait for them. They are actors, and `options`
    chooses how they live: `remoteobj.options(task_timeout=5).pool(4, Model)`.

    Args:
        n: how many workers; None: as many as there are processors that this process may use.
        factory: makes the object of each worker, over there.
        args, kwargs: its arguments.

    Raises:
        TypeError: `n` or an option is no number.
        ValueError: there are to be no workers.
        UnsendableError: the factory or an argument can't be pickled.

    >>> from remoteobj import Pool
    >>> with Pool(2) as pool:
    ...     pool.submit(pow, 2, 10).result()
    ...     list(pool.map(len, ["a", "bb", "ccc"]))
    1024
    [1, 2, 3]
    >>> with Pool(2, dict, a=1) as pool:
    ...     pool.submit(dict.get, "a").result()
    1
    """

    @overload
    def __init__(self: Pool[None], n: int | None = None) -> None: ...

    @overload
    def __init__(
        self, n: int | None, factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...

    def __init__(  # type: ignore[misc]  # `n` by its name is in the keywords
        self, n: int | None = None, factory: Any = None, /, *args: Any, **kwargs: Any
    ) -> None:
        self._set_up(n, factory, args, kwargs, getattr(factory, OPTIONS, None) or Options())

    def _set_up(
        self, n: int | None, factory: Any, args: Any, kwargs: Any, options: Options
    ) -> None:
        with import_lock:
            from ._pool_opening import crew_of  # for a faster start-up: few programs have a pool

        self._functions = FunctionCache()
        self._crew = crew_of(n, factory, args, kwargs, options)
        self._size = len(self._crew.seats)
        self._flows: weakref.WeakSet[Flow] = weakref.WeakSet()
        self._crew.start()
        finalizer = weakref.finalize(self, _close_in_background, self._crew)
        finalizer.atexit = False

    # --- tasks -----------------------------------------------------------------------------

    @overload  # type: ignore[override]
    def submit(
        self: Pool[None], fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]: ...

    @overload
    def submit(
        self, fn: Callable[Concatenate[T, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]: ...

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Have `fn(*args, **kwargs)` called in a free worker; with its object as the first argument
        if it has one.

        The function and its arguments are pickled now. What can't be pickled fails the future.
        Large arrays are not copied until they are sent: don't change them before it is done.

        Raises:
            RuntimeError: the pool was shut down, or is broken (`BrokenExecutor`).
        """
        task = self._task(fn, args, kwargs)
        if task.wanted:
            self._crew.submit(task)
        return task

    def _task(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> Task:
        if not callable(fn):
            raise TypeError(f"a pool calls functions, and {fn!r} can't be called")
        try:
            func = self._functions.get(fn)
            task = self._crew.task(func.what)
            task.prepare(func, args, kwargs)
        except UnsendableError as exc:
            self._crew.check_open()
            task = self._crew.task(name_of(fn))
            task.take_on()
            task.fail(exc)
        return task

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[R]:
        """Call `fn` with the items of the iterables, like Python's `map`, in all workers at once.
        Return an iterator of the results, in the order of the items.

        The items are read as results are asked for, and some ahead, so that there may be any number
        of them. Short calls are sent many at once, and each keeps its own outcome: if one fails,
        its error is raised in place of its result, and `next` goes on with what follows.

        Args:
            timeout: seconds from now after which a result that is not there is a `TimeoutError`.
            chunksize: how many calls are sent at once; None: as many as their duration tells.
            buffersize: how many items may be read whose results were not asked for; None: some for
                each worker.
            progress: whether a bar shows how far it is. It needs the package tqdm, which the extra
                `progress` installs.
        """
        return self._results(True, fn, iterables, timeout, chunksize, buffersize, progress)

    def map_unordered(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
        progress: bool = False,
    ) -> Iterator[R]:
        """The same as `map`, with the results in the order in which they come."""
        return self._results(False, fn, iterables, timeout, chunksize, buffersize, progress)

    def _results(
        self,
        in_order: bool,
        fn: Callable[..., Any],
        iterables: tuple[Iterable[Any], ...],
        timeout: float | None,
        chunksize: int | None,
        buffersize: int | None,
        progress: bool,
    ) -> Results[Any]:
        with import_lock:
            from ._pool_map import AsTheyCome, Flow, InOrder, Results  # as above, for start-up
            from ._pool_opening import check_count  # the same: start-up
            from ._pool_source import Source  # the same: start-up

        for name, value in (("chunksize", chunksize), ("buffersize", buffersize)):
            if value is not None:
                check_count(name, value)
        if not iterables:
            raise TypeError("map needs at least one iterable of arguments")
        self._crew.check_open()
        source = Source(
            self._crew,
            lambda args: self._task(fn, args, {}),
            lambda: self._functions.get(fn),
            iterables,
            chunksize,
            buffersize,
        )
        bar = _bar(name_of(fn), source.length) if progress else None
        line = InOrder() if in_order else AsTheyCome(self._crew.check_owner)
        flow = Flow(source, line, timeout, bar)
        flow.read()
        self._flows.add(flow)
        return Results(flow, self)

    def each(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> list[R]:
        """Call `fn` in every worker, once, and return the list of results.

        Each worker does it after what it has been given. When it returns or raises, all have ended.

        Raises:
            Exception: one call failed: its error, with a note that names the worker.
            ExceptionGroup: several failed.

        >>> from remoteobj import Pool
        >>> with Pool(2, list) as pool:
        ...     pool.each(list.append, 1)
        ...     pool.each(len)
        [None, None]
        [1, 1]
        """
        names = [f"worker {number} of {self._crew.name}" for number in range(self._size)]
        # No name is given to the tasks: errors of theirs lead here by their tracebacks.
        return results(list(map(_outcome_of, self._given_to_all(fn, args, kwargs))), names)

    def _given_to_all(
        self, fn: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> list[Task]:
        tasks = [self._task(fn, args, kwargs) for _ in self._crew.seats]
        for task, seat in zip(tasks, self._crew.seats, strict=True):
            if task.wanted:
                self._crew.submit(task, seat=seat)
        return tasks

    # --- the pool itself ---------------------------------------------------------------------

    def __len__(self) -> int:
        """How many workers it has."""
        return self._size

    def __bool__(self) -> bool:
        return True

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more tasks, and let the workers end after those that there are.

        What `map` still has to read of an iterable with a length is read now, unless futures are
        cancelled. Otherwise its results end with a `RuntimeError` where it was not read ahead.

        Args:
            wait: whether to wait until all is done and the workers have ended.
            cancel_futures: whether the tasks are cancelled that no worker has been given.
        """
        if not self._crew.is_own:
            return
        if not (cancel_futures or self._crew.closed):
            for flow in list(self._flows):
                if flow.source.length is not None:
                    flow.read(all_of_them=True)
        self._crew.close(cancel_futures)
        if wait:
            self._crew.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(exc, KeyboardInterrupt):
            self._cut_short()
        self.shutdown()

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

        await _async_with.wait_beside(self._crew.name, self.shutdown, self._cut_short)

    def _cut_short(self) -> None:
        """Whoever presses Ctrl-C, or cancels the wait, does not wait for what is at work."""
        self._crew.close(cancel=True)
        self._crew.give_up()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a pool can't be pickled: it belongs to the process that made it. Make one over there, "
            "or hand over an actor that has one"
        )

    def __repr__(self) -> str:
        state = " (shut down)" if self._crew.closed else ""
        return f"<Pool {self._crew.name!r} of {self._size} workers{state}>"


def pool_of(
    n: int | None,
    factory: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    options: Options,
) -> Pool[Any]:
    """A pool whose workers have these options."""
    pool: Pool[Any] = Pool.__new__(Pool)
    pool._set_up(n, factory, args, kwargs, options)
    return pool


def _outcome_of(task: Task) -> Outcome:
    error = task.exception()
    return (task.result(), None) if error is None else (None, error)


def _close_in_background(crew: Crew) -> None:
    """Nobody has the pool any more. This may run anywhere, so it must neither wait nor raise."""
    if crew.is_own and not crew.closed:
        with contextlib.suppress(RuntimeError):  # too late in the program's end for a thread
            crew.close_in_background()


def _bar(what: str, length: int | None) -> Bar:
    with import_lock:
        try:
            from tqdm import tqdm  # type: ignore[import-untyped]  # not at start-up: few want one
        except ImportError as exc:
            raise ModuleNotFoundError(
                "progress=True shows a bar by tqdm, which is not installed: "
                "pip install 'remoteobj[progress]'"
            ) from exc

    class Quiet(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # it needs no thread of its own

    Quiet.set_lock(threading.RLock())  # its own would be one between processes
    bar: Bar = Quiet(desc=what, total=length)
    return bar
