"""What becomes of a pool when a task is fatal: way of failing x moment, and the tasks beside it."""

import ctypes
import os
import signal
import sys
import threading
from concurrent.futures import BrokenExecutor, Future
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, CallTimeoutError, Pool, UnsendableError, options
from tests.internals import (
    have_workers_seated_when_they_are_dead,
    hold_reactor,
    is_awaited,
    look_for_stuck_tasks,
    seconds_stuck,
)
from tests.tools import until, until_gone

NEIGHBOURS = 6


class Boom(Exception):
    """Raised on purpose."""


def fail(how: str) -> None:
    if how == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "SIGSEGV":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        ctypes.string_at(0)
    if how == "os._exit":
        os._exit(7)
    if how == "hang":
        threading.Event().wait()
    raise Boom(how)


class FailsThere:
    """Fails when it is unpickled in another process."""

    def __init__(self, how: str, home: int) -> None:
        self.how, self.home = how, home

    def __reduce__(self) -> Any:
        return _made_there, (self.how, self.home)


def _made_there(how: str, home: int) -> None:
    if os.getpid() != home:
        fail(how)


class FailsWhenPickled:
    def __init__(self, how: str) -> None:
        self.how = how

    def __reduce__(self) -> Any:
        fail(self.how)


class FailsHere:
    """Raises when it is unpickled in the process that made the pool."""

    def __init__(self, home: int) -> None:
        self.home = home

    def __reduce__(self) -> Any:
        return _made_here, (self.home,)


def _made_here(home: int) -> None:
    if os.getpid() == home:
        raise Boom("here")


def take(argument: object) -> None:
    """The argument's unpickling is what fails."""


def lock_of(_: object) -> Any:
    return threading.Lock()


def double(number: int) -> int:
    return 2 * number


def pickled_by(how: str) -> object:
    return FailsWhenPickled(how)


def made_for(home: int) -> object:
    return FailsHere(home)


HOWS = ("SIGKILL", "SIGSEGV", "os._exit", "raise", "unpicklable", "hang")
DEATHS = ("SIGKILL", "SIGSEGV", "os._exit")
MOMENTS = ("argument", "running", "pickling", "unpickling")
LIMIT = 0.3


def submitted(pool: Pool[None], how: str, moment: str) -> tuple[Future[Any], type[BaseException]]:
    """The future of a task that fails in this way at this moment, and the error that is due."""
    home = os.getpid()
    fatal = CallTimeoutError if how == "hang" else Boom if how == "raise" else ActorDiedError
    if moment == "argument":
        if how == "unpicklable":
            return pool.submit(take, threading.Lock()), UnsendableError
        return pool.submit(take, FailsThere(how, home)), fatal
    if moment == "running" and how != "unpicklable":
        return pool.submit(fail, how), fatal
    if moment == "pickling" and how != "unpicklable":
        return pool.submit(pickled_by, how), UnsendableError if how == "raise" else fatal
    if moment == "unpickling":  # here, in the process whose pool it is: it can but raise
        return pool.submit(made_for, home), Boom
    return pool.submit(lock_of, 0), UnsendableError


# The fourth moment comes in the process whose pool it is: what happens there can but raise, or
# hang, which has a test of its own.
TABLE = [(how, moment) for how in HOWS for moment in MOMENTS if moment != "unpickling"]
TABLE.append(("raise", "unpickling"))


@pytest.mark.parametrize(("how", "moment"), TABLE)
def test_a_task_that_fails_is_the_only_one(how: str, moment: str) -> None:
    with options(start_method="fork", task_timeout=LIMIT if how == "hang" else None).pool(
        2
    ) as pool:
        before = [pool.submit(double, number) for number in range(NEIGHBOURS)]
        failing, expected = submitted(pool, how, moment)
        after = [pool.submit(double, number) for number in range(NEIGHBOURS)]
        for neighbours in (before, after):
            assert [one.result(20) for one in neighbours] == [2 * n for n in range(NEIGHBOURS)]
        assert type(failing.exception(20)) is expected
        assert pool.submit(double, 21).result(20) == 42


