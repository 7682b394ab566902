"""An actor that runs many calls at once tells of each: while it works, and when it has died."""

import os
import pickle
import signal
from concurrent.futures import Future
from typing import Any

import pytest

from remoteobj import ActorDiedError, CallTimeoutError, RemoteError, util
from remoteobj.testing import Gate
from tests.marks import needs_peers_user
from tests.tools import Call, until
from tests.watching.jugglers import AsyncLooper, Juggler
from tests.watching.millers import Miller

STARTS = ("fork", "spawn")


def running(juggler: Any) -> list[str]:
    return [call.call for call in juggler.status_().calls]


def until_running(juggler: Any, count: int) -> None:
    until(lambda: len(running(juggler)) == count)


def idle_stack(juggler: Any) -> str | None:
    """Its stacks, if its event loop waits."""
    stack: str = juggler.stack_()
    return stack if "Thread MainThread: its event loop waits." in stack else None


def deaths(futures: list[Future[Any]]) -> list[tuple[bool, str | None]]:
    """Of each, whether it may have been executed, and what it says the actor was running."""
    errors = [future.exception(10) for future in futures]
    assert all(isinstance(error, ActorDiedError) for error in errors)
    return [(error.maybe_executed, error.running) for error in errors]  # type: ignore[union-attr]


# ------------------------------------------------------------------ status


@needs_peers_user
def test_the_status_has_each_call_with_its_age_and_its_caller() -> None:
    def call(juggler: Any, gate: Gate) -> None:
        juggler.future_.hold()
        gate.park()

    with Juggler.spawn() as juggler, Gate() as gate:
        juggler.future_.hold()
        items = iter(juggler.balls(1))
        assert next(items) == 0
        juggler.cast_.keep_on()
        until_running(juggler, 3)
        with util.process(call, juggler, gate) as other:
            until_running(juggler, 4)
            status = juggler.status_()
            told = {(one.call, one.kind, one.caller) for one in status.calls}
            assert told == {
                ("?.hold(...)", "call", os.getpid()),
                ("?.keep_on(...)", "cast", os.getpid()),
                ("?.balls(...)", "stream", os.getpid()),
                ("?.hold(...)", "call", other.pid),
            }
            assert status.call in running(juggler)
            later = juggler.status_()
            assert [one.number for one in later.calls] == [one.number for one in status.calls]
            assert all(
                0 <= before.age < after.age
                for before, after in zip(status.calls, later.calls, strict=True)
            )
            gate.open()
        juggler.interrupt_()


def test_a_serial_actor_has_the_calls_that_it_has_let_in_before_the_one_that_waits(
    gate: Gate,
) -> None:
    with Juggler.options(max_concurrency=1).spawn() as juggler, Miller.spawn() as other:
        call = Call(juggler.ask, other, juggler, gate)
        gate.wait_for_arrival()
        assert running(juggler) == ["?.drop(...)", "?.ask(...)"]
        assert juggler.status_().call == "?.drop(...)"
        assert "at call 1, ?.drop(...), within call 2, ?.ask(...)" in juggler.stack_()
        juggler.kill_()
        call.wait()
        assert isinstance(call.error, ActorDiedError)
        assert call.error.running == "?.ask(...)", "each has its own"
        assert call.error.all_running == ("?.drop(...)", "?.ask(...)")


# ------------------------------------------------------------------ sudden deaths


def end_by(how: str, juggler: Any) -> None:
    if how == "SIGKILL":
        os.kill(juggler.pid_, signal.SIGKILL)
    elif how == "os._exit":
        juggler.cast_.exit(3)
    else:
        juggler.cast_.passto(lambda _: os.kill(os.getpid(), signal.SIGSEGV))


@pytest.mark.parametrize(
    ("how", "start"),
    [("SIGKILL", "fork"), ("SIGKILL", "spawn"), ("os._exit", "fork"), ("crash", "fork")],
)
def test_each_call_that_has_begun_may_have_been_executed_and_none_that_waits(
    how: str, start: Any
) -> None:
    limit = 2 if how == "SIGKILL" else 5
    juggler: Any = Juggler.options(start_method=start, max_concurrency=limit).spawn()
    futures = [juggler.future_.hold(), juggler.future_.group()]
    until_running(juggler, 2)
    if limit == 2:
        futures += [juggler.future_.hold(), juggler.future_.never()]
        until(lambda: len(juggler.status_().queued) == 2)
    end_by(how, juggler)
    found = deaths(futures)
    assert found[:2] == [(True, "?.hold(...)"), (True, "?.group(...)")]
    assert [maybe for maybe, _ in found[2:]] == [False] * len(found[2:])
    error: Any = futures[0].exception()
    ran = [call for call in error.all_running if call in ("?.hold(...)", "?.group(...)")]
    assert sorted(ran) == ["?.group(...)", "?.hold(...)"]
    juggler.kill_()
    juggler.stop_()


