"""The selector of an event loop that looks a few times before it sleeps, as `poller` does.

Imported only where there is such a loop.
"""

from __future__ import annotations

import select
import selectors
import time
from collections.abc import Mapping
from typing import Any

from .poller import SpinPoller

__all__ = ["SpinSelector"]

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class SpinSelector(selectors.BaseSelector):
    """Waits for files as `SpinPoller` does for descriptors."""

    def __init__(self, spin: float | None = None) -> None:
        self._poller = SpinPoller(spin)
        self._keys: dict[int, selectors.SelectorKey] = {}
        """By descriptor."""

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
        if timeout is None:
            found = self._poller.wait(None)
        elif timeout <= 0.0:
            found = self._poller.ready()
        else:
            found = self._poller.wait(time.monotonic() + timeout)
        keys, ready = self._keys, []
        for fd, events in found:
            if fd in keys:
                key = keys[fd]
                # What has failed is told to whoever waits for it, for whatever.
                mask = (_READ if events & ~select.POLLOUT else 0) | (
                    _WRITE if events & ~select.POLLIN else 0
                )
                ready.append((key, mask & key.events))
        return ready

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


def _descriptor(fileobj: Any) -> int:
    """
    Raises:
        ValueError: it has none, or none any more.
    """
    fd = fileobj if isinstance(fileobj, int) else int(fileobj.fileno())
    if fd < 0:
        raise ValueError(f"{fileobj!r} has no descriptor")
    return fd
