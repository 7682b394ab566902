"""A record is run again, on a fresh object in this process: one request after the other, in the
order in which they began.

The object is at home here: `self.remote` and `current()` are its own proxy. Other actors are not
called: they may be gone, or alive and in use. Proxies of them stand for objects that nobody serves.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import sys
from collections.abc import Callable, Sequence
from types import CoroutineType
from typing import Any, Final

from ._actor.awaitables import finish, has_coroutines, is_async_iterator, is_awaited
from ._actor.current import current_actor, give_own_proxy
from ._actor.iterators import data_frame, is_iterator
from ._actor.making import make_object
from ._actor.record_entries import End
from ._actor.replies import error_frame, value_frame
from ._actor.served_here import Mode
from ._actor.server import Server
from ._actor.state_keeper import StateKeeper
from ._fast_typing import NamedTuple
from ._os.records import Part
from ._own_proxy import OwnProxy
from ._pickling import own_objects
from ._pickling.codec import loads
from ._pickling.exceptions import unpack_error
from ._pickling.main_module import Script, enter_anew
from ._protocol.config import RefOptions
from ._protocol.descriptions import format_steps
from ._protocol.identity import ActorId
from ._protocol.messages import Frame, FrameParts, Kind
from ._protocol.operations import evaluate
from ._proxy import proxy_from
from ._record import Outcome, Record, Request, brief
from ._reference import Reference, RemoteRef
from ._replayed_tasks import Tasks, is_greeting
from ._wire.auth import Key
from ._wire.registry import DEFAULT_TRANSPORT
from ._wire.transport import Address
from .errors import describe

__all__ = ["Replay", "Step", "Watcher"]

_ADDRESS: Final = re.compile("0x[0-9a-fA-F]+")

_NOWHERE: Final = Address(DEFAULT_TRANSPORT, "/nowhere/replay", Key.new())
"""An address that has no place: what is killed here is to leave nothing behind."""

_METHODS: Final = {
    "next": ("__next__", "__anext__"),
    "send": ("send", "asend"),
    "throw": ("throw", "athrow"),
    "close": ("close", "aclose"),
}
"""What is called for a step of a stream; the second, where that is awaited."""

Watcher = Callable[[Callable[[], Any]], Any]
"""Calls users' code, and gives what that gives: a debugger, say."""


class Step(NamedTuple):
    """One request that was run again."""

    request: Request
    outcome: Outcome | None
    """What came of it here. None: it could not be run."""
    text: str
    """The same, as text."""
    same: bool
    """Whether it is as it was recorded; of one that killed its actor never, as it came through."""
    error: BaseException | None = None
    """What it has raised."""


class _Given:
    """A store from which a state is read that is not written again."""

    def __init__(self, state: Sequence[Part] | None) -> None:
        self._state = state

    def open(self) -> None:
        pass

    def read(self) -> Sequence[Part] | None:
        return None if self._state is None else [bytearray(one) for one in self._state]

    def write(self, parts: Sequence[Part]) -> None:
        """The state of a replay is nobody's."""

    def leave(self) -> None:
        pass

    def close(self) -> None:
        pass


