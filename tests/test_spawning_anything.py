"""`remoteobj.spawn`: actors of classes of somebody else, of built-ins, of functions and lambdas."""

import functools
import os
import queue
import threading
from typing import Any, Generic, TypeVar, assert_type

import pytest

import remoteobj
from remoteobj import Handle, current, get, options, remote, spawn
from remoteobj.errors import RemoteObjError
from tests.conftest import Launch

T = TypeVar("T")


class Ledger:
    """Not decorated."""

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def add(self, n: int) -> int:
        self.value += n
        return self.value

    def own(self) -> tuple[bool, Any]:
        return hasattr(self, "remote"), current().value.get_()

    def pid(self) -> int:
        return os.getpid()


class Box(Generic[T]):
    def __init__(self, content: T) -> None:
        self.content = content


def made(value: int, *, twice: bool = False) -> Ledger:
    return Ledger(2 * value if twice else value)


def test_any_class_is_spawned_and_left_as_it_is(launch: Launch) -> None:
    before = set(vars(Ledger))
    with options(**launch).spawn(Ledger, 10) as ledger:
        assert ledger.add(1) == 11
        assert ledger.own() == (False, 11)
    assert set(vars(Ledger)) == before
    assert not hasattr(Ledger, "remote")


def test_a_function_a_lambda_and_a_partial_make_the_object_over_there(launch: Launch) -> None:
    spawner = options(**launch)
    with spawner.spawn(made, 2, twice=True) as ledger:
        assert ledger.add(1) == 5
        assert ledger.own() == (False, 5)
    offset = 3
    handle: Any = spawner.spawn(lambda value: Ledger(value + offset), 4)
    with handle:
        assert handle.add(0) == 7
        assert handle.name_.startswith("lambda-")
    with spawner.spawn(functools.partial(made, 5)) as ledger:
        assert ledger.add(0) == 5


def test_builtins_and_classes_in_c_are_spawned(launch: Launch) -> None:
    spawner = options(**launch)
    table: Any = spawner.spawn(dict, a=1)
    with table:
        table["b"] = 2
        assert (len(table), table["b"].__, "a" in table) == (2, 2, True)
        assert table.name_.startswith("dict-")
    line: Any = spawner.spawn(queue.SimpleQueue)
    with line:
        line.put("x")
        assert (line.get(), line.empty()) == ("x", True)


class Session:
    """Has the names that `@remote` adds."""

    def options(self, url: str) -> str:
        return f"OPTIONS {url}"

    def spawn(self) -> str:
        return "a child"


def test_an_object_keeps_its_own_spawn_and_options(launch: Launch) -> None:
    with options(**launch).spawn(Session) as session:
        assert (session.options("x"), session.spawn()) == ("OPTIONS x", "a child")


def test_types_are_those_of_the_class_within_with() -> None:
    handle = spawn(Ledger, 10)
    assert_type(handle, Handle[Ledger])
    with handle as ledger:
        assert_type(ledger, Ledger)
        assert_type(ledger.add(1), int)
        assert_type(get(ledger.value), int)
        assert ledger is handle  # type: ignore[comparison-overlap]
        assert get(ledger.value) == 11
        with pytest.raises(TypeError):
            ledger.add("x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with spawn(made, 1) as other:
        assert_type(other, Ledger)
    with spawn(Box[int], 1) as box:
        assert get(box.content) == 1


def test_options_of_a_spawner_add_up_and_are_checked_at_once() -> None:
    spawner = options(engine="thread").options(name="named")
    handle = spawner.spawn(Ledger)
    with handle:
        assert (handle.name_, handle.pid()) == ("named", os.getpid())
    assert repr(spawner) == "<Spawner with engine='thread', name='named'>"
    with pytest.raises(TypeError, match="colour"):
        options(colour="red")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError, match="colour"):
        spawner.options(colour="red")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def test_a_decorated_class_has_its_own_options_and_its_own_proxy() -> None:
    @remote(engine="thread", name="its own")
    class Decorated:
        def remote_is_there(self) -> bool:
            return bool(self.remote.listening_)

    handle: Any = spawn(Decorated)
    with handle:
        assert (handle.name_, handle.remote_is_there()) == ("its own", True)
    with options(name="another", engine="thread").spawn(lambda: Decorated()) as made_by_function:
        assert made_by_function.remote_is_there()


def nothing() -> None:
    pass


async def later() -> Ledger:
    return Ledger()


def failing() -> Ledger:
    raise LookupError("no camera")


def test_a_factory_that_makes_no_object_is_refused(launch: Launch) -> None:
    spawner = options(**launch)
    with pytest.raises(TypeError, match=r"returned None.*remoteobj\.util\.process"):
        spawner.spawn(nothing)
    with pytest.raises(LookupError, match="no camera"):
        spawner.spawn(failing)
    not_a_factory: Any = Ledger()
    with pytest.raises(TypeError, match=r"can't be called.*Proxy\(obj\)"):
        spawner.spawn(not_a_factory)


@pytest.mark.engines(skip={"inline": "has no thread in which a loop could run"})
def test_a_factory_may_be_awaited(launch: Launch) -> None:
    factory: Any = later
    with options(**launch).spawn(factory) as ledger:
        assert ledger.passto(type) is Ledger


def test_a_factory_that_can_not_be_sent_is_named() -> None:
    lock = threading.Lock()
    with pytest.raises(remoteobj.UnsendableError, match="factory closure variable 'lock'"):
        options(start_method="spawn").spawn(lambda: Ledger(int(lock.locked())))


class Looping:
    def __init__(self) -> None:
        self.count = 0

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            current().process_requests(timeout=None)
            self.count += 1

    @remote.cleanup
    def close(self) -> None:
        print("closed")


def test_work_and_cleanup_of_an_undecorated_class_run() -> None:
    with options(engine="thread").spawn(Looping) as actor:
        while not get(actor.count):
            pass


@pytest.mark.parametrize("factory", [Looping, lambda: Looping()])
def test_a_work_loop_needs_a_thread_whatever_makes_the_object(factory: Any) -> None:
    with pytest.raises(ValueError, match="inline actor has no thread"):
        options(engine="inline").spawn(factory)


class Child:
    """Has the names that a proxy has for serving."""

    def __init__(self) -> None:
        self.process_requests = 5

    def poll(self) -> str:
        return "not yet"

    def wait_until_listening(self) -> str:
        return "at once"


class Parent:
    def __init__(self) -> None:
        self.child = Child()


def test_names_for_serving_are_those_of_the_object_if_it_has_them(launch: Launch) -> None:
    child: Any = options(**launch).spawn(Child)
    with child:
        assert (child.poll(), child.wait_until_listening()) == ("not yet", "at once")
        assert child.process_requests.__ == 5
        assert child.with_(timeout=5).poll() == "not yet"
    parent: Any = options(**launch).spawn(Parent)
    with parent:
        assert parent.child.poll() == "not yet", "a part is served by nobody"
        assert parent.wait_until_listening() is True
        with pytest.raises(RemoteObjError, match="does not listen in this process"):
            parent.poll()


def test_what_is_no_class_is_told_of_spawn() -> None:
    decorator: Any = remote
    with pytest.raises(TypeError, match=r"see remoteobj\.spawn"):
        decorator(made)
