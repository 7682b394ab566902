"""`NamedTuple` and `Protocol` of `typing`, made in a fraction of the time.

A process that is no fork makes some sixty such classes before it can make its object. `typing`
compiles a `__new__` for each named tuple and looks at its annotations, and looks through all that
a protocol consists of, for `isinstance`: that was a quarter of what the imports took.

Here `__new__` is compiled with this module, and annotations are not looked at. So a named tuple
must be in a module that begins with `from __future__ import annotations`; its fields with defaults
come last, which type checkers see to. A protocol is for type checkers alone.
"""

from __future__ import annotations

from collections import _tuplegetter  # type: ignore[attr-defined]
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

__all__ = ["NamedTuple", "Protocol"]

make: Any = tuple.__new__
"""By this name each `__new__` finds it, as the templates below do."""


class _Fields(tuple[Any, ...]):
    """What all of them have in common."""

    __slots__ = ()

    if TYPE_CHECKING:  # else it would be found among the fields of each
        _fields: ClassVar[tuple[str, ...]]

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Self:
        made = tuple.__new__(cls, values)
        if len(made) != len(cls._fields):
            raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, and got {len(made)}")
        return made

    def _replace(self, /, **changes: Any) -> Self:
        replaced = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(changes)}")
        return replaced

    __replace__ = _replace

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({fields})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class _Maker(type):
    """Makes the class of a class statement. That has none of this any more: its type is `type`."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        fields = tuple(namespace["__annotations__"])
        defaults = {field: namespace[field] for field in fields if field in namespace}
        for index, field in enumerate(fields):
            namespace[field] = _tuplegetter(index, "")
        namespace["__slots__"] = ()
        namespace["__new__"] = new = _new(name, fields, tuple(defaults.values()))
        new.__annotations__ = namespace["__annotations__"]
        namespace["__match_args__"] = namespace["_fields"] = fields
        namespace["_field_defaults"] = defaults
        return type(name, (_Fields, *bases[1:]), namespace)


def _new(name: str, fields: tuple[str, ...], defaults: tuple[Any, ...]) -> FunctionType:
    count = len(fields)
    code = _NEW[count - 1] if count <= len(_NEW) else _compiled_new(count)
    named = code.replace(
        co_varnames=("_cls", *fields), co_name="__new__", co_qualname=f"{name}.__new__"
    )
    return FunctionType(named, globals(), "__new__", defaults)


def _compiled_new(count: int) -> CodeType:
    """That of a class with more fields than any that a new process makes."""
    fields = "".join(f"_{index}, " for index in range(count))
    made: FunctionType = eval(f"lambda t, {fields}: make(t, ({fields}))")
    return made.__code__


_NEW: Final = [
    new.__code__
    for new in (
        lambda t, a: make(t, (a,)),
        lambda t, a, b: make(t, (a, b)),
        lambda t, a, b, c: make(t, (a, b, c)),
        lambda t, a, b, c, d: make(t, (a, b, c, d)),
        lambda t, a, b, c, d, e: make(t, (a, b, c, d, e)),
        lambda t, a, b, c, d, e, f: make(t, (a, b, c, d, e, f)),
        lambda t, a, b, c, d, e, f, g: make(t, (a, b, c, d, e, f, g)),
        lambda t, a, b, c, d, e, f, g, h: make(t, (a, b, c, d, e, f, g, h)),
        lambda t, a, b, c, d, e, f, g, h, i: make(t, (a, b, c, d, e, f, g, h, i)),
        lambda t, a, b, c, d, e, f, g, h, i, j: make(t, (a, b, c, d, e, f, g, h, i, j)),
        lambda t, a, b, c, d, e, f, g, h, i, j, k: make(t, (a, b, c, d, e, f, g, h, i, j, k)),
        lambda t, a, b, c, d, e, f, g, h, i, j, k, m: make(t, (a, b, c, d, e, f, g, h, i, j, k, m)),
    )
]
"""What `__new__` does for one field, for two, and so on; their names are put in for each class."""


if TYPE_CHECKING:
    from typing import NamedTuple, Protocol
else:
    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})

    class Protocol:
        """What has the methods of a class that is derived from this is one of these."""

        __slots__ = ()
