"""A crawler that fetches many pages at once, in one actor.

Shows: `async def` methods share the event loop of their actor. A work loop, an asynchronous
generator and plain calls of the main program go on side by side. `max_concurrency` limits how many
pages are fetched at once.

Watch for: thirty pages of 0.1 s each take little more than 0.3 s, with ten at a time. The time
limit ends the one page that never comes, and nothing else.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from remoteobj import remote


@remote(max_concurrency=10)
class Crawler:
    def __init__(self) -> None:
        self.sizes: dict[str, int] = {}
        self.seconds_alive = 0.0

    async def fetch(self, page: str) -> int:
        # In place of a request to a web server, say by aiohttp or httpx.
        await asyncio.sleep(60 if page == "stuck" else 0.1)
        self.sizes[page] = len(page)
        return self.sizes[page]

    async def links(self, page: str, count: int) -> AsyncIterator[str]:
        for i in range(count):
            await self.fetch(f"{page}/{i}")
            yield f"{page}/{i}"

    def total(self) -> int:
        return sum(self.sizes.values())

    @remote.work
    async def watch(self) -> None:
        while self.remote.listening_:
            await asyncio.sleep(0.01)
            self.seconds_alive += 0.01

    remote: Any


with Crawler.spawn() as crawler:
    start = time.monotonic()
    futures = [crawler.future_.fetch(f"page-{i}") for i in range(30)]
    sizes = [future.result() for future in futures]
    print(f"{len(sizes)} pages in {time.monotonic() - start:.1f} s")
    print("links:", *crawler.links("start", 3))
    try:
        crawler.with_(timeout=0.3).fetch("stuck")
    except TimeoutError:
        print("one page never came")
    print(f"{crawler.total()} bytes; the loop of its own went on: {crawler.seconds_alive.__ > 0.3}")
