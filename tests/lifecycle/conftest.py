"""Fixtures of the lifecycle tests: a diary, and programs that write in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.internals import sweep
from tests.lifecycle.programs import PRELUDE, Diary
from tests.tools import Script


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)


@pytest.fixture
def script(tmp_path: Path, diary: Diary) -> Iterator[Callable[..., Script]]:
    """Start a program; what it leaves when it is killed is removed."""
    started: list[Script] = []

    def start(source: str, *args: object, **environment: str) -> Script:
        path = tmp_path / f"script{len(started)}.py"
        program = Script(path, source, diary.path, *args, prelude=PRELUDE, **environment)
        started.append(program)
        return program

    yield start
    for one in started:
        one.close()
    sweep()
