"""One operation on many actors at once: what it gives, what it raises, and what becomes of it when
one of them fails, dies or keeps it waiting."""

import asyncio
import concurrent.futures as cf
import operator
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    DeadlockError,
    NotListeningError,
    Proxy,
    UnsendableError,
    each,
)
from remoteobj.testing import Gate
from tests.conftest import SLOW_CANCEL, Launch
from tests.envs import Env
from tests.forks import code_of, in_child
from tests.internals import PROBE_DELAY, open_calls, open_entries, until_sent
from tests.tools import Call, until, until_it_sleeps

NO_THREAD = {"inline": "answers before anything else can happen"}
NOT_KILLED = {"thread": "can't be killed", "inline": "can't be killed"}


@pytest.fixture
def envs(launch: Launch) -> Iterator[list[Any]]:
    with ExitStack() as stack:
        spawner = Env.options(**launch)
        yield [stack.enter_context(spawner.spawn(number)) for number in range(3)]


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


# ------------------------------------------------------------------ what it gives


def test_every_operation_is_done_to_each_and_gives_a_list_in_order(envs: list[Any]) -> None:
    many = each(envs)
    assert many.step(10) == [10, 11, 12]
    assert many.step(10, scale=2) == [20, 21, 22]
    assert many.number.get_() == many.number.__ == many.attrs_("number").get_() == [0, 1, 2]
    assert many.d["k"].get_() == [0, 1, 2]
    assert many.passto(operator.attrgetter("number")) == [0, 1, 2]
    assert min(many.super.attrs_("__sizeof__")()) > 0
    assert many.steps.passto(len) == [2, 2, 2]
    many.number = 7
    many.d["new"] = 3
    del many.d["k"]
    assert (many.number.__, many.d.__) == ([7, 7, 7], [{"new": 3}] * 3)
    del many.number
    assert [hasattr(one, "number") for one in many.passto(vars)] == [False] * 3
    assert each([]).step(1) == []


def test_map_gives_each_arguments_of_its_own(envs: list[Any]) -> None:
    many = each(envs)
    assert many.step.map([10, 20, 30]) == [10, 21, 32]
    assert many.step.map((n for n in (1, 2, 3)), [5, 6, 7]) == [5, 13, 23]
    assert many.future_.step.map([1, 2, 3]).result(20) == [1, 3, 5]
    before = many.steps.passto(len)
    for wrong, got in (([1, 2], "got 2"), ([1] * 4, "more than 3"), (iter(int, 1), "more than 3")):
        with pytest.raises(ValueError, match=f"each of the 3 actors, and got .*{got[4:]}"):
            many.step.map(wrong)
    with pytest.raises(TypeError, match="at least one iterable"):
        many.step.map()
    assert many.steps.passto(len) == before, "nothing was called"


def test_an_actor_may_be_there_twice_and_parts_of_several_may(envs: list[Any]) -> None:
    first, second, _ = envs
    assert each([second, first, second]).step(1) == [2, 1, 2]
    assert second.steps.get_() == [1, 1]
    assert each([first.d, second.steps]).passto(len) == [1, 2]
    assert each(first.with_(timeout=20) for _ in range(2)).number.get_() == [0, 0]


def test_a_method_that_yields_gives_a_stream_of_each_and_self_gives_the_proxy(
    envs: list[Any],
) -> None:
    assert [list(stream) for stream in each(envs).count(2)] == [[0, 1], [1, 2], [2, 3]]
    assert each(envs).myself() == envs


def test_arrays_and_parts_may_be_arguments(envs: list[Any]) -> None:
    assert each(envs).size(np.zeros(200_000)) == [200_000, 200_001, 200_002]
    assert each(envs[:1] * 2).step(envs[0].number) == [0, 0]
    assert each(envs[:1] * 2).future_.step(envs[0].number).result(20) == [0, 0]


@pytest.mark.engines(skip={"inline": "listens at no address"})
def test_proxies_of_any_kind_will_do_and_one_that_is_served_here(envs: list[Any]) -> None:
    copy = pickle.loads(pickle.dumps(envs[1]))
    here = Proxy(Env(9))
    with here.listen_():
        assert each([envs[0], here, copy]).step(1) == [1, 10, 2]


