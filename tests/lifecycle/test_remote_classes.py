"""The decorator `remote`: names, options, subclasses, and the classes that it refuses."""

import inspect
import multiprocessing
import multiprocessing.connection
import os
import pickle
import pydoc
import re
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
        Counter.options(colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="colour"):
        remote(colour="red")(type("Plain", (), {}))  # type: ignore[call-overload]
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
def test_objects_keep_a_method_with_a_name_that_is_added_to_their_class(
    name: str, launch: Launch
) -> None:
    plain = type("Taken", (), {name: lambda self, word="none": f"its own {word}"})
    taken: Any = remote(plain)
    heir: Any = remote(type("Heir", (taken,), {}))
    late_heir: Any = type("LateHeir", (Counter,), {name: lambda self: "its own"})
    for cls in (taken, heir, remote(late_heir)):
        with cls.options(**launch).spawn() as actor:
            assert getattr(actor, name)().startswith("its own")
        assert getattr(cls(), name)().startswith("its own")
    assert getattr(taken(), name)("word") == "its own word"


@pytest.mark.parametrize("name", ["spawn", "options"])
@pytest.mark.parametrize("kind", [classmethod, staticmethod, lambda func: 5])
def test_a_class_whose_own_name_would_be_hidden_is_refused_with_the_way_out(
    name: str, kind: Any
) -> None:
    taken = type("Taken", (), {name: kind(lambda *args: "its own")})
    way = rf"has a '{name}' of its own.*rename it.*remoteobj\.spawn\(Taken, \.\.\.\)"
    with pytest.raises(TypeError, match=way):
        remote(taken)
    with pytest.raises(TypeError, match=f"has a '{name}' of its own"):
        remote(type("Heir", (taken,), {}))


def test_decorating_twice_is_harmless_and_the_later_options_hold() -> None:
    @remote(name="second")
    @remote(name="first", engine="thread")
    class Twice:
        def pid(self) -> int:
            return os.getpid()

    with remote(Twice).spawn() as actor:
        assert (actor.name_, actor.pid()) == ("second", os.getpid())


@pytest.mark.parametrize("cls", [dict, int, type(re.compile("")), multiprocessing.connection.wait])
def test_a_class_that_can_not_be_changed_is_refused_with_the_way_out(cls: Any) -> None:
    with pytest.raises(TypeError, match=r"remoteobj\.spawn"):
        remote(cls)


def test_a_subclass_of_a_class_in_c_is_remote(launch: Launch) -> None:
    @remote
    class Table(dict[str, int]):
        pass

    with Table.options(**launch).spawn(a=1) as table:
        table["b"] = 2
        assert (len(table), table["b"].__) == (2, 2)


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
