"""How many messages an operation sends: one, or none."""

import threading
from collections.abc import Callable
from typing import Any

from remoteobj import Proxy
from tests.internals import nothing_sent
from tests.operations.homes import APART, WIRED, homes
from tests.operations.things import OPERATIONS, about


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
    "compare": lambda thing: (thing == thing.future_, thing != 1, hash(thing), {thing}),
    "format": lambda thing: (format(thing.n), f"{thing.n!s:.5}"),
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
        with nothing_sent():
            return [
                proxy.items.__ is obj.items,
                proxy.get_() is proxy,
                proxy.echo(obj) is proxy,
                proxy.echo(threading.main_thread()) is threading.main_thread(),
                len(proxy),
            ]

    assert thing.passto(inside, thing) == [True, True, True, True, 7]
