"""The errors of this package, as one tree. Each class says what caused it and what to do.

::

    RemoteObjError
    ├── NotListeningError   (RuntimeError)   no process serves the object now
    ├── ActorDiedError      (RuntimeError)   the process of the object has ended
    ├── SpawnTimeoutError   (TimeoutError)   ``__init__`` took too long
    ├── CallTimeoutError    (TimeoutError)   the call took too long
    ├── UnsendableError     (TypeError)      a value cannot be pickled
    ├── DeadlockError       (RuntimeError)   actors wait for each other
    ├── RestartLimitError   (RuntimeError)   actors failed too often to be restarted again
    ├── NameTakenError      (ValueError)     another actor has this public name
    └── RemoteError                          an exception that cannot be raised as itself

Here belong the classes and the wording of their messages. When they are raised, and how they travel
between processes, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from signal import Signals
from typing import Self

from ._exit_report import ExitReason, ExitReport, printable
from ._exit_report import describe as describe
from ._exit_report import type_name as type_name

__all__ = [
    "ActorDiedError",
    "CallTimeoutError",
    "DeadlockError",
    "ExitReason",
    "ExitReport",
    "NameTakenError",
    "NotListeningError",
    "RemoteError",
    "RemoteObjError",
    "RestartLimitError",
    "SpawnTimeoutError",
    "UnsendableError",
]

_SHOWN_AHEAD = 10  # calls that a message names: there may be thousands

# Invariant: every ``__init__`` below takes its message as the only positional argument and keeps
# everything else in ``__dict__``, so that ``cls(*args)`` followed by an update of ``__dict__``
# (what pickle and copy do with an exception) gives the same object back.


class RemoteObjError(Exception):
    """Root of everything that this package raises on its own account.

    A remote method's own exceptions are *not* below it: they arrive as what they are.

    >>> issubclass(ActorDiedError, RemoteObjError)
    True
    """


class NotListeningError(RemoteObjError, RuntimeError):
    """No process serves the object: none has started to listen, or it has stopped.

    The caller's side is at fault: it called before the start or after the stop. The call was
    not executed. Call ``wait_until_listening`` first, give a ``default=``, or keep the call
    inside the ``with`` block of the handle.

    >>> raise NotListeningError("the object has stopped")
    Traceback (most recent call last):
        ...
    remoteobj.errors.NotListeningError: the object has stopped
    """


class ActorDiedError(RemoteObjError, RuntimeError):
    """The process in which the object lived has ended.

    The actor's side is at fault: a signal, a crash in C code, ``os._exit``, no memory. The
    message says how it ended, with the stacks of a crash in C and the last lines of its
    ``sys.stderr``, control characters shown as ``\\x1b``. The state of the object is gone, unless
    the actor has the option ``restart`` and a checkpoint: then calls go on with the next process.
    Before you send the call again look at ``maybe_executed``: when it is true, the call may have
    had its effect.

    Attributes:
        report: the `ExitReport`, of which all but its name, pid and reason are attributes here too:
            ``exitcode``, ``signal``, ``running``, ``all_running``, ``last_stack``, ``last_output``,
            ``peak_memory`` and ``out_of_memory``. Only its owner knows more of its end than that
            it has come.
        maybe_executed: ``False`` only when the call surely had not begun.
        reports: of an actor that has failed too often to be restarted again, the `ExitReport` of
            each failure that counted, the oldest first. Else empty.

    >>> error = ActorDiedError.from_exit(ExitReport("counter", exitcode=-9), maybe_executed=False)
    >>> print(error)
    counter was killed by SIGKILL; the call was not executed
    >>> error.signal.name
    'SIGKILL'
    """

    def __init__(
        self,
        message: str = "the actor died",
        *,
        report: ExitReport | None = None,
        maybe_executed: bool = True,
        reports: Sequence[ExitReport] = (),
    ) -> None:
        super().__init__(message)
        self.reports: tuple[ExitReport, ...] = tuple(reports)
        self.report: ExitReport = report or ExitReport()
        self.maybe_executed = maybe_executed
        self.exitcode: int | None = self.report.exitcode
        self.signal: Signals | None = self.report.signal
        self.running: str | None = self.report.running
        self.all_running: tuple[str, ...] = self.report.all_running
        self.last_stack: str | None = self.report.last_stack
        self.last_output: str | None = self.report.last_output
        self.peak_memory: int | None = self.report.peak_memory
        self.out_of_memory: bool = self.report.out_of_memory

    @classmethod
    def from_exit(cls, report: ExitReport, maybe_executed: bool | None = None) -> Self:
        """Build the error, with its message, from what is known of the end of an actor.

        ``maybe_executed=None`` says that no call was concerned. What an actor failed with is the
        ``__cause__``.

        >>> print(ActorDiedError.from_exit(ExitReport("parser-1", exitcode=3)))
        parser-1 exited with code 3
        >>> print(ActorDiedError.from_exit(ExitReport("parser-1", exitcode=3), True))
        parser-1 exited with code 3; the call may have been executed
        """
        message = str(report)
        if maybe_executed is not None:
            whether = "may have been executed" if maybe_executed else "was not executed"
            message += f"; the call {whether}"
        if report.last_stack:
            message += f"\n\nIts last stack:\n{report.last_stack.rstrip()}"
        if report.last_output:
            message += f"\n\nIts last output:\n{report.last_output.rstrip()}"
        error = cls(printable(message), report=report, maybe_executed=bool(maybe_executed))
        error.__cause__ = report.error
        return error

    def of_call(self, text: str, begun: bool) -> ActorDiedError:
        """Return the error of one call, as which the actor was running that, if it was.

        Args:
            text: the call, as `running` has it.
            begun: whether it is known to have begun; otherwise it has if it is in `all_running`.
        """
        if text == self.running or not (begun or text in self.all_running):
            return self
        if self.reports:  # its message is about the restarts
            self.running = text
            return self
        return ActorDiedError.from_exit(self.report._replace(running=text), self.maybe_executed)


class SpawnTimeoutError(RemoteObjError, TimeoutError):
    """The actor's ``__init__`` did not finish in time; its process was killed.

    The actor's class is at fault, or the limit is too small for it. Give ``spawn`` more time,
    or do the slow part in a method that is called afterwards.

    >>> isinstance(SpawnTimeoutError("no sign of life for 5 s"), TimeoutError)
    True
    """


class CallTimeoutError(RemoteObjError, TimeoutError):
    """The call was not answered in the time that its caller gave it.

    The method is too slow, or stuck, or waits behind others. The call may still be executed;
    its late answer is dropped. The handle stays usable.

    Attributes:
        remote_stack: where the actor was at that moment, when it could still say so: first where
            this call was, if it had begun.
        queued_ahead: what was waiting in its mailbox before this call, one text per call. Nothing,
            if the call had begun.
        running_beside: what else it was running, one text per call.

    >>> error = CallTimeoutError("no answer in 2 s", queued_ahead=["?.step()"])
    >>> error.queued_ahead
    ('?.step()',)
    """

    def __init__(
        self,
        message: str = "the call was not answered in time",
        *,
        remote_stack: str | None = None,
        queued_ahead: Sequence[str] = (),
        running_beside: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.remote_stack = remote_stack
        self.queued_ahead: tuple[str, ...] = tuple(queued_ahead)
        self.running_beside: tuple[str, ...] = tuple(running_beside)

    @classmethod
    def while_running(
        cls,
        message: str,
        *,
        running: str | None,
        age: float = 0.0,
        remote_stack: str | None = None,
        queued_ahead: Sequence[str] = (),
        running_beside: Sequence[str] = (),
    ) -> CallTimeoutError:
        """Build the error, with its message, from what the actor is doing instead.

        >>> print(CallTimeoutError.while_running("no answer", running="?.step(...)", age=2.5))
        no answer; it has been running ?.step(...) for 2.5 s
        """
        if running is not None:
            message += f"; it has been running {running} for {age:.1f} s"
            if running_beside:
                others = len(running_beside)
                message += f", beside {others} other call{'s' * (others > 1)}"
        if queued_ahead:
            more = len(queued_ahead) - _SHOWN_AHEAD
            message += f"; before this call it has to run {', '.join(queued_ahead[:_SHOWN_AHEAD])}"
            message += f" and {more:,} more" * (more > 0)
        if remote_stack:
            message += f"\n\nIts stacks:\n{remote_stack.rstrip()}"
        return cls(
            printable(message),
            remote_stack=remote_stack,
            queued_ahead=queued_ahead,
            running_beside=running_beside,
        )


class UnsendableError(RemoteObjError, TypeError):
    """A value can't be pickled, so it can't leave its process.

    Whoever gave the value is at fault: the caller for an argument, the method for a result.
    Nothing was sent and the actor lives on. Leave the part at ``path`` out (``__getstate__``),
    send what is needed to make it again, or make it inside the actor.

    Attributes:
        path: the smallest part that fails, written as Python: ``args[0]['lock']``.

    The pickler's own exception is the ``__cause__``.

    >>> UnsendableError("can't pickle a lock", path="args[0]['lock']").path
    "args[0]['lock']"
    """

    def __init__(self, message: str = "the value can't be pickled", *, path: str = "") -> None:
        super().__init__(message)
        self.path = path

    @classmethod
    def for_part(cls, path: str, part: object, cause: BaseException, remedy: str) -> Self:
        """Build the error, with its message, for ``part``, which lies at ``path``.

        >>> cause = ValueError("it is stuck")
        >>> print(UnsendableError.for_part("args[1]", open, cause, "Free it."))
        ... # doctest: +ELLIPSIS
        args[1] can't be sent to another process: ... ValueError: it is stuck. Free it.
        """
        reason, kind = describe(cause).rstrip("."), type_name(type(part))
        words = f"it is of type {kind}, and pickling it raised {reason}. {remedy}"
        return cls(f"{path} can't be sent to another process: {words}", path=path)


class DeadlockError(RemoteObjError, RuntimeError):
    """The call would wait for itself: its actor waits for the caller, directly or through others.

    Either calls that began independently of each other wait for each other in a ring: one of them
    ends with this error after about a second. Or a call has come back to an actor that is spawned
    with `reentrant=False`; that one is refused at once. The message names the actors in their
    order, and shows where they wait. Or a callback of `on_exit_`, or of a future, calls an actor
    that is just to be restarted, in the thread that sees to restarts; that is refused at once, too.

    The program is at fault. The call was not executed, unless it had begun and was itself waiting
    in the ring: that one goes on, and its result is dropped. Use `cast_` for one of the calls, or
    `future_` and ask for its result later, or hand the object itself on instead of its handle.

    >>> raise DeadlockError("counter is waiting for this very method")
    Traceback (most recent call last):
        ...
    remoteobj.errors.DeadlockError: counter is waiting for this very method
    """


class RestartLimitError(RemoteObjError, RuntimeError):
    """Actors under a `Supervisor` have failed more often than it may restart them.

    The actors' side is at fault. The supervisor has stopped all its children; `reports` says how
    they failed. Mend the cause, or allow more by `max_restarts` and `within`.

    Attributes:
        reports: the `ExitReport` of each failure that counted, the oldest first.

    >>> report = ExitReport("counter", exitcode=-9)
    >>> print(RestartLimitError("the limit of 0 restarts is passed", reports=[report]))
    the limit of 0 restarts is passed: counter was killed by SIGKILL
    """

    def __init__(
        self,
        message: str = "the limit of restarts is passed",
        *,
        reports: Sequence[ExitReport] = (),
    ) -> None:
        super().__init__(message)
        self.reports: tuple[ExitReport, ...] = tuple(reports)

    def __str__(self) -> str:
        told = "; ".join(str(one) for one in self.reports)
        return super().__str__() + (f": {told}" if told else "")


class NameTakenError(RemoteObjError, ValueError):
    """Another live actor of this user has the public name.

    The caller's side is at fault: choose another name, or stop the actor that has this one; the
    message says which process that is.

    >>> raise NameTakenError("the name 'front' is taken")
    Traceback (most recent call last):
        ...
    remoteobj.errors.NameTakenError: the name 'front' is taken
    """


class RemoteError(RemoteObjError):
    """Stands for a remote exception that cannot be raised as itself.

    Either it can't be rebuilt here (its class can't be imported, it holds something that can't
    be pickled), or it would end the caller's own loop, as ``SystemExit`` and ``StopIteration``
    do: then it is the ``__cause__``. The remote method is at fault; read ``remote_traceback``.

    Attributes:
        type_name: qualified name of the remote exception's type: ``package.module.Name``.
        remote_traceback: the remote traceback as text, shown by ``str()``. Empty when the
            ``__cause__`` is the remote exception itself, which brings its own.

    >>> error = RemoteError("lab.Jammed: at 3", type_name="lab.Jammed", remote_traceback="...")
    >>> print(error)
    lab.Jammed: at 3
    <BLANKLINE>
    Remote traceback:
    ...
    """

    def __init__(
        self,
        message: str = "the remote method raised an exception",
        *,
        type_name: str = "",
        remote_traceback: str = "",
    ) -> None:
        super().__init__(message)
        self.type_name = type_name
        self.remote_traceback = remote_traceback

    @classmethod
    def around(cls, exc: BaseException) -> Self:
        """Wrap an exception that would do harm if it were raised here itself.

        >>> RemoteError.around(SystemExit(3))
        RemoteError('the remote method raised SystemExit: 3')
        """
        error = cls(f"the remote method raised {describe(exc)}", type_name=type_name(type(exc)))
        error.__cause__ = exc
        return error

    @classmethod
    def in_place_of(cls, name: str, summary: str, text: str, why: str) -> Self:
        """Stand for an exception of type ``name``, which can't be rebuilt for the reason ``why``.

        >>> RemoteError.in_place_of("lab.Jam", "lab.Jam: at 3", "...", "no module lab").type_name
        'lab.Jam'
        """
        message = f"{summary} (as text, since it can't be rebuilt here: {why})"
        return cls(message, type_name=name, remote_traceback=text)

    def __str__(self) -> str:
        text = self.remote_traceback.rstrip()
        return super().__str__() + (f"\n\nRemote traceback:\n{text}" if text else "")


COROUTINE_REMEDY = "Only a result is awaited: have an `async def` method await what is within"
"""What to do about a coroutine within a value."""

ASYNC_ITERATOR_REMEDY = (
    "Its items are awaited, for which an actor has an event loop if its class has `async def` "
    "methods of its own"
)
"""What to do about an asynchronous iterator where there is no event loop."""
