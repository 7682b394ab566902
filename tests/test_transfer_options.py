"""What the options of a connection change, and that bytes of all kinds and sizes come whole."""

import asyncio
import os
from array import array
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj import Proxy, current, remote, util
from tests.conftest import Launch
from tests.internals import (
    OUT_OF_BAND_FROM,
    dumps,
    loads,
    mailbox_polls,
    options_of,
    polls,
    take_out_large,
    writes_of,
)


@remote
class Keeper:
    def spins(self) -> bool:
        return mailbox_polls(current())

    def echo(self, value: Any) -> Any:
        return value

    def writable(self, value: Any) -> bool:
        return bool(value.flags.writeable)

    def stream(self, sizes: list[int]) -> Iterator[Any]:
        for size in sizes:
            yield np.zeros(size, np.uint8)


# ------------------------------------------------------------------ polling or not


def test_the_option_reaches_both_sides_and_strangers(launch: Launch) -> None:
    with Keeper.options(**launch, spin=0).spawn() as keeper:
        assert keeper.spins() is False
        assert not polls(keeper)
        with util.process(options_of, keeper.echo) as p:
            pass
        assert p.result == (0, True)


def test_a_proxy_hands_the_option_on() -> None:
    proxy: Any = Proxy([1], spin=0, writable=False)
    again = proxy.__reduce__()
    assert options_of(again[0](*again[1])) == (0, False)


def test_frames_of_one_turn_of_a_loop_leave_together(
    launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Keeper.options(**launch).spawn() as keeper:
        keeper.spins()
        sizes = writes_of(monkeypatch, keeper)

        async def main() -> list[int]:
            return list(await asyncio.gather(*(keeper.async_.echo(i) for i in range(40))))

        assert asyncio.run(main()) == list(range(40))
        monkeypatch.undo()
    if launch["engine"] != "inline":
        assert len(sizes) < 10


# ------------------------------------------------------------------ writable or not


SIZES = [10, 50_000, 3 << 20]


@pytest.mark.parametrize("writable", [True, False])
def test_arrays_of_all_sizes_arrive_as_the_option_says(launch: Launch, writable: bool) -> None:
    with Keeper.options(**launch, writable=writable).spawn() as keeper:
        for size in SIZES:
            sent = np.arange(size, dtype=np.uint8)
            assert keeper.writable(sent) is writable
            assert keeper.future_.writable(sent).result() is writable
            result = keeper.echo(sent)
            assert np.array_equal(result, sent)
            assert result.flags.writeable is writable
        assert [one.flags.writeable for one in keeper.stream(SIZES)] == [writable] * 3


def test_a_stranger_gets_read_only_arrays_too() -> None:
    with Keeper.options(writable=False).spawn() as keeper:

        def ask(stranger: Any) -> bool:
            return bool(stranger.echo(np.ones(100)).flags.writeable)

        with util.process(ask, keeper) as p:
            pass
        assert p.result is False


# ------------------------------------------------------------------ bytes and their like


BIG: int = OUT_OF_BAND_FROM.value


KINDS: list[Callable[[bytes], Any]] = [bytes, bytearray, lambda b: array("B", b), memoryview]


def test_bytes_of_all_kinds_and_sizes_arrive_as_what_they_are(launch: Launch) -> None:
    with Keeper.options(**launch).spawn() as keeper:
        for size in (0, 5, BIG - 1, BIG, 3 * BIG + 1):
            for make in KINDS:
                value = make(os.urandom(size))
                for sent in (value, [value], {"a": (value, 1)}):
                    got = keeper.echo(sent)
                    assert type(got) is type(sent)
                    assert got == sent, f"{type(value).__name__} of {size} bytes"


def test_big_bytes_stay_outside_of_the_pickle() -> None:
    for value in (bytes(BIG), bytearray(BIG), array("d", bytes(BIG)), memoryview(bytes(BIG))):
        call: Any = (("attr", "f"), ("call", (value,), {}))
        holders: list[Any] = [value, [1, value], {"a": value}, call]
        for holder in holders:
            payload, buffers = dumps(holder)
            assert len(payload) < 1000
            assert [len(one) for one in buffers] == [BIG]
            assert loads(payload, buffers) == holder


@pytest.mark.parametrize("big", [bytes(BIG), bytearray(BIG), {"frame": bytes(BIG)}])
def test_what_stands_at_several_places_is_one_object_there_too(big: Any) -> None:
    for value in ([big, big], [{"a": big, "b": big}, big], ("keep", ([big, [big]],))):
        payload, buffers = dumps(value)
        assert len(payload) < 1000
        assert len(buffers) == 1
        got = loads(payload, buffers)
        assert got == value
        assert len(set(map(id, ends(got)))) == len(set(map(id, ends(value))))
    itself = [big]
    itself.append(itself)
    for value in (itself, [itself]):
        got = loads(*dumps(value))
        got = got if value is itself else got[0]
        assert got[1] is got
        assert got[0] == big


def ends(value: Any) -> list[Any]:
    """What a value of containers consists of."""
    if type(value) is dict:
        value = list(value.values())
    return [end for one in value for end in ends(one)] if type(value) in (list, tuple) else [value]


@pytest.mark.parametrize(
    ("form", "shape"), [("B", (6,)), ("d", (4,)), ("B", (2, 3)), ("i", (2, 1, 2))]
)
def test_a_view_keeps_its_form_and_shape(form: str, shape: tuple[int, ...]) -> None:
    count = int(np.prod(shape)) * array(form).itemsize
    view: Any = memoryview(os.urandom(count))
    got = loads(*dumps(view.cast(form, shape) if form != "B" or len(shape) > 1 else view))
    assert (got.format, got.shape) == (form, shape)
    assert got.tobytes() == view.tobytes()


def test_a_view_with_gaps_arrives_without_them() -> None:
    view = memoryview(bytes(range(100)))[::3]
    assert loads(*dumps(view)).tolist() == view.tolist()


nested = st.recursive(
    st.binary(max_size=40) | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(nested, st.integers(1, 30))
def test_what_is_lifted_is_equal_and_nothing_is_touched_without_need(value: Any, big: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        OUT_OF_BAND_FROM.set(patch, big)
        payload, buffers = dumps(value)
        assert loads(payload, buffers) == value
        OUT_OF_BAND_FROM.set(patch, 1000)
        assert take_out_large(value) is value
