"""What an object publishes, and those who follow it.

::

    publish ── pickled once ──> a short queue for each follower ──one for each time it asks──> it

A follower has a connection of its own, on which it asks for one item at a time: so one that is slow
or dead holds up neither the actor nor its other calls, and nothing piles up but the queue, out of
which the oldest item is dropped. An item goes out at once to those who wait for it, in the thread
that publishes, without ever waiting for room. What they ask is read by that thread too, where it
matters, and else by the control thread, whatever the object is busy with.

On the wire that is a stream, as a generator's: CALL with the length of the queue, answered by
STREAM; then CREDIT, answered by ITEM; CLOSE, answered by END. STREAM and ITEM say in their metadata
how many items had been published by then, which tells the follower how many it has missed.
"""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from .._engines.inline import InlineChannel
from .._pickling.codec import dumps
from .._protocol.config import WireOptions
from .._protocol.messages import (
    Bytes,
    Frame,
    Kind,
    MalformedFrameError,
    read_credit,
    refusal_of_unknown,
)
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.duplex import duplex_pair
from .._wire.transport import ByteStream
from ..errors import DeadlockError
from .clients import Client
from .control import Control
from .replies import value_frame

__all__ = ["Subscriber", "Publication"]

END_SECONDS: Final = 1.0
"""How long the followers have, all together, to take in what was begun for them, at the end."""
_NUMBER: Final = struct.Struct("<Q")


class _Published:
    """An item, as bytes. Its buffers are the item's own memory, until it is kept."""

    number = b""
    """How many were published with it."""

    def __init__(self, payload: bytes, buffers: list[memoryview]) -> None:
        self._payload = payload
        self._buffers = buffers

    def frame(self, call_id: int) -> Frame:
        """The frame that brings it to a follower."""
        return Frame(Kind.ITEM, call_id, self._payload, self._buffers, self.number)

    def keep(self) -> None:
        """It is sent later, when the object may have changed what it published."""
        self._buffers = [
            one if type(one.obj) is bytes else memoryview(bytes(one)) for one in self._buffers
        ]


