"""Values as bytes: C pickle first, cloudpickle where that can't.

::

    value ── dumps ──> payload (bytes) + buffers (large arrays, not copied) ── loads ──> value

    C pickle ─ fails, or names something that the receiver has not ─> `_pickling.cloudpickling`
                                                                          └ fails ─> UnsendableError

Here belongs what it takes to move one value. Not here: frames and connections (`_wire`), how an
exception in a value keeps all it has (`reducers`), exceptions that are raised (`exceptions`).
"""

from __future__ import annotations

import io
import operator
import pickle
from collections.abc import Callable, Sequence
from copyreg import dispatch_table as registered
from functools import cache, partial
from typing import Any, Final, TypeAlias

from .._os.lazy_import import import_lock
from .._os.thread_unwind import ThreadUnwind
from . import own_objects
from .numpy_values import reducer_of_numpy
from .our_ways import KINDS, OUR_WAYS
from .out_of_band import SCALARS, extract_large, needs_no_look

__all__ = [
    "SCALARS",
    "PART",
    "Buffers",
    "HoldsPartError",
    "dumps",
    "dumps_call",
    "dumps_for_import",
    "dumps_for_start",
    "is_plain",
    "loads",
    "pickled",
    "unpickled",
]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails

Buffers = Sequence[Any]
"""Contiguous bytes-like objects, in the order in which `dumps` gave them out."""

# A buffer of its own costs a system call's scatter entry and a separate allocation on the other
# side; below this size copying it into the payload is cheaper.
OUT_OF_BAND: Final = 32 * 1024

PART: Final = "part_of_whole"
"""The name of the function by which the face pickles a part of a remote object."""
_PART_NAME: Final = PART.encode()

pickled, unpickled = pickle.dumps, pickle.loads


def dumps(
    value: object, what: str = "value", writable: bool = True
) -> tuple[bytes, list[memoryview]]:
    """Pickle ``value``; return the payload, and the large buffers, which stay outside of it.

    With ``writable=False`` all buffers do, so that the receiver can make each read-only.

    ``what`` is how an error names the value. The buffers are views of the value's own memory:
    they show changes made until they are written. Raises `UnsendableError` whatever the value's
    own methods raise, ``SystemExit`` too; only ``KeyboardInterrupt`` goes through.

    >>> payload, buffers = dumps({"a": 1})
    >>> loads(payload, buffers)
    {'a': 1}
    >>> dumps([open], "args[0]")[1]
    []
    >>> import threading
    >>> dumps([1, {"lock": threading.Lock()}], "args[0]")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    remoteobj.errors.UnsendableError: args[0][1]['lock'] can't be sent to another process: ...
    """
    if type(value) in SCALARS:
        return pickled(value, 5), []
    return _dumps(extract_large(value), what, writable)


def _dumps(value: object, what: str, writable: bool) -> tuple[bytes, list[memoryview]]:
    """`dumps`, of what has nothing big in it that would be copied."""
    try:
        try:
            payload, buffers = _without_exceptions(value, writable)
        except _HoldsException:
            payload, buffers = _with_exceptions(value, writable)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:
        return _dumps_by_value(value, what, writable)
    # `_main__` finds both names of the main module, which the receiver may not have. Connections
    # do pickle, but as the bare number of a descriptor, which means another file over there.
    find = payload.find
    if find(b"_main__") >= 0 or find(b"multiprocessing.connection") >= 0:
        return _dumps_by_value(value, what, writable)
    return payload, buffers


class HoldsPartError(Exception):
    """A part of a remote object stands among the operands of a call: whoever makes the call says
    what is to travel for it, in a chain that begins with the step `parts`."""


def dumps_for_import(value: object, what: str) -> tuple[bytes, list[memoryview]]:
    """The same for a process that has imported the script: it finds by name what is in that."""
    payload, buffers = _by_name(value, b"multiprocessing.connection")
    if payload:
        return payload, buffers
    kept, collect = _collector(True)
    return _by_value().dumps_for_import(value, what, collect), kept


