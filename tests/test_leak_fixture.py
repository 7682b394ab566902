"""The leak check can fail: each kind of thing left behind is seen, and named."""

import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests import leaks
from tests.conftest import why_skipped


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "PATIENCE", 0.05)


def test_nothing_is_left_where_nothing_was_done() -> None:
    assert leaks.left_since(leaks.Snapshot.take()).describe() == []


def test_an_open_descriptor_is_named_with_what_it_leads_to() -> None:
    before = leaks.Snapshot.take()
    fd = os.open(__file__, os.O_RDONLY)
    try:
        assert leaks.left_since(before).describe() == [f"descriptor {fd} → {__file__}"]
    finally:
        os.close(fd)


def test_a_number_taken_again_by_another_descriptor_is_seen() -> None:
    first = os.open(os.devnull, os.O_RDONLY)
    before = leaks.Snapshot.take()
    os.close(first)
    second = os.open(__file__, os.O_RDONLY)
    try:
        assert first == second
        assert list(leaks.left_since(before).descriptors) == [(second, __file__)]
    finally:
        os.close(second)


def test_a_running_thread_is_named_with_its_stack() -> None:
    before = leaks.Snapshot.take()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="left-over")
    thread.start()
    try:
        report = "\n".join(leaks.left_since(before).describe())
        assert "thread 'left-over'" in report
        assert "self._cond.wait" in report
    finally:
        release.set()
        thread.join()


def test_a_child_process_is_named_with_its_command() -> None:
    before = leaks.Snapshot.take()
    with subprocess.Popen(["sleep", "60"]) as child:
        left = leaks.left_since(before)
        assert left.pids() == [child.pid]
        assert "sleep 60" in left.describe()[0]
        child.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="orphans can be adopted on Linux only")
def test_an_orphaned_grandchild_is_seen_and_reaped_once_it_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = leaks.Snapshot.take()
    script = "sleep 60 >/dev/null & echo $!"
    orphan = int(subprocess.check_output(["sh", "-c", script]))
    assert leaks.left_since(before).pids() == [orphan]
    os.kill(orphan, signal.SIGKILL)
    monkeypatch.setattr(leaks, "PATIENCE", 5.0)
    assert leaks.left_since(before).pids() == []


def test_a_child_that_nobody_reaps_is_left_and_its_owner_can_still_reap_it() -> None:
    before = leaks.Snapshot.take()
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    left = leaks.left_since(before)
    assert left.pids() == [pid]
    assert "state Z" in left.describe()[0]
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def test_the_number_of_a_child_that_was_reaped_may_be_an_orphan_s_next() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    leaks.Snapshot.take()
    assert child.pid in leaks.STARTED
    child.communicate(b"\n")
    leaks.Snapshot.take()
    assert child.pid not in leaks.STARTED


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="there is no memfd here")
def test_shared_memory_is_seen_after_its_descriptor_was_closed() -> None:
    before = leaks.Snapshot.take()
    fd = os.memfd_create("left-over")
    os.ftruncate(fd, 4096)
    segment = mmap.mmap(fd, 4096)
    os.close(fd)
    kept = leaks.left_since(before)
    segment.close()
    assert ["/memfd:left-over" in str(key) for key in kept.mappings] == [True]


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm")
def test_a_named_segment_is_seen() -> None:
    before = leaks.Snapshot.take()
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as segment:
        assert list(leaks.left_since(before).shared) == [segment.name]


def test_a_file_and_a_directory_are_named(tmp_path: Path) -> None:
    before = leaks.Snapshot.take([tmp_path])
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "socket").touch()
    left = leaks.left_since(before, [tmp_path])
    assert set(left.files) == {f"{tmp_path}/kept", f"{tmp_path}/kept/socket"}


def test_the_session_directory_of_this_process_is_no_leak_but_a_file_in_it_is(
    tmp_path: Path,
) -> None:
    before = leaks.Snapshot.take([tmp_path])
    session = tmp_path / "remoteobj-0" / "token"
    session.mkdir(parents=True)
    assert leaks.left_since(before, [tmp_path]).describe() == []
    (session / "socket").touch()
    assert list(leaks.left_since(before, [tmp_path]).files) == [f"{session}/socket"]


def test_a_second_session_directory_was_left_by_a_process_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "remoteobj-0" / "ours").mkdir(parents=True)
    before = leaks.Snapshot.take([tmp_path])
    (tmp_path / "remoteobj-0" / "theirs").mkdir()
    left = leaks.left_since(before, [tmp_path])
    assert f"{tmp_path}/remoteobj-0/theirs" in left.files


