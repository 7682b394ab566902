"""What a function in a process and one in a thread have in common; and the one in a thread."""

from __future__ import annotations

import os
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from multiprocessing import util as mp_util
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ._actor.function import FunctionCall
from ._catching.catchers import ANY, USER_ERRORS, Except, LocalExcept
from ._catching.unseen import before_telling, expect_failures, tell, was_seen
from ._engines.contract import chosen_start_method, unique_name
from ._os.fork_safety import leave_to_parent
from ._os.lazy_import import import_lock
from ._os.thread_unwind import raise_in_thread
from .errors import ActorDiedError, CallTimeoutError, ExitReport, NotListeningError

__all__ = ["JOB_OPTIONS", "Job", "thread"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


JOB_OPTIONS: Final = (
    "results_",
    "timeout_",
    "raises_",
    "name_",
    "group_",
    "daemon_",
    "exc_",
    "close_",
    "start_method_",
)
"""What `Job` takes beside what is the function's."""

_END: Final = object()
"""Comes after the last item of a thread."""


class Job:
    """The face that a function's process and its thread share, with the options of both."""

    exc: Except | LocalExcept
    name: str
    _told = False  # whether somebody was given the exception that ended it
    _started_in = -1  # the process that started it, and so may tell how it failed

    def __init__(
        self,
        func: Callable[..., Any],
        /,
        *args: Any,
        results_: bool = True,
        timeout_: float | None = None,
        raises_: bool = True,
        name_: str | None = None,
        group_: None = None,
        daemon_: bool = True,
        exc_: Except | LocalExcept | None = None,
        close_: bool = False,
        start_method_: str | None = None,
        main_: str = "value",
        **kwargs: Any,
    ) -> None:
        if group_ is not None:
            raise ValueError("group_ must be None, as for multiprocessing.Process")
        call = FunctionCall(func, args, kwargs, results_)
        name = name_ or unique_name(call.name)
        self._set_up(call, name, daemon_, exc_, start_method_, main_)
        # Only now: what a process has before goes along to the new one.
        self._timeout = timeout_
        self._raises = raises_
        self._close = close_

    if TYPE_CHECKING:  # what the process, and the thread, bring with them

        @property
        def ident(self) -> int | None: ...
        def start(self) -> Any: ...
        def is_alive(self) -> bool: ...
        def _set_up(
            self,
            call: FunctionCall,
            name: str,
            daemon: bool,
            exc: Except | LocalExcept | None,
            start_method: str | None,
            main: str,
        ) -> None: ...
        def exit_report(self) -> ExitReport:
            """What is known of its end."""
            ...

        def runs(self) -> bool:
            """Whether it runs. False once it is closed, too."""
            ...

        def _wait(self, timeout: float | None) -> bool:
            """Wait for its end; whether that has come."""
            ...

        def _error(self) -> BaseException | None:
            """What ended the function, if it did not return."""

        def _throw(self, exc: BaseException) -> None:
            """Raise an exception in the function, which runs."""

        def _give_up(self) -> None:
            """End it, as far as that can be done."""

    def join(self, timeout: float | None = None, raises: bool | None = None) -> None:
        """Wait until it has ended. Results that nobody has read don't hinder it.

        Args:
            timeout: seconds; None is what `timeout_` said.
            raises: whether to raise what ended the function; None is what `raises_` said.

        Raises:
            Exception: what the function raised.
            ActorDiedError: its process ended without an exception, by a signal say.
        """
        ended = self._wait(self._timeout if timeout is None else timeout)
        # Raised at the program's end, it would leave what others have registered for that undone.
        raises = not getattr(mp_util, "_exiting", False) and (
            self._raises if raises is None else raises
        )
        if ended and raises:
            self._raise_error()

    def throw(self, exc: BaseException | type[BaseException]) -> None:
        """Raise an exception in the running function, wherever it is; in a thread, when that next
        runs Python code.

        Raises:
            NotListeningError: the function does not run.
        """
        if not self.is_alive():
            raise NotListeningError(f"{self.name} does not run: nothing can be thrown into it")
        self._throw(exc() if isinstance(exc, type) else exc)

    def raise_any(self, group: Any = ANY) -> None:
        """Raise the last exception of a group, or what ended the function; else a no-op."""
        self.exc.raise_any(group)
        if group is ANY:
            self._raise_error()

    def _raise_error(self) -> None:
        error = self._error()
        if error is not None:
            self._told = True
            raise error

    def __enter__(self) -> Self:
        if self.ident is None:
            self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is not None:
            failed = isinstance(exc, ActorDiedError) and not self.runs()
            self._give_up()
            if failed and self._raises and not isinstance(self._error(), ActorDiedError):
                self._raise_error()  # why it died, if it was this one, in its own words
            return
        if not self._wait(self._timeout):
            self._give_up()
            raise CallTimeoutError(f"{self.name} did not finish within {self._timeout} s")
        if self._raises and not self._told:
            self._raise_error()

    def _begins(self) -> None:
        """It starts: from now on it may fail."""
        self._started_in = os.getpid()
        _jobs.add(self)
        expect_failures()

    def tell_unseen(self) -> None:
        """Tell what ended the function, where it was to be raised and nobody has looked at it."""
        ours = self._started_in == os.getpid() and not self.runs()
        error = self._error() if ours and self._raises and not self._told else None
        if error is not None and not was_seen(self.exc):
            self._told = True
            tell(f"{self.name}: its function failed, and nobody has looked at that", error)

    # The names of a module may be gone by the time in which the interpreter ends.
    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # else it was done before: see `_tell_all`
            self.tell_unseen()


_jobs: weakref.WeakSet[Job] = weakref.WeakSet()
"""Those that were started and that somebody has."""


def _tell_all() -> None:
    for one in list(_jobs):
        one.tell_unseen()


before_telling(_tell_all)


def _forget() -> None:
    global _jobs
    leave_to_parent(_jobs)
    _jobs = weakref.WeakSet()


os.register_at_fork(after_in_child=_forget)


class thread(Job, threading.Thread):
    """`func(*args, **kwargs)` in a thread, with the methods of `process`.

    It takes the same arguments; `close_`, `start_method_` and `main_` have no effect.

    >>> with thread(sorted, [3, 1, 2]) as t:
    ...     pass
    >>> t.result
    [1, 2, 3]
    """

    def _set_up(
        self,
        call: FunctionCall,
        name: str,
        daemon: bool,
        exc: Except | LocalExcept | None,
        start_method: str | None,
        main: str,
    ) -> None:
        threading.Thread.__init__(self, name=name, daemon=daemon)
        chosen_start_method(start_method)  # what a process would refuse is refused here as well
        self.exc: Except | LocalExcept = exc if exc is not None else LocalExcept()
        self._call: FunctionCall | None = call
        self._failure: BaseException | None = None
        self._value: Any = None
        with import_lock:
            from queue import SimpleQueue  # for a faster start-up: processes need none

        # One step of the interpreter each way: what is thrown leaves no lock behind.
        self._items: Any = SimpleQueue()
        self._yields = call.yields

    def start(self) -> Self:  # type: ignore[override]
        """Start it, and return the thread itself."""
        threading.Thread.start(self)
        self._begins()
        return self

    def run(self) -> None:
        """Run the function, in the thread."""
        call, self._call = self._call, None
        assert call is not None
        value = None
        try:
            with self.exc(types=USER_ERRORS, raises=True):
                value = call.func(*call.args, **call.kwargs)
                if hasattr(type(value), "__next__"):
                    value = self._drain(value, call.results)
            self._value = value if call.results else None
        except SystemExit:
            pass
        except BaseException as exc:
            self._failure = exc
        finally:
            self._items.put(_END)

    def _drain(self, iterator: Any, results: bool) -> Any:
        self._yields = results
        while True:
            try:
                item = next(iterator)
            except StopIteration as stop:
                return stop.value
            if results:
                self._items.put(item)

    @property
    def result(self) -> Any:
        """What the function returned, or a generator over what it yields."""
        return self._take() if self._yields else self._value

    def _take(self) -> Generator[Any, None, Any]:
        while (item := self._items.get()) is not _END:
            yield item
        self._items.put(_END)  # it stays the end, however often it is asked for
        self._raise_error()
        return self._value

    def _error(self) -> BaseException | None:
        return self._failure

    def exit_report(self) -> ExitReport:
        """What is known of its end."""
        if self._failure is not None:
            return ExitReport(self.name, os.getpid(), 1, "failed", self._failure)
        return ExitReport(self.name, os.getpid(), reason="stopped")

    def runs(self) -> bool:
        return self.is_alive()

    def _wait(self, timeout: float | None) -> bool:
        threading.Thread.join(self, timeout)
        return not self.is_alive()

    def _throw(self, exc: BaseException) -> None:
        raise_in_thread(self, _carrier(exc))

    def _give_up(self) -> None:
        if self.is_alive():
            self.throw(SystemExit)
        self.join(timeout=1.0, raises=False)


def _carrier(exc: BaseException) -> type[BaseException]:
    """A class that makes this very exception: the interpreter throws only classes."""
    kind = type(exc)
    return type(kind.__name__, (kind,), {"__new__": lambda *_: exc})
