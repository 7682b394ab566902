"""The rules of the conversation: which call is open, what a death means for it, and states."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj._os.wakeup import OneShotEvent
from remoteobj._protocol.calls import CallTable, PendingCall
from remoteobj._protocol.lifecycle import Event, Lifecycle, State
from remoteobj._protocol.messages import INIT_ID, Frame, Kind


class Lost(Exception):
    def __init__(self, maybe_executed: bool) -> None:
        super().__init__(maybe_executed)
        self.maybe_executed = maybe_executed


def executed(ticket: PendingCall) -> bool:
    """What a lost call's error says of it."""
    assert ticket.failure is not None
    error = ticket.failure()
    assert isinstance(error, Lost)
    return error.maybe_executed


def never(call_id: int) -> None:
    raise AssertionError(f"the stream of call {call_id} was closed")


@pytest.fixture
def table() -> CallTable:
    return CallTable()


# --- replies -------------------------------------------------------------------------------


def test_ids_go_upwards_from_one_since_zero_is_the_birth(table: CallTable) -> None:
    assert table.expect_birth().call_id == INIT_ID == 0
    assert [table.open().call_id for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("kind", [Kind.VALUE, Kind.RETURNED_SELF, Kind.ERROR, Kind.REFUSED])
def test_a_reply_ends_its_call_and_no_other(table: CallTable, kind: int) -> None:
    first, second = table.open(), table.open()
    reply = Frame(kind, second.call_id, b"x")
    table.receive(reply)
    assert (first.ready, second.ready) == (False, True)
    assert second.first is reply
    assert len(table) == 1


def test_the_answer_to_the_birth_is_a_reply_like_any_other(table: CallTable) -> None:
    born, call = table.expect_birth(), table.open()
    table.receive(Frame(Kind.VALUE, INIT_ID))
    assert (born.ready, call.ready) == (True, False)


def test_a_reply_to_no_open_call_is_dropped(table: CallTable) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.VALUE, 99))
    table.receive(Frame(Kind.VALUE, ticket.call_id, b"first"))
    table.receive(Frame(Kind.VALUE, ticket.call_id, b"second"))
    assert ticket.first is not None
    assert ticket.first.payload == b"first"
    assert len(table) == 0


def test_a_stream_gives_its_items_in_order_and_ends(table: CallTable) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.STREAM, 1))
    assert ticket.first is not None
    assert ticket.ready  # that it is a stream, at once
    ticket.stream()
    assert not ticket.ready  # whoever takes items has none yet
    items = [Frame(Kind.ITEM, 1, b"a"), Frame(Kind.ITEM, 1, b"b"), Frame(Kind.END, 1)]
    for count, item in enumerate(items):
        assert len(table) == 1
        table.receive(item)
        assert ticket.items is not None
        assert len(ticket.items) == count + 1
        assert ticket.ready
    assert list(ticket.items or ()) == items
    assert len(table) == 0


def test_a_ticket_is_whole_when_nothing_more_will_come(table: CallTable) -> None:
    reply, stream, lost = (table.open() for _ in range(3))
    table.receive(Frame(Kind.VALUE, reply.call_id))
    assert reply.over
    for kind, whole in [(Kind.STREAM, False), (Kind.ITEM, False), (Kind.END, True)]:
        table.receive(Frame(kind, stream.call_id))
        assert stream.over is whole
    assert not lost.over
    table.fail_all(Lost)
    assert lost.over


def test_an_error_ends_a_stream(table: CallTable) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.STREAM, 1))
    table.receive(Frame(Kind.ERROR, 1, b"e"))
    assert ticket.items is not None
    assert [frame.kind for frame in ticket.items] == [Kind.ERROR]
    assert len(table) == 0


# --- waking --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wake",
    [
        lambda ticket: ticket.deliver(Frame(Kind.VALUE, 1)),
        lambda ticket: ticket.deliver(Frame(Kind.STREAM, 1)),
        lambda ticket: ticket.fail(lambda: Lost(False)),
        lambda ticket: ticket.notify(),
    ],
    ids=["reply", "stream", "failure", "ring"],
)
def test_whatever_comes_wakes_the_thread_that_sleeps_for_it(
    wake: Callable[[PendingCall], object],
) -> None:
    ticket = PendingCall()
    bell = ticket.add_waiter(OneShotEvent())
    awake = threading.Event()

    def sleep() -> None:
        bell.wait()
        awake.set()

    thread = threading.Thread(target=sleep)
    thread.start()
    try:
        assert not awake.is_set()
        wake(ticket)
        assert awake.wait(10)
    finally:
        ticket.notify()
        thread.join()


