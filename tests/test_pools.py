"""Pools: an executor whose workers are actors."""

import asyncio
import concurrent.futures as cf
import gc
import itertools
import operator
import os
import pickle
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    NotListeningError,
    Pool,
    Proxy,
    RemoteError,
    current,
    options,
    remote,
    spawn,
)
from remoteobj.testing import Gate
from tests import leaks
from tests.forks import code_of, in_child
from tests.tools import counted, is_in, until, until_gone

FORK = options(start_method="fork")


class Boom(Exception):
    """Raised on purpose."""


@remote
class Model:
    """A model, say, that takes long to load."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.calls = 0

    def embed(self, text: str, more: int = 0) -> int:
        self.calls += 1
        return len(text) * self.scale + more

    def me(self) -> "Model":
        return self

    def count(self, n: int) -> Iterator[int]:
        yield from range(self.scale, self.scale + n)

    def own_scale(self) -> Any:
        proxy: Any = current()
        return proxy.scale.get_()


def double(number: int) -> int:
    return 2 * number


def odd_fails(number: int) -> int:
    if number % 2:
        raise Boom(number)
    return number


def park(gate: Gate) -> int:
    gate.park()
    return os.getpid()


def parked_once(number: int, gate: Gate | None) -> int:
    if gate is not None:
        gate.park()
    return number


def test_a_pool_is_an_executor() -> None:
    with FORK.pool(2) as pool:
        assert isinstance(pool, cf.Executor)
        assert len(pool) == 2
        assert pool.submit(pow, 2, exp=3).result() == 8
        futures = [pool.submit(double, number) for number in range(50)]
        assert {one.result() for one in cf.as_completed(futures)} == set(range(0, 100, 2))
        done, open_ones = cf.wait([pool.submit(double, 1) for _ in range(3)], timeout=20)
        assert (len(done), open_ones) == (3, set())
        offset = 10
        assert pool.submit(lambda number: number + offset, 1).result() == 11
        assert isinstance(pool.submit(odd_fails, 1).exception(), Boom)
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(double, 1)


def test_without_a_number_it_has_as_many_workers_as_processors_may_be_used() -> None:
    with Pool() as pool:
        usable = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))(0)
        assert len(pool) == len(usable) == len(set(pool.each(os.getpid)))


@pytest.mark.parametrize("n", [0, -1])
def test_a_pool_of_none_is_refused(n: int) -> None:
    with pytest.raises(ValueError, match="needs workers"):
        Pool(n)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"engine": "inline"}, "a process or a thread each"),
        ({"checkpoint_path": "state"}, "for one actor"),
        ({"task_timeout": 0.0}, "task_timeout must be some seconds"),
        ({"max_tasks_per_worker": 0}, "at least 1"),
    ],
)
def test_options_that_no_pool_can_have_are_refused(wrong: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        options(**wrong).pool(1)


def test_a_worker_is_replaced_by_the_pool_and_does_not_restart_itself() -> None:
    with FORK.options(restart="always").pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        os.kill(pid, signal.SIGKILL)
        until(lambda: pool.submit(os.getpid).exception(20) is None)
        assert pool.submit(os.getpid).result() != pid


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ("2", "n"),
        (2.5, "n"),
        (1.5, "max_tasks_per_worker"),
        ("5", "task_timeout"),
    ],
)
def test_a_number_of_the_wrong_type_makes_no_pool(wrong: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"^{name} must be a"):
        Pool(wrong) if name == "n" else options(**{name: wrong}).pool(1)


def test_a_factory_may_have_arguments_of_any_name() -> None:
    for make in (Pool, FORK.pool):
        with make(1, dict, n=2, factory=3, self=4) as pool:
            assert pool.submit(sorted).result(20) == ["factory", "n", "self"]
        with make(n=1) as pool:
            assert len(pool) == 1


def test_arguments_without_a_factory_are_refused() -> None:
    wrong: Any = Pool
    with pytest.raises(TypeError, match="without a factory"):
        wrong(2, a=1)


@pytest.mark.parametrize("engine", ["process", "thread"])
def test_each_worker_has_an_object_of_its_own(engine: str) -> None:
    with Model.options(engine=engine).pool(2, 3) as pool:
        assert pool.submit(Model.embed, "four", more=1).result() == 13
        assert list(pool.map(Model.embed, ["a", "bb"])) == [3, 6]
        assert pool.each(Model.own_scale) == [3, 3]
        assert pool.each(setattr, "scale", 5) == [None, None]
        assert pool.each(operator.attrgetter("scale")) == [5, 5]


def test_a_task_may_return_the_object_itself_or_a_stream() -> None:
    with FORK.pool(1, Model, 3) as pool:
        me: Any = pool.submit(Model.me).result()
        assert type(me) is Proxy
        assert me.embed("ab") == 6
        assert list(pool.submit(Model.count, 3).result()) == [3, 4, 5]


# --- map -----------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_map_gives_the_results_in_order(chunksize: int | None) -> None:
    with FORK.pool(2) as pool:
        results = pool.map(operator.add, range(2000), itertools.repeat(1), chunksize=chunksize)
        assert list(results) == list(range(1, 2001))
        floats_and_texts = [1.5, "a", None, 2**70, -1, True, (1, [2]), {"k": 1}]
        assert list(pool.map(lambda x: x, floats_and_texts)) == floats_and_texts
        assert list(pool.map(double, [])) == []
        arrays = list(pool.map(np.ones, [10, 100_000, 3]))
        assert [array.sum() for array in arrays] == [10, 100_000, 3]


def test_map_reads_ahead_so_far_and_no_farther() -> None:
    read: list[int] = []

    with FORK.pool(2) as pool:
        results = pool.map(double, counted(read), buffersize=10)
        assert len(read) == 10
        assert list(itertools.islice(results, 100)) == list(range(0, 200, 2))
        assert len(read) <= 120
        endless = pool.map(double, itertools.count())
        assert list(itertools.islice(endless, 5000)) == list(range(0, 10_000, 2))


def test_what_fails_in_a_map_is_that_item_alone() -> None:
    with FORK.pool(2) as pool:
        list(pool.map(odd_fails, range(0, 4000, 2)))  # so that many travel together
        results = pool.map(odd_fails, range(100))
        for number in range(100):
            if number % 2:
                with pytest.raises(Boom) as caught:
                    next(results)
                assert caught.value.args == (number,)
                assert caught.traceback[-1].name == "odd_fails"
            else:
                assert next(results) == number
        with pytest.raises(Boom):
            for _ in pool.map(odd_fails, range(10)):
                pass


def test_what_the_input_raises_comes_where_it_was_raised() -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise Boom("the input")

    with FORK.pool(2) as pool:
        results = pool.map(double, numbers())
        assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
        with pytest.raises(Boom, match="the input"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)


def test_an_item_that_can_not_be_pickled_fails_alone() -> None:
    items = [1, threading.Lock(), 3]
    with FORK.pool(2) as pool:
        results = pool.map(repr, items)
        assert next(results) == "1"
        with pytest.raises(TypeError, match="lock"):
            next(results)
        assert next(results) == "3"


def stops(number: int) -> int:
    if number == 3:
        raise StopIteration
    return number


def test_a_function_that_raises_stop_iteration_does_not_end_the_map() -> None:
    with FORK.pool(1) as pool:
        results = pool.map(stops, range(6), chunksize=6)
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(RemoteError, match="StopIteration"):
            next(results)
        assert list(results) == [4, 5]


def test_unordered_results_come_as_they_are_done(gate: Gate) -> None:
    with FORK.pool(2) as pool:
        results = pool.map_unordered(parked_once, range(20), [gate, *[None] * 19])
        others = [next(results) for _ in range(19)]
        assert sorted(others) == list(range(1, 20))
        gate.open()
        assert list(results) == [0]


def test_a_map_has_a_time_limit_for_all_its_results(gate: Gate) -> None:
    with FORK.pool(1) as pool:
        for many in (pool.map, pool.map_unordered):
            results = many(parked_once, [1, 2], [gate, None], timeout=0.1)
            gate.wait_for_arrival()
            with pytest.raises(TimeoutError, match=r"0\.1 s after"):
                next(results)
            gate.open()


def test_a_map_over_a_list_goes_on_although_the_pool_is_shut_down() -> None:
    with FORK.pool(2) as pool:
        results = pool.map(double, list(range(3000)))
        endless = pool.map(double, itertools.count(), buffersize=20)
    assert list(results) == list(range(0, 6000, 2))
    assert list(itertools.islice(endless, 20)) == list(range(0, 40, 2))
    with pytest.raises(RuntimeError, match="after shutdown"):
        next(endless)


@pytest.mark.parametrize("name", ["chunksize", "buffersize"])
def test_a_map_of_none_at_once_is_refused(name: str) -> None:
    with FORK.pool(1) as pool:
        for number, error in ((0, ValueError), (2.5, TypeError)):
            wrong: Any = {name: number}
            with pytest.raises(error, match=f"^{name} must be"):
                pool.map(double, [1], **wrong)
        with pytest.raises(TypeError, match="at least one iterable"):
            pool.map(double)


def test_a_bar_shows_how_far_a_map_is(capsys: pytest.CaptureFixture[str]) -> None:
    with FORK.pool(2) as pool:
        assert len(list(pool.map(double, range(100), progress=True))) == 100
    assert "100/100" in capsys.readouterr().err


def test_a_bar_needs_no_length_nor_order(capsys: pytest.CaptureFixture[str]) -> None:
    with FORK.pool(2) as pool:
        results = pool.map_unordered(double, iter(range(100)), progress=True)
        assert sorted(results) == list(range(0, 200, 2))
    assert "100it" in capsys.readouterr().err


def test_without_tqdm_a_bar_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with FORK.pool(1) as pool:
        with pytest.raises(ModuleNotFoundError, match="remoteobj\\[progress\\]"):
            pool.map(double, [1], progress=True)


# --- each, limits --------------------------------------------------------------------------


def test_each_is_done_by_every_worker_also_by_one_that_is_busy(gate: Gate) -> None:
    with FORK.pool(2) as pool:
        busy = pool.submit(park, gate)
        gate.wait_for_arrival()
        threading.Timer(0.05, gate.open).start()
        pids = pool.each(os.getpid)
        assert len(set(pids)) == 2
        assert busy.result() in pids
        with pytest.raises(ExceptionGroup) as caught:
            pool.each(odd_fails, 1)
        assert "worker 1 of" in str(caught.value.exceptions[1].__notes__)


def test_long_tasks_do_not_wait_behind_another_while_a_worker_is_free(gate: Gate) -> None:
    with FORK.pool(2) as pool:
        for _ in range(3):
            cf.wait([pool.submit(parked_once, number, None) for number in range(200)])
        parked = pool.submit(parked_once, -1, gate)
        short = [pool.submit(parked_once, number, None) for number in range(300)]
        assert [one.result(20) for one in short] == list(range(300))
        assert not parked.done()
        gate.open()
        assert parked.result(20) == -1


def test_a_task_that_takes_too_long_ends_alone() -> None:
    with FORK.options(task_timeout=0.3).pool(2) as pool:
        pids = set(pool.each(os.getpid))
        waits = pool.submit(time.sleep, 60)
        assert [pool.submit(double, 4).result(20) for _ in range(3)] == [8] * 3
        error = waits.exception(20)
        assert type(error) is CallTimeoutError
        assert set(pool.each(os.getpid)) == pids  # it was interrupted, and its worker goes on


def stubborn() -> None:
    while True:
        try:
            while True:
                time.sleep(0.01)
        except BaseException:
            pass


def test_a_task_that_can_not_be_interrupted_loses_its_worker() -> None:
    with FORK.options(task_timeout=0.2).pool(1) as pool:
        pid = pool.submit(os.getpid).result()
        assert type(pool.submit(stubborn).exception(20)) is CallTimeoutError
        assert pool.submit(os.getpid).result(20) != pid


def test_workers_are_renewed_after_so_many_tasks() -> None:
    with FORK.options(max_tasks_per_worker=2).pool(1) as pool:
        pids = [pool.submit(os.getpid).result(20) for _ in range(6)]
    assert [len(set(pids[k : k + 2])) for k in (0, 2, 4)] == [1, 1, 1]
    assert len(set(pids)) == 3


# --- cancelling, and the end ---------------------------------------------------------------


def test_what_is_queued_can_be_cancelled_and_what_runs_can_not(gate: Gate) -> None:
    with FORK.pool(1) as pool:
        runs = pool.submit(park, gate)
        gate.wait_for_arrival()
        queued = [pool.submit(double, number) for number in range(10_000)]
        assert not runs.cancel()
        assert runs.running()
        assert all(one.cancel() for one in queued)
        assert cf.wait(queued, timeout=20).not_done == set()
        last = pool.submit(double, 1)
        gate.open()
        assert last.result(20) == 2
        with pytest.raises(cf.CancelledError):
            queued[0].result()


def test_shutdown_waits_and_may_cancel_what_is_queued(gate: Gate) -> None:
    pool = FORK.pool(1)
    runs = pool.submit(park, gate)
    gate.wait_for_arrival()
    queued = [pool.submit(double, 1) for _ in range(5)]
    pool.shutdown(wait=False, cancel_futures=True)
    assert all(one.cancelled() for one in queued)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(double, 1)
    gate.open()
    pid = runs.result(20)
    pool.shutdown()
    until_gone(pid, 0.1)
    pool.shutdown()


def test_a_pool_that_nobody_has_does_what_it_was_given_and_ends() -> None:
    pool = FORK.pool(2)
    pids = pool.each(os.getpid)
    futures = [pool.submit(double, number) for number in range(100)]
    died = weakref.ref(pool)
    del pool
    gc.collect()
    assert died() is None
    assert [one.result(20) for one in futures] == list(range(0, 200, 2))
    for pid in pids:
        until_gone(pid, 20)
    until(lambda: not [one for one in threading.enumerate() if "remoteobj-" in one.name])


def test_results_keep_their_pool_alive() -> None:
    results = FORK.pool(1).map(double, itertools.count())
    gc.collect()
    assert list(itertools.islice(results, 1000)) == list(range(0, 2000, 2))
    del results
    gc.collect()
    until(lambda: not [one for one in threading.enumerate() if "remoteobj-" in one.name])


def test_a_fork_has_no_part_in_the_pool(gate: Gate) -> None:
    with FORK.pool(1) as pool:
        runs = pool.submit(park, gate)
        queued = pool.submit(double, 1)

        def refused() -> bool:
            for act in (lambda: pool.submit(double, 1), queued.result, runs.result):
                try:
                    act()
                except NotListeningError:
                    continue
                return False
            pool.shutdown()
            return True

        assert code_of(in_child(refused)) == 0
        gate.open()
        assert queued.result(20) == 2


def test_a_pool_can_not_be_pickled() -> None:
    with FORK.pool(1) as pool, pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(pool)


def test_what_ctrl_c_ends_is_cancelled_whether_it_has_begun_or_not(gate: Gate) -> None:
    tasks: list[cf.Future[int]] = []
    with pytest.raises(KeyboardInterrupt), FORK.pool(1) as pool:
        tasks.append(pool.submit(park, gate))
        gate.wait_for_arrival()
        tasks.append(pool.submit(double, 1))
        raise KeyboardInterrupt
    for one in tasks:
        assert one.done()
        assert one.cancelled()
        with pytest.raises(cf.CancelledError):
            one.exception()
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(wrapped(one))


async def wrapped(future: cf.Future[Any]) -> Any:
    return await asyncio.wrap_future(future)


@pytest.mark.parametrize("ends", [False, True], ids=["a task", "the end"])
def test_ctrl_c_is_heard_also_where_it_wakes_nobody(gate: Gate, ends: bool) -> None:
    main = threading.get_ident()

    def press() -> None:
        within = Pool.shutdown if ends else cf.Future.exception
        until(lambda: is_in(main, within) and is_in(main, threading.Condition.wait))
        # To this thread, so that the main one sleeps on, as where it comes just before.
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with FORK.pool(1) as pool:
        tasks = [pool.submit(park, gate), pool.submit(double, 1)]
        gate.wait_for_arrival()
        presser = threading.Thread(target=press)
        with pytest.raises(KeyboardInterrupt):
            presser.start()
            pool.shutdown() if ends else tasks[1].result()
        presser.join()
        gate.open()


def test_ctrl_c_ends_a_map_and_its_pool(gate: Gate) -> None:
    def press() -> None:
        gate.wait_for_arrival()
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    with pytest.raises(KeyboardInterrupt):
        with FORK.pool(2) as pool:
            presser.start()
            list(pool.map(parked_once, range(100), itertools.repeat(gate)))
    presser.join()


# --- among others --------------------------------------------------------------------------


def test_an_event_loop_runs_functions_in_a_pool() -> None:
    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        calls = [loop.run_in_executor(pool, double, number) for number in range(20)]
        return await asyncio.gather(*calls)

    with FORK.pool(2) as pool:
        assert asyncio.run(main()) == list(range(0, 40, 2))


def test_a_bar_of_another_library_goes_around_futures_and_results() -> None:
    class Bar(pytest.importorskip("tqdm").tqdm):  # type: ignore[misc]
        monitor_interval = 0  # it needs no thread, which would be left

    Bar.set_lock(threading.RLock())  # nor a lock between processes
    with FORK.pool(2) as pool:
        futures = [pool.submit(double, number) for number in range(20)]
        done = Bar(cf.as_completed(futures), total=20, disable=True)
        assert {one.result() for one in done} == set(range(0, 40, 2))
        assert list(Bar(pool.map(double, range(20)), disable=True)) == list(range(0, 40, 2))


def test_callbacks_may_submit_the_next_tasks() -> None:
    """So does joblib: each batch that is done brings the next one."""
    batches = iter([range(k, k + 10) for k in range(0, 200, 10)])
    found: list[list[int]] = []
    all_done = threading.Event()

    def submit_next(done: cf.Future[list[int]] | None = None) -> None:
        if done is not None:
            found.append(done.result())
        if (batch := next(batches, None)) is not None:
            pool.submit(lambda numbers: list(map(double, numbers)), batch).add_done_callback(
                submit_next
            )
        elif len(found) == 20:
            all_done.set()

    with FORK.pool(2) as pool:
        submit_next()
        submit_next()
        assert all_done.wait(20)
    assert sorted(itertools.chain(*found)) == list(range(0, 400, 2))


def sum_by_a_pool(count: int) -> int:
    with Pool(2) as pool:
        return sum(pool.map(double, range(count)))


class HasPool:
    """An actor that has workers."""

    def __init__(self) -> None:
        self.pool = Pool(2)

    def sum(self, count: int) -> int:
        return sum(self.pool.map(double, range(count)))


def test_a_task_and_an_actor_may_have_pools() -> None:
    with FORK.pool(1) as pool:
        assert pool.submit(sum_by_a_pool, 10).result(20) == 90
    with FORK.spawn(HasPool) as actor:
        assert actor.sum(10) == 90


def test_a_task_may_be_given_a_proxy() -> None:
    with spawn(list, [1]) as numbers, FORK.pool(1) as pool:
        assert pool.submit(lambda proxy: proxy.append(2), numbers).result(20) is None
        assert list(numbers) == [1, 2]


def test_a_pool_that_was_shut_down_has_let_go_of_what_it_shared_with_its_workers() -> None:
    """Also with one that died, and while somebody has the pool."""

    def shared() -> list[str]:
        return [what for _, what in leaks.list_descriptors() if "/tasks-" in what]

    gc.disable()  # which would find what nobody has let go of
    try:
        pool = FORK.pool(2)
        assert pool.submit(abs, -1).result(20) == 1
        assert isinstance(pool.submit(os._exit, 1).exception(20), ActorDiedError)
        pool.shutdown()
        assert shared() == []
        assert [one for one in leaks.list_mappings() if "/tasks-" in one] == []
    finally:
        gc.enable()


AT_EXIT = """
import os, sys, time
from remoteobj import options

def write(number):
    os.write(1, b".")

pool = options(start_method="fork", stop_timeout={timeout}, daemon={daemon}).pool(2)
for number in range({count}):
    pool.submit({task}, number)
"""


def test_the_end_of_the_program_waits_for_what_is_queued(script: Any) -> None:
    done = script(AT_EXIT.format(timeout=10, daemon=True, count=500, task="write")).finish()
    assert (done.code, done.out.count(".")) == (0, 500)


def test_where_workers_are_no_daemons_it_waits_as_long_as_the_tasks_take(script: Any) -> None:
    slowly = "lambda number: [time.sleep(0.15), write(number)]"
    done = script(AT_EXIT.format(timeout=0.01, daemon=False, count=4, task=slowly)).finish()
    assert (done.code, done.out.count(".")) == (0, 4)


def test_it_does_not_wait_for_ever(script: Any) -> None:
    begun = time.monotonic()
    source = AT_EXIT.format(timeout=0.3, daemon=True, count=5, task="lambda _: time.sleep(3600)")
    assert script(source).finish().code == 0
    assert time.monotonic() - begun < 15
