"""Exceptions across processes.

::

    exception ── pack_error ──> bytes ── unpack_error ──> exception ── for_caller ──> what is raised

An exception is a graph: causes, contexts, members of groups, exceptions kept as attributes. It
travels as a list of nodes with numbers for the edges, each node pickled by itself, so that one
that can't travel degrades alone, and chains of any length need no recursion. Guarantees:

* `unpack_error` never raises, and returns an exception of the type that was packed or a
  `RemoteError` that names it. `pack_error` raises nothing but ``KeyboardInterrupt``.
* No ``__init__`` of a user's exception runs, unless the class's own ``__reduce__`` asks for that.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import BuiltinFunctionType, FunctionType, TracebackType
from types import GetSetDescriptorType as GetSet
from types import MemberDescriptorType as Member
from typing import Any, NamedTuple

from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from ..errors import RemoteError, describe, type_name
from . import codec

__all__ = ["for_caller", "pack_error", "unpack_error"]


def for_caller(exc: BaseException) -> BaseException:
    """Return what the caller of a remote method is to be given in place of ``exc``.

    That is ``exc``, unless it would end something over here, as do ``StopIteration``,
    ``StopAsyncIteration`` and whatever is no ``Exception`` (``SystemExit``, ``CancelledError``,
    ``BaseExceptionGroup`` ...): these are the ``__cause__`` of a `RemoteError`.

    >>> for_caller(SystemExit(3))
    RemoteError('the remote method raised SystemExit: 3')
    """
    if isinstance(exc, Exception) and not isinstance(exc, (StopIteration, StopAsyncIteration)):
        return exc
    return RemoteError.around(exc)


def pack_error(exc: BaseException) -> bytes:
    """Turn an exception, with everything that hangs on it, into bytes for `unpack_error`."""
    try:
        nodes = _Packer(exc).nodes
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException as error:  # a class that misuses the names which all exceptions have
        words = type_name(type(exc)), describe(exc), _render(exc), describe(error)
        nodes = _Packer(RemoteError.in_place_of(*words)).nodes
    return pickle.dumps(nodes, 5)


def unpack_error(data: bytes | bytearray | memoryview) -> BaseException:
    """Undo `pack_error`. Never raises.

    What can't be rebuilt is a `RemoteError`, whatever the reason: no such class here, another
    type that came out, other bytes, a ``__setstate__`` that raises ``SystemExit``. (A Ctrl-C that
    arrives meanwhile counts as one, since nothing tells it from the exception's own.)

    >>> unpack_error(pack_error(KeyError("k")))
    KeyError('k')
    >>> unpack_error(b"")
    RemoteError("an exception that can't be decoded: EOFError: Ran out of input")
    """
    try:
        return _Unpacker(pickle.loads(data)).root()
    except BaseException as error:
        return RemoteError(f"an exception that can't be decoded: {describe(error)}")


# ------------------------------------------------------------------ one exception by itself

_BASE = vars(BaseException)  # its descriptors reach past what the class overrides
_LINKS = "__cause__", "__context__"


class _State(NamedTuple):
    cls: type[BaseException]
    whole: BaseException | None  # of a class with its own ``__reduce__``, instead of the rest
    args: tuple[Any, ...] = ()
    attributes: Any = None  # __dict__, or what its own __getstate__ gives
    fields: dict[str, Any] | None = None  # slots, and what built-in types keep in C: OSError.errno
    message: str | None = None  # of a group


class _Ref(NamedTuple):
    """In place of an exception, or a sequence of them, among the arguments and attributes."""

    sequence: type | None
    numbers: list[int]


def _defines(cls: type, name: str) -> bool:
    owner = next((base for base in cls.__mro__ if name in vars(base)), object)
    return owner.__module__ != "builtins"


def _reduces_itself(cls: type) -> bool:
    registered = copyreg.dispatch_table.get(cls)
    # tblib registers exception classes when its users ask for it; it would call `__init__`.
    by_tblib = str(getattr(registered, "__module__", "")).startswith("tblib.")
    own = _defines(cls, "__reduce__") or _defines(cls, "__reduce_ex__")
    return own or (registered is not None and not by_tblib)


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


def _rebuild(state: _State, members: list[BaseException]) -> BaseException:
    if state.whole is not None:
        return state.whole
    # The nearest __new__ written in C: a class's own, like its __init__, may want other arguments.
    # `__base__` and not the MRO, since C accepts only the one that made the memory layout.
    base: Any = state.cls
    while not isinstance(vars(base).get("__new__"), BuiltinFunctionType):
        base = base.__base__
    group = () if state.message is None else (state.message, members)
    exc: BaseException = base.__new__(state.cls, *group)
    _BASE["args"].__set__(exc, state.args)
    fields = _fields(state.cls)
    for name, value in (state.fields or {}).items():
        fields[name][0].__set__(exc, value)
    if _defines(state.cls, "__setstate__"):
        exc.__setstate__(state.attributes)
        return exc
    # A __getstate__ may give None, a dict, or dict and slots, as everywhere in Python.
    attributes = state.attributes
    attributes, slots = attributes if isinstance(attributes, tuple) else (attributes, None)
    vars(exc).update(attributes or {})
    for name, value in (slots or {}).items():
        object.__setattr__(exc, name, value)
    return exc


# ------------------------------------------------------------------ the graph


class _Place(NamedTuple):
    """What a traceback shows of a function's code. Pickled once for all its entries."""

    co_filename: str
    co_name: str
    co_qualname: str
    co_firstlineno: int
    co_linetable: bytes  # lines and columns; tblib has no columns, and puts ``^^^^`` anywhere


_Entry = tuple[_Place, str, int, int]  # of a traceback: code, module, instruction, line


class _Node(NamedTuple):
    payload: tuple[bytes, list[bytearray]] | None  # a pickled _State; None: only text travels
    links: list[int | None]  # cause, context, then the members of a group, as numbers of nodes
    suppress: bool
    notes: list[str]
    entries: list[_Entry]
    type_name: str
    summary: str
    text: str  # the traceback as text, only where ``payload`` is None
    why: str  # why it is None


class _Packer:
    """Numbers the exceptions as it meets them, in a loop; ``nodes`` is the result."""

    def __init__(self, root: BaseException) -> None:
        self._numbers: dict[int, int] = {}
        self._met: list[BaseException] = []  # also keeps them alive, so that ids stay unique
        self._places: dict[int, _Place] = {}
        self._number(root)
        self.nodes = [self._node(exc) for exc in self._met]  # which grows meanwhile

    def _number(self, exc: BaseException) -> int:
        number = self._numbers.setdefault(id(exc), len(self._met))
        if number == len(self._met):
            self._met.append(exc)
        return number

    def _node(self, exc: BaseException) -> _Node:
        notes = getattr(exc, "__notes__", [])
        if type(notes) is not list or not all(type(note) is str for note in notes):
            notes = []  # something else by that name is an attribute like any other
        payload, text, why = None, "", ""
        try:
            packed, buffers = codec.dumps(self._state(exc, notes), "the exception")
            payload = packed, [bytearray(buffer) for buffer in buffers]
        except (KeyboardInterrupt, ThreadUnwind):
            raise
        except BaseException as error:
            text, why = _render(exc), describe(error.__cause__ or error)
        members = exc.exceptions if isinstance(exc, BaseExceptionGroup) else ()
        linked = (*(_BASE[name].__get__(exc) for name in _LINKS), *members)
        links = [None if other is None else self._number(other) for other in linked]
        rest = exc.__suppress_context__, notes, list(self._entries(exc.__traceback__))
        return _Node(payload, links, *rest, type_name(type(exc)), describe(exc), text, why)

    def _state(self, exc: BaseException, notes: list[str]) -> _State:
        cls = type(exc)
        if _reduces_itself(cls):
            return _State(cls, exc)
        attributes: Any = dict(vars(exc))
        decides = _defines(cls, "__getstate__")  # which slots travel, too
        if decides:
            attributes = exc.__getstate__()
        elif not _defines(cls, "__setstate__"):
            attributes = {name: self._refer(value) for name, value in attributes.items()}
        if notes and type(attributes) is dict:
            attributes.pop("__notes__", None)
        fields = {}
        for name, (descriptor, in_c) in _fields(cls).items():
            if decides and not in_c:
                continue
            with suppress(AttributeError):  # an empty slot
                fields[name] = descriptor.__get__(exc)
            # C shows as None what is not set; setting None would change str(OSError).
            if in_c and fields.get(name) is None:
                fields.pop(name, None)
        args = tuple(map(self._refer, _BASE["args"].__get__(exc)))
        message = exc.message if isinstance(exc, BaseExceptionGroup) else None
        return _State(cls, None, args, attributes, fields, message)

    def _refer(self, value: object) -> object:
        items: Any = value if type(value) in (list, tuple) and value else (value,)
        if not all(isinstance(item, BaseException) for item in items):
            return value
        sequence = None if items is not value else type(value)
        return _Ref(sequence, [self._number(item) for item in items])

    def _entries(self, tb: TracebackType | None) -> Iterator[_Entry]:
        while tb is not None:
            frame, code = tb.tb_frame, tb.tb_frame.f_code
            if (place := self._places.get(id(code))) is None:
                place = _Place(*(getattr(code, name) for name in _Place._fields))
                self._places[id(code)] = place
            module = str(frame.f_globals.get("__name__", "?"))
            # Some instructions belong to no line.
            yield place, module, tb.tb_lasti, tb.tb_lineno or place.co_firstlineno
            tb = tb.tb_next


class _Unpacker:
    """First makes every exception, members before their group; then connects them."""

    def __init__(self, nodes: list[_Node]) -> None:
        self._nodes = nodes
        self._made: dict[int, BaseException] = {}
        self._stubs: dict[tuple[_Place, str], Callable[[], Any]] = {}

    def root(self) -> BaseException:
        stack = list(range(len(self._nodes)))
        while stack:
            node = self._nodes[stack[-1]]
            waiting = [n for n in node.links[2:] if n is not None and n not in self._made]
            stack += waiting
            if not waiting and (number := stack.pop()) not in self._made:
                self._made[number] = self._make(node)
        for number, exc in self._made.items():
            self._connect(exc, self._nodes[number])
        return self._made[0]

    def _make(self, node: _Node) -> BaseException:
        why, tb = node.why, self._traceback(node)
        try:
            if node.payload is not None:
                state: _State = codec.loads(*node.payload)
                exc = _rebuild(state, [self._made[n] for n in node.links[2:] if n is not None])
                if type(exc) is state.cls:
                    return BaseException.with_traceback(exc, tb)
                why = f"it came out as {type_name(type(exc))}"
        except BaseException as error:
            why = describe(error)
        text = node.text or _listing(tb) + "\n".join([node.summary, *node.notes])
        return RemoteError.in_place_of(node.type_name, node.summary, text, why)

    def _connect(self, exc: BaseException, node: _Node) -> None:
        _BASE["args"].__set__(exc, tuple(map(self._resolve, _BASE["args"].__get__(exc))))
        vars(exc).update({name: self._resolve(value) for name, value in vars(exc).items()})
        if node.notes:
            vars(exc)["__notes__"] = node.notes
        for name, number in zip(_LINKS, node.links, strict=False):
            _BASE[name].__set__(exc, None if number is None else self._made[number])
        _BASE["__suppress_context__"].__set__(exc, node.suppress)  # after the cause, which sets it

    def _resolve(self, value: object) -> object:
        if type(value) is not _Ref:
            return value
        found = [self._made[number] for number in value.numbers]
        return value.sequence(found) if value.sequence else found[0]

    def _traceback(self, node: _Node) -> TracebackType | None:
        tb = None
        for place, module, lasti, lineno in reversed(node.entries):
            key = place, module
            func = self._stubs.get(key) or self._stubs.setdefault(key, _stub(*key))
            # The frame of a generator that never ran. Nothing is executed to get it, and it has
            # no `f_back`, by which it would keep all the callers' variables alive.
            tb = TracebackType(tb, func().gi_frame, lasti, lineno)
        return tb


def _render(exc: BaseException) -> str:
    with import_lock:
        import traceback  # for a faster start-up: what can be rebuilt does without

    try:  # without the cause and the context: they travel by themselves
        return "".join(traceback.format_exception(exc, chain=False))
    except BaseException:  # groups nested too deeply for it, or a hostile attribute
        return describe(exc)


def _listing(tb: TracebackType | None) -> str:
    with import_lock:
        import traceback  # for a faster start-up, as above

    return "".join(["Traceback (most recent call last):\n", *traceback.format_tb(tb)]) if tb else ""


def _nothing() -> Iterator[None]:
    yield


def _stub(place: _Place, module: str) -> Callable[[], Any]:
    code = _nothing.__code__
    # As much code as the table covers, in units of two bytes, though only the first copy is ever
    # run: with less, tracing in 3.11 writes past the end of an array.
    units = sum((byte & 7) + 1 for byte in place.co_linetable if byte & 128)
    copies = units * 2 // len(code.co_code) + 1
    code = code.replace(co_code=code.co_code * copies, **place._asdict())
    return FunctionType(code, {"__name__": module, "__file__": place.co_filename})