def test_the_views_of_many_are_those_of_one(envs: list[Any]) -> None:
    many = each(envs)
    future = many.future_.step(1)
    assert isinstance(future, cf.Future)
    assert future.result(20) == [1, 2, 3]
    assert future.exception(20) is None
    assert cf.wait([many.future_.step(1)], timeout=20).not_done == set()
    assert each([]).future_.step(1).result(0) == []
    many.cast_.step(5)
    assert many.steps[-1].get_() == [5, 5, 5]
    assert many.with_(timeout=20).number.get_() == [0, 1, 2]

    async def awaited() -> Any:
        return await many.async_.step(2), await many.async_.number.get_()

    assert asyncio.run(awaited()) == ([2, 3, 4], [0, 1, 2])


def add_to_numbers(many: Any) -> None:
    many.number += 1


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (len, "len"),
        (iter, "iter"),
        (bool, "bool"),
        (lambda many: 1 in many, "in"),
        (int, "int"),
        (lambda many: many.number == 1, "obj == other"),
        (lambda many: 3**many, r"other \*\* obj"),
        (add_to_numbers, r"obj \+= other"),
        (lambda many: f"{many.number:.2f}", "format"),
        (lambda many: getattr(many, "_" + "private"), "underscore"),
        (lambda many: many.stop_, "one handle"),
        (lambda many: setattr(many, "map", 1), "own name"),
        (lambda many: delattr(many, "with_"), "own name"),
        (lambda many: many.attrs_("a..b"), "empty name"),
        (lambda many: setattr(many.future_, "x", 1), "passto"),
        (pickle.dumps, "send the proxies"),
    ],
)
def test_what_many_have_no_single_value_for_is_refused(
    wrong: Callable[[Any], object], what: str
) -> None:
    many = each([Proxy(Env(0))])
    with pytest.raises((TypeError, AttributeError, ValueError), match=what):
        wrong(many)


def test_each_takes_several_proxies_and_nothing_else() -> None:
    proxy = Proxy(Env(0))
    with pytest.raises(TypeError, match="a single one"):
        each(proxy)
    with pytest.raises(TypeError, match="number 1 is 3"):
        each([proxy, 3])
    assert repr(each([proxy] * 2).d["k"]) == "<Each of 2 : (?.d['k'])>"
    many = each([proxy])
    assert f"{many}" == str(many)
    assert many in {many, 1}
    assert many != each([proxy])
    assert {"map", "with_", "future_", "step"} <= set(dir(each([proxy])))
    assert "with_" in dir(each([]))


# ------------------------------------------------------------------ what it raises


def test_one_that_fails_raises_its_error_which_says_whose_it_is(envs: list[Any]) -> None:
    with pytest.raises(ValueError, match="1") as caught:
        each(envs).fail_if(1)
    (note,) = caught.value.__notes__
    assert note == f"This is of {envs[1].name_}, number 1 of the 3 actors."


def test_several_that_fail_raise_a_group_in_the_order_of_the_actors(envs: list[Any]) -> None:
    many = each(envs)

    async def awaited() -> Any:
        return await many.async_.fail_if(0, 2)

    acts: list[Callable[[], Any]] = [
        lambda: many.fail_if(2, 0),
        lambda: many.future_.fail_if(2, 0).result(20),
        lambda: asyncio.run(awaited()),
    ]
    for act in acts:
        with pytest.raises(ExceptionGroup, match="2 of 3 actors failed") as caught:
            act()
        assert [error.args for error in caught.value.exceptions] == [(0,), (2,)]
    assert many.number.get_() == [0, 1, 2]


@pytest.mark.engines(skip=NO_THREAD)
def test_all_have_ended_before_an_error_is_raised(envs: list[Any], gate: Gate) -> None:
    envs[0].number = 5
    call = Call(lambda: each(envs).passto(fail_or_wait, gate))
    gate.wait_for_arrival()
    gate.wait_for_arrival()
    assert call.running
    gate.open()
    gate.open()
    with pytest.raises(ValueError, match="5"):
        call.result()


def fail_or_wait(env: Any, gate: Gate) -> None:
    if env.number == 5:
        raise ValueError(5)
    gate.park()


