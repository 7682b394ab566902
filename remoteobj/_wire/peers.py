"""Who is at the other end of a Unix socket, as the kernel tells it."""

from __future__ import annotations

import os
import socket
import struct
import sys

from .auth import UNTOLD, Ends

__all__ = ["ends_of", "pid_of", "user_of"]

_UCRED = struct.Struct("3i")
"""Of Linux: pid, user, group."""
ONLY_NAMESPACE = 1
"""Where there are no namespaces of pids, or nothing is known of them."""


def user_of(sock: socket.socket) -> int | None:
    """The user at the other end; None where the kernel can't be asked."""
    if sys.platform == "darwin":
        local_peercred = 1
        _version, uid = struct.unpack_from("II", sock.getsockopt(0, local_peercred, 76))
        return int(uid)
    if hasattr(socket, "SO_PEERCRED"):
        return _credentials(sock)[1]
    return None


def ends_of(sock: socket.socket, lent_by: int | None = None) -> Ends:
    """The processes at both ends, as this one knows them.

    To be asked once something has arrived: macOS tells who has used the other end last. Linux tells
    a caller of the process that began to listen, which here is the one that has lent the listener.
    """
    own = os.getpid() if lent_by is None or sys.platform == "darwin" else lent_by
    return Ends(_pid_namespace(), own, _pid_of(sock))


def pid_of(sock: socket.socket) -> int | None:
    """The process that has made the other end; None where the kernel does not tell, and of another
    namespace of pids."""
    pid = _pid_of(sock)
    return pid if pid > 0 else None


def _pid_of(sock: socket.socket) -> int:
    if sys.platform == "darwin":
        local_peerpid = 2
        return sock.getsockopt(0, local_peerpid)
    if hasattr(socket, "SO_PEERCRED"):
        return _credentials(sock)[0]
    return UNTOLD


def _credentials(sock: socket.socket) -> tuple[int, int]:
    """The pid and the user of whoever connected, or listened, there."""
    packed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _gid = _UCRED.unpack(packed)
    return pid, uid


def _pid_namespace() -> int:
    """A number for the namespace in which this process has its pid.

    Where /proc is missing, pids are compared as if there were but one.
    """
    try:
        return os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return ONLY_NAMESPACE
