"""An actor with a loop of its own, whose methods give results that fail on their way."""

import subprocess
import time
from collections.abc import Iterator
from typing import Any

from remoteobj import current, remote
from tests.lifecycle.actors import Plain
from tests.tools import ended


class Unpicklable:
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class UnpicklableError(Exception):
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


class Strict(type):
    def __getattr__(cls, name: str) -> Any:
        if name == "__next__":
            raise RuntimeError("this is no iterator")
        raise AttributeError(name)


class OfStrict(metaclass=Strict):
    """Its class does not like to be asked whether it can be iterated."""


@remote
class Busy:
    """Has a loop of its own, so that another thread runs what is asked."""

    def __init__(self) -> None:
        self.child: Any = None

    @remote.work
    def loop(self) -> None:
        while current().listening_:
            time.sleep(0.001)

    def ping(self) -> str:
        return "pong"

    def result_that_fails(self) -> Unpicklable:
        return Unpicklable()

    def error_that_fails(self) -> None:
        raise UnpicklableError

    def of_strict(self) -> OfStrict:
        return OfStrict()

    def fail_at_the_end(self, kind: type[BaseException]) -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            raise kind("at the end")

    def terminate_a_program(self) -> int:
        with subprocess.Popen(["sleep", "20"]) as program:
            program.terminate()
            try:
                return program.wait(5)
            finally:
                program.kill()

    def terminate_an_actor(self) -> int | None:
        with ended(Plain.spawn()) as child:
            child.terminate_()
            child.join_(5)
            code: int | None = child.exitcode_
            return code
