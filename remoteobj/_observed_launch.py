"""Actors that are observed from their start: their calls, and how they live and die."""

from __future__ import annotations

import os
import threading
from typing import Final

from ._actor.program import ActorProgram
from ._engines.contract import Engine, Instance, LaunchSpec
from ._protocol.observing import Life, current_observers, current_plans, tell
from .errors import ExitReport

__all__ = ["await_ends", "launch_observed"]

END_SECONDS: Final = 1.0
"""How long the end of a process may take to be told."""

_lives: Final[dict[int, tuple[Instance, threading.Event]]] = {}
"""The instances whose end is to be told, each with what is set once it is."""

os.register_at_fork(after_in_child=_lives.clear)


def launch_observed(engine: Engine, spec: LaunchSpec, number: int) -> Instance:
    """Launch an actor that is observed: its calls, and its life."""
    assert isinstance(spec.program, ActorProgram)
    program = spec.program.observed_by(current_plans())
    instance = engine.launch(spec._replace(program=program))
    pid, name = instance.pid, spec.name
    _tell(Life("restarted" if number else "started", name, pid))
    key, told = id(instance), threading.Event()

    def ended(report: ExitReport) -> None:
        _tell(Life("ended", name, pid, _how(report)))
        _lives.pop(key, None)
        told.set()

    _lives[key] = instance, told
    try:
        instance.on_exit(ended)
    except OSError:  # no descriptor is free: its end is not told
        _lives.pop(key, None)
    return instance


def await_ends() -> None:
    """Wait until the ends that have come are told: that is done by another thread."""
    for instance, told in list(_lives.values()):
        if not instance.is_alive():
            told.wait(END_SECONDS)


def _tell(life: Life) -> None:
    for observer in current_observers():
        tell(observer.turns, life)


def _how(report: ExitReport) -> str:
    if report.signal is not None:
        return report.signal.name
    return f"exit code {report.exitcode}" if report.exitcode is not None else str(report.reason)
