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
from typing import Any

__all__ = ["start_task"]

if sys.version_info >= (3, 12):

    def start_task(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], context: Context
    ) -> asyncio.Task[None]:
        """The task of a coroutine, begun: in a callback of a loop that runs."""
        return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)

else:

    def start_task(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None], context: Context
    ) -> asyncio.Task[None]:
        """The task of a coroutine, begun: in a callback of a loop that runs."""
        taken: list[Callable[[], object]] = []
        # Found before the method of the loop's class.
        vars(loop)["call_soon"] = lambda step, context: taken.append(step)
        try:
            task = asyncio.Task(coroutine, loop=loop, context=context)
        finally:
            del vars(loop)["call_soon"]
        context.run(*taken)
        return task
