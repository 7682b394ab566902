"""A publication by itself: what a follower may say, and what a signal handler may publish."""

import struct
from collections.abc import Iterator

import pytest

from remoteobj._actor.clients import Client
from remoteobj._actor.control import Control
from remoteobj._actor.publication import Publication
from remoteobj._pickling.codec import loads
from remoteobj._protocol.config import DEFAULT_WIRE_OPTIONS
from remoteobj._protocol.frames import encode
from remoteobj._protocol.messages import Frame, FrameParts, Kind, credit_frame
from remoteobj._wire.channel import ChannelClosedError, StreamChannel
from remoteobj._wire.duplex import duplex_pair
from tests.tools import until


class Nobody:
    """Whom a control thread would report to, if it ran."""

    def __getattr__(self, name: str) -> object:
        return None


class Other:
    """A follower, that says what it likes."""

    def __init__(self, publication: Publication) -> None:
        ours, theirs = duplex_pair()
        self.channel = StreamChannel(ours)
        self._follower = publication.attach(theirs)
        self._hear = publication.hear

    def say(self, *frames: Frame | bytes) -> None:
        for frame in frames:
            self.channel.write([frame] if isinstance(frame, bytes) else encode(frame))
        self._hear(self._follower)

    def heard(self) -> list[Frame]:
        return self.channel.take()

    def follow(self, length: int = 1) -> "Other":
        self.say(Frame(Kind.CALL, 1, struct.pack("<Q", length)))
        assert [frame.kind for frame in self.heard()] == [Kind.STREAM]
        return self

    def items(self) -> list[object]:
        return [loads(one.payload, one.buffers) for one in self.heard() if one.kind == Kind.ITEM]

    @property
    def is_sent_away(self) -> bool:
        try:
            while self.heard():
                pass
        except ChannelClosedError:
            return True
        return False


@pytest.fixture
def publication() -> Iterator[Publication]:
    control = Control(Nobody(), "test")  # type: ignore[arg-type]
    made = Publication(control, DEFAULT_WIRE_OPTIONS)
    yield made
    made.finish(None)
    control.close()


@pytest.mark.parametrize(
    "said",
    [
        b"this is no frame, but long enough to be taken for the head of one " * 9,
        Frame(Kind.CALL, 1, b"three"),
        Frame(Kind.CALL, 1, b"\xff" * 8),
        Frame(Kind.CREDIT, 1, b"x"),
        Frame(Kind.RELEASE, 77),
    ],
    ids=["no frame", "no length", "an endless queue", "no credit", "memory that it has not"],
)
@pytest.mark.filterwarnings("ignore")
def test_who_says_what_cant_be_is_sent_away_and_no_other_notices(
    publication: Publication, said: Frame | bytes
) -> None:
    good, bad = Other(publication).follow(), Other(publication)
    bad.say(said)
    assert bad.is_sent_away
    good.say(credit_frame(1, 1))
    publication.publish("news")
    assert good.items() == ["news"]


def test_what_is_not_known_is_ignored(publication: Publication) -> None:
    other = Other(publication).follow()
    other.say(Frame(Kind.PROBE, 1, b"?"), Frame(99, 1), credit_frame(1, 1))
    publication.publish("news")
    assert other.items() == ["news"]


def test_what_is_asked_for_and_not_read_by_anybody_is_found_when_something_is_published(
    publication: Publication,
) -> None:
    other = Other(publication).follow()
    other.channel.write(encode(credit_frame(1, 1)))
    publication.publish("news")
    assert other.items() == ["news"]


def test_who_asks_for_more_gets_more_in_order(publication: Publication) -> None:
    other = Other(publication).follow(length=3)
    for item in range(5):
        publication.publish(item)
    other.say(credit_frame(1, 5))
    assert other.items() == [2, 3, 4]
    publication.publish(5)
    publication.publish(6)
    publication.publish(7)
    assert other.items() == [5, 6]


def test_what_a_signal_handler_publishes_on_top_of_a_publish_comes_after_it(
    publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Other(publication).follow(9), Other(publication).follow(9)
    for each in (one, other):
        each.say(credit_frame(1, 9))
    send, content = Client.send, bytearray(b"second" * 2**18)

    def interrupted(self: Client, frame: FrameParts) -> None:
        monkeypatch.setattr(Client, "send", send)
        publication.publish(content)
        content[:6] = b"spoilt"
        send(self, frame)

    monkeypatch.setattr(Client, "send", interrupted)
    publication.publish("first")
    for each in (one, other):
        first, second = each.items()
        assert first == "first"
        assert bytes(second[:6]) == b"second"  # type: ignore[index]


def test_a_reader_that_takes_nothing_in_leaves_the_publish_at_once_and_gets_the_newest(
    publication: Publication,
) -> None:
    other = Other(publication).follow()
    other.say(credit_frame(1, 1))
    text = "x" * 10_000_000
    publication.publish(text)  # more than the kernel takes
    other.say(credit_frame(1, 1))
    for item in range(50):
        publication.publish(item)
    found = list[object]()

    def all_came() -> bool:
        publication.turn(other._follower)
        found.extend(other.items())
        return len(found) == 2

    until(all_came)
    assert found == [text, 49]


def test_after_the_end_nothing_is_published_and_nobody_is_let_in(publication: Publication) -> None:
    other, late = Other(publication).follow(), Other(publication)
    publication.publish("last")
    publication.finish(None)
    publication.publish("too late")
    publication.finish(None)
    kinds = [frame.kind for frame in other.heard()]
    assert kinds == [Kind.ITEM, Kind.END]
    assert [frame.kind for frame in late.heard()] == [Kind.GOODBYE]
