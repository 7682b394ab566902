"""Faults 27 to 43: beginnings, ends, forks, and who holds a handle."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from remoteobj import (
    ActorDiedError,
    NotListeningError,
    RemoteError,
    SpawnTimeoutError,
    current,
    remote,
)
from remoteobj.testing import Gate
from tests.faults._actors import (
    DEATH,
    ORPHAN,
    Subject,
    assert_clearly_dead,
    assert_died,
    is_reaped,
    parked,
)
from tests.faults._table import fault
from tests.faults.conftest import Within
from tests.forks import code_of, in_child
from tests.internals import TERM_SECONDS, connection_locks, until_sent
from tests.tools import Call, Scripts, ended, processes, until, until_gone

START = 2.0
"""Seconds within which a start by any method must have ended, well or not."""


class NoCamera(Exception):
    pass


@remote
class Stillborn:
    """Its `__init__` goes wrong."""

    def __init__(self, how: str, pid: Path | None = None, gate: Gate | None = None) -> None:
        if how == "raise":
            raise NoCamera("at 3")
        if how == "exit":
            sys.exit(3)
        assert pid is not None
        assert gate is not None
        pid.write_text(str(os.getpid()))
        gate.park()


# ------------------------------------------------------------------ the beginning


@fault(
    27,
    "`__init__` raises an exception",
    sees="`spawn` raises the same exception, and no process is left",
)
def test_27_what_init_raises_is_raised_by_spawn(start_method: str, within: Within) -> None:
    with within(START), pytest.raises(NoCamera, match="at 3"):
        Stillborn.options(start_method=start_method).spawn("raise")


@fault(
    28,
    "`__init__` calls `sys.exit`",
    sees="`spawn` raises `RemoteError` with `SystemExit` as its cause",
)
def test_28_an_init_that_exits_fails_the_spawn(start_method: str, within: Within) -> None:
    with within(START), pytest.raises(RemoteError, match="SystemExit: 3") as caught:
        Stillborn.options(start_method=start_method).spawn("exit")
    assert isinstance(caught.value.__cause__, SystemExit)


@fault(
    29,
    "`__init__` does not return",
    sees="`SpawnTimeoutError` at the time limit; the process is killed",
)
def test_29_an_init_that_hangs_is_killed_when_its_time_is_up(
    start_method: str, gate: Gate, tmp_path: Path, within: Within
) -> None:
    spawner = Stillborn.options(start_method=start_method, spawn_timeout=3.0)
    with within(3.0 + START):
        spawning = Call(spawner.spawn, "hang", tmp_path / "pid", gate)
        gate.wait_for_arrival()
        error = spawning.wait().error
    assert type(error) is SpawnTimeoutError
    pid = int((tmp_path / "pid").read_text())
    assert until_gone(pid, DEATH)
    until(lambda: is_reaped(pid))


# ------------------------------------------------------------------ the end


@fault(30, "A call after the stop", sees="`NotListeningError`, or the default of the call")
def test_30_a_call_after_the_stop_is_refused(start_method: str, within: Within) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    actor.stop_()
    with within(DEATH):
        with pytest.raises(NotListeningError):
            actor.ping()
        assert actor.with_(default="nobody").ping() == "nobody"
    assert (actor.alive_, actor.exitcode_) == (False, 0)


@fault(
    31,
    "A stop while calls wait",
    sees="the calls are run, or with `fulfill_final=False` refused: `NotListeningError`",
)
@pytest.mark.parametrize("fulfil", [True, False])
def test_31_calls_that_are_pending_at_a_stop_are_drained_or_refused(
    fulfil: bool, gate: Gate, within: Within
) -> None:
    actor = Subject.options(fulfill_final=fulfil).spawn()
    running = Call(actor.wait_for_stop, gate)
    gate.wait_for_arrival()
    pending = [Call(actor.echo, number) for number in range(4)]
    until_sent(actor, 5)
    with within(ORPHAN):
        actor.stop_()
        assert running.result() == "told to stop", "what had begun is finished"
        if fulfil:
            assert [one.result() for one in pending] == [0, 1, 2, 3]
        else:
            assert [type(one.wait().error) for one in pending] == [NotListeningError] * 4


@fault(
    31,
    "A stop while a call runs that its caller has cancelled",
    sees="the call is interrupted; the stop goes on as usual",
)
def test_31_a_call_that_was_given_up_holds_up_no_stop(
    start_method: str, gate: Gate, tmp_path: Path, within: Within
) -> None:
    cleaned = tmp_path / "cleaned"
    actor = Subject.options(start_method=start_method).spawn(cleaned)
    future = actor.future_.wait_at(gate)
    gate.wait_for_arrival()
    assert future.cancel()
    with within(DEATH):
        actor.stop_()
    assert (actor.exitcode_, list(actor.exc_.all())) == (0, [])
    assert cleaned.read_text() == "cleaned up\n"


@fault(
    32,
    "A stop twice, from two threads, from inside the actor",
    sees=(
        "each stop returns when the actor has ended; the cleanup runs once; the last answer arrives"
    ),
)
def test_32_stops_from_everywhere_end_it_once(tmp_path: Path, within: Within) -> None:
    cleaned = tmp_path / "cleaned"
    actor = Subject.spawn(cleaned)
    barrier = threading.Barrier(2)

    def stop() -> bool:
        barrier.wait()
        actor.stop_()
        return bool(actor.alive_)

    with within(ORPHAN):
        stops = [Call(stop), Call(stop)]
        assert [one.result() for one in stops] == [False, False]
        actor.stop_()
    assert cleaned.read_text() == "cleaned up\n"

    inside = tmp_path / "inside"
    with Subject.spawn(inside) as actor, within(ORPHAN):
        assert actor.stop_yourself() == "my last answer"
        assert actor.join_(10)
        with pytest.raises(NotListeningError):
            actor.ping()
    assert inside.read_text() == "cleaned up\n"


@fault(
    33,
    "A stop that does not finish in time",
    sees="SIGTERM, then SIGKILL; its calls raise `ActorDiedError`, and `exc_` has one, too",
)
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_33_what_does_not_stop_in_time_is_ended_by_force(
    end: signal.Signals, gate: Gate, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    TERM_SECONDS.set(monkeypatch, 0.1)
    actor = Subject.spawn()
    call = Call(actor.wait_at if end == signal.SIGTERM else actor.hang, gate)
    gate.wait_for_arrival()
    with within(0.2 + DEATH, at_least=0.1):
        actor.stop_(timeout=0.1)
        error = call.wait().error
    assert isinstance(error, ActorDiedError)
    assert actor.exitcode_ == -end
    (recorded,) = actor.exc_.group("cleanup")
    assert f"did not stop within 0.1 s and was ended by {end.name}" in str(recorded)
    assert not actor.alive_


@remote
class Beside(Subject):
    """Has a loop of its own, beside which a second thread runs what is asked of it."""

    @remote.work
    def run(self) -> None:
        while current().listening_:
            time.sleep(0.001)


@fault(
    33,
    ("SIGTERM, `terminate_()`, or a stop that takes too long, while a second thread runs a call"),
    sees="that call is dropped, the cleanup runs, the exit code is -15",
)
@pytest.mark.parametrize("how", ["SIGTERM", "terminate_", "stop_"])
@pytest.mark.parametrize("method", ["loop", "wait_at"])
def test_33_a_request_beside_the_work_loop_keeps_no_actor_from_ending(
    how: str, method: str, gate: Gate, tmp_path: Path, within: Within
) -> None:
    cleaned = tmp_path / "cleaned"
    actor = Beside.spawn(cleaned)
    args = (gate, tmp_path / "never") if method == "loop" else (gate,)
    call = Call(getattr(actor, method), *args)
    gate.wait_for_arrival()
    with within(0.2 + DEATH):
        if how == "SIGTERM":
            os.kill(actor.pid_, signal.SIGTERM)
        elif how == "terminate_":
            actor.terminate_()
        else:
            actor.stop_(timeout=0.1)
        assert actor.join_(ORPHAN)
        error = call.wait().error
    assert_died(error, -signal.SIGTERM, executed=True)
    assert actor.exitcode_ == -signal.SIGTERM
    assert cleaned.read_text() == "cleaned up\n"
    actor.exc_.clear()
    actor.stop_()


@fault(
    34, "The handle is garbage-collected", sees="the actor is stopped in order, with its cleanup"
)
def test_34_a_handle_that_is_collected_stops_its_actor(
    start_method: str, tmp_path: Path, gate: Gate, within: Within
) -> None:
    cleaned = tmp_path / "cleaned"
    actor = Subject.options(start_method=start_method).spawn(cleaned)
    pid = actor.pid_
    actor.cast_.wait_at(gate)
    actor.cast_.passto(lambda _, path: path.touch(), tmp_path / "in hand")
    with within(ORPHAN):
        del actor
        gc.collect()
        gate.open()
        assert until_gone(pid, ORPHAN)
    assert cleaned.read_text() == "cleaned up\n"
    assert (tmp_path / "in hand").exists()
    until(lambda: is_reaped(pid))


ENDINGS = {
    "end": (0, ""),
    "error": (1, "raise ValueError('unhandled')"),
    "exit": (5, "sys.exit(5)"),
    "thread": (0, "t = threading.Thread(target=sys.exit, args=(9,)); t.start(); t.join()"),
}


@fault(
    35,
    "The program ends with running actors: at its end, by an error, by `sys.exit`",
    sees=(
        "they are stopped in order, with their cleanup; the exit code of the program does not "
        "change"
    ),
)
@pytest.mark.parametrize("how", ENDINGS)
def test_35_the_end_of_the_program_ends_its_actors_in_order(
    how: str, tmp_path: Path, script: Scripts, within: Within
) -> None:
    code, end = ENDINGS[how]
    program = script(
        """
        @remote
        class Actor:
            def __init__(self, cleaned):
                self.cleaned = cleaned
            @remote.cleanup
            def close(self):
                open(self.cleaned, "w").close()
        actors = [
            Actor.options(start_method=method).spawn(os.path.join(sys.argv[1], method))
            for method in ("fork", "forkserver")
        ]
        for actor in actors:
            actor.cast_.passto(lambda _: time.sleep(0.05))
            actor.cast_.passto(lambda a: open(f"{a.cleaned} in hand", "w").close())
        say(*[actor.pid_ for actor in actors])
        """
        + end,
        tmp_path,
    )
    pids = [int(word) for word in program.line().split()]
    with within(ORPHAN):
        done = program.finish()
    assert (done.code, done.out) == (code, "")
    assert ("ValueError: unhandled" in done.err) is (how == "error")
    assert done.err.count("Traceback") == (how == "error")
    assert [until_gone(pid, 0) for pid in pids] == [True, True]
    for method in ("fork", "forkserver"):
        assert (tmp_path / method).exists()
        assert (tmp_path / f"{method} in hand").exists()


# ------------------------------------------------------------------ forks


@fault(
    36,
    "A handle used after a fork, in parent and child",
    sees="both can call the same actor and get their own replies; only the owner can stop it",
)
def test_36_a_handle_works_on_both_sides_of_a_fork(start_method: str, within: Within) -> None:
    with Subject.options(start_method=start_method).spawn() as actor, within(START):
        child = in_child(lambda: [actor.note(n) for n in range(100)] == list(range(100)))
        assert [actor.note(n) for n in range(100, 200)] == list(range(100, 200))
        assert code_of(child) == 0
        assert sorted(actor.notes.__) == list(range(200))

        def leave() -> bool:
            with actor:
                return bool(actor.ping() == "pong")

        assert code_of(in_child(leave)) == 0
        assert actor.ping() == "pong"


@remote
class Nest:
    def call_yourself(self) -> Any:
        return current().echo("me")

    def ring(self, other: Any) -> Any:
        return other.ask(current())

    def ping(self) -> str:
        return "pong"

    def echo(self, word: str) -> str:
        return word


@remote
class Friend:
    def ask(self, asker: Any) -> Any:
        return asker.ping()

    def ping(self) -> str:
        return "pong"


@fault(
    37,
    "An actor spawned from a thread, a forked child, a daemonic process, another actor",
    sees="it works like every actor, and ends with the process that spawned it",
)
def test_37_actors_may_be_spawned_from_anywhere(
    start_method: str, script: Scripts, within: Within
) -> None:
    program = script(
        """
        import multiprocessing, tempfile
        method = sys.argv[1]
        @remote
        class Actor:
            def life(self):
                return life()
            def have_child(self):
                self.child = Actor.options(start_method=method).spawn()
                return self.child.pid_
            def ping(self):
                return "pong"
        def life(where=""):
            with Actor.options(start_method=method).spawn() as actor:
                say(where, actor.ping())
        thread = threading.Thread(target=life, args=("thread",))
        thread.start()
        thread.join()
        child = os.fork()
        if not child:
            life("fork")
            os._exit(3)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        daemonic = multiprocessing.get_context("fork").Process(
            target=life, args=("daemonic",), daemon=True
        )
        daemonic.start()
        daemonic.join()
        assert daemonic.exitcode == 0
        with Actor.options(start_method=method).spawn() as actor:
            actor.life()
            pid = actor.have_child()
        say(pid)
        """,
        start_method,
    )
    with within(4 * START):
        code, out, err = program.finish()
    assert (code, err) == (0, "")
    *said, pid = out.split()
    assert said == ["thread", "pong", "fork", "pong", "daemonic", "pong", "pong"]
    assert until_gone(int(pid), ORPHAN)


@fault(
    38,
    "A fork while other threads hold the locks of a handle",
    sees="the child can call the same actor, and spawn other actors",
)
def test_38_locks_that_threads_hold_at_a_fork_do_not_hang_the_child(
    gate: Gate, within: Within
) -> None:
    with Subject.spawn() as actor:
        reading = parked(actor, gate)  # waits for its reply, with the lock of who reads
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with connection_locks(actor):
                held.set()
                release.wait(20)

        def call_and_spawn() -> bool:
            with Subject.options(start_method="fork").spawn() as another:
                return bool(another.ping() == actor.ping() == "pong")

        holding = Call(hold)
        held.wait(20)
        with within(START):
            child = in_child(call_and_spawn)
            release.set()
            gate.open()
            assert code_of(child) == 0
        holding.wait()
        assert reading.result() == "waited"
        assert actor.ping() == "pong"


# ------------------------------------------------------------------ where the class is written

PROGRAM = """\
with open("times", "a") as times:
    times.write("once")
