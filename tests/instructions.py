"""How many instructions of the interpreter run: what some code costs, on any machine the same."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any

__all__ = ["Instructions"]

TIMED = "poller.py"
"""What waits, and so runs for longer where the other side is slow."""


class Instructions:
    """Those that this thread runs between `begin` and `end`, by the functions that they are in."""

    def __init__(self) -> None:
        self._found: Counter[str] = Counter()

    def begin(self) -> None:
        # In this order: Python 3.12 traces instructions if a frame wants that when this is set.
        self._trace_outer(self._trace)
        sys.settrace(self._trace)

    def end(self) -> dict[str, int]:
        """The numbers. What waits is not counted, nor is this."""
        sys.settrace(None)
        self._trace_outer(None)
        own = f"{type(self).__name__}."
        return {name: count for name, count in self._found.items() if not name.startswith(own)}

    def _trace_outer(self, trace: Any) -> None:
        frame: FrameType | None = sys._getframe(2)
        while frame is not None:
            frame.f_trace, frame.f_trace_opcodes, frame.f_trace_lines = trace, True, False
            frame = frame.f_back

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename.endswith(TIMED):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            self._found[frame.f_code.co_qualname] += 1
        return self._trace
