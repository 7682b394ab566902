"""Actors that are called many at once. Three of them are started anew in each of those tests, so
their module imports little."""

from collections.abc import Iterator
from typing import Any

from remoteobj import current, each, remote
from remoteobj.testing import Gate


@remote
class Env:
    """An environment, say."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps: list[Any] = []
        self.d = {"k": number}

    def step(self, action: Any, scale: int = 1) -> Any:
        self.steps.append(action)
        return self.number + action * scale

    def myself(self) -> "Env":
        return self

    def count(self, n: int) -> Iterator[int]:
        yield from range(self.number, self.number + n)

    def fail_if(self, *numbers: int) -> int:
        if self.number in numbers:
            raise ValueError(self.number)
        return self.number

    def wait_at(self, gate: Gate | None) -> int:
        if gate is not None:
            gate.park()
        return self.number

    def kind(self, value: Any) -> str:
        return type(value).__name__

    def size(self, array: Any) -> int:
        return int(array.size) + self.number

    def round(self, others: list[Any], gate: Gate | None = None) -> list[Any]:
        """Call all these, which call back."""
        if gate is not None:
            gate.park()
        found: list[Any] = each(others).call_back(current())
        return found

    def lead(self, first: Any, last: Any) -> list[Any]:
        """The first calls back, and the last waits for the first."""
        found: list[Any] = each([first, last]).call_back.map([current(), first])
        return found

    def call_back(self, other: Any) -> int:
        return int(other.number.get_()) + self.number