GO_ON = threading.Event()


class HangsHere:
    """Hangs when it is unpickled in the process that made the pool, until `GO_ON` is set."""

    def __init__(self, home: int) -> None:
        self.home = home

    def __reduce__(self) -> Any:
        return _waited_for, (self.home,)


def _waited_for(home: int) -> str:
    if os.getpid() == home:
        assert GO_ON.wait(20)
    return "at last"


@pytest.mark.parametrize("asked", [False, True], ids=["nobody asks", "somebody asks"])
def test_a_result_whose_unpickling_hangs_holds_up_no_other(asked: bool) -> None:
    GO_ON.clear()
    with options(start_method="fork").pool(2) as pool:
        hanging: list[Future[Any]] = [pool.submit(HangsHere, os.getpid()) for _ in range(3)]
        asking = threading.Thread(target=hanging[0].result)
        if asked:
            asking.start()
        for one in hanging:
            assert pool.submit(double, 21).result(20) == 42
            if asked:
                with pytest.raises(TimeoutError):
                    one.result(0.01)
        called = threading.Event()
        for function in (double, Fraction):  # whose result is plain data, or is not
            called.clear()
            pool.submit(function, 21).add_done_callback(lambda _: called.set())
            assert called.wait(20)
        assert list(pool.map(double, range(40))) == [2 * n for n in range(40)]
        assert not any(one.done() for one in hanging)
        GO_ON.set()
        assert [one.result(20) for one in hanging] == ["at last"] * 3
        if asked:
            asking.join()


def hold(gate: Any) -> None:
    gate.park()


def test_who_waits_for_a_task_for_so_long_has_the_outcome_of_the_worker_that_runs_it_at_last(
    gate: Any,
) -> None:
    """It was sent ahead to a worker that died before it began; its result is no plain data."""
    with options(start_method="fork").pool(1) as pool:
        pid = pool.submit(os.getpid).result(20)
        for number in range(50):  # so that its worker is given several at once
            assert pool.submit(double, number).result(20) == 2 * number
        fatal = pool.submit(hold, gate)
        gate.wait_for_arrival()
        found: list[Any] = []
        with hold_reactor():  # else it may be taken back first, since it waits behind another one
            ahead = pool.submit(Fraction, 1, 3)
            waiting = threading.Thread(target=lambda: found.append(ahead.result(20)))
            waiting.start()
            until(lambda: is_awaited(ahead))
            os.kill(pid, signal.SIGKILL)
            assert until_gone(pid, 10)
        waiting.join(10)
        assert found == [Fraction(1, 3)]
        assert isinstance(fatal.exception(20), ActorDiedError)


def write_and_die(path: str) -> None:
    note(path, 1, 1, "SIGKILL")


def test_what_a_dead_worker_had_begun_is_not_taken_back_although_nobody_has_noticed_its_death(
    tmp_path: Path,
) -> None:
    """Its claims end with it. It had ended the task before, whose answer nobody has read."""
    log = tmp_path / "log"
    log.touch()
    with options(start_method="fork").pool(1) as pool:
        pid = pool.submit(os.getpid).result(20)
        for number in range(50):  # so that its worker is given several at once
            assert pool.submit(double, number).result(20) == 2 * number
        with hold_reactor():
            before = pool.submit(double, 1)
            fatal = pool.submit(write_and_die, str(log))
            after = pool.submit(double, 2)
            assert until_gone(pid, 10)
            until(lambda: seconds_stuck(pool) > 0.01)
            look_for_stuck_tasks(pool)
        assert isinstance(fatal.exception(20), ActorDiedError)
        assert (before.result(20), after.result(20)) == (2, 4)
    assert log.read_text() == "1\n"


class Owner:
    """Has a pool, and so unpickles the results of its tasks."""

    def __init__(self) -> None:
        self.pool = options(start_method="fork").pool(2)

    def workers(self) -> list[int]:
        return [pid for pid in self.pool.each(os.getpid) if pid != os.getpid()]

    def ask(self, how: str) -> object:
        return self.pool.submit(FailsThere, how, 0).result()


