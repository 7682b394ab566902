"""What an exception is made of, so that another process can make it again.

Python's own reduction of an exception is its class, its arguments and its attributes. It loses
cause, context, traceback and the words of a class whose `__init__` changes them, and it calls
`__init__` to rebuild the exception. Here an exception is made `bare`, by no code of its class, and
then gets its state back.

The parts are put into pickles by `exceptions`, for exceptions that are raised, and by `reducers`,
for those that are values.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from types import BuiltinFunctionType, TracebackType
from types import GetSetDescriptorType as GetSet
from types import MemberDescriptorType as Member
from typing import Any

from .._fast_typing import NamedTuple
from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from ..errors import RemoteError, describe, type_name
from .notes import attributes_of

__all__ = [
    "About",
    "State",
    "about",
    "bare",
    "connect",
    "defines",
    "links",
    "members_first",
    "members_of",
    "own_reduction",
    "put_together",
    "reduces_itself",
    "render",
    "restore",
    "set_state",
    "fallback",
    "state_of",
    "take_apart",
]

_BASE = vars(BaseException)  # its descriptors reach past what the class overrides
_GROUP = vars(BaseExceptionGroup)


class About(NamedTuple):
    """What is sure to travel of an exception, even if the exception itself can't."""

    type_name: str
    summary: str
    notes: list[str]
    suppress_context: bool


class State(NamedTuple):
    args: tuple[Any, ...]
    attributes: Any  # __dict__, or what its own __getstate__ gives
    fields: dict[str, Any]  # slots, and what built-in types keep in C: OSError.errno


def about(exc: BaseException) -> About:
    suppressed = _BASE["__suppress_context__"].__get__(exc)
    return About(type_name(type(exc)), describe(exc), _notes(exc), suppressed)


def _notes(exc: BaseException) -> list[str]:
    notes = attributes_of(exc).get("__notes__", [])
    if type(notes) is not list or not all(type(note) is str for note in notes):
        return []  # something else by that name is an attribute like any other
    return notes


def state_of(exc: BaseException, as_class_says: bool = True) -> State:
    cls = type(exc)
    decides = as_class_says and defines(cls, "__getstate__")  # which slots travel, too
    attributes: Any = exc.__getstate__() if decides else dict(attributes_of(exc))
    if type(attributes) is dict and _notes(exc):  # a new dict: it may be the exception's own
        attributes = {name: value for name, value in attributes.items() if name != "__notes__"}
    fields = {}
    for name, (descriptor, in_c) in _fields(cls).items():
        if decides and not in_c:
            continue
        with suppress(AttributeError):  # an empty slot
            fields[name] = descriptor.__get__(exc)
        # C shows as None what is not set; setting None would change str(OSError).
        if in_c and fields.get(name) is None:
            fields.pop(name, None)
    return State(_BASE["args"].__get__(exc), attributes, fields)


def bare(
    cls: type[BaseException], message: str | None, members: Sequence[BaseException]
) -> BaseException:
    """An exception of that class without its state; `message` is None but for groups."""
    # The nearest __new__ written in C: a class's own, like its __init__, may want other arguments.
    # `__base__` and not the MRO, since C accepts only the one that made the memory layout.
    base: Any = cls
    while not isinstance(vars(base).get("__new__"), BuiltinFunctionType):
        base = base.__base__
    group = () if message is None else (message, members)
    exc: BaseException = base.__new__(cls, *group)
    return exc


def restore(exc: BaseException, state: State) -> list[str]:
    """Give it its state; returns what went wrong, in words: it keeps all that did not."""
    wrong = []
    _BASE["args"].__set__(exc, state.args)
    fields = _fields(type(exc)) if state.fields else {}
    for name, value in state.fields.items():
        try:
            fields[name][0].__set__(exc, value)
        except BaseException as error:  # the class is another one here, or refuses a stand-in
            wrong.append(f"its {name!r} could not be set: {describe(error)}")
    return wrong + set_state(exc, state.attributes)


def set_state(exc: BaseException, attributes: Any) -> list[str]:
    """Give it its attributes; returns what went wrong, in words."""
    wrong = []
    try:
        if defines(type(exc), "__setstate__"):
            try:
                exc.__setstate__(attributes)
                return []
            except BaseException as error:
                wrong.append(f"its __setstate__ raised {describe(error)}")
        # A __getstate__ may give None, a dict, or dict and slots, as everywhere in Python.
        attributes, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
        attributes_of(exc).update(attributes or {})
        for name, value in (slots or {}).items():
            object.__setattr__(exc, name, value)
    except BaseException as error:
        wrong.append(f"its state could not be set: {describe(error)}")
    return wrong


def connect(
    exc: BaseException, said: About, cause: BaseException | None, context: BaseException | None
) -> None:
    if said.notes:
        attributes_of(exc)["__notes__"] = said.notes
    _BASE["__cause__"].__set__(exc, cause)
    _BASE["__context__"].__set__(exc, context)
    _BASE["__suppress_context__"].__set__(exc, said.suppress_context)  # the cause sets it, too


