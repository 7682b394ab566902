"""Values that C pickle can't carry, by cloudpickle: classes and functions travel as what they are.

Apart from `_pickling.codec`, so that a process which never needs cloudpickle never imports it.

Classes by value
----------------
cloudpickle rebuilds a class that can't be imported and remembers it under a *tracker id*, so that
a second copy resolves to the first. Three things are added:

* A class that is already there is left as it is; cloudpickle would set its attributes anew.
* `register_classes` gives the ids out before a fork, so that both sides use the same.
* A process that ran the same script in its own right (multiprocessing's spawn imports it as
  ``__mp_main__``) has a class of its own under the same name: that one is taken.
"""

from __future__ import annotations

import io
import os
import sys
import weakref
from collections import ChainMap
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pickle import PickleBuffer
from types import FunctionType
from typing import Any, ClassVar

from cloudpickle import cloudpickle as untyped

from .._os.lazy_import import FORK_FAMILY
from .._os.thread_unwind import ThreadUnwind
from ..errors import UnsendableError
from . import own_objects
from .reducers import KINDS, Reducer
from .unsendable import Part, unsendable_error

# Any: it has no types, and what is used of it is private too. (Its Pickler, without these
# functions, can't keep a class's identity. The tests run on the oldest and newest release.)
cloudpickle: Any = untyped

__all__ = ["dumps", "register_classes"]

MAIN = ("__main__", "__mp_main__")


def dumps(
    value: object, what: str, collect: Callable[[], Callable[[Any], Any]], lenient: bool = False
) -> bytes:
    """As `_pickling.codec.dumps`, for what C pickle could not do.

    `collect` gives the callback for the buffers of one pickling. If exceptions in the value may be
    why it fails, a second, lenient one sends those that can't be pickled as text.
    """
    with io.BytesIO() as file:
        pickler = _Pickler(file, collect(), lenient)
        try:
            pickler.dump(value)
            return file.getvalue()
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException as error:
            if pickler.exceptions.met_any and not lenient:
                return dumps(value, what, collect, lenient=True)
            raise unsendable_error(value, what, error, _Trial.fails) from error


# ------------------------------------------------------------------ classes by value

# The ids whose class has been made here and not been filled yet.
_unfilled: set[str] = set()

# The classes and functions that `register_classes` has followed.
_followed: weakref.WeakSet[Any] = weakref.WeakSet()


def register_classes(classes: Iterable[type], parts: Iterable[Any]) -> None:
    """Give the ids out: to these classes, those nested in them, and those that parts lead to.

    A class or function is followed once. Of what it leads to, a class that is made later would
    have to be reached only through it, and not be in the main module, to go unnoticed.
    """
    todo: list[Any] = list(classes)
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        if not issubclass(type(item), type) or id(item) in seen:
            continue
        seen.add(id(item))
        with suppress(Exception):  # a metaclass may do as it likes, and must not prevent the fork
            if _travels_by_value(item):
                cloudpickle._get_or_create_tracker_id(item)
                todo += vars(item).values()
    for part in parts:
        with suppress(UnsendableError):
            _follow(part)


def _follow(part: Any) -> None:
    lasting = type(part) in (type, FunctionType)
    if not lasting or part not in _followed:
        dumps(part, "part", lambda: _out_of_band)  # gives one to every class on the way
        if lasting:
            _followed.add(part)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """cloudpickle, with what multiprocessing can send, and with classes that keep their identity.

    multiprocessing's table is looked up live, since modules register their types when they are
    imported; its reducers notice by themselves when a process is being spawned.
    """

    dispatch_table: ClassVar[ChainMap[Any, Any]] = ChainMap(
        cloudpickle.Pickler.dispatch_table.maps[0],
        ForkingPickler._extra_reducers,  # type: ignore[attr-defined]
        cloudpickle.Pickler.dispatch_table.maps[1],
    )

    def __init__(
        self, file: Any, buffer_callback: Callable[[Any], Any], lenient: bool = False
    ) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self.exceptions = Reducer(_travels_by_value, _check_alone if lenient else None)

    def reducer_override(self, obj: Any) -> Any:
        if issubclass(type(obj), KINDS):
            return self.exceptions(obj)
        if type(obj) in own_objects.own_types and (own := own_objects.reduction(obj)) is not None:
            return own
        if type(obj) is memoryview:
            return _reduce_view(obj)
        if isinstance(obj, type) and _travels_by_value(obj):
            return _reduce_class(obj)
        if isinstance(obj, FunctionType) and obj.__module__ == "__mp_main__":
            return self._dynamic_function_reduce(obj)
        return super().reducer_override(obj)


