"""Every code block of the README and of the documentation runs."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import documents

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_CODE = [
    str(page.relative_to(ROOT))
    for page in PAGES
    if "_build" not in page.parts and documents.script(page.read_text("utf-8")).strip()
]
SECONDS = 60


def run(document: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """The document as a script, in a process group of its own that never outlives the test."""
    (directory / "_sessions.py").write_text(documents.SESSIONS, "utf-8")
    path = directory / "document.py"
    path.write_text(documents.script(document), "utf-8")
    with subprocess.Popen(
        [sys.executable, "-X", "faulthandler", path],
        cwd=directory,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0] + f"\nstill running after {SECONDS} s"
    return subprocess.CompletedProcess(process.args, process.returncode, output)


@pytest.mark.timeout(SECONDS + 15)
@pytest.mark.parametrize("page", WITH_CODE)
def test_every_block_of_the_page_runs(page: str, tmp_path: Path) -> None:
    ended = run((ROOT / page).read_text("utf-8"), tmp_path)
    assert ended.returncode == 0, f"{page}, as document.py with the same lines:\n{ended.stdout}"


PAGE = """# A page
```python
import pickle
class Here: pass
assert pickle.loads(pickle.dumps(Here)) is Here
```
<!-- not run: it needs a camera -->
```python
raise SystemExit("has run")
```
- in a list:

  ```python
  later = Here.__module__
  ```
```pycon
>>> later
'__main__'
>>> del later
```
```text
not code
```
"""


def test_a_page_is_one_script_that_is_main(tmp_path: Path) -> None:
    ended = run(PAGE, tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_an_exception_shows_the_line_of_the_page(tmp_path: Path) -> None:
    ended = run(PAGE + "```python\nlater\n```\n", tmp_path)
    assert ended.returncode == 1
    assert f"line {len(PAGE.splitlines()) + 2}, in <module>" in ended.stdout
    assert "NameError" in ended.stdout


def test_a_wrong_answer_in_a_session_fails(tmp_path: Path) -> None:
    ended = run("```pycon\n>>> 1 + 1\n3\n```\n", tmp_path)
    assert ended.returncode == 1
    assert "Expected:\n    3\nGot:\n    2" in ended.stdout


def test_a_page_that_hangs_is_ended_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SECONDS", 0.3)
    ended = run("```python\nimport time\ntime.sleep(60)\n```\n", tmp_path)
    assert ended.returncode == -signal.SIGKILL
    assert "still running" in ended.stdout


def test_a_block_that_is_not_run_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="line 1: a block that is not run needs a reason"):
        documents.script("<!-- not run: -->\n```python\n```\n")


def test_a_block_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1: this block is never closed"):
        documents.script("```python\nx = 1\n")
