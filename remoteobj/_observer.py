"""One who looks in on an actor from outside: asks it, and gives it the orders that its owner can.

Anybody of the same user may; see `_actor.observers`.
"""

from __future__ import annotations

import os
import time
from typing import Any, Final, Self

from ._actor.status import Status
from ._caller.control_client import ControlClient
from ._engines.flight_recorder import FlightRecorder
from ._looking import ActorInfo, actors, state_of
from ._os.process_table import cpu_clock, see
from ._os.processes import KnownProcess
from ._pickling.exceptions import pack_error
from ._protocol.frames import encode
from ._protocol.messages import InterruptOrder, Kind, StopOrder
from ._proxy import Proxy
from ._public_names import proxy_to, shown, similar
from ._wire.auth import ORDERS, AuthenticationError
from ._wire.channel import ChannelClosedError, StreamChannel
from ._wire.registry import transport_of
from ._wire.rosters import Listed, living
from .errors import ActorDiedError, CallTimeoutError, ExitReport, NotListeningError

__all__ = ["Observer", "find"]

ANSWER_SECONDS = 0.9
"""How long an actor may take to answer, so that whoever asks knows within a second if not."""
END_CHECK = 0.01
"""Seconds between two looks whether a process has ended that is nobody's child here."""
BUSY_SHARE = 0.02
"""Of a processor: who uses more is taken to compute, and not to wait. Others may use most of it."""
_TOLD: Final = {
    "stopped": "its process is stopped, by SIGSTOP say; `kill -CONT {pid}` lets it go on",
    "debugged": "a debugger holds its process",
    "in the kernel": "its process waits in the kernel, for a disk say",
}


def find(meant: str | int) -> ActorInfo:
    """The one actor of this name; or, given a number, that lives in this process; or of this id.

    Raises:
        NotListeningError: there is none, or several; the error says which.
    """
    found, text = actors(), str(meant)
    matching = _matching(found, text)
    if len(matching) == 1:
        return matching[0]
    if not matching:
        names = sorted({one.name for one in found})
        raise NotListeningError(f"no actor is called {shown(text)}{similar(text, names)}")
    which = ", ".join(map(_told_apart, matching))
    by = " or ".join(sorted({"a pid" if _has_process(one) else "an id" for one in matching}))
    raise NotListeningError(
        f"{shown(text)} is not one actor but {len(matching)}: {which}; type {by}"
    )


def _matching(found: list[ActorInfo], text: str) -> list[ActorInfo]:
    if named := [one for one in found if one.name == text]:
        return [one for one in named if one.public] or named
    if text.isascii() and text.isdigit():
        there = [one for one in found if one.pid == int(text)]
        if there:
            return [one for one in there if _has_process(one)] or there
    return [one for one in found if one.id == text]


def _has_process(one: ActorInfo) -> bool:
    """Whether it has a process of its own: a thread has not, nor what is just being started."""
    return one.pid != one.owner_pid


def _told_apart(one: ActorInfo) -> str:
    """It, by what can be typed for it alone."""
    where = f"in process {one.pid}" if _has_process(one) else f"of process {one.pid}, id {one.id}"
    return f"{shown(one.name)} {where}"