def test_ringing_when_nobody_sleeps_is_harmless() -> None:
    ticket = PendingCall()
    ticket.notify()
    bell = ticket.add_waiter(OneShotEvent())
    bell.wake()  # as another thread would have rung it
    ticket.notify()
    assert not ticket.ready


# --- giving up -----------------------------------------------------------------------------


def test_the_late_reply_to_a_call_that_was_given_up_is_dropped(table: CallTable) -> None:
    ticket = table.open()
    table.abandon(ticket, lambda call_id: None)
    table.receive(Frame(Kind.VALUE, 1))
    assert ticket.first is None
    assert len(table) == 0


def test_a_call_that_is_given_up_is_withdrawn_over_there_once(table: CallTable) -> None:
    withdrawn: list[int] = []
    ticket = table.open()
    table.abandon(ticket, withdrawn.append)
    table.abandon(ticket, withdrawn.append)
    assert withdrawn == [1]
    table.receive(Frame(Kind.REFUSED, 1))  # it had not begun
    assert ticket.first is None
    assert len(table) == 0


def test_giving_up_a_call_that_has_ended_does_nothing(table: CallTable) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.VALUE, 1))
    table.abandon(ticket, never)
    assert len(table) == 0


def test_giving_up_a_stream_closes_it_once(table: CallTable) -> None:
    closed: list[int] = []
    ticket = table.open()
    table.receive(Frame(Kind.STREAM, 1))
    table.abandon(ticket, closed.append)
    table.receive(Frame(Kind.ITEM, 1))  # it was under way already
    table.receive(Frame(Kind.END, 1))
    table.abandon(ticket, closed.append)
    assert closed == [1]
    assert [frame.kind for frame in ticket.items or ()] == [Kind.END]


def test_a_stream_that_begins_after_its_call_was_given_up_is_closed(table: CallTable) -> None:
    closed: list[int] = []
    table.abandon(table.open(), closed.append)
    closed.clear()  # that came too late: it had begun
    table.receive(Frame(Kind.STREAM, 1))
    assert closed == [1]


def test_a_stream_that_was_closed_leaves_the_table(table: CallTable) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.STREAM, 1))
    table.abandon(ticket, lambda call_id: None)
    table.receive(Frame(Kind.END, 1))  # the actor's answer to the CLOSE
    assert len(table) == 0


def test_a_thread_that_waits_for_an_item_is_woken_when_another_closes_the_stream(
    table: CallTable,
) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.STREAM, 1))
    ticket.stream()
    table.abandon(ticket, lambda call_id: None)
    table.receive(Frame(Kind.ITEM, 1))  # it was under way already
    assert not ticket.ready
    table.receive(Frame(Kind.END, 1))
    assert ticket.ready


def test_a_stream_that_began_after_it_was_given_up_leaves_the_table(table: CallTable) -> None:
    table.abandon(table.open(), lambda call_id: None)
    table.receive(Frame(Kind.STREAM, 1))
    assert len(table) == 0


# --- the end of the connection -------------------------------------------------------------


def test_when_the_actor_dies_only_the_oldest_call_may_have_run(table: CallTable) -> None:
    answered, oldest, second, third = (table.open() for _ in range(4))
    table.receive(Frame(Kind.VALUE, answered.call_id))
    table.fail_all(Lost)
    assert answered.failure is None
    assert [executed(ticket) for ticket in (oldest, second, third)] == [True, False, False]
    assert len(table) == 0


def test_a_stream_that_flows_may_have_run_and_so_may_the_oldest_call_beside_it(
    table: CallTable,
) -> None:
    stream, oldest, second = (table.open() for _ in range(3))
    table.receive(Frame(Kind.STREAM, stream.call_id))
    table.fail_all(Lost)
    assert [executed(ticket) for ticket in (stream, oldest, second)] == [True, True, False]


def test_a_call_that_was_given_up_may_be_the_one_that_ran(table: CallTable) -> None:
    given_up, next_one = table.open(), table.open()
    table.abandon(given_up, lambda call_id: None)
    table.fail_all(Lost)
    assert not executed(next_one)
    assert given_up.failure is None


