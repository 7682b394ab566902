"""Fixtures of the tests of supervisors."""

from pathlib import Path

import pytest

from tests.lifecycle.programs import Diary
from tests.tools import Script, Scripts

PRELUDE = """\
import gc, os, signal, sys, threading
from pathlib import Path
from remoteobj import Supervisor, spawn
from tests.lifecycle.programs import Diary
from tests.supervision.children import Child, Starter
from tests.supervision.family import spawn_all
from tests.tools import kill, until
how = Path(sys.argv[1])
diary = Diary(how.parent)

"""


@pytest.fixture
def diary(tmp_path: Path) -> Diary:
    return Diary(tmp_path)


@pytest.fixture
def how(tmp_path: Path) -> Path:
    """The file that says how a `Starter` starts."""
    return tmp_path / "how"


@pytest.fixture
def script(script: Scripts, how: Path) -> Scripts:
    """Programs begin with the prelude: they know the diary and the file `how`."""

    def start(source: str, *args: object, **environment: str) -> Script:
        return script(source, how, *args, prelude=PRELUDE, **environment)

    return start
