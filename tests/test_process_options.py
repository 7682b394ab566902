"""How an owner sets the process of its actor up: variables, processors, niceness, output, title."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import UnsendableError, remote
from tests.conftest import Launch
from tests.tools import Scripts

at_import = os.environ.get("REMOTEOBJ_TEST")

can_choose = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="no process chooses its processors here"
)


class NotToday(Exception):
    pass


def refuse() -> None:
    raise NotToday("no")


def prepare() -> None:
    global prepared
    prepared += 1


prepared = 0


@remote
class Probe:
    def __init__(self) -> None:
        self.prepared = prepared

    def variable(self, name: str) -> str | None:
        return os.environ.get(name)

    def variable_at_import(self) -> str | None:
        return at_import

    def processors(self) -> list[int]:
        return sorted(os.sched_getaffinity(0))

    def niceness(self) -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)


def inherited() -> dict[str, Any]:
    """What the page on what an actor inherits speaks of."""
    umask = os.umask(0)
    os.umask(umask)
    os.kill(os.getpid(), signal.SIGINT)  # as the terminal does at Ctrl-C: nothing comes of it
    return {
        "directory": os.getcwd(),
        "path": sys.path,
        "arguments": sys.argv,
        "variable": os.environ.get("REMOTEOBJ_OTHER"),
        "umask": umask,
        "user": os.getuid(),
        "input": sys.stdin.read(),
        "leads its group": os.getpgrp() == os.getpid(),
        "threads": [one.name for one in threading.enumerate() if "remoteobj" not in one.name],
        "random": random.random(),
    }


@pytest.fixture
def probes(start_method: str) -> Any:
    return Probe.options(start_method=start_method)


def test_variables_are_set_and_unset_before_any_code_of_the_actor(
    probes: Any, start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTEOBJ_OTHER", "owner's")
    env = {"REMOTEOBJ_TEST": "é = 1", "REMOTEOBJ_OTHER": None}
    with probes.options(env=env).spawn() as probe:
        assert probe.variable("REMOTEOBJ_TEST") == "é = 1"
        assert probe.variable("REMOTEOBJ_OTHER") is None
        if start_method == "spawn":  # the others have this module from before
            assert probe.variable_at_import() == "é = 1"
    assert "REMOTEOBJ_TEST" not in os.environ
    assert os.environ["REMOTEOBJ_OTHER"] == "owner's"


def test_an_actor_inherits_what_the_page_on_that_says(
    probes: Any, start_method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REMOTEOBJ_OTHER", "set since")
    monkeypatch.setattr(sys, "argv", ["program", "--flag"])
    monkeypatch.syspath_prepend(str(tmp_path))
    umask = os.umask(0o027)
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="of the owner")
    thread.start()
    try:
        with probes.spawn() as one, probes.spawn() as two:
            found, other = (probe.passto(lambda _: inherited()) for probe in (one, two))
    finally:
        go_on.set()
        thread.join()
        os.umask(umask)
    assert found.pop("random") != other.pop("random")
    own = {umask, 0o027} if start_method == "forkserver" else {0o027}
    assert found.pop("umask") in own, "the fork server may have begun before"
    assert found == {
        "directory": str(tmp_path),
        "path": sys.path,
        "arguments": ["program", "--flag"],
        "variable": "set since",
        "user": os.getuid(),
        "input": "",
        "leads its group": True,
        "threads": ["MainThread"],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"env": {"PORT": 80}},
        {"env": {"A=B": "C"}},
        {"env": {"": "C"}},
        {"env": {"A": "nul \0"}},
        {"env": {"\ud800": None}},
        {"env": ["A"]},
        {"cpu_affinity": 0},
        {"cpu_affinity": {"0"}},
        {"cpu_affinity": ()},
        {"nice": "5"},
        {"nice": 1.5},
        {"nice": True},
        {"nice": 40},
        {"initializer": "setup"},
        {"logging": "no"},
        {"labelled_output": 1},
        {"checkpoint_every": -1},
        {"checkpoint_every": True},
        {"checkpoint_every": float("nan")},
        {"checkpoint_every": "1 s"},
        {"checkpoint_path": ""},
        {"checkpoint_path": "nul \0"},
        {"checkpoint_path": 3},
    ],
    ids=repr,
)
def test_a_value_that_is_never_right_is_refused_where_it_is_written(wrong: Any) -> None:
    for options in (Probe.options, remoteobj.options):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}= takes"):
            options(**wrong)


def test_the_variable_that_can_t_be_set_is_named() -> None:
    with pytest.raises(ValueError, match=r": 'PORT': 80$"):
        Probe.options(env={"HOST": "here", "PORT": 80})  # type: ignore[dict-item]


@can_choose
def test_it_runs_on_the_processors_that_it_is_given(probes: Any) -> None:
    one = min(os.sched_getaffinity(0))
    with probes.options(cpu_affinity={one}).spawn() as probe:
        assert probe.processors() == [one]


@can_choose
@pytest.mark.parametrize("wrong", [{100_000}, {-1}])
def test_processors_that_are_not_there_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="processors that this process may run"):
        Probe.options(cpu_affinity=wrong).spawn()


def test_where_no_process_chooses_its_processors_the_option_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pytest.raises(ValueError, match="lets no process choose"):
        Probe.options(cpu_affinity={0}).spawn()


def test_it_gives_way_to_others_as_it_is_told(probes: Any) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with probes.options(nice=3).spawn() as probe:
        assert probe.niceness() == min(19, before + 3)


def test_what_the_system_refuses_is_raised_by_spawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(increment: int) -> int:
        raise PermissionError(1, "not permitted")

    monkeypatch.setattr(os, "nice", refused)  # a fork has it, too
    with pytest.raises(PermissionError, match="not permitted"):
        Probe.options(start_method="fork", nice=-5).spawn()


@pytest.mark.parametrize("engine", ["thread", "inline"])
@pytest.mark.parametrize(
    "option", [{"env": {}}, {"nice": 1}, {"cpu_affinity": [0]}, {"labelled_output": True}]
)
def test_without_a_process_of_its_own_there_is_nothing_to_set_up(
    engine: str, option: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="about a process of its own"):
        Probe.options(engine=engine, **option).spawn()


# ------------------------------------------------------------------ the initializer


def test_the_initializer_runs_there_before_the_object_is_made(launch: Launch) -> None:
    global prepared
    prepared = 0
    with Probe.options(**launch, initializer=prepare).spawn() as probe:
        assert probe.prepared.__ == 1
    with remoteobj.options(**launch, initializer=prepare).spawn(Probe) as probe:
        assert remoteobj.get(probe.prepared) in (1, 2), "a thread is in this process"


def test_what_the_initializer_raises_is_raised_by_spawn(launch: Launch) -> None:
    with pytest.raises(NotToday, match="no"):
        Probe.options(**launch, initializer=refuse).spawn()


def test_an_initializer_that_can_t_be_sent_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(UnsendableError, match="initializer"):
        Probe.options(start_method="spawn", initializer=lock.acquire).spawn()


# ------------------------------------------------------------------ titles


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="the kernel keeps no short name")
def test_the_kernel_knows_an_actor_by_its_name(
    start_method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = Probe.options(start_method=start_method, name="a name of 21 letters")
    with options.spawn() as probe:
        assert Path(f"/proc/{probe.pid_}/comm").read_text() == "a name of 21 le\n"


def test_setproctitle_is_used_where_it_is_installed(
    tmp_path: Path, script: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "setproctitle.py").write_text(
        "titles = []\ndef setproctitle(title):\n    titles.append(title)\n"
    )
    source = """
        from remoteobj import remote

        @remote
        class Named:
            def titles(self):
                import setproctitle
                return setproctitle.titles

        if __name__ == "__main__":
            with Named.options(name="front").spawn() as named:
                print(named.titles())
    """
    assert script(source, PYTHONPATH=str(tmp_path)).finish().out == "['remoteobj: front']\n"


# ------------------------------------------------------------------ output

PROGRAM = """
import os, sys, threading
from remoteobj import remote

