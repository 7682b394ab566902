"""What Python's own syntax asks of a proxy, beside attributes and calls.

The methods are made from the rows of the table of operations. What they do without asking the
object is here too: a whole object is told from others by its identity, and printing is local.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import Any, Final

from ._caller.call_options import CallMode
from ._os.lazy_import import import_lock
from ._parts import VIEW_OF
from ._protocol.operations import OPERATIONS, Steps
from ._views import View, value_of

__all__ = [
    "ASK",
    "KEYS",
    "as_array",
    "by_numpy",
    "hash_of",
    "keys_are_asked_for",
    "operator_methods",
    "refuse_part_in_with",
    "text_of",
]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

ProxyOn = Callable[[View], object]
"""Makes the proxy of a part."""


def operator_methods(proxy_on: ProxyOn) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The methods of proxies by which Python's syntax asks for operations, by their names."""
    rows: dict[str, dict[int, str]] = {}
    for name, operation in OPERATIONS.items():
        if operation.dunder is not None:
            rows.setdefault(operation.dunder, {})[len(operation.operands)] = name
    for dunder, names in rows.items():
        yield dunder, operator_method(dunder, names, proxy_on)


def operator_method(dunder: str, names: dict[int, str], proxy_on: ProxyOn) -> Callable[..., Any]:
    """The method of this name.

    Args:
        names: the operations that it asks for, by how many operands they have.
    """
    without_trip = WITHOUT_TRIP.get(dunder)

    def method(self: Any, *operands: Any) -> Any:
        name = names.get(len(operands))
        if name is None:
            counts = " or ".join(map(str, names))
            raise TypeError(f"{dunder} takes {counts} operands, and got {len(operands)}")
        if without_trip is not None:
            found = without_trip(self, *operands)
            if found is not ASK:
                return found
        view = _view_of(self)
        operation = OPERATIONS[name]
        if operation.stores:
            return _do_in_place(view, name, operands, proxy_on)
        if operation.ends:
            return view.do_by_syntax(name, *operands)
        part = view.then(name, *operands)
        if _asked_for_keys and _copies_mapping(sys._getframe(1)):
            return part.evaluate(part.steps)
        return proxy_on(part)

    method.__name__ = dunder
    method.__qualname__ = f"Proxy.{dunder}"
    return method


def _view_of(proxy: Any) -> View:
    view: View = VIEW_OF[type(proxy)](proxy)
    return view


# --- printing ----------------------------------------------------------------------------


def text_of(steps: Steps) -> str:
    """The steps of a proxy as Python."""
    with import_lock:
        from ._protocol.descriptions import format_steps  # for a faster start-up

    return format_steps(steps)


# --- what needs no trip ------------------------------------------------------------------

ASK: Final[Any] = object()
"""Says that only the object can know."""


def _is_same(proxy: Any, other: Any) -> Any:
    """Whether both stand for the same object, if they stand for whole ones."""
    view = _view_of(proxy)
    if view.steps:
        return ASK
    if type(other) not in VIEW_OF:
        return NotImplemented
    others = _view_of(other)
    if others.steps:
        return NotImplemented  # Python asks that part
    return view.ref.actor_id == others.ref.actor_id


def _is_other(proxy: Any, other: Any) -> Any:
    same = _is_same(proxy, other)
    return not same if type(same) is bool else same


def _printed(proxy: Any, spec: str) -> Any:
    return ASK if spec else str(proxy)


WITHOUT_TRIP: Final[dict[str, Callable[..., Any]]] = {
    "__eq__": _is_same,
    "__ne__": _is_other,
    "__format__": _printed,
}
"""What gives the value of an operator where the object need not be asked, or else `ASK`."""


def hash_of(view: View) -> int:
    """The hash of a whole object: the same for all its proxies in this process.

    Raises:
        TypeError: the view is of a part, which is equal to whatever its value is equal to.
    """
    if view.steps:
        part = text_of(view.steps)
        raise TypeError(
            f"unhashable: the part {part} of a remote object, whose value may change; fetch the "
            f"value to look it up in a set or a dict, `{_fetching(part)}` or `remoteobj.get(...)`"
        )
    return hash(view.ref.actor_id)


def _fetching(part: str) -> str:
    return f"proxy.{part[2:]}.__" if part.startswith("?.") else f"({part}).__"


# --- in-place operators ------------------------------------------------------------------


