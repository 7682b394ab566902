"""What stands in an exception for a part of it that could not travel.

An exception is caught by its type, so it must arrive as its type, also if an attribute of it is a
lock. Whoever uses that attribute is told why it is not there: it never looks like the real one.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar, Final, NoReturn

from ..errors import UnsendableError, describe, type_name

__all__ = ["StandIn", "loads_leniently"]

LONGEST: Final = 500
"""Characters that are kept of the text of what could not travel."""


class StandIn:
    """In place of a part of an exception. Its `str` is that of the part; any other use raises.

    >>> log = StandIn("log", "<a lock>", "it can't be pickled")
    >>> print(log)
    <a lock>
    >>> log.acquire()
    Traceback (most recent call last):
        ...
    remoteobj.errors.UnsendableError: 'log' of the exception is not here: it can't be pickled
    """

    # The interpreter mangles the names, so that no attribute of what it stands for is hidden.
    __slots__ = ("__path", "__text", "__why")

    def __init__(self, path: str, text: str, why: str) -> None:
        for name, value in (("path", path), ("text", text), ("why", why)):
            object.__setattr__(self, f"_StandIn__{name}", value)

    @classmethod
    def of(cls, path: str, part: object, why: str) -> StandIn:
        """The one for this part of an exception."""
        try:
            text = str(part)
        except Exception:
            text = f"<{type_name(type(part))}>"
        return cls(path, text if len(text) <= LONGEST else f"{text[:LONGEST]}...", why)

    def __str__(self) -> str:
        return str(self.__text)

    def __repr__(self) -> str:
        return f"<stand-in for {self.__text}: {self.__why}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return StandIn, (self.__path, self.__text, self.__why)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python itself asks whether there is a method by this name
            raise AttributeError(self.__message())
        self.__refuse()

    def __message(self) -> str:
        return f"{self.__path!r} of the exception is not here: {self.__why}"

    def __refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise UnsendableError(self.__message(), path=self.__path)

    refuse: ClassVar = __refuse


# Python looks these up in the class. Comparison for equality is left: it is by identity, and tells
# the truth.
_USES = """call len bool iter next reversed contains getitem setitem delitem enter exit await
    aenter aexit aiter anext int float complex index bytes fspath neg pos abs invert lt le gt ge
    add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul
    rmatmul and rand or ror xor rxor lshift rlshift rshift rrshift setattr delattr"""
for _use in _USES.split():
    setattr(StandIn, f"__{_use}__", StandIn.refuse)
del StandIn.refuse


def loads_leniently(payload: Any, buffers: Any) -> tuple[Any, list[str]]:
    """Unpickle what could not be; what fails in it is a `StandIn`. Also what failed, in words."""
    unpickler = _LenientUnpickler(io.BytesIO(payload), buffers=buffers)
    return unpickler.load(), unpickler.failures


_PythonUnpickler: Any = pickle._Unpickler
"""The one written in Python: the steps of its machine can be replaced one by one."""


class _LenientUnpickler(_PythonUnpickler):  # type: ignore[misc]  # it has no types
    """Where a step of the pickle fails, a stand-in is what the step has made."""

    dispatch: ClassVar[dict[int, Any]] = dict(_PythonUnpickler.dispatch)

    def __init__(self, file: Any, *, buffers: Any) -> None:
        super().__init__(file, buffers=buffers)
        self.failures: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        try:
            return super().find_class(module, name)
        except BaseException as error:
            return self.stand_in(f"{module}.{name}", error)

    def stand_in(self, part: object, error: BaseException) -> StandIn:
        if isinstance(part, StandIn):  # it was told of already
            return part
        stand_in = StandIn.of("a part", part, f"it could not be rebuilt here: {describe(error)}")
        self.failures.append(f"{stand_in} could not be rebuilt here: {describe(error)}")
        return stand_in


def _filling(step: Any) -> Any:
    """A step that works on the top of the stack: makes something of it, or fills it."""

    def lenient(self: Any) -> None:
        try:
            step(self)
        except BaseException as error:
            part = self.stack[-1]
            stand_in = self.stack[-1] = self.stand_in(part, error)
            for key in [key for key, known in self.memo.items() if known is part]:
                self.memo[key] = stand_in

    return lenient


def _making(step: Any) -> Any:
    """A step that takes all it needs off the stack, and puts there what it has made."""

    def lenient(self: Any) -> None:
        # The class below its arguments, or the last of the items.
        kinds = type, StandIn
        part = next((one for one in reversed(self.stack[-3:]) if isinstance(one, kinds)), "a set")
        try:
            step(self)
        except BaseException as error:
            self.stack.append(self.stand_in(part, error))

    return lenient


for _steps, _make_lenient in (
    ("REDUCE BUILD APPEND APPENDS SETITEM SETITEMS ADDITEMS", _filling),
    ("NEWOBJ NEWOBJ_EX FROZENSET", _making),
):
    for _step in _steps.split():
        _code = getattr(pickle, _step)[0]
        _LenientUnpickler.dispatch[_code] = _make_lenient(_LenientUnpickler.dispatch[_code])
