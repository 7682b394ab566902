"""What is shown in a terminal: words that can't do harm there, amounts, and tables that fit."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from .._fast_typing import NamedTuple

__all__ = [
    "Column",
    "amount",
    "cells_of",
    "duration",
    "first_line",
    "fit",
    "layout",
    "line",
    "shown",
    "size",
    "table",
]

GAP: Final = 2
"""Cells between two columns."""
CUT: Final = "…"
"""Stands where a text was too long."""


def shown(text: str) -> str:
    """The text on one line, without anything that a terminal would obey or that hides itself.

    >>> shown("a\\x1b[2J\\nb")
    'a\\\\x1b[2J\\\\nb'
    """
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def first_line(error: BaseException) -> str:
    """What an error says, on one line.

    >>> first_line(TimeoutError("no answer\\n\\nIts stacks: ...")), first_line(KeyError())
    ('no answer', 'KeyError')
    """
    return shown(str(error).partition("\n")[0]) or type(error).__name__


def cells_of(text: str) -> int:
    """How many cells of a terminal a text takes.

    >>> cells_of("日本"), cells_of("e\\u0301")
    (4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(_cells(one) for one in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, cells: int, right: bool = False) -> str:
    """The text in exactly so many cells: cut, or filled with spaces, at the left if `right`.

    >>> fit("counter", 5), fit("7", 3, right=True)
    ('coun…', '  7')
    """
    taken = cells_of(text)
    if taken > cells:
        text = _cut(text, cells)
        taken = cells_of(text)
    fill = " " * (cells - taken)
    return fill + text if right else text + fill


def _cut(text: str, cells: int) -> str:
    kept, left = [], cells - len(CUT)
    for one in text:
        left -= _cells(one)
        if left < 0:
            break
        kept.append(one)
    return "".join(kept) + CUT if cells else ""


def duration(seconds: float) -> str:
    """So much time, in at most six characters.

    >>> [duration(one) for one in (0.04, 3.25, 75, 7300, 200_000)]
    ['40ms', '3.2s', '1m15s', '2h01m', '2d07h']
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def size(amount_of_bytes: float) -> str:
    """So much memory.

    >>> size(5_242_880), size(999)
    ('5.0 MB', '999 B')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if amount_of_bytes < 1024:
            return f"{amount_of_bytes:.{0 if unit == 'B' or amount_of_bytes >= 10 else 1}f} {unit}"
        amount_of_bytes /= 1024
    return f"{amount_of_bytes:.1f} TB"


def amount(number: float) -> str:
    """So many, in at most five characters.

    >>> [amount(one) for one in (0, 0.25, 7.5, 1234.5, 98_765)]
    ['0', '0.2', '7.5', '1234', '98.8k']
    """
    if number < 10:
        return f"{number:.1f}".removesuffix(".0")
    return f"{number:.0f}" if number < 10_000 else f"{number / 1000:.1f}k"


class Column(NamedTuple):
    """One column of a table."""

    title: str
    right: bool = False
    """Whether its texts end at its right side, as numbers do."""
    least: int = 0
    """To how many cells it may be cut where there is little room; 0: it may not be."""
    rank: int = 0
    """Those of the highest rank are left out first where there is little room; 0: it never is."""


def layout(columns: Sequence[Column], natural: Sequence[int], room: int | None) -> list[int]:
    """How many cells each column has of `room` (None: as many as it likes); 0: it is left out.

    Args:
        natural: how many it would like to have.

    >>> layout([Column("name", least=4), Column("pid", rank=1)], [20, 6], 16)
    [8, 6]
    >>> layout([Column("name", least=4), Column("pid", rank=1)], [20, 6], 11)
    [11, 0]
    """
    widths = [
        max(cells, cells_of(column.title)) for column, cells in zip(columns, natural, strict=True)
    ]
    if room is None:
        return widths
    kept = dict(enumerate(widths))
    least = {at: min(widths[at], columns[at].least or widths[at]) for at in kept}
    while _together(least[at] for at in kept) > room:
        if not (can_go := [at for at in kept if columns[at].rank]):
            break
        del kept[max(can_go, key=lambda at: (columns[at].rank, at))]
    while _together(kept.values()) > room:
        if not (can_shrink := [at for at in kept if kept[at] > least[at]]):
            break
        kept[max(can_shrink, key=lambda at: (kept[at], at))] -= 1
    return [kept.get(at, 0) for at in range(len(columns))]


def _together(widths: Iterable[int]) -> int:
    """How many cells columns of these widths take, with the gaps between them."""
    return sum(width + GAP for width in widths) - GAP


def line(columns: Sequence[Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    """One line of a table of these widths."""
    return (" " * GAP).join(
        fit(cell, width, column.right)
        for column, width, cell in zip(columns, widths, cells, strict=True)
        if width
    )


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int | None = None
) -> list[str]:
    """The lines of a table, its titles first.

    >>> table([Column("name"), Column("pid", right=True)], [("counter", "7")])
    ['name     pid', 'counter    7']
    """
    natural = [max((cells_of(row[at]) for row in rows), default=0) for at in range(len(columns))]
    widths = layout(columns, natural, room)
    titles = [column.title for column in columns]
    return [line(columns, widths, cells).rstrip() for cells in (titles, *rows)]
