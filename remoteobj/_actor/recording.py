"""Recording: each request that an actor runs is written down before it begins, and then what came
of it, so that what killed the actor can be run again, elsewhere.

::

    a request ──> written down ──> executor ──> what came of it ──> its reply
                       │                               │
                       v                               v
                 RecordFile: one per process of the actor, removed when that ends in order

Requests are numbered in the order in which they begin. The executor goes around any other, and
within the one that takes checkpoints: what is over by then is dropped from the file.
"""

from __future__ import annotations

import contextlib
import glob
import os
import platform
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from .._fast_typing import NamedTuple, Protocol
from .._os.records import Part
from .._os.thread_unwind import ThreadUnwind
from .._os.wall_clock import wall_clock
from .._pickling.codec import dumps, dumps_for_start, pickled
from .._pickling.main_module import script
from .._protocol.identity import ActorId, class_name
from .._protocol.messages import Frame, FrameParts, Kind
from .._protocol.requests import read_metadata
from ..errors import UnsendableError
from .clients import Client, StreamProducer
from .execution import Executor, ExecutorAround, ExecutorMaker
from .record_entries import CLOSE, NEXT
from .record_file import RecordFile
from .replies import error_frame
from .state_keeper import Deferring, StateKeeper

__all__ = ["RecordPlan", "Recording"]

_CAST = Kind.CAST
_NO_LETTER: Final = re.compile(r"^\.+|[^\w.-]+", re.ASCII)
LONGEST: Final = 80
"""Letters of a name that are in the name of its file."""


class RecordPlan(NamedTuple):
    """Where and how the requests of an actor are recorded: a part of its program."""

    directory: str
    """Absolute."""
    name: str
    """Of the actor."""
    max_bytes: int
    max_requests: int
    keep: bool
    """Whether the file stays when the actor has ended in order."""

    def prepare(self) -> RecordPlan:
        """Make the directory, if it is not there: in the process of the owner, who is told.

        Raises:
            OSError: it can't be made, or is none that can be written.
        """
        os.makedirs(self.directory, 0o700, exist_ok=True)
        if not os.access(self.directory, os.W_OK | os.X_OK):
            raise PermissionError(f"record={self.directory!r} can't be written")
        return self

    def recording(self) -> Recording:
        """What records them, in the process of the actor."""
        return Recording(self)

    @property
    def _stem(self) -> str:
        return os.path.join(self.directory, _NO_LETTER.sub("_", self.name)[:LONGEST] or "_")

    def find(self, pid: int | None) -> str | None:
        """The file that a process of the actor has left behind."""
        found = glob.glob(f"{glob.escape(self._stem)}-*-{pid}*.record")
        with contextlib.suppress(OSError):  # somebody else removes them meanwhile
            return max(found, key=os.path.getmtime, default=None)
        return None

    def open(self) -> RecordFile:
        """A new file, for this process.

        Raises:
            OSError: there can be none.
        """
        stem = f"{self._stem}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
        number = 0
        while True:
            try:
                path = f"{stem}{f'.{number}' if number else ''}.record"
                return RecordFile(path, self.max_bytes, self.max_requests)
            except FileExistsError:  # of another actor of that name, in a thread of this process
                number += 1


