"""Many actors, looked at again and again, at little cost to them and to whoever looks.

One thread asks all of them, by connections that stay open, and waits for all answers together. One
that has used no processor time since it was asked last has done nothing either, and so is not asked
again; to know that takes one system call for each. What it did within its last answer's own moment
can be missed by that, so that each is asked again after some seconds all the same.

Connections are kept as long as there are descriptors for them.
"""

from __future__ import annotations

import resource
import select
import time
from collections.abc import Callable, Collection
from typing import Final

from ._caller.answers import decode_answer
from ._fast_typing import NamedTuple
from ._looking import ActorInfo, info_of, state_of
from ._os.process_table import cpu_clock
from ._protocol.frames import encode
from ._protocol.messages import Flag, Frame, Kind, MalformedFrameError
from ._wire.auth import ORDERS, AuthenticationError
from ._wire.channel import ChannelClosedError, StreamChannel
from ._wire.registry import transport_of
from ._wire.roster import Entry
from ._wire.rosters import Listed, RosterReader, living

__all__ = ["Glance", "Watch"]

CONNECT_SECONDS: Final = 0.25
"""How long one actor may take to let the observer in; those that take longer are tried later."""
RETRY_SECONDS: Final = 2.0
"""How much later."""
REST_SECONDS: Final = 5.0
"""How long what one that rests has said is believed."""
TRAILING: Final = 40_000
"""Nanoseconds of processor time that an actor takes after its answer, for that alone. A request
takes more."""
DESCRIPTORS: Final = 3
"""How many a connection takes."""
OTHERS: Final = 64
"""How many are left to the rest of the program."""


class Glance(NamedTuple):
    """One actor, as a `Watch` has seen it."""

    info: ActorInfo
    state: str
    """`starting`, `running`, `draining` or `stopped`, as it says itself; where it has not
    answered, that of `info`."""
    call: str | None
    """The call that it runs, as `Status.call`; None: it runs none, or has never answered."""
    age: float
    """Seconds since that call began."""
    queued: int
    """How many requests wait, at least: of what one caller has sent while the actor was busy, it
    knows no more than that there is something."""
    done: int
    """How many requests it had run."""
    cpu_seconds: float
    """The processor time that its process has used, ever."""
    memory: int
    """Bytes of physical memory that its process uses."""
    silent: float
    """Seconds for which it has not answered; 0.0: it has, when it was asked last. What `call` and
    the others say is as old."""
    running: int = 0
    """How many calls it runs, `call` being one of them."""


class _Seen(NamedTuple):
    """What an actor has answered."""

    state: str = ""
    call: str | None = None
    age: float = 0.0
    done: int = 0
    queued: int = 0
    running: int = 0


class _Line:
    """The connection to one actor, and what came by it."""

    def __init__(self) -> None:
        self.channel: StreamChannel | None = None
        self.retry_at = 0.0
        self.seen = _Seen()
        self.seen_at = 0.0
        self.silent_since: float | None = None
        self.asked = 0
        """The number of the question that is open; 0: none is."""
        self.pid = 0
        """The process that was asked."""
        self.clock: int | None = None
        """Its processor time when it had answered; None: it may have done something since."""
        self._clock_then: int | None = None
        """The same at the moment of the answer."""

    def connect(self, entry: Entry, now: float) -> bool:
        """Connect to an actor; False: it can't be reached now."""
        if now < self.retry_at:
            return False
        address = entry.address
        try:
            stream = transport_of(address).connect(address, ORDERS, CONNECT_SECONDS)
        except (OSError, AuthenticationError):
            self.retry_at = time.monotonic() + RETRY_SECONDS
            self.is_silent(now)
            return False
        self.channel = StreamChannel(stream)
        return True

    def take(self) -> bool:
        """Take in what has come; whether nothing more is to come."""
        assert self.channel is not None
        try:
            for frame in self.channel.take():
                if frame.call_id == self.asked:
                    self._note(frame)
        except (ChannelClosedError, MalformedFrameError):
            self.close()
        return not self.asked

    def _note(self, answer: Frame) -> None:
        self.asked = 0
        if answer.kind == Kind.VALUE:  # else it is of a version that knows no such question
            self.seen = _Seen(*decode_answer(answer))
        self.seen_at, self.silent_since, self.retry_at = time.monotonic(), None, 0.0
        self._clock_then = cpu_clock(self.pid)

    def is_silent(self, now: float) -> None:
        """It has not answered."""
        self.clock = None
        if self.silent_since is None:
            self.silent_since = now

    def note_rest(self) -> None:
        """Once all have answered: it rests if it has used no more than an answer takes."""
        then, self._clock_then = self._clock_then, None
        if then is not None:
            now = cpu_clock(self.pid)
            self.clock = now if now is not None and now - then < TRAILING else None

    def rests(self, now: float) -> bool:
        """Whether it has done nothing since it answered."""
        if self.clock is None or now - self.seen_at > REST_SECONDS:
            return False
        return cpu_clock(self.pid) == self.clock

    def close(self) -> None:
        channel, self.channel, self.asked, self.clock = self.channel, None, 0, None
        if channel is not None:
            channel.close()


