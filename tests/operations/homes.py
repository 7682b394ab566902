"""Where an object may live: in a process of the user's own, or behind a handle on any engine."""

import functools
import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest

from remoteobj import Proxy
from tests.conftest import LAUNCHES, Launch
from tests.internals import close_connection


def serve(proxy: Any) -> None:
    """What the user's own process runs."""
    with proxy:
        while not proxy.passto(is_leaving):  # at home, so evaluated directly
            proxy.process_requests(None)


def is_leaving(thing: Any) -> bool:
    return bool(getattr(thing, "leaving", False))


def leave(thing: Any) -> None:
    thing.leaving = True


class Home:
    """Starts objects, and ends them all."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._ends: list[Callable[[], object]] = []

    def start(self, cls: Any, **options: Any) -> Any:
        if "plain" not in self._launch:
            handle = cls.options(**self._launch, **options).spawn()
            self._ends.append(handle.stop_)
            return handle
        proxy: Any = Proxy(cls(), **options)
        context = multiprocessing.get_context(self._launch["plain"])
        process = context.Process(target=serve, args=(proxy,))
        process.start()
        self._ends.append(functools.partial(self._end, proxy, process))
        proxy.wait_until_listening(process)
        return proxy

    def _end(self, proxy: Any, process: Any) -> None:
        try:
            if process.is_alive():
                proxy.passto(leave)
            process.join(10)
            assert process.exitcode is not None
        finally:
            process.kill()
            process.join()
            close_connection(proxy)
            process.close()

    def close(self) -> None:
        while self._ends:
            self._ends.pop()()


HOMES: dict[str, Launch] = {
    "plain": {"plain": "fork"},
    "fork": {"engine": "process", "start_method": "fork"},
    "thread": {"engine": "thread"},
    "inline": {"engine": "inline"},
}
SLOW_HOMES: dict[str, Launch] = {
    "plain-spawn": {"plain": "spawn"},
    "plain-forkserver": {"plain": "forkserver"},
    "spawn": {"engine": "process", "start_method": "spawn"},
    "forkserver": {"engine": "process", "start_method": "forkserver"},
}
ON_REQUEST: dict[str, Launch] = {"ray": LAUNCHES["ray"]}
APART = ["plain", "fork"]  # an object in another process
WIRED = [*APART, "thread"]  # an object that any thread may call


def homes(*names: str) -> pytest.MarkDecorator:
    """Where a test's objects live, if not in all of `HOMES`. Over Ray: where `fork` is one."""
    return pytest.mark.homes(*names)
