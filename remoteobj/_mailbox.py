"""The actor's side of every call: take requests in, in order, evaluate them, reply.

One thread at a time runs requests, so the object needs no lock against them. Each peer (a
process that calls) has a queue of its own; the peers take turns, and so do requests and
streams, so that none starves another.

A peer whose last reply is not yet written whole is not served further. That bounds the
memory that a slow reader can take, and is what makes `maybe_executed` exact (`_protocol`).
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import util as mp_util
from typing import Any

from ._codec import PLAIN, loads, pickled
from ._frames import MalformedFrameError
from ._interruption import Interruption
from ._line import Line
from ._messages import Bytes, Frame, Kind, read_credit
from ._outcome import pack_error
from ._peer import (
    PATIENCE,
    OpenStream,
    Peer,
    cut_off_frame,
    error_frame,
    is_iterator,
    size_of,
    value_frame,
)
from ._protocol import Event, Life
from ._sockets import bell_and_ringer, forks
from ._transport import ChannelClosedError, LineChannel, Waiter
from ._view import evaluate
from .errors import NotListeningError

__all__ = ["Mailbox"]

LAST_WORDS = 5.0
"""Seconds that the peers have, at the end, to take in what was written for them."""

_REQUESTS = frozenset(map(int, (Kind.CALL, Kind.CAST)))
_CAST, _VALUE = int(Kind.CAST), int(Kind.VALUE)

HELD = 1 << 24
"""Bytes that the requests of one caller may take before no more are read from it."""


class Mailbox:
    """The requests of all peers, run one at a time by whichever thread calls in here."""

    def __init__(
        self,
        root: Callable[[], Any],
        flush_later: Callable[[Peer], None],
        report: Callable[[BaseException], None],
    ) -> None:
        self.life = Life()
        self._forks = forks[0]
        self.patience = PATIENCE
        self._root = root
        self._flush_later = flush_later
        self._report = report
        self._turn = threading.RLock()
        self._depth = 0
        self._peers: dict[int, Peer] = {}
        self._news: deque[Peer] = deque()
        self._pending: deque[Peer] = deque()  # peers with requests, each once
        self._flowing: deque[OpenStream] = deque()  # streams with credit, each once
        self._waiter = Waiter()
        self._bell, self._ringer = bell_and_ringer()
        self._waiter.watch(self._bell.fileno())

    # --- from other threads ------------------------------------------------------------

    def attach(self, line: Line) -> Peer:
        """Serve one more peer."""
        peer = Peer(LineChannel(line), self._flush_later, self.wake, self.patience)
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

    # --- running requests --------------------------------------------------------------

    def serve(self, until: Callable[[], bool]) -> None:
        """Run requests until `until()` or the listener stops; `wake` makes it look."""
        while not until() and not self.life.stopping:
            self.process(None, limit=1)

    def process(self, deadline: float | None, limit: int = sys.maxsize) -> int:
        """Run what is there, waiting for the first until `deadline`; how much was run."""
        done = 0
        with self._turn:
            self._depth += 1
            try:
                if self._pending or self._flowing:
                    self._collect(self._waiter.ready())
                elif request := self._collect(self._waiter.wait(deadline), lone=True):
                    self._run(*request)
                    done = 1
                while (self._pending or self._flowing) and done < limit:
                    done += self._work()
                    if done < limit:  # who asked for one comes back at once, and looks then
                        self._collect(self._waiter.ready())
            finally:
                self._depth -= 1
        return done

    @property
    def running(self) -> bool:
        """Whether this thread is within a request."""
        if self._turn.acquire(blocking=False):
            try:
                return self._depth > 0
            finally:
                self._turn.release()
        return False

    def _work(self) -> int:
        """Run one request and one step of a stream."""
        done = 0
        if self._pending:
            peer = self._pending.popleft()
            self._run(peer, self._next_request(peer))
            done += 1
        if self._flowing:
            self._advance(self._flowing.popleft())
            done += 1
        return done

    def _next_request(self, peer: Peer) -> Frame:
        request = peer.requests.popleft()
        held, peer.held = peer.held, peer.held - size_of(request)
        if held > HELD >= peer.held and not (peer.gone or peer.owed):
            self._waiter.watch(peer.channel.fileno())
        return request

    def _run(self, peer: Peer, request: Frame) -> None:
        kind, call_id, payload, buffers = request
        if kind == _CAST:
            self._run_cast(peer, payload, buffers)
            return
        reply: tuple[int, int, Bytes, Any]
        try:
            root = self._root()
            result = evaluate(loads(payload, buffers), root)
            cls = type(result)
            if cls in PLAIN:
                reply = (_VALUE, call_id, pickled(result, 5), ())
            elif result is root:
                reply = Frame(Kind.ITSELF, call_id)
            elif is_iterator(cls):
                reply = self._open_stream(peer, call_id, result)
            else:
                reply = value_frame(_VALUE, call_id, result)
        except Interruption:
            peer.send(cut_off_frame(call_id))
            raise
        except BaseException as exc:
            reply = error_frame(call_id, exc)
        self._end_a_fork()
        peer.send(reply)
        if peer.requests or peer.owed:
            self._after(peer)

    def _end_a_fork(self) -> None:
        """End the child, where a method forked and returned on both sides: its connections are
        its parent's, and it has nothing to serve."""
        if forks[0] != self._forks:
            mp_util._flush_std_streams()  # type: ignore[attr-defined]
            os._exit(0)

    def _run_cast(self, peer: Peer, payload: Bytes, buffers: Any) -> None:
        """Run a request that nobody waits for."""
        try:
            evaluate(loads(payload, buffers), self._root())
        except Interruption:
            raise
        except BaseException as exc:
            self._report(exc)
        self._end_a_fork()
        self._after(peer)

    def _open_stream(self, peer: Peer, call_id: int, iterator: Iterator[Any]) -> Frame:
        peer.streams[call_id] = OpenStream(peer, call_id, iterator)
        return Frame(Kind.STREAM, call_id)

    def _after(self, peer: Peer) -> None:
        """After something was written for a peer: line it up again, or hold it."""
        if peer.owed:
            self._waiter.ignore(peer.channel.fileno())
        elif peer.requests and peer not in self._pending:
            self._pending.append(peer)

    def _advance(self, stream: OpenStream) -> None:
        peer = stream.peer
        if peer.gone or stream.call_id not in peer.streams:
            return
        if not peer.owed:
            try:
                frame = stream.advance()
            except Interruption:
                peer.send(cut_off_frame(stream.call_id))
                raise
            peer.send(frame)
            stream.credit -= 1
            if frame.kind != Kind.ITEM:
                del peer.streams[stream.call_id]
                self._after(peer)
                return
            self._after(peer)
        if stream.credit > 0 and not peer.owed:
            self._flowing.append(stream)

    # --- taking in ---------------------------------------------------------------------

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
            if frame.kind in _REQUESTS:
                if not peer.requests:
                    self._pending.append(peer)
                peer.requests.append(frame)
                peer.held += size_of(frame)
            else:
                self._hear(peer, frame)
        if peer.held > HELD:
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
        stream = peer.streams.get(frame.call_id)
        if stream is None:
            if frame.kind == Kind.CLOSE:
                self._withdraw(peer, frame.call_id)
            return  # or its stream has ended meanwhile
        if frame.kind == Kind.CLOSE:
            del peer.streams[frame.call_id]
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

    def _withdraw(self, peer: Peer, call_id: int) -> None:
        """Give up a call that has not begun; one that has runs on."""
        for request in peer.requests:
            if request.call_id == call_id and request.kind == Kind.CALL:
                peer.requests.remove(request)
                peer.held -= size_of(request)
                peer.send(Frame(Kind.REFUSED, call_id))
                if not peer.requests and peer in self._pending:
                    self._pending.remove(peer)
                return

    def _drop(self, peer: Peer) -> None:
        """A peer is gone. What it had sent before still runs: it may have meant it."""
        peer.gone = True
        self._forget(peer)
        for stream in list(peer.streams.values()):
            self._close(stream)
        peer.streams.clear()
        peer.channel.close()

    def _forget(self, peer: Peer) -> None:
        fd = peer.channel.fileno()
        self._waiter.ignore(fd)
        self._peers.pop(fd, None)

    def _close(self, stream: OpenStream) -> None:
        try:
            stream.close()
        except Interruption:
            raise
        except BaseException as exc:
            self._report(exc)  # its consumer is not there to be told

    # --- ending ------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: the thread that serves finishes what it is at, then looks."""
        self.life.on(Event.STOP)
        self.wake()

    def drain(self, fulfil: bool, last_word: Bytes = b"") -> None:
        """Fulfil or refuse every request that has arrived, say goodbye, and close."""
        with self._turn:
            self._take_all_in()
            waiting = dict.fromkeys([*self._pending, *self._peers.values()])
            self._pending.clear()
            for peer in waiting:
                while peer.requests:
                    request = self._next_request(peer)
                    if fulfil:
                        self._run(peer, request)
                    elif request.kind == Kind.CALL:
                        peer.send(Frame(Kind.REFUSED, request.call_id))
            end = time.monotonic() + LAST_WORDS
            for peer in list(self._peers.values()):
                self._dismiss(peer, last_word, end)
            self.life.on(Event.DRAINED)

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
