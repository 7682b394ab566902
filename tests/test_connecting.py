"""Who may connect, and what happens to everybody else: nothing, to the listener's good callers."""

import contextlib
import logging
import os
import resource
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import NotListeningError, Proxy, RemoteError, remote
from remoteobj.testing import Gate
from tests import internals
from tests.conftest import Launch
from tests.internals import (
    ANSWER,
    DIGEST,
    GREETING,
    HANDSHAKES,
    HEADER,
    MAX_FRAME,
    Address,
    AuthenticationError,
    Frame,
    Key,
    Kind,
    Stranger,
    address_of,
    answer_to,
    connect_with_key,
    decode_answer,
    dumps,
    socket_of,
)
from tests.strangers import (
    Marker,
    RawClient,
    call_frame,
    cast_frame,
    connected,
    frame,
    header,
    is_closed,
    leave_descriptors,
    marked_call,
    note_failed_accepts,
    receive,
)
from tests.tools import Scripts, until

NO_LISTENER = {"inline": "listens at no address", "ray": "has no socket that a stranger finds"}


@remote
class Target:
    def __init__(self) -> None:
        self.opened: list[str] = []

    def ping(self) -> str:
        return "pong"

    def count(self) -> Iterator[int]:
        yield from range(10)

    def park(self, gate: Gate) -> None:
        gate.park()

    def note(self, what: str) -> None:
        self.opened.append(what)

    def memory(self) -> int:
        """Kilobytes that this process ever used at once."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def descriptors(self) -> int:
        return len(os.listdir("/proc/self/fd"))


# ------------------------------------------------------------------ the directory


def test_the_socket_lies_in_a_directory_that_is_this_user_s_alone() -> None:
    with Target.spawn() as target:
        path = Path(address_of(target).location)
        assert stat.S_ISSOCK(path.stat().st_mode)
        for directory in (path.parent, path.parent.parent):
            found = directory.lstat()
            assert stat.S_IMODE(found.st_mode) == 0o700
            assert found.st_uid == os.getuid()
        assert path.parent.parent.parent == Path(os.environ["XDG_RUNTIME_DIR"])
    assert not path.exists()


SPAWN = """\
    import os
    from remoteobj import remote
    @remote
    class Target:
        def ping(self):
            return "pong"
    from tests.internals import address_of
    with Target.spawn() as target:
        print(target.ping(), os.path.dirname(address_of(target).location))
