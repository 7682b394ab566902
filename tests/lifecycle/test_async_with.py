"""`async with` on a handle waits for the birth and for the end beside the event loop."""

import asyncio
import signal
from typing import Any

import pytest

from remoteobj import Pool, RestartLimitError, Supervisor
from remoteobj.testing import Gate
from tests.conftest import Launch
from tests.lifecycle.cameras import ONE_THREAD, NoFilmError, start
from tests.tools import kill, until


def test_async_with_waits_and_stops_while_the_loop_goes_on(launch: Launch, gate: Gate) -> None:
    waits = launch["engine"] != "inline"

    async def main() -> None:
        if waits:
            asyncio.get_running_loop().call_later(0.01, gate.open)  # else it would wait for ever
        async with start(launch, gate if waits else None) as camera:
            assert await camera.async_.take(1) == [1]
        assert not camera.alive_

    asyncio.run(main())


def test_async_with_works_on_an_ordinary_handle(launch: Launch) -> None:
    async def main() -> None:
        async with start(launch, wait=True) as camera:
            assert await camera.async_.take(1) == [1]
        assert not camera.alive_

    asyncio.run(main())


@pytest.mark.engines(skip=ONE_THREAD)
def test_async_with_raises_what_init_raised(launch: Launch, gate: Gate) -> None:
    async def main() -> None:
        gate.open()
        async with start(launch, gate, "raise"):
            raise AssertionError("the block must not run")

    with pytest.raises(NoFilmError):
        asyncio.run(main())


def test_async_with_raises_a_lifecycle_error_as_with_does() -> None:
    async def main() -> None:
        async with start({}) as camera:
            camera.cast_.size(3)

    with pytest.raises(TypeError):
        asyncio.run(main())


@pytest.mark.engines(skip=ONE_THREAD)
def test_a_cancellation_while_async_with_waits_for_the_birth_ends_the_actor(
    launch: Launch, gate: Gate
) -> None:
    started: list[Any] = []

    async def enter() -> None:
        started.append(start(launch, gate))
        async with started[0]:
            raise AssertionError("the block must not run")

    async def main() -> None:
        entering = asyncio.ensure_future(enter())
        await asyncio.to_thread(gate.wait_for_arrival)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(main())
    gate.open()
    until(lambda: not started[0].alive_)


def test_a_cancellation_while_async_with_stops_kills_the_actor(gate: Gate) -> None:
    started: list[Any] = []

    async def hold() -> None:
        async with start({}) as camera:
            started.append(camera)
            camera.cast_.passto(lambda _, gate: gate.park(), gate)

    async def main() -> None:
        holding = asyncio.ensure_future(hold())
        await asyncio.to_thread(gate.wait_for_arrival)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding

    asyncio.run(main())
    assert not started[0].alive_
    assert started[0].exitcode_ == -signal.SIGKILL


# ------------------------------------------------------------------ many at once


def hold_until_open(gate: Gate) -> str:
    gate.park()
    return "held"


def test_async_with_stops_a_supervisor_s_children_while_the_loop_goes_on(gate: Gate) -> None:
    async def main() -> bool:
        async with Supervisor() as supervisor:
            child: Any = supervisor.spawn(dict)
            assert await child.async_.get("a", 1) == 1
            held = child.future_.passto(lambda _: gate.park())
            await asyncio.to_thread(gate.wait_for_arrival)
            asyncio.get_running_loop().call_later(0.01, gate.open)  # else it would wait for ever
        assert held.done()
        return bool(child.alive_)

    assert not asyncio.run(main())


def test_async_with_raises_why_a_supervisor_has_failed() -> None:
    async def main() -> None:
        async with Supervisor(max_restarts=0) as supervisor:
            kill(supervisor.spawn(dict))
            await asyncio.to_thread(supervisor.wait, 10)

    with pytest.raises(RestartLimitError):
        asyncio.run(main())


def test_async_with_waits_for_a_pool_s_tasks_while_the_loop_goes_on(gate: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            task = pool.submit(hold_until_open, gate)
            await asyncio.to_thread(gate.wait_for_arrival)
            asyncio.get_running_loop().call_later(0.01, gate.open)  # else it would wait for ever
        assert task.result(0) == "held"

    asyncio.run(main())


def test_a_cancellation_while_async_with_waits_for_a_pool_ends_its_tasks(gate: Gate) -> None:
    async def main() -> None:
        async with Pool(1) as pool:
            pool.submit(hold_until_open, gate)
            await asyncio.to_thread(gate.wait_for_arrival)
            this = asyncio.current_task()
            assert this is not None
            asyncio.get_running_loop().call_later(0.01, this.cancel)  # while it is left

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
