"""What the tests of supervisors do with children."""

import threading
from typing import Any

from remoteobj import ActorDiedError, Handle
from tests.lifecycle.programs import Diary
from tests.supervision.children import Child


def spawn_all(supervisor: Any, diary: Diary, names: str = "abc") -> list[Handle[Any]]:
    return [supervisor.spawn(Child, name, diary) for name in names]


def lines(plan: str) -> list[str]:
    """`+a-a` as the lines of a diary."""
    return [plan[at : at + 2] for at in range(0, len(plan), 2)]


def settled() -> bool:
    """Whether no supervisor of this process restarts anything."""
    names = [thread.name for thread in threading.enumerate()]
    return not any("-supervise-" in name or "-start-" in name for name in names)


def answers(handle: Handle[Any]) -> bool:
    """Whether a call of it is answered; no other may be, in a process that is put down again."""
    try:
        return bool(handle.call())
    except ActorDiedError:
        return False
