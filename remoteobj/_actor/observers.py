"""Those who look in: processes that have the key, and ask or order what the owner can.

Each has a connection of its own, read by the control thread, so that a busy actor answers at once.
What one of them sends, or does not read, ends its own connection and touches nobody else.
Imported only by an actor that somebody looks into.
"""

from __future__ import annotations

from collections.abc import Callable

from .._catching.unseen import tell
from .._protocol.messages import Frame, MalformedFrameError, refusal
from .._wire.channel import ChannelClosedError, StreamChannel
from .._wire.transport import ByteStream
from ..errors import describe
from .clients import Client
from .control import Control

__all__ = ["Observers"]


class Observers:
    """Those of one actor. Everything here is done by its control thread.

    Args:
        follow: does what an order says; the answer, if it wants one.
    """

    def __init__(self, control: Control, follow: Callable[[Frame], Frame | None]) -> None:
        self._control = control
        self._follow = follow
        self._open: dict[int, Client] = {}
        """By the descriptor that tells when one says something."""

    def attach(self, stream: ByteStream) -> None:
        """Let one more look in."""
        client = Client(StreamChannel(stream), self._flush_later, _nothing, patience=0.0)
        self._open[stream.fileno()] = client
        self._attend(client)

    def close(self) -> None:
        """End their connections, now that the control thread has ended."""
        while self._open:
            self._open.popitem()[1].channel.close()

    def _attend(self, client: Client) -> None:
        self._control.attend(client.channel.fileno(), lambda: self._hear(client))

    def _flush_later(self, client: Client) -> None:
        self._control.flush_then(client, self._attend)

    def _hear(self, client: Client) -> None:
        try:
            for frame in client.channel.take():
                self._answer(client, frame)
        except ChannelClosedError:
            self._forget(client)
        except Exception as exc:
            client.refuse(exc)
            self._forget(client)

    def _answer(self, client: Client, order: Frame) -> None:
        if client.unsent:
            raise MalformedFrameError("an observer asks on, and does not read what it was told")
        try:
            answer = self._follow(order)
        except MalformedFrameError:
            raise
        except Exception as exc:
            tell("what an observer of a remote object asked for failed", exc)
            answer = refusal(order, f"the order failed: {describe(exc)}")
        if answer is not None:
            client.send(answer)

    def _forget(self, client: Client) -> None:
        fd = client.channel.fileno()
        if self._open.pop(fd, None) is not None:
            self._control.leave(fd, client.channel.close)


def _nothing() -> None:
    """What the channel has to say of its own goes along with an answer."""
