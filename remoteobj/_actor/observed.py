"""Requests as those see them who observe calls: by classes that take the place of the usual ones.

::

    ObservedMailbox.run ── enter ──> the executor runs it ── leave
    ObservedClient.send ── the reply, or the end of the stream ──> ended

So the executor knows nothing of it, and whatever it does, by and by or in other threads, each
request ends with the frame that its caller is sent. Imported by actors that are observed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from .._os.lazy_import import import_lock
from .._pickling.codec import dumps, loads
from .._protocol.identity import ActorId
from .._protocol.messages import Bytes, Frame, FrameParts, Kind
from .._protocol.observing import (
    WHAT,
    Failure,
    ObserverPlan,
    Received,
    RequestWatch,
    add_plan,
    current_observers,
    failure_in,
    name_of,
    remove_plan,
    tell,
)
from .._protocol.requests import observers, read_metadata
from ..errors import describe, type_name
from .clients import Client, StreamProducer
from .mailbox import Mailbox
from .served_here import local_servers
from .server import Server
from .stream_runner import StreamRunner

__all__ = ["attend", "begin", "cast_failed", "close", "end", "follow_order", "order_of"]


def begin(plans: Sequence[ObserverPlan]) -> None:
    """Observe by these plans in this process, with all objects that it serves."""
    for plan in plans:
        add_plan(plan)
    for server in _servers():
        attend(server)


def end(key: str) -> None:
    """Observe no more by the plan of this key."""
    remove_plan(key)
    if not observers:
        for server in _servers():
            _leave(server)


def close() -> None:
    """The process of an actor ends."""
    for observer in current_observers():
        tell(observer.close)


def order_of(plan: ObserverPlan | None = None, key: str = "") -> bytes:
    """An order to observe, or, by a key alone, to do so no more."""
    return dumps((plan, key))[0]


def follow_order(payload: Bytes, pass_on: Callable[[bytes], object]) -> None:
    """Do what an order says, and pass it on to the actors of this process."""
    with import_lock:  # in the control thread, while another one may fork
        plan, key = loads(payload)
    if plan is not None:
        begin([plan])
    else:
        end(key)
    pass_on(bytes(payload))


def _servers() -> list[Server]:
    return [one for one in list(local_servers.values()) if isinstance(one, Server)]


def attend(server: Server) -> None:
    """Have the requests of a server observed, from the next one on."""
    mailbox = server.mailbox
    if observers and type(mailbox) is Mailbox and type(mailbox.streams) is StreamRunner:
        mailbox.__class__ = ObservedMailbox
        assert isinstance(mailbox, ObservedMailbox)
        mailbox.server = _Served(server.actor_id, lambda: server.root)
        mailbox.streams.__class__ = ObservedStreamRunner


def _leave(server: Server) -> None:
    mailbox = server.mailbox
    if isinstance(mailbox, ObservedMailbox):
        mailbox.streams.__class__ = StreamRunner
        vars(mailbox).pop("server")
        object.__setattr__(mailbox, "__class__", Mailbox)
        for client in list(mailbox.clients):
            if isinstance(client, ObservedClient):
                client.leave()


class _Served:
    """What is served, as observers are told of it."""

    def __init__(self, actor_id: ActorId, root: Callable[[], Any]) -> None:
        self._actor_id = actor_id
        self._root = root

    def received(self, request: Frame) -> Received:
        """A request, for observers."""
        carried = dict(read_metadata(request.metadata).carried)
        service = type(self._root()).__qualname__
        what = carried.get(WHAT, "")
        name, method = (what, what) if what else name_of(request.payload, service)
        return Received(name, service, method, self._actor_id, request.kind == Kind.CAST, carried)


class _Watched:
    """One request, and all who observe it."""

    def __init__(self, watches: list[RequestWatch]) -> None:
        self._watches = watches
        self.ended = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """The time in which the calling thread runs it."""
        entered = [(watch, tell(watch.enter)) for watch in self._watches]
        outer, _here.innermost = _here.innermost, self
        try:
            yield
        finally:
            _here.innermost = outer
            for watch, what in reversed(entered):
                tell(watch.leave, what)

    def replied(self, frame: FrameParts) -> bool:
        """A frame about it is sent; whether it is the last."""
        kind = frame[0]
        if kind == Kind.STREAM:
            for watch in self._watches:
                tell(watch.stream_opened)
        elif kind != Kind.ITEM:
            self.end(failure_in(Frame(*frame)))
        return self.ended

    def end(self, failure: Failure | None) -> None:
        """It has ended; only the first end counts."""
        ended, self.ended = self.ended, True
        if not ended:
            for watch in self._watches:
                tell(watch.ended, failure)


class _Here(threading.local):
    """What the calling thread runs."""

    innermost: _Watched | None = None


_here: Final = _Here()


def cast_failed(exc: BaseException) -> None:
    """What nobody waits for has failed, in the calling thread."""
    if _here.innermost is not None:
        _here.innermost.end(Failure(type_name(type(exc)), describe(exc)))


class ObservedClient(Client):
    """A client who is owed replies that somebody observes."""

    watched: dict[int, _Watched]

    def send(self, frame: FrameParts) -> None:
        watched = self.watched.get(frame[1])
        if watched is not None and watched.replied(frame):
            self.watched.pop(frame[1], None)
            self.leave()
        Client.send(self, frame)

    def leave(self) -> None:
        """Be as others are, if nobody observes any more and nothing is left to tell."""
        if not (observers or self.watched):
            object.__setattr__(self, "__class__", Client)


class ObservedMailbox(Mailbox):
    """A mailbox whose requests are observed."""

    server: _Served

    def run(self, client: Client, request: Frame) -> None:
        received = tell(self.server.received, request)
        observing = current_observers() if received is not None else []
        told = [tell(observer.receives, received) for observer in observing]
        watched = _Watched([watch for watch in told if watch is not None])
        if request.kind == Kind.CALL:
            if type(client) is Client:
                client.__dict__["watched"] = {}
                client.__class__ = ObservedClient
            assert isinstance(client, ObservedClient)
            client.watched[request.call_id] = watched
        with watched.running():
            super().run(client, request)
        if request.kind == Kind.CAST:
            watched.end(None)


class ObservedStreamRunner(StreamRunner):
    """Runs streams that are observed."""

    def advance(self, stream: StreamProducer) -> None:
        watched = _watched(stream)
        if watched is None:
            super().advance(stream)
            return
        with watched.running():
            super().advance(stream)

    def give_up(self, stream: StreamProducer) -> None:
        watched = _watched(stream)
        super().give_up(stream)
        if watched is not None:
            watched.end(None)


def _watched(stream: StreamProducer) -> _Watched | None:
    client = stream.client
    return client.watched.get(stream.call_id) if isinstance(client, ObservedClient) else None
