"""A round: one call on each of several actors, under way together, for which one thread waits.

::

    pickle all ──> send to each ──> wait for each, the last one first ──> what came of each

All is pickled before anything is sent, and what is the same for many actors only once. The thread
that makes the round reads the outcomes itself, so it needs no futures, and no other thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from .._pickling.exceptions import add_note
from .._protocol.calls import PendingCall
from .._protocol.chains import new_call_token
from .._protocol.operations import Steps
from ..errors import ActorDiedError, NotListeningError
from .answers import Fallback, fallback_or_raise
from .call_options import CallOptions
from .connection import Connection, OpenedCall
from .endpoint import Endpoint, encode, result_of

__all__ = ["Outcome", "RoundCall", "failure_of", "outcome_of", "results", "run_round"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


# Plain tuples, of which a round makes one for each actor.
RoundCall: TypeAlias = "tuple[Endpoint, Steps, object, Fallback, CallOptions]"
"""A call of a round: the operands of `Endpoint.call`."""

Outcome: TypeAlias = "tuple[Any, BaseException | None]"
"""What came of a call: its value, and the error if there is none."""


def run_round(calls: Sequence[RoundCall]) -> list[Outcome]:
    """Make all these calls and wait until every one has ended; what came of each, in their order.

    Raises:
        UnsendableError, HoldsPartError: nothing was sent to anybody.
        BaseException: the round was interrupted, by Ctrl-C, say; all its calls are given up.
    """
    payloads = _pickled(calls)
    sent: list[list[OpenedCall]] = [[] for _ in calls]
    try:
        failures = _send(calls, payloads, sent)
        _wait(calls, sent, failures)
    except BaseException:
        payloads.clear()
        for (endpoint, _, _, _, options), opened in zip(calls, sent, strict=True):
            for connection, pending in opened:
                connection.abandon(pending)
                endpoint.given_up(pending, options)
        raise
    return [
        _ended(call, *opened[-1]) if index not in failures else failures[index]
        for index, (call, opened) in enumerate(zip(calls, sent, strict=True))
    ]


def _pickled(calls: Sequence[RoundCall]) -> list[tuple[bytes, list[Any]]]:
    payloads: list[tuple[bytes, list[Any]]] = []
    before: tuple[Steps, bool] | None = None
    for endpoint, steps, *_ in calls:
        if before is not None and steps is before[0] and endpoint.writable == before[1]:
            payloads.append(payloads[-1])
        else:
            before = steps, endpoint.writable
            payloads.append(encode(*before))
    return payloads


def _send(
    calls: Sequence[RoundCall],
    payloads: list[tuple[bytes, list[Any]]],
    sent: Sequence[list[OpenedCall]],
) -> dict[int, Outcome]:
    """Send all, and add each to its entry of `sent` before it is; what came of those that could not
    be sent, by their indices."""
    # One token for all: what any of them needs is let in while this thread waits for any other.
    token = new_call_token()
    failures: dict[int, Outcome] = {}
    for index, (endpoint, _, _, otherwise, _) in enumerate(calls):
        try:
            _begin(endpoint, *payloads[index], sent[index], token)
        except (NotListeningError, ActorDiedError) as exc:
            failures[index] = _unanswered(exc, otherwise)
    payloads.clear()  # an error leads to this frame, and a payload may hold a key
    return failures


def _begin(
    endpoint: Endpoint, payload: bytes, buffers: list[Any], opened: list[OpenedCall], token: int
) -> None:
    try:
        endpoint.with_connection(lambda at: at.call(payload, buffers, opened, token))
    except BaseException:
        payload = b""  # as in `Endpoint.call`
        raise


def _wait(
    calls: Sequence[RoundCall], sent: Sequence[list[OpenedCall]], failures: dict[int, Outcome]
) -> None:
    """Wait for all that were sent, and add those whose time is up to the failures."""
    begun = time.monotonic()
    # Once the last one has answered, the others mostly have: it is the only one to sleep for.
    for index in reversed(range(len(calls))):
        if index not in failures:
            endpoint, *_, options = calls[index]
            connection, pending = sent[index][-1]
            deadline = None if options.timeout is None else begun + options.timeout
            if not connection.wait(pending, deadline):
                failures[index] = None, endpoint.timed_out(options, pending)
                connection.abandon(pending)


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


def outcome_of(act: Callable[[], Any]) -> Outcome:
    """What comes of calling this."""
    try:
        return act(), None
    except Exception as exc:
        return None, exc


# --- of all together -------------------------------------------------------------------------


def results(outcomes: list[Outcome], names: Sequence[str]) -> list[Any]:
    """The values, if there are all; `names` are those of the actors.

    Raises:
        Exception: one of them has none: its error, with a note that says whose it is.
        ExceptionGroup: of several their errors, in the order of the actors.
    """
    error = failure_of(outcomes, names)
    try:
        if error is not None:
            raise error
        return [value for value, _ in outcomes]
    finally:
        error, outcomes = None, []  # an error leads to this frame, and must not lead on to itself


def failure_of(outcomes: list[Outcome], names: Sequence[str]) -> BaseException | None:
    """What `results` raises; None if there are all values."""
    errors = []
    for index, (_, error) in enumerate(outcomes):
        if error is not None:
            add_note(
                error, f"This is of {names[index]}, number {index} of the {len(names)} actors."
            )
            errors.append(error)
    if len(errors) > 1:
        return BaseExceptionGroup(f"{len(errors)} of {len(names)} actors failed", errors)
    return errors[0] if errors else None
