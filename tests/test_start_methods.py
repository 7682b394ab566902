"""Programs of every kind under every start method: where the class is written must not matter.

Each test is a program of its own, run by a fresh interpreter. What it defines is in `__main__`,
which a child can't import, or must not, since to import it is to run it again.
"""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from remoteobj import remote, util

IMPORTED = """\
with open({marker!r}, "a") as file:
    print(__name__, file=file)
"""

PROGRAM = """\
from dataclasses import dataclass, field
import remoteobj
from remoteobj import remote

class Jammed(Exception):
    def __init__(self, at, why):
        super().__init__(f"{at}: {why}")
        self.at = at

class Worse(Jammed):
    pass

@dataclass
class Point:
    x: int
    y: int
    tags: list = field(default_factory=list)

@dataclass
class Line:
    a: Point
    b: Point

FACTOR = 3

def scaled(n):
    return n * FACTOR

@remote
class Plotter:
    pen = "black"

    def __init__(self, start):
        assert isinstance(start, Point)
        self.at = start

    def move(self, to):
        assert isinstance(to, Point) and type(to) is type(self.at)
        self.at, line = to, Line(self.at, to)
        return line

    def jam(self, cls=Jammed):
        try:
            raise cls(self.at, "paper")
        except Jammed as error:
            assert error.at is self.at
            raise

    def points(self, n):
        for i in range(n):
            yield Point(i, scaled(i))

    def me(self):
        return self

class Coloured(Plotter):
    pen = "red"

    def jam(self, cls=Worse):
        super().jam(cls)
"""

USE = """\
start = Point(0, 0)
with Plotter.options(start_method={method!r}).spawn(start) as plotter:
    line = plotter.move(Point(1, 2, ["a"]))
    assert type(line) is Line and type(line.a) is Point, (type(line), Line)
    assert line == Line(Point(0, 0), Point(1, 2, ["a"]))
    assert type(plotter.at.get_()) is Point
    assert [type(point) is Point for point in plotter.points(3)] == [True] * 3
    assert plotter.points(3) is not None
    try:
        plotter.jam()
    except Jammed as error:
        assert type(error) is Jammed and error.at == Point(1, 2, ["a"]), error
        assert type(error.at) is Point
    else:
        raise AssertionError("nothing was raised")
    assert plotter.passto(lambda p: scaled(p.at.y)) == 6
    offset = 10
    assert plotter.passto(lambda p, more: p.at.x + offset + more, 100) == 111
    def inner(p):
        assert isinstance(p, Plotter) and isinstance(p.at, Point)
        return Point(offset, offset)
    assert plotter.passto(inner) == Point(10, 10)
    assert plotter.passto(isinstance, Plotter)
    plotter.at = Point(5, 5)
    assert plotter.passto(lambda p: isinstance(p.at, Point))
    assert plotter.me().at.x.get_() == 5
with Coloured.options(start_method={method!r}).spawn(start) as plotter:
    assert plotter.pen.get_() == "red"
    try:
        plotter.jam()
    except Worse as error:
        assert type(error) is Worse
print("done")
"""


def run(*command: str, cwd: Path, source: str | None = None) -> str:
    """What a program prints; that it failed, or wrote to stderr, is an error."""
    result = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        input=source,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def write(directory: Path, source: str, name: str = "program.py") -> tuple[str, Path]:
    """A script that notes each time it is imported or run, and where it does."""
    marker = directory / "imported"
    path = directory / name
    path.write_text(IMPORTED.format(marker=str(marker)) + source)
    return str(path), marker


def test_a_script_without_a_guard_works_and_is_run_once(start_method: str, tmp_path: Path) -> None:
    path, marker = write(tmp_path, PROGRAM + USE.format(method=start_method))
    assert run(path, cwd=tmp_path) == "done\n"
    assert marker.read_text() == "__main__\n"


def test_a_script_with_a_guard_works_and_is_run_once(start_method: str, tmp_path: Path) -> None:
    use = textwrap.indent(USE.format(method=start_method), "    ")
    path, marker = write(tmp_path, f"{PROGRAM}\nif __name__ == '__main__':\n{use}")
    assert run(path, cwd=tmp_path) == "done\n"
    assert marker.read_text() == "__main__\n"


def test_everything_may_be_defined_in_a_function(start_method: str, tmp_path: Path) -> None:
    whole = "global FACTOR\n" + PROGRAM + USE.format(method=start_method)
    source = "def main():\n" + textwrap.indent(whole, "    ") + "\nmain()\n"
    path, marker = write(tmp_path, source)
    assert run(path, cwd=tmp_path) == "done\n"
    assert marker.read_text() == "__main__\n"


