"""How a caller and a listener prove to each other that they have the key, without I/O.

```
listener → caller   MAGIC, 32 random bytes
caller → listener   32 random bytes, HMAC(key, "caller", both)
listener → caller   HMAC(key, "listener", both)
```

Both sides prove the key, because both will unpickle what the other sends, and nothing is
unpickled before that. Each message has a fixed length, so no length is believed either. The key
itself is never sent. How the messages travel is for the transport to say.
"""

from __future__ import annotations

import os

from .._os.lazy_import import import_lock

__all__ = [
    "ANSWER",
    "DIGEST",
    "GREETING",
    "AuthenticationError",
    "Challenge",
    "answer_to",
    "check_proof",
]

MAGIC = b"remoteobj/1\n"
NONCE = 32
DIGEST = 32
"""The length of the listener's proof."""
GREETING = len(MAGIC) + NONCE
"""The length of the listener's first message."""
ANSWER = NONCE + DIGEST
"""The length of the caller's only message."""


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
    """The listener's side.

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
    """The caller's side: the message to send, and the proof that the listener must reply.

    Raises:
        AuthenticationError: the greeting is not that of a listener.
    """
    if not greeting.startswith(MAGIC):
        raise AuthenticationError("this is not a listener of this version of remoteobj")
    theirs = greeting[len(MAGIC) :]
    ours = os.urandom(NONCE)
    answer = ours + _proof(key, b"caller", theirs, ours)
    return answer, _proof(key, b"listener", theirs, ours)


def check_proof(proof: bytes, expected: bytes) -> None:
    """Whether the listener has replied what it must.

    Raises:
        AuthenticationError: it has not.
    """
    if not _same(proof, expected):
        raise AuthenticationError("the listener does not have the key")
