"""Where an actor takes in what its callers say: who calls, and what waits to be run.

Each peer (a process that calls) has a queue of its own; the peers take turns, and so do requests
and streams, so that none starves another.

A peer whose last reply is not yet written whole is not served further. That bounds the
memory that a slow reader can take, and is what makes `maybe_executed` exact (`_protocol`).
"""

from __future__ import annotations

import contextlib
import select
import time
from collections import deque
from collections.abc import Callable

from ._chain import Chain, read_waiters, unwrap
from ._frames import MalformedFrameError
from ._interruption import Interruption
from ._line import Line
from ._messages import Bytes, Frame, Kind, read_credit
from ._outcome import pack_error
from ._peer import PATIENCE, OpenStream, Peer, size_of, value_frame
from ._protocol import Life
from ._sockets import bell_and_ringer
from ._transport import TRAITS, ChannelClosedError, LineChannel, Traits
from ._waiter import Waiter, clock
from .errors import NotListeningError

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
        flush_later: Callable[[Peer], None],
        report: Callable[[BaseException], None],
        traits: Traits = TRAITS,
    ) -> None:
        self.life = Life()
        self.patience = PATIENCE
        self._traits = traits
        self._flush_later = flush_later
        self._report = report
        self._peers: dict[int, Peer] = {}
        self._news: deque[Peer] = deque()
        self._pending: deque[Peer] = deque()  # peers with requests, each once
        self._flowing: deque[OpenStream] = deque()  # streams with credit, each once
        self._waiter = Waiter(traits.spin)
        self._looked = 0.0
        self._beside = 0
        """Within how many waits for other actors the thread is that runs requests."""
        self._bell, self._ringer = bell_and_ringer()
        self._waiter.watch(self._bell.fileno())

    # --- from other threads ------------------------------------------------------------

    def attach(self, line: Line) -> Peer:
        """Serve one more peer."""
        peer = Peer(
            LineChannel(line, traits=self._traits), self._flush_later, self.wake, self.patience
        )
        self.resume(peer)
        return peer

    def resume(self, peer: Peer) -> None:
        """Serve this peer, from now or again."""
        self._news.append(peer)
        self.wake()

    def wake(self) -> None:
        """Make the thread that waits for requests look up."""
        with contextlib.suppress(OSError):
            self._ringer.send(b"!")

    @property
    def queued(self) -> list[Frame]:
        """The requests that have been taken in and not begun, in the order of their turns, as far
        as another thread can see it."""
        peers = dict.fromkeys([*self._pending, *self._peers.values()])
        waiting = [list(peer.requests) for peer in peers]
        return [
            one[turn]
            for turn in range(max(map(len, waiting), default=0))
            for one in waiting
            if turn < len(one)
        ]

    def who_waits(self, peer: Peer, request: Frame) -> Chain:
        """Those who wait for a request, its caller last: as that has said last, or at first."""
        if (told := peer.waiters.get(request.call_id)) is not None:
            return told
        if request.call_id in peer.streams:
            return ()  # for the stream it has waited; that it waits for an item it says
        return unwrap(request)[0] if request.kind == Kind.CHAINED_CALL else ()

    # --- the queues ----------------------------------------------------------------------

    def _next_request(self, peer: Peer) -> Frame:
        request = peer.requests.popleft()
        self._taken(peer, request)
        return request

    def _taken(self, peer: Peer, request: Frame) -> None:
        """A request has left the queue: read from its peer again, if that was given up."""
        peer.awaited -= request[0] == _CHAINED_CALL
        held, peer.held = peer.held, peer.held - size_of(request)
        if held > HELD >= peer.held and not (peer.gone or peer.owed):
            self._waiter.watch(peer.channel.fileno())

    def _read_from_hosts(self, more: bool) -> None:
        """Whether to read more from actors for which much is held."""
        for peer in self._peers.values():
            if peer.held > HELD and peer.hosts and not peer.owed:
                change = self._waiter.watch if more else self._waiter.ignore
                change(peer.channel.fileno())

    def _after(self, peer: Peer) -> None:
        """After something was written for a peer: line it up again, or hold it."""
        if peer.owed:
            self._waiter.ignore(peer.channel.fileno())
        elif peer.requests and peer not in self._pending:
            self._pending.append(peer)

    # --- taking in ---------------------------------------------------------------------

    def _look(self) -> None:
        """Take in what has come meanwhile; not after every request, if they are short."""
        now = clock()
        if now > self._looked + LOOK_SECONDS:
            self._looked = now
            self._collect(self._waiter.ready())

    def _collect(
        self, ready: list[tuple[int, int]], lone: bool = False
    ) -> tuple[Peer, Frame] | None:
        """Read what is there from every peer that is ready.

        With `lone`, where nothing else is to be done: if it is one request, as it is mostly,
        that is returned to be run, and spared the queues.
        """
        for fd, events in ready:
            peer = self._peers.get(fd)
            if peer is not None:
                try:
                    frames = peer.channel.take()
                except (ChannelClosedError, MalformedFrameError):
                    self._drop(peer)
                    continue
                if lone and len(frames) == 1 == len(ready) and frames[0][0] in _REQUESTS:
                    return peer, frames[0]
                self._sort(peer, frames)
            elif fd == self._bell.fileno():
                with contextlib.suppress(BlockingIOError):
                    self._bell.recv(4096)
                self._take_news()
            elif events & select.POLLNVAL:
                self._waiter.ignore(fd)

        return None

    def _sort(self, peer: Peer, frames: list[Frame]) -> None:
        for frame in frames:
            if frame[0] in _REQUESTS:
                if not peer.requests:
                    self._pending.append(peer)
                if frame[0] > _CAST:
                    peer.hosts = True
                    peer.awaited += frame[0] == _CHAINED_CALL
                peer.requests.append(frame)
                peer.held += size_of(frame)
            else:
                self._hear(peer, frame)
        if peer.held > HELD and not (self._beside and peer.hosts):
            self._waiter.ignore(peer.channel.fileno())

    def _take_news(self) -> None:
        for peer in self._peers.values():
            peer.send_told()
        while self._news:
            peer = self._news.popleft()
            fd = peer.channel.fileno()
            if fd < 0 or peer.gone:
                continue
            self._peers[fd] = peer
            self._waiter.gives_way = len(self._peers) > 1
            self._waiter.watch(fd)
            self._after(peer)
            self._flowing.extend(
                stream
                for stream in peer.streams.values()
                if stream.credit > 0 and stream not in self._flowing
            )

    def _hear(self, peer: Peer, frame: Frame) -> None:
        """Take in what a caller says about an earlier call, or the channel about itself."""
        if frame.kind >= Kind.RELEASE:
            try:
                peer.channel.hear(frame)
            except MalformedFrameError:
                self._drop(peer)
            return
        if frame.kind == Kind.WAITERS:
            items, waiters = read_waiters(frame)
            stream = peer.streams.get(frame.call_id)
            # It may have waited for an item that was on its way.
            if self._is_open(peer, frame.call_id) and items == (stream.sent if stream else 0):
                peer.waiters[frame.call_id] = waiters
            return
        stream = peer.streams.get(frame.call_id)
        if stream is None:
            if frame.kind == Kind.CLOSE:
                self._withdraw(peer, frame.call_id)
            return  # or its stream has ended meanwhile
        if frame.kind == Kind.CLOSE:
            peer.end_stream(frame.call_id)
            if not self._is_running(peer, frame.call_id):  # else whoever runs it closes it then
                self._close(stream)
            peer.send(value_frame(Kind.END, frame.call_id, None))
            self._after(peer)
            return
        if frame.kind == Kind.CREDIT:
            stream.credit += read_credit(frame)
        elif frame.kind in (Kind.SEND, Kind.RAISE):
            stream.said.append(frame)
            stream.credit += 1
        if stream not in self._flowing:
            self._flowing.append(stream)

    def _is_running(self, peer: Peer, call_id: int) -> bool:
        """Whether a call is being run, or an item of its stream made."""
        raise NotImplementedError

    def _is_open(self, peer: Peer, call_id: int) -> bool:
        """Whether a call is in the queue, or is being run, or streams."""
        queued = any(one.call_id == call_id for one in peer.requests)
        return queued or call_id in peer.streams or self._is_running(peer, call_id)

    def _withdraw(self, peer: Peer, call_id: int) -> None:
        """Give up a call that has not begun; one that has runs on."""
        for request in peer.requests:
            if request.call_id == call_id and request.kind in CALLS:
                self._take_out(peer, request)
                peer.waiters.pop(call_id, None)
                peer.send(Frame(Kind.REFUSED, call_id))
                return

    def _take_out(self, peer: Peer, request: Frame) -> None:
        """A request is dealt with before its turn."""
        peer.requests.remove(request)
        self._taken(peer, request)
        if not peer.requests and peer in self._pending:
            self._pending.remove(peer)

    def _drop(self, peer: Peer) -> None:
        """A peer is gone. What it had sent before still runs: it may have meant it."""
        peer.gone = True
        self._forget(peer)
        streams, peer.streams = peer.streams, {}
        for stream in streams.values():
            if not self._is_running(peer, stream.call_id):
                self._close(stream)
        peer.channel.close()

    def _forget(self, peer: Peer) -> None:
        fd = peer.channel.fileno()
        self._waiter.ignore(fd)
        self._peers.pop(fd, None)
        self._waiter.gives_way = len(self._peers) > 1

    def _close(self, stream: OpenStream) -> None:
        try:
            stream.close()
        except Interruption:
            raise
        except BaseException as exc:
            self._report(exc)  # its consumer is not there to be told

    # --- ending ------------------------------------------------------------------------

    def _take_all_in(self) -> None:
        self._take_news()
        end = time.monotonic() + 1.0  # against a peer that never stops sending
        while (ready := self._waiter.ready()) and time.monotonic() < end:
            self._collect(ready)

    def _dismiss(self, peer: Peer, last_word: Bytes, end: float) -> None:
        for call_id, stream in list(peer.streams.items()):
            self._close(stream)
            ended = NotListeningError("the stream ended early: its listener stopped")
            peer.send(Frame(Kind.ERROR, call_id, pack_error(ended)))
        peer.send(Frame(Kind.GOODBYE, 0, last_word))
        while not peer.flush() and time.monotonic() < end:
            if not peer.channel.wait_to_write(False, end):
                break
        self._forget(peer)
        peer.channel.close()

    def close(self) -> None:
        """Let go of the descriptors; the threads that used them have ended."""
        for peer in [*self._peers.values(), *self._news]:
            peer.channel.close()
        self._bell.close()
        self._ringer.close()
