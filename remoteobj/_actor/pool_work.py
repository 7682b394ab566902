"""What a pool has its workers do: run a task, or a run of items, on the object that they have.

::

    pool ── run_task(number, f and arguments) ────> f(*arguments), as any call
         ── run_items(number, f, items) ──────────> f(item), f(item) ... with the outcome of each

Both first claim the number of what they are to begin (`_wire.task_board`): the pool may have taken
it back. What is sent is pickled apart, so that what fails when it is unpickled is one task alone.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any, Final, TypeAlias

from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import SCALARS, loads
from .._pickling.exceptions import add_note
from .._protocol.messages import Frame, Kind
from .._wire.task_board import SIZE, Notes, TaskBoard
from .replies import error_frame, value_frame

__all__ = ["Desk", "NoObject", "dismiss", "greet", "run_items", "run_task"]

RUN_SECONDS: Final = 0.02
"""A run that takes longer is cut: what is left of it may be for another worker, which is free."""

UNTIMED: Final = 3
"""Bits of the number of a plain result: where one is set, which it is for three in four, nobody
looks at the clock after it. A look takes half as long as all else that is done for a result."""

INTEGER, FLOAT = Notes.INTEGER, Notes.FLOAT  # bare names, which are found faster

Entry: TypeAlias = "tuple[int, bytes, list[Any]]"
"""An outcome that is no plain value: a frame's kind, payload and buffers."""


_NONE: Final[dict[str, Any]] = {}


class Desk:
    """What a worker has of its pool: shared memory, if it is a process, and the last function."""

    def __init__(self, board: TaskBoard | None) -> None:
        self.board = board
        self._key = 0
        self._payload = b""
        self._loaded: list[Callable[..., Any]] = []

    def know(self, key: int, payload: bytes) -> None:
        """Take note of the function of what follows, which is sent where it is another one than
        that of what came before."""
        if key != self._key:
            self._key, self._payload = key, payload
            self._loaded.clear()

    def function(self) -> Callable[..., Any]:
        """The function.

        Raises:
            Exception: what unpickling it raises, each time.
        """
        if not self._loaded:
            self._loaded.append(_unpickled(self._payload, ()))
        return self._loaded[0]


_desks: dict[int, Desk] = {}
"""By the identity of the object: several actors may live in the threads of one process."""


def greet(obj: object, path: str | None) -> None:
    """The first that a worker is told: where it shares memory with its pool."""
    _desks[id(obj)] = Desk(None if path is None else TaskBoard.of(path))


def dismiss(obj: object) -> None:
    """It is nobody's worker any more."""
    desk = _desks.pop(id(obj), None)
    if desk is not None and desk.board is not None:
        desk.board.close()


def run_task(
    obj: object, number: int, claims: bool, key: int, func: bytes, args: Any, *buffers: Any
) -> Any:
    """Call a function, with the object as its first argument if there is one."""
    desk = _desks[id(obj)]
    desk.know(key, func)
    board = desk.board
    if board is None:
        return _called(obj, desk, args, buffers)
    if claims and not board.claim(number):
        return None  # nobody waits for this answer
    board.begins(number, monotonic())
    try:
        return _called(obj, desk, args, buffers)
    finally:
        board.ends(monotonic())


def _called(obj: object, desk: Desk, packed: Any, buffers: Sequence[Any]) -> Any:
    func = desk.function()
    args, kwargs = (packed, _NONE) if type(packed) is tuple else _unpickled(packed, buffers)
    if type(obj) is NoObject:
        return func(*args, **kwargs)
    return func(obj, *args, **kwargs)


def _unpickled(payload: bytes, buffers: Sequence[Any]) -> Any:
    try:
        return loads(payload, buffers)
    except ThreadUnwind:
        raise
    except BaseException as exc:
        add_note(exc, "This was raised in the worker, while the task was unpickled.")
        raise


