"""A run of the tests that fails ends with the names of what has failed."""

import pytest

TESTS = """
import pytest

@pytest.fixture
def torn():
    yield
    raise OSError

def test_good(): pass
def test_bad(): assert 0
def test_good_and_torn(torn): pass
"""


def last_lines(pytester: pytest.Pytester, *names: str) -> list[str]:
    pytester.makeconftest("from tests.conftest import pytest_terminal_summary, pytest_unconfigure")
    path = pytester.makepyfile(TESTS)
    ended = pytester.runpytest_inprocess(*(f"{path.name}::{name}" for name in names))
    return ended.outlines[-3:]


def test_they_are_the_last_lines(pytester: pytest.Pytester) -> None:
    path = f"{test_they_are_the_last_lines.__name__}.py"
    assert last_lines(pytester, "test_good", "test_bad", "test_good_and_torn") == [
        "2 failed:",
        f"{path}::test_bad",
        f"{path}::test_good_and_torn",
    ]


def test_where_all_have_passed_nothing_is_added(pytester: pytest.Pytester) -> None:
    assert "1 passed" in last_lines(pytester, "test_good")[-1]