def test_what_a_blocked_loop_has_not_taken_in_is_not_executed(gate: Gate) -> None:
    juggler: Any = Juggler.spawn()
    begun = [juggler.future_.hold(), juggler.future_.drop(gate)]
    gate.wait_for_arrival()
    waiting = [juggler.future_.hold() for _ in range(3)]
    os.kill(juggler.pid_, signal.SIGKILL)
    assert deaths(begun) == [(True, "?.hold(...)"), (True, "?.drop(...)")]
    assert [maybe for maybe, _ in deaths(waiting)] == [False] * 3
    juggler.kill_()
    juggler.stop_()


def test_callers_in_other_processes_are_told_of_their_own_calls() -> None:
    def call(juggler: Any, gate: Gate) -> Any:
        methods = (juggler.future_.hold, juggler.future_.group, juggler.future_.never)
        futures = [method() for method in methods]
        gate.park()
        errors: list[Any] = [future.exception(10) for future in futures]
        return [(error.maybe_executed, error.running) for error in errors]

    juggler: Any = Juggler.options(max_concurrency=3).spawn()
    held = juggler.future_.hold()
    until_running(juggler, 1)
    with Gate() as gate, util.process(call, juggler, gate) as other:
        gate.wait_for_arrival()
        until(lambda: len(juggler.status_().queued) == 1)
        os.kill(juggler.pid_, signal.SIGKILL)
        gate.open()
        other.join(10)
    assert other.result == [(True, "?.hold(...)"), (True, "?.group(...)"), (False, None)]
    assert deaths([held]) == [(True, "?.hold(...)")]
    juggler.kill_()
    juggler.stop_()


def test_one_that_waits_for_others_callers_is_not_executed() -> None:
    def call(juggler: Any, gate: Gate) -> bool:
        future = juggler.future_.hold()
        gate.park()
        error: Any = future.exception(10)
        return bool(error.maybe_executed)

    juggler: Any = Juggler.options(max_concurrency=1).spawn()
    juggler.future_.hold()
    until_running(juggler, 1)
    with Gate() as gate, util.process(call, juggler, gate) as other:
        gate.wait_for_arrival()
        until(lambda: len(juggler.status_().queued) == 1)
        os.kill(juggler.pid_, signal.SIGKILL)
        gate.open()
        other.join(10)
    assert other.result is False
    juggler.kill_()
    juggler.stop_()


def test_a_caller_of_one_call_at_a_time_is_told_nothing_and_knows() -> None:
    juggler: Any = Juggler.spawn()
    juggler.caught.get_()
    first, second = juggler.future_.hold(), juggler.future_.hold()
    until_running(juggler, 2)
    juggler.interrupt_(ValueError)
    assert isinstance(first.exception(10), ValueError)
    assert isinstance(second.exception(10), ValueError)
    call = Call(juggler.hold)
    until_running(juggler, 1)
    os.kill(juggler.pid_, signal.SIGKILL)
    call.wait()
    assert isinstance(call.error, ActorDiedError)
    assert (call.error.maybe_executed, call.error.running) == (True, "?.hold(...)")
    juggler.kill_()
    juggler.stop_()


# ------------------------------------------------------------------ stacks


