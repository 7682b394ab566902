"""A sensor that is read in its own process, and watched and steered from here.

Shows: `@remote.work` marks the loop that the actor runs by itself, `@remote.cleanup` what must be
done however it ends, and a generator method that streams as it goes.

Watch for: the loop never asks for requests, so they run in a second thread beside it. That is
why what both touch changes in one step (a value set, an item appended), and is never half done.
"""

import math
import time
from collections.abc import Iterator

from remoteobj import remote


@remote
class Thermometer:
    def __init__(self, celsius: float) -> None:
        self.base = celsius
        self.interval = 0.01
        self.readings: list[float] = []

    @remote.work
    def measure(self) -> None:
        while self.remote.listening_:
            self.readings.append(self.base + math.sin(len(self.readings)))
            time.sleep(self.interval)

    def warmest(self) -> float:
        return max(self.readings)

    def follow(self, count: int) -> Iterator[float]:
        """The next readings, each as soon as it is there."""
        seen = len(self.readings)
        for number in range(seen, seen + count):
            while len(self.readings) <= number:
                time.sleep(self.interval / 10)
            yield self.readings[number]

    @remote.cleanup
    def switch_off(self) -> None:
        print("over there: switched off", flush=True)


with Thermometer.spawn(20.0) as sensor:
    for value in sensor.follow(5):
        print(f"reading {value:.1f}")

    sensor.interval = 0.001  # ten times as often, from the next turn of its loop
    sensor.base = 50.0
    while sensor.warmest() < 45:
        time.sleep(0.005)
    print("it got warm; readings so far are more than 5:", len(sensor.readings) > 5)
print("here: it has ended")
