"""`remoteobj.instrument`: spans of OpenTelemetry for the calls of a program."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ._os.lazy_import import import_lock

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from ._protocol.observing import ObserverPlan

__all__ = ["Instrumentation", "instrument"]


class Instrumentation:
    """Spans for all calls of this program: what `instrument` gives.

    In `with` they end with the block; or call `stop`.
    """

    def __init__(self, plan: ObserverPlan) -> None:
        self._plan = plan

    def stop(self) -> None:
        """Make no more spans, in this process and in its actors. Harmless when done twice."""
        with import_lock:
            from ._observation import observe_no_more
            from ._protocol.observing import current_plans

        if self._plan in current_plans():
            observe_no_more(self._plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def instrument(
    tracer_provider: TracerProvider | None = None, *, setup: Callable[[], object] | None = None
) -> Instrumentation:
    """Make OpenTelemetry spans for all calls, in this process and in its actors.

    A call is a span at its caller and another one in its actor, which belong to one trace. Spans
    begin with the next call, also in actors that run already. See the guide on traces.

    Args:
        tracer_provider: what makes the spans in this process. The default is the global provider of
            OpenTelemetry.
        setup: called in the process of each actor, before its `__init__`, to set a provider up
            there. If it returns a provider, that one makes the spans of calls. It travels to the
            actor, so it must be picklable as a class is. An actor that is forked inherits the
            provider of this process, and needs no setup.

    Raises:
        ImportError: OpenTelemetry is not installed.
        RuntimeError: this is in effect already.
    """
    with import_lock:
        # For a faster start-up: few programs are observed.
        from ._observation import observe
        from ._protocol.observing import current_plans
    try:
        with import_lock:
            from ._spans import SpanPlan  # for a faster start-up: it needs the extra `otel`
    except ImportError as exc:
        raise ImportError(
            "instrument() needs the API of OpenTelemetry: pip install 'remoteobj[otel]'"
        ) from exc
    plan = SpanPlan(tracer_provider, setup)
    if any(one.key == plan.key for one in current_plans()):
        raise RuntimeError("calls are instrumented already; stop() that first")
    observe(plan)
    return Instrumentation(plan)