def _do_in_place(view: View, name: str, operands: tuple[Any, ...], proxy_on: ProxyOn) -> Any:
    """Do what `part += other` says, in one step of the actor.

    Python then assigns what this gives to the place that it read the part from. If the part has a
    place over there, the value is in it by then, and this gives the part, marked as stored by its
    view: that assignment has nothing to send.

    Raises:
        TypeError: the calls through the view don't wait for their end, or the operator gives
            another object in place of the actor's own.
    """
    mode = view.options.mode
    if mode is not CallMode.NOW:
        raise TypeError(
            f"{text_of((*view.steps, (name, *operands)))} is not done through {mode.value}, "
            f"where nobody would wait for it: write it without {mode.value}, or have a function do "
            f"it over there, {mode.value}.passto(f)"
        )
    place = view.at_place()
    if place is not None:
        place.do(name, *operands)
        return proxy_on(view.as_stored())
    result = view.do(name, *operands)
    if not view.steps and result is not view.whole:
        raise TypeError(
            f"{text_of(((name, *operands),))} gives another object, which can't take the "
            f"place of the actor's own; if you want its value, write the operator without ="
        )
    return result


# --- copies of mappings ------------------------------------------------------------------
#
# `dict(part)`, `{**part}` and `f(**part)` call the part's `keys`, and ask it for the item of each
# key. Those are to be values, where an item that is read by `part[key]` is a proxy. What tells them
# apart: it is one and the same instruction of the caller that asks for the keys and for the items.

KEYS: Final = "keys"
_asked_for_keys: dict[int, tuple[CodeType, int]] = {}
"""The instruction that last looked up `keys` of a proxy, by the thread."""


def keys_are_asked_for(frame: FrameType) -> None:
    """Note that this frame looks up the attribute `keys` of a proxy."""
    _asked_for_keys[threading.get_ident()] = frame.f_code, frame.f_lasti


def _copies_mapping(frame: FrameType) -> bool:
    """Whether the frame asks for an item in order to copy a mapping."""
    thread = threading.get_ident()
    code, instruction = _asked_for_keys.get(thread, (None, 0))
    if code is frame.f_code and instruction == frame.f_lasti:
        return True
    _asked_for_keys.pop(thread, None)  # so that the next ones need not look
    return False


# --- arrays ------------------------------------------------------------------------------


def as_array(view: View, dtype: Any, copy: bool | None) -> Any:
    """The part as an array of numpy, which asks for it, fetched in one trip.

    Raises:
        TypeError: calls through the view don't give their value.
        ValueError: numpy wants the very memory of the object.
    """
    if view.options.mode is not CallMode.NOW:
        raise TypeError(
            f"through {view.options.mode.value} there is no array yet; "
            f"wait for {view.options.mode.value}.get_()"
        )
    if copy is False:
        raise ValueError("the array of another process can't be had without a copy of it")
    numpy: Any = sys.modules["numpy"]  # which has called this
    if not view.steps:
        named = {} if dtype is None else {"dtype": dtype}
        # The item `...` is the array as another object: the actor's own would come as a proxy.
        part = view.then("passto", numpy.asarray, (), named).then("item", ...)
        return part.evaluate(part.steps)
    value = view.evaluate(view.steps)
    return numpy.asarray(value, dtype=dtype)


def by_numpy(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Apply a function of numpy, which asks for it, to the values of the proxies among its inputs.

    That is how `array + part` and `array += part` come here: numpy, on their left, is asked first.

    Raises:
        TypeError: a proxy is to take the result, or calls through it don't give their value.
    """
    if any(type(one) in VIEW_OF for one in kwargs.get("out", ())):
        raise TypeError(
            "numpy can't write into a remote object from here; assign what it gives, or pass it a "
            "function that does it over there, passto(f)"
        )
    values = [_for_numpy(one) for one in inputs]
    named = {name: _for_numpy(one) for name, one in kwargs.items()}
    return getattr(ufunc, method)(*values, **named)


def _for_numpy(operand: Any) -> Any:
    if type(operand) not in VIEW_OF:
        return operand
    view = _view_of(operand)
    if view.steps and view.options.mode is CallMode.NOW:
        return value_of(operand)
    return as_array(view, None, None)


# --- what is refused ---------------------------------------------------------------------


def refuse_part_in_with(steps: Steps) -> None:
    """Refuse `with` for a part: it would serve the whole object.

    Raises:
        TypeError: the steps lead to a part.
    """
    if steps:
        part = text_of(steps)
        raise TypeError(
            f"{part} can't be entered from here, where it is a proxy: pass a function that does "
            f"`with` over there, `handle.passto(f)`"
        )
