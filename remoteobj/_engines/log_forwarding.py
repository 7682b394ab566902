"""Records of `logging` on their way from an actor to its owner, whose handlers see them.

::

    logger ──> Forwarder ── bytes, on the control channel ──> logger of that name ──> handlers
       in the actor's process                                   in its owner's process

The owner's levels hold in both: those of the moment of the start decide what is sent, and those of
the moment of arrival what is handled. A record is bytes in the kernel once it was logged, so that
it outlives a SIGKILL of its actor. Where an owner is itself an actor, it sends what arrives on.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from .._os.fork_safety import fork_generation
from .._pickling.codec import Buffers, dumps, loads
from .._pickling.exceptions import pack_error, unpack_error
from .._protocol.messages import Bytes, Frame, Kind
from .._wire.channel import ChannelClosedError
from ..errors import UnsendableError
from .owner_line import OwnerLine

__all__ = ["Forwarder", "Levels", "forward_to", "levels", "packed", "unpacked"]

PATIENCE: Final = 1.0
"""Seconds that a record waits while its owner does not read; then it is lost, and counted."""

_KNOWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"taskName"}
"""What every record has. The rest is the program's own, given by `extra` ..."""
_MADE_BY_FORMATTERS: Final = frozenset({"message", "asctime"})
"""... but for this."""


Levels: TypeAlias = tuple[dict[str, int], int]
"""Which records are worth sending: the levels that were set, by logger, that of the root under the
empty name; and what `logging.disable` has. Plain, since it is read before `logging` is imported."""


def levels() -> Levels:
    """Those of this process."""
    set_ones = {logger.name: logger.level for logger in _loggers() if logger.level}
    return {**set_ones, "": logging.root.level}, logging.root.manager.disable


def _loggers() -> Iterator[logging.Logger]:
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            yield logger


# ------------------------------------------------------------------ in the actor


def forward_to(line: OwnerLine, wanted: Levels) -> None:
    """Have all records sent from now on. Handlers and filters that a fork has inherited are the
    owner's, where they see the record; those that are added from now on work here."""
    forwarder = Forwarder(line)
    # Written only where something changes: a fork shares all of it with its owner until then.
    for logger in (logging.root, *_loggers()):
        # Not closed: they are copies of what the owner goes on to use.
        for inherited in (logger.handlers, logger.filters):
            if inherited:
                inherited.clear()
        if logger is logging.root or not logger.propagate:
            logger.addHandler(forwarder)
    by_logger, disabled = wanted
    for name, level in by_logger.items():
        if (logger := logging.getLogger(name or None)).level != level:
            logger.setLevel(level)
    if logging.root.manager.disable != disabled:
        logging.disable(disabled)


class Forwarder(logging.Handler):
    """Sends records to the owner."""

    def __init__(self, line: OwnerLine) -> None:
        super().__init__()
        self._line = line
        self._generation = fork_generation[0]
        self._lost = 0
        line.room_again = self._tell_lost
        atexit.register(self._end)

    def emit(self, record: logging.LogRecord) -> None:
        if self._generation != fork_generation[0]:  # a process that the actor has forked by itself
            last = logging.lastResort
            if last is not None and record.levelno >= last.level:  # `handle` asks no levels
                last.handle(record)
            return
        # Who has waited in vain does not wait again: the owner does not read.
        patience = 0.0 if self._lost or self._line.is_behind else PATIENCE
        if self._say_lost():
            self._lost += not self._say(record, patience)
        else:
            self._lost += 1

    def _tell_lost(self) -> None:
        """There is room again. Whoever is about to log something tells it by himself."""
        assert self.lock is not None
        if self._lost and self.lock.acquire(blocking=False):
            try:
                self._say_lost()
            finally:
                self.lock.release()

    def _end(self) -> None:
        """The process ends: say what there has been no room for."""
        if self._generation == fork_generation[0] and self._line.catch_up(PATIENCE):
            self._say_lost()

    def _say_lost(self) -> bool:
        """Tell how many are lost, if there are any; False: there is no room for that either."""
        if self._lost and not self._say(_word_of(self._lost), 0.0):
            return False
        self._lost = 0
        return True

    def _say(self, record: logging.LogRecord, patience: float) -> bool:
        payload, buffers = packed(record)
        try:
            return self._line.say(Frame(Kind.LOG, 0, payload, buffers), patience)
        except ChannelClosedError:
            return True  # nobody is there any more who could be told


def _word_of(lost: int) -> logging.LogRecord:
    words = f"{lost} records of this actor are lost: its owner did not take them in time"
    return logging.LogRecord("remoteobj", logging.WARNING, __file__, 0, words, None, None)


def packed(record: logging.LogRecord) -> tuple[bytes, Buffers]:
    """The record, pickled: its message made, its exception whole, and of what is the program's own
    what can be sent; of the rest its `repr`."""
    told: dict[str, Any] = {name: vars(record)[name] for name in _KNOWN & vars(record).keys()}
    told["msg"], told["args"] = _message(record), None
    error = record.exc_info[1] if record.exc_info else None
    told["exc_info"] = None if error is None else pack_error(error)
    own = {name: vars(record)[name] for name in vars(record).keys() - _KNOWN - _MADE_BY_FORMATTERS}
    try:
        return dumps({**told, **own})
    except UnsendableError:
        return dumps({**told, **{name: _sendable(value) for name, value in own.items()}})


def _message(record: logging.LogRecord) -> str:
    """What `getMessage` makes; it fails where the arguments don't fit, as in any program."""
    try:
        return record.getMessage()
    except Exception as exc:
        return f"{record.msg!r} % {record.args!r} failed: {exc!r}"


def _sendable(value: Any) -> Any:
    try:
        dumps(value)
    except UnsendableError:
        return repr(value)
    return value


# ------------------------------------------------------------------ in the owner


def unpacked(payload: Bytes, buffers: Buffers) -> logging.LogRecord:
    """Undo `packed`. Raises whatever the unpickling of the program's own attributes raises."""
    told = loads(payload, buffers)
    if told["exc_info"] is not None:
        error = unpack_error(told["exc_info"])
        told["exc_info"] = type(error), error, error.__traceback__
    return logging.makeLogRecord(told)
