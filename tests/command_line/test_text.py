"""What is shown fits the terminal, and can't do harm there."""

import pytest

from remoteobj.cli.text import Column, cells_of, fit, layout, shown, size, table


@pytest.mark.parametrize(
    ("name", "as_shown"),
    [
        ("front", "front"),
        ("日本 cam", "日本 cam"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("two\nlines\t.", "two\\nlines\\t."),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b2J", "\\x9b2J"),
        ("lone \ud800", "lone \\ud800"),
        ("", ""),
    ],
)
def test_what_a_terminal_would_obey_or_hide_is_shown_as_python_writes_it(
    name: str, as_shown: str
) -> None:
    assert shown(name) == as_shown


@pytest.mark.parametrize("text", ["", "a", "counter", "日本語の名前", "e\u0301" * 4])
@pytest.mark.parametrize("cells", [0, 1, 2, 3, 7, 20])
def test_a_fitted_text_takes_just_so_many_cells(text: str, cells: int) -> None:
    assert cells_of(fit(text, cells)) == cells_of(fit(text, cells, right=True)) == cells


COLUMNS = (Column("NAME", least=4), Column("CALL", least=4, rank=1), Column("PID", rank=2))


@pytest.mark.parametrize(
    ("room", "widths"),
    [
        (None, [20, 10, 6]),
        (40, [20, 10, 6]),
        (30, [10, 10, 6]),
        (18, [4, 4, 6]),
        (17, [8, 7, 0]),  # the highest rank goes first
        (9, [9, 0, 0]),
        (1, [4, 0, 0]),  # what can't be left out is cut to its least
    ],
)
def test_where_there_is_little_room_columns_are_cut_and_then_left_out(
    room: int | None, widths: list[int]
) -> None:
    assert layout(COLUMNS, [20, 10, 6], room) == widths


def test_no_line_of_a_table_is_wider_than_the_terminal() -> None:
    rows = [("a name that is long 日本", "?.call(...)", "4711"), ("b", "", "1")]
    for room in range(6, 60):
        assert max(cells_of(line) for line in table(COLUMNS, rows, room)) <= room


def test_a_table_of_nothing_has_its_titles() -> None:
    assert table(COLUMNS, []) == ["NAME  CALL  PID"]


def test_an_amount_of_memory_takes_the_unit_that_fits() -> None:
    assert [size(10**n) for n in (2, 4, 7, 10, 13)] == [
        "100 B", "9.8 kB", "9.5 MB", "9.3 GB", "9.1 TB",
    ]  # fmt: skip
