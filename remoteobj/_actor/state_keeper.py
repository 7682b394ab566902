"""Checkpoints: the state of an object, kept where the next process of its actor finds it.

::

    a request ──> executor ──> its reply
                     │ a checkpoint is due: before the reply is sent
                     v
    @remote.checkpoint ── state ──> pickle ──> store: memory that the owner has too, or a file
                                                 │
    @remote.restore <── state ── after __init__ ─┘  in the next process

Nobody is told what came of a request before the checkpoint after it is kept, if one is due. Where
it can't be kept, the caller is told that, in place of the reply; and what was kept before stays.

Two checkpoints may overlap: the work loop asks for one in one thread while a request needs one in
another, or a request that a blocked call lets in. One that began later knows all that the earlier
ones do, so an earlier one is dropped where a later one was kept before it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from .._fast_typing import NamedTuple, Protocol
from .._os.atomic_file import AtomicFile
from .._os.atomic_memory import AtomicMemory
from .._os.fork_safety import fork_generation
from .._os.poller import clock
from .._os.records import Part
from .._os.thread_unwind import ThreadUnwind
from .._pickling.codec import dumps, loads
from .._pickling.exceptions import add_note, unpack_error
from .._pickling.main_module import importable_name
from .._protocol.identity import class_name
from .._protocol.messages import Frame, FrameParts, Kind
from .._protocol.operations import evaluate
from .clients import Client, StreamProducer
from .execution import Executor, ExecutorAround, ExecutorMaker, end_a_fork
from .replies import error_frame
from .roles import roles_of_state

__all__ = ["StateKeeper", "StatePlan", "Store"]

NOT_KEPT = (
    "The call was run in the actor, and the state after it could not be kept: should the actor be "
    "restarted, it has the state of its checkpoint before."
)


class Store(Protocol):
    """Where a state is kept."""

    def open(self) -> None:
        """Be the one who reads and writes it."""

    def read(self) -> Sequence[Part] | None:
        """The parts that were written last; None: none were."""
        ...

    def write(self, parts: Sequence[Part]) -> None:
        """Put these in place of what was written before; or raise, and leave that."""

    def leave(self) -> None:
        """Let another one read and write it."""

    def close(self) -> None:
        """Let go of it, as its owner: it is not read again."""


class StatePlan(NamedTuple):
    """How the state of an actor is kept: a part of its program."""

    store: Store
    every: float | None = None
    """Seconds after which a request is followed by a checkpoint; None: only who asks for one."""
    required: bool = True
    """Whether it is an error if the object has no state to be kept."""

    @classmethod
    def of(cls, every: float | None, path: str | None, required: bool) -> StatePlan:
        """That of a new actor: in the file of this path, or in memory."""
        return cls(AtomicMemory() if path is None else AtomicFile(path), every, required)

    def keeper(self) -> StateKeeper:
        """What keeps it, in the process of the actor."""
        return StateKeeper(*self)


class Deferring(Executor, Protocol):
    """An executor that ends what it has begun later on, and has its reply seen before."""

    before_reply: Callable[[Client, Frame, FrameParts | None], FrameParts | None] | None
    before_item: Callable[[StreamProducer, Frame], Frame] | None


def _lasting_name(cls: type[Any]) -> str:
    """What tells a class from others in every program that has it: each script has a `__main__`."""
    module, _, qualname = class_name(cls).partition(":")
    return f"{importable_name(module)}:{qualname}"


def _call(method: Callable[..., object], *args: object) -> object:
    return method(*args)


class StateKeeper:
    """Takes the checkpoints of one object, and restores the last one at its birth."""

    def __init__(self, store: Store, every: float | None, required: bool) -> None:
        self._store = store
        self.every = every
        self._required = required
        self._kept: Sequence[Part] | None = None
        self._save: tuple[Any, ...] = ()
        """The step that gives the state; empty until the object has got its state back."""
        self._class_name = b""
        self.on_kept: Callable[[Sequence[Part]], object] | None = None
        """Called with each state that is kept, and with one that is about to be restored."""
        self._last = clock()
        self._tickets = itertools.count(1)
        """Checkpoints are numbered in the order in which they begin."""
        self._newest = 0
        """The number of the newest that was kept; guarded, as the store is, by the lock."""
        self._lock = threading.Lock()
        self._taking: set[int] = set()
        """The threads that are within a checkpoint."""
        self._fork_generation = fork_generation[0]

    def around(self, make_executor: ExecutorMaker) -> ExecutorMaker:
        """Makes such an executor, and around it one that takes the checkpoints that are due."""
        if self.every is None:
            return make_executor
        return partial(_made_around, self, make_executor)

    def guard(
        self,
        executor: Deferring,
        root: Callable[[], Any],
        report: Callable[[BaseException], None],
    ) -> Executor:
        """The same for an executor that is there, and that may end later what it has begun."""
        if self.every is None:
            return executor
        guarded = _CheckpointingExecutor(executor, self, root, report)
        executor.before_reply, executor.before_item = guarded.before_reply, guarded.before_item
        return guarded

    # --- birth and end -------------------------------------------------------------------

    def open(self) -> None:
        """Read what was kept, before the object is made.

        Raises:
            RuntimeError: another actor, which is alive, keeps its state there.
            ValueError: what is there is no such state.
            OSError: it can't be read.
        """
        self._store.open()
        self._kept = self._store.read()

    def restore(self, obj: Any, carry_out: Callable[..., object] = _call) -> None:
        """Give an object, which is just made, the state that was kept, if there is one;
        `carry_out` calls its method.

        Raises:
            TypeError: its class does not say how to keep a state.
            ValueError: it is the state of an object of another class.
            Exception: what the unpickling or the method raises.
        """
        save, load = roles_of_state(type(obj))
        if save is None or load is None:
            if not self._required:
                return
            raise TypeError(
                f"checkpoint_every and checkpoint_path are for objects whose class has methods "
                f"marked @remote.checkpoint and @remote.restore, and {type(obj).__qualname__} "
                "has none"
            )
        name = _lasting_name(type(obj))
        self._class_name = name.encode(errors="replace")
        kept, self._kept = self._kept, None
        if kept is not None:
            of_class, payload, *buffers = kept
            if of_class != self._class_name:
                raise ValueError(
                    f"what is kept in {self._store} is the state of a {bytes(of_class).decode()}, "
                    f"and this is a {name}; give each class a checkpoint_path of its own. If it is "
                    "the same class, and it or its script or module was renamed, take the name "
                    "that it had, or move the file away, and the actor begins without"
                )
            if self.on_kept is not None:
                self.on_kept(kept)
            try:
                carry_out(getattr(obj, load), loads(payload, buffers))
            except BaseException as exc:
                where = f"the state that is kept in {self._store}"
                add_note(exc, f"This was raised while {where} was restored.")
                raise
        self._save = (save, ())
        self._last = clock()

    def close(self) -> None:
        """The actor ends: another one may have the state."""
        self._store.leave()

    # --- checkpoints ---------------------------------------------------------------------

    @property
    def is_due(self) -> bool:
        """Whether the next reply has to wait for a checkpoint."""
        return not self.every or clock() - self._last >= self.every

    def keep(self, obj: Any) -> None:
        """Take a checkpoint now, in this thread.

        Raises:
            RuntimeError: this is called within a checkpoint, or before the state was restored.
            UnsendableError: the state can't be pickled.
            OSError: there is no room for it.
            Exception: what the method raises.
        """
        me = threading.get_ident()
        if me in self._taking:
            raise RuntimeError(
                "a checkpoint can't be taken within a checkpoint: the method that is marked "
                "@remote.checkpoint must neither ask for one nor call an actor that calls back"
            )
        if not self._save:
            raise RuntimeError(
                "a checkpoint can be taken once the object has its state: not in __init__, nor in "
                "the method that is marked @remote.restore"
            )
        self._taking.add(me)
        try:
            self._take(obj)
        finally:
            self._taking.discard(me)

    def _take(self, obj: Any) -> None:
        begun, ticket = clock(), next(self._tickets)
        # By the function that also runs requests, which can be interrupted while it does.
        state = evaluate(self._save, obj)
        if fork_generation[0] != self._fork_generation:
            end_a_fork()
        payload, buffers = dumps(state, "state")
        with self._lock:
            if ticket > self._newest:
                parts: list[Part] = [self._class_name, payload, *buffers]
                self._store.write(parts)
                if self.on_kept is not None:
                    self.on_kept(parts)
                self._newest, self._last = ticket, begun


# --- checkpoints that are due after a request ------------------------------------------------


class _CheckpointingExecutor(ExecutorAround):
    """Holds each reply back for the checkpoint that is due before it."""

    def __init__(
        self,
        inner: Executor,
        keeper: StateKeeper,
        root: Callable[[], Any],
        report: Callable[[BaseException], None],
    ) -> None:
        super().__init__(inner)
        self._keeper = keeper
        self._root = root
        self._report = report

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        reply = self._inner.run(client, request)
        if reply is None and request.kind == Kind.CALL:
            return None  # it has only been begun
        return self.before_reply(client, request, reply)

    def before_reply(
        self, client: Client, request: Frame, reply: FrameParts | None
    ) -> FrameParts | None:
        """Take the checkpoint that is due before a reply; what is sent."""
        if not self._keeper.is_due:
            return reply
        outer = self._inner.begin(client, request)
        error = self._keep()
        self._inner.end(outer)
        if error is None:
            return reply
        if reply is None:
            self._report(error)
            return None
        if reply[0] == Kind.STREAM and (stream := client.streams.get(request[1])) is not None:
            stream.end()
            self._inner.close(stream)
        return error_frame(request[1], _in_place_of(reply, error))

    def step(self, stream: StreamProducer) -> Frame:
        item = self._inner.step(stream)
        frame = self.before_item(stream, item)
        if frame is not item and item.kind == Kind.ITEM:
            self._inner.close(stream)
        return frame

    def before_item(self, stream: StreamProducer, frame: Frame) -> Frame:
        """Take the checkpoint that is due before an item; what is sent."""
        if self._keeper.is_due and (error := self._keep()) is not None:
            self._report(error)
            return error_frame(stream.call_id, _in_place_of(frame, error))
        return frame

    def _keep(self) -> BaseException | None:
        """Take a checkpoint; the error if that failed."""
        try:
            self._keeper.keep(self._root())
        except ThreadUnwind:
            raise
        except BaseException as exc:
            if NOT_KEPT not in getattr(exc, "__notes__", ()):  # it may be raised again and again
                add_note(exc, NOT_KEPT)
            return exc
        return None


def _made_around(
    keeper: StateKeeper,
    make_inner: ExecutorMaker,
    root: Callable[[], Any],
    report: Callable[[BaseException], None],
) -> Executor:
    return _CheckpointingExecutor(make_inner(root, report), keeper, root, report)


def _in_place_of(reply: FrameParts, error: BaseException) -> BaseException:
    """The error, which leads to the one that the call itself has raised."""
    if reply[0] == Kind.ERROR and error.__context__ is None:
        error.__context__ = unpack_error(reply[2])
    return error
