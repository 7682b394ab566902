"""The table of faults is whole, and the page in the documentation is what the tests say."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import (
    test_death,
    test_input,
    test_lifecycle,
    test_restarts,
    test_streams_and_resources,
)
from tests.faults._table import FAULTS, NUMBERS, fault
from tests.faults.page import CODA, INTRODUCTION, PAGE

MODULES = (test_death, test_input, test_lifecycle, test_restarts, test_streams_and_resources)


def test_each_fault_has_a_test() -> None:
    assert sorted({one.number for one in FAULTS.values()}) == list(NUMBERS)
    assert len(NUMBERS) == 60


def test_each_test_of_a_fault_is_in_the_table_and_is_there() -> None:
    named = {name for module in MODULES for name in vars(module) if name.startswith("test_")}
    assert {name for name in named if name[5:7].isdigit()} == FAULTS.keys()


def test_each_row_says_something_of_its_own() -> None:
    titles = [one.title for one in FAULTS.values()]
    assert len(set(titles)) == len(titles)
    assert all(one.sees for one in FAULTS.values())


def test_the_page_has_each_row() -> None:
    """How long it took changes from run to run; all else is to be as the tests say."""
    text = Path(PAGE).read_text("utf-8")
    for one in FAULTS.values():
        row = f"| {one.number} | {one.title} | {one.sees} |"
        assert row in text, "run python -m tests.faults"


def test_the_rest_of_the_page_is_what_would_be_written() -> None:
    text = Path(PAGE).read_text("utf-8")
    assert text.startswith(INTRODUCTION), "run python -m tests.faults"
    assert text.endswith(CODA), "run python -m tests.faults"


def test_a_fault_that_does_not_exist_is_refused() -> None:
    def test_61_more() -> None: ...

    with pytest.raises(ValueError, match="no fault 61"):
        fault(61, "more", sees="")
    with pytest.raises(ValueError, match="begin with test_01_"):
        fault(1, "one", sees="")(test_61_more)


def test_the_command_that_writes_the_page_runs_the_tests(tmp_path: Path) -> None:
    places = [f"--basetemp={tmp_path / 'its'}", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "tests.faults", "-k", "test_03_", *places]
    ended = subprocess.run(
        command, cwd=PAGE.parents[1], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == 0, ended.stdout
    assert "3 passed" in ended.stdout
