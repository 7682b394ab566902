"""`remoteobj top`: the program, over live actors, where textual is installed."""

from __future__ import annotations

import argparse
import sys

from ..errors import RemoteObjError
from .live import LiveSource

__all__ = ["MissingError", "top"]


class MissingError(RemoteObjError):
    """Something that a command needs is not there."""


def top(asked: argparse.Namespace) -> int:
    """Show it until `q` is pressed."""
    try:
        from .top import Top  # textual at start-up would take longer than all the rest
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] not in ("textual", "rich"):
            raise
        raise MissingError("top needs textual: pip install remoteobj[cli]") from exc
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise MissingError("top needs a terminal; `remoteobj ls --every 1` needs none")
    source = LiveSource()
    try:
        Top(source, asked.every).run()
    finally:
        source.close()
    return 0
