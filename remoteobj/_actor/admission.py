"""Which requests of a mailbox are begun now, where several may be begun at once.

Requests and streams take turns, as the schedule says, for as long as there is room. What a call of
this actor's own waits for is begun although there is none, and although the actor stops: what would
make the room may wait for just that.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from .._fast_typing import Protocol
from .._os.poller import clock
from .._protocol.lifecycle import Event, State
from .._protocol.messages import Bytes, Frame, Kind
from .announcing import is_told, tell_that_they_wait
from .clients import Client, StreamProducer
from .goodbye import say_goodbye
from .mailbox import GOODBYE_SECONDS, Mailbox
from .replies import error_frame

__all__ = ["DROP_SECONDS", "Admission", "Admitting"]

TURN_SECONDS = 1e-3
"""How long requests are begun, at most, before something else has its turn."""
DROP_SECONDS = 0.5
"""How long what is interrupted at the end has for its `finally` blocks, where the process was told
to end."""

_RUNNING = State.RUNNING  # a bare name: see `execution`


class Admitting(Protocol):
    """An executor that can have begun several."""

    def has_room(self) -> bool:
        """Whether one more may be begun."""
        ...


class Admission:
    """Begins what is there for one mailbox.

    Args:
        executor: says whether there is room.
        advance: has a stream make some items.
        drops: whether the process was told to end, so that what runs is dropped, and not finished.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        executor: Admitting,
        advance: Callable[[StreamProducer], None],
        drops: Callable[[], bool],
    ) -> None:
        self._mailbox = mailbox
        self._clients = mailbox.clients
        self._schedule = mailbox.schedule
        self._executor = executor
        self._advance = advance
        self.drops = drops
        self.count = 0
        """How much was begun."""
        self.last: deque[tuple[Client, Frame]] = deque()
        """At the end: what had arrived, and is still to be begun."""

    @property
    def is_open(self) -> bool:
        """Whether requests are begun when it is their turn: not while the object is being made, and
        no more once the actor stops."""
        return self._mailbox.lifecycle.state is _RUNNING

    @property
    def has_turns(self) -> bool:
        """Whether there is something to begin, if there is room."""
        waits = self._schedule.turns or self._schedule.streams
        return bool(self.last or (waits and self.is_open))

    def begin(self, is_over: Callable[[], bool]) -> None:
        """Begin what there is room for, until that is over or for as long as a turn lasts."""
        executor, end = self._executor, clock() + TURN_SECONDS
        while executor.has_room() and self.has_turns and not is_over() and clock() < end:
            if self.last:
                self.run(*self.last.popleft())
                continue
            if (turn := self._schedule.next_request()) is not None:
                self.run(*turn)
            if executor.has_room() and (stream := self._schedule.next_stream()) is not None:
                self._go_on(stream)
        self._begin_needed()
        if self._schedule.turns and not executor.has_room():
            tell_that_they_wait(list(self._schedule.turns))

    def run(self, client: Client, request: Frame) -> None:
        """Begin a request; or put it back, if its client can't be told that it begins."""
        if not client.is_read:
            self._clients.update_reading(client)
        begun = client.begun_calls
        if is_told(client, request) if begun is None else begun.begins(client, request):
            self.count += 1
            self._mailbox.run(client, request)
        else:
            self._schedule.put_back(client, request)
            self._mailbox.line_up(client)

    def _go_on(self, stream: StreamProducer) -> None:
        self.count += 1
        self._advance(stream)

    def _begin_needed(self) -> None:
        rules = self._mailbox.reentrancy
        for client in self._clients:
            if client.has_actors and client.requests and not client.unsent:
                for request in rules.awaited_in(client.requests):
                    self._schedule.take_out(client, request)
                    if rules.allowed:
                        self.run(client, request)
                    else:
                        client.send(error_frame(request.call_id, rules.refusal(request)))
        for stream in self._schedule.flowing():
            if rules.is_awaited(stream.request) and self._schedule.take_stream(stream):
                self._go_on(stream)

    # --- the end ---------------------------------------------------------------------------

    def close(self, fulfil: bool) -> None:
        """Take in what has arrived, which is all that is begun from now on, or refuse it."""
        self._mailbox.take_all_in()
        self.last.extend(self._schedule.drain(self._clients))
        if not fulfil:
            self._refuse(self.last)

    def patience(self) -> float | None:
        """Until when to wait for what is begun; None: for as long as it takes."""
        return time.monotonic() + DROP_SECONDS if self.drops() else None

    def say_goodbye(self, last_word: Bytes) -> None:
        """Refuse what has come since, give up what does not end, and say goodbye to all clients."""
        for running in self._mailbox.executor.all_running:
            self._mailbox.cut_off(running.client, running.request, False)
        self._refuse(deque(self._schedule.drain(self._clients)))
        say_goodbye(self._clients, self._mailbox.executor, last_word, GOODBYE_SECONDS)
        self._mailbox.lifecycle.on(Event.DRAINED)

    def _refuse(self, requests: deque[tuple[Client, Frame]]) -> None:
        while requests:
            client, request = requests.popleft()
            if request.kind == Kind.CALL and not client.muted:
                client.send(Frame(Kind.REFUSED, request.call_id))
