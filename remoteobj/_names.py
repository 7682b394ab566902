"""Which names are a proxy's own, and which are those of the object that it stands for.

Names that begin with an underscore are never remote; some of them tell of the object's class, which
nobody has to be asked for. The names of the proxy's class are its own. All others are the object's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from functools import cache, wraps
from types import ModuleType
from typing import Any, Final

from ._caller.call_options import MISSING
from ._os.lazy_import import import_lock
from ._protocol.own_names import OF_HANDLES
from ._syntax import KEYS, keys_are_asked_for
from ._views import View

__all__ = [
    "OF_METHODS",
    "ClassDoc",
    "attribute_reader",
    "is_for_tool",
    "kept_from_tools",
    "names_of",
    "refuse_own_name",
    "told_by_class",
]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

OF_METHODS: Final = frozenset(
    [
        "__annotate__",
        "__annotations__",
        "__class__",
        "__module__",
        "__name__",
        "__qualname__",
        "__signature__",
        "__text_signature__",
        "__type_params__",
        "__wrapped__",
    ]
)
"""What a proxy answers, if it stands for a method, as the method of the object's class does."""
OF_OBJECT: Final = ("__class__", "__module__")
"""Of these, what any proxy has: as an object of its own class, if it stands for no method."""
CALLED_BY_TOOLS: Final = {"getdoc": "IPython.core.oinspect", "__len__": "IPython.core.oinspect"}
"""What a tool calls on whatever it is to describe, and the module that does. That one is told that
there is no such thing: else `handle.method?` would wait for the actor."""

_own, _new, _new_tuple = object.__getattribute__, object.__new__, tuple.__new__


def attribute_reader(
    cls: type[Any],
    part_class: type[Any],
    view_of: Callable[[Any], View],
    put_view: Callable[[Any, View], None],
) -> Callable[[Any, str], Any]:
    """The `__getattribute__` of a class of proxies: names that the class has are its own, and all
    others give proxies of the object's attributes.

    A `__getattr__` would be asked only after a search that fails with an exception, which takes
    longer than all that is done here.

    Args:
        part_class: the class of these proxies.
        view_of: reads the slot of a proxy that holds its view.
        put_view: writes it.
    """
    special = (frozenset(dir(cls)) | OF_HANDLES | CALLED_BY_TOOLS.keys()) - OF_METHODS | {KEYS}

    def read(self: Any, name: str) -> Any:
        if name in special:
            if name != KEYS:
                try:
                    return _own(self, name)
                except AttributeError:
                    if name in CALLED_BY_TOOLS and not is_for_tool(name):
                        return self.attrs_(name)
                    _refuse_owners_name(cls, name)
                    raise
            keys_are_asked_for(sys._getframe(1))  # by `dict(part)`, perhaps
        if name[:1] == "_":
            return _underscored(self, view_of(self), name)
        # `_proxy_on(_view_from(self).then(...))`, spelled out: a fiftieth of the time of a call.
        ref, steps, options, whole = view_of(self)
        if whole is None:
            whole = self
        part = _new(part_class)
        put_view(part, _new_tuple(View, (ref, (*steps, ("attr", name)), options, whole)))
        return part

    return read


def _underscored(proxy: Any, view: View, name: str) -> Any:
    if name == "__":
        # Here and not as a property: an AttributeError of the evaluation, raised in a
        # property, would be taken for the lack of it.
        return proxy.get_()
    if name in OF_METHODS and (view.steps or name == "__signature__"):
        found = told_by_class(view, name)
        if found is not MISSING:
            return found
    if name in OF_OBJECT:
        return _own(proxy, name)
    raise AttributeError(
        f"{name!r} begins with an underscore, and such names are never remote; "
        f"attrs_({name!r}) reaches it"
    )


def told_by_class(view: View, name: str) -> Any:
    """What the object's class says of one of the names in `OF_METHODS`, or `MISSING`."""
    return _introspection().attribute(view, name)


def refuse_own_name(cls: type, name: str) -> None:
    """Refuse to set or to delete an attribute of the object whose name is the proxy's own.

    Raises:
        AttributeError: it is.
    """
    if name.startswith("_") or name in OF_HANDLES or hasattr(cls, name):
        raise AttributeError(
            f"{name!r} is the proxy's own name; to change such an attribute of the object, "
            f"use passto(setattr, {name!r}, value) or passto(delattr, {name!r})"
        )


def _refuse_owners_name(cls: type, name: str) -> None:
    """Refuse a name that only the handle has, if this class of proxies has it not.

    Raises:
        AttributeError: so it is.
    """
    if name in OF_HANDLES and not hasattr(cls, name):
        raise AttributeError(
            f"only its owner can: {name!r} is of the handle that spawn() returned, and of no copy, "
            f"view or part of it; an attribute of the object of that name is attrs_({name!r})"
        ) from None


def kept_from_tools(dunder: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of proxies, but for the tool that calls it on all that it describes, if one does.

    Raises:
        TypeError: it is that tool.
    """
    if dunder not in CALLED_BY_TOOLS:
        return method

    @wraps(method)
    def guarded(self: Any) -> Any:
        if is_for_tool(dunder):
            raise TypeError(f"{dunder} of a proxy is a call to its object")
        return method(self)

    return guarded


def is_for_tool(name: str) -> bool:
    """Whether what our caller was asked for is what a tool calls, and the tool has asked for it."""
    tool = CALLED_BY_TOOLS.get(name)
    return tool is not None and sys._getframe(2).f_globals.get("__name__") == tool


# --- what the object's class tells ---------------------------------------------------------


class ClassDoc:
    """The `__doc__` of a class of proxies: the class's own, and of a proxy that of its object.

    It is a descriptor since `pydoc` reads it by `object.__getattribute__`.
    """

    def __init__(self, text: str | None, view_of: Callable[[Any], View]) -> None:
        self._text = text
        self._view_of = view_of

    def __get__(self, proxy: Any, cls: type) -> str | None:
        if proxy is None:
            return self._text
        found: str | None = _introspection().doc(self._view_of(proxy), self._text)
        return found


def names_of(proxy: Any, views: Iterable[View]) -> Iterable[str]:
    """What `dir` lists: the names that are the proxy's own, and the objects' as far as their
    classes have them. Not `__`: who reads all that there is would fetch the value."""
    own = [name for name in dir(type(proxy)) if name[:1] != "_"]
    return {*own}.union(*map(_introspection().public_names, views))


@cache
def _introspection() -> ModuleType:
    with import_lock:
        from . import _introspection  # for a faster start-up

    return _introspection
