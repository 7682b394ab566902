"""`remoteobj.instrument`: spans of OpenTelemetry for the calls of a program."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, TracebackType
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
        observation = _observation()
        if observation.plan_of(self._plan.key) is self._plan:
            observation.observe_no_more(self._plan)

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
    try:
        with import_lock:
            from ._spans import SpanPlan  # for a faster start-up: it needs the extra `otel`
    except ImportError as exc:
        raise ImportError(
            "instrument() needs the API of OpenTelemetry: pip install 'remoteobj[otel]'"
        ) from exc
    plan = SpanPlan(tracer_provider, setup)
    observation = _observation()
    if observation.plan_of(plan.key) is not None:
        raise RuntimeError("calls are instrumented already; stop() that first")
    observation.observe(plan)
    return Instrumentation(plan)


def _observation() -> ModuleType:
    with import_lock:
        from . import _observation  # for a faster start-up: few programs are observed

    return _observation
