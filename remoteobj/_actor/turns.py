"""How an actor runs requests and streams: in turn, each to its end or to its next item.

Whatever a user's code raises, returns or does to the process meanwhile, its caller is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from multiprocessing import util as mp_util
from typing import Any

from .._engines.flight_recorder import FlightRecorder
from .._os.fork_safety import fork_generation
from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, loads, pickled, unpickled
from .._protocol.chains import payload_of, unwrap
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.messages import Bytes, Frame, Kind
from .._protocol.operations import evaluate
from .clients import Client, OpenStream, cut_off_frame, error_frame, is_iterator, value_frame
from .reception import LOOK_SECONDS, Reception

__all__ = ["Running", "Turns"]

Running = tuple[Client, Frame, float, Any]
"""Whose request is being run, which, since when, and within which other one, of the same form."""

_CAST, _VALUE, _ITEM = int(Kind.CAST), int(Kind.VALUE), int(Kind.ITEM)


class Turns(Reception):
    """Runs one request and one step of a stream after the other."""

    def __init__(
        self,
        root: Callable[[], Any],
        flush_later: Callable[[Client], None],
        report: Callable[[BaseException], None],
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
    ) -> None:
        super().__init__(flush_later, report, wire_options)
        self._root = root
        self._fork_generation = fork_generation[0]
        self.current: Running | None = None
        """For the control thread to see."""
        self.recorder: FlightRecorder | None = None
        """Where it is written down what is being run."""
        self.done = 0
        """How many were run."""

    def _step(self, deadline: float | None) -> int:
        """Run one request and one step of a stream, waiting until `deadline` if there is neither;
        how much was run."""
        if self._pending or self._flowing:
            self._look()
        elif request := self._collect(self._poller.wait(deadline), lone=True):
            self._run(*request)
            return 1
        return self._work()

    def _work(self) -> int:
        """Run one request and one step of a stream."""
        done = 0
        if self._pending:
            client = self._pending.popleft()
            self._run(client, self._next_request(client))
            done += 1
        if self._flowing:
            self._advance(self._flowing.popleft())
            done += 1
        return done

    def _run(self, client: Client, request: Frame) -> None:
        kind, call_id, payload, buffers = request
        if kind > _CAST:
            kind, call_id, payload, buffers = unwrap(request)[1]
        outer = self.current
        if kind == _CAST:
            self._run_cast(client, request, payload, buffers)
            self._ends(outer)
            self.done += 1
            self._after(client)
            return
        reply: tuple[int, int, Bytes, Any] | None = None
        try:
            try:
                root = self._root()
                steps = loads(payload, buffers) if buffers else unpickled(payload)
                self._begins(client, request, payload)
                result = evaluate(steps, root)
                if type(result) in SCALARS:
                    reply = (_VALUE, call_id, pickled(result, 5), ())
                else:
                    reply = self._reply(client, request, result, root)
            except ThreadUnwind:
                raise
            except BaseException as exc:
                reply = error_frame(call_id, exc)
            self._end_a_fork()
            self._ends(outer)
            self.done += 1
            if client.waiters:
                client.waiters.pop(call_id, None)
            client.send(reply)
        except ThreadUnwind:
            self._cut_off(client, call_id, reply is not None)
            raise
        if client.requests or client.owed:
            self._after(client)

    def _being_run(self) -> Iterator[tuple[Client, Frame]]:
        """The requests that are being run, each within the next."""
        current = self.current
        while current is not None:
            client, request, _, current = current
            yield client, request

    def _is_running(self, client: Client, call_id: int) -> bool:
        return any(one is client and each.call_id == call_id for one, each in self._being_run())

    def _close(self, stream: OpenStream) -> None:
        super()._close(stream)
        self._end_a_fork()

    def _begins(self, client: Client, request: Frame, payload: Bytes) -> None:
        """To be called right before users' code begins: who sees it may interrupt that."""
        if self.recorder is not None:
            self.recorder.begins(payload)
        self.current = (client, request, clock(), self.current)

    def _ends(self, outer: Running | None) -> None:
        self.current = outer
        if self.recorder is not None:
            if outer is None:
                self.recorder.ends()
            else:
                self.recorder.begins(payload_of(outer[1]))

    def _reply(self, client: Client, request: Frame, result: Any, root: Any) -> Frame:
        """The frame that answers a request with its result."""
        if result is root:
            return Frame(Kind.RETURNED_SELF, request.call_id)
        if is_iterator(type(result)):
            return self._open_stream(client, request, result)
        return value_frame(_VALUE, request.call_id, result, client.channel.writable)

    def _cut_off(self, client: Client, call_id: int, carried_out: bool) -> None:
        """The process ends, in the midst of a request: its caller must not be told that it was
        not executed. Where its reply may have been begun, nothing more can be said."""
        if carried_out:
            client.cut_off()
        else:
            client.send(cut_off_frame(call_id))

    def _end_a_fork(self) -> None:
        """End the child, where a method forked and returned on both sides: its connections are
        its parent's, and it has nothing to serve."""
        if fork_generation[0] != self._fork_generation:
            mp_util._flush_std_streams()  # type: ignore[attr-defined]
            os._exit(0)

    def _run_cast(self, client: Client, request: Frame, payload: Bytes, buffers: Any) -> None:
        """Run a request that nobody waits for."""
        try:
            root, steps = self._root(), loads(payload, buffers)
            self._begins(client, request, payload)
            evaluate(steps, root)
        except ThreadUnwind:
            raise
        except BaseException as exc:
            self._report(exc)
        self._end_a_fork()

    def _open_stream(self, client: Client, request: Frame, iterator: Iterator[Any]) -> Frame:
        client.streams[request.call_id] = OpenStream(client, request, iterator)
        return Frame(Kind.STREAM, request.call_id)

    def _advance(self, stream: OpenStream) -> None:
        client = stream.client
        if client.gone or stream.call_id not in client.streams:
            return
        goes_on = True
        if not client.owed:
            try:
                goes_on = self._flow(stream)
            except ThreadUnwind:
                client.send(cut_off_frame(stream.call_id))
                raise
            if stream.call_id not in client.streams:
                self._close(stream)
                goes_on = False
            elif not goes_on:
                client.end_stream(stream.call_id)
            self._after(client)
        if goes_on and stream.credit > 0 and not client.owed and stream not in self._flowing:
            self._flowing.append(stream)

    def _break_off(self, stream: OpenStream, error: BaseException) -> None:
        """End a stream by an error that is not its generator's."""
        client = stream.client
        client.end_stream(stream.call_id)
        self._close(stream)
        client.send(error_frame(stream.call_id, error))
        self._after(client)

    def _flow(self, stream: OpenStream) -> bool:
        """Send some items, if nobody else waits and they come fast, else one; False: it ended.

        It may be given up meanwhile, if its generator waits for another actor.
        """
        client, begun = stream.client, clock()
        outer = self.current
        self._begins(client, stream.request, payload_of(stream.request))
        goes_on = True
        while stream.credit > 0 and goes_on:
            frame = stream.advance()
            self._end_a_fork()
            if stream.call_id not in client.streams:
                break
            if client.waiters:
                client.waiters.pop(stream.call_id, None)  # it waits for this item no more
            client.send(frame)
            stream.credit -= 1
            stream.sent += 1
            goes_on = frame[0] == _ITEM
            if self._pending or self._flowing or client.owed or clock() > begun + LOOK_SECONDS:
                break
        self._ends(outer)
        return goes_on
