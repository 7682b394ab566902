"""The transport seam: how two processes come to exchange bytes.

::

    transport.new_address()                   by whoever makes the object
    transport.listen(address) ─> Listener     in the process in which the object lives
    transport.connect(address) ─> ByteStream      in every process that calls it

    connect ── challenge and proofs ──> Listener.accept() ─> Handshake.go_on() ─> ByteStream

Everything above this seam works on `ByteStream`s. It neither knows nor asks how they came about,
and takes an `Address` for a value that the address's own transport understands.

What every transport guarantees:

- *Proof first.* `connect` and `Handshake.go_on` give a stream only after both sides have proved by
  the challenge of `auth` that they have the address's key. Until then nothing that the other side
  has sent is unpickled, or kept beyond the fixed length of its messages.
- *Order and end.* A stream delivers bytes whole and in order, or ends. When the other process is
  gone, however it ended, reading gives what had arrived and then an empty result or an `OSError`;
  and once this system has noticed that, a write fails. So a call that is made after a death is
  known not to have been executed.
- *No wait but in `connect`.* It waits as long as it is told to. Listeners, handshakes and
  streams never block; `select` tells by their `fileno()` when to go on. So the thread that
  accepts callers keeps the time limits of their handshakes itself.
- *Private to a process.* A forked child closes its copies of listeners, handshakes and streams, as
  `fork_safety.close_in_child` does: a copy would hide the end of the process from the other side.
- *The address comes first.* It is made before anything listens there, so that it can be handed to
  the process that will listen and to those that will call.

Descriptors (and with them shared memory) travel only where the stream says `passes_descriptors`.
Nothing else depends on it.
"""

from __future__ import annotations

from typing import Final

from .._fast_typing import NamedTuple, Protocol
from .._os.fork_safety import Closable
from .._protocol.messages import Bytes
from .auth import CALLS, Key

__all__ = [
    "CONNECT_SECONDS",
    "Address",
    "Handshake",
    "ListenEvent",
    "Listener",
    "ByteStream",
    "Transport",
]

CONNECT_SECONDS: Final = 5.0
"""How long a listener may take over a connection before it counts as not listening."""


class Address(NamedTuple):
    """Where an object can be reached, and the key that opens it.

    Whoever has both can run code in the process that listens there.

    >>> Address("unix", "/run/user/1000/x", Key.new())
    Address('unix', '/run/user/1000/x')
    """

    transport: str
    """The name of the transport that understands `location`."""
    location: str
    key: Key

    def __repr__(self) -> str:
        return f"Address({self.transport!r}, {self.location!r})"


class Transport(Protocol):
    """A way for processes to reach each other, under one name in `registry.TRANSPORTS`."""

    @property
    def name(self) -> str:
        """What `Address.transport` says of its addresses."""
        ...

    def new_address(self) -> Address:
        """An address at which nothing listens yet, unlike all others, with a new random key."""
        ...

    def connect(
        self, address: Address, purpose: int = CALLS, seconds: float | None = CONNECT_SECONDS
    ) -> ByteStream:
        """A stream to whoever listens at the address, after both sides have proved themselves.

        Args:
            purpose: one of those of `auth`; it stands under the caller's proof.
            seconds: how long to wait for the answer; None: as long as somebody listens.

        Raises:
            TimeoutError: somebody listens there, but did not answer within `seconds`.
            OSError: nobody listens there.
            AuthenticationError: the listener has another key, or speaks another protocol.
        """
        ...

    def listen(self, address: Address, *, fresh: bool = False) -> Listener:
        """Begin to listen, then end the wait of everybody who waits by a `listen_event`.

        Args:
            fresh: the address was just made for this listener alone, so that nobody can listen or
                wait there yet, and the transport need not look.

        Raises:
            FileExistsError: another process listens there.
        """
        ...

    def listen_event(self, address: Address) -> ListenEvent | None:
        """Tells when somebody begins to listen; None where the transport has no such event, so
        that the caller has to try again from time to time."""
        ...

    def remove(self, address: Address) -> None:
        """Clear away what a listener that was killed left at the address. Harmless when there is
        nothing, and when done twice."""
        ...


