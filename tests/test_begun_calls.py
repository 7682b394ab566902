"""Which of its calls may have run, as a caller concludes when its actor dies: against what has."""

import random
from collections import deque
from typing import Any

import pytest

from remoteobj._actor.announcing import BegunCalls, tell_that_they_wait
from remoteobj._protocol.calls import CallTable, PendingCall
from remoteobj._protocol.messages import Frame, FrameParts, Kind
from remoteobj.errors import ActorDiedError, ExitReport


def lost(maybe_executed: bool) -> BaseException:
    return ActorDiedError.from_exit(ExitReport("actor"), maybe_executed)


class Line:
    """A caller and its actor, with nothing between them: what is sent is there."""

    def __init__(self) -> None:
        self.table = CallTable()
        self.requests: deque[Frame] = deque()
        self.unsent: list[Any] = []
        self.begun_calls: Any = None
        self.told = BegunCalls()
        self.frames: list[int] = []
        self.pending: dict[int, PendingCall] = {}
        self.running: list[Frame] = []

    # --- as a `Client`

    def send(self, frame: FrameParts) -> None:
        self.frames.append(frame[0])
        if frame[0] == Kind.BEGUN:
            self.table.begun_up_to = frame[1]
        elif frame[0] == Kind.IN_TURN:
            self.table.begun_up_to = None
        else:
            self.table.receive(Frame(*frame))

    # --- what happens

    def call(self) -> None:
        pending = self.table.open()
        pending.sent = b""
        self.pending[pending.call_id] = pending
        self.requests.append(Frame(Kind.CALL, pending.call_id))

    def begin(self) -> None:
        request = self.requests.popleft()
        assert self.told.begins(self, request)
        self.running.append(request)

    def begin_out_of_turn(self, at: int) -> None:
        """One that a call of the actor's waits for is let in before those that were sent before."""
        request = self.requests[at]
        self.requests.remove(request)
        assert self.told.begins(self, request)
        self.running.append(request)

    def answer(self, at: int) -> None:
        request = self.running.pop(at)
        del self.pending[request.call_id]
        self.told.ends(request)
        self.send(Frame(Kind.VALUE, request.call_id))

    def die(self) -> set[int]:
        """The calls that may have run, as the caller takes it."""
        self.table.fail_all(lost)
        errors = {call_id: call.failure() for call_id, call in self.pending.items() if call.failure}
        return {call_id for call_id, error in errors.items() if error.maybe_executed}  # type: ignore[attr-defined]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_whenever_an_actor_dies_those_may_have_run_that_have_begun_and_no_others(
    limit: int,
) -> None:
    for seed in range(300):
        chosen = random.Random(seed)
        line = Line()
        for _ in range(chosen.randrange(1, 30)):
            act = chosen.random()
            if act < 0.4:
                line.call()
            elif act < 0.7 and line.running:
                line.answer(chosen.randrange(len(line.running)))
            while line.requests and len(line.running) < limit:
                line.begin()
            line.told.waits(line)
        begun = {request.call_id for request in line.running}
        assert line.die() == begun, f"seed {seed}"


def test_what_was_let_in_out_of_turn_errs_on_the_safe_side() -> None:
    for seed in range(200):
        chosen = random.Random(seed)
        line = Line()
        for _ in range(chosen.randrange(1, 20)):
            act = chosen.random()
            if act < 0.5:
                line.call()
            elif act < 0.7 and line.running:
                line.answer(chosen.randrange(len(line.running)))
            elif line.requests:
                line.begin_out_of_turn(chosen.randrange(len(line.requests)))
        begun = {request.call_id for request in line.running}
        assert begun <= line.die(), f"seed {seed}"


def test_a_caller_of_one_call_at_a_time_costs_no_frame() -> None:
    line = Line()
    for _ in range(5):
        line.call()
        line.begin()
        line.answer(0)
    assert line.frames == [Kind.VALUE] * 5


def test_one_that_comes_after_a_crowd_costs_one_frame_and_the_next_none() -> None:
    line = Line()
    for _ in range(3):
        line.call()
    for _ in range(3):
        line.begin()
    for _ in range(3):
        line.answer(0)
    line.frames.clear()
    for _ in range(2):
        line.call()
        line.begin()
        line.answer(0)
    assert line.frames == [Kind.IN_TURN, Kind.VALUE, Kind.VALUE]


def test_a_call_does_not_begin_before_its_caller_can_be_told() -> None:
    line = Line()
    line.call()
    line.call()
    line.begin()
    line.unsent.append(b"what it does not read")
    assert not line.told.begins(line, line.requests[0])
    assert line.frames == []
    line.unsent.clear()
    line.begin()
    assert line.frames == [Kind.BEGUN]


def test_that_calls_wait_is_told_once() -> None:
    line = Line()
    line.call()
    tell_that_they_wait([line, line])
    tell_that_they_wait([line])
    assert line.frames == [Kind.BEGUN]
    assert line.die() == set()
