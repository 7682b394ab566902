"""The operators of a proxy as type checkers see them. At run time there is no such class: the
methods are made from the table of operations, and some of them give a future or nothing, by view.
"""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Operators"]


class Operators(Protocol):
    """What they give is whatever the object's own operators give over there."""

    def __contains__(self, item: Any) -> Any: ...
    def __len__(self) -> Any: ...
    def __bool__(self) -> Any: ...
    def __iter__(self) -> Any: ...
    def __abs__(self) -> Any: ...
    def __add__(self, other: Any) -> Any: ...
    def __pow__(self, other: Any, modulo: Any = None) -> Any: ...
    def __round__(self, ndigits: Any = None) -> Any: ...
    def __eq__(self, other: object) -> Any: ...

    __reversed__ = __int__ = __float__ = __complex__ = __index__ = __abs__
    __neg__ = __pos__ = __invert__ = __trunc__ = __floor__ = __ceil__ = __abs__
    __sub__ = __mul__ = __matmul__ = __truediv__ = __floordiv__ = __mod__ = __divmod__ = __add__
    __lshift__ = __rshift__ = __and__ = __xor__ = __or__ = __add__
    __radd__ = __rsub__ = __rmul__ = __rmatmul__ = __rtruediv__ = __rfloordiv__ = __add__
    __rmod__ = __rdivmod__ = __rlshift__ = __rrshift__ = __rand__ = __rxor__ = __ror__ = __add__
    __iadd__ = __isub__ = __imul__ = __imatmul__ = __itruediv__ = __ifloordiv__ = __add__
    __imod__ = __ipow__ = __ilshift__ = __irshift__ = __iand__ = __ixor__ = __ior__ = __add__
    __lt__ = __le__ = __gt__ = __ge__ = __add__
    __rpow__ = __pow__
    __ne__ = __eq__