class Listener(Protocol):
    """Accepts callers at one address."""

    def fileno(self) -> int:
        """The descriptor that becomes readable when a caller has come."""
        ...

    def accept(self) -> Handshake:
        """Begin the handshake of the next caller.

        Raises:
            OSError: there is none any more; or, by its `errno`, there is no descriptor for it.
            AuthenticationError: the caller is refused without a handshake.
        """
        ...

    def lend(self) -> Listener:
        """A copy for a process that is about to be started. Callers stand in one queue for all
        copies, also while nobody accepts any, until the last copy is closed. What lies at the
        address is left to the one that lends."""
        ...

    @property
    def kept_by_fork(self) -> Closable:
        """What `fork_safety.keep_in_child` is to be given of it, for a process that is forked."""
        ...

    def close(self) -> None:
        """Stop listening: from now on `connect` finds nobody, unless a copy listens on. Harmless
        when done twice, and from any thread."""
        ...


class Handshake(Protocol):
    """A caller that has not proved itself yet."""

    @property
    def purpose(self) -> int:
        """What the caller is here for: to be asked once `go_on` has given its stream."""
        ...

    def fileno(self) -> int:
        """The descriptor that becomes readable when `go_on` has something to do."""
        ...

    def go_on(self) -> ByteStream | None:
        """Take in what the caller has said. Its stream once it has proved itself, which then is
        all that remains of the handshake; None while it has not.

        Raises:
            BlockingIOError: nothing has come.
            OSError, AuthenticationError: the caller has left, or is refused; to be closed.
        """
        ...

    def close(self) -> None:
        """Refuse the caller."""
        ...


class ListenEvent(Protocol):
    """Becomes readable when somebody begins to listen at an address."""

    def fileno(self) -> int: ...

    def drain(self) -> None:
        """Make it unreadable until somebody else begins to listen."""
        ...

    def close(self) -> None: ...


class ByteStream(Protocol):
    """One end of a two-way stream of bytes, which never blocks.

    One thread at a time may read, and one may write. `shutdown` may come from any thread.
    """

    @property
    def passes_descriptors(self) -> bool:
        """Whether descriptors, and so shared memory, can be sent along."""
        ...

    def fileno(self) -> int:
        """The descriptor that tells when there is something to read; -1 once closed."""
        ...

    @property
    def writes(self) -> int:
        """The descriptor that tells when there is room to write, perhaps that of `fileno`; -1 once
        closed."""
        ...

    @property
    def hangup(self) -> int:
        """A descriptor that tells of the end alone (POLLHUP), also of a `shutdown` at this end; -1
        where `fileno` does so itself."""
        ...

    def read(self, size: int, /) -> bytes | None:
        """What has arrived, at most `size` bytes; None: nothing has; empty: nothing more will.

        Raises:
            OSError, ValueError: the stream is broken, or closed.
        """
        ...

    def read_into(self, buffer: memoryview, /) -> int | None:
        """`read` into a buffer; how many bytes that were."""
        ...

    def write(self, data: Bytes, /) -> int | None:
        """Write what there is room for; how many bytes that were, None when there is no room.

        Raises:
            OSError, ValueError: nobody is there to read it, or the stream is closed.
        """
        ...

    def writev(self, parts: list[Bytes], /) -> int | None:
        """`write` for several parts in a row."""
        ...

    def send_fd(self, number: int, fd: int) -> bool:
        """Give the other end a copy of a descriptor, to be received by its number, which is greater
        than all before; False: that can't be done, now or at all."""
        ...

    def receive_fd(self, number: int) -> int:
        """The descriptor that was sent under this number, which is the receiver's from now on; -1:
        it did not arrive. Those of smaller numbers are closed, so that none is kept that nobody
        asks for."""
        ...

    def end_writing(self) -> None:
        """Say that nothing more will be written; what was written still arrives."""
        ...

    def shutdown(self) -> None:
        """End the stream for both ends, and wake the threads that wait at either."""
        ...

    def close(self) -> None:
        """Let go of this end. Harmless when done twice."""
        ...
