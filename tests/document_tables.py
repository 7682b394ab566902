"""How wide the tables of a Markdown document are at least.

A browser makes the columns of a table narrower until each is as wide as the widest thing in it that
it can't break. Text and code break between words only. If the columns are together wider than the
page, the table is cut off, and the reader has to scroll sideways.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["PAGE", "Table", "tables"]

# In em, the size of the text. The theme of the documentation (furo) makes a page 46 em wide.
PAGE = 45.5
CELL = 1.1
"""What a cell has around its text: padding, the margin of the paragraph, and a border."""
CHARACTER = 0.55
"""A character of a word on the average, in DejaVu Sans, which is wider than most fonts."""
CODE_CHARACTER = 0.6 * 0.8125
"""In code all are 0.6 em wide, and code is smaller."""
CODE_MARGIN = 0.25
"""On each side of a piece of code."""


class Table(NamedTuple):
    """``line`` is that of its head, counted from 1; ``columns`` are their least widths, in em."""

    line: int
    columns: list[float]

    @property
    def width(self) -> float:
        return sum(self.columns) + CELL * len(self.columns)


def tables(document: str) -> list[Table]:
    """All tables of a document, in order."""
    found: list[Table] = []
    column = 0
    for token in MarkdownIt("commonmark").enable("table").parse(document):
        if token.type == "table_open":
            found.append(Table((token.map or [0])[0] + 1, []))
        elif token.type == "tr_open":
            column = 0
        elif token.type in ("th_open", "td_open"):
            column += 1
        elif token.type == "inline" and column:
            columns = found[-1].columns
            columns.extend([0.0] * (column - len(columns)))
            columns[column - 1] = max(columns[column - 1], *_words(token.children or []), 0.0)
        elif token.type == "table_close":
            column = 0
    return found


def _words(inline: Sequence[Token]) -> Iterator[float]:
    """The width of each word of a cell; one that is partly code has the width of its parts."""
    width = 0.0
    for token in inline:
        code = token.type == "code_inline"
        width += CODE_MARGIN * code
        for character in token.content if code or token.type == "text" else "":
            if character.isspace():
                yield width
                width = 0.0
            else:
                width += CODE_CHARACTER if code else CHARACTER
        width += CODE_MARGIN * code
        if token.type in ("softbreak", "hardbreak"):
            yield width
            width = 0.0
    yield width
