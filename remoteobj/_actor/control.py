"""The control thread of an actor: responsive while the object works.

It accepts callers and lets them prove that they may call, takes the owner's orders and notices the
owner's death, and writes what slow readers have not taken yet. It sleeps in the kernel until one
of these happens.

Guarantee: nothing that one of them sends ends the thread. It ends that one's connection.
"""

from __future__ import annotations

import errno
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from .._catching.unseen import tell
from .._engines.owner_line import OwnerLine
from .._fast_typing import NamedTuple, Protocol
from .._os.unawaited_thread import UnawaitedThread
from .._os.wakeup import Wakeup
from .._protocol.messages import Frame, MalformedFrameError, refusal
from .._wire.auth import AuthenticationError
from .._wire.channel import ChannelClosedError
from .._wire.refusals import report_refusal
from .._wire.transport import ByteStream, Handshake, Listener
from ..errors import describe
from .clients import Client

__all__ = ["Control", "ControlHandler", "Handshake", "start", "unblock"]

HANDSHAKE_SECONDS = 5.0
"""How long a caller may take to prove itself."""
HANDSHAKES = 256
"""How many callers may be at their handshake at once; the eldest is dropped for the next one."""
ANSWER_SECONDS = 1.0
"""How long an answer waits for room where the owner, who asked for it, does not read."""
BREATHER = 0.2
"""Seconds without accepting when descriptors have run out."""
NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""What `accept` fails by when the system has nothing left for another connection."""


def start(thread: threading.Thread) -> None:
    """Start a thread whole, or not at all: no signal handler may raise half-way, as far as
    that is in this thread's power.

    The new thread inherits the blocked signals. One that runs other people's code must lift
    that, by `unblock`: the processes that such code starts would inherit it again.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unblock() -> None:
    """Let this thread take signals again."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT})


class ControlHandler(Protocol):
    """What the control thread reports to."""

    def attach(self, stream: ByteStream, purpose: int) -> None:
        """A caller has proved itself, who is here for one of the purposes of `auth`."""

    def resume(self, client: Client) -> None:
        """A slow reader has taken what it was owed."""

    def handle_order(self, order: Frame) -> Frame | None:
        """The owner says something; the answer, if it wants one."""

    def owner_gone(self) -> None:
        """The owner is gone."""


class _Arrival(NamedTuple):
    """A caller on its way in."""

    handshake: Handshake
    deadline: float


class Control:
    """Owns the thread; `close` ends and joins it."""

    def __init__(self, handler: ControlHandler, name: str) -> None:
        self._handler = handler
        self._poll = select.poll()
        self._acts: dict[int, Callable[[], None]] = {}
        self._arrivals: dict[int, _Arrival] = {}
        """By descriptor, the eldest first."""
        self._jobs: deque[Callable[[], object]] = deque()
        self._wakeup = Wakeup()
        self._on(self._wakeup.fileno(), self._run_jobs)
        self._open = True
        self._listener: Listener | None = None
        self._resting_until = 0.0
        self._thread = UnawaitedThread(self._run, f"remoteobj-control-{name}")

    def start(self, listener: Listener | None, owner: OwnerLine | None = None) -> None:
        """Begin; `owner` gives the orders."""
        self._listener = listener
        if owner is not None:
            self._listen_to(owner)
        self._open_door()
        start(self._thread)

    # --- from other threads ------------------------------------------------------------

    def flush_later(self, client: Client) -> None:
        """Write what this peer is owed as it takes it in."""
        self.flush_then(client, self._handler.resume)

    def flush_then(self, client: Client, resume: Callable[[Client], None]) -> None:
        """The same; `resume` is told when nothing is left, or nothing can be written any more."""
        self.do(lambda: self._watch(client, resume))

    def attend(self, fd: int, act: Callable[[], None]) -> None:
        """Have something done, in this thread, whenever a descriptor has something to read."""
        self.do(lambda: self._on(fd, act))

    def leave(self, fd: int, close: Callable[[], None]) -> None:
        """Attend to a descriptor no more, and then close it. Other threads must not do that, since
        one of the same number may be made before it is left."""
        self.do(lambda: self._off(fd))
        self.do(close)

    @property
    def begun(self) -> bool:
        """Whether there is, or was, a thread. An inline actor has none."""
        return self._thread.started_in is not None

    def stop_accepting(self) -> None:
        """Take no more callers; those on their way in find the connection closed."""
        done = threading.Event()
        self.do(self._close_door)
        self.do(done.set)
        if self._thread.runs_beside():
            done.wait(HANDSHAKE_SECONDS)

    def close(self) -> None:
        """End the thread and join it. Harmless when done twice."""
        if not self.begun:
            self.abort()
            return
        self.do(self._end)
        if self._thread.runs_beside():
            self._thread.join(HANDSHAKE_SECONDS)

    def drop_listener(self) -> None:
        """Stop listening, from any thread, at the end of all."""
        listener = self._listener
        if listener is not None:
            listener.close()

    def abort(self) -> None:
        """Let go of what a thread that never started would have used."""
        self._wakeup.close()

    def do(self, job: Callable[[], object]) -> None:
        """Have something done in this thread, that does not take long."""
        self._jobs.append(job)
        self._wakeup.set()

    # --- in the thread -----------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._open:
                for fd, events in self._poll.poll(self._patience()):
                    self._act(fd, events)
                self._expire()
        finally:
            self._close_door()
            self.abort()

    def _act(self, fd: int, events: int) -> None:
        if events & select.POLLNVAL:  # another thread has closed it
            self._off(fd)
        elif fd in self._acts:  # else one before it in the same row has seen to it
            self._guard(self._acts[fd])

    def _guard(self, act: Callable[[], object]) -> None:
        """Do something for one of those at the other ends, of whom the others need not suffer."""
        try:
            act()
        except Exception as exc:
            tell("something that a client or the owner asked of a remote object failed", exc)

    def _end(self) -> None:
        self._open = False

    def _on(self, fd: int, act: Callable[[], None], events: int = select.POLLIN) -> None:
        if fd >= 0:  # else it was closed meanwhile
            self._acts[fd] = act
            self._poll.register(fd, events)

    def _off(self, fd: int) -> None:
        if self._acts.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def _run_jobs(self) -> None:
        self._wakeup.clear()
        while self._jobs:
            self._guard(self._jobs.popleft())

    def _patience(self) -> float | None:
        """Milliseconds until something must be given up; None, for ever, when nothing is."""
        times = [one.deadline for one in self._arrivals.values()]
        if self._resting_until:
            times.append(self._resting_until)
        return max(0.0, min(times) - time.monotonic()) * 1000 if times else None

    def _expire(self) -> None:
        now = time.monotonic()
        for arrival in list(self._arrivals.values()):
            if arrival.deadline <= now:
                self._refuse(arrival.handshake)
                report_refusal("timeout", f"no proof within {HANDSHAKE_SECONDS} s")
        if self._resting_until and self._resting_until <= now:
            self._resting_until = 0.0
            self._open_door()

    # --- callers -----------------------------------------------------------------------

    def _open_door(self) -> None:
        if self._listener is not None:
            self._on(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            handshake = self._listener.accept()
        except OSError as exc:
            if exc.errno in NO_ROOM:
                self._rest(self._listener)
            return
        except AuthenticationError as exc:
            report_refusal(exc.reason, str(exc))
            return
        except BaseException:
            self._rest(self._listener)
            raise
        if len(self._arrivals) >= HANDSHAKES:
            self._refuse(next(iter(self._arrivals.values())).handshake)
            report_refusal("crowd", f"{HANDSHAKES} others are about to prove themselves")
        fd = handshake.fileno()
        self._arrivals[fd] = _Arrival(handshake, time.monotonic() + HANDSHAKE_SECONDS)
        self._on(fd, lambda: self.shake_hands(handshake))

    def _rest(self, listener: Listener) -> None:
        """It is still readable, so that the loop would spin: look again a little later."""
        self._off(listener.fileno())
        self._resting_until = time.monotonic() + BREATHER

    def shake_hands(self, handshake: Handshake) -> None:
        """Take in what a caller says to prove itself; let it in, or refuse it."""
        fd = handshake.fileno()
        try:
            stream = handshake.go_on()
        except BlockingIOError:
            return
        except OSError as exc:
            self._refuse(handshake)
            if exc.errno in NO_ROOM:  # else it has left by itself
                report_refusal("resources", str(exc))
            return
        except AuthenticationError as exc:
            self._refuse(handshake)
            report_refusal(exc.reason, str(exc))
            return
        except BaseException:
            self._refuse(handshake)
            raise
        if stream is not None:
            self._arrivals.pop(fd)
            self._off(fd)
            self._let_in(stream, handshake.purpose)

    def _let_in(self, stream: ByteStream, purpose: int) -> None:
        try:
            self._handler.attach(stream, purpose)
        except BaseException:
            stream.close()
            raise

    def _refuse(self, handshake: Handshake) -> None:
        self._arrivals.pop(handshake.fileno(), None)
        self._off(handshake.fileno())
        handshake.close()

    def _close_door(self) -> None:
        for arrival in list(self._arrivals.values()):
            self._refuse(arrival.handshake)
        if self._listener is not None:
            self._off(self._listener.fileno())
            self._listener.close()
            self._listener = None

    # --- the owner, and slow readers ---------------------------------------------------

    def _listen_to(self, owner: OwnerLine) -> None:
        """Hear the owner from now on, and say what it has had no room for once there is some."""
        fd = owner.channel.fileno()
        hear = partial(self.hear, fd, owner)

        def hear_and_say() -> None:
            hear()
            if fd in self._acts and owner.catch_up():
                self._on(fd, hear)

        def wait_for_room() -> None:
            if fd in self._acts:  # else the owner is gone
                self._on(fd, hear_and_say, select.POLLIN | select.POLLOUT)

        owner.no_room = lambda: self.do(wait_for_room)
        self._on(fd, hear)

    def hear(self, fd: int, owner: OwnerLine) -> None:
        """Take in what the owner says, and answer it."""
        try:
            for frame in owner.channel.take():
                answer = self._follow(frame)
                if answer is not None:
                    owner.say(answer, ANSWER_SECONDS)
        except (ChannelClosedError, MalformedFrameError):
            self._lose_owner(fd, owner)
        except BaseException:
            self._lose_owner(fd, owner)
            raise

    def _follow(self, order: Frame) -> Frame | None:
        """The answer to an order; that it failed, if it did for a reason of ours."""
        try:
            return self._handler.handle_order(order)
        except MalformedFrameError:
            raise
        except Exception as exc:
            tell("an order of the owner of a remote object failed", exc)
            return refusal(order, f"the order failed: {describe(exc)}")

    def _lose_owner(self, fd: int, owner: OwnerLine) -> None:
        self._off(fd)
        owner.channel.close()
        self._handler.owner_gone()

    def _watch(self, client: Client, resume: Callable[[Client], None]) -> None:
        fd = client.channel.writes
        self._on(fd, lambda: self._flush(fd, client, resume), select.POLLOUT)

    def _flush(self, fd: int, client: Client, resume: Callable[[Client], None]) -> None:
        done = True  # also if it fails: nothing more is written then
        try:
            done = client.flush()
        finally:
            if done:
                self._off(fd)
                resume(client)
