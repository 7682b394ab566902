"""Which names are a proxy's own, and which are those of the object that it stands for.

Names that begin with an underscore are never remote. The names of the proxy's class are its own.
All others are the object's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ._protocol.own_names import OF_HANDLES
from ._syntax import KEYS, keys_are_asked_for
from ._views import View

__all__ = ["attribute_reader", "refuse_own_name"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

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
    special = frozenset(dir(cls)) | OF_HANDLES | {KEYS}

    def read(self: Any, name: str) -> Any:
        if name in special:
            if name != KEYS:
                try:
                    return _own(self, name)
                except AttributeError:
                    _refuse_owners_name(cls, name)
                    raise
            keys_are_asked_for(sys._getframe(1))  # by `dict(part)`, perhaps
        if name[:1] == "_":
            return _underscored(self, name)
        # `_proxy_on(_view_from(self).then(...))`, spelled out: a fiftieth of the time of a call.
        ref, steps, options, whole = view_of(self)
        if whole is None:
            whole = self
        part = _new(part_class)
        put_view(part, _new_tuple(View, (ref, (*steps, ("attr", name)), options, whole)))
        return part

    return read


def _underscored(proxy: Any, name: str) -> Any:
    if name == "__":
        # Here and not as a property: an AttributeError of the evaluation, raised in a
        # property, would be taken for the lack of it.
        return proxy.get_()
    raise AttributeError(
        f"{name!r} begins with an underscore, and such names are never remote; "
        f"attrs_({name!r}) reaches it"
    )


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
