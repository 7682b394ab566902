"""Which queued work may run inside a blocked call, and what ends a ring of calls that wait.

Both rules of `_protocol.chains`, at the actor's side: a request that the blocked call needs is let
in, or refused where the actor is not re-entrant; a probe is passed on, or has come home.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from types import CodeType

from .._protocol.chains import BlockedCall, CallChain, Hop, Link, Probe
from .._protocol.identity import NOBODY, ActorId
from .._protocol.messages import Frame, Kind
from .._protocol.requests import read_metadata
from ..errors import DeadlockError
from .status import stack_here

__all__ = ["Reentrancy"]


class Reentrancy:
    """What one actor is blocked on, and what that means for its requests.

    Args:
        actor: the actor.
        allowed: False refuses what would be let in, with `DeadlockError`.
        user_entry_points: the code that calls users' code: stacks are shown from there on.
    """

    def __init__(
        self,
        actor: ActorId = NOBODY,
        allowed: bool = True,
        user_entry_points: Collection[CodeType] = (),
    ) -> None:
        self.allowed = allowed
        self._actor = actor
        self._user_entry_points = user_entry_points
        self._blocked: list[BlockedCall] = []
        self._looked_through = False
        """Whether all queues were looked through for what the innermost call needs."""

    # --- what the actor's own calls say ------------------------------------------------------

    def chain_of_call(self, request: Frame | None, token: int) -> CallChain:
        """The chain of a call that is made while this request is run, or by the work loop."""
        chain: CallChain = ()
        if request is not None and request.kind == Kind.CALL:  # nobody waits for a cast
            chain = read_metadata(request.metadata).chain
        return (*chain, Link(self._actor, token))

    def chain_of_cast(self) -> CallChain:
        """The chain of a cast: its sender alone, since nobody waits for it."""
        return (Link(self._actor, 0),)

    @contextlib.contextmanager
    def blocked(self, call: BlockedCall) -> Iterator[None]:
        """The time in which the actor is blocked on a call."""
        self._blocked.append(call)
        self._looked_through = False
        try:
            yield
        finally:
            self._blocked.remove(call)
            self._looked_through = False

    @property
    def is_blocked(self) -> bool:
        """Whether the actor is blocked on a call, or in what such a call has let in."""
        return bool(self._blocked)

    # --- what is let in --------------------------------------------------------------------

    def is_needed(self, request: Frame) -> bool:
        """Whether the call that the actor is blocked on waits for this request."""
        if not self._blocked or not request.metadata:
            return False
        needed = Link(self._actor, self._blocked[-1].token)
        return needed in read_metadata(request.metadata).chain

    def needed_now(self, queue: Iterable[Frame]) -> list[Frame]:
        """The requests of one client's queue to deal with now: those that the blocked call needs.

        Where they will be run, what the same senders have sent before comes first, so that their
        order holds.
        """
        return self._with_those_ahead(queue, self.is_needed) if self._blocked else []

    def is_awaited(self, request: Frame) -> bool:
        """Whether a call of the actor's waits for this request, be it one that blocks it or not."""
        if not request.metadata:
            return False
        chain = read_metadata(request.metadata).chain
        return any(link.actor == self._actor and link.call for link in chain)

    def awaited_in(self, queue: Iterable[Frame]) -> list[Frame]:
        """The same as `needed_now`, for what any call of the actor's waits for."""
        return self._with_those_ahead(queue, self.is_awaited)

    def _with_those_ahead(
        self, queue: Iterable[Frame], is_needed: Callable[[Frame], bool]
    ) -> list[Frame]:
        found: list[Frame] = []
        ahead: dict[ActorId | None, list[Frame]] = {}
        for request in queue:
            chain = read_metadata(request.metadata).chain
            sender = chain[-1].actor if chain else None
            if is_needed(request):
                found += [*ahead.pop(sender, ()), request]
            elif self.allowed:
                ahead.setdefault(sender, []).append(request)
        return found

    def begin_to_look(self) -> bool:
        """Whether what the blocked call needs may be anywhere. From then on, and while no other
        call is begun or ends, it is only in what comes."""
        begins, self._looked_through = not self._looked_through, True
        return begins

    def refusal(self, request: Frame) -> DeadlockError:
        """The error of a request that would have to be let in."""
        chain = read_metadata(request.metadata).chain
        names = " → ".join([*(link.actor.name for link in chain), self._actor.name])
        return DeadlockError(
            f"this call would wait for itself: {names}; and {self._actor.name} is not reentrant. "
            f"It waits here:\n{self._stack()}"
        )

    # --- rings -----------------------------------------------------------------------------

    def send_own_probe(self, call: BlockedCall) -> None:
        """Ask whether a call that the actor is blocked on waits for itself."""
        call.send_probe(Probe((self._hop(call),)))

    def take_probe(self, payload: bytes) -> None:
        """A probe has come by, along a call that can't end before the one which the actor is
        blocked on.

        It is passed on along the blocked call. If it has been there before, it has found a ring:
        then it goes on to the one call of the ring that is to end. A probe that has come by this
        actor along another call is out of date.
        """
        if self._blocked:
            self.pass_on(payload, self._blocked[-1])

    def pass_on(self, payload: bytes, call: BlockedCall) -> None:
        """The same, along this call."""
        probe = Probe.unpack(payload)
        if probe is None:
            return
        own = Link(self._actor, call.token)
        ring = probe.ring(own)
        if ring is not None and ring.loser == own:
            call.deadlock = ring.deadlock()
        elif ring is not None:
            call.send_probe(ring.to_the_next())
        elif not probe.visited(self._actor):
            call.send_probe(Probe((*probe.hops, self._hop(call))))

    def _hop(self, call: BlockedCall) -> Hop:
        return Hop(Link(self._actor, call.token), self._stack())

    def _stack(self) -> str:
        return stack_here(self._user_entry_points)
