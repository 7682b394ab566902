"""Calls that nobody waits for: futures, casts, time limits, and what holds for all of them."""

import concurrent.futures as cf
import operator
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    NotListeningError,
    Proxy,
    UnsendableError,
    remote,
)
from remoteobj.testing import Gate
from tests.conftest import SLOW_CANCEL, Launch
from tests.internals import (
    IN_FLIGHT,
    calls_in_flight,
    is_read,
    is_within_read,
    open_entries,
    sleeping_readers,
    until_sent,
)
from tests.tools import Call, process, until

NO_THREAD = {"inline": "answers before the future is returned"}
CANT_DIE = {"thread": "can't be killed", "inline": "can't be killed"}


@remote
class Clerk:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[Any] = []
        self.shelf: dict[str, int] = {"a": 1}

    def write(self, line: Any) -> Any:
        self.lines.append(line)
        return line

    def fail(self, line: str) -> None:
        raise ValueError(line)

    def wait_at(self, gate: Gate) -> str:
        gate.park()
        return "waited"

    def myself(self) -> "Clerk":
        return self

    def size(self, data: bytes) -> int:
        return len(data)

    def big(self, size: int) -> bytes:
        return bytes(size)

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

    def unsendable(self) -> Any:
        return threading.Lock()


@pytest.fixture
def clerk(launch: Launch) -> Iterator[Any]:
    with Clerk.options(**launch).spawn() as clerk:
        yield clerk


# ------------------------------------------------------------------ futures


def test_every_operation_gives_a_future_of_its_outcome(clerk: Any) -> None:
    later = clerk.future_
    assert later.write(1).result() == 1
    assert later.lines.get_().result() == [1]
    assert later.lines.__.result() == [1]
    assert later.shelf["a"].get_().result() == 1
    assert later.passto(len_of_lines).result() == 1
    assert later.lines.passto(len).result() == 1
    assert clerk.lines.future_[0].get_().result() == 1
    assert later.myself().result() is clerk
    assert list(later.count(3).result()) == [0, 1, 2]


@pytest.mark.engines(only=["inline"], reason="others settle what nobody waits for in a thread")
def test_the_object_of_an_inline_actor_works_in_no_other_thread(clerk: Any) -> None:
    for _ in range(20):
        future = clerk.future_.count(2)
        assert future.done()
        assert list(future.result()) == [0, 1]


def len_of_lines(clerk: Any) -> int:
    return len(clerk.lines)


def test_a_future_has_the_exception_of_its_call(clerk: Any) -> None:
    failed = clerk.future_.fail("no")
    error = failed.exception()
    assert isinstance(error, ValueError)
    assert error.args == ("no",)
    with pytest.raises(ValueError, match="no"):
        failed.result()
    with pytest.raises(UnsendableError):
        clerk.future_.unsendable().result()
    with pytest.raises(UnsendableError, match=r"args\[0\]"):
        clerk.future_.write(threading.Lock())
    assert clerk.write("still here") == "still here"


def test_futures_work_with_what_the_standard_library_has_for_them(clerk: Any) -> None:
    futures = [clerk.future_.write(i) for i in range(50)]
    done, missing = cf.wait(futures, timeout=20)
    assert (len(done), len(missing)) == (50, 0)
    again = [clerk.future_.write(i) for i in range(50)]
    assert sorted(f.result() for f in cf.as_completed(again, timeout=20)) == list(range(50))
    assert all(future.done() and not future.running() for future in futures)


def test_a_future_that_failed_counts_as_failed(clerk: Any) -> None:
    failed, done = clerk.future_.fail("no"), clerk.future_.write(1)
    found = cf.wait([failed], timeout=10, return_when=cf.FIRST_EXCEPTION)
    assert found.done == {failed}
    assert repr(failed).endswith("state=finished raised ValueError>")
    assert cf.wait([done], timeout=10).done == {done}
    assert repr(done).endswith("state=finished returned int>")


@pytest.mark.engines(skip=NO_THREAD)
def test_the_wait_for_the_first_exception_ends_with_it(clerk: Any, gate: Gate) -> None:
    failed, parked = clerk.future_.fail("no"), clerk.future_.wait_at(gate)
    found = cf.wait([parked, failed], timeout=10, return_when=cf.FIRST_EXCEPTION)
    assert found.done == {failed}
    gate.open()
    assert parked.result(timeout=10) == "waited"


