"""What is said of a request by status, time limits and deaths, from the bytes that travel."""

import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remoteobj import (
    ActorDiedError,
    CallTimeoutError,
    remote,
)
from remoteobj._pickling.codec import dumps_call
from remoteobj._protocol.descriptions import describe_request
from remoteobj._protocol.operations import OPERATIONS, Steps
from remoteobj._protocol.pickle_outline import MARK, OPAQUE, outline
from remoteobj.testing import Gate
from tests.conftest import Launch

NO_RECORDER = {"ray": "keeps no record that its owner could read after its death"}
PROCESSES = {"thread": "is no process", "inline": "is no process"}

RECORDED = 255
"""Bytes of a request that are left of it when its actor dies."""

# ------------------------------------------------------------------ texts


def call(*names: str) -> Steps:
    return (*(("attr", name) for name in names), ("call", (), {}))


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        (call("add"), "?.add(...)"),
        (call("call"), "?.call(...)"),
        (call("len"), "?.len(...)"),
        (call("attr"), "?.attr(...)"),
        (call("item", "m"), "?.item.m(...)"),
        (call("attr", "call", "item"), "?.attr.call.item(...)"),
        ((("attr", "call"), ("call", ("attr",), {"len": "item"})), "?.call(...)"),
        ((("attr", "x"),), "?.x"),
        ((("attr", "d"), ("item", "attr")), "?.d[...]"),
        ((("item", ("attr", "x")), *call("append")), "?[...].append(...)"),
        ((("item", b"long" * 999), *call("append")), "?[...]"),
        ((("setattr", "x", "call"),), "?.x = ..."),
        ((("setattr", "x", b"long" * 999),), "?.x = ..."),
        ((("delattr", "attr"),), "del ?.attr"),
        ((("attr", "d"), ("setitem", "k", b"long" * 999)), "?.d[...] = ..."),
        ((("delitem", 1),), "del ?[...]"),
        ((("contains", "len"),), "... in ?"),
        ((("attr", "q"), ("len",)), "len(?.q)"),
        ((("bool",),), "bool(?)"),
        ((("iter",),), "iter(?)"),
        ((("super",), *call("call")), "super(?).call(...)"),
        ((("passto", len, (), {}),), "f(?)"),
        ((("attr", "x"), ("passto", lambda x, y: x, (1,), {})), "f(?.x)"),
        ((*call("make"), *call("run")), "?.make(...).run(...)"),
        ((("call", (), {}),), "?(...)"),
        ((), "?"),
    ],
)
def test_a_request_is_described_by_its_operations_and_not_by_its_strings(
    steps: Steps, text: str
) -> None:
    assert describe_request(dumps_call(steps)[0]) == text


@pytest.mark.parametrize("method", [*OPERATIONS, "add"])
@pytest.mark.parametrize("value", ["word", b"bytes", (1, 2), [3], 1j, 4])
def test_a_method_is_never_taken_for_an_operation_and_no_operation_for_a_method(
    method: str, value: object
) -> None:
    payload, _ = dumps_call((("attr", method), ("call", (value, "x" * 300), {})))
    assert describe_request(payload[:RECORDED]) == f"?.{method}(...)"
    payload, _ = dumps_call((("setitem", value, "x" * 300),))
    assert describe_request(payload[:RECORDED]) == "?[...] = ..."


def test_what_follows_a_request_in_the_bytes_does_no_harm() -> None:
    payload, _ = dumps_call(call("add"))
    assert describe_request(payload.ljust(RECORDED, b"\0")) == "?.add(...)"


