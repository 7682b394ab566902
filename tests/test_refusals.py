"""Whoever watches a process learns of each connection that it refuses, once, and why."""

import contextlib
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import NotListeningError, remote
from tests import internals
from tests.internals import (
    GREETING,
    HANDSHAKES,
    Stranger,
    address_of,
    another,
    connect_with_key,
    socket_of,
)
from tests.marks import needs_peers_user
from tests.strangers import connected, is_closed, leave_descriptors, receive
from tests.tools import Scripts, until

Refusal = tuple[Any, ...]


@remote
class Watched:
    """Notes what its process tells of refusals, until it ends."""

    def __init__(self) -> None:
        self.events: list[Refusal] = []
        self.records: list[str] = []
        sys.addaudithook(self.hear)
        handler = logging.Handler()
        handler.emit = self.note  # type: ignore[method-assign]
        logger = logging.getLogger("remoteobj")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False

    def hear(self, event: str, args: Refusal) -> None:
        if event == "remoteobj.refuse":
            self.events.append(args)

    def note(self, record: logging.LogRecord) -> None:
        assert record.levelno == logging.DEBUG
        self.records.append(record.getMessage())

    def ping(self) -> str:
        return "pong"

    def call(self, stranger: Stranger) -> None:
        stranger.call("anything")


@pytest.fixture
def watched() -> Iterator[Any]:
    with Watched.spawn() as handle:
        yield handle


def the_refusal_of(watched: Any) -> Refusal:
    """The only one that it has told of, both ways."""
    until(lambda: watched.records.get_())
    (event,), (record,) = watched.events.get_(), watched.records.get_()
    reason, why = event
    assert record == f"refused a connection ({reason}): {why}"
    return reason, why


def test_a_wrong_key_is_told(watched: Any) -> None:
    with pytest.raises(NotListeningError):
        Stranger(another(address_of(watched))).call("ping")
    assert the_refusal_of(watched) == ("proof", "the caller does not have the key of this listener")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@needs_peers_user
def test_another_user_is_told(watched: Any) -> None:
    place = Path(address_of(watched).location)
    with contextlib.ExitStack() as stack:
        for path in [place, *place.parents[:4]]:
            stack.callback(path.chmod, path.stat().st_mode & 0o7777)
            path.chmod(0o777)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.setuid(65534)
                with connected(address_of(watched)) as sock:
                    code = 0 if is_closed(sock) else 2
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
    assert the_refusal_of(watched) == ("user", "the caller is another user's, of number 65534")


def test_a_caller_whose_time_is_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    internals.HANDSHAKE_SECONDS.set(monkeypatch, 0.1)
    with Watched.options(start_method="fork").spawn() as watched:
        with connected(address_of(watched)) as silent:
            assert is_closed(silent)
        assert the_refusal_of(watched) == ("timeout", "no proof within 0.1 s")


def test_one_too_many_is_told(watched: Any) -> None:
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(connected(address_of(watched))) for _ in range(HANDSHAKES + 1)
        ]
        for client in clients:
            receive(client, GREETING)
        assert is_closed(clients[0])
        told = "crowd", f"{HANDSHAKES} others are about to prove themselves"
        assert the_refusal_of(watched) == told


def test_what_is_no_message_is_told(watched: Any) -> None:
    with contextlib.closing(connect_with_key(address_of(watched))) as bad:
        bad.write(b"\xff" * 64)
        assert is_closed(socket_of(bad))
    reason, why = the_refusal_of(watched)
    assert reason == "frame"
    assert "too many" in why


def test_a_lack_of_descriptors_is_told(watched: Any) -> None:
    watched.ping()
    with contextlib.closing(Stranger(address_of(watched))) as first:
        assert first.call("ping") == "pong"  # what a handshake imports needs descriptors too
    watched.ping()  # the next that it looks at is who has left
    watched.passto(leave_descriptors, 2)
    with pytest.raises(NotListeningError):
        Stranger(address_of(watched)).call("ping")
    assert the_refusal_of(watched)[0] == "resources"


def test_a_caller_that_leaves_or_comes_in_is_not_refused(watched: Any) -> None:
    for sent in (b"", b"x"):
        with connected(address_of(watched)) as sock:
            receive(sock, GREETING)
            sock.sendall(sent)
    with contextlib.closing(Stranger(address_of(watched))) as good:
        assert good.call("ping") == "pong"
    with pytest.raises(NotListeningError):
        Stranger(another(address_of(watched))).call("ping")
    assert the_refusal_of(watched)[0] == "proof"


def test_a_listener_that_is_refused_is_told_too(watched: Any) -> None:
    address = internals.new_address()

    def pose() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"HTTP/1.1 200 OK\r\n" + b"x" * 100)
            is_closed(sock)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(address.location)
        listener.listen()
        thread = threading.Thread(target=pose)
        thread.start()
        with pytest.raises(NotListeningError, match="not a listener of this version"):
            watched.passto(lambda _: Stranger(address).call("anything"))
        thread.join(10)
    internals.withdraw_address(address)
    reason, why = the_refusal_of(watched)
    assert (reason, why) == ("proof", "this is not a listener of this version of remoteobj")


# ------------------------------------------------------------------ those who watch


def raise_in_hook(event: str, _: Any) -> None:
    if event == "remoteobj.refuse":
        raise ZeroDivisionError("the hook's own")


def test_a_hook_that_fails_is_told_so_and_the_next_caller_is_let_in(watched: Any) -> None:
    def prepare(obj: Any) -> None:
        obj.failed = []
        threading.excepthook = lambda told: obj.failed.append(told.exc_type.__name__)
        sys.addaudithook(raise_in_hook)

    watched.passto(prepare)
    for _ in range(2):
        with pytest.raises(NotListeningError):
            Stranger(another(address_of(watched))).call("ping")
    until(lambda: len(watched.failed.get_()) == 2)
    assert watched.failed.get_() == ["ZeroDivisionError"] * 2
    with contextlib.closing(Stranger(address_of(watched))) as good:
        assert good.call("ping") == "pong"


WITHOUT_LOGGING = """\
    import sys
    from remoteobj import Proxy
    from tests.internals import address_of, another, connect_with_key
    events = []
    sys.addaudithook(lambda event, args: event == "remoteobj.refuse" and events.append(args))
    proxy = Proxy([])
    with proxy.listen_():
        address = another(address_of(proxy))
        for name in [name for name in sys.modules if name.partition(".")[0] == "logging"]:
            del sys.modules[name]
        try:
            connect_with_key(address)
        except ConnectionError:
            pass
    print(len(events), "logging" in sys.modules)
"""


def test_a_program_that_does_not_log_does_not_load_logging_for_it(script: Scripts) -> None:
    ended = script(WITHOUT_LOGGING).finish()
    assert ended.out.split() == ["1", "False"], ended.err