"""


def test_a_program_leaves_no_session_directory(script: Scripts, runtime: Path) -> None:
    result = script(SPAWN, XDG_RUNTIME_DIR=str(runtime)).finish(25.0)
    assert result.code == 0, result.err
    assert result.out.startswith(f"pong {runtime}/remoteobj-{os.getuid()}/")
    assert list(runtime.glob("*/*")) == []


def test_what_killed_processes_left_is_swept_and_what_lives_is_not(
    script: Scripts, runtime: Path
) -> None:
    root = runtime / f"remoteobj-{os.getuid()}"
    root.mkdir(mode=0o700)
    dead = root / "dead"
    (dead / "inner").mkdir(parents=True)
    (dead / "socket").write_text("")
    living = root / "alive"
    living.mkdir(mode=0o700)
    holder = internals.hold_directory(str(living))
    try:
        result = script(SPAWN, XDG_RUNTIME_DIR=str(runtime)).finish(25.0)
    finally:
        os.close(holder)
    assert result.code == 0, result.err
    assert [path.name for path in root.iterdir()] == ["alive"]


def test_a_directory_is_held_while_its_owner_lives_and_free_once_it_was_killed(
    script: Scripts, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    source = """\
        import signal
        from remoteobj import Proxy
        from tests.internals import address_of
        proxy = Proxy([])
        proxy.listen_()
        print(address_of(proxy).location, flush=True)
        signal.pause()
    """
    owner = script(source)
    try:
        path = Path(owner.line())
        internals.sweep()
        assert path.exists()
    finally:
        owner.close()
    assert path.exists()
    internals.sweep()
    assert not path.parent.exists()


def test_the_sweep_follows_no_symlink(
    tmp_path: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    root = runtime / f"remoteobj-{os.getuid()}"
    root.mkdir(mode=0o700)
    elsewhere.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    (elsewhere / "precious").write_text("")
    (root / "link").symlink_to(elsewhere)
    internals.sweep()
    assert (elsewhere / "precious").exists()


def as_symlink(root: Path) -> None:
    (root.parent / "real").mkdir(mode=0o700)
    root.symlink_to(root.parent / "real")


def world_writable(root: Path) -> None:
    root.mkdir()
    root.chmod(0o777)


def group_readable(root: Path) -> None:
    root.mkdir()
    root.chmod(0o750)


def a_file(root: Path) -> None:
    root.write_text("")


@pytest.mark.parametrize("prepare", [as_symlink, world_writable, group_readable, a_file])
@pytest.mark.parametrize("variable", ["XDG_RUNTIME_DIR", "TMPDIR"])
def test_a_root_that_is_not_safely_ours_is_refused(
    script: Scripts, runtime: Path, prepare: Callable[[Path], None], variable: str
) -> None:
    prepare(runtime / f"remoteobj-{os.getuid()}")
    environment = {"XDG_RUNTIME_DIR": "", variable: str(runtime)}
    result = script(SPAWN, **environment).finish(25.0)
    assert result.code == 1
    assert "PermissionError" in result.err
    assert "must be a directory of mode 0700" in result.err
    assert "set XDG_RUNTIME_DIR" in result.err
    assert "pong" not in result.out


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory away")
def test_a_root_of_another_user_is_refused(script: Scripts, runtime: Path) -> None:
    root = runtime / f"remoteobj-{os.getuid()}"
    root.mkdir(mode=0o700)
    os.chown(root, 12345, 12345)
    result = script(SPAWN, XDG_RUNTIME_DIR=str(runtime)).finish(25.0)
    assert result.code == 1
    assert "belongs to user" in result.err


def test_without_a_runtime_directory_that_will_do_the_temp_directory_is_taken(
    script: Scripts, runtime: Path
) -> None:
    long = runtime / ("x" * 80)  # the address of a socket ends after some hundred bytes
    long.mkdir(mode=0o700)
    for unfit in ("", str(runtime / "not there"), str(long)):
        result = script(SPAWN, XDG_RUNTIME_DIR=unfit, TMPDIR=str(runtime)).finish(25.0)
        assert result.code == 0, result.err
        assert f"pong {runtime}/remoteobj-" in result.out


# ------------------------------------------------------------------ the key


@pytest.mark.engines(skip=NO_LISTENER)
def test_a_wrong_key_is_refused_and_nothing_is_unpickled(launch: Launch, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    with Target.options(**launch).spawn() as target:
        wrong = address_of(target)._replace(key=Key.new())
        with pytest.raises((AuthenticationError, ConnectionError)):
            connect_with_key(wrong)
        with pytest.raises(NotListeningError):
            Stranger(wrong).get("opened")
        call = marked_call(marker)
        with connected(wrong) as sock:
            greeting = receive(sock, GREETING)
            answer, _ = answer_to(greeting, wrong.key)
            sock.sendall(answer + call)  # as if it had been let in
            assert is_closed(sock)
        with connected(wrong) as sock:
            receive(sock, GREETING)
            sock.sendall(call + bytes(ANSWER))  # and without an answer at all
            assert is_closed(sock)
        assert target.ping() == "pong"
        assert not marker.exists()


def test_an_answer_can_not_be_used_twice() -> None:
    with Target.spawn() as target:
        address = address_of(target)
        with connected(address) as first, connected(address) as second:
            answer, expected = answer_to(receive(first, GREETING), address.key)
            receive(second, GREETING)
            second.sendall(answer)  # overheard, say
            assert is_closed(second)
            first.sendall(answer)
            assert receive(first, len(expected)) == expected


def test_the_caller_sends_nothing_to_a_listener_that_does_not_know_the_key(
    tmp_path: Path,
) -> None:
    """Both prove themselves: whoever took the listener's place learns nothing, and is not read."""
    marker = tmp_path / "unpickled"
    address = internals.new_address()
    heard = b""

    def impostor(listener: socket.socket) -> None:
        nonlocal heard
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"remoteobj/1\n" + bytes(32))
            receive(sock, ANSWER)
            sock.sendall(bytes(32) + frame(Kind.VALUE, 1, dumps(Marker(marker))[0]))
            with contextlib.suppress(ConnectionError):
                heard = sock.recv(4096)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address.location)
        listener.listen()
        thread = threading.Thread(target=impostor, args=(listener,))
        thread.start()
        with pytest.raises(NotListeningError, match="does not have the key"):
            Stranger(address, "impostor").get("secret")
        thread.join(10)
    internals.withdraw_address(address)
    assert heard == b""
    assert not marker.exists()


