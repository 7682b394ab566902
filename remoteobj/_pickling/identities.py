"""Values that are more than what they hold: each is made once in a process, under its name.

A context variable, a cached function or a lock that is a variable of the main module is there to be
the same one for all who use it. Such a value is made anew where it arrives, as an import would make
it: a cache is empty, a lock is free, a context variable has its default. Whoever has one by that
name already takes that.
"""

from __future__ import annotations

import contextvars
import functools
import sys
import threading
import typing
import weakref
from collections.abc import Callable
from types import FunctionType
from typing import Any

from cloudpickle import cloudpickle as untyped

from ..errors import type_name
from .main_module import MAIN, bind, in_main, variable_of

__all__ = ["reduce_identity"]

cloudpickle: Any = untyped  # it has no types

Reduction = tuple[Any, ...]
ReduceFunction = Callable[[FunctionType], Reduction]
"""How the pickler takes apart a function that travels by value."""


def reduce_identity(value: Any, by_value: ReduceFunction) -> Any:
    """The reduction of such a value; `NotImplemented` for all others."""
    kind = type(value)
    reducer = _reducers.get(kind)
    if reducer is not None:
        return reducer(value, by_value)
    if kind is FunctionType:
        is_dispatch = value.__code__ is _dispatch_code
        return _reduce_dispatch(value, by_value) if is_dispatch else NotImplemented
    if isinstance(value, functools.cached_property):
        return _reduce_cached_property(value)
    if kind.__module__ in MAIN and _reduces_itself(kind):
        return _reduce_singleton(value)
    return NotImplemented


def _make_named(name: str | None, kind: str, make: Callable[..., Any], args: Any) -> Any:
    """The main module's own value of that name and type, or a new one, which is it from now on."""
    found = None if name is None else in_main(name)
    if type_name(type(found)) == kind:
        return found
    made = make(*args)
    if name is not None:
        bind(name, made)
    return made


def _named(value: Any, name: str | None, make: Callable[..., Any], *args: Any) -> Reduction:
    return _make_named, (name, type_name(type(value)), make, args)


def _own_name(value: Any, attribute: str = "__qualname__") -> str | None:
    """The name that it gives itself, if the main module has it under that."""
    name = getattr(value, attribute, None)
    return name if name is not None and in_main(name) is value else None


# ------------------------------------------------------------------ variables, locks, types


def _reduce_context_variable(value: Any, _: ReduceFunction) -> Reduction:
    try:
        default = {"default": contextvars.Context().run(value.get)}
    except LookupError:
        default = {}
    make: Any = functools.partial(contextvars.ContextVar, **default)
    return _named(value, variable_of(value), make, value.name)


def _reduce_lock(value: Any, _: ReduceFunction) -> Any:
    # One that is no variable belongs to an object, and what that is about only the object knows.
    name = variable_of(value)
    if name is None:
        return NotImplemented
    return _named(value, name, threading.RLock if type(value) is _RLOCK else threading.Lock)


def _reduce_new_type(value: Any, _: ReduceFunction) -> Any:
    if _is_importable(value, value.__qualname__):
        return NotImplemented
    told = value.__name__, value.__supertype__, value.__module__, value.__qualname__
    return _named(value, _own_name(value), _make_new_type, *told)


def _make_new_type(name: str, supertype: Any, module: str, qualname: str) -> Any:
    make: Any = typing.NewType  # a checker takes a call of it for a statement
    made = make(name, supertype)
    made.__module__, made.__qualname__ = module, qualname
    return made


def _reduce_type_parameter(value: Any, _: ReduceFunction) -> Any:
    if _is_importable(value, value.__name__):
        return NotImplemented
    return _named(value, _own_name(value, "__name__"), type(value), value.__name__)


def _reduce_type_alias(value: Any, _: ReduceFunction) -> Any:
    if _is_importable(value, value.__name__):
        return NotImplemented
    return _named(value, _own_name(value, "__name__"), type(value), value.__name__, value.__value__)


def _is_importable(value: Any, name: str) -> bool:
    module = getattr(value, "__module__", None)
    found = getattr(sys.modules.get(str(module)), name, None)
    return found is value and module not in MAIN


# ------------------------------------------------------------------ decorated functions
#
# They may call themselves, so each is made first of the bare code, and gets what that needs later.


def _reduce_cache(value: Any, by_value: ReduceFunction) -> Any:
    func = getattr(value, "__wrapped__", None)
    if func is None or _is_importable(value, value.__qualname__):
        return NotImplemented
    parameters = tuple(value.cache_parameters().values())
    make, args, state = _bare(func, by_value)
    attributes = {key: one for key, one in vars(value).items() if key != "__wrapped__"}
    made_of = _own_name(value), parameters, make, args
    return _make_cache, made_of, (state, attributes), None, None, _fill_cache


def _make_cache(
    name: str | None, parameters: tuple[Any, ...], make: Callable[..., Any], args: Any
) -> Any:
    func = make(*args)
    found: Any = None if name is None else in_main(name)
    if hasattr(found, "cache_parameters") and _code(found.__wrapped__) == _code(func):
        return found
    return _made(name, functools.lru_cache(*parameters)(func))


