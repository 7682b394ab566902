"""Classes that travel by value, and how a class stays the same class on both sides.

cloudpickle rebuilds a class that can't be imported and remembers it under a *tracker id*, so that a
second copy resolves to the first. Added to that are:

* A class that is already there is left as it is; cloudpickle would set its attributes anew.
* `register` gives the ids out before a fork, so that both sides use the same.
* A process that has run the same script in its own right (multiprocessing's spawn imports it as
  `__mp_main__`) has a class of its own under the same name: that one is taken.
* What the interpreter wants to know when it makes a class is there then, slots above all.
* A class made in C never travels by value, nor does one whose metaclass is made in C: they keep
  what no pickle sees. Those of ctypes and msgspec are made again by what they say of themselves.
"""

from __future__ import annotations

import enum
import pickle
import sys
import types
import typing
from collections.abc import Callable
from types import MemberDescriptorType
from typing import Any

from cloudpickle import cloudpickle as untyped

from .class_kinds import made_in_c, parts_of_ctypes, parts_of_struct, reduced_by_ctypes
from .main_module import MAIN, Home, bind, home_of, in_main, is_same_program
from .out_of_band import SCALARS
from .unsendable import not_made_again, stranger

__all__ = ["find_class", "reduce_class", "register_class", "travels_by_value"]

cloudpickle: Any = untyped  # it has no types

# The ids whose class has been made here and not been filled yet.
_unfilled: set[str] = set()

# The ids that another process may know, since they were given out before a fork, or came from it.
_shared: set[str] = set()


def travels_by_value(cls: type) -> bool:
    """Whether it does; else by name."""
    if made_in_c(cls):
        return False
    if cls.__module__ in MAIN:
        return True
    return not cloudpickle._should_pickle_by_reference(cls) and (
        cls not in cloudpickle._BUILTIN_TYPE_NAMES and cls.__module__ != "builtins"
    )


def register_class(cls: type) -> None:
    """Give it an id, by which a fork knows it that is made from now on."""
    _shared.add(cloudpickle._get_or_create_tracker_id(cls))


# ------------------------------------------------------------------ taken apart


def reduce_class(cls: type) -> tuple[Any, ...]:
    """The reduction of a class that travels by value."""
    by_ctypes = reduced_by_ctypes(cls)
    if by_ctypes is not None:
        return by_ctypes
    tracker_id = cloudpickle._get_or_create_tracker_id(cls)
    make, args, (attributes, more), _, _, fill = cloudpickle._dynamic_class_reduce(cls)
    if not issubclass(cls, enum.Enum):
        make, args = _make_with, _with_early_parts(cls, args, attributes)
    if sys.version_info >= (3, 14):
        _evaluate_annotations(cls, attributes)
    home = home_of(cls)
    name = f"{cls.__module__}.{cls.__qualname__}"
    state = tracker_id, fill, (attributes, more)
    return _make_class, (tracker_id, home, name, make, args), state, None, None, _fill_class


def _with_early_parts(
    cls: type, args: tuple[Any, ...], attributes: dict[str, Any]
) -> tuple[Any, ...]:
    """What the class is made of, as arguments for `_make_with`; the rest stays in `attributes`."""
    metaclass, name, bases, early, *_ = args
    keywords = {"metaclass": metaclass}
    in_c = [one for one in metaclass.__mro__ if one not in (type, object) and made_in_c(one)]
    if any(one.__module__ == "_ctypes" for one in in_c):
        keywords = {}  # the bases have that metaclass, which has no name
        parts_of_ctypes(cls, early, attributes)
    elif any(one.__module__ == "msgspec._core" for one in in_c):
        keywords = parts_of_struct(cls, early, attributes)
    elif in_c:
        raise pickle.PicklingError(
            f"its metaclass {in_c[0].__qualname__} is made in C, and keeps what no pickle sees"
        )
    else:
        _take_slots(cls, early, attributes)
    if not typing.is_typeddict(cls):
        # Those that the statement names may do more: NamedTuple would make another class.
        bases = cls.__bases__
        if "__orig_bases__" in attributes:  # where generic classes look for their parameters
            early["__orig_bases__"] = attributes.pop("__orig_bases__")
    early["__qualname__"] = cls.__qualname__
    # Plain values can't lead back to the class, and whoever makes it may ask for them.
    for key in [key for key, value in attributes.items() if type(value) in SCALARS]:
        if key != "__firstlineno__":
            early.setdefault(key, attributes.pop(key))
    return name, bases, early, keywords


