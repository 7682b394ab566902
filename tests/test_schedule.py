"""What an actor runs next, without an actor: clients take turns, and nothing is lost."""

from collections import deque
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from remoteobj._actor.schedule import Schedule, size_of
from remoteobj._protocol.messages import Frame, Kind


class Caller:
    """A client, as the schedule sees it."""

    def __init__(self) -> None:
        self.requests: deque[Frame] = deque()
        self.queued_bytes = 0
        self.unsent: list[Any] = []


class Flow:
    """A stream, as the schedule sees it."""

    def __init__(self, credit: int = 1) -> None:
        self.credit = credit


def call(number: int, payload: bytes = b"payload", kind: int = Kind.CALL) -> Frame:
    return Frame(kind, number, payload)


@pytest.fixture
def schedule() -> Schedule[Caller, Flow]:
    return Schedule()


def run_next(schedule: Schedule[Caller, Flow]) -> int:
    """Run the next request, and write its reply; its number, or 0."""
    if (turn := schedule.next_request()) is None:
        return 0
    client, request = turn
    schedule.line_up(client)
    return request.call_id


# ------------------------------------------------------------------ requests


def test_the_requests_of_one_client_come_in_the_order_in_which_it_sent(
    schedule: Schedule[Caller, Flow],
) -> None:
    client = Caller()
    for number in (1, 2, 3):
        schedule.add(client, call(number))
    assert [run_next(schedule) for _ in range(4)] == [1, 2, 3, 0]
    assert not schedule


def test_clients_take_turns_however_much_one_of_them_has_sent(
    schedule: Schedule[Caller, Flow],
) -> None:
    first, second, third = Caller(), Caller(), Caller()
    for number in (11, 12, 13):
        schedule.add(first, call(number))
    schedule.add(second, call(21))
    schedule.add(third, call(31))
    schedule.add(third, call(32))
    assert [run_next(schedule) for _ in range(6)] == [11, 21, 31, 12, 32, 13]


def test_a_client_has_no_further_turn_before_its_reply_is_written(
    schedule: Schedule[Caller, Flow],
) -> None:
    client, other = Caller(), Caller()
    schedule.add(client, call(1))
    assert schedule.next_request() == (client, call(1))
    schedule.add(client, call(2))  # came while the first was run
    schedule.add(other, call(9))
    client.unsent = [b"the rest of the reply to the first"]
    schedule.line_up(client)
    assert [run_next(schedule) for _ in range(2)] == [9, 0]
    client.unsent = []
    schedule.line_up(client)
    assert run_next(schedule) == 2


def test_to_line_a_client_up_twice_gives_it_one_turn(schedule: Schedule[Caller, Flow]) -> None:
    first, second = Caller(), Caller()
    schedule.add(first, call(11))
    schedule.add(first, call(12))
    schedule.add(second, call(21))
    schedule.line_up(first)
    assert [run_next(schedule) for _ in range(4)] == [11, 21, 12, 0]


def test_bytes_of_payloads_and_buffers_count_while_they_wait(
    schedule: Schedule[Caller, Flow],
) -> None:
    client = Caller()
    frame = Frame(Kind.CALL, 1, bytes(10), [bytes(5), bytes(7)])
    schedule.add(client, frame)
    schedule.add(client, call(2, bytes(3)))
    assert (client.queued_bytes, size_of(frame)) == (25, 22)
    run_next(schedule)
    assert client.queued_bytes == 3
    schedule.withdraw(client, 2)
    assert client.queued_bytes == 0


# ------------------------------------------------------------------ out of turn


def test_a_call_that_has_not_begun_can_be_withdrawn_once(schedule: Schedule[Caller, Flow]) -> None:
    client = Caller()
    for number in (1, 2, 3):
        schedule.add(client, call(number))
    assert schedule.withdraw(client, 2)
    assert not schedule.withdraw(client, 2)
    assert run_next(schedule) == 1
    assert not schedule.withdraw(client, 1), "it has begun"
    assert [run_next(schedule) for _ in range(2)] == [3, 0]


