"""What is in the file of a record, as it is read after the death of its actor.

To read it unpickles nothing. Torn bytes at its end are what its actor was killed in the midst of.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickletools
import stat
from collections.abc import Sequence
from typing import Any, Final

from ._actor.record_entries import (
    BEFORE_STATE,
    BEGIN,
    CLOSE,
    CUT,
    END,
    FORMAT,
    HEAD,
    MADE,
    NEXT,
    STATE,
    TOO_LARGE,
    Begin,
    End,
    entries_of,
)
from ._fast_typing import NamedTuple
from ._os.records import Part
from ._pickling.codec import is_plain, loads
from ._protocol.descriptions import describe_request
from ._protocol.messages import Bytes, Kind

__all__ = ["Made", "Outcome", "Record", "Request", "brief"]

KINDS: Final = {
    Kind.CALL: "call",
    Kind.CAST: "cast",
    NEXT: "next",
    Kind.SEND: "send",
    Kind.RAISE: "throw",
    CLOSE: "close",
}
OUTCOMES: Final = {
    Kind.VALUE: "value",
    Kind.RETURNED_SELF: "itself",
    Kind.ERROR: "error",
    Kind.STREAM: "stream",
    Kind.ITEM: "item",
    Kind.END: "end",
    NEXT: "done",
}
LONGEST: Final = 80


def brief(value: object) -> str:
    """The repr of a value, or its beginning; where that fails, its type."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}, whose repr failed>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


_TYPES: Final = {
    "EMPTY_LIST": "list",
    "EMPTY_DICT": "dict",
    "EMPTY_SET": "set",
    "MARK": "tuple",
    "BINUNICODE": "str",
    "BINBYTES": "bytes",
    "BYTEARRAY8": "bytearray",
}


def _type_in(payload: Bytes) -> str:
    """The type of a value and a comma, as far as the beginning of its pickle tells it.

    >>> import pickle
    >>> _type_in(pickle.dumps(["a"] * 100)[:50]), _type_in(pickle.dumps(Outcome)[:50])
    ('list, ', 'Outcome, ')
    """
    names: list[str] = []
    with contextlib.suppress(Exception):  # it is cut off
        for opcode, argument, _ in pickletools.genops(bytes(payload)):
            if opcode.name in _TYPES:
                return f"{_TYPES[opcode.name]}, "
            if opcode.name == "STACK_GLOBAL":
                return f"{names[-1]}, " if names[-1][:1].isupper() else ""
            names += [argument] if isinstance(argument, str) else []
    return ""


class Outcome(NamedTuple):
    """What came of a request."""

    kind: str
    """`value`, `error`, `stream`, `item`, `end`; `itself`, for the actor's own object; `done` for
    what has no answer."""
    text: str
    """Of an error its type and message; of a plain value its repr; else how large it is."""
    end: End
    """As it was recorded."""

    @classmethod
    def of(cls, end: End) -> Outcome:
        """That of an entry."""
        kind = OUTCOMES.get(end.kind, f"kind {end.kind}")
        if end.kind == Kind.ERROR:
            text = bytes(end.payload).decode(errors="replace")
        elif not end.size:
            text = ""
        elif end.whole and not end.buffers and is_plain(end.payload):
            text = brief(loads(end.payload))
        else:
            text = f"{_type_in(end.payload)}{end.size:,} bytes"
        return cls(kind, text, end)

    def __str__(self) -> str:
        """As it is printed.

        >>> print(Outcome.of(End(1, Kind.ERROR, payload=b"KeyError: 'k'")))
        raised KeyError: 'k'
        """
        if self.kind == "error":
            return f"raised {self.text}"
        if self.kind in ("value", "item"):
            return self.text
        return self.kind


