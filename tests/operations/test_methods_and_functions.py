"""Calling methods, and functions of ours on the object: keywords, closures, `super`, lazy calls."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import remoteobj
from remoteobj import Proxy, remote
from tests.internals import close_connection
from tests.operations.homes import APART, Home, homes
from tests.operations.things import Thing, double

KEYWORDS = dict.fromkeys(["self", "obj", "func", "args", "kwargs", "cls", "name", "default"], 1)


def test_any_keyword_can_be_passed_to_a_method(thing: Any) -> None:
    thing.items.update(**KEYWORDS)
    assert thing.items.__ == KEYWORDS | {"a": [1, {"b": 2}]}


def test_any_keyword_can_be_passed_to_a_function(thing: Any) -> None:
    assert thing.passto(lambda _, /, **kwargs: kwargs, **KEYWORDS) == KEYWORDS


def test_any_keyword_can_be_passed_to_spawn() -> None:
    for spawner in (Keywords, Keywords.options(engine="thread")):
        with spawner.spawn(cls=1, func=2, options=3) as handle:
            assert handle.given.__ == {"cls": 1, "func": 2, "options": 3}


@remote(engine="inline")
class Keywords:
    def __init__(self, **kwargs: int) -> None:
        self.given = kwargs


def test_a_function_is_given_the_real_object(thing: Any) -> None:
    functions: list[Callable[[Any], Any]] = [len, bool, list, double, Thing.who]
    for func in functions:
        assert thing.passto(func) == func(Thing())


def test_a_closure_takes_its_variables_along(thing: Any) -> None:
    offset = [100]

    def shifted(obj: Any) -> int:
        return int(obj.n) + offset[0]

    assert thing.passto(shifted) == 101
    offset[0] = 200
    assert thing.passto(shifted) == 201


@homes(*APART)
def test_a_function_runs_where_the_object_is(thing: Any) -> None:
    assert thing.passto(lambda _: os.getpid()) == thing.pid() != os.getpid()


SCRIPT = """
import os, sys
from remoteobj import remote

FACTOR = 3

def helper(x):
    return x * FACTOR

def module_function(obj, x=1):
    return helper(obj.n) + x

class Point:
    def __init__(self, x):
        self.x = x
    def __eq__(self, other):
        return type(other) is Point and self.x == other.x

@remote
class Main:
    def __init__(self):
        self.n = 2
        self.here = os.getpid()
    def echo(self, value):
        assert type(value) is Point
        return value
    def fail(self):
        raise Broken("mine")

class Broken(Exception):
    pass

if __name__ == "__main__":
    with Main.options(start_method=sys.argv[1]).spawn() as main:
        assert main.here.__ != os.getpid()
        assert main.passto(module_function, x=4) == 10
        assert main.passto(lambda obj: helper(obj.n)) == 6
        assert main.echo(Point(1)) == Point(1)
        try:
            main.fail()
        except Broken as exc:
            assert exc.args == ("mine",)
        else:
            raise AssertionError("it did not fail")
    print("done")
"""


def test_functions_and_classes_of_main_are_known_over_there(
    start_method: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(remoteobj.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, str(script), start_method],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_super_reaches_methods_and_class_attributes_of_the_base(thing: Any) -> None:
    assert thing.super.who() == "base"
    assert thing.super.kind.__ == "base"
    assert thing.kind.__ == "thing"
    with pytest.raises(AttributeError):
        thing.super.chain()


def test_one_call_can_give_a_proxy(thing: Any) -> None:
    part = thing.give(1, _proxy=True)
    assert isinstance(part, Proxy)
    assert part[0][0].__ == 1
    assert thing.echo([1, 2], _proxy=True).index(2) == 1


def test_all_calls_can_give_proxies(home: Home) -> None:
    thing = home.start(Thing, eager_proxy=True)
    assert isinstance(thing.chain(), Proxy)
    assert thing.n.__ == 1
    assert thing.chain().chain().n.__ == 3
    assert thing.echo(5, _proxy=False) == 5
    assert thing.echo(5).__ == 5
    assert thing.chain().get_() is thing
    assert thing.passto(lambda obj: obj.n) == 4


@homes(*APART)
def test_calls_stay_lazy_for_other_processes_too(home: Home) -> None:
    thing = home.start(Thing, eager_proxy=True)
    again = pickle.loads(pickle.dumps(thing))
    assert isinstance(again.echo(5), Proxy)
    assert again.echo(5).__ == 5
    close_connection(again)