def test_a_closed_stream_does_not_hide_which_call_may_have_run(table: CallTable) -> None:
    stream, call = table.open(), table.open()
    table.receive(Frame(Kind.STREAM, stream.call_id))
    table.abandon(stream, lambda call_id: None)
    table.fail_all(Lost)
    assert executed(call)


def test_items_that_came_before_the_end_can_still_be_taken(table: CallTable) -> None:
    ticket = table.open()
    table.receive(Frame(Kind.STREAM, 1))
    table.receive(Frame(Kind.ITEM, 1, b"a"))
    table.fail_all(Lost)
    assert ticket.items is not None
    assert ticket.items.popleft().payload == b"a"
    assert ticket.ready  # now by its failure
    assert executed(ticket)


Step = tuple[str, int]
moves = st.lists(
    st.tuples(
        st.sampled_from(["open", "reply", "stream", "item", "end", "abandon"]), st.integers(0, 5)
    ),
    max_size=30,
)


@given(moves)
def test_every_call_ends_exactly_once_whatever_happens(moves: list[Step]) -> None:
    table = CallTable()
    tickets: list[PendingCall] = []
    state: dict[int, str] = {}
    kinds = {"reply": Kind.VALUE, "stream": Kind.STREAM, "item": Kind.ITEM, "end": Kind.END}
    for move, pick in moves:
        if move == "open":
            tickets.append(table.open())
            state[tickets[-1].call_id] = "waiting"
            continue
        if not tickets:
            continue
        ticket = tickets[pick % len(tickets)]
        now = state[ticket.call_id]
        if move == "abandon":
            table.abandon(ticket, lambda call_id: None)
            # One that streams is still there until the actor has answered the CLOSE.
            state[ticket.call_id] = now if now in ("over", "streaming") else "given up"
        elif move in ("reply", "stream") and now == "waiting":
            table.receive(Frame(kinds[move], ticket.call_id))
            state[ticket.call_id] = "over" if move == "reply" else "streaming"
        elif move in ("item", "end") and now == "streaming":
            table.receive(Frame(kinds[move], ticket.call_id))
            state[ticket.call_id] = "over" if move == "end" else "streaming"
    table.fail_all(Lost)
    assert len(table) == 0
    for ticket in tickets:
        now = state[ticket.call_id]
        assert (ticket.failure is not None) == (now in ("waiting", "streaming"))
    waiting = [t for t in tickets if state[t.call_id] in ("waiting", "given up")]
    for index, ticket in enumerate(waiting):
        if state[ticket.call_id] == "waiting":
            assert executed(ticket) == (index == 0)


# --- life ----------------------------------------------------------------------------------

LIVES: dict[tuple[State, Event], State | None] = {
    (State.STARTING, Event.READY): State.RUNNING,
    (State.STARTING, Event.STOP): State.DRAINING,
    (State.STARTING, Event.DRAINED): None,
    (State.RUNNING, Event.READY): None,
    (State.RUNNING, Event.STOP): State.DRAINING,
    (State.RUNNING, Event.DRAINED): None,
    (State.DRAINING, Event.READY): State.DRAINING,
    (State.DRAINING, Event.STOP): State.DRAINING,
    (State.DRAINING, Event.DRAINED): State.STOPPED,
    (State.STOPPED, Event.READY): None,
    (State.STOPPED, Event.STOP): State.STOPPED,
    (State.STOPPED, Event.DRAINED): None,
}


@pytest.mark.parametrize(("before", "event"), LIVES)
def test_an_event_moves_a_listener_on_or_is_an_error(before: State, event: Event) -> None:
    life = Lifecycle()
    life.state = before
    after = LIVES[before, event]
    if after is None:
        with pytest.raises(RuntimeError, match=f"{event.name} can't happen while {before.name}"):
            life.on(event)
        assert life.state is before
    else:
        assert life.on(event) is after
        assert life.state is after


def test_the_table_of_lives_is_complete() -> None:
    assert set(LIVES) == {(state, event) for state in State for event in Event}


def test_a_listener_is_stopping_from_the_order_to_the_end() -> None:
    life = Lifecycle()
    seen = [life.stopping]
    for event in (Event.READY, Event.STOP, Event.DRAINED):
        life.on(event)
        seen.append(life.stopping)
    assert seen == [False, False, True, True]
