"""Faults 1 to 12: the actor, a caller or the owner dies, or does not answer."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from remoteobj import ActorDiedError, CallTimeoutError
from remoteobj.testing import Gate
from tests.faults._actors import (
    DEATH,
    ORPHAN,
    Subject,
    assert_clearly_dead,
    assert_died,
    parked,
)
from tests.faults._table import fault
from tests.faults.conftest import Within
from tests.internals import (
    count_memory_kills,
    pass_no_descriptors,
    receives_in_place,
    sweep,
    unread_bytes,
    until_sent,
)
from tests.tools import Call, Scripts, ended, process, until, until_gone


@fault(
    1,
    "SIGKILL during a call",
    sees="`ActorDiedError` that names SIGKILL, with `maybe_executed=True`; no zombie is left",
)
def test_01_sigkill_in_mid_call_is_told_to_the_caller(
    start_method: str, gate: Gate, within: Within
) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    call = parked(actor, gate)
    with within(DEATH):
        os.kill(actor.pid_, signal.SIGKILL)
        error = call.wait().error
    assert_died(error, -signal.SIGKILL, executed=True)
    assert_clearly_dead(actor, -signal.SIGKILL)


@fault(
    2,
    "A segmentation fault during a call",
    sees="`ActorDiedError` that names SIGSEGV, with the stacks in `last_stack`",
)
def test_02_a_segfault_is_told_with_the_stacks(start_method: str, within: Within) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    with within(DEATH), pytest.raises(ActorDiedError) as caught:
        actor.die("segfault")
    error = assert_died(caught.value, -signal.SIGSEGV, executed=True)
    assert error.last_stack is not None
    assert "Segmentation fault" in error.last_stack
    assert "in die" in error.last_stack
    assert_clearly_dead(actor, -signal.SIGSEGV)


@fault(3, "`os._exit(3)` in a method", sees="`ActorDiedError` with `exitcode` 3")
def test_03_an_exit_without_a_word_is_told_with_its_code(start_method: str, within: Within) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    with within(DEATH), pytest.raises(ActorDiedError, match="exited with code 3") as caught:
        actor.die("exit")
    assert_died(caught.value, 3, executed=True)
    assert_clearly_dead(actor, 3)


@fault(
    4,
    "A death with many open calls",
    sees=(
        "an `ActorDiedError` for each; `maybe_executed` is true only for the call that had begun"
    ),
)
def test_04_of_many_calls_in_flight_only_the_one_that_began_may_be_executed(
    start_method: str, gate: Gate, within: Within
) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    calls = [parked(actor, gate), *(Call(actor.note, number) for number in range(6))]
    until_sent(actor, 7)
    with within(DEATH):
        os.kill(actor.pid_, signal.SIGKILL)
        errors = [call.wait().error for call in calls]
    for number, error in enumerate(errors):
        assert_died(error, -signal.SIGKILL, executed=number == 0)
    assert_clearly_dead(actor, -signal.SIGKILL)


@fault(
    5,
    "The actor is killed while it writes a reply of 400 MB",
    sees="`ActorDiedError`; an incomplete reply is never used as a value",
)
def test_05_half_a_reply_is_a_death(
    gate: Gate, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In shared memory it would be there at once; where that can't be had it goes through the pipe.
    pass_no_descriptors(monkeypatch)
    actor = Subject.options(start_method="fork").spawn()
    reply = actor.future_.passto(lambda _: bytes(400_000_000))
    until(lambda: unread_bytes(actor) > 4096)  # it has begun, and nobody reads yet
    os.kill(actor.pid_, signal.SIGSTOP)
    reading = Call(reply.exception, 10)
    until(lambda: receives_in_place(actor))  # there is a place for the whole of it
    with within(DEATH):
        os.kill(actor.pid_, signal.SIGKILL)
        error = reading.result()
    assert_died(error, -signal.SIGKILL, executed=True)
    assert_clearly_dead(actor, -signal.SIGKILL)


@fault(
    6,
    "A calling process is killed during its call",
    sees="the calls of other processes go on; nothing waits for the dead process",
)
def test_06_a_client_killed_in_mid_call_hinders_no_other(
    start_method: str, gate: Gate, within: Within
) -> None:
    with Subject.options(start_method=start_method).spawn() as actor:
        with process("fork", actor.wait_at, gate) as client:
            gate.wait_for_arrival()
            others = [Call(actor.note, number) for number in range(4)]
            until_sent(actor, 4)
            with within(DEATH):
                client.kill()
                client.join(10)
                gate.open()  # the call of the dead one runs to its end
                assert [other.result() for other in others] == [0, 1, 2, 3]
        assert actor.ping() == "pong"


@fault(
    7,
    "The actor dies while it is idle",
    sees="the next call raises `ActorDiedError`, with `maybe_executed=False`",
)
def test_07_the_next_call_to_one_that_died_idle_fails_at_once(
    start_method: str, within: Within
) -> None:
    actor = Subject.options(start_method=start_method).spawn()
    assert actor.ping() == "pong"
    with within(DEATH):
        os.kill(actor.pid_, signal.SIGKILL)
        assert actor.join_(10)
        with pytest.raises(ActorDiedError) as caught:
            actor.ping()
    assert_died(caught.value, -signal.SIGKILL, executed=False)
    assert_clearly_dead(actor, -signal.SIGKILL)


@fault(
    8,
    "A method loops endlessly",
    sees=(
        "`CallTimeoutError` at the time limit, which names the running call; a late reply is "
        "dropped"
    ),
)
def test_08_a_time_limit_ends_a_call_that_loops_and_its_late_reply_is_dropped(
    gate: Gate, tmp_path: Path, within: Within
) -> None:
    way_out = tmp_path / "out"
    with ended(Subject.spawn()) as actor:
        call = Call(actor.with_(timeout=0.2).loop, gate, way_out)
        gate.wait_for_arrival()
        with within(0.2 + DEATH, at_least=0.1):
            error = call.wait().error
        assert type(error) is CallTimeoutError
        assert "it has been running ?.loop(...)" in str(error)
        way_out.touch()
        assert actor.echo("the next answer") == "the next answer"


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """A process is stopped meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: "(stopped)" in Path(f"/proc/{pid}/status").read_text())
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@fault(8, "The actor is stopped by SIGSTOP", sees="`CallTimeoutError`; the late reply is dropped")
def test_08_a_time_limit_ends_a_call_to_one_that_is_stopped() -> None:
    with ended(Subject.spawn()) as actor:
        with stopped(actor.pid_), pytest.raises(CallTimeoutError):
            actor.with_(timeout=0.2).note("too late")
        assert actor.echo("the next answer") == "the next answer"
        assert actor.notes.__ == [], "it was given up before it began"


