"""A process that calls, as its actor sees it: its queue, its streams, and what it is still owed."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

from .._catching.unseen import tell
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import loads
from .._pickling.exceptions import add_note, unpack_error
from .._protocol.frames import encode
from .._protocol.messages import Frame, FrameParts, Kind, MalformedFrameError
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.refusals import report_refusal
from ..errors import describe
from .replies import error_frame, value_frame

if TYPE_CHECKING:
    from .announcing import BegunCalls

__all__ = ["Client", "StreamProducer", "raised_value", "sent_value"]


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
        self.outbox: deque[Frame] = deque()
        """What the channel has to say of its own; it goes along with what is written next."""
        channel.buffer_exchange.tell = _without_keeping_alive(self)
        self._wake = wake
        self._patience = patience
        self._flush_later = flush_later
        self.requests: deque[Frame] = deque()
        self.queued_bytes = 0
        """Bytes in its requests."""
        self.streams: dict[int, StreamProducer] = {}
        self.disconnected = False
        self.muted = False
        """Whether nothing can be said to it any more."""
        self.has_actors = False
        """Whether actors call from that process."""
        self.is_read = False
        """Whether the client set waits for what it sends."""
        self.begun_calls: BegunCalls | None = None
        """What it was told of its calls that run at once, if any can."""
        self._lock = threading.Lock()
        self.unsent: list[Any] = []
        """What was written for it and has not gone out yet."""

    @property
    def pid(self) -> int | None:
        """The process; None: its transport does not tell."""
        return self.channel.peer_pid

    def send(self, frame: FrameParts) -> None:
        """Write a frame, or leave what a slow reader does not take to the flusher."""
        with self._lock:
            parts = self.channel.encode(Frame(*frame)) if frame[3] else encode(frame)
            while self.outbox:
                parts = [*parts, *encode(self.outbox.popleft())]
            try:
                if not self.unsent:
                    parts = self.channel.write(parts)
                    if not parts:
                        return
                    parts = self._write_patiently(parts)
            except ChannelClosedError:
                return  # reading will find the end too, and see to it
            except BaseException:
                self.mute()  # nothing may follow half a frame
                raise
            if parts:
                # Copied: the object may change what its result still refers to.
                self.unsent += map(bytes, parts)
                self._flush_later(self)

    def mute(self) -> None:
        """Say nothing more: it finds the end of the stream, in place of a reply or a goodbye."""
        self.muted = True
        self.channel.end_writing()

    def hang_up(self, why: str) -> None:
        """Say that nothing more is read from it, and say nothing more."""
        self.send(Frame(Kind.HANGUP, 0, why.encode(errors="replace")))
        self.mute()
        report_refusal("frame", why)

    def refuse(self, exc: Exception) -> None:
        """Hang up since what it sends can't be taken in. It is told why; what its bytes must not be
        able to bring about, and have, is told here as well."""
        if isinstance(exc, MalformedFrameError):
            self.hang_up(str(exc))
            return
        tell("a client was disconnected, since what it sent could not be read", exc)
        self.hang_up(describe(exc))

    def post(self, frame: Frame) -> None:
        """Have a small frame written with the next one, or when the mailbox looks up."""
        self.outbox.append(frame)
        self._wake()

    def send_outbox(self) -> None:
        """Write what no other frame has taken along."""
        if self.outbox:
            self.send(self.outbox.popleft())

    def _write_patiently(self, left: list[Any]) -> list[Any]:
        """Write on until it takes too long; `patience=None`: however long it takes."""
        while left:
            limit = None if self._patience is None else time.monotonic() + self._patience
            if not self.channel.wait_to_write(False, limit):
                break
            left = self.channel.write(left)
        return left

    def flush(self) -> bool:
        """Write what it is owed, as far as it goes; True when nothing is left."""
        with self._lock:
            try:
                self.unsent = self.channel.write(self.unsent)
            except ChannelClosedError:
                self.unsent = []
            except BaseException:
                self.unsent = []
                self.mute()  # as in `send`
                raise
            return not self.unsent


def _without_keeping_alive(client: Client) -> Callable[[Frame], None]:
    """`client.post`, for a finalizer that must not keep the client alive."""
    reference = weakref.ref(client)

    def post(frame: Frame) -> None:
        if (client := reference()) is not None:
            client.post(frame)

    return post


_ITEM = Kind.ITEM  # a bare name: see `execution`


class StreamProducer:
    """An open stream.

    It is *open* from the call's reply until its end is sent, or its consumer gives it up; then
    `open` is False for good. A step that is under way when it is given up comes to its end, and
    whoever runs the step closes the iterator then.
    """

    def __init__(
        self, client: Client, request: Frame, iterator: Iterator[Any] | AsyncIterator[Any]
    ) -> None:
        self.client = client
        self.request = request._replace(buffers=())
        self.call_id = request.call_id
        self.credit = 0
        """Items that the consumer has asked for and that are not sent."""
        self.commands: deque[Frame] = deque()
        """What the consumer sends and raises in the generator, each for one step."""
        self.open = True
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
        if not self.commands:
            return next(self._iterator)
        command = self.commands.popleft()
        if command.kind == Kind.SEND:
            return self._iterator.send(sent_value(command))
        return self._iterator.throw(raised_value(command))

    def end(self) -> None:
        """The stream is over, or given up: nothing more is sent for it."""
        self.open = False
        self.client.streams.pop(self.call_id, None)

    def close(self) -> None:
        """Close the iterator; raises what its `finally` raises."""
        close = getattr(self._iterator, "close", None)
        if close is not None:
            close()


def raised_value(command: Frame) -> BaseException:
    """What the consumer of a stream raises in its generator."""
    return unpack_error(command.payload)


def sent_value(command: Frame) -> Any:
    """What the consumer of a stream sends its generator; raises what its unpickling raises."""
    try:
        return loads(command.payload, command.buffers)
    except BaseException as exc:
        add_note(exc, "This was raised in the actor, while what it was sent was unpickled.")
        raise
