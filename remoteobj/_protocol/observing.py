"""Those who observe calls: what they are told, at both ends, and what they may send along.

::

    caller   sends ──> stream_opened ──> ended | given_up | lost (──> explained)
                │ carrier, in the request's metadata
    actor    receives ──> enter, leave, enter, leave ... ──> stream_opened ──> ended

Imported by programs that observe calls. In all others nothing of this is there: what observes a
call takes the place of its class (`ObservedCall`), and no flag is asked for on the way of others.

A *plan* is what observes, before it does: a value that travels to the processes of actors, where
`begin` makes the observer. There is one of each key in a process.

What observers are told within a read or a write must be dealt with at once, and may call no actor.
What they raise is reported, and hinders no call.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

from .._fast_typing import NamedTuple, Protocol
from .._os.callback_errors import report_callback_error
from .._os.fork_safety import fork_generation
from .calls import PendingCall
from .descriptions import LOOKED_AT, describe_request
from .identity import ActorId, Peer
from .messages import Bytes, Frame, Kind, read_error_outline
from .requests import Carried, Sending, observers, switches

__all__ = [
    "CallWatch",
    "Failure",
    "Life",
    "Observer",
    "ObserverPlan",
    "Received",
    "RequestWatch",
    "Sent",
    "add_plan",
    "current_observers",
    "current_plans",
    "failure_in",
    "name_of",
    "remove_plan",
    "service_of",
    "tell",
]

SENT_AT: Final = "sent"
"""What each observed request carries: when it was sent, by `time.monotonic_ns`."""
WHAT: Final = "what"
"""What a request says that is for something else than its operations tell, a task of a pool."""


class Failure(NamedTuple):
    """How a call ended that gave no value."""

    type_name: str
    message: str
    packed: Bytes = b""
    """The exception, as it travels; to unpickle it may run a user's code."""


class Sent(NamedTuple):
    """A call that is being made."""

    name: str
    """As `Counter.add`: what it is for, without its arguments."""
    service: str
    """The class of the object, or the name of the actor."""
    method: str
    peer: Peer | None
    is_cast: bool
    alone: bool
    """Whether the calling thread waits for this call, and nothing else."""
    at: int
    """When, by `time.monotonic_ns`."""


class Received(NamedTuple):
    """A request that is about to run."""

    name: str
    service: str
    method: str
    actor: ActorId
    is_cast: bool
    carried: dict[str, str]

    @property
    def sent_at(self) -> int | None:
        """When it was sent, by `time.monotonic_ns`, if its caller is observed too."""
        text = self.carried.get(SENT_AT, "")
        return int(text) if text.isascii() and text.isdigit() else None


class CallWatch(Protocol):
    """What observes one call, at its caller."""

    def stream_opened(self) -> None:
        """It is answered, by a stream."""

    def ended(self, failure: Failure | None) -> None:
        """It, or its stream, has ended."""

    def given_up(self) -> None:
        """Its caller waits no more, and may never know how it ended."""

    def lost(self) -> None:
        """It will have no answer: its actor has died, say."""

    def explained(self, error: BaseException | None) -> None:
        """After `lost`: the error that the caller is given; None: nobody has asked for it."""


class RequestWatch(Protocol):
    """What observes one request, at its actor."""

    def enter(self) -> Any:
        """The calling thread is going to run it, or some items of its stream."""

    def leave(self, entered: Any) -> None:
        """The thread goes on to something else; `entered` is what `enter` gave."""

    def stream_opened(self) -> None:
        """It is answered, by a stream."""

    def ended(self, failure: Failure | None) -> None:
        """It, or its stream, has ended."""


class Life(NamedTuple):
    """A turn in the life of an actor, as its owner sees it."""

    what: str
    """`started`, `restarted` or `ended`."""
    name: str
    pid: int | None
    how: str = ""
    """How it ended."""


class Observer(Protocol):
    """Observes the calls of this process."""

    def sends(self, sent: Sent, carrier: dict[str, str]) -> CallWatch | None:
        """A call is being made. What is put into `carrier` travels with it."""

    def receives(self, received: Received) -> RequestWatch | None:
        """A request is about to run in the calling thread."""

    def turns(self, life: Life) -> None:
        """An actor of this process has been started, or has ended."""

    def close(self) -> None:
        """Nothing more is told: the process ends, or this is switched off."""


class ObserverPlan(Protocol):
    """What observes, before it does. It can be pickled."""

    @property
    def key(self) -> str:
        """A process has at most one of each."""
        ...

    def begin(self) -> Observer | None:
        """The observer, in this process; None: there is nothing to observe for any more."""
        ...


# --- which there are -------------------------------------------------------------------------

_Active: TypeAlias = "tuple[ObserverPlan, Observer, int]"

_active: dict[str, _Active] = {}
_changing = threading.RLock()


def current_plans() -> tuple[ObserverPlan, ...]:
    """Those of this process, for the processes of its actors."""
    return tuple(plan for plan, _, _ in list(_active.values()))


def current_observers() -> list[Observer]:
    """Those who observe."""
    return [observer for _, observer, _ in list(_active.values())]


def add_plan(plan: ObserverPlan) -> bool:
    """Observe by this plan from now on; False: it is done already. A fork has what its parent has,
    and begins anew."""
    with _changing:
        active = _active.get(plan.key)
        if active is not None and active[2] == fork_generation[0]:
            return False
        observer = plan.begin()
        if observer is None:
            return False
        _active[plan.key] = plan, observer, fork_generation[0]
        _switch(True)
    return True