def test_a_cast_is_not_withdrawn_whatever_its_number(schedule: Schedule[Caller, Flow]) -> None:
    client = Caller()
    schedule.add(client, call(0, kind=Kind.CAST))
    assert not schedule.withdraw(client, 0)
    assert schedule.next_request() == (client, call(0, kind=Kind.CAST))


def test_a_client_whose_last_request_is_withdrawn_has_no_turn(
    schedule: Schedule[Caller, Flow],
) -> None:
    client = Caller()
    schedule.add(client, call(1))
    assert schedule.withdraw(client, 1)
    assert not schedule
    assert schedule.next_request() is None
    schedule.add(client, call(2))
    assert [run_next(schedule) for _ in range(2)] == [2, 0]


def test_what_is_taken_out_from_the_middle_leaves_the_order_of_the_rest(
    schedule: Schedule[Caller, Flow],
) -> None:
    client = Caller()
    for number in (1, 2, 3):
        schedule.add(client, call(number))
    schedule.take_out(client, call(2))
    assert [run_next(schedule) for _ in range(3)] == [1, 3, 0]


# ------------------------------------------------------------------ looking, and draining


def test_the_queue_is_shown_in_the_order_in_which_it_will_be_run(
    schedule: Schedule[Caller, Flow],
) -> None:
    first, second, owed = Caller(), Caller(), Caller()
    schedule.add(owed, call(31))
    schedule.next_request()
    schedule.add(first, call(11))
    schedule.add(first, call(12))
    schedule.add(second, call(21))
    owed.requests.append(call(32))  # waits until its reply has gone out
    shown = [one.call_id for one in schedule.queued([owed, first, second])]
    assert shown == [11, 21, 32, 12]
    assert schedule.length([owed, first, second]) == 4


def test_what_a_client_had_sent_before_it_left_is_in_the_queue(
    schedule: Schedule[Caller, Flow],
) -> None:
    left = Caller()
    schedule.add(left, call(1))
    schedule.add(left, call(2))
    assert [one.call_id for one in schedule.queued([])] == [1, 2]
    assert schedule.length([]) == 2


def test_a_drain_takes_all_requests_of_all_clients_in_turn_and_leaves_nothing(
    schedule: Schedule[Caller, Flow],
) -> None:
    first, second, owed = Caller(), Caller(), Caller()
    schedule.add(owed, call(31))
    schedule.next_request()
    owed.requests.append(call(32))
    owed.queued_bytes = 7
    schedule.add(first, call(11))
    schedule.add(second, call(21))
    schedule.add(first, call(12))
    drained = [(client, one.call_id) for client, one in schedule.drain([owed, first, second])]
    assert drained == [(first, 11), (first, 12), (second, 21), (owed, 32)]
    assert not schedule
    assert [one.queued_bytes for one in (first, second, owed)] == [0, 0, 0]


# ------------------------------------------------------------------ streams


def test_a_stream_has_a_turn_only_while_its_consumer_wants_items(
    schedule: Schedule[Caller, Flow],
) -> None:
    stream = Flow(credit=0)
    schedule.flow(stream)
    assert schedule.next_stream() is None
    stream.credit = 2
    schedule.flow(stream)
    schedule.flow(stream)
    assert schedule.next_stream() is stream
    assert schedule.next_stream() is None, "lined up twice, it has one turn"


def test_streams_take_turns(schedule: Schedule[Caller, Flow]) -> None:
    first, second = Flow(9), Flow(9)
    schedule.flow(first)
    schedule.flow(second)
    order = []
    for _ in range(4):
        stream = schedule.next_stream()
        assert stream is not None
        schedule.flow(stream)
        order.append(stream)
    assert order == [first, second, first, second]
    assert schedule.flowing() == [first, second]


