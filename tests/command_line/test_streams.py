"""Standard streams that are closed, full, or read by nobody: an exit code, and no traceback."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import actors, options
from tests.tools import Ended, until

NOBODY_READS = 128 + signal.SIGPIPE
BUFFERED = {"PYTHONUNBUFFERED": ""}
"""So that something is left to be written at the end."""
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no full device")


@pytest.fixture(scope="module")
def lamp() -> Iterator[Any]:
    with options(name="lamp", engine="thread").spawn(dict, level=3) as made:
        yield made


def typed(words: str) -> subprocess.Popen[str]:
    """The program, begun by a shell, which redirects its streams."""
    program = f"exec {shlex.quote(sys.executable)} -m remoteobj {words}"
    return subprocess.Popen(
        ["/bin/sh", "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **BUFFERED},
    )


def ended(words: str) -> Ended:
    with typed(words) as process:
        out, err = process.communicate(timeout=20)
    return Ended(process.returncode, out, err)


@pytest.mark.parametrize(
    "words", ["ls", "--help", """attach lamp -c "for _ in range(10**5): print('x' * 1000)" """]
)
def test_where_nobody_reads_it_ends_without_an_error_and_a_traceback(lamp: Any, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` does when it has seen enough
    with os.fdopen(writer):
        with subprocess.Popen(
            [sys.executable, "-m", "remoteobj", *shlex.split(words)],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **BUFFERED},
        ) as process:
            _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (NOBODY_READS, "")


@needs_full
@pytest.mark.parametrize("words", ["status lamp", "--help", "attach lamp -c 'dict(actor.items())'"])
def test_an_output_that_is_full_is_one_line(lamp: Any, words: str) -> None:
    said = "remoteobj: the output can't be written: No space left on device\n"
    assert ended(f"{words} >/dev/full") == (1, "", said)


@needs_full
@pytest.mark.parametrize("words", ["attach lamp -c '\"x\" * 10**5'", "ls --every 1"])
def test_an_output_that_gets_full_is_one_line(lamp: Any, words: str) -> None:
    said = "remoteobj: [Errno 28] No space left on device\n"
    assert ended(f"{words} >/dev/full") == (1, "", said)


@needs_full
def test_an_error_that_can_t_be_told_is_still_an_exit_code() -> None:
    assert ended("status nobody 2>/dev/full") == (1, "", "")


@pytest.mark.parametrize("words", ["ls", "status lamp"])
def test_where_the_output_is_closed_a_command_does_its_work(lamp: Any, words: str) -> None:
    assert ended(f"{words} >&-") == (0, "", "")


def test_where_all_is_closed_errors_are_an_exit_code() -> None:
    assert ended("status nobody <&- >&- 2>&-") == (1, "", "")


def test_where_the_input_is_closed_there_is_no_terminal() -> None:
    assert ended("top <&-").err.startswith("remoteobj: top needs a terminal")


def test_where_the_input_is_closed_a_prompt_is_over_at_once(lamp: Any) -> None:
    attached = ended("attach lamp <&-")
    assert (attached.code, attached.err) == (0, "")
    assert "`actor` is lamp, dict" in attached.out


def test_an_actor_is_served_without_an_output() -> None:
    with typed("serve collections:Counter >&-") as process:
        until(lambda: [one.state for one in actors() if one.name == "Counter"] == ["running"])
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")
