"""The proxy: what is done to it by Python's own syntax is done to an object in another process.

A proxy holds one value, its `View`, and turns syntax into steps of it, by the table of operations.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING, Any

from . import _loops
from ._actor.roles import check_served_class
from ._actor.served_here import Mode, local_servers
from ._caller.answers import RETURNED_SELF
from ._caller.call_options import AWAITED, CASTS, FUTURES, MISSING, PLAIN
from ._listening import ListenScope, about_serving
from ._names import ClassDoc, attribute_reader, kept_from_tools, names_of, refuse_own_name
from ._parts import VIEW_OF
from ._pickling.codec import HoldsPartError
from ._pickling.our_ways import OUR_WAYS
from ._protocol.config import RefOptions, WireOptions
from ._protocol.operations import Steps
from ._reference import Reference, RemoteRef, describe
from ._syntax import as_array, by_numpy, hash_of, operator_methods, refuse_part_in_with, text_of
from ._views import View, futures_module

if TYPE_CHECKING:
    from ._actor.pacing import Pacer
    from ._caller.following import Follower

    # A stub: at run time these, and those of items, are made from the table of operations, below.
    from ._operators import Operators  # pyright: ignore[reportMissingModuleSource]
else:
    Operators = object

__all__ = ["Proxy", "part_of_whole", "proxy_from", "proxy_of", "ref_of"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class Proxy(Operators):
    """Stands for an object that lives in another process, or for a part of it.

    What is done to a proxy is done to the object: attributes and items give further
    proxies, lazily; calls, assignments, deletions, operators, `in`, `len`, `bool` and iteration
    are evaluated there at once, and their value, or the exception that they raise, comes back.
    But two proxies of whole objects are equal if it is the same object, and hash by that.

    The names of the proxy itself end in one underscore, except `__`, `passto`, `super`,
    `poll`, `process_requests` and `wait_until_listening`. Every other name is the object's.
    Names that begin with an underscore are never remote. `attrs_` reaches every name.

    Args:
        obj: the object. The process that calls `listen_` is the one whose copy answers.
        default: the result of every operation if nobody listens; if callable, it is called.
        eager_proxy: True: calls return proxies, which `get_` evaluates.
        fulfill_final: whether calls that have arrived are run when it stops listening;
            False: they are refused.
        spin: how many seconds both sides poll for the next message before they sleep; 0: they
            never poll. The default is about 50 microseconds, as long as polling helps.
        writable: whether arrays arrive writable, on both sides.
        picklable: whether all code may pickle it. A pickled proxy is a password: who has it can run
            code in the object's process. False: only calls and starts of processes may.

    In this example the calling process itself serves the object:

    >>> class Tape:
    ...     def __init__(self):
    ...         self.reels = {"a": [1, 2]}
    ...     def wind(self, to):
    ...         return f"at {to}"
    >>> tape = Proxy(Tape())
    >>> with tape:
    ...     tape.wind(3)
    ...     tape.reels["a"][1].get_()
    'at 3'
    2
    """

    __slots__ = ("__weakref__", "_view")

    _view: View

    def __init__(
        self,
        obj: object,
        *,
        default: Any = MISSING,
        eager_proxy: bool = False,
        fulfill_final: bool = True,
        spin: float | None = None,
        writable: bool = True,
        picklable: bool = True,
    ) -> None:
        check_served_class(type(obj))
        options = RefOptions(eager_proxy, fulfill_final, picklable, WireOptions(spin, writable))
        _put_view(self, View.of(RemoteRef.of(obj, options, default)))

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        VIEW_OF[cls] = _view_from
        if cls.__reduce__ is Proxy.__reduce__:
            OUR_WAYS[cls] = _reduced
        reader = attribute_reader(cls, Proxy, _view_of, _put_view)
        type.__setattr__(cls, "__getattribute__", reader)
        type.__setattr__(cls, "__doc__", ClassDoc(vars(cls).get("__doc__"), _view_of))

    if TYPE_CHECKING:
        __: Any
        """The value over there, as `get_()` gives it."""

        def __getattr__(self, name: str) -> Proxy: ...

        def __getitem__(self, key: Any) -> Proxy: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __delitem__(self, key: Any) -> None: ...
        def every_(self, period: float) -> Pacer: ...
        def follow_(self, latest: bool = True, *, window: int | None = None) -> Follower: ...
        def publish_(self, item: Any) -> None: ...
        def checkpoint_(self) -> Any: ...

    else:
        every_, follow_ = _loops.every_, _loops.follow_
        publish_, checkpoint_ = _loops.publish_, _loops.checkpoint_

    # --- recording -----------------------------------------------------------------------

    @property
    def super(self) -> Proxy:
        """The object as its base classes see it, like `super()` within its methods."""
        return _proxy_on(_view_from(self).then("super"))

    def attrs_(self, *paths: str) -> Proxy:
        """The attribute at the end of dotted paths; it reaches every name."""
        return _proxy_on(_view_from(self).at(*paths))

    # --- views: the same object, called otherwise ------------------------------------------

    @property
    def future_(self) -> Any:
        """A view whose calls return a `concurrent.futures.Future` at once.

        Many calls may be open; when 1,024 are, the next one waits until one is answered.
        `cancel()` takes back a call that has not begun in the actor.
        """
        return _proxy_on(_view_of(self).in_mode_of(FUTURES, self))

    @property
    def async_(self) -> Any:
        """A view whose calls are awaited: `await handle.async_.method()`.

        The call is made when the await begins. If the method yields, use
        `async for item in handle.async_.method()`.
        """
        return _proxy_on(_view_of(self).in_mode_of(AWAITED, self))

    @property
    def cast_(self) -> Any:
        """A view whose calls are one-way: they have no result, and nothing waits for them.

        Their exceptions are recorded with the actor's lifecycle errors, in the group `work`.
        """
        return _proxy_on(_view_of(self).in_mode_of(CASTS, self))

    def with_(
        self,
        *,
        timeout: float | None = None,
        default: Any = MISSING,
        proxy: bool | None = None,
        window: int | None = None,
        interrupt: bool | None = None,
    ) -> Any:
        """A view with options for the calls made through it.

        Args:
            timeout: time limit in seconds for the answer, and for each item of a stream. Then
                `CallTimeoutError` is raised, and a late answer is dropped. A call that has
                not begun by then never begins.
            default: the result if nobody listens; if it is callable, it is called.
            proxy: True: calls return proxies, which `get_` evaluates.
            interrupt: True: a call that runs when its time is up is interrupted in the actor,
                by a TimeoutError. Only through a handle, in the process that owns it.
            window: how many items an iterator may run ahead of its stream; the default is 16.
        """
        view = _view_from(self)
        options = view.options.changed(
            timeout=timeout, default=default, proxy=proxy, window=window, interrupt=interrupt
        )
        return _proxy_on(view._replace(options=options))

    # --- evaluating ----------------------------------------------------------------------

    def get_(self, default: Any = MISSING, *, default_local: bool = False) -> Any:
        """Fetch the value.

        Args:
            default: the result if nobody listens; if it is callable, it is called then.
                Without a default, this is an error.
            default_local: if nobody listens, use this process's own copy of the object, if
                it has one.

        Raises:
            NotListeningError: nobody listens, and no default was given.
        """
        view = _view_from(self)
        return view.evaluate(view.steps, default, default_local)

    def __call__(
        self, /, *args: Any, _default: Any = MISSING, _proxy: bool | None = None, **kwargs: Any
    ) -> Any:
        """Call it in the actor, and return the result; with `_proxy=True` only record the call."""
        ref, steps, options, whole = view = _view_of(self)
        steps = (*steps, ("call", args, kwargs))
        if whole is not None and _default is MISSING and not (_proxy or local_servers):
            # All that `View.evaluate` does for most calls, in a thirtieth less of their time.
            try:
                if options is PLAIN:
                    result = ref.endpoint.call(steps, whole)
                    return whole if result is RETURNED_SELF else result
                if options is FUTURES:
                    return futures_module().submit(ref.endpoint, steps, whole, None, options)
            except HoldsPartError:
                pass  # nothing was sent
        view = view if whole is not None else _view_from(self)
        if _proxy or (_proxy is None and options.proxy):
            return _proxy_on(view._replace(steps=steps))
        return view.evaluate(steps, _default)

    def passto(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `func(obj, *args, **kwargs)` in the actor, where `obj` is the object itself.

        Every function works, also builtins, lambdas and closures.
        """
        return _view_from(self).do("passto", func, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        refuse_own_name(type(self), name)
        _view_from(self).do_by_syntax("setattr", name, value)

    def __delattr__(self, name: str) -> None:
        refuse_own_name(type(self), name)
        _view_from(self).do_by_syntax("delattr", name)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return as_array(_view_from(self), dtype, copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return by_numpy(ufunc, method, inputs, kwargs)

    def __aiter__(self) -> AsyncIterator[Any]:
        view = _view_of(self).in_mode_of(AWAITED, self)
        found: AsyncIterator[Any] = view.do("iter").__aiter__()
        return found

    # --- serving the object, and waiting until it is served --------------------------------

    def listen_(self, bg: bool | None = None) -> ListenScope:
        """Serve the object from this process; `with proxy.listen_():` ends it again.

        Args:
            bg: True: calls run in a background thread. False: they run only within
                `process_requests` and `poll`. None: they run in the background until this
                process first calls one of these two; from then on only there.

        Raises:
            RuntimeError: it is listening already, or the object is not in this process.
        """
        ref_of(self).listen({None: Mode.AUTO, True: Mode.BACKGROUND, False: Mode.MANUAL}[bg])
        return ListenScope(self, self.stop_listen_)

    def stop_listen_(self) -> None:
        """Stop serving; calls that have arrived are run, or refused (`fulfill_final=False`).

        If this process does not serve the object, nothing happens. In a request, the
        request is answered first.
        """
        ref_of(self).stop()

    @property
    def listening_(self) -> bool:
        """Whether the object can be called now; every process may ask."""
        return ref_of(self).listening

    @about_serving
    def process_requests(self, timeout: float | None = 0.0) -> int:
        """Run the requests that have arrived, in this thread, and return their number.

        Args:
            timeout: seconds to wait for the first request; None: no limit.

        Raises:
            NotListeningError: the object is not served from this process.
        """
        return ref_of(self).process(timeout)

    @about_serving
    def poll(self, timeout: float | None = 0.0) -> bool:
        """Run one request if one arrives within `timeout` seconds; return whether one was run."""
        return bool(ref_of(self).process(timeout, 1))

    @about_serving
    def wait_until_listening(
        self, process: Any = None, fail: bool = True, timeout: float | None = None
    ) -> bool:
        """Wait until a process serves the object.

        Args:
            process: the process (or thread) that should serve it; its end ends the wait.
            fail: False: return False instead of raising an error.
            timeout: seconds to wait at most; None waits for ever.

        Raises:
            ActorDiedError: `process` ended first.
            SpawnTimeoutError: the time was up first.
        """
        return ref_of(self).wait(process, fail, timeout)

    def __enter__(self) -> Any:
        refuse_part_in_with(self._view.steps)
        self.listen_(bg=False)
        return self

    def __exit__(self, kind: Any, exc: Any, traceback: Any) -> None:
        self.stop_listen_()

    # --- as an object of this process ------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        """What a pickle has of it: the key of its address too, so that it is a password."""
        ref_of(self).check_picklable()
        return _reduced(self)

    def __setstate__(self, local: Any) -> None:
        ref_of(self).local = local

    def __hash__(self) -> int:
        return hash_of(_view_of(self))

    def __repr__(self) -> str:
        ref, steps, _, _ = self._view
        name = ref.name if ref.local is MISSING else describe(ref.local)
        return f"<Remote {name} : ({text_of(steps)})>"

    def __dir__(self) -> Iterable[str]:
        return names_of(self, [_view_of(self)])


# The slots themselves: to write them around the proxy's own `__setattr__`, which sets the
# object's attributes, and to read them without the way through `__getattribute__`.
_put_view: Callable[[Proxy, View], None] = vars(Proxy)["_view"].__set__
_view_of: Callable[[Proxy], View] = vars(Proxy)["_view"].__get__
_new, _new_tuple = object.__new__, tuple.__new__


def proxy_of(ref: RemoteRef, cls: type[Any]) -> Any:
    """A proxy of the whole object; `cls` is `Proxy`, or a class that is derived from it."""
    return _proxy_on(View.of(ref), cls)


def ref_of(proxy: Proxy) -> RemoteRef:
    """The reference of the object for which, or for a part of which, the proxy stands."""
    return _view_of(proxy).ref


def _proxy_on(view: View, cls: type[Proxy] = Proxy) -> Proxy:
    proxy = _new(cls)
    _put_view(proxy, view)
    return proxy


for _dunder, _method in operator_methods(_proxy_on):
    setattr(Proxy, _dunder, kept_from_tools(_dunder, _method))
for _name in ("async_", "cast_", "future_", "super"):
    # jedi takes a property for what its annotation says, if it has one, and looks no further.
    vars(Proxy)[_name].fget.__annotations__.clear()


def _view_from(proxy: Proxy) -> View:
    """The proxy's view as others are made of it, and calls through it: `whole` is not None."""
    ref, steps, options, whole = view = _view_of(proxy)
    return view if whole is not None else _new_tuple(View, (ref, steps, options, proxy))


def _reduced(proxy: Proxy) -> tuple[Any, ...]:
    return _view_of(proxy).reduced(proxy_from, part_of_whole)


Proxy.__init_subclass__()  # what is done to each class of proxies


def proxy_from(reference: Reference) -> Any:
    """A proxy of the whole object, of what another process has sent."""
    return proxy_of(RemoteRef.from_reference(reference), Proxy)


def part_of_whole(whole: Proxy, steps: Steps) -> Proxy:
    """A proxy of a part, of what another process has sent. By this name, which is that of
    `_pickling.codec.PART`, a call is found to have parts among its operands."""
    return _proxy_on(_view_from(whole)._replace(steps=steps))
