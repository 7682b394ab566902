"""A method that returns its object gives the root proxy, however the object compares."""

from typing import Any

import numpy as np
import pytest

from remoteobj import remote
from tests.operations.homes import Home
from tests.operations.things import Thing


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
