"""`remoteobj.instrument`: the spans of calls, at both ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace

import remoteobj
from remoteobj import ActorDiedError, CallTimeoutError, Pool, Proxy
from remoteobj.testing import Gate
from tests.forks import code_of, in_child
from tests.traced_actors import Baker, Mill, SpanSeen, double, keep_spans, spans_here

Spans = list[SpanSeen]


def of(spans: Spans, name: str, kind: str) -> Spans:
    return [one for one in spans if (one.name, one.kind) == (name, kind)]


def one_of(spans: Spans, name: str, kind: str) -> SpanSeen:
    [found] = of(spans, name, kind)
    return found


@contextmanager
def program(**options: Any) -> Iterator[Callable[[], Spans]]:
    """A program that makes spans, all of them below one of its own; gives those that have ended."""
    provider = keep_spans()
    with remoteobj.instrument(provider, setup=keep_spans, **options):
        with provider.get_tracer("tests").start_as_current_span("top"):
            yield spans_here


@pytest.fixture(scope="module", params=["fork", "spawn"])
def spans(request: pytest.FixtureRequest) -> Spans:
    """Those of all kinds of calls, of this process, an actor, and the actor of that."""
    method = request.param
    with Baker.options(start_method=method).spawn(method) as baker:
        baker.bake(0)  # before: no span is made of it
        with program() as here:
            assert baker.bake(1) == 3
            assert list(baker.loaves(2)) == [0, 2]
            assert baker.future_.bake(2).result() == 5
            assert asyncio.run(baker.async_.bake(3)) == 7
            baker.cast_.bake(4)
            mill = baker.mill_proxy()
            assert mill.speed.__ == 1
            assert mill.passto(lambda one: one.speed) == 1
            mill.speed = 2
            with pytest.raises(ValueError, match="stuck"):
                mill.break_down()
            mill.cast_.grind(1)
            remoteobj.each([mill, mill]).grind(8)
            there = baker.spans()
            found = [*here(), *there]
        baker.bake(9)  # nor is one of this
        assert not [one for one in baker.spans()[len(there) :] if one.name == "Baker.bake"]
    return found


def test_a_call_is_a_span_at_both_ends_of_one_trace(spans: Spans) -> None:
    calls, requests = of(spans, "Baker.bake", "CLIENT"), of(spans, "Baker.bake", "SERVER")
    assert len(calls) == len(requests) == 3, "a call, a future and an await"
    assert [one.parent for one in requests] == [one.id for one in calls]
    assert len({one.trace for one in spans}) == 1
    assert len({one.parent for one in calls}) == 1, "the span that was current here"


def test_its_attributes_are_those_of_remote_procedure_calls(spans: Spans) -> None:
    call, request = of(spans, "Baker.bake", "CLIENT")[0], of(spans, "Baker.bake", "SERVER")[0]
    for one in (call, request):
        assert one.attributes["rpc.system"] == "remoteobj"
        assert one.attributes["rpc.service"] == "Baker"
        assert one.attributes["rpc.method"] == "bake"
        assert one.attributes["remoteobj.actor"].startswith("Baker-")
        assert one.status == "UNSET"
    assert call.attributes["remoteobj.actor.pid"] == request.attributes["remoteobj.actor.pid"]
    assert 0 <= request.attributes["remoteobj.waited"] < 20


def test_a_call_that_has_its_answer_was_not_given_up_however_it_was_waited_for(
    spans: Spans,
) -> None:
    answered = [*of(spans, "Baker.bake", "CLIENT"), *of(spans, "Mill.grind", "CLIENT")]
    assert len(answered) >= 8, "calls, a future, an await, a round, and those within an actor"
    assert [(one.status, one.events) for one in answered] == [("UNSET", [])] * len(answered)


def test_what_an_actor_calls_is_below_the_call_that_it_runs(spans: Spans) -> None:
    request = of(spans, "Baker.bake", "SERVER")[0]
    [inner] = [one for one in of(spans, "Mill.grind", "CLIENT") if one.parent == request.id]
    [served] = [one for one in of(spans, "Mill.grind", "SERVER") if one.parent == inner.id]
    assert served.trace == request.trace


def test_a_stream_is_one_span_and_all_its_items_are_below_it(spans: Spans) -> None:
    call, request = (one_of(spans, "Baker.loaves", kind) for kind in ("CLIENT", "SERVER"))
    assert request.parent == call.id
    for one in (call, request):
        assert [name for name, _ in one.events] == ["stream opened"]
    inner = [one for one in of(spans, "Mill.grind", "CLIENT") if one.parent == request.id]
    assert len(inner) == 2


def test_a_cast_is_produced_and_consumed(spans: Spans) -> None:
    producer, consumer = (one_of(spans, "Baker.bake", kind) for kind in ("PRODUCER", "CONSUMER"))
    assert consumer.parent == producer.id
    below = [one for one in spans if one.parent == consumer.id]
    assert [one.name for one in below] == ["Mill.grind"]


def test_an_error_is_recorded_and_sets_the_status(spans: Spans) -> None:
    for kind in ("CLIENT", "SERVER"):
        one = one_of(spans, "Mill.break_down", kind)
        assert one.status == "ERROR"
        assert one.attributes["error.type"] == "ValueError"
        [(name, attributes)] = one.events
        assert name == "exception"
        assert attributes["exception.type"] == "ValueError"
        assert attributes["exception.message"] == "it is stuck"
    assert "break_down" in attributes["exception.stacktrace"], "in the actor, where that is known"


def test_operations_are_named_as_the_table_prints_them(spans: Spans) -> None:
    for name in ("Mill.speed", "Mill.speed = ...", "f(Mill)"):
        call, request = (one_of(spans, name, kind) for kind in ("CLIENT", "SERVER"))
        assert request.parent == call.id


def test_a_round_is_a_span_for_each_actor(spans: Spans) -> None:
    top = of(spans, "Baker.bake", "CLIENT")[0].parent
    ours = [one for one in of(spans, "Mill.grind", "CLIENT") if one.parent == top]
    assert len(ours) == 2


# --- others --------------------------------------------------------------------------------


def test_a_task_of_a_pool_is_below_the_span_in_which_it_was_submitted() -> None:
    with program() as here, Pool(1) as pool:
        assert pool.submit(double, 4).result() == 8
        assert list(pool.map(double, range(3))) == [0, 2, 4]
        there = pool.submit(spans_here).result()
    spans = [*here(), *there]
    tasks = of(spans, "double", "CLIENT")
    assert len(tasks) >= 2
    assert [one.parent for one in of(there, "double", "SERVER")] == [one.id for one in tasks]
    assert {one.parent for one in tasks} == {one_of(here(), "top", "INTERNAL").id}


def test_a_call_that_its_actor_has_died_of_says_so_and_the_next_one_is_another() -> None:
    with program() as here:
        with Mill.options(restart="on-failure", backoff=0.0).spawn() as mill:
            with pytest.raises(ActorDiedError):
                mill.die()
            assert mill.grind(1) == 2
            there = mill.spans()
    died, lived = (one_of(here(), f"Mill.{name}", "CLIENT") for name in ("die", "grind"))
    assert died.status == "ERROR"
    assert died.attributes["error.type"] == "remoteobj.errors.ActorDiedError"
    assert "SIGKILL" in died.events[-1][1]["exception.message"]
    assert lived.status == "UNSET"
    assert died.attributes["remoteobj.actor.pid"] != lived.attributes["remoteobj.actor.pid"]
    assert one_of(there, "Mill.grind", "SERVER").parent == lived.id


def test_a_call_that_is_given_up_ends_its_span() -> None:
    with program() as here, Mill.spawn() as mill, Gate() as gate:
        parked = mill.future_.wait(gate)
        gate.wait_for_arrival()
        with pytest.raises(CallTimeoutError):
            mill.with_(timeout=0.01).grind(1)
        gate.open()
        parked.result()
        for _ in mill.grains(1000):
            break
    given_up, left = (one_of(here(), f"Mill.{name}", "CLIENT") for name in ("grind", "grains"))
    assert given_up.status == "ERROR"
    assert left.status == "UNSET", "whoever leaves a loop has seen enough"
    assert [name for name, _ in left.events] == ["stream opened", "given up"]


def test_a_caller_that_makes_spans_calls_one_that_does_not_and_conversely() -> None:
    """The objects of a program, and those who call them, need not agree."""
    keep_spans()
    with Proxy(Mill()).listen_(bg=True) as served:

        def observed() -> bool:
            with program() as here:
                served.grind(1)
                return len(here()) == 1

        assert code_of(in_child(observed)) == 0
        assert spans_here() == []
        provider = keep_spans()
        child = in_child_before(served, provider)
    assert child == 0


def in_child_before(served: Any, provider: Any) -> int:
    """The other way round: the caller is a process from before."""

    def call_later() -> bool:
        gate.park()
        return bool(served.grind(1) == 2)

    with Gate() as gate:
        pid = in_child(call_later)
        with remoteobj.instrument(provider):
            gate.open()
            code = code_of(pid)
        request = one_of(spans_here(), "Mill.grind", "SERVER")
        assert request.parent == 0, "it begins a trace"
    return code


def test_an_actor_without_a_provider_hands_the_context_on() -> None:
    provider = keep_spans()
    with remoteobj.instrument(provider):
        with Baker.options(start_method="spawn").spawn() as baker:
            with provider.get_tracer("tests").start_as_current_span("top"):
                context = trace.get_current_span().get_span_context()
                told = baker.passto(lambda one: one.mill.passto(current_trace))
    assert told == context.trace_id


def current_trace(_: object) -> int:
    """The trace in which this runs."""
    return trace.get_current_span().get_span_context().trace_id


@pytest.mark.parametrize("engine", ["thread", "inline"])
def test_an_actor_in_this_process_uses_its_provider(engine: str) -> None:
    with program() as here:
        with pytest.raises(ValueError, match="stuck"), Mill.options(engine=engine).spawn() as mill:
            mill.grind(1)
            mill.cast_.break_down()
            mill.grind(2)
        calls, requests = of(here(), "Mill.grind", "CLIENT"), of(here(), "Mill.grind", "SERVER")
        failed = one_of(here(), "Mill.break_down", "CONSUMER")
    assert [one.parent for one in requests] == [one.id for one in calls]
    assert failed.status == "ERROR"


def test_it_is_in_effect_once_and_ends_when_it_is_told() -> None:
    provider = keep_spans()
    first = remoteobj.instrument(provider)
    with pytest.raises(RuntimeError, match="already"):
        remoteobj.instrument(provider)
    first.stop()
    first.stop()
    with remoteobj.instrument(provider), Mill.spawn() as mill:
        mill.grind(1)
        first.stop()  # of another one
        mill.grind(2)
    assert len(of(spans_here(), "Mill.grind", "CLIENT")) == 2


def test_what_fails_in_an_observer_is_told_and_hinders_no_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr("threading.excepthook", lambda args: told.append(str(args.exc_value)))

    class Broken:
        """No provider at all."""

        def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
            return self

        def start_span(self, *args: Any, **kwargs: Any) -> Any:
            raise OSError("no collector")

    with remoteobj.instrument(Broken()), Mill.options(engine="thread").spawn() as mill:  # type: ignore[arg-type]
        assert mill.grind(1) == 2
    assert set(told) == {"no collector"}