class Subscriber:
    """One who follows, as the actor sees it. The publication's lock guards all of it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.fd = client.channel.fileno()
        self.call_id = 0
        """Of the call by which it began to follow; 0: it has not yet."""
        self.waiting: deque[_Published] = deque()
        """What it gets when it asks."""
        self.asked = 0
        """How many items it waits for."""

    def begin(self, call: Frame, published: int) -> None:
        """It follows from now on; until now so many items were published."""
        try:
            (length,) = _NUMBER.unpack(call.payload)
            self.waiting = deque(maxlen=length)
        except (struct.error, OverflowError) as exc:
            raise MalformedFrameError("a follower does not say how far it may lag") from exc
        self.call_id = call.call_id
        self.client.send(Frame(Kind.STREAM, self.call_id, b"", (), _NUMBER.pack(published)))

    def push(self) -> None:
        """Send what it has asked for."""
        client = self.client
        while self.asked > 0 and self.waiting and not (client.unsent or client.disconnected):
            self.asked -= 1
            client.send(self.waiting.popleft().frame(self.call_id))

    @property
    def waits(self) -> bool:
        """Whether it has asked for an item that is not there."""
        return self.asked > 0 and not (self.waiting or self.client.unsent)

    def end(self, last_word: Frame) -> None:
        """Send all that it would get if it asked, and this."""
        self.asked = len(self.waiting)
        self.push()
        self.client.send(last_word)


class Publication:
    """The items that one object publishes, and its followers.

    Guarantee: `publish` waits for nobody. It takes the time to pickle the item, and to copy it for
    each follower that gets it at once.
    """

    def __init__(self, control: Control, wire_options: WireOptions) -> None:
        self._control = control
        self._wire_options = wire_options
        self._lock = threading.RLock()
        self._busy = False
        """Whether a thread is at it; it is the calling one, if that has the lock."""
        self._inbox: deque[_Published] = deque()
        """What was published and is not handed out."""
        self._number = 0
        """How many items were published while anybody followed."""
        self._followers: list[Subscriber] = []
        self._over = False

    def publish(self, item: object) -> None:
        """Give an item to all who follow.

        Raises:
            UnsendableError: it can't be pickled, and somebody follows.
        """
        if not self._followers:
            return
        published = _Published(*dumps(item, "item", self._wire_options.writable))
        self._inbox.append(published)
        with self._alone() as outermost:
            if not outermost:
                published.keep()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[bool]:
        """The time in which this thread alone deals with the followers; and then with what was
        published meanwhile. False: it does so already, further down its stack, and this is within
        a signal handler or a finalizer that publishes something."""
        with self._lock:
            outermost, self._busy = not self._busy, True
            try:
                yield outermost
                while outermost and self._inbox:
                    self._hand_out(self._inbox.popleft())
            finally:
                self._busy = not outermost

    def _hand_out(self, published: _Published) -> None:
        self._number += 1
        published.number = _NUMBER.pack(self._number)
        for follower in [one for one in self._followers if one.call_id]:
            if not follower.asked:
                self._take_in(follower)  # the control thread may not have got round to it
            follower.waiting.append(published)
            follower.push()
        if any(one.waiting and one.waiting[-1] is published for one in self._followers):
            published.keep()

    # --- followers -------------------------------------------------------------------------

    def attach(self, stream: ByteStream) -> Subscriber:
        """Let one more follow, who says how by a call."""
        channel = StreamChannel(stream, wire_options=self._wire_options)
        client = Client(channel, self._flush_later, lambda: self._say(client), patience=0.0)
        follower = Subscriber(client)
        with self._alone():
            self._followers.append(follower)
        self._attend(follower)
        return follower

    def inline_channel(self) -> InlineChannel:
        """The channel of a follower in the thread of an actor that has no other."""
        ours, theirs = duplex_pair()
        follower = self.attach(theirs)
        return InlineChannel(ours, self._wire_options, lambda: self.turn(follower))

    def turn(self, follower: Subscriber) -> None:
        """Do what is at hand, for a follower in whose thread the actor works.

        Raises:
            DeadlockError: the follower waits, and nobody is left who would publish something.
        """
        follower.client.flush()
        with self._alone():
            follower.push()
            self._take_in(follower)
        if follower.waits and not self._over:
            raise DeadlockError(
                "nothing new is published, and nothing will be while this thread waits for it: an "
                "inline actor works in the thread that calls it"
            )

    def _attend(self, follower: Subscriber) -> None:
        if self._control.begun:
            self._control.attend(follower.fd, lambda: self.hear(follower))

    def _flush_later(self, client: Client) -> None:
        if self._control.begun:
            self._control.flush_then(client, self._resume)

    def _say(self, client: Client) -> None:
        """Write what is to be said about the connection itself."""
        if self._control.begun:
            self._control.do(client.send_outbox)

    def _resume(self, client: Client) -> None:
        """A slow follower has taken in what was begun for it."""
        with self._alone():
            for follower in [one for one in self._followers if one.client is client]:
                follower.push()
                self._attend(follower)  # by the same descriptor, in some transports, it was written

    def hear(self, follower: Subscriber) -> None:
        """Take in what a follower has said."""
        with self._alone():
            self._take_in(follower)

    def _take_in(self, follower: Subscriber) -> None:
        """Take in what a follower has said. If that can't be, it is sent away."""
        client = follower.client
        if client.disconnected:
            return
        try:
            for frame in client.channel.take():
                _HANDLERS.get(frame.kind, Publication._refuse_unknown)(self, follower, frame)
        except ChannelClosedError:
            self._forget(follower)
        except Exception as exc:
            client.refuse(exc)
            self._forget(follower)

    def _on_call(self, follower: Subscriber, call: Frame) -> None:
        follower.begin(call, self._number)

    def _on_credit(self, follower: Subscriber, credit: Frame) -> None:
        follower.asked += read_credit(credit)
        follower.push()

    def _on_close(self, follower: Subscriber, close: Frame) -> None:
        follower.client.send(value_frame(Kind.END, close.call_id, None))
        self._forget(follower)

    def _on_channel(self, follower: Subscriber, frame: Frame) -> None:
        follower.client.channel.hear(frame)

    def _refuse_unknown(self, follower: Subscriber, frame: Frame) -> None:
        if (refusal := refusal_of_unknown(frame, "a publication knows no message")) is not None:
            follower.client.send(refusal)

    def _forget(self, follower: Subscriber) -> None:
        if follower in self._followers:
            self._followers.remove(follower)
        client = follower.client
        client.disconnected = True
        if self._control.begun:
            self._control.leave(follower.fd, client.channel.close)
        else:
            client.channel.close()

    # --- the end ---------------------------------------------------------------------------

    def finish(self, failure: Bytes | None) -> None:
        """End all iterations. Harmless when done twice.

        Args:
            failure: why the actor failed, packed, or nothing where that is not known; None: it did
                not, and comes to its end in order.
        """
        with self._alone():
            self._over = True
            leaving = [*self._followers]
            for follower in leaving:
                if failure is not None or not follower.call_id:
                    follower.end(Frame(Kind.GOODBYE, 0, failure or b""))
                else:
                    follower.end(value_frame(Kind.END, follower.call_id, None))
        end = time.monotonic() + END_SECONDS
        for follower in leaving:
            while not follower.client.flush() and time.monotonic() < end:
                if not follower.client.channel.wait_to_write(False, end):
                    break
        with self._alone():
            for follower in leaving:
                self._forget(follower)


_HANDLERS: Final[dict[int, Callable[[Publication, Subscriber, Frame], None]]] = {
    Kind.CALL: Publication._on_call,
    Kind.CREDIT: Publication._on_credit,
    Kind.CLOSE: Publication._on_close,
    Kind.RELEASE: Publication._on_channel,
    Kind.FORGET: Publication._on_channel,
}
"""What is done with what a follower says, by its kind."""