@pytest.mark.parametrize("how", DEATHS)
def test_a_result_that_kills_who_unpickles_it_leaves_no_worker(how: str) -> None:
    """It is the owner of the pool who dies of that, and with it all that it has."""
    with pytest.raises(ActorDiedError), options(start_method="fork").spawn(Owner) as owner:
        workers = owner.workers()
        assert len(workers) == 2
        with pytest.raises(ActorDiedError, match="ask"):
            owner.ask(how)
        assert all(until_gone(worker, 10) for worker in workers)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_so_it_is_under_the_other_start_methods(method: str) -> None:
    with options(start_method=method).pool(1) as pool:
        dying, expected = submitted(pool, "SIGKILL", "running")
        assert pool.submit(double, 21).result(30) == 42
        error = dying.exception(20)
        assert isinstance(error, ActorDiedError)
        assert type(error) is expected
        assert error.signal is signal.SIGKILL
        assert error.running == "fail"
        assert error.maybe_executed


def note(path: str, number: int, fatal: int, how: str) -> int:
    """Leave word that this was run, and fail at one of them."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"%d\n" % number)
    os.close(fd)
    if number == fatal:
        fail(how)
    return -number


@pytest.mark.parametrize("how", [*DEATHS, "raise"])
@pytest.mark.parametrize("items", ["plain", "parcels"])
def test_an_item_of_a_map_fails_alone_and_nothing_runs_twice(
    how: str, items: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    log.touch()
    numbers: list[Any] = list(range(200))
    given = [[number] for number in numbers] if items == "parcels" else numbers

    def run(item: Any) -> int:
        return note(str(log), item[0] if items == "parcels" else item, 150, how)

    with options(start_method="fork").pool(2) as pool:
        results = pool.map(run, given)
        outcomes: list[Any] = []
        while len(outcomes) < len(numbers):
            try:
                outcomes.append(next(results))
            except (ActorDiedError, Boom) as exc:
                outcomes.append(type(exc))
        with pytest.raises(StopIteration):
            next(results)
    expected: list[Any] = [-number for number in numbers]
    expected[150] = Boom if how == "raise" else ActorDiedError
    assert outcomes == expected
    assert sorted(map(int, log.read_text().split())) == numbers


def pickled_or_dead(item: Any) -> Any:
    return FailsWhenPickled("SIGKILL") if item == [7] else item


@pytest.mark.parametrize("moment", ["argument", "pickling"])
def test_an_item_of_a_map_fails_alone_when_it_is_unpickled_or_its_result_pickled(
    moment: str,
) -> None:
    items: list[Any] = [[number] for number in range(20)]
    expected = [*items[:7], ActorDiedError, *items[8:]]
    if moment == "argument":
        items[7] = FailsThere("SIGKILL", os.getpid())
    with options(start_method="fork").pool(1) as pool:
        results = pool.map(pickled_or_dead, items, chunksize=10)
        found: list[Any] = []
        while len(found) < 20:
            try:
                found.append(next(results))
            except ActorDiedError as exc:
                found.append(type(exc))
    assert found == expected


class FailsAtFirst:
    """Fails in the first of all `__init__`, and in no other."""

    def __init__(self, how: str, path: str) -> None:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        fail(how)

    def answer(self) -> int:
        return 42


@pytest.mark.parametrize("how", [*DEATHS, "raise", "hang"])
def test_a_worker_that_is_not_born_is_replaced(how: str, tmp_path: Path) -> None:
    chosen = options(start_method="fork", spawn_timeout=LIMIT if how == "hang" else 20.0)
    with chosen.pool(2, FailsAtFirst, how, str(tmp_path / "flag")) as pool:
        assert [pool.submit(FailsAtFirst.answer).result(20) for _ in range(4)] == [42] * 4


def test_what_can_not_be_sent_to_a_worker_makes_no_pool() -> None:
    with pytest.raises(UnsendableError):
        wrong: Any = threading.Lock()
        options(start_method="spawn").pool(2, FailsAtFirst, wrong, "")


class NeverBorn:
    def __init__(self, how: str) -> None:
        fail(how)


@pytest.mark.parametrize(("how", "cause"), [("raise", Boom), ("SIGKILL", ActorDiedError)])
def test_three_workers_in_a_row_that_are_not_born_break_the_pool(
    how: str, cause: type[BaseException]
) -> None:
    with options(start_method="fork").pool(1, NeverBorn, how) as pool:
        try:
            queued = pool.submit(repr)
        except BrokenExecutor as exc:
            error: BaseException | None = exc
        else:
            error = queued.exception(20)
        assert isinstance(error, BrokenExecutor)
        assert type(error.__cause__) is cause
        with pytest.raises(BrokenExecutor, match="3 workers in a row could not be started"):
            pool.submit(repr)


class BornEveryThirdTime:
    """Its first constructor is fine, and then two in three fail."""

    def __init__(self, path: str) -> None:
        with open(path, "ab") as starts:
            starts.write(b"!")
            number = starts.tell()
        if number % 3 != 1:
            raise Boom(number)

    def leave(self) -> None:
        os._exit(7)

    def answer(self) -> int:
        return 42


def test_starts_that_fail_break_no_pool_if_others_between_them_do_not(tmp_path: Path) -> None:
    with options(start_method="fork").pool(1, BornEveryThirdTime, str(tmp_path / "log")) as pool:
        for _ in range(3):
            assert pool.submit(BornEveryThirdTime.answer).result(20) == 42
            with pytest.raises(ActorDiedError):
                pool.submit(BornEveryThirdTime.leave).result(20)


def test_a_worker_that_dies_before_it_has_its_seat_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have_workers_seated_when_they_are_dead(monkeypatch)
    with options(start_method="fork").pool(1, NeverBorn, "SIGKILL") as pool:
        with pytest.raises(BrokenExecutor):
            pool.submit(repr).result(20)


def exit_when(gate: Any) -> None:
    def wait() -> None:
        gate.park()
        os._exit(7)

    threading.Thread(target=wait, daemon=True).start()


@pytest.mark.parametrize("how", DEATHS)
def test_a_worker_that_dies_between_tasks_costs_none(how: str, gate: Any) -> None:
    with options(start_method="fork").pool(1) as pool:
        pid = pool.submit(os.getpid).result(20)
        if how == "os._exit":
            pool.submit(exit_when, gate).result(20)
            gate.wait_for_arrival()
            gate.open()
        else:
            os.kill(pid, getattr(signal, how))
        assert until_gone(pid, 10.0)
        futures = [pool.submit(double, number) for number in range(NEIGHBOURS)]
        assert [one.result(20) for one in futures] == [2 * n for n in range(NEIGHBOURS)]
        assert pool.submit(os.getpid).result(20) != pid


def test_a_task_that_kills_all_workers_at_once_fails_and_the_pool_goes_on() -> None:
    with options(start_method="fork").pool(3) as pool:
        pids = pool.each(os.getpid)
        barrier = pool.submit(kill_all, pids)
        assert type(barrier.exception(20)) is ActorDiedError
        assert not set(pool.each(os.getpid)) & set(pids)


def kill_all(pids: list[int]) -> None:
    for pid in sorted(pids, key=os.getpid().__eq__):
        os.kill(pid, signal.SIGKILL)


def test_many_deaths_in_a_row_cost_their_own_items_alone() -> None:
    def run(number: int) -> int:
        if number % 20 == 7:
            fail("SIGKILL")
        return number

    with options(start_method="fork").pool(3) as pool:
        results = pool.map(run, range(120))
        outcomes: list[int | None] = []
        while len(outcomes) < 120:
            try:
                outcomes.append(next(results))
            except ActorDiedError:
                outcomes.append(None)
    assert outcomes == [None if number % 20 == 7 else number for number in range(120)]
