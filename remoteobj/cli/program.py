"""The program `remoteobj`: what is typed, the command that does it, and the exit code.

An error that a user can do something about is one line on stderr, and exit code 1.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence

from ..errors import RemoteObjError
from .arguments import ORDERS, parse
from .streams import NOBODY_READS, complain, flushed, is_read, prepare
from .text import first_line

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was typed; the exit code.

    Args:
        argv: what was typed after the name of the program. None: as Python knows it.
    """
    prepare()
    try:
        code = _done(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    return flushed(code)


def _done(argv: Sequence[str]) -> int:
    """Do it; the exit code, also of what goes wrong."""
    try:
        asked = parse(argv)
        return _command(asked.verb)(asked)
    except SystemExit as exc:  # `argparse` has said why, or the user's code ends it
        if exc.code is None or isinstance(exc.code, int):
            return exc.code or 0
        print(exc.code, file=sys.stderr)
        return 1
    except (RemoteObjError, OSError) as exc:
        if isinstance(exc, BrokenPipeError) and not is_read():
            return NOBODY_READS
        complain(first_line(exc))
        return 1


def _command(verb: str) -> Callable[[argparse.Namespace], int]:
    """What does it; imported when it is asked for, since it is most of the start-up."""
    if verb == "ls":
        from .listing import ls  # start-up

        return ls
    if verb == "top":
        from .watching import top  # start-up

        return top
    if verb == "attach":
        from .attaching import attach  # start-up

        return attach
    if verb == "serve":
        from .serving import serve  # start-up

        return serve
    if verb == "replay":
        from .replaying import replay  # start-up

        return replay
    assert verb in ORDERS
    from .orders import order  # start-up

    return order
