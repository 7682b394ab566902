"""Functions for what no proxy can be asked for by its own name: a value that may be remote or not,
and the proxy of the actor that the calling code runs in."""

from __future__ import annotations

from typing import Any, TypeVar

from ._actor.current import current_actor
from ._caller.call_options import MISSING
from ._proxy import Proxy

__all__ = ["current", "get"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

V = TypeVar("V")


def get(view: V, default: Any = MISSING, *, default_local: bool = False) -> V:
    """The value of a proxy, as `get_` gives it. Anything but a proxy is its own value.

    To type checkers it is of the type of the part: what `with spawn(Counter)` gives is a `Counter`,
    so that the value of its `count` is a number to them.

    >>> get(5)
    5
    """
    if isinstance(view, Proxy):
        found: V = view.get_(default, default_local=default_local)
        return found
    return view


def current() -> Proxy:
    """Return the proxy of the actor in which the calling code runs.

    Raises:
        RuntimeError: the caller is in no actor.
    """
    found = current_actor.get()
    if not isinstance(found, Proxy):
        raise RuntimeError("current() is for code that runs inside an actor")
    return found