class Recording:
    """What records the requests of one object, in the process of its actor."""

    file: RecordFile

    def __init__(self, plan: RecordPlan) -> None:
        self._plan = plan
        self._is_begun = False
        self._failures = threading.local()
        self.owner: Client | None = None
        self._clients: weakref.WeakKeyDictionary[Client, str] = weakref.WeakKeyDictionary()

    def around(self, make_executor: ExecutorMaker) -> ExecutorMaker:
        """Makes such an executor, and around it one that records what it runs."""
        return partial(_made_around, self, make_executor)

    def guard(self, executor: AwaitingExecutor) -> Deferring:
        """The same for an executor that is there, and that may end later what it has begun."""
        guarded = _RecordingExecutor(executor, self)
        guarded.hear(executor)
        return guarded

    def attend(self, owner: Client, keeper: StateKeeper | None) -> None:
        """Know the owner from other callers, and begin anew at each checkpoint."""
        self.owner = owner
        if keeper is not None:
            keeper.on_kept = self.kept

    # --- birth and end -------------------------------------------------------------------

    def begin(
        self,
        actor_id: ActorId,
        initializer: Callable[[], object] | None,
        make: tuple[Any, tuple[Any, ...], dict[str, Any]],
        parts: Iterable[tuple[str, object]],
    ) -> None:
        """Make the file, and write down how the object is made, before it is.

        Raises:
            UnsendableError: an argument can't be pickled, and so it can't be made again.
            OSError: the file can't be made, or there is no room.
        """
        factory = make[0]
        try:
            payload, buffers, more = dumps_for_start((initializer, *make), "program")
        except UnsendableError:
            for name, part in parts:
                dumps(part, name)  # says which one it is
            raise
        said = script()
        head = {
            "name": self._plan.name,
            "actor": list(actor_id),
            "class": class_name(factory) if isinstance(factory, type) else repr(factory),
            "pid": os.getpid(),
            "time": wall_clock(),
            "python": platform.python_version(),
            "directory": os.getcwd(),
            "path": sys.path,
            "script": None if more is None else list(said),
        }
        table = pickled((len(buffers), len(more or ())), 5)
        self.file = self._plan.open()
        self._is_begun = True
        self.file.start(head, [table, payload, *buffers, *(more or ())])

    @contextlib.contextmanager
    def making(self) -> Iterator[None]:
        """The time in which the object is made; and then what came of that is written down."""
        try:
            yield
        except ThreadUnwind:
            raise
        except BaseException as exc:
            self.file.end(0, error_frame(0, exc))
            raise
        self.file.end(0, None)

    def kept(self, state: Iterable[Part]) -> None:
        """A checkpoint is taken."""
        self.file.begin_anew(list(state))

    def close(self, failed: bool) -> None:
        """The actor ends, in order or not."""
        if not self._is_begun:
            return
        exc = sys.exception()
        if isinstance(exc, SystemExit):
            failed = failed or exc.code not in (None, 0)
        elif exc is not None and not isinstance(exc, ThreadUnwind):
            failed = True
        if failed or self._plan.keep or self.file.has_open:
            self.file.close()
        else:
            self.file.remove()

    # --- what nobody waits for -----------------------------------------------------------

    def failed(self, exc: BaseException) -> None:
        """What this thread runs has failed, and nobody is told by a reply."""
        self._failures.last = exc

    def take_failure(self) -> BaseException | None:
        """What has failed since this was asked last, in this thread."""
        found: BaseException | None = self._failures.__dict__.pop("last", None)
        return found

    # --- who calls -----------------------------------------------------------------------

    def caller(self, client: Client, request: Frame) -> str:
        """Who makes a request, as far as it is known here."""
        if request.metadata and (chain := read_metadata(request.metadata).chain):
            return f"actor {chain[-1].actor.name}"
        if client is self.owner:
            return "owner"
        found = self._clients.get(client)
        if found is None:
            found = self._clients[client] = f"connection {len(self._clients) + 1}"
        return found


class AwaitingExecutor(Deferring, Protocol):
    """An executor that ends later what it has begun, and makes the items of streams by itself."""

    before_step: Callable[[StreamProducer], None] | None


