"""Functions in processes and threads of their own: `util.process`, `util.thread`, `util.job`."""

import contextlib
import gc
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    Except,
    NotListeningError,
    Proxy,
    RemoteError,
    UnsendableError,
    options,
    util,
)
from remoteobj.testing import Gate
from tests.hostile import open_descriptors
from tests.internals import address_of, parts_looked_at
from tests.tools import Scripts, until

KINDS = ["fork", "forkserver", "spawn", "thread"]


@pytest.fixture(params=KINDS)
def begin(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Makes a job, as `util.job` does: in a process by each start method, or in a thread."""
    if request.param == "thread":
        return lambda *args, **kwargs: util.job(*args, threaded_=True, **kwargs)
    return lambda *args, **kwargs: util.job(*args, start_method_=request.param, **kwargs)


class JamError(Exception):
    """Has more to it than a message."""

    def __init__(self, place: str) -> None:
        super().__init__(f"jammed at {place}")
        self.place = place


def jam(place: str) -> None:
    raise JamError(place)


def numbers(count: int, then: str = "") -> Iterator[int]:
    yield from range(count)
    if then:
        jam(then)
    return "the end"  # type: ignore[return-value]


def wait_at(gate: Gate) -> str:
    gate.park()
    return "waited"


# ------------------------------------------------------------------ what it gives


def test_a_job_gives_what_the_function_returns(begin: Callable[..., Any]) -> None:
    with begin(lambda *args, **kwargs: (args, kwargs), 1, name="theirs") as job:
        pass
    assert job.result == ((1,), {"name": "theirs"})
    assert job.result == ((1,), {"name": "theirs"}), "however often it is asked"
    assert not job.is_alive()


def test_there_is_no_result_before_the_return(begin: Callable[..., Any], gate: Gate) -> None:
    job = begin(wait_at, gate)
    assert job.result is None
    with job:
        gate.wait_for_arrival()
        assert job.result is None
        gate.open()
    assert job.result == "waited"


def test_a_job_gives_what_the_function_yields_and_returns(begin: Callable[..., Any]) -> None:
    def follow() -> Iterator[Any]:
        end = yield from job.result
        yield end

    with begin(numbers, 5) as job:
        assert list(follow()) == [0, 1, 2, 3, 4, "the end"]
    assert list(follow()) == ["the end"], "what nobody has taken yet"


def test_items_are_there_while_the_function_goes_on(begin: Callable[..., Any], gate: Gate) -> None:
    def two(gate: Gate) -> Iterator[str]:
        yield "first"
        gate.park()
        yield "last"

    with begin(two, gate) as job:
        items = job.result
        assert next(items) == "first"
        gate.wait_for_arrival()
        gate.open()
        assert next(items) == "last"


def test_items_that_nobody_takes_hinder_nobody(begin: Callable[..., Any]) -> None:
    with begin(numbers, 30_000) as job:
        pass
    assert sum(1 for _ in job.result) == 30_000


def test_a_plain_function_may_return_an_iterator(begin: Callable[..., Any]) -> None:
    with begin(lambda: iter("abc")) as job:
        pass
    assert list(job.result) == ["a", "b", "c"]


@pytest.mark.parametrize("func", [numbers, lambda count: count])
def test_results_can_be_done_without(begin: Callable[..., Any], func: Any) -> None:
    with begin(func, 3, results_=False) as job:
        pass
    assert job.result is None


# ------------------------------------------------------------------ when it fails


def test_joining_and_leaving_raise_what_the_function_raised(begin: Callable[..., Any]) -> None:
    with pytest.raises(JamError) as caught, begin(jam, "feeder"):
        pass
    assert caught.value.place == "feeder"
    job = begin(jam, "tray").start()
    with pytest.raises(JamError, match="tray"):
        job.join()
    assert job.result is None


def test_what_a_function_raised_can_be_left_for_later(begin: Callable[..., Any]) -> None:
    with begin(jam, "feeder", raises_=False) as job:
        pass
    with pytest.raises(JamError):
        job.raise_any()
    job.raise_any("another group")


def test_it_is_recorded_where_that_was_said(begin: Callable[..., Any]) -> None:
    exc = Except()
    with begin(jam, "feeder", raises_=False, exc_=exc) as job:
        pass
    assert job.exc is exc
    with pytest.raises(JamError):
        exc.raise_any()


def test_the_exception_comes_after_the_items_and_is_told_once(
    begin: Callable[..., Any],
) -> None:
    taken = []
    with begin(numbers, 3, then="feeder") as job, pytest.raises(JamError):
        for item in job.result:
            taken.append(item)  # noqa: PERF402
    assert taken == [0, 1, 2]
    with pytest.raises(JamError):
        job.raise_any()


def test_a_body_that_raises_ends_the_job(begin: Callable[..., Any], gate: Gate) -> None:
    def nap(gate: Gate) -> None:
        gate.arrive()
        while True:
            time.sleep(0.01)

    job = begin(nap, gate)
    with pytest.raises(ZeroDivisionError), job:
        gate.wait_for_arrival()
        raise ZeroDivisionError
    job.join(10, raises=False)
    assert not job.is_alive()


def test_a_job_that_takes_too_long_is_ended_on_leaving(begin: Callable[..., Any]) -> None:
    def nap() -> None:
        while True:
            time.sleep(0.01)

    job = begin(nap, timeout_=0.1)
    with pytest.raises(CallTimeoutError, match=r"did not finish within 0\.1 s"), job:
        pass
    job.join(10, raises=False)
    assert not job.is_alive()


def test_joining_gives_up_in_time(begin: Callable[..., Any], gate: Gate) -> None:
    with begin(wait_at, gate, timeout_=0.05) as job:
        gate.wait_for_arrival()
        job.join()
        assert job.is_alive()
        job.join(0.01)
        assert job.is_alive()
        gate.open()
        job.join(10)
        assert job.result == "waited"


# ------------------------------------------------------------------ from outside


def test_an_exception_can_be_thrown_into_a_running_function(
    begin: Callable[..., Any], gate: Gate
) -> None:
    def patient(gate: Gate) -> str:
        try:
            gate.arrive()
            while True:
                time.sleep(0.01)
        except JamError as error:
            return error.place

    with begin(patient, gate) as job:
        gate.wait_for_arrival()
        job.throw(JamError("feeder"))
    assert job.result == "feeder"


def test_what_is_thrown_and_not_caught_ends_the_function(
    begin: Callable[..., Any], gate: Gate
) -> None:
    def busy(gate: Gate) -> None:
        gate.arrive()
        while True:
            time.sleep(0.01)

    job = begin(busy, gate)
    with pytest.raises(KeyError), job:
        gate.wait_for_arrival()
        job.throw(KeyError)
    with pytest.raises(NotListeningError, match="does not run"):
        job.throw(KeyError)


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_what_is_thrown_gets_through_a_sleep(start_method: str, gate: Gate) -> None:
    def nap(gate: Gate) -> None:
        gate.arrive()
        time.sleep(60)

    with pytest.raises(JamError), util.process(nap, gate, start_method_=start_method) as p:
        gate.wait_for_arrival()
        p.throw(JamError("bed"))
    assert p.exitcode == 1


def test_what_is_thrown_before_the_function_runs_reaches_it(begin: Callable[..., Any]) -> None:
    def nap() -> None:
        while True:
            time.sleep(0.01)

    with pytest.raises(JamError), begin(nap) as job:
        job.throw(JamError("the start"))


def test_what_is_thrown_while_items_are_sent_spoils_none(begin: Callable[..., Any]) -> None:
    def endless() -> Iterator[bytes]:
        for n in itertools.count():
            yield bytes([n % 256]) * 5000

    with begin(endless) as job:
        items = job.result
        taken = [next(items) for _ in range(20)]
        job.throw(JamError("feeder"))
        with pytest.raises(JamError):
            taken += items
    assert taken == [bytes([n % 256]) * 5000 for n in range(len(taken))]


# ------------------------------------------------------------------ processes alone


def test_a_process_is_a_process_of_the_standard_library(gate: Gate) -> None:
    with util.process(wait_at, gate) as p:
        assert isinstance(p, multiprocessing.Process)
        assert p in multiprocessing.active_children()
        assert p.pid != os.getpid()
        assert p.exitcode is None
        assert p.sentinel
        gate.wait_for_arrival()
        gate.open()
    assert p.exitcode == 0
    assert p not in multiprocessing.active_children()


@pytest.mark.parametrize("code", [0, 3, None, "words"])
@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_function_may_end_its_process_with_an_exit_code(start_method: str, code: Any) -> None:
    p = util.process(sys.exit, code, start_method_=start_method, raises_=False).start()
    p.join()
    assert p.exitcode == {0: 0, 3: 3, None: 0, "words": 1}[code]
    if p.exitcode:
        with pytest.raises(ActorDiedError, match=f"exited with code {p.exitcode}"):
            p.raise_any()


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_a_death_is_told_as_that_of_an_actor_is(start_method: str) -> None:
    def die() -> None:
        print("a last word", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ActorDiedError, match="SIGKILL") as caught:
        with util.process(die, start_method_=start_method):
            pass
    assert caught.value.last_output == "a last word\n"


def test_a_death_ends_the_items() -> None:
    def die() -> Iterator[int]:
        yield 1
        os._exit(7)

    with util.process(die, raises_=False) as p:
        items = p.result
        assert next(items) == 1
        with pytest.raises(ActorDiedError, match="exited with code 7"):
            next(items)


@pytest.mark.parametrize("way", ["terminate", "kill"])
def test_a_process_that_was_ended_by_its_owner_raises_nothing(way: str, gate: Gate) -> None:
    with util.process(wait_at, gate) as p:
        gate.wait_for_arrival()
        getattr(p, way)()
    assert p.exitcode == {"terminate": -signal.SIGTERM, "kill": -signal.SIGKILL}[way]


def test_a_process_that_is_terminated_unwinds_its_function(gate: Gate, tmp_path: Path) -> None:
    def tidy(gate: Gate, done: Gate) -> None:
        try:
            gate.park()
        finally:
            done.arrive()

    done = Gate()
    with util.process(tidy, gate, done) as p:
        gate.wait_for_arrival()
        p.terminate()
        done.wait_for_arrival()


@pytest.mark.parametrize("value", [threading.Lock(), iter([threading.Lock()])])
def test_what_can_not_be_sent_is_the_functions_own_error(value: Any) -> None:
    p = util.process(lambda: value, start_method_="fork")
    with pytest.raises(UnsendableError, match="result"), p:
        until(lambda: not p.is_alive())  # else leaving the block, with the error, ends it
        list(p.result or ())
    assert p.exitcode == 1


def test_an_exception_that_would_end_its_caller_comes_wrapped() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(RemoteError, match="KeyboardInterrupt"), util.process(interrupt):
        pass


def test_a_process_can_be_closed_when_it_is_joined() -> None:
    with util.process(int, "3", close_=True) as p:
        pass
    assert p.result == 3
    with pytest.raises(ValueError, match="closed"):
        assert p.exitcode


class Doubling(util.process):
    """A subclass, with a method and an attribute of its own."""

    def __init__(self, func: Any, *args: Any, **options: Any) -> None:
        self.factor = 2
        super().__init__(func, *args, **options)

    @property
    def doubled(self) -> Any:
        return self.result * self.factor


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_a_process_can_be_subclassed(start_method: str) -> None:
    with Doubling(int, "21", start_method_=start_method) as p:
        pass
    assert p.doubled == 42


class Shouting(util.process):
    """A subclass that does something before the function and after it, over there."""

    def __init__(self, gate: Gate, func: Any, *args: Any, **options: Any) -> None:
        self.gate = gate
        super().__init__(func, *args, **options)

    def run(self) -> None:
        self.gate.arrive()
        super().run()


@pytest.mark.parametrize("start_method", ["fork", "forkserver", "spawn"])
def test_a_subclass_may_wrap_its_run(start_method: str, gate: Gate) -> None:
    with Shouting(gate, int, "21", start_method_=start_method) as p:
        gate.wait_for_arrival()
    assert p.result == 21


SUBCLASS = """
import sys, threading
from remoteobj import util

class Shouting(util.process):
    def __init__(self, func, *args, **options):
        self.before = "before"
        super().__init__(func, *args, **options)
        self.after = lambda: "after"

    def run(self):
        print(self.before, self.after(), self.name, flush=True)
        if self.before != "alone":
            super().run()

if __name__ == "__main__":
    with Shouting(int, "21", start_method_=sys.argv[1], name_="ours") as p:
        pass
    print(p.result, p.exitcode)
    p = Shouting(int, "21", start_method_=sys.argv[1], name_="theirs")
    p.before = "alone"
    with p:
        pass
    print(p.result, p.exitcode)
    p = Shouting(int, "21", start_method_=sys.argv[1])
    p.lock = threading.Lock()
    if sys.argv[1] != "fork":
        try:
            p.start()
        except TypeError as exc:
            print("the attributes of Shouting" in str(exc))
"""


def test_a_subclass_in_the_main_module_keeps_its_run_and_its_attributes(
    start_method: str, script: Scripts
) -> None:
    ended = script(SUBCLASS, start_method).finish()
    assert ended.out.splitlines() == [
        "before after ours",
        "21 0",
        "alone after theirs",
        "None 0",
        *(["True"] if start_method != "fork" else []),
    ], ended.err
    assert (ended.code, ended.err) == (0, "")


def test_a_process_starts_once() -> None:
    with util.process(int, "3") as p, pytest.raises(AssertionError, match="process twice"):
        p.start()
    assert p.result == 3


@pytest.mark.parametrize(
    "asked", ["is_alive", "join", "terminate", "kill", "start", "exitcode", "pid", "sentinel"]
)
def test_a_closed_process_refuses_what_one_of_the_standard_library_does(asked: str) -> None:
    p = util.process(int, "3").start()
    p.join()
    p.close()
    p.close()
    with pytest.raises(ValueError, match="is closed"):
        getattr(p, asked)()
    assert p.result == 3


@pytest.mark.parametrize("of", ["an executor", "a program's own choice"])
def test_a_process_can_be_made_in_a_thread(of: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def job() -> Any:
        with util.process(int, "3", start_method_="fork") as p:
            pass
        return p.result, p.exitcode

    def life() -> Any:
        actor = options(start_method="fork").spawn(Count)
        actor.stop_()
        return actor.exitcode_

    if of == "an executor":
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(job).result() == (3, 0)
            assert pool.submit(life).result() == 0
    else:  # as joblib's, by which others can't start processes
        monkeypatch.setattr(multiprocessing, "get_start_method", lambda allow_none: "loky")
        assert job() == (3, 0)
        with util.process(int, "3") as p:
            pass
        assert p.result == 3


class Count:
    """Does nothing."""


@pytest.mark.parametrize("looks", [False, True])
def test_a_failure_that_nobody_has_looked_at_is_told_when_the_job_is_dropped(
    begin: Callable[..., Any], looks: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def drop() -> None:
        job = begin(jam, "feeder").start()
        until(lambda: not job.is_alive())
        if looks:
            with pytest.raises(JamError):
                job.exc.raise_any()

    drop()
    gc.collect()
    told = [record.exc_info for record in caplog.records if record.name == "remoteobj"]
    assert [kind for kind, _, _ in filter(None, told)] == [JamError][: not looks]


# ------------------------------------------------------------------ options


def test_a_group_must_be_none(begin: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="group_ must be None"):
        begin(int, group_=1)
    with begin(int, group_=None) as job:
        pass
    assert job.result == 0


def test_a_job_takes_the_same_options_wherever_it_runs(begin: Callable[..., Any]) -> None:
    job = begin(
        int,
        results_=True,
        timeout_=10,
        raises_=True,
        name_="ours",
        group_=None,
        daemon_=True,
        exc_=None,
    )
    assert job.name == "ours"
    assert job.daemon
    with job:
        pass
    assert job.result == 0


@pytest.mark.parametrize("threaded", [False, True])
def test_options_of_processes_are_no_arguments_of_a_function(threaded: bool) -> None:
    with util.job(int, "7", threaded_=threaded, close_=False, start_method_=None) as job:
        pass
    assert job.result == 7


def test_jobs_are_numbered_by_the_name_of_their_function(begin: Callable[..., Any]) -> None:
    def counted() -> None: ...

    counted.__name__ = f"counted_{os.urandom(8).hex()}"
    names = [begin(counted).name for _ in range(2)]
    assert [name.rpartition("-")[2] for name in names] == ["1", "2"]


def test_a_start_method_that_does_not_exist_is_refused_everywhere(
    begin: Callable[..., Any],
) -> None:
    kind = type(begin(int))
    with pytest.raises(ValueError, match="'bogus' is none of"):
        kind(int, start_method_="bogus")


# ------------------------------------------------------------------ listeners


class Mute:
    """Fails before it listens."""

    def __init__(self) -> None:
        self.remote = Proxy(self)

    def run(self) -> None:
        raise JamError("the start")


def test_why_a_job_ended_before_it_listened_is_told(begin: Callable[..., Any]) -> None:
    mute = Mute()
    job = begin(mute.run, raises_=False).start()
    with pytest.raises(ActorDiedError, match=r"before .* listened, failed with .*JamError") as died:
        mute.remote.wait_until_listening(job)
    assert isinstance(died.value.__cause__, JamError)
    job.join()


def test_why_it_ended_does_not_replace_the_functions_own_error(begin: Callable[..., Any]) -> None:
    mute = Mute()
    with pytest.raises(JamError), begin(mute.run) as job:
        mute.remote.wait_until_listening(job)


def test_a_death_before_it_listened_stays_what_it_is(start_method: str) -> None:
    died = util.process(os._exit, 3, start_method_=start_method)
    with pytest.raises(ActorDiedError, match=r"before .* listened, exited with code 3"), died:
        Proxy([]).wait_until_listening(died)


@pytest.mark.parametrize("threaded", [False, True])
def test_an_option_that_a_listener_has_not_is_refused_at_once(threaded: bool) -> None:
    with pytest.raises(TypeError, match="no option 'wait_timeout'; there are results_, timeout_"):
        util.listener([], threaded_=threaded, wait_timeout=3)


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("bg", [False, True, None])
def test_a_listener_serves_an_object_within_with(bg: bool | None, threaded: bool) -> None:
    with util.listener({"a": 1}, bg=bg, threaded_=threaded) as serving:
        serving.remote["b"] = 2
        assert len(serving.remote) == 2
    assert not serving.is_alive()
    with pytest.raises(NotListeningError):
        len(serving.remote)


def test_a_listener_that_is_killed_says_so() -> None:
    serving = util.listener({"a": 1})
    with pytest.raises(ActorDiedError, match="SIGKILL"), serving:
        os.kill(serving.pid, signal.SIGKILL)
        with contextlib.suppress(ActorDiedError, NotListeningError):
            serving.remote["a"].get_()
    os.unlink(address_of(serving.remote).location)  # nobody else could


def test_our_own_frames_are_not_in_the_traceback_of_a_function(begin: Callable[..., Any]) -> None:
    with pytest.raises(JamError) as caught, begin(numbers, 1, then="feeder"):
        pass
    names = [frame.name for frame in caught.traceback]
    there = names[names.index("numbers") - 1]
    assert there in ("_raise_error", "_drain"), "what comes before is on this side"


def test_one_that_had_ended_when_its_block_failed_lets_go_of_as_much_as_any_other() -> None:
    with util.process(len, "a"):  # the first has a guardian, and a directory, started
        pass
    gc.collect()
    before = open_descriptors()
    with util.process(len, "ab") as in_order:
        until(lambda: not in_order.is_alive())
    kept = open_descriptors() - before
    with pytest.raises(KeyError, match="the block's"), util.process(len, "ab") as process:
        until(lambda: not process.is_alive())
        raise KeyError("the block's")
    assert open_descriptors() == before + 2 * kept
    assert (in_order.exitcode, process.exitcode) == (0, 0)


def test_what_is_local_is_not_searched_for_behind_a_handle(monkeypatch: pytest.MonkeyPatch) -> None:
    with options(start_method="fork").spawn(dict, a=1) as handle:
        looked_at = parts_looked_at(monkeypatch)
        with util.process(lambda: handle["a"], start_method_="fork") as job:
            pass
        assert job.result == 1
        assert any(part is handle for part in looked_at)
        assert len(looked_at) < 10
