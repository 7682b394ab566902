"""What runs in the process of a function actor: one call, whose outcome is all it says."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from .._catching.catchers import USER_ERRORS, Except
from .._engines.contract import OwnerLink, ProgramFailedError
from .._os.interrupter import INTERRUPT
from .._os.thread_unwind import ThreadUnwind
from .._pickling.outcome import unpack_error
from .._protocol.frames import encode
from .._protocol.messages import INIT_ID, Frame, Kind
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.duplex import DuplexStream
from .clients import Client, error_frame, value_frame
from .control import Control

__all__ = ["FunctionProgram"]


class FunctionProgram:
    """A function call, before it runs in a process of its own."""

    def __init__(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        name: str,
        exc: Except,
        results: bool,
    ) -> None:
        self._call = (func, args, kwargs)
        self._name = name
        self._exc = exc
        self._results = results

    def run(self, link: OwnerLink) -> None:
        """Run it; exit code 1 when it raised."""
        voice = _Voice(link)
        control = Control(voice, self._name)
        control.start(None, link.control)
        try:
            with self._exc(types=USER_ERRORS, raises=True), voice.interruptible():
                self._tell(voice)
        except (ThreadUnwind, SystemExit):
            raise
        except BaseException as exc:
            frame = error_frame(INIT_ID, exc)
            voice.say(frame)
            raise ProgramFailedError(frame.payload) from None
        finally:
            voice.end_writing()  # the control thread stays: the process may take its time to end

    def _tell(self, voice: _Voice) -> None:
        func, args, kwargs = self._call
        del self._call
        result = func(*args, **kwargs)
        if hasattr(type(result), "__next__"):
            voice.say(Frame(Kind.STREAM, INIT_ID))
            self._say(voice, Kind.END, self._stream(voice, result))
        else:
            self._say(voice, Kind.VALUE, result)

    def _stream(self, voice: _Voice, iterator: Iterator[Any]) -> Any:
        """Send the items as they come; the value that the iterator returns."""
        while True:
            try:
                item = next(iterator)
            except StopIteration as stop:
                return stop.value
            if self._results:
                self._say(voice, Kind.ITEM, item)

    def _say(self, voice: _Voice, kind: Kind, value: Any) -> None:
        with voice.undisturbed():
            frame = value_frame(kind, INIT_ID, value if self._results else None)
            if frame.kind != Kind.ERROR:
                voice.say(frame)
        if frame.kind == Kind.ERROR:
            raise unpack_error(frame.payload)  # it can't be sent: the function's own error

    def begin(self, link: OwnerLink) -> Callable[[], None]:
        raise NotImplementedError("a function actor has a process of its own")

    def end(self) -> None:
        """Nothing is left to end."""

    @staticmethod
    def describe(request: bytes) -> str:
        return "the function"  # never asked: a function has no requests

    def parts(self) -> Iterable[tuple[str, object]]:
        func, args, kwargs = self._call
        return [
            ("func", func),
            *((f"args[{i}]", one) for i, one in enumerate(args)),
            *kwargs.items(),
        ]


class _Voice:
    """How a running function and its owner reach each other.

    The function speaks, from the main thread. The owner is heard by the control thread, for
    which these are the `ControlHandler`; what it throws is raised in the main thread, by a signal,
    so that it gets through a `time.sleep` too.
    """

    def __init__(self, link: OwnerLink) -> None:
        self._link = link
        self._channel = StreamChannel(link.data)
        self._thrown: list[BaseException] = []
        self._may_throw = False

    # --- speaking ------------------------------------------------------------------------

    def say(self, frame: Frame) -> None:
        """Write a frame whole. The owner takes everything in before it waits for our end."""
        with self.undisturbed(), contextlib.suppress(ChannelClosedError):
            # When nobody wants it any more, the function may have other things to do.
            left = self._channel.write(encode(frame))
            while left:
                self._channel.wait_to_write(False)
                left = self._channel.write(left)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """The time in which what the owner throws waits: half a frame would spoil the rest."""
        before, self._may_throw = self._may_throw, False
        try:
            yield
        finally:
            self._may_throw = before
        self._throw_now()

    def end_writing(self) -> None:
        """Nothing more will be said."""
        self._channel.end_writing()

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """The time in which what the owner throws is raised."""
        signal.signal(INTERRUPT, self._throw_now)
        self._may_throw = True
        try:
            self._throw_now()
            yield
        finally:
            self._may_throw = False

    def _throw_now(self, *_: object) -> None:
        if self._may_throw and self._thrown:
            raise self._thrown.pop(0)

    # --- hearing -------------------------------------------------------------------------

    def handle_order(self, order: Frame) -> Frame | None:
        if order.kind == Kind.THROW:
            self._thrown.append(unpack_error(order.payload))
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, INTERRUPT)
        return None

    def owner_gone(self) -> None:
        if self._link.end_orphan is not None:
            self._link.end_orphan(lambda: None)

    def attach(self, duplex: DuplexStream) -> None:
        """Nobody else calls a function."""

    def resume(self, client: Client) -> None:
        """Nor is anybody owed anything."""
