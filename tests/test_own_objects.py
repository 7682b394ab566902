"""An actor's own object, and its methods, arrive as its proxy, wherever they stand in a value."""

import copy
import dataclasses
import functools
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from remoteobj import Proxy, get, remote
from remoteobj.errors import UnsendableError
from remoteobj.util import process
from tests.conftest import Launch
from tests.raising import Misfit


@dataclasses.dataclass
class Letter:
    sender: Any
    text: str = ""


@remote
class Tagged(list[int]):
    """A class of one's own, though C pickles what it is derived from."""


class Base:
    def hear(self, word: str) -> None:
        raise NotImplementedError


@remote
class Hearer(Base):
    def __init__(self) -> None:
        self.heard: list[str] = []
        self.lambdas = functools.partial(self.hear, "partial")

    def hear(self, word: str) -> int:  # type: ignore[override]
        self.heard.append(word)
        return len(self.heard)

    def _private(self, word: str) -> int:
        return self.hear(f"_{word}")

    def __hidden(self, word: str) -> int:
        return self.hear(f"__{word}")

    def methods(self) -> list[Any]:
        return [self.hear, {"a": self._private}, (self.__hidden,)]

    def partial(self) -> Any:
        return self.lambdas

    def within(self) -> list[Any]:
        return [self, (self, 1), {"k": self}, Letter(self), {"lambda": (self, lambda: 1)}]

    def items(self) -> Iterator[Any]:
        yield self.hear
        yield [self]

    def fail(self) -> None:
        exc = Misfit(3)
        vars(exc)["owner"] = self
        raise exc

    def of_base(self) -> Any:
        return super().hear

    def nameless(self) -> Any:
        return (lambda self: 1).__get__(self)

    def copies(self) -> Any:
        return copy.copy(self), pickle.loads(pickle.dumps(self))

    def subscribe_to(self, other: Any) -> None:
        other.subscribe(self.hear)
        other.cast_.subscribe(self.hear)
        other.subscribe(Letter(self))

    def raise_in(self, other: Any) -> None:
        other.subscribe(ValueError(self))

    def other_process(self, start_method: str) -> Any:
        child = process(len_of, self.heard, self.hear, start_method_=start_method)
        with child:
            pass
        return child.result

    def remember(self) -> None:
        REMEMBERED.append(self)


def len_of(heard: list[str], hear: Callable[[str], int]) -> tuple[int, int]:
    return len(heard), hear("a copy")


@remote
class News:
    def __init__(self) -> None:
        self.subscribers: list[Any] = []

    def subscribe(self, subscriber: Any) -> None:
        self.subscribers.append(subscriber)

    def publish(self) -> None:
        for number, one in enumerate(self.subscribers):
            if isinstance(one, Letter):
                one = one.sender.hear
            elif isinstance(one, ValueError):
                one = one.args[0].hear
            one(str(number))


NO_LISTENER = {"inline": "is reached by its handle alone"}


@pytest.fixture
def hearer(launch: Launch) -> Iterator[Any]:
    with Hearer.options(**launch).spawn() as hearer:
        yield hearer


@pytest.mark.engines(skip=NO_LISTENER)
def test_a_bound_method_arrives_as_the_proxys_method(hearer: Any) -> None:
    hear, private, (hidden,) = hearer.methods()
    hear("a")
    private["a"]("b")
    hidden("c")
    get(hearer.hear)("d")
    hearer.partial()()
    assert hearer.heard.__ == ["a", "_b", "__c", "d", "partial"]
    assert all(isinstance(one, Proxy) for one in (hear, private["a"], hidden))


@pytest.mark.engines(skip=NO_LISTENER)
def test_the_object_arrives_as_its_proxy_wherever_it_stands(hearer: Any) -> None:
    alone, (in_tuple, _), in_dict, letter, by_value = hearer.within()
    for one in (alone, in_tuple, in_dict["k"], letter.sender, by_value["lambda"][0]):
        assert isinstance(one, Proxy)
        one.hear("x")
    assert hearer.heard.__ == ["x"] * 5


@pytest.mark.engines(skip=NO_LISTENER)
def test_items_and_exceptions_lead_to_the_proxy(hearer: Any) -> None:
    method, (whole,) = hearer.items()
    method("a")
    whole.hear("b")
    with pytest.raises(Misfit) as caught:
        hearer.fail()
    vars(caught.value)["owner"].hear("c")
    assert hearer.heard.__ == ["a", "b", "c"]


@pytest.mark.engines(skip=NO_LISTENER)
def test_what_an_actor_gives_to_another_one_leads_back_to_it(launch: Launch) -> None:
    with (
        Hearer.options(**launch).spawn() as hearer,
        News.options(**launch).spawn() as news,
    ):
        hearer.subscribe_to(news)
        hearer.raise_in(news)
        news.publish()
        assert sorted(hearer.heard.__) == ["0", "1", "2", "3"]


def test_a_method_that_no_proxy_could_stand_for_is_refused(hearer: Any) -> None:
    for method in (hearer.of_base, hearer.nameless):
        with pytest.raises(UnsendableError, match="no attribute of it by its name"):
            method()


def test_a_copy_is_a_value(hearer: Any) -> None:
    for one in hearer.copies():
        assert isinstance(one, Hearer)
        assert one.heard == []


def test_the_methods_of_an_object_of_ones_own_list_type_arrive(start_method: str) -> None:
    with Tagged.options(start_method=start_method).spawn([1]) as tagged:
        append, [whole] = tagged.passto(lambda obj: (obj.append, [obj]))
        append(2)
        whole.append(3)
        assert tagged.passto(list) == [1, 2, 3]


def test_what_a_process_is_started_with_is_a_copy(start_method: str) -> None:
    # As multiprocessing makes it: a fork can do nothing else.
    with Hearer.options(start_method=start_method).spawn() as hearer:
        assert hearer.other_process(start_method) == (0, 1)
        assert hearer.heard.__ == []


def test_an_object_that_is_no_actors_is_copied(hearer: Any) -> None:
    hearer.heard = [Hearer()]
    (got,) = hearer.heard.__
    assert isinstance(got, Hearer)


def test_an_object_is_an_actors_no_more_once_that_has_ended() -> None:
    with Hearer.options(engine="thread").spawn() as hearer:
        hearer.remember()
    with Hearer.spawn() as other:
        other.heard = REMEMBERED
        (got,) = other.heard.__
    REMEMBERED.clear()
    assert isinstance(got, Hearer)


REMEMBERED: list[Any] = []
