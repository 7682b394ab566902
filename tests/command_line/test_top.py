"""`remoteobj top`, driven by keys, over a made-up source: what is on its screen."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
from textual.pilot import Pilot

from remoteobj.cli.actor_table import ActorTable
from remoteobj.cli.rows import ORDERS, sorted_rows
from remoteobj.cli.top import HELP, Top
from remoteobj.errors import CallTimeoutError
from tests.command_line.fake_source import ROWS, FakeSource
from tests.command_line.picture import PICTURE, picture


class Screen:
    """The program in a terminal that is none."""

    def __init__(self, app: Top, source: FakeSource, pilot: Pilot[None]) -> None:
        self.app, self.source, self._pilot = app, source, pilot

    async def settle(self) -> None:
        """Until all that was begun is done and drawn."""
        await self._pilot.pause()
        await self.app.workers.wait_for_complete()
        await self._pilot.pause()

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)
        await self.settle()

    async def look(self) -> None:
        self.app.look()
        await self.settle()

    async def resize(self, columns: int, lines: int) -> None:
        await self._pilot.resize_terminal(columns, lines)
        await self.settle()

    @property
    def lines(self) -> list[str]:
        strips: Any = getattr(self.app.screen, "_compositor").render_strips()  # noqa: B009
        return ["".join(segment.text for segment in strip).rstrip() for strip in strips]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def names(self) -> list[str]:
        """In the table."""
        rows = self.lines[2:]
        return [line.split()[0] for line in rows[: rows.index("")] if line]


Test: TypeAlias = Callable[[Screen], Awaitable[None]]


def on_screen(columns: int = 100, lines: int = 16) -> Callable[[Test], Callable[[], None]]:
    """A test that has the program on a screen of this size."""

    def decorate(test: Test) -> Callable[[], None]:
        async def main() -> None:
            source = FakeSource()
            app = Top(source, None)
            async with app.run_test(size=(columns, lines)) as pilot:
                screen = Screen(app, source, pilot)
                await screen.settle()
                await test(screen)

        return lambda: asyncio.run(main())

    return decorate


@on_screen()
async def test_a_line_of_each_actor_says_what_it_is_doing(screen: Screen) -> None:
    assert screen.lines[0] == "6 actors  ·  4 busy  ·  1368 calls/s  ·  302% of a core  ·  by name"
    assert screen.lines[1].split() == [
        "NAME", "CLASS", "PID", "STATE", "CALL", "AGE", "QUEUE", "CALLS/S", "CPU", "MEMORY",
    ]  # fmt: skip
    assert screen.names == ["arm", "front", "index", "model", "planner", "table-1"]
    line = next(line for line in screen.lines if line.startswith("planner"))
    assert line.split()[:4] == ["planner", "Planner", "4712", "running"]
    assert line.split()[4:] == ["?.plan(...)", "12s", "3", "0.5", "99%", "212", "MB"]


@on_screen()
async def test_keys_order_and_reverse_the_lines(screen: Screen) -> None:
    await screen.press("o")
    assert "by cpu" in screen.lines[0]
    assert screen.names[:3] == ["model", "planner", "index"]
    await screen.press("r")
    assert screen.names[-3:] == ["index", "planner", "model"]
    await screen.press("r", "o")
    assert screen.names[:2] == ["model", "index"]  # by memory
    await screen.press(*["o"] * (len(ORDERS) - 2))
    assert screen.lines[0].endswith("by name"), "after the last one comes the first"


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("name", ["arm", "front"]),
        ("cpu", ["model", "planner"]),
        ("memory", ["model", "index"]),
        ("calls/s", ["table-1", "index"]),
        ("queue", ["index", "planner"]),
        ("age", ["arm", "planner"]),
        ("pid", ["front", "planner"]),
    ],
)
def test_each_order_has_what_is_looked_for_first_or_last(order: str, first: list[str]) -> None:
    assert [row.name for row in sorted_rows(ROWS, order)][:2] == first
    assert [row.name for row in sorted_rows(ROWS, order, backwards=True)][:-3:-1] == first


@on_screen(lines=9)
async def test_keys_move_the_cursor(screen: Screen) -> None:
    """There is room for five of twelve lines."""
    screen.source.rows = [ROWS[0]._replace(key=str(n), name=f"actor-{n:02}") for n in range(12)]
    await screen.look()
    room = len(screen.names)
    assert room < 11
    for keys, row in (("j pagedown", room + 1), ("pageup k", 0), ("G up", 10), ("g j", 1)):
        await screen.press(*keys.split())
        chosen = screen.app.query_one(ActorTable).chosen
        assert chosen is not None
        assert chosen.key == str(row), keys
        assert chosen.name in screen.names
    await screen.press("enter")
    assert screen.source.did == [("stack", "1")]


@on_screen()
async def test_a_filter_is_typed_and_taken_back(screen: Screen) -> None:
    await screen.press("slash", *"RUN pl")
    assert screen.names == ["planner"]
    assert "1 with 'RUN pl'" in screen.lines[0]
    await screen.press("enter", "s", "escape")
    assert screen.source.did == [("stack", "b")]
    await screen.press("escape")
    assert len(screen.names) == 6


@on_screen()
async def test_the_stacks_of_the_chosen_actor_are_shown_and_can_do_no_harm(screen: Screen) -> None:
    await screen.press("down", "s")
    assert "front (pid 4711)" in screen.text
    assert 'File "front.py", line 7, in grab' in screen.text
    assert "\\x1b[2Jread(self)" in screen.text
    await screen.press("q")  # closes the text, and not the program
    assert "grab" in screen.text
    assert "front.py" not in screen.text


@on_screen()
async def test_an_interruption_is_reported(screen: Screen) -> None:
    await screen.press("down", "i")
    assert "front: interrupted" in screen.text
    await screen.press("end", "i")
    assert "table-1 runs nothing that could be interrupted" in screen.text
    await screen.press("up", "up", "i")
    assert "model is starting" in screen.text
    assert screen.source.did == [("interrupt", "a"), ("interrupt", "c"), ("interrupt", "f")]


@on_screen()
async def test_to_stop_or_kill_needs_a_yes(screen: Screen) -> None:
    await screen.press("down", "x")
    assert "Kill front (pid 4711)?" in screen.text
    await screen.press("enter")
    await screen.press("t", "escape", "t", "n")
    assert "Stop front" not in screen.text
    assert screen.source.did == []
    await screen.press("t", "y")
    await screen.press("down", "x", "y")
    assert screen.source.did == [("stop", "a"), ("kill", "e")]
    assert "index was killed; its owner starts it again" in screen.text


@on_screen()
async def test_an_order_that_fails_is_one_line_and_the_table_goes_on(screen: Screen) -> None:
    screen.source.error = CallTimeoutError("it did not answer\n\nIts stacks: ...")
    await screen.press("s")
    assert "arm: it did not answer" in screen.text
    await screen.look()
    assert "it did not answer" in screen.text
    assert "Its stacks" not in screen.text
    screen.source.error = None
    screen.source.rows = ROWS[:1]
    await screen.look()
    assert screen.names == ["front"]


@on_screen()
async def test_the_cursor_stays_on_its_actor_wherever_that_goes(screen: Screen) -> None:
    await screen.press("down", "down")  # index
    screen.source.rows = [row for row in ROWS if row.name != "arm"]
    await screen.look()
    await screen.press("s", "escape")
    await screen.press("o", "s", "escape")
    assert screen.source.did == [("stack", "e"), ("stack", "e")]
    screen.source.rows = []
    await screen.look()
    await screen.press("s", "i", "t", "x")
    assert len(screen.source.did) == 2
    assert screen.lines[0].startswith("0 actors")


@on_screen(lines=10)
async def test_those_on_the_screen_are_wanted_the_most(screen: Screen) -> None:
    many = [ROWS[0]._replace(key=str(n), name=f"actor-{n:03}") for n in range(200)]
    screen.source.rows = many
    await screen.look()
    await screen.look()
    assert screen.source.wanted[-1] == [str(n) for n in range(6)]
    await screen.press("end")
    await screen.look()
    assert screen.source.wanted[-1] == [str(n) for n in range(194, 200)]
    await screen.press("pageup", "home")
    assert screen.names[0] == "actor-000"


@on_screen(columns=46, lines=10)
async def test_in_a_narrow_terminal_the_columns_that_matter_stay(screen: Screen) -> None:
    assert screen.lines[1].split() == ["NAME", "PID", "STATE", "CALL", "AGE", "CPU"]
    assert max(map(len, screen.lines)) <= 46
    await screen.resize(20, 5)
    assert max(map(len, screen.lines)) <= 20
    await screen.resize(120, 20)
    assert screen.lines[1].split()[-1] == "MEMORY"


@on_screen()
async def test_only_lines_that_have_changed_are_drawn_anew(screen: Screen) -> None:
    drawn: list[int] = []
    table = screen.app.query_one("ActorTable")
    original = table.render_line
    table.render_line = lambda y: (drawn.append(y), original(y))[1]  # type: ignore[func-returns-value, method-assign]
    await screen.look()
    assert drawn == []
    screen.source.rows = [row._replace(cpu=0.5) if row.key == "e" else row for row in ROWS]
    await screen.look()
    assert drawn == [3]


@on_screen()
async def test_a_name_is_never_taken_for_markup(screen: Screen) -> None:
    screen.source.rows = [ROWS[0]._replace(name="[red]x[/]\x1b[2J")]
    await screen.look()
    assert screen.lines[2].startswith("[red]x[/]\\x1b[2J")
    await screen.press("s")
    assert "[red]x[/]\\x1b[2J (pid" in screen.text
    await screen.press("escape", "x")
    assert "Kill [red]x[/]\\x1b[2J" in screen.text
    await screen.press("y")
    assert "[red]x[/]\\x1b[2J was killed" in screen.text


@on_screen(lines=40)
async def test_help_explains_every_column_and_key(screen: Screen) -> None:
    await screen.press("question_mark")
    for line in HELP.splitlines():
        assert line.strip() in screen.text


def test_q_ends_it_and_so_does_ctrl_c_wherever_one_is() -> None:
    async def main() -> None:
        for keys in (["q"], ["slash", "ctrl+c"], ["question_mark", "ctrl+c"]):
            app = Top(FakeSource(), None)
            async with app.run_test() as pilot:
                await pilot.press(*keys)
            assert app.return_code == 0
            assert not app.is_running

    asyncio.run(main())


def test_no_colour_where_nobody_wants_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert Top(FakeSource(), None).no_color


def test_the_picture_in_the_documentation_is_of_this_program() -> None:
    """`make picture` makes it anew. How its lines and colours are drawn is textual's business."""

    def words(svg: str) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>", svg)

    assert words(PICTURE.read_text("utf-8")) == words(asyncio.run(picture()))