class Boom:
    """Fails the test if it is unpickled."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a request was run to describe it",)


def test_nothing_in_a_request_is_run_to_describe_it() -> None:
    payload, _ = dumps_call((("item", Boom()), ("attr", "x"), ("call", (Boom(),), {"k": Boom()})))
    assert describe_request(payload) == "?[...].x(...)"


# ------------------------------------------------------------------ every chain, cut off anywhere

words = st.sampled_from([*OPERATIONS, "a", "x" * 300, "b"])
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        words,
        st.none(),
        st.integers(),
        st.floats(),
        st.complex_numbers(),
        st.binary(max_size=300),
        st.sampled_from([len, OPERATIONS["attr"], Steps, range(3)]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(words, inner, max_size=2),
    ),
    max_leaves=6,
)
of_operand: dict[str, st.SearchStrategy[Any]] = {
    "name": words,
    "func": st.sampled_from([len, str.upper, print]),
    "args": st.lists(values, max_size=5).map(tuple),
    "kwargs": st.dictionaries(words, values, max_size=2),
}
steps_of_all_rows = st.one_of(
    *(
        st.tuples(st.just(name), *(of_operand.get(one, values) for one in operation.operands))
        for name, operation in OPERATIONS.items()
    )
)
chains = st.lists(steps_of_all_rows, max_size=6).map(tuple)


def description(steps: Steps) -> str:
    """What the rows say of a chain whose arguments are not known."""
    text = "?"
    for name, *operands in steps:
        operation = OPERATIONS[name]
        known = dict(zip(operation.operands, operands, strict=True))
        fields = dict.fromkeys(known, "...") | {"func": "f", "args": "...", "more_args": ""}
        if "name" in known:
            fields["name"] = known["name"]
        text = operation.form.format(obj=text, **fields)
    return text


@given(chains)
def test_every_chain_is_described_as_its_rows_say_and_cut_off_it_is_its_beginning(
    steps: Steps,
) -> None:
    payload, _ = dumps_call(steps)
    whole = len(payload) <= 2000
    beginnings = [description(steps[:count]) for count in range(len(steps) + 1)]
    assert describe_request(payload) in (beginnings[-1:] if whole else beginnings)
    known = 0
    for size in range(len(payload)):
        text = describe_request(payload[:size])
        assert text in beginnings[known:], "and never less than of fewer bytes"
        known = beginnings.index(text, known)


@given(st.one_of(st.binary(), st.binary().map(lambda junk: dumps_call(call("a"))[0][:9] + junk)))
def test_bytes_that_are_no_request_are_described_without_an_error(junk: bytes) -> None:
    assert "?" in describe_request(junk)


@given(values, st.integers(0, 2**32))
def test_the_outline_of_a_pickle_has_its_strings_tuples_and_lists(value: Any, cut: int) -> None:
    def seen(part: Any) -> Any:
        if type(part) in (list, tuple):
            return type(part)(map(seen, part))
        return part if type(part) is str else OPAQUE

    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(value, protocol)
        assert outline(data) == [seen(value)]
        outline(data[: cut % len(data)])


def test_an_outline_repeats_what_the_memo_repeats_and_ends_where_the_bytes_end() -> None:
    word, shared = "word", ["word"]
    data = pickle.dumps((shared, word, shared, {"k": word}), 5)
    assert outline(data) == [(["word"], "word", ["word"], OPAQUE)]
    assert outline(data[:-4])[:2] == [MARK, ["word"]]


# ------------------------------------------------------------------ over processes


@remote
class Odd:
    """Its methods are named as operations are."""

    def __init__(self) -> None:
        self.item = self
        self.d: dict[Any, Any] = {}

    def call(self, gate: Gate) -> None:
        gate.park()

    def len(self) -> None: ...

    def attr(self) -> None: ...

    def setattr(self, word: str, gate: Gate | None = None) -> None:
        gate and gate.park()  # type: ignore[func-returns-value]


@pytest.fixture
def gate() -> Iterator[Gate]:
    with Gate() as gate:
        yield gate


@pytest.mark.engines(skip={"inline": "works only while its caller waits"})
def test_status_and_time_limits_show_methods_that_are_named_as_operations(
    launch: Launch, gate: Gate
) -> None:
    with Odd.options(**launch).spawn() as odd:
        futures = [
            odd.future_.call(gate),
            odd.future_.call(gate),
            odd.future_.len(),
            odd.future_.item.attr(),
            odd.future_.d.get_(),
        ]
        gate.wait_for_arrival()
        with pytest.raises(CallTimeoutError, match=r"running \?\.call\(\.\.\.\) for") as caught:
            odd.with_(timeout=0.05).d["k"].get_()
        ahead = ("?.call(...)", "?.len(...)", "?.item.attr(...)", "?.d")
        assert caught.value.queued_ahead == ahead
        gate.open()
        gate.wait_for_arrival()
        status = odd.status_()
        assert status.call == "?.call(...)"
        queued = status.queued
        if launch["engine"] == "ray":  # it may not have heard yet that the one behind is given up
            queued = queued[:3]
        assert queued == ahead[1:]
        gate.open()
        for future in futures:
            future.result()


@pytest.mark.engines(skip={**PROCESSES, **NO_RECORDER})
@pytest.mark.parametrize("word", ["short", "long" * 999])
def test_what_a_killed_actor_was_running_is_told_of_its_first_bytes(
    launch: Launch, gate: Gate, word: str
) -> None:
    odd: Any = Odd.options(**launch).spawn()
    future = odd.future_.item.setattr(word, gate=gate)
    gate.wait_for_arrival()
    os.kill(odd.pid_, signal.SIGKILL)
    with pytest.raises(ActorDiedError) as caught:
        future.result()
    assert caught.value.running == "?.item.setattr(...)"
    odd.kill_()
    odd.stop_()


@remote
class Parking:
    """Parks where it is set, by an operator."""

    def __setitem__(self, gate: Gate, value: object) -> None:
        gate.park()


@pytest.mark.engines(skip={**PROCESSES, **NO_RECORDER})
def test_a_killed_actor_was_running_an_assignment_of_something_large(
    launch: Launch, gate: Gate
) -> None:
    parking: Any = Parking.options(**launch).spawn()
    parking.cast_[gate] = "long" * 999
    gate.wait_for_arrival()
    os.kill(parking.pid_, signal.SIGKILL)
    assert parking.join_(10)
    with pytest.raises(ActorDiedError) as caught:
        bool(parking)
    assert caught.value.running == "?[...] = ..."
    parking.kill_()
    parking.stop_()
