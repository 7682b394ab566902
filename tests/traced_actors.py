"""Actors whose calls are traced: those of a pipeline, and what makes spans in their processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, NamedTuple

from remoteobj import remote
from remoteobj.testing import Gate

kept: list[Any] = []
"""The exporter of this process, which keeps its spans."""


class SpanSeen(NamedTuple):
    """A finished span, as a plain value."""

    name: str
    kind: str
    trace: int
    id: int
    parent: int
    status: str
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]


def keep_spans() -> Any:
    """A provider that keeps the spans of this process."""
    from opentelemetry.sdk.trace import TracerProvider  # start-up of actors that are not traced
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    kept[:] = [InMemorySpanExporter()]
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept[0]))
    return provider


def spans_here() -> list[SpanSeen]:
    """The spans of this process that have ended."""
    return [
        SpanSeen(
            span.name,
            span.kind.name,
            span.context.trace_id,
            span.context.span_id,
            span.parent.span_id if span.parent else 0,
            span.status.status_code.name,
            dict(span.attributes),
            [(event.name, dict(event.attributes)) for event in span.events],
        )
        for exporter in kept
        for span in exporter.get_finished_spans()
    ]


@remote
class Mill:
    """The last one of the pipeline."""

    def __init__(self) -> None:
        self.speed = 1

    def grind(self, amount: int) -> int:
        return amount * 2

    def grains(self, amount: int) -> Iterator[int]:
        yield from range(amount)

    def wait(self, gate: Gate) -> None:
        gate.park()

    def break_down(self) -> None:
        raise ValueError("it is stuck")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def spans(self) -> list[SpanSeen]:
        return spans_here()


@remote
class Baker:
    """The first one, who has a mill of his own."""

    def __init__(self, start_method: str | None = None) -> None:
        self.mill: Any = Mill.options(start_method=start_method, name="mill").spawn()

    def bake(self, amount: int) -> int:
        return int(self.mill.grind(amount)) + 1

    def loaves(self, amount: int) -> Iterator[int]:
        for each in range(amount):
            yield int(self.mill.grind(each))

    def spans(self) -> list[SpanSeen]:
        return [*spans_here(), *self.mill.spans()]

    def mill_proxy(self) -> Any:
        return self.mill

    @remote.cleanup
    def close(self) -> None:
        self.mill.stop_()


def double(number: int) -> int:
    """A task of a pool."""
    return number * 2
