"""Looking at many actors, again and again: what changes of them from moment to moment.

`_looking` asks one actor and waits for it; here all are asked before any is waited for, so that
those that are silent hold up nobody.
"""

from __future__ import annotations

import contextlib
import itertools
import resource
import select
import time
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from ._caller.answers import decode_answer
from ._looking import ActorInfo, info_of
from ._os.process_table import cpu_clock
from ._protocol.frames import encode
from ._protocol.messages import Flag, Frame, Kind, MalformedFrameError
from ._wire.auth import ORDERS, AuthenticationError
from ._wire.channel import ChannelClosedError, StreamChannel
from ._wire.registry import transport_of
from ._wire.rosters import Listed, living

__all__ = ["Glance", "Lookout", "Seen"]

DESCRIPTORS: Final = 3
"""How many a connection takes here."""
OTHERS: Final = 64
"""How many descriptors are left to the rest of the program."""
MOST: Final = 1000
"""How many connections are kept."""


class Glance(NamedTuple):
    """What an actor has told of itself."""

    state: str
    call: str | None
    """The call that it runs, as `Status.call`."""
    age: float
    queued: int
    """How many requests it has taken in and not begun."""
    done: int


class Seen(NamedTuple):
    """An actor, and what the system tells of its process."""

    info: ActorInfo
    cpu_seconds: float
    """The processor time that it has used; 0.0 where the system does not tell."""
    memory: int
    """Bytes of physical memory; 0 where the system does not tell."""


class _Line:
    """A connection to one actor. There is at most one question on it at a time."""

    def __init__(self, listed: Listed, seconds: float) -> None:
        address = listed.entry.address
        stream = transport_of(address).connect(address, ORDERS, seconds)
        self.channel = StreamChannel(stream)
        self.pid = listed.entry.pid
        self.asked: int | None = None
        """The number of the question that was not answered yet."""
        self._numbers = itertools.count(1)

    def ask(self) -> None:
        """Ask; one who has not answered yet is not asked twice."""
        if self.asked is None:
            number = next(self._numbers)
            self.channel.write(encode(Frame(Kind.GLANCE, number, b"", (), b"", Flag.ANSWER)))
            self.asked = number

    def answer(self) -> Glance | None:
        """What it has told, if that has come."""
        for frame in self.channel.take():
            if frame.call_id == self.asked:
                self.asked = None
                return Glance(*decode_answer(frame))
        return None


class Lookout:
    """Looks at all actors of this user, for one thread at a time.

    Connections are kept from look to look, as many as there are descriptors for.
    """

    def __init__(self) -> None:
        self._listed: dict[str, Listed] = {}
        self._lines: dict[str, _Line] = {}
        """The one that was used last stands last."""

    def look(self) -> list[Seen]:
        """All that live. None of them is asked."""
        found = [(info_of(one), one) for one in living()]
        self._listed = {info.id: one for info, one in found}
        for gone in self._lines.keys() - self._listed.keys():
            self._hang_up(gone)
        return [_seen(info, one) for info, one in found]

    def glance(self, wanted: Iterable[str], seconds: float) -> dict[str, Glance | None]:
        """What those of the last look, by their `ActorInfo.id`, tell in so much time.

        None: it does not answer. Those that there was no time for, since others did not answer, are
        missing.
        """
        deadline = time.monotonic() + seconds
        answers: dict[str, Glance | None] = {}
        for one in wanted:
            if time.monotonic() >= deadline:
                break
            answers[one] = None
            with contextlib.suppress(OSError, AuthenticationError, ChannelClosedError):
                self._ask(one, deadline)
        self._gather(answers, deadline)
        return answers

    def _ask(self, actor: str, deadline: float) -> None:
        listed = self._listed.get(actor)
        if listed is None or _is_mute(listed):
            return
        line = self._lines.pop(actor, None)
        if line is not None and line.pid != listed.entry.pid:  # it was started anew
            line.channel.close()
            line = None
        if line is None:
            self._make_room()
            line = _Line(listed, max(0.001, deadline - time.monotonic()))
        self._lines[actor] = line
        line.ask()

    def _make_room(self) -> None:
        """Hang up on those that were not asked for the longest, where too many are kept."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST if limit < 0 else min(MOST, max(1, (limit - OTHERS) // DESCRIPTORS))
        while len(self._lines) >= most:
            self._hang_up(next(iter(self._lines)))

    def _gather(self, answers: dict[str, Glance | None], deadline: float) -> None:
        poll, waiting = select.poll(), {}
        for one in answers:
            line = self._lines.get(one)
            if line is not None and line.asked is not None:
                waiting[line.channel.fileno()] = one
                poll.register(line.channel.fileno(), select.POLLIN)
        while waiting:
            ready = poll.poll(max(0.0, deadline - time.monotonic()) * 1000)
            if not ready:
                return
            for fd, _ in ready:
                one = waiting[fd]
                answers[one] = self._answer(one)
                if answers[one] is not None or one not in self._lines:
                    poll.unregister(fd)
                    del waiting[fd]

    def _answer(self, actor: str) -> Glance | None:
        try:
            return self._lines[actor].answer()
        except (ChannelClosedError, MalformedFrameError, TypeError):
            self._hang_up(actor)  # it has ended, or says what can't be
            return None

    def cpu_seconds(self, pids: Collection[int]) -> dict[int, float]:
        """The processor time that these have used by now, to the nanosecond; empty where the
        system does not tell that."""
        clocks = {pid: cpu_clock(pid) for pid in pids}
        return {pid: clock / 1e9 for pid, clock in clocks.items() if clock is not None}

    def _hang_up(self, actor: str) -> None:
        self._lines.pop(actor).channel.close()

    def close(self) -> None:
        """End all connections. Harmless when done twice."""
        for actor in list(self._lines):
            self._hang_up(actor)


def _seen(info: ActorInfo, listed: Listed) -> Seen:
    seen = listed.seen
    return Seen(info, seen.cpu_seconds if seen else 0.0, seen.memory if seen else 0)


def _is_mute(listed: Listed) -> bool:
    """Whether it is known that it would not answer: a signal has stopped it, or nobody may ask."""
    if not listed.entry.address.key.secret:
        return True
    return listed.seen is None or listed.seen.state in ("stopped", "debugged")
