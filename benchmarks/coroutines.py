"""An actor with an event loop: a coroutine method that returns at once, and a hundred that wait.

Against a plain method of the same actor, and of one without an event loop.
"""

from __future__ import annotations

import asyncio
import time

from benchmarks.harness import compare, judge, repeated, report
from remoteobj import remote

CALLS = 300
WAITS = 100
SECONDS = 0.2
ROUNDS = 25


@remote
class Clerk:
    """What is called."""

    async def at_once(self) -> int:
        return 1

    def plainly(self) -> int:
        return 1

    async def wait(self) -> None:
        await asyncio.sleep(SECONDS)


@remote
class PlainClerk:
    """The same without an event loop."""

    def plainly(self) -> int:
        return 1


def wait_together() -> float:
    """Seconds until as many coroutines have waited as are begun at once."""
    with Clerk.spawn() as clerk:
        clerk.at_once()
        start = time.perf_counter()
        for future in [clerk.future_.wait() for _ in range(WAITS)]:
            future.result()
        return time.perf_counter() - start


def main() -> None:
    with Clerk.spawn() as clerk, PlainClerk.spawn() as plain_clerk:
        found = compare(
            {
                "coroutine method": repeated(clerk.at_once, CALLS),
                "plain method beside it": repeated(clerk.plainly, CALLS),
                "plain method, no event loop": repeated(plain_clerk.plainly, CALLS),
            },
            ROUNDS,
        )
    report("A coroutine method that returns at once", found)
    coroutine, beside, alone = found
    judge("a coroutine method, and a plain one", [coroutine, beside], reach=1.5)
    judge("a coroutine method, and a plain one of a plain actor", [coroutine, alone], reach=1.5)
    print(
        f"\n{WAITS} coroutines of {SECONDS} s each: {min(wait_together() for _ in range(3)):.3f} s"
    )


if __name__ == "__main__":
    main()
