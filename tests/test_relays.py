"""Whoever passes the messages of a handshake on, without the key, is not let in with them."""

import contextlib
import multiprocessing
import os
import pickle
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import NotListeningError, remote
from tests import internals
from tests.internals import ANSWER, DIGEST, GREETING, Ends, Stranger, address_of
from tests.marks import needs_peers_user
from tests.strangers import connected, receive


@remote
class Target:
    def ping(self) -> str:
        return "pong"


HERE, THERE = 4026531836, 4026532178
UNTOLD = -1


@pytest.mark.parametrize(
    ("caller", "listener", "agree"),
    [
        (Ends(HERE, 10, 20), Ends(HERE, 20, 10), True),
        (Ends(HERE, 10, 15), Ends(HERE, 20, 15), False),
        (Ends(HERE, 10, 20), Ends(HERE, 20, 15), False),
        (Ends(HERE, 10, 15), Ends(HERE, 20, 10), False),
        (Ends(HERE, 10, 0), Ends(HERE, 20, 0), False),
        (Ends(HERE, 10, 0), Ends(HERE, 20, 10), False),
        (Ends(HERE, 10, UNTOLD), Ends(HERE, 20, 10), True),
        (Ends(HERE, 10, UNTOLD), Ends(HERE, 20, 15), False),
        (Ends(HERE, 10, UNTOLD), Ends(HERE, 20, UNTOLD), True),
        (Ends(HERE, 10, 0), Ends(THERE, 20, 0), True),
        (Ends(), Ends(), True),
    ],
)
def test_two_processes_of_one_namespace_must_see_each_other(
    caller: Ends, listener: Ends, agree: bool
) -> None:
    assert caller.agree(listener) == listener.agree(caller) == agree


# ------------------------------------------------------------------ a relay


@contextlib.contextmanager
def relay(path: str, to: Any) -> Iterator[None]:
    """At this path somebody who has no key passes all messages, and the pipes, on to a listener."""

    def run() -> None:
        caller, _ = listener.accept()
        with caller, connected(to) as onwards:
            caller.settimeout(10)
            caller.sendall(receive(onwards, GREETING))
            answer, pipes, _, _ = socket.recv_fds(caller, ANSWER, 2)
            socket.send_fds(onwards, [answer], pipes)
            for pipe in pipes:
                os.close(pipe)
            with contextlib.suppress(AssertionError, ConnectionError):
                caller.sendall(receive(onwards, DIGEST))

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(path)
        listener.listen()
        listener.settimeout(20)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            thread.join(20)
            Path(path).unlink()


@needs_peers_user
def test_a_call_whose_messages_come_by_another_process_is_refused(start_method: str) -> None:
    with Target.options(start_method=start_method).spawn() as target:
        address = address_of(target)
        by_way_of = address._replace(location=address.location + "r")
        with relay(by_way_of.location, address), pytest.raises(NotListeningError):
            Stranger(by_way_of).call("ping")
        assert target.ping() == "pong"


def test_whichever_thread_or_fork_connects_is_let_in() -> None:
    def ask() -> None:
        stranger = Stranger(address)
        answers.append(stranger.call("ping"))
        stranger.close()

    def ask_in_a_fork() -> None:
        sys.exit(0 if Stranger(address).call("ping") == "pong" else 1)

    answers: list[str] = []
    with Target.spawn() as target:
        address = address_of(target)
        ask()
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        assert answers == ["pong", "pong"]
        fork = multiprocessing.get_context("fork").Process(target=ask_in_a_fork)
        fork.start()
        fork.join()
        assert fork.exitcode == 0
        fork.close()


# ------------------------------------------------------------------ namespaces of pids


def in_another_namespace(*command: str) -> list[str]:
    return ["unshare", "--pid", "--fork", "--kill-child", *command]


def no_namespaces() -> str | None:
    """Why this process can't make another namespace of pids; None: it can."""
    if shutil.which("unshare") is None:
        return "there is no program to make a namespace with"
    tried = subprocess.run(in_another_namespace("true"), capture_output=True, check=False)
    return None if tried.returncode == 0 else "this user may not make a namespace"


@pytest.fixture
def namespaces() -> None:
    if why := no_namespaces():
        pytest.skip(why)


def test_a_caller_in_another_namespace_of_pids_is_let_in(namespaces: None) -> None:
    source = (
        "import os, pickle, sys; proxy = pickle.load(sys.stdin.buffer);"
        "print(os.getpid(), proxy.ping())"
    )
    with Target.spawn() as target:
        told = subprocess.run(
            in_another_namespace(sys.executable, "-c", source),
            input=pickle.dumps(target),
            capture_output=True,
            timeout=30,
            check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert told.stdout.split() == [b"1", b"pong"], "it was the first process there"


RELAYED = """\
    import sys
    from remoteobj import NotListeningError, remote
    from tests.internals import Stranger, address_of, another
    @remote
    class Target:
        def ping(self):
            return "pong"
    with Target.spawn() as target:
        address = address_of(target)
        print(Stranger(address).call("ping"), flush=True)
        print(address.location, flush=True)
        sys.stdin.readline()
        try:
            print(Stranger(another(address, sys.argv[1])).call("ping"))
        except NotListeningError:
            print("refused")
"""


@needs_peers_user
def test_a_relay_in_another_namespace_of_pids_can_not_have_the_check_left_out(
    namespaces: None, tmp_path: Path
) -> None:
    """Both sides see 0 in place of its pid, as they would of each other in two namespaces."""
    program = tmp_path / "relayed.py"
    program.write_text(textwrap.dedent(RELAYED))
    address = internals.new_address()
    child = subprocess.Popen(
        in_another_namespace(sys.executable, str(program), address.location),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "pong\n"
        target = address._replace(location=child.stdout.readline().strip())
        with relay(address.location, target):
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "refused\n"
    assert child.returncode == 0