def test_what_is_for_all_and_cant_be_pickled_is_sent_to_nobody(envs: list[Any]) -> None:
    with pytest.raises(UnsendableError, match=r"args\[0\]") as caught:
        each(envs).step(threading.Lock())
    assert not hasattr(caught.value, "__notes__")
    assert each(envs).steps.get_() == [[], [], []]


@pytest.mark.parametrize("which", [0, 2])
def test_what_is_for_one_and_cant_be_pickled_fails_that_one(envs: list[Any], which: int) -> None:
    arguments: list[Any] = [1, 2, 3]
    arguments[which] = threading.Lock()
    with pytest.raises(UnsendableError, match=r"args\[0\]") as caught:
        each(envs).step.map(arguments)
    assert f"number {which} of the 3" in caught.value.__notes__[0]
    others = [[] if index == which else [index + 1] for index in range(3)]
    assert each(envs).steps.get_() == others


def test_a_part_of_one_of_them_travels_to_each_as_to_that_one_alone(envs: list[Any]) -> None:
    part = envs[1].number
    alone = [env.passto(kind_of, part) for env in envs]
    assert alone == ["Proxy", "int", "Proxy"]
    assert each(envs).passto(kind_of, part) == alone
    assert each(envs).kind.map([part, part, part]) == alone


def kind_of(env: Any, value: Any) -> Any:
    return env.kind(value)


def test_a_default_stands_for_those_that_do_not_listen(envs: list[Any]) -> None:
    nobody = Proxy(Env(9))
    many = each([envs[0], nobody, envs[2]])
    assert many.with_(default=-1).step(1) == [1, -1, 3]
    assert many.number.get_(default=None) == [0, None, 2]
    assert many.with_(default=-1).future_.step(1).result(20) == [1, -1, 3]
    acts: list[Callable[[], Any]] = [
        lambda: many.step(1),
        lambda: many.future_.step(1).result(20),
    ]
    for act in acts:
        with pytest.raises(NotListeningError) as caught:
            act()
        assert "number 1 of the 3" in caught.value.__notes__[0]
    with pytest.raises(NotListeningError):
        many.cast_.step(8)
    assert [env.steps[-1].get_() for env in (envs[0], envs[2])] == [8, 8]


@pytest.mark.engines(skip={"inline": "has no time of its own"})
def test_a_time_limit_is_for_each_and_the_others_results_are_not_lost(
    envs: list[Any], gate: Gate
) -> None:
    with pytest.raises(CallTimeoutError) as caught:
        each(envs).with_(timeout=0.2).wait_at.map([None, gate, None])
    assert "number 1 of the 3" in caught.value.__notes__[0]
    gate.open()
    assert each(envs).with_(timeout=20).step(1) == [1, 2, 3]


# ------------------------------------------------------------------ in the midst of it


@pytest.mark.engines(skip=NOT_KILLED)
def test_the_death_of_one_is_told_when_the_others_have_answered(
    envs: list[Any], launch: Launch, gate: Gate
) -> None:
    victim = Env.options(**launch).spawn(9)
    with Gate() as other:
        call = Call(lambda: each([*envs, victim]).wait_at.map([None, gate, None, other]))
        gate.wait_for_arrival()
        other.wait_for_arrival()
        victim.kill_()
        victim.join_(20)
        assert call.running, "one has not answered yet"
        gate.open()
        with pytest.raises(ActorDiedError) as caught:
            call.result()
    assert caught.value.maybe_executed
    assert "number 3 of the 4" in caught.value.__notes__[0]
    assert each(envs).step(1) == [1, 2, 3]
    with pytest.raises(ActorDiedError):
        each([*envs, victim]).step(2)
    assert each(envs).steps.get_() == [[1, 2]] * 3, "who is dead at first holds up no other"
    victim.stop_()


