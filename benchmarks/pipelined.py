"""A thousand calls on their way at once: futures and awaits, against a `ProcessPoolExecutor`."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.call import Adder
from benchmarks.harness import Measure, compare, judge, report

CALLS = 1000
ROUNDS = 9


def echo(n: int) -> int:
    return n


def results(futures: list[Any]) -> None:
    for future in futures:
        future.result()


def futures(submit: Callable[[], Any], collect: Callable[[list[Any]], object] = results) -> Measure:
    def measure() -> float:
        start = time.perf_counter()
        collect([submit() for _ in range(CALLS)])
        return (time.perf_counter() - start) / CALLS

    return measure


def awaits(
    call: Callable[[], Any], run: Callable[[Coroutine[Any, Any, float]], float] = asyncio.run
) -> Measure:
    async def gather() -> float:
        start = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(CALLS)))
        return (time.perf_counter() - start) / CALLS

    return lambda: run(gather())


def main() -> None:
    context = multiprocessing.get_context("fork")
    with (
        Adder.options(start_method="fork").spawn() as adder,
        ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        found = compare(
            {
                "remoteobj future_": futures(lambda: adder.future_.add(1)),
                "ProcessPoolExecutor": futures(lambda: pool.submit(echo, 1)),
                "remoteobj async_": awaits(lambda: adder.async_.add(1)),
                "loop.run_in_executor": awaits(
                    lambda: asyncio.get_running_loop().run_in_executor(pool, echo, 1)
                ),
            },
            ROUNDS,
        )
    report(f"{CALLS} calls at once, per call", found)
    judge("pipelined futures", found[:2], reach=0.20)


if __name__ == "__main__":
    main()
