"""Who waits for whom: what a call says of the calls that wait for it, and how a ring is found.

::

    program ──> A.step ──> B.check ──> A.report
                           carries     carries
                           (A waits    (A waits for call 7, B waits for call 3)
                           for call 7)

**Re-entrancy.** An actor that makes a call while it is being called sends along a *call chain*: for
each actor above, which of its calls it waits for. A request whose chain names the very call that
its receiver is blocked on is part of what that call needs, so it is let in; all others wait for
their turn. A future's call carries its chain too, and counts from the moment somebody in the actor
waits for it. Nobody waits for a cast, so that one carries its sender alone.

**Rings.** Calls that began independently of each other may wait for each other as well: A for B, B
for C, C for A. No chain has the whole of such a ring. So a call that has waited for `PROBE_DELAY`
sends a *probe* along: B, blocked itself, passes it on to C, and C to A. A probe that comes to a
call which it has been sent along before has found a ring. One call of the ring ends with a
`DeadlockError`: that with the greatest link, whichever probe has found the ring first, so that a
ring costs one call; the probe goes on to it. This is edge chasing, by Chandy, Misra and Haas. The
last one to close a ring finds the others waiting already, so that one probe is enough; it is
repeated, ever more seldom, in case that one was lost.

Calls of ordinary programs carry nothing, and are in no ring: nobody calls them.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import get_ident
from typing import Final, Self

from .._fast_typing import NamedTuple, Protocol
from ..errors import DeadlockError
from .identity import ActorId
from .messages import Bytes
from .plain_data import quoted, read_plain

__all__ = [
    "BlockedCall",
    "CallChain",
    "Hop",
    "Link",
    "Probe",
    "ServingThread",
    "new_call_token",
    "serving_thread",
    "serving_threads",
]

PROBE_DELAY = 1.0
"""Seconds that a call waits before it sends its first probe; the second comes after twice that."""


class Link(NamedTuple):
    """An actor in a call chain."""

    actor: ActorId
    call: int
    """Which of its own calls the actor waits for; 0: it waits for none, as after a cast."""


CallChain = tuple[Link, ...]
"""The calls that wait for a request, the first caller first."""


new_call_token: Final[Callable[[], int]] = itertools.count(1).__next__
"""A number for one call of this process, that no other call of it has."""


# --- probes --------------------------------------------------------------------------------


class Hop(NamedTuple):
    """One actor on the way of a probe: which of its calls it is blocked on, and where."""

    link: Link
    stack: str
    """The Python stack of the thread that is blocked."""


class Probe(NamedTuple):
    """A question on its way along the calls that wait for each other: does it come back?"""

    hops: tuple[Hop, ...]
    """The actors on the way, the one who asks first."""

    def visited(self, actor: ActorId) -> bool:
        """Whether it has come by this actor already."""
        return any(hop.link.actor == actor for hop in self.hops)

    def ring(self, call: Link) -> Ring | None:
        """The ring that it has found, if it has been sent along this call before and comes to it
        again; whatever led into the ring is not in there."""
        links = [hop.link for hop in self.hops]
        return Ring(self.hops[links.index(call) :]) if call in links else None

    def pack(self) -> bytes:
        hops = [
            f"[{quoted(path)},{quoted(name)},{call},{quoted(stack)}]"
            for ((path, name), call), stack in self.hops
        ]
        return f"[{','.join(hops)}]".encode()

    @classmethod
    def unpack(cls, payload: Bytes) -> Self | None:
        """A probe again; None if it is malformed.

        >>> probe = Probe((Hop(Link(ActorId("/a", "A"), 7), "in step"),))
        >>> Probe.unpack(probe.pack()) == probe
        True
        >>> Probe.unpack(b"") is None
        True
        """
        try:
            hops = [
                Hop(Link(ActorId(str(path), str(name)), int(call)), str(stack))
                for path, name, call, stack in read_plain(payload)
            ]
        except Exception:
            return None
        return cls(tuple(hops)) if hops else None


class Ring(NamedTuple):
    """Calls that wait for each other, each for the next, and the last for the first."""

    hops: tuple[Hop, ...]

    @property
    def loser(self) -> Link:
        """The call that is to end, so that the others can go on."""
        return max(hop.link for hop in self.hops)

    def to_the_next(self) -> Probe:
        """The probe that tells the next actor of the ring."""
        first, *others = self.hops
        return Probe((*others, first))

    def deadlock(self) -> DeadlockError:
        """The error of the first call."""
        names = [hop.link.actor.name for hop in self.hops]
        stacks = "\n".join(f"{hop.link.actor.name} waits here:\n{hop.stack}" for hop in self.hops)
        return DeadlockError(
            f"these actors wait for each other: {' → '.join([*names, names[0]])}. Let one of them "
            f"call by cast_ or future_, and wait for nothing meanwhile.\n{stacks}"
        )


class BlockedCall:
    """A call that a serving thread is blocked on, and when it sends its next probe."""

    def __init__(self, token: int, send_probe: Callable[[Probe], None]) -> None:
        self.token = token
        self.send_probe = send_probe
        """Sends a probe to the actor that the call is for."""
        self.deadlock: DeadlockError | None = None
        """Why the call must end, once a probe has found a ring."""
        self._delay = PROBE_DELAY
        self._due = time.monotonic() + self._delay

    def due_or(self, deadline: float | None) -> float:
        """When the next probe is due, or `deadline`, if that comes first."""
        return self._due if deadline is None else min(self._due, deadline)

    def probe_is_due(self) -> bool:
        """Whether it is time for a probe; then the next one is due later."""
        now = time.monotonic()
        if now < self._due:
            return False
        self._delay *= 2
        self._due = now + self._delay
        return True


# --- who serves in which thread ----------------------------------------------------------------


class ServingThread(Protocol):
    """What runs requests in a thread, as the calls that these requests make see it."""

    def chain_of_call(self, token: int) -> CallChain:
        """The chain of a call that is being made now; empty: the thread runs none of its."""
        ...

    def chain_of_cast(self) -> CallChain:
        """The same for a cast."""
        ...

    def blocked(self, call: BlockedCall) -> AbstractContextManager[None]:
        """The time in which the thread is blocked on this call."""
        ...

    def send_own_probe(self, call: BlockedCall) -> None:
        """Send a probe for this call."""
        ...

    def pass_probes_on(self) -> None:
        """Deal with the probes that came during the last wait, when the call is still blocked."""
        ...

    def wake(self) -> None:
        """End its wait, from another thread."""
        ...

    def wait_serving(self, watched: dict[int, int], deadline: float | None) -> bool:
        """Wait for these descriptors, and meanwhile run the requests that the blocked call needs.

        False when none of them is ready.
        """
        ...

    def wait_reading(self, watched: dict[int, int], deadline: float | None) -> bool:
        """Wait for these descriptors, and take in what comes meanwhile without running it.

        Else two actors that write to each other would both wait for the other to read. False when
        none of them is ready.
        """
        ...


serving_threads: dict[int, ServingThread] = {}
"""By thread. Empty in a process without actors, where to ask costs next to nothing."""

os.register_at_fork(after_in_child=serving_threads.clear)


def serving_thread() -> ServingThread | None:
    """What runs a request, or a work loop, in the calling thread, if anything does."""
    found = serving_threads.get(get_ident())
    return found if found is not None and found.chain_of_cast() else None
