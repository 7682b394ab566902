"""Every example runs, shows what it promises, and leaves nothing behind."""

import ast
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
SECONDS = 60
LINES = 60
LONGER = {
    "cluster": 70,
    "indexer": 225,
    "instrument": 120,
    "timeline": 95,
    "vector_env": 100,
    "web_service": 95,
}
SERVERS = {"web_service"}
"""They do not end by themselves, and have tests of their own."""

# What must stand in the output, in this order: a regular expression for a whole line each.
PROMISES: dict[str, list[str]] = {
    "cluster": [
        "480 results, of 2 workers",
        "the loss fell to less than a thousandth: True",
        r"learned: y = 3\.0 x \+ 1\.0",
    ],
    "counter": [
        "it starts at 100",
        "it went past 120 while it was on",
        "it moved while it was off: False",
        "it was set to 5",
        "a lambda over there says 10",
        "here it is an ordinary class: 7",
    ],
    "function_actor": [
        r"a Process like any other: True digits_of_factorial-\d+",
        "1000! has so many digits: 2568",
        *(f"prime {n}" for n in (2, 3, 5, 7, 11, 13, 17, 19)),
        "then: no more primes below 20, says another process: True",
        r"side by side: \[7, 158, 4115\]",
    ],
    "indexer": [
        r"Indexing \d+ files in process \d+; we are \d+",
        r"A fifth is read. path: [1-9]\d* times until now, most in \w+, \w+, \w+",
        "Paused for 1 s, and answering all the same: 0 words were read in it",
        r"self was there [1-9]\d* times. Since indexer.ignored = {\"self\"}: 0 more",
        r"A lambda over there finds the longest name: \w{40,}",
        r"At file [1-9]\d*, with [1-9]\d* names, a lambda kills its process",
        r"ActorDiedError: Indexer-1 was killed by SIGKILL, while it ran .*; the call .*",
        r"exitcode=-9, maybe_executed=True",
        r"Process \d+ goes on after file [1-9]\d*, with [1-9]\d* names",
        r"\W*files read\W+[1-9][\d,]*\W*",
        r"\W*words indexed\W+[1-9][\d,]*\W*",
        r"\W*queries answered meanwhile\W+[1-9][\d,]*\W*",
        r"\W*their median latency\W+[\d.]+ ms\W*",
        r"Process \d+ has ended, with exit code 0.",
    ],
    "instrument": [
        r"value 1 in the window: 5\.5 V",
        r"calibrated; meanwhile the clock in the window has moved \d\d+ times",
        r"value 20 in the window: 5\.0 V",
        "the instrument is disconnected",
    ],
    "lifecycle_errors": [
        r"by the call: RuntimeError: broken in request \(raised in check\)",
        "the actor is alive: True and has lifecycle errors: False",
        r"by spawn: RuntimeError: broken in init \(raised in check\)",
        r"in the group work: \[RuntimeError\('broken in work'\)\]",
        r"by leaving with: RuntimeError: broken in work \(raised in check\)",
        r"by raise_any: RuntimeError: broken in cleanup \(raised in check\)",
    ],
    "camera": [
        "the viewer sees that the exposure has changed",
        "recorded: 30 pictures, missed: 0",
        r"they were taken in 1\.\d s, at 30 a second",
        "the viewer missed some: True",
    ],
    "many_clients": [
        *(f"{name} is done" for name in ("ann", "bob", "cyd", "dan", "eve", "fay")),
        "balance: 3000 of 3000",
        "ann in order: True",
        "eve in order: True",
    ],
    "model_pool": [
        "2 models are loaded",
        "text 250: SIGKILL, in Model.embed",
        "399 texts are embedded; as here: True",
        "2 models are there again",
    ],
    "crawler": [
        r"30 pages in \d\.\d s",
        "links: start/0 start/1 start/2",
        "one page never came",
        "221 bytes; the loop of its own went on: True",
    ],
    "plain_proxy": [
        r"over there: \['intro', 'waltz', 'polka'\]",
        r"here: \[\]",
        "played a waltz: True",
        "then: NotListeningError",
        "with a default: nobody is there",
    ],
    "sensor": [
        *[r"reading (19|20|21)\.\d"] * 5,
        "it got warm; readings so far are more than 5: True",
        "over there: switched off",
        "here: it has ended",
    ],
    "survivor": [
        r"killed, and started again: [1-4] times",
        r"calls that were under way then, and were made again: [0-4]",
        r"sales: [1-9]\d*; lost by the till: 0",
        r"cents: [1-9]\d*; lost by the till: 0",
    ],
    "timeline": [
        r"\d+ letters in 12 texts",
        r"rows: Reader-1, Store-1, Worker-1, Worker-2, Worker-3, timeline\.py",
        r"arrows from calls to actors: (2[5-9]|[3-9]\d)",
        r"open out\.json at https://ui\.perfetto\.dev",
    ],
    "vector_env": [
        r"300 steps of 4 environments, in which [1-9]\d* episodes ended",
        "the same as in a SyncVectorEnv: True",
    ],
}


