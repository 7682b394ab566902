"""One outcome for every call, and nothing run twice, whenever the actor is killed; and no leaks.

What an actor did is in a file to which it appends: that stays, however it dies.
"""

import gc
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from remoteobj import ActorDiedError, NotListeningError, remote
from remoteobj.testing import Gate
from tests import leaks
from tests.conftest import Launch
from tests.internals import Moment, at_next, until_sent
from tests.tools import Call, Scripts, finish, start

CALLS = 1000
KILLS = 20
LINE = 9


@remote
class Scribe:
    """Appends each of its executions to a file, in one write, as the first thing it does."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.count = 0

    def execute(self, number: int) -> int:
        os.write(self.fd, b"%8d\n" % number)
        self.count += 1
        if self.count == CALLS:
            time.sleep(60)  # so that no kill can come too late to show anything
        return -number


def executed(path: Path) -> Counter[int]:
    return Counter(map(int, path.read_text().split()))


def kill_after(pid: int, path: str, count: int) -> None:
    """Kill a process once it has executed so many calls, wherever it is then."""
    while os.stat(path).st_size < LINE * count:
        pass
    os.kill(pid, signal.SIGKILL)


def submitted(make: Callable[[], Future[int]]) -> Future[int] | BaseException:
    """The future of a call, or the error that stands for it where there is nobody left."""
    try:
        return make()
    except (ActorDiedError, NotListeningError) as exc:
        return exc


def error_of(future: Future[int] | BaseException, number: int) -> BaseException | None:
    """How a call ended: None for its value, which must be its own."""
    if isinstance(future, BaseException):
        return future
    error = future.exception(timeout=10)
    if error is None:
        assert future.result() == -number
    return error


def check_outcomes(errors: list[BaseException | None], ran: Counter[int]) -> Counter[str]:
    """Compare what the callers were told with what was done."""
    kinds: Counter[str] = Counter()
    for number, error in enumerate(errors):
        assert ran[number] <= 1, f"call {number} was executed {ran[number]} times"
        if error is None:
            assert ran[number] == 1, f"call {number} has a value, and was not executed"
            kinds["ok"] += 1
        elif isinstance(error, ActorDiedError) and error.maybe_executed:
            kinds["maybe"] += 1
        else:
            assert isinstance(error, (ActorDiedError, NotListeningError)), repr(error)
            assert ran[number] == 0, f"call {number} was executed, and its caller told it was not"
            kinds["not executed"] += 1
    assert ran.keys() <= set(range(len(errors)))
    return kinds


def count_told(told: Counter[int], number: int) -> Callable[[object], None]:
    def tell(_: object) -> None:
        told[number] += 1

    return tell


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_kill_gives_each_of_a_thousand_calls_in_flight_one_outcome_that_is_true(
    seed: int, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    path = tmp_path / "executed"
    scribe = Scribe.options(start_method="fork").spawn(str(path))
    # A process, since a thread would hardly run beside the one that makes the calls.
    killer = start("fork", kill_after, scribe.pid_, str(path), rng.randrange(CALLS))
    told: Counter[int] = Counter()
    futures = []
    for number in range(CALLS):
        future = submitted(partial(scribe.future_.execute, number))
        if isinstance(future, Future) and number % 2:  # half: who has callbacks goes another way
            future.add_done_callback(count_told(told, number))
        futures.append(future)
    errors = [error_of(future, number) for number, future in enumerate(futures)]
    assert finish(killer) == 0
    scribe.stop_()
    kinds = check_outcomes(errors, executed(path))
    assert sum(kinds.values()) == CALLS
    assert kinds["maybe"] <= 1, "of one connection the actor runs one call at a time"
    assert kinds["ok"] < CALLS
    # The last callbacks may be about to run in the reactor, which ends when they have.
    for thread in threading.enumerate():
        if "reactor" in thread.name:
            thread.join(10)
    watched = {n for n, one in enumerate(futures) if n % 2 and isinstance(one, Future)}
    assert told == Counter(dict.fromkeys(watched, 1))


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_under_many_threads_that_wait_tells_each_the_truth(
    seed: int, tmp_path: Path
) -> None:
    """Sixteen threads share a connection, so that at a kill sixteen calls are on their way."""
    rng = random.Random(seed)
    path = tmp_path / "executed"
    scribe = Scribe.options(start_method="fork").spawn(str(path))
    errors: list[BaseException | None] = [None] * CALLS
    done: Counter[int] = Counter()

    def talk(numbers: range) -> None:
        for number in numbers:
            try:
                assert scribe.execute(number) == -number
            except Exception as exc:
                errors[number] = exc.with_traceback(None)  # it leads here, and to the handle
            done[number] += 1

    killer = start("fork", kill_after, scribe.pid_, str(path), rng.randrange(CALLS))
    threads = [
        threading.Thread(target=talk, args=(range(who, CALLS, 16),), name=f"talker-{who}")
        for who in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert finish(killer) == 0
    scribe.stop_()
    kinds = check_outcomes(errors, executed(path))
    assert done == Counter(range(CALLS))
    assert kinds["maybe"] <= 1
    assert kinds["ok"] < CALLS


# ------------------------------------------------------------------ SIGTERM


def sigterm_at(_: object, moment: Moment) -> None:
    """Have a SIGTERM come just before this process does that for the next time."""
    at_next(moment, before=lambda: os.kill(os.getpid(), signal.SIGTERM))


@pytest.mark.parametrize("moment", ["send a reply", "write"])
def test_what_sigterm_cuts_off_is_not_told_that_it_was_not_executed(
    moment: Moment, tmp_path: Path, gate: Gate
) -> None:
    path = tmp_path / "executed"
    scribe = Scribe.options(start_method="fork").spawn(str(path))
    parked = scribe.future_.passto(wait_at, gate)
    gate.wait_for_arrival()
    cut_off = scribe.future_.passto(sigterm_at, moment)
    futures = [scribe.future_.execute(number) for number in range(10)]
    until_sent(scribe, 12)
    gate.open()
    errors = [future.exception(timeout=10) for future in [parked, cut_off, *futures]]
    scribe.stop_()
    check_outcomes(errors[2:], executed(path))
    assert errors[0] is None
    assert errors[1] is None or getattr(errors[1], "maybe_executed", False)


def wait_at(_: object, gate: Gate) -> None:
    gate.park()


def test_a_stop_by_another_thread_leaves_the_error_of_a_call_what_it_is(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = Scribe.options(start_method="fork").spawn(str(tmp_path / "executed"))
    parked = scribe.future_.passto(wait_at, gate)
    gate.wait_for_arrival()
    scribe.kill_()

    stops: list[Call] = []
    at_next(
        "read the last stacks",
        before=lambda: stops.append(Call(scribe.stop_)),
        monkeypatch=monkeypatch,
    )
    error = parked.exception(timeout=10)
    stops[0].wait()
    if isinstance(error, OSError):
        raise OSError(str(error))  # a new one: the other leads to the handle
    assert isinstance(error, ActorDiedError)


def test_a_stop_by_another_thread_while_a_big_array_is_sent_ends_the_call_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scribe = Scribe.options(start_method="fork").spawn(str(tmp_path / "executed"))

    def stop() -> None:
        Call(scribe.stop_).wait()

    at_next("pass a descriptor", before=stop, monkeypatch=monkeypatch)
    what = None
    try:
        scribe.execute(bytes(2_000_000))
    except Exception as exc:
        what = type(exc)
    if what is KeyError:
        raise KeyError  # a new one: the other leads to the handle
    assert what in (ActorDiedError, NotListeningError)


# ------------------------------------------------------------------ nothing stays


def held(places: list[Path]) -> leaks.Snapshot:
    gc.collect()
    return leaks.Snapshot.take(places)


def assert_nothing_stays(before: leaks.Snapshot, places: list[Path]) -> None:
    left = leaks.left_since(before, places)
    assert left.describe() == []


def spawn_and_stop(launch: Launch, path: Path) -> None:
    with Scribe.options(**launch).spawn(str(path)) as scribe:
        assert scribe.execute(1) == -1


def spawn_and_kill(launch: Launch, path: Path) -> None:
    scribe = Scribe.options(**launch).spawn(str(path))
    pending = scribe.future_.execute(1)
    scribe.kill_()
    scribe.join_(10)
    error = pending.exception(timeout=10)
    assert error is None or isinstance(error, ActorDiedError)
    with pytest.raises(ActorDiedError):
        scribe.execute(2)
    scribe.stop_()


@pytest.mark.parametrize(("act", "times"), [(spawn_and_stop, 60), (spawn_and_kill, 30)])
def test_actors_that_come_and_go_leave_descriptors_threads_and_files_as_they_were(
    act: Callable[[Launch, Path], None], times: int, tmp_path: Path, places: list[Path]
) -> None:
    launch: Launch = {"engine": "process", "start_method": "fork"}
    act(launch, tmp_path / "executed")  # what is made once, for good, is made here
    before = held(places)
    for _ in range(times):
        act(launch, tmp_path / "executed")
    assert_nothing_stays(before, places)


def test_shared_memory_of_a_dropped_proxy_goes_with_the_receiver_that_was_killed(
    script: Scripts,
) -> None:
    source = """\
        import gc, os, signal, threading, time
        from remoteobj import ActorDiedError, remote
        from tests.internals import SHARED_IDLE_SECONDS, Stranger, address_of

        SHARED_IDLE_SECONDS.set_for_good(0.02)

        @remote
        class Victim:
            def die(self, data):
                os.kill(os.getpid(), signal.SIGKILL)

        def held():
            names = {thread.name for thread in threading.enumerate()} - {"MainThread"}
            return [line for line in open("/proc/self/maps") if "segment" in line], names

        victim = Victim.spawn()
        other = Stranger(address_of(victim))
        try:
            other.call("die", bytes(2_000_000))
        except ActorDiedError:
            pass
        del other
        victim.stop_()
        deadline = time.monotonic() + 2
        while any(held()) and time.monotonic() < deadline:
            gc.collect()
            time.sleep(0.02)
        print(*held())
    """
    ended = script(source).finish()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "[] set()\n"
