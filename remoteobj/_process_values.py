"""Which values the options of an actor's process, of its state and of what runs at once can have,
on any system and at any time.

What depends on the system and the moment, `_launching` looks at when an actor is started.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Mapping
from typing import Any, Final

__all__ = ["check_values"]

EVENT_LOOPS: Final = "asyncio", "uvloop"
MOST_NICE: Final = 39
"""From one end of the scale to the other: from -20 to 19."""


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse what can never be right, where the user has written it.

    Raises:
        ValueError: an option has such a value.
    """
    for name, value in options.items():
        if name in _CHECKS:
            is_right, wanted = _CHECKS[name]
            if not is_right(value):
                raise ValueError(f"{name}= takes {wanted}: {_culprit(value)}")


def _culprit(value: Any) -> str:
    if not isinstance(value, Mapping):
        return repr(value)
    return ", ".join(f"{key!r}: {one!r}" for key, one in value.items() if not _can_be_set(key, one))


def _are_variables(env: Any) -> bool:
    if env is None:
        return True
    return isinstance(env, Mapping) and all(_can_be_set(*item) for item in env.items())


def _can_be_set(name: Any, value: Any) -> bool:
    return _is_text(name) and name != "" and "=" not in name and (value is None or _is_text(value))


def _is_text(text: Any) -> bool:
    """Whether it is text that the system can take."""
    try:
        return isinstance(text, str) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _are_numbers(cpus: Any) -> bool:
    if cpus is None:
        return True
    return isinstance(cpus, Collection) and len(cpus) > 0 and all(type(cpu) is int for cpu in cpus)


def _is_step(nice: Any) -> bool:
    return type(nice) is int and abs(nice) <= MOST_NICE


def _are_seconds(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_count(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _is_loop(value: Any) -> bool:
    return value in EVENT_LOOPS


def _is_path(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    return path != "" and _is_text(path)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_size(value: Any) -> bool:
    return type(value) is int and value >= 1000


def _are_requests(value: Any) -> bool:
    return type(value) is int and value >= 2


_CHECKS: Final = {
    "env": (_are_variables, "names of variables with texts, or with None for what is to be unset"),
    "cpu_affinity": (_are_numbers, "the numbers of some of the processors that there are"),
    "nice": (_is_step, f"a whole number from -{MOST_NICE} to {MOST_NICE}"),
    "initializer": (lambda value: value is None or callable(value), "what can be called"),
    "logging": (_is_switch, "True or False"),
    "labelled_output": (_is_switch, "True or False"),
    "checkpoint_every": (_are_seconds, "a number of seconds, or None"),
    "checkpoint_path": (_is_path, "the path of a file, or None"),
    "max_concurrency": (_is_count, "a whole number of 1 or more, or None"),
    "event_loop": (_is_loop, "one of " + ", ".join(map(repr, EVENT_LOOPS))),
    "public": (_is_switch, "True or False"),
    "record": (_is_path, "the path of a directory, or None"),
    "record_limit": (_is_size, "a number of bytes, at least 1000"),
    "record_requests": (_are_requests, "a number of requests, at least 2"),
    "record_keep": (_is_switch, "True or False"),
}
