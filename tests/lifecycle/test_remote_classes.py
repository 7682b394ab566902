"""The decorator `remote`: names, options, subclasses, and the classes that it refuses."""

import inspect
import multiprocessing
import os
import pickle
import pydoc
from typing import Any

import pytest

from remoteobj import remote
from tests.conftest import Launch
from tests.lifecycle.actors import Counter


class BetterCounter(Counter):
    def double(self) -> int:
        self.value *= 2
        return self.value


def test_names_count_per_class_and_can_be_given() -> None:
    @remote
    class Numbered:
        def process_name(self) -> str:
            return multiprocessing.current_process().name

    with Numbered.spawn() as first, Numbered.spawn() as second:
        assert [first.name_, second.name_] == ["Numbered-1", "Numbered-2"]
        assert first.process_name() == "Numbered-1"
    with Numbered.options(name="camera").spawn() as camera:
        assert camera.name_ == camera.process_name() == "camera"
        assert camera.pid_ != os.getpid()


def test_an_unknown_option_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="colour"):
        Counter.options(colour="red")
    with pytest.raises(TypeError, match="colour"):
        remote(colour="red")(type("Plain", (), {}))
    with pytest.raises(ValueError, match="no engine 'cloud'"):
        Counter.options(engine="cloud").spawn()
    with pytest.raises(ValueError, match="teleport"):
        Counter.options(start_method="teleport").spawn()


def test_options_given_to_the_decorator_are_the_class_s_defaults() -> None:
    @remote(engine="thread", name="default")
    class Threaded:
        def pid(self) -> int:
            return os.getpid()

    class Heir(Threaded):
        pass

    with Threaded.spawn() as actor:
        assert actor.pid() == os.getpid()
        assert actor.name_ == "default"
    with Threaded.options(name="changed").spawn() as actor:
        assert actor.pid() == os.getpid()
        assert actor.name_ == "changed"
    with Heir.options(engine="process").options(name="twice").spawn() as actor:
        assert actor.pid() != os.getpid()
        assert actor.name_ == "twice"


def test_a_subclass_can_be_decorated_again_with_other_defaults() -> None:
    @remote(name="base", stop_timeout=3.0)
    class Base:
        def who(self) -> str:
            return type(self).__name__

    @remote(name="heir")
    class Heir(Base):
        pass

    with Base.spawn() as base, Heir.spawn() as heir:
        assert (base.name_, heir.name_) == ("base", "heir")
        assert (base.who(), heir.who()) == ("Base", "Heir")


def test_a_subclass_of_a_remote_class_is_remote(launch: Launch) -> None:
    with BetterCounter.options(**launch).spawn(4) as counter:
        assert counter.add(1) == 5
        assert counter.double() == 10


def test_the_class_stays_an_ordinary_class() -> None:
    counter = Counter(10)
    assert counter.add() == 11
    assert type(counter) is Counter
    assert isinstance(BetterCounter(), Counter)
    assert pickle.loads(pickle.dumps(Counter)) is Counter
    assert pickle.loads(pickle.dumps(counter)).value == 11
    assert list(inspect.signature(Counter).parameters) == ["start"]
    assert Counter.__doc__ == "Counts."
    assert "Add, and say the sum." in pydoc.render_doc(Counter)
    assert Counter.__name__ == "Counter"
    assert not hasattr(counter, "remote")


@pytest.mark.parametrize("name", ["spawn", "options"])
def test_a_class_with_a_name_of_ours_is_refused_when_it_is_decorated(name: str) -> None:
    cls = type("Taken", (), {name: lambda self: None})
    with pytest.raises(TypeError, match=f"Taken has a '{name}' of its own.*rename it"):
        remote(cls)
    with pytest.raises(TypeError, match=f"has a '{name}' of its own"):
        remote(type("Heir", (cls,), {}))
    with pytest.raises(TypeError, match=f"has a '{name}' of its own"):
        remote(type("Heir", (Counter,), {name: lambda self: None}))


def test_what_is_no_class_is_refused_by_the_decorator() -> None:
    decorator: Any = remote
    with pytest.raises(TypeError, match="is for classes"):
        decorator(len)
    with pytest.raises(TypeError, match="is for classes"):
        decorator(Counter())


class Raising:
    """A descriptor that can't be asked at the class."""

    def __get__(self, obj: object, owner: type) -> int:
        if obj is None:
            raise RuntimeError("only for objects")
        return 5


@remote
class Described:
    lazy = Raising()

    def get(self) -> int:
        return self.lazy


def test_a_descriptor_that_can_not_be_asked_at_the_class_is_left_alone() -> None:
    with Described.spawn() as actor:
        assert actor.get() == 5
