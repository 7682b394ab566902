"""OpenTelemetry: a call is a span at its caller and a span in its actor, of one trace.

The context travels with the request, as the propagator of the program puts it (`traceparent` and
`baggage`, if nothing else was chosen). Each process exports its own spans. Needs only the API of
OpenTelemetry: where a process has no provider of its SDK, its spans go nowhere, but what they call
belongs to the same trace all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider

from ._pickling.exceptions import unpack_error
from ._protocol.observing import CallWatch, Failure, Life, Received, RequestWatch, Sent
from .errors import type_name

__all__ = ["SpanPlan"]

FLUSH_MILLISECONDS: Final = 5000
"""How long the spans of an actor may take to be exported at its end."""

Attributes = Mapping[str, str | int | float]


class SpanPlan:
    """Make spans.

    Args:
        provider: makes them in this process, and in its forks; None: the one of the program.
        set_up: called in each other process, where it may give the provider that makes them.
    """

    key = "opentelemetry"

    def __init__(
        self, provider: TracerProvider | None, set_up: Callable[[], object] | None
    ) -> None:
        self._provider = provider
        self._set_up = set_up
        self._pid = os.getpid()

    def __reduce__(self) -> tuple[Any, ...]:
        return _plan_elsewhere, (self._set_up,)

    def begin(self) -> SpanObserver:
        """The observer; in the process of an actor this sets it up."""
        provider = self._provider
        if self._set_up is not None and self._pid != os.getpid():
            found = self._set_up()
            if isinstance(found, TracerProvider):
                provider = found
        return SpanObserver(provider)


def _plan_elsewhere(set_up: Callable[[], object] | None) -> SpanPlan:
    plan = SpanPlan(None, set_up)
    plan._pid = 0
    return plan


class SpanObserver:
    """Makes the spans of this process."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer = trace.get_tracer("remoteobj", tracer_provider=provider)

    def sends(self, sent: Sent, carrier: dict[str, str]) -> CallWatch | None:
        attributes: dict[str, str | int | float] = _rpc(sent.service, sent.method)
        if sent.peer is not None:
            attributes["remoteobj.actor"] = sent.peer.actor.name
            if (pid := sent.peer.pid()) is not None:
                attributes["remoteobj.actor.pid"] = pid
        kind = SpanKind.PRODUCER if sent.is_cast else SpanKind.CLIENT
        span = self._tracer.start_span(sent.name, kind=kind, attributes=attributes)
        propagate.inject(carrier, trace.set_span_in_context(span))
        if sent.is_cast:
            span.end()
            return None
        return _CallSpan(span)

    def receives(self, received: Received) -> RequestWatch:
        attributes: dict[str, str | int | float] = {
            **_rpc(received.service, received.method),
            "remoteobj.actor": received.actor.name,
            "remoteobj.actor.pid": os.getpid(),
        }
        if received.sent_at is not None:
            waited = max(0, time.monotonic_ns() - received.sent_at)
            attributes["remoteobj.waited"] = waited / 1e9
        # Not within what happens to run here: it was not called by that.
        outer = propagate.extract(received.carried, context=Context())
        kind = SpanKind.CONSUMER if received.is_cast else SpanKind.SERVER
        span = self._tracer.start_span(received.name, outer, kind, attributes)
        return _RequestSpan(span, trace.set_span_in_context(span, outer))

    def turns(self, life: Life) -> None:
        """What calls see of it is in their spans."""

    def close(self) -> None:
        provider = self._provider or trace.get_tracer_provider()
        flush = getattr(provider, "force_flush", None)
        if flush is not None:
            flush(FLUSH_MILLISECONDS)


class _CallSpan:
    """The span of a call, at its caller."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._streams = False

    def stream_opened(self) -> None:
        self._streams = True
        self._span.add_event("stream opened")

    def ended(self, failure: Failure | None) -> None:
        if failure is not None:
            _fail(self._span, failure.type_name, failure.message)
        self._span.end()

    def given_up(self) -> None:
        self._span.add_event("given up")
        if not self._streams:  # whoever has seen enough of a stream leaves it
            self._span.set_status(StatusCode.ERROR, "its caller has given it up")
        self._span.end()

    def lost(self) -> None:
        self._span.add_event("lost")

    def explained(self, error: BaseException | None) -> None:
        if error is None:
            self._span.set_status(StatusCode.ERROR, "it had no answer")
        else:
            _record(self._span, error)
        self._span.end()


class _RequestSpan:
    """The span of a request, in its actor; it is the current one while that runs."""

    def __init__(self, span: Span, context: Context) -> None:
        self._span = span
        self._context = context

    def enter(self) -> Any:
        return contexts.attach(self._context)

    def leave(self, entered: Any) -> None:
        contexts.detach(entered)

    def stream_opened(self) -> None:
        self._span.add_event("stream opened")

    def ended(self, failure: Failure | None) -> None:
        if failure is not None and self._span.is_recording():
            if failure.packed:  # here is where it was raised, and where its class is
                _record(self._span, unpack_error(failure.packed))
            else:
                _fail(self._span, failure.type_name, failure.message)
        self._span.end()


def _rpc(service: str, method: str) -> dict[str, str | int | float]:
    return {"rpc.system": "remoteobj", "rpc.service": service, "rpc.method": method}


def _record(span: Span, error: BaseException) -> None:
    span.record_exception(error)
    name, message = type_name(type(error)), str(error)
    span.set_attribute("error.type", name)
    span.set_status(StatusCode.ERROR, f"{name}: {message}" if message else name)


def _fail(span: Span, name: str, message: str) -> None:
    """The same of an exception that is not here."""
    span.add_event("exception", {"exception.type": name, "exception.message": message})
    span.set_attribute("error.type", name)
    span.set_status(StatusCode.ERROR, f"{name}: {message}" if message else name)