def test_something_else_at_the_address_is_not_listening() -> None:
    address = internals.new_address()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address.location)
        listener.listen()

        def answer() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"x" * 100)
                is_closed(sock)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NotListeningError, match="not a listener of this version"):
            Stranger(address, "web").get("anything")
        thread.join(10)
    internals.withdraw_address(address)


# ------------------------------------------------------------------ those who only connect


@pytest.mark.engines(skip=NO_LISTENER)
@pytest.mark.parametrize("count", [1, 50, HANDSHAKES + 20])
def test_silent_clients_do_not_hinder_good_ones(launch: Launch, count: int) -> None:
    with contextlib.ExitStack() as stack, Target.options(**launch).spawn() as target:
        silent = [stack.enter_context(connected(address_of(target))) for _ in range(count)]
        began = time.monotonic()
        for _ in range(3):
            good = Stranger(address_of(target))
            assert good.call("ping") == "pong"
            good.close()
        assert target.ping() == "pong"
        assert time.monotonic() - began < 1.0
        assert len(silent) == count


def test_a_silent_client_is_dropped_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    internals.HANDSHAKE_SECONDS.set(monkeypatch, 0.1)
    with Target.options(engine="thread").spawn() as target:
        with connected(address_of(target)) as silent, connected(address_of(target)) as slow:
            slow.sendall(b"x")  # a byte now and then does not help
            assert is_closed(silent)
            assert is_closed(slow)
        assert target.ping() == "pong"


def test_the_eldest_of_too_many_silent_clients_is_dropped_first() -> None:
    with contextlib.ExitStack() as stack, Target.spawn() as target:
        clients = [
            stack.enter_context(connected(address_of(target))) for _ in range(HANDSHAKES + 1)
        ]
        for client in clients:
            receive(client, GREETING)
        assert is_closed(clients[0])
        clients[1].settimeout(0.0)
        with pytest.raises(BlockingIOError):
            clients[1].recv(1)


def test_a_client_that_leaves_in_mid_handshake_leaves_nothing() -> None:
    with Target.spawn() as target:
        before = target.descriptors()
        for sent in (b"", b"x", bytes(ANSWER - 1)):
            with connected(address_of(target)) as sock:
                receive(sock, GREETING)
                sock.sendall(sent)
        until(lambda: target.descriptors() == before)


def test_an_actor_without_descriptors_serves_its_callers_and_does_not_spin() -> None:
    with Target.spawn() as target:
        target.passto(note_failed_accepts)
        target.passto(leave_descriptors, 4)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(connected(address_of(target)))
            until(lambda: len(target.failed_accepts.__) >= 3)
            first, _, third, *_ = target.failed_accepts.__
            assert third - first >= 2 * internals.ACCEPT_PAUSE_SECONDS.value
            assert target.ping() == "pong"
        later = Stranger(address_of(target))  # there are descriptors again
        assert later.call("ping") == "pong"
        later.close()