@pytest.mark.parametrize("start", STARTS)
def test_the_stack_shows_what_each_coroutine_awaits_also_while_the_loop_is_held(
    start: Any, gate: Gate
) -> None:
    with Juggler.options(start_method=start).spawn() as juggler:
        juggler.future_.hold()
        juggler.future_.group()
        items = iter(juggler.balls(1))
        assert next(items) == 0
        until_running(juggler, 3)
        numbers = {one.call: one.number for one in juggler.status_().calls}
        idle = until(lambda: idle_stack(juggler))
        held = juggler.future_.drop(gate)
        gate.wait_for_arrival()
        blocked = juggler.stack_()
        assert f"Thread MainThread, at call {max(numbers.values()) + 1}, ?.drop(...):" in blocked
        assert ", in drop\n" in blocked
        for stack in (idle, blocked):
            for call, inner in (("hold", "never"), ("balls", "never"), ("group", "group")):
                title = f"Call {numbers[f'?.{call}(...)']}, ?.{call}(...), waits:\n"
                frames = stack.partition(title)[2].partition("\n\n")[0]
                assert frames.splitlines()[0].endswith(f", in {call}")
                assert f", in {inner}\n" in frames
                assert "remoteobj/_actor" not in frames
            assert "Task left hand, waits:" in stack
        juggler.interrupt_()
        held.exception(10)


def test_a_dead_one_has_the_stack_of_what_held_its_loop() -> None:
    juggler: Any = Juggler.spawn()
    held = juggler.future_.hold()
    until_running(juggler, 1)
    end_by("crash", juggler)
    error = held.exception(10)
    assert isinstance(error, ActorDiedError)
    assert error.last_stack is not None
    assert "Segmentation fault" in error.last_stack
    assert error.running == "?.hold(...)"
    juggler.kill_()
    juggler.stop_()


# ------------------------------------------------------------------ interrupting


def test_interrupt_reaches_all_that_runs_and_the_actor_goes_on() -> None:
    with Juggler.spawn() as juggler:
        futures = [juggler.future_.hold(), juggler.future_.catch(), juggler.future_.group()]
        kept_on = juggler.future_.keep_on()
        items = iter(juggler.balls(1))
        assert next(items) == 0
        until_running(juggler, 5)
        assert juggler.interrupt_(ValueError("enough"))
        for future in futures:
            with pytest.raises(ValueError, match="enough"):
                future.result(10)
        with pytest.raises(ValueError, match="enough"):
            next(items)
        assert kept_on.result(10) == "kept on"
        assert juggler.caught.get_() == ["CancelledError"]
        assert running(juggler) == []
        assert juggler.interrupt_() is False


def test_one_call_can_be_interrupted_by_its_number(gate: Gate) -> None:
    with Juggler.spawn() as juggler:
        futures = [juggler.future_.hold() for _ in range(4)]
        until_running(juggler, 4)
        numbers = [one.number for one in juggler.status_().calls]
        waiting = dict(zip(numbers, futures, strict=True))
        number, future = waiting.popitem()
        assert juggler.interrupt_(call=number)
        with pytest.raises(RemoteError) as caught:
            future.result(10)
        assert isinstance(caught.value.__cause__, KeyboardInterrupt)
        assert juggler.interrupt_(call=number) is False
        for method in ("hog", "hog_at_once", "drop"):
            held = getattr(juggler.future_, method)(gate)
            gate.wait_for_arrival()
            (holds,) = (one.number for one in juggler.status_().calls if method in one.call)
            number, future = waiting.popitem()
            assert juggler.interrupt_(ValueError("later"), call=number)
            assert juggler.interrupt_(ValueError("at last"), call=holds)
            with pytest.raises(ValueError, match="at last"):
                held.result(10)
            with pytest.raises(ValueError, match="later"):
                future.result(10)
        until_running(juggler, 0)


def test_interrupting_over_and_over_spoils_no_other_call() -> None:
    with Juggler.spawn() as juggler:
        kept = juggler.future_.hold()
        until_running(juggler, 1)
        (keep,) = (one.number for one in juggler.status_().calls)
        for _ in range(50):
            future = juggler.future_.hold()
            until_running(juggler, 2)
            (number,) = (one.number for one in juggler.status_().calls if one.number != keep)
            assert juggler.interrupt_(ValueError, call=number)
            assert isinstance(future.exception(10), ValueError)
        assert not kept.done()
        juggler.interrupt_()


def test_an_asynchronous_work_loop_is_interrupted_and_may_go_on(gate: Gate) -> None:
    with AsyncLooper.spawn(gate) as looper:
        assert looper.seen.get_() == [], "so that it awaits"
        assert looper.interrupt_(ValueError("not told"))
        gate.wait_for_arrival()
        assert looper.interrupt_(ValueError("where it is"))
        assert looper.seen.get_() == ["at its await", "where it is"]


