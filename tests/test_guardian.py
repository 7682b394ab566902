"""What ends the actors that can't end by themselves, when their owner is gone."""

import fcntl
import multiprocessing
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from remoteobj import remote
from remoteobj._os import guardian_main
from remoteobj._os.guardian_main import SLOT, entry_of
from remoteobj._os.processes import KnownProcess
from tests.internals import (
    dismiss_guardian,
    guarded,
    guardian_interpreter,
    guardian_pid,
    is_code_of_guardian,
    summon_guardian,
)
from tests.tools import Call, Scripts, until, until_gone


@remote
class Actor:
    def ping(self) -> str:
        return "pong"


@pytest.fixture(params=[True, False], ids=["pidfd", "pid"])
def by_pidfd(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:
        monkeypatch.delattr(os, "pidfd_open", raising=False)


def child_of(one: subprocess.Popen[str]) -> int:
    assert one.stdout is not None
    return int(one.stdout.readline())


def entry(child: subprocess.Popen[str]) -> str:
    """As the owner of this child would enter it."""
    known = KnownProcess.meet(child.pid, os.getpid())
    known.release()
    return entry_of(known)


def keep(*entries: str, guardian_pid: int | None = None, directory: str | None = None) -> None:
    """Let a guardian see to these entries, in this process, as when its owner is gone."""
    reading, writing = os.pipe()
    os.close(writing)
    with tempfile.TemporaryFile() as names, tempfile.TemporaryDirectory() as some:
        entries = (f"={guardian_pid or os.getpid()}", *entries)
        names.write(b"".join(one.encode().ljust(SLOT, b"\0") for one in entries))
        names.flush()
        (Path(some) / "inner").mkdir()
        own = os.open(directory or f"{some}/inner", os.O_RDONLY)
        guardian_main.keep(reading, names.fileno(), own, os.path.basename(directory or "inner"))
        os.close(own)
    os.close(reading)


def test_what_has_not_ended_in_time_is_killed_with_its_group(
    by_pidfd: None, sleeper: Callable[[], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardian_main, "GRACE_SECONDS", 0.05)
    one = sleeper()
    child = child_of(one)
    keep("", entry(one), "+", "+x", "+1", "+1 held", "what is this")
    assert one.wait(5) == -signal.SIGKILL
    assert until_gone(child, 5)


def test_what_the_dead_leave_of_their_group_is_killed_at_once(
    by_pidfd: None, sleeper: Callable[[], subprocess.Popen[str]]
) -> None:
    one = sleeper()
    child = child_of(one)
    entered = entry(one)
    one.kill()
    one.wait()
    began = time.monotonic()
    keep(entered)
    assert until_gone(child, 5)
    assert time.monotonic() - began < guardian_main.GRACE_SECONDS


def test_what_ends_by_itself_has_the_time_for_it(
    by_pidfd: None, sleeper: Callable[[], subprocess.Popen[str]]
) -> None:
    one = sleeper()
    child_of(one)
    guarded = threading.Thread(target=keep, args=(entry(one),), name="guardian")
    guarded.start()
    os.killpg(one.pid, signal.SIGTERM)
    assert one.wait(5) == -signal.SIGTERM
    guarded.join(5)
    assert not guarded.is_alive()


@pytest.mark.parametrize("held", [True, False])
def test_one_whose_number_is_a_strangers_by_now_is_left_alone(
    by_pidfd: None,
    held: bool,
    sleeper: Callable[[], subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guardian_main, "GRACE_SECONDS", 0.05)
    stranger = sleeper()
    child = child_of(stranger)
    keep(entry_of(KnownProcess(stranger.pid, "long ago", held=held)), f"+{stranger.pid}")
    assert stranger.poll() is None
    assert not until_gone(child, 0)


def test_a_group_without_its_leader_goes_only_if_the_number_was_held_for_it(
    by_pidfd: None, sleeper: Callable[[], subprocess.Popen[str]]
) -> None:
    """Else the leader may have been reaped long ago, and the group be another's of that number."""
    one = sleeper()
    child = child_of(one)
    known = KnownProcess.meet(one.pid, os.getpid())
    known.release()
    one.kill()
    one.wait()
    known.held = False
    keep(entry_of(known))
    assert not until_gone(child, 0)
    known.held = True
    keep(entry_of(known))
    assert until_gone(child, 5)


def test_a_directory_is_removed_and_no_link_in_it_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "own" / "inner").mkdir(parents=True)
    (tmp_path / "own" / "inner" / "socket").touch()
    (tmp_path / "own" / "link").symlink_to(tmp_path / "precious")
    keep(directory=str(tmp_path / "own"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "precious"]


def test_one_that_was_started_in_vain_ends_nobody(
    sleeper: Callable[[], subprocess.Popen[str]],
) -> None:
    one = sleeper()
    child_of(one)
    keep(entry(one), guardian_pid=os.getpid() + 1)
    assert one.poll() is None


def test_a_directory_that_is_held_is_removed_as_soon_as_it_is_not(tmp_path: Path) -> None:
    directory = tmp_path / "session"
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)
    guarded = threading.Thread(target=keep, kwargs={"directory": str(directory)}, name="guardian")
    guarded.start()
    guarded.join(0.05)
    assert directory.exists()
    os.close(fd)
    guarded.join(5)
    assert not directory.exists()


# ------------------------------------------------------------------ the owner's side

HOLDER = """
    import ctypes, os, signal, sys
    from remoteobj import remote
    from tests.internals import guardian_pid
    @remote
    class Holder:
        def __init__(self, at_once=False):
            if at_once:
                self.hold()
        def hold(self):
            line = f"{os.getpid()}\\n".encode()
            ctypes.pythonapi.write(1, line, len(line))
            ctypes.pythonapi.sleep(60)  # it does not let go of the interpreter
"""


def test_one_that_was_killed_is_replaced_and_the_new_one_knows_all(script: Scripts) -> None:
    source = f"""{HOLDER}
    holder = Holder.spawn()
    os.kill(guardian_pid(), signal.SIGKILL)
    os.waitpid(guardian_pid(), 0)
    with Holder.spawn():
        pass
    holder.hold()
    """
    owner = script(source)
    pid = int(owner.line())
    owner.process.kill()
    assert until_gone(pid, 5)


def test_a_forked_copy_of_the_owner_does_not_hide_its_death(script: Scripts) -> None:
    source = f"""{HOLDER}
    holder = Holder.spawn()
    copy = os.fork()
    if not copy:
        signal.pause()
    print(copy, flush=True)
    holder.hold()
    """
    owner = script(source, PYTHONWARNINGS="ignore::DeprecationWarning")
    copy, pid = int(owner.line()), int(owner.line())
    owner.process.kill()
    try:
        assert until_gone(pid, 5)
        assert not until_gone(copy, 0)
    finally:
        os.kill(copy, signal.SIGKILL)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc here")
def test_it_sleeps_while_its_owner_lives() -> None:
    with Actor.spawn():
        pass
    until(lambda: os.readlink(f"/proc/{guardian_pid()}/cwd") == "/")  # then nothing is left to do
    status = until(
        lambda: "S (sleeping)" in status_of(guardian_pid()) and status_of(guardian_pid())
    )
    for _ in range(10):
        with Actor.spawn() as actor:
            actor.ping()
    assert switches(status_of(guardian_pid())) == switches(status)


def status_of(pid: int | None) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def switches(status: str) -> list[str]:
    return [line for line in status.splitlines() if "ctxt_switches" in line]


@pytest.mark.parametrize("start_method", multiprocessing.get_all_start_methods())
@pytest.mark.parametrize("what", ["an actor", "a process with a `run` of its own"])
def test_an_owner_that_dies_before_its_guardian_knows_of_an_actor_leaves_none(
    script: Scripts, start_method: str, what: str
) -> None:
    source = f"""{HOLDER}
    from remoteobj import util
    from remoteobj._engines import guardian
    class Job(util.process):
        def run(self):
            Holder().hold()
    def dies(actor):
        print(actor.pid, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    guardian.guardian.watch = dies
    if sys.argv[2] == "an actor":
        Holder.options(start_method=sys.argv[1]).spawn(at_once=True)
    else:
        Job(len, "", start_method_=sys.argv[1]).start()
    """
    owner = script(source, start_method, what)
    pid = int(owner.line())
    try:
        assert until_gone(pid, 5)
    finally:
        if not until_gone(pid, 0):
            os.kill(pid, signal.SIGKILL)
    assert owner.finish(5)[:2] == (-signal.SIGKILL, "")


def test_a_start_that_fails_half_way_is_waited_for_at_the_end_and_no_more_is_said(
    script: Scripts,
) -> None:
    source = f"""{HOLDER}
    import atexit
    from remoteobj._engines import guardian
    def fails(actor):
        os.kill(actor.pid, signal.SIGSTOP)
        atexit.register(print, actor.pid, flush=True)
        raise OSError("no room in the list")
    guardian.guardian.watch = fails
    try:
        Holder.options(start_method="fork").spawn()
    except OSError as exc:
        print(exc, flush=True)
    """
    owner = script(source)
    assert owner.line() == "no room in the list"
    os.kill(int(owner.line()), signal.SIGCONT)
    assert owner.finish() == (0, "", "")


def test_it_ends_with_its_owner(script: Scripts) -> None:
    source = f"""{HOLDER}
    holder = Holder.spawn()
    print(guardian_pid(), flush=True)
    """
    owner = script(source)
    pid = int(owner.line())
    assert owner.finish() == (0, "", "")
    assert until_gone(pid, 0)


def test_its_list_has_those_that_live_and_grows_no_longer_than_that() -> None:
    with Actor.spawn() as actor:
        assert actor.pid_ in guarded_pids()
        most = len(guarded()) + 2
        for _ in range(10):
            with Actor.spawn() as one, Actor.spawn() as other:
                assert guarded_pids() == {each.pid_ for each in (actor, one, other)}
        assert len(guarded()) <= most
    assert not guarded_pids()


def guarded_pids() -> set[int]:
    return {int(one.split()[0]) for one in guarded() if one[:1] == b"+"}


def test_a_fork_holds_its_lock_where_no_code_of_ours_could_be_interrupted() -> None:
    ran: list[str] = []

    def trace(frame: Any, event: str, arg: Any) -> None:
        if is_code_of_guardian(frame.f_code.co_filename):
            ran.append(frame.f_code.co_name)

    sys.settrace(trace)
    try:
        child = os.fork()
        if not child:
            os._exit(0)
    finally:
        sys.settrace(None)
    os.waitpid(child, 0)
    assert ran == []
    Call(summon_guardian).result()


def test_no_output_is_held_open_by_it(tmp_path: Path) -> None:
    with Actor.spawn():
        pass
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    dismiss_guardian()
    with Actor.spawn():
        assert guardian_pid() is not None
    os.close(writing)
    assert select.select([reading], [], [], 5)[0]
    assert os.read(reading, 1) == b""
    os.close(reading)


@pytest.mark.parametrize("program", ["", "/bin/sh", "/nowhere/python"])
def test_where_there_is_no_interpreter_to_run_it_there_is_none(
    program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "multiprocessing.spawn", raising=False)
    monkeypatch.setattr(sys, "executable", program)
    dismiss_guardian()
    with Actor.options(start_method="fork").spawn() as actor:
        assert actor.ping() == "pong"
        assert guardian_pid() is None


def test_where_a_program_can_not_be_run_actors_are_started_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "devnull", "/nowhere/null")
    dismiss_guardian()
    with Actor.options(start_method="fork").spawn() as actor:
        assert actor.ping() == "pong"
        assert guardian_pid() is None


def test_a_frozen_program_is_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert guardian_interpreter() is not None
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert guardian_interpreter() is None
