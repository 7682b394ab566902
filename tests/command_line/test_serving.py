"""`remoteobj serve`: an actor in the foreground, and how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from remoteobj import NotListeningError, Proxy, actors, connect, get, options
from remoteobj.cli.program import main
from tests.tools import Ended, until

MODULE = """
import os
import signal
import time
from remoteobj import remote

class Camera:
    def __init__(self, *args, fps=30, fails=False, waits=False):
        self.args, self.fps = args, fps
        if fails:
            raise LookupError("there is no camera")
        if os.path.exists("broken"):
            raise OSError("it is broken")
        if waits:
            open("waits", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)
    @remote.cleanup
    def close(self):
        open("closed", "w").close()
        if self.fps == "rises":
            raise OSError("it is stuck")

class Looper:
    @remote.work
    def loop(self):
        raise LookupError("the loop failed")

NUMBER = 7

@remote(restart="always", name="deco", backoff=0.0)
class Deco(Camera):
    pass

def camera(fps):
    return Camera(fps=fps)
"""


class Served:
    """The program, in a directory with the module `lab`."""

    def __init__(self, directory: Path, *argv: str) -> None:
        self.directory = directory
        (directory / "lab.py").write_text(MODULE)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "remoteobj", "serve", *argv],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ready(self) -> str:
        """What it says once it can be called."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, number: int | None = None) -> Ended:
        """How it ends, at a signal or by itself."""
        if number is not None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return Ended(self.process.returncode, out, err)

    @property
    def closed(self) -> bool:
        return (self.directory / "closed").exists()


Serve = Callable[..., Served]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[Served] = []

    def start(*argv: str) -> Served:
        started.append(Served(tmp_path, *argv))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(serve: Serve, number: signal.Signals) -> None:
    served = serve("lab:Camera", "--name", "front", "0", "/dev/video0", "[1, 2]", "fps=15")
    assert served.ready().startswith("front is ready (pid ")
    front: Proxy = connect("front")
    assert get(front.args) == (0, "/dev/video0", [1, 2])
    assert get(front.fps) == 15
    ended = served.end(number)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"front is told to stop, by {number.name}; Ctrl-C kills it\n"
    assert served.closed
    with pytest.raises(NotListeningError):
        connect("front")


def test_a_signal_while_it_is_being_made_ends_it_in_order_once_it_is(serve: Serve) -> None:
    served = serve("lab:Camera", "waits=True")
    until(lambda: (served.directory / "waits").exists())
    served.process.send_signal(signal.SIGTERM)
    (served.directory / "go").touch()
    ended = served.end()
    assert (ended.code, ended.err) == (0, "")
    assert served.closed


def test_ctrl_c_again_ends_one_that_does_not_stop(serve: Serve) -> None:
    served = serve("lab:Camera", "waits=True")
    until(lambda: (served.directory / "waits").exists())
    served.process.send_signal(signal.SIGTERM)
    assert "is told to stop" in served.ready()
    ended = served.end(signal.SIGINT)
    assert (ended.code, ended.err) == (128 + signal.SIGINT, "")
    assert not served.closed


def test_one_that_dies_too_often_ends_with_its_last_death(serve: Serve) -> None:
    served = serve("lab:Camera", "-o", "restart='always'", "-o", "max_restarts=0")
    served.ready()
    connect("Camera").cast_.die()
    ended = served.end()
    assert ended.code == 1
    assert ended.err == "remoteobj: Camera was killed by SIGKILL, while it ran ?.die(...)\n"


def test_an_error_of_its_init_is_a_traceback_of_the_users_code(serve: Serve) -> None:
    ended = serve("lab:Camera", "fails=True").end()
    assert (ended.code, ended.out) == (1, "")
    lines = ended.err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "lab.py" in lines[1]
    assert ended.err.count("  File ") == 1
    assert lines[-1] == "LookupError: there is no camera"


def test_an_error_of_its_work_loop_or_its_cleanup_is_one_too(serve: Serve) -> None:
    ended = serve("lab:Looper").end()
    assert ended.code == 1
    assert ended.err.endswith("LookupError: the loop failed\n")
    served = serve("lab:Camera", "fps=rises")
    served.ready()
    ended = served.end(signal.SIGTERM)
    assert ended.code == 1
    assert ended.err.endswith("OSError: it is stuck\n")


def test_arguments_in_quotes_are_texts(serve: Serve) -> None:
    served = serve("lab:Camera", '"30"', "--", "'z=3'", "fps=1", "-2", "--name")
    served.ready()
    assert get(connect("Camera").args) == ("30", "z=3", -2, "--name")
    assert get(connect("Camera").fps) == 1
    served.end(signal.SIGTERM)


