"""The actor's side of every call: take requests in, run them in turn, reply.

::

    clients ──frames──> table of kinds ──> schedule ──next──> executor ──reply──> client
    (who calls, who                        (whose turn       (runs it on
     is read)                               it is)            the object)

One thread at a time runs requests, so the object needs no lock against them. While it is blocked on
a call to another actor, it goes on running those that this call needs (`reentrancy`).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Final

from .._os.poller import clock
from .._os.thread_unwind import ThreadUnwind
from .._protocol.lifecycle import Event, Lifecycle
from .._protocol.messages import Bytes, Frame, Kind, read_credit, refusal_of_unknown
from .._protocol.requests import has_chain
from .client_set import Arrived, ClientSet
from .clients import Client, StreamProducer
from .execution import Executor
from .goodbye import say_goodbye
from .reentrancy import Reentrancy
from .replies import cut_off_frame, error_frame, value_frame
from .schedule import Schedule
from .serving import Serving
from .stream_runner import StreamRunner

__all__ = ["GOODBYE_SECONDS", "INTERNAL_CODE", "REQUESTS", "Mailbox"]

LOOK_SECONDS = 50e-6
"""How long a busy mailbox takes up what has come before it looks for more."""
GOODBYE_SECONDS = 5.0
"""How long the clients have, at the end, to take in what was written for them."""
TAKE_IN_SECONDS = 1.0
"""How long, at the end, what still comes is taken in: against a client that never stops sending."""


class Mailbox:
    """The requests of all clients, run one at a time by whichever thread calls in here."""

    def __init__(
        self, clients: ClientSet, executor: Executor, reentrancy: Reentrancy | None = None
    ) -> None:
        self.clients = clients
        self.executor = executor
        self.lifecycle = Lifecycle()
        self.schedule: Schedule[Client, StreamProducer] = Schedule()
        self._turns, self._flowing = self.schedule.turns, self.schedule.streams
        self.streams = StreamRunner(executor, self.schedule, self.line_up)
        self.reentrancy = reentrancy or Reentrancy()
        self._looked = 0.0
        self.serving = Serving(self, executor, self.reentrancy)
        self._changed: set[Client] = set()
        """The clients whose queues are to be looked through again."""
        self.probes: list[tuple[Client, Frame]] = []
        """Those that came while the actor was blocked, and not dealt with."""
        self.hear_probe: Callable[[Client, Frame], None] | None = None
        """Deals with those that come, where the actor is never blocked as a whole."""
        self.safe_point: Callable[[], None] = lambda: None
        """Called between requests, where an exception from `interrupt_` can be raised without
        losing a frame that was read or half written."""

    def run_by(self, executor: Executor) -> None:
        """Have what comes run by another executor; nothing is being run."""
        self.executor = self.serving.executor = self.streams.executor = executor

    # --- running requests --------------------------------------------------------------

    def serve(self, until: Callable[[], bool]) -> None:
        """Run requests until `until()` or the listener stops; `wake` makes it look."""
        with self.serving.at_work():
            while not until() and not self.lifecycle.stopping:
                self._step(None)

    def process(
        self, deadline: float | None, limit: int = sys.maxsize, lasting: bool = False
    ) -> int:
        """Run what is there, waiting for the first until `deadline`; how much was run.

        What comes meanwhile and is nothing to run, a new client say, ends no wait.
        """
        with self.serving.at_work(lasting):
            done = self._step(deadline)
            while not done and (self.clients.unread_yet or self._may_wait(deadline)):
                self.safe_point()
                done = self._step(deadline)
            while 0 < done < limit and (self._turns or self._flowing or self.clients.unread_yet):
                done += self._step(deadline)
        self.safe_point()
        return done

    def _may_wait(self, deadline: float | None) -> bool:
        in_time = deadline is None or time.monotonic() < deadline
        return in_time and not self.lifecycle.stopping

    def _step(self, deadline: float | None) -> int:
        """Run one request and one step of a stream, waiting until `deadline` if there is neither;
        how much was run."""
        if self._turns or self._flowing:
            self._look()
            return self._work()
        arrived = self.clients.next(deadline)
        if arrived is not None:
            client, frames = arrived
            if frames and len(frames) == 1:
                request = frames[0]
                # One request and nothing else to do, as it mostly is: it is spared the queues.
                if request[0] in REQUESTS and not self.clients.woken:
                    if request[4] and has_chain(request[4]):
                        client.has_actors = True
                    self.run(client, request)
                    return 1
        self.take_in([] if arrived is None else [arrived])
        return self._work()

    def _work(self) -> int:
        """Run one request and one step of a stream."""
        done = 0
        if (turn := self.schedule.next_request()) is not None:
            client, request = turn
            if not client.is_read:
                self.clients.update_reading(client)
            self.run(client, request)
            done += 1
        if (stream := self.schedule.next_stream()) is not None:
            self.streams.advance(stream)
            done += 1
        return done

    def run(self, client: Client, request: Frame) -> None:
        """Run a request, or begin it, and write its reply, if there is one by then."""
        reply = None
        try:
            reply = self.executor.run(client, request)
            if reply is not None:
                client.send(reply)
        except ThreadUnwind:
            self.cut_off(client, request, reply is not None)
            raise
        if client.requests or client.unsent:
            self.line_up(client)

    def cut_off(self, client: Client, request: Frame, carried_out: bool) -> None:
        """The process ends, in the midst of a request: its caller must not be told that it was
        not executed. Where its reply may have been begun, nothing more can be said."""
        if carried_out:
            client.mute()
        elif request.kind == Kind.CALL:
            client.send(cut_off_frame(request.call_id))

    def line_up(self, client: Client) -> None:
        """After something was written for a client: its next turn, unless it is owed the rest."""
        if client.unsent:
            self.clients.update_reading(client)
        else:
            self.schedule.line_up(client)

    # --- taking in -----------------------------------------------------------------------

    def _look(self) -> None:
        """Take in what has come meanwhile; not after every request, if they are short."""
        now = clock()
        if now > self._looked + LOOK_SECONDS:
            self._looked = now
            self.take_in(self.clients.read(self.clients.ready()))

    def take_in(self, found: list[Arrived]) -> None:
        """Hand on what was read, frame by frame, by their kinds. A client whose frame can't be
        taken in loses its connection, and no other notices."""
        for client, frames in found:
            if frames is None:
                self._drop(client)
                continue
            if len(frames) > 1:
                self.clients.keep_cpu()  # several threads call, or one that does not wait
            try:
                for frame in frames:
                    handle = _HANDLERS.get(frame[0], Mailbox._refuse_unknown)
                    handle(self, client, frame)
            except Exception as exc:
                client.refuse(exc)
                self._drop(client)
                continue
            if client.queued_bytes:
                self.clients.update_reading(client)
        if self.clients.woken:
            for client in self.clients.take_new():
                self.schedule.line_up(client)
                for stream in client.streams.values():
                    self.schedule.flow(stream)

    def _enqueue(self, client: Client, request: Frame) -> None:
        if request.metadata and has_chain(request.metadata):
            client.has_actors = True
            if self.reentrancy.is_needed(request):
                self._changed.add(client)
        self.schedule.add(client, request)

    def _on_credit(self, client: Client, frame: Frame) -> None:
        if (stream := client.streams.get(frame.call_id)) is not None:
            stream.credit += read_credit(frame)
            self.schedule.flow(stream)

    def _on_command(self, client: Client, frame: Frame) -> None:
        if (stream := client.streams.get(frame.call_id)) is not None:
            stream.commands.append(frame)
            stream.credit += 1
            self.schedule.flow(stream)

    def _on_close(self, client: Client, frame: Frame) -> None:
        if (stream := client.streams.get(frame.call_id)) is not None:
            self.streams.give_up(stream)
            client.send(value_frame(Kind.END, frame.call_id, None))
            self.line_up(client)
        elif self.schedule.withdraw(client, frame.call_id):
            client.send(Frame(Kind.REFUSED, frame.call_id))
        else:
            self.executor.give_up(client, frame.call_id)

    def _on_probe(self, client: Client, frame: Frame) -> None:
        if self.hear_probe is not None:
            self.hear_probe(client, frame)
        elif self.reentrancy.is_blocked:
            self.probes.append((client, frame))

    def _refuse_unknown(self, client: Client, frame: Frame) -> None:
        """A kind of a later version: to be told so, where its sender waits for an answer."""
        if (refusal := refusal_of_unknown(frame, "it knows no message")) is not None:
            client.send(refusal)

    def _drop(self, client: Client) -> None:
        """A client is gone. What it had sent before still runs: it may have meant it.

        Exception: where it was hung up on, it finds that its calls were not executed.
        """
        client.disconnected = True
        if client.muted:
            for request in list(client.requests):
                self.schedule.take_out(client, request)
        self._changed.discard(client)
        self.clients.forget(client)
        for stream in list(client.streams.values()):
            self.streams.give_up(stream)
        client.channel.close()

    def look_soon(self) -> None:
        """Take in what has come before the next request is begun. From any thread."""
        self._looked = 0.0

    def wake(self) -> None:
        """Make the thread that waits for requests, or in a blocked call, look up."""
        self.clients.wake()

    @property
    def queued(self) -> Iterator[Frame]:
        """The requests that have been taken in and not begun, in the order of their turns, as far
        as another thread can see it."""
        return self.schedule.queued(self.clients)

    @property
    def queue_length(self) -> int:
        """How many those are, and one for each client that has sent what is not taken in: how many
        requests that are, nobody knows before they are read."""
        return self.schedule.length(self.clients) + self.clients.unread()

    # --- what a blocked call needs -------------------------------------------------------

    def run_needed(self) -> bool:
        """Run, or refuse, what the blocked call needs: all such requests, and a step of each such
        stream. Whether a stream can go on."""
        rules = self.reentrancy
        for client in self._to_look_through():
            # More may come while these are run, so the queue is looked through anew afterwards.
            while not client.unsent and (requests := rules.needed_now(client.requests)):
                self._run_before_turn(client, requests)
            if client.unsent:
                self._changed.add(client)
        for stream in self._needed_streams():
            if self.schedule.take_stream(stream):
                if rules.allowed:
                    self.streams.advance(stream)
                else:
                    self.streams.break_off(stream, rules.refusal(stream.request))
        return bool(self._needed_streams())

    def _to_look_through(self) -> list[Client]:
        """The clients in whose queues may be what the blocked call needs. Once all were looked
        through for this call, only those that sent such since: a queue may be long."""
        changed, self._changed = self._changed, set()
        return list(self.clients if self.reentrancy.begin_to_look() else changed)

    def _run_before_turn(self, client: Client, requests: list[Frame]) -> None:
        """Run these, or refuse them, as far as what one of them does leaves the others there."""
        for request in requests:
            if client.unsent:
                break
            if request not in client.requests:
                continue  # withdrawn, or needed by a call that one of them has made
            self.schedule.take_out(client, request)
            if self.reentrancy.allowed:
                self.run(client, request)
            else:
                client.send(error_frame(request.call_id, self.reentrancy.refusal(request)))

    def pass_probes_on(self) -> None:
        """Deal with the probes of calls that the blocked call holds up."""
        probes, self.probes = self.probes, []
        for client, frame in probes:
            if self._is_held_up(client, frame.call_id):
                self.reentrancy.take_probe(bytes(frame.payload))

    def _is_held_up(self, client: Client, call_id: int) -> bool:
        """Whether a call, or the next item of a stream, can't come before the end of the blocked
        call. What the blocked call itself needs, or stands before such in its queue, can."""
        if self.executor.is_running(client, call_id):
            return True
        if (stream := client.streams.get(call_id)) is not None:
            return stream.credit > 0 and not self.reentrancy.is_needed(stream.request)
        is_queued = any(one.call_id == call_id for one in client.requests)
        return is_queued and not self.reentrancy.needed_now(client.requests)

    def _needed_streams(self) -> list[StreamProducer]:
        """The streams that can go on, and whose items the blocked call needs."""
        return [
            stream
            for stream in self.schedule.flowing()
            if self.reentrancy.is_needed(stream.request)
            and not self.executor.is_running(stream.client, stream.call_id)
        ]

    # --- ending ------------------------------------------------------------------------

    def stop(self) -> None:
        """Begin to stop: the thread that serves finishes what it is at, then looks."""
        self.lifecycle.on(Event.STOP)
        self.wake()

    def close(self) -> None:
        """Let go of the descriptors; the threads that used them have ended."""
        self.serving.leave_home()
        self.clients.close()

    def drain(self, fulfil: bool, last_word: Bytes = b"") -> None:
        """Fulfil or refuse every request that has arrived, say goodbye, and close."""
        with self.serving.at_work():
            self.take_all_in()
            for client, request in self.schedule.drain(self.clients):
                if client.muted:
                    continue  # it could not be told what came of it
                if fulfil:
                    self.run(client, request)
                elif request.kind == Kind.CALL:
                    client.send(Frame(Kind.REFUSED, request.call_id))
            say_goodbye(self.clients, self.executor, last_word, GOODBYE_SECONDS)
            self.lifecycle.on(Event.DRAINED)

    def leave(self, last_word: Bytes = b"") -> None:
        """Say goodbye while another thread is held by what it runs: nothing of that gets out."""
        for running in self.executor.all_running:
            self.cut_off(running.client, running.request, False)
        for client, request in self.schedule.drain(self.clients):
            if request.kind == Kind.CALL:
                client.send(Frame(Kind.REFUSED, request.call_id))
        say_goodbye(self.clients, self.executor, last_word, 0.0)
        self.lifecycle.on(Event.DRAINED)

    def take_all_in(self) -> None:
        """Take in all that has arrived."""
        self.clients.woken = True
        self.take_in([])
        end = time.monotonic() + TAKE_IN_SECONDS
        while (ready := self.clients.ready()) and time.monotonic() < end:
            self.take_in(self.clients.read(ready))


REQUESTS: Final = frozenset((Kind.CALL, Kind.CAST))

_HANDLERS: Final[dict[int, Callable[[Mailbox, Client, Frame], None]]] = {
    Kind.CALL: Mailbox._enqueue,
    Kind.CAST: Mailbox._enqueue,
    Kind.CREDIT: Mailbox._on_credit,
    Kind.SEND: Mailbox._on_command,
    Kind.RAISE: Mailbox._on_command,
    Kind.CLOSE: Mailbox._on_close,
    Kind.PROBE: Mailbox._on_probe,
    Kind.RELEASE: lambda _, client, frame: client.channel.hear(frame),
    Kind.FORGET: lambda _, client, frame: client.channel.hear(frame),
}
"""What is done with a frame, by its kind. A new kind is one row."""

_OURS = Mailbox.process, Mailbox._step, Mailbox.take_in, ClientSet.read, Serving.wait_serving
INTERNAL_CODE: Final = frozenset(one.__code__ for one in _OURS)
"""Within these, all code but users' is ours, and must not be left half-way by an interruption."""
