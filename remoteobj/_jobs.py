"""What a function in a process and one in a thread have in common; and the one in a thread."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ._catching.catchers import ANY, USER_ERRORS, Except, LocalExcept
from ._engines.contract import unique_name
from ._os.lazy_import import import_lock
from .errors import CallTimeoutError, NotListeningError

__all__ = ["Function", "Job", "name_of", "thread", "yields"]

Function = Callable[..., Any]


def name_of(func: Function) -> str:
    """A function's name, also within `functools.partial`, or that of its class."""
    while isinstance(func, partial):
        func = func.func
    return getattr(func, "__name__", type(func).__name__)


def yields(func: Function) -> bool:
    """Whether calling it gives a generator, as far as can be known before."""
    with import_lock:
        import inspect  # for a faster start-up: it is a tenth of it

    return inspect.isgeneratorfunction(func)


class Job:
    """The face that a function's process and its thread share."""

    exc: Except | LocalExcept
    name: str
    _raises: bool
    _timeout: float | None
    _told = False  # whether somebody was given the exception that ended it

    if TYPE_CHECKING:  # what the process, and the thread, bring with them

        def start(self) -> Any: ...
        def join(self, timeout: float | None = None, raises: bool | None = None) -> None: ...
        def is_alive(self) -> bool: ...
        def _has_begun(self) -> bool: ...

    def _error(self) -> BaseException | None:
        """What ended the function, if it did not return."""

    def _give_up(self) -> None:
        """End it, as far as that can be done."""

    def __enter__(self) -> Self:
        if not self._has_begun():
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            self._give_up()
            return
        self.join(raises=False)
        if self.is_alive():
            self._give_up()
            raise CallTimeoutError(f"{self.name} did not finish within {self._timeout} s")
        if self._raises and not self._told:
            self._raise_error()

    def _raise_error(self) -> None:
        error = self._error()
        if error is not None:
            self._told = True
            raise error

    def raise_any(self, group: Any = ANY) -> None:
        """Raise the last exception of a group, or what ended the function; else a no-op."""
        self.exc.raise_any(group)
        if group is ANY:
            self._raise_error()


class thread(threading.Thread, Job):
    """`func(*args, **kwargs)` in a thread: the face of `process`, without a process.

    >>> with thread(sorted, [3, 1, 2]) as t:
    ...     pass
    >>> t.result
    [1, 2, 3]
    """

    def __init__(
        self,
        func: Function,
        /,
        *args: Any,
        results_: bool = True,
        timeout_: float | None = None,
        raises_: bool = True,
        name_: str | None = None,
        group_: None = None,
        daemon_: bool = True,
        exc_: Except | LocalExcept | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(group_, name=name_ or unique_name(name_of(func)), daemon=daemon_)
        self.exc: Except | LocalExcept = exc_ if exc_ is not None else LocalExcept()
        self._call: tuple[Function, Any, Any] | None = (func, args, kwargs)
        self._results = results_
        self._raises = raises_
        self._timeout = timeout_
        self._failure: BaseException | None = None
        self._value: Any = None
        self._over = False
        self._came = threading.Condition()
        self._queue: collections.deque[Any] | None = None
        if results_ and yields(func):
            self._queue = collections.deque()

    def start(self) -> Self:  # type: ignore[override]
        """Start it; gives the thread itself."""
        super().start()
        return self

    def _has_begun(self) -> bool:
        return self.ident is not None

    def run(self) -> None:
        """Run the function, in the thread."""
        assert self._call is not None
        func, args, kwargs = self._call
        self._call = None
        value: Any = None
        try:
            with self.exc(types=USER_ERRORS, raises=True):
                value = func(*args, **kwargs)
                if hasattr(type(value), "__next__"):
                    value = self._drain(value)
            self._value = value if self._results else None
        except SystemExit:
            pass
        except BaseException as exc:
            self._failure = exc
        finally:
            with self._came:
                self._over = True
                self._came.notify_all()

    def _drain(self, iterator: Any) -> Any:
        if self._queue is None and self._results:
            self._queue = collections.deque()
        while True:
            try:
                item = next(iterator)
            except StopIteration as stop:
                return stop.value
            if self._queue is not None:
                with self._came:
                    self._queue.append(item)
                    self._came.notify()

    @property
    def result(self) -> Any:
        """What the function returned, or a generator over what it yields."""
        return self._value if self._queue is None else self._items(self._queue)

    def _items(self, queue: collections.deque[Any]) -> Generator[Any, None, Any]:
        while True:
            with self._came:
                self._came.wait_for(lambda: queue or self._over)
                if not queue:
                    break
                item = queue.popleft()
            yield item
        self._raise_error()
        return self._value

    def _error(self) -> BaseException | None:
        return self._failure

    def join(self, timeout: float | None = None, raises: bool | None = None) -> None:
        """Wait until the thread has ended; raises what ended the function, as `process` does."""
        super().join(self._timeout if timeout is None else timeout)
        if not self.is_alive() and (self._raises if raises is None else raises):
            self._raise_error()

    def throw(self, exc: BaseException | type[BaseException]) -> None:
        """Raise an exception in the running function, when it next runs Python code."""
        if not self.is_alive() or self.ident is None:
            raise NotListeningError(f"{self.name} does not run: nothing can be thrown into it")
        thrown = exc() if isinstance(exc, type) else exc
        with import_lock:
            import ctypes  # for a faster start-up: little else needs it

        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.ident), ctypes.py_object(_carrier(thrown))
        )

    def _give_up(self) -> None:
        if self.is_alive():
            self.throw(SystemExit)
        self.join(timeout=1.0, raises=False)


def _carrier(exc: BaseException) -> type[BaseException]:
    """A class that makes this very exception: the interpreter throws only classes."""
    kind = type(exc)
    return type(kind.__name__, (kind,), {"__new__": lambda *_: exc})
