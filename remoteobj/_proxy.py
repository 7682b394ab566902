"""The proxy: Python's own syntax, recorded as a view of an object in another process."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Self

from ._actor.current import current_actor
from ._listening import ListenMixin
from ._protocol.config import WireOptions
from ._protocol.operations import OPERATIONS, Operation, Steps, drop, format_steps
from ._reference import MISSING, RETURNED_SELF, RemoteRef, describe
from ._views import Manner, Manners, Way, in_manner
from ._wire.unix import Address

__all__ = ["Proxy", "current", "get"]


class Proxy(Manners, ListenMixin):
    """Stands for an object that lives in another process, or for a part of it.

    What is done to a proxy is done to the object: attributes and items give further
    proxies, lazily; calls, assignments, deletions, `in`, `len`, `bool` and iteration are
    evaluated there at once, and their value, or the exception that they raise, comes back.

    Everything of the proxy's own ends in one underscore, but for `__`, `passto`, `super`,
    `poll`, `process_requests` and `wait_until_listening`; every other name is the object's.
    Names that begin with an underscore are never remote. `attrs_` reaches any name at all.

    Args:
        obj: the object. The process that calls `listen_` is the one whose copy answers.
        eager_proxy: True makes calls give proxies too, to be evaluated by `get_`.
        fulfill_final: whether requests that arrive while it stops listening are carried
            out; False refuses them.
        spin: seconds that both sides poll for the next message before they sleep; 0 for never.
            By default some tens of microseconds, as long as that pays.
        writable: whether arrays that arrive, here and there, can be written to.

    Here the object is listened for in the process that calls it, which shows the syntax:

    >>> class Tape:
    ...     def __init__(self):
    ...         self.reels = {"a": [1, 2]}
    ...     def wind(self, to):
    ...         return f"at {to}"
    >>> tape = Proxy(Tape())
    >>> with tape:
    ...     tape.wind(3)
    ...     tape.reels["a"][1].get_()
    ...     len(tape.reels["a"])
    ...     "b" in tape.reels
    'at 3'
    2
    2
    False
    """

    __slots__ = ("__weakref__", "_parent", "_ref", "_steps")

    _ref: RemoteRef
    _steps: Steps
    _parent: Proxy | None

    def __init__(
        self,
        obj: object,
        *,
        eager_proxy: bool = False,
        fulfill_final: bool = True,
        spin: float | None = None,
        writable: bool = True,
    ) -> None:
        wire_options = WireOptions(spin, writable)
        anchor = RemoteRef.of(
            obj, eager=eager_proxy, fulfil=fulfill_final, wire_options=wire_options
        )
        self._fill(anchor, (), None)

    @classmethod
    def _at(cls, anchor: RemoteRef, steps: Steps = (), parent: Proxy | None = None) -> Self:
        proxy = object.__new__(cls)
        proxy._fill(anchor, steps, parent)
        return proxy

    def _fill(self, anchor: RemoteRef, steps: Steps, root: Proxy | None) -> None:
        _put_anchor(self, anchor)
        _put_steps(self, steps)
        # Every part keeps the root, and so the actor that a handle owns, alive.
        _put_parent(self, root)

    # --- recording -----------------------------------------------------------------------

    @property
    def _root(self) -> Proxy:
        return self if self._parent is None else self._parent

    def _then(self, name: str, *operands: Any) -> Proxy:
        assert name in OPERATIONS
        return Proxy._at(self._ref, (*self._steps, (name, *operands)), self._root)

    def __init_subclass__(cls) -> None:
        cls.__getattribute__ = _attribute_of(cls)  # type: ignore[method-assign, assignment]

    if TYPE_CHECKING:
        __: Any
        """The value over there: the same as `get_()`."""

        def __getattr__(self, name: str) -> Proxy: ...

        # Made from the table of operations, below.
        def __getitem__(self, key: Any) -> Proxy: ...
        def __setitem__(self, key: Any, value: Any) -> None: ...
        def __delitem__(self, key: Any) -> None: ...
        def __contains__(self, item: Any) -> bool: ...
        def __len__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __iter__(self) -> Iterator[Any]: ...

    @property
    def super(self) -> Proxy:
        """The object as its base classes see it, like `super()` within its methods."""
        return self._then("super")

    def attrs_(self, *paths: str) -> Proxy:
        """The attribute at the end of dotted paths, whatever the names in them are."""
        names = ".".join(paths).split(".")
        if "" in names:
            raise ValueError(f"attrs_{paths} has an empty name in it")
        proxy = self
        for name in names:
            proxy = proxy._then("attr", name)
        return proxy

    def _in_way(self, way: Way) -> Proxy:
        parent = _parent_of(self)
        part = _new(Proxy)
        _put_anchor(part, in_manner(_anchor_of(self), way))
        _put_steps(part, _steps_of(self))
        _put_parent(part, self if parent is None else parent)
        return part

    def _in_manner(self, terms: dict[str, Any] | None = None, **changes: Any) -> Proxy:
        return Proxy._at(in_manner(self._ref, terms=terms, **changes), self._steps, self._root)

    # --- evaluating ----------------------------------------------------------------------

    def _evaluate(self, steps: Steps, default: Any = MISSING, default_local: bool = False) -> Any:
        result = self._ref.evaluate(steps, self._root, default, default_local)
        return self._root if result is RETURNED_SELF else result

    def _do(self, name: str, *operands: Any) -> Any:
        return self._evaluate((*self._steps, (name, *operands)))

    def _do_by_syntax(self, name: str, *operands: Any) -> Any:
        """Do what Python's own syntax asks for, which lets few values through."""
        returns, anchor = OPERATIONS[name].returns, self._ref
        if returns is None:
            return self._do(name, *operands)
        mode = anchor.how.way if isinstance(anchor, Manner) else Way.NOW
        if mode is not Way.NOW and not (mode is Way.CAST and returns is drop):
            func = name if hasattr(builtins, name) else f"operator.{name}"
            raise TypeError(
                f"through {mode.value} this would give nothing that could be waited for; "
                f"use {mode.value}.passto({func}, ...)"
            )
        return returns(self._do(name, *operands))

    def get_(self, default: Any = MISSING, *, default_local: bool = False) -> Any:
        """The value over there.

        Args:
            default: what to give when nobody listens; it is called if it can be, and only
                then. Without it that is an error.
            default_local: when nobody listens, evaluate on this process's own copy of the
                object, if it has one.

        Raises:
            NotListeningError: nobody listens, and no default was given.
        """
        return self._evaluate(self._steps, default, default_local)

    def __call__(
        self, /, *args: Any, _default: Any = MISSING, _proxy: bool | None = None, **kwargs: Any
    ) -> Any:
        """Call it over there; the value, or with `_proxy=True` a proxy, lazily."""
        if _proxy or (_proxy is None and _anchor_of(self).eager):
            return self._then("call", args, kwargs)
        parent = _parent_of(self)
        root = self if parent is None else parent
        steps = (*_steps_of(self), ("call", args, kwargs))
        result = _anchor_of(self).evaluate(steps, root, _default)
        return root if result is RETURNED_SELF else result

    def passto(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call `func(obj, *args, **kwargs)` over there, `obj` being the real object.

        Any function will do: builtins, lambdas, closures.
        """
        return self._do("passto", func, args, kwargs)

    def __setattr__(self, name: str, value: Any) -> None:
        self._refuse_own(name)
        self._do_by_syntax("setattr", name, value)

    def __delattr__(self, name: str) -> None:
        self._refuse_own(name)
        self._do_by_syntax("delattr", name)

    def _refuse_own(self, name: str) -> None:
        if name.startswith("_") or hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} is the proxy's own name; to change such an attribute of the object, "
                f"use passto(setattr, {name!r}, value) or passto(delattr, {name!r})"
            )

    def __aiter__(self) -> AsyncIterator[Any]:
        found: AsyncIterator[Any] = self._in_manner(way=Way.AWAIT)._do("iter").__aiter__()
        return found

    # --- as an object of this process ------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        if self._parent is not None:
            return (_part, (self._parent, self._steps))
        return (_whole, (self._ref.reference(),), *self._ref.local_copy_for_child())

    def __setstate__(self, local: Any) -> None:
        self._ref.local = local

    def __repr__(self) -> str:
        anchor = self._ref
        name = anchor.name if anchor.local is MISSING else describe(anchor.local)
        return f"<Remote {name} : ({format_steps(self._steps)})>"

    def __dir__(self) -> list[str]:
        return ["__", *(name for name in object.__dir__(self) if not name.startswith("_"))]


def operator_method(name: str, operation: Operation) -> Callable[..., Any]:
    """The method of proxies by which Python's syntax asks for an operation."""
    if operation.ends:

        def method(self: Proxy, *operands: Any) -> Any:
            return self._do_by_syntax(name, *operands)
    else:

        def method(self: Proxy, *operands: Any) -> Any:
            return self._then(name, *operands)

    assert operation.dunder is not None
    method.__name__ = operation.dunder
    method.__qualname__ = f"{Proxy.__qualname__}.{operation.dunder}"
    return method


for _name, _operation in OPERATIONS.items():
    if _operation.dunder is not None:
        setattr(Proxy, _operation.dunder, operator_method(_name, _operation))

# The slots themselves: to write them around the proxy's own `__setattr__`, which sets the
# object's attributes, and to read them without the way through `__getattribute__`.
_put_anchor, _anchor_of = vars(Proxy)["_ref"].__set__, vars(Proxy)["_ref"].__get__
_put_steps, _steps_of = vars(Proxy)["_steps"].__set__, vars(Proxy)["_steps"].__get__
_put_parent, _parent_of = vars(Proxy)["_parent"].__set__, vars(Proxy)["_parent"].__get__
_new, _own = object.__new__, object.__getattribute__


def _attribute_of(cls: type[Proxy]) -> Callable[[Proxy, str], Any]:
    """How attributes are read: the class's own ones, and views of the remote object's.

    As `__getattribute__`: a `__getattr__` would be asked only after a search of the proxy, that
    fails with an exception, which takes longer than all that is done here.
    """
    own = frozenset(dir(cls))

    def read(self: Proxy, name: str) -> Any:
        if name in own:
            return _own(self, name)
        if name[:1] == "_":
            return _underscored(self, name)
        parent = _parent_of(self)
        part = _new(Proxy)
        _put_anchor(part, _anchor_of(self))
        _put_steps(part, (*_steps_of(self), ("attr", name)))
        _put_parent(part, self if parent is None else parent)
        return part

    return read


def _underscored(proxy: Proxy, name: str) -> Any:
    if name == "__":
        # Here and not as a property: an AttributeError of the evaluation, raised in a
        # property, would be taken for the lack of it.
        return proxy._evaluate(proxy._steps)
    raise AttributeError(
        f"{name!r} begins with an underscore, and such names are never remote; "
        f"attrs_({name!r}) reaches it"
    )


Proxy.__getattribute__ = _attribute_of(Proxy)  # type: ignore[method-assign, assignment]


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


def _whole(reference: tuple[Address, str, bool, bool, WireOptions]) -> Proxy:
    address, name, eager, fulfil, wire_options = reference
    return Proxy._at(
        RemoteRef(address, name, eager=eager, fulfil=fulfil, wire_options=wire_options)
    )


def _part(root: Proxy, steps: tuple[Any, ...]) -> Proxy:
    return Proxy._at(root._ref, steps, root)
