"""The Ray actor in which a program runs, and the ends of its streams there.

Its methods run in threads of Ray. The program has a thread of its own, and finds there what it
finds in a thread of its owner's: the two streams to its owner, and a listener for all others.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from typing import Any, Final

from .._fast_typing import NamedTuple
from .._os.thread_unwind import ThreadUnwind, raise_in_thread
from .._pickling.exceptions import pack_error
from .._wire.auth import Key
from .._wire.queue_listener import QueueListener
from .._wire.queue_stream import QueueStream
from .._wire.ray_cluster import cluster
from .._wire.ray_line import BROUGHT, LAST, TAKEN, parts_of
from .._wire.ray_transport import served_here
from .child import not_unpacked
from .contract import OwnerLink, ProgramFailedError
from .packing import PackedProgram, Pickles, unpack
from .ray_lines import HostLine

__all__ = ["CONTROL", "DATA", "THREADS", "Event", "Packed", "RayHost"]

DATA: Final = b"the data"
CONTROL: Final = b"controls"
"""The keys of the two streams to the owner; those of others are random."""
THREADS: Final = 64
"""In how many threads of Ray the exchanges of an actor are served."""
PATIENCE: Final = 30.0
"""Seconds after which an exchange returns although there is nothing to take along."""
CROWDED: Final = THREADS // 2
"""How many may be so patient at the same time: others must find a thread."""
HURRY: Final = 0.02
"""The patience, in seconds, of those that come then."""
HEAR_SECONDS: Final = 2.0
"""How long an owner that is there may take to hear of something."""
_OVER: Final = TAKEN.pack(0, LAST)

Event = tuple[str, Any]
"""What the owner is told: `began` with the pid, `record` of an `Except`, `ended` with the exit
code and a failure."""


class Packed(NamedTuple):
    """A packed program without descriptors: see `PackedProgram`."""

    payload: bytes
    buffers: list[bytes]
    more: list[bytes]
    script: Any
    imports: bool
    filters: list[Any]

    def __repr__(self) -> str:
        return "<packed program>"  # with its key, and Ray has it among the locals of a frame


class RayHost:
    """The Ray actor.

    Args:
        packed: the program.
        name: the name of the actor, ours.
        ray_name: that by which Ray finds it.
    """

    def __init__(self, packed: Packed, name: str, ray_name: str) -> None:
        multiprocessing.current_process().name = name
        self._ray_name = ray_name
        self._lock = threading.Lock()
        self._lines: dict[bytes, HostLine] = {}
        self._waiting = 0
        self._put = cluster().put
        self._is_open = threading.Event()
        """Set once it is known whether somebody listens here."""
        self._events: list[Event] = [("began", os.getpid())]
        self._heard = 0
        """How many of them the owner has taken in."""
        self._happened = threading.Condition()
        data, control = self._new_line(DATA), self._new_line(CONTROL, behind=self._lines[DATA])
        self._link = OwnerLink(data, control, shared_process=True)
        self._unwinds = False
        self._program = threading.Thread(target=self._run, args=(packed,), name=name, daemon=True)
        self._program.start()
        with contextlib.suppress(ValueError):  # Ray makes it in another thread than the main one
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _new_line(self, key: bytes, behind: HostLine | None = None) -> QueueStream:
        line = self._lines[key] = HostLine(self._put, behind)
        return line.stream

    def exchange(self, message: Any) -> Any:
        """Bring bytes to one of the streams of the program, and take along what it has written."""
        (key, number, before, flags), parts = parts_of(message, BROUGHT)
        line = self._lines.get(key) or self._opened(key)
        if line is None:
            return _OVER
        with self._lock:
            self._waiting += 1
            patience = PATIENCE if self._waiting < CROWDED else HURRY
        try:
            return line.exchange(number, before, flags, parts, patience)
        finally:
            with self._lock:
                self._waiting -= 1
                if line.gone:
                    self._lines.pop(key, None)

    def _opened(self, key: bytes) -> HostLine | None:
        """The line of a new caller, who has begun a stream of this key; None: nobody listens."""
        self._is_open.wait(PATIENCE)
        with self._lock:
            door = served_here.get(self._ray_name)
            if key not in self._lines and door is not None:
                line = HostLine(self._put)
                try:
                    door.bring(line.stream)
                except OSError:  # it has just been closed
                    return None
                self._lines[key] = line
            return self._lines.get(key)

    def events(self, seen: int, seconds: float) -> list[Event]:
        """What has happened after the first `seen` things; waits for the next one, for so long."""
        with self._happened:
            self._heard = seen
            self._happened.notify_all()
            self._happened.wait_for(lambda: len(self._events) > seen, seconds)
            return self._events[seen:]

    def _on_sigterm(self, *_: object) -> None:
        # In a thread, since the main one may hold any lock at this moment.
        threading.Thread(target=self.unwind, name="remoteobj-sigterm", daemon=True).start()

    def unwind(self) -> None:
        """Have the program end, its cleanup included, when it next runs Python code."""
        if self._unwinds:
            return  # once is enough: its cleanup is to be left alone
        self._unwinds = True
        if self._link.on_sigterm is not None:
            self._link.on_sigterm()
        raise_in_thread(self._program, ThreadUnwind)

    # --- the program -------------------------------------------------------------------------

    def _tell(self, kind: str, what: Any) -> None:
        with self._happened:
            self._events.append((kind, what))
            self._happened.notify_all()

    def _record(self, record: Any) -> None:
        """Have the owner record it, before anything else that it may learn by another way."""
        self._tell("record", record)
        with self._happened:
            number = len(self._events)
            self._happened.wait_for(lambda: self._heard >= number, HEAR_SECONDS)

    def _unpacked(self, packed: Packed) -> Any:
        pickles = Pickles(packed.payload, packed.buffers, packed.more)
        try:
            return unpack(
                PackedProgram(pickles, packed.script, packed.imports, packed.filters, None)
            )
        except BaseException as exc:
            raise not_unpacked(self._link, exc) from None

    def _open_door(self, key: Key) -> None:
        self._link.listener = served_here[self._ray_name] = QueueListener(key)
        self._is_open.set()

    def _run(self, packed: Packed) -> None:
        code, failure = 1, b""
        try:
            program = self._unpacked(packed)
            del packed
            self._open_door(program.address.key)
            program.tell_records(self._record)
            program.run(self._link)
            code = -signal.SIGTERM if self._unwinds else 0
        except ProgramFailedError as exc:
            failure = exc.error
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
        except ThreadUnwind:
            code = -signal.SIGTERM
        except BaseException as exc:
            failure = pack_error(exc)
        finally:
            self._is_open.set()
            served_here.pop(self._ray_name, None)
            self._link.data.close()
            self._link.control.close()
            self._tell("ended", (code, failure))
