"""The end of a supervisor: in order, in the midst of a restart, as garbage, with its owner."""

import gc
import os
import pickle
import signal
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, Handle, NotListeningError, Supervisor, current, remote, spawn
from tests.lifecycle.programs import Diary
from tests.supervision.children import Child, Starter
from tests.supervision.family import lines, settled, spawn_all
from tests.tools import Call, Scripts, kill, left_in, until, until_gone, until_it_sleeps

DURING = ["one-for-one", "one-for-all", "rest-for-one"]


def hanging(supervisor: Supervisor, diary: Diary, how: Path) -> list[Handle[Any]]:
    """Children a, b and c, of which b hangs in its restart."""
    a = supervisor.spawn(Child, "a", diary)
    b = supervisor.spawn(Starter, "b", diary, str(how))
    c = supervisor.spawn(Child, "c", diary)
    how.write_text("hang")
    kill(b)
    until(lambda: "!b" in diary.lines and b.restarts_)
    return [a, b, c]


def test_children_are_stopped_in_reverse_order_and_those_below_in_their_place(diary: Diary) -> None:
    with Supervisor() as top:
        (a,) = spawn_all(top, diary, "a")
        below = top.supervisor()
        spawn_all(below, diary, "bc")
        (d,) = spawn_all(top, diary, "d")
        assert top.children == [a, below, d]
    assert diary.lines == lines("+a+b+c+d-d-c-b-a")
    assert top.children == below.children == []
    assert top.wait(0)
    assert below.wait(0)
    top.stop()
    below.stop()
    with pytest.raises(RuntimeError, match="has been stopped, and starts nothing any more"):
        top.spawn(Child, "e", diary)
    with pytest.raises(RuntimeError, match="has been stopped"):
        top.supervisor()


def test_one_below_can_be_stopped_alone(diary: Diary) -> None:
    with Supervisor() as top:
        with top.supervisor() as below:
            spawn_all(below, diary, "ab")
        (c,) = spawn_all(top, diary, "c")
        assert top.children == [c]
        assert diary.lines == lines("+a+b-b-a+c")


@pytest.mark.parametrize("strategy", DURING)
def test_a_stop_in_the_midst_of_a_restart_leaves_nothing(
    diary: Diary, how: Path, strategy: Any
) -> None:
    with Supervisor(strategy) as supervisor:
        _, b, _ = hanging(supervisor, diary, how)
        pid = b.pid_
    assert until_gone(pid, 0)
    assert settled()
    stopped = {"one-for-one": "+a+b+c!b-c-a", "one-for-all": "+a+b+c-c-a+a!b-a"}
    assert diary.lines == lines(stopped.get(strategy, "+a+b+c-c!b-a"))
    with pytest.raises((ActorDiedError, NotListeningError)):
        b.call()


def test_a_stop_of_the_outermost_reaches_one_below_that_is_just_being_restarted(
    diary: Diary, how: Path
) -> None:
    with Supervisor() as top:
        (z,) = spawn_all(top, diary, "z")
        hanging(top.supervisor(max_restarts=0), diary, how)
        assert z.call() == 1
    assert settled()
    assert diary.lines == lines("+z+a+b+c-c-a+a!b-a-z")


def test_a_child_is_taken_out_in_the_midst_of_its_restart_and_the_others_are_started(
    diary: Diary, how: Path
) -> None:
    with Supervisor("rest-for-one") as supervisor:
        a, b, c = hanging(supervisor, diary, how)
        b.kill_()
        until(lambda: diary.lines == lines("+a+b+c-c!b+c"))
        assert c.call() == 1
        assert supervisor.children == [a, c]
        b.stop_()


def test_no_thread_is_left_when_all_have_been_restarted(diary: Diary) -> None:
    with Supervisor("one-for-all") as supervisor:
        a, b = spawn_all(supervisor, diary, "ab")
        assert settled()
        kill(b)
        assert [a.call(), b.call()] == [1, 1]
        until(settled)


