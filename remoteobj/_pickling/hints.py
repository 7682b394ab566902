"""What "Did you mean" needs: the names that may have been meant, which stay with the objects.

The interpreter makes these hints when it prints an exception, from the object of an
`AttributeError` and from the variables of the frame that raised a `NameError`. Neither travels. So
the few names that may be meant do, and are put where the interpreter looks for them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from types import FrameType, ModuleType, SimpleNamespace, TracebackType
from typing import Any, Final

from .._os.thread_unwind import ThreadUnwind
from .stand_ins import StandIn

__all__ = ["give_hints", "hints_of"]

_MOST: Final = 750
"""Names that the interpreter looks at; where there are more, it gives no hint."""

_OBJ = vars(AttributeError)["obj"]


def hints_of(exc: BaseException) -> tuple[str, ...]:
    """The names that may have been meant; for a `NameError` those of `self` begin with a dot."""
    if not isinstance(exc, (AttributeError, NameError)):
        return ()
    wrong: object = exc.name
    if type(wrong) is not str:
        return ()
    if isinstance(exc, AttributeError):
        return tuple(_near(wrong, _names_of(_OBJ.__get__(exc))))
    frame = _last_frame(exc.__traceback__)
    if frame is None:
        return ()
    variables = frame.f_locals
    own = _names_of(variables["self"]) if "self" in variables else ()
    of_self = [f".{name}" for name in own if name == wrong]
    return (*of_self, *_near(wrong, [*variables, *frame.f_globals]))


def give_hints(exc: BaseException, names: tuple[str, ...]) -> None:
    """Put the names where the interpreter looks for them."""
    if isinstance(exc, AttributeError):
        _OBJ.__set__(exc, _Named(names))
    elif (frame := _last_frame(exc.__traceback__)) is not None:
        for name in names:
            if name.startswith("."):
                frame.f_locals["self"] = SimpleNamespace(**{name[1:]: None})
            else:  # 3.11 looks for variables in the code, which can't be changed
                frame.f_globals.setdefault(name)


class _Named(StandIn):
    """In place of the object that has no such attribute: it has the names that may be meant."""

    __slots__ = ("__names",)

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__("obj", "<the object>", "it stays in the process that it lives in")
        object.__setattr__(self, "_Named__names", names)

    def __dir__(self) -> list[str]:
        return list(self.__names)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Named, (self.__names,)


def _names_of(obj: object) -> Iterable[str]:
    """`dir(obj)`, without a `__dir__` of the user's, which may do anything."""
    if isinstance(obj, _Named):
        return obj.__dir__()
    dir_of: Any = next(kind for kind in (type, ModuleType, object) if issubclass(type(obj), kind))
    try:
        return [name for name in dir_of.__dir__(obj) if type(name) is str]
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:  # of a `__dict__` or `__class__` of the user's
        return []


def _last_frame(traceback: TracebackType | None) -> FrameType | None:
    frame = None
    while traceback is not None:
        frame, traceback = traceback.tb_frame, traceback.tb_next
    return frame


def _near(wrong: str, names: Iterable[str]) -> list[str]:
    """Those that the interpreter may choose from: no other is as near by its bound."""
    found = {name: None for name in names if type(name) is str}
    if len(found) > _MOST:
        return []
    letters = Counter(wrong.casefold())
    return [name for name in found if _may_be_meant(wrong, letters, name)]


def _may_be_meant(wrong: str, letters: Counter[str], name: str) -> bool:
    # Two for each letter that has to go or come; a third of all letters is how far it goes.
    most = (len(wrong) + len(name) + 3) // 3
    if 2 * abs(len(wrong) - len(name)) > most:
        return False
    other = Counter(name.casefold())
    return 2 * max((letters - other).total(), (other - letters).total()) <= most
