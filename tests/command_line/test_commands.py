"""The commands that look into one actor, or list all, over real ones."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import pytest

import remoteobj
from remoteobj import CallTimeoutError, RemoteError, options, remote
from remoteobj.cli.program import main
from remoteobj.testing import Gate
from tests.marks import needs_peers_user
from tests.tools import until, until_gone
from tests.watching.jugglers import Juggler
from tests.watching.millers import Miller


class Said(NamedTuple):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


Command: TypeAlias = Callable[..., Said]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """Type a command, in this process: to start an interpreter for each would take long."""

    def run(*argv: object) -> Said:
        path = list(sys.path)
        try:
            code = main([str(one) for one in argv])
        finally:
            sys.path[:] = path
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def miller() -> Iterator[Any]:
    handle: Any = Miller.options(name="mill", start_method="fork").spawn()
    try:
        yield handle
    finally:
        handle.kill_()
        handle.stop_()


def one_line(said: Said) -> str:
    """The error that a command has told, which is one line."""
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("remoteobj: ")
    assert said.err.count("\n") == 1
    return said.err.removeprefix("remoteobj: ").rstrip()


# ------------------------------------------------------------------ ls


def test_the_actors_of_all_programs_are_listed(miller: Any, command: Command) -> None:
    said = command("ls")
    assert said.code == 0
    titles, line = said.out.splitlines()
    assert titles.split() == ["NAME", "CLASS", "PID", "STATE", "AGE", "OWNER", "PUBLIC"]
    name, cls, pid, state, _, owner = line.split()
    assert (name, cls, pid) == ("mill", "Miller", str(miller.pid_))
    assert (state, owner) == ("running", str(os.getpid()))


def test_a_program_gets_the_list_as_json(miller: Any, command: Command) -> None:
    (one,) = json.loads(command("ls", "--json").out)
    assert one["name"] == "mill"
    assert one["class_name"] == "Miller"
    assert one["pid"] == miller.pid_
    assert one["public"] is False
    assert one["age"] >= 0
    assert set(one) == {*remoteobj.ActorInfo._fields, "age"}


def test_a_list_of_nobody_is_a_list(command: Command) -> None:
    assert command("ls").out.split()[-1] == "PUBLIC"
    assert json.loads(command("ls", "--json").out) == []


def test_the_list_comes_again_and_again_until_ctrl_c(
    miller: Any, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []

    def rest(seconds: float) -> None:
        rests.append(seconds)
        if len(rests) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("remoteobj.cli.listing.time.sleep", rest)
    said = command("ls", "--json", "--every", "0.25")
    assert said.code == 128 + signal.SIGINT
    assert [json.loads(line)[0]["name"] for line in said.out.splitlines()] == ["mill"] * 3
    assert rests == [0.25] * 3


@pytest.mark.parametrize("columns", [30, 45, 200])
def test_in_a_terminal_no_line_of_the_list_is_wider_than_it(
    miller: Any, command: Command, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    lines = command("ls").out.splitlines()
    assert max(map(len, lines)) <= columns
    assert "mill" in lines[1]
    assert ("OWNER" in lines[0]) == (columns == 200)


def test_a_name_can_do_no_harm_to_the_terminal(command: Command) -> None:
    with Miller.options(name="\x1b[2J\nmill", start_method="fork").spawn():
        for verb in ("ls", "status", "stack"):
            said = command(verb, *["\x1b[2J\nmill"] * (verb != "ls"))
            assert said.code == 0
            assert "\x1b" not in said.out
        assert "\\x1b[2J\\nmill" in command("ls").out
        assert "\x1b" not in one_line(command("interrupt", "\x1b[2J\nmill"))


# ------------------------------------------------------------------ one actor


def test_a_busy_actor_tells_what_it_does_and_where(
    miller: Any, command: Command, gate: Gate
) -> None:
    future = miller.future_.grind(gate)
    gate.wait_for_arrival()
    told = dict(line.split(maxsplit=1) for line in command("status", "mill").out.splitlines())
    assert told["name"] == "mill"
    assert told["state"] == "running"
    assert told["call"].startswith("?.grind(...) for ")
    assert told["queued"] == "nothing"
    assert (told["class"], told["pid"], told["done"]) == ("Miller", str(miller.pid_), "0")
    assert "MainThread" in told["threads"]
    assert told["memory"].endswith(" MB")
    assert command("status", miller.pid_).out.splitlines()[0] == "name     mill"
    stack = command("stack", "mill").out
    assert ", in grind" in stack
    gate.open()
    assert future.result() == "flour"


@needs_peers_user
def test_each_of_many_calls_can_be_seen_and_interrupted(command: Command, gate: Gate) -> None:
    juggler: Any = Juggler.options(name="mill", start_method="fork").spawn()
    futures = [juggler.future_.hold(), juggler.future_.group()]
    until(lambda: len(juggler.status_().calls) == 2)
    said = command("status", "mill").out.splitlines()
    assert "running  2 calls, as below" in said
    rows = [row.split() for row in said[-3:]]
    assert rows[0] == ["NUMBER", "CALL", "AGE", "KIND", "CALLER"]
    assert [(row[1], row[3], row[4]) for row in rows[1:]] == [
        ("?.hold(...)", "call", str(os.getpid())),
        ("?.group(...)", "call", str(os.getpid())),
    ]
    assert f"Call {rows[1][0]}, ?.hold(...), waits:" in command("stack", "mill").out
    assert command("attach", "mill", "-c", "actor.caught").out == "[]\n", "while others wait"
    assert command("interrupt", "mill", "--call", rows[1][0]).code == 0
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        futures[0].result(10)
    assert one_line(command("interrupt", "mill", "--call", "99")) == "mill runs no such call"
    held = juggler.future_.drop(gate)
    gate.wait_for_arrival()
    assert ", in drop" in command("stack", "mill").out, "while its loop is held"
    assert command("interrupt", "mill") == (0, "mill: interrupted\n", "")
    for future in (futures[1], held):
        with pytest.raises(RemoteError, match="KeyboardInterrupt"):
            future.result(10)
    juggler.stop_()


def test_what_it_runs_can_be_interrupted(miller: Any, command: Command, gate: Gate) -> None:
    assert one_line(command("interrupt", "mill")) == "mill runs nothing that could be interrupted"
    future = miller.future_.for_ever(gate)
    gate.wait_for_arrival()
    assert command("interrupt", "mill") == (0, "mill: interrupted\n", "")
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        future.result()
    assert miller.ground.get_() >= 0


def test_it_can_be_stopped_in_order(command: Command) -> None:
    with Miller.options(name="mill", start_method="fork").spawn() as miller:
        assert command("stop", "mill") == (0, "mill: stopped\n", "")
        assert until_gone(miller.pid_, 1.0)
        assert miller.exited_.result().exitcode == 0


def test_one_that_does_not_end_in_time_says_so(miller: Any, command: Command, gate: Gate) -> None:
    miller.cast_.grind(gate)
    gate.wait_for_arrival()
    error = one_line(command("stop", "mill", "--timeout", "0.1"))
    assert "has not ended within 0.1 s" in error
    gate.open()


def test_it_can_be_killed(miller: Any, command: Command) -> None:
    assert command("kill", miller.pid_) == (0, "mill: killed\n", "")
    assert miller.exited_.result().signal == signal.SIGKILL


def test_a_name_that_begins_with_a_dash_stands_after_two(command: Command) -> None:
    with options(name="-dash", engine="thread").spawn(dict):
        assert command("status", "-dash").code == 2
        assert "name     -dash" in command("status", "--timeout", "5", "--", "-dash").out
    for verb in ("status", "attach"):
        assert "-- -x" in command(verb, "--help").out


@pytest.mark.parametrize(("verb", "done"), [("stop", "stopped"), ("kill", "killed")])
def test_that_it_is_started_again_is_said(command: Command, verb: str, done: str) -> None:
    lasting = Miller.options(name="mill", start_method="fork", restart="always", backoff=0.0)
    with lasting.spawn() as miller:
        assert command(verb, "mill") == (0, f"mill: {done}; its owner starts it again\n", "")
        until(lambda: miller.restarts_)


def test_one_that_is_between_two_processes_says_so(command: Command) -> None:
    lasting = Miller.options(name="mill", start_method="fork", restart="on-failure", backoff=60.0)
    with lasting.spawn() as miller:
        os.kill(miller.pid_, signal.SIGKILL)
        until(lambda: "restarting" in command("ls").out)
        for verb in ("status", "stack", "attach", "stop", "kill"):
            said = "'mill' is restarting: it has no process at this moment"
            assert one_line(command(verb, "mill")).startswith(said)
        miller.stop_()


def test_a_name_that_nobody_has_is_an_error_with_those_that_are_similar(
    miller: Any, command: Command
) -> None:
    for verb in ("status", "stack", "interrupt", "stop", "kill", "attach"):
        assert "did you mean 'mill'?" in one_line(command(verb, "milll"))


def test_a_name_that_several_have_is_an_error_with_their_pids(
    miller: Any, command: Command
) -> None:
    with Miller.options(name="mill", start_method="fork").spawn() as other:
        error = one_line(command("status", "mill"))
    assert str(miller.pid_) in error
    assert str(other.pid_) in error


class Slow:
    def __init__(self, gate: Gate) -> None:
        gate.park()


def test_one_whose_init_runs_is_said_to_be_starting(
    command: Command, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = options(name="slow", start_method="fork", wait=False).spawn(lambda: Slow(gate))
    gate.wait_for_arrival()
    told = dict(line.split(maxsplit=1) for line in command("status", "slow").out.splitlines())
    assert (told["state"], told["class"]) == ("starting", "not known yet")
    said = "slow is starting, and its __init__ can't be interrupted; kill can end it"
    assert one_line(command("interrupt", "slow")) == said
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    for name in ("ps1", "ps2"):  # which would stay
        monkeypatch.setattr(sys, name, "> ", raising=False)
    banner = command("attach", "slow").err
    assert f"`actor` is slow (pid {slow.pid_}). It is starting; calls wait for that." in banner
    noted = command("attach", "slow", "-c", "pass").err
    assert noted == "remoteobj: it is starting; waiting for that\n"
    assert one_line(command("stop", "slow", "--timeout", "0.2")).endswith(
        "it may be at its __init__, which comes first; kill ends it at once"
    )
    gate.open()
    slow.stop_()


# ------------------------------------------------------------------ one that does not answer


def stop_by_signal(miller: Any, _: Gate) -> None:
    os.kill(miller.pid_, signal.SIGSTOP)


def hold_the_interpreter(miller: Any, gate: Gate) -> None:
    miller.cast_.hold(gate)
    gate.wait_for_arrival()

    def silent() -> bool:
        try:
            miller.status_(timeout=0.05)
        except CallTimeoutError:
            return True
        return False

    until(silent)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (stop_by_signal, "can't answer: its process is stopped, by SIGSTOP say"),
        (hold_the_interpreter, "code that holds the interpreter"),
    ],
)
def test_that_it_does_not_answer_is_said_within_a_second(
    miller: Any, command: Command, gate: Gate, how: Callable[[Any, Gate], None], words: str
) -> None:
    how(miller, gate)
    for verb in ("status", "interrupt", "attach", "stack"):
        begun = time.monotonic()
        said = command(verb, "mill")
        assert time.monotonic() - begun < 1.0
        if verb == "stack" and how is hold_the_interpreter:
            assert "in hold" in said.out  # faulthandler can tell that without the interpreter
        else:
            assert words in one_line(said)
    begun = time.monotonic()
    assert "mill" in command("ls").out
    assert time.monotonic() - begun < 1.0
    assert command("kill", "mill").code == 0


# ------------------------------------------------------------------ attach


@remote
class Lamp:
    def __init__(self) -> None:
        self.level = 3

    def dim(self, by: int = 1) -> None:
        self.level -= by

    def fail(self) -> None:
        raise LookupError("no bulb")


def test_code_is_run_with_the_actor_and_its_value_is_printed(command: Command) -> None:
    with Lamp.options(name="lamp", start_method="fork").spawn():

        def run(code: str) -> Said:
            return command("attach", "lamp", "-c", code)

        assert run("actor.level") == (0, "3\n", "")
        assert run("actor.dim(2)") == (0, "", "")
        assert run("actor.level += 4; x = actor.level.__; x, x + 1") == (0, "(5, 6)\n", "")
        assert run("for _ in range(2):\n    actor.dim()") == (0, "", "")
        assert run("actor").out.startswith("<Remote ")
        failed = run("actor.fail()")
        assert (failed.code, failed.out) == (1, "")
        assert failed.err.startswith('Traceback (most recent call last):\n  File "<command>"')
        assert failed.err.endswith("LookupError: no bulb\n")
        assert ", in fail\n" in failed.err
        assert run("import sys; sys.exit('enough')") == (1, "", "enough\n")
        wrong = run("actor.")
        assert wrong.code == 1
        assert wrong.err.endswith("SyntaxError: invalid syntax\n")


def test_code_that_must_wait_for_a_busy_actor_says_so(miller: Any, gate: Gate) -> None:
    future = miller.future_.grind(gate)
    gate.wait_for_arrival()
    with subprocess.Popen(
        [sys.executable, "-m", "remoteobj", "attach", "mill", "-c", "actor.ground"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        note = process.stderr.readline()
        gate.open()
        out, _ = process.communicate(timeout=20)
    assert note.startswith("remoteobj: it runs ?.grind(...) for ")
    assert (process.returncode, out) == (0, "1\n")
    assert future.result() == "flour"


def test_a_prompt_of_ipython_has_the_actor() -> None:
    with Lamp.options(name="lamp", start_method="fork").spawn() as lamp:
        ended = subprocess.run(
            [sys.executable, "-m", "remoteobj", "attach", "lamp"],
            input="actor.level.__ + 39\nactor.level = 8\n",
            capture_output=True,
            check=True,
            text=True,
        )
        assert lamp.level.get_() == 8
    assert f"`actor` is lamp, Lamp (pid {lamp.pid_}). It is idle." in ended.stdout
    assert "Out[1]: 42" in ended.stdout


def test_where_there_is_no_ipython_the_prompt_is_pythons(
    miller: Any, command: Command, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "readline", None)
    for name in ("ps1", "ps2"):  # which would stay
        monkeypatch.setattr(sys, name, "> ", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("actor.with_(timeout=0.01).ground\nactor.pid\n"))
    miller.cast_.grind(gate)
    gate.wait_for_arrival()
    said = command("attach", "mill")
    gate.open()
    assert said.code == 0
    assert "`actor` is mill, Miller" in said.err
    assert "It runs ?.grind(...) for " in said.err
    assert "(?.pid)" in said.out


# ------------------------------------------------------------------ usage


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["no-such-verb"],
        ["ls", "name"],
        ["status"],
        ["status", "a", "b"],
        ["stop", "a", "--timeout", "soon"],
        ["stop", "a", "--timeout", "-1"],
        ["top", "--every", "0"],
        ["serve"],
        ["serve", "a:B", "--restart", "perhaps"],
        ["serve", "a:B", "--no-such-option", "1"],
        ["serve", "a:B", "-o", "nice"],
    ],
)
def test_wrong_usage_has_the_exit_code_2(command: Command, argv: list[str]) -> None:
    said = command(*argv)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("usage: remoteobj")


VERBS = ["ls", "top", "status", "stack", "interrupt", "stop", "kill", "attach", "serve", "replay"]


def test_the_version_is_that_of_the_package(command: Command) -> None:
    assert command("--version") == (0, f"remoteobj {version('remoteobj')}\n", "")


@pytest.mark.parametrize("seconds", ["inf", "nan", "0", "1e6"])
def test_a_time_is_within_bounds_that_are_said(command: Command, seconds: str) -> None:
    said = command("ls", "--every", seconds)
    assert said.code == 2
    assert "must be more than 0 seconds, and less than 1000000" in said.err


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_has_examples_that_fit_a_terminal(command: Command, verb: str | None) -> None:
    said = command(*([verb] if verb else []), "--help")
    assert (said.code, said.err) == (0, "")
    assert f"\n  remoteobj {verb or 'ls'}" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    if verb is None:
        assert all(f"\n    {one}" in said.out for one in VERBS)


def test_top_needs_a_terminal_and_textual(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert one_line(command("top")).startswith("top needs a terminal")
    monkeypatch.setitem(sys.modules, "textual", None)
    monkeypatch.setitem(sys.modules, "textual.app", None)
    monkeypatch.delitem(sys.modules, "remoteobj.cli.top", raising=False)
    assert one_line(command("top")) == "top needs textual: pip install remoteobj[cli]"