@pytest.mark.parametrize("value", [5, "\x93" * 9, b"\x83" * 9, [[1.5]], "long" * 9000, ValueError])
def test_whoever_copies_the_state_of_a_future_has_its_outcome(clerk: Any, value: Any) -> None:
    """As asyncio does from Python 3.15 on."""
    kept = clerk.future_.write(value)
    assert cf.wait([kept], timeout=10).done == {kept}
    assert kept.__dict__["_result"] == value
    failed = clerk.future_.fail("no")
    assert cf.wait([failed], timeout=10).done == {failed}
    assert isinstance(failed.__dict__["_exception"], ValueError)


class Caller:
    """Calls an object when it is unpickled, and waits for the answer."""

    target: Any = None

    def __setstate__(self, _: object) -> None:
        self.within_read = Caller.target and is_within_read(Caller.target)
        self.answer = Caller.target and Caller.target.write("from it")


@pytest.mark.engines(skip=NO_THREAD)
def test_what_runs_users_code_is_not_unpickled_within_a_read(
    clerk: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Caller, "target", clerk)
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    later = clerk.future_.passto(lambda _: _with_state(Caller()))
    gate.open()
    assert parked.result(timeout=10) == "waited"  # this thread reads the other answer, too
    assert cf.wait([later], timeout=10).done == {later}
    assert later.result().answer == "from it"
    assert not later.result().within_read


def _with_state(caller: Caller) -> Caller:
    caller.answer = None
    return caller


@pytest.mark.engines(skip=NO_THREAD)
def test_wait_and_callbacks_need_nobody_who_asks_for_the_result(clerk: Any, gate: Gate) -> None:
    parked = clerk.future_.wait_at(gate)
    told: list[Any] = []
    heard = threading.Event()
    parked.add_done_callback(lambda future: told.append(future.result()))
    parked.add_done_callback(lambda _: heard.set())
    gate.wait_for_arrival()
    assert not parked.done()
    gate.open()
    assert heard.wait(10)
    assert told == ["waited"]


@pytest.mark.engines(skip=NO_THREAD)
def test_a_callback_may_call_the_same_object_and_wait_for_it(clerk: Any, gate: Gate) -> None:
    parked = clerk.future_.wait_at(gate)
    answers: list[Any] = []
    heard = threading.Event()
    parked.add_done_callback(lambda _: answers.append(clerk.write("from it")))
    parked.add_done_callback(lambda _: heard.set())
    gate.wait_for_arrival()
    waiting = Call(clerk.write, "waits")  # this thread reads, and must not run the callback
    until_sent(clerk, 2)
    gate.open()
    assert heard.wait(10)
    assert waiting.result() == "waits"
    assert answers == ["from it"]


def test_calls_of_one_thread_run_in_the_order_in_which_they_were_made(clerk: Any) -> None:
    futures = []
    for i in range(0, 300, 3):
        futures.append(clerk.future_.write(i))
        clerk.cast_.write(i + 1)
        clerk.write(i + 2)
    assert [future.result() for future in futures] == list(range(0, 300, 3))
    assert clerk.lines.get_() == list(range(300))


def test_many_calls_of_many_sizes_pass_each_other_without_a_deadlock(clerk: Any) -> None:
    """Both sides write more than the sockets hold, so both must read while they write."""
    futures = []
    for i in range(40):
        futures.append(clerk.future_.size(bytes(1_000_000)))
        futures.append(clerk.future_.big(1_000_000 + i))
        futures += [clerk.future_.write(i) for _ in range(20)]
    for i in range(40):
        size, big, *small = futures[22 * i : 22 * (i + 1)]
        assert size.result() == 1_000_000
        assert len(big.result()) == 1_000_000 + i
        assert [one.result() for one in small] == [i] * 20


