"""A notebook runs from its first cell to its last, in a real kernel, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.tools import until_gone

pytest.importorskip("ipykernel")
pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parents[1] / "examples" / "notebook.ipynb"
SECONDS = 60
ENDING = 10.0

RUN = """
import json, sys
import nbformat
from nbclient import NotebookClient

notebook = nbformat.read(sys.argv[1], as_version=4)
for source in json.loads(sys.argv[2]):
    notebook.cells.append(nbformat.v4.new_code_cell(source))
NotebookClient(notebook, timeout=30, kernel_name="python3").execute()
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
print(json.dumps([[cell.source, cell.outputs] for cell in cells]))
"""


def run(directory: Path, *more_cells: str) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each code cell of the notebook, and of what is added to it, with its outputs."""
    places = ["HOME", "IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"]
    with subprocess.Popen(
        [sys.executable, "-c", RUN, NOTEBOOK, json.dumps(more_cells)],
        cwd=directory,
        env={**os.environ, **{place: str(directory / place) for place in places}},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail(f"still running after {SECONDS} s: {process.communicate()}")
    assert process.returncode == 0, errors
    *_, result = output.splitlines()  # behind what the actors print to the terminal, too
    return [(source, outputs) for source, outputs in json.loads(result)]


def texts(outputs: list[dict[str, Any]]) -> str:
    """What a cell shows to those that can't show more than text."""
    return "".join(
        output["text"] if output["output_type"] == "stream" else output["data"]["text/plain"]
        for output in outputs
    )


LEFT_BEHIND = """
from remoteobj import options
left = [options(start_method=how).spawn(dict) for how in ("fork", "spawn")]
[one.pid_ for one in left]
"""


@pytest.mark.timeout(SECONDS + 15)
def test_the_notebook_runs_and_its_kernel_leaves_no_actor_behind(tmp_path: Path) -> None:
    cells = run(tmp_path, LEFT_BEHIND)
    shown = {source.splitlines()[-1]: outputs for source, outputs in cells}
    assert texts(shown["counter.add(5)"]) == "15"
    assert texts(shown["counter.value"]) == "<Remote by fork : (?.value)>"
    assert texts(shown["counter.value.__"]) == "15"
    assert "add(n: int = 1) -> int\n    Add a number" in texts(shown["help(counter.add)"])
    (table,) = [output for output in shown["counter"] if "text/html" in output["data"]]
    assert "__main__.Counter</td>" in table["data"]["text/html"]
    assert ">stopped</td>" in table["data"]["text/html"], "the last cell that shows it"
    assert texts(shown["await counter.async_.add(1)"]) == "16"
    assert texts(shown["spawned.add(1)"]) == "101"
    assert texts(shown["spawned.passto(lambda c: c.value * scale)"]) == "303"
    printed = "counter.report() != os.getpid(), spawned.report() != os.getpid()"
    assert texts(shown[printed]).endswith("(True, True)"), "before that what the actors print"
    assert texts(shown["    print(other.add(1), counter.add(1))"]) == "-1 17\n"
    pids = json.loads(texts(shown[LEFT_BEHIND.splitlines()[-1]]))
    assert len(pids) == 2
    for pid in pids:
        assert until_gone(pid, ENDING), "the kernel has ended, and its actor has not"
