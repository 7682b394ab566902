"""How calls are made through a view: at once, as futures, awaited, or one way; and their terms."""

from __future__ import annotations

import enum
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from ._actor.server import local_servers
from ._caller.endpoint import TERMS, Fallback, Terms, fallback_or_raise
from ._os.lazy_import import import_lock
from ._protocol.operations import Steps
from ._reference import MISSING, RETURNED_SELF, RemoteRef
from .errors import ActorDiedError, NotListeningError

__all__ = ["How", "Manner", "Way"]


class Way(enum.Enum):
    """What a call gives."""

    NOW = "now"  # its value
    FUTURE = "future_"
    AWAIT = "async_"
    CAST = "cast_"  # nothing


class How(NamedTuple):
    """What a view says about the calls made through it."""

    way: Way = Way.NOW
    terms: Terms = TERMS
    default: Any = MISSING
    proxy: bool | None = None


@cache
def _futures() -> ModuleType:
    with import_lock:
        # concurrent.futures at start-up would take a good part of our own import.
        from ._caller import futures

    return futures


@cache
def _awaiting() -> ModuleType:
    with import_lock:
        # asyncio at start-up would double the time of our import.
        from ._caller import asyncio_calls

    return asyncio_calls


class Manner(RemoteRef):
    """The anchor of a view through which calls are made in a manner of their own."""

    def __init__(self, anchor: RemoteRef, how: How) -> None:
        self.anchor = anchor
        self.how = how
        self.eager = anchor.eager if how.proxy is None else how.proxy
        self._make = _MAKE[how.way.value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.anchor, name)  # all but the calls is the anchor's own

    def evaluate(
        self,
        steps: Steps,
        owner: object = None,
        default: Any = MISSING,
        default_local: bool = False,
        terms: Terms = TERMS,
    ) -> Any:
        """As `RemoteRef.evaluate`, but what it gives is what the manner says."""
        if default is MISSING:
            default = self.how.default
        if self._make is None:
            return self.anchor.evaluate(steps, owner, default, default_local, self.how.terms)
        otherwise = None
        if default is not MISSING or default_local:
            otherwise = self.anchor.fallback(steps, default, default_local)
        return self._make(self, steps, owner, otherwise)

    def _here(self, steps: Steps, owner: object) -> Any:
        """The value, where this is the object's own home."""
        result = self.anchor.evaluate(steps, owner)
        return owner if result is RETURNED_SELF else result

    def _future(self, steps: Steps, owner: object, otherwise: Fallback) -> Any:
        futures = _futures()
        if local_servers and self.anchor.home is not None:
            return futures.completed(lambda: self._here(steps, owner))
        return futures.submit(self.anchor.endpoint, steps, owner, otherwise, self.how.terms)

    def _await(self, steps: Steps, owner: object, otherwise: Fallback) -> Any:
        awaiting = _awaiting()

        async def here() -> Any:
            return self._here(steps, owner)

        if local_servers and self.anchor.home is not None:
            return awaiting.AwaitableCall(here())
        return awaiting.AwaitableCall(
            awaiting.call(self.anchor.endpoint, steps, owner, otherwise, self.how.terms)
        )

    def _cast(self, steps: Steps, owner: object, otherwise: Fallback) -> None:
        home = self.anchor.home
        if home is None:
            try:
                self.anchor.endpoint.cast(steps)
            except (NotListeningError, ActorDiedError) as exc:
                fallback_or_raise(exc, otherwise)
            return
        try:
            self._here(steps, owner)
        except Exception as exc:
            home.report(exc)


# By the value, since to hash a member takes longer than all that is done with it here.
_MAKE: dict[str, Any] = {
    Way.NOW.value: None,
    Way.FUTURE.value: Manner._future,
    Way.AWAIT.value: Manner._await,
    Way.CAST.value: Manner._cast,
}


class Manners:
    """The part of a proxy's face that gives views of the same object, called in other manners."""

    __slots__ = ()

    @property
    def future_(self) -> Any:
        """The same object; what is evaluated gives a `concurrent.futures.Future` at once.

        Many calls may be on their way; when a thousand are, the next one waits for room.
        `cancel()` takes a call back that has not begun over there.
        """
        return self._in_way(Way.FUTURE)

    @property
    def async_(self) -> Any:
        """The same object; what is evaluated is awaited: `await handle.async_.method()`.

        The call is made when the await begins. A method that yields is gone over by
        `async for item in handle.async_.method()`.
        """
        return self._in_way(Way.AWAIT)

    @property
    def cast_(self) -> Any:
        """The same object; what is evaluated gives nothing, and nobody waits for it.

        What it raises over there is recorded among the actor's errors, in the group `work`.
        """
        return self._in_way(Way.CAST)

    def with_(
        self,
        *,
        timeout: float | None = None,
        default: Any = MISSING,
        proxy: bool | None = None,
        window: int | None = None,
        interrupt: bool | None = None,
    ) -> Any:
        """The same object, with options for the calls made through it.

        Args:
            timeout: seconds until a call must be answered, and each item of a stream. After
                that `CallTimeoutError` is raised; a late answer is dropped, and a call that
                has not begun by then never will.
            default: what to give when nobody listens; it is called if it can be.
            proxy: True makes calls give proxies, to be evaluated by `get_`.
            interrupt: True interrupts a call over there that runs when its time is up, as
                `interrupt_` does, with a TimeoutError. Through a handle, in its owner.
            window: items that the iterator behind a stream may run ahead; 16 by default.
        """
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout must not be negative: {timeout}")
        if window is not None and window < 1:
            raise ValueError(f"window must be at least 1: {window}")
        terms = {
            name: value
            for name, value in (
                ("timeout", timeout),
                ("window", window),
                ("interrupt", interrupt),
            )
            if value is not None
        }
        changes: dict[str, Any] = {} if default is MISSING else {"default": default}
        if proxy is not None:
            changes["proxy"] = proxy
        return self._in_manner(terms, **changes)

    def _in_way(self, way: Way) -> Any:
        raise NotImplementedError

    def _in_manner(self, terms: dict[str, Any] | None = None, **changes: Any) -> Any:
        raise NotImplementedError


_PLAIN = {way.value: How(way) for way in Way}


def in_manner(
    anchor: RemoteRef, way: Way | None = None, terms: dict[str, Any] | None = None, **changes: Any
) -> Manner:
    """The anchor for a manner that differs from the one before by these changes."""
    if type(anchor) is not Manner and way is not None:
        return Manner(anchor, _PLAIN[way.value])
    how, base = (anchor.how, anchor.anchor) if isinstance(anchor, Manner) else (How(), anchor)
    if way is not None:
        changes["way"] = way
    return Manner(base, how._replace(terms=how.terms._replace(**(terms or {})), **changes))
