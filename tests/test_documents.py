"""Every code block of the README and of the documentation runs; its tables fit the page.

Besides, every page can be reached from the index.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from tests import documents
from tests.document_tables import PAGE, tables

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
SOURCES = [*ROOT.glob("*.md"), *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)]
PAGES = sorted(str(page.relative_to(ROOT)) for page in SOURCES)
WITH_CODE = [
    page
    for page in PAGES
    if page.startswith(("README", "docs/"))
    and documents.script((ROOT / page).read_text("utf-8")).strip()
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


A_PAGE = """# A page
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
    ended = run(A_PAGE, tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_an_exception_shows_the_line_of_the_page(tmp_path: Path) -> None:
    ended = run(A_PAGE + "```python\nlater\n```\n", tmp_path)
    assert ended.returncode == 1
    assert f"line {len(A_PAGE.splitlines()) + 2}, in <module>" in ended.stdout
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


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_the_page_are_not_wider_than_a_page(page: str) -> None:
    found = tables((ROOT / page).read_text("utf-8"))
    too_wide = {f"{page}:{table.line}": table.width for table in found if table.width > PAGE}
    assert too_wide == {}, f"in em, where a page has {PAGE}; give these tables shorter words"


def test_a_table_with_two_long_names_is_wider_than_a_page() -> None:
    name = "test_33_a_request_beside_the_work_loop_keeps_no_actor_from_ending"
    (one,) = tables(f"text\n\n| fault | test |\n|---|---|\n| short | `{name}` |\n| x | y |\n")
    (two,) = tables(f"| fault | test |\n|---|---|\n| `{name}` | x |\n| y | `{name}` |\n")
    assert one.line == 3
    assert one.width < PAGE < two.width


def test_a_long_text_makes_no_table_wide() -> None:
    (table,) = tables("| a |\n|---|\n| " + "many short words and `some code` " * 20 + "|\n")
    assert table.width < 6


@pytest.mark.parametrize(
    ("cell", "as_wide_as"),
    [
        ("**bold** word", "bold"),
        ("[text](of/a/very/long/link/that/is/not/shown.md)", "text"),
        (r"`a\|b`", "`abc`"),
        ("it is `some_code` here", "`some_code`"),
    ],
)
def test_only_what_is_shown_of_a_cell_takes_room(cell: str, as_wide_as: str) -> None:
    def width(text: str) -> float:
        return tables(f"| {text} |\n|---|\n")[0].width

    assert width(cell) == width(as_wide_as)


def parts_of_the_index() -> tuple[list[str], list[str]]:
    """The pages that its tables of contents name, and those that its own tables link to."""
    text = (DOCS / "index.md").read_text("utf-8")
    lines = [
        line
        for block in documents.blocks(text)
        if block.language == "{toctree}"
        for line in block.lines
    ]
    entries = [line.strip() for line in lines if line.strip() and not line.startswith(":")]
    return entries, re.findall(r"^\| \[[^]]+\]\((\S+)\.md\) \|", text, re.MULTILINE)


def test_every_page_is_in_the_index_once() -> None:
    pages = [page.relative_to(DOCS).with_suffix("") for page in SOURCES if DOCS in page.parents]
    there = sorted(str(page) for page in pages if not page.name.startswith("_"))
    there.remove("index")
    entries, links = parts_of_the_index()
    assert sorted(entries) == there, "in a toctree of docs/index.md"
    assert sorted(links) == there, "in a table of docs/index.md"


LINK = re.compile(r"\]\(([^()\s:#]*)#([^()\s]+)\)")


def anchors(page: Path) -> set[str]:
    """What a link can name of the page: its headings, in the form that GitHub and the built pages
    give them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_the_page_to_a_heading_leads_to_one(page: str) -> None:
    here = ROOT / page
    links = LINK.findall(here.read_text("utf-8"))
    lost = [
        f"{to}#{heading}"
        for to, heading in links
        if heading not in anchors(here.parent / to if to else here)
    ]
    assert lost == []


def test_a_heading_is_linked_to_by_its_words(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# I see `<Remote …>`, and why\n\n## End\n", "utf-8")
    assert anchors(page) == {"i-see-remote--and-why", "end"}


def test_every_public_name_is_in_the_reference() -> None:
    text = (DOCS / "reference.md").read_text("utf-8")
    entries = set(re.findall(r"^\.\. (?:auto\w+|py:decorator)::\s+([\w.]+)", text, re.MULTILINE))
    assert {"remoteobj.errors", "remoteobj.util"} <= entries
    elsewhere = {*remoteobj.errors.__all__, "errors", "util"}
    assert {*remoteobj.__all__} - elsewhere - entries == set()


def test_every_option_is_in_the_reference_and_in_the_table_of_options() -> None:
    spawner: Any = remoteobj.options
    with pytest.raises(TypeError, match="there is no option 'no_such'; there are ") as caught:
        spawner(no_such=1)
    options = str(caught.value).partition("there are ")[2].split(", ")
    assert "spawn_timeout" in options
    reference = (DOCS / "reference.md").read_text("utf-8")
    table = (DOCS / "guide" / "lifecycle.md").read_text("utf-8")
    assert [name for name in options if f":: Options.{name}\n" not in reference] == []
    assert [name for name in options if f"\n| `{name}` |" not in table] == []


def test_the_documentation_is_built_from_nothing_and_a_warning_is_an_error() -> None:
    """A page that has not changed since the last build would be warned of in that one only."""
    (build,) = re.findall("sphinx-build .*", (ROOT / "Makefile").read_text("utf-8"))
    assert {"-E", "-W"} <= set(build.split())