def remove_plan(key: str) -> bool:
    """Observe no more by the plan of this key; False: there is none."""
    with _changing:
        active = _active.pop(key, None)
        if not _active:
            _switch(False)
    if active is not None:
        tell(active[1].close)
    return active is not None


def _switch(on: bool) -> None:
    observers[:] = [_observe] if on else []
    for switch in switches:
        switch(on)


def tell(act: Callable[..., Any], *args: Any) -> Any:
    """Tell an observer something; what it gives, or None where it fails."""
    try:
        return act(*args)
    except Exception as exc:
        report_callback_error(exc)
    return None


# --- at the caller -----------------------------------------------------------------------------


class ObservedCall(PendingCall):
    """A call whose fate is told to those who observe it."""

    watches: tuple[CallWatch, ...] = ()
    generation = 0
    _ended = False
    _unexplained = False

    def deliver(self, frame: Frame) -> bool:
        if frame[0] == Kind.STREAM:
            self._tell("stream_opened")
        elif frame[0] != Kind.ITEM:
            self._end("ended", failure_in(frame))
        return super().deliver(frame)

    def fail(self, failure: Callable[[], BaseException]) -> None:
        if not self._ended:
            self._end("lost")
            self._unexplained = True

        def explained() -> BaseException:
            error = failure()
            self._explain(error)
            return error

        super().fail(explained)

    def give_up(self) -> None:
        super().give_up()
        self._end("given_up")

    def __del__(self) -> None:
        self._end("given_up")
        self._explain(None)

    def _explain(self, error: BaseException | None) -> None:
        unexplained, self._unexplained = self._unexplained, False
        if unexplained:
            self._tell("explained", error)

    def _end(self, how: str, *args: Any) -> None:
        ended, self._ended = self._ended, True
        if not ended:
            self._tell(how, *args)

    def _tell(self, what: str, *args: Any) -> None:
        if self.generation == fork_generation[0]:  # else it is the parent's
            for watch in self.watches:
                tell(getattr(watch, what), *args)


def failure_in(frame: Frame) -> Failure | None:
    """How a call failed, by the frame that ends it; None: it did not."""
    if frame[0] == Kind.ERROR:
        return Failure(*read_error_outline(frame[4]), frame[2])
    if frame[0] == Kind.REFUSED:
        why = bytes(frame[2]).decode(errors="replace")
        return Failure("NotListeningError", why or "it was closing, and refused the call")
    return None


def _observe(sending: Sending) -> Carried:
    """A call is about to be sent: have it observed, and say what it carries."""
    asker = getattr(sending.on_ready, "__self__", None)
    what, context = getattr(asker, "what", ""), getattr(asker, "context", None)
    observed = _observed if context is None else partial(context.copy().run, _observed)
    carried: Carried | None = tell(observed, sending, what)
    return carried or ()


def _observed(sending: Sending, what: str) -> Carried:
    sent = _sent(sending, what)
    carrier = {SENT_AT: str(sent.at)}
    if what:
        carrier[WHAT] = what
    told = [tell(observer.sends, sent, carrier) for observer in current_observers()]
    watches = tuple(watch for watch in told if watch is not None)
    call = sending.call
    if watches and not sent.is_cast:
        call.__class__ = ObservedCall
        assert isinstance(call, ObservedCall)
        call.watches, call.generation = watches, fork_generation[0]
    return tuple(carrier.items())


def _sent(sending: Sending, what: str) -> Sent:
    peer = sending.peer
    service = "?" if peer is None else service_of(peer)
    name, method = (what, what) if what else name_of(sending.payload, service)
    alone = sending.is_waited_for and not sending.token
    return Sent(name, service, method, peer, sending.kind == Kind.CAST, alone, time.monotonic_ns())


def service_of(peer: Peer) -> str:
    """The class of an actor's object, or its name where that is not known."""
    found = peer.told_class()
    if isinstance(found, type):
        return found.__qualname__
    return found.rpartition(":")[2] if found else peer.actor.name


# --- names --------------------------------------------------------------------------------------

_SHORT_FORM: Final = re.compile(rb"\x80\x05(?:\x95.{8})?\x8c(.)", re.DOTALL).match
"""The beginning of a request in its short form, which most have: see `operations`."""


def name_of(payload: Bytes, service: str) -> tuple[str, str]:
    """The name of a request, and its part without the service; its arguments are not in it.

    >>> import pickle
    >>> name_of(pickle.dumps(("add", (1,)), 5), "Counter")
    ('Counter.add', 'add')
    >>> name_of(pickle.dumps([("attr", "d"), ("setitem", "k", 1)], 5), "Counter")
    ('Counter.d[...] = ...', 'd[...] = ...')
    """
    if found := _SHORT_FORM(payload):
        begin = found.end()
        method = str(payload[begin : begin + found[1][0]], "utf-8", "replace")
        return f"{service}.{method}", method
    text = _described(bytes(payload[:LOOKED_AT]))
    return text.replace("?", service, 1), text.removeprefix("?.")


@lru_cache(maxsize=256)
def _described(begun: bytes) -> str:
    text = describe_request(begun)
    return text.removesuffix("(...)") if text.count("(") == 1 and text.startswith("?.") else text
