"""pdb, as an actor has it: it asks in the terminal of the program, in turns with the others."""

from __future__ import annotations

import pdb
import sys
from types import FrameType
from typing import Any

from .status import open_prompts
from .terminal import SharedTerminal, find_terminal

__all__ = ["stop_at"]

PACKAGE = __name__.partition(".")[0]


def stop_at(frame: FrameType, *, header: str | None = None, **kwargs: Any) -> None:
    """Stop in this frame, at its next line: what `pdb.set_trace` does, with its keywords.

    Raises:
        RuntimeError: this process has no terminal.
    """
    debugger = ActorDebugger(SharedTerminal(find_terminal()))
    if header is not None:
        debugger.message(header)
    debugger.set_trace(frame, **kwargs)


class ActorDebugger(pdb.Pdb):
    """Debugs one call: when that has ended, the terminal is another's.

    Args:
        terminal: where it asks.
    """

    def __init__(self, terminal: SharedTerminal) -> None:
        # Ctrl-C is the owner's. And to step on from users' code is not to step into ours.
        file: Any = terminal
        super().__init__(stdin=file, stdout=file, nosigint=True, skip=[f"{PACKAGE}.*"])
        self._terminal = terminal
        self._outermost: FrameType | None = None
        """Of the user's frames that led to the prompt, the one that we have called."""

    def interaction(self, frame: FrameType | None, traceback: Any = None) -> None:
        if frame is not None and not _is_within(self._outermost, frame):
            self._outermost = _outermost(frame)
        open_prompts.add(self)
        try:
            super().interaction(frame, traceback)
        finally:
            open_prompts.discard(self)

    def _cmdloop(self) -> None:
        """Ask for commands. An interruption quits, where pdb, which takes it for a Ctrl-C, would
        ask again: nobody may be left who waits for the call."""
        try:
            self.cmdloop()
        except KeyboardInterrupt:
            self.set_quit()

    def do_interact(self, arg: str) -> Any:
        """Begin a Python prompt: it reads from the standard input, which an actor has not."""
        before = sys.stdin, sys.stdout
        sys.stdin = sys.stdout = self.stdin
        try:
            return super().do_interact(arg)
        finally:
            sys.stdin, sys.stdout = before

    def get_stack(self, f: FrameType | None, t: Any) -> tuple[list[Any], int]:
        """The stack, without the frames of ours that have led to users' code."""
        stack, current = super().get_stack(f, t)
        ours = next((i for i, (one, _) in enumerate(stack) if one is self._outermost), 0)
        return stack[ours:], max(0, current - ours)

    def dispatch_return(self, frame: FrameType, arg: Any) -> Any:
        tracing = super().dispatch_return(frame, arg)
        if frame is self._outermost:  # what would come next is another call
            self.set_continue()
        return tracing

    def set_continue(self) -> None:
        super().set_continue()
        self._end()

    def set_quit(self) -> None:
        super().set_quit()
        self._end()

    def _end(self) -> None:
        self._outermost = None
        self._terminal.give()


def _is_within(outer: FrameType | None, frame: FrameType | None) -> bool:
    """Whether `frame` is `outer`, or has been called from there."""
    while outer is not None and frame is not None:
        if frame is outer:
            return True
        frame = frame.f_back
    return False


def _outermost(frame: FrameType) -> FrameType:
    """The first of the frames that have called each other without code of ours in between."""
    while frame.f_back is not None and not _is_ours(frame.f_back):
        frame = frame.f_back
    return frame


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(f"{PACKAGE}.")
