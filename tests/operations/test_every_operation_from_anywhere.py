"""Every operation works for every caller: the owner, the object itself, threads, processes."""

import multiprocessing
import os
import pickle
import threading
import traceback
from typing import Any

import pytest

import remoteobj
from remoteobj import Proxy, current
from tests.conftest import NO_FORKS
from tests.internals import close_connection
from tests.operations.homes import APART, HOMES, SLOW_HOMES, WIRED, homes
from tests.operations.things import Thing, double


def tour(thing: Any, me: str) -> None:
    """Every operation, with state of its own, so that many may go round at once."""
    assert thing.give(1, "two", k=me) == ((1, "two"), {"k": me})
    setattr(thing, me, [1, 2, 3])
    mine = getattr(thing, me)
    assert mine.get_() == mine.__ == remoteobj.get(mine) == [1, 2, 3]
    mine[0] = me
    mine.append(4)
    assert mine[0].__ == me
    assert mine[1:].__ == [2, 3, 4]
    assert (me in mine, "no" in mine) == (True, False)
    assert len(mine) == 4
    assert bool(mine) is True
    assert list(mine) == [me, 2, 3, 4]
    del mine[0]
    assert mine.__ == [2, 3, 4]
    thing[me] = {"k": [me]}
    assert thing[me]["k"][0].__ == me
    del thing[me]["k"]
    assert not thing[me]
    thing[me] = 1
    thing[me] += 2
    assert thing[me] == 3 == 4 - (thing[me] >> 1)
    assert (thing[me] in (2, 3), f"{thing[me]:02d}", round(thing[me] / 2, 1)) == (True, "03", 1.5)
    assert (thing == thing.future_, {thing: me}[thing]) == (True, me)
    del thing[me]
    with pytest.raises(KeyError) as missing:
        thing[me].get_()
    assert missing.value.args == (me,)
    assert thing.passto(len) == len(thing) == 7
    assert thing.passto(double) == 10
    assert thing.passto(double, plus=1) == 11
    assert thing.passto(lambda obj, x: (obj.hidden, x, me), x=1) == (5, 1, me)
    assert list(thing.rows(40)) == list(range(40))
    assert list(iter(thing)) == ["x", "y"]
    assert ("inside" in thing, "outside" in thing) == (True, False)
    assert (thing.who(), thing.super.who()) == ("thing", "base")
    assert thing.chain().chain() is thing
    assert thing.attrs_("items", "__class__.__name__").__ == "dict"
    delattr(thing, me)
    with pytest.raises(AttributeError):
        mine.get_()


def tour_or_report(thing: Any, me: str) -> None:
    """In a child: exit code 1 and a traceback, where pytest can't see the failure."""
    try:
        tour(thing, me)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


@homes(*HOMES, *SLOW_HOMES)
def test_every_operation_works_for_the_owner(thing: Any) -> None:
    tour(thing, "owner")


def test_every_operation_works_inside_the_objects_own_process(thing: Any) -> None:
    def inside(_: Thing, proxy: Any) -> None:
        tour(proxy, "inside")

    thing.passto(inside, thing)


def in_threads(thing: Any, count: int) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(me: str) -> None:
        try:
            start.wait(10)
            for _ in range(3):
                tour(thing, me)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(f"thread{i}",)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@homes(*WIRED)
def test_every_operation_works_from_many_threads_at_once(thing: Any) -> None:
    in_threads(thing, 6)


def threads_or_report(thing: Any) -> None:
    try:
        in_threads(thing, 3)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def run_all(processes: list[Any]) -> None:
    for process in processes:
        process.start()
    codes = []
    for process in processes:
        process.join(20)
        codes.append(process.exitcode)
        process.kill()
        process.join()
        process.close()
    assert codes == [0] * len(processes)


@homes(*WIRED)
@pytest.mark.engines(skip=NO_FORKS)
def test_every_operation_works_from_other_processes_at_once(thing: Any) -> None:
    context = multiprocessing.get_context("fork")
    run_all(
        [
            *(context.Process(target=tour_or_report, args=(thing, f"p{i}")) for i in range(3)),
            context.Process(target=threads_or_report, args=(thing,)),
        ]
    )
    tour(thing, "owner")


@homes(*APART)
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_proxy_travels_to_processes_that_are_started_anew(thing: Any, method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    run_all([context.Process(target=tour_or_report, args=(thing, "other"))])


@homes(*APART)
def test_a_proxy_and_its_parts_travel_by_pickle(thing: Any) -> None:
    for proxy in (thing, thing.items["a"]):
        again = pickle.loads(pickle.dumps(proxy))
        assert type(again) is Proxy
        assert str(again).partition(" : ")[2] == str(proxy).partition(" : ")[2]
    assert pickle.loads(pickle.dumps(thing.items["a"]))[1]["b"].__ == 2
    close_connection(again)


@homes("fork", "thread", "inline")
def test_current_is_the_actor_for_its_own_code_alone(thing: Any) -> None:
    assert thing.passto(lambda obj: current().get_() is not None)
    with pytest.raises(RuntimeError, match="inside an actor"):
        current()


@homes("fork", "thread", "inline")
def test_whether_it_listens_is_known_in_every_thread(thing: Any) -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(thing.listening_), daemon=True)
    thread.start()
    thread.join(5)
    assert seen == [True]