class Request(NamedTuple):
    """One request, or step of a stream, of a record."""

    number: int
    """In the order in which they began, from 1 on; 0: the making of the object."""
    kind: str
    """`make`, `call`, `cast`; of a stream `next`, `send`, `throw`, `close`."""
    time: float
    """When it began, by `time.time()`."""
    caller: str
    """`owner`, `actor` and a name, or `connection` and a number."""
    stream: int
    """The number of the call whose stream it is about; 0: it is about none."""
    call: str
    """What it calls, without its arguments."""
    cut: bool
    """Whether its arguments were larger than all that may be recorded, so that it can't be run."""
    before_state: bool
    """Whether it had begun, and was not over, when the state was kept."""
    payload: bytes
    buffers: Sequence[Part]
    outcome: Outcome | None
    """None: it was not over when the actor died."""

    @classmethod
    def of(cls, begin: Begin, end: End | None) -> Request:
        """That of its entries."""
        kind, call = KINDS.get(begin.kind, f"kind {begin.kind}"), ""
        if begin.number == 0:
            kind, call = "make", "the object"
        elif begin.stream or kind not in ("call", "cast"):
            call = f"the stream of {begin.stream}" if begin.stream else "a stream"
        else:
            call = describe_request(begin.payload)
        return cls(
            begin.number,
            kind,
            begin.time,
            begin.caller,
            begin.stream,
            call,
            bool(begin.flags & TOO_LARGE),
            bool(begin.flags & BEFORE_STATE),
            bytes(begin.payload),
            begin.buffers,
            None if end is None else Outcome.of(end),
        )


class Made(NamedTuple):
    """How an object is made: the pickle of that, its buffers, and pickles to be loaded after it."""

    payload: bytes
    buffers: Sequence[Part]
    more: Sequence[Part]

    @classmethod
    def read(cls, parts: Sequence[Part]) -> Made:
        """Of an entry."""
        table, payload, *others = parts
        count, _ = loads(table)
        return cls(bytes(payload), others[:count], others[count:])


class Record(NamedTuple):
    """What is recorded of one process of an actor."""

    path: str
    about: dict[str, Any]
    """Its `name` and `class`, its `pid`, the `time` of its start, the version of `python`, the
    working `directory` and the `path` of imports that it had."""
    made: Made
    state: Sequence[Part] | None
    """The state from which a replay begins: class, pickle, buffers. None: it has none."""
    cut: int
    """How many requests before the first one here were cut off, as they were too many or large."""
    torn: int
    """Bytes at the end that are no whole entry."""
    requests: tuple[Request, ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Record:
        """Read a file. Nothing in it is unpickled, and a torn end is left out.

        Raises:
            OSError: it can't be read, or is another user's, or others can write it.
            ValueError: it is no record.
        """
        where = os.fspath(path)
        data = memoryview(_read(where))
        if bytes(data[: len(FORMAT)]) != FORMAT:
            raise ValueError(f"{where} is no record of an actor, or that of another version")
        found: dict[int, Sequence[Part]] = {}
        begins: list[Begin] = []
        ends: dict[int, End] = {}
        read = 0
        data = data[len(FORMAT) :]
        for end_of_entry, kind, parts in entries_of(data):
            read = end_of_entry
            if kind == BEGIN:
                begins.append(Begin.read(parts))
            elif kind == END:
                end = End.read(parts)
                ends[end.number] = end
            else:
                found[kind] = parts
        if HEAD not in found or MADE not in found:
            raise ValueError(f"{where} is torn before it says how the object is made")
        return cls(
            where,
            json.loads(bytes(found[HEAD][0])),
            Made.read(found[MADE]),
            found.get(STATE),
            int(bytes(found[CUT][0])) if CUT in found else 0,
            len(data) - read,
            tuple(Request.of(one, ends.get(one.number)) for one in begins),
        )

    @property
    def fatal(self) -> Request | None:
        """The one that was running when the actor died: if several were, the one that began last.
        None: it was running none."""
        running = [one for one in self.requests if one.outcome is None]
        return running[-1] if running else None


def _read(path: str) -> bytes:
    # What is no file, a pipe say, must not be waited for.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is no file")
        # What is in it is going to be unpickled, and that runs code.
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                f"{path} is another user's, or can be written by others: a replay runs the code "
                "that is in it"
            )
        return file.read()
