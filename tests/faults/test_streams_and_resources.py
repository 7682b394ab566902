"""Faults 44 to 52: streams that end early, resources that run out, and strangers."""

import contextlib
import errno
import gc
import os
import resource
import signal
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from remoteobj import ActorDiedError, NotListeningError, RemoteObjError
from remoteobj.testing import Gate
from tests.faults._actors import (
    DEATH,
    ORPHAN,
    Subject,
    assert_clearly_dead,
    is_reaped,
    parked,
)
from tests.faults._table import fault
from tests.faults.conftest import Within
from tests.internals import (
    ACCEPT_PAUSE_SECONDS,
    DIGEST,
    GREETING,
    MAX_FRAME,
    WINDOW,
    Address,
    Key,
    Kind,
    Stranger,
    address_of,
    answer_to,
    connect,
    connect_with_key,
    import_for_handshakes,
    socket_of,
)
from tests.leaks import list_mappings
from tests.marks import needs_peers_user
from tests.strangers import (
    connected,
    header,
    is_closed,
    leave_descriptors,
    marked_call,
    note_failed_accepts,
    receive,
)
from tests.tools import Call, Scripts, ended, process, until, until_gone

MB = 1 << 20

# ------------------------------------------------------------------ streams


@fault(44, "A slow consumer of a stream", sees="the generator runs ahead by the window, and waits")
def test_44_the_producer_waits_for_a_slow_consumer(start_method: str, within: Within) -> None:
    with Subject.options(start_method=start_method).spawn() as actor, within(ORPHAN):
        stream = iter(actor.count(10_000))
        until(lambda: actor.made.__ >= WINDOW)
        for taken in range(50):
            for _ in range(5):  # each of these is a turn in which it could go on
                assert actor.ping() == "pong"
            assert actor.made.__ <= taken + WINDOW
            assert next(stream) == taken
        assert list(stream) == list(range(50, 10_000))


@fault(
    45,
    "A stream is dropped before its end",
    sees="the generator in the actor is closed, and its `finally` blocks run",
)
def test_45_the_generator_of_a_stream_left_half_way_is_closed(
    start_method: str, within: Within
) -> None:
    with Subject.options(start_method=start_method).spawn() as actor:
        with within(DEATH):
            for number in actor.count(10_000):
                if number == 5:
                    break
            gc.collect()
            until(lambda: actor.notes.__ == ["count was closed"])
        assert actor.ping() == "pong"


def take_five(actor: Any, gate: Gate) -> None:
    stream = actor.count(10_000, "the client's")
    for _ in range(5):
        next(stream)
    gate.arrive()
    signal.pause()


@fault(
    46,
    "A calling process dies during a stream",
    sees="its generator is closed; the streams of other processes go on",
)
def test_46_the_generator_of_a_client_that_died_is_closed(
    start_method: str, gate: Gate, within: Within
) -> None:
    with Subject.options(start_method=start_method).spawn() as actor:
        mine = actor.count(200, "mine")
        assert next(mine) == 0
        with process("fork", take_five, actor, gate) as client, within(DEATH):
            gate.wait_for_arrival()
            client.kill()
            until(lambda: actor.notes.__ == ["the client's was closed"])
        assert list(mine) == list(range(1, 200))


# ------------------------------------------------------------------ resources


@fault(
    47,
    "An actor has no file descriptors left",
    sees="it serves its connected callers, uses no processor time, and accepts others later",
)
def test_47_an_actor_without_descriptors_serves_on_and_does_not_spin(within: Within) -> None:
    with Subject.spawn() as actor:
        known = Stranger(address_of(actor))
        assert known.call("ping") == "pong"
        actor.passto(note_failed_accepts)
        actor.passto(leave_descriptors, 4)
        with contextlib.ExitStack() as stack, within(DEATH):
            for _ in range(20):
                stack.enter_context(connected(address_of(actor)))
            until(lambda: len(actor.failed_accepts.__) >= 3)
            first, _, third, *_ = actor.failed_accepts.__
            assert third - first >= 2 * ACCEPT_PAUSE_SECONDS.value, "it looks again all the time"
            assert actor.ping() == known.call("ping") == "pong"
        known.close()
        late = Stranger(address_of(actor))
        assert late.call("ping") == "pong"
        late.close()


