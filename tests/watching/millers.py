"""An actor that is watched while it works, waits, hangs and dies."""

import faulthandler
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

from remoteobj import remote
from remoteobj.testing import Gate

NO_OUTPUT = {"ray": "what it writes to stderr is in the files of Ray, on its node"}
NO_RECORDER = {"ray": "keeps no record that its owner could read after its death"}
NO_INTERRUPTS = {"ray": "runs its methods in a thread, which is not interrupted"}
NO_SIGNALS = {"ray": "can be sent no signal, since it may be on another machine"}
PROCESSES = {"thread": "is no process", "inline": "is no process"}


@remote
class Miller:
    def __init__(self) -> None:
        self.ground = 0

    def grind(self, gate: Gate, _: bytes = b"") -> str:
        gate.park()
        self.ground += 1
        return "flour"

    def by_way_of(self, other: Any, me: Any, gate: Gate) -> None:
        other.passto(lambda _: me.ground.get_())
        gate.park()

    def for_ever(self, gate: Gate) -> None:
        gate.arrive()
        while True:
            self.ground += 1

    def stubborn(self, gate: Gate) -> str:
        try:
            gate.arrive()
            time.sleep(60)
        except ValueError:
            return "caught it"
        return "slept"

    def hold(self, gate: Gate) -> None:
        """In C, with the interpreter held, and without an end."""
        gate.arrive()
        sum(range(10**12))

    def sacks(self, gate: Gate) -> Iterator[int]:
        yield 1
        gate.arrive()
        time.sleep(60)
        yield 2

    def crash(self) -> None:
        faulthandler._sigsegv()  # type: ignore[attr-defined]

    def complain(self, count: int) -> None:
        for i in range(count):
            print(f"complaint {i}", file=sys.stderr)
        os._exit(7)

    def nested(self, other: Any, gate: Gate) -> Any:
        return other.grind(gate)
