"""`for` over an object that is its own iterator, and what leaving the loop leaves behind."""

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remoteobj import options
from tests.conftest import Launch


class Countdown:
    def __init__(self, n: int) -> None:
        self.n = n
        self.closed = False
        self.inner: Any = itertools.count()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        if self.n == 0:
            raise StopIteration
        self.n -= 1
        return self.n

    def close(self) -> None:
        self.closed = True

    def at_home(self) -> list[int]:
        return list(self.remote) if hasattr(self, "remote") else []


@pytest.fixture
def countdown(launch: Launch) -> Iterator[Any]:
    handle = options(**launch).spawn(Countdown, 30)
    yield handle
    handle.stop_()


def test_its_items_come_as_they_do_here(countdown: Any) -> None:
    assert list(countdown) == [*range(29, -1, -1)]
    assert list(countdown) == []


def test_a_loop_that_is_left_has_taken_no_more_than_it_has_seen(countdown: Any) -> None:
    for item in countdown:
        if item == 27:
            break
    assert countdown.n.__ == 27
    assert not countdown.closed.__
    assert [*itertools.islice(countdown.inner, 3)] == [0, 1, 2]
    assert [*itertools.islice(countdown.inner, 3)] == [3, 4, 5]
    assert next(iter(countdown)) == 26


def test_it_is_awaited_too(countdown: Any) -> None:
    async def some() -> list[int]:
        items = []
        async for item in countdown:
            items.append(item)
            if item == 27:
                break
        return items

    assert asyncio.run(some()) == [29, 28, 27]
    assert countdown.n.__ == 27


def test_a_file_stays_open_when_the_loop_is_left(tmp_path: Path, launch: Launch) -> None:
    path = tmp_path / "text"
    path.write_text("a\nb\nc\n")
    file: Any = options(**launch).spawn(open, str(path), encoding="utf-8")
    with file:
        for line in file:
            assert line == "a\n"
            break
        assert not file.closed.__
        assert file.readline() == "b\n"
        assert list(file) == ["c\n"]
        file.close()
