"""Every operation on an object that lives elsewhere, and every way to reach it."""

import functools
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import remoteobj
from remoteobj import (
    ActorDiedError,
    NotListeningError,
    Proxy,
    RemoteError,
    UnsendableError,
    current,
    remote,
)
from remoteobj._caller.connection import Connection
from tests.conftest import Launch
from tests.tools import spy_on_calls

Start = Callable[[type], Any]


class Base:
    kind = "base"

    def who(self) -> str:
        return "base"


@remote
class Thing(Base):
    """Has something for every operation."""

    kind = "thing"
    shared: list[int] = []  # noqa: RUF012  (a class attribute is what is tested)

    def __init__(self) -> None:
        self.n = 1
        self.items: dict[Any, Any] = {"a": [1, {"b": 2}]}
        self.leaving = False
        self.hidden = 5
        self._private = "p"

    def who(self) -> str:
        return "thing"

    def give(self, *args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def echo(self, value: Any) -> Any:
        return value

    def chain(self) -> "Thing":
        self.n += 1
        return self

    def fail(self, error: BaseException) -> None:
        raise error

    def rows(self, count: int) -> Iterator[int]:
        yield from range(count)

    def pid(self) -> int:
        return os.getpid()

    def exit_now(self) -> None:
        os._exit(3)

    def own(self) -> Any:
        return current()

    @property
    def twice(self) -> int:
        return 2 * self.n

    @twice.setter
    def twice(self, value: int) -> None:
        self.n = value // 2

    def __len__(self) -> int:
        return 7

    def __bool__(self) -> bool:
        return bool(self.n)

    def __iter__(self) -> Iterator[str]:
        return iter(["x", "y"])

    def __contains__(self, item: object) -> bool:
        return item == "inside"

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.items[key]


# --- where the object lives ------------------------------------------------------------------


def serve(proxy: Any) -> None:
    """What the user's own process runs."""
    with proxy:
        while not proxy.passto(is_leaving):  # at home, so evaluated directly
            proxy.process_requests(None)


def is_leaving(thing: Any) -> bool:
    return bool(getattr(thing, "leaving", False))


def leave(thing: Any) -> None:
    thing.leaving = True


class Home:
    """Starts objects, and ends them all."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._ends: list[Callable[[], object]] = []

    def start(self, cls: type, **options: Any) -> Any:
        if "plain" not in self._launch:
            handle = cls.options(**self._launch, **options).spawn()
            self._ends.append(handle.stop_)
            return handle
        proxy: Any = Proxy(cls(), **options)
        context = multiprocessing.get_context(self._launch["plain"])
        process = context.Process(target=serve, args=(proxy,))
        process.start()
        self._ends.append(functools.partial(self._end, proxy, process))
        proxy.wait_until_listening(process)
        return proxy

    def _end(self, proxy: Any, process: Any) -> None:
        try:
            if process.is_alive():
                proxy.passto(leave)
            process.join(10)
            assert process.exitcode is not None
        finally:
            process.kill()
            process.join()
            proxy._ref.endpoint.close()
            process.close()

    def close(self) -> None:
        while self._ends:
            self._ends.pop()()


HOMES: dict[str, Launch] = {
    "plain": {"plain": "fork"},
    "fork": {"engine": "process", "start_method": "fork"},
    "thread": {"engine": "thread"},
    "inline": {"engine": "inline"},
}
SLOW_HOMES: dict[str, Launch] = {
    "plain-spawn": {"plain": "spawn"},
    "plain-forkserver": {"plain": "forkserver"},
    "spawn": {"engine": "process", "start_method": "spawn"},
    "forkserver": {"engine": "process", "start_method": "forkserver"},
}
APART = ["plain", "fork"]  # an object in another process
WIRED = [*APART, "thread"]  # an object that any thread may call


def homes(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("home", names, indirect=True)


@pytest.fixture(params=HOMES)
def home(request: pytest.FixtureRequest) -> Iterator[Home]:
    """Where the object lives: in a process that the user started, or behind a handle."""
    home = Home({**HOMES, **SLOW_HOMES}[request.param])
    try:
        yield home
    finally:
        home.close()
        request.node.funcargs.clear()  # which hold the proxies, and so what these hold


@pytest.fixture
def thing(home: Home) -> Any:
    return home.start(Thing)


@contextmanager
def about(name: str) -> Iterator[None]:
    """Says which one of many failed."""
    try:
        yield
    except BaseException as exc:
        exc.add_note(f"about: {name}")
        raise


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every call that leaves this process."""
    sizes: list[int] = []
    spy_on_calls(monkeypatch, sizes.append)
    return sizes


# --- a tour of all operations, by whoever calls ----------------------------------------------


def double(thing: Any, plus: int = 0) -> int:
    return 2 * int(thing.hidden) + plus


def tour(thing: Any, me: str) -> None:
    """Every operation, with state of its own, so that many may go round at once."""
    assert thing.give(1, "two", k=me) == ((1, "two"), {"k": me})
    setattr(thing, me, [1, 2, 3])
    mine = getattr(thing, me)
    assert mine.get_() == mine.__ == remoteobj.get(mine) == [1, 2, 3]
    mine[0] = me
    mine.append(4)
    assert mine[0].__ == me
    assert mine[1:].__ == [2, 3, 4]
    assert (me in mine, "no" in mine) == (True, False)
    assert len(mine) == 4
    assert bool(mine) is True
    assert list(mine) == [me, 2, 3, 4]
    del mine[0]
    assert mine.__ == [2, 3, 4]
    thing[me] = {"k": [me]}
    assert thing[me]["k"][0].__ == me
    del thing[me]["k"]
    assert not thing[me]
    del thing[me]
    with pytest.raises(KeyError) as missing:
        thing[me].get_()
    assert missing.value.args == (me,)
    assert thing.passto(len) == len(thing) == 7
    assert thing.passto(double) == 10
    assert thing.passto(double, plus=1) == 11
    assert thing.passto(lambda obj, x: (obj.hidden, x, me), x=1) == (5, 1, me)
    assert list(thing.rows(40)) == list(range(40))
    assert list(iter(thing)) == ["x", "y"]
    assert ("inside" in thing, "outside" in thing) == (True, False)
    assert (thing.who(), thing.super.who()) == ("thing", "base")
    assert thing.chain().chain() is thing
    assert thing.attrs_("items", "__class__.__name__").__ == "dict"
    delattr(thing, me)
    with pytest.raises(AttributeError):
        mine.get_()


def tour_or_report(thing: Any, me: str) -> None:
    """In a child: exit code 1 and a traceback, where pytest can't see the failure."""
    try:
        tour(thing, me)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


@homes(*HOMES, *SLOW_HOMES)
def test_every_operation_works_for_the_owner(thing: Any) -> None:
    tour(thing, "owner")


def test_every_operation_works_inside_the_objects_own_process(thing: Any) -> None:
    def inside(_: Thing, proxy: Any) -> None:
        tour(proxy, "inside")

    thing.passto(inside, thing)


def in_threads(thing: Any, count: int) -> None:
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(me: str) -> None:
        try:
            start.wait(10)
            for _ in range(3):
                tour(thing, me)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(f"thread{i}",)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@homes(*WIRED)
def test_every_operation_works_from_many_threads_at_once(thing: Any) -> None:
    in_threads(thing, 6)


def threads_or_report(thing: Any) -> None:
    try:
        in_threads(thing, 3)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def run_all(processes: list[Any]) -> None:
    for process in processes:
        process.start()
    codes = []
    for process in processes:
        process.join(20)
        codes.append(process.exitcode)
        process.kill()
        process.join()
        process.close()
    assert codes == [0] * len(processes)


@homes(*WIRED)
def test_every_operation_works_from_other_processes_at_once(thing: Any) -> None:
    context = multiprocessing.get_context("fork")
    run_all(
        [
            *(context.Process(target=tour_or_report, args=(thing, f"p{i}")) for i in range(3)),
            context.Process(target=threads_or_report, args=(thing,)),
        ]
    )
    tour(thing, "owner")


@homes(*APART)
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_proxy_travels_to_processes_that_are_started_anew(thing: Any, method: str) -> None:
    context: BaseContext = multiprocessing.get_context(method)
    run_all([context.Process(target=tour_or_report, args=(thing, "other"))])


@homes(*APART)
def test_a_proxy_and_its_parts_travel_by_pickle(thing: Any) -> None:
    for proxy in (thing, thing.items["a"]):
        again = pickle.loads(pickle.dumps(proxy))
        assert type(again) is Proxy
        assert str(again).partition(" : ")[2] == str(proxy).partition(" : ")[2]
    assert pickle.loads(pickle.dumps(thing.items["a"]))[1]["b"].__ == 2
    again._ref.endpoint.close()


# --- calls -----------------------------------------------------------------------------------


KEYWORDS = dict.fromkeys(["self", "obj", "func", "args", "kwargs", "cls", "name", "default"], 1)


def test_any_keyword_can_be_passed_to_a_method(thing: Any) -> None:
    thing.items.update(**KEYWORDS)
    assert thing.items.__ == KEYWORDS | {"a": [1, {"b": 2}]}


def test_any_keyword_can_be_passed_to_a_function(thing: Any) -> None:
    assert thing.passto(lambda _, /, **kwargs: kwargs, **KEYWORDS) == KEYWORDS


def test_any_keyword_can_be_passed_to_spawn() -> None:
    for spawn in (Keywords.spawn, Keywords.options(engine="thread").spawn):
        with spawn(cls=1, func=2, options=3) as handle:
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


# --- methods that return self ----------------------------------------------------------------


@remote
class Hostile:
    """Nothing about it can be compared, hashed or tested without harm."""

    n = 0

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("don't compare me")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("don't test me")

    def chain(self) -> "Hostile":
        self.n += 1
        return self


@remote
class ArrayLike:
    """Compares like an array: to something without a truth value."""

    def __eq__(self, other: object) -> Any:
        return np.array([True, False])

    __hash__ = None  # type: ignore[assignment]

    n = 0

    def chain(self) -> "ArrayLike":
        self.n += 1
        return self


@remote
class EqualToAll:
    n = 0

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def chain(self) -> "EqualToAll":
        self.n += 1
        return self

    def other(self) -> int:
        return 3


@pytest.mark.parametrize("cls", [Thing, Hostile, ArrayLike, EqualToAll])
def test_a_method_that_returns_self_gives_the_root_proxy(home: Home, cls: type) -> None:
    proxy = home.start(cls)
    before = proxy.n.__
    assert proxy.chain() is proxy
    assert proxy.chain().chain() is proxy
    assert proxy.chain().chain().n.__ == before + 5
    assert proxy.passto(lambda obj: obj) is proxy
    assert proxy.get_() is proxy


def test_only_the_very_object_gives_the_root_proxy(home: Home) -> None:
    assert home.start(EqualToAll).other() == 3


def test_a_part_that_leads_back_to_the_object_gives_the_root_proxy(thing: Any) -> None:
    thing.passto(lambda obj: setattr(obj, "back", {"me": obj}))
    assert thing.back["me"].__ is thing


# --- chains ----------------------------------------------------------------------------------


@homes(*WIRED)
def test_a_chain_of_any_depth_is_one_message(thing: Any, sent: list[int]) -> None:
    chain = thing.items["a"][1]["b"].real.numerator.real
    assert sent == []
    assert chain.__ == 2
    assert len(sent) == 1
    deep = thing
    for _ in range(2000):
        deep = deep.chain(_proxy=True)
    assert len(sent) == 1
    assert deep.n.__ == 2001
    assert len(sent) == 2


OPERATIONS: dict[str, Callable[[Any], object]] = {
    "call": lambda thing: thing.items["a"].append(3),
    "get_": lambda thing: thing.items["a"][0].get_(),
    "__": lambda thing: thing.items["a"][0].__,
    "get": lambda thing: remoteobj.get(thing.items["a"]),
    "set": lambda thing: setattr(thing, "n", 2),
    "delete": lambda thing: delattr(thing, "hidden"),
    "set item": lambda thing: thing.items["a"].__setitem__(0, 1),
    "del item": lambda thing: thing.items["a"].__delitem__(0),
    "in": lambda thing: 1 in thing.items["a"],
    "len": lambda thing: len(thing.items["a"]),
    "bool": lambda thing: bool(thing.items["a"]),
    "iter": lambda thing: next(iter(thing.items["a"])),
    "passto": lambda thing: thing.items["a"].passto(len),
    "super": lambda thing: thing.super.who(),
}


@homes(*WIRED)
def test_every_operation_is_one_message(thing: Any, sent: list[int]) -> None:
    for name, operation in OPERATIONS.items():
        with about(name):
            sent.clear()
            operation(thing)
            assert len(sent) == 1


LAZY: dict[str, Callable[[Any], object]] = {
    "attribute": lambda thing: thing.no.such.thing,
    "item": lambda thing: thing["no"][...]["item"],
    "super": lambda thing: thing.super.nothing,
    "attrs_": lambda thing: thing.attrs_("no.such", "thing"),
    "_proxy": lambda thing: thing.fail(_proxy=True),
    "str": lambda thing: (str(thing), repr(thing.n), f"{thing['x']}"),
    "compare": lambda thing: (thing == thing.n, thing != 1, hash(thing)),
    "hasattr": lambda thing: hasattr(thing, "_private"),
    "dir": dir,
    "type": lambda thing: (callable(thing.x), isinstance(thing, Proxy)),
}


@homes(*WIRED)
def test_what_only_records_or_prints_sends_nothing(thing: Any, sent: list[int]) -> None:
    for name, operation in LAZY.items():
        with about(name):
            operation(thing)
            assert sent == []


def test_attributes_and_items_are_proxies_until_they_are_evaluated(thing: Any) -> None:
    for part in (thing.n, thing["a"], thing.items["a"][0], thing.super, thing.give):
        assert isinstance(part, Proxy)
    assert thing.n.__ == 1


@homes(*APART)
def test_inside_its_own_process_the_object_is_reached_without_the_wire(thing: Any) -> None:
    def inside(obj: Any, proxy: Any) -> Any:
        def refuse(*_: Any) -> None:
            raise AssertionError("something was sent")

        original, Connection._write = Connection._write, refuse  # type: ignore[method-assign,assignment]
        try:
            return [
                proxy.items.__ is obj.items,
                proxy.get_() is proxy,
                proxy.echo(obj) is proxy,
                proxy.echo(threading.main_thread()) is threading.main_thread(),
                len(proxy),
            ]
        finally:
            Connection._write = original  # type: ignore[method-assign]

    assert thing.passto(inside, thing) == [True, True, True, True, 7]


# --- evaluating, with defaults ---------------------------------------------------------------


def test_a_value_can_be_had_in_three_ways(thing: Any) -> None:
    assert thing.n.get_() == thing.n.__ == remoteobj.get(thing.n) == 1
    assert remoteobj.get("no proxy", default=1) == "no proxy"


def explode() -> None:
    raise AssertionError("the default was evaluated")


def test_a_default_is_not_needed_while_somebody_listens(thing: Any) -> None:
    assert thing.n.get_(default=explode) == 1
    assert remoteobj.get(thing.n, default=explode) == 1
    assert thing.echo(2, _default=explode) == 2
    assert thing.echo(None, _default=3) is None


def test_an_error_of_the_object_is_no_reason_for_the_default(thing: Any) -> None:
    with pytest.raises(AttributeError):
        thing.nothing.get_(default=1)
    with pytest.raises(NotListeningError, match="another one"):
        thing.fail(NotListeningError("another one"), _default=1)


@pytest.fixture
def ended(home: Home) -> Any:
    """A proxy whose object nobody serves any more."""
    thing = home.start(Thing)
    assert thing.n.__ == 1
    home.close()
    return thing


def test_without_a_listener_the_default_stands_in(ended: Any) -> None:
    calls: list[int] = []

    def make() -> str:
        calls.append(1)
        return "made"

    assert ended.n.get_(default=5) == 5
    assert ended.n.get_(default=None) is None
    assert ended.n.get_(default=make) == "made"
    assert remoteobj.get(ended.n, default=make) == "made"
    assert ended.echo(1, _default=make) == "made"
    assert ended.echo(1, _default=False) is False
    assert len(calls) == 3


UNSERVED: dict[str, Callable[[Any], object]] = {
    **{name: operation for name, operation in OPERATIONS.items() if name != "iter"},
    "iter": lambda thing: list(thing),
}


def test_without_a_listener_every_operation_says_so(ended: Any) -> None:
    for name, operation in UNSERVED.items():
        with about(name):
            with pytest.raises(NotListeningError):
                operation(ended)


def test_a_plain_proxy_can_fall_back_on_its_own_copy() -> None:
    proxy: Any = Proxy(Thing())
    assert proxy.n.get_(default_local=True) == 1
    assert proxy.items["a"][0].get_(default_local=True) == 1
    assert remoteobj.get(proxy.n, default_local=True) == 1
    assert proxy.n.get_(default=9) == 9
    with pytest.raises(NotListeningError):
        proxy.n.get_()
    with pytest.raises(AttributeError):
        proxy.nothing.get_(default=1, default_local=True)


@homes(*APART)
def test_a_listener_is_asked_before_the_own_copy(thing: Any) -> None:
    thing.n = 8
    assert thing.n.get_(default_local=True) == 8


# --- eager and lazy calls --------------------------------------------------------------------


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
    again._ref.endpoint.close()


# --- attributes and names --------------------------------------------------------------------


def test_properties_are_read_and_set_over_there(thing: Any) -> None:
    assert thing.twice.__ == 2
    thing.twice = 20
    assert (thing.n.__, thing.twice.__) == (10, 20)
    with pytest.raises(AttributeError):
        del thing.twice


def test_class_attributes_are_read_and_shadowed_like_local_ones(thing: Any) -> None:
    assert thing.kind.__ == "thing"
    thing.kind = "other"
    assert thing.kind.__ == "other"
    del thing.kind
    assert thing.kind.__ == "thing"


def test_nested_objects_are_changed_in_their_place(thing: Any) -> None:
    thing.items["a"][1]["b"] = 5
    thing.items["a"].append(6)
    thing.child = Base()
    thing.child.name = "x"
    assert thing.items.__ == {"a": [1, {"b": 5}, 6]}
    assert thing.child.name.__ == "x"
    assert thing.child.who() == "base"
    del thing.child.name
    assert not thing.passto(lambda obj: hasattr(obj.child, "name"))


def test_attrs_reaches_every_name(thing: Any) -> None:
    assert thing.attrs_("items.copy")() == {"a": [1, {"b": 2}]}
    assert thing.attrs_("_private").__ == "p"
    assert thing.attrs_("__class__.__name__").__ == "Thing"
    assert thing.attrs_("n", "real.imag").__ == 0
    thing.passto(setattr, "get_", "theirs")
    thing.passto(setattr, "passto", "theirs")
    assert thing.attrs_("get_").__ == thing.attrs_("passto").__ == "theirs"


OWN = ["get_", "passto", "super", "listening_", "process_requests", "wait_until_listening", "poll"]


def test_own_names_are_neither_set_nor_deleted(thing: Any) -> None:
    for name in [*OWN, "__", "_private", "_steps", "__class__", "__dict__"]:
        with pytest.raises(AttributeError, match="proxy's own name"):
            setattr(thing, name, 1)
        with pytest.raises(AttributeError, match="proxy's own name"):
            delattr(thing, name)
    assert thing.n.__ == 1


def test_names_that_begin_with_an_underscore_are_never_remote(thing: Any) -> None:
    for name in ["_private", "_x", "__length_hint__", "__array__", "__deepcopy__"]:
        with pytest.raises(AttributeError, match="never remote"):
            getattr(thing, name)
        assert not hasattr(thing.items, name)


DOCUMENTED = {"passto", "super", "process_requests", "wait_until_listening", "poll", "__"}


@pytest.mark.parametrize("cls", [Proxy, remoteobj.Handle])
def test_every_name_of_ours_ends_in_one_underscore(cls: type) -> None:
    ours = {name for name in dir(cls) if not name.startswith("_")} - DOCUMENTED
    assert ours
    assert {name for name in ours if not name.endswith("_") or name.endswith("__")} == set()


def test_dir_shows_names_that_work(thing: Any) -> None:
    assert {"get_", "passto", "__"} <= set(dir(thing))
    assert "_ref" not in dir(thing)


# --- printing --------------------------------------------------------------------------------


@homes(*WIRED)
def test_a_proxy_prints_as_the_chain_that_it_is(thing: Any) -> None:
    assert str(thing).endswith(" : (?)>")
    assert str(thing.items["a"][0]).endswith(" : (?.items['a'][0])>")
    assert repr(thing.give(1, k=2, _proxy=True)).endswith(" : (?.give(1, k=2))>")
    assert repr(thing.super.who).endswith(" : (super(?).who)>")
    assert all(str(part).startswith("<Remote ") for part in (thing, thing.n))


def test_the_real_str_is_a_call_away(thing: Any) -> None:
    assert "Thing object at" in thing.passto(str)


# --- values ----------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = "core"
    for i in range(depth):
        value = [value] if i % 2 else {"k": value}
    return value


VALUES: dict[str, Any] = {
    "None": None,
    "Ellipsis": ...,
    "NotImplemented": NotImplemented,
    "bool": True,
    "complex": 1j,
    "bytes": b"\0\xff",
    "text": "ünï\U0001f600\0",
    "tuple": (1, (2, ())),
    "set": {1, frozenset({2})},
    "slice": slice(1, None, 2),
    "range": range(3),
    "class": Base,
    "builtin": len,
    "5 MB": b"x" * 5_000_000,
    "5 MB text": "é" * 2_500_000,
    "bytearray": bytearray(b"abc"),
    "deep": nested(100),
    "many": list(range(100_000)),
    "huge int": 1 << 4000,
}


def test_a_value_comes_back_as_it_went(thing: Any) -> None:
    for name, value in VALUES.items():
        with about(name):
            got = thing.echo(value)
            assert type(got) is type(value)
            assert got == value
            thing.held = value
            assert thing.held.__ == value


def test_any_key_reaches_an_item(thing: Any) -> None:
    for key in [None, ..., (1, "x"), 1.5, b"k", frozenset({1}), "", True]:
        thing.items[key] = "here"
        assert thing[key].__ == thing.items[key].__ == "here"
        assert key in thing.items
        del thing.items[key]
        assert key not in thing.items


def test_exceptions_are_values_like_others(thing: Any) -> None:
    error = thing.echo(ValueError("v", 2))
    assert (type(error), error.args) == (ValueError, ("v", 2))
    [first, second] = thing.echo([KeyError("k"), SystemExit(3)])
    assert (first.args, second.code) == (("k",), 3)
    assert thing.echo(StopIteration) is StopIteration


ARRAYS: dict[str, Any] = {
    "small": np.arange(6).reshape(2, 3),
    "large": np.arange(200_000, dtype="f8"),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(3),
    "not contiguous": np.arange(100_000).reshape(100, 1000)[::2, ::-3],
    "fortran": np.asfortranarray(np.arange(40_000).reshape(200, 200)),
    "objects": np.array([None, "x", {1: 2}], dtype=object),
    "structured": np.zeros(10_000, dtype=[("a", "i4"), ("b", "f8")]),
}


def test_arrays_come_back_as_they_went(thing: Any) -> None:
    for name, array in ARRAYS.items():
        with about(name):
            got = thing.echo(array)
            assert (got.dtype, got.shape) == (array.dtype, array.shape)
            assert np.array_equal(got, array)
            [again, [inner]] = thing.echo([array, [array]])
            assert np.array_equal(again, array)
            assert np.array_equal(inner, array)


def test_an_array_that_came_is_ones_own_to_change(thing: Any) -> None:
    for size in (10, 100_000):  # within the message, and outside of it
        got = thing.echo(np.zeros(size))
        got[:] = 1
        assert got.sum() == size
        assert thing.passto(lambda _, a: [a.fill(2), a.sum()][1], np.zeros(size)) == 2 * size


def test_arrays_can_be_keys_of_items(thing: Any) -> None:
    thing.array = np.arange(5)
    assert thing.array[np.array([True, False, True, False, False])].__.tolist() == [0, 2]
    assert thing.array[np.array([3, 1])].__.tolist() == [3, 1]
    thing.array[np.array([0, 1])] = 9
    assert thing.array[:3].__.tolist() == [9, 9, 2]
    assert thing.array[..., None].shape.__ == (5, 1)
    assert thing.array.sum() == 27
    assert 9 in thing.array
    with pytest.raises(ValueError, match="truth value"):
        bool(thing.array)


def test_no_change_to_a_value_here_changes_the_object_over_there(thing: Any) -> None:
    mine = [1]
    thing.kept = mine
    mine.append(2)
    got = thing.kept.__
    got.append(3)
    assert thing.kept.__ == [1]


@homes(*WIRED)
def test_a_proxy_that_is_an_argument_is_the_object_over_there(thing: Any) -> None:
    assert thing.passto(lambda obj, proxy: proxy.get_() is proxy, thing)
    assert thing.passto(lambda obj, part: part.get_() is obj.items, thing.items)


# --- what can't be sent ----------------------------------------------------------------------


class Sticky:
    """Can't be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError("stuck")


UNSENDABLE: dict[str, tuple[Callable[[Any, Any], object], str]] = {
    "args[0]": (lambda thing, bad: thing.echo(bad), "args[0]"),
    "args[1]['k'][0]": (lambda thing, bad: thing.give(1, {"k": [bad]}), "args[1]['k'][0]"),
    "keyword": (lambda thing, bad: thing.give(1, option=[bad]), "option[0]"),
    "value": (lambda thing, bad: setattr(thing, "x", {"y": bad}), "value['y']"),
    "item": (lambda thing, bad: thing.items.__setitem__("k", bad), "value"),
    "key": (lambda thing, bad: thing.items[bad].get_(), "key"),
    "in": (lambda thing, bad: bad in thing, "key"),
    "closure": (lambda thing, bad: thing.passto(lambda _: bad), "func closure variable 'bad'"),
    "passto": (lambda thing, bad: thing.passto(double, plus=bad), "plus"),
}


@pytest.mark.parametrize("bad", [threading.Lock(), Sticky()], ids=["lock", "hostile"])
def test_an_unsendable_argument_names_its_path_and_nothing_is_sent(
    thing: Any, sent: list[int], bad: Any
) -> None:
    for name, (operation, path) in UNSENDABLE.items():
        with about(name):
            sent.clear()
            with pytest.raises(UnsendableError) as caught:
                operation(thing, bad)
            assert caught.value.path == path
            assert caught.value.__cause__ is not None
            assert sent == []
            assert thing.n.__ == 1


def test_an_unsendable_result_is_its_callers_error_and_the_actor_lives_on(thing: Any) -> None:
    with pytest.raises(UnsendableError) as caught:
        thing.passto(lambda _: [1, {"lock": threading.Lock()}])
    assert caught.value.path == "result[1]['lock']"
    assert thing.n.__ == 1


def test_an_unsendable_attribute_can_still_be_used_over_there(thing: Any) -> None:
    thing.passto(lambda obj: setattr(obj, "lock", threading.Lock()))
    with pytest.raises(UnsendableError):
        thing.lock.get_()
    assert thing.lock.acquire() is True
    assert thing.lock.locked() is True


def test_an_unsendable_item_ends_its_stream_alone(thing: Any) -> None:
    def items(_: Any) -> Iterator[Any]:
        yield 1
        yield threading.Lock()

    stream = thing.passto(items)
    assert next(stream) == 1
    with pytest.raises(UnsendableError):
        next(stream)
    assert thing.n.__ == 1


def many_views(_: Any) -> Any:
    array = np.zeros(40_000, "u1")
    return [array[:] for _ in range(65_537)]


@homes("fork")
def test_a_result_of_very_many_arrays_does_not_end_the_actor(thing: Any) -> None:
    def answer(obj: Any) -> Any:
        # Where the reply would be written: its head alone tells.
        from remoteobj._actor.clients import value_frame
        from remoteobj._protocol.frames import encode
        from remoteobj._protocol.messages import Kind

        return len(encode(value_frame(Kind.VALUE, 1, many_views(obj)))) > 0

    assert thing.passto(answer)
    assert thing.n.__ == 1


def unpickle_to(error: BaseException) -> Any:
    raise error


class Trap:
    """Raises where it is unpickled."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        return unpickle_to, (self.error,)


class Unrepeatable(Exception):
    pass


@homes(*WIRED)
def test_a_bad_unpickle_over_there_fails_only_that_call(thing: Any) -> None:
    with pytest.raises(Unrepeatable, match="there"):
        thing.echo(Trap(Unrepeatable("there")))
    assert thing.n.__ == 1


def make_trap(_: Any, error: BaseException) -> Any:
    return Trap(error)


def make_traps(_: Any, error: BaseException) -> Iterator[Any]:
    yield 1
    yield Trap(error)
    yield 3


@homes(*WIRED)
def test_a_bad_unpickle_here_fails_only_that_call(thing: Any) -> None:
    with pytest.raises(Unrepeatable, match="here"):
        thing.passto(make_trap, Unrepeatable("here"))
    assert thing.n.__ == 1


ENDING = [SystemExit(3), KeyboardInterrupt("k"), GeneratorExit("g"), StopIteration("s")]


def test_what_would_end_the_callers_loop_when_it_is_unpickled_arrives_wrapped(thing: Any) -> None:
    operations: list[Callable[[BaseException], object]] = [
        lambda error: thing.passto(make_trap, error),
        lambda error: thing.echo(Trap(error)),
    ]
    for error in ENDING:
        for operation in operations:
            with about(type(error).__name__):
                with pytest.raises(RemoteError) as caught:
                    operation(error)
                assert type(caught.value.__cause__) is type(error)
                assert thing.n.__ == 1


@homes(*WIRED)
def test_a_value_that_stops_iteration_when_it_is_unpickled_ends_no_stream(thing: Any) -> None:
    stream = thing.passto(make_traps, StopIteration("s"))
    assert next(stream) == 1
    with pytest.raises(RemoteError):
        next(stream)


# --- exceptions ------------------------------------------------------------------------------


class Rich(Exception):
    """Has more to it than its arguments."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


def raise_richly(_: Any) -> None:
    empty: dict[str, int] = {}
    try:
        empty["missing"]
    except KeyError as missing:
        error = Rich(7, hint="look there")
        error.add_note("a note")
        raise error from missing


def test_an_exception_keeps_everything_that_belongs_to_it(thing: Any) -> None:
    with pytest.raises(Rich) as caught:
        thing.passto(raise_richly)
    error = caught.value
    assert (error.args, error.code, error.hint) == (("code 7",), 7, "look there")
    assert error.__notes__ == ["a note"]
    assert type(error.__cause__) is KeyError
    assert error.__cause__.args == ("missing",)


def test_the_traceback_shows_the_remote_file_and_line(thing: Any) -> None:
    with pytest.raises(Rich) as caught:
        thing.passto(raise_richly)
    text = "".join(traceback.format_exception(caught.value))
    line = raise_richly.__code__.co_firstlineno + 7
    assert f'File "{__file__}", line {line}, in raise_richly' in text
    assert "raise error from missing" in text
    assert "KeyError: 'missing'" in text
    assert "a note" in text


@homes(*APART)
def test_the_traceback_begins_with_the_callers_own_line(thing: Any) -> None:
    with pytest.raises(ValueError, match="v") as caught:
        thing.fail(ValueError("v"))
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert frames[0].line == 'thing.fail(ValueError("v"))'
    assert frames[-1].name == "fail"


def test_groups_keep_their_members(thing: Any) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        thing.fail(ExceptionGroup("both", [ValueError(1), TypeError("t")]))
    assert [(type(e), e.args) for e in caught.value.exceptions] == [
        (ValueError, (1,)),
        (TypeError, ("t",)),
    ]


def test_what_would_end_a_loop_arrives_as_a_remote_error(thing: Any) -> None:
    operations: list[Callable[[BaseException], object]] = [
        thing.fail,
        lambda error: thing.passto(make_failing, error),
    ]
    for error in ENDING:
        for operation in operations:
            with about(type(error).__name__):
                with pytest.raises(RemoteError) as caught:
                    operation(error)
                cause = caught.value.__cause__
                assert (type(cause), getattr(cause, "args", None)) == (type(error), error.args)
                assert thing.n.__ == 1


def make_failing(thing: Any, error: BaseException) -> None:
    thing.fail(error)


@homes(*WIRED)
def test_an_exception_that_cant_be_rebuilt_arrives_as_text(thing: Any) -> None:
    def fail(_: Any) -> None:
        raise Rich(1, hint=threading.Lock())  # type: ignore[arg-type]

    with pytest.raises(RemoteError) as caught:
        thing.passto(fail)
    assert caught.value.type_name == f"{__name__}.Rich"
    assert "in fail" in str(caught.value)
    assert "code 1" in str(caught.value)


OPERATION_ERRORS: dict[str, tuple[Callable[[Any], object], type[Exception]]] = {
    "attribute": (lambda thing: thing.missing.get_(), AttributeError),
    "call": (lambda thing: thing.n(), TypeError),
    "arguments": (lambda thing: thing.who(1), TypeError),
    "item": (lambda thing: thing["missing"].get_(), KeyError),
    "delete item": (lambda thing: thing.__delitem__("missing"), KeyError),
    "delete attribute": (lambda thing: delattr(thing, "missing"), AttributeError),
    "index": (lambda thing: thing.items["a"][99].get_(), IndexError),
    "len": (lambda thing: len(thing.n), TypeError),
    "in": (lambda thing: 1 in thing.n, TypeError),
    "iter": (lambda thing: iter(thing.n), TypeError),
    "passto": (lambda thing: thing.passto(lambda: None), TypeError),
}


def test_an_operation_that_fails_raises_what_it_would_raise_here(thing: Any) -> None:
    for name, (operation, kind) in OPERATION_ERRORS.items():
        with about(name):
            with pytest.raises(kind):
                operation(thing)
            assert thing.n.__ == 1


# --- who is where ----------------------------------------------------------------------------


@homes("fork", "thread", "inline")
def test_current_is_the_actor_for_its_own_code_alone(thing: Any) -> None:
    assert thing.passto(lambda obj: current().get_() is not None)
    with pytest.raises(RuntimeError, match="inside an actor"):
        current()


@homes("fork", "thread", "inline")
def test_whether_it_listens_is_known_in_every_thread(thing: Any) -> None:
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(thing.listening_), daemon=True)
    thread.start()
    thread.join(5)
    assert seen == [True]


@homes("fork")
@pytest.mark.parametrize("closed", [False, True], ids=["at once", "after a closed stream"])
def test_the_call_in_which_an_actor_died_may_have_run(thing: Any, closed: bool) -> None:
    if closed:
        stream = thing.rows(1000)
        next(stream)
        stream.close()
    with pytest.raises(ActorDiedError) as caught:
        thing.exit_now()
    assert caught.value.maybe_executed
    assert caught.value.exitcode == 3


@pytest.mark.parametrize("paths", [(), ("",), ("a.",), ("a", "")])
def test_attrs_wants_whole_names(paths: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="empty name"):
        Proxy({}).attrs_(*paths)
