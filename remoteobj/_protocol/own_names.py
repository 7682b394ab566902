"""The names that proxies and handles keep for themselves, and what is said to who misses one."""

from __future__ import annotations

from typing import Final

__all__ = ["OF_HANDLES", "OF_PROXIES", "OF_SERVING", "hint_at_own_name"]

OF_PROXIES: Final = frozenset(
    [
        "async_",
        "attrs_",
        "cast_",
        "checkpoint_",
        "every_",
        "follow_",
        "future_",
        "get_",
        "listen_",
        "listening_",
        "publish_",
        "stop_listen_",
        "with_",
    ]
)
OF_HANDLES: Final = frozenset(
    [
        "alive_",
        "exc_",
        "exitcode_",
        "exited_",
        "interrupt_",
        "join_",
        "kill_",
        "name_",
        "on_exit_",
        "pid_",
        "ready_",
        "restarts_",
        "stack_",
        "status_",
        "stop_",
        "terminate_",
    ]
)
"""Those that only the handle has which `spawn` gave: no copy, no view and no part of it."""
OF_SERVING: Final = ("poll", "process_requests", "wait_until_listening")
"""Those that are a proxy's own, but for a handle whose object has the name as well."""

_BY_LETTERS: Final = {name.replace("_", ""): name for name in sorted(OF_PROXIES | OF_HANDLES)}


def hint_at_own_name(error: AttributeError) -> None:
    """Have an error for a name that the object has not say that a proxy has nearly that name.

    >>> error = AttributeError("'Counter' object has no attribute 'stop'", name="stop")
    >>> hint_at_own_name(error)
    >>> print(error)
    'Counter' object has no attribute 'stop'; did you mean 'stop_', which is the handle's own?
    """
    own = _BY_LETTERS.get(str(error.name).replace("_", ""))
    if own is None or len(error.args) != 1:
        return
    whose = "handle's" if own in OF_HANDLES else "proxy's"
    error.args = (f"{error.args[0]}; did you mean {own!r}, which is the {whose} own?",)
