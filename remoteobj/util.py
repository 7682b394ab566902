"""Functions in processes and threads of their own, with results and exceptions that arrive."""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from collections.abc import Generator
from multiprocessing import util as mp_util
from typing import Any, Self

from ._actor.function import FunctionProgram
from ._actor.server import report_unraisable
from ._caller.connection import Connection
from ._caller.endpoint import decode_answer
from ._catching.catchers import Except, LocalExcept
from ._engines.registry import ActorProcess, unique_name
from ._jobs import Function, Job, name_of, thread, yields
from ._pickling.outcome import pack_error
from ._protocol.frames import encode
from ._protocol.messages import Frame, Kind
from ._proxy import Proxy
from ._wire.channel import ChannelClosedError
from .errors import ActorDiedError, NotListeningError

__all__ = ["job", "listener", "process", "thread"]


class process(ActorProcess, Job):
    """`func(*args, **kwargs)` in a process of its own.

    Arguments of the process itself end in an underscore; all others are the function's.

    Args:
        func: any function; lambdas, closures and functions of `__main__` too.
        results_: False does not send back what the function returns or yields.
        timeout_: seconds that `join` and leaving `with` wait; None waits for ever.
        raises_: whether `join` and leaving `with` raise what the function raised.
        name_: of the process; None numbers the function's: `load-1`.
        group_: for the signature's sake; must be None.
        daemon_: end it with the program. It may have children all the same.
        exc_: the `Except` that records what the function raises.
        close_: release the process object at the end of `join`, as `close()` does.
        start_method_: `fork`, `spawn` or `forkserver`.

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
        exc_: Except | None = None,
        close_: bool = False,
        start_method_: str | None = None,
        **kwargs: Any,
    ) -> None:
        if group_ is not None:
            raise ValueError("group_ must be None, as for multiprocessing.Process")
        name = name_ or unique_name(name_of(func))
        exc = exc_ if exc_ is not None else Except()
        self.exc: Except | LocalExcept = exc
        program = FunctionProgram(func, args, kwargs, name=name, exc=exc, results=results_)
        super().__init__(program, name=name, daemon=daemon_, start_method=start_method_)
        self._raises = raises_
        self._timeout = timeout_
        self._close = close_
        self._yields = results_ and yields(func)
        self._connection: Connection | None = None
        self._asked_to_end = False
        self._value: Any = None

    def start(self) -> Self:  # type: ignore[override]
        """Start it; gives the process itself."""
        super().start()
        _end_with_the_program(self)
        self._connection = Connection(self.data, self._lost, lambda _: self._lost)
        return self

    def _has_begun(self) -> bool:
        return self._connection is not None

    # --- its outcome ---------------------------------------------------------------------

    @property
    def result(self) -> Any:
        """What the function returned: None before that, and when it raised.

        Of a function that yields, a generator over the items that nobody has taken yet, as
        they come. What the function raises comes after them.
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
        while True:
            yields = pending.items is not None
            if yields:
                pending.stream()
            connection.wait(pending)
            if pending.items is not None and not yields:
                continue  # it has begun to yield: now wait for an item
            if pending.items:
                frame = pending.items.popleft()
            elif pending.failure is None and pending.first is not None:
                frame = pending.first
            else:
                self._told = True
                assert pending.failure is not None
                raise pending.failure()
            if frame.kind != Kind.ITEM:
                if pending.items is not None:
                    pending.items.append(frame)  # the end stays the end, however often asked
                self._told = self._told or frame.kind == Kind.ERROR
                return decode_answer(frame)
            yield decode_answer(frame)

    def _error(self) -> BaseException | None:
        if self._connection is None:
            return None
        pending = self._connection.init_call
        last = pending.items[-1] if pending.items else pending.first
        if last is not None and last.kind == Kind.ERROR:
            try:
                decode_answer(last)
            except BaseException as exc:
                return exc
        code = self.reap()
        if code not in (None, 0) and not self._asked_to_end:
            return ActorDiedError.from_exit(self.name, **self.exit_report()._asdict())
        return None

    def _lost(self, maybe_executed: bool) -> BaseException:
        ActorProcess.join(self, 1.0)
        return ActorDiedError.from_exit(self.name, **self.exit_report()._asdict())

    # --- its end -------------------------------------------------------------------------

    def join(self, timeout: float | None = None, raises: bool | None = None) -> None:
        """Wait until the process has ended. Results that nobody has read don't hinder it.

        Args:
            timeout: seconds; None is what `timeout_` said.
            raises: whether to raise what ended the function; None is what `raises_` said.

        Raises:
            Exception: what the function raised.
            ActorDiedError: it ended without an exception, by a signal say.
        """
        timeout = self._timeout if timeout is None else timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        connection = self._connection
        if connection is not None:
            connection.wait(connection.init_call, deadline, whole=True)
        super().join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        if self.is_alive():
            return
        if connection is not None:
            connection.close()
            self.release()
        if getattr(mp_util, "_exiting", False):
            return  # raised in there, it would leave what others registered undone
        if self._raises if raises is None else raises:
            self._raise_error()
        if self._close:
            self.close()

    def is_alive(self) -> bool:
        """Whether the process runs."""
        if self._connection is not None:
            self._connection.poll()  # it may be waiting for us to take its results in
        return super().is_alive()

    def throw(self, exc: BaseException | type[BaseException]) -> None:
        """Raise an exception in the running function, wherever it is.

        Raises:
            NotListeningError: the function does not run.
        """
        if not self._has_begun() or not self.is_alive():
            raise NotListeningError(f"{self.name} does not run: nothing can be thrown into it")
        thrown = exc() if isinstance(exc, type) else exc
        try:
            self.control.write(encode(Frame(Kind.THROW, 0, pack_error(thrown))))
        except ChannelClosedError:
            raise NotListeningError(f"{self.name} has just ended") from None

    def terminate(self) -> None:
        """Send SIGTERM: the function is unwound, its `finally` blocks run."""
        self._asked_to_end = True
        super().terminate()

    def kill(self) -> None:
        """End the process at once."""
        self._asked_to_end = True
        super().kill()

    def _give_up(self) -> None:
        try:
            self.terminate()
            self.join(timeout=3.0, raises=False)
        finally:  # Ctrl-C once more kills
            if self.is_alive():
                self.kill()
                self.join(raises=False)

    def __del__(self) -> None:
        if getattr(self, "_code", None) and self._raises and not self._told:
            error = self._error()
            if error is not None:
                report_unraisable(error)


