"""The standard streams, which may be closed, full, or read by nobody: one way for all commands."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from io import TextIOWrapper
from typing import Final, TextIO

__all__ = ["NOBODY_READS", "complain", "flushed", "is_read", "prepare"]

NOBODY_READS: Final = 128 + signal.SIGPIPE
"""The exit code where `head` has seen enough: that of `cat`, which ends without a word, too."""
_MODES: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}
"""In the order of their descriptors, since a file that is opened takes the least that is free."""


def prepare() -> None:
    """Have all of them. One that is closed is as `/dev/null`: for a command that does something
    beside its words, and since a file or a socket would take its number."""
    for name, mode in _MODES.items():
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115 - it stays open
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name may have any letters


def complain(words: str) -> None:
    """Tell an error, or a warning, if that can be told."""
    with contextlib.suppress(OSError):
        print(f"remoteobj: {words}", file=sys.stderr, flush=True)


def is_read() -> bool:
    """Whether what is written can still reach somebody: False where the other end of its pipe is
    closed. Who has caught a `BrokenPipeError` can't know by that alone which pipe it was."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # it is no file
        return True
    return not any(what & (select.POLLERR | select.POLLHUP) for _, what in poll.poll(0))


def flushed(code: int) -> int:
    """The exit code of a command that would have ended with this one, once all is written."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = NOBODY_READS
        _give_up(sys.stdout)
    except OSError as exc:
        if code == 0:
            complain(f"the output can't be written: {exc.strerror}")
        code = code or 1
        _give_up(sys.stdout)
    try:
        sys.stderr.flush()
    except OSError:
        _give_up(sys.stderr)
    return code


def _give_up(stream: TextIO) -> None:
    """Let go of what is left, which the interpreter will flush once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