def test_a_supervisor_that_is_collected_stops_its_children_in_order(diary: Diary) -> None:
    supervisor = Supervisor()
    spawn_all(supervisor.supervisor(), diary, "ab")
    (c,) = spawn_all(supervisor, diary, "c")
    pid, gone = c.pid_, weakref.ref(supervisor)
    del c, supervisor
    gc.collect()
    assert gone() is None
    assert until_gone(pid, 10.0)
    until(lambda: diary.lines == lines("+a+b+c-c-b-a"))


def test_children_live_as_long_as_their_supervisor_without_their_handles(diary: Diary) -> None:
    with Supervisor() as supervisor:
        spawn_all(supervisor, diary, "ab")
        gc.collect()
        for child in supervisor.children:
            assert isinstance(child, Handle)
            kill(child)
            assert child.call() == 1


def test_a_child_that_was_dropped_after_its_stop_is_collected(diary: Diary) -> None:
    with Supervisor() as supervisor:
        a, b = spawn_all(supervisor, diary, "ab")
        kill(a)
        assert a.call() == 1
        a.stop_()
        assert supervisor.children == [b]
        gone = weakref.ref(a)
        del a
        gc.collect()
        assert gone() is None


def _press_ctrl_c_when_it_stops(thread: int) -> None:
    until_it_sleeps(thread)
    signal.pthread_kill(thread, signal.SIGINT)


def test_ctrl_c_while_it_stops_ends_all_at_once(diary: Diary) -> None:
    supervisor = Supervisor()
    a, b = spawn_all(supervisor, diary, "ab")
    b.cast_.hang()
    until(lambda: "~b" in diary.lines)
    press = Call(_press_ctrl_c_when_it_stops, threading.get_ident())
    with pytest.raises(KeyboardInterrupt):
        supervisor.stop()
    press.result()
    assert not a.alive_
    assert not b.alive_
    assert diary.lines == lines("+a+b~b")


# ------------------------------------------------------------------ the owner


@pytest.mark.parametrize("words", ["hang", "raise"])
def test_nothing_is_left_of_a_program_that_is_killed_in_the_midst_of_a_restart(
    script: Scripts, diary: Diary, runtime: Path, words: str
) -> None:
    program = script(
        f"""
        supervisor = Supervisor("one-for-all", max_restarts=1_000_000)
        below = supervisor.supervisor("rest-for-one", max_restarts=1_000_000)
        (a,) = spawn_all(below, diary, "a")
        b = below.spawn(Starter, "b", diary, str(how))
        c = supervisor.spawn(Child, "c", diary)
        how.write_text({words!r})
        kill(b)
        until(lambda: "!b" in diary.lines)
        print(a.pid_, b.pid_, c.pid_, flush=True)
        signal.pause()
        """,
        XDG_RUNTIME_DIR=str(runtime),
    )
    pids = [int(pid) for pid in program.line().split()]
    assert left_in(runtime)
    program.process.kill()
    assert all(until_gone(pid, 5.0) for pid in pids)
    program.process.wait(10)
    until(lambda: left_in(runtime) == [])


def test_a_program_that_ends_without_stopping_it_leaves_nothing(
    script: Scripts, diary: Diary
) -> None:
    ended = script(
        """
        supervisor = Supervisor()
        a, b = spawn_all(supervisor, diary, "ab")
        kill(a)
        assert a.call() == 1
        print(a.pid_, b.pid_, flush=True)
        """
    ).finish()
    assert (ended.code, ended.err) == (0, "")
    assert all(until_gone(int(pid), 0) for pid in ended.out.split())
    assert sorted(diary.lines[3:]) == ["-a", "-b"]


def test_a_forked_copy_of_the_owner_has_no_say(diary: Diary) -> None:
    with Supervisor() as supervisor:
        (child,) = spawn_all(supervisor, diary, "a")
        pid = os.fork()
        if pid == 0:  # pragma: no cover - in the copy
            code = 1
            try:
                supervisor.stop()
                try:
                    supervisor.spawn(Child, "b", diary)
                except NotListeningError:
                    code = 0
                del supervisor
                gc.collect()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert child.call() == 1


