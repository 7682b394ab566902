"""The tasks of a worker of a pool, in a replay: there is no pool here, and the worker has memory of
its own in place of what it shared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, Final

from ._actor.pool_work import dismiss, greet, run_items, run_task
from ._pickling.codec import loads
from ._pool_functions import name_of
from ._record import brief
from ._wire.task_board import SIZE

__all__ = ["Tasks", "is_greeting"]

_RUNS: Final = {"run_task": run_task, "run_items": run_items}


def is_greeting(module: str, name: str) -> bool:
    """Whether a pickle names the function by which a pool tells a worker of their shared memory."""
    return module == greet.__module__ and name == greet.__name__


class Tasks:
    """What is known of the tasks of a worker, from one request to the next."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        """Of the functions, which travel once."""

    def settle(self, obj: object) -> None:
        """Let an object be a worker's, should it be one."""
        with tempfile.NamedTemporaryFile(prefix="remoteobj-tasks-") as file:
            file.truncate(SIZE)
            greet(obj, file.name)

    def close(self, obj: object) -> None:
        """It is a worker no more."""
        dismiss(obj)

    def shown(self, steps: Sequence[Any]) -> str | None:
        """A request as the task that it is; None: it is none."""
        task = _task(steps)
        if task is None:
            return None
        name, (number, _, key, func, args, *buffers) = task
        if func:
            self._names[key] = name_of(loads(func))
        named = self._names.get(key, "?")
        if name == "run_items":
            return f"a run of items by {named}, from task {number} on"
        args, kwargs = (args, {}) if type(args) is tuple else loads(args, buffers)
        given = [*map(brief, args), *(f"{key}={brief(value)}" for key, value in kwargs.items())]
        return f"task {number}, {named}({', '.join(given)})"

    def same(self, steps: Sequence[Any], before: Any, after: Any) -> bool:
        """Whether two results of a request are the same, but for how long it took."""
        task = _task(steps)
        if task is None or task[0] != "run_items" or not before or not after:
            return False
        return bool(before[1:] == after[1:])


def _task(steps: Sequence[Any]) -> tuple[str, Sequence[Any]] | None:
    """The name of a function of `pool_work` that is called, and its arguments."""
    if type(steps[0]) is str and steps[0] in _RUNS:
        return steps[0], steps[1]
    if len(steps) == 2 and steps[0][0] == "attr" and steps[0][1] in _RUNS and steps[1][0] == "call":
        return steps[0][1], steps[1][1]
    if len(steps) == 1 and steps[0][0] == "passto":
        for name, func in _RUNS.items():
            if steps[0][1] is func:
                return name, steps[0][2]
    return None
