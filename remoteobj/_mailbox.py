"""The actor's side of every call: take requests in, in order, evaluate them, reply.

One thread at a time runs requests, so the object needs no lock against them.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import util as mp_util
from typing import Any

from ._codec import PLAIN, loads, pickled, unpickled
from ._interruption import Interruption
from ._messages import Bytes, Frame, Kind
from ._peer import OpenStream, Peer, cut_off_frame, error_frame, is_iterator, value_frame
from ._protocol import Event
from ._reception import LOOK_SECONDS, Reception
from ._sockets import forks
from ._transport import TRAITS, Traits, clock
from ._view import evaluate

__all__ = ["Mailbox"]

LAST_WORDS = 5.0
"""Seconds that the peers have, at the end, to take in what was written for them."""

_CAST, _VALUE, _ITEM = int(Kind.CAST), int(Kind.VALUE), int(Kind.ITEM)


class Mailbox(Reception):
    """The requests of all peers, run one at a time by whichever thread calls in here."""

    def __init__(
        self,
        root: Callable[[], Any],
        flush_later: Callable[[Peer], None],
        report: Callable[[BaseException], None],
        traits: Traits = TRAITS,
    ) -> None:
        super().__init__(flush_later, report, traits)
        self._root = root
        self._forks = forks[0]
        self._turn = threading.RLock()
        self._depth = 0
        self.current: tuple[Peer, Frame, float] | None = None
        """Whose request is being run, which, and since when; for the control thread to see."""
        self.done = 0
        """How many were run."""

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
                    self._look()
                elif request := self._collect(self._waiter.wait(deadline), lone=True):
                    self._run(*request)
                    done = 1
                while (self._pending or self._flowing) and done < limit:
                    done += self._work()
                    if done < limit:  # who asked for one comes back at once, and looks then
                        self._look()
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

    def _run(self, peer: Peer, request: Frame) -> None:
        kind, call_id, payload, buffers = request
        outer, self.current = self.current, (peer, request, clock())
        if kind == _CAST:
            self._run_cast(payload, buffers)
            self.current = outer
            self.done += 1
            self._after(peer)
            return
        reply: tuple[int, int, Bytes, Any]
        try:
            root = self._root()
            result = evaluate(loads(payload, buffers) if buffers else unpickled(payload), root)
            cls = type(result)
            if cls in PLAIN:
                reply = (_VALUE, call_id, pickled(result, 5), ())
            elif result is root:
                reply = Frame(Kind.ITSELF, call_id)
            elif is_iterator(cls):
                reply = self._open_stream(peer, request, result)
            else:
                reply = value_frame(_VALUE, call_id, result, peer.channel.floor)
        except Interruption:
            peer.send(cut_off_frame(call_id))
            raise
        except BaseException as exc:
            reply = error_frame(call_id, exc)
        self.current = outer
        self.done += 1
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

    def _run_cast(self, payload: Bytes, buffers: Any) -> None:
        """Run a request that nobody waits for."""
        try:
            evaluate(loads(payload, buffers), self._root())
        except Interruption:
            raise
        except BaseException as exc:
            self._report(exc)
        self._end_a_fork()

    def _open_stream(self, peer: Peer, request: Frame, iterator: Iterator[Any]) -> Frame:
        peer.streams[request.call_id] = OpenStream(peer, request, iterator)
        return Frame(Kind.STREAM, request.call_id)

    def _advance(self, stream: OpenStream) -> None:
        peer = stream.peer
        if peer.gone or stream.call_id not in peer.streams:
            return
        goes_on = True
        if not peer.owed:
            try:
                goes_on = self._flow(stream)
            except Interruption:
                peer.send(cut_off_frame(stream.call_id))
                raise
            if not goes_on:
                del peer.streams[stream.call_id]
            self._after(peer)
        if goes_on and stream.credit > 0 and not peer.owed:
            self._flowing.append(stream)

    def _flow(self, stream: OpenStream) -> bool:
        """Send some items, if nobody else waits and they come fast, else one; False: it ended."""
        peer, begun = stream.peer, clock()
        outer, self.current = self.current, (peer, stream.request, begun)
        goes_on = True
        while stream.credit > 0 and goes_on:
            frame = stream.advance()
            peer.send(frame)
            stream.credit -= 1
            goes_on = frame[0] == _ITEM
            if self._pending or self._flowing or peer.owed or clock() > begun + LOOK_SECONDS:
                break
        self.current = outer
        return goes_on

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
