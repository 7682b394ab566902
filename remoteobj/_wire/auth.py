"""How a caller and a listener prove to each other that they have the key, without I/O.

```
listener → caller   MAGIC, 32 random bytes
caller → listener   32 random bytes, the caller's `Ends` and purpose,
                    HMAC(key, "caller", all of these)
listener → caller   HMAC(key, "listener", all of these)
```

Both sides prove the key, because both will unpickle what the other sends, and nothing is
unpickled before that. Each message has a fixed length, so no length is believed either. The key
itself is never sent. How the messages travel is for the transport to say.

Both also have to mean the same connection. Somebody without the key, who lets a caller connect to
him and passes all messages on to the listener, is himself the other end of two connections, and the
kernel tells so: the pids that it gives are not those that the two sides have. So the caller says,
under its proof, which pid it has and which one it sees, and the listener compares. Pids of two
namespaces can't be compared, and there such a relay goes unnoticed. But which namespace the caller
is in stands under its proof too: two processes of one namespace can't be made to skip the check.
"""

from __future__ import annotations

import os
import struct
from typing import Any, Final, Literal

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock

__all__ = [
    "ANSWER",
    "CALLS",
    "DIGEST",
    "FOLLOWS",
    "GREETING",
    "KEY",
    "ORDERS",
    "UNTOLD",
    "AuthenticationError",
    "Challenge",
    "Ends",
    "Key",
    "answer_to",
    "check_proof",
]

MAGIC = b"remoteobj/1\n"
NONCE = 32
KEY: Final = 32
"""The length of a key."""
DIGEST = 32
"""The length of the listener's proof."""
GREETING = len(MAGIC) + NONCE
"""The length of the listener's first message."""
_ENDS = struct.Struct("<QiiB")
"""The caller's `Ends`, and its purpose."""
ANSWER = NONCE + _ENDS.size + DIGEST
"""The length of the caller's only message."""
CALLS: Final = 0
"""The purpose of a connection on which requests are made."""
FOLLOWS: Final = 1
"""That of one on which items arrive that the object publishes."""
ORDERS: Final = 2
"""That of one on which an actor is asked, and told, what its owner can ask and tell it."""
UNTOLD: Final = -1
"""In place of a pid, where the kernel can't be asked for it."""


class AuthenticationError(Exception):
    """The other side is not let in.

    `reason` is what `refusals` calls it: it is another user's, it has not the key or does not speak
    this protocol, or what it says comes by another process.
    """

    def __init__(self, message: str, reason: Literal["user", "proof", "relay"] = "proof") -> None:
        super().__init__(message)
        self.reason: Literal["user", "proof", "relay"] = reason


class _Unshown(bytes):
    """Bytes for the eyes of `hmac` and `pickle` alone."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<not shown>"

    __str__ = __repr__


class Key:
    """A secret that both sides prove to have.

    No text shows it, be it the `repr` of what holds it or a traceback with the values of locals.
    Only a pickle has it.

    >>> Key.new()
    <key>
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = _Unshown(secret)

    @classmethod
    def new(cls) -> Key:
        """A key that nobody has yet."""
        return cls(os.urandom(KEY))

    @property
    def secret(self) -> bytes:
        """The key as bytes, for what keeps it where others of this user may read it."""
        return self._secret

    def sign(self, message: bytes) -> bytes:
        """The proof that whoever sends this message has the key."""
        with import_lock:
            import hmac  # for a faster start-up: OpenSSL is large, and owners do without

        return hmac.digest(self._secret, message, "sha256")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self._secret == other._secret

    def __hash__(self) -> int:
        return hash(self._secret)

    def __repr__(self) -> str:
        return "<key>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Key, (self._secret,)


class Ends(NamedTuple):
    """The processes at both ends of a connection, as one of them knows them."""

    namespace: int = 0
    """In which these numbers mean something; 0: in none."""
    own: int = 0
    other: int = UNTOLD
    """As the kernel tells it: 0 where the process has no number in this namespace."""

    def agree(self, theirs: Ends) -> bool:
        """Whether both ends can be speaking of the same connection.

        >>> Ends(1, own=10, other=20).agree(Ends(1, own=20, other=10))
        True
        >>> Ends(1, own=10, other=15).agree(Ends(1, own=20, other=15))
        False
        """
        if self.namespace != theirs.namespace:
            return True
        return self.other in (UNTOLD, theirs.own) and theirs.other in (UNTOLD, self.own)


NO_ENDS: Final = Ends()
"""What a transport knows that has nobody to ask."""


def _proof(key: Key, who: bytes, *said: bytes) -> bytes:
    return key.sign(MAGIC + who + b"".join(said))  # of which each has its length


def _same(proof: bytes, expected: bytes) -> bool:
    with import_lock:
        import hmac  # for a faster start-up, as above

    return hmac.compare_digest(proof, expected)


class Challenge:
    """The listener's side.

    >>> key = Key.new()
    >>> challenge = Challenge(key)
    >>> answer, expected = answer_to(challenge.greeting, key)
    >>> challenge.check(answer) == expected
    True
    """

    def __init__(self, key: Key) -> None:
        self._key = key
        self._nonce = os.urandom(NONCE)
        self.greeting = MAGIC + self._nonce
        self.purpose = CALLS
        """What the caller is here for, once `check` has let it in."""

    def check(self, answer: bytes, ends: Ends = NO_ENDS) -> bytes:
        """What to reply to a caller's answer.

        Raises:
            AuthenticationError: the caller does not have the key, or is another process than the
                one that made this connection.
        """
        theirs, proof = answer[:-DIGEST], answer[-DIGEST:]
        if not _same(proof, _proof(self._key, b"caller", self._nonce, theirs)):
            raise AuthenticationError("the caller does not have the key of this listener")
        *their_ends, purpose = _ENDS.unpack(theirs[NONCE:])
        if not ends.agree(Ends(*their_ends)):
            raise AuthenticationError("the caller's messages come by another process", "relay")
        if purpose not in (CALLS, FOLLOWS, ORDERS):
            raise AuthenticationError(f"the caller comes for what is not known here: {purpose}")
        self.purpose = purpose
        return _proof(self._key, b"listener", self._nonce, theirs)


def answer_to(
    greeting: bytes, key: Key, ends: Ends = NO_ENDS, purpose: int = CALLS
) -> tuple[bytes, bytes]:
    """The caller's side: the message to send, and the proof that the listener must reply.

    Raises:
        AuthenticationError: the greeting is not that of a listener.
    """
    if not greeting.startswith(MAGIC):
        raise AuthenticationError("this is not a listener of this version of remoteobj")
    theirs = greeting[len(MAGIC) :]
    ours = os.urandom(NONCE) + _ENDS.pack(*ends, purpose)
    answer = ours + _proof(key, b"caller", theirs, ours)
    return answer, _proof(key, b"listener", theirs, ours)


def check_proof(proof: bytes, expected: bytes) -> None:
    """Whether the listener has replied what it must.

    Raises:
        AuthenticationError: it has not.
    """
    if not _same(proof, expected):
        raise AuthenticationError("the listener does not have the key")
