"""The time in which a process serves an object, as a `with` block; and the names for serving."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType, TracebackType
from typing import Any, TypeVar, cast

from ._parts import VIEW_OF

__all__ = ["ListenScope", "about_serving"]

Method = TypeVar("Method", bound=Callable[..., Any])


class ListenScope:
    """What `listen_` gives: leaving it, by `with`, ends the serving."""

    def __init__(self, proxy: object, stop: Callable[[], None]) -> None:
        self._proxy = proxy
        self._stop = stop

    def __enter__(self) -> Any:
        return self._proxy

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()


class _AboutServing:
    """A method of proxies whose name is the object's where serving is not what it can mean: on a
    part, and on the handle of an object that has such a name itself."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __get__(self, proxy: Any, cls: type) -> Any:
        if proxy is None:
            return self._method
        view = VIEW_OF[type(proxy)](proxy)
        name = self._method.__name__
        if view.steps or name in view.ref.taken_names():
            return proxy.attrs_(name)
        return MethodType(self._method, proxy)


def about_serving(method: Method) -> Method:
    """Mark a method of proxies that is about serving the object, and whose name the object may
    well have, since it does not end in an underscore."""
    return cast("Method", _AboutServing(method))