@pytest.mark.engines(skip={**NO_THREAD, **SLOW_CANCEL})
def test_ctrl_c_gives_all_calls_up(envs: list[Any], gate: Gate) -> None:
    parked = envs[1].future_.wait_at(gate)
    gate.wait_for_arrival()

    def interrupt() -> None:
        until_sent(envs[1], 2)
        until(lambda: envs[0].steps.passto(len) == envs[2].steps.passto(len) == 1)
        until_it_sleeps(threading.main_thread().ident or 0)
        os.kill(os.getpid(), signal.SIGINT)

    before = [open_entries(env) for env in (envs[0], envs[2])]
    call = Call(interrupt)
    with pytest.raises(KeyboardInterrupt):
        each(envs).step(1)
    call.result()
    gate.open()
    assert parked.result(20) == 1
    assert each(envs).steps.get_() == [[1], [], [1]], "that which had not begun never will"
    assert [open_entries(env) for env in (envs[0], envs[2])] == before


@pytest.mark.engines(skip={**NO_THREAD, **SLOW_CANCEL})
def test_cancelling_the_future_or_the_await_of_a_round_cancels_all_calls(
    envs: list[Any], gate: Gate
) -> None:
    parked = [env.future_.wait_at(gate) for env in envs]
    for _ in envs:
        gate.wait_for_arrival()
    many = each(envs)
    future = many.future_.step(1)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    assert future.cancel()
    assert future.cancelled()
    assert future.cancel(), "it stays so"
    with pytest.raises(cf.CancelledError):
        future.result(20)

    async def give_up() -> None:
        waiting = asyncio.ensure_future(many.async_.step(2))
        await asyncio.to_thread(until, lambda: open_calls(envs[2]) == 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(give_up())
    for _ in envs:
        gate.open()
    assert [one.result(20) for one in parked] == [0, 1, 2]
    assert many.steps.get_() == [[], [], []]
    done = many.future_.step(3)
    assert done.result(20) == [3, 4, 5]
    assert not done.cancel()


@pytest.mark.engines(skip=NO_THREAD)
def test_a_callback_of_the_future_of_a_round_is_told_and_a_failure_unseen_is_logged(
    envs: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Any] = []
    event = threading.Event()

    def tell(future: Any) -> None:
        told.append(future.exception())
        event.set()

    each(envs).future_.fail_if(1).add_done_callback(tell)
    assert event.wait(20)
    assert [error.args for error in told] == [(1,)]
    assert caplog.records == []
    future = each(envs).future_.fail_if(2)
    until(future.done)
    del future
    until(lambda: caplog.records)
    assert "nobody asked" in caplog.text
    caplog.clear()


@pytest.mark.engines(skip={"inline": "has no listener that another could reach"})
def test_what_a_round_of_an_actors_has_called_may_call_it_back(
    envs: list[Any], launch: Launch
) -> None:
    with Env.options(**launch).spawn(100) as leader:
        assert leader.with_(timeout=20).round(envs) == [100, 101, 102]


@pytest.mark.engines(skip={"inline": "has no listener that another could reach"})
def test_what_any_call_of_an_actors_round_needs_is_let_in_whichever_it_waits_for(
    envs: list[Any], launch: Launch
) -> None:
    with Env.options(**launch).spawn(100) as leader:
        for _ in range(3):
            assert leader.with_(timeout=20).lead(envs[1], envs[2]) == [101, 3]


@pytest.mark.engines(only=["fork"], reason="the delay is inherited by a fork alone")
def test_rounds_that_wait_for_each_other_are_a_ring_that_is_found(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    PROBE_DELAY.set(monkeypatch, 0.05)
    spawner = Env.options(**launch)
    with spawner.spawn(1) as one, spawner.spawn(2) as two, Gate() as gate:
        futures = [one.future_.round([two], gate), two.future_.round([one], gate)]
        for _ in futures:
            gate.wait_for_arrival()
        for _ in futures:
            gate.open()
        errors = [future.exception(20) for future in futures]
        assert [type(error) for error in errors if error] == [DeadlockError]


@pytest.mark.engines(only=["fork"], reason="one is enough")
def test_a_forked_child_makes_rounds_of_its_own(envs: list[Any]) -> None:
    many = each(envs)
    future = many.future_.wait_at(None)
    assert code_of(in_child(lambda: many.step(1) == [1, 2, 3])) == 0
    assert future.result(20) == [0, 1, 2]
    assert many.steps.get_() == [[1]] * 3