@remote
class Printer:
    def print_much(self, lines):
        for line in range(lines):
            print("line", line, "x" * 200)
        for _ in range(20):
            print("long", "y" * 9_000, "z" * 60_000)
        print("err", file=sys.stderr)
        print("two\\nlines")
        sys.stdout.write("")
    def print_in_threads(self):
        def run(word):
            for _ in range(200):
                print(word, word, word)
        threads = [threading.Thread(target=run, args=(word,)) for word in "abc"]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    def begin(self, text):
        print(text, end="", flush=True)
    def crash(self):
        print("the last line")
        os.kill(os.getpid(), 9)

if __name__ == "__main__":
    labelled = Printer.options(labelled_output=True, start_method=sys.argv[1])
    with labelled.options(name="one").spawn() as one, labelled.options(name="two").spawn() as two:
        futures = [one.future_.print_much(100), two.future_.print_much(100)]
        for future in futures: future.result()
        one.print_in_threads()
        two.begin("begun and never ended")
    with labelled.options(name="three").spawn() as three:
        try:
            three.crash()
        except RuntimeError:
            pass
        three.kill_()
"""


def test_each_line_of_labelled_output_is_whole_and_begins_with_its_name(
    script: Scripts, start_method: str
) -> None:
    ended = script(PROGRAM, start_method).finish()
    lines = ended.out.splitlines()
    for name in ("one", "two"):
        own = [line for line in lines if line.startswith(f"[{name}] line ")]
        assert own == [f"[{name}] line {number} {'x' * 200}" for number in range(100)]
        assert lines.count(f"[{name}] long {'y' * 9_000} {'z' * 60_000}") == 20
        assert f"[{name}] two" in lines
        assert f"[{name}] lines" in lines
        assert f"[{name}] err" in ended.err.splitlines()
    assert all(lines.count(f"[one] {word} {word} {word}") == 200 for word in "abc")
    assert "[two] begun and never ended" in lines
    assert "[three] the last line" in lines
    assert not [line for line in lines if not line.startswith(("[one] ", "[two] ", "[three] "))]


NESTED = """
import threading
from remoteobj import remote

