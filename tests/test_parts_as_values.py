"""Parts of remote objects among the operands and arguments of calls."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import remoteobj
from remoteobj import NotListeningError, Proxy, options
from remoteobj.testing import Gate
from tests.conftest import Launch


class Camera:
    def __init__(self, exposure: int = 10) -> None:
        self.exposure = exposure
        self.frames = {"a": [1, 2, 3], "b": []}
        self.key = "a"
        self.index = 2
        self.made: list[str] = []

    def kinds(self, *args: Any, **kwargs: Any) -> Any:
        """What arrives, a proxy being a word."""
        return _plain(args), _plain(kwargs)

    def twice(self, value: int) -> int:
        return 2 * value

    def call(self, func: Any, value: int) -> Any:
        return func(value)

    def own(self) -> Any:
        """The same operations, at home."""
        me = remoteobj.current()
        me.exposure = me.index
        return self.exposure, me.frames[me.key][me.index].get_(), me.kinds(me.key, [me.index])

    def step(self, word: str) -> "Camera":
        self.made.append(word)
        return self


def _plain(value: Any) -> Any:
    if isinstance(value, Proxy):
        return "proxy"
    if isinstance(value, list | tuple | set):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return value


@pytest.fixture
def camera(launch: Launch) -> Iterator[Any]:
    handle = options(**launch).spawn(Camera)
    yield handle
    handle.stop_()


@pytest.fixture
def other() -> Iterator[Any]:
    handle = options().spawn(Camera, 99)
    yield handle
    handle.stop_()


def test_a_part_of_the_same_object_is_evaluated_over_there(camera: Any) -> None:
    assert camera.twice(camera.index) == 4
    assert camera.frames[camera.key].__ == [1, 2, 3]
    assert camera.frames[camera.key][camera.index].__ == 3
    assert camera.frames["a"][: camera.index].__ == [1, 2]
    assert camera.index in camera.frames["a"]
    assert camera.call(camera.twice, camera.index) == 4
    assert camera.passto(lambda obj, key: key is obj.key, camera.key)
    camera.exposure = camera.index
    camera.frames["b"] = camera.frames["a"]
    assert camera.passto(lambda obj: obj.frames["b"] is obj.frames["a"])
    assert camera.exposure.__ == 2
    del camera.frames[camera.key]
    assert camera.frames.__ == {"b": [1, 2, 3]}


def test_parts_are_found_in_containers_of_any_depth(camera: Any, other: Any) -> None:
    value = [camera.key, (camera.index, {"x": (camera.index,)}), other.key]
    args, kwargs = camera.kinds(value, 1, key=value)
    expected = ["a", (2, {"x": (2,)}), "proxy"]
    assert args == (expected, 1)
    assert kwargs == {"key": expected}
    assert isinstance(value[0], Proxy), "the caller's own list is left alone"
    ring: list[Any] = [camera.key]
    ring.append(ring)
    assert camera.passto(lambda obj, ring: (ring[0], ring[1][1] is ring[1]), ring)[0] == "a"


def test_a_part_of_another_object_that_is_assigned_gives_its_value(camera: Any, other: Any) -> None:
    camera.exposure = other.exposure
    camera.frames["b"] = [other.exposure, {"k": other.key}]
    other.exposure = 5
    assert camera.exposure.__ == 99
    assert camera.frames["b"].__ == [99, {"k": "a"}]
    assert camera.frames[other.key].__ == [1, 2, 3]
    assert other.index in camera.frames["a"]


def test_a_part_of_another_object_that_is_an_argument_can_be_called_back(
    camera: Any, other: Any
) -> None:
    assert camera.kinds(other.exposure, x=other) == (("proxy",), {"x": "proxy"})
    assert camera.call(other.twice, 4) == 8


def test_a_whole_object_is_a_proxy_wherever_it_stands(other: Any) -> None:
    assert other.kinds(other, [other]) == (("proxy", ["proxy"]), {})
    other.made = other
    assert other.passto(lambda obj: isinstance(obj.made, Proxy))


def test_parts_travel_so_through_every_view(other: Any) -> None:
    assert other.future_.twice(other.index).result() == 4
    other.cast_.exposure = other.index
    assert other.with_(timeout=20).twice(other.exposure) == 4

    async def awaited() -> Any:
        with options().spawn(Camera) as mine:
            handle: Any = mine
            first = await handle.async_.twice(handle.index)
            second = await handle.async_.frames[other.key].get_()
            third = await handle.async_.kinds(other.key, handle.key)
            return first, second, third

    assert asyncio.run(awaited()) == (4, [1, 2, 3], (("proxy", "a"), {}))


def test_parts_are_evaluated_at_home_too(camera: Any) -> None:
    assert camera.own() == (2, 3, (("a", [2]), {}))


def test_parts_are_evaluated_when_their_step_is_reached(other: Any) -> None:
    made = other.step("first", _proxy=True).made
    assert other.step(other.step("x", _proxy=True).key).made.__ == ["x", "a"]
    assert made.append(other.made[-1]) is None
    assert other.made.__ == ["x", "a", "first", "first"]


def test_the_exception_of_a_part_is_that_of_the_call(camera: Any, other: Any) -> None:
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        camera.twice(camera.missing)
    with pytest.raises(KeyError, match="zz"):
        camera.exposure = other.frames["zz"]
    assert camera.exposure.__ == 10


def test_where_nobody_listens_the_default_holds_for_calls_with_parts() -> None:
    proxy: Any = Proxy(Camera())
    with pytest.raises(NotListeningError):
        proxy.twice(proxy.index)
    assert proxy.twice(proxy.index, _default=7) == 7
    assert proxy.frames[proxy.key].get_(default_local=True) == [1, 2, 3]


def wait_at(obj: Camera, gate: Gate, index: int) -> int:
    gate.park()
    return index


def test_a_call_with_parts_is_described_like_any_other(other: Any) -> None:
    gate = Gate()
    parked = other.future_.passto(wait_at, gate, other.index)
    gate.wait_for_arrival()
    assert other.status_().call == "f(?)"
    queued = other.future_.twice(other.index)
    with pytest.raises(remoteobj.CallTimeoutError) as late:
        _ = other.with_(timeout=0.05).exposure.__
    assert late.value.queued_ahead == ("?.twice(...)",)
    gate.open()
    assert (parked.result(), queued.result()) == (2, 4)