@pytest.mark.engines(skip=NO_THREAD)
def test_a_full_window_makes_the_next_call_wait_for_room(
    clerk: Any, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    IN_FLIGHT.set(monkeypatch, 4)
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    futures = [clerk.future_.write(i) for i in range(3)]
    over = Call(lambda: clerk.future_.write(3))
    until(lambda: sleeping_readers(clerk) or is_read(clerk))
    assert over.running
    assert calls_in_flight(clerk) == 4
    gate.open()
    assert over.result().result() == 3
    assert [future.result() for future in futures] == [0, 1, 2]
    assert parked.result() == "waited"


# ------------------------------------------------------------------ cancelling


@pytest.mark.engines(skip={**NO_THREAD, **SLOW_CANCEL})
def test_a_call_that_is_cancelled_before_it_began_never_runs(clerk: Any, gate: Gate) -> None:
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    one, two, three = (clerk.future_.write(i) for i in range(3))
    assert two.cancel()
    assert two.cancel()
    assert two.cancelled()
    assert cf.wait([two], timeout=5).done == {two}
    with pytest.raises(cf.CancelledError):
        two.result()
    with pytest.raises(cf.CancelledError):
        two.exception()
    gate.open()
    assert (parked.result(), one.result(), three.result()) == ("waited", 0, 2)
    assert clerk.lines.get_() == [0, 2]
    assert open_entries(clerk) == 1  # what stands for the connection's end


@pytest.mark.engines(skip=NO_THREAD)
def test_cancelling_a_call_that_runs_drops_its_result(clerk: Any, gate: Gate) -> None:
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    assert parked.cancel()
    following = clerk.future_.write("next")
    gate.open()
    assert following.result() == "next"
    with pytest.raises(cf.CancelledError):
        parked.result()


def test_what_is_done_can_not_be_cancelled(clerk: Any) -> None:
    future = clerk.future_.write(1)
    assert future.result() == 1
    assert not future.cancel()
    assert not future.cancelled()


@pytest.mark.engines(skip=NO_THREAD)
def test_cancelling_ends_the_wait_of_another_thread_though_the_actor_is_busy(
    clerk: Any, gate: Gate
) -> None:
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    waiting = Call(parked.result)
    until(lambda: is_read(clerk) or sleeping_readers(clerk))
    assert parked.cancel()
    with pytest.raises(cf.CancelledError):
        waiting.result()
    gate.open()
    assert clerk.write("on") == "on"


@pytest.mark.engines(skip=NO_THREAD)
def test_a_wait_with_a_limit_leaves_the_call_as_it_is(clerk: Any, gate: Gate) -> None:
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    with pytest.raises(TimeoutError):
        parked.result(timeout=0.01)
    gate.open()
    assert parked.result(timeout=10) == "waited"


# ------------------------------------------------------------------ the end of the actor


@pytest.mark.engines(skip=CANT_DIE)
def test_each_open_call_has_one_outcome_when_the_actor_dies(launch: Launch, gate: Gate) -> None:
    clerk = Clerk.options(**launch).spawn()
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()  # it does not read any more: most of these wait to be written
    futures = [clerk.future_.write(i) for i in range(1000)]
    os.kill(clerk.pid_, signal.SIGKILL)
    began = time.monotonic()
    errors = [future.exception(timeout=10) for future in [parked, *futures]]
    assert time.monotonic() - began < 5.0
    assert all(isinstance(error, ActorDiedError) for error in errors)
    assert [getattr(error, "maybe_executed", None) for error in errors] == [True] + [False] * 1000
    with pytest.raises(ActorDiedError):
        clerk.future_.write("late")
    clerk.stop_()


@pytest.mark.engines(skip=NO_THREAD)
def test_what_was_called_before_a_stop_is_fulfilled(launch: Launch) -> None:
    clerk = Clerk.options(**launch).spawn()
    futures = [clerk.future_.write(i) for i in range(200)]
    clerk.stop_()
    assert [future.result(timeout=10) for future in futures] == list(range(200))
    with pytest.raises(NotListeningError):
        clerk.future_.write("late")


def test_a_future_of_the_parent_ends_in_a_forked_child(gate: Gate) -> None:
    with Clerk.options(start_method="fork").spawn() as clerk:
        parked = clerk.future_.wait_at(gate)
        gate.wait_for_arrival()
        with process("fork", _ask_for, parked) as child:
            child.join(10)
            assert child.exitcode == 0
        gate.open()
        assert parked.result() == "waited"


def _ask_for(future: Any) -> None:
    with pytest.raises(NotListeningError):
        future.result(timeout=5)


def test_a_future_that_nobody_keeps_is_carried_out(clerk: Any) -> None:
    clerk.future_.write("dropped")
    until(lambda: clerk.lines.get_() == ["dropped"])


# ------------------------------------------------------------------ casts


def test_a_cast_gives_nothing_and_is_carried_out(clerk: Any) -> None:
    assert clerk.cast_.write(1) is None
    clerk.cast_.shelf["b"] = 2
    clerk.cast_.extra = 3
    del clerk.cast_.shelf["a"]
    assert clerk.lines.get_() == [1]
    assert clerk.shelf.get_() == {"b": 2}
    assert clerk.extra.get_() == 3


def test_what_a_cast_raises_is_recorded_among_the_actors_errors(launch: Launch) -> None:
    clerk = Clerk.options(**launch).spawn()
    clerk.cast_.fail("unseen")
    assert clerk.write("on") == "on"
    clerk.stop_()
    assert [str(error) for error in clerk.exc_["work"]] == ["unseen"]


def test_a_cast_to_nobody_is_an_error_or_its_default() -> None:
    clerk = Clerk.options(engine="thread").spawn()
    clerk.stop_()
    with pytest.raises(NotListeningError):
        clerk.cast_.write(1)
    assert clerk.with_(default=None).cast_.write(1) is None


# ------------------------------------------------------------------ terms


@pytest.mark.engines(skip={"inline": "has no time of its own"})
def test_a_call_that_takes_too_long_fails_and_its_late_reply_is_dropped(
    clerk: Any, gate: Gate
) -> None:
    began = time.monotonic()
    with pytest.raises(CallTimeoutError, match=r"did not answer within 0\.05 s"):
        clerk.with_(timeout=0.05).wait_at(gate)
    assert time.monotonic() - began < 5
    gate.wait_for_arrival()
    gate.open()
    assert [clerk.write(i) for i in range(3)] == [0, 1, 2]


@pytest.mark.engines(skip={**NO_THREAD, **SLOW_CANCEL})
def test_a_call_that_has_not_begun_in_time_never_will(clerk: Any, gate: Gate) -> None:
    parked = clerk.future_.wait_at(gate)
    gate.wait_for_arrival()
    with pytest.raises(CallTimeoutError):
        clerk.with_(timeout=0.01).write("too late")
    late = clerk.with_(timeout=0.01).future_.write("too late as well")
    assert isinstance(late.exception(timeout=10), CallTimeoutError)
    gate.open()
    parked.result()
    assert clerk.lines.get_() == []


def test_a_call_within_its_time_is_like_any_other(clerk: Any) -> None:
    limited = clerk.with_(timeout=20)
    assert limited.write(1) == 1
    assert limited.future_.write(2).result() == 2
    assert limited.lines[0].get_() == 1
    assert len(limited.lines) == 2
    assert limited.myself() is clerk


def test_views_add_up_and_leave_the_handle_as_it_was(clerk: Any) -> None:
    lazy = clerk.with_(proxy=True)
    assert isinstance(lazy.write(1), Proxy)
    assert clerk.lines.get_() == []
    assert lazy.write(1).get_() == 1
    future = clerk.future_.with_(timeout=20).lines.get_()
    assert future.result() == [1]
    assert clerk.write(2) == 2


def test_a_default_stands_in_where_nobody_listens() -> None:
    clerk = Clerk.options(engine="thread").spawn()
    patient = clerk.with_(default="nobody")
    assert patient.write(1) == 1
    clerk.stop_()
    assert patient.write(2) == "nobody"
    assert patient.future_.write(2).result() == "nobody"
    assert clerk.with_(default=lambda: "made").write(2) == "made"


@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"window": 0}])
def test_terms_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must"):
        Proxy(object()).with_(**wrong)


def test_syntax_whose_outcome_python_drops_is_refused_where_it_would_be_lost(clerk: Any) -> None:
    later = clerk.future_.lines
    acts: list[Callable[[], object]] = [
        lambda: len(later),
        lambda: 1 in later,
        lambda: bool(later),
        lambda: iter(later),
        lambda: setattr(clerk.future_, "extra", 1),
        lambda: operator.setitem(later, 0, 1),
        lambda: len(clerk.cast_.lines),
    ]
    for act in acts:
        with pytest.raises(TypeError, match="passto"):
            act()
    assert clerk.future_.lines.passto(len).result() == 0


def test_at_the_objects_own_home_all_manners_evaluate_directly() -> None:
    class Box:
        value = 5

        def fail(self) -> None:
            raise ValueError("no")

    proxy = Proxy(Box())
    with proxy:
        assert proxy.future_.value.get_().result() == 5
        assert isinstance(proxy.future_.fail().exception(), ValueError)
        assert proxy.with_(timeout=1).value.get_() == 5
        assert proxy.cast_.value.get_() is None
