"""Records of actors, read and run again: what `python -m remoteobj replay` does, for programs.

>>> Record.read("/nowhere")
Traceback (most recent call last):
    ...
FileNotFoundError: [Errno 2] No such file or directory: '/nowhere'
"""

from __future__ import annotations

from ._record import Outcome, Record, Request
from ._replaying import Replay, Step

__all__ = ["Outcome", "Record", "Replay", "Request", "Step"]
