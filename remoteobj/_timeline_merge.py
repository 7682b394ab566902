"""One trace of all that the processes of a program have written down: in the format of Chrome.

::

    sync call, part of a request   a slice of its thread     X
    async call, stream, waiting    a row of its own          b ... e
    from caller to actor           an arrow                  s ──> f
    an actor's start and end       an instant of its process i

Lines are read one by one, so memory is needed only for what has begun and not ended. What has no
end, since its process was killed, ends with that. A line that was cut off counts for nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, TypeAlias

from ._timeline import Line

__all__ = ["Event", "events_of", "write_trace"]

Event: TypeAlias = "dict[str, Any]"
"""An event, as the format has it: times in microseconds."""


def write_trace(directory: str, path: str) -> None:
    """Make one trace of all files in the directory. What was at this path is replaced at once.

    Raises:
        OSError: it can't be written.
    """
    new = f"{path}.new"
    try:
        with open(new, "w", encoding="utf-8") as file:
            file.write('{"displayTimeUnit":"ns","traceEvents":[')
            separator = "\n"
            for event in events_of(directory):
                file.write(separator + json.dumps(event))
                separator = ",\n"
            file.write("\n]}\n")
        os.replace(new, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def events_of(directory: str) -> Iterator[Event]:
    """The events of all files."""
    files = sorted(Path(directory).glob("*.jsonl"), key=_began)
    ends = _Ends(files)
    for index, file in enumerate(files):
        yield from _Process(index, ends).events(file)


def _began(file: Path) -> int:
    return int(file.stem.partition("-")[2])


def _lines(file: Path) -> Iterator[list[Any]]:
    with file.open("rb") as lines:
        for line in lines:
            found = None
            with contextlib.suppress(ValueError):  # cut off: by a death, or since the disk is full
                found = json.loads(line)
            if isinstance(found, list) and len(found) > 2:
                yield found


class _Ends:
    """When each process has ended, as far as that is known."""

    def __init__(self, files: list[Path]) -> None:
        self._of_process: dict[int, int] = {}
        self._last = 0
        for file in files:
            for line in _lines(file):
                if line[0] == Line.LIFE and len(line) == _LIFE_ITEMS:
                    _, at, _, pid, words = line
                    self._last = max(self._last, at)
                    if " ended" in words:
                        self._of_process[pid] = at
                elif line[0] in _TIMED and isinstance(line[2], int):
                    self._last = max(self._last, line[2])

    def of(self, pid: int, begun: int) -> int:
        """The end of what has begun in a process and has no end."""
        return max(begun, self._of_process.get(pid, self._last))


_LIFE_ITEMS: Final = 5
_TIMED: Final = frozenset(
    (
        Line.CALL,
        Line.STREAM,
        Line.END,
        Line.REQUEST,
        Line.ENTER,
        Line.LEAVE,
        Line.OPENED,
        Line.DONE,
    )
)


class _Process:
    """The events of one process."""

    def __init__(self, index: int, ends: _Ends) -> None:
        self._index = index
        self._ends = ends
        self._pid = 0
        self._calls: dict[int, list[Any]] = {}
        """Those that have not ended: time, thread, name, actor, how."""
        self._requests: dict[int, list[Any]] = {}
        """Those that have not ended: time of the present part or 0, thread, name, actor, answer."""

    def events(self, file: Path) -> Iterator[Event]:
        """All of them."""
        for kind, *items in _lines(file):
            with contextlib.suppress(AttributeError, KeyError, TypeError, ValueError):  # as below
                yield from list(getattr(self, f"on_{kind}")(*items))
        for number, (at, *_) in list(self._calls.items()):
            yield from self.on_end(number, self._ends.of(self._pid, at), "unfinished")
        for number, (at, *_) in list(self._requests.items()):
            end = self._ends.of(self._pid, at)
            yield from self.on_done(number, end, "unfinished")

    def on_process(self, pid: int, name: str, _: int) -> Iterator[Event]:
        self._pid = pid
        yield self._event("M", "process_name", 0, pid, args={"name": name})
        yield self._event("M", "process_sort_index", 0, pid, args={"sort_index": self._index})

    def on_thread(self, number: int, name: str) -> Iterator[Event]:
        yield self._event("M", "thread_name", 0, number, args={"name": name})

    def on_life(self, at: int, _: str, pid: int, words: str) -> Iterator[Event]:
        where = pid or self._pid
        yield {**self._event("i", words, at, where, cat="life"), "s": "p", "pid": where}

    # --- calls -----------------------------------------------------------------------------

    def on_call(
        self, number: int, at: int, thread: int, name: str, actor: str, how: str
    ) -> Iterator[Event]:
        if how != "call":
            yield self._slice(name, at, at, thread, "call", actor=actor, how=how)
        yield self._event("s", name, at, thread, cat="flow", id=number)
        if how == "async":
            yield self._event("b", name, at, thread, cat="call", id=number)
        if how != "cast":
            self._calls[number] = [at, thread, name, actor, how]

    def on_stream(self, number: int, at: int) -> Iterator[Event]:
        begun, thread, name, actor, how = self._calls[number]
        if how == "call":
            yield self._slice(name, begun, at, thread, "call", actor=actor)
        else:
            yield self._event("e", name, at, thread, cat="call", id=number)
        yield self._event("b", f"{name} (stream)", at, thread, cat="stream", id=number)
        self._calls[number] = [at, thread, f"{name} (stream)", actor, "stream"]

    def on_end(self, number: int, at: int, what: str) -> Iterator[Event]:
        begun, thread, name, actor, how = self._calls.pop(number)
        outcome = {"error": what} if what else {}
        if how == "call":
            yield self._slice(name, begun, at, thread, "call", actor=actor, **outcome)
        else:
            cat = "stream" if how == "stream" else "call"
            yield self._event("e", name, at, thread, cat=cat, id=number, args=outcome)

    # --- requests --------------------------------------------------------------------------

    def on_request(
        self, number: int, at: int, thread: int, name: str, actor: str, flow: int, sent: int
    ) -> Iterator[Event]:
        self._requests[number] = [at, thread, name, actor, None]
        if flow:
            yield {**self._event("f", name, at, thread, cat="flow", id=flow), "bp": "e"}
        if 0 < sent <= at:
            yield self._event("b", f"{name} (waits)", sent, thread, cat="queue", id=number)
            yield self._event("e", f"{name} (waits)", at, thread, cat="queue", id=number)

    def on_enter(self, number: int, at: int, thread: int) -> Iterator[Event]:
        if number in self._requests:
            self._requests[number][:2] = at, thread
        yield from ()

    def on_opened(self, number: int, at: int) -> Iterator[Event]:
        _, thread, name, _, _ = self._requests[number]
        self._requests[number][4] = "stream"
        yield self._event("b", f"{name} (stream)", at, thread, cat="stream", id=number)

    def on_done(self, number: int, at: int, what: str) -> Iterator[Event]:
        """Its answer, or the end of its stream, is sent."""
        begun, thread, name, actor, answer = self._requests.pop(number)
        outcome = {"error": what} if what else {}
        if begun:
            yield self._slice(name, begun, at, thread, "request", actor=actor, **outcome)
        if answer == "stream":
            yield self._event("e", f"{name} (stream)", at, thread, cat="stream", id=number)
        elif answer == "awaited":
            yield self._event("e", name, at, thread, cat="request", id=number, args=outcome)

    def on_leave(self, number: int, at: int) -> Iterator[Event]:
        request = self._requests.get(number)
        if request is None or not request[0]:
            return
        begun, thread, name, actor, answer = request
        yield self._slice(name, begun, at, thread, "request", actor=actor)
        request[0] = 0
        if answer is None:  # it is awaited, while others run
            request[4] = "awaited"
            yield self._event("b", name, at, thread, cat="request", id=number)

    # --- events ----------------------------------------------------------------------------

    def _slice(self, name: str, begun: int, end: int, thread: int, cat: str, **args: Any) -> Event:
        event = self._event("X", name, begun, thread, cat=cat, args=args)
        event["dur"] = (end - begun) / 1000
        return event

    def _event(self, ph: str, name: str, at: int, thread: int, **more: Any) -> Event:
        return {"ph": ph, "name": name, "pid": self._pid, "tid": thread, "ts": at / 1000, **more}