def test_a_stream_is_taken_out_before_its_turn_once(schedule: Schedule[Caller, Flow]) -> None:
    first, second = Flow(), Flow()
    schedule.flow(first)
    schedule.flow(second)
    assert schedule.take_stream(second)
    assert not schedule.take_stream(second)
    assert schedule.next_stream() is first
    assert not schedule


# ------------------------------------------------------------------ any history


class AnyHistory(RuleBasedStateMachine):
    """Against a model: a list for each client, and what was done with each request."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule: Schedule[Caller, Flow] = Schedule()
        self.clients = [Caller() for _ in range(3)]
        self.waiting: dict[Caller, list[int]] = {client: [] for client in self.clients}
        self.in_hand: Caller | None = None
        """The client whose request is being run, or whose reply is being written."""
        self.passed_over: dict[Caller, int] = dict.fromkeys(self.clients, 0)
        self.number = 0

    @initialize()
    def begin(self) -> None:
        assert not self.schedule

    @rule(
        who=st.integers(0, 2), size=st.integers(0, 5), kind=st.sampled_from([Kind.CALL, Kind.CAST])
    )
    def send(self, who: int, size: int, kind: int) -> None:
        client, self.number = self.clients[who], self.number + 1
        self.schedule.add(client, call(self.number, bytes(size), kind))
        self.waiting[client].append(self.number)

    @precondition(lambda self: self.in_hand is None)
    @rule()
    def begin_next(self) -> None:
        turn = self.schedule.next_request()
        if turn is None:
            assert not any(self.waiting[one] for one in self.clients if not one.unsent), (
                "one that could have a turn has none"
            )
            return
        client, request = turn
        assert not client.unsent, "its last reply is not written whole"
        assert request.call_id == self.waiting[client].pop(0), "in its order, and once"
        self.passed_over[client] = 0
        for other in self.clients:
            if other is not client and self.waiting[other] and not other.unsent:
                self.passed_over[other] += 1
                assert self.passed_over[other] < len(self.clients), "it starves"
        self.in_hand = client

    @precondition(lambda self: self.in_hand is not None)
    @rule(whole=st.booleans())
    def reply(self, whole: bool) -> None:
        client, self.in_hand = self.in_hand, None
        assert client is not None
        if not whole:
            client.unsent = [b"the rest"]
        self.schedule.line_up(client)

    @rule(who=st.integers(0, 2))
    def take_the_rest(self, who: int) -> None:
        client = self.clients[who]
        if client.unsent:
            client.unsent = []
            self.passed_over[client] = 0
            self.schedule.line_up(client)

    @rule(who=st.integers(0, 2), which=st.integers(0, 3))
    def withdraw(self, who: int, which: int) -> None:
        client = self.clients[who]
        numbers = self.waiting[client]
        number = numbers[which % len(numbers)] if numbers else 999_999
        is_call = any(one.call_id == number and one.kind == Kind.CALL for one in client.requests)
        assert self.schedule.withdraw(client, number) is is_call
        if is_call:
            numbers.remove(number)
        if not numbers:  # it waits for nothing now, and will be the last when it sends again
            self.passed_over[client] = 0

    @rule()
    def drain(self) -> None:
        found: dict[Caller, list[int]] = {client: [] for client in self.clients}
        for client, request in self.schedule.drain(self.clients):
            found[client].append(request.call_id)
        assert found == self.waiting
        self.waiting = {client: [] for client in self.clients}
        self.passed_over = dict.fromkeys(self.clients, 0)

    @invariant()
    def queues_hold_what_was_sent_and_not_begun(self) -> None:
        for client, numbers in self.waiting.items():
            assert [one.call_id for one in client.requests] == numbers
            assert client.queued_bytes == sum(map(size_of, client.requests))
        shown = [one.call_id for one in self.schedule.queued(self.clients)]
        assert sorted(shown) == sorted(n for numbers in self.waiting.values() for n in numbers)
        assert self.schedule.length(self.clients) == len(shown)


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=150, stateful_step_count=40)