def test_a_program_on_the_command_line_works(start_method: str, tmp_path: Path) -> None:
    assert run("-c", PROGRAM + USE.format(method=start_method), cwd=tmp_path) == "done\n"


def test_a_program_from_stdin_works(start_method: str, tmp_path: Path) -> None:
    source = PROGRAM + USE.format(method=start_method)
    assert run("-", cwd=tmp_path, source=source) == "done\n"


def test_a_module_that_is_run_by_name_works_and_is_run_once(
    start_method: str, tmp_path: Path
) -> None:
    _, marker = write(tmp_path, PROGRAM + USE.format(method=start_method), "named.py")
    assert run("-m", "named", cwd=tmp_path) == "done\n"
    assert marker.read_text() == "__main__\n"


def test_the_main_module_of_a_package_works(start_method: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    _, marker = write(package, PROGRAM + USE.format(method=start_method), "__main__.py")
    assert run("-m", "package", cwd=tmp_path) == "done\n"
    assert marker.read_text() == "__main__\n"


NOTEBOOK = """\
import json, sys, traceback
# A kernel: __main__ has no __file__, and cells are compiled one by one.
del __file__
sys.argv = [""]
cells = json.load(sys.stdin)
for number, cell in enumerate(cells):
    exec(compile(cell, f"<cell {number}>", "exec"), globals())
"""


def test_a_notebook_works_and_its_cells_may_be_run_again(start_method: str, tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text(NOTEBOOK)
    use = USE.format(method=start_method)
    late = (
        "class Late(Exception): pass\n"
        f"with Plotter.options(start_method={start_method!r}).spawn(Point(0, 0)) as plotter:\n"
        "    class Later(Late): pass\n"
        "    def fail(plotter):\n"
        "        raise Later(1, plotter.at)\n"
        "    try:\n"
        "        plotter.passto(fail)\n"
        "    except Late as error:\n"
        "        assert type(error) is Later and error.args == (1, Point(0, 0)), error.args\n"
    )
    cells = [PROGRAM, use, late, PROGRAM, use]
    assert run(str(path), cwd=tmp_path, source=json.dumps(cells)) == "done\ndone\n"


def test_an_interactive_session_works(start_method: str, tmp_path: Path) -> None:
    session = f"""\
import sys; sys.ps1 = sys.ps2 = ""
from remoteobj import remote
@remote
class Counter:
    value = 0
    def add(self, n=1):
        self.value += n
        return self.value

counter = Counter.options(start_method={start_method!r}).spawn()
counter.add(5)
counter.passto(lambda c: c.value * 2)
counter.stop_()
exit()
"""
    printed = run("-i", "-q", cwd=tmp_path, source=session)
    assert "5\n" in printed, printed
    assert "10\n" in printed
    assert "Traceback" not in printed


def test_a_lambda_a_closure_and_a_bound_method_may_be_arguments(
    start_method: str, tmp_path: Path
) -> None:
    source = """
        from remoteobj import remote

        @remote
        class Box:
            def __init__(self, make):
                self.thing = make()
            def apply(self, func, *args):
                return func(self.thing, *args)

        class Maker:
            def __init__(self, n):
                self.n = n
            def make(self):
                return [self.n]

        def closure(n):
            def make():
                return [n] * n
            return make

        def counter():
            total = 0
            def add(thing, n):
                nonlocal total
                total += n + len(thing)
                return total
            return add

        boxes = Box.options(start_method=METHOD)
        for make, expected in [
            (lambda: "lambda", "lambda"), (closure(2), [2, 2]), (Maker(7).make, [7]), (list, []),
        ]:
            with boxes.spawn(make) as box:
                assert box.thing.get_() == expected
                assert box.apply(lambda thing: thing) == expected
                add = counter()
                assert [box.apply(add, 1), box.apply(add, 1)] == [1 + len(expected)] * 2
                assert type(box.apply(lambda thing: Maker(3))) is Maker
        print("done")
    """
    path, _ = write(tmp_path, textwrap.dedent(source).replace("METHOD", repr(start_method)))
    assert run(path, cwd=tmp_path) == "done\n"


def test_a_class_made_in_a_function_is_the_same_on_both_sides(
    start_method: str, tmp_path: Path
) -> None:
    source = """
        from remoteobj import remote

        def make():
            class Value:
                pass
            class Refused(Exception):
                pass
            @remote
            class Keeper:
                def keep(self, value):
                    if not isinstance(value, Value):
                        raise Refused(type(value).__name__)
                    self.value = value
                    return value
            return Value, Refused, Keeper

        Value, Refused, Keeper = make()
        Other, _, _ = make()
        with Keeper.options(start_method=METHOD).spawn() as keeper:
            assert type(keeper.keep(Value())) is Value
            assert type(keeper.value.get_()) is Value
            try:
                keeper.keep(Other())
            except Refused as error:
                assert error.args == ("Value",)
            else:
                raise AssertionError("two classes became one")
        print("done")
    """
    path, _ = write(tmp_path, textwrap.dedent(source).replace("METHOD", repr(start_method)))
    assert run(path, cwd=tmp_path) == "done\n"


def test_an_init_error_of_main_is_caught_by_its_type(start_method: str, tmp_path: Path) -> None:
    source = """
        from remoteobj import Except, remote

        class NoCamera(Exception):
            pass

        @remote
        class Camera:
            def __init__(self, number):
                raise NoCamera(number)

        exc = Except()
        try:
            Camera.options(start_method=METHOD, exc=exc).spawn(4)
        except NoCamera as error:
            print(error.args)
        print([type(error) is NoCamera for error in exc.group("init")])
    """
    path, _ = write(tmp_path, textwrap.dedent(source).replace("METHOD", repr(start_method)))
    assert run(path, cwd=tmp_path) == "(4,)\n[True]\n"


def test_what_main_sets_for_the_whole_interpreter_holds_for_the_child_too(
    start_method: str, tmp_path: Path
) -> None:
    """A module beside the script, found by its directory, is imported by its name over there."""
    (tmp_path / "beside.py").write_text("class Thing:\n    pass\n")
    source = """
        import sys
        from beside import Thing
        from remoteobj import remote

        @remote
        class Maker:
            def make(self):
                return Thing()
            def argv(self):
                return sys.argv[1:]

        with Maker.options(start_method=METHOD).spawn() as maker:
            assert type(maker.make()) is Thing
            assert Thing.__module__ == "beside"
            print(maker.argv())
    """
    path, _ = write(tmp_path, textwrap.dedent(source).replace("METHOD", repr(start_method)))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert run(path, "an", "argument", cwd=elsewhere) == "['an', 'argument']\n"


def test_the_program_s_own_choice_of_a_start_method_is_taken(
    start_method: str, tmp_path: Path
) -> None:
    source = """
        import multiprocessing
        from remoteobj import remote
        from tests.internals import process_of

        multiprocessing.set_start_method(METHOD)

        @remote
        class Child:
            def forked(self):
                return hasattr(__import__("__main__"), "Child")

        with Child.spawn() as child:
            print(process_of(child).start_method)
    """
    path, marker = write(tmp_path, textwrap.dedent(source).replace("METHOD", repr(start_method)))
    assert run(path, cwd=tmp_path) == f"{start_method}\n"
    assert marker.read_text() == "__main__\n"


def test_an_actor_may_spawn_an_actor_of_a_class_in_main(start_method: str, tmp_path: Path) -> None:
    source = """
        from remoteobj import remote

        class Value:
            pass

        @remote
        class Inner:
            def echo(self, value):
                assert type(value) is Value
                return value

        @remote
        class Outer:
            def __init__(self):
                self.inner = Inner.options(start_method=METHOD).spawn()
            def echo(self, value):
                assert type(value) is Value
                back = self.inner.echo(value)
                assert type(back) is Value
                return back

        with Outer.options(start_method=METHOD).spawn() as outer:
            assert type(outer.echo(Value())) is Value
            assert type(outer.inner.get_().echo(Value())) is Value
        print("done")
    """
    path, marker = write(tmp_path, textwrap.dedent(source).replace("METHOD", repr(start_method)))
    assert run(path, cwd=tmp_path) == "done\n"
    assert marker.read_text() == "__main__\n"


# ------------------------------------------------------------------ what fails over there


def refuse() -> None:
    raise LookupError("not over here")


class Homebody:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


@remote
class ServingThread:
    def __init__(self, guest: Homebody) -> None:
        self.guest = guest


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_an_argument_that_fails_to_unpickle_over_there_is_the_error_of_spawn(method: str) -> None:
    with pytest.raises(LookupError, match="not over here"):
        ServingThread.options(start_method=method).spawn(Homebody())


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_an_argument_that_fails_to_unpickle_over_there_is_the_error_of_a_function(
    method: str,
) -> None:
    with (
        pytest.raises(LookupError, match="not over here"),
        util.process(repr, Homebody(), start_method_=method),
    ):
        pass
