"""Tasks whose first step is run where they are made.

Most coroutines that do not have to wait come to their end in that step, so that to line up a task
for them would take longer than they do. Yet they are tasks from the first: `current_task`,
`timeout` and `TaskGroup` need one. From Python 3.12 on asyncio has such tasks. Before that, a task
asks its loop to run its first step soon: we take the step there, and run it now.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any

from .._fast_typing import Protocol

__all__ = ["StartTask", "task_starter"]


class StartTask(Protocol):
    """Begins a task: the task, whose first step has been run."""

    def __call__(
        self, coroutine: Coroutine[Any, Any, None], *, context: Context
    ) -> asyncio.Task[None]: ...


if sys.version_info >= (3, 12):

    def task_starter(loop: asyncio.AbstractEventLoop) -> StartTask:
        """What begins tasks of a loop, in callbacks of this loop while it runs."""
        return partial(asyncio.Task, loop=loop, eager_start=True)

else:

    def task_starter(loop: asyncio.AbstractEventLoop) -> StartTask:
        """What begins tasks of a loop, in callbacks of this loop while it runs."""
        own = vars(loop)
        taken: list[Callable[[], object]] = []

        def take(step: Callable[[], object], context: Context) -> None:
            taken.append(step)

        def start(coroutine: Coroutine[Any, Any, None], *, context: Context) -> asyncio.Task[None]:
            own["call_soon"] = take  # found before the method of the loop's class
            try:
                task = asyncio.Task(coroutine, loop=loop, context=context)
            finally:
                del own["call_soon"]
            context.run(taken.pop())
            return task

        return start