@fault(
    47,
    "The owner has no file descriptors left",
    sees=(
        "`spawn` raises `OSError` (EMFILE); running actors answer, and later `spawn` works again"
    ),
)
def test_47_an_owner_without_descriptors_keeps_its_actors(
    start_method: str, script: Scripts, within: Within
) -> None:
    owner = script(
        """
        import tempfile
        @remote
        class Actor:
            def ping(self):
                return "pong"
        actors = Actor.options(start_method=sys.argv[1])
        actor = actors.spawn()
        actors.spawn().stop_()  # what is started once for all is there, and what is found
        tempfile.gettempdir()
        def descriptors():
            return sorted(os.listdir("/dev/fd"))
        before = descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        for free in range(40):  # so that it fails at each place where it can
            held = []
            with contextlib.suppress(OSError):
                while True:
                    held.append(os.dup(0))
            for fd in held[:free]:
                os.close(fd)
            enough = False
            try:
                actors.spawn().stop_()
                enough = True
            except OSError as error:
                assert error.errno == errno.EMFILE, error
            assert actor.ping() == "pong"
            for fd in held[free:]:
                os.close(fd)
            gc.collect()
            assert descriptors() == before, (free, descriptors(), before)
            if enough:
                break
        assert 0 < free < 39
        with actors.spawn() as late:
            say(actor.ping(), late.ping())
        """,
        start_method,
    )
    with within(10.0):
        code, out, err = owner.finish()
    assert (code, out, err) == (0, "pong pong\n", ""), err


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


@fault(
    48,
    "No space for shared memory",
    sees="large values are sent through the pipe, complete; no SIGBUS",
)
def test_48_where_there_is_no_room_for_shared_memory_large_values_go_through_the_pipe(
    within: Within,
) -> None:
    def limit(_: object) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (MB, hard))  # also of files in memory

    array = np.full(4 * MB, 7, np.uint8)
    with Subject.spawn() as actor:
        actor.passto(limit)
        with within(DEATH):
            for _ in range(3):
                assert (actor.echo(array) == array).all()
        assert actor.ping() == "pong"


@fault(
    48,
    "No space for shared memory, many times",
    sees="no file descriptor is lost",
)
def test_48_where_there_is_no_room_for_shared_memory_no_descriptor_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(fd: int, size: int) -> None:
        failed.append(fd)
        raise OSError(errno.ENOSPC, "no space left on device")

    failed: list[int] = []
    with Subject.options(start_method="fork").spawn() as actor:
        monkeypatch.setattr(os, "ftruncate", full)
        for _ in range(3):
            assert actor.passto(lambda _, data: len(data), bytes(2 * MB)) == 2 * MB
        monkeypatch.undo()
        assert failed
        links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.exists()]
        assert not any("segment" in link for link in links)


def limit_memory(_: object) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 32 * MB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@fault(
    48,
    "A result that is larger than an actor's memory limit",
    sees="that call raises `MemoryError`; the actor goes on",
)
def test_48_a_result_past_the_memory_limit_is_an_error_of_its_call(within: Within) -> None:
    with Subject.spawn() as actor:
        actor.passto(limit_memory)
        with within(DEATH), pytest.raises(MemoryError):
            actor.passto(lambda _: "x" * (64 * MB))
        assert actor.ping() == "pong"


