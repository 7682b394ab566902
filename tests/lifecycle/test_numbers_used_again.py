"""A process that has the number of one that has ended is nobody's to signal.

Each program runs in a namespace of its own, where root can say which number is given out next.
"""

import subprocess

import pytest

from tests.tools import Scripts

NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def _can_choose_numbers() -> bool:
    test = [*NAMESPACE, "sh", "-c", "echo 100 > /proc/sys/kernel/ns_last_pid"]
    try:
        return subprocess.run(test, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(
    not _can_choose_numbers(), reason="only Linux lets, and only root, choose the next pid"
)

INSIDE = f"""
    import subprocess
    if "inside" not in sys.argv:
        again = [sys.executable, *sys.argv, "inside"]
        sys.exit(subprocess.run([*{NAMESPACE}, *again]).returncode)

    from pathlib import Path
    from tests.tools import until, until_gone

    def gone(pid):
        return not Path(f"/proc/{{pid}}").exists()

    def stranger_of(pid):
        '''A process of this number that leads a group, with a child in it; their parent, and it.'''
        while True:
            assert gone(pid)
            Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
            one = subprocess.Popen(
                ["sh", "-c", "sleep 60 & echo $!; wait"],
                stdout=subprocess.PIPE, text=True, process_group=0,
            )
            if one.pid == pid:
                return one, int(one.stdout.readline())
            os.killpg(one.pid, signal.SIGKILL)  # the kernel was not quite done with the number
            one.communicate()

    def say_whether_it_lives(stranger, child):
        print(stranger.poll() is None and not until_gone(child, 0), flush=True)
        os.killpg(stranger.pid, signal.SIGKILL)
"""


@pytest.mark.parametrize("by", ["join_", "kill_", "terminate_", "stack_"])
def test_the_owner_of_one_that_a_fork_server_has_reaped_signals_no_stranger(
    script: Scripts, by: str
) -> None:
    source = f"""{INSIDE}
    actor = Actor.options(start_method="forkserver").spawn(sys.argv[1])
    pid = actor.pid_
    from tests.internals import exit_lock
    with exit_lock(actor):  # nobody asks for its end meanwhile
        os.kill(pid, signal.SIGKILL)
        until(lambda: gone(pid))
        stranger = stranger_of(pid)
    try:
        actor.{by}()
    except RuntimeError:
        pass
    actor.join_()
    assert actor.exitcode_ == -signal.SIGKILL
    say_whether_it_lives(*stranger)
    """
    assert script(source).finish(30) == (0, "True\n", "")


@pytest.mark.parametrize("how", ["forkserver", "ignored", "handler"])
def test_the_guardian_of_an_owner_signals_no_stranger(script: Scripts, how: str) -> None:
    source = f"""{INSIDE}
    reading, writing = os.pipe()
    owner = os.fork()
    if not owner:
        def reap(*_):
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        if {how!r} != "forkserver":
            signal.signal(signal.SIGCHLD, reap if {how!r} == "handler" else signal.SIG_IGN)
        method = "forkserver" if {how!r} == "forkserver" else "fork"
        actor = Actor.options(start_method=method).spawn(sys.argv[1])
        from tests.internals import guardian_pid
        os.write(writing, f"{{actor.pid_}} {{guardian_pid()}}".encode())
        while True:
            signal.pause()
    pid, guardian = map(int, os.read(reading, 100).split())
    os.kill(pid, signal.SIGKILL)
    until(lambda: gone(pid))
    stranger = stranger_of(pid)
    os.kill(owner, signal.SIGKILL)
    assert until_gone(guardian, 10)
    say_whether_it_lives(*stranger)
    """
    code, out, err = script(source, PYTHONWARNINGS="ignore::DeprecationWarning").finish(30)
    assert (code, out) == (0, "True\n"), err


def test_a_fork_server_ends_what_an_actor_has_left_while_its_number_is_its_own(
    script: Scripts,
) -> None:
    """However late its owner hears of the end."""
    source = f"""{INSIDE}
    from tests.internals import exit_lock
    actor = Actor.options(start_method="forkserver").spawn(sys.argv[1])
    child = actor.passto(lambda _: __import__("subprocess").Popen(["sleep", "60"]).pid)
    with exit_lock(actor):
        os.kill(actor.pid_, signal.SIGKILL)
        print(until_gone(child, 5))
    actor.kill_()
    actor.join_()
    """
    assert script(source).finish(30).out == "True\n"
