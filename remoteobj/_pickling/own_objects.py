"""The objects of this process's actors: in a pickle they are proxies, wherever they stand.

An actor's object is where its actor is. A copy of it in another process would hear nothing of what
the actor is told; nor would a bound method of a copy, given away as a callback. Other objects pay
nothing for that: the picklers ask only about objects of `own_types`.

Two things are copies all the same. What has a built-in type, as a `list` has, is pickled by C
without asking anybody. And what a process is started with is a copy under each start method, as
multiprocessing makes it: a fork can't do otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.context import get_spawning_popen
from types import MethodType
from typing import Any, Final

__all__ = ["enter", "leave", "own_types", "proxy_maker", "reduction", "watchers"]

_makers: Final[dict[int, Callable[[], Any]]] = {}
"""Of each object that is an actor's, by `id`: what makes its proxy. An entry is there only while
the actor holds the object, whose `id` is nobody else's meanwhile."""

own_types: Final[set[type]] = {MethodType}
"""The types that these objects have, or had, and that of their methods."""

watchers: Final[list[Callable[[type], object]]] = []
"""Each is called with a type that is new among them."""


def enter(obj: object, make_proxy: Callable[[], Any]) -> None:
    """Let `obj` be a proxy wherever it is pickled, until it leaves."""
    _makers[id(obj)] = make_proxy
    if type(obj) not in own_types:
        own_types.add(type(obj))
        for watcher in watchers:
            watcher(type(obj))


def leave(obj: object) -> None:
    """It is no actor's object any more."""
    _makers.pop(id(obj), None)


def proxy_maker(obj: object) -> Callable[[], Any] | None:
    """What makes the proxy of an actor's object; None: it is nobody's."""
    return _makers.get(id(obj))


def reduction(obj: Any) -> Any:
    """How to pickle an actor's object, or a method of it, by its proxy; None: it is neither."""
    method = type(obj) is MethodType
    make_proxy = _makers.get(id(obj.__self__ if method else obj))
    if make_proxy is None or get_spawning_popen() is not None:
        return None
    proxy = make_proxy()
    return (proxy.attrs_(_name_of(obj)) if method else proxy).__reduce_ex__(5)


def _name_of(method: MethodType) -> str:
    """The name by which the object gives the method."""
    obj: Any = method.__self__
    name: str = method.__func__.__name__
    mangled = [f"_{base.__name__.lstrip('_')}{name}" for base in type(obj).__mro__]
    for one in [name, *(mangled if name.startswith("__") else [])]:
        found = getattr(obj, one, None)
        if type(found) is MethodType and found == method:  # `==` of a proxy would be a call
            return one
    raise TypeError(
        f"the method {method.__func__.__qualname__} of an actor's object is no attribute of it by "
        "its name, so that no proxy can stand for it"
    )