def test_what_ends_within_the_wait_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "PATIENCE", 5.0)
    before = leaks.Snapshot.take()
    # Ends by itself, and its owner never asks: what an actor stopped by gc looks like.
    thread = threading.Thread(target=subprocess.run, args=(["sleep", "0.1"],), name="ending")
    thread.start()
    assert leaks.left_since(before).describe() == []
    thread.join()


LEAKING = """
import os, subprocess, tempfile, threading
from tests import leaks
leaks.PATIENCE = 0.05
kept = []

def test_descriptor():
    kept.append(os.dup(0))

def test_thread():
    threading.Thread(target=threading.Event().wait, daemon=True).start()

def test_process():
    kept.append(subprocess.Popen(["sleep", "60"]))

def test_file():
    kept.append(tempfile.mkdtemp())

def test_nothing():
    pass

def test_that_failed_is_not_also_charged_with_what_its_traceback_keeps():
    kept.append(os.dup(0))
    raise ValueError

def test_that_left_a_child_had_it_killed():
    assert kept[1].wait(10) == -9
"""


def test_each_leak_fails_the_test_that_left_it_and_no_other(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.setenv("PYTHONPATH", str(root))
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(LEAKING)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=6, failed=1, errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "*ERROR at teardown of test_descriptor*",
            "*ERROR at teardown of test_thread*",
            "*ERROR at teardown of test_process*",
            "*ERROR at teardown of test_file*",
            "*process *: sleep 60*",
        ]
    )


def test_an_engine_is_left_out_by_its_name_or_its_kind_with_the_reason() -> None:
    assert why_skipped({"inline"}, skip={"inline": "no process"}) == "no process"
    assert why_skipped({"fork", "process"}, skip={"process": "no thread"}) == "no thread"
    assert why_skipped({"thread"}, skip={"inline": "no process"}) is None
    assert why_skipped({"thread"}, only=["process"], reason="a signal") == "a signal"
    assert why_skipped({"fork", "process"}, only=["process"], reason="a signal") is None


def test_an_engine_that_is_unknown_or_without_a_reason_is_an_error() -> None:
    with pytest.raises(pytest.UsageError, match="no engine"):
        why_skipped({"inline"}, skip={"inlin": "a typing mistake"})
    with pytest.raises(pytest.UsageError, match="needs a reason"):
        why_skipped({"inline"}, only=["process"])


class Neighbourhood:
    """A system of its own, with a process, a thread, a descriptor, a mapping and an actor."""

    def __init__(self, process: int, fd: int) -> None:
        self._process = process
        self._fd = fd

    def roots(self) -> set[int]:
        return {self._process}

    def owns_thread(self, thread: threading.Thread) -> bool:
        return thread.name.startswith("theirs")

    def owns_descriptor(self, fd: int) -> bool:
        return fd == self._fd

    def owns_mapping(self, path: str) -> bool:
        return "theirs" in path

    def actors(self) -> list[tuple[str, str]]:
        return [("1", "Counter on a node")]


def test_what_a_neighbour_has_is_no_leak_but_what_lives_with_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = leaks.Snapshot.take()
    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="theirs-1")
    fd = os.open(os.devnull, os.O_RDONLY)
    thread.start()
    # The shell's own child is one that no neighbour says it has started.
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], process_group=0) as child:
        try:
            assert len(leaks.left_since(before).describe()) >= 4
            monkeypatch.setattr(leaks, "NEIGHBOURS", [Neighbourhood(child.pid, fd)])
            assert leaks.left_since(before).describe() == ["actor Counter on a node"]
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            os.close(fd)
            release.set()
            thread.join()


CHOOSING = """
def test_with_a_launch(launch): pass
def test_with_none(): pass
def test_of_the_cluster(cluster): pass
"""


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ((), {"launch[fork]", "launch[thread]", "launch[inline]", "none"}),
        (("--engine=thread",), {"launch[thread]"}),
        (("--engine=ray",), {"launch[ray]", "of_the_cluster"}),
    ],
    ids=["none", "thread", "ray"],
)
def test_an_engine_that_is_chosen_is_the_only_one(
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    chosen: set[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    pytester.makeconftest("from tests.conftest import *")
    pytester.makepyfile(CHOOSING)
    command = ["-p", "no:cacheprovider", "--collect-only", "-q", *options]
    lines = pytester.runpytest_subprocess(*command).outlines
    found = {
        line.partition("::test_")[2].removeprefix("with_a_").removeprefix("with_") for line in lines
    }
    assert chosen <= found
    assert ("launch[ray]" in found, "none" in found) == ("ray" in "".join(options), not options)
