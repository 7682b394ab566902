"""Functions in processes of their own, and objects that a process or a thread serves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from ._actor.function import FunctionCall, FunctionProgram
from ._caller.answers import decode_answer
from ._caller.connection import Connection
from ._caller.control_client import ControlClient
from ._caller.shared_reader import OVER
from ._catching.catchers import Except, LocalExcept
from ._engines.contract import LaunchSpec, unique_name
from ._engines.process import ActorProcess
from ._engines.process_options import usual_options
from ._incarnation import error_of_death
from ._jobs import JOB_OPTIONS, Job, thread
from ._os.lazy_import import import_lock
from ._pickling.exceptions import pack_error, unpack_error
from ._program_end import register_at_exit
from ._protocol.frames import encode
from ._protocol.messages import INIT_ID, Frame, InterruptOrder, Kind
from ._proxy import Proxy
from ._wire.channel import ChannelClosedError
from .errors import ActorDiedError, NotListeningError

if TYPE_CHECKING:
    from ._caller.log_intake import LogIntake

__all__ = ["job", "listener", "process"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class process(Job, ActorProcess):
    """`func(*args, **kwargs)` in a process of its own.

    Arguments of the process itself end in an underscore; all others are the function's.

    Args:
        func: any function; lambdas, closures and functions of `__main__` too.
        results_: False: the result, or the items, are not sent back.
        timeout_: time limit in seconds for `join` and for leaving `with`; None: no limit.
        raises_: whether `join` and leaving `with` raise the exception of the function.
        name_: the name of the process; None: the function's name with a number, `load-1`.
        group_: must be None; it is there because `multiprocessing.Process` has it.
        daemon_: whether it ends with the program. It may have children in any case.
        exc_: the `Except` that records the exception of the function.
        close_: release the process object at the end of `join`, as `close()` does.
        start_method_: `fork`, `spawn` or `forkserver`.
        main_: `value` or `import`: how a process that is not forked gets what it needs of
            `__main__`.

    Leaving `with` joins it, and raises the function's exception; when the body itself
    raised, the process is ended instead. A process that dies without an exception raises
    `ActorDiedError`.

    >>> def squares(n):
    ...     for i in range(n):
    ...         yield i * i
    >>> with process(squares, 4) as p:
    ...     print(list(p.result))
    [0, 1, 4, 9]
    >>> with process(sum, [1, 2]) as p:
    ...     pass
    >>> p.result
    3
    """

    OWNERS = ActorProcess.OWNERS | {"_connection", "_intake", "_started_in", "_value", "exc"}

    _connection: Connection | None = None
    _intake: LogIntake | None = None
    _value: Any = None

    def _set_up(
        self,
        call: FunctionCall,
        name: str,
        daemon: bool,
        exc: Except | LocalExcept | None,
        start_method: str | None,
        main: str,
    ) -> None:
        self.exc: Except | LocalExcept = exc if exc is not None else Except()
        program = FunctionProgram(call, name, self.exc)
        usual = usual_options()
        spec = LaunchSpec(program, name, daemon, start_method, main=main, process_options=usual)
        ActorProcess.__init__(self, spec)
        self._yields = call.yields

    def start(self) -> Self:  # type: ignore[override]
        """Start it, and return the process itself."""
        ActorProcess.start(self)
        register_at_exit(self)
        self._begins()
        lost = partial(error_of_death, self)
        self._connection = Connection(self.data, lost, lambda _: lost)
        if self._options.logging is not None:
            with import_lock:
                from ._caller.log_intake import LogIntake  # at start-up only where it is used
            # Nothing there may lead to this object, which would then live until its process ends.
            client = ControlClient(self.control, self.name, partial(NotListeningError, self.name))
            self._intake = LogIntake(client)
        return self

    # --- its outcome ---------------------------------------------------------------------

    @property
    def result(self) -> Any:
        """What the function returned; None before that, and if it raised an exception.

        If the function yields, a generator of the items that have not been taken yet. An exception
        of the function is raised after them.
        """
        if self._connection is None:
            return None
        self._connection.poll()
        pending = self._connection.init_call
        if pending.items is not None or (self._yields and pending.first is None):
            return self._items(self._connection)
        if pending.first is not None and pending.first.kind == Kind.VALUE:
            if pending.first.payload:
                self._value = decode_answer(pending.first)
                pending.first = pending.first._replace(payload=b"", buffers=())
            return self._value
        return None

    def _items(self, connection: Connection) -> Generator[Any, None, Any]:
        pending = connection.init_call
        if pending.items is None:
            connection.wait(pending)  # until it has begun to yield, or has ended before that
        while pending.items is not None:
            pending.stream()
            connection.wait(pending)
            frame = pending.next()
            if frame is None or frame.kind != Kind.ITEM:
                break
            yield decode_answer(frame)
        else:
            frame = pending.first
        if frame is None:
            self._told = True
            assert pending.failure is not None
            raise pending.failure()
        if pending.items is not None:
            pending.items.append(frame)  # the end stays the end, however often it is asked for
        self._told = self._told or frame.kind == Kind.ERROR
        return decode_answer(frame)

    def _error(self) -> BaseException | None:
        if self._connection is None:
            return None
        pending = self._connection.init_call
        last = pending.items[-1] if pending.items else pending.first
        if last is not None and last.kind == Kind.ERROR:
            return unpack_error(last.payload)
        if self.exit_report().exitcode in (None, 0) or self._signals_sent:
            return None
        return error_of_death(self)

    # --- its end -------------------------------------------------------------------------

    def _wait(self, timeout: float | None) -> bool:
        connection = self._connection
        if connection is None or self._closed:  # type: ignore[attr-defined]
            ActorProcess.join(self, timeout)  # says that it has not been started, or is closed
            return False
        deadline = None if timeout is None else time.monotonic() + timeout
        connection.wait(connection.init_call, deadline, OVER)
        ActorProcess.join(self, None if deadline is None else max(0.0, deadline - time.monotonic()))
        if self.runs():
            return False
        connection.close()
        if self._intake is not None:
            self._intake.close()
        self.release(keep_sentinel=True)
        if self._close:
            self.close()
        return True

    def runs(self) -> bool:
        """Whether the process runs; False once it is closed."""
        if self._connection is not None:
            self._connection.poll()  # it may be waiting for us to take its results in
        return ActorProcess.runs(self)

    def _throw(self, exc: BaseException) -> None:
        order = InterruptOrder(pack_error(exc), INIT_ID)
        try:
            self.control.write(encode(Frame(Kind.INTERRUPT, INIT_ID, order.payload())))
        except ChannelClosedError:
            raise NotListeningError(f"{self.name} has just ended") from None

    def _give_up(self) -> None:
        try:
            if self.runs():
                self.terminate()
            if not self._closed:  # type: ignore[attr-defined]
                self.join(timeout=3.0, raises=False)  # which lets go of what it has
        finally:  # Ctrl-C once more kills
            if self.runs():
                self.kill()
                self.join(raises=False)

    # --- the end of the program ----------------------------------------------------------

    def _tell_at_exit(self) -> None:
        if self.daemon and self.runs():
            self.terminate()

    def _stop_at_exit(self, told_at: float) -> None:
        if self.daemon:
            self._give_up()

    def _kill_at_exit(self) -> None:
        if self.daemon and self.runs():
            self.kill()


def job(func: Callable[..., Any], /, *args: Any, threaded_: bool = False, **kwargs: Any) -> Any:
    """A function in a process, or with `threaded_=True` in a thread.

    >>> with job(max, 1, 2, threaded_=True) as j:
    ...     pass
    >>> j.result
    2
    """
    return (thread if threaded_ else process)(func, *args, **kwargs)


# --- listeners -----------------------------------------------------------------------------


class _Listener(Job):
    """A job that serves an object, from entering `with` until leaving it."""

    remote: Proxy

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.remote.wait_until_listening(self)
        except BaseException as exc:
            super().__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    def __exit__(self, *told: Any) -> None:
        if self.is_alive():
            # When it has stopped by itself, its own end tells what was wrong.
            with contextlib.suppress(NotListeningError, ActorDiedError):
                self.remote.passto(_stop_listening, self.remote)
        super().__exit__(*told)


class _ProcessListener(_Listener, process):
    OWNERS = process.OWNERS | {"remote"}


class _ThreadListener(_Listener, thread):
    pass


def listener(
    obj: object, *, bg: bool | None = False, threaded_: bool = False, **options: Any
) -> Any:
    """A process that serves an object: within `with`, `obj.remote` can be called.

    Args:
        obj: a `Proxy`, an object whose `remote` is a `Proxy`, or any other object. The result has
            the proxy as its `remote`.
        bg: how it listens, as for `Proxy.listen_`.
        threaded_: serve it from a thread instead.
        options: as for `process`.

    Raises:
        TypeError: an option of this name does not exist.

    >>> with listener({"a": 1}) as serving:
    ...     serving.remote["b"] = 2
    ...     len(serving.remote)
    2
    """
    for name in options:
        if name not in JOB_OPTIONS:
            raise TypeError(f"there is no option {name!r}; there are {', '.join(JOB_OPTIONS)}")
    remote = obj if isinstance(obj, Proxy) else getattr(obj, "remote", None)
    if not isinstance(remote, Proxy):
        remote = Proxy(obj)
    kind = _ThreadListener if threaded_ else _ProcessListener
    options.setdefault("name_", unique_name("listener"))
    serving = kind(_serve, remote, bg, **options)
    serving.remote = remote
    return serving


def _serve(remote: Proxy, bg: bool | None) -> None:
    with remote.listen_(bg=bg):
        while remote.listening_:
            remote.process_requests(timeout=None)


def _stop_listening(_: object, remote: Proxy) -> None:
    remote.stop_listen_()
