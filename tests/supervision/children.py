"""What the tests of supervisors supervise: actors that end in many ways and keep a diary."""

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import Any

from remoteobj import remote
from tests.lifecycle.programs import Diary
from tests.tools import until_gone


class Breakdown(Exception):
    """What work loops end with."""


@remote
class Child:
    """Notes in a diary when it starts and when it stops."""

    def __init__(self, name: str, diary: Diary, other: Any = None) -> None:
        self.name = name
        self.diary = diary
        self.other = other
        self.calls = 0
        self.end = ""
        diary.add(f"+{name}")

    @remote.work(requests="loop")
    def loop(self) -> None:
        while self.remote.listening_:
            self.remote.process_requests(timeout=None)
            if self.end == "loop":
                raise Breakdown(self.name)
            if self.end == "clean":
                sys.exit()

    def call(self) -> int:
        """The number of this call in the present life."""
        self.calls += 1
        return self.calls

    def call_other(self) -> int:
        return int(self.other.call())

    def call_other_when(self, number: int, pid: int) -> int:
        """Call the other one just after it was killed: that waits for its restart."""
        os.kill(pid, number)
        assert until_gone(pid, 10.0)
        return self.call_other()

    def finish(self, how: str) -> None:
        """End; the loop does so after this call has returned."""
        if how == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "SIGSEGV":
            ctypes.string_at(0)
        elif how == "os._exit":
            os._exit(3)
        self.end = how

    def hang(self) -> None:
        """For longer than an order to stop waits."""
        self.diary.add(f"~{self.name}")
        signal.pause()

    @remote.cleanup
    def close(self) -> None:
        self.diary.add(f"-{self.name}")


@remote
class Starter(Child):
    """Starts unless a file says otherwise: `raise`, `exit`, `leave` or `hang`."""

    def __init__(self, name: str, diary: Diary, how: str) -> None:
        words = Path(how).read_text() if Path(how).exists() else ""
        if words == "raise":
            diary.add(f"!{name}")
            raise Breakdown(f"{name} can't start")
        if words == "exit":
            diary.add(f"!{name}")
            sys.exit(0)
        if words == "leave":
            diary.add(f"!{name}")
            os._exit(0)
        if words == "hang":
            diary.add(f"!{name}")
            signal.pause()
        super().__init__(name, diary)