ARGUMENTS = {"indexer": ["300"]}
"""What it is started with: `make demo` reads all files, which takes three times as long."""
NEEDS = {"instrument": "PySide6.QtWidgets"}
"""What can't be had on every system: a library with wheels for few of them, and with wishes of its
own, such as libEGL."""

# Unbuffered: two processes write, and the order is to be the one of a terminal.
PYTHON = [sys.executable, "-u", "-X", "faulthandler", "-W", "error::ResourceWarning"]

# What Qt says of a window where there is no screen.
OFFSCREEN = "This plugin does not support propagateSizeHints()\n"
COLOURS = {"FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}  # what would make rich draw a bar


def run(name: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """An example as a user starts it, in a process group that never outlives the test.

    What keeps its output open keeps us waiting, so a process left behind is a failure here; the
    fixture `nothing_left` finds those that closed it.
    """
    environment = {name: value for name, value in os.environ.items() if name not in COLOURS}
    with subprocess.Popen(
        [*PYTHON, f"{name}.py", *args],
        cwd=EXAMPLES,
        env=environment | {"PYTHONUTF8": "1", "COLUMNS": "100", "QT_QPA_PLATFORM": "offscreen"},
        text=True,
        encoding="utf-8",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, errors = process.communicate()
            errors += f"\nstill running after {SECONDS} s"
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def skip_without(module: str) -> None:
    """Skip the test where the module can't be imported; in a process that may keep what it does."""
    probe = [sys.executable, "-c", f"import {module}"]
    ended = subprocess.run(probe, capture_output=True, text=True, check=False)
    if ended.returncode:
        pytest.skip(f"no {module}: {ended.stderr.splitlines()[-1]}")


def first_missing(promises: list[str], lines: list[str]) -> str | None:
    """The first promise that no line keeps, after the line that kept the one before."""
    rest = iter(lines)
    for promise in promises:
        if not any(re.fullmatch(promise, line.rstrip()) for line in rest):
            return promise
    return None


@pytest.mark.timeout(SECONDS + 15)
@pytest.mark.parametrize("name", PROMISES)
def test_the_example_shows_what_it_promises(name: str) -> None:
    if name in NEEDS:
        skip_without(NEEDS[name])
    ended = run(name, *ARGUMENTS.get(name, []))
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.replace(OFFSCREEN, "") == ""
    assert first_missing(PROMISES[name], ended.stdout.splitlines()) is None, ended.stdout


def test_every_example_makes_promises() -> None:
    assert sorted({*PROMISES, *SERVERS}) == NAMES
    assert SERVERS.isdisjoint(PROMISES)
    assert all(PROMISES.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short_and_says_what_to_watch_for(name: str) -> None:
    source = (EXAMPLES / f"{name}.py").read_text("utf-8")
    head = ast.get_docstring(ast.parse(source)) or ""
    assert "Shows: " in head
    assert "Watch for: " in head
    assert len(source.splitlines()) <= LONGER.get(name, LINES)


def test_a_program_whose_library_is_missing_is_skipped_and_says_why() -> None:
    with pytest.raises(pytest.skip.Exception, match="no no_such_library: ModuleNotFoundError"):
        skip_without("no_such_library")


def test_every_example_is_in_the_gallery() -> None:
    """Each that is longer than a page with the command that runs it."""
    text = (EXAMPLES.parent / "docs" / "gallery.md").read_text("utf-8")
    shown = re.sub("^%.*$", "", text, flags=re.MULTILINE)
    assert [name for name in NAMES if f"| `{name}.py`" not in shown.replace("[`", "`")] == []
    entries = [name for name in NAMES if f"[`{name}.py`]" in shown]
    assert [name for name in entries if f"\npython examples/{name}.py" not in shown] == []
    assert {"instrument", "vector_env", "web_service"} <= {*entries}


@pytest.mark.parametrize(
    ("promises", "missing"),
    [([], None), (["b", r"d\d"], None), (["d.", "b"], "b"), (["b", "b"], "b"), (["a"], "a")],
)
def test_a_promise_must_be_a_whole_line_and_in_order(
    promises: list[str], missing: str | None
) -> None:
    assert first_missing(promises, ["a1", "b", "c1 ", "d1"]) == missing
