"""Who may connect: the same user, and only with the key.

```
listener → caller   MAGIC, 32 random bytes
caller → listener   32 random bytes, HMAC(key, "caller", both)
listener → caller   HMAC(key, "listener", both)
```

Both sides prove the key, because both will unpickle what the other sends, and nothing is
unpickled before that. Each message has a fixed length, so no length is believed either.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

from .._os.lazy_import import import_lock
from .duplex import DuplexStream, offer_pipes
from .unix import CONNECT_SECONDS, Address, connect

__all__ = ["GREETING", "AuthenticationError", "Challenge", "connect_with_key", "same_user"]

MAGIC = b"remoteobj/1\n"
NONCE = 32
DIGEST = 32
GREETING = len(MAGIC) + NONCE
ANSWER = NONCE + DIGEST


class AuthenticationError(Exception):
    """The other side does not have the key, or does not speak this protocol."""


def _proof(key: bytes, who: bytes, ours: bytes, theirs: bytes) -> bytes:
    with import_lock:
        import hmac  # for a faster start-up: OpenSSL is large, and no owner needs it for its actor

    return hmac.digest(key, MAGIC + who + ours + theirs, "sha256")


def _same(proof: bytes, expected: bytes) -> bool:
    with import_lock:
        import hmac  # for a faster start-up, as above

    return hmac.compare_digest(proof, expected)


class Challenge:
    """The listener's side, without I/O.

    >>> key = b"k" * 32
    >>> challenge = Challenge(key)
    >>> answer, expected = answer_to(challenge.greeting, key)
    >>> challenge.check(answer) == expected
    True
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._nonce = os.urandom(NONCE)
        self.greeting = MAGIC + self._nonce

    def check(self, answer: bytes) -> bytes:
        """What to reply to a caller's answer.

        Raises:
            AuthenticationError: the caller does not have the key.
        """
        theirs, proof = answer[:NONCE], answer[NONCE:]
        if not _same(proof, _proof(self._key, b"caller", self._nonce, theirs)):
            raise AuthenticationError("the caller does not have the key of this listener")
        return _proof(self._key, b"listener", self._nonce, theirs)


def answer_to(greeting: bytes, key: bytes) -> tuple[bytes, bytes]:
    """The caller's side: what to send, and what the listener must then reply."""
    if not greeting.startswith(MAGIC):
        raise AuthenticationError("this is not a listener of this version of remoteobj")
    theirs = greeting[len(MAGIC) :]
    ours = os.urandom(NONCE)
    answer = ours + _proof(key, b"caller", theirs, ours)
    return answer, _proof(key, b"listener", theirs, ours)


def connect_with_key(address: Address) -> DuplexStream:
    """A line to the listener at `address`, both sides proved.

    Raises:
        OSError: nobody listens there, or does not answer in time.
        AuthenticationError: it has another key or speaks another protocol.
    """
    sock = connect(address)
    try:
        if not same_user(sock):
            raise AuthenticationError(f"the listener at {address.path} is another user's")
        answer, expected = answer_to(_receive(sock, GREETING), address.key)
        duplex = offer_pipes(sock, answer)
        try:
            sock.settimeout(CONNECT_SECONDS)
            proof = _receive(sock, DIGEST)
            sock.setblocking(False)
            if not _same(proof, expected):
                raise AuthenticationError(f"the listener at {address.path} does not have the key")
        except BaseException:
            duplex.close()
            raise
    except BaseException:
        sock.close()
        raise
    return duplex


def _receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the listener closed the connection")
        data += more
    return data


def same_user(sock: socket.socket) -> bool:
    """Whether the process at the other end runs as this process's user."""
    if sys.platform == "darwin":
        local_peercred = 1
        credentials = sock.getsockopt(0, local_peercred, 76)
        _version, uid = struct.unpack_from("II", credentials)
    elif hasattr(socket, "SO_PEERCRED"):
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", credentials)
    else:
        return True  # the mode of the directory and the key must do
    return bool(uid == os.getuid())