class _RecordingExecutor(ExecutorAround):
    """Has each request written down before another executor runs it, and then its outcome."""

    def __init__(self, inner: Executor, recording: Recording) -> None:
        super().__init__(inner)
        self._recording = recording
        self.before_reply: Callable[[Client, Frame, FrameParts | None], FrameParts | None] | None
        """As those of `Deferring`: for whoever is around this one."""
        self.before_reply = None
        self.before_item: Callable[[StreamProducer, Frame], Frame] | None = None
        self._begun: dict[int, tuple[Frame, int]] = {}
        """Requests that have only been begun, and their numbers, by their `id`."""
        self._streams: weakref.WeakKeyDictionary[StreamProducer, int] = weakref.WeakKeyDictionary()
        self._steps: weakref.WeakKeyDictionary[StreamProducer, int] = weakref.WeakKeyDictionary()
        """The numbers of streams, and of the steps that are being awaited."""

    def hear(self, executor: AwaitingExecutor) -> None:
        """Be told of what that one ends later."""
        executor.before_reply = self._note_reply
        executor.before_step, executor.before_item = self._note_step, self._note_item

    def run(self, client: Client, request: Frame) -> FrameParts | None:
        recording = self._recording
        kind, call_id, payload, buffers, _, _ = request
        caller = recording.caller(client, request)
        number = recording.file.begin(kind, 0, caller, payload, buffers)
        # Before it runs: what is awaited may be over when `run` returns.
        begun = self._begun[id(request)] = request, number
        reply = self._inner.run(client, request)
        if self._begun.get(id(request)) is begun:
            if reply is None and (stream := client.streams.get(call_id)) is not None:
                del self._begun[id(request)]
                self._streams[stream] = number
                recording.file.end(number, Frame(Kind.STREAM, call_id))
            elif reply is not None or (kind == _CAST and not self._goes_on(request)):
                del self._begun[id(request)]
                self._over(client, request, number, reply)
        return reply

    def _goes_on(self, request: Frame) -> bool:
        return any(one.request is request for one in self._inner.all_running)

    def _note_reply(
        self, client: Client, request: Frame, reply: FrameParts | None
    ) -> FrameParts | None:
        if (begun := self._begun.pop(id(request), None)) is not None:
            self._over(client, request, begun[1], reply)
        return reply if self.before_reply is None else self.before_reply(client, request, reply)

    def _over(self, client: Client, request: Frame, number: int, reply: FrameParts | None) -> None:
        if reply is not None and reply[0] == Kind.STREAM:
            self._streams[client.streams[request.call_id]] = number
        error = self._recording.take_failure()
        if reply is None and error is not None:
            reply = error_frame(request.call_id, error)
        self._recording.file.end(number, reply)

    # --- streams -------------------------------------------------------------------------

    def step(self, stream: StreamProducer) -> Frame:
        number = self._begin_step(stream)
        frame = self._inner.step(stream)
        self._recording.file.end(number, frame)
        return frame

    def close(self, stream: StreamProducer) -> None:
        if (number := self._steps.pop(stream, None)) is not None:
            self._recording.file.end(number, None)
        number = self._write(stream, Frame(CLOSE, stream.call_id))
        self._inner.close(stream)
        self._recording.take_failure()
        self._recording.file.end(number, None)

    def _note_step(self, stream: StreamProducer) -> None:
        self._steps[stream] = self._begin_step(stream)

    def _note_item(self, stream: StreamProducer, frame: Frame) -> Frame:
        if (number := self._steps.pop(stream, None)) is not None:
            self._recording.file.end(number, frame)
        return frame if self.before_item is None else self.before_item(stream, frame)

    def _begin_step(self, stream: StreamProducer) -> int:
        commands = stream.commands
        return self._write(stream, commands[0] if commands else Frame(NEXT, stream.call_id))

    def _write(self, stream: StreamProducer, step: Frame) -> int:
        caller = self._recording.caller(stream.client, stream.request)
        of = self._streams.get(stream, 0)
        return self._recording.file.begin(step.kind, of, caller, step.payload, step.buffers)


def _made_around(
    recording: Recording,
    make_inner: ExecutorMaker,
    root: Callable[[], Any],
    report: Callable[[BaseException], None],
) -> Executor:
    return _RecordingExecutor(make_inner(root, report), recording)