@pytest.mark.parametrize("left", [1, 2])
def test_a_client_for_whose_pipes_there_is_no_room_is_refused_and_the_next_is_let_in(
    left: int,
) -> None:
    def ask() -> str:
        with contextlib.closing(Stranger(address_of(target))) as stranger:
            answer: str = stranger.call("ping")
            return answer

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Target.spawn() as target:
        assert ask() == "pong"  # what a handshake imports needs descriptors too
        assert target.ping() == "pong"  # the next that it looks at is who has left
        target.passto(leave_descriptors, left)
        with pytest.raises(NotListeningError):
            ask()
        target.passto(lambda _: resource.setrlimit(resource.RLIMIT_NOFILE, limits))
        assert ask() == "pong"


@contextlib.contextmanager
def answered(address: Address, descriptors: list[int], pieces: int = 1) -> Iterator[socket.socket]:
    """A caller with the key that sends these descriptors with each piece of its answer."""
    with connected(address) as sock:
        answer, _ = answer_to(receive(sock, GREETING), address.key)
        step = len(answer) // pieces
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for at in range(0, len(answer), step):
                socket.send_fds(sock, [answer[at : at + step]], descriptors)
        yield sock


@pytest.fixture
def odd_files(tmp_path: Path) -> Iterator[dict[str, list[int]]]:
    """What a caller may send in place of a pipe to read from and one to write to."""
    with contextlib.ExitStack() as stack:

        def opened(path: str | Path, flags: int = os.O_RDONLY) -> int:
            fd = os.open(path, flags)
            stack.callback(os.close, fd)
            return fd

        os.mkfifo(tmp_path / "fifo")
        reads, writes = os.pipe()
        stack.callback(os.close, reads)
        stack.callback(os.close, writes)
        both = opened(tmp_path / "fifo", os.O_RDWR)
        yield {
            "one pipe": [reads],
            "pipes the wrong way": [writes, reads],
            "a pipe twice": [reads, reads],
            "a pipe for both": [both, both],
            "a directory": [opened(tmp_path), writes],
            "a file": [opened(__file__), opened(os.devnull, os.O_WRONLY)],
            "three": [reads, writes, writes],
            "many": [reads, writes] * 60,
        }


ODD = ["one pipe", "pipes the wrong way", "a pipe twice", "a pipe for both", "a directory"]
ODD += ["a file", "three", "many"]


@pytest.mark.engines(skip={**NO_LISTENER, "tcp": "carries no descriptors"})
@pytest.mark.parametrize("name", ODD)
def test_odd_descriptors_cost_the_one_who_sends_them_his_connection_and_nobody_else(
    launch: Launch, odd_files: dict[str, list[int]], name: str
) -> None:
    with Target.options(**launch).spawn() as target:
        good = Stranger(address_of(target))
        assert good.call("ping") == "pong"
        before = target.descriptors()
        with answered(address_of(target), odd_files[name]) as bad:
            assert is_closed(bad)
        until(lambda: target.descriptors() == before)
        with contextlib.closing(Stranger(address_of(target))) as newcomer:
            assert newcomer.call("ping") == good.call("ping") == target.ping() == "pong"
        assert target.status_(timeout=10).state == "running", "its control thread answers"
        good.close()


def test_no_descriptor_is_kept_of_a_caller_who_has_not_proved_himself(
    odd_files: dict[str, list[int]],
) -> None:
    """He sends two with each byte: a connection would come to hold more than a hundred."""
    with Target.spawn() as target:
        before = target.descriptors()
        with answered(address_of(target), odd_files["pipes the wrong way"], ANSWER) as bad:
            assert is_closed(bad)
            until(lambda: target.descriptors() == before)
        assert target.ping() == "pong"


def test_a_caller_without_pipes_is_served_by_the_socket() -> None:
    with Target.spawn() as target, answered(address_of(target), []) as sock:
        receive(sock, DIGEST)
        sock.sendall(call_frame(1, "ping"))
        kind, *_ = HEADER.unpack(receive(sock, HEADER.size))
        assert kind == Kind.VALUE


# ------------------------------------------------------------------ those who talk nonsense


