"""An actor that is watched while it works, waits, hangs and dies."""

import faulthandler
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from remoteobj import remote
from tests.tools import Door

PROCESSES = {"thread": "is no process", "inline": "is no process"}


@remote
class Miller:
    def __init__(self) -> None:
        self.ground = 0

    def grind(self, door: Door, _: bytes = b"") -> str:
        door.wait()
        self.ground += 1
        return "flour"

    def by_way_of(self, other: Any, me: Any, door: Door) -> None:
        other.passto(lambda _: me.ground.get_())
        door.wait()

    def for_ever(self, door: Door) -> None:
        door.arrive()
        while True:
            self.ground += 1

    def stubborn(self, door: Door) -> str:
        try:
            door.arrive()
            time.sleep(60)
        except ValueError:
            return "caught it"
        return "slept"

    def hold(self, door: Door) -> None:
        """In C, with the interpreter held, and without an end."""
        door.arrive()
        sum(range(10**12))

    def sacks(self, door: Door) -> Iterator[int]:
        yield 1
        door.arrive()
        time.sleep(60)
        yield 2

    def crash(self) -> None:
        faulthandler._sigsegv()

    def complain(self, count: int) -> None:
        for i in range(count):
            print(f"complaint {i}", file=sys.stderr)
        os._exit(7)

    def nested(self, other: Any, door: Door) -> Any:
        return other.grind(door)
