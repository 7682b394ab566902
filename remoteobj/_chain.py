"""Chains of calls: an actor that calls another while it is being called says who waits for it.

::

    program ──> A.step ──> B.check ──> A.report
                           carries (A,)   carries (A, B): A waits for this very call

So A can tell a call that it waits for, directly or not, from all others, which have to wait for
their turn. Calls of ordinary programs carry nothing.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from threading import get_ident
from typing import Any, NamedTuple, Protocol

from ._messages import Bytes, Frame, Kind

__all__ = ["Chain", "Host", "Link", "chain_here", "host_here", "hosts", "unwrap", "wrap"]


class Link(NamedTuple):
    """An actor that waits."""

    path: str
    """Of its address, which is its own."""
    name: str


Chain = tuple[Link, ...]
"""Those who wait for a call, the first caller first."""


class Host(Protocol):
    """Whoever runs requests in a thread."""

    @property
    def chain(self) -> Chain:
        """Those who wait for what it is running, itself last; empty: it runs nothing."""
        ...

    def ring(self) -> None:
        """End its wait, from another thread."""
        ...

    def wait_beside(self, watched: dict[int, int], deadline: float | None, target: str) -> bool:
        """Wait for these descriptors, for the sake of the actor at this path, and meanwhile run
        what it waits for itself, directly or not; False when none of them is ready."""
        ...


hosts: dict[int, Host] = {}
"""By thread. Empty in a process without actors, where to ask costs next to nothing."""

os.register_at_fork(after_in_child=hosts.clear)

_CHAINED = {int(Kind.CALL): int(Kind.CHAINED_CALL), int(Kind.CAST): int(Kind.CHAINED_CAST)}
_PLAIN = {chained: plain for plain, chained in _CHAINED.items()}
_LENGTH = 4


def host_here() -> Host | None:
    """Who runs a request in this thread, if anybody does."""
    host = hosts.get(get_ident())
    return host if host is not None and host.chain else None


def chain_here() -> Chain:
    """Those who wait for what this thread is running."""
    host = hosts.get(get_ident())
    return () if host is None else host.chain


def wrap(kind: int, payload: bytes, chain: Chain) -> tuple[int, bytes]:
    """Kind and payload of a request that carries its chain."""
    head = pickle.dumps(tuple(map(tuple, chain)), 5)
    return _CHAINED[kind], len(head).to_bytes(_LENGTH, "little") + head + payload


def unwrap(request: Frame) -> tuple[Chain, tuple[int, int, Bytes, Sequence[Any]]]:
    """The chain of a request, and the request without it.

    >>> kind, payload = wrap(Kind.CALL, b"payload", (Link("/a", "A"),))
    >>> unwrap(Frame(kind, 7, payload))
    ((Link(path='/a', name='A'),), (1, 7, b'payload', ()))
    """
    kind, call_id, payload, buffers = request
    if kind not in _PLAIN:
        return (), request
    begin = _LENGTH + int.from_bytes(payload[:_LENGTH], "little")
    try:
        chain = tuple(Link(*one) for one in pickle.loads(payload[_LENGTH:begin]))
    except Exception:  # malformed: the call that it is about fails when it is unpickled
        return (), (_PLAIN[kind], call_id, b"", ())
    return chain, (_PLAIN[kind], call_id, payload[begin:], buffers)
