"""`@remote`: a class whose objects can live in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, Unpack, overload

from ._actor.roles import OPTIONS, REQUESTS, check_class, mark, mark_added
from ._options import Options
from ._os.lazy_import import import_lock
from ._spawn import launch

if TYPE_CHECKING:
    from ._handle import Handle
    from ._option_types import SpawnOptions
    from ._pool import Pool

__all__ = ["ClassSpawner", "remote"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

T = TypeVar("T")
Class = TypeVar("Class", bound=type)
Method = TypeVar("Method", bound=Callable[..., Any])


class ClassSpawner(Generic[T]):
    """Spawns actors of a class with some options changed: what `Cls.options(...)` gives."""

    def __init__(self, cls: type[T], options: Options) -> None:
        self._cls = cls
        self._options = options

    def spawn(self, /, *args: Any, **kwargs: Any) -> Handle[T]:
        """Make an actor: `cls(*args, **kwargs)` in a process of its own."""
        return launch(self._cls, args, kwargs, self._options)

    def pool(self, n: int | None = None, /, *args: Any, **kwargs: Any) -> Pool[T]:
        """Make a pool of workers, each of which has an object `cls(*args, **kwargs)`: see
        `remoteobj.Pool`."""
        with import_lock:
            from ._pool import pool_of  # for a faster start-up: it needs concurrent.futures

        return pool_of(n, self._cls, args, kwargs, self._options)

    def options(self, **changes: Unpack[SpawnOptions]) -> ClassSpawner[T]:
        """The same with further options changed."""
        return ClassSpawner(self._cls, self._options.but(changes))

    def __repr__(self) -> str:
        return f"<Spawner of {self._cls.__qualname__} with {self._options}>"


def _spawn(cls: type[T], /, *args: Any, **kwargs: Any) -> Handle[T]:
    """Make an actor: an object of this class, in a process of its own.

    Returns its handle when `__init__` has finished over there.

    Raises:
        Exception: what `__init__` raised.
        SpawnTimeoutError: `__init__` took longer than the option `spawn_timeout`.
        ActorDiedError: the process ended within `__init__`.
        UnsendableError: the class or an argument can't be pickled.
    """
    return launch(cls, args, kwargs, getattr(cls, OPTIONS))


def _options(cls: type[T], **changes: Unpack[SpawnOptions]) -> ClassSpawner[T]:
    """Spawn with other options than the class's own: `Cls.options(name="c").spawn()`.

    The options are `engine`, `start_method`, `main`, `name`, `daemon`, `exc`,
    `spawn_timeout`, `wait`, `stop_timeout`, `fulfill_final`, `eager_proxy`, `reentrant`,
    `max_concurrency`, `event_loop`, `spin`,
    `writable`, `checkpoint_every` and `checkpoint_path`.
    """
    return ClassSpawner(cls, getattr(cls, OPTIONS).but(changes))


_ADDED: dict[str, Any] = {"spawn": mark_added(_spawn), "options": mark_added(_options)}


class _OfClass:
    """`spawn` or `options` where a class has a method of that name itself: the class is asked for
    ours, and its objects, wherever they live, for their own."""

    def __init__(self, ours: Callable[..., Any], own: Any) -> None:
        self._ours = classmethod(ours)
        self._own = own

    def __get__(self, obj: object, cls: type) -> Any:
        return self._ours.__get__(obj, cls) if obj is None else self._own.__get__(obj, cls)


def _add_names(cls: type) -> None:
    """Give a class `spawn` and `options`.

    Raises:
        TypeError: it has an attribute of such a name, or can't be given any.
    """
    for name, ours in _ADDED.items():
        before = next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)
        if isinstance(before, _OfClass) or getattr(before, "__func__", None) is ours:
            continue  # it is decorated again, or derived from one that is
        if before is not None and not isinstance(before, FunctionType | property):
            raise TypeError(
                f"{cls.__qualname__} has a {name!r} of its own, which @remote would hide; rename "
                f"it, or leave the class as it is: remoteobj.spawn({cls.__name__}, ...) or "
                f"remoteobj.options(...).spawn({cls.__name__}, ...)"
            )
        try:
            setattr(cls, name, classmethod(ours) if before is None else _OfClass(ours, before))
        except TypeError as exc:
            raise TypeError(
                f"{cls.__qualname__} can't be changed, as is so with classes written in C: use "
                f"remoteobj.spawn({cls.__name__}, ...), or decorate a subclass of it"
            ) from exc


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

    If the class has methods `spawn` and `options` of its own, its objects keep them. To whatever
    name of its objects is also a proxy's own, `attrs_("name")` leads.

    Raises:
        TypeError: what is decorated is no class, or can't be changed, or is wrong in itself: it has
            two work loops, say, or a method with a parameter `_default`, which calls through a
            proxy would never give it.
    """

    @overload
    def __call__(self, cls: Class, /) -> Class: ...

    @overload
    def __call__(
        self, cls: None = None, /, **options: Unpack[SpawnOptions]
    ) -> Callable[[Class], Class]: ...

    def __call__(self, cls: Any = None, /, **options: Unpack[SpawnOptions]) -> Any:
        if cls is None:
            return lambda decorated: self._decorate(decorated, options)
        return self._decorate(cls, options)

    def _decorate(self, cls: Any, options: SpawnOptions) -> Any:
        if not isinstance(cls, type):
            raise TypeError(
                f"@remote is for classes, and {cls!r} is none; see remoteobj.spawn for other "
                "things that make an object, and remoteobj.util.process for functions"
            )
        check_class(cls)
        own = (getattr(cls, OPTIONS, None) or Options()).but(options)
        _add_names(cls)
        setattr(cls, OPTIONS, own)
        return cls

    @overload
    def work(self, method: Method, /) -> Method: ...

    @overload
    def work(
        self, method: None = None, /, *, requests: Literal["loop", "thread"] | None = None
    ) -> Callable[[Method], Method]: ...

    def work(self, method: Any = None, /, *, requests: str | None = None) -> Any:
        """Mark the method that is the actor's own loop. It runs in its main thread.

        The loop should end when `self.remote.listening_` is no longer true. It may be `async def`:
        then requests run on its event loop, whenever it awaits.

        Args:
            requests: where requests run meanwhile. "loop": only in the loop, where it calls
                `self.remote.process_requests()` or `poll()`, or paces itself by `every_`. "thread":
                in a second thread, until the loop first calls one of these, which takes over.
                Unsaid, the loop's own code decides: if it names one of these, "loop", else
                "thread".

        Raises:
            TypeError: it is no method that can be run so: a generator, say.
            ValueError: `requests` is neither.
        """
        if requests is not None and requests not in REQUESTS:
            raise ValueError(f"requests must be one of {', '.join(REQUESTS)}, not {requests!r}")
        if method is None:
            return lambda marked: mark(marked, "work", requests)
        return mark(method, "work", requests)

    def cleanup(self, method: Method, /) -> Method:
        """Mark the method that runs however the actor ends, short of SIGKILL."""
        mark(method, "cleanup")
        return method

    def checkpoint(self, method: Method, /) -> Method:
        """Mark the method whose return value is the state of the object, which is kept for the next
        process of its actor. It is called with no argument, and what it returns is pickled.

        When that is, the option `checkpoint_every` says; `checkpoint_()` of a proxy does it now.
        """
        mark(method, "checkpoint")
        return method

    def restore(self, method: Method, /) -> Method:
        """Mark the method that gets the state, as the one marked `checkpoint` returned it.

        It is called when the actor is started again, after `__init__` and before any call is run.

        >>> @remote
        ... class Counter:
        ...     def __init__(self):
        ...         self.value = 0
        ...     def add(self, n=1):
        ...         self.value += n
        ...         return self.value
        ...     @remote.checkpoint
        ...     def save(self):
        ...         return self.value
        ...     @remote.restore
        ...     def load(self, value):
        ...         self.value = value
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     options = {"checkpoint_path": os.path.join(directory, "counter")}
        ...     with Counter.options(checkpoint_every=0.0, **options).spawn() as counter:
        ...         counter.add(5)
        ...     with Counter.options(**options).spawn() as counter:
        ...         counter.value.__
        5
        5
        """
        mark(method, "restore")
        return method


remote: _Remote = _Remote()
