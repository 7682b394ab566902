"""Actors of whatever makes an object: a class of somebody else, a function, a lambda."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from ._actor.roles import OPTIONS, check_class
from ._options import Options
from ._os.lazy_import import import_lock

if TYPE_CHECKING:
    from ._handle import Handle
    from ._option_types import SpawnOptions
    from ._pool import Pool

__all__ = ["Spawner", "launch", "options", "options_for", "spawn"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

P = ParamSpec("P")
T = TypeVar("T")


def launch(
    factory: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], options: Options
) -> Handle[T]:
    """Make an actor of what the factory makes over there."""
    with import_lock:
        from ._spawning import spawn  # for a faster start-up of what only serves

    return spawn(factory, args, kwargs, options)


def options_for(factory: Callable[..., object], changes: SpawnOptions) -> Options:
    """The options of an actor that this factory makes: its own, with some changed.

    Raises:
        TypeError: it can't be called, or what is wrong with it can be told now; or an option of
            such a name does not exist.
    """
    if not callable(factory):
        raise TypeError(
            f"spawn() takes what makes the object over there, a class or a function, and "
            f"{factory!r} can't be called; an object that is here already is served by "
            "Proxy(obj)"
        )
    if isinstance(factory, type):
        check_class(factory)
    own: Options = getattr(factory, OPTIONS, None) or Options()
    return own.but(changes)


class Spawner:
    """Spawns actors with some options changed: what `remoteobj.options(...)` gives."""

    def __init__(self, changes: SpawnOptions) -> None:
        Options().but(changes)  # which refuses unknown ones now
        self._changes = changes

    def spawn(self, factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
        """Make an actor of what `factory(*args, **kwargs)` returns: see `remoteobj.spawn`."""
        return launch(factory, args, kwargs, options_for(factory, self._changes))

    @overload
    def pool(self, n: int | None = None) -> Pool[None]: ...

    @overload
    def pool(
        self, n: int | None, factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Pool[T]: ...

    def pool(  # type: ignore[misc]  # `n` by its name is in the keywords
        self, n: Any = None, factory: Any = None, /, *args: Any, **kwargs: Any
    ) -> Pool[Any]:
        """Make a pool of workers, each of which has an object that `factory(*args, **kwargs)`
        returns, if there is a factory: see `remoteobj.Pool`."""
        with import_lock:
            from ._pool import pool_of  # for a faster start-up: it needs concurrent.futures

        own: Options = getattr(factory, OPTIONS, None) or Options()
        return pool_of(n, factory, args, kwargs, own.but(self._changes))

    def options(self, **changes: Unpack[SpawnOptions]) -> Spawner:
        """The same with further options changed."""
        return Spawner({**self._changes, **changes})

    def __repr__(self) -> str:
        changes = ", ".join(f"{name}={value!r}" for name, value in self._changes.items())
        return f"<Spawner with {changes or 'the default options'}>"


def spawn(factory: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
    """Make an actor of whatever `factory(*args, **kwargs)` returns, in a process of its own.

    The factory is a class, decorated or not, written in Python or in C, or any function. It is
    called in the new process, and returns the object; it may be `async def`. The class is not
    changed. If it is not decorated by `@remote`, its objects have no `self.remote`; their code
    finds the actor's own proxy by `remoteobj.current()`.

    >>> with spawn(dict, a=1) as table:
    ...     table["b"] = 2
    ...     sorted(table.keys())
    ['a', 'b']
    >>> with spawn(lambda size: bytearray(size), 3) as buffer:
    ...     len(buffer)
    3

    Raises:
        Exception: what the factory raised.
        TypeError: it can't be called, or returned None.
        SpawnTimeoutError: it took longer than the option `spawn_timeout`.
        ActorDiedError: the process ended before it returned.
        UnsendableError: the factory or an argument can't be pickled.
    """
    return Spawner({}).spawn(factory, *args, **kwargs)


def options(**changes: Unpack[SpawnOptions]) -> Spawner:
    """A spawner with options of your own: `options(name="cache", daemon=False).spawn(dict)`.

    The options are those of `Cls.options`. For all others, a decorated class uses its own.

    Raises:
        TypeError: an option of such a name does not exist.
    """
    return Spawner(changes)
