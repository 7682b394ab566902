"""An event loop that looks a few times before it sleeps, as `poller` does, and that lets what is
urgent be done within its wait.

A turn of asyncio's loop takes some microseconds, which is as long as a short call. While the loop
waits it has nothing else to do. So what an urgent descriptor brings is dealt with right there, and
as long as the loop is asked for nothing by that, it goes on waiting.

Imported only where there is such a loop.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, TypeVarTuple

from .poller import SpinPoller

__all__ = ["SpinLoop"]

Ts = TypeVarTuple("Ts")

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class SpinSelector(selectors.BaseSelector):
    """Waits for files as `SpinPoller` does for descriptors."""

    def __init__(self, spin: float | None = None) -> None:
        self._poller = SpinPoller(spin)
        self._keys: dict[int, selectors.SelectorKey] = {}
        """By descriptor."""
        self.urgent: dict[int, Callable[[int], bool]] = {}
        """What is called within the wait, by descriptor: whether to go on waiting after it."""

    def attend(self, fd: int, act: Callable[[int], bool]) -> None:
        """Have this called within the wait whenever there is something to read."""
        self.urgent[fd] = act
        self._poller.register(fd)

    def leave(self, fd: int) -> None:
        """Attend to a descriptor no more. Harmless if it is not attended to."""
        if self.urgent.pop(fd, None) is not None:
            self._poller.unregister(fd)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is registered already")
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        self._poller.register(fd, _mask(events))
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        self._poller.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        before = self.get_key(fileobj)
        key = self._keys[before.fd] = before._replace(events=events, data=data)
        if events != before.events:
            self._poller.register(key.fd, _mask(events))
        return key

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        urgent, wait = self.urgent, self._poller.wait
        deadline = None
        if timeout is not None:
            if timeout <= 0.0:
                return self._sorted(self._poller.ready())[0]
            deadline = time.monotonic() + timeout
        while True:
            found = wait(deadline)
            if len(found) == 1 and (fd := found[0][0]) in urgent:  # as it mostly is
                if urgent[fd](fd):
                    continue
                return []
            ready, goes_on = self._sorted(found)
            if ready or not goes_on:
                return ready

    def _sorted(
        self, found: list[tuple[int, int]]
    ) -> tuple[list[tuple[selectors.SelectorKey, int]], bool]:
        """What is ready, once what is urgent of it is done; whether to go on waiting for more."""
        ready, goes_on = [], bool(found)
        for fd, events in found:
            if fd in self.urgent:
                goes_on = self.urgent[fd](fd) and goes_on
            elif fd in self._keys:
                ready.append((self._keys[fd], _of_mask(events) & self._keys[fd].events))
        return ready, goes_on

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        try:
            return self._keys[_descriptor(fileobj)]
        except ValueError:  # it was closed meanwhile
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise
        except KeyError:
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()


def _mask(events: int) -> int:
    return (select.POLLIN if events & _READ else 0) | (select.POLLOUT if events & _WRITE else 0)


def _of_mask(events: int) -> int:
    # What has failed is told to whoever waits for it, for whatever.
    return (_READ if events & ~select.POLLOUT else 0) | (_WRITE if events & ~select.POLLIN else 0)


def _descriptor(fileobj: Any) -> int:
    """
    Raises:
        ValueError: it has none, or none any more.
    """
    fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
    if fd < 0:
        raise ValueError(f"{fileobj!r} has no descriptor")
    return fd


class SpinLoop(asyncio.SelectorEventLoop):
    """The loop."""

    def __init__(self, spin: float | None = None) -> None:
        self._spin_selector = SpinSelector(spin)
        self.asked = False
        """Whether it was asked for a turn: to be set to False before something urgent is done."""
        super().__init__(self._spin_selector)

    def attend(self, fd: int, act: Callable[[int], bool]) -> None:
        """Have this called, within the wait, whenever there is something to read; it returns
        whether to go on waiting."""
        self._spin_selector.attend(fd, act)

    def leave(self, fd: int) -> None:
        """Attend to a descriptor no more. Harmless if it is not attended to."""
        self._spin_selector.leave(fd)

    def call_soon(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.Handle:
        self.asked = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.asked = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        self.asked = True
        super().stop()
