"""An actor that has many calls at once, for the tests that watch it."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Any

from remoteobj import remote
from remoteobj.testing import Gate


@remote
class Juggler:
    def __init__(self) -> None:
        self.caught: list[str] = []

    async def hold(self, _: object = None) -> None:
        await self.never()

    async def never(self) -> None:
        await asyncio.Event().wait()

    async def catch(self) -> str:
        try:
            await self.never()
        except asyncio.CancelledError as exc:
            self.caught.append(type(exc).__name__)
            raise
        return "not caught"

    async def keep_on(self) -> str:
        try:
            await self.never()
        except asyncio.CancelledError:
            return "kept on"
        return "not caught"

    async def balls(self, count: int) -> AsyncIterator[int]:
        for ball in range(count):
            yield ball
        await self.never()

    async def group(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.never(), name="left hand")

    async def hog(self, gate: Gate) -> None:
        """A coroutine that does not let others go on ..."""
        await asyncio.sleep(0)
        await self.hog_at_once(gate)

    async def hog_at_once(self, gate: Gate) -> None:
        """... from its first step on."""
        gate.arrive()
        time.sleep(60)  # noqa: ASYNC251 - just this is what it is there for

    def drop(self, gate: Gate) -> None:
        gate.arrive()
        time.sleep(60)

    async def exit(self, code: int) -> None:
        os._exit(code)

    def ask(self, other: Any, me: Any, gate: Gate) -> None:
        other.passto(lambda _: me.drop(gate))


@remote
class AsyncLooper:
    """It is interrupted at what it awaits, and then in code that does not await."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.seen: list[str] = []

    @remote.work
    async def loop(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.seen.append("at its await")
        try:
            self.gate.park()
        except ValueError as exc:
            self.seen.append(str(exc))
        while self.remote.listening_:  # noqa: ASYNC110 - it is told so in no other way
            await asyncio.sleep(0.01)