NONSENSE = {
    "garbage": b"\xff" * 64,
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a huge payload": header(Kind.CALL, 0, 1, MAX_FRAME + 1),
    "the hugest payload": header(Kind.CALL, 0, 1, 2**64 - 1),
    "huge buffers": header(Kind.CALL, 2, 1, 0) + struct.pack("<2Q", MAX_FRAME, 1),
    "a release of nothing": header(Kind.RELEASE, 0, 1, 0),
    "memory that is not shared": header(Kind.CALL, 1, 1, 0) + struct.pack("<Q", 2**63 + 1),
    "memory that never came": header(Kind.CALL, 1, 1, 0) + struct.pack("<Q", 2**63 + 2**62 + 1),
}


@pytest.mark.engines(skip=NO_LISTENER)
@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_costs_the_one_who_talks_it_his_connection_and_nobody_else(
    launch: Launch, name: str
) -> None:
    with Target.options(**launch).spawn() as target:
        good = Stranger(address_of(target))
        assert good.call("ping") == "pong"
        before = target.memory()
        with contextlib.closing(connect_with_key(address_of(target))) as bad:
            bad.write(NONSENSE[name])
            assert is_closed(socket_of(bad))
        assert good.call("ping") == target.ping() == "pong"
        assert target.memory() - before < 50_000
        good.close()


@pytest.mark.engines(skip=NO_LISTENER)
def test_who_talks_nonsense_is_told_so_and_what_he_had_asked_for_is_not_run(
    launch: Launch, gate: Gate
) -> None:
    """As he finds it: only of the call that was being run may he not know what came of it."""
    with Target.options(**launch).spawn() as target:
        client = RawClient(address_of(target))
        client.call("park", gate)
        gate.wait_for_arrival()
        client.call("note", "a call")
        client.send(cast_frame("note", "a cast"))
        second = Gate()
        later = target.future_.park(second)  # so that the actor has read them, and not run them
        gate.open()
        second.wait_for_arrival()
        client.send(NONSENSE["text"])
        second.open()
        later.result()
        first, last = client.read(2)
        assert (first.kind, first.call_id, last.kind) == (Kind.VALUE, 1, Kind.HANGUP)
        assert b"buffers are too many" in last.payload
        assert target.opened.get_() == []
        client.close()


@pytest.mark.parametrize("kind", [Kind.CREDIT, Kind.CLOSE, Kind.VALUE, Kind.GOODBYE, Kind.STOP])
def test_a_frame_that_is_none_of_a_caller_s_business_does_nothing(kind: int) -> None:
    """Orders in particular are the owner's alone, and come by another channel."""
    with Target.spawn() as target:
        client = RawClient(address_of(target))
        with contextlib.closing(client), contextlib.suppress(Exception):
            client.send(header(kind, 0, 77, 4) + bytes(4))
            client.call("ping")
            client.read(1)
        assert target.ping() == "pong"
        assert target.alive_


@pytest.mark.engines(skip=NO_LISTENER)
@pytest.mark.parametrize("cut", [1, HEADER.size - 1, HEADER.size + 1, -1])
def test_a_truncated_call_is_dropped_with_its_connection(
    launch: Launch, tmp_path: Path, cut: int
) -> None:
    marker = tmp_path / "unpickled"
    call = marked_call(marker)
    with Target.options(**launch).spawn() as target:
        with contextlib.closing(connect_with_key(address_of(target))) as bad:
            bad.write(call[:cut])
        assert target.ping() == "pong"
        assert not marker.exists()
        with contextlib.closing(connect_with_key(address_of(target))) as whole:
            whole.write(call)  # and the whole of it has an effect
            assert select.select([whole], [], [], 10)[0]
        assert marker.exists()


@pytest.mark.engines(skip=NO_LISTENER)
def test_a_payload_that_can_not_be_unpickled_fails_that_call_alone(launch: Launch) -> None:
    with Target.options(**launch).spawn() as target:
        client = RawClient(address_of(target))
        client.send(frame(Kind.CALL, 1, b"not a pickle"))
        client.send(frame(Kind.CALL, 2, b""))
        client.send(call_frame(3, "ping"))
        kinds = [one.kind for one in client.read(3)]
        assert kinds == [Kind.ERROR, Kind.ERROR, Kind.VALUE]
        client.close()
        assert target.ping() == "pong"