def test_its_death_is_one_line(serve: Serve) -> None:
    served = serve("lab:camera", "--name", "front", "fps=1")
    served.ready()
    (one,) = actors()
    os.kill(one.pid, signal.SIGKILL)
    ended = served.end()
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "remoteobj: front was killed by SIGKILL\n"


def test_one_that_is_restarted_goes_on_after_a_death(serve: Serve) -> None:
    served = serve("lab:Camera", "--name", "front", "--restart", "on-failure", "-o", "backoff=0.0")
    served.ready()
    front: Proxy = connect("front")
    (first,) = actors()
    front.cast_.die()
    assert served.process.stderr is not None
    told = served.process.stderr.readline()
    assert told == "remoteobj: front was killed by SIGKILL, while it ran ?.die(...)\n"
    assert get(front.fps) == 30
    (second,) = actors()
    assert first.pid != second.pid
    ended = served.end(signal.SIGTERM)
    assert (ended.code, ended.err) == (0, "")
    assert served.closed


def test_the_options_of_its_class_hold_where_nothing_is_typed(serve: Serve) -> None:
    served = serve("lab:Deco")
    assert served.ready().startswith("deco is ready (pid ")
    (first,) = actors()
    connect("deco").cast_.die()
    assert served.process.stderr is not None
    told = served.process.stderr.readline()
    assert told == "remoteobj: deco was killed by SIGKILL, while it ran ?.die(...)\n"
    again = served.ready()
    (second,) = actors()
    assert again == f"deco is ready again (pid {second.pid}); Ctrl-C stops it\n"
    assert first.pid != second.pid
    assert main(["stop", "deco"]) == 0, "which is followed by another one, too"
    assert served.ready().startswith("deco is ready again")
    ended = served.end(signal.SIGTERM)
    assert (ended.code, ended.err) == (0, "")


def test_one_that_can_not_be_started_again_says_why_and_ends(serve: Serve) -> None:
    served = serve("lab:Deco", "--restart", "on-failure", "-o", "max_restarts=1", "--name", "d")
    served.ready()
    (served.directory / "broken").touch()
    connect("d").cast_.die()
    ended = served.end()
    assert (ended.code, ended.out) == (1, "")
    assert "d was killed by SIGKILL" in ended.err
    assert "OSError: it is broken" in ended.err


def test_it_ends_with_0_when_somebody_else_has_stopped_it(serve: Serve) -> None:
    served = serve("lab:Camera", "--start-method", "spawn", "--", "-1", "--fps")
    assert served.ready().startswith("Camera is ready")
    assert get(connect("Camera").args) == (-1, "--fps")
    assert main(["stop", "Camera"]) == 0
    ended = served.end()
    assert (ended.code, ended.err) == (0, "")
    assert served.closed


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        (["lab"], "'lab' is not of the form MODULE:CLASS"),
        (
            ["../srv/lab:Camera"],
            "'../srv/lab' is no name of a module; go there, and type lab:Camera",
        ),
        (["./lab.py:Camera"], "'./lab.py' is no name of a module; go there, and type lab:Camera"),
        (["lab.py:Camera"], "there is no module 'lab.py'; type lab:Camera"),
        ([".:Camera"], "'.' is no name of a module"),
        (["a b:Camera"], "'a b' is no name of a module"),
        (["no_lab:Camera"], "there is no module 'no_lab' here or among those installed"),
        (["no_lab.sub:Camera"], "there is no module 'no_lab' here or among those installed"),
        (["lab:Lidar"], "lab has no 'Lidar'"),
        (["lab:NUMBER"], "lab:NUMBER can't be called, so it makes no object: 7"),
        (["lab:Camera", "-o", "nicee=3"], "there is no option 'nicee'"),
        (["lab:Camera", "-o", "engine=3"], "engine"),
        (["lab:Camera", "-o", "name=7"], "name= takes a text, or None: 7"),
        (["lab:Camera", "--name", "taken"], "the public name 'taken' is taken by"),
        (["lab:Camera", "--name", "a\nb"], "a public name is of characters that can be printed"),
    ],
)
def test_what_can_not_be_served_is_one_line(
    argv: list[str],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lab.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    with options(name="taken", public=True, engine="thread").spawn(dict):
        assert main(["serve", *argv]) == 1
    out, err = capsys.readouterr()
    monkeypatch.delitem(sys.modules, "lab", raising=False)
    assert out == ""
    assert err.startswith("remoteobj: ")
    assert error in err
    assert err.count("\n") == 1


def test_an_error_of_the_module_itself_is_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_lab.py").write_text("import no_such_part\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert main(["serve", "broken_lab:Camera"]) == 1
    err = capsys.readouterr().err
    assert err.endswith("ModuleNotFoundError: No module named 'no_such_part'\n")
    assert err.count("  File ") == 1
