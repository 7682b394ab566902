"""How a coroutine is run to its end where there is no event loop: by one that is made for it.

So it is in an actor whose class has no `async def` methods, and in a process that serves an object
by itself. Imported only where that happens, as asyncio is large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

__all__ = ["run"]


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What it returns or raises. All else in this thread waits for that.

    Raises:
        RuntimeError: this is called within an event loop.
    """
    try:
        return asyncio.run(coroutine)
    finally:
        coroutine.close()  # which it may not have been begun