def _out_of_band(buffer: Any) -> bool:
    return False


def _reduce_view(view: Any) -> tuple[Any, ...]:
    """A view arrives as a view, of a copy."""
    if not view.c_contiguous and view.nbytes:
        view = memoryview(view.tobytes()).cast("B").cast(view.format, view.shape)
    return _make_view, (PickleBuffer(view), view.format, view.shape)


def _make_view(buffer: Any, form: Any, shape: tuple[int, ...]) -> Any:
    view = memoryview(buffer)
    return view.cast("B").cast(form, shape) if view.nbytes else view


def _travels_by_value(cls: type) -> bool:
    if cls.__module__ in MAIN:
        return True
    return not cloudpickle._should_pickle_by_reference(cls) and (
        cls not in cloudpickle._BUILTIN_TYPE_NAMES and cls.__module__ != "builtins"
    )


def _reduce_class(cls: type) -> tuple[Any, ...]:
    make, args, state, _, _, fill = cloudpickle._dynamic_class_reduce(cls)
    tracker_id = cloudpickle._get_or_create_tracker_id(cls)
    state = (tracker_id, fill, state)
    return _make_class, (tracker_id, _home(cls), make, args), state, None, None, _fill_class


def _home(cls: type) -> tuple[str, str, str] | None:
    """Where another process that runs the same script finds its own version of ``cls``."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None or cls.__module__ not in MAIN or _in_main(cls.__qualname__) is not cls:
        return None
    return FORK_FAMILY, os.path.abspath(file), cls.__qualname__


def _in_main(qualname: str) -> object:
    found: object = sys.modules.get("__main__")
    for name in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(name)
    return found


def _make_class(
    tracker_id: str,
    home: tuple[str, str, str] | None,
    make: Callable[..., type],
    args: tuple[Any, ...],
) -> type:
    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is None:
        known = _namesake(home)
    if known is not None:
        with cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:
            cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID[tracker_id] = known
            cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.setdefault(known, tracker_id)
        return known
    # Before the class is made: another thread may find it from then on, and must fill it too if
    # it gets there first. Filling twice is harmless, using it empty is not.
    _unfilled.add(tracker_id)
    return make(*args)


def _namesake(home: tuple[str, str, str] | None) -> type | None:
    if home is None:
        return None
    lineage, file, qualname = home
    here = getattr(sys.modules.get("__main__"), "__file__", None)
    if here is None or os.path.abspath(here) != file:
        return None
    cls = _in_main(qualname)
    if not isinstance(cls, type) or cls.__module__ not in MAIN:
        return None
    # Among forks of one process an id that differs means a class that was defined anew since.
    # The lineage tells one that the same script made elsewhere.
    if lineage == FORK_FAMILY and cls in cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS:
        return None
    return cls


def _fill_class(cls: type, state: tuple[str, Callable[[type, Any], Any], Any]) -> None:
    tracker_id, fill, attributes = state
    if tracker_id in _unfilled:
        fill(cls, attributes)
        _unfilled.discard(tracker_id)


class _Alone(_Pickler):
    """For what belongs to one exception, without the others that it leads to."""

    met_others = False

    def persistent_id(self, obj: object) -> str | None:
        if not issubclass(type(obj), BaseException):
            return None
        self.met_others = True
        return "exception"


def _check_alone(parts: Any) -> bool:
    """Whether there are exceptions in what can be pickled."""
    pickler = _Alone(io.BytesIO(), _out_of_band)
    pickler.dump(parts)
    return pickler.met_others


class _Trial(_Pickler):
    """Takes the parts on the way down for sendable: what leads back to them is not to blame."""

    def __init__(self, above: set[int]) -> None:
        super().__init__(io.BytesIO(), _out_of_band, lenient=True)
        self.above = above

    def persistent_id(self, obj: object) -> str | None:
        return "above" if id(obj) in self.above else None

    @classmethod
    def fails(cls, parts: list[Part], above: set[int]) -> bool:
        try:
            cls(above).dump([part for _, part in parts])
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException:
            return True
        return False
