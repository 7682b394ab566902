"""`remoteobj ls`: all actors, one per line."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from typing import Final

from .._looking import ActorInfo, actors
from .text import Column, duration, shown, table

__all__ = ["ls"]

COLUMNS: Final = (
    Column("NAME", least=8),
    Column("CLASS", least=8, rank=3),
    Column("PID", right=True),
    Column("STATE", rank=2),
    Column("AGE", right=True, rank=4),
    Column("OWNER", right=True, rank=5),
    Column("PUBLIC", rank=1),
)


def ls(asked: argparse.Namespace) -> int:
    """List them, once or again and again."""
    again = asked.every is not None
    while True:
        found = sorted(actors(), key=lambda one: (one.name, one.pid))
        if asked.json:
            told = [{**one._asdict(), "age": one.age} for one in found]
            print(json.dumps(told, indent=None if again else 2))
        else:
            _show(found)
        if not again:
            return 0
        sys.stdout.flush()
        time.sleep(asked.every)


def _show(found: list[ActorInfo]) -> None:
    rows = [_cells(one) for one in found]
    # The whole of it for whoever reads it by a pipe, or a file.
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(*table(COLUMNS, rows, room), sep="\n")


def _cells(one: ActorInfo) -> tuple[str, ...]:
    return (
        shown(one.name),
        shown(one.class_name),
        str(one.pid),
        shown(one.state),
        duration(one.age),
        str(one.owner_pid),
        "public" if one.public else "",
    )
