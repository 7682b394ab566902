"""What a process that is no fork gets of the object by which its owner started it.

::

    multiprocessing's part, and our link ── multiprocessing's own pickler ──┐
    the program ──────────── packing ──> PackedProgram ─────────────────────┼──> the new process
    a subclass, and its attributes ── packing ──────────────────────────────┘

Only `multiprocessing` can send descriptors, and only we what is in `__main__`, which the new
process does not import.
"""

from __future__ import annotations

from collections.abc import Collection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from .child import wait_until_guarded
from .new_process import NewProcess
from .packing import PackedProgram, pack_value, unpack

__all__ = ["OWNERS", "reduction"]

PACKAGE = __name__.partition(".")[0]

OWNERS: Final = frozenset(
    {
        "_describe",
        "_exit_callbacks",
        "_find_record",
        "_kept",
        "_listener",
        "_main",
        "_owner_pid",
        "_packed",
        "_packed_error",
        "_plain",
        "_program",
        "_reaper",
        "_reaping",
        "_recorder",
        "_report",
        "_signals_sent",
        "_watched",
        "_wire_options",
        "control",
        "data",
    }
)
"""The attributes of an `ActorProcess` that are its owner's alone."""


def reduction(
    process: BaseProcess,
    program: PackedProgram,
    main: str,
    start_method: str,
    plain: Collection[str],
    owners: Collection[str],
) -> tuple[tuple[Any, ...], PackedProgram | None]:
    """The process, as `__reduce__` gives it: its `plain` attributes are `multiprocessing`'s, and
    those that are its owner's stay there. With it what it leads to, packed, if there is any.

    A class of ours is a `NewProcess` over there, where nobody needs the owner's half of it.
    """
    cls, ours, theirs = type(process), {}, {}
    for name, value in vars(process).items():
        if name in plain:
            ours[name] = value
        elif name not in owners:
            theirs[name] = value
    ours["_program"] = program
    if cls.__module__.partition(".")[0] == PACKAGE and not theirs:
        return (_revive, (None, ours)), None
    what = f"the attributes of {cls.__name__}"
    packed = pack_value((cls, theirs), what, main, start_method)
    return (_revive, (packed, ours)), packed


def _revive(packed: PackedProgram | None, ours: dict[str, Any]) -> BaseProcess:
    """The process, over there."""
    process: BaseProcess
    if packed is None:
        process = NewProcess.__new__(NewProcess)
    else:
        wait_until_guarded(ours["_link"])
        packed.enter_environment()
        cls, theirs = unpack(packed)
        process = cls.__new__(cls)
        vars(process).update(theirs)
    vars(process).update(ours)
    return process
