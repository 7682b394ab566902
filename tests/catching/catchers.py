"""What the tests of catching do with a catcher: have it catch, and look at what it caught."""

from typing import Any

from remoteobj import Except, LocalExcept
from tests.internals import ANY

Catcher = Except | LocalExcept


def catch(exc: Catcher, group: str | None, error: BaseException, **options: Any) -> None:
    with exc(group, raises=False, types=BaseException, **options):
        raise error


def texts(exc: Catcher, group: Any = ANY) -> list[str]:
    return [str(error) for error in (exc.all() if group is ANY else exc.group(group))]


def fail_deep_down() -> None:
    raise ValueError("deep down")


def contexts(error: BaseException | None) -> list[type]:
    found = []
    while error is not None:
        found.append(type(error))
        error = error.__context__
    return found
