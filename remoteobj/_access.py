"""Functions for what no proxy can be asked for by its own name, or not in a form that type checkers
follow: a value that may be remote or not, the outcome of a call as a future or awaited, and the
proxy of the actor that the calling code runs in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from types import CoroutineType, MethodType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ._actor.current import current_actor
from ._caller.call_options import MISSING
from ._os.lazy_import import import_lock
from ._proxy import Proxy

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ._caller.asyncio_calls import AwaitableCall

__all__ = ["awaitable", "current", "future", "get"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

D = TypeVar("D")
P = ParamSpec("P")
R = TypeVar("R")
V = TypeVar("V")

EVALUATING = ("get_", "passto")
"""The methods of a proxy itself that ask for an outcome, and so do what the view says."""


@overload
def get(view: Proxy, default: Any = ..., *, default_local: bool = False) -> Any: ...
@overload
def get(view: Coroutine[Any, Any, R]) -> R: ...
@overload
def get(view: AsyncIterator[R]) -> Iterator[R]: ...
@overload
def get(view: V) -> V: ...
@overload
def get(view: V, *, default_local: bool) -> V: ...
@overload
def get(view: V, default: Callable[[], D], *, default_local: bool = False) -> V | D: ...
@overload
def get(view: V, default: D, *, default_local: bool = False) -> V | D: ...
def get(view: Any, default: Any = MISSING, *, default_local: bool = False) -> Any:
    """The value of a proxy, as `get_` gives it. Anything but a proxy is its own value.

    To type checkers it is of the type of the part: what `with spawn(Counter)` gives is a `Counter`,
    so that the value of its `count` is a number to them. A call of an `async def` method gives the
    value itself; to type checkers it does by this: `n = get(counter.count_slowly())`, and likewise
    `n = get(future(counter.count_slowly)().result())` and
    `n = get(await awaitable(counter.count_slowly)())`.

    >>> get(5)
    5
    """
    if isinstance(view, Proxy):
        return view.get_(default, default_local=default_local)
    return view


def future(method: Callable[P, R]) -> Callable[P, Future[R]]:
    """Have the calls of a method give a `concurrent.futures.Future` of what it returns, at once.

    `future(counter.add)(1)` is the same call as `counter.future_.add(1)`, but type checkers know
    its arguments, and of what it is a future. A method of an object of this process is called right
    here: its future is done.

    Raises:
        TypeError: what is given is no method. The usual mistake is to give the call,
            `future(counter.add(1))`, which has its value by then. What is given has to be callable
            over there too: if it is not, the future raises TypeError.

    >>> from remoteobj import spawn
    >>> with spawn(list, "abc") as letters:
    ...     future(letters.index)("c").result()
    2
    """
    found: Callable[P, Future[R]] | None = _through("future_", method, "future")
    if found is not None:
        return found
    with import_lock:
        # For a faster start-up: it needs concurrent.futures.
        from ._caller.futures import completed

    def call(*args: P.args, **kwargs: P.kwargs) -> Future[R]:
        return completed(partial(method, *args, **kwargs))

    return call


def awaitable(method: Callable[P, R]) -> Callable[P, AwaitableCall[R]]:
    """Have the calls of a method be made when they are awaited.

    `await awaitable(counter.add)(1)` is the same call as `await counter.async_.add(1)`, but type
    checkers know its arguments, and what it gives. A method that yields is gone over by
    `async for item in awaitable(counter.rows)()`. A method of an object of this process is called
    when that is awaited, right there.

    Raises:
        TypeError: what is given is no method, as with `future`.

    >>> import asyncio
    >>> from remoteobj import spawn
    >>> async def find(letters: list[str]) -> int:
    ...     return await awaitable(letters.index)("c")
    >>> with spawn(list, "abc") as letters:
    ...     asyncio.run(find(letters))
    2
    """
    found: Callable[P, AwaitableCall[R]] | None = _through("async_", method, "awaitable")
    if found is not None:
        return found
    with import_lock:
        # For a faster start-up: it needs asyncio.
        from ._caller.asyncio_calls import AwaitableCall

    async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
        result: Any = method(*args, **kwargs)
        return await result if type(result) is CoroutineType else result

    def call(*args: P.args, **kwargs: P.kwargs) -> AwaitableCall[R]:
        return AwaitableCall(later(*args, **kwargs))

    return call


def _through(view: str, method: Any, function: str) -> Any:
    """The method through a view of its object; None if it is an object's of this process.

    Raises:
        TypeError: it is no method of an object.
    """
    if isinstance(method, Proxy):
        return getattr(method, view)
    if not callable(method):
        raise TypeError(
            f"{function}() takes a method, and {method!r:.80} is none: give the method itself, and "
            f"then its arguments, as in {function}(counter.add)(1)"
        )
    with import_lock:
        from ._each import Each  # for a faster start-up of what asks one actor at a time

    if isinstance(method, Each):
        return getattr(method, view)
    if not (isinstance(method, MethodType) and isinstance(method.__self__, Proxy | Each)):
        return None
    proxy, name = method.__self__, method.__name__
    if name in EVALUATING:
        return getattr(getattr(proxy, view), name)
    raise TypeError(
        f"{name} is the proxy's own and no method of the object, so {function}() does not take it; "
        f"what Python's syntax does can be passed, as in {function}(proxy.passto)(len)"
    )


def current() -> Proxy:
    """Return the proxy of the actor in which the calling code runs.

    Raises:
        RuntimeError: the caller is in no actor.
    """
    found = current_actor.get()
    if not isinstance(found, Proxy):
        raise RuntimeError("current() is for code that runs inside an actor")
    return found
