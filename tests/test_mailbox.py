"""What a mailbox makes of what its clients send, without a process."""

import time
from typing import Any

import pytest

from tests.hostile import served
from tests.internals import Frame, Kind, encode


@pytest.mark.parametrize(
    ("kinds", "keeps"),
    [([Kind.CALL], 0), ([Kind.CLOSE], 0), ([Kind.CALL, Kind.CALL], 1)],
    ids=["a request", "another frame", "two requests"],
)
def test_requests_that_come_together_have_the_actor_keep_its_processor(
    monkeypatch: pytest.MonkeyPatch, kinds: list[int], keeps: int
) -> None:
    """Threads of one process call, which would wait for each other on it; others would not."""
    told: list[int] = []
    with served() as (mailbox, _, _, good):
        monkeypatch.setattr(mailbox.clients, "keep_cpu", lambda: told.append(1))
        requests: list[Any] = []
        for number, kind in enumerate(kinds):
            requests += encode(Frame(kind, number + 1, b""))
        assert not good.write([b"".join(requests)])
        count = kinds.count(Kind.CALL)
        assert mailbox.process(time.monotonic() + 10 * count) == count
        assert len(good.take()) == count
    assert len(told) == keeps