def job(func: Function, /, *args: Any, threaded_: bool = False, **kwargs: Any) -> Any:
    """A function in a process, or with `threaded_=True` in a thread.

    >>> with job(max, 1, 2, threaded_=True) as j:
    ...     pass
    >>> j.result
    2
    """
    return (thread if threaded_ else process)(func, *args, **kwargs)


# --- the end of the program ----------------------------------------------------------------

_running: weakref.WeakSet[process] = weakref.WeakSet()
_registered_in = -1


def _end_with_the_program(started: process) -> None:
    """See to it that no daemonic process makes the program's end wait for ever."""
    global _registered_in
    if _registered_in != os.getpid():
        _registered_in = os.getpid()
        _running.clear()
        # multiprocessing itself would send one SIGTERM and then wait without a limit.
        mp_util.Finalize(None, _end_all, exitpriority=100)
    _running.add(started)


def _end_all() -> None:
    for one in (living := [one for one in _running if one.daemon and one.is_alive()]):
        one.terminate()
    try:
        for one in living:
            one._give_up()
    except KeyboardInterrupt:
        for one in living:
            one.kill()
        raise


# --- listeners -----------------------------------------------------------------------------


class _Listener(Job):
    """A job that serves an object, from entering `with` until leaving it."""

    remote: Proxy

    def __enter__(self) -> Self:
        super().__enter__()
        self.remote.wait_until_listening(self)
        return self

    def __exit__(self, *told: Any) -> None:
        if self.is_alive():
            # When it has stopped by itself, its own end tells what was wrong.
            with contextlib.suppress(NotListeningError, ActorDiedError):
                self.remote.passto(_stop_listening, self.remote)
        super().__exit__(*told)


class _ProcessListener(_Listener, process):
    pass


class _ThreadListener(_Listener, thread):
    pass


def listener(
    obj: object, *, bg: bool | None = False, threaded_: bool = False, **options: Any
) -> Any:
    """A process that serves an object: within `with`, `obj.remote` can be called.

    Args:
        obj: a `Proxy`, an object with one as its `remote`, or any other object; the proxy
            is the `remote` of what this gives.
        bg: how it listens, as for `Proxy.listen_`.
        threaded_: serve it from a thread instead.
        options: as for `process`.

    >>> with listener({"a": 1}) as serving:
    ...     serving.remote["b"] = 2
    ...     len(serving.remote)
    2
    """
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
        remote._ref.serve()


def _stop_listening(_: object, remote: Proxy) -> None:
    remote.stop_listen_()
