"""Chains of calls: an actor that calls another while it is being called says who waits for it.

::

    program ──> A.step ──> B.check ──> A.report
                           carries (A,)   carries (A, B): A waits for this very call

So A, which waits for B, can tell a call for which B waits, directly or not, from all others, which
have to wait for their turn. Calls of ordinary programs carry nothing.

A chain knows nothing of what comes about later: that an actor comes to wait for a future; or that
calls which began independently wait for each other, in a ring: A for B, B for C, C for A. So an
actor that waits for a while says to the one it waits for who waits, and that one passes it on.

Invariant: whoever is said to wait does so, or has only just stopped. Nobody waits for a cast.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Sequence
from threading import get_ident
from typing import Any, Protocol

from .identity import ActorId
from .messages import Bytes, Frame, Kind

__all__ = [
    "CallChain",
    "ServingThread",
    "ActorId",
    "Rumour",
    "chain_here",
    "host_here",
    "serving_threads",
    "payload_of",
    "read_waiters",
    "unwrap",
    "waiters_frame",
    "wrap",
]

RING_SECONDS = 0.01
"""How long an actor waits for another before it says who waits for itself."""
SOON_SECONDS = 0.001
"""The same where the call has not said that it is waited for."""


CallChain = tuple[ActorId, ...]
"""Those who wait for a call, the first caller first."""


class ServingThread(Protocol):
    """Whoever runs requests in a thread."""

    @property
    def chain(self) -> CallChain:
        """Those who wait for what this thread is at, itself last; empty: the thread is not its."""
        ...

    def wake(self) -> None:
        """End its wait, from another thread."""
        ...

    def waiters(self) -> CallChain:
        """Those who wait for this actor, by what it runs or has still to run; itself last."""
        ...

    def wait_beside(self, watched: dict[int, int], deadline: float | None, target: ActorId) -> bool:
        """Wait for these descriptors, for the sake of the actor `target`, and meanwhile run
        what it waits for itself, directly or not; False when none of them is ready."""
        ...

    def take_in_beside(self, watched: dict[int, int], deadline: float | None) -> bool:
        """Wait for these descriptors, and take in what comes meanwhile without running it: whoever
        writes to us may not read before we do. False when none of them is ready."""
        ...


class Rumour:
    """Who waits for an actor that waits itself, told to the one it waits for. Not at once, since
    most waits are short, and again only after somebody may have come.

    `told` is what the call has carried of it.
    """

    def __init__(self, host: ServingThread, told: CallChain) -> None:
        self._host = host
        self._told = told
        # Of a future, and of the next item of a stream, nothing is known over there until then.
        self._due: float | None = time.monotonic() + (RING_SECONDS if told else SOON_SECONDS)

    def due_or(self, deadline: float | None) -> float | None:
        """When there may be news, or `deadline`, if that comes first."""
        if self._due is None or deadline is None:
            return self._due if deadline is None else deadline
        return min(self._due, deadline)

    def news(self) -> CallChain | None:
        """What is to be told now, if anything. To be asked whenever the wait has been ended by
        something else than what it is for."""
        now = time.monotonic()
        if self._due is None:
            self._due = now + RING_SECONDS
        elif now >= self._due:
            self._due = None
            if (waiters := self._host.waiters()) != self._told:
                self._told = waiters
                return waiters
        return None


serving_threads: dict[int, ServingThread] = {}
"""By thread. Empty in a process without actors, where to ask costs next to nothing."""

os.register_at_fork(after_in_child=serving_threads.clear)

_CHAINED = {
    (int(Kind.CALL), False): int(Kind.CHAINED_CALL),
    (int(Kind.CALL), True): int(Kind.CHAINED_LATER),
    (int(Kind.CAST), False): int(Kind.CHAINED_CAST),
}
_PLAIN = {chained: plain for (plain, _), chained in _CHAINED.items()}
_LENGTH = 4


def host_here() -> ServingThread | None:
    """Who runs a request in this thread, if anybody does."""
    host = serving_threads.get(get_ident())
    return host if host is not None and host.chain else None


def chain_here() -> CallChain:
    """Those who wait for what this thread is running."""
    host = serving_threads.get(get_ident())
    return () if host is None else host.chain


def pack(chain: CallChain) -> bytes:
    """A chain as bytes."""
    return pickle.dumps(tuple(map(tuple, chain)), 5)


def unpack(payload: Bytes) -> CallChain:
    """A chain again; a malformed one is empty."""
    try:
        return tuple(ActorId(*one) for one in pickle.loads(payload))
    except Exception:
        return ()


def waiters_frame(call_id: int, items: int, chain: CallChain) -> Frame:
    """By which a caller says that it waits, with so many items of the stream that it has."""
    return Frame(Kind.WAITERS, call_id, items.to_bytes(8, "little") + pack(chain))


def read_waiters(frame: Frame) -> tuple[int, CallChain]:
    """The items, and those who wait.

    >>> read_waiters(waiters_frame(7, 3, (ActorId("a1", "A"),)))
    (3, (ActorId(token='a1', name='A'),))
    """
    return int.from_bytes(frame.payload[:8], "little"), unpack(frame.payload[8:])


def wrap(kind: int, payload: bytes, chain: CallChain, later: bool) -> tuple[int, bytes]:
    """Kind and payload of a request that carries its chain; `later`: nobody waits for it yet."""
    head = pack(chain)
    return _CHAINED[kind, later], len(head).to_bytes(_LENGTH, "little") + head + payload


def unwrap(request: Frame) -> tuple[CallChain, tuple[int, int, Bytes, Sequence[Any]]]:
    """The chain of a request, and the request without it.

    >>> kind, payload = wrap(Kind.CALL, b"payload", (ActorId("a1", "A"),), later=False)
    >>> unwrap(Frame(kind, 7, payload))
    ((ActorId(token='a1', name='A'),), (1, 7, b'payload', ()))
    """
    kind, call_id, payload, buffers = request
    if kind not in _PLAIN:
        return (), request
    begin = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    chain = unpack(payload[_LENGTH:begin])
    if not chain:  # malformed: the call that it is about fails when it is unpickled
        return (), (_PLAIN[kind], call_id, b"", ())
    return chain, (_PLAIN[kind], call_id, payload[begin:], buffers)


def payload_of(request: Frame) -> Bytes:
    """The payload of a request, without its chain."""
    return unwrap(request)[1][2]