@remote
class Inner:
    def speak(self):
        print("inside")

@remote
class Outer:
    def nest(self, labelled):
        print("begun", end="")
        options = Inner.options(name="inner", start_method="fork", labelled_output=labelled)
        with options.spawn() as inner:
            inner.speak()
        print(" ended")
    def nest_while_threads_print(self):
        done = threading.Event()
        def run():
            while not done.is_set():
                print("thread")
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads: thread.start()
        for _ in range(5): self.nest(True)
        done.set()
        for thread in threads: thread.join()
        self.nest(False)

if __name__ == "__main__":
    with Outer.options(name="outer", labelled_output=True).spawn() as outer:
        outer.nest_while_threads_print()
"""


def test_a_fork_of_an_actor_with_labels_has_its_own_or_none_and_waits_for_no_lock_of_it(
    script: Scripts,
) -> None:
    lines = script(NESTED).finish().out.splitlines()
    assert lines.count("[inner] inside") == 5
    assert lines.count("inside") == 1
    assert lines.count("[outer] begun ended") == 6
    assert {*lines} == {"[inner] inside", "inside", "[outer] begun ended", "[outer] thread"}


FORKING = """
import os, sys, threading, warnings
from remoteobj import remote

class Parking:
    entered, leave = threading.Event(), threading.Event()
    def __init__(self, stream):
        self.stream = stream
    def write(self, text):
        if "parked" in text:
            self.entered.set()
            self.leave.wait()
        self.stream.write(text)
    def flush(self):
        self.stream.flush()

@remote
class Forking:
    def fork(self):
        thread = threading.Thread(target=print, args=("parked",))
        thread.start()
        Parking.entered.wait()
        print("begun", end="")
        child = os.fork()
        if not child:
            print("child")
            os._exit(0)
        os.waitpid(child, 0)
        Parking.leave.set()
        thread.join()
        print(" ended")

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Python 3.12 warns of such a fork, and would wait to do so
    sys.stdout = Parking(sys.stdout)
    options = Forking.options(name="it", start_method="fork", labelled_output=True)
    with options.spawn() as forking:
        forking.fork()
"""


def test_what_an_actor_forks_by_itself_prints_while_a_thread_of_the_actor_is_at_it(
    script: Scripts,
) -> None:
    lines = script(FORKING).finish().out.splitlines()
    assert lines == ["[it] child", "[it] parked", "[it] begun ended"]
