"""The core of what `make test-ray` runs: enough to see that a change breaks nothing there.

It runs in another process, since one that has Ray in it can't be forked any more, and in a single
test, so that one worker alone starts a cluster.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 100
CORE = [
    "tests/on_ray/test_cluster.py::test_an_actor_that_is_left_is_found",
]


@pytest.mark.timeout(SECONDS + 15)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_the_core_of_the_suite_holds_on_ray(tmp_path: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}", "--engine=ray"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *CORE],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
