"""The core of what `make test-ray` runs: enough to see that a change breaks nothing there.

It runs in another process, since one that has Ray in it can't be forked any more, and in a single
test, so that one worker alone starts a cluster.
"""

import faulthandler
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 100
CORE = [
    "tests/operations/test_every_operation_from_anywhere.py::test_every_operation_works_for_the_owner",
    "tests/test_calls.py::test_every_operation_gives_a_future_of_its_outcome",
    "tests/test_asyncio.py::test_every_operation_can_be_awaited",
    "tests/test_streams.py::test_every_engine_streams",
    "tests/lifecycle/test_errors_on_leaving.py::test_an_error_of_cleanup_is_raised_on_leaving",
    "tests/on_ray/test_cluster.py::test_an_actor_that_is_left_is_found",
    "tests/on_ray/test_ends.py::test_a_killed_worker_fails_every_pending_call_within_a_second",
    "tests/on_ray/test_handles.py::test_a_handle_goes_into_a_task_of_ray_and_back",
    "tests/on_ray/test_placement.py::test_an_actor_that_no_node_can_take_says_what_is_missing",
    "tests/on_ray/test_together.py::test_a_pool_without_objects_runs_functions_on_the_cluster",
    "tests/on_ray/test_together.py::test_arrays_go_there_and_come_back[ray-8]",
]


@pytest.mark.timeout(SECONDS + 15)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_the_core_of_the_suite_holds_on_ray(tmp_path: Path) -> None:
    # That it takes long here is no hang; the run inside says of each of its tests where it hangs.
    faulthandler.cancel_dump_traceback_later()
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
