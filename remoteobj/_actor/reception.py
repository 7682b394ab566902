"""Where an actor takes in what its callers say: who calls, and what waits to be run.

Each peer (a process that calls) has a queue of its own; the peers take turns, and so do requests
and streams, so that none starves another.

A peer whose last reply is not yet written whole is not served further. That bounds the
memory that a slow reader can take, and is what makes `maybe_executed` exact (`_protocol.calls`).
"""

from __future__ import annotations

import select
import time
from collections import deque
from collections.abc import Callable

from .._os.poller import SpinPoller, clock
from .._os.thread_unwind import ThreadUnwind
from .._os.wakeup import Wakeup
from .._pickling.outcome import pack_error
from .._protocol.chains import CallChain, read_waiters, unwrap
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.frames import MalformedFrameError
from .._protocol.lifecycle import Lifecycle
from .._protocol.messages import Bytes, Frame, Kind, read_credit
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.transport import ByteStream
from ..errors import NotListeningError
from .clients import PATIENCE, Client, OpenStream, size_of, value_frame

__all__ = ["CALLS", "LOOK_SECONDS", "Reception"]

LOOK_SECONDS = 50e-6
"""How long a busy mailbox may take up what has come before it looks for more."""
HELD = 1 << 24
"""Bytes that the requests of one caller may take before no more are read from it; but while we wait
for another actor, more are read from actors: what we wait for may come behind them."""

CALLS = frozenset(map(int, (Kind.CALL, Kind.CHAINED_CALL, Kind.CHAINED_LATER)))
_CAST, _CHAINED_CALL = int(Kind.CAST), int(Kind.CHAINED_CALL)
_REQUESTS = CALLS | frozenset(map(int, (Kind.CAST, Kind.CHAINED_CAST)))


