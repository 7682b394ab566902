"""How open streams are run: some items each, in turn, as far as their consumers have asked."""

from __future__ import annotations

from collections.abc import Callable

from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._protocol.messages import Kind
from .clients import Client, StreamProducer
from .execution import Executor
from .replies import cut_off_frame, error_frame
from .schedule import Schedule

__all__ = ["StreamRunner"]

BURST_SECONDS = 50e-6
"""How long a stream whose items come fast has its turn, while nobody else waits."""


_ITEM = Kind.ITEM  # a bare name: see `execution`


class StreamRunner:
    """Runs the streams of one mailbox.

    Args:
        executor: makes the items.
        schedule: says whether anybody waits, and lines the streams up.
        line_up: called after something was written for a client: its next turn.
    """

    def __init__(
        self,
        executor: Executor,
        schedule: Schedule[Client, StreamProducer],
        line_up: Callable[[Client], None],
    ) -> None:
        self.executor = executor
        self._schedule = schedule
        self._turns, self._flowing = schedule.turns, schedule.streams
        self._line_up = line_up

    def advance(self, stream: StreamProducer) -> None:
        """Run a stream, for as long as it is its turn."""
        client = stream.client
        if client.disconnected or not stream.open:
            return
        goes_on = True
        if not client.unsent:
            try:
                goes_on = self._flow(stream)
            except ThreadUnwind:
                client.send(cut_off_frame(stream.call_id))
                raise
            self._line_up(client)
        if goes_on and not client.unsent:
            self._schedule.flow(stream)

    def _flow(self, stream: StreamProducer) -> bool:
        """Send some items, if nobody else waits and they come fast; else one. False: it is over.

        The stream may be given up meanwhile, if its generator is blocked on another actor.
        """
        executor, client, begun = self.executor, stream.client, clock()
        outer = executor.begin(client, stream.request)
        while stream.credit > 0 and stream.open:
            frame = executor.step(stream)
            if stream.open:
                client.send(frame)
                stream.credit -= 1
                if frame[0] != _ITEM:
                    stream.end()
                    break
            else:
                executor.close(stream)
            if self._turns or self._flowing or client.unsent or clock() > begun + BURST_SECONDS:
                break
        executor.end(outer)
        return stream.open

    def break_off(self, stream: StreamProducer, error: BaseException) -> None:
        """End a stream by an error that is not its generator's."""
        stream.end()
        self.executor.close(stream)
        stream.client.send(error_frame(stream.call_id, error))
        self._line_up(stream.client)

    def give_up(self, stream: StreamProducer) -> None:
        """Nobody wants the rest of a stream."""
        stream.end()
        if not self.executor.is_running(stream.client, stream.call_id):
            self.executor.close(stream)  # else `_flow` does, once the step is over
        else:
            self.executor.give_up(stream.client, stream.call_id)