ERRORS: dict[str, Callable[[], BaseException]] = {
    "one that ends an actor": internals.thread_unwind,
    "Ctrl-C": KeyboardInterrupt,
    "the end of the program": lambda: SystemExit(3),
}


@pytest.mark.engines(skip=NO_LISTENER)
@pytest.mark.parametrize("name", ERRORS)
def test_an_error_that_is_raised_in_a_generator_ends_that_stream_alone(
    launch: Launch, name: str
) -> None:
    error = ERRORS[name]()
    with Target.options(**launch).spawn() as target:
        client = RawClient(address_of(target))
        client.call("count")
        assert [one.kind for one in client.read(1)] == [Kind.STREAM]
        client.send(frame(Kind.CREDIT, 1, struct.pack("<I", 1)))
        assert [one.kind for one in client.read(1)] == [Kind.ITEM]
        client.send(frame(Kind.RAISE, 1, internals.packed(error)))
        assert [one.kind for one in client.read(1)] == [Kind.ERROR]
        client.call("ping")
        assert [one.kind for one in client.read(1)] == [Kind.VALUE]
        assert target.ping() == "pong"
        client.close()


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_in_a_reply_does_not_end_the_caller_whatever_it_is(name: str) -> None:
    """An actor sends none of these: the caller does not rely on that."""
    reply = Frame(Kind.ERROR, 1, internals.packed(ERRORS[name]()))
    with pytest.raises(RemoteError):
        decode_answer(reply)


def test_what_goes_wrong_by_a_client_s_input_ends_that_client_alone_and_is_told(
    monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    mistake = RuntimeError("a mistake of ours")
    with Target.options(engine="thread").spawn() as target:
        internals.fail_at_probes(monkeypatch, mistake)
        with contextlib.closing(connect_with_key(address_of(target))) as bad:
            bad.write(frame(Kind.PROBE, 1, b""))
            assert is_closed(socket_of(bad))
        assert target.ping() == "pong"
    assert told == [mistake]


def test_what_goes_wrong_at_a_handshake_ends_that_one_alone_and_is_told(
    monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    mistake = RuntimeError("a mistake of ours")
    with Target.options(engine="thread").spawn() as target:
        internals.fail_at_the_next_handshake(monkeypatch, mistake)
        with connected(address_of(target)) as sock:
            receive(sock, GREETING)
            sock.sendall(b"x")
            assert is_closed(sock)
        with contextlib.closing(Stranger(address_of(target))) as newcomer:
            assert newcomer.call("ping") == target.ping() == "pong"
    assert told == [mistake]


def test_an_order_that_goes_wrong_is_told_to_who_gave_it_and_the_next_is_followed(
    monkeypatch: pytest.MonkeyPatch, told: list[Any]
) -> None:
    mistake = RuntimeError("a mistake of ours")
    with Target.options(engine="thread").spawn() as target:
        with monkeypatch.context() as patch:
            internals.fail_at_status(patch, mistake)
            with pytest.raises(NotListeningError, match="the order failed: Runtime"):
                target.status_(timeout=10)
        assert target.status_(timeout=10).state == "running"
    assert told == [mistake]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The failures that are told of in the log."""
    found: list[Any] = []
    logger = logging.getLogger("remoteobj")
    monkeypatch.setattr(logger, "error", lambda *args, exc_info: found.append(exc_info))
    return found


def test_a_listener_of_a_plain_proxy_is_as_careful() -> None:
    proxy: Any = Proxy([1, 2, 3])
    with proxy.listen_():
        wrong = address_of(proxy)._replace(key=Key.new())
        with pytest.raises((AuthenticationError, ConnectionError)):
            connect_with_key(wrong)
        other = Stranger(address_of(proxy))
        assert other.length() == 3
        other.close()