# ------------------------------------------------------------------ within actors


@remote
class Team:
    """An actor with a supervisor of its own."""

    def __init__(self, diary: Diary) -> None:
        self.supervisor = Supervisor("one-for-all")
        self.a = self.supervisor.spawn(Child, "a", diary)
        self.b = self.supervisor.spawn(Child, "b", diary, current())

    def member(self, name: str) -> Any:
        return getattr(self, name)

    @remote.cleanup
    def close(self) -> None:
        self.supervisor.stop()


def test_an_actor_may_have_a_supervisor_and_be_the_child_of_one(diary: Diary) -> None:
    with Supervisor() as supervisor:
        team = supervisor.spawn(Team, diary)
        b = team.member("b")
        pid = b.passto(lambda _: os.getpid())
        os.kill(pid, signal.SIGKILL)
        assert until_gone(pid, 10.0)
        assert b.call() == 1
        assert diary.lines == lines("+a+b-a+a+b")
        pids = [team.member(name).passto(lambda _: os.getpid()) for name in "ab"]
        kill(team)
        assert all(until_gone(pid, 10.0) for pid in pids)
        assert team.member("a").call() == 1


def test_a_supervisor_may_be_the_object_of_an_actor(diary: Diary) -> None:
    with spawn(Supervisor, "one-for-one", max_restarts=1) as supervisor:
        child: Any = supervisor.spawn(Child, "a", diary)
        pid = child.passto(lambda _: os.getpid())
        os.kill(pid, signal.SIGKILL)
        assert until_gone(pid, 10.0)
        assert child.call() == 1
        (same,) = supervisor.children
        assert same == child
    until(lambda: diary.lines == lines("+a+a-a"))


# ------------------------------------------------------------------ what is refused


def test_what_can_not_be_meant_is_refused(diary: Diary) -> None:
    wrong: Any = Supervisor
    with pytest.raises(ValueError, match="no strategy 'all'"):
        wrong("all")
    with pytest.raises(ValueError, match="max_restarts can't be below 0"):
        Supervisor(max_restarts=-1)
    with pytest.raises(ValueError, match="within a time above 0 seconds"):
        Supervisor(within=0)
    with pytest.raises(TypeError, match="there is no option 'nmae'"):
        wrong(nmae="a")
    with pytest.raises(TypeError, match="'backoff' is no option of a child"):
        wrong(backoff=1.0)
    with pytest.raises(ValueError, match="restart 'often' is none of never, on-failure, always"):
        Supervisor(restart="often")
    with Supervisor() as supervisor:
        options: Any = supervisor.options
        with pytest.raises(TypeError, match="'max_restarts' is no option of a child"):
            options(max_restarts=1)
        with pytest.raises(TypeError, match="can't be called"):
            options().spawn(3)
        with pytest.raises(ValueError, match="no strategy"):
            wrong.supervisor(supervisor, "all")
        with pytest.raises(ValueError, match="inline"):
            supervisor.options(engine="inline").spawn(dict)
        with pytest.raises(TypeError, match="send the handles of its children"):
            pickle.dumps(supervisor)
        assert supervisor.children == []


def test_options_are_those_of_the_supervisor_the_class_and_the_child(diary: Diary) -> None:
    @remote(restart="always", max_restarts=0, name="own")
    class Own(dict[str, int]):
        pass

    with Supervisor(env={"LEVEL": "top"}) as top:
        level = lambda _: os.environ["LEVEL"]  # noqa: E731 - it is sent
        own = top.spawn(Own)
        assert own.name_ == "own"
        plain: Any = top.options(name="plain").options(env={"LEVEL": "child"}).spawn(dict)
        assert (plain.name_, plain.passto(level)) == ("plain", "child")
        below = top.supervisor()
        inner: Any = below.spawn(dict)
        assert inner.passto(level) == "top"
        for child in (own, inner):
            kill(child)
            assert child.passto(level) == "top"
        assert own.restarts_ == 1
        assert repr(below).startswith("<Supervisor-")
        assert "one-for-one, of 1 children" in repr(below)
