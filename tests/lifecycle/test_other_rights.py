"""A program that gives up rights leaves a guardian behind that still has them."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.internals import is_readable_by_all
from tests.lifecycle.programs import Diary
from tests.tools import Scripts, until_gone

OTHER = 54321
"""The number of a user that nobody is."""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root has rights to give up")

DROP = f"""
        def give_up(directory):
            os.environ["XDG_RUNTIME_DIR"] = directory
            os.setgroups([])
            os.setgid({OTHER})
            os.setuid({OTHER})
"""


@pytest.fixture
def runtime() -> Iterator[Path]:
    """A runtime directory of the other user."""
    path = Path(tempfile.mkdtemp(prefix="ro-", dir="/tmp"))  # nothing above it is root's alone
    os.chown(path, OTHER, OTHER)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], process_group=0) as one:
        yield one
        one.kill()


def test_nobody_who_has_lost_them_tells_the_guardian_what_to_do(
    script: Scripts, tmp_path: Path, runtime: Path, victim: subprocess.Popen[bytes]
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    owner = script(
        f"""{DROP}
        import stat
        from tests.internals import SLOT, guardian_pid, kept
        victim, precious = int(sys.argv[2]), sys.argv[3]
        started = open(f"/proc/{{victim}}/stat").read().rpartition(")")[2].split()[19]
        actor = spawn()
        print(guardian_pid(), flush=True)
        lists = [one.path for one in kept() if one.pid == guardian_pid()]
        give_up(sys.argv[4])

        orders = [f"+{{victim}} held {{started}}", f"+{{victim}}", precious]
        orders = b"".join(one.encode().ljust(SLOT, b"\\0") for one in orders)
        def try_to(do, *args):
            with contextlib.suppress(OSError):
                return do(*args)
        fds = [fd for fd in range(3, 256) if try_to(os.fstat, fd)]
        for fd in fds:
            for flags in (os.O_RDWR, os.O_WRONLY):
                for path in (f"/proc/self/fd/{{fd}}", *filter(None, lists)):
                    try_to(os.open, path, flags)
                for path in filter(None, lists):
                    try_to(lambda: os.open(os.path.basename(path), flags, dir_fd=fd))
        written = 0
        for fd in range(3, 512):
            if (found := try_to(os.fstat, fd)) and stat.S_ISREG(found.st_mode):
                written += bool(try_to(os.pwrite, fd, orders, SLOT))
        print(written, flush=True)
        signal.pause()
        """,
        victim.pid,
        precious,
        runtime,
    )
    actor, guardian = int(owner.line()), int(owner.line())
    owner.line()
    owner.process.kill()
    assert until_gone(actor, 2)
    assert until_gone(guardian, 10)
    assert victim.poll() is None
    assert (precious / "file").exists()


def test_what_it_starts_then_has_a_guardian_of_the_rights_that_are_left(
    script: Scripts, diary: Diary, runtime: Path
) -> None:
    if not is_readable_by_all():
        pytest.skip("the other user can't read this directory, nor can his guardian")
    owner = script(
        f"""{DROP}
        import multiprocessing
        from tests.internals import guardian_pids
        actor = spawn()
        guardian_pids()  # what that needs is imported while it can be read
        give_up(sys.argv[2])
        for program in (sys.executable, "/usr/bin/python3"):
            if os.access(program, os.X_OK):
                multiprocessing.set_executable(program)
                break
        @remote
        class Stuck:
            def hold(self):
                os.kill(os.getpid(), signal.SIGSTOP)
        stuck = Stuck.spawn()
        print(stuck.pid_, *guardian_pids(), flush=True)
        stuck.cast_.hold()
        signal.pause()
        """,
        runtime,
    )
    actor = int(owner.line())
    stuck, *guardians = map(int, owner.line().split())
    users = [Path(f"/proc/{pid}").stat().st_uid for pid in guardians]
    owner.process.kill()
    assert until_gone(actor, 2)
    if users == [0]:
        os.kill(stuck, signal.SIGKILL)
        pytest.skip("the other user has no interpreter to run")
    assert users == [0, OTHER]
    assert until_gone(stuck, 2.5)
    assert all(until_gone(pid, 10) for pid in guardians)
    assert list(runtime.glob("*/*")) == []


def test_no_fork_server_with_the_former_rights_is_asked_for_an_actor(
    script: Scripts, runtime: Path
) -> None:
    result = script(
        f"""{DROP}
        import logging  # so that what forwards its records is imported before the right to is lost
        from tests.internals import fork_server
        actor = spawn(start_method="forkserver")
        former = fork_server()
        actor.stop_()
        give_up(sys.argv[2])
        @remote
        class Plain:  # the other user can't write in the diary
            pass
        try:
            with Plain.options(start_method="forkserver").spawn() as actor:
                print(actor.passto(lambda _: os.getuid()))
        except (OSError, EOFError):  # the other user may not run this interpreter
            print("refused", fork_server() is former)
        """,
        runtime,
    ).finish()
    assert result.out.splitlines()[1:] in ([str(OTHER)], ["refused False"]), result
