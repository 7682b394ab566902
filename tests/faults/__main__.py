"""``python -m tests.faults``: make every fault happen, and write down what came of it.

With arguments, which are for pytest, nothing is written. No ``conftest`` may be imported from here:
pytest would take none of the fixtures of one that is imported before it begins.
"""

import sys

import pytest

from tests.faults.page import PAGE, Watcher, text_of


def main() -> int:
    """Run the tests, those that take minutes too, in this process; the exit code is pytest's."""
    watcher = Watcher()
    # No test of the page itself: it is written afterwards.
    arguments = ["tests/faults", "-q", "-m", "", "--deselect=tests/faults/test_table.py"]
    code = pytest.main([*arguments, *sys.argv[1:]], plugins=[watcher])
    if code == pytest.ExitCode.OK and not sys.argv[1:]:
        PAGE.write_text(text_of(watcher), "utf-8")
    return int(code)


if __name__ == "__main__":
    raise SystemExit(main())
