"""A future that has its lock and its lists only once something needs them."""

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    InvalidStateError,
    as_completed,
    wait,
)
from typing import Any

import pytest

from remoteobj._caller.lean_future import LeanFuture
from remoteobj._caller.settling import settler
from tests.tools import Call, until


def parts_of(future: Any) -> set[str]:
    """What it has of those attributes that are made when they are needed."""
    return {"_condition", "_waiters", "_done_callbacks"}.intersection(vars(future))


@pytest.fixture
def future() -> Any:
    return LeanFuture()


def test_it_has_all_that_a_future_of_the_standard_library_has(future: Any) -> None:
    for name, value in vars(Future()).items():
        assert type(getattr(future, name)) is type(value), name


def test_one_that_is_settled_before_anybody_asks_never_has_a_lock(future: Any) -> None:
    assert not future.done()
    assert future.settle_alone(1, None)
    assert future.done()
    assert parts_of(future) == set()
    assert future.result(0) == 1
    assert future.exception(0) is None


def test_an_error_is_an_outcome_too(future: Any) -> None:
    error = ValueError("no")
    assert future.settle_alone(None, error)
    assert future.exception(0) is error
    with pytest.raises(ValueError, match="no"):
        future.result(0)


def test_it_is_settled_once(future: Any) -> None:
    assert future.settle_alone(1, None)
    assert not future.settle_alone(2, None)
    with pytest.raises(InvalidStateError):
        future.set_result(3)
    assert not future.cancel()
    assert not future.cancelled()
    assert future.result(0) == 1


def test_one_that_has_begun_is_settled_and_not_cancelled(future: Any) -> None:
    assert future.set_running_or_notify_cancel()
    assert not future.done()
    assert parts_of(future) == set()
    assert future.settle_alone(1, None)
    assert future.result(0) == 1

    late: Any = LeanFuture()
    assert late.set_running_or_notify_cancel()
    assert not late.cancel()
    assert late.running()
    with pytest.raises(RuntimeError):
        late.set_running_or_notify_cancel()


def test_one_that_was_cancelled_is_not_settled(future: Any) -> None:
    assert future.cancel()
    assert future.done()
    assert not future.settle_alone(1, None)
    assert not future.set_running_or_notify_cancel()
    with pytest.raises(CancelledError):
        future.result(0)


def ask_in_vain(future: Any) -> None:
    with pytest.raises(TimeoutError):
        future.result(0)


@pytest.mark.parametrize(
    "ask",
    [
        lambda future: future.add_done_callback(bool),
        lambda future: wait([future], timeout=0),
        lambda future: future.running(),
        lambda future: future.cancelled(),
        repr,
        ask_in_vain,
    ],
    ids=["a callback", "wait", "running", "cancelled", "repr", "result"],
)
def test_whatever_may_wait_for_it_has_it_settled_by_who_tells_everyone(
    future: Any, ask: Callable[[Any], object]
) -> None:
    ask(future)
    assert parts_of(future) == {"_condition", "_waiters", "_done_callbacks"}
    assert not future.settle_alone(1, None)
    future.set_result(2)
    assert future.result(0) == 2


def test_a_callback_that_comes_after_the_outcome_is_called_at_once(future: Any) -> None:
    told: list[Any] = []
    future.settle_alone(1, None)
    future.add_done_callback(told.append)
    assert told == [future]


def test_the_standard_library_waits_for_it(future: Any) -> None:
    other: Any = LeanFuture()
    waiting = Call(wait, [future, other], 30, FIRST_COMPLETED)
    until(lambda: parts_of(future) and future._waiters)
    assert not future.settle_alone(1, None)
    future.set_result(1)
    assert waiting.result().done == {future}
    assert other.settle_alone(2, None) is False, "its parts were made as well"
    other.set_result(2)
    assert set(as_completed([future, other], 0)) == {future, other}


def test_a_callback_that_a_signal_handler_adds_while_it_is_settled_is_called() -> None:
    told: list[Any] = []

    class Signalled(LeanFuture):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "_exception":
                self.add_done_callback(told.append)
            super().__setattr__(name, value)

    future: Any = Signalled()
    assert not future.settle_alone(1, None)
    assert not future.done()
    future.set_result(1)
    assert told == [future]


def test_it_is_not_sent_to_another_process(future: Any) -> None:
    future.settle_alone(1, None)
    with pytest.raises(TypeError, match="send its result"):
        pickle.dumps(future)


def test_who_asks_while_it_is_settled_finds_the_outcome(future: Any) -> None:
    """The parts are made after it, and so look at a future that is done."""
    with settler.parts_lock:
        asking = Call(wait, [future], 30)
        assert future.settle_alone(1, None)
    assert asking.result().done == {future}


def test_ctrl_c_while_its_parts_are_made_leaves_it_as_it_was(
    future: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press() -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(threading, "Condition", press)
        with pytest.raises(KeyboardInterrupt):
            future.add_done_callback(bool)
    assert parts_of(future) == set()
    assert future.settle_alone(1, None)


def test_its_parts_are_made_once_whatever_runs_while_they_are(
    future: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finalizer may, or another thread, which looks at the future as well."""
    told: list[Any] = []

    def condition(make: Any = threading.Condition) -> Any:
        monkeypatch.undo()
        future.add_done_callback(told.append)
        return make()

    monkeypatch.setattr(threading, "Condition", condition)
    future.add_done_callback(told.append)
    future.set_result(1)
    assert told == [future, future]


def test_within_a_read_it_waits_for_nobody_who_makes_its_parts(future: Any) -> None:
    with settler.parts_lock:
        settling = Call(future.settle_alone, 1, None, False)
        assert not settling.result()
    assert future.settle_alone(1, None, wait=False)


def test_ctrl_c_just_as_it_has_its_turn_leaves_the_turn_to_others(
    future: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pressed:
        lock: Any = threading.RLock()

        def acquire(self, wait: bool) -> None:
            self.lock.acquire(wait)
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> Any:
            return getattr(self.lock, name)

    monkeypatch.setattr(settler, "parts_lock", Pressed())
    with pytest.raises(KeyboardInterrupt):
        future.settle_alone(1, None)
    assert Call(Pressed.lock.acquire, False).result()
    assert not future.done()
