"""Functions that give what belongs to a proxy: its value, or the proxy of the code that asks."""

from __future__ import annotations

from typing import Any

from ._actor.current import current_actor
from ._caller.call_options import MISSING
from ._proxy import Proxy

__all__ = ["current", "get"]


def get(view: Any, default: Any = MISSING, *, default_local: bool = False) -> Any:
    """The value of a proxy, as `get_` gives it; anything else is its own value.

    >>> get(5)
    5
    """
    if isinstance(view, Proxy):
        return view.get_(default, default_local=default_local)
    return view


def current() -> Proxy:
    """The proxy of the actor that the caller is in.

    Raises:
        RuntimeError: the caller is in no actor.
    """
    found = current_actor.get()
    if not isinstance(found, Proxy):
        raise RuntimeError("current() is for code that runs inside an actor")
    return found
