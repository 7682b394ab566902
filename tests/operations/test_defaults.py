"""Evaluating a proxy, and the default that stands in when nobody listens."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import remoteobj
from remoteobj import NotListeningError, Proxy, options
from tests.operations.homes import APART, Home, homes
from tests.operations.things import OPERATIONS, Thing, about


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


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_a_default_of_the_proxy_holds_in_every_process(start_method: str) -> None:
    proxy: Any = Proxy(Thing(), default=41)
    with options(start_method=start_method).spawn(Asking) as asking:
        assert asking.value_of(proxy) == asking.value_of(proxy.n) == 41


class Asking:
    def value_of(self, proxy: Any) -> Any:
        return proxy.get_()


def test_a_default_of_the_proxy_is_given_where_nobody_listens() -> None:
    proxy: Any = Proxy(Thing(), default=41)
    assert (proxy.n.__, proxy.n.get_(), proxy.who(), len(proxy.items)) == (41, 41, 41, 41)
    assert remoteobj.get(proxy.n) == 41
    assert proxy.future_.who().result() == 41
    assert asyncio.run(awaited(proxy)) == 41
    proxy.n = 3
    assert proxy.who(_default=1) == proxy.with_(default=1).who() == proxy.n.get_(1) == 1
    with proxy.listen_():
        assert (proxy.n.__, proxy.who()) == (1, "thing")
    made: Any = Proxy(Thing(), default=list)
    assert made.n.__ == []
    lazy: Any = Proxy(Thing(), default=4, eager_proxy=True)
    assert lazy.who().get_() == 4
    for nothing in (None, False):
        none: Any = Proxy(Thing(), default=nothing)
        assert none.n.__ is nothing


async def awaited(proxy: Any) -> Any:
    return await proxy.async_.who()
