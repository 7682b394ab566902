"""Exceptions and tracebacks that are values: what our picklers make of them.

A result, an argument, an attribute or an item may hold exceptions anywhere. Python's own pickling
loses most of them and refuses tracebacks. `Reducer` is asked first by our picklers; all other
pickling in the program is as it was. Guarantees:

* No `__init__` of a user's exception runs, unless the class's own `__reduce__` asks for that.
* An exception that stands twice in a value arrives as one object, also where it is the cause, a
  member or an attribute of another one. Cycles arrive as cycles. Chains may have any length, as
  long as the classes in them have no `__reduce__` of their own.
* An exception whose class is not known on arrival, or which the class can't rebuild there, is a
  `RemoteError` that names it. Its neighbours in the value are not affected.
"""

from __future__ import annotations

import pickle
from collections import ChainMap
from collections.abc import Callable
from copyreg import dispatch_table as registered
from operator import getitem
from types import TracebackType
from typing import Any, TypeAlias

from .._os.thread_unwind import ThreadUnwind
from ..errors import RemoteError, describe, type_name
from .exception_parts import (
    About,
    about,
    bare,
    connect,
    fallback,
    links,
    members_first,
    members_of,
    own_reduction,
    put_together,
    reduces_itself,
    render,
    restore,
    set_state,
    state_of,
    take_apart,
)

__all__ = ["KINDS", "OUR_WAYS", "Pickler", "Reducer"]

KINDS = BaseException, TracebackType

OUR_WAYS: dict[type, Callable[[Any], Any]] = {}
"""Class → reducer, as in `copyreg.dispatch_table`, for our picklers alone: what they pickle is part
of a message, or of a program that is being started, and goes nowhere else."""
_table = ChainMap(OUR_WAYS, registered)


class Pickler(pickle.Pickler):
    """C pickle for values with exceptions or tracebacks in them."""

    dispatch_table = _table

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, 5, buffer_callback=buffer_callback)
        self._reducer = Reducer()

    def reducer_override(self, obj: Any) -> Any:
        return self._reducer(obj) if issubclass(type(obj), KINDS) else NotImplemented


class Reducer:
    """Takes apart the exceptions and tracebacks that one pickling meets.

    `by_value` tells which classes travel by value; the others go by name. With `attempt`, which
    raises if what it is given can't be pickled, an exception that can't be pickled is replaced by
    a `RemoteError`.
    """

    def __init__(
        self,
        by_value: Callable[[type], bool] = lambda cls: False,
        attempt: Callable[[Any], object] | None = None,
    ) -> None:
        self._by_value, self._attempt = by_value, attempt
        # Invariant: an exception whose id stands here is kept alive by its graph.
        self._places: dict[int, tuple[_Graph, int]] = {}
        self._names: dict[type, bytes] = {}
        self.met_any = False

    def __call__(self, obj: Any) -> Any:
        """Return for one of `KINDS` what its `__reduce_ex__` should."""
        self.met_any = True
        if type(obj) is TracebackType:
            return put_together, (take_apart(obj),)
        if id(obj) not in self._places:
            self._gather(obj)
        if id(obj) in self._places:
            return getitem, self._places[id(obj)]
        own = own_reduction(obj)
        return own if isinstance(own, str) else _guarded(obj, *own)

    def _gather(self, root: BaseException) -> None:
        """Give places in one graph to all exceptions that `root` leads to by cause, context and
        membership. Those with a reduction of their own get none, nor does what they lead to."""
        graph = _Graph(self)
        todo: list[BaseException] = [root]
        while todo:
            exc = todo.pop()
            if id(exc) in self._places:
                continue
            sent = exc if self._attempt is None else self._sendable(exc)
            if reduces_itself(type(sent)):
                continue
            self._places[id(exc)] = graph, graph.add(exc, sent)
            todo += filter(None, (*links(sent), *members_of(sent)[1]))

    def _sendable(self, exc: BaseException) -> BaseException:
        """The exception, or a `RemoteError` with its links if it can't be pickled."""
        assert self._attempt is not None
        try:
            own = own_reduction(exc) if reduces_itself(type(exc)) else state_of(exc)
            self._attempt((self.named(type(exc)), about(exc), own))
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException as error:
            text, why = render(exc), describe(error.__cause__ or error)
            name, summary = type_name(type(exc)), describe(exc)
            instead = RemoteError.in_place_of(name, summary, text, why)
            connect(instead, about(instead), *links(exc))
            return instead
        return exc

    def member(self, exc: BaseException, graph: _Graph) -> int | BaseException:
        """A member of a group as its number in the graph, or as itself if it is elsewhere."""
        other, number = self._places.get(id(exc), (None, 0))
        return number if other is graph else exc

    def named(self, cls: type[BaseException]) -> type[BaseException] | bytes:
        """A class that goes by name is in a pickle of its own: where there is no such class, only
        the exception fails, and not the whole value."""
        if self._by_value(cls):
            return cls
        if cls not in self._names:
            self._names[cls] = pickle.dumps(cls, 5)
        return self._names[cls]