@fault(
    8,
    "The actor is stopped by SIGSTOP, and the call has a time limit",
    sees="`CallTimeoutError` at the time limit",
)
def test_08_a_time_limit_of_a_call_to_one_that_is_stopped_fires_in_time(within: Within) -> None:
    with ended(Subject.spawn()) as actor:
        with (
            stopped(actor.pid_),
            within(0.2 + DEATH, at_least=0.2),
            pytest.raises(CallTimeoutError),
        ):
            actor.with_(timeout=0.2).note("too late")


@fault(
    9,
    "The kernel kills the actor because memory ran out",
    sees=(
        "`ActorDiedError` that says so, with `out_of_memory=True`, if the kernel counts such kills"
    ),
)
def test_09_a_kill_for_want_of_memory_is_said_to_be_one(
    gate: Gate, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = [4]
    count_memory_kills(monkeypatch, lambda: kills[-1])
    actor = Subject.spawn()
    call = parked(actor, gate)
    with within(DEATH):
        kills.append(5)  # as the kernel counts
        os.kill(actor.pid_, signal.SIGKILL)
        error = call.wait().error
    assert assert_died(error, -signal.SIGKILL, executed=True).out_of_memory
    assert "memory ran out" in str(error)
    assert_clearly_dead(actor, -signal.SIGKILL)


ORPHANS = """
    @remote
    class Actor:
        def __init__(self, how="idle"):
            if how != "nested":
                say(os.getpid())
            if how == "starting":
                time.sleep(60)
        def compute(self):
            say("computing")
            while True:
                pass
        def have_child(self):
            self.child = Actor.options(start_method="fork").spawn("nested")
            say(self.child.pid_)

    actors = Actor.options(start_method=sys.argv[1])
    idle, computing, parent = [actors.spawn() for _ in range(3)]
    parent.have_child()
    threading.Thread(target=computing.compute, daemon=True).start()
    actors.spawn("starting")
"""


@fault(
    10,
    "The owner is killed",
    sees=(
        "its actors end, whether idle, busy in Python or still starting; and so do their own actors"
    ),
)
def test_10_no_actor_outlives_an_owner_that_is_killed(
    start_method: str, script: Scripts, within: Within
) -> None:
    owner = script(ORPHANS, start_method)
    said = [owner.line() for _ in range(6)]
    assert "computing" in said
    pids = [int(line) for line in said if line.isdigit()]
    assert len(pids) == 5
    with within(ORPHAN):
        owner.process.kill()
        assert [until_gone(pid, ORPHAN) for pid in pids] == [True] * 5


@fault(
    10,
    ("The owner is killed while C code of its actor holds the GIL, or the actor is stopped"),
    sees="the actor ends, and so do the processes that it had started",
)
@pytest.mark.parametrize(
    ("state", "method"),
    [
        ("working", "fork"),
        ("starting", "fork"),
        ("starting", "spawn"),
        ("starting", "forkserver"),
        ("stopped", "fork"),
    ],
)
def test_10_an_actor_that_holds_the_interpreter_does_not_outlive_the_killed_owner(
    state: str, method: str, script: Scripts, within: Within
) -> None:
    owner = script(
        """
        @remote
        class Actor:
            def __init__(self, state):
                if state == "starting":
                    self.hold(state)
            def hold(self, state):
                child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
                if state == "stopped":
                    say(os.getpid(), child.pid)
                    os.kill(os.getpid(), signal.SIGSTOP)
                line = f"{os.getpid()} {child.pid}\\n".encode()
                ctypes.pythonapi.write(1, line, len(line))
                ctypes.pythonapi.sleep(60)  # it does not let go of the interpreter
        Actor.options(start_method=sys.argv[1]).spawn(sys.argv[2]).hold(sys.argv[2])
        """,
        method,
        state,
    )
    pids = [int(pid) for pid in owner.line().split()]
    with ended_by_force(pids[0]), within(ORPHAN):
        owner.process.kill()
        assert [until_gone(pid, ORPHAN) for pid in pids] == [True, True]


@fault(
    10,
    "The same, and C code of an actor of that actor holds the GIL, too",
    sees="both actors end",
)
def test_10_nor_does_an_actor_of_such_an_actor(script: Scripts, within: Within) -> None:
    owner = script("""
        @remote
        class Actor:
            def hold(self, inner=None):
                if inner:
                    self.inner = Actor.spawn()
                    self.inner.cast_.hold()
                line = f"{os.getpid()}\\n".encode()
                ctypes.pythonapi.write(1, line, len(line))
                ctypes.pythonapi.sleep(60)  # it does not let go of the interpreter
        Actor.spawn().hold(True)
    """)
    pids = [int(owner.line()) for _ in range(2)]
    with ended_by_force(pids[0]), ended_by_force(pids[1]), within(ORPHAN):
        owner.process.kill()
        assert [until_gone(pid, ORPHAN) for pid in pids] == [True, True]


@contextlib.contextmanager
def ended_by_force(pid: int) -> Iterator[None]:
    """A process that may outlive the test does not."""
    try:
        yield
    finally:
        if not until_gone(pid, 0):
            os.kill(pid, signal.SIGKILL)


@fault(
    10,
    "The owner is killed, and has a fork server",
    sees="no directory and no socket file is left",
)
def test_10_a_killed_owner_leaves_no_files_of_its_fork_server(
    script: Scripts, within: Within
) -> None:
    owner = script("""
        import tempfile
        @remote
        class Actor:
            pass
        actor = Actor.options(start_method="forkserver").spawn()
        say(tempfile.gettempdir(), actor.pid_)
        signal.pause()
    """)
    temporary, pid = owner.line().split()
    with within(ORPHAN):
        owner.process.kill()
        assert until_gone(int(pid), ORPHAN)
        sweep()
        until(lambda: not os.listdir(temporary))


@fault(
    10,
    "The owner is killed, and its actor has started plain processes",
    sees="these processes end, too",
)
def test_10_a_plain_child_of_an_actor_does_not_outlive_the_killed_owner(
    script: Scripts, within: Within
) -> None:
    owner = script("""
        @remote
        class Actor:
            def start(self):
                self.program = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL)
                return self.program.pid
        actor = Actor.spawn()
        say(actor.start())
        signal.pause()
    """)
    pid = int(owner.line())
    with ended_by_force(pid), within(ORPHAN):
        owner.process.kill()
        assert until_gone(pid, ORPHAN)


@fault(
    11,
    "A forked process has copies of the actor's or the owner's descriptors",
    sees="the callers still learn of the death at once",
)
def test_11_copies_of_descriptors_in_forked_processes_hide_no_death(
    start_method: str, gate: Gate, script: Scripts, within: Within
) -> None:
    def fork(_: object) -> int:
        pid = os.fork()
        if not pid:
            signal.pause()
        return pid

    actor = Subject.options(start_method=start_method).spawn()
    with Subject.options(start_method="fork").spawn() as younger:  # has copies of the owner's
        grandchild = actor.passto(fork)
        try:
            call = parked(actor, gate)
            with within(DEATH):
                os.kill(actor.pid_, signal.SIGKILL)
                error = call.wait().error
        finally:
            os.kill(grandchild, signal.SIGKILL)
        assert younger.ping() == "pong"
    assert_died(error, -signal.SIGKILL, executed=True)
    assert_clearly_dead(actor, -signal.SIGKILL)

    owner = script(
        """
        @remote
        class Actor:
            pass
        actor = Actor.options(start_method=sys.argv[1]).spawn()
        copy = os.fork()
        if copy:
            say(actor.pid_, copy)
        signal.pause()
        """,
        start_method,
    )
    pid, copy = map(int, owner.line().split())
    try:
        with within(DEATH):  # by itself: its guardian would take longer
            owner.process.kill()
            assert until_gone(pid, DEATH)
        assert not until_gone(copy, 0), "the copies were there all the time"
    finally:
        os.kill(copy, signal.SIGKILL)


@fault(
    12,
    "Ctrl-C in the terminal",
    sees=(
        "`KeyboardInterrupt` only in the owner; then the cleanup of its actors, and one traceback"
    ),
)
def test_12_ctrl_c_is_for_the_owner_to_decide_and_prints_one_traceback(
    start_method: str, tmp_path: Path, script: Scripts, within: Within
) -> None:
    cleaned = tmp_path / "cleaned"
    owner = script(
        """
        @remote
        class Actor:
            def __init__(self, cleaned):
                self.cleaned = cleaned
            def ping(self):
                return "pong"
            @remote.cleanup
            def close(self):
                open(self.cleaned, "w").close()
        actor = Actor.options(start_method=sys.argv[1]).spawn(sys.argv[2])
        try:
            say(actor.pid_)
            signal.pause()
        except KeyboardInterrupt:
            pass
        say(actor.ping())
        signal.pause()
        """,
        start_method,
        cleaned,
    )
    pid = int(owner.line())
    with within(DEATH):
        os.killpg(owner.process.pid, signal.SIGINT)
        assert owner.line() == "pong"
    assert not cleaned.exists()
    with within(ORPHAN):
        os.killpg(owner.process.pid, signal.SIGINT)
        code, _, err = owner.finish()
        assert until_gone(pid, 0)
    assert code == -signal.SIGINT
    assert err.count("Traceback") == 1, err
    assert cleaned.exists()


def test_a_child_of_the_shell_is_not_what_is_measured() -> None:
    """`until_gone` sees a process that is there, so that the tests above can fail."""
    with subprocess.Popen(["sleep", "20"]) as program:
        assert not until_gone(program.pid, 0)
        program.kill()
        assert until_gone(program.pid, 5)
