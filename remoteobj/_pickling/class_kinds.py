"""Classes that are made in C, in whole or in part: what the interpreter tells of them.

Such a class keeps what no pickle sees. Two libraries' classes say enough of themselves to be made
again: ctypes' by their fields, msgspec's by their annotations and options.
"""

from __future__ import annotations

import operator
import sys
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
)
from typing import Any, Final

__all__ = ["made_in_c", "parts_of_ctypes", "parts_of_struct", "reduced_by_ctypes"]

_HEAP_TYPE: Final = 1 << 9
_IN_C: Final = (MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType)


def made_in_c(cls: type) -> bool:
    """Whether the class was made by code in C, and not by a `class` statement or the like.

    >>> made_in_c(int), made_in_c(type(sys.version_info)), made_in_c(type("A", (int,), {}))
    (True, True, False)
    """
    if not cls.__flags__ & _HEAP_TYPE:
        return True
    for name, value in vars(cls).items():
        if isinstance(value, _IN_C) and value.__objclass__ is cls:
            return True
        if name == "__new__" and isinstance(value, BuiltinFunctionType) and value.__self__ is cls:
            return True
    return False


# ------------------------------------------------------------------ ctypes


def reduced_by_ctypes(cls: type) -> tuple[Any, ...] | None:
    """The reduction of an array or a pointer type, which ctypes makes once for each type in it."""
    if type(cls).__module__ != "_ctypes":
        return None
    import ctypes  # it is loaded: start-up costs nothing

    element: Any = getattr(cls, "_type_", None)
    if issubclass(cls, ctypes.Array) and element * getattr(cls, "_length_", 0) is cls:
        return operator.mul, (element, cls._length_)
    if isinstance(element, type) and issubclass(cls, ctypes._Pointer):
        return (ctypes.POINTER, (element,)) if ctypes.POINTER(element) is cls else None
    return None


def parts_of_ctypes(cls: type, early: dict[str, Any], attributes: dict[str, Any]) -> None:
    """A structure gets its fields when all else is there, since they may lead back to it."""
    for name in ("_argtypes_", "_restype_", "_type_", "_length_", "_flags_"):
        if name in attributes:
            early[name] = attributes.pop(name)
    fields = attributes.pop("_fields_", None)
    if fields is not None:
        for name, *_ in fields:
            attributes.pop(name, None)
        attributes["_fields_"] = fields  # the last
    for outer in vars(cls).get("_anonymous_", ()):
        for name, *_ in dict(vars(cls)["_fields_"])[outer]._fields_:
            attributes.pop(name, None)


# ------------------------------------------------------------------ msgspec

_OPTIONS: Final = (
    *("frozen", "eq", "order", "array_like", "gc", "repr_omit_defaults", "omit_defaults"),
    *("forbid_unknown_fields", "weakref", "dict", "cache_hash", "tag", "tag_field"),
)


def parts_of_struct(cls: Any, early: dict[str, Any], attributes: dict[str, Any]) -> dict[str, Any]:
    """What a `msgspec.Struct` is made of; gives the options of its class statement."""
    msgspec: Any = sys.modules["msgspec"]
    own = vars(cls).get("__annotations__") or getattr(cls, "__annotations__", {})
    early["__annotations__"] = dict(own)
    attributes.pop("__annotations__", None)
    renamed = {}
    for field in msgspec.structs.fields(cls):
        if field.encode_name != field.name:
            renamed[field.name] = field.encode_name
        if field.name not in own:
            continue
        if field.default is not msgspec.NODEFAULT:
            early[field.name] = field.default
        elif field.default_factory is not msgspec.NODEFAULT:
            early[field.name] = _Field(msgspec.field, field.default_factory)
    for name, value in vars(cls).items():
        made = name.startswith(("__struct_", "__match_args__")) or name == "__slots__"
        if made or isinstance(value, MemberDescriptorType):
            attributes.pop(name, None)
    config = cls.__struct_config__
    options = {name: getattr(config, name) for name in _OPTIONS if hasattr(config, name)}
    return {**options, **({"rename": renamed} if renamed else {}), **_keyword_only(cls, own)}


class _Field:
    """Comes out of its pickle as a field of msgspec, which has no pickle."""

    def __init__(self, make: Any, factory: Any) -> None:
        self._make = make, factory

    def __reduce__(self) -> tuple[Any, ...]:
        return _make_field, self._make


def _make_field(make: Any, factory: Any) -> Any:
    return make(default_factory=factory)


def _keyword_only(cls: Any, own: dict[str, Any]) -> dict[str, Any]:
    import inspect  # as late as it is needed: start-up

    found = inspect.signature(cls).parameters
    kinds = {found[name].kind for name in own if name in found}
    return {"kw_only": True} if inspect.Parameter.KEYWORD_ONLY in kinds else {}