def reduces_itself(cls: type[BaseException]) -> bool:
    """Whether the class, or a reducer that the program has registered, says how to pickle it."""
    own = defines(cls, "__reduce__") or defines(cls, "__reduce_ex__")
    return own or _registered(cls) is not None


def own_reduction(exc: BaseException) -> Any:
    """The reduction by which the class says how to pickle it; None: it says nothing, or wrong.

    Many classes inherit a `__reduce__` that was written for their base class, or that forgets what
    their `__init__` was told. So it is tried here: what it makes must be of the exception's type,
    and say the same, unless the program has registered it on purpose. Else the exception is sent
    by its parts, as one whose class says nothing.
    """
    if not reduces_itself(type(exc)):
        return None
    registered = _registered(type(exc))
    try:
        own = registered(exc) if registered is not None else exc.__reduce_ex__(5)
        if isinstance(own, str):  # the name of a global
            return own
        faithful = _is_faithful(exc, registered is not None, *own)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:  # it would fail over there, too
        return None
    return own if faithful else None


def _is_faithful(
    exc: BaseException, any_words: bool, make: Any, args: Any, state: Any = None, *more: Any
) -> bool:
    made = make(*args)
    if type(made) is not type(exc):
        return False
    items, pairs, fill = (*more, None, None, None)[:3]
    if items is not None or pairs is not None:
        return True  # they can be iterated over once, and are for the pickler
    if fill is not None:
        fill(made, state)
    elif state is not None:  # a copy: a __setstate__ may take out of it what it has used
        set_state(made, dict(state) if type(state) is dict else state)
    return any_words or describe(made) == describe(exc)


def _registered(cls: type[BaseException]) -> Any:
    found = copyreg.dispatch_table.get(cls)
    # tblib registers exception classes when its users ask for it; it would call `__init__`.
    return None if str(getattr(found, "__module__", "")).startswith("tblib.") else found


def links(exc: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Cause and context."""
    return _BASE["__cause__"].__get__(exc), _BASE["__context__"].__get__(exc)


def members_of(exc: BaseException) -> tuple[str | None, tuple[BaseException, ...]]:
    """Message and members of a group; (None, ()) for all else."""
    if not isinstance(exc, BaseExceptionGroup):
        return None, ()
    return _GROUP["message"].__get__(exc), _GROUP["exceptions"].__get__(exc)


def defines(cls: type, name: str) -> bool:
    """Whether a class that is not built in gives the attribute."""
    if cls.__module__ == "builtins":
        return False
    owner = next((base for base in cls.__mro__ if name in vars(base)), object)
    return owner.__module__ != "builtins"


def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    """Name → (descriptor, whether it is C's) of all slots, of Python classes and built-in ones."""
    found: dict[str, tuple[Any, bool]] = {}
    for base in reversed(cls.__mro__):
        if base in (object, BaseException, BaseExceptionGroup):
            continue  # these have a place of their own in what travels
        in_c = base.__module__ == "builtins"
        for name, descriptor in vars(base).items():
            kinds = (Member, GetSet) if in_c and not name.startswith("__") else Member
            if isinstance(descriptor, kinds):  # but no __weakref__
                found[name] = descriptor, in_c
    if issubclass(cls, AttributeError):
        del found["obj"]  # a hint, and may be the whole actor; Python's pickling has none either
    return found


def members_first(members: Sequence[Sequence[int]]) -> Iterator[int]:
    """All numbers, those of a group's members before its own; `members` are those of each."""
    done: set[int] = set()
    stack = list(range(len(members)))
    while stack:
        waiting = [number for number in members[stack[-1]] if number not in done]
        stack += waiting
        if not waiting and (number := stack.pop()) not in done:
            done.add(number)
            yield number


# ------------------------------------------------------------------ one that can't be rebuilt


def fallback(said: About, why: str, traceback: TracebackType | None, text: str = "") -> RemoteError:
    """In place of an exception that can't be rebuilt; with a text, or one made of the traceback."""
    if not text:
        text = _listing(traceback) + "\n".join([said.summary, *said.notes])
    return RemoteError.in_place_of(said.type_name, said.summary, text, why)


def render(exc: BaseException) -> str:
    """The exception as the interpreter would print it, without cause and context: they travel by
    themselves."""
    with import_lock:
        import traceback  # for a faster start-up: what can be rebuilt does without

    try:
        return "".join(traceback.format_exception(exc, chain=False))
    except BaseException:  # groups nested too deeply for it, or a hostile attribute
        return describe(exc)


def _listing(tb: TracebackType | None) -> str:
    with import_lock:
        import traceback  # for a faster start-up, as above

    return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(tb)]) if tb else ""


# ------------------------------------------------------------------ tracebacks


def take_apart(tb: TracebackType | None) -> Any:
    """A traceback as plain data, for `put_together`."""
    return None if tb is None else _tracebacks().take_apart(tb).rows()


def put_together(rows: Any) -> TracebackType | None:
    if rows is None:
        return None
    traceback: TracebackType = _tracebacks().Traceback.from_rows(rows).as_traceback()
    return traceback


@cache
def _tracebacks() -> Any:
    with import_lock:
        from . import tracebacks as module  # for a faster start-up: tblib

    return module