# ------------------------------------------------------------------ time limits


def test_a_coroutine_out_of_time_says_where_it_was_and_what_ran_beside_it() -> None:
    with Juggler.spawn() as juggler:
        juggler.future_.group()
        until_running(juggler, 1)
        with pytest.raises(CallTimeoutError, match="beside 1 other call") as caught:
            juggler.with_(timeout=0.3).hold()
        error = caught.value
        assert error.running_beside == ("?.group(...)",)
        assert error.queued_ahead == ()
        assert error.remote_stack is not None
        assert error.remote_stack.partition(", waits:\n")[0].endswith(", ?.hold(...)")
        assert "it has been running ?.hold(...) for 0." in str(error)
        assert pickle.loads(pickle.dumps(error)).running_beside == error.running_beside
        juggler.interrupt_()


def test_what_was_queued_ahead_is_told_where_the_limit_held_it_up() -> None:
    with Juggler.options(max_concurrency=1).spawn() as juggler:
        juggler.future_.group()
        ahead = juggler.future_.never()
        until_running(juggler, 1)
        with pytest.raises(CallTimeoutError, match=r"running \?\.group") as caught:
            juggler.with_(timeout=0.05).hold()
        assert caught.value.queued_ahead == ("?.never(...)",)
        until(lambda: len(juggler.status_().queued) == 1)
        (number,) = (one.number for one in juggler.status_().calls)
        assert juggler.interrupt_(call=number)
        until(lambda: running(juggler) == ["?.never(...)"])
        juggler.interrupt_(ValueError)
        assert isinstance(ahead.exception(10), ValueError)


def test_each_call_has_a_time_limit_of_its_own_and_may_be_interrupted_by_it() -> None:
    with Juggler.spawn() as juggler:
        kept = juggler.future_.hold()
        until_running(juggler, 1)
        limited = juggler.with_(timeout=0.05, interrupt=True)
        futures = [limited.future_.catch() for _ in range(2)]
        for future in futures:
            assert isinstance(future.exception(10), CallTimeoutError)
        until_running(juggler, 1)
        assert juggler.caught.get_() == ["CancelledError"] * 2
        assert not kept.done()
        juggler.interrupt_()


# ------------------------------------------------------------------ threads


def test_calls_in_threads_are_told_and_interrupted_each_by_itself(gate: Gate) -> None:
    with Miller.options(max_concurrency=3).spawn() as miller:
        futures = [miller.future_.for_ever(gate) for _ in range(3)]
        for _ in futures:
            gate.wait_for_arrival()
        numbers = [one.number for one in miller.status_(timeout=20).calls]
        stack = miller.stack_(timeout=20)  # three threads want the interpreter that it needs
        for thread, number in enumerate(numbers, 1):
            title = f"-{thread}, at call {number}, ?.for_ever(...):\n"
            assert ", in for_ever\n" in stack.partition(title)[2].partition("\nThread ")[0]
        error = ValueError("one")
        assert miller.interrupt_(error, call=numbers[1])
        until_running(miller, 2)
        done = until(lambda: [future for future in futures if future.done()])
        assert [str(future.exception(10)) for future in done] == ["one"]
        assert miller.interrupt_(KeyError("all"))
        for future in futures:
            if future not in done:
                assert isinstance(future.exception(10), KeyError)
        until_running(miller, 0)
        assert miller.interrupt_() is False
        assert miller.ground.get_() > 0


@pytest.mark.parametrize("start", STARTS)
def test_each_call_that_runs_in_a_thread_may_have_been_executed(start: Any, gate: Gate) -> None:
    miller: Any = Miller.options(start_method=start, max_concurrency=2).spawn()
    futures = [miller.future_.for_ever(gate), miller.future_.grind(gate)]
    futures += [miller.future_.ground.get_() for _ in range(3)]
    for _ in range(2):
        gate.wait_for_arrival()
    os.kill(miller.pid_, signal.SIGKILL)
    found = deaths(futures)
    assert found[:2] == [(True, "?.for_ever(...)"), (True, "?.grind(...)")]
    error: Any = futures[0].exception()
    assert sorted(error.all_running) == ["?.for_ever(...)", "?.grind(...)"]
    assert [maybe for maybe, _ in found[2:]] == [False] * 3
    miller.kill_()
    miller.stop_()
