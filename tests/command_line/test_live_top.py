"""`remoteobj top` over real actors: in a terminal, and what its source gives."""

import fcntl
import os
import resource
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import Any

import pytest

from remoteobj import NotListeningError
from remoteobj.cli.live import LiveSource
from remoteobj.cli.rows import Row
from remoteobj.testing import Gate
from tests.pseudo_terminals import PseudoTerminal
from tests.tools import until
from tests.watching.millers import Miller


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    made = PseudoTerminal()
    yield made
    made.close()


@pytest.fixture
def miller() -> Iterator[Any]:
    handle: Any = Miller.options(name="mill", start_method="fork").spawn()
    try:
        yield handle
    finally:
        handle.kill_()
        handle.stop_()


def test_it_shows_what_lives_and_keys_look_into_it_and_end_it(
    miller: Any, terminal: PseudoTerminal, gate: Gate
) -> None:
    miller.cast_.grind(gate)
    gate.wait_for_arrival()
    line = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 400, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "TEXTUAL_ANIMATIONS": "none"}
    for name in ("LINES", "COLUMNS"):  # else they say how large the terminal is
        environment.pop(name, None)
    with subprocess.Popen(
        [sys.executable, "-m", "remoteobj", "top", "--every", "0.1"],
        stdin=line,
        stdout=line,
        stderr=line,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            os.close(line)
            terminal.until("?.grind(...)")
            terminal.press(b"s")
            terminal.until("in grind")
            terminal.press(b"q")
            terminal.press(b"x")
            terminal.until("Kill mill")
            terminal.press(b"y")
            assert miller.exited_.result(timeout=20).signal == signal.SIGKILL
            terminal.until("0 actors")
            terminal.press(b"q")
            terminal.until("\x1b[?1049l")  # the terminal is as it was before
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.fixture
def source() -> Iterator[LiveSource]:
    made = LiveSource()
    yield made
    made.close()


def the_row(source: LiveSource) -> Row:
    (row,) = source.look([])
    return row


def test_a_row_is_what_the_actor_does_and_uses(miller: Any, source: LiveSource, gate: Gate) -> None:
    assert (the_row(source).name, the_row(source).cls) == ("mill", "Miller")
    future = miller.future_.grind(gate)
    gate.wait_for_arrival()
    row = until(lambda: row if (row := the_row(source)).call else None)
    assert (row.call, row.state, row.pid) == ("?.grind(...)", "running", miller.pid_)
    assert row.age >= 0
    assert row.memory > 1 << 20
    gate.open()
    future.result()
    until(lambda: the_row(source).call is None)


def test_orders_reach_the_actor_of_the_row(miller: Any, source: LiveSource, gate: Gate) -> None:
    key = the_row(source).key
    assert source.interrupt(key) is False
    miller.cast_.for_ever(gate)
    gate.wait_for_arrival()
    assert "in for_ever" in source.stack(key)
    assert source.interrupt(key) is True
    source.stop(key)
    assert miller.exited_.result(timeout=20).exitcode in (0, 1)
    assert source.look([]) == []
    with pytest.raises(NotListeningError, match="it has ended"):
        source.kill(key)


def test_one_that_holds_its_interpreter_is_silent_and_holds_up_no_look(
    miller: Any, source: LiveSource, gate: Gate
) -> None:
    the_row(source)
    miller.cast_.hold(gate)
    gate.wait_for_arrival()

    def silent() -> bool:
        begun = time.monotonic()
        row = the_row(source)
        assert time.monotonic() - begun < 1.0
        return row.state == "silent"

    until(silent)


def test_one_that_is_stopped_by_a_signal_holds_up_no_look(miller: Any, source: LiveSource) -> None:
    os.kill(miller.pid_, signal.SIGSTOP)
    assert until(lambda: the_row(source).state == "suspended")
    os.kill(miller.pid_, signal.SIGCONT)
    assert until(lambda: the_row(source).state == "running")


def test_no_more_connections_are_kept_than_there_are_descriptors_for(
    source: LiveSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = (64 + 2 * 3, resource.RLIM_INFINITY)
    monkeypatch.setattr("resource.getrlimit", lambda _: few)
    spawner = Miller.options(start_method="fork", wait=False)
    with spawner.spawn(), spawner.spawn(), spawner.spawn(), spawner.spawn():
        until(lambda: all(row.state == "running" for row in source.look([])))
        before = len(os.listdir("/dev/fd"))
        for _ in range(3):
            assert len(source.look([])) == 4
        assert len(os.listdir("/dev/fd")) <= before
        source.close()
        assert before - len(os.listdir("/dev/fd")) == 2 * 3
