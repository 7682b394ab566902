"""The table of `top`: it draws the lines that are on the screen, and of these what has changed.

A table of textual's own makes each cell anew at each change, which would cost more than to look at
all the actors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from .rows import COLUMNS, Row, cells
from .text import GAP, cells_of, fit, layout

__all__ = ["ActorTable"]

STATE: Final = next(at for at, column in enumerate(COLUMNS) if column.title == "STATE")
STATES: Final = {
    "running": Style(color="green"),
    "silent": Style(color="red", bold=True),
    "suspended": Style(color="red", bold=True),
    "restarting": Style(color="yellow"),
    "orphaned": Style(color="red"),
    "starting": Style(color="yellow"),
    "draining": Style(color="yellow"),
}
PLAIN: Final = Style()
IDLE: Final = Style(dim=True)
CURSOR: Final = Style(reverse=True)
TITLES: Final = Style(bold=True, underline=True)

Drawn = tuple[tuple[str, Style], ...]
"""A line as it is drawn: parts, each with its style."""


class ActorTable(Widget, can_focus=True):
    """Rows under their titles, one of which the cursor is on."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "a page up", show=False),
        Binding("pagedown", "page(1)", "a page down", show=False),
        Binding("home,g", "first", "first", show=False),
        Binding("end,G", "last", "last", show=False),
    ]
    DEFAULT_CSS: ClassVar[str] = "ActorTable { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[Row] = []
        self._cells: list[tuple[str, ...]] = []
        self._natural = [len(column.title) for column in COLUMNS]
        self._widths = list(self._natural)
        self._at = 0
        """The row that the cursor is on."""
        self._top = 0
        """The row that is shown first."""
        self._screen_lines: list[Drawn] = []
        """What is on the screen."""

    # --- what it shows ---------------------------------------------------------------------

    @property
    def chosen(self) -> Row | None:
        """The row that the cursor is on."""
        return self._rows[self._at] if self._rows else None

    @property
    def on_screen(self) -> list[str]:
        """Which rows can be seen."""
        return [row.key for row in self._rows[self._top : self._top + self._room]]

    @property
    def _room(self) -> int:
        """For how many rows there is room below the titles."""
        return max(1, self.size.height - 1)

    def show(self, rows: Sequence[Row]) -> None:
        """Show these. The cursor stays on its row, wherever that is now."""
        chosen = self.chosen
        self._rows, self._cells = list(rows), [cells(row) for row in rows]
        if chosen is not None:
            keys = [row.key for row in rows]
            self._at = keys.index(chosen.key) if chosen.key in keys else self._at
        for at, wide in enumerate(self._natural):
            # A column that has been wide stays so, else the whole table would move to and fro.
            self._natural[at] = max([wide, *(cells_of(one[at]) for one in self._cells)])
        self._draw()

    def _draw(self) -> None:
        """Have those lines drawn that are no more as they are on the screen."""
        self._at = max(0, min(self._at, len(self._rows) - 1))
        furthest = max(0, len(self._rows) - self._room)
        self._top = min(max(self._top, self._at - self._room + 1), self._at, furthest)
        self._widths = layout(COLUMNS, self._natural, self.size.width)
        before = self._screen_lines
        self._screen_lines = [self._drawn(y) for y in range(self.size.height)]
        for y, now in enumerate(self._screen_lines):
            if y >= len(before) or before[y] != now:
                self.refresh(Region(0, y, self.size.width, 1))

    def _drawn(self, y: int) -> Drawn:
        if y == 0:
            return tuple(self._parts([column.title for column in COLUMNS], TITLES, TITLES))
        at = self._top + y - 1
        if at >= len(self._rows):
            return ()
        row = self._rows[at]
        if at == self._at:
            return tuple(self._parts(self._cells[at], CURSOR, CURSOR))
        plain = PLAIN if row.call is not None or row.cpu >= 0.01 else IDLE
        return tuple(self._parts(self._cells[at], plain, STATES.get(row.state, plain)))

    def _parts(
        self, texts: Sequence[str], plain: Style, of_state: Style
    ) -> list[tuple[str, Style]]:
        parts = []
        for at, (column, width) in enumerate(zip(COLUMNS, self._widths, strict=True)):
            if width:
                style = of_state if at == STATE else plain
                parts += [(fit(texts[at], width, column.right), style), (" " * GAP, plain)]
        return parts

    def render_line(self, y: int) -> Strip:
        """One line of the screen, for textual."""
        drawn = self._screen_lines[y] if y < len(self._screen_lines) else ()
        strip = Strip([Segment(text, style) for text, style in drawn])
        strip = strip.adjust_cell_length(self.size.width, drawn[-1][1] if drawn else None)
        return strip.apply_style(self.rich_style)  # below what is drawn

    # --- what moves ------------------------------------------------------------------------

    def on_resize(self) -> None:
        """There is more room, or less."""
        self._draw()
        self.refresh()

    def action_move(self, rows: int) -> None:
        """Move the cursor by so many rows."""
        self._at += rows
        self._draw()

    def action_page(self, pages: int) -> None:
        """Move it by so many pages."""
        self.action_move(pages * self._room)

    def action_first(self) -> None:
        """Move it to the first row."""
        self.action_move(-len(self._rows))

    def action_last(self) -> None:
        """Move it to the last row."""
        self.action_move(len(self._rows))

    def on_click(self, event: events.Click) -> None:
        """Move it to the row that was clicked."""
        if event.y > 0:
            self.action_move(self._top + event.y - 1 - self._at)

    def on_mouse_scroll_down(self) -> None:
        """The wheel was turned."""
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        """The wheel was turned back."""
        self.action_move(-1)
