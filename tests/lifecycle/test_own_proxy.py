"""An actor's own proxy: `self.remote` and `current()` inside the actor."""

import copy
import json
import pickle
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from remoteobj import Proxy, current, remote
from tests.conftest import Launch
from tests.lifecycle.actors import Counter


@remote
class Introspective:
    def __init__(self) -> None:
        self.seen = repr(type(self.remote)), self.remote.listening_
        self.same = current() is not None

    def pid_by_proxy(self) -> Any:
        return self.remote.passto(lambda obj: obj.seen)

    def pid_by_current(self) -> Any:
        return current().passto(lambda obj: obj.seen)


def test_the_object_has_its_proxy_before_init_runs(launch: Launch) -> None:
    with Introspective.options(**launch).spawn() as actor:
        kind, _ = actor.seen.get_()
        assert kind == repr(Proxy)
        assert actor.pid_by_proxy() == actor.pid_by_current() == actor.seen.get_()


@remote
class WithRemote:
    remote = "a control for the television"

    def get(self) -> str:
        return self.remote


@remote
class WithSlots:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 3

    def through_current(self) -> Any:
        return current().value.get_()

    def through_remote(self) -> Any:
        return self.remote.value.get_()


def test_a_remote_of_the_class_s_own_is_left_alone(launch: Launch) -> None:
    with WithRemote.options(**launch).spawn() as actor:
        assert actor.get() == "a control for the television"


def test_an_object_with_slots_finds_its_proxy_too(launch: Launch) -> None:
    with WithSlots.options(**launch).spawn() as actor:
        assert actor.through_remote() == actor.through_current() == 3


@remote
@dataclass
class Point:
    x: int
    y: int = 2

    def seen(self) -> tuple[Any, ...]:
        return vars(self), repr(self), self == Point(1), asdict(self), json.dumps(vars(self))

    def copied(self) -> tuple[Any, ...]:
        twin = copy.deepcopy(self)
        return twin, hasattr(twin, "remote"), b"_remoteobj" in pickle.dumps(self)

    def own(self) -> Any:
        return self.remote.x.get_()


def test_nothing_of_ours_is_in_the_object(launch: Launch) -> None:
    with Point.options(**launch).spawn(1) as actor:
        fields = {"x": 1, "y": 2}
        assert actor.seen() == (fields, "Point(x=1, y=2)", True, fields, '{"x": 1, "y": 2}')
        assert actor.copied() == (Point(1), False, False)
        assert actor.own() == 1


def test_to_decorate_a_class_gives_its_objects_no_name_that_fails() -> None:
    @remote
    class Plain:
        pass

    with Plain.options(start_method="fork").spawn() as actor:
        assert actor.passto(lambda obj: obj.remote is not None)
    assert [getattr(Plain(), name) for name in dir(Plain)]
    assert not hasattr(Plain, "remote")


def test_an_object_that_is_no_actor_has_no_remote() -> None:
    with Point.options(engine="thread").spawn(1) as actor:
        assert actor.own() == 1
    with pytest.raises(AttributeError, match=r"Point.spawn\(...\) makes one"):
        _ = Point(1).remote
    assert pickle.loads(pickle.dumps(Point.remote)) is Point.remote


@remote
class WithDict:
    """One that makes its own `__dict__`, and whose `__getattr__` knows every name."""

    def __init__(self) -> None:
        self.__dict__ = {"value": 4}

    def __getattr__(self, name: str) -> str:
        return f"no {name}"

    def own(self) -> Any:
        return self.remote.value.get_(), self.missing


def test_an_object_that_replaces_its_dict_finds_its_proxy(launch: Launch) -> None:
    with WithDict.options(**launch).spawn() as actor:
        assert actor.own() == (4, "no missing")
    assert WithDict().remote == "no remote"


def test_current_is_an_error_outside_of_actors() -> None:
    with pytest.raises(RuntimeError, match="inside an actor"):
        current()
    with Counter.options(engine="thread").spawn() as counter:
        assert counter.passto(lambda c: current() is not None)
        with pytest.raises(RuntimeError, match="inside an actor"):
            current()