class Replay:
    """The object of a record, made again, and its requests. A context manager.

    Meanwhile its working directory and its path of imports are this process's own. What it needs of
    `__main__` becomes so for good, if its class is of there.

    >>> import glob, remoteobj, tempfile
    >>> from remoteobj.replay import Record, Replay
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     with remoteobj.options(record=directory, record_keep=True).spawn(list, "ab") as letters:
    ...         letters.append("c")
    ...     record = Record.read(*glob.glob(f"{directory}/*.record"))
    >>> with Replay(record) as replay:
    ...     for request in record.requests:
    ...         step = replay.run(request)
    ...         print(request.kind, request.call, step.text, step.same)
    ...     replay.obj
    make the object done True
    call ?.append(...) None True
    ['a', 'b', 'c']
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._actor_id = ActorId(*record.about["actor"])
        self._server = Server(None, self._actor_id, _NOWHERE, mode=Mode.MANUAL)
        ref = RemoteRef(self._actor_id, _NOWHERE, RefOptions())
        self._proxy = OwnProxy(ref.reference())
        self._streams: dict[int, Any] = {}
        self._tasks = Tasks()
        self._loop: Any = None

    @property
    def obj(self) -> Any:
        """The object, as soon as it is made."""
        return self._server.root

    def __enter__(self) -> Replay:
        about = self.record.about
        self._outside = os.getcwd(), list(sys.path)
        with contextlib.suppress(OSError):  # it is gone: then this one has to do
            os.chdir(about["directory"])
        sys.path += [one for one in about["path"] if one not in sys.path]
        if about["script"] is not None:
            enter_anew(Script(*about["script"]))
        self._server.register_local()
        self._before = current_actor.enter(self._proxy, this_thread_only=True)
        return self

    def __exit__(self, *exc_info: object) -> None:
        current_actor.leave(self._before)
        own_objects.leave(self.obj)
        self._tasks.close(self.obj)
        if self._loop is not None:
            self._loop.close()
        self._server.abort()
        self._server.release()
        os.chdir(self._outside[0])
        sys.path[:] = self._outside[1]

    # --- requests ------------------------------------------------------------------------

    def shown(self, request: Request) -> str:
        """What a request calls, with its arguments, where these can be had."""
        if request.stream or request.kind not in ("call", "cast") or request.cut:
            return request.call
        try:
            steps: Any = self._loads(request.payload, request.buffers)
            if (task := self._tasks.shown(steps)) is not None:
                return task
            short = type(steps[0]) is str
            return format_steps((("attr", steps[0]), ("call", steps[1], {})) if short else steps)
        except Exception:
            return request.call

    def run(self, request: Request, watch: Watcher | None = None) -> Step:
        """Run one again: the making of the object first, and then in their order.

        Args:
            watch: called with what calls the user's code, to do that.
        """
        if request.cut or (request.stream and request.stream not in self._streams):
            why = "its arguments" if request.cut else "the call that it is a part of"
            text = f"not run: {why} could not be kept"
            return Step(request, None, text, False)
        error: BaseException | None = None
        reply: FrameParts | None
        try:
            reply = self._reply(request, watch or (lambda call: call()))
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            if type(exc).__name__ == "BdbQuit":  # which is the user's word, and no outcome
                raise
            error, reply = exc, error_frame(0, exc)
        if request.kind in ("cast", "close", "make") and error is None:
            reply = None
        outcome = Outcome.of(End.of(request.number, reply))
        return Step(request, outcome, self._text(outcome), self._is_same(request, outcome), error)

    def _text(self, outcome: Outcome) -> str:
        end = outcome.end
        if outcome.kind not in ("value", "item") or not end.whole:
            return str(outcome)
        try:
            if not end.buffers:
                return brief(self._loads(bytes(end.payload), ()))
            made = self._loads(bytes(end.payload), [bytes(size) for size in end.buffers])
            return f"{type(made).__qualname__}, {outcome}"
        except Exception as exc:
            return f"{outcome} ({describe(exc)})"

    def _is_same(self, request: Request, outcome: Outcome) -> bool:
        before = request.outcome
        if before is None or before.kind != outcome.kind:
            return False
        if before.end[2:4] == outcome.end[2:4] and before.kind != "error":
            return True
        texts = [_ADDRESS.sub("0x", self._text(one)) for one in (before, outcome)]
        if texts[0] == texts[1] and not before.end.buffers:
            return True
        if before.kind != "value" or not (before.end.whole and outcome.end.whole):
            return False
        if before.end.buffers or outcome.end.buffers:
            return False  # of what is big the record has a checksum alone, which differs
        ends = [bytes(one.end.payload) for one in (before, outcome)]
        steps = self._loads(request.payload, request.buffers)
        return self._tasks.same(steps, *(self._loads(one, ()) for one in ends))

    # --- running -------------------------------------------------------------------------

    def _reply(self, request: Request, watch: Watcher) -> FrameParts:
        if request.kind == "make":
            watch(self._make)
            return Frame(Kind.END, 0)
        if request.stream:
            return self._step(request, watch)
        steps = self._loads(request.payload, request.buffers)
        result = watch(lambda: self._carry_out(evaluate, steps, self.obj))
        if request.kind == "cast":
            return Frame(Kind.END, 0)
        iterated = steps[-1:] == [("iter",)]
        if result is self.obj and not iterated:
            return Frame(Kind.RETURNED_SELF, 0)
        if is_async_iterator(type(result)):
            self._streams[request.number] = result
            return Frame(Kind.STREAM, 0)
        if not (iterated or is_iterator(type(result))):
            return value_frame(Kind.VALUE, 0, result)
        frame = None if iterated else data_frame(0, result)
        if frame is None:
            self._streams[request.number] = result
        return frame or Frame(Kind.STREAM, 0)

    def _step(self, request: Request, watch: Watcher) -> FrameParts:
        stream = self._streams[request.stream]
        awaited = hasattr(type(stream), "__anext__")
        args: tuple[Any, ...] = ()
        if request.kind == "send":
            args = (self._loads(request.payload, request.buffers),)
        elif request.kind == "throw":
            args = (unpack_error(request.payload),)
        name = _METHODS[request.kind][awaited]
        if request.kind == "close" and not hasattr(stream, name):
            return Frame(Kind.END, 0)
        method = getattr(stream, name)
        try:
            item = watch(lambda: self._carry_out(method, *args))
        except StopIteration as stop:
            return value_frame(Kind.END, 0, stop.value)
        except StopAsyncIteration:
            return value_frame(Kind.END, 0, None)
        return value_frame(Kind.ITEM, 0, item)

    def _carry_out(self, method: Callable[..., Any], *args: Any) -> Any:
        """Call it, and await what is to be awaited, to its end."""
        result = method(*args)
        return self._awaited(result) if is_awaited(type(result)) else result

    def _awaited(self, awaitable: Any) -> Any:
        import asyncio  # for a faster start-up: few objects need it

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(finish(awaitable))

    # --- the object ----------------------------------------------------------------------

    def _make(self) -> None:
        made = self.record.made
        initializer, factory, args, kwargs = self._loads(made.payload, made.buffers)
        for one in made.more:
            with contextlib.suppress(Exception):  # as `_engines.packing.unpack`
                loads(one)
        keeper = self._server.state_keeper = StateKeeper(_Given(self.record.state), None, False)
        keeper.open()
        if initializer is not None:
            initializer()
        if isinstance(factory, type):
            give_own_proxy(factory)
        finish_made: Callable[[CoroutineType[Any, Any, Any]], Any] = self._awaited

        async def make_in_loop() -> None:
            make_object(self._server, self._proxy, factory, args, kwargs, finish_made)

        if isinstance(factory, type) and has_coroutines(factory):
            self._awaited(make_in_loop())
        else:
            make_object(self._server, self._proxy, factory, args, kwargs, finish_made)
        self._tasks.settle(self.obj)
        keeper.restore(self.obj, self._carry_out)

    def _loads(self, payload: bytes, buffers: Sequence[Part]) -> Any:
        mine = [bytearray(one) for one in buffers]
        unpickler = Reader(io.BytesIO(payload), buffers=mine)
        unpickler.proxy_from = self._proxy_from
        return unpickler.load()

    def _proxy_from(self, reference: Reference) -> Any:
        """A proxy that travelled: the object's own, or one of an actor that is not called here."""
        actor_id, _, options, default, class_named = reference
        if actor_id == self._actor_id:
            return self._proxy()
        gone = actor_id._replace(name=f"{actor_id.name}, which is not called in a replay,")
        return proxy_from((gone, _NOWHERE, options, default, class_named))


def greet_nobody(*args: object) -> None:
    """Stands for what is not done in a replay."""


class Reader(pickle.Unpickler):
    proxy_from: Callable[[Reference], Any]

    def find_class(self, module: str, name: str) -> Any:
        if name == proxy_from.__name__ and module == proxy_from.__module__:
            return self.proxy_from
        if is_greeting(module, name):
            return greet_nobody
        return super().find_class(module, name)
