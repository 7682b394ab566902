"""What a process that is no fork gets of the object by which its owner started it.

::

    multiprocessing's part, and our link ── multiprocessing's own pickler ──┐
    the program ── dumps ──> PackedProgram ─────────────────────────────────┼──> the new process
    a subclass, and its attributes ── dumps ──> bytes ──────────────────────┘

Only `multiprocessing` can send descriptors, and only `dumps` what is in `__main__`, which the new
process does not import.
"""

from __future__ import annotations

from collections.abc import Collection
from multiprocessing.process import BaseProcess
from typing import Any

from .._pickling.codec import dumps, loads
from ..errors import UnsendableError
from .child import PackedProgram
from .contract import Program

__all__ = ["reduction"]


def reduction(
    process: BaseProcess,
    program: Program | PackedProgram,
    plain: Collection[str],
    owners: Collection[str],
) -> tuple[Any, ...]:
    """The process, as `__reduce__` gives it: its `plain` attributes are `multiprocessing`'s, and
    those that are its owner's stay there."""
    ours, theirs = {}, {}
    for name, value in vars(process).items():
        if name in plain:
            ours[name] = value
        elif name not in owners:
            theirs[name] = value
    packed, buffers = dumps((type(process), theirs), f"the attributes of {type(process).__name__}")
    ours["_program"] = _packed(program)
    return _revive, (packed, [bytes(one) for one in buffers], ours)


def _packed(program: Program | PackedProgram) -> PackedProgram:
    assert not isinstance(program, PackedProgram)
    try:
        payload, buffers = dumps(program, "program")
        return PackedProgram(payload, [bytes(one) for one in buffers])
    except UnsendableError as exc:
        error = exc
    for name, part in program.parts():
        dumps(part, name)  # says which one it is
    raise error


def _revive(payload: bytes, buffers: list[bytes], ours: dict[str, Any]) -> BaseProcess:
    """The process, over there."""
    cls, theirs = loads(payload, buffers)
    process: BaseProcess = cls.__new__(cls)
    vars(process).update({**theirs, **ours})
    return process
