"""Where `coverage` measures a program, it measures its actors: their lines are in its report."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(find_spec("coverage") is None, reason="coverage is not there")

ACTORS = """
import os
from remoteobj import remote, util

@remote
class Box:
    def __init__(self, method):
        self.method = method
    def call(self):
        if self.method == "fork":
            return "by fork"
        if self.method == "spawn":
            return "by spawn"
        return "by forkserver"
    def nested(self):
        with Inner.spawn() as inner:
            return inner.call()
    @remote.cleanup
    def close(self):
        self.method = "closed"

@remote
class Inner:
    def call(self):
        return "in an actor of an actor"

@remote
class Ended:
    def by_sigterm(self):
        self.ended = "by SIGTERM"
    def with_the_program(self):
        self.ended = "with the program"
    def by_sigkill(self):
        self.ended = "by SIGKILL"

def work():
    return "in a function"
"""
PROGRAM = """
import sys
from remoteobj import util
from actors import Box, Ended, work

def main():
    for method in "fork", "spawn", "forkserver":
        with Box.options(start_method=method).spawn(method) as box:
            box.call()
            box.nested()
    with util.process(work):
        pass
    ended = Ended.spawn()
    ended.by_sigterm()
    ended.terminate_()
    ended.join_()
    ended.stop_()
    killed = Ended.spawn()
    killed.by_sigkill()
    killed.kill_()
    killed.stop_()
    left = Ended.spawn()
    left.with_the_program()
    return left

LEFT = main()
"""


def run(directory: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=25)


def missing(directory: Path, of: str) -> set[str]:
    """The lines that were not run, as the report has them."""
    told = run(directory, "json", "-o", "-", "--quiet")
    report = json.loads(told.stdout)
    lines = (directory / of).read_text().splitlines()
    return {lines[number - 1].strip() for number in report["files"][of]["missing_lines"]}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "actors.py").write_text(ACTORS)
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def test_the_report_has_the_lines_of_all_actors_but_of_a_killed_one(directory: Path) -> None:
    ended = run(directory, "run", "--branch", "--source=.", "program.py")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert {name for name in os.listdir(directory) if "coverage" in name} == {".coverage"}
    assert missing(directory, "actors.py") == {'self.ended = "by SIGKILL"'}
    assert missing(directory, "program.py") == set()


def test_a_file_that_can_not_be_read_is_told_and_left(directory: Path) -> None:
    """As of an actor that was killed while it wrote."""
    (directory / "broken.py").write_text(
        """
import glob, warnings
from actors import Ended

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    ended = Ended.spawn()
    ended.passto(lambda obj, source: exec(source), '''
import atexit, coverage
def save(self):
    with open(self.get_data().data_filename(), "w") as file:
        file.write("half of it")
coverage.Coverage.save = save
''')
    ended.stop_()
print([str(one.message) for one in caught], glob.glob(".coverage.*"))
"""
    )
    ended = run(directory, "run", "broken.py")
    assert ended.returncode == 0, ended.stderr
    assert "the coverage of an actor is left in" in ended.stdout
    assert "['.coverage.actor-" in ended.stdout


def test_what_comes_after_the_owner_s_own_was_combined_waits_for_the_next(directory: Path) -> None:
    (directory / "combined.py").write_text(
        """
import os, coverage

measured = coverage.Coverage()
measured.start()
from actors import Ended

ended = Ended.spawn()
ended.by_sigterm()
measured.stop()
measured.save()
os.remove(".coverage")
ended.stop_()
print([name[:16] for name in os.listdir() if name.startswith(".coverage")])
"""
    )
    command = [sys.executable, "combined.py"]
    ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=25)
    assert (ended.stdout, ended.stderr) == ("['.coverage.actor-']\n", "")
    assert run(directory, "combine").returncode == 0
    assert 'self.ended = "by SIGTERM"' not in missing(directory, "actors.py")
