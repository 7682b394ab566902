"""`remoteobj top`: a live table of all actors, and keys to look into them and to end them.

::

    timer → look, in a thread → Source.look → rows → sorted, filtered → ActorTable
    key   → order, in a thread → Source.stack, interrupt, stop, kill → a text, or a line at the end
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, TypeVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.types import AnimationLevel
from textual.widgets import Footer, Input, Static

from ..errors import RemoteObjError
from .actor_table import ActorTable
from .dialogs import Question, Reading
from .rows import ORDERS, Row, Source, matches, sorted_rows
from .text import amount, first_line, shown

__all__ = ["HELP", "Top"]

T = TypeVar("T")

HELP = """\
Each line is an actor. What can't be known yet is empty.

NAME     its name
CLASS    the class of its object
PID      its process
STATE    starting, running, draining (it stops in order),
         restarting, suspended (a signal has stopped it),
         orphaned (its program has died, so that it ends), or
         silent: code that holds its interpreter keeps it busy
CALL     the call that it runs now, and AGE: for how long;
         +2: it runs two more
QUEUE    how many calls wait
CALLS/S  how many calls it has done per second
CPU      how much of a core its process has used
MEMORY   how much physical memory it takes

up, down, j, k    move            PgUp, PgDn, g, G   move far
s, Enter          its stacks      i                  interrupt its call
t                 stop in order   x                  kill
o                 next order      r                  reverse the order
/                 filter          Esc                end the filter
?                 this help       q                  quit
"""


class Top(App[None]):
    """The program.

    Args:
        source: where the rows come from.
        interval: seconds from look to look. None: only when `look` is called.
    """

    TITLE: str | None = "remoteobj top"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False
    CSS: ClassVar[str] = """
        #summary { height: 1; text-style: bold; }
        #filter { display: none; border: none; height: 1; padding: 0; }
        #filter.open { display: block; }
        #said { height: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s,enter", "stack", "stack"),
        Binding("i", "interrupt", "interrupt"),
        Binding("t", "stop", "stop"),
        Binding("x", "kill", "kill"),
        Binding("o", "order", "order"),
        Binding("r", "reverse", "reverse"),
        Binding("slash", "filter", "filter"),
        Binding("escape", "no_filter", "no filter", show=False),
        Binding("question_mark", "help", "help"),
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True),
    ]

    def __init__(self, source: Source, interval: float | None = 0.5) -> None:
        super().__init__()
        self._source = source
        self._interval = interval
        self._rows: list[Row] = []
        self._order, self._backwards, self._words = "name", False, ""
        self._looking = False

    def compose(self) -> ComposeResult:
        """The parts, for textual."""
        yield Static("", markup=False, id="summary")
        yield ActorTable()
        yield Static("", markup=False, id="said")
        yield Input(placeholder="words that a line must have", id="filter", compact=True)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        """Look for the first time, and from now on."""
        self.animation_level: AnimationLevel = (
            "none"  # each picture of one would cost as much as a look
        )
        self._table.focus()
        self.look()
        if self._interval is not None:
            self.set_interval(self._interval, self.look)

    @property
    def _table(self) -> ActorTable:
        # Not that of a screen that lies over it.
        return self.screen_stack[0].query_one(ActorTable)

    # --- looking ---------------------------------------------------------------------------

    def look(self) -> None:
        """Look at all actors, unless the last look still goes on."""
        if not self._looking:
            self._looking = True
            on_screen = self._table.on_screen
            self.run_worker(partial(self._look, on_screen), thread=True, group="look")

    def _look(self, on_screen: list[str]) -> None:
        try:
            rows = self._source.look(on_screen)
        except (RemoteObjError, OSError) as exc:
            self.call_from_thread(self._looked, None, first_line(exc))
        else:
            self.call_from_thread(self._looked, rows, "")

    def _looked(self, rows: list[Row] | None, error: str) -> None:
        self._looking = False
        if rows is None:
            self.say(error)
            return
        self._rows = rows
        self._show()

    def _show(self) -> None:
        chosen = [row for row in self._rows if matches(row, self._words)]
        self._table.show(sorted_rows(chosen, self._order, self._backwards))
        calls = sum(row.calls for row in self._rows)
        busy = sum(row.call is not None for row in self._rows)
        parts = [
            f"{len(self._rows)} actor{'s' * (len(self._rows) != 1)}",
            f"{busy} busy",
            f"{amount(calls)} calls/s",
            f"{sum(row.cpu for row in self._rows) * 100:.0f}% of a core",
            f"by {self._order}" + ", reversed" * self._backwards,
        ]
        if self._words:
            parts.append(f"{len(chosen)} with {shown(self._words)!r}")
        self._set("#summary", "  ·  ".join(parts))

    def _set(self, selector: str, text: str) -> None:
        line = self.screen_stack[0].query_one(selector, Static)
        if str(line.content) != text:
            line.update(text, layout=False)  # it is one line, whatever it says

    def say(self, words: str) -> None:
        """Say something below the table, until there is something else to say."""
        self._set("#said", shown(words))

    # --- what keys do ----------------------------------------------------------------------

    def action_stack(self) -> None:
        """Show the stacks of the chosen actor."""
        if (row := self._table.chosen) is not None:
            self._order_of(row, lambda: self._source.stack(row.key), partial(self._read, row))

    def _read(self, row: Row, stack: str) -> None:
        # Only the newlines are ours: a name of a thread or a function may hold anything.
        text = "\n".join(shown(line) for line in stack.splitlines())
        self.push_screen(Reading(f"{shown(row.name)} (pid {row.pid})", text))

    def action_interrupt(self) -> None:
        """Interrupt what the chosen actor runs."""
        if (row := self._table.chosen) is not None:
            starts = row.state == "starting"
            not_done = "is starting" if starts else "runs nothing that could be interrupted"
            self._order_of(
                row,
                lambda: self._source.interrupt(row.key),
                lambda did: self.say(
                    f"{row.name}: interrupted" if did else f"{row.name} {not_done}"
                ),
            )

    def action_stop(self) -> None:
        """Stop the chosen actor, if that is meant."""
        self._end("Stop", self._source.stop, "has stopped", "is told to stop")

    def action_kill(self) -> None:
        """Kill the chosen actor, if that is meant."""
        self._end("Kill", self._source.kill, "was killed", "is killed")

    def _end(self, verb: str, order: Callable[[str], bool], done: str, doing: str) -> None:
        row = self._table.chosen
        if row is None:
            return

        def ended(is_started_again: bool) -> None:
            again = "; its owner starts it again" if is_started_again else ""
            self.say(f"{row.name} {done}{again}")

        def answered(yes: bool | None) -> None:
            if yes:
                self.say(f"{row.name} {doing}")
                self._order_of(row, lambda: order(row.key), ended)

        self.push_screen(Question(f"{verb} {shown(row.name)} (pid {row.pid})?"), answered)

    def _order_of(self, row: Row, order: Callable[[], T], then: Callable[[T], object]) -> None:
        """Give an order in a thread, which may take a second, and go on with its answer here."""

        def give() -> None:
            try:
                answer = order()
            except (RemoteObjError, OSError) as exc:
                self.call_from_thread(self.say, f"{row.name}: {first_line(exc)}")
            else:
                self.call_from_thread(then, answer)

        self.run_worker(give, thread=True, group="orders")

    def action_order(self) -> None:
        """Take the next order of rows."""
        orders = list(ORDERS)
        self._order = orders[(orders.index(self._order) + 1) % len(orders)]
        self._show()

    def action_reverse(self) -> None:
        """Turn the order around."""
        self._backwards = not self._backwards
        self._show()

    def action_help(self) -> None:
        """Show what all of it means."""
        self.push_screen(Reading("help", HELP))

    # --- the filter ------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Type words that the lines must have."""
        line = self.query_one("#filter", Input)
        line.add_class("open")
        line.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """A letter was typed."""
        self._words = event.value
        self._show()

    def on_input_submitted(self) -> None:
        """Enter: the filter stays."""
        self.query_one("#filter", Input).remove_class("open")
        self._table.focus()

    def action_no_filter(self) -> None:
        """Show all lines again."""
        self.query_one("#filter", Input).value = ""
        self.on_input_submitted()