from remoteobj import remote
class Jam(Exception):
    pass
def double(n):
    return 2 * n
@remote
class Plotter:
    def __init__(self, at):
        self.at = at
    def jam(self):
        raise Jam(self.at)
with Plotter.options(start_method="METHOD").spawn(21) as plotter:
    try:
        plotter.jam()
    except Jam as jam:
        print(type(jam) is Jam, jam, end=" ")
    print(plotter.passto(lambda p: double(p.at)))
"""

KERNEL = """\
import sys
del __file__  # as in a notebook: __main__ is no file, and its cells are compiled one by one
exec(compile(sys.stdin.read(), "<cell 1>", "exec"), globals())
"""


@fault(
    39,
    "Classes, functions and lambdas of `__main__`: a script without the guard, `python -c`, a "
    "notebook",
    sees="they work, and the program runs only once",
)
def test_39_what_main_defines_works_wherever_it_is_written(
    start_method: str, tmp_path: Path, within: Within
) -> None:
    source = PROGRAM.replace("METHOD", start_method)
    (tmp_path / "script.py").write_text(source)
    (tmp_path / "kernel.py").write_text(KERNEL)
    ways = {"script.py": ["script.py"], "-c": ["-c", source], "notebook": ["kernel.py"]}
    for way, command in ways.items():
        with within(2 * START):
            done = subprocess.run(
                [sys.executable, *command],
                cwd=tmp_path,
                input=source,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        assert (way, done.stdout, done.stderr) == (way, "True 21 42\n", "")
    assert (tmp_path / "times").read_text() == "once" * len(ways)


# ------------------------------------------------------------------ who calls whom


@fault(
    40,
    "An actor calls itself through its own handle",
    sees="the inner call runs at once, inside the outer one",
)
def test_40_an_actor_may_call_itself(start_method: str, within: Within) -> None:
    with Nest.options(start_method=start_method).spawn() as nest, within(DEATH):
        assert nest.call_yourself() == "me"
        assert nest.passto(lambda _, itself: itself.echo("me"), nest) == "me"
        assert nest.ping() == "pong"


@fault(
    40,
    "Two actors that wait for each other: A → B → A",
    sees="the inner call runs inside the outer one, or raises `DeadlockError`",
)
def test_40_two_actors_that_wait_for_each_other_get_an_answer(within: Within) -> None:
    with ended(Nest.spawn()) as nest, ended(Friend.spawn()) as friend:
        with within(DEATH):
            assert nest.with_(timeout=0.5).ring(friend) == "pong"
        assert (nest.ping(), friend.ping()) == ("pong", "pong")


def notes_of(actor: Any, who: int) -> None:
    """Wait for every second one; some are too long to be written in one go."""
    mine = [(who, n, bytes(20_000 * (n % 10 == 0))) for n in range(50)]
    made = [actor.note(one) if one[1] % 2 else actor.future_.note(one) for one in mine]
    assert [one.result() if isinstance(one, Future) else one for one in made] == mine


@fault(
    41,
    "One handle used by 16 threads and 8 processes at once",
    sees="each gets its own replies, in order; nothing is lost, and nothing runs twice",
)
def test_41_sixteen_threads_and_eight_processes_share_a_handle(
    start_method: str, within: Within
) -> None:
    with Subject.options(start_method=start_method).spawn() as actor, within(10.0):
        callers = [(actor, who) for who in range(8)]
        with processes("fork", notes_of, *callers) as started:
            calls = [Call(notes_of, actor, who) for who in range(8, 24)]
            for call in calls:
                call.result()
            for one in started:
                one.join(20)
                assert one.exitcode == 0
        notes = actor.notes.__
        for who in range(24):
            assert [note[1] for note in notes if note[0] == who] == list(range(50))
        assert len(notes) == 24 * 50


@fault(
    42,
    "A process has ended, and another process may get its pid",
    sees="no method of the handle sends a signal to that pid",
)
def test_42_no_signal_is_sent_to_the_pid_of_a_process_that_is_reaped(
    start_method: str, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    pid = actor.pid_
    os.kill(pid, signal.SIGKILL)
    assert actor.join_(10)
    until(lambda: is_reaped(pid))
    sent: list[Any] = []
    # From here on the number may be another's: to send it even signal 0 would be to ask him.
    monkeypatch.setattr(os, "kill", lambda *args: sent.append(args))
    monkeypatch.setattr(os, "killpg", lambda *args: sent.append(args))
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda *args: sent.append(args), raising=False)
    with within(DEATH):
        actor.terminate_()
        actor.kill_()
        assert not actor.alive_
        assert actor.exitcode_ == -signal.SIGKILL
        for ask in (actor.ping, actor.status_, actor.stack_, actor.interrupt_):
            with pytest.raises(ActorDiedError) as caught:
                ask()
            assert_died(caught.value, -signal.SIGKILL, executed=False)
        actor.stop_()
    assert [one for one in sent if pid in one] == []


@fault(
    43,
    "Actors die, and nobody uses their handles",
    sees="no zombie is left after they are joined, called or dropped",
)
def test_43_no_zombie_stays(start_method: str, within: Within) -> None:
    options = Subject.options(start_method=start_method)
    joined, called, dropped = [options.spawn() for _ in range(3)]
    pids = [one.pid_ for one in (joined, called, dropped)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    with within(ORPHAN):
        assert joined.join_(10)
        with pytest.raises(ActorDiedError):
            called.ping()
        del dropped
        gc.collect()
        until(lambda: all(map(is_reaped, pids)))
    for one in (joined, called):
        assert_clearly_dead(one, -signal.SIGKILL)