class _Graph:
    """Exceptions that lead to each other. It comes out of the pickle as a list of them.

    First all are made, and then filled: whatever an attribute leads to may lead back to them.
    """

    def __init__(self, reducer: Reducer) -> None:
        self._reducer = reducer
        self._kept: list[BaseException] = []
        self._sent: list[BaseException] = []

    def add(self, exc: BaseException, sent: BaseException) -> int:
        """Let `sent` travel for `exc`; return its number."""
        self._kept.append(exc)
        self._sent.append(sent)
        return len(self._sent) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        heads, bodies = [], []
        for exc in self._sent:
            said, (message, members) = about(exc), members_of(exc)
            numbers = [self._reducer.member(member, self) for member in members]
            cls = self._reducer.named(type(exc))
            heads.append((cls, message, numbers, said, exc.__traceback__))
            bodies.append((said, state_of(exc), *links(exc)))
        return _make_all, (heads,), bodies, None, None, _fill_all


# What it takes to make an exception: its class, the message and the members if it is a group, what
# is told of it and its traceback. A plain tuple, since each class that a pickle names costs time.
_Head: TypeAlias = (
    "tuple[type[BaseException] | bytes, str | None, list[int | BaseException], About, Any]"
)


def _make_all(heads: list[_Head]) -> list[BaseException]:
    made: dict[int, BaseException] = {}
    inner = [[member for member in head[2] if type(member) is int] for head in heads]
    for number in members_first(inner):
        made[number] = _make(heads[number], made)
    return [made[number] for number in range(len(heads))]


def _make(head: _Head, made: dict[int, BaseException]) -> BaseException:
    cls, message, members, said, traceback = head
    try:
        found = pickle.loads(cls) if isinstance(cls, bytes) else cls
        exc = bare(found, message, [made[m] if isinstance(m, int) else m for m in members])
    except BaseException as error:
        return fallback(said, describe(error), traceback)
    return BaseException.with_traceback(exc, traceback)


def _fill_all(made: list[BaseException], bodies: list[tuple[Any, ...]]) -> None:
    for number, (said, state, cause, context) in enumerate(bodies):
        if not _is_stand_in(made[number], said):
            try:
                restore(made[number], state)
            except BaseException as error:  # of a class's own __setstate__
                # What leads to it from within the graph has the unfilled exception already.
                made[number] = fallback(said, describe(error), made[number].__traceback__)
        connect(made[number], said, cause, context)


# ------------------------------------------------------------------ classes that reduce themselves


def _guarded(
    exc: BaseException,
    make: Callable[..., Any],
    args: tuple[Any, ...],
    state: Any = None,
    items: Any = None,
    pairs: Any = None,
    fill: Callable[[Any, Any], object] | None = None,
) -> tuple[Any, ...]:
    """The class's own reduction, with all that it leaves out, and with a guard."""
    said, traceback = about(exc), exc.__traceback__
    body = said, traceback, state, fill, *links(exc)
    return _make_by, (make, args, said, traceback), body, items, pairs, _fill_by


def _make_by(
    make: Callable[..., Any], args: tuple[Any, ...], said: About, traceback: TracebackType | None
) -> BaseException:
    try:
        exc = make(*args)
        why = f"it came out as {type_name(type(exc))}"
    except BaseException as error:
        return fallback(said, describe(error), traceback)
    return fallback(said, why, traceback) if _is_stand_in(exc, said) else exc


def _fill_by(exc: BaseException, body: tuple[Any, ...]) -> None:
    said, traceback, state, fill, cause, context = body
    if not _is_stand_in(exc, said):
        if fill is not None:
            fill(exc, state)
        elif state is not None:
            set_state(exc, state)
        BaseException.with_traceback(exc, traceback)
    connect(exc, said, cause, context)


def _is_stand_in(exc: object, said: About) -> bool:
    """Whether `exc` is of another type than what was sent."""
    return type_name(type(exc)) != said.type_name
