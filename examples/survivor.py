"""A service that is killed every second, and loses nothing.

Shows: `restart` puts a new process in the place of one that was killed. With `checkpoint_every=0.0`
the state is kept after each call, before the caller gets its reply.

Watch for: a call that was under way at a death ends with an error, since nobody knows whether it
was executed. The client makes it again. Sales have numbers, so the till counts each only once.
"""

import os
import signal
import threading
import time
from typing import Any

from remoteobj import ActorDiedError, remote


@remote(restart="on-failure", max_restarts=10, checkpoint_every=0.0)
class Till:
    def __init__(self) -> None:
        self.last = self.cents = 0

    def sell(self, number: int, cents: int) -> None:
        if number > self.last:  # else it was counted, and the reply was lost
            self.last, self.cents = number, self.cents + cents

    @remote.checkpoint
    def save(self) -> tuple[int, int]:
        return self.last, self.cents

    @remote.restore
    def go_on(self, state: tuple[int, int]) -> None:
        self.last, self.cents = state


def kill_every_second(till: Any, closed: threading.Event) -> None:
    while not closed.wait(1.0):
        os.kill(till.pid_, signal.SIGKILL)


with Till.spawn() as till:
    closed = threading.Event()
    killer = threading.Thread(target=kill_every_second, args=(till, closed))
    killer.start()
    sold = cents = again = 0
    end = time.monotonic() + 3.5
    while time.monotonic() < end:
        try:
            till.sell(sold + 1, 20)
            sold, cents = sold + 1, cents + 20
        except ActorDiedError:
            again += 1
    closed.set()
    killer.join()
    print(f"killed, and started again: {till.restarts_} times")
    print(f"calls that were under way then, and were made again: {again}")
    print(f"sales: {sold}; lost by the till: {sold - till.last.__}")
    print(f"cents: {cents}; lost by the till: {cents - till.cents.__}")
