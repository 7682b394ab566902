"""A process that calls, as its actor sees it: what it is owed, and what streams to it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, dumps, loads, pickled
from .._pickling.outcome import for_caller, pack_error, unpack_error
from .._protocol.chains import CallChain
from .._protocol.frames import encode
from .._protocol.messages import Bytes, Frame, Kind
from .._wire.channel import ChannelClosedError, StreamChannel
from ..errors import ActorDiedError, ExitReport, RemoteError, type_name

__all__ = [
    "PATIENCE",
    "OpenStream",
    "Client",
    "cut_off_frame",
    "error_frame",
    "is_iterator",
    "size_of",
    "value_frame",
]

_new = tuple.__new__
_ITEM = int(Kind.ITEM)  # a plain number is packed sooner

OUR_PACKAGE = __name__.partition(".")[0]
PATIENCE = 0.05
"""Seconds without progress after which a reply is left to be written in the background."""


class Client:
    """A process that calls: its channel, its queue, its streams, what it is still owed."""

    def __init__(
        self,
        channel: StreamChannel,
        flush_later: Callable[[Client], None],
        wake: Callable[[], None],
        patience: float | None,
    ) -> None:
        self.channel = channel
        self.told: deque[Frame] = deque()
        """What the channel has to say of its own; it goes along with what is written next."""
        channel.buffer_exchange.tell = _not_kept(self)
        self._wake = wake
        self._patience = patience
        self.requests: deque[Frame] = deque()
        self.held = 0
        """Bytes in its requests."""
        self.streams: dict[int, OpenStream] = {}
        self.gone = False
        self.cut = False
        """Whether nothing can be said to it any more."""
        self.has_actors = False
        """Whether actors call from there."""
        self.awaited = 0
        """How many calls in the queue are such that an actor waits for them."""
        self.waiters: dict[int, CallChain] = {}
        """By the id of an open call: those who wait for it, as the caller has last said."""
        self._flush_later = flush_later
        self._lock = threading.Lock()
        self.owed: list[Any] = []
        """What was written for it and has not gone out yet."""

    def send(self, frame: tuple[int, int, Bytes, Any]) -> None:
        """Write a frame, or leave what a slow reader does not take to the flusher."""
        with self._lock:
            parts = self.channel.encode(Frame(*frame)) if frame[3] else encode(frame)
            while self.told:
                parts = [*parts, *encode(self.told.popleft())]
            try:
                if not self.owed:
                    parts = self.channel.write(parts)
                    if not parts:
                        return
                    parts = self._write_patiently(parts)
            except ChannelClosedError:
                return  # reading will find the end too, and see to it
            except BaseException:
                self.cut_off()  # nothing may follow half a frame
                raise
            if parts:
                # Copied: the object may change what its result still refers to.
                self.owed += map(bytes, parts)
                self._flush_later(self)

    def cut_off(self) -> None:
        """Say nothing more: it finds the end of the line, in place of a reply or a goodbye."""
        self.cut = True
        self.channel.end_writing()

    def end_stream(self, call_id: int) -> None:
        """A stream of its is over, or given up."""
        del self.streams[call_id]
        self.waiters.pop(call_id, None)

    def _tell(self, frame: Frame) -> None:
        self.told.append(frame)
        self._wake()

    def send_told(self) -> None:
        """Write what nothing else has taken along."""
        if self.told:
            self.send(self.told.popleft())

    def _write_patiently(self, left: list[Any]) -> list[Any]:
        """Write on until it takes too long; `patience=None`: however long it takes."""
        while left:
            limit = None if self._patience is None else time.monotonic() + self._patience
            if not self.channel.wait_to_write(False, limit):
                break
            left = self.channel.write(left)
        return left

    def flush(self) -> bool:
        """Write what is owed, as far as it goes; True when nothing is left."""
        with self._lock:
            try:
                self.owed = self.channel.write(self.owed)
            except ChannelClosedError:
                self.owed = []
            return not self.owed


def _not_kept(client: Client) -> Callable[[Frame], None]:
    """Have a frame said to a peer, which is not kept alive for that."""
    mine = weakref.ref(client)

    def tell(frame: Frame) -> None:
        if (client := mine()) is not None:
            client._tell(frame)

    return tell


class OpenStream:
    """An iterator that a call returned, and how far its consumer lets it go."""

    def __init__(self, client: Client, request: Frame, iterator: Iterator[Any]) -> None:
        self.client = client
        self.request = request._replace(buffers=())
        self.call_id = request.call_id
        self.credit = 0
        self.sent = 0
        """Items that have been sent."""
        self.said: deque[Frame] = deque()
        """What the consumer sends and raises in it, each for one step."""
        self._iterator: Any = iterator

    def advance(self) -> Frame:
        """The frame of the next item, of the end, or of the error."""
        try:
            item = self.step()
        except StopIteration as stop:
            return value_frame(Kind.END, self.call_id, stop.value, self.client.channel.writable)
        except ThreadUnwind:
            raise
        except BaseException as exc:
            return error_frame(self.call_id, exc)
        return value_frame(_ITEM, self.call_id, item, self.client.channel.writable)

    def step(self) -> Any:
        """The next item, made by users' code; raises what that raises."""
        if not self.said:
            return next(self._iterator)
        said = self.said.popleft()
        if said.kind == Kind.SEND:
            return self._iterator.send(loads(said.payload, said.buffers))
        return self._iterator.throw(unpack_error(said.payload))

    def close(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


_NO_ITERATORS = frozenset({list, tuple, dict, set, frozenset})


def is_iterator(cls: type) -> bool:
    """Whether it has `__next__`, asked so that no code of a user's metaclass runs."""
    return cls not in _NO_ITERATORS and any("__next__" in vars(base) for base in cls.__mro__)


def size_of(request: Frame) -> int:
    """The bytes that it holds."""
    return len(request[2]) + (sum(map(len, request[3])) if request[3] else 0)


def value_frame(kind: int, call_id: int, value: Any, writable: bool = True) -> Frame:
    """The frame that carries a value, or the error that it can't be sent."""
    if type(value) in SCALARS:
        return _new(Frame, (kind, call_id, pickled(value, 5), ()))
    try:
        payload, buffers = dumps(value, "result", writable)
    except ThreadUnwind:
        raise
    except BaseException as exc:
        return error_frame(call_id, exc)
    return _new(Frame, (kind, call_id, payload, buffers))


def error_frame(call_id: int, exc: BaseException) -> Frame:
    """The frame that carries an exception, without our own frames in its traceback."""
    traceback = exc.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame):
        traceback = traceback.tb_next  # the caller does not care how we got there
    try:
        packed = pack_error(for_caller(exc.with_traceback(traceback)))
    except KeyboardInterrupt as interrupt:  # of its own methods: nobody presses Ctrl-C here
        name = type_name(type(exc))
        packed = pack_error(RemoteError.in_place_of(name, name, "", repr(interrupt)))
    finally:
        del exc, traceback
    return Frame(Kind.ERROR, call_id, packed)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).partition(".")[0] == OUR_PACKAGE


def cut_off_frame(call_id: int) -> Frame:
    """For the caller whose request was being run when its process was told to end."""
    name = multiprocessing.current_process().name
    report = ExitReport(name, exitcode=-signal.SIGTERM)
    return error_frame(call_id, ActorDiedError.from_exit(report, maybe_executed=True))