class Observer:
    """Asks one actor, and gives it orders, as its owner can; from any process of the same user.

    It has a connection of its own, so that an actor that is busy answers at once. Where there is
    no answer the error says why, as far as the system can tell. One thread at a time may use it.

    Args:
        info: of `actors` or `find`.

    Raises:
        ActorDiedError: it lives no more.
    """

    def __init__(self, info: ActorInfo) -> None:
        self.info = info
        self._listed = self._look()
        self._channel: StreamChannel | None = None
        self._client: ControlClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._channel is not None:
            self._channel.close()
        self._channel = self._client = None

    # --- questions and orders ------------------------------------------------------------

    def status(self, timeout: float = ANSWER_SECONDS) -> Status:
        """What it is doing.

        Raises:
            CallTimeoutError: it did not answer in so many seconds; the error says why.
            ActorDiedError: it has ended.
            NotListeningError: it can't be asked.
        """
        return Status.of(self._ask(Kind.STATUS, b"", timeout))

    def stack(self, timeout: float = ANSWER_SECONDS) -> str:
        """The Python stacks of all its threads, as text; raises as `status`.

        Where code in C holds the interpreter, faulthandler writes them, if the system lets this
        process read what its owner can. Then half of `timeout` is for that.
        """
        try:
            return str(self._ask(Kind.STACK, b"", timeout / 2))
        except CallTimeoutError as exc:
            try:
                return self._stack_by_signal(timeout / 2)
            except (OSError, RuntimeError):
                raise exc from None

    def interrupt(
        self,
        exc: BaseException | type[BaseException] = KeyboardInterrupt,
        timeout: float = ANSWER_SECONDS,
        call: int | None = None,
    ) -> bool:
        """Raise an exception in all that it runs, or in the call of this `RunningCall.number`;
        False: it does not run that. Raises as `status`."""
        error = exc() if isinstance(exc, type) else exc
        order = InterruptOrder(pack_error(error), number=call or 0)
        return bool(self._ask(Kind.INTERRUPT, order.payload(), timeout))

    def stop(self, timeout: float = 10.0) -> bool:
        """Have it end in order, and wait until it has: it runs the calls that have arrived, then
        its cleanup. If it has ended already, nothing happens.

        Returns:
            Whether its owner starts it again.

        Raises:
            CallTimeoutError: it does not hear the order, which is known after less than a second;
                or it has not ended after `timeout` seconds, and still may.
            NotListeningError: it can't be told, or not yet.
        """
        deadline = time.monotonic() + timeout
        self._check_key()
        try:
            self._ask(Kind.GLANCE, b"", min(timeout, ANSWER_SECONDS))  # whether it hears
            assert self._channel is not None
            order = StopOrder(fulfil=self._listed.entry.options.fulfil)
            self._channel.write(encode(order.frame()))
        except ActorDiedError:
            return False
        except (NotListeningError, ChannelClosedError):
            if state_of(self._listed) in ("starting", "restarting"):
                raise
            # Else it is about to end by itself.
        is_started_again = self._wait_for_end(deadline)
        if is_started_again is None:
            raise CallTimeoutError(
                f"{self._name} was told to stop, and has not ended within {timeout:g} s: it may be "
                f"{self._told_by_state()}; kill ends it at once"
            )
        return is_started_again

    def kill(self, timeout: float = ANSWER_SECONDS) -> bool:
        """End its process at once, without its cleanup, and those that it has started.

        Returns:
            Whether its owner starts it again.

        Raises:
            CallTimeoutError: it has not ended after `timeout` seconds.
            NotListeningError: it has no process of its own: it is a thread, or is restarting.
        """
        self._listed = self._look()  # it may have another process by now
        self._check_runs()
        entry = self._listed.entry
        if entry.engine != "process":
            raise NotListeningError(
                f"{self._name} is a thread of process {entry.pid}, and can't be killed without it"
            )
        known = KnownProcess.meet_again(entry.pid, entry.started, held=False)
        try:
            known.kill()
        finally:
            known.release()
        is_started_again = self._wait_for_end(time.monotonic() + timeout)
        if is_started_again is None:
            raise CallTimeoutError(
                f"{self._name} was killed, and has not ended within {timeout:g} s"
                f"{self._told_by_system(None)}"
            )
        return is_started_again

    def proxy(self) -> Proxy:
        """A proxy of it, as any other that does not own it.

        Raises:
            NotListeningError: it was made with `picklable=False`.
        """
        self._check_key()
        return proxy_to(self._listed.entry)

    # --- the connection ------------------------------------------------------------------

    @property
    def _name(self) -> str:
        return f"{shown(self.info.name)} (process {self._listed.entry.pid})"

    def _look(self) -> Listed:
        """What there is of it in the roster of its owner now."""
        found = living(lambda entry: entry.actor_id.token == self.info.id)
        if not found:
            raise ActorDiedError.from_exit(ExitReport(self.info.name, self.info.pid))
        return found[0]

    def _ask(self, kind: int, payload: bytes, timeout: float) -> Any:
        self._check_key()
        before, self._listed = self._listed.entry, self._look()
        self._check_runs()
        if self._listed.entry.incarnation != before.incarnation:
            self.close()  # it leads to one that has ended
        begun, used = time.monotonic(), cpu_clock(self._listed.entry.pid)
        if self._is_stopped():
            raise self._silent(None)
        try:
            client = self._client or self._connected(timeout)
            left = max(0.0, timeout - (time.monotonic() - begun))
            return client.request(kind, payload, left)
        except (TimeoutError, CallTimeoutError) as exc:
            self.close()  # what still comes is no answer to the next question
            raise self._silent(used, timeout) from exc
        except (NotListeningError, ActorDiedError):
            self.close()
            raise

    def _connected(self, seconds: float) -> ControlClient:
        address = self._listed.entry.address
        try:
            stream = transport_of(address).connect(address, ORDERS, seconds)
        except TimeoutError:
            raise
        except (OSError, AuthenticationError) as exc:
            raise self._gone() from exc
        self._channel = StreamChannel(stream)
        self._client = ControlClient(self._channel, self._name, self._gone)
        return self._client

    def _check_key(self) -> None:
        if not self._listed.entry.address.key.secret:
            raise NotListeningError(
                f"only its owner can ask {self._name} and call it, which was made with "
                "picklable=False; kill can end it"
            )

    def _check_runs(self) -> None:
        """Raises `NotListeningError` where it is between two of its processes."""
        if state_of(self._listed) == "restarting":
            raise NotListeningError(
                f"{shown(self.info.name)} is restarting: it has no {self._listed.entry.engine} at "
                "this moment, and its owner starts it again"
            )

    def _stack_by_signal(self, seconds: float) -> str:
        """The stacks, as faulthandler writes them.

        Raises:
            OSError: where it writes them can't be read.
            RuntimeError: it takes no signal.
        """
        entry = self._listed.entry
        path = f"/proc/{self._listed.owner_pid}/fd/{entry.recorder[0]}"
        if self._is_stopped() or "blackbox" not in os.readlink(path):
            raise RuntimeError
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        known = KnownProcess.meet_again(entry.pid, entry.started, held=False)
        try:
            recorder = FlightRecorder(False, (fd, entry.recorder[1]))
            return recorder.ask_for_stacks(self._name, known.signal, seconds)
        finally:
            known.release()
            os.close(fd)

    # --- why there is no answer ----------------------------------------------------------

    def _gone(self) -> BaseException:
        """The error where nobody listens."""
        try:
            self._listed = self._look()
            self._check_runs()
        except (ActorDiedError, NotListeningError) as exc:
            return exc
        if self._listed.entry.state == "starting":
            return NotListeningError(f"{self._name} is being started, and can't be asked yet")
        return NotListeningError(f"{self._name} listens no more: it is about to end")

    def _silent(self, used: int | None, waited: float = 0.0) -> BaseException:
        """The error where it does not answer: arguments as of `_told_by_system`."""
        try:
            self._listed = self._look()
            self._check_runs()
        except (ActorDiedError, NotListeningError) as exc:
            return exc
        said = f"does not answer within {waited:g} s" if waited else "can't answer"
        return CallTimeoutError(f"{self._name} {said}{self._told_by_system(used, waited)}")

    def _is_stopped(self) -> bool:
        seen = self._listed.seen
        return seen is not None and seen.state in ("stopped", "debugged")

    def _told_by_system(self, used: int | None, seconds: float = 0.0) -> str:
        """What its process is at, as the end of an error.

        Args:
            used: the processor time that it had used `seconds` ago, in nanoseconds.
        """
        pid = self._listed.entry.pid
        seen = see([pid, os.getpid()]).get(pid)
        if seen is None:
            return ""
        told = _TOLD.get(seen.state)
        if told is not None:
            return f": {told.format(pid=pid)}"
        now = cpu_clock(pid)
        if used is None or now is None:
            return ": code that holds the interpreter keeps it busy, or its system is overloaded"
        if now - used > seconds * 1e9 * BUSY_SHARE:
            return ": code that holds the interpreter keeps it busy"
        return ": it uses no processor; code that holds the interpreter waits for something"

    def _told_by_state(self) -> str:
        """What it may be at that was told to stop, and has not."""
        if self._listed.entry.state == "starting":
            return "at its __init__, which comes first"
        return "at what had arrived before, or at its cleanup"

    def _wait_for_end(self, deadline: float) -> bool | None:
        """Wait until it has ended; whether its owner starts it again. None: it has not in time."""
        before = self._listed.entry.incarnation
        while True:
            try:
                listed = self._look()
            except ActorDiedError:
                return False
            if listed.entry.incarnation != before or listed.entry.state == "restarting":
                return True
            if time.monotonic() >= deadline:
                self._listed = listed
                # Its owner has not told yet what becomes of it.
                return True if state_of(listed) == "restarting" else None
            time.sleep(END_CHECK)
