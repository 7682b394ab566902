"""Fixtures of the tests of supervisors."""

from pathlib import Path

import pytest

from tests.lifecycle.programs import Diary


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)
