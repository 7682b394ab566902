"""Messages of a later version are refused where an answer is waited for, or ignored."""

import contextlib
import pickle
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import NotListeningError, remote
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.internals import Flag, Kind, address_of, ask_as_owner, order
from tests.strangers import RawClient, call_frame, frame

LATER = [8, 19, 29, 99, 255]
"""Kinds that mean nothing yet."""
NO_LISTENER = {"inline": "listens at no address"}


@remote
class Echo:
    def __init__(self) -> None:
        self.notes: list[Any] = []

    def echo(self, value: Any) -> Any:
        return value

    def ask(self, other: Any, gate: Gate) -> Any:
        return other.park(gate)

    def park(self, gate: Gate) -> str:
        gate.park()
        return "parked"


@pytest.fixture
def echo(launch: Launch) -> Iterator[Any]:
    with Echo.options(**launch).spawn() as actor:
        yield actor


@pytest.fixture
def client(echo: Any) -> Iterator[RawClient]:
    with contextlib.closing(RawClient(address_of(echo))) as client:
        yield client


# ------------------------------------------------------------------ to an actor


@pytest.mark.engines(skip=NO_LISTENER)
def test_a_kind_that_an_actor_does_not_know_is_refused_where_an_answer_is_waited_for(
    client: RawClient,
) -> None:
    for kind in LATER:
        client.send(frame(kind, 7, b"of a later version", Flag.ANSWER))
        [refused] = client.read(1)
        assert (refused.kind, refused.call_id) == (Kind.REFUSED, 7)
        assert bytes(refused.payload) == f"it knows no message of kind {kind}".encode()
        client.send(call_frame(8, "echo", 1))
        assert [(one.kind, one.call_id) for one in client.read(1)] == [(Kind.VALUE, 8)]


@pytest.mark.engines(skip=NO_LISTENER)
def test_a_kind_that_an_actor_does_not_know_is_ignored_where_nobody_waits(
    client: RawClient,
) -> None:
    for kind in LATER:
        client.send(frame(kind, 7, b"of a later version"))
        client.send(call_frame(8, "echo", 1))
        assert [(one.kind, one.call_id) for one in client.read(1)] == [(Kind.VALUE, 8)], kind


@pytest.mark.engines(skip=NO_LISTENER)
def test_an_unknown_kind_is_refused_at_once_while_calls_before_it_wait(
    echo: Any, client: RawClient, gate: Gate
) -> None:
    """It has no place in the queue: the actor reads it, and says no, between two calls."""
    client.send(call_frame(1, "park", gate))
    gate.wait_for_arrival()
    client.send(
        call_frame(2, "echo", 1) + frame(99, 3, b"", Flag.ANSWER) + call_frame(4, "echo", 1)
    )
    gate.open()
    answers = [(one.kind, one.call_id) for one in client.read(4)]
    assert sorted(answers, key=lambda one: one[1]) == [
        (Kind.VALUE, 1),
        (Kind.VALUE, 2),
        (Kind.REFUSED, 3),
        (Kind.VALUE, 4),
    ]


class Ends:
    """To unpickle it ends a process, or passes for Ctrl-C."""

    def __init__(self, how: type[BaseException]) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return _raise, (self.how,)


def _raise(how: type[BaseException]) -> None:
    raise how


METADATA = {
    "a field of a later version": b'{"deadline": 5.0}',
    "one beside the chain": b'{"chain": [["/a", "A", 7]], "trace": "x"}',
    "what is no data": b"\xff" * 20,
    "something else": b"[1, 2]",
    "a chain of something else": b'{"chain": [1, [2, 3, Infinity]]}',
    "an endless number": b'{"chain": [["/a", "A", Infinity]]}',
    "deep data": b"[" * 20_000,
    "a pickle that ends who reads it": pickle.dumps(Ends(SystemExit), 5),
    "a pickle that passes for Ctrl-C": pickle.dumps(Ends(KeyboardInterrupt), 5),
}


@pytest.mark.engines(skip=NO_LISTENER)
def test_a_call_with_flags_and_metadata_of_a_later_version_is_run_like_any_other(
    client: RawClient,
) -> None:
    for what, metadata in METADATA.items():
        for flags in (0, 255 - Flag.ANSWER, 255):
            client.send(call_frame(1, "echo", "value", flags=flags, metadata=metadata))
            [answer] = client.read(1)
            got = answer.kind, pickle.loads(answer.payload)
            assert got == (Kind.VALUE, "value"), f"{what}, with the flags {flags}"


@pytest.mark.engines(skip=NO_LISTENER)
def test_metadata_and_probes_that_come_while_an_actor_is_blocked_are_read_and_end_nothing(
    echo: Any, client: RawClient, gate: Gate
) -> None:
    """Then it looks at who waits for a request, before it knows whether it will be run."""
    with Echo.spawn() as other:
        for what, metadata in METADATA.items():
            waits = echo.future_.ask(other, gate)
            gate.wait_for_arrival()
            client.send(call_frame(1, "echo", "value", metadata=metadata))
            client.send(frame(Kind.PROBE, 1, metadata) + frame(99, 2, b"", Flag.ANSWER))
            assert [one.kind for one in client.read(1)] == [Kind.REFUSED], "it has read them all"
            gate.open()
            assert waits.result(10) == "parked", what
            assert [(one.kind, one.call_id) for one in client.read(1)] == [(Kind.VALUE, 1)], what


# ------------------------------------------------------------------ to the control thread


@pytest.mark.engines(skip={"inline": "answers such questions itself"})
def test_an_order_that_an_actor_does_not_know_is_refused_and_the_next_is_followed(
    echo: Any,
) -> None:
    for kind in LATER:
        with pytest.raises(NotListeningError, match=f"it knows no order of kind {kind}"):
            ask_as_owner(echo, kind)
        assert echo.status_(timeout=10).state == "running"
        assert echo.echo(1) == 1


@pytest.mark.engines(skip={"inline": "answers such questions itself"})
def test_an_order_that_an_actor_does_not_know_is_ignored_where_nobody_waits(echo: Any) -> None:
    for kind in LATER:
        order(echo, kind)
        assert echo.status_(timeout=10).state == "running"
        assert echo.echo(1) == 1
