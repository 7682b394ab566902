"""Handles over objects that live in the program's own process: for tests of what uses actors."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from ._actor.roles import role_of
from ._os.lazy_import import import_lock
from ._spawn import options

if TYPE_CHECKING:
    from ._handle import Handle

__all__ = ["fake", "mocked"]

P = ParamSpec("P")
T = TypeVar("T")


def fake(factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
    """A handle over an object that is made here: an actor without a process.

    `fake(Counter, 10)` takes the place of `Counter.spawn(10)`, and what it gives has the whole face
    of a handle. The object works whenever somebody waits for it, in that thread; one whose class
    has a work loop has a thread of its own. Arguments and results are pickled as ever, so that what
    a process would not get, a fake does not get either.

    It can't be killed, as no thread can: `kill_` is a RuntimeError. Nor can it be interrupted.

    >>> class Counter:
    ...     def __init__(self, start=0):
    ...         self.value = start
    ...     def add(self, n=1):
    ...         self.value += n
    ...         return self.value
    >>> import os
    >>> with fake(Counter, 10) as counter:
    ...     counter.add(5), counter.value.__, counter.pid_ == os.getpid()
    (15, 15, True)

    Raises:
        Exception: what the factory raised, and what `remoteobj.spawn` raises.
    """
    cls: Any = factory
    works = isinstance(cls, type) and role_of(cls, "work") is not None
    engine = "thread" if works else "inline"
    return options(engine=engine, restart="never").spawn(factory, *args, **kwargs)


def mocked(cls: type[T], /, **attributes: Any) -> Handle[T]:
    """A handle over a mock of `unittest.mock`, that has the names and the signatures of a class.

    Its methods do nothing and return None until they are told otherwise, and remember their calls;
    its properties are None. A name that the class has not is an AttributeError, and wrong arguments
    are a TypeError. All that a mock understands is said through the handle.

    Args:
        attributes: values of attributes, among them those that `__init__` would set, which the
            class does not know of.

    >>> class Camera:
    ...     def grab(self, exposure): ...
    >>> with mocked(Camera, gain=2) as camera:
    ...     camera.grab.return_value = "a picture"
    ...     camera.grab(0.1), camera.gain.__
    ...     camera.grab.assert_called_once_with(0.1)
    ('a picture', 2)
    """
    with import_lock:
        from inspect import getattr_static  # for a faster start-up
        from unittest import mock  # for a faster start-up: it brings asyncio

    made: Any = mock.create_autospec(cls, instance=True)
    for name in dir(cls):
        if not name.startswith("_"):
            _make_plain(made, name, getattr_static(cls, name))
    made.configure_mock(**attributes)

    def make() -> T:
        return made  # type: ignore[no-any-return]

    make.__name__ = cls.__name__
    return fake(make)


def _make_plain(made: Any, name: str, in_class: object) -> None:
    """Have a name of a mock give what can be sent, where it would give a further mock."""
    if callable(getattr(in_class, "__func__", in_class)):
        getattr(made, name).return_value = None
    else:
        setattr(made, name, None if hasattr(in_class, "__get__") else in_class)
