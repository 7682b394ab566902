"""An actor's own proxy: `self.remote` and `current()` inside the actor."""

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
        return hasattr(self, "remote"), current().value.get_()


def test_a_remote_of_the_class_s_own_is_left_alone(launch: Launch) -> None:
    with WithRemote.options(**launch).spawn() as actor:
        assert actor.get() == "a control for the television"


def test_a_class_with_slots_finds_its_proxy_by_current(launch: Launch) -> None:
    with WithSlots.options(**launch).spawn() as actor:
        assert actor.through_current() == (False, 3)


def test_current_is_an_error_outside_of_actors() -> None:
    with pytest.raises(RuntimeError, match="inside an actor"):
        current()
    with Counter.options(engine="thread").spawn() as counter:
        assert counter.passto(lambda c: current() is not None)
        with pytest.raises(RuntimeError, match="inside an actor"):
            current()
