"""Whether the kernel has killed an actor since memory ran out."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from remoteobj import ActorDiedError, remote
from remoteobj._engines import out_of_memory
from tests.internals import count_memory_kills


@remote
class Idler:
    pass


@pytest.mark.parametrize(
    ("ours", "events", "count"),
    [
        ("0::/a/b\n", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n", 2),
        ("12:cpu:/x\n0::/a/b\n", "oom_kill 7\n", 7),
        ("12:cpu:/x\n", "oom_kill 7\n", None),
        ("0::/a/b\n", "low 0\n", None),
        ("0::/elsewhere\n", "oom_kill 7\n", None),
    ],
)
def test_the_kernel_tells_how_many_were_killed_for_memory_where_it_has_such_groups(
    ours: str, events: str, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "groups" / "a" / "b").mkdir(parents=True)
    (tmp_path / "groups" / "a" / "b" / "memory.events").write_text(events)
    (tmp_path / "ours").write_text(ours)
    monkeypatch.setattr(out_of_memory, "OURS", str(tmp_path / "ours"))
    monkeypatch.setattr(out_of_memory, "GROUPS", str(tmp_path / "groups"))
    assert out_of_memory._count() == count


def test_a_kill_for_want_of_memory_is_known_by_the_count_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts: list[int | None] = [4]
    count_memory_kills(monkeypatch, lambda: counts[-1])
    out_of_memory.watch()
    assert not out_of_memory.killed_for_memory()
    counts.append(5)
    idler: Any = Idler.spawn()
    with pytest.raises(ActorDiedError, match="since memory ran out") as caught:
        idler.passto(lambda m: os.kill(os.getpid(), signal.SIGKILL))
    assert caught.value.out_of_memory
    assert not out_of_memory.killed_for_memory(), "it was that one"
    counts.append(None)
    assert not out_of_memory.killed_for_memory()
    idler.kill_()
    idler.stop_()
