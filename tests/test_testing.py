"""The public tools for tests: each scripted fault has the outcome that it stands for."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, CallTimeoutError, NotListeningError, remote, util
from remoteobj.testing import (
    Gate,
    When,
    bad_pickle,
    delay,
    die,
    dies_in_init,
    drop,
    no_leaks,
    script,
)

pytest_plugins = ["remoteobj.pytest_plugin"]


@remote
class Ledger:
    """Writes down, in a file, what was carried out."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, entry: str) -> str:
        with self.path.open("a") as file:
            file.write(f"{entry}\n")
        return entry

    def pages(self) -> Iterator[str]:
        yield self.write("page")

    def wait(self, gate: Gate) -> str:
        gate.park()
        return "through"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "ledger").touch()
    return tmp_path / "ledger"


@pytest.fixture
def ledger(path: Path, start_method: str) -> Iterator[Any]:
    handle = Ledger.options(start_method=start_method).spawn(path)
    yield handle
    handle.kill_()
    handle.stop_()


DEATHS: list[tuple[When, list[str]]] = [
    ("before receive", ["one"]),
    ("after receive", ["one"]),
    ("after execution", ["one", "two"]),
    ("in mid-frame", ["one", "two"]),
]


@pytest.mark.parametrize(("when", "written"), DEATHS)
@pytest.mark.parametrize("exitcode", [None, 3])
def test_it_dies_at_that_request_and_that_moment(
    ledger: Any, path: Path, when: When, written: list[str], exitcode: int | None
) -> None:
    script(ledger, die(at=2, when=when, exitcode=exitcode))
    assert ledger.write("one") == "one"
    with pytest.raises(ActorDiedError) as caught:
        ledger.write("two")
    assert caught.value.exitcode == (-signal.SIGKILL if exitcode is None else exitcode)
    assert caught.value.maybe_executed
    assert path.read_text().splitlines() == written


def test_it_dies_while_a_stranger_connects(path: Path) -> None:
    ledger = Ledger.spawn(path)
    script(ledger, die(when="in handshake"))

    def connect(stranger: Any) -> str:
        try:
            return str(stranger.write("stranger"))
        except NotListeningError:
            return "refused"

    with util.process(connect, ledger) as p:
        pass
    assert p.result == "refused"
    assert ledger.join_(5)
    with pytest.raises(ActorDiedError):
        ledger.write("owner")
    assert path.read_text() == ""
    ledger.kill_()
    ledger.stop_()


@pytest.mark.parametrize("exitcode", [None, 5])
def test_it_dies_while_it_is_born(path: Path, exitcode: int | None) -> None:
    with pytest.raises(ActorDiedError) as caught:
        dies_in_init(Ledger, exitcode).spawn(path)
    assert caught.value.exitcode == (-signal.SIGKILL if exitcode is None else exitcode)
    with Ledger.spawn(path) as ledger:  # the class itself is as it was
        assert ledger.write("alive") == "alive"


def test_a_dropped_reply_ends_by_a_time_limit_and_confuses_nothing(ledger: Any, path: Path) -> None:
    script(ledger, drop(at=1))
    with pytest.raises(CallTimeoutError):
        ledger.with_(timeout=0.2).write("lost")
    assert ledger.write("next") == "next"
    assert path.read_text().splitlines() == ["lost", "next"]


def test_a_bad_pickle_fails_one_call(ledger: Any) -> None:
    script(ledger, bad_pickle(at=2))
    assert ledger.write("good") == "good"
    with pytest.raises(Exception, match=r"pickle|unpickling|invalid"):
        ledger.write("bad")
    assert ledger.write("good again") == "good again"


def test_a_delay_holds_the_request_up(ledger: Any, path: Path) -> None:
    script(ledger, delay(30.0))
    with pytest.raises(CallTimeoutError):
        ledger.with_(timeout=0.2).write("late")
    assert path.read_text() == ""


