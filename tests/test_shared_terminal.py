"""A terminal in turns: who has read a line has the next one too, until it gives its turn up."""

import threading
from collections.abc import Iterator

import pytest

from remoteobj._actor import terminal as module
from remoteobj._actor.terminal import SharedTerminal
from remoteobj._wire.turns import Turn
from tests.pseudo_terminals import PseudoTerminal
from tests.tools import Call, until


@pytest.fixture
def screen() -> Iterator[PseudoTerminal]:
    made = PseudoTerminal()
    yield made
    made.close()


@pytest.fixture
def two(screen: PseudoTerminal) -> Iterator[tuple[SharedTerminal, SharedTerminal]]:
    made = SharedTerminal(screen.path), SharedTerminal(screen.path)
    yield made
    for one in made:
        one.give()
    until(lambda: not any(one.name == "remoteobj-terminal" for one in threading.enumerate()))


def test_the_turn_is_kept_between_lines_and_given_up_at_the_end(
    screen: PseudoTerminal,
    two: tuple[SharedTerminal, SharedTerminal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOMENT_SECONDS", 60.0)
    first, second = two
    first.write("first asks> ")
    screen.type("one")
    assert first.readline() == "one\n"
    second.write("second asks> ")
    waiting = Call(second.readline)
    until(lambda: waiting.is_in(Turn.take))
    screen.type("two")
    first.write("again> ")
    assert first.readline() == "two\n"
    assert "second" not in screen.until("again> ")
    first.give()
    assert "---" in screen.until("second asks> ")
    screen.type("three")
    assert waiting.result() == "three\n"


def test_who_asks_for_no_further_line_gives_up_the_turn_after_a_moment(
    screen: PseudoTerminal,
    two: tuple[SharedTerminal, SharedTerminal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MOMENT_SECONDS", 0.0)
    first, second = two
    screen.type("one")
    assert first.readline() == "one\n"
    screen.type("two")
    assert Call(second.readline).result() == "two\n"
    screen.type("three")
    assert first.readline() == "three\n"


def test_what_is_written_while_another_asks_is_shown_with_the_next_prompt(
    screen: PseudoTerminal, two: tuple[SharedTerminal, SharedTerminal]
) -> None:
    first, second = two
    screen.type("one")
    first.readline()
    second.write("not yet")
    first.give()
    first.write("nor this")
    screen.type("two")
    second.readline()
    shown = screen.until("not yet")
    assert shown.count("---") == 4
    assert "nor this" not in shown
