"""Actors that are observed from their start: their calls, and how they live and die."""

from __future__ import annotations

import contextlib

from ._actor.program import ActorProgram
from ._engines.contract import Engine, Instance, LaunchSpec
from ._protocol.observing import Life, current_observers, current_plans, tell
from .errors import ExitReport

__all__ = ["launch_observed"]


def launch_observed(engine: Engine, spec: LaunchSpec, number: int) -> Instance:
    """Launch an actor that is observed: its calls, and its life."""
    assert isinstance(spec.program, ActorProgram)
    program = spec.program.observed_by(current_plans())
    instance = engine.launch(spec._replace(program=program))
    pid, name = instance.pid, spec.name
    _tell(Life("restarted" if number else "started", name, pid))
    with contextlib.suppress(OSError):  # no descriptor is free: its end is not told
        instance.on_exit(lambda report: _tell(Life("ended", name, pid, _how(report))))
    return instance


def _tell(life: Life) -> None:
    for observer in current_observers():
        tell(observer.turns, life)


def _how(report: ExitReport) -> str:
    if report.signal is not None:
        return report.signal.name
    return f"exit code {report.exitcode}" if report.exitcode is not None else str(report.reason)
