"""Exceptions and tracebacks as parts of a pickle: what our picklers make of them.

::

    exception, raised or within a value ── Reducer ──> nodes of a graph ── _make_all ─> _fill_all

A result, an argument, an attribute or an item may hold exceptions anywhere; one that is raised is
sent as a value that is nothing else (`exceptions`). Python's own pickling loses most of them and
refuses tracebacks. `Reducer` is asked first by our picklers; all other pickling in the program is
as it was. Guarantees:

* No `__init__` of a user's exception runs, unless the class's own `__reduce__` asks for that.
* An exception arrives as its own type. What of it can't be pickled is a `StandIn` that says why,
  and a note names it. Only where its class can't be pickled, or is not known on arrival, is it a
  `RemoteError` that names the class. Its neighbours in the value are not affected.
* A class's own `__reduce__` is obeyed, unless it gives another type, other words, or fails.
* An exception that stands twice in a value arrives as one object, also where it is the cause, a
  member or an attribute of another one. Cycles arrive as cycles. Chains may have any length.

tblib has reducers, too (`tblib.pickling_support`). They are not called, since for no exception do
they keep more: they drop columns, take a chain or a traceback by recursion, and call `__init__` or
`__new__`, so that an exception for which these take other arguments fails. `tests/test_tracebacks`
has a case of each. What is tblib's here is the form of a traceback (`tracebacks`).
"""

from __future__ import annotations

import pickle
from collections import ChainMap
from collections.abc import Callable, Iterator
from copyreg import dispatch_table as registered
from operator import getitem
from types import TracebackType
from typing import Any, TypeAlias
from weakref import ref

from .._fast_typing import NamedTuple
from .._os.thread_unwind import ThreadUnwind
from ..errors import RemoteError, describe, type_name
from . import own_objects
from .exception_parts import (
    About,
    State,
    about,
    bare,
    connect,
    fallback,
    links,
    members_first,
    members_of,
    own_reduction,
    put_together,
    render,
    restore,
    set_state,
    state_of,
    take_apart,
)
from .hints import give_hints, hints_of
from .notes import attributes_of
from .our_ways import KINDS, OUR_WAYS
from .sendable_parts import Attempt, is_sendable, sendable_state, values_of

__all__ = ["Pickler", "Reducer"]

_table = ChainMap(OUR_WAYS, registered)


class Pickler(pickle.Pickler):
    """C pickle for values with exceptions or tracebacks in them."""

    dispatch_table = _table

    def __init__(self, file: Any, buffer_callback: Callable[[Any], Any] | None = None) -> None:
        super().__init__(file, 5, buffer_callback=buffer_callback)
        self._reducer = Reducer()

    def reducer_override(self, obj: Any) -> Any:
        if issubclass(type(obj), KINDS):
            return self._reducer(obj)
        own = own_objects.reduction(obj) if type(obj) in own_objects.own_types else None
        return NotImplemented if own is None else own


class _Node(NamedTuple):
    """An exception, with all that travels of it."""

    exc: BaseException
    said: About
    own: Any = None
    """How its class reduces it; None: by its parts, as follows."""
    state: State | None = None
    hints: tuple[str, ...] = ()
    group: tuple[str | None, tuple[BaseException, ...]] = (None, ())
    """The message, and the members; but for groups None, and none."""

    @classmethod
    def of(cls, exc: BaseException) -> _Node:
        """The node of one all of which can be pickled."""
        if (own := own_reduction(exc)) is not None:
            return cls(exc, about(exc), own)
        return cls(exc, about(exc), None, state_of(exc), hints_of(exc), members_of(exc))

    def neighbours(self) -> Iterator[BaseException]:
        """The exceptions that are next to it in the graph, so that no recursion leads to them."""
        yield from filter(None, links(self.exc))
        yield from members_of(self.exc)[1]
        if self.state is not None:
            for value in values_of(self.state):
                for one in value if type(value) in (list, tuple) else (value,):
                    if isinstance(one, BaseException):
                        yield one


