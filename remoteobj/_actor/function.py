"""What runs in the process of a function: one call, whose outcome is all that it says.

An actor that has one message, which is in its program from the first. So it has no mailbox: its
outcome is the reply to its own making, a value or a stream whose items nobody has to ask for. In
all else it is an actor: it answers to its owner's orders, and its replies travel as theirs do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from .._catching.catchers import USER_ERRORS, Except, LocalExcept
from .._engines.contract import OwnerLink, ProgramFailedError, named_parts
from .._fast_typing import NamedTuple
from .._os.interrupter import Interrupter, run_loop
from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from .._pickling.exceptions import unpack_error
from .._protocol.messages import INIT_ID, Frame, InterruptOrder, Kind
from .._wire.channel import StreamChannel
from .._wire.transport import ByteStream
from .breakpoints import answer_breakpoints
from .clients import Client
from .control import Control
from .iterators import data_frame, is_iterator
from .replies import error_frame, value_frame

__all__ = ["FunctionCall", "FunctionProgram"]


class FunctionCall(NamedTuple):
    """What is to be called, and whether anybody wants what it returns or yields."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: bool

    @property
    def name(self) -> str:
        """The function's name, also within `functools.partial`, or that of its class."""
        func = self.func
        while isinstance(func, partial):
            func = func.func
        return getattr(func, "__name__", type(func).__name__)

    @property
    def yields(self) -> bool:
        """Whether it gives a generator that somebody wants, as far as can be known before."""
        with import_lock:
            import inspect  # for a faster start-up: it is a tenth of it

        return self.results and inspect.isgeneratorfunction(self.func)


class FunctionProgram:
    """A function call, before it runs in a process of its own."""

    def __init__(self, call: FunctionCall, name: str, exc: Except | LocalExcept) -> None:
        self._call = call
        self._name = name
        self._exc = exc

    def run(self, link: OwnerLink) -> None:
        """Run it.

        Raises:
            ProgramFailedError: the function raised, or its result can't be sent.
            SystemExit: the function did.
        """
        answer_breakpoints()
        run = _Run(link, self._name, self._call.results)
        try:
            with self._exc(types=USER_ERRORS, raises=True):
                # Within this frame the interrupter finds users' code.
                run_loop(lambda: run.call(*self._taken()))
        except (ThreadUnwind, SystemExit):
            raise
        except BaseException as exc:
            frame = error_frame(INIT_ID, exc)
            run.owner.send(frame)
            raise ProgramFailedError(frame.payload) from None
        finally:
            # The control thread stays: the process may take its time to end.
            run.owner.mute()

    def _taken(self) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
        """The call, which is kept no longer than the function keeps its arguments."""
        func, args, kwargs, _ = self._call
        del self._call
        return func, args, kwargs

    def begin(self, link: OwnerLink) -> Callable[[], None]:
        raise NotImplementedError("a function has a process of its own")

    def end(self) -> None:
        """Nothing is left to end."""

    def parts(self) -> Iterable[tuple[str, object]]:
        return named_parts("func", *self._call[:3])

    @staticmethod
    def describe(request: bytes) -> str:
        return "its function"  # a function has no requests


class _Run:
    """The one call, while it runs: its owner is its only client, and gives it orders."""

    def __init__(self, link: OwnerLink, name: str, results: bool) -> None:
        self._link = link
        self._results = results
        self._interrupter = Interrupter((run_loop.__code__,), INTERNAL_CODE)
        self._control = Control(self, name)
        # It waits for its owner as long as it takes: a function must not run ahead without end.
        channel = StreamChannel(link.data)
        self.owner = Client(channel, self._control.flush_later, lambda: None, patience=None)

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Call the function, and tell the owner what comes of it."""
        self._listen()
        self._interrupter.raise_pending()
        result = func(*args, **kwargs)
        if not is_iterator(type(result)) or data_frame(INIT_ID, result) is not None:
            self._tell(Kind.VALUE, result)
        elif self._results:
            self._tell(Kind.STREAM, None)
            self._tell(Kind.END, self._push(result))
        else:
            for _ in result:
                pass
            self._tell(Kind.VALUE, None)

    def _listen(self) -> None:
        """Hear orders from now on: what they raise is raised from now on too."""
        self._interrupter.install()
        self._control.start(None, self._link.line)

    def _push(self, iterator: Iterator[Any]) -> Any:
        """Send the items as they come; the value that the iterator returns."""
        while True:
            try:
                item = next(iterator)
            except StopIteration as stop:
                return stop.value
            self._tell(Kind.ITEM, item)

    def _tell(self, kind: int, value: Any) -> None:
        """Tell the owner; raises what forbids that, and then what came meanwhile."""
        self._send(kind, value if self._results else None)
        self._interrupter.raise_pending()

    def _send(self, kind: int, value: Any) -> None:
        frame = value_frame(kind, INIT_ID, value)
        if frame.kind == Kind.ERROR:
            raise unpack_error(frame.payload)  # it can't be sent: the function's own error
        self.owner.send(frame)

    # --- what the control thread tells -----------------------------------------------------

    def handle_order(self, order: Frame) -> Frame | None:
        if order.kind == Kind.INTERRUPT:
            self._interrupter.throw(unpack_error(InterruptOrder.read(order.payload).error))
        elif order.kind == Kind.TERMINATE and self._link.repeat_sigterm is not None:
            self._link.repeat_sigterm()
        return None  # whoever throws something does not wait until it has arrived

    def owner_gone(self) -> None:
        if self._link.end_orphan is not None:
            self._link.end_orphan(lambda: None)

    def attach(self, stream: ByteStream, purpose: int) -> None:
        """Nobody else calls a function, follows it, or looks into it."""

    def resume(self, client: Client) -> None:
        """Nor has anybody requests that wait."""


INTERNAL_CODE = (_Run._listen.__code__, _Run._send.__code__)
"""Within these, what is thrown into the function is put off: half a frame would spoil the rest."""
