"""How the object of an actor is made."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any

from .._fast_typing import Protocol
from .._pickling import own_objects
from .current import ProxyMaker, give_own_proxy

__all__ = ["Home", "make_object"]


class Home(Protocol):
    """What has the object, from the moment on in which it is there."""

    root: object


def make_object(
    home: Home,
    proxy: ProxyMaker,
    factory: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    finish: Callable[[CoroutineType[Any, Any, Any]], Any],
) -> None:
    """Make the object; it has its proxy before its `__init__` runs.

    Args:
        finish: awaits what a factory gives, where that is a coroutine.
    """
    cls = factory if isinstance(factory, type) else None
    if cls is not None and type(cls).__call__ is type.__call__:
        home.root = made = cls.__new__(cls, *args, **kwargs)
        own_objects.enter(made, proxy)
        if isinstance(made, cls):
            _check_init(type(made).__init__(made, *args, **kwargs))
        return
    # A metaclass, or a function, makes the object.
    made = factory(*args, **kwargs)
    if cls is None:
        if type(made) is CoroutineType:
            made = finish(made)
        _check_made(factory, made)
    home.root = made
    own_objects.enter(made, proxy)
    give_own_proxy(type(made))


def _check_init(returned: object) -> None:
    """Refuse what Python itself refuses; a coroutine that is an `__init__` would never run."""
    if returned is not None:
        if type(returned) is CoroutineType:
            returned.close()
        raise TypeError(f"__init__() should return None, not {type(returned).__name__!r}")


def _check_made(factory: object, made: object) -> None:
    """Refuse what no factory means to make."""
    if made is None:
        raise TypeError(
            f"{factory!r} returned None, and is to return the object; to run a function in a "
            "process, use remoteobj.util.process"
        )