@fault(
    48,
    "An argument that is larger than an actor's memory limit",
    sees=(
        "`RemoteObjError` that says so; the caller's connection ends, and its next call makes "
        "a new one; the actor and its other callers go on"
    ),
)
def test_48_an_argument_past_the_memory_limit_ends_the_connection_that_it_came_by(
    within: Within,
) -> None:
    with ended(Subject.spawn()) as actor:
        other = Stranger(address_of(actor))
        assert other.call("ping") == "pong"
        actor.passto(limit_memory)
        for caller in (other.call, lambda name, value: getattr(actor, name)(value)):
            with within(DEATH), pytest.raises(RemoteObjError) as caught:
                caller("note", "x" * (64 * MB))
            assert "no memory for a frame of 671" in str(caught.value)
            assert "this call was not executed" in str(caught.value)
            assert actor.ping() == other.call("ping") == "pong"
        assert actor.notes.get_() == []
        other.close()


@fault(
    49,
    "Shared memory of an actor that was killed",
    sees="it is freed when the last value that uses it is gone",
)
def test_49_the_shared_memory_of_a_killed_actor_is_freed(
    start_method: str, gate: Gate, within: Within
) -> None:
    def segments() -> int:
        return len(list(list_mappings()))

    before = segments()
    names = set(os.listdir("/dev/shm"))
    actor = Subject.options(start_method=start_method).spawn()
    kept = actor.echo(np.full(4 * MB, 7, np.uint8))
    assert segments() > before
    call = parked(actor, gate)
    with within(DEATH):
        os.kill(actor.pid_, signal.SIGKILL)
        assert type(call.wait().error) is ActorDiedError
    assert (kept == 7).all(), "what has arrived stays"
    assert_clearly_dead(actor, -signal.SIGKILL)
    del kept, actor, call
    gc.collect()
    until(lambda: segments() == before)
    assert set(os.listdir("/dev/shm")) <= names


