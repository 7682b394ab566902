"""Processes that are known by more than their number, and that nobody else is signalled for."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from remoteobj._os import processes
from remoteobj._os.processes import Glimpse, KnownProcess, look
from tests.tools import pidfd_open, until_gone

Start = Callable[[], subprocess.Popen[str]]

needs_proc = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc")


@pytest.fixture
def without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)


def child_of(one: subprocess.Popen[str]) -> int:
    assert one.stdout is not None
    return int(one.stdout.readline())


def number_goes_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every process had ended, and its number were another's, who started later."""
    monkeypatch.setattr(processes, "look", lambda pid: Glimpse(os.getpid(), "later"))


@pytest.mark.parametrize("send", ["signal", "kill_group", "kill"])
def test_whoever_has_its_number_by_now_gets_no_signal(
    sleeper: Start, send: str, without_pidfds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sleeper()
    child = child_of(one)
    known = KnownProcess.meet(one.pid, os.getpid())
    number_goes_to_another(monkeypatch)
    getattr(known, send)(*[signal.SIGKILL] * (send == "signal"))
    assert one.poll() is None
    assert not until_gone(child, 0)
    monkeypatch.undo()
    known.kill()
    assert one.wait(5) == -signal.SIGKILL
    assert until_gone(child, 5)


@pytest.mark.skipif(pidfd_open is None, reason="processes have no descriptors here")
def test_a_child_of_another_parent_is_not_taken_for_it(sleeper: Start) -> None:
    one = sleeper()
    known = KnownProcess.meet(one.pid, os.getpid() + 1)
    assert (known.started, known.pidfd) == ("", -1)


def test_one_that_started_at_another_time_is_not_met_again(sleeper: Start) -> None:
    one = sleeper()
    assert KnownProcess.meet_again(one.pid, "long ago", held=True).pidfd == -1
    known = KnownProcess.meet(one.pid, os.getpid())
    again = KnownProcess.meet_again(one.pid, known.started, held=False)
    assert again.is_there()
    again.kill()
    assert one.wait(5) == -signal.SIGKILL
    assert again.ended()
    again.release()
    known.release()


def test_a_child_that_nobody_has_reaped_is_proof_enough(
    sleeper: Start, without_pidfds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sleeper()
    monkeypatch.setattr(processes, "look", lambda pid: None)
    known = KnownProcess.meet(one.pid, os.getpid())
    assert known.started == ""
    if hasattr(os, "waitid"):
        known.kill()
        assert one.wait(5) == -signal.SIGKILL
    known.signal(signal.SIGKILL)  # who has the number now is not asked for


def test_what_the_kernel_does_not_take_is_sent_by_its_number(
    sleeper: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sleeper()
    child = child_of(one)
    known = KnownProcess.meet(one.pid, os.getpid())

    def refuse(*args: object) -> None:
        raise PermissionError("a sandbox")

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse, raising=False)
    known.kill()
    assert one.wait(5) == -signal.SIGKILL
    assert until_gone(child, 5)
    known.release()


def test_a_group_outlives_the_proof_of_its_leader_for_a_moment_alone(
    sleeper: Start, without_pidfds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sleeper()
    child = child_of(one)
    known = KnownProcess.meet(one.pid, os.getpid())
    known.held = False
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert known.is_there()
    one.kill()
    one.wait()
    now[0] += processes.MOMENT_SECONDS
    known.kill_group()
    assert not until_gone(child, 0)
    now[0] -= processes.MOMENT_SECONDS / 2
    known.kill_group()
    assert until_gone(child, 5)


@pytest.mark.skipif(pidfd_open is None, reason="processes have no descriptors here")
def test_a_descriptor_leads_to_the_group_that_its_process_has_left(sleeper: Start) -> None:
    one = sleeper()
    child = child_of(one)
    known = KnownProcess.meet(one.pid, os.getpid())
    try:
        signal.pidfd_send_signal(known.pidfd, 0, None, processes.TO_THE_GROUP)
    except OSError:
        known.release()
        pytest.skip("this kernel does not signal groups by descriptor")
    known.started, known.held = "", False  # nothing else proves it
    one.kill()
    one.wait()
    known.kill_group()
    assert until_gone(child, 5)
    known.release()


# ------------------------------------------------------------------ what the system tells


@needs_proc
def test_it_tells_of_the_parent_and_of_the_start(sleeper: Start) -> None:
    one, other = sleeper(), sleeper()
    seen = look(one.pid)
    assert seen is not None
    assert seen.parent == os.getpid()
    assert look(one.pid) == seen
    one.kill()
    os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)
    assert look(one.pid) == seen, "a zombie keeps its number"
    one.wait()
    assert look(one.pid) is None
    assert look(other.pid) is not None


@pytest.mark.skipif(shutil.which("ps") is None, reason="there is no ps here")
def test_where_there_is_no_proc_ps_is_asked(
    sleeper: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sleeper()

    def nothing(path: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "readlink", nothing)
    seen = look(one.pid)
    assert seen is not None
    assert seen.parent == os.getpid()
    assert len(seen.started.split()) == 5
    one.kill()
    one.wait()
    assert look(one.pid) is None
    monkeypatch.setenv("PATH", "/nowhere")
    assert look(os.getpid()) is None


@needs_proc
def test_a_proc_of_another_namespace_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert look(os.getpid()) is not None
    monkeypatch.setattr(os, "readlink", lambda path: "1")
    assert look(os.getpid()) is None
