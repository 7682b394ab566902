"""What `top` shows over its table: a text to read, and a question to answer."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

__all__ = ["Question", "Reading"]

_FRAME = """
    align: center middle;
    VerticalScroll, #words { border: round $primary; padding: 0 1; background: $surface; }
"""


class Reading(ModalScreen[None]):
    """A text, which can be scrolled, until it is closed.

    Args:
        title: above it.
        text: shown as it is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,s,question_mark", "dismiss", "close"),
    ]
    DEFAULT_CSS: ClassVar[str] = (
        "Reading {" + _FRAME + " VerticalScroll { width: 90%; height: 80%; } }"
    )

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title, self._text = title, text

    def compose(self) -> ComposeResult:
        """The parts, for textual."""
        with VerticalScroll() as frame:
            yield Static(self._text, markup=False, id="text")
        frame.border_title = escaped(self._title)
        frame.border_subtitle = "Esc closes"

    def on_mount(self) -> None:
        """Keys scroll it at once."""
        self.query_one(VerticalScroll).focus()


class Question(ModalScreen[bool]):
    """A question: `y` is yes, and everything else is no.

    Args:
        words: what is asked.
    """

    DEFAULT_CSS: ClassVar[str] = (
        "Question {" + _FRAME + " #words { width: auto; max-width: 90%; } }"
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "dismiss(True)", "yes"),
        Binding("n,escape,q,enter", "dismiss(False)", "no"),
    ]

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words

    def compose(self) -> ComposeResult:
        """The parts, for textual."""
        yield Static(f"{self._words}  (y/n)", markup=False, id="words")


def escaped(text: str) -> str:
    """The text where textual would take what is in brackets for a style."""
    return text.replace("[", "\\[")
