"""A restarted actor has the state that was kept last, whenever its process before was killed."""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import ActorDiedError, Handle, Supervisor, remote, testing
from tests.conftest import Launch
from tests.internals import dies_in_write
from tests.tools import Scripts, pidfd_open, until

ROOT = Path(__file__).parents[1]
LONG = int(30 * float(os.environ.get("SOAK", "60")))
"""How often the counting actor is killed in a soak: some 30 times a second."""
RESTARTED: dict[str, Any] = {"restart": "on-failure", "backoff": 0.0, "max_restarts": 10_000}


@remote(checkpoint_every=0.0, **RESTARTED)
class Counter:
    """Its state is large enough that a kill may well come while it is written."""

    def __init__(self, start: int = 0) -> None:
        self.value = start
        self.filler = 30_000
        self.mine: Any = None

    def add(self) -> int:
        self.value += 1
        return self.value

    def keep_too(self, other: Any) -> None:
        self.mine = other

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    @remote.checkpoint
    def save(self) -> Any:
        return self.value, bytes([self.value % 251]) * self.filler, self.mine

    @remote.restore
    def load(self, state: Any) -> None:
        self.value, filler, self.mine = state
        self.filler = len(filler)
        assert filler == bytes([self.value % 251]) * self.filler, "it is torn"


def killed(counter: Handle[Any], how: Any) -> ActorDiedError:
    before = counter.restarts_
    with pytest.raises(ActorDiedError) as caught:
        how()
    until(lambda: counter.restarts_ > before)
    return caught.value


@pytest.mark.engines(only=["process", "ray"], reason="only a process can be killed")
def test_the_next_process_has_the_state_of_the_one_before(launch: Launch) -> None:
    with Counter.options(**launch).spawn(100) as counter:
        assert counter.add() == 101
        for n in range(2):
            killed(counter, counter.die)
            assert counter.add() == 102 + n
        assert counter.restarts_ == 2