def dumps_for_start(value: object, what: str) -> tuple[bytes, list[memoryview], list[bytes] | None]:
    """The same for a process that is started anew, and has nothing of ``__main__`` yet.

    Gives also pickles to be loaded after the value, of what it may lead to; None if there is
    nothing of ``__main__`` in it.
    """
    payload, buffers = _by_name(value, b"multiprocessing.connection", b"_main__")
    if payload:
        return payload, buffers, None
    kept, collect = _collector(True)
    payload, more = _by_value().dumps_for_start(value, what, collect)
    return payload, kept, more


def _by_name(value: object, *unwanted: bytes) -> tuple[bytes, list[memoryview]]:
    """By C pickle; no payload if that fails, or names what it must not."""
    try:
        try:
            payload, buffers = _without_exceptions(value, True)
        except _HoldsException:
            payload, buffers = _with_exceptions(value, True)
    except (KeyboardInterrupt, ThreadUnwind):
        raise
    except BaseException:
        return b"", []
    return (b"", []) if any(one in payload for one in unwanted) else (payload, buffers)


def dumps_call(steps: tuple[Any, ...], writable: bool = True) -> tuple[bytes, list[memoryview]]:
    """Pickle the steps of a chain, as `dumps` pickles a value: they travel as a list.

    But most chains call a method with a few arguments. Of these just the method's name and the
    arguments travel, as a tuple, which takes two thirds of the time, and less if they are plain.

    >>> loads(dumps_call((("attr", "add"), ("call", (1,), {})))[0])
    ('add', (1,))
    >>> loads(dumps_call((("attr", "add"), ("call", (1,), {"to": 2})))[0])
    [('attr', 'add'), ('call', (1,), {'to': 2})]

    Raises:
        HoldsPartError: see there. It is found in what was pickled, since to look for it in the
            operands would take longer than to pickle them.
    """
    chain: Any = None
    dump: Callable[..., tuple[bytes, list[memoryview]]] = dumps
    if len(steps) == 2 and steps[1][0] == "call" and steps[0][0] == "attr":
        _, args, kwargs = steps[1]
        if not kwargs:
            chain = steps[0][1], args
            for one in args:
                if type(one) not in SCALARS:
                    break
            else:
                return pickled(chain, 5), []
            if needs_no_look(map(type, args)):
                dump = _dumps
    payload, buffers = dump(chain or list(steps), "call", writable)
    if payload.find(_PART_NAME) >= 0 and steps[0][0] != "parts":
        raise HoldsPartError
    return payload, buffers


def loads(payload: bytes | bytearray | memoryview, buffers: Buffers = ()) -> Any:
    """Undo `dumps`. Raises whatever the unpickling raises, be it ``SystemExit``.

    Arrays use the memory of ``buffers``, and are as writable as these are.
    """
    return unpickled(payload, buffers=buffers)


_NAMES_A_CLASS: Final = b"\x82\x83\x84\x93"
"""The operations by which `dumps` names classes and functions."""
_SHORT: Final = 4096


def is_plain(payload: bytes | bytearray | memoryview) -> bool:
    """Whether it is sure, and quickly told, that to undo `dumps` runs no code of anybody's: that
    there are but numbers, texts, bytes and containers of these in it, and not many.

    >>> is_plain(dumps({"a": [1, 2.5, None]})[0]), is_plain(dumps({"a": open})[0])
    (True, False)
    """
    size = len(payload)
    return size <= _SHORT and len(bytes(payload).translate(None, _NAMES_A_CLASS)) == size


# ------------------------------------------------------------------ C pickle, and exceptions
#
# `pickle.dumps` has no hook by which an exception in the value could be reduced in another way, and
# a hook written in Python would cost more than the pickling of a small object. So C pickle is given
# a table of reducers, all written in C, which for exceptions and tracebacks stop the pickling; the
# values that hold them are then pickled by `_pickling.reducers.Pickler`.


class _HoldsException(BaseException):
    """The value has to be pickled by `_with_exceptions`."""


