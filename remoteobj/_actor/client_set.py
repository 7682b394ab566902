"""All the processes that call an actor: which of them are read, and the one wait for all of them.

A client whose last reply is not yet written whole is not read and not served further. That bounds
the memory that a slow reader can take, and is what makes `maybe_executed` exact (see
`_protocol.calls`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from select import POLLIN, POLLNVAL, poll
from typing import TypeAlias

from .._os.poller import SpinPoller
from .._os.wakeup import Wakeup
from .._protocol.config import DEFAULT_WIRE_OPTIONS, WireOptions
from .._protocol.messages import Frame
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.transport import ByteStream
from .clients import Client

__all__ = ["Arrived", "ClientSet"]

WRITE_PATIENCE = 0.05
"""Seconds without progress after which a reply is left to be written in the background."""
MAX_QUEUED_BYTES = 1 << 24
"""No more is read from a client whose queued requests take more than this. Exception: while the
actor is blocked on another actor it goes on reading from actors, since the call that unblocks it
may be queued behind these."""


Arrived: TypeAlias = "tuple[Client, list[Frame] | None]"
"""A client and its frames. None in their place: the client has left."""


class ClientSet:
    """The connected clients, and the one place where all of them are waited for."""

    def __init__(
        self,
        flush_later: Callable[[Client], None],
        wire_options: WireOptions = DEFAULT_WIRE_OPTIONS,
    ) -> None:
        self.patience = WRITE_PATIENCE
        self._flush_later = flush_later
        self._wire_options = wire_options
        self._by_fd: dict[int, Client] = {}
        self._new: deque[Client] = deque()
        self._poller = SpinPoller(wire_options.spin)
        self.keep_cpu = self._poller.keep_cpu
        self.wait = self._poller.wait
        """What can be read, waiting for the first of it until a deadline."""
        self.unread_yet: list[tuple[int, int]] = []
        """What could be read when `next` last waited, but for what it has read since."""
        self._wakeup = Wakeup()
        self._poller.register(self._wakeup.fileno())
        self._blocked = 0
        """How many waits for other actors lie on the stack of the thread that reads."""
        self.woken = False
        """Whether `wake` was called: clients may be new, or have something in their outbox."""
        self._watch: Callable[[int], object] | None = None
        self._unwatch: Callable[[int], object] = lambda _: None

    def watched_by(self, begin: Callable[[int], object], end: Callable[[int], object]) -> None:
        """Have an event loop wait too, for what is waited for here: it is told of each descriptor
        when that begins, and when it ends."""
        self._watch, self._unwatch = begin, end
        for fd in list(self._poller.watched):
            begin(fd)

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._by_fd.values()))

    def unread(self) -> int:
        """How many have sent what has not been read. From any thread."""
        looking = poll()
        for fd in list(self._by_fd):
            looking.register(fd, POLLIN)
        return sum(bool(events & POLLIN) for _, events in looking.poll(0))

    # --- from any thread ---------------------------------------------------------------

    def attach(self, stream: ByteStream) -> Client:
        """Serve one more client."""
        channel = StreamChannel(stream, wire_options=self._wire_options)
        client = Client(channel, self._flush_later, self.wake, self.patience)
        self.resume(client)
        return client

    def resume(self, client: Client) -> None:
        """Serve this client, from now or again."""
        self._new.append(client)
        self.wake()

    def wake(self) -> None:
        """Make the thread that waits for requests look up."""
        self._wakeup.set()

    # --- in the thread that reads --------------------------------------------------------

    def ready(self) -> list[tuple[int, int]]:
        """What can be read now."""
        return self._poller.ready()

    def next(self, deadline: float | None) -> Arrived | None:
        """What has come of one client, waiting for it until a deadline. None: nothing of clients.

        Of many that call at once each is read when its request can be run, which spares them the
        queues. They come in turn, since all that were ready are read before the next wait.
        """
        ready = self.unread_yet or self.wait(deadline)
        if len(ready) > 1:
            self.unread_yet = ready[1:]
        elif self.unread_yet:
            self.unread_yet = []
        return self.read_one(*ready[0]) if ready else None

    def wait_for(
        self, watched: dict[int, int], deadline: float | None
    ) -> tuple[bool, list[tuple[int, int]]]:
        """Wait for these descriptors too: whether one of them is ready; and what else is.

        To be called while the actor is blocked on another one: for the length of the wait, actors
        are read from whatever they have queued.
        """
        self._blocked += 1
        self._update_all()
        # A number that is watched already is of ours by now, and no more what the caller means.
        watched = {fd: events for fd, events in watched.items() if fd not in self._poller.watched}
        for fd, events in watched.items():
            self._poller.register(fd, events)
        try:
            ready = self._poller.wait(deadline)
        finally:
            self._blocked -= 1
            for fd in watched:
                self._poller.unregister(fd)
            if not self._blocked:
                self._update_all()
        others = [one for one in ready if one[0] not in watched]
        return len(others) < len(ready), others

    def read(self, ready: list[tuple[int, int]]) -> list[Arrived]:
        """What has come of every client that is ready."""
        return [one for fd, events in ready if (one := self.read_one(fd, events)) is not None]

    def read_one(self, fd: int, events: int) -> Arrived | None:
        """What has come by a descriptor that is ready. None: nothing of clients."""
        if fd in self._by_fd:
            client = self._by_fd[fd]
            try:
                return client, client.channel.take()
            except ChannelClosedError:
                return client, None
            except Exception as exc:
                client.refuse(exc)
                return client, None
        if fd == self._wakeup.fileno():
            self._wakeup.clear()
            self.woken = True
        elif events & POLLNVAL:
            self._poller.unregister(fd)
        return None

    def take_new(self) -> list[Client]:
        """The clients that were attached or resumed since the last time."""
        self.woken = False
        for client in self:
            client.send_outbox()
        found = []
        while self._new:
            client = self._new.popleft()
            fd = client.channel.fileno()
            if fd >= 0 and not client.disconnected:
                self._by_fd[fd] = client
                found.append(client)
                self.update_reading(client)
        return found

    def update_reading(self, client: Client) -> None:
        """Read from a client, or no more, as its queue and its unsent replies say."""
        crowded = client.queued_bytes > MAX_QUEUED_BYTES
        may_read = not crowded or (self._blocked > 0 and client.has_actors)
        wanted = may_read and not client.unsent and not client.disconnected
        if wanted != client.is_read:
            client.is_read = wanted
            fd = client.channel.fileno()
            (self._poller.register if wanted else self._poller.unregister)(fd)
            if self._watch is not None:
                (self._watch if wanted else self._unwatch)(fd)

    def _update_all(self) -> None:
        for client in self._by_fd.values():
            if client.has_actors:
                self.update_reading(client)

    def forget(self, client: Client) -> None:
        """Wait for this client no more."""
        fd = client.channel.fileno()
        self._poller.unregister(fd)
        if self._watch is not None:
            self._unwatch(fd)
        client.is_read = False
        self._by_fd.pop(fd, None)

    def close(self) -> None:
        """Let go of the descriptors; the threads that used them have ended."""
        for client in [*self, *self._new]:
            client.channel.close()
        self._wakeup.close()
