"""What becomes of each frame that a caller reads, and of all its calls when no more will come.

Guarantee: every call that is open gets an outcome, by a frame or by the end of the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from .._protocol.calls import (
    CallTable,
    ErrorFactory,
    GoodbyeErrors,
    PendingCall,
    hung_up,
    interrupted,
)
from .._protocol.messages import Frame, Kind, refusal_of_unknown
from .._wire.channel import Channel
from ..errors import NotListeningError
from .async_calls import AsyncCalls

__all__ = ["Incoming"]


class Incoming:
    """Hands each frame to what it is about. Only the thread whose turn it is to read delivers.

    Args:
        renewable: whether another connection may follow when the other side has closed. What could
            not be sent by this one, and so was surely not executed, is sent by that then.
    """

    closed_because: ErrorFactory | None = None
    """Why nothing can be sent or read any more; None while it can."""
    actor_lives_on = False
    """Whether the connection has ended for a reason of its own, so that another may be made."""

    def __init__(
        self,
        channel: Channel,
        calls: CallTable,
        async_calls: AsyncCalls,
        lost: ErrorFactory,
        goodbye_error: GoodbyeErrors,
        renewable: bool = False,
    ) -> None:
        if Incoming.closed_because is not None:
            self.closed_because = None
        self._channel = channel
        self._calls = calls
        self._async_calls = async_calls
        self.renewable = renewable
        self._lost = lost
        self._goodbye_error = goodbye_error
        self.post: Callable[[Frame], object] = _ignore
        """Has a frame written, without waiting."""

    def deliver(self, frame: Frame) -> None:
        """Hand out a frame that was read.

        Raises:
            MalformedFrameError: it says what can't be.
        """
        if frame[0] in _ABOUT_CALLS:
            if in_flight := self._async_calls.in_flight:
                # Before it is delivered: who is told of it may have the call watched again at once.
                in_flight.pop(frame[1], None)
            self._calls.receive(frame)
        else:
            _HANDLERS.get(frame[0], Incoming._refuse_unknown)(self, frame)

    def _on_begun(self, frame: Frame) -> None:
        self._calls.begun_up_to = frame.call_id

    def _on_in_turn(self, frame: Frame) -> None:
        self._calls.begun_up_to = None

    def _on_goodbye(self, frame: Frame) -> None:
        self.close(self._goodbye_error(frame.payload))

    def _on_hangup(self, frame: Frame) -> None:
        self.hang_up(bytes(frame.payload).decode(errors="replace"))

    def _on_channel(self, frame: Frame) -> None:
        self._channel.hear(frame)

    def _refuse_unknown(self, frame: Frame) -> None:
        """A kind of a later version: to be told so, where its sender waits for an answer."""
        if (refusal := refusal_of_unknown(frame, "this caller knows no message")) is not None:
            self.post(refusal)

    # --- the end -------------------------------------------------------------------------

    def close(self, why: ErrorFactory | None = None) -> None:
        """End the connection; without a reason, as one that is lost. Only the first end counts."""
        if self.closed_because is None:
            self.closed_because = why or self._lost
            self._calls.fail_all(self.closed_because)
            self._async_calls.in_flight.clear()

    def interrupt(self) -> None:
        """End the connection after an exception, by Ctrl-C say, in the midst of a read or a write:
        how much was read or written is unknown, so that no later frame could be trusted."""
        self.actor_lives_on = True
        self.close(interrupted)

    def hang_up(self, why: str) -> None:
        """End the connection since one end can't read on, for want of memory, say."""
        self.actor_lives_on = True
        self.close(hung_up(why))

    def after_fork(self) -> None:
        """In a forked child: the connection is the parent's, who gets the outcomes."""
        self.closed_because = _of_the_parent

    @classmethod
    def leave_all_to_parent(cls) -> bool:
        """The same for all that there are, without looking at each; False: there are some for which
        that does not do."""
        if cls.closed_because is not None:
            return False  # it has been done in the parent already, which has made others since
        cls.closed_because = staticmethod(_of_the_parent)
        return True

    def fail_unsent(self, call: PendingCall) -> None:
        """Give a call its outcome that was not sent whole, and so has surely not begun."""
        call.fail(partial(self.closed_because or self._lost, False))

    def fail_if_closed(self, call: PendingCall) -> None:
        """Give a call its outcome that was opened when the connection was just ending."""
        if self.closed_because is not None and not call.over:
            call.fail(partial(self.closed_because, False))


_ABOUT_CALLS: Final = frozenset(
    (Kind.VALUE, Kind.RETURNED_SELF, Kind.ERROR, Kind.REFUSED, Kind.STREAM, Kind.ITEM, Kind.END)
)
_HANDLERS: Final[dict[int, Callable[[Incoming, Frame], None]]] = {
    Kind.BEGUN: Incoming._on_begun,
    Kind.IN_TURN: Incoming._on_in_turn,
    Kind.GOODBYE: Incoming._on_goodbye,
    Kind.HANGUP: Incoming._on_hangup,
    Kind.RELEASE: Incoming._on_channel,
    Kind.FORGET: Incoming._on_channel,
}


def _of_the_parent(_: bool) -> BaseException:
    return NotListeningError("this connection belongs to the parent process")


def _ignore(frame: Frame) -> None:
    """Where nobody writes, nothing is refused."""
