"""What `Except` keeps: records in a row, and what they add up to.

Whatever happens (an exception caught, a group cleared, a result set or taken) is one record, and
what can be asked is the fold of all records. So every process sees one order, without a lock.
"""

from __future__ import annotations

import enum
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias

from .._fast_typing import NamedTuple
from .._pickling.codec import dumps, loads
from .._pickling.exceptions import pack_error, unpack_error
from .journal import START, Cursor, Journal, join, split
from .projection import Projection

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


class AnyGroup(enum.Enum):
    ANY = "every group"


ANY: Final = AnyGroup.ANY
Group: TypeAlias = "str | None"  # None: of the contexts without a name
Groups: TypeAlias = "str | Literal[AnyGroup.ANY] | None"
Types: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...]"

CAUGHT, CLEAR, RESULT, NO_RESULT, TAKE = range(1, 6)


def valid_group(group: Any, *, any_is_one: bool = True) -> Any:
    if group is None or (group is ANY and any_is_one):
        return group
    if isinstance(group, str):
        return str.__str__(group)  # of a string enum, the string
    raise TypeError(f"a group is a string or None, not {group!r}; classes go in types=")


class Caught:
    """An exception and how it looked when it was caught, so that every raise begins from there."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.traceback, self.context = error, error.__traceback__, error.__context__
        self.linked_to: BaseException | None = None

    def throw(self) -> None:
        """Raise it; what the caller is handling comes behind its own context, not in its place."""
        error, handled = self.error, sys.exception()
        if self.linked_to is not None:
            self.linked_to.__context__ = None
            self.linked_to = None
        try:
            raise error.with_traceback(self.traceback)
        finally:
            error.__context__ = self.context
            mine = contexts(error)
            if handled is not None and not any(
                contains_identity(mine, e) for e in contexts(handled)
            ):
                mine[-1].__context__, self.linked_to = handled, mine[-1]
            del error, handled, mine  # they hold the traceback, and that holds this frame


def contexts(error: BaseException | None) -> list[BaseException]:
    chain: list[BaseException] = []
    while error is not None and not contains_identity(chain, error):
        chain.append(error)
        error = error.__context__
    return chain


def contains_identity(errors: list[BaseException], error: BaseException) -> bool:
    return any(each is error for each in errors)  # never ==, which is the users' code


class Entry:
    """One record. Its value is unpacked when it is first asked for, and then stays the same."""

    def __init__(self, group: Groups, packed: Any, unpack: Callable[[Any], Any] | None) -> None:
        self.group: Groups = group
        self.packed: Any = packed
        self.unpack: Callable[[Any], Any] | None = unpack
        self.number = -1
        """Of an exception: how many were caught before it."""

    @property
    def value(self) -> Any:
        packed = self.packed
        if self.unpack is None:
            return packed
        if "kept" not in vars(self):
            # Unpacking runs users' code and so takes no lock. If two threads do it, one wins.
            vars(self).setdefault("kept", self.unpack(packed))
            self.packed = None
        return vars(self)["kept"]


class State(NamedTuple):
    # Invariant: entries[:size] never changes; the newer states share and lengthen the list.
    cursor: Cursor
    entries: list[Entry]
    size: int
    result: Entry | None
    caught: int = 0
    """How many exceptions were caught so far, those that were cleared among them."""

    def of(self, group: Groups, newest_first: bool = False) -> Iterator[Entry]:
        group = valid_group(group)
        order = range(self.size - 1, -1, -1) if newest_first else range(self.size)
        entries = map(self.entries.__getitem__, order)  # no copy: there may be a million
        return entries if group is ANY else (e for e in entries if e.group == group)


class LocalStore:
    """The contract: `append` adds a record, `read` tells what all of them add up to."""

    def __init__(self) -> None:
        self._projection = Projection(State(START, [], 0, None))
        self._taken: dict[bytes, Entry | None] = {}
        self.key: object = self  # equal for the stores that record in one place
        self.seen: set[int] = set()
        """The numbers of the exceptions that somebody here has looked at."""

    def append(self, kind: int, group: Groups, value: Any = None) -> None:
        entry = Entry(group, Caught(value) if kind == CAUGHT else value, None)
        self._projection.advance(lambda state: self._fold(state, START, [(kind, entry)]))

    def read(self) -> State:
        return self._projection.state

    def look(self, group: Groups, newest_first: bool = False) -> Iterator[Entry]:
        """The exceptions of a group, each of which has been seen once it is taken."""
        for entry in self.read().of(group, newest_first):
            self.seen.add(entry.number)
            yield entry

    def see(self, group: Groups) -> None:
        """Somebody knows of all exceptions of a group."""
        self.seen.update(entry.number for entry in self.read().of(group))

    def another_reader(self) -> SharedStore | None:
        """A store with the same records and exceptions of its own; None where there can't be one,
        since it has the very objects. It knows what was seen here."""
        return None

    def take_result(self) -> Entry | None:
        """The result, for one taker alone: the one whose record comes first."""
        ticket = os.urandom(8)
        self._taken[ticket] = None
        try:
            self.append(TAKE, ANY, ticket)
            self.read()
            return self._taken[ticket]
        finally:
            del self._taken[ticket]

    def _fold(self, state: State, cursor: Cursor, records: list[tuple[int, Entry]]) -> State:
        _, entries, size, result, caught = state
        del entries[size:]  # left by a step that was interrupted
        for kind, entry in records:
            if kind == CAUGHT:
                entry.number, caught = caught, caught + 1
                entries.append(entry)
            elif kind == CLEAR:
                every = entry.group is ANY
                entries = [e for e in entries if not every and e.group != entry.group]
            else:
                if kind == TAKE and entry.packed in self._taken:
                    self._taken[entry.packed] = result
                result = entry if kind == RESULT else None
        return State(cursor, entries, len(entries), result, caught)

    def close(self) -> None:
        pass

    def __deepcopy__(self, memo: dict[int, Any]) -> LocalStore:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a LocalExcept stays in its process: use Except to catch in another one")


class SharedStore(LocalStore):
    """Records in a journal, or in a part of one that several stores share.

    Args:
        part: begins each record of this store, and no record of others in the same journal.
        start: where its first record can be.
    """

    def __init__(self, journal: Journal, part: bytes = b"", start: Cursor = START) -> None:
        super().__init__()
        self._journal = journal
        self._part = part
        self._start = start
        self._projection = Projection(State(start, [], 0, None))
        self.key: object = (journal.key, part)

    def append(self, kind: int, group: Groups, value: Any = None) -> None:
        if kind == CLEAR and self._journal.closed:  # of an actor that has ended: nobody else looks
            super().append(kind, group)
            return
        parts: list[Any] = [b"*" if group is ANY else b"-"]
        if isinstance(group, str):
            parts = [b"=" + group.encode("utf-8", "surrogatepass")]
        if kind == RESULT:
            payload, buffers = dumps(value, "result")
            parts += [payload, *buffers]
        elif value is not None:
            parts.append(pack_error(value) if kind == CAUGHT else value)
        self._journal.append(kind, *join([self._part, *parts]))

    def read(self) -> State:
        if not self._journal.closed:
            try:
                return self._projection.advance(self._follow)
            except ValueError:  # another thread has closed it meanwhile
                if not self._journal.closed:
                    raise
        return self._projection.state

    def _follow(self, state: State) -> State:
        records, cursor = self._journal.read(state.cursor)
        parts = [(kind, split(data)) for kind, data in records]
        mine = [
            (kind, _unpacked(kind, *rest)) for kind, (part, *rest) in parts if part == self._part
        ]
        return self._fold(state, cursor, mine)

    def another_reader(self) -> SharedStore:
        other = SharedStore(self._journal, self._part, self._start)
        other.seen = self.seen
        return other

    def close(self) -> None:
        self.read()
        self._journal.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return SharedStore, (self._journal, self._part, self._start)


class CommonJournal:
    """One journal for many stores that seldom have a record: an actor's own, of which there may be
    thousands, cost this process one descriptor.

    Its memory is given back once the last of these stores is closed. So once it is long, later
    stores get another one.
    """

    LONG = 1 << 20
    """Bytes."""

    def __init__(self) -> None:
        self._begin_anew()
        os.register_at_fork(after_in_child=self._begin_anew)

    def _begin_anew(self) -> None:
        self._lock = threading.RLock()  # a signal handler may start an actor within a start
        self._key = b""

    def store(self) -> SharedStore:
        """A new store, as any other."""
        with self._lock:
            journal = Journal.find(self._key) or Journal()
            if (end := journal.end()).offset > self.LONG:
                journal, end = Journal(), START
            self._key = journal.key
        return SharedStore(journal, os.urandom(8), end)


common_journal: Final = CommonJournal()


def _unpacked(kind: int, tag: bytes, *parts: bytes) -> Entry:
    name = tag[1:].decode("utf-8", "surrogatepass")
    group: Groups = name if tag[:1] == b"=" else ANY if tag == b"*" else None
    if kind == RESULT:
        # Buffers of its own, so that an array can be written to.
        return Entry(group, parts, lambda p: loads(p[0], [bytearray(part) for part in p[1:]]))
    if kind == CAUGHT:
        return Entry(group, parts[0], lambda packed: Caught(unpack_error(packed)))
    return Entry(group, parts[0] if parts else None, None)