@fault(
    50,
    "The system clock is changed",
    sees="nothing: time limits use a clock that cannot be set",
)
@pytest.mark.parametrize("seconds", [-1e6, 1e6])
def test_50_a_jump_of_the_wall_clock_changes_no_time_limit(
    seconds: float, gate: Gate, within: Within, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.time()
    jumps = iter(range(1, 1_000_000))
    # At each look it is another day, here and in the actor, which is a fork of us.
    monkeypatch.setattr(time, "time", lambda: started + seconds * next(jumps))
    with Subject.options(start_method="fork", stop_timeout=5.0).spawn() as actor:
        call = Call(actor.with_(timeout=20).wait_at, gate)
        gate.wait_for_arrival()
        with within(0.2 + DEATH, at_least=0.2), pytest.raises(TimeoutError):
            actor.with_(timeout=0.2).ping()
        gate.open()
        assert call.result() == "waited"
        with within(ORPHAN):
            actor.stop_()
        assert actor.exitcode_ == 0


# ------------------------------------------------------------------ strangers


def memory_of(pid: int) -> int:
    """Bytes of physical memory that a process uses."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


MALFORMED = {
    "garbage": b"\xff" * 64,
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an oversized payload": header(Kind.CALL, 0, 1, MAX_FRAME + 1),
    "oversized buffers": header(Kind.CALL, 2, 1, 0) + struct.pack("<2Q", MAX_FRAME, 1),
}


@fault(
    51,
    "Malformed, truncated or too large frames",
    sees=(
        "that connection ends; no memory is taken, nothing is unpickled, other connections go on"
    ),
)
@pytest.mark.parametrize("what", [*MALFORMED, "a truncated call"])
def test_51_a_bad_frame_costs_the_one_who_sends_it_his_connection(
    what: str, tmp_path: Path, within: Within
) -> None:
    marker = tmp_path / "unpickled"
    with Subject.spawn() as actor:
        good = Stranger(address_of(actor))
        assert good.call("ping") == "pong"
        before = memory_of(actor.pid_)
        with contextlib.closing(connect_with_key(address_of(actor))) as bad, within(DEATH):
            bad.write(MALFORMED.get(what, marked_call(marker)[:-1]))
            if what in MALFORMED:
                assert is_closed(socket_of(bad))
            assert good.call("ping") == actor.ping() == "pong"
            assert what in MALFORMED or bad.read(100) is None, "nothing was run, and answered"
        assert good.call("ping") == "pong"  # it has seen the end of that one
        assert memory_of(actor.pid_) - before < 32 * MB
        assert not marker.exists()
        good.close()


@fault(
    51,
    "A frame that announces a large payload and does not send it",
    sees="no memory is taken before the bytes arrive",
)
def test_51_a_frame_that_is_only_announced_takes_no_memory() -> None:
    with Subject.spawn() as actor:
        before = memory_of(actor.pid_)
        with contextlib.closing(connect_with_key(address_of(actor))) as bad:
            bad.write(header(Kind.CALL, 0, 1, 256 * MB))
            for _ in range(20):
                assert actor.ping() == "pong"
            grown = max(memory_of(actor.pid_) - before for _ in range(100))
        assert grown < 32 * MB


@fault(
    52,
    "A caller with a wrong key",
    sees="that caller gets `NotListeningError`; nothing from it is unpickled",
)
def test_52_nothing_is_unpickled_of_who_has_a_wrong_key(tmp_path: Path, within: Within) -> None:
    marker = tmp_path / "unpickled"
    with Subject.spawn() as actor:
        wrong = address_of(actor)._replace(key=Key.new())
        with within(DEATH):
            with pytest.raises(NotListeningError):
                Stranger(wrong).call("ping")
            with connected(wrong) as sock:
                answer, _ = answer_to(receive(sock, GREETING), wrong.key)
                sock.sendall(answer + marked_call(marker))  # as if it had been let in
                assert is_closed(sock)
        assert actor.ping() == "pong"
    assert not marker.exists()


@fault(52, "50 connections at once that send nothing", sees="other callers are served meanwhile")
def test_52_clients_that_say_nothing_hinder_nobody(start_method: str, within: Within) -> None:
    with (
        contextlib.ExitStack() as stack,
        Subject.options(start_method=start_method).spawn() as actor,
    ):
        for _ in range(50):
            stack.enter_context(connected(address_of(actor)))
        with within(DEATH):
            good = Stranger(address_of(actor))
            assert good.call("ping") == actor.ping() == "pong"
            good.close()


@fault(
    52,
    "A caller of another user",
    sees=(
        "it cannot reach the socket; if it could, it is refused because of its user id, even "
        "with the key"
    ),
)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@needs_peers_user
@pytest.mark.parametrize(("reachable", "keyed"), [(False, True), (True, True), (True, False)])
def test_52_a_client_of_another_user_is_refused(
    reachable: bool, keyed: bool, within: Within
) -> None:
    def call_as_nobody(address: Address) -> int:
        """1: it can't be reached; 2: he was hung up on; 0: he was let in."""
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        try:
            sock = connect(address)
        except PermissionError:
            return 1
        try:  # he asks nobody who the listener is
            sock.sendall(answer_to(receive(sock, GREETING), address.key)[0])
            receive(sock, DIGEST)
        except (ConnectionError, AssertionError):
            return 2
        return 0

    import_for_handshakes()  # nobody could not read them
    with Subject.spawn() as actor, contextlib.ExitStack() as stack:
        address: Address = address_of(actor)
        if not keyed:
            address = address._replace(key=Key.new())
        place = Path(address.location)
        of_the_package, of_the_tests = [place, *place.parents[:2]], place.parents[2:4]
        for path in [*of_the_tests, *(of_the_package if reachable else [])]:
            stack.callback(path.chmod, path.stat().st_mode & 0o7777)
            path.chmod(0o777)
        with within(DEATH):
            pid = os.fork()
            if not pid:
                code = 3
                try:
                    code = call_as_nobody(address)
                finally:
                    os._exit(code)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert code == (2 if reachable else 1)
        assert actor.ping() == "pong"
    assert is_reaped(pid)
    assert until_gone(actor.pid_, 0)