def test_so_it_is_without_files_in_memory(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with Counter.options(start_method=start_method).spawn() as counter:
        assert counter.add() == 1
        killed(counter, counter.die)
        assert counter.add() == 2


def test_what_was_not_kept_is_lost() -> None:
    with Counter.options(start_method="fork", checkpoint_every=None).spawn(10) as counter:
        counter.add()
        counter.checkpoint_()
        counter.add()
        killed(counter, counter.die)
        assert counter.value.__ == 11


def test_what_a_function_makes_is_given_its_state_too() -> None:
    spawner = remoteobj.options(start_method="fork", **RESTARTED)
    with spawner.spawn(lambda: Counter(10)) as counter:
        counter.add()
        counter.checkpoint_()  # type: ignore[attr-defined]
        counter.add()
        killed(counter, counter.die)  # type: ignore[arg-type]
        assert counter.add() == 12
    table: Any
    with spawner.spawn(lambda: {"a": 1}) as table:  # which has none
        table["b"] = 2
        killed(table, lambda: table.passto(Counter.die))
        assert dict(table) == {"a": 1}


def test_the_children_of_a_supervisor_have_their_states_too() -> None:
    with Supervisor(start_method="fork", max_restarts=9) as supervisor:
        for child in (supervisor.spawn(Counter, 10), supervisor.spawn(lambda: Counter(10))):
            child.add()
            child.checkpoint_()
            killed(child, child.die)
            assert child.value.__ == 11


def test_a_restore_that_raises_is_a_start_that_failed() -> None:
    counter = Counter.options(start_method="fork", max_restarts=1).spawn()
    counter.passto(lambda obj: setattr(obj, "mine", Unwelcome()))
    with pytest.raises(ActorDiedError):
        counter.die()
    with pytest.raises((ValueError, ActorDiedError), match="no number"):
        counter.add()
    assert counter.join_(10)
    with pytest.raises(ActorDiedError, match="stays dead"):
        counter.add()
    with pytest.raises(ActorDiedError), counter:
        pass


class Unwelcome:
    """A state has it, and can't be unpickled."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


# ------------------------------------------------------------------ in the midst of a checkpoint


class Deadly:
    """Whoever pickles it is killed."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def counter() -> Iterator[Any]:
    with Counter.options(start_method="fork").spawn() as handle:
        handle.add()
        yield handle


def test_a_kill_before_the_write_leaves_the_state_before(counter: Any) -> None:
    def change(obj: Any) -> None:
        obj.value = 50
        obj.mine = Deadly()

    assert killed(counter, lambda: counter.passto(change)).maybe_executed
    assert counter.add() == 2


@pytest.mark.parametrize("filler", [30_000, 200_000])
@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_a_kill_within_the_write_leaves_the_state_before(
    counter: Any, part: float, filler: int
) -> None:
    counter.filler = filler
    assert counter.add() == 2
    counter.passto(dies_in_write, part)
    assert killed(counter, counter.add).maybe_executed
    assert counter.add() == 3
    assert counter.filler.__ == filler


def test_a_kill_after_the_write_and_before_the_reply_leaves_the_new_state(counter: Any) -> None:
    testing.script(counter, testing.die(when="in mid-frame"))
    assert killed(counter, counter.add).maybe_executed
    assert counter.add() == 3


# ------------------------------------------------------------------ at any moment


class Tally:
    """What became of the calls of one who counts: how often it was told a value, died before a
    call, and died in one."""

    told = before = within = 0


def kill_at_random_moments(
    handle: Handle[Any], kills: int, seed: int, tally: Tally, stop: threading.Event
) -> None:
    """Kill each of its processes: one some time after its start, which may not be over by then, the
    next one some time after it has told a value."""
    chance = random.Random(seed)
    for number in range(kills):
        until(partial(is_alive, handle, number, stop))
        if number % 2:
            until(partial(has_told_more, tally, tally.told, stop))
        pid = handle.pid_
        pidfd = -1 if pidfd_open is None else pidfd_open(pid)
        time.sleep(chance.uniform(0.0, 0.006))
        if pidfd < 0:
            os.kill(pid, signal.SIGKILL)
        else:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
    until(lambda: handle.restarts_ == kills or stop.is_set())


def is_alive(handle: Handle[Any], number: int, stop: threading.Event) -> bool:
    return stop.is_set() or (handle.restarts_ == number and handle.alive_)


def has_told_more(tally: Tally, told: int, stop: threading.Event) -> bool:
    return stop.is_set() or tally.told > told


def count_on(counter: Any, tally: Tally, stop: threading.Event) -> None:
    """Count, and hold what it tells against what it may be."""
    possible = {0}
    while not stop.is_set():
        try:
            value = counter.add()
        except ActorDiedError as died:
            if died.maybe_executed:
                tally.within += 1
                possible |= {one + 1 for one in possible}
            else:
                tally.before += 1
        else:
            assert value - 1 in possible, f"it told {value}, and may have had {possible}"
            possible, tally.told = {value}, tally.told + 1


@pytest.mark.parametrize(
    "kills", [200, pytest.param(LONG, marks=[pytest.mark.soak, pytest.mark.timeout(0)])]
)
def test_no_value_that_was_told_is_lost_and_none_is_counted_twice(kills: int) -> None:
    seed = kills
    with Counter.options(start_method="fork").spawn() as counter:
        stop, tally = threading.Event(), Tally()

        def kill_them() -> None:
            kill_at_random_moments(counter, kills, seed, tally, stop)
            stop.set()

        killer = threading.Thread(target=kill_them, name="killer")
        killer.start()
        try:
            count_on(counter, tally, stop)
        finally:
            stop.set()
            killer.join()
        assert counter.restarts_ == kills
        assert tally.told >= kills // 2
        assert tally.within > kills / 10
        assert tally.before + tally.within <= kills


COUNTING = """
    import os, sys
    from tests.test_restored_states import Counter

    counter = Counter.options(start_method="fork", checkpoint_path=sys.argv[1]).spawn()
    told = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    while True:
        os.write(told, b"%d " % counter.add())
    """


def has_text(path: Path) -> bool:
    return path.exists() and path.read_text() != ""


def test_what_a_program_was_told_is_there_when_it_is_started_again(
    script: Scripts, tmp_path: Path
) -> None:
    chance, last = random.Random(5), 0
    for number in range(2):
        path = tmp_path / f"told{number}"
        program = script(COUNTING, tmp_path / "state", path, PYTHONPATH=str(ROOT))
        until(partial(has_text, path))
        time.sleep(chance.uniform(0.0, 0.03))
        os.kill(program.process.pid, signal.SIGKILL)
        assert program.finish().code == -signal.SIGKILL
        told = list(map(int, path.read_text().split()))
        assert told[0] in (last + 1, last + 2)  # of one more call nobody was told
        last = told[-1]
        assert told == list(range(told[0], last + 1))


KILLED_WHILE_COUNTING = """
    import os, sys, threading
    from remoteobj import ActorDiedError
    from tests.test_restored_states import Counter, Tally, kill_at_random_moments

    counter = Counter.options(start_method="fork", checkpoint_path=sys.argv[1]).spawn()
    told = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    tally = Tally()
    killing = counter, 1000, int(sys.argv[3]), tally, threading.Event()
    threading.Thread(target=kill_at_random_moments, args=killing, daemon=True).start()
    while True:
        try:
            word = counter.add()
            tally.told += 1
        except ActorDiedError as died:
            word = "?" if died.maybe_executed else "-"
        os.write(told, f"{word} ".encode())
    """


def has_deaths(path: Path) -> bool:
    return path.exists() and path.read_text().count("?") >= 3


def possible_after(told: str, possible: set[int]) -> set[int]:
    """What the counter may be after this was told of it, or may have been done, and one more call;
    whatever was told is held against what it could be."""
    for word in told.split():
        if word == "?":
            possible = possible | {one + 1 for one in possible}
        elif word != "-":
            assert int(word) - 1 in possible, f"it told {word}, and may have had {possible}"
            possible = {int(word)}
    return possible | {one + 1 for one in possible}


def test_so_it_is_when_the_actor_is_killed_again_and_again_and_then_the_program(
    script: Scripts, tmp_path: Path
) -> None:
    chance, possible = random.Random(6), {0}
    for number in range(2):
        path = tmp_path / f"told{number}"
        args = tmp_path / "state", path, number
        program = script(KILLED_WHILE_COUNTING, *args, PYTHONPATH=str(ROOT))
        until(partial(has_deaths, path))
        time.sleep(chance.uniform(0.0, 0.01))
        program.process.kill()
        program.finish()
        possible = possible_after(path.read_text(), possible)
    with Counter.options(
        start_method="fork", checkpoint_path=tmp_path / "state"
    ).spawn() as counter:
        assert counter.value.__ in possible
        assert counter.value.__ >= 2