def run_items(
    obj: object, number: int, claims: bool, key: int, func: bytes, many: bytes, *buffers: Any
) -> Any:
    """Call a function with each of many items; the seconds that took, whether there are entries
    among the outcomes, and the outcomes. There may be fewer of these than items."""
    desk = _desks[id(obj)]
    desk.know(key, func)
    board, begun = desk.board, monotonic()
    assert board is not None, "items are sent together to processes alone"
    if claims and not board.claim(number):
        return None  # nobody waits for this answer
    board.begins(number, begun)
    try:
        items = _Items(many, buffers)
        run = _Run(items.left, board.notes(items.left), begun + RUN_SECONDS)
        run.work_off(lambda: _bound(obj, desk.function()), items)
        return monotonic() - begun, run.has_entries, run.outcomes
    finally:
        board.ends(monotonic())


class NoObject:
    """The object of a worker that has none: it calls functions.

    To name a method takes a message less time than to name a function of a module.
    """

    run_task = run_task
    run_items = run_items


def _bound(obj: object, func: Callable[..., Any]) -> Callable[..., Any]:
    return func if type(obj) is NoObject else partial(func, obj)


class _Run:
    """A run of items, as it is worked off."""

    def __init__(self, left: int, notes: Notes, until: float) -> None:
        self._left = left
        self._notes = notes
        self._until = until
        self.outcomes: list[Any] = []
        """Of each item: a plain value, or an `Entry`."""
        self.has_entries = False

    def work_off(self, function: Callable[[], Callable[..., Any]], items: _Items) -> None:
        """Work off what there is time and room for, one item at least."""
        try:
            func = function()
        except ThreadUnwind:
            raise
        except BaseException as exc:
            self._enter(error_frame(0, exc))
            return
        results = items.map(func)
        while len(self.outcomes) < self._left and not self._take(results):
            pass

    def _take(self, results: Iterator[Any]) -> bool:
        """Take results until one fails; whether that is enough for now."""
        # Flat on purpose: a function call for each item would take as long as many an item does.
        notes, outcomes, until, clock = self._notes, self.outcomes, self._until, monotonic
        untimed, has_room = UNTIMED, True
        add, kinds, integers, floats = outcomes.append, notes.kinds, notes.integers, notes.floats
        try:
            for done, value in enumerate(results, len(outcomes)):
                kind = type(value)
                if kind is int:
                    try:
                        integers[done] = value
                        kinds[done] = INTEGER
                    except ValueError:  # it has more than 64 bits
                        has_room = notes.add(done, value)
                elif kind is float:
                    floats[done] = value
                    kinds[done] = FLOAT
                elif kind in SCALARS:
                    has_room = notes.add(done, value)
                else:
                    if not self._enter(value_frame(Kind.VALUE, 0, value)) or clock() > until:
                        return True
                    continue
                add(value)
                if not has_room or (not done & untimed and clock() > until):
                    return True
            if len(outcomes) < self._left:
                raise StopIteration  # which the function has raised: there are more items
            return True
        except ThreadUnwind:
            raise
        except BaseException as exc:
            return not self._enter(error_frame(0, exc)) or monotonic() > until

    def _enter(self, frame: Frame) -> bool:
        """Take down an outcome that is no plain value; whether there was room to note it."""
        self.has_entries = True
        index = len(self.outcomes)
        buffers = [pickle.PickleBuffer(one) for one in frame.buffers]
        self.outcomes.append((frame.kind, bytes(frame.payload), buffers))
        if sum(one.raw().nbytes for one in buffers) > SIZE:
            return False
        kept = [bytes(one) for one in buffers]
        return self._notes.add(index, (frame.kind, bytes(frame.payload), kept))


class _Items:
    """The arguments of the calls of a run, as they came."""

    def __init__(self, many: bytes, buffers: Sequence[Any]) -> None:
        unpickler = pickle.Unpickler(io.BytesIO(many))
        self._first, self._end, self._packed = unpickler.load()
        self._columns = () if self._packed else unpickler.load()
        self._buffers = buffers
        self.left: int = self._end - self._first

    def map(self, func: Callable[..., Any]) -> Iterator[Any]:
        """The results of the calls, each made when it is asked for."""
        if self._packed:
            # No generator, which would end with the first error.
            return map(partial(self._call, func), self._packed)
        return map(func, *(column[self._first : self._end] for column in self._columns))

    def _call(self, func: Callable[..., Any], packed: tuple[bytes, int, int]) -> Any:
        payload, begin, end = packed
        return func(*_unpickled(payload, self._buffers[begin:end]))
