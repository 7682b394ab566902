"""Fixtures of the lifecycle tests: a diary, and programs that write in it."""

from pathlib import Path

import pytest

from tests.lifecycle.programs import PRELUDE, Diary
from tests.tools import Script, Scripts


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)


@pytest.fixture
def script(script: Scripts, diary: Diary) -> Scripts:
    """Programs begin with the prelude, and their first argument is the diary's path."""

    def start(source: str, *args: object, **environment: str) -> Script:
        return script(source, diary.path, *args, prelude=PRELUDE, **environment)

    return start
