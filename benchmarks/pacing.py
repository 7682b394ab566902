"""A paced loop that publishes: its rate under a client that polls, and what its followers cost.

``python -m benchmarks.pacing``; with ``--short`` for a second, and not for ten.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from benchmarks.harness import FIGURES, Figure
from remoteobj import remote

RATE = 30
SECONDS = 1.0 if "--short" in sys.argv else 10.0
FRAME = 1920 * 1080 * 3
TIMES = 2000
FRAMES = 200


@remote
class Camera:
    """A loop at a steady rate, that is asked meanwhile."""

    def __init__(self) -> None:
        self.begun: list[float] = []
        self.skipped = 0

    @remote.work
    def run(self) -> None:
        for tick in self.remote.every_(1 / RATE):
            self.begun.append(tick.due + tick.lateness)
            self.skipped = tick.skipped
            time.sleep(0.002)  # what a camera would do

    def count(self) -> int:
        return len(self.begun)


@remote
class Source:
    """Publishes what it is told to."""

    def publish(self, times: int, pause: float = 0.0) -> list[float]:
        """The seconds that each took."""
        took = []
        for number in range(times):
            begun = time.perf_counter()
            self.remote.publish_(number)
            took.append(time.perf_counter() - begun)
            time.sleep(pause)
        return took

    def publish_frames(self, times: int) -> float:
        """The median of the seconds that one took, with a pause for whoever follows."""
        frame, took = bytearray(FRAME), []
        for number in range(times):
            frame[0] = number % 256
            begun = time.perf_counter()
            self.remote.publish_(frame)
            took.append(time.perf_counter() - begun)
            time.sleep(0.002)
        return statistics.median(took)

    def publish_until_told(self) -> None:
        """Frames, with a millisecond of rest after each."""
        frame = bytearray(FRAME)
        self.goes_on = True
        while self.goes_on:
            self.remote.publish_(frame)
            time.sleep(0.001)


def paced() -> None:
    """The rate of a loop that a client polls without a pause, and how long its calls take."""
    took = []
    with Camera.options(start_method="fork").spawn() as camera:
        end = time.perf_counter() + SECONDS
        while (begun := time.perf_counter()) < end:
            camera.count()
            took.append(time.perf_counter() - begun)
        begun_at, skipped = camera.begun.__, camera.skipped.__
    rate = (len(begun_at) - 1) / (begun_at[-1] - begun_at[0])
    error = abs(rate / RATE - 1) * 100
    print(f"\nA loop at {RATE} Hz for {SECONDS:g} s, polled without a pause")
    print(f"  rate {rate:.4f} Hz, error {error:.4f} %, {skipped} ticks skipped")
    print(f"  {len(took)} calls, median {statistics.median(took) * 1e6:.1f} µs", flush=True)
    FIGURES.append(
        Figure("a polled loop at 30 Hz, error of the rate", round(error, 3), "%", reach=1)
    )
    median = statistics.median(took) * 1e6
    FIGURES.append(Figure("a call of a polled loop, median", median, "µs", reach=1000))


def follow(source: Any, begun: Any) -> None:
    follower = source.follow_()
    begun.release()
    for _ in follower:
        pass


@contextmanager
def followers(source: Any, count: int) -> Iterator[None]:
    """So many processes that follow, until the source ends."""
    context = get_context("fork")
    begun = context.Semaphore(0)
    processes = [context.Process(target=follow, args=(source, begun)) for _ in range(count)]
    for process in processes:
        process.start()
    for _ in processes:
        begun.acquire()
    yield
    source.stop_()
    for process in processes:
        process.join()


def publishing(count: int) -> None:
    """What it takes to publish, with so many followers."""
    with Source.options(start_method="fork").spawn() as source, followers(source, count):
        number = statistics.median(source.publish(TIMES, pause=0.0005 if count else 0.0)) * 1e6
        frame = source.publish_frames(FRAMES) * 1e6
    print(f"  {count} followers: a number {number:8.1f} µs, a frame {frame:8.1f} µs", flush=True)


def throughput() -> None:
    """How many frames of 1080p one follower gets in a second."""
    with Source.options(start_method="fork").spawn() as source:
        follower = source.follow_()
        publishes = source.future_.publish_until_told()
        for _ in range(10):
            next(follower)
        begun, got, end = time.perf_counter(), 0, time.perf_counter() + SECONDS / 5
        while time.perf_counter() < end:
            next(follower)
            got += 1
        rate = got / (time.perf_counter() - begun)
        source.interrupt_()
        publishes.exception()
    print(f"\n1080p frames to one follower: {rate:.0f} a second, {rate * FRAME / 1e9:.2f} GB/s")


def main() -> None:
    paced()
    print(f"\nTo publish, median, µs; a frame has {FRAME / 1e6:.1f} MB")
    for count in (0, 1, 8):
        publishing(count)
    throughput()


if __name__ == "__main__":
    main()
