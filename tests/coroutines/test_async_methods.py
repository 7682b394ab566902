"""A class with `async def` methods: its calls interleave, stream, are cancelled and drained."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import CallTimeoutError, DeadlockError, RemoteError, spawn
from tests.conftest import LAUNCHES
from tests.coroutines.actors import AsyncFriend, Desk, Friend, count_events, make_desk
from tests.tools import until

WAYS: dict[str, dict[str, Any]] = {
    **{name: LAUNCHES[name] for name in ("fork", "forkserver", "spawn", "thread")},
    "uvloop": {"event_loop": "uvloop"},
}


@pytest.fixture(scope="module")
def friends() -> Iterator[tuple[Any, Any]]:
    with Friend.spawn() as friend, AsyncFriend.spawn() as other:
        yield friend, other


@pytest.fixture(scope="module", params=WAYS)
def shared(request: pytest.FixtureRequest, friends: tuple[Any, Any]) -> Iterator[Any]:
    with Desk.options(**WAYS[request.param]).spawn() as desk:
        # What connections need for all of this stays with them.
        desk.future_.plainly().result(5)
        asyncio.run(_awaited(desk))
        for one in friends:
            desk.ask(one)
        yield desk


@pytest.fixture
def desk(shared: Any) -> Any:
    shared.take_events()
    return shared


def seen(desk: Any, event: str) -> None:
    until(lambda: event in desk.events.get_())


def test_calls_of_one_caller_begin_in_order_and_end_as_they_can(desk: Any) -> None:
    names = [f"o{i}" for i in range(5)]
    futures = [desk.future_.pass_door(name) for name in names]
    for name in reversed(names):
        assert not futures[0].done() or name == names[0]
        desk.open(name)
        assert futures[names.index(name)].result(5) == f"through {name}"
    assert desk.take_events() == [f"at {name}" for name in names]


def test_coroutines_interleave_and_plain_methods_run_alone(desk: Any) -> None:
    futures = [desk.future_.turns(name, 3, "start") for name in "ab"]
    desk.open("start")
    futures.append(desk.future_.turns_alone("c", 3))
    for one in futures:
        one.result(5)
    events = "".join(desk.take_events())
    assert "ccc" in events
    assert events.replace("ccc", "") == "ababab"


def test_a_method_that_awaits_nothing_has_its_value_at_once(desk: Any) -> None:
    assert desk.at_once(5) == 5
    assert desk.plainly(6) == 6
    assert desk.future_.at_once([1]).result(5) == [1]
    assert asyncio.run(_awaited(desk)) == {"a": 1}
    assert desk.itself() is desk


async def _awaited(desk: Any) -> Any:
    return await desk.async_.at_once({"a": 1})


def test_the_first_step_of_a_call_is_that_of_a_task_as_well(desk: Any) -> None:
    assert desk.in_time() == (True, "timed out, grouped")


def test_each_call_has_a_context_of_its_own(desk: Any) -> None:
    assert [desk.labelled(text) for text in "ab"] == [("", "a"), ("", "b")]


def test_the_loop_is_there_when_the_object_is_made(desk: Any) -> None:
    assert desk.has_loop.get_()
    assert not desk.background.done()


def test_an_exception_of_a_coroutine_is_its_callers(desk: Any) -> None:
    with pytest.raises(KeyError, match="lost") as caught:
        desk.fail(KeyError("lost"))
    assert caught.traceback[-1].name == "fail"
    with pytest.raises(RemoteError, match="SystemExit: 3"):
        desk.fail(SystemExit(3))
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        desk.fail(KeyboardInterrupt())
    assert desk.at_once(1) == 1


def test_a_function_that_is_passed_may_be_a_coroutine_function(desk: Any) -> None:
    assert desk.passto(count_events, 5) == 5


def test_an_attribute_that_can_be_awaited_gives_what_comes_of_it(desk: Any) -> None:
    waiting = desk.answer.future_.get_()
    with pytest.raises(CallTimeoutError):
        desk.answer.with_(timeout=0.02).get_()
    desk.answer.set_result(42)
    assert waiting.result(5) == desk.answer.get_() == 42  # which the time limit has not cancelled


def test_asynchronous_generators_stream_to_both_kinds_of_consumers(desk: Any) -> None:
    async def collect() -> list[int]:
        return [item async for item in desk.async_.count(40)]

    assert list(desk.count(40)) == asyncio.run(collect()) == list(range(40))
    assert list(desk.guarded(40)) == list(range(40))
    assert list(desk.rows_later()) == [0, 1, 2]
    assert list(desk.count_plainly(40)) == list(range(40))


def test_values_and_errors_are_sent_to_an_asynchronous_generator(desk: Any) -> None:
    echo = desk.echo()
    assert next(echo) is None
    assert echo.send("a") == "a"
    assert echo.throw(KeyError("b")) == "KeyError('b')"
    with pytest.raises(ZeroDivisionError):
        echo.throw(ZeroDivisionError())


def test_a_stream_that_is_left_early_closes_its_generator(desk: Any) -> None:
    paused = desk.count(100)
    assert next(paused) == 0
    paused.close()
    seen(desk, "closed")
    stalled = iter(desk.stall())
    assert next(stalled) == 1  # and the generator goes on to wait for ever
    stalled.close()
    seen(desk, "stall closed")


def test_many_streams_are_open_at_once(desk: Any) -> None:
    streams = [desk.count(30) for _ in range(20)]
    assert [sum(row) for row in zip(*streams, strict=True)] == [20 * i for i in range(30)]


def test_a_cancelled_future_cancels_the_coroutine(desk: Any) -> None:
    future = desk.future_.pass_door("never")
    seen(desk, "at never")
    assert future.cancel()
    seen(desk, "cancelled at never")


def test_a_cancelled_await_cancels_the_coroutine(desk: Any) -> None:
    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(desk.async_.pass_door("wait_for"), 0.05)
        task = asyncio.create_task(desk.async_.pass_door("task"))
        while "at task" not in await desk.async_.events.get_():
            pass
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(give_up())
    seen(desk, "cancelled at wait_for")
    seen(desk, "cancelled at task")


@pytest.mark.parametrize("interrupt", [False, True])
def test_a_time_limit_cancels_the_coroutine(desk: Any, interrupt: bool) -> None:
    with pytest.raises(CallTimeoutError):
        desk.with_(timeout=0.02, interrupt=interrupt).pass_door("slow")
    seen(desk, "cancelled at slow")


def test_a_coroutine_may_refuse_to_be_cancelled(desk: Any) -> None:
    future = desk.future_.pass_stubbornly("door")
    desk.plainly()
    future.cancel()
    seen(desk, "stayed")


def test_the_actors_own_proxy_is_there_in_every_coroutine(desk: Any) -> None:
    assert desk.who_am_i()
    assert desk.ask_itself() == [1, 2, 3, [0, 1]]
    seen(desk, "cast")


def test_who_awaits_a_call_is_called_back(desk: Any, friends: tuple[Any, Any]) -> None:
    friend, other = friends
    assert desk.ask(friend) == desk.ask(other) == "called back"
    assert desk.ask_plainly(friend, "plainly") == "called back"


def test_a_plain_call_that_would_need_the_loop_says_so(desk: Any, friends: tuple[Any, Any]) -> None:
    with pytest.raises(DeadlockError, match="make its call by async_"):
        desk.ask_plainly(friends[0], "at_once")
    friends[0].passto(_collect)  # the error that it has had leads to its connection


def _collect(_: Any) -> None:
    gc.collect()


def test_a_hundred_coroutines_wait_together(desk: Any) -> None:
    desk.most = 0
    futures = [desk.future_.pass_door("all") for _ in range(99)]  # and one more asks
    until(lambda: desk.most.get_() == 99)
    desk.open("all")
    assert {future.result(5) for future in futures} == {"through all"}


def test_no_more_run_at_once_than_may() -> None:
    with Desk.options(max_concurrency=2).spawn() as desk:
        first, second = (desk.future_.pass_door(name) for name in "ab")
        third = desk.future_.plainly(3)
        until(lambda: len(desk.status_().queued) == 1)
        assert not third.done()
        second.cancel()
        assert third.result(5) == 3
        desk.open("a")
        assert first.result(5) == "through a"


def test_with_a_limit_of_one_calls_do_not_interleave(friends: tuple[Any, Any]) -> None:
    with Desk.options(max_concurrency=1).spawn() as desk:
        futures = [desk.future_.turns(name, 3) for name in "abc"]
        for one in futures:
            one.result(5)
        assert "".join(desk.take_events()) == "aaabbbccc"
        # What a call of it waits for is let in all the same.
        assert [desk.ask(friend) for friend in friends] == ["called back"] * 2
    with Desk.options(max_concurrency=1, reentrant=False).spawn() as strict:
        with pytest.raises(DeadlockError, match="not reentrant"):
            strict.ask(friends[0])


def test_a_factory_may_be_a_coroutine_function() -> None:
    desk: Any = spawn(make_desk, "made")
    with desk:
        assert desk.take_events() == ["made"]
