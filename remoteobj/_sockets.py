"""Sockets that belong to this process alone, whatever is forked from it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Iterator

__all__ = ["bell_and_ringer", "forks", "inheriting", "private", "socket_pair"]

# A forked child that kept a copy of our end of a connection would hide our death from the
# other end, which sees EOF only when the last copy closes. So a child closes what it
# inherits of ours, but for the ends that were made for it.

_ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_heritage = threading.local()


@contextlib.contextmanager
def inheriting(*sockets: socket.socket) -> Iterator[None]:
    """A child that this thread forks in here keeps these sockets."""
    _heritage.sockets = sockets
    try:
        yield
    finally:
        _heritage.sockets = ()


forks = [0]
"""How many lie between this process and the first one. To compare that number costs a tenth of
asking for the process id."""


def _close_inherited() -> None:
    forks[0] += 1
    kept = getattr(_heritage, "sockets", ())
    for sock in list(_ours):
        if all(sock is not one for one in kept):
            sock.close()


os.register_at_fork(after_in_child=_close_inherited)


def private(sock: socket.socket) -> socket.socket:
    """Mark a socket as this process's own: a forked child closes its copy."""
    _ours.add(sock)
    return sock


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, one of them for a child that is about to start."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return private(ours), private(theirs)


def bell_and_ringer() -> tuple[socket.socket, socket.socket]:
    """Two ends by which one thread wakes another that polls the first. Neither ever blocks."""
    bell, ringer = map(private, socket.socketpair())
    bell.setblocking(False)
    ringer.setblocking(False)
    return bell, ringer
