"""What a proxy tells of its object's class: names, signatures, docs. The actor is never asked.

==========================  ======================================================================
what the proxy stands for   what it tells
==========================  ======================================================================
a method                    what the method of the class does, without `self`
another attribute           the doc of a property, if it is one
the whole object            the class's doc, and the signature of its `__call__`
what is not known here      its name, and a signature that takes everything
==========================  ======================================================================

The class is known where the actor was spawned, in the actor, and wherever its module is imported by
the name that it has over there; nothing is imported for it. What the class has is taken as it is
written: no descriptor is run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial, partialmethod, singledispatchmethod
from itertools import pairwise
from types import CodeType, FunctionType, MethodType, MethodWrapperType
from typing import Any, Final

from ._actor.current import own_proxy
from ._actor.roles import is_added
from ._caller.call_options import MISSING
from ._os.lazy_import import import_lock
from ._protocol.operations import Steps
from ._views import View

__all__ = ["attribute", "doc", "public_names"]

_UNKNOWN: Final = object()
"""Stands for what may be anything, for all that is known here."""
_SELF: Final = object()
"""Stands for the object, so that a function of its class is taken for a method."""
_NAMES: Final = "__name__", "__qualname__"


def attribute(view: View, name: str) -> Any:
    """What the object's class says of an attribute whose name begins with an underscore, or
    `MISSING`."""
    value = _member(view)
    called = _called(value)
    if name == "__signature__":
        return _signature(called if view.steps else _called(_find(_bases(view), "__call__")))
    if called is None:
        known = value is not _UNKNOWN or name not in _NAMES
        return MISSING if known else _last_name(view.steps)
    if name == "__class__":
        # To `inspect` and `pydoc` it is a routine then, of which they know nothing more.
        return MethodWrapperType
    named = _named(called)
    if name == "__wrapped__":
        function = _told(named, "__func__", otherwise=named)
        return _told(function, name, otherwise=function)
    return _told(named, name, otherwise=_last_name(view.steps) if name in _NAMES else MISSING)


def doc(view: View, of_proxies: str | None) -> str | None:
    """The doc of what the proxy stands for, where nothing is known that of its own class."""
    bases, steps = _bases(view), _path(view.steps)
    if not steps:
        return next(filter(None, (vars(base).get("__doc__") for base in bases)), of_proxies)
    value = _member(view)
    called = _called(value)
    if called is None:
        own = _told(value, "__doc__") if hasattr(type(value), "__get__") else None
        return own if isinstance(own, str) else of_proxies
    for one in (_called(vars(base).get(steps[0][1])) for base in bases):
        if one is not None and isinstance(found := _told(_named(one), "__doc__"), str):
            return found  # else it is that of the method which this one stands in place of
    return None


def public_names(view: View) -> frozenset[str]:
    """The names of the object that do not begin with an underscore, as far as its class has them:
    with those that are annotated, or set by its methods."""
    if _path(view.steps):
        return frozenset()
    names = {name for base in _bases(view) for name in _names_in(base)}
    return frozenset(name for name in names if type(name) is str and name[:1] != "_")


# --- what the class has --------------------------------------------------------------------


def _bases(view: View) -> Sequence[type]:
    """The classes in which an attribute is looked for; none, if they are not known here."""
    found = view.ref.object_class()
    cls = _class_named(found) if isinstance(found, str) else found
    if cls is None:
        return ()
    return cls.__mro__[1:] if view.steps[:1] == _SUPER else cls.__mro__


_SUPER: Final[Steps] = (("super",),)


def _path(steps: Steps) -> Steps:
    return steps[1:] if steps[:1] == _SUPER else steps


def _class_named(name: str) -> type | None:
    module, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        try:  # not by getattr: a module may import what it is asked for
            found = object.__getattribute__(found, "__dict__").get(part)
        except AttributeError:
            return None
    return found if issubclass(type(found), type) else None


def _member(view: View) -> Any:
    """What the class has for a part; `MISSING`, if it is known and has nothing."""
    bases, steps = _bases(view), _path(view.steps)
    if not steps:
        return MISSING
    (name, *operands), *more = steps
    return _find(bases, operands[0]) if bases and name == "attr" and not more else _UNKNOWN


def _find(bases: Sequence[type], name: str) -> Any:
    return next((vars(base)[name] for base in bases if name in vars(base)), MISSING)


def _last_name(steps: Steps) -> Any:
    name, *operands = steps[-1]
    return operands[0] if name == "attr" else MISSING


def _called(value: Any) -> Any:
    """What is called if an attribute is that the class has so; None, if it can't be called."""
    kind = type(value)
    if issubclass(kind, staticmethod):
        return _if_callable(value.__func__)
    if issubclass(kind, classmethod):
        return _method(value.__func__)
    if issubclass(kind, singledispatchmethod):
        return _called(value.func)
    if issubclass(kind, partialmethod):
        return value.__get__(_SELF, object)
    if issubclass(kind, partial) and sys.version_info < (3, 14):
        return value  # Python 3.14 is the first in which it takes the object
    return _method(value) if hasattr(kind, "__get__") else _if_callable(value)


def _method(function: Any) -> Any:
    return MethodType(function, _SELF) if callable(function) else None


def _if_callable(value: Any) -> Any:
    return value if callable(value) else None


def _named(called: Any) -> Any:
    """What has the name and the doc of what is called: of a `partial` the function in it."""
    function: Any = called.__func__ if type(called) is MethodType else called
    return function.func if type(function) is partial else called


def _told(of: Any, name: str, otherwise: Any = MISSING) -> Any:
    try:
        return getattr(of, name, otherwise)
    except Exception:  # whatever the class has there: to look at a proxy must not fail
        return otherwise


def _signature(called: Any) -> Any:
    with import_lock:
        import inspect  # it is large, and whoever asks for a signature has it: start-up

    if called is not None:
        try:
            return inspect.signature(called)
        except Exception:  # ValueError of one in C, and whatever an odd class raises
            pass
    kinds = {"args": inspect.Parameter.VAR_POSITIONAL, "kwargs": inspect.Parameter.VAR_KEYWORD}
    return inspect.Signature([inspect.Parameter(name, kind) for name, kind in kinds.items()])


# --- names ---------------------------------------------------------------------------------


def _names_in(cls: type) -> Iterator[str]:
    """The names of attributes that a class gives its objects."""
    yield from _annotated(cls)
    for name, value in list(vars(cls).items()):
        if value is not own_proxy and not is_added(value):
            yield name
            if sys.version_info < (3, 13) and type(value) is FunctionType:
                yield from _set_by(value.__code__)
    found = vars(cls).get("__static_attributes__")
    yield from found if isinstance(found, tuple) else ()


def _annotated(cls: type) -> Mapping[str, object]:
    if sys.version_info >= (3, 14):
        with import_lock:
            import annotationlib  # only for this: start-up

        return annotationlib.get_annotations(cls, format=annotationlib.Format.STRING)
    found = vars(cls).get("__annotations__")
    # `type` and the classes of functions and modules have a descriptor there.
    return found if isinstance(found, Mapping) else {}


def _set_by(method: CodeType) -> Iterator[str]:
    """The attributes that a method sets: what Python 3.13 keeps as `__static_attributes__`."""
    with import_lock:
        import dis  # only for this: start-up

    if method.co_argcount:
        for before, one in pairwise(dis.get_instructions(method)):
            of_self = before.opname[:5] == "LOAD_" and before.argval == method.co_varnames[0]
            if of_self and one.opname == "STORE_ATTR":
                yield one.argval
