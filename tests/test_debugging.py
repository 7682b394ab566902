"""`breakpoint()` in an actor: it asks in the terminal of the program, wherever the actor lives."""

import os
import re
import signal
import sys
from collections.abc import Iterator

import pytest

from remoteobj import options
from tests.pseudo_terminals import TAKE, PseudoTerminal
from tests.tools import Scripts, until_gone

CLASS = """
import sys
from remoteobj import remote

@remote
class Device:
    def look(self, x):
        breakpoint()
        y = x + 1
        return y
    def shine(self):
        return "on"
    def nested(self, method, x):
        with Device.options(start_method=method, name="inner").spawn() as inner:
            return inner.look(x)
    @remote.cleanup
    def close(self):
        print("cleaned", flush=True)

def come_to_it(*devices):
    for device in devices:
        while not device.status_(10).debugged:
            pass
"""


@pytest.fixture
def terminal() -> Iterator[PseudoTerminal]:
    made = PseudoTerminal()
    yield made
    made.close()


# ------------------------------------------------------------------ one actor


def test_breakpoint_opens_pdb_in_the_terminal_of_the_program(
    start_method: str, script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        method = sys.argv[1]
        with Device.options(start_method=method).spawn() as device:
            print(device.look(3), device.shine(), flush=True)
            try:
                device.look(4)
            except Exception as error:
                print(type(error), flush=True)
            print(device.shine(), flush=True)
            print(device.nested(method, 5), flush=True)
        """,
        terminal.path,
        start_method,
        prelude=TAKE + CLASS,
    )
    shown = terminal.prompt()
    assert "--- Device-1 (pid " in shown
    assert "look()\n-> " in shown
    assert terminal.ask("p x").splitlines() == ["p x", "3", "(Pdb) "]
    stack = terminal.ask("w")
    assert "look()" in stack
    assert "remoteobj" not in stack.replace("remoteobj-", ""), "only users' frames"
    assert "interacted 7" in terminal.ask("!print('interacted', x + 4)")
    while "--Return--" not in terminal.ask("n"):
        pass
    terminal.type("n")  # past the end of the method, which ends the session
    assert program.line() == "4 on"

    terminal.prompt()
    terminal.type("q")
    assert program.line() == "<class 'bdb.BdbQuit'>"
    assert program.line() == "on"

    assert "--- inner (pid " in terminal.prompt()
    terminal.type("c")
    assert program.line() == "cleaned"
    assert program.line() == "6"
    assert program.line() == "cleaned"
    assert program.finish().code == 0


def test_whatever_runs_in_an_actor_is_debugged_and_its_time_limits_hold(
    script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        from remoteobj import CallTimeoutError
        @remote
        class Worker(Device):
            def __init__(self):
                breakpoint()
                self.turns = 0
            @remote.work
            def run(self):
                breakpoint()
                while self.remote.listening_:
                    self.remote.poll(0.01)
            @remote.cleanup
            def close(self):
                breakpoint()
                print("cleaned", flush=True)
        with Worker.spawn() as worker:
            print("born", flush=True)
            print(worker.shine(), flush=True)
            try:
                worker.with_(timeout=0.1).look(1)
            except CallTimeoutError:
                print("late", flush=True)
            print(worker.shine(), flush=True)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    assert "__init__()" in terminal.prompt()
    terminal.type("c")
    assert program.line() == "born"
    assert "run()" in terminal.prompt()
    terminal.type("c")
    assert program.line() == "on"
    assert "look()" in terminal.prompt()
    assert program.line() == "late"
    assert "1" in terminal.ask("p x"), "it can be debugged on"
    terminal.type("c")
    assert program.line() == "on"
    assert "close()" in terminal.prompt()
    terminal.type("c")
    assert program.line() == "cleaned"


def test_a_function_in_a_process_is_debugged_as_well(
    script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        from remoteobj import util
        def work(x):
            breakpoint()
            return x * 2
        with util.process(work, 4) as job:
            pass
        print(job.result)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    assert "--- work-1 (pid " in terminal.prompt()
    assert "4" in terminal.ask("p x")
    terminal.type("c")
    assert program.finish().out == "8\n"


def test_a_post_mortem_and_a_python_prompt_begin_at_the_prompt(
    script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        class Divider(Device):
            def divide(self, x):
                return 1 / x
            def look(self, x):
                try:
                    return self.divide(x - x)
                except ZeroDivisionError as error:
                    breakpoint()
                    return "caught"
        with Divider.spawn() as divider:
            print(divider.look(3), flush=True)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    terminal.prompt()
    assert "divide()" in terminal.ask("import pdb; pdb.post_mortem(error.__traceback__)")
    assert "0" in terminal.ask("p x")
    terminal.ask("q")
    terminal.type("interact")
    terminal.until(">>> ")
    terminal.type("x + 100")
    assert "103" in terminal.until(">>> ")
    terminal.press(b"\x04")
    terminal.prompt()
    terminal.type("c")
    assert program.line() == "caught"


def test_another_terminal_can_be_named(script: Scripts, terminal: PseudoTerminal) -> None:
    program = script(
        "with Device.spawn() as device: print(device.look(3), flush=True)",
        prelude=CLASS,
        REMOTEOBJ_TERMINAL=terminal.path,
    )
    terminal.prompt()
    assert "3" in terminal.ask("p x")
    terminal.type("c")
    assert program.finish().out == "4\ncleaned\n"


# ------------------------------------------------------------------ several


def test_actors_take_turns_and_a_killed_one_has_had_its_own(
    script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        with Device.options(name="a").spawn() as a, Device.options(name="b").spawn() as b:
            for _ in range(2):
                calls = [(a.future_.look(1)), b.future_.look(2)]
                come_to_it(a, b)
                print("both", flush=True)
                for call in calls:
                    try:
                        print(call.result(), flush=True)
                    except Exception as error:
                        print(type(error).__name__, flush=True)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    assert program.line() == "both"
    name, _ = asks(one := terminal.prompt())
    assert one.count("(Pdb)") == 1
    terminal.type("c")
    assert {name, asks(terminal.prompt())[0]} == {"a", "b"}
    terminal.type("c")
    assert [program.line(), program.line()] == ["2", "3"]

    assert program.line() == "both"
    killed, pid = asks(terminal.prompt())
    os.kill(pid, signal.SIGKILL)
    other, _ = asks(terminal.prompt())
    assert {killed, other} == {"a", "b"}
    terminal.type("c")
    outcomes = {"a": program.line(), "b": program.line()}
    assert outcomes[killed] == "ActorDiedError"
    assert outcomes[other] in "23"


def test_a_step_into_an_actor_that_stops_itself_gives_the_terminal_away(
    script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        class Asker(Device):
            def ask(self, other):
                breakpoint()
                answer = other.look(1)
                return answer
        with Asker.options(name="a").spawn() as a, Device.options(name="b").spawn() as b:
            print(a.ask(b), flush=True)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    assert asks(terminal.prompt())[0] == "a"
    while "---" not in (shown := terminal.ask("n")):
        pass
    assert asks(shown)[0] == "b"
    terminal.type("c")
    assert asks(terminal.prompt())[0] == "a"
    assert "2" in terminal.ask("p answer")
    terminal.type("c")
    assert program.line() == "2"


def asks(shown: str) -> tuple[str, int]:
    """Which actor asks, as it is shown there."""
    found = re.search(r"--- (\w+) \(pid (\d+)\) ---", shown)
    assert found, shown
    return found[1], int(found[2])


# ------------------------------------------------------------------ time limits, and the end


def test_who_is_debugged_is_not_stopped_by_force(script: Scripts, terminal: PseudoTerminal) -> None:
    program = script(
        """
        with Device.spawn() as device:
            call = device.future_.look(1)
            come_to_it(device)
            print(device.pid_, flush=True)
            device.stop_(timeout=0)
            print(call.result(), len(device.exc_), flush=True)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    terminal.prompt()
    assert not until_gone(int(program.line()), 0.3), "it was ended by force"
    terminal.type("c")
    assert program.line() == "cleaned"
    assert program.line() == "2 0"


def test_an_interruption_and_the_end_of_the_input_quit(
    script: Scripts, terminal: PseudoTerminal
) -> None:
    program = script(
        """
        def outcome(call):
            try:
                return call.result()
            except Exception as error:
                return type(error).__name__

        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        with Device.spawn() as device:
            call = device.future_.look(1)
            signal.sigwait({signal.SIGUSR1})
            print(device.interrupt_(), outcome(call), flush=True)
            print(outcome(device.future_.look(1)), device.shine(), flush=True)
            try:
                device.look(1)
            except KeyboardInterrupt:
                print("Ctrl-C", flush=True)
        print("left", flush=True)
        """,
        terminal.path,
        prelude=TAKE + CLASS,
    )
    terminal.prompt()
    program.process.send_signal(signal.SIGUSR1)
    assert program.line() == "True BdbQuit"
    terminal.prompt()
    terminal.press(b"\x04")
    assert program.line() == "BdbQuit on"
    terminal.prompt()
    terminal.press(b"\x03")  # it is the program's, whose call is given up
    assert [program.line() for _ in range(3)] == ["Ctrl-C", "cleaned", "left"]


# ------------------------------------------------------------------ without


def test_without_a_terminal_the_caller_is_told_what_to_do(script: Scripts) -> None:
    ended = script(
        """
        from remoteobj import util
        def told(call):
            try:
                call()
            except RuntimeError as error:
                words = "no terminal", "REMOTEOBJ_TERMINAL", 'engine="thread"', "there is none"
                return [word in str(error) for word in words]
        for method in "fork", "spawn", "forkserver":
            with Device.options(start_method=method).spawn() as device:
                print(told(lambda: device.look(1)), device.shine())
        def work():
            breakpoint()
        print(told(lambda: util.process(work).__enter__().__exit__(None, None, None)))
        """,
        prelude=CLASS.replace('print("cleaned", flush=True)', "pass"),
    ).finish()
    yes = str([True] * 4)
    assert ended.out.splitlines() == [f"{yes} on"] * 3 + [yes], ended.err


def test_a_terminal_that_can_t_be_opened_is_named(script: Scripts) -> None:
    ended = script(
        """
        with Device.spawn() as device:
            try:
                device.look(1)
            except RuntimeError as error:
                print(error)
        """,
        prelude=CLASS,
        REMOTEOBJ_TERMINAL="/dev/null",
    ).finish()
    assert "REMOTEOBJ_TERMINAL names /dev/null, which can't be opened (it is no" in ended.out


class Asker:
    def stop(self) -> str:
        breakpoint()
        return "went on"


def debugger() -> None:
    raise LookupError("a debugger")


def test_a_debugger_of_the_program_s_own_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = options(start_method="fork")
    monkeypatch.setenv("PYTHONBREAKPOINT", "tests.test_debugging.debugger")
    with fork.spawn(Asker) as asker, pytest.raises(LookupError, match="a debugger"):
        asker.stop()
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    with fork.spawn(Asker) as asker:
        assert asker.stop() == "went on"
    monkeypatch.delenv("PYTHONBREAKPOINT")
    monkeypatch.setattr(sys, "breakpointhook", debugger)
    with fork.spawn(Asker) as asker, pytest.raises(LookupError, match="a debugger"):
        asker.stop()
