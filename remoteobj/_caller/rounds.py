"""A round: one call on each of several actors, under way together, for which one thread waits.

::

    for each: pickle, send ──> for each: wait, unpickle what came of it

What is the same for all is pickled once. What is not is sent as soon as it is pickled, and what
comes is unpickled in the order of the actors, so that the first are at work while the last are seen
to, at both ends. The thread that makes the round reads the outcomes itself: it needs no futures,
and no other thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .._pickling.codec import HoldsPartError
from .._protocol.calls import PendingCall
from .._protocol.chains import new_call_token
from .._protocol.messages import Kind
from .._protocol.operations import Steps
from ..errors import ActorDiedError, NotListeningError, UnsendableError
from .answers import Fallback, decode_answer, fallback_or_raise
from .call_options import CallOptions
from .connection import Connection, OpenedCall
from .endpoint import Endpoint, encode, result_of
from .outcomes import Outcome, outcome_of

__all__ = ["RoundCall", "run_round"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


# Plain tuples, of which a round makes one for each actor.
RoundCall: TypeAlias = "tuple[Endpoint, Steps, object, Fallback, CallOptions]"
"""A call of a round: the operands of `Endpoint.call`."""

_VALUE = Kind.VALUE  # a bare name: see `endpoint`

_Pickled: TypeAlias = "tuple[bytes, list[Any]]"


def run_round(calls: Sequence[RoundCall], for_sending: Callable[[int], Steps]) -> list[Outcome]:
    """Make all these calls and wait until every one has ended; what came of each, in their order.

    Args:
        calls: those with the same steps, one after the other, are pickled once.
        for_sending: the steps of a call as they have to travel, by its index, if among their
            operands are parts of remote objects.

    Raises:
        UnsendableError: all have the same steps, and these can't be pickled; nothing was sent.
        BaseException: the round was interrupted, by Ctrl-C, say; all its calls are given up.
    """
    sent: list[list[OpenedCall]] = [[] for _ in calls]
    try:
        failures = _send(calls, for_sending, sent)
        begun = time.monotonic()
        return [
            failures[index] if index in failures else _outcome_of_call(call, *opened[-1], begun)
            for index, (call, opened) in enumerate(zip(calls, sent, strict=True))
        ]
    except BaseException:
        for (endpoint, _, _, _, options), opened in zip(calls, sent, strict=True):
            for connection, pending in opened:
                connection.abandon(pending)
                endpoint.given_up(pending, options)
        raise


def _send(
    calls: Sequence[RoundCall],
    for_sending: Callable[[int], Steps],
    sent: Sequence[list[OpenedCall]],
) -> dict[int, Outcome]:
    """Send all, and add each to its entry of `sent` before it is; what came of those that could not
    be sent, by their indices."""
    # One token for all: what any of them needs is let in while this thread waits for any other.
    token = new_call_token()
    pickler = _Pickler(calls, for_sending)
    failures: dict[int, Outcome] = {}
    for index, (endpoint, _, _, otherwise, _) in enumerate(calls):
        try:
            _begin(endpoint, *pickler.pickled(index), sent[index], token)
        except (NotListeningError, ActorDiedError) as exc:
            failures[index] = _unanswered(exc, otherwise)
        except UnsendableError as exc:
            if pickler.alike:
                raise
            failures[index] = None, exc
    return failures


class _Pickler:
    """Pickles the calls of a round, and those that are alike once.

    An error leads to a frame that has it, and what is pickled may hold a key, which is not shown
    here as it would be as a variable.
    """

    def __init__(self, calls: Sequence[RoundCall], for_sending: Callable[[int], Steps]) -> None:
        self._calls = calls
        self._for_sending = for_sending
        self.alike = all(steps is calls[0][1] for _, steps, *_ in calls)
        self._kept: dict[bool, _Pickled] = {}

    def pickled(self, index: int) -> _Pickled:
        """What the call of this index is sent as.

        Raises:
            UnsendableError: an operand can't be pickled.
        """
        endpoint, steps, *_ = self._calls[index]
        writable = endpoint.writable
        if writable in self._kept:
            return self._kept[writable]
        try:
            pickled = encode(steps, writable)
        except HoldsPartError:
            # A part of one object travels otherwise to that than to another.
            self.alike = False
            return encode(self._for_sending(index), writable)
        if self.alike:
            self._kept[writable] = pickled
        return pickled


def _begin(
    endpoint: Endpoint, payload: bytes, buffers: list[Any], opened: list[OpenedCall], token: int
) -> None:
    try:
        endpoint.with_connection(Connection.call, payload, buffers, opened, token)
    except BaseException:
        payload = b""  # as in `Endpoint.call`
        raise


def _outcome_of_call(
    call: RoundCall, connection: Connection, pending: PendingCall, begun: float
) -> Outcome:
    """Wait for the end of a call; what came of it."""
    endpoint, _, _, _, options = call
    if options.timeout is None:
        if not connection.wait_fast(pending):
            connection.wait(pending)
    elif not connection.wait(pending, begun + options.timeout):
        error = endpoint.timed_out(options, pending)
        connection.abandon(pending)
        return None, error
    if (answer := pending.first) is None or answer[0] != _VALUE:
        return _ended(call, connection, pending)
    try:
        return decode_answer(answer, pending.sent), None
    except Exception as exc:
        return None, exc


def _ended(call: RoundCall, connection: Connection, pending: PendingCall) -> Outcome:
    """What came of a call that has ended."""
    endpoint, _, owner, otherwise, options = call
    try:
        endpoint.check(pending)
    except (NotListeningError, ActorDiedError) as exc:
        return _unanswered(exc, otherwise)
    except Exception as exc:
        return None, exc
    try:
        return result_of(endpoint, connection, pending, owner, options), None
    except Exception as exc:
        return None, exc


def _unanswered(error: BaseException, otherwise: Fallback) -> Outcome:
    """What came of a call that got no answer."""
    return outcome_of(lambda: fallback_or_raise(error, otherwise))
