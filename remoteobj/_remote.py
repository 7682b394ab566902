"""`@remote`: a class whose objects can live in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ._actor.roles import mark
from ._options import Options
from ._os.lazy_import import import_lock

if TYPE_CHECKING:
    from ._handle import Handle

__all__ = ["Spawner", "remote"]

Class = TypeVar("Class", bound=type)
Method = TypeVar("Method", bound=Callable[..., Any])

OPTIONS = "__remote_options__"


def _launch(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: Options) -> Handle:
    with import_lock:
        from ._handle import spawn  # for a faster start-up of what only serves

    return spawn(cls, args, kwargs, options)


class Spawner:
    """Spawns actors of a class with some options changed: what `Cls.options(...)` gives."""

    def __init__(self, cls: type, options: Options) -> None:
        self._cls = cls
        self._options = options

    def spawn(self, /, *args: Any, **kwargs: Any) -> Handle:
        """Make an actor: `cls(*args, **kwargs)` in a process of its own."""
        return _launch(self._cls, args, kwargs, self._options)

    def options(self, **changes: Any) -> Spawner:
        """The same with further options changed."""
        return Spawner(self._cls, self._options.but(changes))

    def __repr__(self) -> str:
        return f"<Spawner of {self._cls.__qualname__} with {self._options}>"


def _spawn(cls: type, /, *args: Any, **kwargs: Any) -> Handle:
    """Make an actor: an object of this class, in a process of its own.

    Returns its handle when `__init__` has finished over there.

    Raises:
        Exception: what `__init__` raised.
        SpawnTimeoutError: `__init__` took longer than the option `spawn_timeout`.
        ActorDiedError: the process ended within `__init__`.
        UnsendableError: the class or an argument can't be pickled.
    """
    return _launch(cls, args, kwargs, getattr(cls, OPTIONS))


def _options(cls: type, **changes: Any) -> Spawner:
    """Spawn with other options than the class's own: `Cls.options(name="c").spawn()`.

    The options are `engine`, `start_method`, `main`, `name`, `daemon`, `exc`,
    `spawn_timeout`, `stop_timeout`, `fulfill_final`, `eager_proxy`, `reentrant`, `spin` and
    `writable`.
    """
    return Spawner(cls, getattr(cls, OPTIONS).but(changes))


_ADDED: dict[str, Any] = {"spawn": _spawn, "options": _options}


class _Remote:
    """Turns a class into one whose objects can live in processes of their own.

    The class gains `spawn` and `options` and stays an ordinary class otherwise, and so do
    its subclasses. Keywords are the options that its actors get by default.

    >>> @remote
    ... class Counter:
    ...     def __init__(self, start=0):
    ...         self.value = start
    ...     def add(self, n=1):
    ...         self.value += n
    ...         return self.value
    >>> with Counter.spawn(10) as counter:
    ...     counter.add(5)
    ...     counter.value.get_()
    15
    15
    >>> Counter(1).add()
    2

    Raises:
        TypeError: what is decorated is no class, or has a `spawn` or `options` of its own.
    """

    @overload
    def __call__(self, cls: Class, /) -> Class: ...

    @overload
    def __call__(self, cls: None = None, /, **options: Any) -> Callable[[Class], Class]: ...

    def __call__(self, cls: Any = None, /, **options: Any) -> Any:
        if cls is None:
            return lambda decorated: self._decorate(decorated, options)
        return self._decorate(cls, options)

    def _decorate(self, cls: Any, options: dict[str, Any]) -> Any:
        if not isinstance(cls, type):
            raise TypeError(f"@remote is for classes, and {cls!r} is none; see util.process")
        inherited = getattr(cls, OPTIONS, None)
        for name in _ADDED:
            if name in cls.__dict__ or (inherited is None and hasattr(cls, name)):
                raise TypeError(
                    f"{cls.__qualname__} has a {name!r} of its own, which @remote would hide; "
                    "rename it"
                )
        for name, method in _ADDED.items():
            setattr(cls, name, classmethod(method))
        setattr(cls, OPTIONS, (inherited or Options()).but(options))
        return cls

    def work(self, method: Method, /) -> Method:
        """Mark the method that is the actor's own loop. It runs in its main thread.

        Requests meanwhile run in another thread, until the loop calls
        `self.remote.process_requests()`: from then on they run only there. The loop should
        end when `self.remote.listening_` is no longer true.
        """
        mark(method, "work")
        return method

    def cleanup(self, method: Method, /) -> Method:
        """Mark the method that runs however the actor ends, short of SIGKILL."""
        mark(method, "cleanup")
        return method


remote: _Remote = _Remote()