def test_what_begins_a_stream_and_a_cast_are_counted_too(ledger: Any, path: Path) -> None:
    script(ledger, die(at=3, when="after execution"))
    assert list(ledger.pages()) == ["page"]
    ledger.cast_.write("cast")
    with pytest.raises(ActorDiedError):
        ledger.write("third")
    assert path.read_text().splitlines() == ["page", "cast", "third"]


def test_the_call_that_brings_a_new_script_is_counted_by_the_old_one(ledger: Any) -> None:
    script(ledger, die(at=1))
    with pytest.raises(ActorDiedError):
        script(ledger)


def test_a_script_that_is_empty_does_nothing(ledger: Any) -> None:
    script(ledger, die(at=3))
    script(ledger)
    for i in range(5):
        assert ledger.write(str(i)) == str(i)


def test_requests_are_counted_from_one() -> None:
    for fault in (die, drop, bad_pickle):
        with pytest.raises(ValueError, match="from 1"):
            fault(0)


@pytest.mark.parametrize("engine", ["thread", "inline"])
def test_only_an_actor_with_a_process_of_its_own_can_be_made_to_fail(
    path: Path, engine: str
) -> None:
    with Ledger.options(engine=engine).spawn(path) as ledger, pytest.raises(TypeError):
        script(ledger, die())


# ------------------------------------------------------------------ gates


def test_an_actor_waits_at_a_gate_until_it_is_opened(ledger: Any, gate: Gate) -> None:
    future = ledger.future_.wait(gate)
    gate.wait_for_arrival()
    assert not future.done()
    gate.open()
    assert future.result(10) == "through"


def test_a_gate_may_be_opened_before_somebody_comes(ledger: Any, gate: Gate) -> None:
    gate.open()
    assert ledger.wait(gate) == "through"


def test_a_gate_that_nobody_reaches_or_opens_is_an_error(gate: Gate) -> None:
    with pytest.raises(TimeoutError, match="not reached"):
        gate.wait_for_arrival(timeout=0.01)
    with pytest.raises(TimeoutError, match="not opened"):
        gate.park(timeout=0.01)


def test_who_only_arrives_at_a_gate_goes_on(gate: Gate) -> None:
    gate.arrive()
    gate.arrive()
    for _ in range(2):
        gate.wait_for_arrival()
    with pytest.raises(TimeoutError, match="not reached"):
        gate.wait_for_arrival(timeout=0.01)


def test_a_gate_is_found_by_its_directory(gate: Gate) -> None:
    with contextlib.closing(Gate(gate.directory)) as same:
        same.arrive()
        gate.wait_for_arrival()
    assert os.path.exists(gate.directory)


def test_a_fork_that_lets_go_of_a_gate_leaves_it_to_the_process_that_made_it() -> None:
    with Gate() as gate:
        child = os.fork()
        if not child:
            gate.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert os.path.exists(gate.directory)
    assert not os.path.exists(gate.directory)


# ------------------------------------------------------------------ leaks


def test_what_is_left_is_named() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait, name="left-over")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n")
    with pytest.raises(AssertionError, match="thread left-over"), no_leaks(seconds=0):
        thread.start()
    over.set()
    thread.join()
    with pytest.raises(AssertionError, match="process "), no_leaks(seconds=0):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.communicate(b"\n")
    ends: list[int] = []
    with pytest.raises(AssertionError, match="descriptor"), no_leaks(seconds=0):
        ends += os.pipe()
    for end in ends:
        os.close(end)


def test_an_actor_that_is_stopped_leaves_nothing(
    no_leaks: None, start_method: str, path: Path
) -> None:
    with Ledger.options(start_method=start_method).spawn(path) as ledger:
        assert ledger.write("a") == "a"


def test_what_is_started_once_and_kept_is_no_leak() -> None:
    program = """
        from remoteobj import remote
        from remoteobj.testing import no_leaks
        @remote
        class Actor:
            pass
        with no_leaks():
            for method in multiprocessing.get_all_start_methods():
                Actor.options(start_method=method).spawn().stop_()
    """
    code = f"import multiprocessing\n{textwrap.dedent(program)}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=20)