class _Table(dict[type, Callable[[Any], Any]]):
    """Class → reducer: ours, the one registered in `copyreg`, or the object's own `__reduce_ex__`.

    C pickle looks up the class of each object that is no plain value. A `KeyError` tells it that
    the object is a class itself.
    """

    SIZE = 1000
    own = staticmethod(operator.methodcaller("__reduce_ex__", 5))

    def __init__(self) -> None:
        self.registered = dict(registered)

    def __missing__(self, cls: type) -> Callable[[Any], Any]:
        reducer = _stop if issubclass(cls, KINDS) else OUR_WAYS.get(cls) or registered.get(cls)
        reducer = reducer or reducer_of_numpy(cls)
        if reducer is None:
            if issubclass(cls, type):
                raise KeyError(cls)
            reducer = self.own
        if cls in own_objects.own_types:
            reducer = partial(_reduce_own, reducer)
        if "<locals>" not in cls.__qualname__:  # a class in the table stays alive
            if len(self) >= self.SIZE:
                self.clear()
            self[cls] = reducer
        return reducer

    def renew(self) -> None:
        self.registered = dict(registered)
        self.clear()


def _stop(obj: object) -> Any:
    raise _HoldsException


def _reduce_own(otherwise: Callable[[Any], Any], obj: object) -> Any:
    return own_objects.reduction(obj) or otherwise(obj)


_table = _Table()
own_objects.watchers.append(lambda cls: _table.pop(cls, None))


class _TablePickler(pickle.Pickler):
    dispatch_table = _table


class _Chunks(list[bytes]):
    write = list.append


class _Buffers(list[memoryview]):
    __slots__ = ("writable",)
    writable: bool

    def keep_in_band(self, buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()  # never fails: pickle itself refuses buffers that are not contiguous
        if self.writable and raw.nbytes < OUT_OF_BAND:
            return True
        self.append(raw)
        return False


# A pickler with what it writes to. To make one takes longer than to pickle a small value, so they
# are used again. A kit is in the list only while nobody uses it: whatever is interrupted, or calls
# itself, or runs in two threads, takes another one.
_Kit: TypeAlias = "tuple[_TablePickler, _Chunks, _Buffers]"
_kits: list[_Kit] = []
_SMALL: Final = 512
"""Bytes of a payload up to which the pickler's memo has grown little. To clear a memo takes time by
its size, and it does not shrink by that; above this size, a new one takes less."""
_KEPT: Final = 16 * 1024
"""Bytes of a payload up to which its kit is kept: the pickler's output does not shrink again."""


def _new_kit() -> _Kit:
    chunks, buffers = _Chunks(), _Buffers()
    return _TablePickler(chunks, 5, buffer_callback=buffers.keep_in_band), chunks, buffers


def _without_exceptions(value: object, writable: bool) -> tuple[bytes, list[memoryview]]:
    """Raise `_HoldsException` if there are exceptions or tracebacks in the value."""
    if registered != _table.registered:
        _table.renew()
    try:
        kit = _kits.pop()
    except IndexError:
        kit = _new_kit()
    pickler, chunks, found = kit
    found.writable = writable
    pickler.dump(value)
    payload, buffers = b"".join(chunks), []
    if found:
        buffers = list(found)
        found.clear()
    if len(payload) <= _KEPT:
        if len(payload) <= _SMALL:
            pickler.clear_memo()
        else:
            pickler.memo = {}
        chunks.clear()
        _kits.append(kit)
    return payload, buffers


def _with_exceptions(value: object, writable: bool) -> tuple[bytes, list[memoryview]]:
    buffers = _Buffers()
    buffers.writable = writable
    with io.BytesIO() as file:
        _reducers().Pickler(file, buffers.keep_in_band).dump(value)
        return file.getvalue(), buffers


def _dumps_by_value(value: object, what: str, writable: bool) -> tuple[bytes, list[memoryview]]:
    buffers, collect = _collector(writable)
    return _by_value().dumps(value, what, collect), buffers


def _collector(writable: bool) -> tuple[_Buffers, Callable[[], Any]]:
    """The buffers of the last of several picklings, and what each begins with."""
    buffers = _Buffers()
    buffers.writable = writable

    def collect() -> Callable[[pickle.PickleBuffer], bool]:
        buffers.clear()
        return buffers.keep_in_band

    return buffers, collect


@cache
def _reducers() -> Any:
    with import_lock:
        from . import reducers as module  # for a faster start-up: few values hold exceptions

    return module


@cache
def _by_value() -> Any:
    with import_lock:
        from . import cloudpickling as module  # for a faster start-up: most of it is cloudpickle

    return module
