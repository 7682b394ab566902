"""What Python's own syntax asks of a proxy, beside attributes and calls.

The methods for the operations of the table are made from its rows. What the table has no row for
is refused, with what to write instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from ._caller.call_options import CallMode
from ._parts import VIEW_OF
from ._protocol.operations import Operation, Steps, format_steps
from ._views import View

__all__ = ["REFUSALS", "as_array", "operator_method", "refuse_part_in_with"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


def operator_method(
    name: str, operation: Operation, proxy_on: Callable[[View], object]
) -> Callable[..., Any]:
    """The method of proxies by which Python's syntax asks for an operation.

    Args:
        proxy_on: makes the proxy of a part.
    """

    def method(self: Any, *operands: Any) -> Any:
        view = _view_of(self)
        if operation.ends:
            return view.do_by_syntax(name, *operands)
        return proxy_on(view.then(name, *operands))

    assert operation.dunder is not None
    return _named(operation.dunder, method)


def _named(dunder: str, method: Callable[..., Any]) -> Callable[..., Any]:
    method.__name__ = dunder
    method.__qualname__ = f"Proxy.{dunder}"
    return method


def _view_of(proxy: Any) -> View:
    view: View = VIEW_OF[type(proxy)](proxy)
    return view


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
        return view.do("passto", numpy.asarray, (), {} if dtype is None else {"dtype": dtype})
    value = view.evaluate(view.steps)
    return numpy.asarray(value, dtype=dtype)


# --- what is refused ---------------------------------------------------------------------


def refuse_part_in_with(steps: Steps) -> None:
    """Refuse `with` for a part: it would serve the whole object.

    Raises:
        TypeError: the steps lead to a part.
    """
    if steps:
        part = format_steps(steps)
        raise TypeError(
            f"{part} can't be entered from here, where it is a proxy: pass a function that does "
            f"`with` over there, `handle.passto(f)`"
        )


def _refuse(self: Any, symbol: str) -> TypeError:
    part = format_steps(_view_of(self).steps)
    what = f"proxy.{part[2:]}.__" if part.startswith("?.") else f"({part}).__"
    return TypeError(
        f"{symbol} is not done to a proxy: fetch the value first, `{what}` or "
        f"`remoteobj.get(...)`, or do it over there, `passto(lambda obj: ...)`"
    )


def _binary(dunder: str, symbol: str) -> Callable[..., Any]:
    reflected = f"__r{dunder[2:]}"

    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        if kind not in VIEW_OF and kind.__module__ != "builtins" and hasattr(kind, reflected):
            return NotImplemented  # it may know what to do: an array fetches the value
        raise _refuse(self, symbol)

    return _named(dunder, method)


def _unary(dunder: str, symbol: str) -> Callable[..., Any]:
    def method(self: Any, *_: Any) -> Any:
        raise _refuse(self, symbol)

    return _named(dunder, method)


def _format(self: Any, spec: str) -> str:
    if spec:
        raise _refuse(self, f"format(..., {spec!r})")
    return str(self)


BINARY: Final = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "divmod": "divmod()",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
}
COMPARISONS: Final = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
UNARY: Final = {
    "neg": "unary -",
    "pos": "unary +",
    "invert": "~",
    "abs": "abs()",
    "round": "round()",
}

REFUSALS: Final[dict[str, Callable[..., Any]]] = {
    **{f"__{name}__": _binary(f"__{name}__", symbol) for name, symbol in BINARY.items()},
    **{f"__r{name}__": _unary(f"__r{name}__", symbol) for name, symbol in BINARY.items()},
    **{f"__{name}__": _binary(f"__{name}__", symbol) for name, symbol in COMPARISONS.items()},
    **{f"__{name}__": _unary(f"__{name}__", symbol) for name, symbol in UNARY.items()},
    "__format__": _named("__format__", _format),
}
"""The methods that say what to write, since Python alone would only say that there are none."""