def _made(name: str | None, made: Any) -> Any:
    """A decorated function that is new here, under its name, and still without its state."""
    _unfilled.add(made)
    if name is not None:
        bind(name, made)
    return made


def _fill_cache(made: Any, state: Any) -> None:
    if made not in _unfilled:
        return
    of_function, attributes = state
    _fill_bare(made.__wrapped__, of_function)
    functools.update_wrapper(made, made.__wrapped__)
    vars(made).update(attributes)
    _unfilled.discard(made)


def _reduce_dispatch(value: Any, by_value: ReduceFunction) -> Any:
    if cloudpickle._should_pickle_by_reference(value):
        return NotImplemented
    make, args, state = _bare(value.__wrapped__, by_value)
    others = [(cls, func) for cls, func in value.registry.items() if cls is not object]
    rest = state, others
    return _make_dispatch, (_own_name(value), make, args), rest, None, None, _fill_dispatch


def _make_dispatch(name: str | None, make: Callable[..., Any], args: Any) -> Any:
    func = make(*args)
    found: Any = None if name is None else in_main(name)
    is_dispatch = getattr(found, "__code__", None) is _dispatch_code
    if is_dispatch and _code(found.__wrapped__) == _code(func):
        return found
    return _made(name, functools.singledispatch(func))


def _fill_dispatch(made: Any, state: Any) -> None:
    if made not in _unfilled:
        return
    of_function, others = state
    _fill_bare(made.__wrapped__, of_function)
    functools.update_wrapper(made, made.__wrapped__)
    for cls, func in others:
        made.register(cls, func)
    _unfilled.discard(made)


_unfilled: weakref.WeakSet[Any] = weakref.WeakSet()
"""Those that have been made here and have not got their functions' state."""


def _bare(func: Any, by_value: ReduceFunction) -> tuple[Any, Any, Any]:
    """How to make the function that is decorated, and its state, or None if it is whole."""
    if type(func) is FunctionType and not cloudpickle._should_pickle_by_reference(func):
        make, args, state, *_ = by_value(func)
        return make, args, state
    return _itself, (func,), None


def _itself(value: Any) -> Any:
    return value


def _fill_bare(func: Any, state: Any) -> None:
    if state is not None:
        cloudpickle._function_setstate(func, state)


def _code(func: Any) -> Any:
    return getattr(func, "__code__", func)


def _reduce_cached_property(value: Any) -> Reduction:
    state = {key: one for key, one in vars(value).items() if key != "lock"}
    return _make_cached_property, (type(value),), state


def _make_cached_property(cls: Any) -> Any:
    made = cls.__new__(cls)
    if sys.version_info < (3, 12):
        made.lock = threading.RLock()
    return made


# ------------------------------------------------------------------ other values


def _reduces_itself(kind: Any) -> bool:
    plain: Any = object
    own = kind.__reduce__, kind.__reduce_ex__
    return own != (plain.__reduce__, plain.__reduce_ex__)


def _reduce_singleton(value: Any) -> Any:
    """A `__reduce__` may give the name of a variable."""
    if issubclass(type(value), type):
        return NotImplemented
    reduced = value.__reduce_ex__(5)
    if not isinstance(reduced, str) or in_main(reduced) is not value:
        return reduced
    make = _named(value, reduced, _new, type(value))
    return *make, getattr(value, "__dict__", None) or None


def _new(cls: Any) -> Any:
    return cls.__new__(cls)


def _reduce_weak_dictionary(value: Any, _: ReduceFunction) -> Reduction:
    return type(value), (dict(value.items()),)


def _reduce_sys_value(value: Any, _: ReduceFunction) -> Any:
    return _sys_value, (_sys_values[type(value)], tuple(value))


def _sys_value(name: str, items: tuple[Any, ...]) -> Any:
    found = getattr(sys, name)
    if tuple(found) != items:
        raise TypeError(f"sys.{name} is another one in this process: {items!r}")
    return found


_RLOCK = type(threading.RLock())
_dispatch_code = functools.singledispatch(_itself).__code__  # type: ignore[attr-defined]
_sys_values: dict[type, str] = {
    type(getattr(sys, name)): name
    for name in ("version_info", "flags", "float_info", "hash_info", "int_info", "thread_info")
}
_reducers: dict[type, Callable[[Any, ReduceFunction], Any]] = {
    contextvars.ContextVar: _reduce_context_variable,
    type(threading.Lock()): _reduce_lock,
    _RLOCK: _reduce_lock,
    typing.NewType: _reduce_new_type,
    typing.ParamSpec: _reduce_type_parameter,
    typing.TypeVarTuple: _reduce_type_parameter,
    functools._lru_cache_wrapper: _reduce_cache,
    weakref.WeakKeyDictionary: _reduce_weak_dictionary,
    weakref.WeakValueDictionary: _reduce_weak_dictionary,
    **dict.fromkeys(_sys_values, _reduce_sys_value),
}
if sys.version_info >= (3, 12):
    _reducers[typing.TypeAliasType] = _reduce_type_alias
