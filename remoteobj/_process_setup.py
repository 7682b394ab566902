"""Which of the options of an actor concern its process, and whether they can be had."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Final

from ._engines.process_options import NO_OPTIONS, ProcessOptions, usual_options
from ._options import Options

__all__ = ["process_options"]

_OF_PROCESS: Final = "env", "cpu_affinity", "nice", "labelled_output"
_DEFAULTS: Final = Options()


def process_options(options: Options) -> ProcessOptions:
    """How the process is set up, as things are at this moment.

    Raises:
        ValueError: there is no process of its own, or this system can't do that.
    """
    if options.engine != "process":
        for name in _OF_PROCESS:
            if getattr(options, name) != getattr(_DEFAULTS, name):
                raise ValueError(
                    f"{name}= is about a process of its own, and with engine={options.engine!r} "
                    "the actor has none"
                )
        return NO_OPTIONS
    usual = usual_options()
    return ProcessOptions(
        None if options.env is None else dict(options.env),
        None if options.cpu_affinity is None else _checked_cpus(options.cpu_affinity),
        options.nice,
        options.labelled_output,
        usual.logging if options.logging else None,
        usual.whole_title,
    )


def _checked_cpus(numbers: Collection[int]) -> tuple[int, ...]:
    if not hasattr(os, "sched_setaffinity"):
        raise ValueError("cpu_affinity= can't be had here: this system lets no process choose")
    usable = os.sched_getaffinity(0)
    if not usable.issuperset(numbers):
        raise ValueError(
            f"cpu_affinity={numbers!r} is to name some of the processors that this process may run "
            f"on: {sorted(usable)}"
        )
    return tuple(sorted(set(numbers)))