class Reducer:
    """Takes apart the exceptions and tracebacks that one pickling meets.

    `by_value` tells which classes travel by value; the others go by name. With `attempt` what
    can't be pickled of an exception is replaced.
    """

    def __init__(
        self,
        by_value: Callable[[type], bool] = lambda cls: False,
        attempt: Attempt | None = None,
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
        graph, number = self._places[id(obj)]
        node = graph.nodes[number]
        if node.own is None:
            return getitem, (graph, number)
        return node.own if isinstance(node.own, str) else _guarded(node, graph, *node.own)

    def _gather(self, root: BaseException) -> None:
        """Give places to all exceptions that `root` leads to.

        Groups are in a graph of their own: it takes their members to make them, and if one of these
        reduces itself, it may take an exception of the other graph to make that.
        """
        graph, groups = _Graph(self), _Graph(self)
        todo: list[BaseException] = [root]
        while todo:
            exc = todo.pop()
            if id(exc) not in self._places:
                node = _Node.of(exc) if self._attempt is None else self._sendable(exc)
                home = graph if node.group[0] is None else groups
                self._places[id(exc)] = home, home.add(exc, node)
                todo += node.neighbours()

    def _sendable(self, exc: BaseException) -> _Node:
        """The node of one of which some part can't be pickled, perhaps."""
        assert self._attempt is not None
        try:
            self._attempt((self.named(type(exc)), about(exc)))
            own = own_reduction(exc)
            # Exceptions in it may lead back to this one; then there is no end to it.
            if own is not None and is_sendable(own, self._attempt):
                return _Node(exc, about(exc), own)
            said, state = sendable_state(exc, self._attempt)
            return _Node(exc, said, None, state, hints_of(exc), members_of(exc))
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException as error:
            text, why = render(exc), describe(error.__cause__ or error)
            name, summary = type_name(type(exc)), describe(exc)
            instead = RemoteError.in_place_of(name, summary, text, why)
            connect(instead, about(instead)._replace(notes=about(exc).notes), *links(exc))
            return _Node.of(instead)

    def member(self, exc: BaseException, graph: _Graph) -> int | BaseException:
        """A member of a group as its number in the graph, or as itself if it is elsewhere."""
        other, number = self._places[id(exc)]
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

    First all are made, and then filled: whatever an attribute leads to may lead back to them. One
    that reduces itself is made while this is filled, and has no place in the list.
    """

    def __init__(self, reducer: Reducer) -> None:
        # Weak, since that leads here: a circle would keep the exceptions, and with them all that is
        # in the frames of their tracebacks, until the garbage collector comes.
        self._reducer = ref(reducer)
        self._kept: list[BaseException] = []
        self.nodes: list[_Node] = []

    def add(self, exc: BaseException, node: _Node) -> int:
        """Let a node travel for `exc`; return its number."""
        self._kept.append(exc)
        self.nodes.append(node)
        return len(self._kept) - 1

    def __reduce__(self) -> tuple[Any, ...]:
        reducer = self._reducer()
        assert reducer is not None  # it is what pickles this
        heads: list[_Head | None] = []
        bodies: list[_Body] = []
        for number, node in enumerate(self.nodes):
            exc, told, own, state, hints, (message, members) = node
            said = tuple(told)  # plain, as is the state: each class that a pickle names costs time
            if own is None:
                numbers = [reducer.member(member, self) for member in members]
                cls = reducer.named(type(exc))
                heads.append((cls, message, numbers, said, exc.__traceback__))
                assert state is not None
                bodies.append((number, said, tuple(state), hints, *links(exc)))
            else:
                heads.append(None)
                if not isinstance(own, str):  # else it is a global, over there as here
                    bodies.append((exc, said, None, (), *links(exc)))
        bodies.reverse()  # what an exception leads to is filled first: a __setstate__ may use it
        return _make_all, (heads,), bodies, None, None, _fill_all


# What it takes to make an exception: its class, the message and the members if it is a group, what
# is told of it (`About`) and its traceback.
_Head: TypeAlias = (
    "tuple[type[BaseException] | bytes, str | None, list[int | BaseException], Any, Any]"
)
# What it takes to fill it: its number, or itself if it reduces itself; what is told of it; `State`,
# hints, cause and context.
_Body: TypeAlias = "tuple[int | BaseException, Any, Any, tuple[str, ...], Any, Any]"


def _make_all(heads: list[_Head | None]) -> list[BaseException | None]:
    made: dict[int, BaseException | None] = {}
    inner = [[one for one in head[2] if type(one) is int] if head else [] for head in heads]
    for number in members_first(inner):
        head = heads[number]
        made[number] = None if head is None else _make(head, made)
    return [made[number] for number in range(len(heads))]


def _make(head: _Head, made: dict[int, Any]) -> BaseException:
    cls, message, members, told, traceback = head
    try:
        found = pickle.loads(cls) if isinstance(cls, bytes) else cls
        if not issubclass(found, BaseException):
            raise TypeError(f"{type_name(found)} is no class of exceptions")
        exc = bare(found, message, [made[m] if isinstance(m, int) else m for m in members])
    except BaseException as error:
        return fallback(About(*told), describe(error), traceback)
    return BaseException.with_traceback(exc, traceback)


def _fill_all(made: list[Any], bodies: list[_Body]) -> None:
    for which, told, state, hints, cause, context in bodies:
        exc, said = made[which] if isinstance(which, int) else which, About(*told)
        if state is not None and not _is_stand_in(exc, said):
            if wrong := restore(exc, State(*state)):
                said = said._replace(notes=said.notes + wrong)
            if hints:
                give_hints(exc, hints)
        connect(exc, said, cause, context)


# ------------------------------------------------------------------ classes that reduce themselves


def _guarded(
    node: _Node,
    graph: _Graph,
    make: Callable[..., Any],
    args: tuple[Any, ...],
    state: Any = None,
    items: Any = None,
    pairs: Any = None,
    fill: Callable[[Any, Any], object] | None = None,
) -> tuple[Any, ...]:
    """The class's own reduction, with a guard, and with the graph, where all is that it leaves out.

    The graph is in the state: as it leads to the exception, that has to be there already.
    """
    traceback = node.exc.__traceback__
    body = node.said, traceback, state, fill, graph
    return _make_by, (make, args, node.said, traceback), body, items, pairs, _fill_by


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
    said, traceback, state, fill, _ = body
    if _is_stand_in(exc, said):
        return
    notes = list(said.notes)
    if fill is not None:
        try:
            fill(exc, state)
        except BaseException as error:
            notes.append(f"its state could not be set: {describe(error)}")
    elif state is not None:
        notes += set_state(exc, state)
    if notes:  # once more, since a state may bring another `__dict__`
        attributes_of(exc)["__notes__"] = notes
    BaseException.with_traceback(exc, traceback)


def _is_stand_in(exc: object, said: About) -> bool:
    """Whether `exc` is of another type than what was sent."""
    return type_name(type(exc)) != said.type_name