class Reception:
    """The peers, their queues, and the one place where all of them are waited for."""

    def __init__(
        self,
        flush_later: Callable[[Client], None],
        report: Callable[[BaseException], None],
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
    ) -> None:
        self.life = Lifecycle()
        self.patience = PATIENCE
        self._wire_options = wire_options
        self._flush_later = flush_later
        self._report = report
        self._clients: dict[int, Client] = {}
        self._news: deque[Client] = deque()
        self._pending: deque[Client] = deque()  # peers with requests, each once
        self._flowing: deque[OpenStream] = deque()  # streams with credit, each once
        self._poller = SpinPoller(wire_options.spin)
        self._looked = 0.0
        self._beside = 0
        """Within how many waits for other actors the thread is that runs requests."""
        self._wakeup = Wakeup()
        self._poller.register(self._wakeup.fileno())

    # --- from other threads ------------------------------------------------------------

    def attach(self, stream: ByteStream) -> Client:
        """Serve one more peer."""
        client = Client(
            StreamChannel(stream, wire_options=self._wire_options),
            self._flush_later,
            self.wake,
            self.patience,
        )
        self.resume(client)
        return client

    def resume(self, client: Client) -> None:
        """Serve this peer, from now or again."""
        self._news.append(client)
        self.wake()

    def wake(self) -> None:
        """Make the thread that waits for requests look up."""
        self._wakeup.set()

    @property
    def queued(self) -> list[Frame]:
        """The requests that have been taken in and not begun, in the order of their turns, as far
        as another thread can see it."""
        peers = dict.fromkeys([*self._pending, *self._clients.values()])
        waiting = [list(client.requests) for client in peers]
        return [
            one[turn]
            for turn in range(max(map(len, waiting), default=0))
            for one in waiting
            if turn < len(one)
        ]

    def who_waits(self, client: Client, request: Frame) -> CallChain:
        """Those who wait for a request, its caller last: as that has said last, or at first."""
        if (told := client.waiters.get(request.call_id)) is not None:
            return told
        if request.call_id in client.streams:
            return ()  # for the stream it has waited; that it waits for an item it says
        return unwrap(request)[0] if request.kind == Kind.CHAINED_CALL else ()

    # --- the queues ----------------------------------------------------------------------

    def _next_request(self, client: Client) -> Frame:
        request = client.requests.popleft()
        self._taken(client, request)
        return request

    def _taken(self, client: Client, request: Frame) -> None:
        """A request has left the queue: read from its peer again, if that was given up."""
        client.awaited -= request[0] == _CHAINED_CALL
        held, client.held = client.held, client.held - size_of(request)
        if held > HELD >= client.held and not (client.gone or client.owed):
            self._poller.register(client.channel.fileno())

    def _read_from_hosts(self, more: bool) -> None:
        """Whether to read more from actors for which much is held."""
        for client in self._clients.values():
            if client.held > HELD and client.has_actors and not client.owed:
                change = self._poller.register if more else self._poller.unregister
                change(client.channel.fileno())

    def _after(self, client: Client) -> None:
        """After something was written for a peer: line it up again, or hold it."""
        if client.owed:
            self._poller.unregister(client.channel.fileno())
        elif client.requests and client not in self._pending:
            self._pending.append(client)

    # --- taking in ---------------------------------------------------------------------

    def _look(self) -> None:
        """Take in what has come meanwhile; not after every request, if they are short."""
        now = clock()
        if now > self._looked + LOOK_SECONDS:
            self._looked = now
            self._collect(self._poller.ready())

    def _collect(
        self, ready: list[tuple[int, int]], lone: bool = False
    ) -> tuple[Client, Frame] | None:
        """Read what is there from every peer that is ready.

        With `lone`, where nothing else is to be done: if it is one request, as it is mostly,
        that is returned to be run, and spared the queues.
        """
        for fd, events in ready:
            client = self._clients.get(fd)
            if client is not None:
                try:
                    frames = client.channel.take()
                except (ChannelClosedError, MalformedFrameError):
                    self._drop(client)
                    continue
                if lone and len(frames) == 1 == len(ready) and frames[0][0] in _REQUESTS:
                    return client, frames[0]
                self._sort(client, frames)
            elif fd == self._wakeup.fileno():
                self._wakeup.clear()
                self._take_news()
            elif events & select.POLLNVAL:
                self._poller.unregister(fd)

        return None

    def _sort(self, client: Client, frames: list[Frame]) -> None:
        for frame in frames:
            if frame[0] in _REQUESTS:
                if not client.requests:
                    self._pending.append(client)
                if frame[0] > _CAST:
                    client.has_actors = True
                    client.awaited += frame[0] == _CHAINED_CALL
                client.requests.append(frame)
                client.held += size_of(frame)
            else:
                self._hear(client, frame)
        if client.held > HELD and not (self._beside and client.has_actors):
            self._poller.unregister(client.channel.fileno())

    def _take_news(self) -> None:
        for client in self._clients.values():
            client.send_told()
        while self._news:
            client = self._news.popleft()
            fd = client.channel.fileno()
            if fd < 0 or client.gone:
                continue
            self._clients[fd] = client
            self._poller.yields_cpu = len(self._clients) > 1
            self._poller.register(fd)
            self._after(client)
            self._flowing.extend(
                stream
                for stream in client.streams.values()
                if stream.credit > 0 and stream not in self._flowing
            )

    def _hear(self, client: Client, frame: Frame) -> None:
        """Take in what a caller says about an earlier call, or the channel about itself."""
        if frame.kind >= Kind.RELEASE:
            try:
                client.channel.hear(frame)
            except MalformedFrameError:
                self._drop(client)
            return
        if frame.kind == Kind.WAITERS:
            items, waiters = read_waiters(frame)
            stream = client.streams.get(frame.call_id)
            # It may have waited for an item that was on its way.
            if self._is_open(client, frame.call_id) and items == (stream.sent if stream else 0):
                client.waiters[frame.call_id] = waiters
            return
        stream = client.streams.get(frame.call_id)
        if stream is None:
            if frame.kind == Kind.CLOSE:
                self._withdraw(client, frame.call_id)
            return  # or its stream has ended meanwhile
        if frame.kind == Kind.CLOSE:
            client.end_stream(frame.call_id)
            if not self._is_running(client, frame.call_id):  # else whoever runs it closes it then
                self._close(stream)
            client.send(value_frame(Kind.END, frame.call_id, None))
            self._after(client)
            return
        if frame.kind == Kind.CREDIT:
            stream.credit += read_credit(frame)
        elif frame.kind in (Kind.SEND, Kind.RAISE):
            stream.said.append(frame)
            stream.credit += 1
        if stream not in self._flowing:
            self._flowing.append(stream)

    def _is_running(self, client: Client, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        raise NotImplementedError

    def _is_open(self, client: Client, call_id: int) -> bool:
        """Whether a call is in the queue, or is being run, or streams."""
        queued = any(one.call_id == call_id for one in client.requests)
        return queued or call_id in client.streams or self._is_running(client, call_id)

    def _withdraw(self, client: Client, call_id: int) -> None:
        """Give up a call that has not begun; one that has runs on."""
        for request in client.requests:
            if request.call_id == call_id and request.kind in CALLS:
                self._take_out(client, request)
                client.waiters.pop(call_id, None)
                client.send(Frame(Kind.REFUSED, call_id))
                return

    def _take_out(self, client: Client, request: Frame) -> None:
        """A request is dealt with before its turn."""
        client.requests.remove(request)
        self._taken(client, request)
        if not client.requests and client in self._pending:
            self._pending.remove(client)

    def _drop(self, client: Client) -> None:
        """A peer is gone. What it had sent before still runs: it may have meant it."""
        client.gone = True
        self._forget(client)
        streams, client.streams = client.streams, {}
        for stream in streams.values():
            if not self._is_running(client, stream.call_id):
                self._close(stream)
        client.channel.close()

    def _forget(self, client: Client) -> None:
        fd = client.channel.fileno()
        self._poller.unregister(fd)
        self._clients.pop(fd, None)
        self._poller.yields_cpu = len(self._clients) > 1

    def _close(self, stream: OpenStream) -> None:
        try:
            stream.close()
        except ThreadUnwind:
            raise
        except BaseException as exc:
            self._report(exc)  # its consumer is not there to be told

    # --- ending ------------------------------------------------------------------------

    def _take_all_in(self) -> None:
        self._take_news()
        end = time.monotonic() + 1.0  # against a peer that never stops sending
        while (ready := self._poller.ready()) and time.monotonic() < end:
            self._collect(ready)

    def _dismiss(self, client: Client, last_word: Bytes, end: float) -> None:
        for call_id, stream in list(client.streams.items()):
            self._close(stream)
            ended = NotListeningError("the stream ended early: its listener stopped")
            client.send(Frame(Kind.ERROR, call_id, pack_error(ended)))
        client.send(Frame(Kind.GOODBYE, 0, last_word))
        while not client.flush() and time.monotonic() < end:
            if not client.channel.wait_to_write(False, end):
                break
        self._forget(client)
        client.channel.close()

    def close(self) -> None:
        """Let go of the descriptors; the threads that used them have ended."""
        for client in [*self._clients.values(), *self._news]:
            client.channel.close()
        self._wakeup.close()
