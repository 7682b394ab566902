"""A round that is awaited. Imported when the first one is made, as asyncio is large."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from .asyncio_calls import AwaitableCall
from .outcomes import Outcome, results

__all__ = ["await_of_round"]

__tracebackhide__ = True  # by pytest, of what it shows of a test that fails


def await_of_round(
    calls: Sequence[Callable[[], Awaitable[Any]]], names: Sequence[str]
) -> AwaitableCall[list[Any]]:
    """One awaitable of the results of all these calls, each of which gives one of its own."""
    return AwaitableCall(_gathered(calls, names))


async def _gathered(calls: Sequence[Callable[[], Awaitable[Any]]], names: Sequence[str]) -> Any:
    return results(await asyncio.gather(*map(_outcome, calls)), names)


async def _outcome(call: Callable[[], Awaitable[Any]]) -> Outcome:
    try:
        return await call(), None
    except Exception as exc:
        return None, exc