class Watch:
    """The live actors of this user, for one thread that looks at all of them now and then."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        """By the `id` of the actor."""
        self._questions = 0
        self._reader = RosterReader()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        while self._lines:
            self._lines.popitem()[1].close()

    def look(
        self,
        patience: float = 0.25,
        choose: Callable[[list[str]], Collection[str]] | None = None,
    ) -> list[Glance]:
        """What all of them are at, the oldest first. Takes at most about twice `patience` seconds,
        however many do not answer.

        Args:
            choose: of all, by `ActorInfo.id`, those that are to be asked now, the most urgent
                first; of the others the answers of before hold. None: all.
        """
        listed = sorted(living(reader=self._reader), key=lambda one: one.entry.began)
        lines = self._lines_of(listed)
        by_id = {
            one.entry.actor_id.token: (one, line) for one, line in zip(listed, lines, strict=True)
        }
        now = time.monotonic()
        for chosen in by_id if choose is None else choose(list(by_id)):
            if time.monotonic() < now + patience:
                self._ask(*by_id[chosen], now)
        self._hear([line for line in lines if line.asked], time.monotonic() + patience)
        for line in lines:
            line.note_rest()
        return [_glance(one, line) for one, line in zip(listed, lines, strict=True)]

    def _lines_of(self, listed: list[Listed]) -> list[_Line]:
        """The connections to these; those to the dead are closed."""
        kept = {one.entry.actor_id.token for one in listed}
        for gone in self._lines.keys() - kept:
            self._lines.pop(gone).close()
        return [self._lines.setdefault(one.entry.actor_id.token, _Line()) for one in listed]

    def _ask(self, listed: Listed, line: _Line, now: float) -> None:
        """Ask an actor, unless it has not answered yet, rests, or can't."""
        entry = listed.entry
        if line.asked or not entry.address.key.secret or line.rests(now):
            return
        if state_of(listed) in ("suspended", "restarting"):
            line.is_silent(now)
            return
        if line.channel is None:
            self._make_room()
            if not line.connect(entry, now):
                return
        assert line.channel is not None
        line.pid = entry.pid
        self._questions += 1
        question = encode(Frame(Kind.GLANCE, self._questions, flags=Flag.ANSWER))
        try:
            if line.channel.write(question):  # it has read nothing for long
                line.close()
            else:
                line.asked = self._questions
        except ChannelClosedError:
            line.close()

    def _make_room(self) -> None:
        """Where there is no descriptor for one more connection, end that which was silent for the
        longest."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(1, (limit - OTHERS) // DESCRIPTORS)
        used = [one for one in self._lines.values() if one.channel is not None]
        if limit >= 0 and len(used) >= most:
            resting = [one for one in used if not one.asked] or used
            min(resting, key=lambda one: one.seen_at).close()

    def _hear(self, waiting: list[_Line], deadline: float) -> None:
        """Take in the answers, as far as they come in time."""
        poll = select.poll()
        open_lines = {}
        for line in waiting:
            if line.channel is not None and (fd := line.channel.fileno()) >= 0:
                open_lines[fd] = line
                poll.register(fd, select.POLLIN)
        while open_lines:
            left = deadline - time.monotonic()
            ready = poll.poll(max(0.0, left) * 1000)
            if not ready and left <= 0:
                break
            for fd, _ in ready:
                if open_lines[fd].take():
                    poll.unregister(fd)
                    del open_lines[fd]
        now = time.monotonic()
        for line in open_lines.values():
            line.is_silent(now)


def _glance(listed: Listed, line: _Line) -> Glance:
    info, seen, now = info_of(listed), line.seen, time.monotonic()
    at_it = seen.call is not None
    return Glance(
        info,
        info.state if line.silent_since is not None or not seen.state else seen.state,
        seen.call,
        seen.age + (now - line.seen_at) if at_it else 0.0,
        seen.queued,
        seen.done,
        0.0 if listed.seen is None else listed.seen.cpu_seconds,
        0 if listed.seen is None else listed.seen.memory,
        0.0 if line.silent_since is None else now - line.silent_since,
        seen.running,
    )
