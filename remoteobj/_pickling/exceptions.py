"""Exceptions across processes: one that was raised there is raised here.

::

    exception ── pack_error ──> bytes ── unpack_error ──> exception ── for_caller ──> what is raised

An exception is a graph: causes, contexts, members of groups, exceptions kept as attributes. It
travels as a list of nodes with numbers for the edges, each node pickled by itself, so that an
exception that can't travel degrades alone, and chains of any length need no recursion. What a
node holds are the parts of `_pickling.exception_parts`. Guarantees:

* `unpack_error` never raises, and returns an exception of the type that was packed or a
  `RemoteError` that names it; never a `ThreadUnwind`, by which an actor ends.
  `pack_error` raises nothing but `KeyboardInterrupt`.
* No `__init__` of a user's exception runs, unless the class's own `__reduce__` asks for that.
"""

from __future__ import annotations

import pickle
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

from .._os.thread_unwind import ThreadUnwind
from ..errors import RemoteError, describe, type_name
from . import codec
from .exception_parts import (
    About,
    State,
    about,
    bare,
    connect,
    defines,
    fallback,
    links,
    members_first,
    members_of,
    own_reduction,
    put_together,
    reduces_itself,
    render,
    restore,
    state_of,
    take_apart,
)

__all__ = ["for_caller", "pack_error", "unpack_error", "without_our_frames"]

_OUR_PACKAGE = __name__.partition(".")[0]

_ARGS = vars(BaseException)["args"]  # the descriptor: a class may have something else by that name


def for_caller(exc: BaseException) -> BaseException:
    """Return what the caller of a remote method is to be given in place of `exc`.

    That is `exc`, unless it would end something over here, as do `StopIteration`,
    `StopAsyncIteration` and whatever is no `Exception` (`SystemExit`, `CancelledError`,
    `BaseExceptionGroup` ...): these are the `__cause__` of a `RemoteError`.

    >>> for_caller(SystemExit(3))
    RemoteError('the remote method raised SystemExit: 3')
    """
    if isinstance(exc, Exception) and not isinstance(exc, (StopIteration, StopAsyncIteration)):
        return exc
    return RemoteError.around(exc)


def without_our_frames(exc: BaseException) -> BaseException:
    """Return the exception, with a traceback that begins where our code has called other code.

    Nobody cares how we got there; and our frames lead to what must not live on with an exception.
    """
    traceback = exc.__traceback__
    while traceback is not None and _is_ours(traceback.tb_frame):
        traceback = traceback.tb_next
    try:
        return exc.with_traceback(traceback)
    finally:
        del exc, traceback


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).partition(".")[0] == _OUR_PACKAGE


def pack_error(exc: BaseException) -> bytes:
    """Turn an exception, with everything that hangs on it, into bytes for `unpack_error`."""
    try:
        nodes = _Packer(exc).nodes
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException as error:  # a class that misuses the names which all exceptions have
        words = type_name(type(exc)), describe(exc), render(exc), describe(error)
        nodes = _Packer(RemoteError.in_place_of(*words)).nodes
    return pickle.dumps([(tuple(node.about), *node[1:]) for node in nodes], 5)


def unpack_error(data: bytes | bytearray | memoryview) -> BaseException:
    """Undo `pack_error`. Never raises.

    What can't be rebuilt is a `RemoteError`, whatever the reason: no such class here, another
    type that came out, other bytes, a `__setstate__` that raises `SystemExit`. (A Ctrl-C that
    arrives meanwhile counts as one, since nothing tells it from the exception's own.)

    >>> unpack_error(pack_error(KeyError("k")))
    KeyError('k')
    >>> unpack_error(b"")
    RemoteError("an exception that can't be decoded: EOFError: Ran out of input")
    """
    try:
        nodes = [_Node(About(*said), *rest) for said, *rest in pickle.loads(data)]
        return _Unpacker(nodes).root()
    except BaseException as error:
        return RemoteError(f"an exception that can't be decoded: {describe(error)}")


# ------------------------------------------------------------------ the graph


class _Ref(NamedTuple):
    """In place of an exception, or a sequence of them, among the arguments and attributes."""

    sequence: type | None
    numbers: list[int]


class _Own:
    """Comes out of its pickle as what the exception's own reduction makes."""

    def __init__(self, reduction: tuple[Any, ...]) -> None:
        self._reduction = reduction

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduction


# What a node's payload holds: the class; the exception itself, if its class says how to pickle it,
# or None; else the message of a group, and the parts of a `State`. A plain tuple, as are the nodes
# in their pickle: to name a class in it costs a twentieth of the whole.
_Content: TypeAlias = "tuple[type[BaseException], Any, str | None, tuple[Any, ...], Any, Any]"


class _Node(NamedTuple):
    about: About
    payload: tuple[bytes, list[bytearray]] | None  # _Content; None: only text travels
    links: list[int | None]  # cause and context, as numbers of nodes
    members: list[int]  # of a group
    rows: Any  # of the traceback
    text: str  # the traceback as text, only where `payload` is None
    why: str  # why it is None


class _Packer:
    """Numbers the exceptions as it meets them, in a loop; `nodes` is the result."""

    def __init__(self, root: BaseException) -> None:
        self._numbers: dict[int, int] = {}
        self._met: list[BaseException] = []  # also keeps them alive, so that ids stay unique
        self._number(root)
        self.nodes = [self._node(exc) for exc in self._met]  # which grows meanwhile

    def _number(self, exc: BaseException) -> int:
        number = self._numbers.setdefault(id(exc), len(self._met))
        if number == len(self._met):
            self._met.append(exc)
        return number

    def _node(self, exc: BaseException) -> _Node:
        said = about(exc)
        payload, text, why = None, "", ""
        try:
            packed, buffers = codec.dumps(self._content(exc), "the exception")
            payload = packed, [bytearray(buffer) for buffer in buffers]
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException as error:
            text, why = render(exc), describe(error.__cause__ or error)
        linked = [None if other is None else self._number(other) for other in links(exc)]
        members = [self._number(member) for member in members_of(exc)[1]]
        rows = take_apart(exc.__traceback__)
        return _Node(said, payload, linked, members, rows, text, why)

    def _content(self, exc: BaseException) -> _Content:
        cls = type(exc)
        if reduces_itself(cls):
            own = own_reduction(exc)
            return cls, exc if isinstance(own, str) else _Own(own), None, (), None, None
        args, attributes, fields = state_of(exc)
        if type(attributes) is dict and not defines(cls, "__setstate__"):
            attributes = {name: self._refer(value) for name, value in attributes.items()}
        args = tuple(map(self._refer, args))
        return cls, None, members_of(exc)[0], args, attributes, fields

    def _refer(self, value: object) -> object:
        items: Any = value if type(value) in (list, tuple) and value else (value,)
        if not all(isinstance(item, BaseException) for item in items):
            return value
        sequence = None if items is not value else type(value)
        return _Ref(sequence, [self._number(item) for item in items])


class _Unpacker:
    """First makes every exception, members before their group; then connects them."""

    def __init__(self, nodes: list[_Node]) -> None:
        self._nodes = nodes
        self._made: dict[int, BaseException] = {}

    def root(self) -> BaseException:
        for number in members_first([node.members for node in self._nodes]):
            self._made[number] = self._make(self._nodes[number])
        for number, exc in self._made.items():
            self._connect(exc, self._nodes[number])
        return self._made[0]

    def _make(self, node: _Node) -> BaseException:
        why, traceback = node.why, put_together(node.rows)
        try:
            if node.payload is not None:
                content: _Content = codec.loads(*node.payload)
                exc = self._rebuild(content, node.members)
                if isinstance(exc, ThreadUnwind):
                    why = "it would end the thread in which it is raised"
                elif type(exc) is content[0]:
                    return BaseException.with_traceback(exc, traceback)
                else:
                    why = f"it came out as {type_name(type(exc))}"
        except BaseException as error:
            why = describe(error)
        return fallback(node.about, why, traceback, node.text)

    def _rebuild(self, content: _Content, members: list[int]) -> Any:
        cls, whole, message, args, attributes, fields = content
        if whole is not None:
            return whole
        exc = bare(cls, message, [self._made[number] for number in members])
        restore(exc, State(args, attributes, fields))
        return exc

    def _connect(self, exc: BaseException, node: _Node) -> None:
        _ARGS.__set__(exc, tuple(map(self._resolve, _ARGS.__get__(exc))))
        vars(exc).update({name: self._resolve(value) for name, value in vars(exc).items()})
        cause, context = (None if n is None else self._made[n] for n in node.links)
        connect(exc, node.about, cause, context)

    def _resolve(self, value: object) -> object:
        if type(value) is not _Ref:
            return value
        found = [self._made[number] for number in value.numbers]
        return value.sequence(found) if value.sequence else found[0]
