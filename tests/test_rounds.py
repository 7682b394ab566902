"""How a mailbox serves clients that come back at once: some turns more, while turns are short."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from remoteobj._actor import mailbox as mailbox_module
from remoteobj._actor.client_set import ClientSet
from remoteobj._actor.execution import SerialExecutor
from remoteobj._actor.mailbox import CROWD_LOOK_SECONDS, LOOK_SECONDS, Mailbox
from remoteobj._actor.schedule import ROUND_TURNS
from remoteobj._pickling.codec import dumps_call
from remoteobj._protocol.frames import encode
from remoteobj._protocol.messages import Frame, Kind
from remoteobj._wire.duplex import DuplexStream, duplex_pair

CLIENTS = 3


class Object:
    """Each call of it takes `seconds`, and its client sends the next one meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ends: list[DuplexStream] = []
        self.seconds = 0.0
        self.now = 0.0
        self.served: list[int] = []
        monkeypatch.setattr(mailbox_module, "clock", lambda: self.now)

    def send(self, who: int) -> None:
        payload, _ = dumps_call((("attr", "serve"), ("call", (who,), {})))
        self.ends[who].write(b"".join(map(bytes, encode(Frame(Kind.CALL, who + 1, payload)))))

    def serve(self, who: int) -> None:
        self.served.append(who)
        self.now += self.seconds
        self.send(who)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Object, Any]]:
    one = Object(monkeypatch)
    mailbox: Any = Mailbox(ClientSet(lambda client: None), SerialExecutor(lambda: one, _raise))
    with closing(mailbox):
        for _ in range(CLIENTS):
            ours, theirs = duplex_pair()
            one.ends.append(ours)
            mailbox.clients.attach(theirs)
        mailbox.process(0.0)
        yield one, mailbox
        for end in one.ends:
            end.close()


def _raise(exc: BaseException) -> None:
    raise exc


def serve(one: Object, mailbox: Any, seconds: float, count: int) -> list[int]:
    """Who is served, where all have sent a request and each call takes so long."""
    one.seconds = seconds
    for who in range(CLIENTS):
        one.send(who)
    while len(one.served) < count:
        mailbox.process(0.0, limit=1)
    return one.served[:count]


def test_a_client_that_is_back_at_once_goes_on_for_a_round(served: tuple[Object, Any]) -> None:
    found = serve(*served, CROWD_LOOK_SECONDS * 1.5, 3 * ROUND_TURNS)
    assert found == [0] * ROUND_TURNS + [1] * ROUND_TURNS + [2] * ROUND_TURNS


def test_clients_whose_calls_take_long_take_turns_call_by_call(
    served: tuple[Object, Any],
) -> None:
    assert serve(*served, 2 * LOOK_SECONDS, 9) == [0, 1, 2] * 3