def _take_slots(cls: type, early: dict[str, Any], attributes: dict[str, Any]) -> None:
    if "__slots__" not in vars(cls):
        return
    slots = [
        name
        for name, value in vars(cls).items()
        if type(value) is MemberDescriptorType and value.__objclass__ is cls
    ]
    for name in slots:
        attributes.pop(name, None)
    slots += [name for name in ("__dict__", "__weakref__") if name in vars(cls)]
    early["__slots__"] = tuple(slots)


def _evaluate_annotations(cls: type, attributes: dict[str, Any]) -> None:
    # What evaluates them, from 3.14 on, leads to all that was there when the class was made.
    for name in ("__annotate__", "__annotate_func__", "__annotations_cache__"):
        attributes.pop(name, None)
    if "__annotate_func__" not in vars(cls):
        return
    try:
        attributes["__annotations__"] = dict(cls.__annotations__)
    except Exception:  # they name what is not there
        annotationlib: Any = __import__("annotationlib")
        attributes["__annotations__"] = annotationlib.get_annotations(
            cls, format=annotationlib.Format.STRING
        )


# ------------------------------------------------------------------ put together


def _make_with(name: str, bases: Any, early: dict[str, Any], keywords: dict[str, Any]) -> type:
    early = {sys.intern(key): value for key, value in early.items()}
    return types.new_class(name, bases, keywords, lambda names: names.update(early))


def _make_class(
    tracker_id: str,
    home: Home | None,
    name: str,
    make: Callable[..., type],
    args: tuple[Any, ...],
) -> type:
    known = _known(tracker_id, home)
    if known is not None:
        return known
    # Before the class is made: another thread may find it from then on, and must fill it too if
    # it gets there first. Filling twice is harmless, using it empty is not.
    _unfilled.add(tracker_id)
    try:
        cls: type = cloudpickle._lookup_class_or_track(tracker_id, make(*args))
    except Exception as error:
        raise not_made_again(name, error) from error
    if home is not None:
        bind(home.qualname, cls)
    return cls


def _known(tracker_id: str, home: Home | None) -> type | None:
    """The class of this process that it is, if there is one."""
    known: type | None = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.get(tracker_id)
    if known is None:
        known = _namesake(home)
    _shared.add(tracker_id)
    if known is not None:
        with cloudpickle._DYNAMIC_CLASS_TRACKER_LOCK:
            cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID[tracker_id] = known
            cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.setdefault(known, tracker_id)
    return known


def _namesake(home: Home | None) -> type | None:
    if home is None or home.file is None or not is_same_program(home):
        return None
    cls = in_main(home.qualname)
    if not isinstance(cls, type) or cls.__module__ not in MAIN:
        return None
    # Among forks of one process an id that differs means a class that was defined anew since.
    # The family tells one that the same script made elsewhere.
    here = home_of(cls)
    forked = here is not None and here.family == home.family
    if forked and cls in cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS:
        return None
    return cls


def _fill_class(cls: type, state: tuple[str, Callable[[type, Any], Any], Any]) -> None:
    tracker_id, fill, (attributes, more) = state
    if tracker_id not in _unfilled:
        return
    fill(cls, (attributes, more))
    if "__firstlineno__" in attributes:  # it goes when `__module__` is set
        cls.__firstlineno__ = attributes["__firstlineno__"]  # type: ignore[attr-defined]
    _unfilled.discard(tracker_id)


# ------------------------------------------------------------------ found over there


def find_class(cls: type) -> tuple[Any, ...] | None:
    """The reduction of a class that the other side has; None if it may not have it."""
    tracker_id = cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(cls)
    home = home_of(cls)
    if home is None and tracker_id not in _shared:
        return None
    return _find_class, (cloudpickle._get_or_create_tracker_id(cls), home, cls.__qualname__)


def _find_class(tracker_id: str, home: Home | None, name: str) -> type:
    found = _known(tracker_id, home)
    if found is None:
        raise stranger(f"the class {name!r}")
    return found
